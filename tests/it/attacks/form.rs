//! Attacks on the serialization: segments, alphabet, encodings, nesting, size.

use aero2::TokenErrorKind::{Malformed, TooLong};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};

use super::Attack;
use super::forge::{self, CLAIMS, b64, claiming, good, headed, sign};

type Change = (&'static str, fn(&str) -> String);

fn split() -> [String; 3] {
    let token = good();
    let mut parts = token.split('.').map(str::to_owned);
    [(); 3].map(|()| parts.next().unwrap())
}

/// The token with one of its parts changed; header and payload are signed as they then stand.
fn with_part(at: usize, change: impl Fn(&str) -> String) -> String {
    let [header, payload, signature] = split();
    match at {
        0 => forge::parts(&change(&header), &payload, |input| sign("EdDSA", input)),
        1 => forge::parts(&header, &change(&payload), |input| sign("EdDSA", input)),
        _ => format!("{header}.{payload}.{}", change(&signature)),
    }
}

#[test]
fn all_but_three_segments_are_refused_and_so_is_an_empty_one() {
    let attack = Attack::new().without_request();
    let [header, payload, signature] = split();
    let of = |parts: &[&str]| parts.join(".");
    let segment = signature.as_str();
    for (name, token) in [
        ("nothing", String::new()),
        ("no dot", header.clone()),
        ("one dot", ".".to_owned()),
        ("two dots", "..".to_owned()),
        ("header and payload", of(&[&header, &payload])),
        ("no header", of(&["", &payload, segment])),
        ("no payload", of(&[&header, "", segment])),
        ("no signature", of(&[&header, &payload, ""])),
        ("a fourth part", of(&[&header, &payload, segment, segment])),
        ("an empty fourth part", of(&[&header, &payload, segment, ""])),
        ("an empty first part", of(&["", &header, &payload, segment])),
        ("five parts, a JWE", of(&[&header, segment, segment, segment, segment])),
        ("six parts", of(&[&header, &payload, segment, segment, segment, segment])),
        ("seven parts", of(&[&header, &payload, segment, segment, segment, segment, segment])),
        ("two tokens", of(&[&good(), &good()])),
        ("dots alone", ".".repeat(7)),
    ] {
        attack.row(name, &token, Malformed);
    }
}

#[test]
fn an_empty_payload_that_is_signed_is_refused() {
    Attack::new().row("signed, and empty", &claiming(""), Malformed);
}

#[test]
fn the_form_of_every_part_comes_before_what_the_header_asks_for() {
    let attack = Attack::new().without_request();
    let [_, payload, signature] = split();
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"RS256","crit":["b64"]}"#,
        r#"{"alg":"RS256","typ":"dpop+jwt"}"#,
    ] {
        let header = b64(header);
        for (name, payload, signature) in [
            ("no payload", "", signature.as_str()),
            ("no signature", &payload, ""),
            ("a bad payload", "A", &signature),
            ("a bad signature", &payload, "A"),
        ] {
            attack.row(&format!("{name}, {header}"), &format!("{header}.{payload}.{signature}"), Malformed);
        }
    }
}

#[test]
fn json_serialization_is_refused() {
    let attack = Attack::new().without_request();
    let [header, payload, signature] = split();
    for (name, token) in [
        ("flattened", format!(r#"{{"payload":"{payload}","protected":"{header}","signature":"{signature}"}}"#)),
        (
            "general",
            format!(r#"{{"payload":"{payload}","signatures":[{{"protected":"{header}","signature":"{signature}"}}]}}"#),
        ),
        ("a compact token in quotes", format!("\"{}\"", good())),
        (
            "compact inside, polyglot outside",
            format!(r#"{{"{header}.{payload}.{signature}":0,"payload":"{payload}"}}"#),
        ),
    ] {
        attack.row(name, &token, Malformed);
    }
}

#[test]
fn anything_but_canonical_base64url_is_refused_even_where_it_is_signed() {
    let attack = Attack::new();
    for at in 0..3 {
        let changes: Vec<Change> = vec![
            ("one character of padding", |part| format!("{part}=")),
            ("two of them", |part| format!("{part}==")),
            ("white space behind", |part| format!("{part} ")),
            ("white space before", |part| format!(" {part}")),
            ("white space within", |part| part.split_at(8).0.to_owned() + " " + part.split_at(8).1),
            ("a line end within", |part| part.split_at(8).0.to_owned() + "\r\n" + part.split_at(8).1),
            ("a line end behind", |part| format!("{part}\n")),
            ("a tab", |part| format!("\t{part}")),
            ("NUL", |part| format!("{part}\0")),
            ("a byte order mark", |part| format!("\u{feff}{part}")),
            ("a zero-width space", |part| format!("{part}\u{200b}")),
            ("a letter that looks alike", |part| format!("\u{0435}{}", part.split_at(1).1)),
            ("percent-encoding", |part| format!("{part}%3D")),
            ("a star", |part| format!("*{}", part.split_at(1).1)),
            ("one character of a fifth byte", |part| {
                part.trim_end_matches(|_| part.len() % 4 != 1).to_owned() + &"A".repeat((5 - part.len() % 4) % 4)
            }),
        ];
        for (name, change) in changes {
            let token = with_part(at, change);
            if token != good() && token.split('.').nth(at).is_some_and(|part| !is_canonical(part)) {
                attack.row(&format!("{name}, part {at}"), &token, Malformed);
            }
        }
    }
}

fn is_canonical(part: &str) -> bool {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).is_ok()
}

#[test]
fn the_standard_alphabet_and_padding_are_refused() {
    let attack = Attack::new();
    let text = r#"{"alg":"EdDSA","kid":"ed","x":"???>>>~~~"}"#;
    let standard = STANDARD_NO_PAD.encode(text);
    assert!(standard.contains(['+', '/']), "{standard}");
    let token = |header: &str| forge::parts(header, &b64(CLAIMS), |input| sign("EdDSA", input));
    attack.accepted("the same in base64url", &token(&b64(text)));
    attack.row("standard alphabet", &token(&standard), Malformed);
    let padded = URL_SAFE.encode(r#"{"alg":"EdDSA","kid":"ed","x":"a"}"#);
    assert!(padded.ends_with('='));
    attack.row("signed with its padding", &token(&padded), Malformed);
}

/// Without this rule one token has many texts, and whatever is keyed by the text (a deny list, a cache) can be passed by.
#[test]
fn a_last_character_with_trailing_bits_is_refused() {
    let attack = Attack::new();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let [header, payload, signature] = split();
    assert_eq!(signature.len() % 4, 2, "64 bytes leave four bits over");
    let (rest, last) = signature.split_at(signature.len() - 1);
    let value = alphabet.find(last).unwrap();
    for bits in 1..16 {
        let other = &alphabet[value + bits..=value + bits];
        attack.row(&format!("bits {bits}"), &format!("{header}.{payload}.{rest}{other}"), Malformed);
    }
    for spaces in ["", " ", "  "] {
        let text = b64(format!(r#"{{"alg":"EdDSA","kid":"ed"}}{spaces}"#));
        let (rest, last) = text.split_at(text.len() - 1);
        if text.len() % 4 == 0 {
            continue;
        }
        let other = alphabet.find(last).unwrap() + 1;
        let token =
            forge::parts(&format!("{rest}{}", &alphabet[other..=other]), &payload, |input| sign("EdDSA", input));
        attack.row(&format!("header of {} characters", text.len()), &token, Malformed);
    }
}

#[test]
fn what_is_no_utf_8_and_no_json_object_is_refused() {
    let attack = Attack::new();
    let bad: &[(&str, &[u8])] = &[
        ("a byte order mark", b"\xef\xbb\xbf{}"),
        ("UTF-16", b"{\0}\0"),
        ("invalid UTF-8 in a text", b"{\"x\":\"\xff\"}"),
        ("an overlong slash", b"{\"x\":\"\xc0\xaf\"}"),
        ("a surrogate in UTF-8", b"{\"x\":\"\xed\xa0\x80\"}"),
        ("a cut-off character", b"{\"x\":\"\xe2\x82\"}"),
        ("a lone high surrogate", br#"{"x":"\ud800"}"#),
        ("a lone low surrogate", br#"{"x":"\udc00"}"#),
        ("surrogates the wrong way round", br#"{"x":"\udc00\ud800"}"#),
        ("a lone surrogate in a name", br#"{"\ud800":1}"#),
        ("NUL in a text", b"{\"x\":\"\0\"}"),
        ("NUL behind", b"{}\0"),
        ("a line end in a text", b"{\"x\":\"\n\"}"),
        ("nothing but white space", b"  "),
        ("null", b"null"),
        ("a text", b"\"{}\""),
        ("a number", b"1"),
        ("an array", b"[{}]"),
        ("two objects", b"{}{}"),
        ("something behind", b"{} x"),
        ("a comment", b"{/**/}"),
        ("a comma too many", br#"{"x":1,}"#),
        ("single quotes", b"{'x':1}"),
        ("no quotes", b"{x:1}"),
        ("NaN", br#"{"x":NaN}"#),
        ("a leading zero", br#"{"x":01}"#),
        ("a bad escape", br#"{"x":"\x41"}"#),
        ("cut off", br#"{"x":{"#),
    ];
    let headers = Attack::new().without_request();
    for (name, bytes) in bad {
        // With everything in it that would make it pass, but for the flaw.
        let whole = |good: &str| match bytes.strip_prefix(b"{\"") {
            Some(rest) => [good.trim_end_matches('}').as_bytes(), b",\"", rest].concat(),
            None => bytes.to_vec(),
        };
        headers.row(&format!("{name}, header"), &headed(whole(r#"{"alg":"EdDSA","kid":"ed"}"#)), Malformed);
        attack.row(&format!("{name}, payload"), &claiming(whole(CLAIMS)), Malformed);
    }
    attack.accepted("NUL by an escape is a text", &claiming(forge::claims_with("x", Some(r#""\u0000""#))));
    attack
        .accepted("a pair of surrogates is a character", &claiming(forge::claims_with("x", Some(r#""\ud83d\ude00""#))));
}

#[test]
fn nesting_has_a_limit_and_no_depth_overflows_the_stack() {
    let attack = Attack::new().max_token_bytes(4 << 20);
    let arrays = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}0{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let header = |value: String| headed(format!(r#"{{"alg":"EdDSA","kid":"ed","x":{value}}}"#));
    let payload = |value: String| claiming(forge::claims_with("x", Some(&value)));
    // The outermost object is level 1.
    for nested in [arrays(63), objects(63)] {
        attack.accepted("64 levels, header", &header(nested.clone()));
        attack.accepted("64 levels, payload", &payload(nested));
    }
    for depth in [64, 65, 128, 10_000, 200_000] {
        for nested in [arrays(depth), objects(depth), "[".repeat(depth)] {
            attack.row(&format!("{depth} + 1 levels, header"), &header(nested.clone()), Malformed);
            attack.row(&format!("{depth} + 1 levels, payload"), &payload(nested), Malformed);
        }
    }
}

#[test]
fn the_length_is_looked_at_first() {
    // Encoded lengths skip every fourth number, so the header gives a character where it has to.
    let padded = |header: &str, padding: usize| {
        let claims = forge::claims_with("x", Some(&format!("\"{}\"", "x".repeat(padding))));
        forge::token(header, claims, |input| sign("EdDSA", input))
    };
    let of_length = |len: usize| {
        let headers = [r#"{"alg":"EdDSA","kid":"ed"}"#, r#"{"alg":"EdDSA","kid":"ed"} "#];
        let missing = (len - padded(headers[1], 0).len()) / 4 * 3;
        let tokens = headers.into_iter().flat_map(|header| (missing..missing + 6).map(move |n| padded(header, n)));
        tokens.into_iter().find(|token| token.len() == len).unwrap()
    };
    let attack = Attack::new().without_request();
    Attack::new().accepted("at the limit", &of_length(16_384));
    attack.row("one more", &of_length(16_385), TooLong);
    attack.row("a megabyte of dots", &".".repeat(1 << 20), TooLong);
    attack.row("a megabyte of anything", &"\u{e9}".repeat(1 << 19), TooLong);
    let token = good();
    Attack::new().max_token_bytes(token.len()).accepted("at a limit of the caller's", &token);
    Attack::new().max_token_bytes(token.len() - 1).row("one more than the caller's", &token, TooLong);
}
