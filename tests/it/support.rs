//! What several modules need.

#[cfg(feature = "ureq")]
pub(crate) mod child;
#[cfg(feature = "ureq")]
#[expect(dead_code, reason = "tests/faults looks at all of a request")]
pub(crate) mod http;
pub(crate) mod pace;
#[cfg(feature = "ureq")]
pub(crate) mod proxy;
pub(crate) mod recorder;
#[cfg(feature = "ureq")]
pub(crate) mod tls_server;

use std::time::Duration;

use aero2::testing::{ManualClock, TestIssuer};
use aero2::{Error, Issuer, IssuerBuilder, NetworkErrorKind, TokenErrorKind};

use recorder::Recorder;

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// As [`TestIssuer::issuer`], with every request looked at.
pub(crate) fn recorded(test: &TestIssuer) -> Issuer {
    recorded_builder(test).build().unwrap()
}

/// As [`TestIssuer::issuer_builder`], with every request looked at.
pub(crate) fn recorded_builder(test: &TestIssuer) -> IssuerBuilder {
    test.issuer_builder().transport(Recorder::new(test.transport()))
}

/// A test issuer whose time, and that of the issuers made for it, is in the test's hand.
pub(crate) struct World {
    pub(crate) test: TestIssuer,
    pub(crate) clock: ManualClock,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new();
        Self { test: TestIssuer::with_clock(clock.clone()), clock }
    }

    pub(crate) fn builder(&self) -> IssuerBuilder {
        Issuer::builder(self.test.url()).transport(Recorder::new(self.test.transport())).clock(self.clock.clone())
    }

    pub(crate) fn issuer(&self) -> Issuer {
        self.builder().build().unwrap()
    }
}

pub(crate) fn token_kind<T: std::fmt::Debug>(outcome: Result<T, Error>) -> TokenErrorKind {
    match outcome {
        Err(Error::Token(e)) => e.kind(),
        other => panic!("not a refused token: {other:?}"),
    }
}

pub(crate) fn network_kind<T: std::fmt::Debug>(outcome: Result<T, Error>) -> NetworkErrorKind {
    match outcome {
        Err(Error::Network(e)) => e.kind(),
        other => panic!("not a network error: {other:?}"),
    }
}
