//! Where the issuer is not where its name says, endpoints that move, and the waits that the issuer asks for.

use aero2::testing::{Endpoint, Fault, TestIssuer};
use aero2::{Error, Issuer, NetworkErrorKind, TokenErrorKind, TokenOptions};

use crate::support::recorder::Recorder;
use crate::support::{World, network_kind, secs, token_kind};

fn verify(issuer: &Issuer, token: &str) -> Result<(), Error> {
    issuer.resource_server().build().unwrap().verify_token(token).map(drop)
}

/// Over HTTP on loopback: the issuer's name is public, and it is reached at another origin.
#[cfg(feature = "ureq")]
#[test]
fn an_issuer_in_a_container_network_is_reached_at_another_origin_and_iss_stays() {
    let test = TestIssuer::with_url("https://login.example.com");
    let server = test.serve().unwrap();
    for member in ["jwks_uri", "token_endpoint"] {
        test.set_metadata(
            member,
            format!("https://login.example.com/oauth2/{}", if member == "jwks_uri" { "jwks.json" } else { "token" })
                .as_str(),
        );
    }
    test.set_metadata("issuer", "https://login.example.com");
    let issuer = Issuer::builder("https://login.example.com").reach_at(server.url()).build().unwrap();
    verify(&issuer, &test.token().sign()).unwrap();
    assert_eq!(token_kind(verify(&issuer, &server.token().sign())), TokenErrorKind::WrongIssuer);
    test.rotate_keys();
    verify(&issuer, &test.token().sign()).unwrap();
    let m2m = issuer.m2m_client(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build().unwrap();
    m2m.access_token().unwrap();
}

#[test]
fn tokens_may_have_an_iss_of_their_own_and_then_no_other() {
    let test = TestIssuer::new();
    let builder = Issuer::builder(test.url()).transport(Recorder::new(test.transport()));
    let issuer = builder.token_issuer("http://host/adfs/services/trust").build().unwrap();
    verify(&issuer, &test.token().issuer("http://host/adfs/services/trust").sign()).unwrap();
    assert_eq!(token_kind(verify(&issuer, &test.token().sign())), TokenErrorKind::WrongIssuer);
}

#[test]
fn a_given_key_set_needs_no_document() {
    let test = TestIssuer::new();
    test.fail(Endpoint::Discovery, u32::MAX, Fault::status(404));
    let builder = Issuer::builder(test.url()).transport(Recorder::new(test.transport()));
    let issuer = builder.clone().keys_url(format!("{}/oauth2/jwks.json", test.url())).build().unwrap();
    issuer.preload().unwrap();
    verify(&issuer, &test.token().sign()).unwrap();
    let saved = issuer.snapshot().unwrap();
    assert_eq!(test.requests(Endpoint::Discovery), 0);
    assert!(matches!(builder.snapshot(&saved).build(), Err(Error::Config(_))), "a snapshot binds to the addresses");
}

#[test]
fn an_address_that_cannot_be_used_says_what_to_write() {
    let builder = || Issuer::builder("https://a.example").transport(Recorder::new(TestIssuer::new().transport()));
    for (refused, says) in [
        (builder().keys_url("http://idp.internal/keys"), "keys_url"),
        (builder().metadata_url("/realms"), "metadata_url"),
        (builder().token_url("https://u:p@a.example/t"), "token_url"),
        (builder().introspection_url("https://a.example/#x"), "introspection_url"),
        (builder().revocation_url(""), "revocation_url"),
        (builder().reach_at("https://a.example/x"), "https://keycloak:8443"),
        (builder().reach_at("http://keycloak:8080"), "dangerous_allow_http"),
        (builder().token_issuer(""), "token_issuer"),
    ] {
        let Err(error @ Error::Config(_)) = refused.build() else { panic!("taken: {says}") };
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(builder().keys_url("http://127.0.0.1/keys").reach_at("http://[::1]:8080").build().is_ok());
    assert!(builder().dangerous_allow_http().reach_at("http://keycloak:8080").build().is_ok());
}

#[test]
fn discovery_falls_back_to_rfc_8414_and_gives_the_first_error_if_both_fail() {
    for status in [400, 401, 403, 404, 405, 410] {
        let test = TestIssuer::new();
        let issuer = Issuer::builder(test.url()).transport(Recorder::new(test.transport())).build().unwrap();
        test.fail(Endpoint::Discovery, 1, Fault::status(status));
        test.fail(Endpoint::Discovery, 1, Fault::status(500));
        assert_eq!(network_kind(issuer.preload()), NetworkErrorKind::Status(status));
        assert_eq!(test.requests(Endpoint::Discovery), 2);
    }
    let test = TestIssuer::new();
    let issuer = Issuer::builder(test.url()).transport(Recorder::new(test.transport())).build().unwrap();
    test.fail(Endpoint::Discovery, 1, Fault::status(404).header("retry-after", "5"));
    issuer.preload().unwrap_err();
    assert_eq!(test.requests(Endpoint::Discovery), 1, "with a wait there is no second request");
}

#[test]
fn an_endpoint_that_has_moved_is_found_at_the_next_attempt() {
    for fault in [Fault::status(403), Fault::status(301), Fault::status(500), Fault::transport(NetworkErrorKind::Dns)] {
        let world = World::new();
        let issuer = world.issuer();
        let m2m = issuer.m2m_client(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build().unwrap();
        m2m.access_token().unwrap();
        world.clock.advance(secs(100));
        world.test.fail(Endpoint::Token, 1, fault);
        world.test.set_metadata("token_endpoint", format!("{}/oauth2/token?moved", world.test.url()).as_str());
        let forced = TokenOptions::new().force_refresh();
        drop(m2m.access_token_with(&forced));
        assert_eq!(world.test.requests(Endpoint::Discovery), 1);
        m2m.access_token_with(&forced).unwrap();
        assert_eq!(world.test.requests(Endpoint::Discovery), 2);
    }
}

#[test]
fn a_retry_after_binds_every_caller_of_its_endpoint() {
    let world = World::new();
    let issuer = world.issuer();
    let m2m = issuer.m2m_client(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build().unwrap();
    let introspector = issuer.introspector(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build().unwrap();
    issuer.preload().unwrap();
    for endpoint in [Endpoint::Token, Endpoint::Introspection] {
        world.test.fail(endpoint, 1, Fault::status(429).header("retry-after", "60"));
    }
    for resource in 0..20 {
        let options = TokenOptions::new().param("resource", resource.to_string()).force_refresh();
        for error in [m2m.access_token_with(&options).map(drop), introspector.introspect("t").map(drop)] {
            let error = error.unwrap_err();
            assert!(error.is_retryable() && error.retry_after() == Some(secs(60)), "{error}");
        }
    }
    let requests = [Endpoint::Token, Endpoint::Introspection].map(|endpoint| world.test.requests(endpoint));
    assert_eq!((requests, issuer.stats().introspections()), ([1, 1], 1));
    world.clock.advance_wall(secs(60));
    assert!(introspector.introspect("t").is_ok());
}

#[cfg(feature = "ureq")]
#[test]
fn a_revocation_over_http_is_done_though_its_answer_is_beyond_the_limit() {
    let test = TestIssuer::new();
    let server = test.serve().unwrap();
    let revoker = server.issuer().revoker(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build().unwrap();
    test.fail(Endpoint::Revocation, 1, Fault::json(200, vec![b' '; 300_000]));
    revoker.revoke("t", None).unwrap();
}

#[test]
fn a_revocation_is_done_by_any_success_whatever_its_body_says() {
    let test = TestIssuer::new();
    let issuer = Issuer::builder(test.url()).transport(Recorder::new(test.transport())).build().unwrap();
    let revoker = issuer.revoker(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build().unwrap();
    let gzip = Fault::status(200).header("content-encoding", "gzip").body([0x1f, 0x8b, 0]);
    for fault in [Fault::status(204), Fault::status(202), gzip, Fault::garbage(), Fault::json(200, vec![b' '; 300_000])]
    {
        test.fail(Endpoint::Revocation, 1, fault.clone());
        assert!(revoker.revoke("t", None).is_ok(), "{fault:?}");
    }
    test.fail(Endpoint::Revocation, 1, Fault::json(200, r#"{"error":"invalid_request"}"#));
    assert_eq!(network_kind(revoker.revoke("t", None)), NetworkErrorKind::InvalidResponse);
}
