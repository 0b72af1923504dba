//! When to try again after a failure: exponential back-off with jitter, and what the issuer asked for by `Retry-After`.
//! Pure: the time and the draw are arguments.

use std::time::Duration;

use crate::time::Now;

/// The state after zero or more failures in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    pause: Option<Pause>,
}

/// A wait that began with a failure. It is over when either clock says so.
#[derive(Clone, Copy, Debug)]
struct Pause {
    start: Now,
    length: Duration,
    binding: bool,
}

impl Pause {
    /// What is left of it. A failure from before the wall clock was set says nothing of the time after: certificates, for one, are
    /// judged by that clock.
    fn left(&self, now: Now) -> Option<Duration> {
        if self.predates_clock(now) && !self.binding {
            return None;
        }
        self.length.checked_sub(now.elapsed_since(self.start)).filter(|left| !left.is_zero())
    }

    fn predates_clock(&self, now: Now) -> bool {
        self.start.wall.is_none() && now.wall.is_some()
    }
}

/// Which waits a caller keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackoffScope {
    /// Our own caution, and what the issuer said.
    All,
    /// What the issuer said: the caller insists.
    RetryAfterOnly,
}

impl Backoff {
    /// Notes a failure. `draw` is in `[0, 1)`: the `n`th wait lies between 2ⁿ⁻¹ and 2ⁿ seconds, at most a minute, so that a fleet
    /// that failed together does not come back together.
    pub(crate) fn failed(&mut self, now: Now, retry_after: Option<Duration>, draw: f64) {
        self.count_failure(now);
        let length = retry_after.map_or_else(|| self.jittered(draw), clamp_retry_after);
        self.pause = Some(Pause { start: now, length, binding: retry_after.is_some() });
    }

    /// Notes a failure that another endpoint's wait has caused: before that is over, a try is in vain.
    pub(crate) fn held_up(&mut self, now: Now, wait: Option<Duration>, draw: f64) {
        self.failed(now, None, draw);
        if let (Some(pause), Some(wait)) = (&mut self.pause, wait) {
            pause.length = pause.length.max(wait);
        }
    }

    /// Notes a failure that is remembered for a fixed time and binds every caller: an answer that will not change by itself.
    pub(crate) fn refused(&mut self, now: Now, wait: Duration) {
        self.count_failure(now);
        self.pause = Some(Pause { start: now, length: wait, binding: true });
    }

    /// Notes a success.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Forgets the failures, unless the issuer said how long to wait; says whether it did.
    pub(crate) fn forget_caution(&mut self) -> bool {
        let own = self.pause.is_none_or(|pause| !pause.binding);
        if own {
            *self = Self::default();
        }
        own
    }

    /// What is left of the wait; `None` when the next try may be made.
    pub(crate) fn wait(&self, now: Now) -> Option<Duration> {
        self.pause.as_ref()?.left(now)
    }

    /// Like [`wait`](Self::wait), for a caller who insists: only what the issuer said binds it, not our own caution.
    pub(crate) fn binding_wait(&self, now: Now) -> Option<Duration> {
        self.pause.as_ref().filter(|pause| pause.binding)?.left(now)
    }

    /// The one or the other.
    pub(crate) fn wait_within(&self, scope: BackoffScope, now: Now) -> Option<Duration> {
        match scope {
            BackoffScope::All => self.wait(now),
            BackoffScope::RetryAfterOnly => self.binding_wait(now),
        }
    }

    fn count_failure(&mut self, now: Now) {
        if self.pause.is_some_and(|pause| pause.predates_clock(now)) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
    }

    fn jittered(&self, draw: f64) -> Duration {
        let upper = 2_u64.checked_pow(self.failures).map_or(MAX_WAIT, Duration::from_secs).min(MAX_WAIT);
        let lower = upper / 2;
        lower + lower.mul_f64(draw.clamp(0.0, 1.0))
    }
}

/// What is honoured of a `Retry-After` (RFC 9110 §10.2.3): no hammering at zero, no sleep for a day by a typing error.
pub(crate) fn clamp_retry_after(asked: Duration) -> Duration {
    asked.clamp(Duration::from_secs(1), MAX_RETRY_AFTER)
}

/// The longest wait of the back-off: an issuer that is back is noticed within a minute.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The longest `Retry-After` that is honoured.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const NOW: Now = Now { wall: None, monotonic: Duration::from_secs(1_000) };

    fn wait_after(failures: u32, draw: f64) -> Duration {
        let mut backoff = Backoff::default();
        for _ in 0..failures {
            backoff.failed(NOW, None, draw);
        }
        backoff.wait(NOW).unwrap()
    }

    #[test]
    fn waits_grow_from_one_second_to_a_minute_and_are_spread() {
        for (failures, lower, upper) in
            [(1, 1, 2), (2, 2, 4), (5, 16, 32), (6, 30, 60), (7, 30, 60), (64, 30, 60), (200, 30, 60)]
        {
            assert_eq!(wait_after(failures, 0.0), Duration::from_secs(lower), "{failures} failures");
            assert_eq!(wait_after(failures, 1.0), Duration::from_secs(upper), "{failures} failures");
        }
    }

    #[test]
    fn a_wait_ends_on_the_moment() {
        let mut backoff = Backoff::default();
        backoff.failed(NOW, None, 0.0);
        assert_eq!(backoff.wait(NOW + Duration::from_millis(999)), Some(Duration::from_millis(1)));
        assert_eq!(backoff.wait(NOW + Duration::from_secs(1)), None);
    }

    #[test]
    fn retry_after_is_clamped_and_binds_everybody() {
        for (asked, honoured) in [(0, 1), (1, 1), (7, 7), (300, 300), (301, 300), (86_400, 300)] {
            let mut backoff = Backoff::default();
            backoff.failed(NOW, Some(Duration::from_secs(asked)), 0.5);
            assert_eq!(backoff.binding_wait(NOW), Some(Duration::from_secs(honoured)), "{asked}");
        }
    }

    #[test]
    fn a_plain_back_off_binds_nobody_who_insists() {
        let mut backoff = Backoff::default();
        backoff.failed(NOW, None, 0.5);
        assert!(backoff.wait(NOW).is_some());
        assert_eq!(backoff.binding_wait(NOW), None);
    }

    #[test]
    fn a_refusal_is_remembered_for_its_time_binds_everybody_and_counts_as_a_failure() {
        let mut backoff = Backoff::default();
        backoff.refused(NOW, Duration::from_secs(10));
        assert_eq!(backoff.binding_wait(NOW), Some(Duration::from_secs(10)));
        assert_eq!(backoff.wait(NOW + Duration::from_secs(10)), None);
        backoff.failed(NOW, None, 0.0);
        assert_eq!(backoff.wait(NOW), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_success_forgets_all_failures() {
        let mut backoff = Backoff::default();
        backoff.refused(NOW, Duration::from_secs(10));
        backoff.succeeded();
        assert_eq!(backoff.wait(NOW), None);
        backoff.failed(NOW, None, 0.0);
        assert_eq!(backoff.wait(NOW), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_wait_ends_on_either_clock() {
        let start = Now { wall: Some(UNIX_EPOCH), ..NOW };
        let mut backoff = Backoff::default();
        backoff.failed(start, Some(Duration::from_secs(60)), 0.5);
        let asleep = Now { wall: Some(UNIX_EPOCH + Duration::from_secs(60)), ..start };
        assert_eq!(backoff.wait(asleep), None);
        let set_back = Now { wall: None, ..start } + Duration::from_secs(60);
        assert_eq!(backoff.wait(set_back), None);
    }

    #[test]
    fn our_own_caution_ends_when_the_wall_clock_becomes_set_and_a_retry_after_does_not() {
        let set = Now { wall: Some(UNIX_EPOCH), ..NOW };
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.failed(NOW, None, 0.0);
        }
        assert_eq!((backoff.wait(NOW), backoff.wait(set)), (Some(Duration::from_secs(16)), None));
        backoff.failed(set, None, 0.0);
        assert_eq!(backoff.wait(set), Some(Duration::from_secs(1)), "the failures of before are forgotten");
        backoff.failed(NOW, Some(Duration::from_secs(60)), 0.0);
        assert_eq!(backoff.wait(set), Some(Duration::from_secs(60)));
    }

    #[test]
    fn another_endpoints_wait_is_kept_to_and_binds_no_caller() {
        let mut backoff = Backoff::default();
        backoff.held_up(NOW, Some(Duration::from_secs(90)), 0.0);
        assert_eq!((backoff.wait(NOW), backoff.binding_wait(NOW)), (Some(Duration::from_secs(90)), None));
        backoff.held_up(NOW, None, 0.0);
        assert_eq!(backoff.wait(NOW), Some(Duration::from_secs(2)));
    }
}
