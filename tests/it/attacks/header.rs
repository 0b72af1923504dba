//! Attacks through the header: what it asks for is never what it gets.

use aero2::TokenErrorKind::{BadSignature, CriticalHeader, Malformed, UnknownKey, UnsupportedAlgorithm, WrongType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::KeyPair as _;

use super::Attack;
use super::forge::{self, CLAIMS, attackers_key, b64, ed_members, headed, keys, members, rsa_numbers, token};

/// RFC 8725 §3.1; CVE-2015-9235.
#[test]
fn alg_none_is_refused_in_any_spelling_with_and_without_a_signature() {
    let attack = Attack::new().without_request();
    for name in ["none", "None", "NONE", "nOnE", "noNe", " none", "none ", "\\u006eone", "none\\u0000", "", " "] {
        let header = format!(r#"{{"alg":"{name}","kid":"ed","typ":"JWT"}}"#);
        attack.row(&format!("{name:?}, signed"), &headed(&header), UnsupportedAlgorithm);
        attack.row(&format!("{name:?}, a byte"), &token(&header, CLAIMS, |_| vec![0]), UnsupportedAlgorithm);
        attack.row(&format!("{name:?}, empty"), &token(&header, CLAIMS, |_| Vec::new()), Malformed);
        let two = format!("{}.{}", b64(&header), b64(CLAIMS));
        attack.row(&format!("{name:?}, no third part"), &two, Malformed);
    }
}

/// RFC 8725 §2.1; CVE-2015-9235.
#[test]
fn no_form_of_the_public_key_is_ever_an_hmac_secret() {
    let attack = Attack::new().without_request();
    let (n, e) = rsa_numbers();
    let point = keys().p256.public_key().as_ref();
    let pkcs1 = keys().rsa.public().as_ref();
    let spki = |algorithm: &[u8], key: &[u8]| der(0x30, &[algorithm, &der(3, &[&[0], key].concat())].concat());
    let rsa_spki = spki(&[0x30, 13, 6, 9, 42, 134, 72, 134, 247, 13, 1, 1, 1, 5, 0], pkcs1);
    let ec_spki = spki(&[0x30, 19, 6, 7, 42, 134, 72, 206, 61, 2, 1, 6, 8, 42, 134, 72, 206, 61, 3, 1, 7], point);
    let secrets: Vec<(&str, Vec<u8>)> = vec![
        ("PEM, SPKI", pem("PUBLIC KEY", &rsa_spki).into_bytes()),
        ("PEM without its last line end", pem("PUBLIC KEY", &rsa_spki).trim_end().as_bytes().to_vec()),
        ("PEM with CRLF", pem("PUBLIC KEY", &rsa_spki).replace('\n', "\r\n").into_bytes()),
        ("PEM, PKCS #1", pem("RSA PUBLIC KEY", pkcs1).into_bytes()),
        ("DER, SPKI", rsa_spki),
        ("DER, PKCS #1", pkcs1.to_vec()),
        ("modulus", n.clone()),
        ("modulus in base64url", b64(&n).into_bytes()),
        ("exponent", e),
        ("JWK text", format!("{{{}}}", members("rsa")).into_bytes()),
        ("key set text", forge::usual_keys().into_bytes()),
        ("point of the EC key", point.to_vec()),
        ("DER of the EC key", ec_spki.clone()),
        ("PEM of the EC key", pem("PUBLIC KEY", &ec_spki).into_bytes()),
        ("Ed25519 key", keys().ed.public_key().as_ref().to_vec()),
        ("kid", b"ed".to_vec()),
        ("nothing", Vec::new()),
    ];
    let algorithms = [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)];
    for (secret_name, secret) in &secrets {
        for (name, algorithm) in algorithms {
            for kid in [r#","kid":"rsa""#, r#","kid":"p256""#, r#","kid":"ed""#, ""] {
                let header = format!(r#"{{"alg":"{name}"{kid}}}"#);
                let mac = |input: &[u8]| hmac::sign(&hmac::Key::new(algorithm, secret), input).as_ref().to_vec();
                let attempt = format!("{name} with {secret_name}{kid}");
                attack.row(&attempt, &token(header, CLAIMS, mac), UnsupportedAlgorithm);
            }
        }
    }
    for name in ["hs256", "HS1", "HS256 ", "Hs512"] {
        attack.row(name, &headed(forge::header(name, "ed")), UnsupportedAlgorithm);
    }
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len().to_be_bytes();
    let len: Vec<u8> = len.into_iter().skip_while(|byte| *byte == 0).collect();
    let short = content.len() < 128;
    let marker = if short { Vec::new() } else { vec![0x80 | u8::try_from(len.len()).unwrap()] };
    [vec![tag], marker, len, content.to_vec()].concat()
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn an_algorithm_is_known_by_its_exact_name_only() {
    let attack = Attack::new().without_request();
    for name in [
        "eddsa",
        "EDDSA",
        "Eddsa",
        "ed25519",
        "Ed448",
        "EdDSA ",
        "rs256",
        "RS256\\u0000",
        "RSA",
        "RS1",
        "RSA1_5",
        "RSA-OAEP",
        "A128KW",
        "A256GCM",
        "dir",
        "ES256K",
        "ES512",
        "ES256K-R",
        "BBS",
        "SHA256",
        "ML-DSA-44",
        "0",
        "*",
    ] {
        attack.row(name, &headed(forge::header(name, "ed")), UnsupportedAlgorithm);
    }
    Attack::new().accepted("RFC 9864's name", &headed(forge::header("Ed25519", "ed")));
}

#[test]
fn a_header_member_of_the_wrong_type_is_refused() {
    let attack = Attack::new().without_request();
    for value in ["null", "true", "1", "[]", "{}", r#"["EdDSA"]"#, r#"{"EdDSA":1}"#, "1e400"] {
        attack.row(&format!("alg {value}"), &headed(format!(r#"{{"alg":{value},"kid":"ed"}}"#)), Malformed);
        for name in ["kid", "typ"] {
            let header = format!(r#"{{"alg":"EdDSA","{name}":{value}}}"#);
            attack.row(&format!("{name} {value}"), &headed(header), Malformed);
        }
    }
    attack.row("no alg", &headed(r#"{"kid":"ed"}"#), Malformed);
    attack.row("nothing", &headed("{}"), Malformed);
    attack.row("another name", &headed(r#"{"ALG":"EdDSA","kid":"ed"}"#), Malformed);
    // What is never read may be anything.
    for name in ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "b64", "cty", "zip", "enc", "epk", "nonce", "x"] {
        for value in ["null", "true", "-1", "1e400", r#""""#, "[]", "{}"] {
            let header = format!(r#"{{"alg":"EdDSA","kid":"ed","{name}":{value}}}"#);
            Attack::new().accepted(&format!("{name} {value}"), &headed(header));
        }
    }
}

#[test]
fn a_duplicate_header_member_is_refused_even_spelled_with_escapes() {
    let attack = Attack::new().without_request();
    for header in [
        r#"{"alg":"EdDSA","alg":"EdDSA","kid":"ed"}"#,
        r#"{"alg":"none","alg":"EdDSA","kid":"ed"}"#,
        r#"{"alg":"EdDSA","kid":"ed","alg":"none"}"#,
        r#"{"alg":"EdDSA","\u0061lg":"none","kid":"ed"}"#,
        r#"{"\u0061\u006C\u0067":"none","alg":"EdDSA","kid":"ed"}"#,
        r#"{"alg":"EdDSA","kid":"ed","kid":"rsa"}"#,
        r#"{"alg":"EdDSA","kid":"ed","\u006bid":"rsa"}"#,
        r#"{"alg":"EdDSA","kid":"ed","typ":"JWT","typ":"JWT"}"#,
        r#"{"alg":"EdDSA","kid":"ed","crit":[],"crit":[]}"#,
        r#"{"alg":"EdDSA","kid":"ed","x":{"y":[{"z":1,"z":1}]}}"#,
        r#"{"alg":"EdDSA","kid":"ed","":1,"":2}"#,
    ] {
        attack.row(header, &headed(header), Malformed);
    }
    Attack::new().accepted("an escape alone is no crime", &headed(r#"{"\u0061lg":"Ed\u0044SA","kid":"\u0065d"}"#));
}

/// RFC 8725 §3.10; CVE-2018-0114. A request to any other URL than the issuer's own would fail the test.
#[test]
fn a_key_that_the_token_brings_along_is_never_used() {
    let attack = Attack::new();
    let own = attackers_key();
    let jwk = format!("{{{}}}", ed_members(own.public_key().as_ref()));
    let certificate = STANDARD.encode([0x30, 0]);
    for (name, member) in [
        ("jwk", format!(r#""jwk":{jwk}"#)),
        ("jwk with our kid", format!(r#""jwk":{}"#, jwk.replacen('{', r#"{"kid":"ed","#, 1))),
        ("jwk as a text", r#""jwk":"https://evil.example/key""#.to_owned()),
        ("jku", r#""jku":"https://evil.example/jwks.json""#.to_owned()),
        ("jku below our host", r#""jku":"https://victim.example/../evil/jwks.json""#.to_owned()),
        ("jku of a file", r#""jku":"file:///etc/passwd""#.to_owned()),
        ("x5u", r#""x5u":"https://evil.example/cert.pem""#.to_owned()),
        ("x5c", format!(r#""x5c":["{certificate}"]"#)),
        ("x5t", r#""x5t":"AAAA","x5t#S256":"AAAA""#.to_owned()),
        ("all", format!(r#""jwk":{jwk},"jku":"https://evil.example","x5u":"https://evil.example","x5c":[]"#)),
    ] {
        let forged = |kid: &str| {
            let header = format!(r#"{{"alg":"EdDSA",{kid}{member}}}"#);
            token(header, CLAIMS, |input| own.sign(input).as_ref().to_vec())
        };
        attack.row(&format!("{name}, our kid"), &forged(r#""kid":"ed","#), BadSignature);
        attack.row(&format!("{name}, no kid"), &forged(""), BadSignature);
        attack.row(&format!("{name}, own kid"), &forged(r#""kid":"evil","#), UnknownKey);
    }
    let harmless = format!(r#"{{"alg":"EdDSA","kid":"ed","jwk":{jwk},"jku":"https://evil.example"}}"#);
    attack.accepted("signed by our key, they are ignored", &headed(harmless));
}

/// RFC 7515 §4.1.11; CVE-2025-59420.
#[test]
fn every_form_of_crit_is_refused() {
    let attack = Attack::new().without_request();
    for value in [
        r#"["exp"]"#,
        r#"["b64"]"#,
        r#"["alg"]"#,
        r#"["crit"]"#,
        r#"["x"]"#,
        r#"["x","x"]"#,
        "[]",
        "null",
        "true",
        "0",
        r#""exp""#,
        "{}",
        r#"[1]"#,
        r#"[[]]"#,
        "1e400",
    ] {
        for name in ["crit", "\\u0063rit", "cri\\u0074"] {
            let header = format!(r#"{{"alg":"EdDSA","kid":"ed","exp":1,"x":1,"{name}":{value}}}"#);
            attack.row(&format!("{name}: {value}"), &headed(header), CriticalHeader);
        }
    }
    attack.row("before a bad alg", &headed(r#"{"alg":"none","crit":[]}"#), CriticalHeader);
    let unencoded =
        forge::parts(&b64(r#"{"alg":"EdDSA","kid":"ed","b64":false,"crit":["b64"]}"#), &b64(CLAIMS), |input| {
            let (header, _) = input.split_at(input.iter().position(|byte| *byte == b'.').unwrap());
            forge::sign("EdDSA", &[header, b".", CLAIMS.as_bytes()].concat())
        });
    attack.row("RFC 7797, signed unencoded", &unencoded, CriticalHeader);
    for value in ["true", "false", "null", r#""no""#] {
        let header = format!(r#"{{"alg":"EdDSA","kid":"ed","b64":{value}}}"#);
        Attack::new().accepted("b64 without crit says nothing", &headed(header));
    }
    Attack::new().accepted("Crit is another member", &headed(r#"{"alg":"EdDSA","kid":"ed","Crit":["x"]}"#));
}

/// RFC 8725 §3.11.
#[test]
fn a_jwt_of_another_kind_is_refused() {
    let attack = Attack::new().without_request();
    for typ in [
        "JOSE",
        "JWE",
        "JOSE+JSON",
        "id+jwt",
        "id_token+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "logout+jwt",
        "token-introspection+jwt",
        "oauth-authz-req+jwt",
        "client-authentication+jwt",
        "vc+jwt",
        "vp+jwt",
        "sd-jwt",
        "dc+sd-jwt",
        "entity-statement+jwt",
        "rt+jwt",
        "kb+jwt",
        "",
        " ",
        "JWT ",
        " JWT",
        "at+jwt;x=y",
        "at + jwt",
        "JWT\\u0000",
        "at+jwt,JWT",
        "application/",
        "application/application/jwt",
        "application/id+jwt",
        "text/jwt",
        "applicationsjwt",
        "application:at+jwt",
        "unheard-of-/JWT",
        "jw\\u0131",
        "\\u212aWT",
    ] {
        attack.row(typ, &headed(format!(r#"{{"alg":"EdDSA","kid":"ed","typ":"{typ}"}}"#)), WrongType);
    }
    for typ in ["JWT", "jwt", "Jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT", "APPLICATION/AT+JWT"]
    {
        Attack::new().accepted(typ, &headed(format!(r#"{{"alg":"EdDSA","kid":"ed","typ":"{typ}"}}"#)));
    }
}

/// A `kid` goes nowhere: no file, no query, no URL, no pattern.
#[test]
fn a_kid_is_compared_and_nothing_else() {
    for kid in [
        "../../../dev/null",
        "/dev/null",
        "' OR '1'='1",
        "ed' UNION SELECT 'x",
        "ed; ls",
        "$(ed)",
        "%65%64",
        "ED",
        "Ed",
        "e",
        "edd",
        " ed",
        "ed ",
        "ed\\n",
        "ed\\u0000",
        "\\u0000",
        "*",
        "e.",
        "^ed$",
        "https://evil.example/key",
        "",
        "null",
        "0",
        "\\u0435d",
    ] {
        Attack::new().row(kid, &headed(forge::header("EdDSA", kid)), UnknownKey);
    }
    let long = "e".repeat(10_000);
    Attack::new().row("a long one", &headed(forge::header("EdDSA", &long)), UnknownKey);
}
