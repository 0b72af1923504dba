//! A virtual day of one resource server: keys rotate every ten minutes, tokens live for an hour, and the issuer is down for an hour.

use std::time::Duration;

use aero2::jose::Algorithm;
use aero2::testing::{Endpoint, Fault, ManualClock, TestIssuer};
use aero2::{Clock, Error, Issuer, NetworkErrorKind, ResourceServer, TokenErrorKind};

use crate::recorder::Recorder;

const STEP: u64 = 10;
const HOUR: u64 = 3600;
const OUTAGE: std::ops::Range<u64> = 10 * HOUR..11 * HOUR;

struct Day {
    test: TestIssuer,
    clock: ManualClock,
    rs: ResourceServer,
    issuer: Issuer,
    /// Tokens with the second at which they were minted.
    tokens: Vec<(u64, String)>,
    accepted: u32,
    refused: u32,
}

impl Day {
    fn new() -> Self {
        let clock = ManualClock::new();
        let test = TestIssuer::builder().clock(clock.clone()).algorithm(Algorithm::Es256).build();
        let issuer = Issuer::builder(test.url())
            .transport(Recorder::new(test.transport()))
            .clock(clock.clone())
            .build()
            .unwrap();
        let rs = issuer.resource_server().audience("orders").build().unwrap();
        Self { test, clock, rs, issuer, tokens: Vec::new(), accepted: 0, refused: 0 }
    }

    /// What the issuer does at that second.
    fn issue(&mut self, second: u64) {
        if second == OUTAGE.start {
            for endpoint in Endpoint::ALL {
                self.test.fail(endpoint, u32::MAX, Fault::transport(NetworkErrorKind::Connect));
            }
        }
        if second == OUTAGE.end {
            self.test.clear_faults();
        }
        if OUTAGE.contains(&second) {
            return;
        }
        if second % 600 == 0 {
            self.test.rotate_keys();
        }
        if second % 60 == 0 {
            self.tokens.push((second, self.test.token().audience("orders").lifetime(Duration::from_secs(HOUR)).sign()));
            self.tokens.retain(|(minted, _)| second - minted < 2 * HOUR);
        }
    }

    /// Every token of the last two hours, a few a step: the living are accepted and the dead are refused.
    fn check(&mut self, second: u64) {
        let round = usize::try_from(second / STEP).unwrap();
        for (minted, token) in self.tokens.iter().skip(round % 7).step_by(7).chain(self.tokens.last()) {
            let age = second - minted;
            let outcome = self.rs.verify_token(token).map(drop);
            match outcome {
                Ok(()) => assert!(age < HOUR + 30, "accepted at the age of {age} s, second {second}"),
                Err(Error::Token(e)) if e.kind() == TokenErrorKind::Expired => assert!(age >= HOUR + 30),
                Err(error) => panic!("{error} at the age of {age} s, second {second}"),
            }
            *(if age < HOUR + 30 { &mut self.accepted } else { &mut self.refused }) += 1;
        }
        let forged = self.test.token().audience("orders").other_key().sign();
        let Err(Error::Token(refusal)) = self.rs.verify_token(&forged) else { panic!("accepted, second {second}") };
        assert_eq!(refusal.kind(), TokenErrorKind::BadSignature, "second {second}");
    }
}

#[test]
fn a_day_with_rotations_and_an_outage_has_no_wrong_refusal_and_no_wrong_acceptance() {
    let mut day = Day::new();
    for second in (0..24 * HOUR).step_by(usize::try_from(STEP).unwrap()) {
        day.issue(second);
        if second % 200 == 0 {
            day.check(second);
        }
        day.clock.advance(Duration::from_secs(STEP));
    }
    let (discovery, keys) = (day.test.requests(Endpoint::Discovery), day.test.requests(Endpoint::Keys));
    let stats = day.issuer.stats();
    println!(
        "{} accepted, {} refused as expired; {discovery} discovery and {keys} key requests, {} of them failed, {} verifications with stale keys",
        day.accepted,
        day.refused,
        stats.key_fetch_failures(),
        stats.stale_keys_served()
    );
    // A rotation brings one refetch each, and so does a forged token, whose key may have been replaced; in the outage the back-off asks
    // once a minute at most, for both documents.
    assert!(discovery <= 2 + 70 && keys <= 24 * 6 + 24 * 18 + 70, "{discovery} {keys}");
    assert!(stats.stale_keys_served() > 0 && stats.rate_limited() == 0);
    assert_eq!(day.clock.monotonic(), Duration::from_secs(24 * HOUR));
}

#[test]
fn a_day_of_one_m2m_client_with_an_outage_serves_its_token_as_long_as_it_lives() {
    let day = Day::new();
    let m2m = day.issuer.m2m_client(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build().unwrap();
    let rs = day.issuer.resource_server().build().unwrap();
    let (mut ends, mut without) = (day.clock.wall(), 0);
    for second in (0..24 * HOUR).step_by(usize::try_from(STEP).unwrap()) {
        if second == OUTAGE.start || second == OUTAGE.end {
            day.test.clear_faults();
        }
        if second == OUTAGE.start {
            for endpoint in Endpoint::ALL {
                day.test.fail(endpoint, u32::MAX, Fault::transport(NetworkErrorKind::Connect));
            }
        }
        match m2m.access_token() {
            Ok(token) => {
                ends = token.expires_at().unwrap();
                assert!(ends > day.clock.wall() + Duration::from_secs(10), "too old a token, second {second}");
                if second % 600 == 0 {
                    rs.verify_token(token.expose_secret()).unwrap();
                }
            }
            Err(error) => {
                // Only when the token that was held has come to its end, and the issuer is down or was until a minute ago.
                assert!(
                    ends <= day.clock.wall() + Duration::from_secs(10),
                    "{error} although a token lives, second {second}"
                );
                assert!((OUTAGE.start..OUTAGE.end + 60).contains(&second), "{error}, second {second}");
                without += STEP;
            }
        }
        day.clock.advance(Duration::from_secs(STEP));
    }
    let (tokens, failures) = (day.test.requests(Endpoint::Token), day.issuer.stats().mint_failures());
    println!("{tokens} token requests, {failures} mints failed, {without} s without a token");
    // A token an hour, one drawn early, and in the outage one attempt each half minute at most.
    assert!(tokens <= 24 + 3 + 120 && without <= HOUR + 60, "{tokens} {without}");
}
