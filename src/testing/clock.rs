//! A clock that only the test moves.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::Clock;

/// A [`Clock`] that a test moves by hand. A clone shares its time.
///
/// The wall clock starts at the current second, so that it agrees with a [`TestIssuer`](super::TestIssuer) on the machine's
/// clock; the monotonic clock starts at zero. If your test prints times, set the wall clock first.
///
/// ```
/// use aero2::testing::{ManualClock, TestIssuer};
/// use aero2::{Error, TokenErrorKind};
/// use std::time::Duration;
///
/// let clock = ManualClock::new();
/// let test = TestIssuer::with_clock(clock.clone());
/// let rs = test.issuer().resource_server().build()?;
/// let token = test.token().lifetime(Duration::from_secs(60)).sign();
/// assert!(rs.verify_token(&token).is_ok());
///
/// clock.advance(Duration::from_secs(60 + 30)); // the lifetime and the tolerance
/// let Err(Error::Token(e)) = rs.verify_token(&token) else { panic!("accepted") };
/// assert_eq!(e.kind(), TokenErrorKind::Expired);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Times>>);

#[derive(Clone, Copy, Debug)]
struct Times {
    wall: SystemTime,
    monotonic: Duration,
}

impl ManualClock {
    /// A clock at its start: see above.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Times { wall: present_second(), monotonic: Duration::ZERO })))
    }

    /// Moves both clocks forward, as time does.
    pub fn advance(&self, by: Duration) {
        self.advance_wall(by);
        self.advance_monotonic(by);
    }

    /// Moves only the wall clock, as when NTP corrects it, or when a machine sleeps whose monotonic clock stops meanwhile.
    pub fn advance_wall(&self, by: Duration) {
        let mut times = self.0.lock();
        times.wall = times.wall.checked_add(by).unwrap_or(times.wall);
    }

    /// Moves only the monotonic clock: time passes while the wall clock stands still.
    pub fn advance_monotonic(&self, by: Duration) {
        let mut times = self.0.lock();
        times.monotonic = times.monotonic.saturating_add(by);
    }

    /// Sets the wall clock, forwards or backwards; the monotonic clock stays.
    pub fn set_wall(&self, to: SystemTime) {
        self.0.lock().wall = to;
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> SystemTime {
        self.0.lock().wall
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().monotonic
    }
}

/// On a machine whose own clock is not set it is 2026-12-01T00:00:00Z: a clock before 2026 counts as not set.
fn present_second() -> SystemTime {
    let present = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    UNIX_EPOCH + Duration::from_secs(if present < YEAR_2026 { STAND_IN } else { present })
}

const STAND_IN: u64 = 1_796_083_200;
const YEAR_2026: u64 = 1_767_225_600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_move_together_and_apart_and_a_clone_shares_them() {
        let clock = ManualClock::new();
        let (start, shared) = (clock.wall(), clock.clone());
        clock.advance(Duration::from_secs(5));
        clock.advance_wall(Duration::from_secs(10));
        clock.advance_monotonic(Duration::from_secs(100));
        assert_eq!(shared.wall(), start + Duration::from_secs(15));
        assert_eq!(shared.monotonic(), Duration::from_secs(105));
        shared.set_wall(UNIX_EPOCH);
        assert_eq!((clock.wall(), clock.monotonic()), (UNIX_EPOCH, Duration::from_secs(105)));
    }

    #[test]
    fn no_step_overflows() {
        let clock = ManualClock::new();
        clock.advance(Duration::MAX);
        clock.advance(Duration::MAX);
        assert_eq!(clock.monotonic(), Duration::MAX);
    }
}
