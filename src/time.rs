//! Time as a seam: the two clocks that decide expiry, and the deadline that bounds a call.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The two clocks that decide about validity, time to live, back-off and budgets.
///
/// Waiting and time-outs use [`Instant`] instead, so a clock that stands still in a test does not make anything hang.
///
/// ```
/// use aero2::{Clock, Issuer};
/// use std::time::{Duration, SystemTime};
///
/// struct Fixed;
/// impl Clock for Fixed {
///     fn wall(&self) -> SystemTime {
///         SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
///     }
///     fn monotonic(&self) -> Duration {
///         Duration::ZERO
///     }
/// }
/// # #[cfg(feature = "ureq")]
/// let issuer = Issuer::builder("https://acme.aero2.dev").clock(Fixed).build()?;
/// # Ok::<(), aero2::Error>(())
/// ```
pub trait Clock: Send + Sync {
    /// The time of day, by which `exp`, `nbf` and `iat` are judged.
    fn wall(&self) -> SystemTime;

    /// A time that never jumps. It may start at zero.
    fn monotonic(&self) -> Duration;
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn wall(&self) -> SystemTime {
        (**self).wall()
    }

    fn monotonic(&self) -> Duration {
        (**self).monotonic()
    }
}

impl<T: Clock + ?Sized> Clock for Box<T> {
    fn wall(&self) -> SystemTime {
        (**self).wall()
    }

    fn monotonic(&self) -> Duration {
        (**self).monotonic()
    }
}

/// The machine's own clocks.
#[derive(Debug)]
pub(crate) struct SystemClock {
    start: Instant,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Both clocks, read once; what the pure decisions take as "now".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) wall: SystemTime,
    pub(crate) monotonic: Duration,
}

impl Now {
    pub(crate) fn read(clock: &dyn Clock) -> Self {
        Self { wall: clock.wall(), monotonic: clock.monotonic() }
    }

    /// The wall clock, if it can be right at all: a machine that has not yet heard of the time stands at 1970 or at the date
    /// of its image.
    pub(crate) fn wall_if_set(&self) -> Option<SystemTime> {
        since_epoch_if_set(self.wall).map(|_| self.wall)
    }
}

/// A wall clock's time as a span since 1970; `None` if it cannot be right at all (it is before 2026).
pub(crate) fn since_epoch_if_set(wall: SystemTime) -> Option<Duration> {
    wall.duration_since(UNIX_EPOCH).ok().filter(|since| *since >= EARLIEST_WALL)
}

/// One call's total budget. It is counted from the first moment at which the call may have to wait: one that waits for nothing reads no
/// clock for it.
pub(crate) struct Budget {
    length: Duration,
    end: OnceCell<Deadline>,
}

impl Budget {
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, end: OnceCell::new() }
    }

    pub(crate) fn deadline(&self) -> Deadline {
        *self.end.get_or_init(|| Deadline::after(self.length))
    }

    /// Whether the call came to a moment at which it may have waited, so that what it read of the time before may be old.
    pub(crate) fn has_begun(&self) -> bool {
        self.end.get().is_some()
    }
}

/// The end of one call's total budget.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// `None` inside where the budget is longer than `Instant` can say, which is as good as for ever.
    pub(crate) fn after(budget: Duration) -> Self {
        Self(Instant::now().checked_add(budget))
    }

    /// The earlier of the two.
    pub(crate) fn or_earlier(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Self(Some(a.min(b))),
            (a, b) => Self(a.or(b)),
        }
    }

    /// What is left; `None` when nothing is.
    pub(crate) fn remaining(self) -> Option<Duration> {
        let Some(at) = self.0 else { return Some(Duration::MAX) };
        at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// The moment itself; `None` for "never".
    pub(crate) fn instant(self) -> Option<Instant> {
        self.0
    }
}

/// 2026-01-01T00:00:00Z, before the first release of this crate: no right clock is behind it.
const EARLIEST_WALL: Duration = Duration::from_secs(1_767_225_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_clocks_go_on() {
        let (clock, began) = (SystemClock::new(), Instant::now());
        let before = clock.monotonic();
        while clock.monotonic() == before {
            assert!(began.elapsed() < Duration::from_secs(60), "it stands still");
        }
        assert!(clock.monotonic() > before);
        assert!(since_epoch_if_set(clock.wall()).is_some(), "the tests need a clock that is set");
    }

    #[test]
    fn a_shared_and_a_boxed_clock_tell_its_time() {
        struct Fixed;

        impl Clock for Fixed {
            fn wall(&self) -> SystemTime {
                UNIX_EPOCH + EARLIEST_WALL
            }

            fn monotonic(&self) -> Duration {
                Duration::from_secs(7)
            }
        }

        let clocks: [Box<dyn Clock>; 3] = [Box::new(Fixed), Box::new(Arc::new(Fixed)), Box::new(Box::new(Fixed))];
        for clock in clocks {
            let now = Now::read(&clock);
            assert_eq!((now.wall, now.monotonic), (UNIX_EPOCH + EARLIEST_WALL, Duration::from_secs(7)));
        }
    }

    #[test]
    fn a_wall_clock_is_set_from_2026_on() {
        let second = Duration::from_secs(1);
        assert_eq!(since_epoch_if_set(UNIX_EPOCH + EARLIEST_WALL), Some(EARLIEST_WALL));
        for wall in [UNIX_EPOCH, UNIX_EPOCH - second, UNIX_EPOCH + EARLIEST_WALL - second] {
            assert_eq!(since_epoch_if_set(wall), None);
            assert_eq!(Now { wall, monotonic: second }.wall_if_set(), None);
        }
    }

    #[test]
    fn a_budget_begins_when_it_is_first_needed() {
        let budget = Budget::new(Duration::from_secs(10));
        assert!(!budget.has_begun());
        let end = budget.deadline().instant();
        assert!(budget.has_begun() && end.is_some());
        assert_eq!(budget.deadline().instant(), end);
    }

    #[test]
    fn a_deadline_beyond_what_the_system_can_say_is_never() {
        let (never, soon) = (Deadline::after(Duration::MAX), Deadline::after(Duration::from_secs(60)));
        assert_eq!((never.instant(), never.remaining()), (None, Some(Duration::MAX)));
        assert_eq!(never.or_earlier(soon).instant(), soon.instant());
        assert_eq!(soon.or_earlier(never).instant(), soon.instant());
        let now = Deadline::after(Duration::ZERO);
        assert_eq!(now.or_earlier(soon).instant(), now.instant());
        assert_eq!(soon.or_earlier(now).instant(), now.instant());
        assert_eq!(now.remaining(), None);
    }
}
