//! What a program learns while it runs: events, counts, and messages that say where something went wrong.

use std::sync::{Arc, Mutex};

use aero2::testing::{Endpoint, Fault, TestIssuer};
use aero2::{Event, NetworkErrorKind, TokenErrorKind, TokenOptions};

use crate::support::{World, recorded, secs};

#[test]
fn every_count_has_a_name_and_refusals_are_counted_by_kind() {
    let test = TestIssuer::new();
    let issuer = recorded(&test);
    let rs = issuer.resource_server().audience("orders").required_scopes(["read"]).verified_token_cache(8);
    let rs = rs.build().unwrap();
    let good = test.token().audience("orders").scope("read").sign();
    for _ in 0..3 {
        rs.authorize(Some(&format!("Bearer {good}"))).unwrap();
    }
    rs.authorize(None).unwrap_err();
    rs.verify_token("x").unwrap_err();
    rs.verify_token(&test.token().audience("billing").sign()).unwrap_err();
    rs.verify_token(&test.token().audience("billing").sign()).unwrap_err();
    rs.verify_token(&test.token().audience("orders").sign()).unwrap_err();
    drop(rs.explain("x"));

    let stats = issuer.stats();
    assert_eq!((stats.tokens_accepted(), stats.tokens_refused(), stats.verified_cache_hits()), (3, 5, 2));
    for (kind, count) in [
        (TokenErrorKind::MissingToken, 1),
        (TokenErrorKind::Malformed, 1),
        (TokenErrorKind::WrongAudience, 2),
        (TokenErrorKind::InsufficientScope, 1),
        (TokenErrorKind::Expired, 0),
    ] {
        assert_eq!(stats.refused(kind), count, "{kind}");
    }
    let sum: u64 = TokenErrorKind::ALL.iter().map(|kind| stats.refused(*kind)).sum();
    assert_eq!(sum, stats.tokens_refused());

    let named: Vec<_> = stats.iter().collect();
    for expected in [
        ("discovery_fetches", stats.discovery_fetches()),
        ("key_fetches", stats.key_fetches()),
        ("key_fetch_failures", 0),
        ("stale_keys_served", 0),
        ("unknown_kids_refused", 0),
        ("rate_limited", 0),
        ("tokens_minted", 0),
        ("mint_failures", 0),
        ("introspections", 0),
        ("verified_cache_hits", 2),
        ("tokens_accepted", 3),
        ("tokens_refused", 5),
    ] {
        assert!(named.contains(&expected), "{expected:?} in {named:?}");
    }
    let shown = format!("{stats:?}");
    for part in ["tokens_accepted: 3", "wrong_audience: 2", "key_fetches: 1", "clock_skew: "] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!shown.contains("expired"), "{shown}");
}

#[test]
fn a_token_that_could_not_be_judged_counts_as_neither_accepted_nor_refused() {
    let test = TestIssuer::new();
    test.fail(Endpoint::Discovery, 1, Fault::transport(NetworkErrorKind::Connect));
    let issuer = recorded(&test);
    issuer.resource_server().build().unwrap().verify_token(&test.token().sign()).unwrap_err();
    assert_eq!((issuer.stats().tokens_accepted(), issuer.stats().tokens_refused()), (0, 0));
}

#[test]
fn the_first_fetch_of_keys_after_a_failure_says_so() {
    let world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let handler = Arc::clone(&seen);
    let builder = world.builder().on_event(move |event: &Event| handler.lock().unwrap().push(event.to_string()));
    let issuer = builder.build().unwrap();
    issuer.preload().unwrap();
    world.test.fail(Endpoint::Keys, 1, Fault::status(500));
    for _ in 0..3 {
        world.clock.advance(secs(550));
        drop(issuer.refresh_if_due());
    }
    let seen = seen.lock().unwrap();
    let starts: Vec<_> = seen.iter().map(|text| text.split(':').next().unwrap()).collect();
    let expected = ["keys refreshed", "key refresh failed", "keys refreshed again after failures", "keys refreshed"];
    assert_eq!(starts, expected);
}

#[test]
fn the_first_token_after_a_failure_says_so() {
    let world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let handler = Arc::clone(&seen);
    let builder = world.builder().on_event(move |event: &Event| handler.lock().unwrap().push(event.to_string()));
    let m2m = builder.build().unwrap().m2m_client(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build().unwrap();
    world.test.fail(Endpoint::Token, 1, Fault::status(500));
    let other = TokenOptions::new().scope("api:read");
    m2m.access_token().unwrap_err();
    m2m.access_token_with(&other).unwrap();
    for _ in 0..2 {
        world.clock.advance(secs(3_600));
        m2m.access_token().unwrap();
    }
    let seen = seen.lock().unwrap();
    let starts: Vec<_> = seen.iter().map(|text| text.split(':').next().unwrap()).collect();
    let expected = ["minting a token failed", "token minted", "token minted again after failures", "token minted"];
    assert_eq!(starts, expected);
}
