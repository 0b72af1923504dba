//! Starting without the network: what an issuer knows before its first fetch.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::clock::Now;
use crate::error::SnapshotProblem;
use crate::issuer::snapshot::Snapshot;

/// The snapshot of an issuer until it is used, and the time at which it was made.
#[derive(Default)]
pub(crate) struct Boot {
    snapshot: Mutex<Option<Snapshot>>,
    done: OnceLock<()>,
    /// A clock that stands before this time is not set.
    made_at: OnceLock<SystemTime>,
}

/// What is to be done with the snapshot now.
pub(crate) enum Step {
    /// Nothing: there is none, or not any more, or nobody knows how old it is before the clock is set.
    Nothing,
    /// To be taken into the caches, at this age.
    Use(Snapshot, Duration),
    Refuse(SnapshotProblem),
}

impl Boot {
    pub(crate) fn from_snapshot(snapshot: Snapshot) -> Self {
        let boot = Self { made_at: OnceLock::from(snapshot.fetched_at), ..Self::default() };
        *boot.snapshot.lock() = Some(snapshot);
        boot
    }

    /// The time before which the wall clock cannot be right.
    pub(crate) fn made_at(&self) -> Option<SystemTime> {
        self.made_at.get().copied()
    }

    /// Whether there is nothing left to do; one atomic load.
    pub(crate) fn is_done(&self) -> bool {
        self.done.get().is_some()
    }

    pub(crate) fn step(&self, now: Now, max_stale: Duration) -> Step {
        let mut slot = self.snapshot.lock();
        let Some(snapshot) = slot.take() else {
            let _ = self.done.set(());
            return Step::Nothing;
        };
        let Some(age) = now.set_wall().and_then(|wall| snapshot.age(wall)) else {
            *slot = Some(snapshot);
            return Step::Nothing;
        };
        if age > max_stale { Step::Refuse(SnapshotProblem::TooOld) } else { Step::Use(snapshot, age) }
    }
}
