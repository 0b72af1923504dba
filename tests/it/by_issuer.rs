//! Many tenants: each token goes to the resource server of its issuer, and to no other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;

use aero2::jose::Algorithm;
use aero2::testing::{Endpoint, TestIssuer};
use aero2::{ByIssuer, Error, NetworkErrorKind, ResourceServer, TokenErrorKind, VerifyOptions};

use crate::support::{recorded, token_kind};

const ACME: &str = "https://acme.aero2.dev";
const GLOBEX: &str = "https://globex.aero2.dev";

fn server(test: &TestIssuer) -> ResourceServer {
    recorded(test).resource_server().build().unwrap()
}

fn two() -> (TestIssuer, TestIssuer, ByIssuer) {
    let (acme, globex) = (TestIssuer::with_url(ACME), TestIssuer::with_url(GLOBEX));
    let tenants = ByIssuer::new([server(&acme), server(&globex)]).unwrap();
    (acme, globex, tenants)
}

fn requests(test: &TestIssuer) -> usize {
    test.requests(Endpoint::Discovery) + test.requests(Endpoint::Keys)
}

/// A resolver over these tenants that counts how often it is asked.
fn resolver(capacity: usize, tests: &[&TestIssuer]) -> (ByIssuer, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let known: BTreeMap<String, TestIssuer> =
        tests.iter().map(|test| (test.url().to_owned(), (*test).clone())).collect();
    let tenants = ByIssuer::resolver(capacity, move |iss| {
        count.fetch_add(1, Ordering::Relaxed);
        known.get(iss).map(server)
    });
    (tenants.unwrap(), asked)
}

#[test]
fn each_token_goes_to_the_resource_server_of_its_issuer() {
    let (acme, globex, tenants) = two();
    for _ in 0..3 {
        assert_eq!(tenants.verify_token(&acme.token().sign()).unwrap().issuer(), ACME);
    }
    assert_eq!((requests(&acme), requests(&globex)), (2, 0));
    let header = format!("Bearer {}", globex.token().sign());
    assert_eq!(tenants.authorize(Some(&header)).unwrap().issuer(), GLOBEX);
    assert_eq!((requests(&acme), requests(&globex)), (2, 2));
    assert_eq!(token_kind(tenants.authorize(None)), TokenErrorKind::MissingToken);
}

#[test]
fn a_token_of_an_unknown_issuer_is_refused_and_costs_no_request() {
    let (acme, globex, tenants) = two();
    let (resolved, _) = resolver(8, &[&acme, &globex]);
    let long = format!("{ACME}/{}", "x".repeat(8 * 1024));
    for iss in [
        "https://acme.aero2.dev/",
        "https://ACME.aero2.dev",
        "https://acme.aero2.dev.evil.example",
        "http://acme.aero2.dev",
        " https://acme.aero2.dev",
        "https://\u{430}cme.aero2.dev",
        "https://acme.aero2.de",
        "",
        &long,
    ] {
        let token = acme.token().issuer(iss).sign();
        for tenants in [&tenants, &resolved] {
            assert_eq!(token_kind(tenants.verify_token(&token)), TokenErrorKind::WrongIssuer, "{iss}");
        }
    }
    assert_eq!((requests(&acme), requests(&globex)), (0, 0));
}

#[test]
fn what_is_no_token_is_refused_as_everywhere_and_the_resolver_is_not_asked() {
    let acme = TestIssuer::with_url(ACME);
    let (resolved, asked) = resolver(8, &[&acme]);
    let listed = ByIssuer::new([server(&acme)]).unwrap();
    let token = || acme.token();
    for (text, kind) in [
        (String::new(), TokenErrorKind::Malformed),
        ("a.b".into(), TokenErrorKind::Malformed),
        ("a.b.c.d.e".into(), TokenErrorKind::Malformed),
        (token().raw_header("{}").sign(), TokenErrorKind::Malformed),
        (token().header("crit", vec!["exp"]).sign(), TokenErrorKind::CriticalHeader),
        (token().header("alg", "none").sign(), TokenErrorKind::UnsupportedAlgorithm),
        (token().raw_payload("").sign(), TokenErrorKind::Malformed),
        (token().raw_payload("[]").sign(), TokenErrorKind::Malformed),
        (token().raw_payload(vec![0xff]).sign(), TokenErrorKind::Malformed),
        (token().raw_payload(format!(r#"{{"iss":"{ACME}","iss":"{GLOBEX}"}}"#)).sign(), TokenErrorKind::Malformed),
        (token().raw_payload(r#"{"sub":"x"}"#).sign(), TokenErrorKind::InvalidClaim),
        (token().raw_payload(r#"{"iss":null}"#).sign(), TokenErrorKind::InvalidClaim),
        (token().raw_payload(format!(r#"{{"iss":["{ACME}"]}}"#)).sign(), TokenErrorKind::InvalidClaim),
        ("x".repeat(64 * 1024 + 1), TokenErrorKind::TooLong),
    ] {
        assert_eq!(token_kind(listed.verify_token(&text)), kind, "{text:.40}");
        assert_eq!(token_kind(resolved.verify_token(&text)), kind, "{text:.40}");
    }
    assert_eq!((asked.load(Ordering::Relaxed), requests(&acme)), (0, 0));
}

#[test]
fn a_token_of_one_tenant_never_verifies_at_another_even_if_both_publish_the_same_key() {
    let (acme, globex, tenants) = two();
    // The RSA keys of test issuers are the same ones under the same names.
    assert_eq!(acme.key_set(), globex.key_set());
    let token = acme.token().sign();
    assert_eq!(token_kind(server(&globex).verify_token(&token)), TokenErrorKind::WrongIssuer);
    assert_eq!(tenants.verify_token(&token).unwrap().issuer(), ACME);
    let cached = recorded(&globex).resource_server().verified_token_cache(8).build().unwrap();
    for _ in 0..2 {
        assert_eq!(token_kind(cached.verify_token(&token)), TokenErrorKind::WrongIssuer);
    }
}

#[test]
fn a_token_of_one_tenant_never_verifies_at_another_even_if_both_keys_bear_one_name() {
    let (acme, globex, tenants) = two();
    let of_acme = acme.token().algorithm(Algorithm::EdDsa);
    // The same name, and keys made at random.
    globex.token().algorithm(Algorithm::EdDsa).sign();
    of_acme.sign();
    assert_ne!(acme.key_set(), globex.key_set());
    assert_eq!(acme.key_set().matches("test-eddsa-1").count(), globex.key_set().matches("test-eddsa-1").count());

    assert_eq!(token_kind(tenants.verify_token(&of_acme.clone().issuer(GLOBEX).sign())), TokenErrorKind::BadSignature);
    assert_eq!(token_kind(server(&globex).verify_token(&of_acme.sign())), TokenErrorKind::BadSignature);
    assert_eq!(tenants.verify_token(&of_acme.sign()).unwrap().issuer(), ACME);
}

#[test]
fn the_options_of_a_call_count_at_every_tenant() {
    let (acme, _, tenants) = two();
    let token = acme.token().audience("orders").scope("read").sign();
    tenants.verify_token_with(&token, &VerifyOptions::new().audience("orders")).unwrap();
    let other = tenants.verify_token_with(&token, &VerifyOptions::new().audience("billing"));
    assert_eq!(token_kind(other), TokenErrorKind::WrongAudience);
    let (header, billing) = (format!("Bearer {token}"), VerifyOptions::new().audience("billing"));
    tenants.authorize_with(Some(&header), &VerifyOptions::new().required_scopes(["read"])).unwrap();
    assert_eq!(token_kind(tenants.authorize_with(Some(&header), &billing)), TokenErrorKind::WrongAudience);
    assert_eq!(token_kind(tenants.authorize_with(None, &billing)), TokenErrorKind::MissingToken);
    let empty = VerifyOptions::new().audiences(Vec::<String>::new());
    assert!(matches!(tenants.verify_token_with("no token", &empty), Err(Error::Config(_))));
}

#[test]
fn each_tenant_has_its_own_limit_of_length() {
    let (acme, globex) = (TestIssuer::with_url(ACME), TestIssuer::with_url(GLOBEX));
    let limited = |test: &TestIssuer, bytes| recorded(test).resource_server().max_token_bytes(bytes).build().unwrap();
    let (small, large) = (acme.token().sign(), globex.token().claim("x", "x".repeat(1000)).sign());
    let tenants = ByIssuer::new([limited(&acme, small.len()), limited(&globex, large.len())]).unwrap();
    tenants.verify_token(&small).unwrap();
    tenants.verify_token(&large).unwrap();
    let longer = acme.token().claim("x", "x").sign();
    assert_eq!(token_kind(tenants.verify_token(&longer)), TokenErrorKind::TooLong);
    assert_eq!(token_kind(tenants.verify_token(&format!("{large}x"))), TokenErrorKind::TooLong);

    let huge = globex.token().claim("x", "x".repeat(40_000)).sign();
    let tenants = ByIssuer::resolver(1, move |_| Some(limited(&globex, 60_000))).unwrap();
    tenants.verify_token(&huge).unwrap();
}

#[test]
fn one_resource_server_for_each_issuer_and_at_least_one() {
    let acme = TestIssuer::with_url(ACME);
    assert!(matches!(ByIssuer::new([server(&acme), server(&acme)]), Err(Error::Config(_))));
    assert!(matches!(ByIssuer::new([]), Err(Error::Config(_))));
    assert!(matches!(ByIssuer::resolver(0, |_| None), Err(Error::Config(_))));
}

#[test]
fn what_was_resolved_is_kept_and_no_is_not() {
    let (acme, globex) = (TestIssuer::with_url(ACME), TestIssuer::with_url(GLOBEX));
    let (tenants, asked) = resolver(8, &[&acme]);
    for _ in 0..5 {
        tenants.verify_token(&acme.token().sign()).unwrap();
    }
    assert_eq!((asked.load(Ordering::Relaxed), requests(&acme)), (1, 2));
    for n in 0..5 {
        assert_eq!(token_kind(tenants.verify_token(&globex.token().sign())), TokenErrorKind::WrongIssuer);
        assert_eq!(asked.load(Ordering::Relaxed), 2 + n);
    }
}

#[test]
fn no_more_are_kept_than_there_is_room_for() {
    let (acme, globex) = (TestIssuer::with_url(ACME), TestIssuer::with_url(GLOBEX));
    let (tenants, asked) = resolver(1, &[&acme, &globex]);
    for n in 1..=3 {
        tenants.verify_token(&acme.token().sign()).unwrap();
        tenants.verify_token(&globex.token().sign()).unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 2 * n);
    }
    tenants.verify_token(&globex.token().sign()).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 6);
}

#[test]
fn only_verified_tokens_decide_who_is_kept() {
    let (acme, globex, _) = two();
    let (tenants, asked) = resolver(1, &[&acme, &globex]);
    let good = acme.token().sign();
    tenants.verify_token(&good).unwrap();
    for n in 0..200 {
        let stranger = format!("https://stranger-{n}.example");
        assert_eq!(
            token_kind(tenants.verify_token(&acme.token().issuer(stranger).sign())),
            TokenErrorKind::WrongIssuer
        );
    }
    assert_eq!(token_kind(tenants.verify_token(&globex.token().other_key().sign())), TokenErrorKind::BadSignature);
    let before = (asked.load(Ordering::Relaxed), requests(&acme));
    tenants.verify_token(&good).unwrap();
    assert_eq!((asked.load(Ordering::Relaxed), requests(&acme)), before);
}

#[test]
fn strangers_tokens_cause_no_more_discoveries_than_there_are_tenants() {
    let tests: Vec<TestIssuer> = (0..12).map(|n| TestIssuer::with_url(format!("https://t{n}.aero2.dev"))).collect();
    let (tenants, _) = resolver(10, &tests.iter().collect::<Vec<_>>());
    let mut limited = 0;
    for n in 0..120 {
        let outcome = tenants.verify_token(&tests[n % tests.len()].token().other_key().sign());
        match outcome.unwrap_err() {
            Error::Token(_) => {}
            error => {
                assert_eq!((error.network_kind(), error.http_status()), (Some(NetworkErrorKind::RateLimited), 503));
                assert!(error.retry_after().is_some_and(|wait| wait <= std::time::Duration::from_secs(1)));
                limited += 1;
            }
        }
    }
    assert!(limited > 0, "twelve first fetches at once are more than ten");
    assert!(tests.iter().map(requests).sum::<usize>() <= 24);
}

#[test]
fn a_tenant_that_was_forgotten_is_asked_about_again() {
    let acme = TestIssuer::with_url(ACME);
    let (tenants, asked) = resolver(8, &[&acme]);
    let token = acme.token().sign();
    tenants.verify_token(&token).unwrap();
    tenants.forget(GLOBEX);
    tenants.verify_token(&token).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    tenants.forget(ACME);
    tenants.verify_token(&token).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn an_answer_from_before_forgetting_is_not_kept() {
    let acme = TestIssuer::with_url(ACME);
    let tenants: Arc<OnceLock<ByIssuer>> = Arc::default();
    let (itself, asked, token) = (tenants.clone(), Arc::new(AtomicUsize::new(0)), acme.token().sign());
    let count = asked.clone();
    let made = ByIssuer::resolver(8, move |iss| {
        // The tenant is dropped while its answer is under way.
        itself.get().unwrap().forget(iss);
        count.fetch_add(1, Ordering::Relaxed);
        Some(server(&acme))
    });
    let tenants = tenants.get_or_init(|| made.unwrap());
    for n in 1..=3 {
        tenants.verify_token(&token).unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), n);
    }
}

#[test]
fn a_resolver_that_answers_for_another_issuer_has_no_answer() {
    let (acme, globex) = (TestIssuer::with_url(ACME), TestIssuer::with_url(GLOBEX));
    let (token, of_globex) = (acme.token().sign(), globex.clone());
    let tenants = ByIssuer::resolver(8, move |_| Some(server(&of_globex))).unwrap();
    assert_eq!(token_kind(tenants.verify_token(&token)), TokenErrorKind::WrongIssuer);
    assert_eq!(requests(&globex), 0);
}

#[test]
fn no_lock_is_held_while_a_resolver_works() {
    let (acme, globex) = (TestIssuer::with_url(ACME), TestIssuer::with_url(GLOBEX));
    let tenants: Arc<OnceLock<ByIssuer>> = Arc::default();
    let (itself, of_globex, token) = (tenants.clone(), globex.token().sign(), acme.token().sign());
    let made = ByIssuer::resolver(8, move |iss| {
        if iss == GLOBEX {
            return Some(server(&globex));
        }
        itself.get().unwrap().verify_token(&of_globex).unwrap();
        Some(server(&acme))
    });
    tenants.get_or_init(|| made.unwrap()).verify_token(&token).unwrap();
}

#[test]
fn a_resolver_that_panics_harms_nobody_else() {
    let (acme, globex) = (TestIssuer::with_url(ACME), TestIssuer::with_url(GLOBEX));
    let good = acme.clone();
    let tenants =
        ByIssuer::resolver(8, move |iss| if iss == ACME { Some(server(&good)) } else { panic!("a resolver's own") });
    let (tenants, bad) = (tenants.unwrap(), globex.token().sign());
    let same = tenants.clone();
    thread::spawn(move || same.verify_token(&bad)).join().unwrap_err();
    tenants.verify_token(&acme.token().sign()).unwrap();
}

#[test]
fn of_several_that_were_resolved_at_once_one_serves_all() {
    let acme = TestIssuer::with_url(ACME);
    let (met, made) = (Arc::new(Barrier::new(2)), Arc::new(Mutex::new(0)));
    let (both, count, of_acme) = (met, made.clone(), acme.clone());
    let tenants = ByIssuer::resolver(8, move |_| {
        both.wait();
        *count.lock().unwrap() += 1;
        Some(server(&of_acme))
    });
    let (tenants, token) = (tenants.unwrap(), acme.token().sign());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| tenants.verify_token(&token).unwrap());
        }
    });
    assert_eq!((*made.lock().unwrap(), requests(&acme)), (2, 2));
}

#[test]
fn a_token_shows_where_it_would_go_before_anything_of_it_is_verified() {
    let (acme, _, tenants) = two();
    let forged = acme.token().other_key().sign();
    assert_eq!(tenants.route(&forged).unwrap().issuer().url(), ACME);
    assert_eq!(token_kind(tenants.route("x")), TokenErrorKind::Malformed);
    assert_eq!(token_kind(tenants.verify_token(&forged)), TokenErrorKind::BadSignature);
}
