//! What a resource server can require of claims beyond the registered ones, and what it tells of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aero2::testing::{Json, TestIssuer, TestToken};
use aero2::{
    ByIssuer, CheckOutcome, ClaimValue, Claims, Error, Explanation, ResourceServer, TokenErrorKind, VerifyOptions,
};

use crate::support::{World, recorded, secs, token_kind};

fn roles(test: &TestIssuer, roles: Vec<&str>) -> TestToken {
    test.token().claim("realm_access", Json::object([("roles", roles)]))
}

/// Name and detail of the failed check.
fn failed(explanation: &Explanation) -> (&'static str, String) {
    let failed = explanation.checks().find(|check| check.outcome() == CheckOutcome::Failed).unwrap();
    (failed.name(), failed.detail().to_owned())
}

fn detail(explanation: &Explanation, name: &str) -> String {
    explanation.checks().find(|check| check.name() == name).unwrap().detail().to_owned()
}

fn is_config<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Config(_)))
}

#[test]
fn a_required_claim_is_a_text_or_an_array_that_holds_one_of_the_values() {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().require_claim("/realm_access/roles", ["operator", "admin"]);
    let rs = rs.build().unwrap();
    rs.verify_token(&roles(&test, vec!["guest", "admin"]).sign()).unwrap();
    rs.verify_token(&test.token().claim("realm_access", Json::object([("roles", "operator")])).sign()).unwrap();
    let nested = Json::raw(r#"{"roles":[["admin"],{"admin":1},"ADMIN"]}"#);
    for refused in [
        test.token(),
        roles(&test, vec![]),
        roles(&test, vec!["guest"]),
        test.token().claim("realm_access", "operator"),
        test.token().claim("realm_access", Json::object([("roles", "operator admin")])),
        test.token().claim("realm_access", nested),
        test.token().claim("realm_access", Json::object([("roles", Json::null())])),
    ] {
        let error = rs.verify_token(&refused.sign()).unwrap_err();
        assert_eq!((error.token_kind(), error.http_status()), (Some(TokenErrorKind::InsufficientClaim), 403));
        assert_eq!(error.www_authenticate(None).unwrap(), r#"Bearer error="insufficient_scope""#);
    }
}

#[test]
fn each_condition_of_builder_and_call_is_one_more() {
    let test = TestIssuer::new();
    let rs = recorded(&test)
        .resource_server()
        .required_scopes(["a"])
        .required_scopes(["b"])
        .any_scope(["x", "y"])
        .require_claim("/tier", ["gold"])
        .build()
        .unwrap();
    let token = |scope: &str, tier: &str| test.token().scope(scope).claim("tier", tier).sign();
    rs.verify_token(&token("a b y", "gold")).unwrap();
    for scope in ["a y", "b y", "a b"] {
        assert_eq!(token_kind(rs.verify_token(&token(scope, "gold"))), TokenErrorKind::InsufficientScope, "{scope}");
    }
    let more = VerifyOptions::new().any_scope(["p", "q"]).require_claim("/tier", ["gold", "silver"]);
    rs.verify_token_with(&token("a b x q", "gold"), &more).unwrap();
    assert_eq!(token_kind(rs.verify_token_with(&token("a b x", "gold"), &more)), TokenErrorKind::InsufficientScope);
    assert_eq!(token_kind(rs.verify_token_with(&token("a b x q", "silver"), &more)), TokenErrorKind::InsufficientClaim);
}

#[test]
fn a_setting_that_no_token_can_meet_is_a_configuration_error() {
    let test = TestIssuer::new();
    let builder = || recorded(&test).resource_server();
    for outcome in [
        builder().require_claim("roles", ["a"]).build(),
        builder().require_claim("", ["a"]).build(),
        builder().require_claim("/a~2", ["a"]).build(),
        builder().require_claim("/roles", Vec::<String>::new()).build(),
        builder().any_scope(Vec::<String>::new()).build(),
        builder().any_scope(["a b"]).build(),
        builder().required_scopes(["read,write"]).build(),
        builder().resource_metadata("http://api.example/metadata").build(),
        builder().resource_metadata("api.example").build(),
    ] {
        assert!(is_config(&outcome));
    }
    let rs = builder().build().unwrap();
    for options in [
        VerifyOptions::new().require_claim("roles", ["a"]),
        VerifyOptions::new().require_claim("/roles", Vec::<&str>::new()),
        VerifyOptions::new().any_scope(Vec::<&str>::new()),
        VerifyOptions::new().required_scopes(["a,b"]),
        VerifyOptions::new().acr_values(Vec::<&str>::new()),
        VerifyOptions::new().acr_values(["a b"]),
    ] {
        assert!(is_config(&rs.verify_token_with(&test.token().sign(), &options)), "{options:?}");
    }
    let comma = builder().required_scopes(["read,write"]).build().unwrap_err().to_string();
    assert!(comma.contains("comma"), "{comma}");
}

#[test]
fn a_check_of_ones_own_runs_last_and_is_named_in_the_explanation() {
    let test = TestIssuer::new();
    let rs = recorded(&test)
        .resource_server()
        .required_scopes(["read"])
        .custom_check("not on the deny list", |claims: &Claims| claims.subject() != Some("mallory-7391"))
        .build()
        .unwrap();
    let token = |subject: &str| test.token().subject(subject).scope("read").sign();
    rs.verify_token(&token("alice")).unwrap();
    let error = rs.verify_token(&token("mallory-7391")).unwrap_err();
    assert_eq!((error.token_kind(), error.http_status()), (Some(TokenErrorKind::CheckFailed), 401));
    let explanation = rs.explain(&token("mallory-7391"));
    let (name, detail) = failed(&explanation);
    assert_eq!((name, detail.as_str()), ("custom checks", r#"CheckFailed: refused by "not on the deny list""#));
    assert!(!explanation.to_string().contains("7391"));
    let without_scope = test.token().subject("mallory-7391").sign();
    assert_eq!(token_kind(rs.verify_token(&without_scope)), TokenErrorKind::InsufficientScope);
}

#[test]
fn every_requirement_is_checked_again_on_a_token_verified_before() {
    let world = World::new();
    let allowed = Arc::new(AtomicBool::new(true));
    let asked = allowed.clone();
    let issuer = world.issuer();
    let rs = issuer
        .resource_server()
        .verified_token_cache(8)
        .max_token_age(secs(600))
        .custom_check("switch", move |_| asked.load(Ordering::Relaxed))
        .build()
        .unwrap();
    let token = roles(&world.test, vec!["reader"]).lifetime(secs(7200)).sign();
    rs.verify_token(&token).unwrap();
    rs.verify_token(&token).unwrap();
    assert_eq!(issuer.stats().verified_cache_hits(), 1);
    for (options, kind) in [
        (VerifyOptions::new().any_scope(["x"]), TokenErrorKind::InsufficientScope),
        (VerifyOptions::new().require_claim("/realm_access/roles", ["admin"]), TokenErrorKind::InsufficientClaim),
        (VerifyOptions::new().acr_values(["urn:mfa"]), TokenErrorKind::InsufficientAuthentication),
        (VerifyOptions::new().max_auth_age(secs(60)), TokenErrorKind::InsufficientAuthentication),
    ] {
        assert_eq!(token_kind(rs.verify_token_with(&token, &options)), kind);
    }
    allowed.store(false, Ordering::Relaxed);
    assert_eq!(token_kind(rs.verify_token(&token)), TokenErrorKind::CheckFailed);
    allowed.store(true, Ordering::Relaxed);
    world.clock.advance(secs(631));
    assert_eq!(token_kind(rs.verify_token(&token)), TokenErrorKind::Expired);
}

#[test]
fn requirements_hold_through_the_server_for_several_issuers() {
    let test = TestIssuer::new();
    let metadata = "https://api.example/.well-known/oauth-protected-resource";
    let server = || {
        let builder = recorded(&test).resource_server().require_claim("/realm_access/roles", ["admin"]);
        builder.resource_metadata(metadata).build().unwrap()
    };
    let tenants = ByIssuer::new([server()]).unwrap();
    tenants.verify_token(&roles(&test, vec!["admin"]).sign()).unwrap();
    assert_eq!(
        token_kind(tenants.verify_token(&roles(&test, vec!["guest"]).sign())),
        TokenErrorKind::InsufficientClaim
    );
    let options = VerifyOptions::new().acr_values(["urn:mfa"]);
    let refused = tenants.verify_token_with(&roles(&test, vec!["admin"]).sign(), &options);
    assert_eq!(token_kind(refused), TokenErrorKind::InsufficientAuthentication);
    let header = format!("Bearer {}", roles(&test, vec!["admin"]).sign());
    tenants.authorize_all([header.as_bytes()]).unwrap();
    for error in [
        tenants.authorize_all(Vec::<&str>::new()).unwrap_err(),
        tenants.authorize_all([&header, &header]).unwrap_err(),
        tenants.verify_token(&test.token().issuer("https://other.example").sign()).unwrap_err(),
    ] {
        let challenge = error.www_authenticate(None).unwrap();
        assert!(challenge.contains(&format!("resource_metadata=\"{metadata}\"")), "{challenge}");
    }
}

#[test]
fn every_challenge_names_the_metadata_and_a_step_up_names_what_it_needs() {
    let test = TestIssuer::new();
    let metadata = "https://api.example/.well-known/oauth-protected-resource";
    let rs = recorded(&test).resource_server().resource_metadata(metadata).build().unwrap();
    let suffix = format!("resource_metadata=\"{metadata}\"");
    assert_eq!(rs.authorize(None).unwrap_err().www_authenticate(None).unwrap(), format!("Bearer {suffix}"));
    let invalid = rs.authorize(Some("Bearer x")).unwrap_err().www_authenticate(None).unwrap();
    assert_eq!(invalid, format!("Bearer error=\"invalid_token\", {suffix}"));
    let options = VerifyOptions::new().acr_values(["urn:mfa", "urn:key"]).max_auth_age(secs(300));
    let error = rs.verify_token_with(&test.token().sign(), &options).unwrap_err();
    let needed = r#"error="insufficient_user_authentication", acr_values="urn:mfa urn:key", max_age="300""#;
    assert_eq!(error.www_authenticate(None).unwrap(), format!("Bearer {needed}, {suffix}"));
    assert_eq!(error.http_status(), 401);
}

#[test]
fn the_metadata_of_a_resource_is_a_json_document() {
    let test = TestIssuer::with_url("https://acme.aero2.dev");
    let rs = recorded(&test).resource_server().required_scopes(["b", "a"]).any_scope(["c", "a"]).build().unwrap();
    let document = rs.protected_resource_metadata("https://api.example/v1").unwrap();
    let expected = concat!(
        r#"{"resource":"https://api.example/v1","authorization_servers":["https://acme.aero2.dev"],"#,
        r#""scopes_supported":["a","b","c"],"bearer_methods_supported":["header"]}"#
    );
    assert_eq!(document, expected);
    for bad in ["", "api.example", "http://api.example", "https://api.example#x"] {
        assert!(is_config(&rs.protected_resource_metadata(bad)), "{bad}");
    }
}

#[test]
fn the_explanation_shows_what_was_required_and_no_value_of_a_claim() {
    let test = TestIssuer::new();
    let rs: ResourceServer = recorded(&test)
        .resource_server()
        .any_scope(["api:read", "api:admin"])
        .require_claim("/realm_access/roles", ["operator"])
        .max_token_age(secs(600))
        .build()
        .unwrap();
    let options = VerifyOptions::new().acr_values(["urn:mfa"]).max_auth_age(secs(300));
    let token = |role: &str| roles(&test, vec![role]).scope("api:read").claim("acr", "urn:7391");
    let explanation = rs.explain_with(&token("role-7391").sign(), &options).unwrap();
    let (name, reason) = failed(&explanation);
    let expected = "InsufficientClaim: /realm_access/roles has none of the required values";
    assert_eq!((name, reason.as_str()), ("required claims", expected));
    assert_eq!(detail(&explanation, "scopes"), "required one of api:admin, api:read");
    let explanation = rs.explain_with(&token("operator").sign(), &options).unwrap();
    let (name, reason) = failed(&explanation);
    assert_eq!(name, "authentication");
    assert!(reason.contains("acr is not sufficient") && reason.contains("urn:mfa"), "{reason}");
    assert!(!explanation.to_string().contains("7391"), "{explanation}");
    let plain = recorded(&test).resource_server().build().unwrap().explain(&test.token().sign());
    for name in ["scopes", "required claims", "authentication", "custom checks"] {
        assert_eq!(detail(&plain, name), "none required", "{name}");
    }
}

#[test]
fn what_is_passed_in_place_of_a_token_is_told_apart() {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().build().unwrap();
    let token = test.token().sign();
    for (text, hint) in [
        (format!("Bearer {token}"), "scheme"),
        (format!("\"{token}\""), "quotes"),
        (format!("{token}\n"), "line end"),
        ("2YotnFZFEjr1zCsicMWpAA".to_owned(), "opaque"),
        (format!("{token}.AA.AA"), "JWE"),
    ] {
        let (name, detail) = failed(&rs.explain(&text));
        assert!(name == "form" && detail.contains(hint), "{detail}");
    }
}

#[test]
fn a_claim_of_the_wrong_type_is_named() {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().build().unwrap();
    let (_, detail) = failed(&rs.explain(&test.token().claim("client_id", 7391).sign()));
    assert_eq!(detail, "InvalidClaim: client_id is of the wrong type or out of range");
}

#[test]
fn any_claim_can_be_read_by_name_or_pointer() {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().build().unwrap();
    let raw = r#"{"roles":["a",1,null],"o":{"x":true,"n":null,"i":-7,"f":1.5},"gone":null}"#;
    let claims = rs.verify_token(&test.token().claim("x", Json::raw(raw)).sign()).unwrap();
    let x = claims.get("x").unwrap();
    assert!(x.is_object() && !x.is_array() && x.iter().next().is_none() && x.as_str().is_none());
    assert_eq!(x.members().map(|(name, _)| name).collect::<Vec<_>>(), ["roles", "o"]);
    let roles = claims.pointer("/x/roles").unwrap();
    assert!(roles.is_array() && roles.members().next().is_none());
    assert_eq!(roles.iter().map(ClaimValue::as_str).collect::<Vec<_>>(), [Some("a"), None, None]);
    assert_eq!(claims.pointer("/x/o/x").unwrap().as_bool(), Some(true));
    assert_eq!(claims.pointer("/x/o/i").unwrap().as_i64(), Some(-7));
    assert_eq!(claims.pointer("/x/o/f").unwrap().as_f64(), Some(1.5));
    for absent in ["/x/gone", "/x/o/n", "/x/roles/2", "/y", "x", "/x/roles/01"] {
        assert!(claims.pointer(absent).is_none(), "{absent}");
    }
    assert_eq!(format!("{:?}", claims.get("x")), "Some(ClaimValue(..))");
}

#[test]
fn the_client_is_found_whatever_the_issuer_calls_it() {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().build().unwrap();
    let client = |token: TestToken| rs.verify_token(&token.sign()).unwrap().client().map(str::to_owned);
    let plain = || test.token().without_claim("client_id");
    assert_eq!(client(plain()), None);
    for name in ["client_id", "azp", "cid", "appid"] {
        assert_eq!(client(plain().claim(name, "svc")).as_deref(), Some("svc"), "{name}");
    }
    assert_eq!(client(plain().claim("azp", 7).claim("cid", "svc")).as_deref(), Some("svc"));
    assert_eq!(client(test.token().client_id("one").claim("azp", "two")).as_deref(), Some("one"));
}
