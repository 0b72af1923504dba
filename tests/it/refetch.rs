//! When the issuer is asked again for keys because of a token: unknown kids, new keys under old kids, floods, and who waits for whom.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use aero2::jose::{Algorithm, JwkSet};
use aero2::testing::{Endpoint, Fault, ManualClock, TestIssuer};
use aero2::{
    Clock, Error, Event, Issuer, IssuerBuilder, NetworkErrorKind, Request, ResourceServer, Response, TokenErrorKind,
    Transport, TransportError,
};

use crate::support::recorder::Recorder;
use crate::support::{World, network_kind, recorded, secs, token_kind};

const MS: Duration = Duration::from_millis(1);

fn server(issuer: &Issuer) -> ResourceServer {
    issuer.resource_server().build().unwrap()
}

fn kid_of(key_set: &str) -> String {
    JwkSet::parse(key_set).unwrap().iter().last().unwrap().kid().unwrap().to_owned()
}

/// Another key under the kid of the one before, from now on; gives a token that it signed.
fn replace_key(test: &TestIssuer) -> String {
    let before = kid_of(&test.key_set());
    test.rotate_keys_dropping_old();
    let set = test.key_set();
    test.fail(Endpoint::Keys, u32::MAX, Fault::json(200, set.replace(&kid_of(&set), &before)));
    test.token().key_id(before).sign()
}

#[test]
fn a_new_key_under_an_old_kid_verifies_when_the_keys_are_over_a_minute_old() {
    let world = World::new();
    let rs = server(&world.issuer());
    let old = world.test.token().sign();
    rs.verify_token(&old).unwrap();
    let new = replace_key(&world.test);
    world.clock.advance(secs(60));
    assert_eq!(token_kind(rs.verify_token(&new)), TokenErrorKind::BadSignature);
    assert_eq!(world.test.requests(Endpoint::Keys), 1);
    world.clock.advance(MS);
    rs.verify_token(&new).unwrap();
    assert_eq!(world.test.requests(Endpoint::Keys), 2);
    assert_eq!(token_kind(rs.verify_token(&old)), TokenErrorKind::BadSignature);
    assert_eq!(world.test.requests(Endpoint::Keys), 2, "these keys are new");
}

#[test]
fn a_new_key_of_an_issuer_without_kids_verifies_when_the_keys_are_over_a_minute_old() {
    let world = World::new();
    let rs = server(&world.issuer());
    let without_kid = |set: String| set.replace(r#""kid""#, r#""no-kid""#);
    let publish = || world.test.fail(Endpoint::Keys, 1, Fault::json(200, without_kid(world.test.key_set())));
    publish();
    rs.verify_token(&world.test.token().without_key_id().sign()).unwrap();
    world.test.rotate_keys_dropping_old();
    publish();
    let new = world.test.token().without_key_id().sign();
    assert_eq!(token_kind(rs.verify_token(&new)), TokenErrorKind::BadSignature);
    world.clock.advance(secs(61));
    rs.verify_token(&new).unwrap();
}

#[test]
fn a_key_of_another_type_under_an_old_kid_verifies_when_the_keys_are_over_a_minute_old() {
    let world = World::new();
    let rs = server(&world.issuer());
    rs.verify_token(&world.test.token().sign()).unwrap();
    let other =
        TestIssuer::builder().url(world.test.url()).clock(world.clock.clone()).algorithm(Algorithm::Es256).build();
    let (old_kid, set) = (kid_of(&world.test.key_set()), other.key_set());
    world.test.fail(Endpoint::Keys, 1, Fault::json(200, set.replace(&kid_of(&set), &old_kid)));
    let new = other.token().key_id(old_kid).sign();
    assert_eq!(token_kind(rs.verify_token(&new)), TokenErrorKind::UnfitKey);
    world.clock.advance(secs(61));
    rs.verify_token(&new).unwrap();
}

#[test]
fn a_bad_signature_of_a_token_that_would_be_refused_anyway_costs_no_request() {
    let world = World::new();
    let rs = world.issuer().resource_server().audience("orders").build().unwrap();
    rs.verify_token(&world.test.token().audience("orders").sign()).unwrap();
    world.clock.advance(secs(61));
    let forged = || world.test.token().audience("orders").bad_signature();
    for token in [
        forged().audience("billing").sign(),
        forged().issuer("https://other.example").sign(),
        forged().expired().sign(),
        forged().token_use("id").sign(),
        forged().raw_payload("not json").sign(),
    ] {
        assert_eq!(token_kind(rs.verify_token(&token)), TokenErrorKind::BadSignature);
    }
    assert_eq!(world.test.requests(Endpoint::Keys), 1);
    assert_eq!(token_kind(rs.verify_token(&forged().sign())), TokenErrorKind::BadSignature);
    assert_eq!(world.test.requests(Endpoint::Keys), 2);
}

#[test]
fn a_bad_signature_stays_one_when_the_refetch_fails_is_backed_off_from_or_is_past_the_budget() {
    let world = World::new();
    let rs = server(&world.issuer());
    rs.verify_token(&world.test.token().sign()).unwrap();
    world.clock.advance(secs(61));
    let forged = world.test.token().bad_signature().sign();
    world.test.fail(Endpoint::Keys, 3, Fault::status(500));
    for (n, back_off) in [2, 4, 8].into_iter().enumerate() {
        for _ in 0..3 {
            assert_eq!(token_kind(rs.verify_token(&forged)), TokenErrorKind::BadSignature);
            assert_eq!(world.test.requests(Endpoint::Keys), n + 2);
        }
        world.clock.advance(secs(back_off));
    }
    assert_eq!(token_kind(rs.verify_token(&forged)), TokenErrorKind::BadSignature);
    assert_eq!(world.test.requests(Endpoint::Keys), 4, "the bucket is empty");
    let odd = world.test.token().key_id("odd").sign();
    assert_eq!(network_kind(rs.verify_token(&odd)), NetworkErrorKind::RateLimited, "it is the same bucket");
}

/// Forged tokens with the known kid, with random kids, and with the coming kid, each half second; good tokens as often.
#[test]
fn whatever_is_sent_a_published_key_verifies_within_30_seconds_and_under_an_old_kid_within_95() {
    for (start, replaces) in [(0, false), (31, false), (59, false), (90, false), (0, true), (64, true), (118, true)] {
        let clock = ManualClock::new();
        let test = TestIssuer::builder().clock(clock.clone()).algorithm(Algorithm::Es256).build();
        let rs = server(&recorded(&test));
        let good = test.token().lifetime(secs(1_000)).sign();
        rs.verify_token(&good).unwrap();
        let coming = {
            let preview = TestIssuer::builder().url(test.url()).algorithm(Algorithm::Es256).build();
            preview.rotate_keys();
            kid_of(&preview.key_set())
        };
        let (_, rest) = good.split_once('.').unwrap();
        let forged = |kid: &str| format!("{}.{rest}", base64_url(&format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#)));
        let attacks = [forged(&kid_of(&test.key_set())), forged(&coming)];
        let (mut new, mut waited) = (None, None);
        for half in 0..2 * (start + 100) {
            if half == 2 * start {
                new = Some(if replaces {
                    replace_key(&test)
                } else {
                    test.rotate_keys();
                    test.token().sign()
                });
            }
            for attack in attacks.iter().chain([&forged(&format!("kid-{half}"))]) {
                let verified = rs.verify_token(attack);
                assert!(verified.is_err() || waited.is_some());
            }
            if let Some(token) = new.as_ref().filter(|_| waited.is_none()) {
                waited = rs.verify_token(token).is_ok().then(|| half / 2 - start);
            }
            clock.advance(500 * MS);
        }
        let bound = if replaces { 95 } else { 30 };
        assert!(
            waited.is_some_and(|waited| waited <= bound),
            "{waited:?} s, published at {start}, replaces: {replaces}"
        );
        // The first fetch, the burst, one each 30 s.
        let most = usize::try_from(1 + 3 + (start + 100) / 30).unwrap();
        assert!(test.requests(Endpoint::Keys) <= most, "{}", test.requests(Endpoint::Keys));
    }
}

fn base64_url(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

#[test]
fn while_the_issuer_hangs_16_callers_wait_for_a_refetch_and_all_others_get_their_answer_at_once() {
    let world = World::new();
    let issuer = world.builder().timeout(secs(120)).refresh_timeout(secs(100)).build().unwrap();
    let rs = server(&issuer);
    rs.verify_token(&world.test.token().sign()).unwrap();
    world.clock.advance(secs(61));
    let odd: Vec<_> = (0..64).map(|n| world.test.token().key_id(format!("k{n}")).sign()).collect();
    let gate = world.test.gate(Endpoint::Keys);
    let (told, outcomes) = mpsc::channel();
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| rs.verify_token(&odd[0]).map(drop));
        gate.wait_until_reached(1);
        for token in &odd[1..] {
            let (told, rs) = (told.clone(), &rs);
            scope.spawn(move || told.send(rs.verify_token(token).map(drop)).unwrap());
        }
        for _ in 0..63 - 16 {
            let error = outcomes.recv_timeout(secs(60)).unwrap().unwrap_err();
            assert!(error.retry_after().is_some() && error.http_status() == 503);
            assert_eq!(network_kind::<()>(Err(error)), NetworkErrorKind::RateLimited);
        }
        let forged = world.test.token().bad_signature().sign();
        assert_eq!(token_kind(rs.verify_token(&forged)), TokenErrorKind::BadSignature, "at once");
        rs.verify_token(&world.test.token().sign()).unwrap();
        assert_eq!((gate.reached(), outcomes.try_recv().is_err()), (1, true));
        gate.release();
        assert_eq!(token_kind(leader.join().unwrap()), TokenErrorKind::UnknownKey);
        for _ in 0..16 {
            assert_eq!(token_kind(outcomes.recv_timeout(secs(60)).unwrap()), TokenErrorKind::UnknownKey);
        }
    });
}

#[test]
fn who_waits_for_anothers_refetch_waits_for_the_refresh_timeout_and_the_leader_for_the_whole_timeout() {
    let world = World::new();
    let issuer = world.builder().timeout(secs(100)).refresh_timeout(30 * MS).build().unwrap();
    let rs = server(&issuer);
    rs.verify_token(&world.test.token().sign()).unwrap();
    world.test.rotate_keys();
    let token = world.test.token().sign();
    let gate = world.test.gate(Endpoint::Keys);
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| rs.verify_token(&token).map(drop));
        gate.wait_until_reached(1);
        let start = Instant::now();
        let error = rs.verify_token(&token).unwrap_err();
        assert!(start.elapsed() >= 30 * MS && error.retry_after().is_some());
        assert_eq!(network_kind::<()>(Err(error)), NetworkErrorKind::Timeout);
        assert!(!leader.is_finished());
        gate.release();
        leader.join().unwrap().unwrap();
    });
}

/// How long each request for the keys may take, by the issuer's default settings.
fn timeouts(world: &World) -> (IssuerBuilder, Arc<Mutex<Vec<Duration>>>) {
    let (transport, timeouts) = (world.test.transport(), Arc::new(Mutex::new(Vec::new())));
    let noted = timeouts.clone();
    let noting = move |request: &Request<'_>| -> Result<Response, TransportError> {
        if request.url().ends_with("jwks.json") {
            noted.lock().unwrap().push(request.timeout());
        }
        transport.send(request)
    };
    (world.builder().transport(Recorder::new(noting)), timeouts)
}

#[test]
fn a_refresh_past_the_time_to_live_may_use_the_whole_timeout() {
    let world = World::new();
    let (builder, timeouts) = timeouts(&world);
    let rs = server(&builder.build().unwrap());
    for advance in [0, 480, 600] {
        world.clock.advance(secs(advance));
        rs.verify_token(&world.test.token().sign()).unwrap();
    }
    let seconds: Vec<_> = timeouts.lock().unwrap().iter().map(Duration::as_secs_f64).map(f64::ceil).collect();
    assert_eq!(seconds, [10.0, 3.0, 10.0]);
}

#[test]
fn a_key_set_without_a_usable_key_is_a_failed_refresh() {
    for set in [r#"{"keys":[]}"#, r#"{"keys":[{}]}"#, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#, r#"{"keys":[null,7]}"#]
    {
        let world = World::new();
        let issuer = world.issuer();
        let rs = server(&issuer);
        rs.verify_token(&world.test.token().sign()).unwrap();
        world.clock.advance(secs(600));
        world.test.fail(Endpoint::Keys, 1, Fault::json(200, set));
        let error = issuer.refresh_if_due().unwrap_err();
        assert!(error.to_string().contains("it contains no usable key"), "{error}");
        assert_eq!(network_kind::<()>(Err(error)), NetworkErrorKind::InvalidResponse);
        rs.verify_token(&world.test.token().sign()).unwrap();
        assert_eq!(issuer.stats().stale_keys_served(), 1);
        world.clock.advance(secs(2));
        issuer.refresh_if_due().unwrap();
    }
}

#[test]
fn the_age_of_a_key_set_from_a_cache_on_the_way_shortens_its_time_to_live() {
    for (max_age, age, fresh_for) in
        [("3600", "3590", 60), ("3600", "600", 3000), ("3600", "x", 3600), ("60", "7200", 60)]
    {
        let world = World::new();
        let issuer = world.issuer();
        let set = Fault::json(200, world.test.key_set());
        let from_cache = set.header("cache-control", format!("public, max-age={max_age}")).header("age", age);
        world.test.fail(Endpoint::Keys, 1, from_cache);
        issuer.preload().unwrap();
        world.clock.advance(secs(fresh_for * 8 / 10) - MS);
        issuer.refresh_if_due().unwrap();
        assert_eq!(world.test.requests(Endpoint::Keys), 1, "{max_age} {age}");
        world.clock.advance(MS);
        issuer.refresh_if_due().unwrap();
        assert_eq!(world.test.requests(Endpoint::Keys), 2, "{max_age} {age}");
    }
}

/// The old URL still answers, with the keys of before.
#[test]
fn an_unknown_kid_that_stays_unknown_has_the_discovery_document_read_again_once_a_minute_at_most() {
    let world = World::new();
    let (transport, old_set) = (world.test.transport(), world.test.key_set());
    let behind = move |request: &Request<'_>| -> Result<Response, TransportError> {
        match request.url().ends_with("jwks.json") {
            true => Ok(Response::new(200, [], old_set.clone().into_bytes())),
            false => transport.send(request),
        }
    };
    let rs = server(&world.builder().transport(Recorder::new(behind)).build().unwrap());
    rs.verify_token(&world.test.token().sign()).unwrap();
    world.test.rotate_keys();
    world.test.set_metadata("jwks_uri", format!("{}/oauth2/jwks.json?moved", world.test.url()).as_str());
    let token = world.test.token().sign();
    for (pause, discoveries) in [(0, 1), (5, 1), (10, 1), (20, 1)] {
        world.clock.advance(secs(pause));
        assert_eq!(token_kind(rs.verify_token(&token)), TokenErrorKind::UnknownKey);
        assert_eq!(world.test.requests(Endpoint::Discovery), discoveries);
    }
    world.clock.advance(secs(30));
    rs.verify_token(&token).unwrap();
    assert_eq!(world.test.requests(Endpoint::Discovery), 2);
}

#[test]
fn a_handler_may_verify_with_the_keys_that_it_hears_of() {
    let world = World::new();
    let (verified, server_cell) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None::<ResourceServer>)));
    let (token, count, cell) = (world.test.token().sign(), verified.clone(), server_cell.clone());
    let handler = move |event: &Event| {
        let rs = cell.lock().unwrap().clone().unwrap();
        if matches!(event, Event::KeysRefreshed { .. } | Event::ClockSkew { .. }) {
            rs.verify_token(&token).unwrap();
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    let issuer = world.builder().on_event(handler).build().unwrap();
    *server_cell.lock().unwrap() = Some(server(&issuer));
    issuer.preload().unwrap();
    assert_eq!(verified.load(Ordering::Relaxed), 1);
    let dated = Fault::json(200, world.test.key_set()).header("date", "Sun, 06 Nov 2033 08:49:37 GMT");
    world.test.fail(Endpoint::Keys, 1, dated);
    world.clock.advance(secs(480));
    issuer.refresh_if_due().unwrap();
    assert_eq!(verified.load(Ordering::Relaxed), 3, "the clock's difference, and the keys");
    *server_cell.lock().unwrap() = None;
}

#[test]
fn a_slow_handler_makes_no_waiter_wait() {
    let world = World::new();
    let (hears, heard) = mpsc::channel();
    let (lets_go, goes) = mpsc::channel::<()>();
    let goes = Mutex::new(goes);
    let handler = move |event: &Event| {
        if matches!(event, Event::KeysRefreshed { .. }) {
            hears.send(()).unwrap();
            goes.lock().unwrap().recv_timeout(secs(60)).unwrap();
        }
    };
    let rs = server(&world.builder().on_event(handler).build().unwrap());
    let token = world.test.token().sign();
    let gate = world.test.gate(Endpoint::Keys);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| rs.verify_token(&token).map(drop))).collect();
        gate.wait_until_reached(1);
        gate.release();
        heard.recv_timeout(secs(60)).unwrap();
        let start = Instant::now();
        while callers.iter().filter(|caller| caller.is_finished()).count() < 7 {
            assert!(start.elapsed() < secs(30), "they wait for the handler");
            std::thread::yield_now();
        }
        lets_go.send(()).unwrap();
        callers.into_iter().for_each(|caller| caller.join().unwrap().unwrap());
    });
}

#[test]
fn keys_that_the_program_came_with_are_in_no_snapshot() {
    let world = World::new();
    let issuer = world.builder().static_then_remote(&world.test.key_set()).build().unwrap();
    world.test.fail(Endpoint::Keys, u32::MAX, Fault::status(503));
    server(&issuer).verify_token(&world.test.token().sign()).unwrap();
    let error = issuer.snapshot().unwrap_err();
    assert_eq!(network_kind::<()>(Err(error)), NetworkErrorKind::Status(503));
    world.test.clear_faults();
    world.clock.advance(secs(60));
    let saved = issuer.snapshot().unwrap();
    assert!(world.builder().snapshot(&saved).build().is_ok());
}

#[test]
fn keys_of_the_program_without_a_usable_one_are_a_configuration_error() {
    let world = World::new();
    for keys in
        [r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"o"}]}"#, r#"{"keys":[{"kty":"RSA","kid":"r"}]}"#]
    {
        for builder in [world.builder().static_keys(keys), world.builder().static_then_remote(keys)] {
            let error = builder.build().unwrap_err();
            assert!(matches!(error, Error::Config(_)), "{keys}: {error}");
        }
    }
}

#[test]
fn a_cached_answer_about_a_token_does_not_outlive_the_sleep_of_the_machine() {
    let clock = ManualClock::new();
    let test = TestIssuer::with_clock(clock.clone());
    let issuer = recorded(&test);
    let introspector =
        issuer.introspector(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).cache(16, secs(60)).build().unwrap();
    let token = test.token().lifetime(secs(86_400)).sign();
    let ask = || introspector.introspect(&token).unwrap();
    drop((ask(), ask()));
    assert_eq!(test.requests(Endpoint::Introspection), 1);
    let monotonic = clock.monotonic();
    clock.advance_wall(secs(60));
    drop(ask());
    assert_eq!((test.requests(Endpoint::Introspection), clock.monotonic()), (2, monotonic));
}

#[test]
fn a_timer_that_sleeps_as_long_as_it_is_told_sends_each_time_and_never_sooner() {
    let world = World::new();
    let issuer = world.issuer();
    assert_eq!(issuer.next_refresh_in(), Duration::ZERO);
    issuer.refresh_if_due().unwrap();
    // A failure of the keys makes the document due as well.
    let requests = || world.test.requests(Endpoint::Keys) + world.test.requests(Endpoint::Discovery);
    let mut waits = Vec::new();
    for fails in [0, 1, 1, 0, 0, 0, 0] {
        let (wait, asked) = (issuer.next_refresh_in(), requests());
        world.clock.advance(wait - MS);
        drop(issuer.refresh_if_due());
        assert_eq!((requests(), issuer.next_refresh_in()), (asked, MS));
        world.clock.advance(MS);
        world.test.fail(Endpoint::Keys, fails, Fault::status(500));
        drop(issuer.refresh_if_due());
        world.test.clear_faults();
        assert!(requests() > asked, "{waits:?}");
        waits.push(wait.as_secs());
    }
    assert_eq!((waits[0], waits[1]), (480, 480));
    assert!(waits[2] <= 2 && waits.iter().filter(|wait| **wait == 480).count() >= 3, "{waits:?}");
    let fixed = world.builder().static_keys(&world.test.key_set()).build().unwrap();
    fixed.refresh_if_due().unwrap();
    assert!(fixed.next_refresh_in() > secs(3600), "the discovery document alone");
}

#[test]
fn retry_now_forgets_our_own_back_off_and_no_retry_after() {
    for endpoint in [Endpoint::Discovery, Endpoint::Keys] {
        let world = World::new();
        let issuer = world.issuer();
        for _ in 0..6 {
            world.test.fail(endpoint, 1, Fault::transport(NetworkErrorKind::Connect));
            assert_eq!(network_kind(issuer.preload()), NetworkErrorKind::Connect);
            assert!(issuer.next_refresh_in() > Duration::ZERO);
            issuer.retry_now();
            assert_eq!(issuer.next_refresh_in(), Duration::ZERO);
        }
        world.test.fail(endpoint, 1, Fault::status(503).header("retry-after", "60"));
        assert_eq!(issuer.preload().unwrap_err().retry_after(), Some(secs(60)));
        let asked = world.test.requests(endpoint);
        issuer.retry_now();
        assert_eq!(issuer.preload().unwrap_err().retry_after(), Some(secs(60)));
        assert_eq!(world.test.requests(endpoint), asked);
        world.clock.advance(secs(60));
        issuer.preload().unwrap();
    }
}
