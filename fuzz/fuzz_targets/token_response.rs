//! Oracle: the second reading agrees on whether it is an answer, on token and scope byte for byte, and on the lifetime.
#![no_main]

use std::time::Duration;

use aero2::fuzzing;
use aero2_fuzz::strict::{Json, Reading, get};
use aero2_fuzz::wall;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let ours = fuzzing::token_response(text, wall());
    let members = match Reading::of(text) {
        Reading::Object(members) => members,
        Reading::Bad => return assert!(ours.is_err()),
        Reading::HugeNumber => return,
    };
    let text_of = |name| get(&members, name).and_then(Json::text);
    let token =
        text_of("access_token").filter(|token| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
    let bearer = text_of("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
    let scope = get(&members, "scope").is_none_or(|scope| scope.text().is_some());
    let expires = get(&members, "expires_in");
    if expires.is_some_and(Json::is_minus_zero) {
        return;
    }
    let seconds = expires.and_then(|value| match value {
        Json::Text(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse::<f64>().unwrap())
        }
        value => value.number().filter(|seconds| *seconds >= 0.0),
    });
    let good = token.is_some() && bearer && scope && (expires.is_none() || seconds.is_some());
    assert_eq!(ours.is_ok(), good, "{:?}", ours.as_ref().err());
    let Ok((minted, granted, lifetime)) = ours else { return };
    assert_eq!(Some(minted.as_str()), token);
    assert_eq!(granted.as_deref(), text_of("scope"));
    assert_ne!(lifetime, Some(Duration::ZERO), "a token that is over is cached");
    if let Some(seconds) = seconds {
        let ours = lifetime.unwrap_or_default().as_secs_f64();
        // Doubles are exact up to 2^53; a lifetime beyond every clock is for ever.
        assert!(ours == seconds || (ours - seconds).abs() <= seconds * 1e-9 + 1e-9 || seconds >= 1.8e19, "{seconds}");
    }
});
