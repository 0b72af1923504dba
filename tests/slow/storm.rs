//! A flood of invented key ids.

use std::time::Duration;

use aero2::testing::{Endpoint, ManualClock, TestIssuer};
use aero2::{Clock, Issuer};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::recorder::Recorder;

#[test]
fn a_hundred_thousand_random_kids_in_a_minute_make_five_requests_and_a_rotated_key_is_picked_up_within_30_seconds() {
    let clock = ManualClock::new();
    let test = TestIssuer::with_clock(clock.clone());
    let issuer = Issuer::builder(test.url()).transport(Recorder::new(test.transport())).clock(clock.clone());
    let rs = issuer.build().unwrap().resource_server().build().unwrap();
    rs.verify_token(&test.token().sign()).unwrap();
    test.reset_counts();
    let flood = test.token().key_id("kid-000000").sign();
    let (_, rest) = flood.split_once('.').unwrap();
    let (mut rotated, mut picked_up) = (None, None);
    // A token each 0.6 ms of virtual time; the flood goes on past the minute, until the rotated key is there.
    for n in 0..140_000_u32 {
        if n % 100 == 0 {
            clock.advance(Duration::from_millis(60));
        }
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"RS256","kid":"kid-{n:06}"}}"#));
        assert!(rs.verify_token(&format!("{header}.{rest}")).is_err());
        match n {
            // The attempt that came back at 30 s is spent by now.
            75_000 => {
                test.rotate_keys();
                rotated = Some((clock.monotonic(), test.token().sign()));
            }
            100_000 => assert!(test.requests(Endpoint::Keys) <= 5, "{}", test.requests(Endpoint::Keys)),
            _ => {}
        }
        if let (Some((at, token)), None, 0) = (&rotated, picked_up, n % 1_000) {
            picked_up = rs.verify_token(token).ok().map(|_| clock.monotonic() - *at);
        }
    }
    let picked_up = picked_up.expect("the rotated key was never picked up");
    assert!(picked_up <= Duration::from_secs(30), "{picked_up:?}");
}
