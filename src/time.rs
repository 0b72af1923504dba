//! Time as a seam: the two clocks that decide expiry, and the deadline that bounds a call.

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
    /// `None` while the wall clock is not set: it stands at 1970, at the date of the machine's image, or anywhere before 2026.
    pub(crate) wall: Option<SystemTime>,
    pub(crate) monotonic: Duration,
}

impl Now {
    pub(crate) fn new(wall: SystemTime, monotonic: Duration) -> Self {
        let set = wall.duration_since(UNIX_EPOCH).is_ok_and(|since| since >= EARLIEST_WALL);
        Self { wall: set.then_some(wall), monotonic }
    }

    pub(crate) fn read(clock: &dyn Clock) -> Self {
        Self::new(clock.wall(), clock.monotonic())
    }

    /// The wall clock's time as a span since 1970; `None` while it is not set.
    pub(crate) fn since_epoch(self) -> Option<Duration> {
        self.wall?.duration_since(UNIX_EPOCH).ok()
    }

    /// How long ago `earlier` was, by the clock that says longer: the monotonic one may stand still while the machine sleeps, and the
    /// wall clock may be set back. So ages are never too young, and waits never too long.
    pub(crate) fn elapsed_since(self, earlier: Self) -> Duration {
        let monotonic = self.monotonic.saturating_sub(earlier.monotonic);
        match (self.wall, earlier.wall) {
            (Some(wall), Some(before)) => monotonic.max(wall.duration_since(before).unwrap_or_default()),
            _ => monotonic,
        }
    }
}

#[cfg(test)]
impl std::ops::Add<Duration> for Now {
    type Output = Self;

    fn add(self, passed: Duration) -> Self {
        Self { wall: self.wall.map(|wall| wall + passed), monotonic: self.monotonic + passed }
    }
}

#[cfg(test)]
impl std::ops::Sub<Duration> for Now {
    type Output = Self;

    fn sub(self, left: Duration) -> Self {
        Self { wall: self.wall.map(|wall| wall - left), monotonic: self.monotonic - left }
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
        assert!(Now::read(&clock).wall.is_some(), "the tests need a clock that is set");
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
            assert_eq!((now.wall, now.monotonic), (Some(UNIX_EPOCH + EARLIEST_WALL), Duration::from_secs(7)));
        }
    }

    #[test]
    fn a_wall_clock_is_set_from_2026_on() {
        let second = Duration::from_secs(1);
        assert_eq!(Now::new(UNIX_EPOCH + EARLIEST_WALL, second).since_epoch(), Some(EARLIEST_WALL));
        for wall in [UNIX_EPOCH, UNIX_EPOCH - second, UNIX_EPOCH + EARLIEST_WALL - second] {
            assert_eq!(Now::new(wall, second).wall, None);
        }
    }

    #[test]
    fn a_span_is_as_long_as_the_clock_says_that_says_longer() {
        let at = |wall: Option<u64>, monotonic: u64| Now {
            wall: wall.map(|seconds| UNIX_EPOCH + EARLIEST_WALL + Duration::from_secs(seconds)),
            monotonic: Duration::from_secs(monotonic),
        };
        for (earlier, now, seconds) in [
            (at(Some(100), 5), at(Some(110), 15), 10),
            (at(Some(100), 5), at(Some(400), 6), 300),
            (at(Some(100), 5), at(Some(50), 9), 4),
            (at(None, 5), at(Some(400), 6), 1),
            (at(Some(100), 5), at(None, 6), 1),
            (at(Some(100), 5), at(Some(100), 3), 0),
        ] {
            assert_eq!(now.elapsed_since(earlier), Duration::from_secs(seconds), "{earlier:?} to {now:?}");
        }
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
