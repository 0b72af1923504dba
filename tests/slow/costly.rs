//! Tokens that cost the reader most, each as long as a token may be.

use aero2::testing::{TestIssuer, TestToken};

pub(crate) fn costly_tokens(test: &TestIssuer) -> Vec<(String, String)> {
    let claims = format!(r#"{{"iss":"{}","exp":1800003600,"token_use":"access""#, test.url());
    let signed = |name: &str, token: TestToken| {
        let token = token.sign();
        assert!((15_000..=16 * 1024).contains(&token.len()), "{name}: {}", token.len());
        (name.to_owned(), token)
    };
    let payloads = costly(&claims);
    let headers = costly(r#"{"alg":"RS256""#);
    payloads
        .into_iter()
        .map(|(name, payload)| signed(&format!("payload: {name}"), test.token().raw_payload(payload)))
        .chain(headers.into_iter().map(|(name, header)| {
            signed(&format!("header: {name}"), test.token().raw_payload("{}").raw_header(header))
        }))
        .collect()
}

/// JSON objects that cost the reader most, each as long as a token allows. `open` is an object that is not closed yet.
fn costly(open: &str) -> Vec<(&'static str, String)> {
    let same = |part: &'static str| move |_| part.to_owned();
    let member = |n: usize| format!(r#","{n}":0"#);
    let list = |name: &str| format!(r#"{open},"{name}":["a""#);
    let value = |value: &str| format!(r#"{open},"x":{value}"#);
    vec![
        ("many members", filled(open, member, "}")),
        ("many members and a duplicate", filled(open, member, r#","7":0}"#)),
        ("many small objects", filled(&value("[0"), same(",{}"), "]}")),
        ("many objects of many members", filled(&value("[0"), same(r#",{"a":0,"b":0,"c":0,"d":0,"e":0}"#), "]}")),
        ("names alike at the first look", filled(&value("[0"), |_| names_alike(), "]}")),
        ("many audiences", filled(&list("aud"), same(r#","a""#), "]}")),
        ("many scopes", filled(&list("scope"), same(r#","a""#), "]}")),
        ("a scope of many words", filled(&format!(r#"{open},"scope":"a"#), same(" a"), "\"}")),
        ("a scope of spaces", filled(&format!(r#"{open},"scope":""#), same(" "), "\"}")),
        ("numbers", filled(&value("[0"), same(",0"), "]}")),
        ("fractions", filled(&value("[0"), same(",1.7976931348623157e308"), "]}")),
        ("numbers that no double holds", filled(&value("[0"), same(",1e999"), "]}")),
        ("a long number", filled(&value("1"), same("1"), "}")),
        ("a long fraction", filled(&value("0."), same("1"), "}")),
        ("a long exponent", filled(&value("1e"), same("9"), "}")),
        ("a long number that is none", filled(&value("1"), same("1"), ".}")),
        ("a long fraction that is none", filled(&value("0."), same("1"), "e}")),
        ("leading zeros", filled(&value(""), same("0"), "}")),
        ("signs", filled(&value(""), same("-"), "}")),
        ("numbers that are none", filled(&value("[0"), same(",1."), "]}")),
        ("escapes", filled(&value("\""), same("\\u0041"), "\"}")),
        ("surrogates", filled(&value("\""), same("\\ud83d\\ude00"), "\"}")),
        ("a string that never ends", filled(&value("1e999,\"y\":\""), same("\\\\"), "")),
        ("quotes", filled(&value("1e999,"), same("\""), "")),
        ("deep", filled(&value("["), |n| if n % 60 < 30 { "[" } else { "]" }.to_owned(), "]]}")),
        ("too deep", filled(&value(""), same("["), "")),
        ("deep, of objects", filled(&value("[0"), |_| format!(",{}0{}", r#"{"":"#.repeat(60), "}".repeat(60)), "]}")),
        ("white space", filled(open, same(" "), "}")),
    ]
}

/// Just fewer members than are sorted, whose names all fall on one bit of the filter.
fn names_alike() -> String {
    let members: Vec<String> = (0..31).map(|n| format!(r#""a{:02}aa{:02}a":0"#, n, n)).collect();
    format!(",{{{}}}", members.join(","))
}

/// Repeats `part` up to the length of a payload or header whose token has just no more than 16 KiB.
fn filled(start: &str, part: impl Fn(usize) -> String, end: &str) -> String {
    let mut text = start.to_owned();
    for n in 0.. {
        let part = part(n);
        if text.len() + part.len() + end.len() > LONGEST_JSON {
            break;
        }
        text.push_str(&part);
    }
    text + end
}

/// 3 bytes of JSON are 4 of the token, less header and signature.
const LONGEST_JSON: usize = 11_900;
