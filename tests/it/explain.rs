//! Explanations: how far a token came, and nothing that it holds.

use aero2::jose::Algorithm;
use aero2::testing::{Endpoint, Fault, Json, TestIssuer};
use aero2::{CheckOutcome, Error, Explanation, ResourceServer, TokenErrorKind, VerifyOptions};

use crate::support::{World, recorded, secs, token_kind};

const NAMES: [&str; 21] = [
    "clock",
    "length",
    "form",
    "extensions",
    "algorithm",
    "type",
    "key set",
    "key",
    "signature",
    "claims",
    "required",
    "issuer",
    "expiry",
    "begin",
    "audience",
    "token use",
    "scopes",
    "required claims",
    "authentication",
    "sender",
    "custom checks",
];

/// The name and the detail of the check that failed; all before it passed, none after it was reached.
fn failed(explanation: &Explanation) -> Option<(&'static str, String)> {
    let checks: Vec<_> = explanation.checks().collect();
    assert!(checks.iter().map(|check| check.name()).eq(NAMES));
    let at = checks.iter().position(|check| check.outcome() == CheckOutcome::Failed);
    for (n, check) in checks.iter().enumerate() {
        let expected = match at {
            Some(at) if n > at => CheckOutcome::NotReached,
            Some(at) if n == at => CheckOutcome::Failed,
            _ => CheckOutcome::Passed,
        };
        assert_eq!(check.outcome(), expected, "{explanation}");
        assert_eq!(check.detail().is_empty(), expected == CheckOutcome::NotReached, "{explanation}");
    }
    at.map(|at| (checks[at].name(), checks[at].detail().to_owned()))
}

fn server(test: &TestIssuer) -> ResourceServer {
    recorded(test).resource_server().audience("orders").required_scopes(["read", "write"]).build().unwrap()
}

#[test]
fn it_ends_where_verification_ends_and_for_the_same_reason() {
    let world = World::new();
    let test = &world.test;
    let rs = server(test);
    let token = || test.token().audience("orders").scope("read write");
    let soon = aero2::Clock::wall(&world.clock) + secs(60);
    for (text, name, kind) in [
        ("x".repeat(16 * 1024 + 1), "length", TokenErrorKind::TooLong),
        ("no token".into(), "form", TokenErrorKind::Malformed),
        (token().raw_payload("").sign(), "form", TokenErrorKind::Malformed),
        (token().raw_header("{}").sign(), "form", TokenErrorKind::Malformed),
        (token().header("crit", vec!["exp"]).sign(), "extensions", TokenErrorKind::CriticalHeader),
        (token().header("alg", "HS256").sign(), "algorithm", TokenErrorKind::UnsupportedAlgorithm),
        (token().typ("id+jwt").sign(), "type", TokenErrorKind::WrongType),
        (token().key_id("unknown").sign(), "key", TokenErrorKind::UnknownKey),
        (token().header("alg", "ES256").sign(), "key", TokenErrorKind::UnfitKey),
        (token().other_key().sign(), "signature", TokenErrorKind::BadSignature),
        (token().raw_payload("[]").sign(), "claims", TokenErrorKind::Malformed),
        (token().claim("sub", 1).sign(), "claims", TokenErrorKind::InvalidClaim),
        (token().without_claim("exp").sign(), "required", TokenErrorKind::InvalidClaim),
        (token().issuer("https://other.example").sign(), "issuer", TokenErrorKind::WrongIssuer),
        (token().expired().sign(), "expiry", TokenErrorKind::Expired),
        (token().not_before(soon).sign(), "begin", TokenErrorKind::NotYetValid),
        (token().audience("billing").sign(), "audience", TokenErrorKind::WrongAudience),
        (token().token_use("id").sign(), "token use", TokenErrorKind::WrongTokenUse),
        (token().claim("cnf", false).sign(), "sender", TokenErrorKind::SenderConstrained),
        (token().scope("read").sign(), "scopes", TokenErrorKind::InsufficientScope),
    ] {
        let explanation = rs.explain(&text);
        let (failed, detail) = failed(&explanation).unwrap();
        assert_eq!(failed, name, "{explanation}");
        assert!(detail.starts_with(&format!("{kind:?}: ")) && !detail.ends_with(": "), "{explanation}");
        assert_eq!(token_kind(rs.verify_token(&text)), kind, "{name}");
    }
    assert_eq!(failed(&rs.explain(&token().sign())), None);
}

#[test]
fn a_key_without_a_choice_is_named_ambiguous() {
    let test = TestIssuer::new();
    test.rotate_keys();
    let (name, detail) = failed(&server(&test).explain(&test.token().without_key_id().sign())).unwrap();
    assert_eq!((name, detail.as_str()), ("key", "AmbiguousKey: no kid, and several keys would fit"));
}

#[test]
fn the_table_says_what_was_expected_and_what_was_found() {
    let world = World::new();
    world.clock.set_wall(std::time::UNIX_EPOCH + secs(1_796_083_200));
    let token = world.test.token().audience("orders").scope("read").lifetime(secs(600)).sign();
    let table = format!(
        "\
clock           passed       2026-12-01T00:00:00Z
length          passed       {} bytes, at most 16384
form            passed       three parts of base64url
extensions      passed       no crit
algorithm       passed       RS256
type            passed       JWT, at+jwt or absent
key set         passed       1 usable, 0 skipped
key             passed       kid test-rs256-1, 12 bytes
signature       passed       made with the issuer's key
claims          passed       a JSON object, its registered claims of the right types
required        passed       all present
issuer          passed       https://test.aero2.example
expiry          passed       exp 2026-12-01T00:10:00Z, now 2026-12-01T00:00:00Z ± 30 s
begin           passed       nbf none, iat 2026-12-01T00:00:00Z, now 2026-12-01T00:00:00Z ± 30 s
audience        passed       expected orders
token use       passed       access or absent
scopes          FAILED       InsufficientScope: missing write; required read, write
required claims not reached
authentication  not reached
sender          not reached
custom checks   not reached
(an explanation, not a verification)",
        token.len()
    );
    assert_eq!(server(&world.test).explain(&token).to_string(), table);
    let short = server(&world.test).explain("a.b").to_string();
    assert!(short.contains("\nsignature       not reached\nclaims          not reached\n"), "{short}");
}

#[test]
fn details_help_with_what_goes_wrong_most() {
    let test = TestIssuer::new();
    let rs = server(&test);
    let token = || test.token().audience("orders").scope("read write");
    let detail = |token: aero2::testing::TestToken| failed(&rs.explain(&token.sign())).unwrap().1;
    let slash = detail(token().issuer("https://test.aero2.example/"));
    assert_eq!(slash, "WrongIssuer: expected https://test.aero2.example; they differ in a trailing slash only");
    assert_eq!(detail(token().issuer("https://evil.example")), "WrongIssuer: expected https://test.aero2.example");
    assert_eq!(detail(token().without_claim("aud").without_claim("exp")), "InvalidClaim: missing: exp, aud");
    let unknown = detail(token().key_id("rotated-away"));
    assert_eq!(
        unknown,
        "UnknownKey: no key of the issuer has this kid (kid rotated-away, 12 bytes; 1 usable, 0 skipped)"
    );
    let bound = detail(token().claim("cnf", Json::object([("jkt", "abc")])));
    assert_eq!(bound, "SenderConstrained: bound to a DPoP key; certificate shown: none");
    let only_rs = recorded(&test).resource_server().algorithms([Algorithm::Es256, Algorithm::EdDsa]).build().unwrap();
    let (_, algorithm) = failed(&only_rs.explain(&token().sign())).unwrap();
    assert_eq!(algorithm, "UnsupportedAlgorithm: RS256; expected ES256, EdDSA");
}

#[test]
fn no_part_of_the_token_and_no_value_of_a_claim_shows() {
    let test = TestIssuer::new();
    let rs = server(&test);
    let token = || {
        let token = test.token().subject("subject-7391").client_id("client-7391").claim("jti", "id-7391");
        token
            .audience("audience-7391")
            .scope("scope-7391 read")
            .claim("email", "mail-7391")
            .issuer("https://7391.example")
    };
    for text in [
        token().sign(),
        token().issuer(test.url()).sign(),
        token().issuer(test.url()).audience("orders").sign(),
        token().issuer(test.url()).claim("cnf", Json::object([("jkt", "key-7391")])).audience("orders").sign(),
        token().token_use("use-7391").issuer(test.url()).audience("orders").sign(),
        token().typ("type-7391").sign(),
        token().header("alg", "alg-7391").sign(),
        token().key_id("12345678-7391-1234").sign(),
        token().key_id(token().sign()).sign(),
    ] {
        let explanation = rs.explain(&text);
        for shown in [explanation.to_string(), format!("{explanation:?}")] {
            assert!(!shown.contains("7391"), "{shown}");
            for part in text.split('.') {
                assert!(!shown.contains(part), "{shown}");
            }
        }
    }
}

#[test]
fn no_text_of_a_token_breaks_the_table() {
    let test = TestIssuer::new();
    for kid in ["a\nclock           passed", "\u{1b}[2J", "\u{202e}x", "a\tb"] {
        let table = server(&test).explain(&test.token().key_id(kid).sign()).to_string();
        assert_eq!(table.lines().count(), NAMES.len() + 1, "{table}");
        assert!(!table.replace('\n', "").contains(char::is_control) && !table.contains('\u{202e}'), "{table:?}");
    }
}

#[test]
fn what_could_not_be_judged_says_why() {
    let world = World::new();
    let (rs, token) = (server(&world.test), world.test.token().audience("orders").sign());
    world.test.fail(Endpoint::Keys, 1, Fault::status(503));
    let expected = Some(("key set", "key set of test.aero2.example: status 503".to_owned()));
    assert_eq!(failed(&rs.explain(&token)), expected);
    world.clock.set_wall(std::time::UNIX_EPOCH);
    let (name, detail) = failed(&rs.explain(&token)).unwrap();
    assert_eq!((name, detail), ("clock", rs.verify_token(&token).unwrap_err().to_string()));
}

#[test]
fn it_shares_keys_and_budget_with_verification() {
    let test = TestIssuer::new();
    let rs = server(&test);
    let _ = rs.explain(&test.token().sign());
    rs.verify_token(&test.token().audience("orders").scope("read write").sign()).unwrap();
    assert_eq!(test.requests(Endpoint::Keys), 1);

    test.rotate_keys();
    assert_eq!(failed(&rs.explain(&test.token().audience("orders").scope("read write").sign())), None);
    assert_eq!(test.requests(Endpoint::Keys), 2);
    let stray = |n: usize| test.token().audience("orders").key_id(format!("stray-{n}")).sign();
    let ends: Vec<_> = (0..3).map(|n| failed(&rs.explain(&stray(n))).unwrap()).collect();
    let limited = "key set of test.aero2.example: too many unknown key ids, so the issuer is not asked again yet";
    assert_eq!(ends[2], ("key", limited.to_owned()));
    assert!(matches!(rs.verify_token(&stray(3)), Err(Error::Network(_))));
    assert_eq!(test.requests(Endpoint::Keys), 4);
}

#[test]
fn the_cache_of_verified_tokens_is_neither_read_nor_filled() {
    let test = TestIssuer::new();
    let issuer = recorded(&test);
    let rs = issuer.resource_server().verified_token_cache(8).build().unwrap();
    let token = test.token().sign();
    let _ = rs.explain(&token);
    rs.verify_token(&token).unwrap();
    let _ = rs.explain(&token);
    assert_eq!(issuer.stats().verified_cache_hits(), 0);
    rs.verify_token(&token).unwrap();
    assert_eq!(issuer.stats().verified_cache_hits(), 1);
}

#[test]
fn the_options_of_a_call_are_explained_too() {
    let test = TestIssuer::new();
    let (rs, certificate) = (server(&test), b"0 a certificate");
    let token = test.token().audience("orders").scope("read write").claim("cnf", false).sign();
    let options = VerifyOptions::new().audience("billing");
    let (name, detail) = failed(&rs.explain_with(&token, &options).unwrap()).unwrap();
    assert_eq!((name, detail.as_str()), ("audience", "WrongAudience: expected billing"));
    let options = VerifyOptions::new().client_certificate(certificate);
    let (name, detail) = failed(&rs.explain_with(&token, &options).unwrap()).unwrap();
    assert_eq!(name, "sender");
    assert_eq!(detail, "SenderConstrained: bound to something unknown; certificate shown: one");
    let empty = VerifyOptions::new().audiences(Vec::<String>::new());
    assert!(matches!(rs.explain_with(&token, &empty), Err(Error::Config(_))));
}
