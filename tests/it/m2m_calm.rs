//! The tokens of an M2M client under concurrency and in outages (DESIGN §5). Each name is the rule. No test waits for time to pass: a
//! gate holds the issuer's answer back while the others do what they do.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use aero2::testing::{Endpoint, Fault};
use aero2::{AccessToken, Error, IssuerBuilder, M2mClient, NetworkErrorKind, Request, TokenOptions, Transport};

use crate::m2m::{client, world};
use crate::support::pace::{Late, healthy, in_time, within};
use crate::support::recorder::Recorder;
use crate::support::{World, network_kind, secs};

fn minted(world: &World) -> usize {
    world.test.requests(Endpoint::Token)
}

fn forced() -> TokenOptions {
    TokenOptions::new().force_refresh()
}

fn same(one: &AccessToken, other: &AccessToken) -> bool {
    one.expose_secret() == other.expose_secret()
}

fn fail(world: &World, times: u32, status: u16) {
    world.test.fail(Endpoint::Token, times, Fault::status(status));
}

fn refuse(world: &World, times: u32) {
    world.test.fail(Endpoint::Token, times, Fault::json(401, r#"{"error":"invalid_client"}"#));
}

/// An issuer whose requests pass `wrap` first.
fn wrapped<F>(world: &World, wrap: F) -> IssuerBuilder
where
    F: Fn(&Request<'_>) + Send + Sync + 'static,
{
    let inner = world.test.transport();
    world.builder().transport(Recorder::new(move |request: &Request<'_>| {
        wrap(request);
        inner.send(request)
    }))
}

fn is_mint(request: &Request<'_>) -> bool {
    request.url().ends_with("/oauth2/token")
}

fn panicking(m2m: &M2mClient) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| m2m.access_token().map(drop))).is_err()
}

#[test]
fn a_thousand_threads_with_one_cold_access_token_make_one_token_request_and_one_discovery_request() {
    let world = world();
    let m2m = client(&world.issuer());
    let start = Barrier::new(1_000);
    let gate = world.test.gate(Endpoint::Token);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..1_000)
            .map(|_| {
                let caller = || {
                    start.wait();
                    m2m.access_token().unwrap().expose_secret().to_owned()
                };
                thread::Builder::new().stack_size(256 * 1024).spawn_scoped(scope, caller).unwrap()
            })
            .collect();
        gate.wait_until_reached(1);
        gate.release();
        let mut tokens: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        tokens.dedup();
        assert_eq!(tokens.len(), 1);
    });
    assert_eq!((minted(&world), world.test.requests(Endpoint::Discovery)), (1, 1));
}

#[test]
fn one_caller_refreshes_early_and_all_others_get_the_valid_token_at_once() {
    let world = world();
    let m2m = client(&world.issuer());
    let first = m2m.access_token().unwrap();
    world.clock.advance(secs(3_545));
    let gate = world.test.gate(Endpoint::Token);
    thread::scope(|scope| {
        let refresher = scope.spawn(|| m2m.access_token().unwrap());
        gate.wait_until_reached(1);
        for _ in 0..100 {
            assert!(same(&m2m.access_token().unwrap(), &first));
        }
        gate.release();
        assert!(!same(&refresher.join().unwrap(), &first));
    });
    assert_eq!(minted(&world), 2);
}

#[test]
fn an_early_refresh_pays_at_most_the_refresh_timeout_and_a_cold_call_the_whole() {
    let world = world();
    let budgets = Arc::new(Mutex::new(Vec::new()));
    let seen = budgets.clone();
    let issuer = wrapped(&world, move |request| {
        if is_mint(request) {
            seen.lock().unwrap().push(request.timeout());
        }
    });
    let m2m = client(&issuer.timeout(secs(8)).refresh_timeout(secs(2)).build().unwrap());
    m2m.access_token().unwrap();
    world.clock.advance(secs(3_545));
    m2m.access_token().unwrap();
    let budgets = budgets.lock().unwrap();
    assert!(budgets[0] > secs(2) && budgets[0] <= secs(8), "{budgets:?}");
    assert!(budgets[1] <= secs(2), "{budgets:?}");
}

#[test]
fn when_an_early_refresh_fails_the_old_token_serves_on_until_10_seconds_before_its_end() {
    let world = world();
    let m2m = client(&world.issuer());
    let first = m2m.access_token().unwrap();
    fail(&world, 1_000, 503);
    world.clock.advance(secs(3_541));
    let before = minted(&world);
    for _ in 0..48 {
        assert!(same(&m2m.access_token().unwrap(), &first));
        world.clock.advance(secs(1));
    }
    let tries = minted(&world) - before;
    assert!((5..=7).contains(&tries), "the back-off lets {tries} of 48 callers try");
    world.clock.advance(secs(1));
    assert_eq!(network_kind(m2m.access_token()), NetworkErrorKind::Status(503));
}

#[test]
fn a_failed_mint_backs_off_and_inside_it_callers_get_the_last_error_at_once() {
    let world = world();
    let m2m = client(&world.issuer());
    fail(&world, 1, 503);
    m2m.access_token().unwrap_err();
    for _ in 0..100 {
        let err = m2m.access_token().unwrap_err();
        assert_eq!(network_kind(Err::<(), _>(err.clone())), NetworkErrorKind::Status(503));
        assert!(err.retry_after().is_some_and(|wait| wait > secs(0) && wait <= secs(2)));
    }
    assert_eq!(minted(&world), 1);
    world.clock.advance(secs(2));
    m2m.access_token().unwrap();
}

#[test]
fn a_failure_of_one_scope_set_says_nothing_about_another() {
    let world = world();
    let m2m = client(&world.issuer());
    fail(&world, 1, 503);
    m2m.access_token().unwrap_err();
    m2m.access_token_with(&TokenOptions::new().scope("api:write")).unwrap();
    m2m.access_token().unwrap_err();
    assert_eq!(minted(&world), 2);
}

#[test]
fn force_refresh_tries_inside_a_plain_back_off() {
    let world = world();
    let m2m = client(&world.issuer());
    fail(&world, 1, 503);
    m2m.access_token().unwrap_err();
    let token = m2m.access_token_with(&forced()).unwrap();
    m2m.access_token().unwrap();
    assert_eq!(minted(&world), 2);
    // And its success ends the back-off.
    m2m.reject(&token);
    m2m.access_token().unwrap();
    assert_eq!(minted(&world), 3);
}

#[test]
fn retry_after_binds_everybody() {
    let world = world();
    let m2m = client(&world.issuer());
    world.test.fail(Endpoint::Token, 1, Fault::status(429).header("retry-after", "30"));
    assert_eq!(m2m.access_token().unwrap_err().retry_after(), Some(secs(30)));
    world.clock.advance(secs(10));
    for options in [TokenOptions::new(), forced()] {
        assert_eq!(m2m.access_token_with(&options).unwrap_err().retry_after(), Some(secs(20)));
    }
    world.clock.advance(secs(19));
    m2m.access_token_with(&forced()).unwrap_err();
    assert_eq!(minted(&world), 1);
    world.clock.advance(secs(1));
    m2m.access_token_with(&forced()).unwrap();
}

#[test]
fn retry_after_of_a_200_without_a_token_binds_everybody() {
    let world = world();
    let m2m = client(&world.issuer());
    world.test.fail(Endpoint::Token, 1, Fault::garbage().header("retry-after", "30"));
    for options in [TokenOptions::new(), forced(), TokenOptions::new()] {
        assert_eq!(m2m.access_token_with(&options).unwrap_err().retry_after(), Some(secs(30)));
    }
    assert_eq!(minted(&world), 1);
    world.clock.advance(secs(30));
    m2m.access_token_with(&forced()).unwrap();
}

#[test]
fn an_oauth_error_that_is_not_retryable_is_remembered_for_10_seconds_and_binds_everybody() {
    let world = world();
    let m2m = client(&world.issuer());
    refuse(&world, 1);
    for options in [TokenOptions::new(), TokenOptions::new(), forced()] {
        let err = m2m.access_token_with(&options).unwrap_err();
        assert!(matches!(&err, Error::OAuth(e) if e.error_code() == "invalid_client"), "{err:?}");
    }
    world.clock.advance(Duration::from_millis(9_999));
    m2m.access_token_with(&forced()).unwrap_err();
    assert_eq!(minted(&world), 1);
    world.clock.advance(Duration::from_millis(1));
    m2m.access_token().unwrap();
}

#[test]
fn an_oauth_error_with_a_retry_after_is_remembered_for_the_longer_of_both() {
    for (retry_after, remembered) in [("2", 10), ("40", 40)] {
        let world = world();
        let m2m = client(&world.issuer());
        let fault = Fault::json(400, r#"{"error":"invalid_scope"}"#).header("retry-after", retry_after);
        world.test.fail(Endpoint::Token, 1, fault);
        m2m.access_token().unwrap_err();
        world.clock.advance(secs(remembered) - Duration::from_millis(1));
        for options in [TokenOptions::new(), forced()] {
            assert!(matches!(m2m.access_token_with(&options), Err(Error::OAuth(_))), "{retry_after}");
        }
        assert_eq!(minted(&world), 1);
        world.clock.advance(Duration::from_millis(1));
        m2m.access_token().unwrap();
    }
}

#[test]
fn an_oauth_error_that_is_retryable_is_a_plain_failure() {
    let world = world();
    let m2m = client(&world.issuer());
    world.test.fail(Endpoint::Token, 1, Fault::json(503, r#"{"error":"temporarily_unavailable"}"#));
    assert!(m2m.access_token().unwrap_err().is_retryable());
    m2m.access_token_with(&forced()).unwrap();
}

#[test]
fn clear_cache_forgets_our_own_caution_but_not_what_the_issuer_said() {
    let world = world();
    let m2m = client(&world.issuer());
    fail(&world, 1, 503);
    m2m.access_token().unwrap_err();
    m2m.clear_cache();
    m2m.access_token().unwrap();

    world.test.fail(Endpoint::Token, 1, Fault::status(503).header("retry-after", "60"));
    m2m.access_token_with(&forced()).unwrap_err();
    m2m.clear_cache();
    let err = m2m.access_token().unwrap_err();
    assert_eq!(err.retry_after(), Some(secs(60)));
    assert_eq!(network_kind(Err::<(), _>(err)), NetworkErrorKind::Status(503));
    assert_eq!(minted(&world), 3);
}

#[test]
fn callers_after_clear_cache_start_a_new_flight_and_the_old_flights_token_is_not_cached() {
    let world = world();
    let m2m = client(&world.issuer());
    let gate = world.test.gate(Endpoint::Token);
    thread::scope(|scope| {
        let before = scope.spawn(|| m2m.access_token().unwrap());
        gate.wait_until_reached(1);
        m2m.clear_cache();
        let after = scope.spawn(|| m2m.access_token().unwrap());
        gate.wait_until_reached(2);
        gate.let_pass(1);
        gate.let_pass(1);
        let (before, after) = (before.join().unwrap(), after.join().unwrap());
        assert!(!same(&before, &after));
        assert!(same(&m2m.access_token().unwrap(), &after));
    });
    assert_eq!(minted(&world), 2);
}

#[test]
fn a_token_that_lands_after_clear_cache_is_not_cached_even_if_nobody_asked_since() {
    let world = world();
    let m2m = client(&world.issuer());
    let gate = world.test.gate(Endpoint::Token);
    thread::scope(|scope| {
        let before = scope.spawn(|| m2m.access_token().unwrap());
        gate.wait_until_reached(1);
        m2m.clear_cache();
        gate.release();
        let before = before.join().unwrap();
        assert!(!same(&m2m.access_token().unwrap(), &before));
    });
    assert_eq!(minted(&world), 2);
}

#[test]
fn a_retry_after_that_lands_after_clear_cache_binds_all_the_same() {
    let world = world();
    let m2m = client(&world.issuer());
    world.test.fail(Endpoint::Token, 1, Fault::status(429).header("retry-after", "30"));
    let gate = world.test.gate(Endpoint::Token);
    thread::scope(|scope| {
        let before = scope.spawn(|| m2m.access_token().map(drop));
        gate.wait_until_reached(1);
        m2m.clear_cache();
        gate.release();
        before.join().unwrap().unwrap_err();
    });
    assert_eq!(m2m.access_token().unwrap_err().retry_after(), Some(secs(30)));
    assert_eq!(minted(&world), 1);
}

#[test]
fn a_plain_failure_that_lands_after_clear_cache_keeps_nobody_from_asking() {
    let world = world();
    let m2m = client(&world.issuer());
    fail(&world, 1, 503);
    let gate = world.test.gate(Endpoint::Token);
    thread::scope(|scope| {
        let before = scope.spawn(|| m2m.access_token().map(drop));
        gate.wait_until_reached(1);
        m2m.clear_cache();
        gate.release();
        before.join().unwrap().unwrap_err();
    });
    m2m.access_token().unwrap();
}

#[test]
fn a_token_rejected_during_its_refresh_is_served_to_nobody_more() {
    let world = world();
    let m2m = client(&world.issuer());
    let first = m2m.access_token().unwrap();
    world.clock.advance(secs(3_545));
    fail(&world, 1, 503);
    let gate = world.test.gate(Endpoint::Token);
    thread::scope(|scope| {
        let refresher = scope.spawn(|| m2m.access_token().map(drop));
        gate.wait_until_reached(1);
        m2m.reject(&first);
        gate.release();
        assert_eq!(network_kind(refresher.join().unwrap()), NetworkErrorKind::Status(503));
    });
    m2m.access_token().unwrap_err();
    world.clock.advance(secs(2));
    assert!(!same(&m2m.access_token().unwrap(), &first));
}

#[test]
fn force_refresh_never_returns_a_token_that_was_asked_for_before_the_call() {
    let world = world();
    let m2m = client(&world.issuer());
    let gate = world.test.gate(Endpoint::Token);
    thread::scope(|scope| {
        let before = scope.spawn(|| m2m.access_token().unwrap());
        gate.wait_until_reached(1);
        let insistent: Vec<_> = (0..4).map(|_| scope.spawn(|| m2m.access_token_with(&forced()).unwrap())).collect();
        gate.let_pass(1);
        let before = before.join().unwrap();
        gate.release();
        assert!(insistent.into_iter().all(|caller| !same(&caller.join().unwrap(), &before)));
    });
}

#[test]
fn a_waiter_leaves_at_the_end_of_its_own_budget_whatever_the_leader_does() {
    in_time("waiters", |budget| {
        let world = world();
        let (release, held) = mpsc::channel::<()>();
        let (arrived, arrival) = mpsc::channel();
        let held = Mutex::new(held);
        // A transport that does not keep to its time-out.
        let issuer = wrapped(&world, move |request| {
            if is_mint(request) {
                arrived.send(()).unwrap();
                let _ = held.lock().unwrap().recv();
            }
        });
        let m2m = client(&issuer.timeout(budget).build().unwrap());
        thread::scope(|scope| {
            let leader = scope.spawn(|| m2m.access_token());
            arrival.recv_timeout(2 * budget).map_err(|_| Late(String::from("the leader")))?;
            for options in [TokenOptions::new(), forced()] {
                let outcome = within("a waiter", budget, || m2m.access_token_with(&options))?;
                assert_eq!(network_kind(outcome), NetworkErrorKind::Timeout);
            }
            drop(release);
            assert!(leader.join().unwrap().is_ok());
            Ok(())
        })?;
        healthy("later", m2m.access_token()).map(drop)
    });
}

#[test]
fn a_leader_that_panics_wakes_everyone_with_an_error_and_harms_nothing() {
    let world = world();
    let (release, held) = mpsc::channel::<()>();
    let (arrived, arrival) = mpsc::channel();
    let held = Mutex::new(held);
    let first = AtomicBool::new(true);
    let issuer = wrapped(&world, move |request| {
        if is_mint(request) && first.swap(false, Ordering::SeqCst) {
            arrived.send(()).unwrap();
            let _ = held.lock().unwrap().recv();
            panic!("the transport did");
        }
    });
    let m2m = client(&issuer.build().unwrap());
    thread::scope(|scope| {
        let leader = scope.spawn(|| panicking(&m2m));
        arrival.recv().unwrap();
        // Whoever boards before the crash gets its error, whoever comes later leads.
        let waiters: Vec<_> = (0..20).map(|_| scope.spawn(|| m2m.access_token())).collect();
        drop(release);
        assert!(leader.join().unwrap());
        for waiter in waiters {
            if let Err(err) = waiter.join().unwrap() {
                assert_eq!(network_kind(Err::<(), _>(err)), NetworkErrorKind::Io);
            }
        }
    });
    m2m.access_token().unwrap();
}

#[test]
fn a_transport_that_calls_back_on_the_same_thread_gets_an_error_and_no_deadlock() {
    let world = world();
    let own: Arc<Mutex<Option<M2mClient>>> = Arc::default();
    let (seen, inside) = (Arc::new(Mutex::new(Vec::new())), own.clone());
    let kinds = seen.clone();
    let issuer = wrapped(&world, move |request| {
        if is_mint(request) {
            let m2m = inside.lock().unwrap().clone().unwrap();
            for options in [TokenOptions::new(), forced()] {
                kinds.lock().unwrap().push(network_kind(m2m.access_token_with(&options)));
            }
        }
    });
    let m2m = client(&issuer.build().unwrap());
    *own.lock().unwrap() = Some(m2m.clone());
    m2m.access_token().unwrap();
    assert_eq!(*seen.lock().unwrap(), [NetworkErrorKind::Reentrant; 2]);
    *own.lock().unwrap() = None;
}

#[test]
fn a_handler_of_events_may_call_the_client_and_may_panic() {
    let world = world();
    let own: Arc<Mutex<Option<M2mClient>>> = Arc::default();
    let (inside, told) = (own.clone(), Arc::new(AtomicUsize::new(0)));
    let count = told.clone();
    let issuer = world.builder().on_event(move |_| {
        let m2m = inside.lock().unwrap().clone();
        if let Some(m2m) = m2m {
            m2m.access_token().unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            panic!("the handler did");
        }
    });
    let m2m = client(&issuer.build().unwrap());
    *own.lock().unwrap() = Some(m2m.clone());
    m2m.access_token().unwrap();
    assert_eq!(told.load(Ordering::Relaxed), 1);
    *own.lock().unwrap() = None;
}

#[test]
fn the_wait_after_a_failed_discovery_is_our_own_caution_and_binds_no_token_request() {
    let world = world();
    let m2m = client(&world.issuer());
    world.test.fail(Endpoint::Discovery, 1, Fault::transport(NetworkErrorKind::Connect));
    assert_eq!(network_kind(m2m.access_token()), NetworkErrorKind::Connect);
    world.clock.advance(Duration::from_millis(900));
    let err = m2m.access_token().unwrap_err();
    assert_eq!(network_kind(Err::<(), _>(err.clone())), NetworkErrorKind::Connect);
    world.clock.advance(err.retry_after().unwrap());
    m2m.access_token_with(&forced()).unwrap();
}

#[test]
fn force_refresh_tries_for_the_discovery_document_inside_a_plain_back_off_and_not_before_its_retry_after() {
    let world = world();
    let m2m = client(&world.issuer());
    let asked = || world.test.requests(Endpoint::Discovery);
    world.test.fail(Endpoint::Discovery, 2, Fault::transport(NetworkErrorKind::Connect));
    for requests in [1, 2] {
        assert_eq!(network_kind(m2m.access_token_with(&forced())), NetworkErrorKind::Connect);
        assert_eq!(network_kind(m2m.access_token()), NetworkErrorKind::Connect);
        assert_eq!(asked(), requests, "who does not insist asked nobody");
    }
    world.test.fail(Endpoint::Discovery, 1, Fault::status(503).header("retry-after", "30"));
    assert_eq!(m2m.access_token_with(&forced()).unwrap_err().retry_after(), Some(secs(30)));
    m2m.access_token_with(&forced()).unwrap_err();
    assert_eq!(asked(), 3);
    world.clock.advance(secs(30));
    m2m.access_token_with(&forced()).unwrap();
    assert_eq!(asked(), 4);
}
