//! The tools that the caches are made of: single flight, refresh-ahead, back-off, a bounded map.

pub(crate) mod backoff;
pub(crate) mod bounded_map;
pub(crate) mod reentrancy;
pub(crate) mod refresh_ahead;
pub(crate) mod single_flight;

use crate::cache::single_flight::NoOutcome;
use crate::error::{Endpoint, Error, NetworkErrorKind};

impl NoOutcome {
    /// The error of a caller that got no outcome of a flight to `endpoint`.
    pub(crate) fn error(self, endpoint: Endpoint) -> Error {
        let kind = match self {
            Self::TimedOut => NetworkErrorKind::Timeout,
            Self::Reentrant => NetworkErrorKind::Reentrant,
            Self::Full => NetworkErrorKind::RateLimited,
        };
        Error::network(kind, endpoint)
    }
}
