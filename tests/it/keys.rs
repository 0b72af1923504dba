//! The caches of an issuer: discovery document and keys. Each name is the rule.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aero2::testing::{Endpoint, Fault, TestIssuer};
use aero2::{Clock, Error, Issuer, NetworkErrorKind, Request, ResourceServer, Response, TokenErrorKind, Transport};

use crate::support::recorder::Recorder;
use crate::support::{World, network_kind, recorded, secs, token_kind};

fn server(issuer: &Issuer) -> ResourceServer {
    issuer.resource_server().build().unwrap()
}

#[test]
fn discovery_and_keys_are_fetched_once_and_then_cached() {
    let world = World::new();
    let issuer = world.issuer();
    let (one, two) = (server(&issuer), server(&issuer.clone()));
    for _ in 0..10 {
        one.verify_token(&world.test.token().sign()).unwrap();
        two.verify_token(&world.test.token().sign()).unwrap();
    }
    assert_eq!((world.test.requests(Endpoint::Discovery), world.test.requests(Endpoint::Keys)), (1, 1));
    assert_eq!((issuer.stats().discovery_fetches(), issuer.stats().key_fetches()), (1, 1));
}

#[test]
fn making_an_issuer_does_no_io_and_preload_fetches_once() {
    let world = World::new();
    let issuer = world.issuer();
    assert_eq!(world.test.requests(Endpoint::Discovery), 0);
    issuer.preload().unwrap();
    issuer.preload().unwrap();
    server(&issuer).verify_token(&world.test.token().sign()).unwrap();
    assert_eq!((world.test.requests(Endpoint::Discovery), world.test.requests(Endpoint::Keys)), (1, 1));
}

#[test]
fn what_is_wrong_with_a_token_by_itself_costs_no_request() {
    let world = World::new();
    let rs = server(&world.issuer());
    assert_eq!(token_kind(rs.verify_token("a.b")), TokenErrorKind::Malformed);
    assert_eq!(token_kind(rs.verify_token(&"x".repeat(16 * 1024 + 1))), TokenErrorKind::TooLong);
    assert_eq!(token_kind(rs.authorize(Some("Basic eDp5"))), TokenErrorKind::MissingToken);
    assert_eq!(world.test.requests(Endpoint::Discovery), 0);
}

#[test]
fn a_token_that_ends_while_its_keys_are_fetched_is_expired() {
    let world = World::new();
    let (transport, clock) = (world.test.transport(), world.clock.clone());
    let slow = move |request: &Request<'_>| {
        clock.advance(secs(50));
        transport.send(request)
    };
    let rs = server(&world.builder().transport(Recorder::new(slow)).build().unwrap());
    let token = || world.test.token().lifetime(secs(60)).sign();
    assert_eq!(token_kind(rs.verify_token(&token())), TokenErrorKind::Expired);
    assert!(rs.verify_token(&token()).is_ok(), "now the keys are here");
}

#[test]
fn concurrent_first_callers_share_one_fetch() {
    let world = World::new();
    let rs = server(&world.issuer());
    let token = world.test.token().sign();
    let gate = world.test.gate(Endpoint::Discovery);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..50).map(|_| scope.spawn(|| rs.verify_token(&token).map(drop))).collect();
        gate.wait_until_reached(1);
        gate.release();
        assert!(callers.into_iter().all(|caller| caller.join().unwrap().is_ok()));
    });
    assert_eq!((world.test.requests(Endpoint::Discovery), world.test.requests(Endpoint::Keys)), (1, 1));
}

#[test]
fn past_80_percent_of_the_ttl_one_caller_refreshes_and_all_others_are_served_at_once() {
    let world = World::new();
    let rs = server(&world.issuer());
    let token = world.test.token().sign();
    rs.verify_token(&token).unwrap();
    world.clock.advance(secs(479));
    rs.verify_token(&token).unwrap();
    assert_eq!(world.test.requests(Endpoint::Keys), 1);

    world.clock.advance(secs(1));
    let gate = world.test.gate(Endpoint::Keys);
    std::thread::scope(|scope| {
        let refresher = scope.spawn(|| rs.verify_token(&token).map(drop));
        gate.wait_until_reached(1);
        for _ in 0..100 {
            rs.verify_token(&token).unwrap();
        }
        assert!(!refresher.is_finished());
        gate.release();
        refresher.join().unwrap().unwrap();
    });
    assert_eq!(world.test.requests(Endpoint::Keys), 2);
}

#[test]
fn a_caller_whose_key_is_cached_never_waits_while_the_key_set_hangs() {
    let world = World::new();
    let rs = server(&world.issuer());
    let token = world.test.token().sign();
    rs.verify_token(&token).unwrap();
    world.clock.advance(secs(599));
    let gate = world.test.gate(Endpoint::Keys);
    std::thread::scope(|scope| {
        scope.spawn(|| rs.verify_token(&token).map(drop));
        gate.wait_until_reached(1);
        let callers: Vec<_> = (0..1000).map(|_| scope.spawn(|| rs.verify_token(&token).map(drop))).collect();
        // They end although the gate is shut: none waits for the refresher.
        assert!(callers.into_iter().all(|caller| caller.join().unwrap().is_ok()));
        assert_eq!(gate.reached(), 1);
        gate.release();
    });
}

#[test]
fn a_refresh_ahead_that_fails_serves_the_present_keys_and_backs_off() {
    let world = World::new();
    let issuer = world.issuer();
    let rs = server(&issuer);
    let token = world.test.token().sign();
    rs.verify_token(&token).unwrap();
    world.clock.advance(secs(480));
    world.test.fail(Endpoint::Keys, 1, Fault::transport(NetworkErrorKind::Timeout));
    for _ in 0..10 {
        rs.verify_token(&token).unwrap();
    }
    assert_eq!(world.test.requests(Endpoint::Keys), 2);
    assert_eq!((issuer.stats().key_fetch_failures(), issuer.stats().stale_keys_served()), (1, 0));
    world.clock.advance(secs(2));
    rs.verify_token(&token).unwrap();
    assert_eq!(world.test.requests(Endpoint::Keys), 3);
}

#[test]
fn the_refresher_pays_at_most_the_refresh_timeout() {
    let world = World::new();
    let issuer = world.builder().refresh_timeout(Duration::from_millis(50)).build().unwrap();
    let rs = server(&issuer);
    let token = world.test.token().sign();
    rs.verify_token(&token).unwrap();
    world.clock.advance(secs(480));
    let _gate = world.test.gate(Endpoint::Keys);
    let start = Instant::now();
    rs.verify_token(&token).unwrap();
    assert!(start.elapsed() < secs(5), "{:?}", start.elapsed());
}

#[test]
fn keys_serve_on_past_the_ttl_until_max_stale_and_then_fail_closed() {
    let world = World::new();
    let issuer = world.issuer();
    let rs = server(&issuer);
    let token = || world.test.token().sign();
    rs.verify_token(&token()).unwrap();
    world.test.fail(Endpoint::Keys, u32::MAX, Fault::transport(NetworkErrorKind::Connect));
    world.clock.advance(secs(600));
    rs.verify_token(&token()).unwrap();
    assert_eq!(issuer.stats().stale_keys_served(), 1);
    world.clock.advance(secs(3599));
    rs.verify_token(&token()).unwrap();
    world.clock.advance(secs(1));
    assert_eq!(network_kind(rs.verify_token(&token())), NetworkErrorKind::Connect);
    world.test.clear_faults();
    world.clock.advance(secs(60));
    rs.verify_token(&token()).unwrap();
}

#[test]
fn within_the_back_off_callers_without_a_key_get_the_last_error_at_once() {
    let world = World::new();
    let rs = server(&world.issuer());
    let token = world.test.token().sign();
    world.test.fail(Endpoint::Keys, 1, Fault::status(503));
    for _ in 0..10 {
        assert_eq!(network_kind(rs.verify_token(&token)), NetworkErrorKind::Status(503));
    }
    assert_eq!(world.test.requests(Endpoint::Keys), 1);
    world.clock.advance(secs(2));
    rs.verify_token(&token).unwrap();
}

#[test]
fn retry_after_is_honoured_in_seconds_and_as_a_date_and_clamped() {
    for (value, honoured) in [("7", 7), ("0", 1), ("99999999999", 300), ("Thu, 01 Jan 1970 00:00:00 GMT", 1)] {
        let world = World::new();
        let issuer = world.issuer();
        world.test.fail(Endpoint::Keys, 1, Fault::status(404).header("Retry-After", value));
        world.test.fail(Endpoint::Keys, 1, Fault::status(404).header("Retry-After", value));
        let error = issuer.preload().unwrap_err();
        assert_eq!(error.retry_after(), Some(secs(honoured)), "{value}");
        world.clock.advance(secs(honoured) - Duration::from_millis(1));
        let asked = world.test.requests(Endpoint::Keys);
        assert_eq!(issuer.preload().unwrap_err().retry_after(), Some(Duration::from_millis(1)), "{value}");
        assert_eq!(world.test.requests(Endpoint::Keys), asked);
    }
}

#[test]
fn retry_after_counts_on_any_status_and_on_a_200_that_is_not_what_it_must_be() {
    let too_long = Fault::json(200, vec![b' '; 256 * 1024 + 1]);
    let compressed = Fault::json(200, "{}").header("content-encoding", "gzip");
    let others = [Fault::garbage(), Fault::json(200, "{}"), Fault::json(200, [0xff]), too_long, compressed];
    for fault in others.into_iter().chain([204, 302, 403, 429, 500].map(Fault::status)) {
        for endpoint in [Endpoint::Discovery, Endpoint::Keys] {
            let world = World::new();
            let issuer = world.issuer();
            world.test.fail(endpoint, 1, fault.clone().header("retry-after", "90"));
            assert_eq!(issuer.preload().unwrap_err().retry_after(), Some(secs(90)), "{fault:?}");
            world.clock.advance(secs(89));
            issuer.preload().unwrap_err();
            assert_eq!(world.test.requests(endpoint), 1, "{fault:?}");
            world.clock.advance(secs(1));
            issuer.preload().unwrap();
        }
    }
}

#[test]
fn attempts_to_fetch_the_keys_are_counted_and_so_are_those_that_failed() {
    let world = World::new();
    let issuer = world.issuer();
    let counts =
        || (issuer.stats().discovery_fetches(), issuer.stats().key_fetches(), issuer.stats().key_fetch_failures());
    world.test.fail(Endpoint::Discovery, 1, Fault::status(500));
    issuer.preload().unwrap_err();
    assert_eq!(counts(), (1, 0, 0), "without a discovery document nobody knows where to ask");
    world.clock.advance(secs(2));
    issuer.preload().unwrap();
    assert_eq!(counts(), (2, 1, 0));
    for fault in [Fault::transport(NetworkErrorKind::Connect), Fault::status(503), Fault::garbage()] {
        world.clock.advance(secs(540));
        world.test.fail(Endpoint::Keys, 1, fault);
        issuer.refresh_if_due().unwrap_err();
        world.clock.advance(secs(60));
        issuer.refresh_if_due().unwrap();
    }
    assert_eq!(counts(), (5, 7, 3), "an endpoint that fails may have moved");
    world.clock.advance(secs(540));
    world.test.fail(Endpoint::Keys, 1, Fault::status(404));
    world.test.set_metadata("jwks_uri", format!("{}/oauth2/jwks.json?moved", world.test.url()).as_str());
    issuer.refresh_if_due().unwrap();
    assert_eq!(counts(), (6, 9, 4), "the old place and the new one");
}

#[test]
fn max_age_of_the_key_set_is_honoured_and_clamped() {
    for (max_age, fresh_for) in [(300, 300), (0, 60), (1_000_000, 86_400)] {
        let world = World::new();
        let clock = world.clock.clone();
        let test = TestIssuer::builder().clock(clock.clone()).keys_max_age(secs(max_age)).build();
        let issuer = Issuer::builder(test.url())
            .transport(Recorder::new(test.transport()))
            .clock(clock.clone())
            .build()
            .unwrap();
        issuer.preload().unwrap();
        clock.advance(secs(fresh_for * 8 / 10) - secs(1));
        issuer.refresh_if_due().unwrap();
        assert_eq!(test.requests(Endpoint::Keys), 1, "{max_age}");
        clock.advance(secs(1));
        issuer.refresh_if_due().unwrap();
        assert_eq!(test.requests(Endpoint::Keys), 2, "{max_age}");
    }
}

#[test]
fn a_rotated_key_is_picked_up_by_the_first_token_that_it_signed() {
    let world = World::new();
    let rs = server(&world.issuer());
    let old = world.test.token().sign();
    rs.verify_token(&old).unwrap();
    world.test.rotate_keys();
    rs.verify_token(&world.test.token().sign()).unwrap();
    rs.verify_token(&old).unwrap();
    assert_eq!(world.test.requests(Endpoint::Keys), 2);
}

#[test]
fn a_key_that_has_left_the_key_set_stops_verifying_with_the_next_refresh() {
    let world = World::new();
    let issuer = world.issuer();
    let rs = server(&issuer);
    let old = world.test.token().sign();
    rs.verify_token(&old).unwrap();
    world.test.rotate_keys_dropping_old();
    rs.verify_token(&old).unwrap();
    rs.verify_token(&world.test.token().sign()).unwrap();
    assert_eq!(token_kind(rs.verify_token(&old)), TokenErrorKind::UnknownKey);
    assert_eq!(issuer.stats().unknown_kids_refused(), 1);
}

#[test]
fn a_kid_that_the_issuer_does_not_have_is_asked_about_after_5_10_20_and_then_each_30_seconds() {
    let world = World::new();
    let rs = server(&world.issuer());
    let odd = world.test.token().key_id("no such key").sign();
    for (n, pause) in [5, 10, 20, 30, 30].into_iter().enumerate() {
        for _ in 0..100 {
            assert_eq!(token_kind(rs.verify_token(&odd)), TokenErrorKind::UnknownKey);
        }
        world.clock.advance(secs(pause) - Duration::from_millis(1));
        assert_eq!(token_kind(rs.verify_token(&odd)), TokenErrorKind::UnknownKey);
        assert_eq!(world.test.requests(Endpoint::Keys), n + 2);
        world.clock.advance(Duration::from_millis(1));
    }
}

/// One answer of a CDN edge that is behind, a coming kid that an attacker sends first, a key that is published after its first token.
#[test]
fn a_key_that_is_published_after_the_issuer_was_asked_for_it_verifies_within_seconds() {
    for published_after in [1, 3, 4] {
        let world = World::new();
        let rs = server(&world.issuer());
        rs.verify_token(&world.test.token().sign()).unwrap();
        let behind = world.test.key_set();
        world.test.rotate_keys();
        let token = world.test.token().sign();
        world.test.fail(Endpoint::Keys, 1, Fault::json(200, behind));
        assert_eq!(token_kind(rs.verify_token(&token)), TokenErrorKind::UnknownKey);
        world.clock.advance(secs(published_after));
        assert_eq!(token_kind(rs.verify_token(&token)), TokenErrorKind::UnknownKey);
        world.clock.advance(secs(5 - published_after));
        rs.verify_token(&token).unwrap();
    }
}

#[test]
fn a_back_off_and_a_refused_kid_of_before_a_suspend_rule_no_longer_after_it() {
    let world = World::new();
    let rs = server(&world.issuer());
    rs.verify_token(&world.test.token().sign()).unwrap();
    world.test.fail(Endpoint::Keys, 1, Fault::status(503).header("retry-after", "300"));
    let odd = world.test.token().key_id("odd").sign();
    assert_eq!(network_kind(rs.verify_token(&odd)), NetworkErrorKind::Status(503));
    world.clock.advance_wall(secs(299));
    assert_eq!(network_kind(rs.verify_token(&odd)), NetworkErrorKind::Status(503));
    world.clock.advance_wall(secs(1));
    assert_eq!(token_kind(rs.verify_token(&odd)), TokenErrorKind::UnknownKey);
    world.clock.advance_wall(secs(5));
    let asked = world.test.requests(Endpoint::Keys);
    assert_eq!(token_kind(rs.verify_token(&odd)), TokenErrorKind::UnknownKey);
    assert_eq!(world.test.requests(Endpoint::Keys), asked + 1);
}

#[test]
fn a_withdrawn_key_stops_verifying_when_the_machine_wakes_from_a_long_sleep() {
    let world = World::new();
    let rs = server(&world.issuer());
    let token = || world.test.token().lifetime(secs(1_000_000)).sign();
    let old = token();
    rs.verify_token(&old).unwrap();
    world.test.rotate_keys_dropping_old();
    world.clock.advance_wall(secs(5 * 24 * 3600));
    assert_eq!(token_kind(rs.verify_token(&old)), TokenErrorKind::UnknownKey);
    rs.verify_token(&token()).unwrap();
}

#[test]
fn past_the_budget_for_unknown_kids_the_answer_is_rate_limited_at_once() {
    let world = World::new();
    let issuer = world.issuer();
    let rs = server(&issuer);
    rs.verify_token(&world.test.token().sign()).unwrap();
    for kid in ["a", "b", "c"] {
        assert_eq!(token_kind(rs.verify_token(&world.test.token().key_id(kid).sign())), TokenErrorKind::UnknownKey);
    }
    let error = rs.verify_token(&world.test.token().key_id("d").sign()).unwrap_err();
    assert_eq!(error.retry_after(), Some(secs(30)));
    assert!(error.is_retryable());
    assert_eq!((error.http_status(), error.www_authenticate(None)), (503, None));
    assert_eq!(network_kind::<()>(Err(error)), NetworkErrorKind::RateLimited);
    assert_eq!(world.test.requests(Endpoint::Keys), 4);
    assert_eq!((issuer.stats().rate_limited(), issuer.stats().unknown_kids_refused()), (1, 3));
    // Whose key is cached notices nothing.
    rs.verify_token(&world.test.token().sign()).unwrap();
}

#[test]
fn an_unknown_kid_of_a_token_that_would_be_refused_anyway_costs_no_request() {
    let world = World::new();
    let rs = world.issuer().resource_server().audience("orders").build().unwrap();
    let good = || world.test.token().audience("orders").key_id("unknown");
    rs.verify_token(&world.test.token().audience("orders").sign()).unwrap();
    for token in [
        good().audience("billing").sign(),
        good().issuer("https://other.example").sign(),
        good().expired().sign(),
        good().token_use("id").sign(),
        good().raw_payload("not json").sign(),
    ] {
        assert_eq!(token_kind(rs.verify_token(&token)), TokenErrorKind::UnknownKey);
    }
    assert_eq!(world.test.requests(Endpoint::Keys), 1);
    assert_eq!(token_kind(rs.verify_token(&good().sign())), TokenErrorKind::UnknownKey);
    assert_eq!(world.test.requests(Endpoint::Keys), 2);
}

#[test]
fn concurrent_callers_with_unknown_kids_share_one_refetch() {
    let world = World::new();
    let rs = server(&world.issuer());
    rs.verify_token(&world.test.token().sign()).unwrap();
    let tokens: Vec<_> = (0..20).map(|n| world.test.token().key_id(format!("k{n}")).sign()).collect();
    let gate = world.test.gate(Endpoint::Keys);
    let barrier = std::sync::Barrier::new(tokens.len());
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| rs.verify_token(&world.test.token().key_id("leader").sign()).map(drop));
        gate.wait_until_reached(1);
        let callers: Vec<_> = tokens
            .iter()
            .map(|token| {
                scope.spawn(|| {
                    barrier.wait();
                    rs.verify_token(token).map(drop)
                })
            })
            .collect();
        gate.let_pass(1);
        assert_eq!(token_kind(leader.join().unwrap()), TokenErrorKind::UnknownKey);
        gate.release();
        for caller in callers {
            assert!(caller.join().unwrap().is_err());
        }
    });
    // One for the flight that all joined; a caller that came after it had landed may have drawn one of the two attempts left.
    assert!(world.test.requests(Endpoint::Keys) <= 4);
}

#[test]
fn attempts_that_fail_cost_as_much_of_the_budget_for_unknown_kids_as_others() {
    let world = World::new();
    let rs = server(&world.issuer());
    let odd = |n: u32| world.test.token().key_id(format!("k{n}")).sign();
    rs.verify_token(&world.test.token().sign()).unwrap();
    world.test.fail(Endpoint::Keys, 3, Fault::status(500));
    for (n, back_off) in [2, 4, 8].into_iter().enumerate() {
        assert_eq!(network_kind(rs.verify_token(&odd(0))), NetworkErrorKind::Status(500));
        assert_eq!(world.test.requests(Endpoint::Keys), n + 2);
        world.clock.advance(secs(back_off));
    }
    assert_eq!(network_kind(rs.verify_token(&odd(1))), NetworkErrorKind::RateLimited, "14 s after the first of three");
    world.clock.advance(secs(16));
    assert_eq!(token_kind(rs.verify_token(&odd(1))), TokenErrorKind::UnknownKey);
    assert_eq!(world.test.requests(Endpoint::Keys), 5);
}

#[test]
fn an_unknown_kid_during_an_outage_is_a_network_error_and_no_refusal() {
    let world = World::new();
    let rs = server(&world.issuer());
    rs.verify_token(&world.test.token().sign()).unwrap();
    world.test.fail(Endpoint::Keys, u32::MAX, Fault::transport(NetworkErrorKind::Connect));
    let odd = world.test.token().key_id("new").sign();
    assert_eq!(network_kind(rs.verify_token(&odd)), NetworkErrorKind::Connect);
    assert_eq!(network_kind(rs.verify_token(&odd)), NetworkErrorKind::Connect);
    assert_eq!(world.test.requests(Endpoint::Keys), 2, "the second was inside the back-off");
    rs.verify_token(&world.test.token().sign()).unwrap();
}

#[test]
fn discovery_is_read_again_when_the_key_set_url_has_gone() {
    for status in [404, 410] {
        let world = World::new();
        let issuer = world.issuer();
        issuer.preload().unwrap();
        world.clock.advance(secs(480));
        world.test.fail(Endpoint::Keys, 1, Fault::status(status));
        world.test.set_metadata("jwks_uri", format!("{}/oauth2/jwks.json?moved", world.test.url()).as_str());
        issuer.refresh_if_due().unwrap();
        assert_eq!((world.test.requests(Endpoint::Discovery), world.test.requests(Endpoint::Keys)), (2, 3), "{status}");
    }
}

#[test]
fn the_discovery_document_lives_for_24_hours_and_serves_on_if_it_cannot_be_read_again() {
    let world = World::new();
    let issuer = world.issuer();
    let m2m = issuer.m2m_client(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build().unwrap();
    let read = |at: u64, from: u64| {
        world.clock.advance(secs(at - from));
        m2m.access_token().unwrap();
        world.test.requests(Endpoint::Discovery)
    };
    let day = 24 * 3_600;
    assert_eq!(read(0, 0), 1);
    assert_eq!(read(day * 4 / 5 - 1, 0), 1);
    world.test.fail(Endpoint::Discovery, u32::MAX, Fault::status(500));
    assert_eq!(read(day * 4 / 5 + 3_600, day * 4 / 5 - 1), 2, "one caller reads it ahead of need");
    assert_eq!(read(20 * day, day * 4 / 5 + 3_600), 3);
    world.test.clear_faults();
    assert_eq!(read(20 * day + 3_600, 20 * day), 4);
    assert_eq!(read(20 * day + 7_200, 20 * day + 3_600), 4);
}

#[test]
fn the_oauth_metadata_document_is_read_where_there_is_no_openid_configuration() {
    let test = TestIssuer::builder().oauth_metadata_only().build();
    recorded(&test).preload().unwrap();
    assert_eq!(test.requests(Endpoint::Discovery), 2);
}

#[test]
fn a_document_of_another_issuer_is_refused() {
    let test = TestIssuer::new();
    test.fail(Endpoint::Discovery, 1, Fault::wrong_issuer("https://evil.example"));
    assert_eq!(network_kind(recorded(&test).preload()), NetworkErrorKind::IssuerMismatch);

    test.fail(Endpoint::Discovery, 1, Fault::wrong_issuer(format!("{}/", test.url())));
    let error = recorded(&test).preload().unwrap_err();
    assert!(error.to_string().contains("trailing slash"), "{error}");
}

#[test]
fn a_discovery_document_that_names_a_plain_http_key_set_is_refused() {
    for url in
        ["http://test.aero2.example/keys", "http://127.0.0.1/keys", "ftp://x/keys", "https://user@x/keys", "/keys"]
    {
        let test = TestIssuer::new();
        test.set_metadata("jwks_uri", url);
        assert_eq!(network_kind(recorded(&test).preload()), NetworkErrorKind::InvalidResponse, "{url}");
        assert_eq!(test.requests(Endpoint::Keys), 0, "{url}");
    }
}

#[test]
fn an_endpoint_is_checked_when_it_is_first_needed() {
    let test = TestIssuer::new();
    test.set_metadata("revocation_endpoint", "http://evil.example/");
    let issuer = recorded(&test);
    issuer.preload().unwrap();
    let revoker = issuer.revoker(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build().unwrap();
    assert_eq!(network_kind(revoker.revoke("t", None)), NetworkErrorKind::InvalidResponse);
    assert_eq!(test.requests(Endpoint::Revocation), 0);
}

#[test]
fn an_answer_that_is_no_key_set_loses_no_key() {
    let bodies: [&[u8]; 9] = [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b"{\"keys\":{}}",
        b"{\"keys\":[],\"keys\":[]}",
        b"\xef\xbb\xbf{\"keys\":[]}",
        b"{\"keys\":[\xff]}",
        b"{\"keys\":[]",
    ];
    for body in bodies {
        let world = World::new();
        let issuer = world.issuer();
        let rs = server(&issuer);
        rs.verify_token(&world.test.token().sign()).unwrap();
        world.clock.advance(secs(700));
        world.test.fail(Endpoint::Keys, 1, Fault::json(200, body));
        assert_eq!(network_kind(issuer.refresh_if_due()), NetworkErrorKind::InvalidResponse, "{body:?}");
        rs.verify_token(&world.test.token().sign()).unwrap();
    }
}

#[test]
fn statuses_compression_and_size_of_a_key_set_are_judged() {
    let cases = [
        (Fault::status(302).header("location", "https://evil.example"), NetworkErrorKind::Status(302)),
        (Fault::status(500).body(vec![b'x'; 300 * 1024]), NetworkErrorKind::Status(500)),
        (Fault::status(204), NetworkErrorKind::InvalidResponse),
        (Fault::json(200, "{\"keys\":[]}").header("Content-Encoding", "gzip"), NetworkErrorKind::InvalidResponse),
        (
            Fault::json(200, "{\"keys\":[]}").header("content-encoding", "identity").header("content-encoding", "br"),
            NetworkErrorKind::InvalidResponse,
        ),
        (Fault::json(200, vec![b' '; 256 * 1024 + 1]), NetworkErrorKind::TooLarge),
        (Fault::json(200, vec![b' '; 256 * 1024]), NetworkErrorKind::InvalidResponse),
    ];
    for (fault, kind) in cases {
        let test = TestIssuer::new();
        test.fail(Endpoint::Keys, 1, fault);
        assert_eq!(network_kind(recorded(&test).preload()), kind);
    }
}

#[test]
fn a_waiter_is_bounded_by_its_own_timeout() {
    let world = World::new();
    let issuer = world.builder().timeout(Duration::from_millis(60)).build().unwrap();
    let gate = world.test.gate(Endpoint::Discovery);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..5).map(|_| scope.spawn(|| issuer.preload())).collect();
        for caller in callers {
            assert_eq!(network_kind(caller.join().unwrap()), NetworkErrorKind::Timeout);
        }
    });
    gate.release();
}

#[test]
fn a_transport_that_calls_back_into_its_issuer_is_told_so() {
    let test = TestIssuer::new();
    let inner = test.transport();
    let cell: Arc<std::sync::OnceLock<Issuer>> = Arc::default();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let transport = {
        let (cell, seen) = (cell.clone(), seen.clone());
        move |request: &Request<'_>| {
            let issuer = cell.get().unwrap();
            let introspector = issuer.introspector("x", "y").build().unwrap();
            seen.lock().unwrap().push(network_kind(issuer.preload()));
            seen.lock().unwrap().push(network_kind(introspector.introspect("t")));
            inner.send(request)
        }
    };
    let issuer = Issuer::builder(test.url()).transport(Recorder::new(transport)).build().unwrap();
    cell.set(issuer.clone()).unwrap();
    issuer.preload().unwrap();
    let seen = seen.lock().unwrap();
    assert!(!seen.is_empty() && seen.iter().all(|kind| *kind == NetworkErrorKind::Reentrant), "{seen:?}");
}

#[test]
fn a_transport_that_panics_wakes_everyone_and_breaks_nothing() {
    let test = TestIssuer::new();
    let inner = test.transport();
    let panics = Arc::new(AtomicBool::new(true));
    let transport = {
        let panics = panics.clone();
        move |request: &Request<'_>| -> Result<Response, _> {
            assert!(!panics.load(Ordering::SeqCst), "the transport's own panic");
            inner.send(request)
        }
    };
    let issuer = Issuer::builder(test.url()).transport(Recorder::new(transport)).build().unwrap();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| issuer.preload())).collect();
        for caller in callers {
            match caller.join() {
                Err(_) => {}
                Ok(outcome) => assert_eq!(network_kind(outcome), NetworkErrorKind::Io),
            }
        }
    });
    panics.store(false, Ordering::SeqCst);
    issuer.preload().unwrap();
}

#[test]
fn an_unset_wall_clock_judges_no_token_and_fetches_nothing() {
    let world = World::new();
    let rs = server(&world.issuer());
    let token = world.test.token().sign();
    world.clock.set_wall(std::time::UNIX_EPOCH);
    let error = rs.verify_token(&token).unwrap_err();
    assert!(matches!(error, Error::Clock(_)));
    assert_eq!((error.http_status(), error.is_retryable()), (503, true));
    assert_eq!(world.test.requests(Endpoint::Discovery), 0);
}

#[test]
fn a_step_of_the_wall_clock_back_harms_no_key_and_one_forward_makes_it_due() {
    let world = World::new();
    let rs = server(&world.issuer());
    rs.verify_token(&world.test.token().sign()).unwrap();
    for (wall, requests) in [(1_767_225_600, 1), (4_000_000_000, 2), (1_800_000_000, 2), (4_000_000_001, 2)] {
        world.clock.set_wall(std::time::UNIX_EPOCH + secs(wall));
        rs.verify_token(&world.test.token().sign()).unwrap();
        assert_eq!(world.test.requests(Endpoint::Keys), requests, "{wall}");
    }
}

#[test]
fn what_failed_before_the_wall_clock_was_set_keeps_no_one_from_asking_after() {
    let world = World::new();
    let now = world.clock.wall();
    world.clock.set_wall(std::time::UNIX_EPOCH);
    world.test.fail(Endpoint::Discovery, 6, Fault::transport(NetworkErrorKind::Tls));
    let issuer = world.issuer();
    for _ in 0..6 {
        assert_eq!(network_kind(issuer.preload()), NetworkErrorKind::Tls);
        world.clock.advance_monotonic(secs(60));
    }
    world.test.fail(Endpoint::Discovery, 1, Fault::transport(NetworkErrorKind::Tls));
    let wait = issuer.preload().unwrap_err().retry_after().unwrap();
    assert!(wait >= secs(30), "{wait:?}");
    world.clock.set_wall(now);
    issuer.preload().unwrap();
}

#[test]
fn refresh_if_due_tells_how_a_due_refresh_went_and_costs_nothing_when_none_is() {
    let world = World::new();
    let issuer = world.issuer();
    issuer.refresh_if_due().unwrap();
    issuer.refresh_if_due().unwrap();
    assert_eq!(world.test.requests(Endpoint::Keys), 1);
    world.clock.advance(secs(480));
    world.test.fail(Endpoint::Keys, 1, Fault::status(500));
    assert_eq!(network_kind(issuer.refresh_if_due()), NetworkErrorKind::Status(500));
    world.clock.advance(secs(2));
    issuer.refresh_if_due().unwrap();
    assert_eq!(world.test.requests(Endpoint::Keys), 3);
}

#[test]
fn refresh_if_due_refreshes_the_keys_even_if_the_discovery_document_cannot_be_had() {
    let world = World::new();
    let issuer = world.builder().key_ttl(secs(600)).build().unwrap();
    issuer.preload().unwrap();
    world.clock.advance(secs(24 * 3600));
    world.test.fail(Endpoint::Discovery, 1, Fault::status(500));
    let _ = issuer.refresh_if_due();
    assert_eq!(world.test.requests(Endpoint::Discovery), 2);
    assert_eq!(world.test.requests(Endpoint::Keys), 2);
}

#[test]
fn unusable_members_of_a_key_set_are_skipped() {
    let test = TestIssuer::new();
    test.publish_jwk(r#"{"kty":"oct","k":"AAAA","kid":"o"}"#);
    test.publish_jwk(r#"{"kty":"XYZ"}"#);
    let issuer = recorded(&test);
    issuer.resource_server().build().unwrap().verify_token(&test.token().sign()).unwrap();
}
