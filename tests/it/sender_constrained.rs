//! Tokens that are bound to a key of their sender.

use aero2::testing::{Json, TestIssuer};
use aero2::{Error, SenderConstraint, TokenErrorKind, VerifyOptions};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use crate::support::{World, recorded, token_kind};

/// Two texts that pass for certificates: the thumbprint is all that counts.
const CERTIFICATE: &[u8] = b"0 one certificate";
const ANOTHER: &[u8] = b"0 another certificate";

fn thumbprint(certificate: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, certificate))
}

fn shown(certificate: &[u8]) -> VerifyOptions {
    VerifyOptions::new().client_certificate(certificate)
}

/// A `cnf` of every form that says something.
fn bindings() -> Vec<Json> {
    vec![
        Json::object([("jkt", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")]),
        Json::object([("x5t#S256", thumbprint(CERTIFICATE))]),
        Json::object([("x5t#S256", thumbprint(CERTIFICATE).as_str()), ("jkt", "abc")]),
        Json::object([("jwk", Json::raw(r#"{"kty":"OKP"}"#))]),
        Json::object::<&str, Json>([]),
        Json::from("text"),
        Json::from(false),
        Json::from(vec![1, 2]),
    ]
}

#[test]
fn a_token_that_is_bound_to_something_is_no_bearer_token() {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().build().unwrap();
    for cnf in bindings() {
        let token = test.token().claim("cnf", cnf.clone()).sign();
        let error = rs.verify_token(&token).unwrap_err();
        assert_eq!((error.http_status(), error.to_string().as_str()), (401, "invalid token"), "{cnf}");
        assert_eq!(error.www_authenticate(None).unwrap(), r#"Bearer error="invalid_token""#);
        assert_eq!(token_kind::<()>(Err(error)), TokenErrorKind::SenderConstrained, "{cnf}");
        assert!(rs.authorize(Some(&format!("Bearer {token}"))).is_err());
    }
}

#[test]
fn the_certificate_of_the_connection_satisfies_a_token_that_is_bound_to_it() {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().build().unwrap();
    let bound = test.token().claim("cnf", Json::object([("x5t#S256", thumbprint(CERTIFICATE))])).sign();
    let claims = rs.verify_token_with(&bound, &shown(CERTIFICATE)).unwrap();
    let confirmation = claims.confirmation().unwrap();
    assert_eq!((confirmation.x5t_s256(), confirmation.jkt()), (Some(&*thumbprint(CERTIFICATE)), None));

    for options in [VerifyOptions::new(), shown(ANOTHER)] {
        assert_eq!(token_kind(rs.verify_token_with(&bound, &options)), TokenErrorKind::SenderConstrained);
    }
    let claims = rs.verify_token_with(&test.token().sign(), &shown(CERTIFICATE)).unwrap();
    assert!(claims.confirmation().is_none());
}

#[test]
fn a_certificate_alone_does_not_satisfy_what_asks_for_more() {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().build().unwrap();
    let thumbprint = thumbprint(CERTIFICATE);
    for other in ["jkt", "kid", "new-method"] {
        let cnf = Json::object([("x5t#S256", thumbprint.as_str()), (other, "abc")]);
        let outcome = rs.verify_token_with(&test.token().claim("cnf", cnf).sign(), &shown(CERTIFICATE));
        assert_eq!(token_kind(outcome), TokenErrorKind::SenderConstrained, "{other}");
    }
}

#[test]
fn where_bound_tokens_are_required_a_plain_one_is_refused() {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().sender_constrained(SenderConstraint::Require).build().unwrap();
    let plain = test.token().sign();
    for options in [VerifyOptions::new(), shown(CERTIFICATE)] {
        assert_eq!(token_kind(rs.verify_token_with(&plain, &options)), TokenErrorKind::SenderConstrained);
    }
    let bound = test.token().claim("cnf", Json::object([("x5t#S256", thumbprint(CERTIFICATE))])).sign();
    rs.verify_token_with(&bound, &shown(CERTIFICATE)).unwrap();
    assert_eq!(token_kind(rs.verify_token_with(&bound, &shown(ANOTHER))), TokenErrorKind::SenderConstrained);
}

#[test]
fn a_caller_that_checks_itself_sees_what_to_check() {
    let test = TestIssuer::new();
    let mode = SenderConstraint::DangerousIgnore;
    let rs = recorded(&test).resource_server().sender_constrained(mode).build().unwrap();
    for cnf in bindings() {
        let claims = rs.verify_token(&test.token().claim("cnf", cnf.clone()).sign()).unwrap();
        assert!(claims.confirmation().is_some(), "{cnf}");
    }
    let cnf = Json::object([("jkt", "abc"), ("x5t#S256", &thumbprint(CERTIFICATE))]);
    let both = test.token().claim("cnf", cnf).sign();
    let claims = rs.verify_token_with(&both, &shown(CERTIFICATE)).unwrap();
    assert_eq!(claims.confirmation().unwrap().jkt(), Some("abc"));
    assert_eq!(token_kind(rs.verify_token_with(&both, &shown(ANOTHER))), TokenErrorKind::SenderConstrained);
}

#[test]
fn the_binding_is_checked_again_on_a_token_verified_before() {
    let world = World::new();
    let issuer = world.issuer();
    let rs = issuer.resource_server().verified_token_cache(8).build().unwrap();
    let bound = world.test.token().claim("cnf", Json::object([("x5t#S256", thumbprint(CERTIFICATE))])).sign();
    rs.verify_token_with(&bound, &shown(CERTIFICATE)).unwrap();
    rs.verify_token_with(&bound, &shown(CERTIFICATE)).unwrap();
    assert_eq!(issuer.stats().verified_cache_hits(), 1);
    for options in [VerifyOptions::new(), shown(ANOTHER)] {
        assert_eq!(token_kind(rs.verify_token_with(&bound, &options)), TokenErrorKind::SenderConstrained);
    }
}

#[test]
fn the_binding_is_checked_after_the_use_of_the_token_and_its_scopes() {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().required_scopes(["read"]).build().unwrap();
    let bound = test.token().claim("cnf", Json::object([("jkt", "abc")]));
    assert_eq!(token_kind(rs.verify_token(&bound.sign())), TokenErrorKind::InsufficientScope);
    let session = bound.clone().token_use("session").sign();
    assert_eq!(token_kind(rs.verify_token(&bound.scope("read").sign())), TokenErrorKind::SenderConstrained);
    assert_eq!(token_kind(rs.verify_token(&session)), TokenErrorKind::WrongTokenUse);
}

#[test]
fn a_certificate_that_is_no_der_is_a_configuration_error() {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().build().unwrap();
    let token = test.token().sign();
    for certificate in [&b""[..], b"-----BEGIN CERTIFICATE-----"] {
        assert!(matches!(rs.verify_token_with(&token, &shown(certificate)), Err(Error::Config(_))));
    }
}

#[test]
fn debug_shows_neither_thumbprint_nor_certificate() {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().build().unwrap();
    let bound = test.token().claim("cnf", Json::object([("x5t#S256", thumbprint(CERTIFICATE))])).sign();
    let claims = rs.verify_token_with(&bound, &shown(CERTIFICATE)).unwrap();
    assert_eq!(format!("{claims:?} {:?}", claims.confirmation()), "Claims(..) Some(Confirmation(..))");
}
