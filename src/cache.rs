//! The tools that the caches are made of: single flight, refresh-ahead, back-off, a bounded map.

pub(crate) mod backoff;
pub(crate) mod bounded_map;
pub(crate) mod reentrancy;
pub(crate) mod refresh_ahead;
pub(crate) mod single_flight;

use std::time::Duration;

use crate::cache::single_flight::NoOutcome;
use crate::error::{Endpoint, Error, NetworkErrorKind};

impl NoOutcome {
    /// The error of a caller that got no outcome of a flight to `endpoint`. The flight goes on, so the next call may find its outcome.
    pub(crate) fn error(self, endpoint: Endpoint) -> Error {
        match self {
            Self::TimedOut => Error::network(NetworkErrorKind::Timeout, endpoint).with_retry_after(SOON),
            Self::Full => Error::network(NetworkErrorKind::RateLimited, endpoint).with_retry_after(SOON),
            Self::Reentrant => Error::network(NetworkErrorKind::Reentrant, endpoint),
        }
    }
}

/// How long a caller that could not wait for a flight should stay away: the shortest time that `Retry-After` can say.
const SOON: Duration = Duration::from_secs(1);
