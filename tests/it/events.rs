//! What a program learns while it runs: events, counts, and messages that say where something went wrong.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use aero2::testing::{Endpoint, Fault, TestIssuer};
use aero2::{
    ClientAuth, Error, Event, Issuer, NetworkErrorKind, Request, Response, TokenErrorKind, TokenOptions, TransportError,
};

use crate::support::recorder::Recorder;
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

/// What `fn main() -> Result<(), Error>` prints, and what `{:#}` adds, hold the message.
fn assert_says(error: &Error, parts: &[&str]) {
    for shown in [error.to_string(), format!("{error:#}"), format!("{error:?}")] {
        for part in parts {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }
}

#[test]
fn every_error_of_an_issuer_names_its_host() {
    let world = World::new();
    let host = "test.aero2.example";
    let issuer = world.issuer();
    let rs = issuer.resource_server().build().unwrap();
    world.test.fail(Endpoint::Discovery, 1, Fault::transport(NetworkErrorKind::Connect));
    let failed = rs.verify_token(&world.test.token().sign()).unwrap_err();
    assert_says(&failed, &[&format!("discovery document of {host}: no connection can be made")]);
    let in_back_off = rs.verify_token(&world.test.token().sign()).unwrap_err();
    assert_eq!(in_back_off.to_string(), failed.to_string());

    world.clock.advance(secs(120));
    world.test.fail(Endpoint::Keys, 1, Fault::garbage());
    assert_says(&issuer.preload().unwrap_err(), &[&format!("key set of {host}: the answer is invalid")]);
    world.clock.advance(secs(120));
    issuer.preload().unwrap();
    let unknown = || world.test.token().key_id(format!("{:?}", std::time::Instant::now())).sign();
    let limited =
        (0..20).find_map(|_| rs.verify_token(&unknown()).err().filter(|error| error.network_kind().is_some()));
    assert_says(&limited.unwrap(), &[&format!("key set of {host}: too many unknown key ids")]);

    world.clock.set_wall(std::time::UNIX_EPOCH);
    let unset = rs.verify_token(&world.test.token().sign()).unwrap_err();
    assert_says(&unset, &["the wall clock is not set", host]);
}

#[test]
fn an_error_of_a_client_names_the_client_and_how_it_authenticated() {
    let test = TestIssuer::builder().client_auth_methods(["client_secret_post", "client_secret_basic"]).build();
    let issuer = recorded(&test);
    let m2m = |auth| issuer.m2m_client("svc-orders", "a wrong secret").client_auth(auth).build().unwrap();
    for (auth, method) in [
        (ClientAuth::SecretPost, "client_secret_post was used"),
        (ClientAuth::SecretBasic, "client_secret_basic was used"),
    ] {
        let refused = m2m(auth).access_token().unwrap_err();
        let place = "token endpoint of test.aero2.example for client svc-orders: the issuer refused the request with invalid_client";
        assert_says(&refused, &[place, method, "client_secret_post", "client_secret_basic"]);
    }
    let introspector = issuer.introspector("orders", "a wrong secret").build().unwrap();
    let refused = introspector.introspect("x").unwrap_err();
    assert_says(&refused, &["introspection endpoint of test.aero2.example for client orders"]);
    test.fail(Endpoint::Revocation, 1, Fault::status(500));
    let revoker = issuer.revoker("orders", "secret").build().unwrap();
    let failed = revoker.revoke("x", None).unwrap_err();
    assert_says(&failed, &["revocation endpoint of test.aero2.example for client orders: status 500"]);
}

#[test]
fn a_waiter_whose_time_runs_out_says_what_the_leader_says() {
    let test = TestIssuer::new();
    let (reached, has_reached) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    // It keeps no time-out, so the waiters' time runs out first.
    let (reached, released) = (Mutex::new(reached), Mutex::new(released));
    let stuck = move |_: &Request<'_>| {
        reached.lock().unwrap().send(()).unwrap();
        let _ = released.lock().unwrap().recv();
        Err::<Response, _>(TransportError::new(NetworkErrorKind::Timeout))
    };
    let builder = Issuer::builder(test.url()).timeout(Duration::from_millis(50));
    let issuer = builder.transport(Recorder::new(stuck)).build().unwrap();
    let rs = issuer.resource_server().build().unwrap();
    let m2m = issuer.m2m_client(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build().unwrap();
    let introspector = issuer.introspector("orders", "secret").cache(8, secs(5)).build().unwrap();
    let token = test.token().sign();
    let verify = || rs.verify_token(&token).unwrap_err().to_string();
    let mint = || m2m.access_token().unwrap_err().to_string();
    let introspect = || introspector.introspect(&token).unwrap_err().to_string();
    let calls: [&(dyn Fn() -> String + Sync); 3] = [&verify, &mint, &introspect];
    let said = std::thread::scope(|scope| {
        let leader = scope.spawn(verify);
        has_reached.recv().unwrap();
        let leaders = [scope.spawn(mint), scope.spawn(introspect)].map(|thread| thread.join().unwrap());
        let waiters: Vec<_> = calls.iter().flat_map(|call| [call, call]).map(|call| scope.spawn(call)).collect();
        let waiters: Vec<_> = waiters.into_iter().map(|thread| thread.join().unwrap()).collect();
        drop(release);
        [leaders.to_vec(), waiters, vec![leader.join().unwrap()]].concat()
    });
    assert_eq!(said.len(), 9);
    for message in said {
        assert_eq!(message, "discovery document of test.aero2.example: no complete answer arrived in time");
    }
}
