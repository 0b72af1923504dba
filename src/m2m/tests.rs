//! Overlaps that the public API cannot force: the tests see how many callers wait for a flight. The rules that it can show are in
//! `tests/it/m2m.rs` and `tests/it/m2m_calm.rs`.

use std::thread::{self, ScopedJoinHandle};

use super::*;
use crate::testing::{Endpoint as At, Fault, TestIssuer};

fn client(test: &TestIssuer) -> M2mClient {
    test.register_client("svc", "secret", ["api:read"]);
    test.issuer().m2m_client("svc", "secret").build().unwrap()
}

fn flight(m2m: &M2mClient) -> TokenFlight {
    match m2m.0.cache.look(&m2m.0.default, Want::Fresh, m2m.0.issuer.now()) {
        Look::Fetch(flight) => flight,
        _ => panic!("no flight"),
    }
}

/// Runs `during` while the token endpoint is about to answer a first caller and `options` of others wait for it.
fn overlap(
    test: &TestIssuer,
    m2m: &M2mClient,
    options: &[TokenOptions],
    during: impl FnOnce(),
) -> (Outcome, Vec<Outcome>) {
    let gate = test.gate(At::Token);
    let flight = flight(m2m);
    thread::scope(|scope| {
        let leader = scope.spawn(|| m2m.access_token());
        gate.wait_until_reached(1);
        let waiters: Vec<_> = options.iter().map(|options| scope.spawn(|| m2m.access_token_with(options))).collect();
        while flight.waiting() != waiters.len() {
            thread::yield_now();
        }
        during();
        gate.release();
        let join = |caller: ScopedJoinHandle<'_, Outcome>| caller.join().unwrap();
        (join(leader), waiters.into_iter().map(join).collect())
    })
}

fn ten(options: &TokenOptions) -> Vec<TokenOptions> {
    vec![options.clone(); 10]
}

#[test]
fn a_fresh_token_goes_to_all_callers_of_its_flight_whatever_its_lifetime() {
    for lifetime in ["0", "5"] {
        let test = TestIssuer::new();
        let m2m = client(&test);
        let answer = format!(r#"{{"access_token":"t","token_type":"Bearer","expires_in":{lifetime}}}"#);
        test.fail(At::Token, 1, Fault::json(200, answer));
        let (leader, waiters) = overlap(&test, &m2m, &ten(&TokenOptions::new()), || {});
        assert_eq!(leader.unwrap().expose_secret(), "t");
        assert!(waiters.into_iter().all(|waiter| waiter.unwrap().expose_secret() == "t"));
        assert_eq!(test.requests(At::Token), 1);
    }
}

#[test]
fn concurrent_callers_share_one_fetch_errors_included() {
    let test = TestIssuer::new();
    let m2m = client(&test);
    test.fail(At::Token, 1, Fault::status(503));
    let (leader, waiters) = overlap(&test, &m2m, &ten(&TokenOptions::new()), || {});
    let shown = leader.unwrap_err().to_string();
    assert!(waiters.into_iter().all(|waiter| waiter.unwrap_err().to_string() == shown));
    assert_eq!(test.requests(At::Token), 1);
}

#[test]
fn those_who_force_a_refresh_during_a_flight_share_the_one_after_it() {
    let test = TestIssuer::new();
    let m2m = client(&test);
    let (leader, waiters) = overlap(&test, &m2m, &ten(&TokenOptions::new().force_refresh()), || {});
    let tokens: Vec<_> = waiters.into_iter().map(|waiter| waiter.unwrap().expose_secret().to_owned()).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_ne!(leader.unwrap().expose_secret(), tokens[0]);
    assert_eq!(test.requests(At::Token), 2);
}

#[test]
fn those_who_wait_when_the_cache_is_cleared_still_get_their_flights_token() {
    let test = TestIssuer::new();
    let m2m = client(&test);
    let (leader, waiters) = overlap(&test, &m2m, &ten(&TokenOptions::new()), || m2m.clear_cache());
    let token = leader.unwrap();
    assert!(waiters.into_iter().all(|waiter| waiter.unwrap().expose_secret() == token.expose_secret()));
    assert_ne!(m2m.access_token().unwrap().expose_secret(), token.expose_secret());
}

#[test]
fn all_who_wait_for_a_leader_that_panics_get_an_error() {
    let test = TestIssuer::new();
    let m2m = client(&test);
    let flight = flight(&m2m);
    thread::scope(|scope| {
        let takeoff = flight.try_lead().unwrap();
        let waiters: Vec<_> = (0..10).map(|_| scope.spawn(|| m2m.access_token())).collect();
        while flight.waiting() != 10 {
            thread::yield_now();
        }
        drop(takeoff);
        for waiter in waiters {
            let Err(Error::Network(e)) = waiter.join().unwrap() else { panic!("not a network error") };
            assert_eq!(e.kind(), NetworkErrorKind::Io);
        }
    });
    m2m.access_token().unwrap();
}

#[test]
fn a_thread_that_calls_back_into_its_own_issuer_harms_no_other() {
    let test = TestIssuer::new();
    let m2m = client(&test);
    let flight = flight(&m2m);
    let reentrant = Error::network(NetworkErrorKind::Reentrant, Endpoint::Token);
    thread::scope(|scope| {
        let takeoff = flight.try_lead().unwrap();
        let waiter = scope.spawn(|| m2m.access_token());
        while flight.waiting() != 1 {
            thread::yield_now();
        }
        m2m.0.cache.fail(&m2m.0.default, &flight, &reentrant, m2m.0.issuer.now(), 0.5);
        takeoff.land(Landing { outcome: Err(reentrant), asked: true });
        waiter.join().unwrap().unwrap();
    });
}

#[test]
fn what_a_leader_found_in_the_cache_is_not_good_enough_for_a_forced_refresh() {
    let test = TestIssuer::new();
    let m2m = client(&test);
    let old = m2m.access_token().unwrap();
    let flight = flight(&m2m);
    thread::scope(|scope| {
        let first = flight.try_lead().unwrap();
        let insistent = scope.spawn(|| m2m.access_token_with(&TokenOptions::new().force_refresh()));
        while flight.waiting() != 1 {
            thread::yield_now();
        }
        // Another caller takes the next flight before the one who waits wakes up, and looks into the cache only.
        first.land(Landing { outcome: Ok(old.clone()), asked: true });
        if let Some(second) = flight.try_lead() {
            second.land(Landing { outcome: Ok(old.clone()), asked: false });
        }
        assert_ne!(insistent.join().unwrap().unwrap().expose_secret(), old.expose_secret());
    });
    assert_eq!(test.requests(At::Token), 2);
}
