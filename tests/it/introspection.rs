//! Introspection and revocation.

use std::time::{Duration, UNIX_EPOCH};

use aero2::testing::{Endpoint, Fault, TestIssuer};
use aero2::{Clock, Error, Introspection, Introspector, NetworkErrorKind, SecretSource, TokenTypeHint};

use crate::support::{World, network_kind, recorded, secs};

fn introspector(world: &World) -> Introspector {
    world.test.register_resource_server("orders", "s3cret-orders");
    world.issuer().introspector("orders", "s3cret-orders").build().unwrap()
}

fn is_active(answer: Result<Introspection, Error>) -> bool {
    matches!(answer.unwrap(), Introspection::Active(_))
}

fn answered(body: &str) -> Result<Introspection, Error> {
    let world = World::new();
    let introspector = introspector(&world);
    world.test.fail(Endpoint::Introspection, 1, Fault::json(200, body));
    introspector.introspect("some token")
}

#[test]
fn an_active_answer_tells_all_that_the_issuer_said() {
    let world = World::new();
    let introspector = introspector(&world);
    let token = world.test.token().subject("u1").audience("orders").scope("a b").client_id("c1").sign();
    let Introspection::Active(info) = introspector.introspect(&token).unwrap() else { panic!("inactive") };
    assert_eq!((info.subject(), info.client_id(), info.scope()), (Some("u1"), Some("c1"), Some("a b")));
    assert_eq!(info.issuer(), Some(world.test.url()));
    assert!(info.expires_at().unwrap() > world.clock.wall());
    assert_eq!(info.audience(), Some(&["orders".to_owned()][..]));
    assert!(info.has_scope("b") && !info.has_scope("c"));
}

#[test]
fn inactive_is_an_answer_for_all_that_the_issuer_will_not_vouch_for() {
    let world = World::new();
    let introspector = introspector(&world);
    let good = world.test.token().audience("orders").sign();
    assert!(is_active(introspector.introspect(&good)));
    world.test.revoke(&good);
    for token in [good, world.test.token().audience("others").sign(), "garbage".to_owned(), String::new()] {
        assert!(!is_active(introspector.introspect(&token)), "{token}");
    }
}

#[test]
fn wrong_credentials_of_the_caller_are_an_oauth_error() {
    let world = World::new();
    let introspector = world.issuer().introspector("orders", "wrong").build().unwrap();
    let Err(Error::OAuth(e)) = introspector.introspect("t") else { panic!("no OAuth error") };
    assert_eq!((e.error_code(), e.status()), ("invalid_client", 401));
}

#[test]
fn what_is_no_proper_answer_fails_closed() {
    for body in [
        "",
        "null",
        "[]",
        "true",
        "{}",
        r#"{"active":"true"}"#,
        r#"{"active":1}"#,
        r#"{"active":null}"#,
        r#"{"active":false,"active":true}"#,
        r#"{"active":true,"active":true}"#,
        r#"{"active":true,"exp":"soon"}"#,
        r#"{"active":true,"exp":1e400}"#,
        r#"{"active":true,"iss":1}"#,
        r#"{"active":true,"sub":[]}"#,
        r#"{"active":true,"aud":{}}"#,
        r#"{"active":true,"aud":[1]}"#,
        r#"{"active":true,"scope":7}"#,
        r#"{"active":true,"client_id":false}"#,
        r#"{"active":true,"token_type":1}"#,
        r#"{"active":true,"username":1}"#,
        r#"{"active":true} x"#,
    ] {
        assert_eq!(network_kind(answered(body)), NetworkErrorKind::InvalidResponse, "{body}");
    }
}

#[test]
fn an_active_answer_that_contradicts_itself_is_inactive() {
    let world = World::new();
    let now = world.clock.wall().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for (body, active) in [
        (r#"{"active":true}"#.to_owned(), true),
        (format!(r#"{{"active":true,"exp":{now}}}"#), false),
        (format!(r#"{{"active":true,"exp":{}}}"#, now + 1), true),
        (format!(r#"{{"active":true,"nbf":{}}}"#, now + 1), false),
        (format!(r#"{{"active":true,"nbf":{now}}}"#), true),
        (r#"{"active":true,"iss":"https://other.example"}"#.to_owned(), false),
        (format!(r#"{{"active":true,"iss":"{}"}}"#, world.test.url()), true),
    ] {
        assert_eq!(is_active(answered(&body)), active, "{body}");
    }
}

#[test]
fn with_an_unset_clock_an_answer_that_needs_it_is_a_clock_error() {
    let world = World::new();
    let introspector = introspector(&world);
    let token = world.test.token().audience("orders").sign();
    world.test.fail(Endpoint::Introspection, 1, Fault::json(200, r#"{"active":true}"#));
    world.test.fail(Endpoint::Introspection, 1, Fault::json(200, r#"{"active":true,"exp":4000000000}"#));
    world.clock.set_wall(UNIX_EPOCH + secs(1_767_225_599));
    assert!(is_active(introspector.introspect(&token)));
    assert!(matches!(introspector.introspect(&token), Err(Error::Clock(_))));
}

#[test]
fn without_a_cache_every_question_is_a_request() {
    let world = World::new();
    let introspector = introspector(&world);
    let token = world.test.token().audience("orders").sign();
    for _ in 0..3 {
        assert!(is_active(introspector.introspect(&token)));
    }
    assert_eq!(world.test.requests(Endpoint::Introspection), 3);
    assert_eq!(world.test.requests(Endpoint::Discovery), 1);
}

fn caching(world: &World) -> Introspector {
    world.test.register_resource_server("orders", "s3cret-orders");
    world.issuer().introspector("orders", "s3cret-orders").cache(2, secs(60)).build().unwrap()
}

#[test]
fn a_cached_answer_serves_for_its_time_and_never_past_exp() {
    let world = World::new();
    let introspector = caching(&world);
    let token = world.test.token().audience("orders").sign();
    assert!(is_active(introspector.introspect(&token)));
    world.clock.advance(secs(59));
    assert!(is_active(introspector.introspect_with(&token, TokenTypeHint::AccessToken)));
    assert_eq!(world.test.requests(Endpoint::Introspection), 1, "the hint is no part of the key");
    world.clock.advance(secs(1));
    assert!(is_active(introspector.introspect(&token)));
    assert_eq!(world.test.requests(Endpoint::Introspection), 2);

    let short = world.test.token().audience("orders").lifetime(secs(10)).sign();
    assert!(is_active(introspector.introspect(&short)));
    world.clock.advance(secs(10));
    assert!(!is_active(introspector.introspect(&short)));
    assert_eq!(world.test.requests(Endpoint::Introspection), 4);
}

#[test]
fn a_cached_answer_does_not_outlive_a_step_of_the_clock_before_its_nbf_or_to_no_time_at_all() {
    let world = World::new();
    let introspector = caching(&world);
    let token = world.test.token().audience("orders").without_claim("exp").not_before(world.clock.wall()).sign();
    let body =
        format!("{{\"active\":true,\"nbf\":{}}}", world.clock.wall().duration_since(UNIX_EPOCH).unwrap().as_secs());
    world.test.fail(Endpoint::Introspection, u32::MAX, Fault::json(200, body));
    assert!(is_active(introspector.introspect(&token)));
    world.clock.set_wall(world.clock.wall() - secs(100));
    assert!(!is_active(introspector.introspect(&token)));
    world.clock.advance_wall(secs(100));
    world.clock.advance_monotonic(secs(5));
    assert!(is_active(introspector.introspect(&token)));
    world.clock.set_wall(UNIX_EPOCH);
    assert!(matches!(introspector.introspect(&token), Err(Error::Clock(_))));
}

#[test]
fn introspections_counts_the_requests_that_were_sent() {
    let world = World::new();
    let issuer = world.issuer();
    let reads = std::sync::atomic::AtomicUsize::new(0);
    let rotating = SecretSource::from_fn(move || {
        Ok::<_, std::io::Error>(reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string())
    });
    let introspector = issuer.introspector("orders", rotating).cache(2, secs(60)).build().unwrap();
    world.test.fail(Endpoint::Discovery, 1, Fault::status(500));
    introspector.introspect("a token").unwrap_err();
    assert_eq!(issuer.stats().introspections(), 0, "nobody knew where to ask");
    world.clock.advance(secs(2));
    introspector.introspect("a token").unwrap_err();
    assert_eq!(issuer.stats().introspections(), 2, "once with each secret");
    world.test.fail(Endpoint::Introspection, 1, Fault::json(200, r#"{"active":true}"#));
    let _ = introspector.introspect("a token").unwrap();
    let _ = introspector.introspect("a token").unwrap();
    assert_eq!(issuer.stats().introspections(), 3, "the last came from the cache");
}

#[test]
fn an_oauth_error_whose_body_is_compressed_is_its_status() {
    let world = World::new();
    let introspector = introspector(&world);
    let fault = Fault::json(401, r#"{"error":"invalid_client"}"#).header("content-encoding", "gzip");
    world.test.fail(Endpoint::Introspection, 1, fault);
    assert_eq!(network_kind(introspector.introspect("t")), NetworkErrorKind::Status(401));
}

#[test]
fn inactive_is_kept_for_five_seconds_at_most() {
    let world = World::new();
    let introspector = caching(&world);
    assert!(!is_active(introspector.introspect("t")));
    world.clock.advance(Duration::from_millis(4999));
    assert!(!is_active(introspector.introspect("t")));
    assert_eq!(world.test.requests(Endpoint::Introspection), 1);
    world.clock.advance(Duration::from_millis(1));
    assert!(!is_active(introspector.introspect("t")));
    assert_eq!(world.test.requests(Endpoint::Introspection), 2);
}

#[test]
fn one_flight_per_token_and_its_error_is_shared_but_not_kept() {
    let world = World::new();
    let introspector = caching(&world);
    let _ = introspector.introspect("warm up").unwrap();
    world.test.reset_counts();
    world.test.fail(Endpoint::Introspection, 2, Fault::status(503));
    let gate = world.test.gate(Endpoint::Introspection);
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| network_kind(introspector.introspect("t")));
        gate.wait_until_reached(1);
        // Another token is another flight.
        let other = scope.spawn(|| network_kind(introspector.introspect("u")));
        gate.wait_until_reached(2);
        gate.release();
        let down = NetworkErrorKind::Status(503);
        assert_eq!((leader.join().unwrap(), other.join().unwrap()), (down, down));
    });
    assert_eq!(world.test.requests(Endpoint::Introspection), 2);
    assert!(!is_active(introspector.introspect("t")));
}

#[test]
fn the_cache_is_bounded() {
    let world = World::new();
    let introspector = caching(&world);
    for token in ["a", "b", "c", "a"] {
        let _ = introspector.introspect(token).unwrap();
    }
    assert_eq!(world.test.requests(Endpoint::Introspection), 4);
}

#[test]
fn a_cache_without_room_or_time_and_an_empty_client_are_configuration_errors() {
    let issuer = recorded(&TestIssuer::new());
    let builder = || issuer.introspector("c", "s");
    for refused in [
        builder().cache(0, secs(1)).build().map(drop),
        builder().cache(1, Duration::ZERO).build().map(drop),
        issuer.introspector("", "s").build().map(drop),
        issuer.introspector("c", "").build().map(drop),
        issuer.revoker("", "s").build().map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Config(_))), "{refused:?}");
    }
}

#[test]
fn revocation_withdraws_a_token_and_an_unknown_one_is_no_error() {
    let world = World::new();
    let introspector = introspector(&world);
    let token = world.test.token().audience("orders").client_id(TestIssuer::CLIENT_ID).sign();
    assert!(is_active(introspector.introspect(&token)));
    let revoker = world.issuer().revoker(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build().unwrap();
    revoker.revoke(&token, Some(TokenTypeHint::AccessToken)).unwrap();
    revoker.revoke("never heard of", None).unwrap();
    assert!(!is_active(introspector.introspect(&token)));
}

#[test]
fn a_human_sentence_is_no_oauth_error_code() {
    for (body, code) in [
        (r#"{"error":"Something went wrong"}"#, None),
        (r#"{"error":"validation_error","message":"x"}"#, Some("validation_error")),
        (r#"{"error":""}"#, None),
        (r#"{"error":"UPPER"}"#, None),
        (r#"{"error":5}"#, None),
        (r#"{"error":"a","error":"a"}"#, None),
        ("<html>", None),
        ("", None),
        (r#"{"error":"abc.def-1_2","error_description":7}"#, Some("abc.def-1_2")),
    ] {
        let world = World::new();
        let introspector = introspector(&world);
        world.test.fail(Endpoint::Introspection, 1, Fault::json(400, body));
        match (introspector.introspect("t"), code) {
            (Err(Error::OAuth(e)), Some(code)) => assert_eq!(e.error_code(), code),
            (Err(Error::Network(e)), None) => assert_eq!(e.kind(), NetworkErrorKind::Status(400), "{body}"),
            (other, _) => panic!("{body}: {other:?}"),
        }
    }
    for status in [302, 399, 600] {
        let world = World::new();
        let introspector = introspector(&world);
        world.test.fail(Endpoint::Introspection, 1, Fault::json(status, r#"{"error":"invalid_client"}"#));
        let Err(Error::Network(e)) = introspector.introspect("t") else { panic!("{status}") };
        assert_eq!(e.kind(), NetworkErrorKind::Status(status));
    }
    let longest = format!(r#"{{"error":"{}"}}"#, "a".repeat(64));
    let too_long = format!(r#"{{"error":"{}"}}"#, "a".repeat(65));
    for (body, oauth) in [(longest, true), (too_long, false)] {
        let world = World::new();
        let introspector = introspector(&world);
        world.test.fail(Endpoint::Introspection, 1, Fault::json(400, body));
        assert_eq!(matches!(introspector.introspect("t"), Err(Error::OAuth(_))), oauth);
    }
}

#[test]
fn a_secret_rotated_at_its_source_is_tried_once_more() {
    let world = World::new();
    world.test.register_resource_server("orders", "new-secret");
    let reads = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let source = {
        let reads = reads.clone();
        SecretSource::from_fn(move || {
            let first = reads.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            Ok::<_, std::io::Error>(if first { "old-secret" } else { "new-secret" }.to_owned())
        })
    };
    let introspector = world.issuer().introspector("orders", source).build().unwrap();
    assert!(!is_active(introspector.introspect("t")));
    assert_eq!(world.test.requests(Endpoint::Introspection), 2);
    let fixed = world.issuer().introspector("orders", "always wrong").build().unwrap();
    assert!(matches!(fixed.introspect("t"), Err(Error::OAuth(_))));
    assert_eq!(world.test.requests(Endpoint::Introspection), 3);
}

#[cfg(feature = "serde")]
#[test]
fn token_info_serializes_as_the_answer_that_came() {
    let answer = r#"{"active":true,"sub":"u1","tenant":{"id":7}}"#;
    let Introspection::Active(info) = answered(answer).unwrap() else { panic!("inactive") };
    assert_eq!(serde_json::to_string(&info).unwrap(), r#"{"active":true,"sub":"u1","tenant":{"id":7}}"#);
    assert!(answered(r#"{"active":true,"sub":7}"#).is_err());
}

#[test]
fn a_member_that_is_null_counts_as_absent_and_so_does_an_empty_audience() {
    for members in [
        r#""aud":null"#,
        r#""aud":[]"#,
        r#""exp":null,"iat":null,"nbf":null,"sub":null,"iss":null,"jti":null"#,
        r#""scope":null,"client_id":null,"username":null,"token_type":null,"cnf":null"#,
    ] {
        let answer = answered(&format!(r#"{{"active":true,{members}}}"#)).unwrap();
        let info = answer.active().unwrap();
        assert_eq!((info.audience(), info.expires_at(), info.subject(), info.scope()), (None, None, None, None));
        assert!(answer.is_active());
    }
    assert!(answered(r#"{"active":null}"#).is_err());
    assert!(!answered(r#"{"active":false}"#).unwrap().is_active());
}

#[test]
fn an_expiry_beyond_the_year_9999_is_the_end_of_that_year() {
    let latest = UNIX_EPOCH + secs(253_402_300_799);
    for (exp, expires_at) in [
        ("253402300799", Some(latest)),
        ("253402300800", Some(latest)),
        ("9999999999999", Some(latest)),
        ("1e300", Some(latest)),
        ("-1", None),
        (r#""253402300800""#, None),
    ] {
        let answer = answered(&format!(r#"{{"active":true,"exp":{exp}}}"#));
        assert_eq!(answer.ok().and_then(|answer| answer.active()?.expires_at()), expires_at, "{exp}");
    }
}

#[test]
fn a_token_that_is_too_long_is_refused_before_any_request() {
    let world = World::new();
    world.test.register_resource_server("orders", "s3cret-orders");
    let issuer = world.issuer();
    let of_length = |bytes: usize| "x".repeat(bytes);
    let default = issuer.introspector("orders", "s3cret-orders").build().unwrap();
    let shorter = issuer.introspector("orders", "s3cret-orders").max_token_bytes(100).build().unwrap();
    for (introspector, longest) in [(default, 16 * 1024), (shorter, 100)] {
        assert!(!is_active(introspector.introspect(&of_length(longest))));
        let requests = world.test.requests(Endpoint::Introspection);
        let Err(Error::Token(error)) = introspector.introspect(&of_length(longest + 1)) else { panic!("not refused") };
        assert_eq!(error.kind(), aero2::TokenErrorKind::TooLong);
        assert_eq!(world.test.requests(Endpoint::Introspection), requests);
    }
}

#[test]
fn an_active_answer_that_does_not_meet_a_requirement_is_refused_as_a_jwt_would_be() {
    let world = World::new();
    world.test.register_resource_server("orders", "s3cret-orders");
    let issuer = world.issuer();
    let refused = |body: &str| {
        let introspector = issuer
            .introspector("orders", "s3cret-orders")
            .audience("orders")
            .required_scopes(["read"])
            .required_scopes(["write"])
            .require_claim("/realm/roles", ["admin", "operator"])
            .build()
            .unwrap();
        world.test.fail(Endpoint::Introspection, 1, Fault::json(200, body));
        introspector.introspect("some token").map(|answer| answer.is_active()).map_err(|error| match error {
            Error::Token(error) => error.kind(),
            other => panic!("{other}"),
        })
    };
    use aero2::TokenErrorKind::{InsufficientClaim, InsufficientScope, InvalidClaim, WrongAudience};
    let good = r#"{"active":true,"aud":["x","orders"],"scope":"read write","realm":{"roles":["operator"]}}"#;
    let with = |from: &str, to: &str| {
        assert!(good.contains(from));
        refused(&good.replace(from, to))
    };
    assert_eq!(refused(good), Ok(true));
    assert_eq!(refused(r#"{"active":false}"#), Ok(false));
    assert_eq!(with("orders", "billing"), Err(WrongAudience));
    assert_eq!(with(r#"["x","orders"]"#, "[]"), Err(InvalidClaim));
    assert_eq!(with("read write", "write"), Err(InsufficientScope));
    assert_eq!(with("read write", "read"), Err(InsufficientScope));
    assert_eq!(with("operator", "guest"), Err(InsufficientClaim));
    for builder in [
        issuer.introspector("orders", "s").audience(""),
        issuer.introspector("orders", "s").required_scopes(["a b"]),
        issuer.introspector("orders", "s").require_claim("no pointer", ["x"]),
    ] {
        assert!(matches!(builder.build(), Err(Error::Config(_))));
    }
}
