//! The tokens of an M2M client. Each name is the rule.

use std::time::{Duration, UNIX_EPOCH};

use aero2::testing::{Endpoint, Fault};
use aero2::{AccessToken, Attempt, ClientAuth, Error, Issuer, M2mClient, NetworkErrorKind, SecretSource, TokenOptions};

use crate::support::{World, network_kind, secs};

pub(crate) fn world() -> World {
    let world = World::new();
    let scopes = (0..70).map(|n| format!("s{n}")).chain(["api:read".into(), "api:write".into()]);
    world.test.register_client("svc", "secret", scopes);
    world
}

pub(crate) fn client(issuer: &Issuer) -> M2mClient {
    issuer.m2m_client("svc", "secret").default_scope("api:read").build().unwrap()
}

fn minted(world: &World) -> usize {
    world.test.requests(Endpoint::Token)
}

fn scope(scope: impl Into<String>) -> TokenOptions {
    TokenOptions::new().scope(scope)
}

fn forced() -> TokenOptions {
    TokenOptions::new().force_refresh()
}

fn same(one: &AccessToken, other: &AccessToken) -> bool {
    one.expose_secret() == other.expose_secret()
}

/// An answer of the token endpoint as a test wants it.
fn answers(world: &World, body: &str) {
    world.test.fail(Endpoint::Token, 1, Fault::json(200, body));
}

#[test]
fn a_token_is_cached_until_60_seconds_before_its_end_and_up_to_5_percent_of_its_life_earlier() {
    let world = world();
    let m2m = client(&world.issuer());
    let first = m2m.access_token().unwrap();
    world.clock.advance(secs(3_600 - 60 - 180 - 1));
    assert!(same(&m2m.access_token().unwrap(), &first));
    assert_eq!(minted(&world), 1);

    world.clock.advance(secs(180 + 1));
    assert!(!same(&m2m.access_token().unwrap(), &first));
    assert_eq!(minted(&world), 2);
}

#[test]
fn a_client_that_calls_now_and_then_has_the_plain_margins_for_each_of_its_tokens() {
    for _ in 0..20 {
        let world = world();
        let m2m = client(&world.issuer());
        let mut held = m2m.access_token().unwrap();
        for requests in 1..5 {
            for pause in [1_000, 1_400, 959] {
                world.clock.advance(secs(pause));
                for _ in 0..3 {
                    assert!(same(&m2m.access_token().unwrap(), &held), "token {requests}");
                }
            }
            assert_eq!(minted(&world), requests);
            world.clock.advance(secs(180 + 1));
            let next = m2m.access_token().unwrap();
            assert!(!same(&next, &held));
            held = next;
        }
    }
}

#[test]
fn a_client_in_steady_use_parts_from_those_that_it_started_with_by_its_second_token_alone() {
    let lives = |_| {
        let world = world();
        let m2m = client(&world.issuer());
        let mut lives = Vec::new();
        for minute in 0..300 {
            m2m.access_token().unwrap();
            if minted(&world) > lives.len() {
                lives.push(minute);
            }
            world.clock.advance(secs(60));
        }
        lives.windows(2).map(|mints| mints[1] - mints[0]).collect::<Vec<_>>()
    };
    let clients: Vec<_> = (0..40).map(lives).collect();
    for lives in &clients {
        assert!((6..=59).contains(&lives[1]), "{lives:?}");
        assert!((56..=59).contains(&lives[0]) && lives[2..].iter().all(|life| (56..=59).contains(life)), "{lives:?}");
    }
    let second = || clients.iter().map(|lives| lives[1]);
    assert!(second().max().unwrap() - second().min().unwrap() > 20, "{clients:?}");
}

#[test]
fn a_token_that_lives_for_less_than_two_minutes_is_due_at_half_its_life() {
    let world = world();
    let m2m = client(&world.issuer());
    answers(&world, r#"{"access_token":"short","token_type":"Bearer","expires_in":60}"#);
    m2m.access_token().unwrap();
    world.clock.advance(secs(26));
    assert_eq!(m2m.access_token().unwrap().expose_secret(), "short");
    world.clock.advance(secs(4));
    assert_ne!(m2m.access_token().unwrap().expose_secret(), "short");
}

#[test]
fn later_than_10_seconds_before_its_end_no_token_comes_from_the_cache() {
    let world = world();
    let m2m = client(&world.issuer());
    let first = m2m.access_token().unwrap();
    world.test.fail(Endpoint::Token, 2, Fault::status(500));
    world.clock.advance(secs(3_589));
    assert!(same(&m2m.access_token().unwrap(), &first), "the early refresh failed");
    world.clock.advance(secs(1));
    assert_eq!(network_kind(m2m.access_token()), NetworkErrorKind::Status(500));
}

#[test]
fn expires_in_may_be_a_string_of_digits() {
    let world = world();
    let m2m = client(&world.issuer());
    answers(&world, r#"{"access_token":"t","token_type":"bearer","expires_in":"600"}"#);
    let token = m2m.access_token().unwrap();
    assert_eq!(token.expires_at(), Some(aero2::Clock::wall(&world.clock) + secs(600)));
    world.clock.advance(secs(500));
    assert!(same(&m2m.access_token().unwrap(), &token));
    assert_eq!(minted(&world), 1);
}

#[test]
fn without_expires_in_the_jwts_own_exp_decides_on_caching() {
    let world = world();
    let m2m = client(&world.issuer());
    let jwt = world.test.token().lifetime(secs(300)).sign();
    answers(&world, &format!(r#"{{"access_token":"{jwt}","token_type":"Bearer"}}"#));
    m2m.access_token().unwrap();
    world.clock.advance(secs(220));
    assert_eq!(m2m.access_token().unwrap().expose_secret(), jwt);
    world.clock.advance(secs(20));
    assert_ne!(m2m.access_token().unwrap().expose_secret(), jwt);
}

#[test]
fn a_token_of_unknown_or_no_lifetime_is_given_out_and_not_cached() {
    for member in ["", r#","expires_in":0"#, r#","expires_in":"0""#] {
        let world = world();
        let m2m = client(&world.issuer());
        answers(&world, &format!(r#"{{"access_token":"opaque","token_type":"Bearer"{member}}}"#));
        let token = m2m.access_token().unwrap();
        assert_eq!((token.expose_secret(), token.expires_at()), ("opaque", None));
        assert_eq!(token.scope(), Some("api:read"), "the answer is silent, so what was asked for");
        assert_ne!(m2m.access_token().unwrap().expose_secret(), "opaque", "{member}");
    }
}

#[test]
fn an_endless_lifetime_overflows_nothing() {
    for lifetime in ["18446744073709551615", "1e300", r#""99999999999999999999999""#] {
        let world = world();
        let m2m = client(&world.issuer());
        answers(&world, &format!(r#"{{"access_token":"t","token_type":"Bearer","expires_in":{lifetime}}}"#));
        m2m.access_token().unwrap();
        world.clock.advance(secs(100 * 365 * 86_400));
        assert_eq!(m2m.access_token().unwrap().expose_secret(), "t", "{lifetime}");
    }
}

#[test]
fn an_answer_without_what_it_must_carry_is_an_invalid_response() {
    for body in [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"access_token":"t"}"#,
        r#"{"access_token":"t","token_type":"mac"}"#,
        r#"{"access_token":"","token_type":"Bearer"}"#,
        r#"{"access_token":"a b","token_type":"Bearer"}"#,
        r#"{"access_token":"t\n","token_type":"Bearer"}"#,
        r#"{"access_token":"t","token_type":"Bearer","expires_in":-1}"#,
        r#"{"access_token":"t","token_type":"Bearer","expires_in":1e400}"#,
        r#"{"access_token":"t","token_type":"Bearer","scope":1}"#,
        r#"{"access_token":"t","token_type":"Bearer","access_token":"u"}"#,
    ] {
        let world = world();
        answers(&world, body);
        assert_eq!(network_kind(client(&world.issuer()).access_token()), NetworkErrorKind::InvalidResponse, "{body}");
    }
}

#[test]
fn expiry_counts_on_the_wall_clock_while_the_machine_sleeps() {
    let world = world();
    let m2m = client(&world.issuer());
    let first = m2m.access_token().unwrap();
    world.clock.advance_wall(secs(3_595));
    assert!(!same(&m2m.access_token().unwrap(), &first));
}

#[test]
fn expiry_counts_on_the_monotonic_clock_when_the_wall_clock_is_put_back() {
    let world = world();
    let m2m = client(&world.issuer());
    let first = m2m.access_token().unwrap();
    world.clock.set_wall(UNIX_EPOCH + Duration::from_secs(1_780_000_000));
    world.clock.advance(secs(3_300));
    assert!(same(&m2m.access_token().unwrap(), &first));
    world.clock.advance(secs(295));
    assert!(!same(&m2m.access_token().unwrap(), &first));
}

#[test]
fn with_an_unset_wall_clock_minting_works_on_the_monotonic_clock_alone() {
    let world = world();
    world.clock.set_wall(UNIX_EPOCH);
    let m2m = client(&world.issuer());
    let first = m2m.access_token().unwrap();
    assert_eq!(first.expires_at(), None);
    world.clock.set_wall(UNIX_EPOCH + Duration::from_secs(1_796_083_200));
    world.clock.advance(secs(3_300));
    assert!(same(&m2m.access_token().unwrap(), &first), "NTP has set the clock since");
    world.clock.advance(secs(295));
    assert!(!same(&m2m.access_token().unwrap(), &first));
}

#[test]
fn tokens_are_cached_per_scope_set_whatever_its_order_and_duplicates() {
    let world = world();
    let m2m = client(&world.issuer());
    let both = m2m.access_token_with(&scope("api:read api:write")).unwrap();
    for order in ["api:write api:read", "api:read api:write api:read", " api:write  api:read"] {
        assert!(same(&m2m.access_token_with(&scope(order)).unwrap(), &both), "{order}");
    }
    let read = m2m.access_token_with(&scope("api:read")).unwrap();
    assert!(same(&m2m.access_token().unwrap(), &read), "the default asked for by name is the default");
    assert_eq!((both.scope(), read.scope()), (Some("api:read api:write"), Some("api:read")));
    assert_eq!(minted(&world), 2);
}

#[test]
fn tokens_are_cached_per_further_parameters() {
    let world = world();
    let m2m = world.issuer().m2m_client("svc", "secret").param("audience", "orders").build().unwrap();
    let orders = m2m.access_token().unwrap();
    let billing = m2m.access_token_with(&TokenOptions::new().param("audience", "billing")).unwrap();
    let more = m2m.access_token_with(&TokenOptions::new().param("resource", "https://r.example")).unwrap();
    assert!(!same(&orders, &billing) && !same(&orders, &more));
    assert!(same(&m2m.access_token_with(&TokenOptions::new().param("audience", "orders")).unwrap(), &orders));
    assert_eq!(minted(&world), 3);

    let audience = |token: &AccessToken| {
        let rs = world.issuer().resource_server().build().unwrap();
        rs.verify_token(token.expose_secret()).unwrap().audience().to_vec()
    };
    assert_eq!(audience(&orders), ["orders"]);
    assert_eq!(audience(&billing), ["billing"], "a parameter of the call takes the place of the client's");
    assert_eq!(audience(&more), ["orders", "https://r.example"]);
}

#[test]
fn at_most_64_entries_are_kept_and_the_least_recently_used_goes_first() {
    let world = world();
    let m2m = client(&world.issuer());
    let get = |n: usize| m2m.access_token_with(&scope(format!("s{n}"))).unwrap();
    for n in 0..64 {
        get(n);
    }
    for n in 0..64 {
        get(n);
    }
    assert_eq!(minted(&world), 64);

    get(0);
    get(64);
    assert_eq!(minted(&world), 65);
    get(0);
    assert_eq!(minted(&world), 65, "it was used last");
    get(1);
    assert_eq!(minted(&world), 66, "it had to go");
    get(3);
    assert_eq!(minted(&world), 66);
    get(2);
    assert_eq!(minted(&world), 67);
}

#[test]
fn parameters_that_this_crate_sets_itself_are_refused() {
    let world = world();
    let m2m = client(&world.issuer());
    for name in ["grant_type", "client_id", "client_secret", "scope"] {
        let built = world.issuer().m2m_client("svc", "secret").param(name, "x").build();
        let asked = m2m.access_token_with(&TokenOptions::new().param(name, "x"));
        for err in [built.unwrap_err(), asked.unwrap_err()] {
            assert!(matches!(err, Error::Config(_)) && err.to_string().contains(name));
        }
    }
    assert_eq!(minted(&world), 0);
}

#[test]
fn a_client_that_cannot_be_one_is_refused_when_it_is_built() {
    let issuer = world().issuer();
    for builder in [
        issuer.m2m_client("", "secret"),
        issuer.m2m_client("svc", ""),
        issuer.m2m_client("svc", "secret").default_scope(""),
        issuer.m2m_client("svc", "secret").default_scope("api:read,\u{e9}"),
    ] {
        assert!(matches!(builder.build(), Err(Error::Config(_))));
    }
    let m2m = client(&issuer);
    assert!(matches!(m2m.access_token_with(&scope("a\tb")), Err(Error::Config(_))));
}

#[test]
fn the_secret_is_read_anew_at_every_mint_and_a_source_that_fails_is_not_remembered() {
    let world = world();
    let path = std::env::temp_dir().join(format!("aero2-m2m-{}", std::process::id()));
    let m2m = world.issuer().m2m_client("svc", SecretSource::file(&path)).build().unwrap();
    for _ in 0..2 {
        assert!(matches!(m2m.access_token(), Err(Error::Config(_))));
    }
    std::fs::write(&path, "secret\n").unwrap();
    m2m.access_token().unwrap();
    world.test.register_client("svc", "rotated", ["api:read"]);
    std::fs::write(&path, "rotated\r\n").unwrap();
    m2m.access_token_with(&forced()).unwrap();
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn after_invalid_client_one_more_try_is_made_if_the_source_now_yields_another_secret() {
    let world = world();
    let reads = std::sync::atomic::AtomicUsize::new(0);
    let source = SecretSource::from_fn(move || {
        let stale = reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        Ok::<_, std::io::Error>(if stale { "yesterday" } else { "secret" }.to_owned())
    });
    let m2m = world.issuer().m2m_client("svc", source).build().unwrap();
    m2m.access_token().unwrap();
    assert_eq!(minted(&world), 2);

    let m2m = world.issuer().m2m_client("svc", "wrong").build().unwrap();
    assert!(matches!(m2m.access_token(), Err(Error::OAuth(e)) if e.error_code() == "invalid_client"));
    assert_eq!(minted(&world), 3, "the same secret is not tried again");
}

#[test]
fn force_refresh_asks_whatever_the_cache_holds_and_its_token_takes_the_place() {
    let world = world();
    let m2m = client(&world.issuer());
    let first = m2m.access_token().unwrap();
    let second = m2m.access_token_with(&forced()).unwrap();
    assert!(!same(&first, &second));
    assert!(same(&m2m.access_token().unwrap(), &second));
}

#[test]
fn clear_cache_forgets_every_token() {
    let world = world();
    let m2m = client(&world.issuer());
    m2m.access_token().unwrap();
    m2m.access_token_with(&scope("api:write")).unwrap();
    m2m.clone().clear_cache();
    m2m.access_token().unwrap();
    m2m.access_token_with(&scope("api:write")).unwrap();
    assert_eq!(minted(&world), 4);
}

#[test]
fn reject_drops_exactly_this_token_and_is_a_no_op_if_the_cache_holds_another() {
    let world = world();
    let m2m = client(&world.issuer());
    let first = m2m.access_token().unwrap();
    let other = m2m.access_token_with(&scope("api:write")).unwrap();
    m2m.reject(&first);
    let second = m2m.access_token().unwrap();
    assert!(!same(&first, &second));
    for _ in 0..3 {
        m2m.reject(&first);
        assert!(same(&m2m.access_token().unwrap(), &second));
    }
    assert!(same(&m2m.access_token_with(&scope("api:write")).unwrap(), &other));
    assert_eq!(minted(&world), 3);
}

#[test]
fn an_issuer_that_gives_out_the_same_token_again_is_asked_once_per_token_value() {
    let world = world();
    let m2m = client(&world.issuer());
    let body = |name: &str| format!(r#"{{"access_token":"{name}","token_type":"Bearer","expires_in":3600}}"#);
    for name in ["a", "b", "a", "b", "a"] {
        answers(&world, &body(name));
    }
    for _ in 0..20 {
        let token = m2m.access_token().unwrap();
        m2m.reject(&token);
    }
    // a, then b for the rejected a, then a for the rejected b, and that one stays.
    assert_eq!(minted(&world), 3);
}

#[test]
fn a_minted_token_is_counted_and_told() {
    let world = world();
    let events = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = events.clone();
    let issuer = world.builder().on_event(move |event| told.lock().unwrap().push(event.to_string())).build().unwrap();
    let m2m = client(&issuer);
    m2m.access_token().unwrap();
    world.test.fail(Endpoint::Token, 1, Fault::status(503));
    world.clock.advance(secs(3_545));
    m2m.access_token().unwrap();
    let told = events.lock().unwrap();
    let tokens: Vec<_> = told.iter().filter(|event| event.contains("token")).collect();
    assert_eq!(
        tokens,
        [
            "token minted",
            "minting a token failed: token endpoint of test.aero2.example for client svc: status 503",
            "early refresh failed, the old token serves on"
        ]
    );
    assert_eq!((issuer.stats().tokens_minted(), issuer.stats().mint_failures()), (1, 1));
}

#[test]
fn a_token_without_an_expiry_is_cached_for_the_default_lifetime_only_if_there_is_one() {
    for (default, requests) in [(None, 3), (Some(secs(600)), 2)] {
        let world = world();
        let builder = world.issuer().m2m_client("svc", "secret");
        let m2m = default.map_or(builder.clone(), |lifetime| builder.default_lifetime(lifetime)).build().unwrap();
        for advance in [0, 300, 400] {
            world.clock.advance(secs(advance));
            answers(&world, r#"{"access_token":"opaque","token_type":"Bearer"}"#);
            m2m.access_token().unwrap();
        }
        assert_eq!(minted(&world), requests, "{default:?}");
    }
}

/// Calls a service that refuses the tokens for which `refuses` says so; how often it was called, and its last answer.
fn called(m2m: &M2mClient, refuses: impl Fn(&str) -> bool) -> (usize, u16) {
    let mut calls = 0;
    let answer = m2m.call(|token| {
        calls += 1;
        if refuses(token.expose_secret()) { Attempt::Unauthorized(401) } else { Attempt::Done(200) }
    });
    (calls, answer.unwrap())
}

#[test]
fn a_call_that_is_refused_is_made_once_more_with_a_new_token() {
    let world = world();
    let m2m = client(&world.issuer());
    let old = m2m.access_token().unwrap();
    assert_eq!(called(&m2m, |_| false), (1, 200));
    assert_eq!(called(&m2m, |token| token == old.expose_secret()), (2, 200));
    assert_eq!(called(&m2m, |token| token == old.expose_secret()), (1, 200));
    assert_eq!(minted(&world), 2);
}

#[test]
fn a_service_that_always_answers_401_costs_one_token_more_per_token_and_not_per_call() {
    let world = world();
    let m2m = client(&world.issuer());
    assert_eq!(called(&m2m, |_| true), (2, 401));
    for _ in 0..100 {
        assert_eq!(called(&m2m, |_| true), (1, 401));
    }
    assert_eq!(minted(&world), 2);
    world.clock.advance(secs(3_599));
    for _ in 0..100 {
        called(&m2m, |_| true);
    }
    assert_eq!(minted(&world), 4, "the next token, and one more for it");
}

#[test]
fn the_error_of_the_call_that_begins_a_back_off_says_how_long_it_lasts() {
    for fault in [Fault::status(503), Fault::status(404), Fault::json(200, "{}"), Fault::json(400, r#"{"error":"x"}"#)]
    {
        let world = world();
        let m2m = client(&world.issuer());
        world.test.fail(Endpoint::Token, 1, fault.clone());
        let first = m2m.access_token().unwrap_err().retry_after().unwrap();
        let second = m2m.access_token().unwrap_err().retry_after().unwrap();
        assert_eq!(first, second);
        assert_eq!(minted(&world), 1);
    }
}

#[test]
fn what_cannot_be_a_client_secret_is_a_configuration_error_before_anything_is_sent() {
    let pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let world = world();
    let issuer = world.issuer();
    for secret in
        ["", " ", " secret", "secret ", "secret\n", "sec\u{0}ret", "sec\nret", "\tsecret", pem, "secret\u{a0}"]
    {
        let secret = secret.to_owned();
        assert!(matches!(issuer.m2m_client("svc", secret.as_str()).build(), Err(Error::Config(_))), "{secret:?}");
        let later = SecretSource::from_fn(move || Ok::<_, std::io::Error>(secret.clone()));
        for auth in [None, Some(ClientAuth::SecretPost), Some(ClientAuth::SecretBasic)] {
            let builder = issuer.m2m_client("svc", later.clone());
            let m2m = auth.map_or(builder.clone(), |auth| builder.client_auth(auth)).build().unwrap();
            assert!(matches!(m2m.access_token(), Err(Error::Config(_))));
        }
    }
    assert_eq!(minted(&world), 0);
    assert!(issuer.m2m_client("svc", "se cr\u{e9}t").build().is_ok());
}

#[cfg(feature = "ureq")]
#[test]
fn a_secret_of_the_environment_or_of_systemd_loses_one_line_end() {
    use crate::support::child;

    const TEST: &str = "m2m::a_secret_of_the_environment_or_of_systemd_loses_one_line_end";
    if !child::is_child() {
        let directory = std::env::temp_dir().join(format!("aero2-credentials-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("svc"), "secret\r\n").unwrap();
        std::fs::write(directory.join("two-lines"), "secret\n\n").unwrap();
        let credentials = directory.to_str().unwrap();
        child::run(TEST, &[("SVC_SECRET", "secret\n"), ("CREDENTIALS_DIRECTORY", credentials)]);
        std::fs::remove_dir_all(&directory).unwrap();
        return;
    }
    let world = world();
    let mint = |secret: SecretSource| world.issuer().m2m_client("svc", secret).build().unwrap().access_token();
    mint(SecretSource::env("SVC_SECRET")).unwrap();
    mint(SecretSource::systemd_credential("svc")).unwrap();
    for name in ["absent", "two-lines", "", ".", "..", "../svc", "a/b"] {
        assert!(matches!(mint(SecretSource::systemd_credential(name)), Err(Error::Config(_))), "{name:?}");
    }
    assert_eq!(minted(&world), 2);
}
