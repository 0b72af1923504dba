//! Whether the wall clock can be right: not before 2026, nor before the time of a snapshot, until the issuer has shown that one wrong.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::time::Now;

#[derive(Default)]
pub(crate) struct WallClock {
    /// The time of the snapshot, in seconds since 1970; zero: there is none.
    not_before: AtomicU32,
    /// Both clocks when the issuer's `Date` last agreed with this machine's.
    agreed: Mutex<Option<Now>>,
}

impl WallClock {
    pub(crate) fn set_not_before(&self, snapshot: SystemTime) {
        let seconds = snapshot.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.not_before.store(u32::try_from(seconds).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    pub(crate) fn forget_not_before(&self) {
        self.not_before.store(0, Ordering::Relaxed);
    }

    /// The wall clock's time as a span since 1970, if the clock is set.
    pub(crate) fn since_epoch(&self, now: Now) -> Option<Duration> {
        now.since_epoch().filter(|_| !self.is_before_snapshot(now))
    }

    /// Whether the clock is set but stands before the snapshot, by more than clocks usually differ.
    pub(crate) fn is_before_snapshot(&self, now: Now) -> bool {
        let not_before = Duration::from_secs(self.not_before.load(Ordering::Relaxed).into());
        now.since_epoch().is_some_and(|since| since.saturating_add(TOLERANCE) < not_before)
    }

    /// Takes the time of an answer that only the issuer can have given.
    pub(crate) fn observe(&self, date: SystemTime, now: Now) {
        let agrees = now.wall.is_some_and(|wall| difference(wall, date) <= TOLERANCE);
        *self.agreed.lock() = agrees.then_some(now);
    }

    /// Whether the issuer's time agreed with the clock, and the clock was not set since.
    pub(crate) fn is_confirmed(&self, now: Now) -> bool {
        let Some(then) = *self.agreed.lock() else { return false };
        let passed = now.monotonic.saturating_sub(then.monotonic);
        let expected = then.wall.and_then(|wall| wall.checked_add(passed));
        expected.zip(now.wall).is_some_and(|(expected, wall)| difference(expected, wall) <= TOLERANCE)
    }
}

fn difference(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|error| error.duration())
}

/// How far a clock that is right may be from the issuer's, and from the clock of the machine that wrote a snapshot.
pub(crate) const TOLERANCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn wall(seconds: u64) -> SystemTime {
        UNIX_EPOCH + secs(1_800_000_000 + seconds)
    }

    #[test]
    fn a_clock_is_unset_from_a_minute_before_the_snapshot_on_downwards() {
        let clock = WallClock::default();
        let is_set = |seconds| clock.since_epoch(Now::new(wall(seconds), secs(0))).is_some();
        assert!(is_set(0));
        clock.set_not_before(wall(1_000));
        assert!(is_set(940) && !is_set(939));
        clock.set_not_before(wall(1 << 40));
        assert!(!is_set(1_000));
        clock.forget_not_before();
        assert!(is_set(939));
        assert!(clock.since_epoch(Now::new(UNIX_EPOCH, secs(0))).is_none());
    }

    #[test]
    fn a_date_within_a_minute_confirms_the_clock_until_the_clock_is_set() {
        for (date, agrees) in [(940, true), (1_060, true), (939, false), (1_061, false)] {
            let clock = WallClock::default();
            let now = Now::new(wall(1_000), secs(5));
            assert!(!clock.is_confirmed(now));
            clock.observe(wall(date), now);
            assert_eq!(clock.is_confirmed(now), agrees, "{date}");
            let later = |wall_then| Now::new(wall(wall_then), secs(105));
            assert_eq!(clock.is_confirmed(later(1_100)), agrees, "{date}");
            assert!(!clock.is_confirmed(later(2_000)), "the clock was set");
            clock.observe(wall(5_000), now);
            assert!(!clock.is_confirmed(now), "a later answer disagrees");
        }
    }
}
