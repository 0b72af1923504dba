//! Virtual time, in milliseconds: the true time, which the issuer has, and the two clocks of the machine.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aero2::Clock;
use parking_lot::Mutex;

pub(crate) const SECOND: u64 = 1_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;

/// The wall clock's time at the true time zero: 2027-01-15.
pub(crate) const BASE: u64 = 1_800_000_000 * SECOND;

/// 2026: a wall clock before it is not set.
const SET: u64 = 1_767_225_600 * SECOND;

/// One moment on all clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The true time.
    pub(crate) t: u64,
    pub(crate) mono: u64,
    /// Since 1970.
    pub(crate) wall: u64,
}

impl Stamp {
    pub(crate) fn is_set(self) -> bool {
        self.wall >= SET
    }

    /// What the machine's clocks say has passed since `earlier`: whichever says more.
    pub(crate) fn elapsed(self, earlier: Self) -> u64 {
        let wall = if self.is_set() && earlier.is_set() { self.wall.saturating_sub(earlier.wall) } else { 0 };
        self.mono.saturating_sub(earlier.mono).max(wall)
    }

    /// How far the wall clock is from the truth.
    pub(crate) fn error(self) -> u64 {
        self.wall.abs_diff(BASE + self.t)
    }
}

pub(crate) struct VirtualClock(Mutex<Stamp>);

impl VirtualClock {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Stamp { t: 0, mono: 0, wall: BASE }))
    }

    pub(crate) fn now(&self) -> Stamp {
        *self.0.lock()
    }

    pub(crate) fn advance(&self, ms: u64) {
        let mut now = self.0.lock();
        now.t += ms;
        now.mono += ms;
        now.wall += ms;
    }

    pub(crate) fn advance_to(&self, t: u64) {
        let behind = t.saturating_sub(self.now().t);
        self.advance(behind);
    }

    /// The machine sleeps: its monotonic clock stands still.
    pub(crate) fn suspend(&self, ms: u64) {
        let mut now = self.0.lock();
        now.t += ms;
        now.wall += ms;
    }

    pub(crate) fn step_wall(&self, ms: i64) {
        let mut now = self.0.lock();
        now.wall = now.wall.saturating_add_signed(ms);
    }

    pub(crate) fn set_right(&self) {
        let mut now = self.0.lock();
        now.wall = BASE + now.t;
    }

    /// The machine is off for that long, and its monotonic clock starts anew; without a battery the wall clock does, too.
    pub(crate) fn boot(&self, off: u64, keeps_time: bool) {
        let mut now = self.0.lock();
        now.t += off;
        now.mono = 3 * SECOND;
        now.wall = if keeps_time { now.wall + off } else { now.mono };
    }
}

impl Clock for VirtualClock {
    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.now().wall)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now().mono)
    }
}
