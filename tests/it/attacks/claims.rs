//! Attacks by claims behind a good signature: tokens that the issuer made, for something else or for somebody else.

use aero2::TokenErrorKind::{
    Expired, InsufficientScope, InvalidClaim, Malformed, NotYetValid, SenderConstrained, WrongAudience, WrongIssuer,
    WrongTokenUse,
};

use super::Attack;
use super::forge::{CLAIMS, NOW, b64, claiming, claims_with, good};

fn row(name: &str, value: &str, expected: aero2::TokenErrorKind) {
    Attack::new().row(&format!("{name}: {value}"), &claiming(claims_with(name, Some(value))), expected);
}

fn accepted(name: &str, value: &str) {
    Attack::new().accepted(&format!("{name}: {value}"), &claiming(claims_with(name, Some(value))));
}

/// Signed with the same keys (RFC 8725 §3.12), and each good for something; not for this.
#[test]
fn the_issuers_other_tokens_are_refused() {
    for used in
        ["id", "session", "refresh", "ACCESS", "Access", " access", "access ", "access\\u0000", "", "acce\\u0073s_"]
    {
        row("token_use", &format!("\"{used}\""), WrongTokenUse);
    }
    let id_token = CLAIMS.replace(r#""token_use":"access""#, r#""token_use":"id","nonce":"n","email":"a@b.example""#);
    Attack::new().row("an ID token", &claiming(id_token), WrongTokenUse);
    accepted("token_use", r#""acce\u0073s""#);
    Attack::new().accepted("a standard issuer without the claim", &claiming(claims_with("token_use", None)));
}

#[test]
fn a_claim_of_the_wrong_type_is_refused_even_where_nobody_asks_for_it() {
    for name in ["iss", "sub", "jti", "client_id", "token_use"] {
        for value in ["true", "0", "1.5", "1e400", "[]", "{}", r#"["access"]"#, r#"["https://victim.example"]"#] {
            row(name, value, InvalidClaim);
        }
    }
    for name in ["exp", "nbf", "iat"] {
        for value in ["true", "[]", "{}", r#""123""#, r#""1800003600""#, "[1800003600]", r#""""#] {
            row(name, value, InvalidClaim);
        }
    }
    for name in ["aud", "scope", "scp"] {
        for value in ["true", "0", "{}", "[null]", "[1]", r#"["orders",1]"#, r#"[["orders"]]"#, r#"[{"orders":1}]"#] {
            row(name, value, InvalidClaim);
        }
    }
}

#[test]
fn a_duplicate_claim_is_refused_even_spelled_with_escapes() {
    for more in [
        r#""iss":"https://victim.example""#,
        r#""iss":"https://evil.example""#,
        r#""\u0069ss":"https://evil.example""#,
        r#""aud":"orders""#,
        r#""\u0061\u0075\u0064":"orders""#,
        r#""exp":9999999999"#,
        r#""ex\u0070":9999999999"#,
        r#""scope":"admin""#,
        r#""token_use":"access""#,
        r#""x":1,"x":1"#,
        r#""x":{"y":1,"\u0079":2}"#,
        r#""x":[[{"y":1,"y":1}]]"#,
        r#""":1,"":1"#,
    ] {
        let before = CLAIMS.replacen('{', &format!("{{{more},"), 1);
        let after = CLAIMS.replacen('}', &format!(",{more}}}"), 1);
        Attack::new().row(&format!("{more}, first"), &claiming(before), Malformed);
        Attack::new().row(&format!("{more}, last"), &claiming(after), Malformed);
    }
    let many: String = (0..800).map(|n| format!(r#""n{n}":0,"#)).collect();
    let hidden = CLAIMS.replacen('{', &format!("{{{many}\"n\\u0037\":1,"), 1);
    Attack::new().row("among hundreds", &claiming(hidden), Malformed);
}

#[test]
fn a_required_claim_that_is_missing_is_refused() {
    for name in ["iss", "exp", "aud"] {
        Attack::new().row(name, &claiming(claims_with(name, None)), InvalidClaim);
    }
    Attack::new().row("an empty object", &claiming("{}"), InvalidClaim);
    Attack::new().row("other spellings", &claiming(CLAIMS.replace("\"iss\"", "\"ISS\"")), InvalidClaim);
    Attack::new().row("scope", &claiming(claims_with("scope", None)), InsufficientScope);
    for name in ["sub", "iat"] {
        Attack::new().accepted(name, &claiming(claims_with(name, None)));
    }
}

#[test]
fn a_number_that_is_no_date_is_refused() {
    for name in ["exp", "nbf", "iat"] {
        for value in [
            "-1",
            "-1.5",
            "-9223372036854775808",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "1e400",
            "-1e400",
            "1e18",
            "253402300800",
            "253402300799.5",
            "99999999999999999999",
            "1e99999",
        ] {
            row(name, value, InvalidClaim);
        }
    }
    for value in ["0", "-0", "-0.0", "0.0", "1.5", "1e-400", "1e9"] {
        row("exp", value, Expired);
        accepted("nbf", value);
        accepted("iat", value);
    }
    for value in ["253402300799", "1.800003600e9", "1800003600.5", "18000036e2"] {
        accepted("exp", value);
    }
    accepted("x", "1e400");
}

#[test]
fn time_is_compared_at_the_second() {
    let at = |offset: i64| (i64::try_from(NOW).unwrap() + offset).to_string();
    row("exp", &at(-31), Expired);
    row("exp", &at(-30), Expired);
    accepted("exp", &at(-29));
    for name in ["nbf", "iat"] {
        accepted(name, &at(30));
        row(name, &at(31), NotYetValid);
        row(name, &format!("{}.5", at(30)), NotYetValid);
        row(name, "253402300799", NotYetValid);
    }
}

#[test]
fn a_token_for_another_audience_is_refused() {
    row("aud", "[]", InvalidClaim);
    for value in [
        r#""""#,
        r#""order""#,
        r#""orders2""#,
        r#""ORDERS""#,
        r#"" orders""#,
        r#""orders ""#,
        r#""orders,billing""#,
        r#""orders billing""#,
        r#""orders\u0000""#,
        r#""*""#,
        r#""https://orders""#,
        r#"["billing"]"#,
        r#"[""]"#,
        r#""[\"orders\"]""#,
        r#""\u043erders""#,
    ] {
        row("aud", value, WrongAudience);
    }
    for value in [r#"["billing","orders"]"#, r#"["orders","orders"]"#, r#""\u006frders""#] {
        accepted("aud", value);
    }
}

#[test]
fn a_token_of_an_issuer_that_looks_alike_is_refused() {
    for iss in [
        "",
        "https://victim.exampl",
        "https://victim.example.evil.example",
        "https://victim.example/",
        "https://victim.example/x",
        "https://victim.example#",
        "https://victim.example?",
        "https://victim.example:443",
        "https://VICTIM.example",
        "HTTPS://victim.example",
        "http://victim.example",
        "victim.example",
        "//victim.example",
        "https://victim.example.",
        " https://victim.example",
        "https://victim.example ",
        "https://victim.example\\n",
        "https://victim.example\\u0000",
        "https://user@victim.example",
        "https://victim.example@evil.example",
        "https://evil.example/https://victim.example",
        "https://v\\u0456ctim.example",
        "https://victim\\u3002example",
        "https://victim%2eexample",
        "https:\\\\victim.example",
        "https://victim.example,https://evil.example",
    ] {
        row("iss", &format!("\"{iss}\""), WrongIssuer);
    }
    accepted("iss", r#""https:\/\/victim.e\u0078ample""#);
}

#[test]
fn a_scope_is_a_whole_word() {
    for scope in [
        r#""""#,
        r#"" ""#,
        r#""rea""#,
        r#""reads""#,
        r#""READ""#,
        r#""read:all""#,
        r#""write,read""#,
        r#""write\tread""#,
        r#""write\nread""#,
        r#""write\u00a0read""#,
        r#""*""#,
        "[]",
        r#"["read write"]"#,
        r#"["write"]"#,
    ] {
        row("scope", scope, InsufficientScope);
    }
    for scope in [r#""read""#, r#"" read ""#, r#""write read""#, r#"["write","read"]"#, r#""r\u0065ad""#] {
        accepted("scope", scope);
    }
    let both = claims_with("scp", Some(r#"["read"]"#)).replace("read write", "write");
    Attack::new().row("scp does not add to scope", &claiming(both), InsufficientScope);
}

/// RFC 7800: such a token is worth nothing without its key, and a bearer has shown none.
#[test]
fn a_token_bound_to_a_key_is_no_bearer_token() {
    for value in [r#"{"jkt":"AA"}"#, r#"{"x5t#S256":"AA"}"#, r#"{"jwk":{}}"#, "{}", "[]", r#""x""#, "0", "false"] {
        row("cnf", value, SenderConstrained);
    }
}

#[test]
fn a_token_inside_a_token_is_not_unwrapped() {
    let nested = claiming(good());
    Attack::new().row("a JWT as payload", &nested, Malformed);
    Attack::new().row("in quotes", &claiming(format!("\"{}\"", good())), Malformed);
    Attack::new().row("claims encoded once more", &claiming(b64(CLAIMS)), Malformed);
    let inner = claiming(format!(r#"{{"claims":{CLAIMS}}}"#));
    Attack::new().row("claims one level down", &inner, InvalidClaim);
    let array = claiming(format!("[{CLAIMS}]"));
    Attack::new().row("claims in an array", &array, Malformed);
}
