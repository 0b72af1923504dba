//! The waits that the issuer asked for by `Retry-After` (RFC 9110 §10.2.3), one per endpoint, for every caller of it.

use std::time::Duration;

use parking_lot::Mutex;

use crate::cache::backoff::clamp_retry_after;
use crate::error::{Detail, Endpoint, Error, NetworkError, NetworkErrorKind};
use crate::time::Now;

/// Whom a wait binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitScope {
    /// Every caller of the endpoint.
    Everyone,
    /// Token exchanges and assertion grants alone: one user's token says nothing about the service's own.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the grants on behalf of a user"))]
    Exchange,
}

#[derive(Default)]
pub(crate) struct RetryAfterWaits(Mutex<Vec<Wait>>);

struct Wait {
    endpoint: Endpoint,
    scope: WaitScope,
    start: Now,
    length: Duration,
    /// The answer that asked for the wait.
    error: Error,
}

impl RetryAfterWaits {
    /// Whether a request to `endpoint` may be sent now.
    ///
    /// # Errors
    /// The last error of the endpoint with what is left of the wait; one that is retryable in any case.
    pub(crate) fn check(&self, endpoint: Endpoint, scope: WaitScope, now: Now) -> Result<(), Error> {
        let binding = {
            let waits = self.0.lock();
            let binds = |wait: &&Wait| wait.endpoint == endpoint && [WaitScope::Everyone, scope].contains(&wait.scope);
            let left = waits.iter().filter(binds).filter_map(|wait| Some((wait.left(now)?, wait.error.clone())));
            left.max_by_key(|(left, _)| *left)
        };
        match binding {
            None => Ok(()),
            Some((left, error)) if error.is_retryable() => Err(error.with_retry_after(left)),
            Some((left, _)) => {
                let error = NetworkError::new(NetworkErrorKind::RateLimited, endpoint).with_detail(Detail::AskedToWait);
                Err(Error::Network(error.with_retry_after(Some(left))))
            }
        }
    }

    /// Notes an answer that asked to wait.
    pub(crate) fn note(&self, endpoint: Endpoint, scope: WaitScope, asked: Duration, error: &Error, now: Now) {
        let asked = clamp_retry_after(asked);
        let wait = Wait { endpoint, scope, start: now, length: asked, error: error.clone() };
        let mut waits = self.0.lock();
        // An error may hold a user's type, whose drop is user code, so what is replaced outlives the lock.
        let replaced = match waits.iter_mut().find(|other| other.endpoint == endpoint && other.scope == scope) {
            Some(other) if other.left(now) > Some(asked) => Some(wait),
            Some(other) => Some(std::mem::replace(other, wait)),
            None => {
                waits.push(wait);
                None
            }
        };
        drop(waits);
        drop(replaced);
    }
}

impl Wait {
    /// What is left of it: a machine that was suspended does not wait again for what has passed.
    fn left(&self, now: Now) -> Option<Duration> {
        self.length.checked_sub(now.elapsed_since(self.start)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Both clocks so many seconds after a start in 2027.
    fn at(wall: u64, monotonic: u64) -> Now {
        Now::new(UNIX_EPOCH + secs(1_800_000_000 + wall), secs(monotonic))
    }

    fn status(status: u16) -> Error {
        Error::network(NetworkErrorKind::Status(status), Endpoint::Token)
    }

    fn left(waits: &RetryAfterWaits, scope: WaitScope, now: Now) -> Option<Duration> {
        waits.check(Endpoint::Token, scope, now).err().and_then(|error| error.retry_after())
    }

    #[test]
    fn a_wait_binds_its_endpoint_and_no_other_until_it_is_over() {
        let waits = RetryAfterWaits::default();
        waits.note(Endpoint::Token, WaitScope::Everyone, secs(60), &status(503), at(0, 0));
        assert_eq!(left(&waits, WaitScope::Everyone, at(59, 59)), Some(secs(1)));
        assert_eq!(left(&waits, WaitScope::Exchange, at(59, 59)), Some(secs(1)));
        assert!(waits.check(Endpoint::Keys, WaitScope::Everyone, at(0, 0)).is_ok());
        assert_eq!(left(&waits, WaitScope::Everyone, at(60, 60)), None);
    }

    #[test]
    fn a_wait_ends_by_whichever_clock_says_so_first() {
        let waits = RetryAfterWaits::default();
        waits.note(Endpoint::Token, WaitScope::Everyone, secs(60), &status(503), at(0, 0));
        for (now, expected) in [(at(60, 5), None), (at(5, 60), None), (at(50, 5), Some(10)), (at(5, 50), Some(10))] {
            assert_eq!(left(&waits, WaitScope::Everyone, now), expected.map(secs), "{now:?}");
        }
        let unset = Now::new(UNIX_EPOCH, secs(30));
        assert_eq!(left(&waits, WaitScope::Everyone, unset), Some(secs(30)), "an unset clock says nothing");
    }

    #[test]
    fn what_an_exchange_drew_binds_exchanges_alone() {
        let waits = RetryAfterWaits::default();
        waits.note(Endpoint::Token, WaitScope::Exchange, secs(60), &status(429), at(0, 0));
        assert_eq!(left(&waits, WaitScope::Exchange, at(0, 0)), Some(secs(60)));
        assert_eq!(left(&waits, WaitScope::Everyone, at(0, 0)), None);
    }

    #[test]
    fn a_bound_caller_gets_the_last_error_where_that_is_retryable_and_a_retryable_one_in_any_case() {
        let waits = RetryAfterWaits::default();
        for (answer, kind) in [
            (503, NetworkErrorKind::Status(503)),
            (429, NetworkErrorKind::Status(429)),
            (403, NetworkErrorKind::RateLimited),
        ] {
            waits.note(Endpoint::Token, WaitScope::Everyone, secs(60), &status(answer), at(0, 0));
            let error = waits.check(Endpoint::Token, WaitScope::Everyone, at(0, 0)).unwrap_err();
            assert!(error.is_retryable());
            let Error::Network(error) = error else { panic!("{error}") };
            assert_eq!(error.kind(), kind);
        }
    }

    #[test]
    fn a_wait_is_clamped_and_a_shorter_one_shortens_none() {
        for (asked, honoured) in [(0, 1), (1, 1), (300, 300), (301, 300), (86_400, 300)] {
            let waits = RetryAfterWaits::default();
            waits.note(Endpoint::Token, WaitScope::Everyone, secs(asked), &status(503), at(0, 0));
            waits.note(Endpoint::Token, WaitScope::Everyone, secs(1), &status(500), at(0, 0));
            assert_eq!(left(&waits, WaitScope::Everyone, at(0, 0)), Some(secs(honoured)), "{asked}");
        }
    }
}
