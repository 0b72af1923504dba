//! Starting without the network: the snapshot of an issuer until it is used or refused, and the file in which it is kept.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::error::SnapshotProblem;
use crate::issuer::snapshot::Snapshot;
#[cfg(feature = "file-cache")]
use crate::issuer::snapshot_file::SnapshotFile;
use crate::issuer::wall_clock::{TOLERANCE, WallClock};
use crate::time::Now;

pub(crate) struct SnapshotLoader {
    state: Mutex<State>,
    /// Set once nothing is left to do, so that later calls read one atomic.
    done: OnceLock<()>,
    #[cfg(feature = "file-cache")]
    pub(crate) file: Option<SnapshotFile>,
}

enum State {
    /// The file is not read yet.
    #[cfg(feature = "file-cache")]
    Unread,
    /// Its age is not known before the clock is set.
    Waiting(Box<Snapshot>),
    /// Used: a clock that later stands before this time is not set.
    Used,
    None,
}

/// What is to be done with the snapshot now.
pub(crate) enum Step {
    Nothing,
    /// To be taken into the caches, at this age.
    Use(Box<Snapshot>, Duration),
    Refuse(SnapshotProblem),
}

impl SnapshotLoader {
    pub(crate) fn new(snapshot: Option<Snapshot>) -> Self {
        let state = snapshot.map_or(State::None, |snapshot| State::Waiting(Box::new(snapshot)));
        Self {
            state: Mutex::new(state),
            done: OnceLock::new(),
            #[cfg(feature = "file-cache")]
            file: None,
        }
    }

    #[cfg(feature = "file-cache")]
    pub(crate) fn from_file(file: SnapshotFile) -> Self {
        Self { state: Mutex::new(State::Unread), file: Some(file), ..Self::new(None) }
    }

    /// Whether there is nothing left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.done.get().is_some()
    }

    /// The file, while nobody has read it.
    #[cfg(feature = "file-cache")]
    pub(crate) fn unread_file(&self) -> Option<&SnapshotFile> {
        let unread = matches!(*self.state.lock(), State::Unread);
        self.file.as_ref().filter(|_| unread)
    }

    /// Takes what was read from the file. Several threads may read it at once; the first one's outcome counts. Says whether this one's
    /// does.
    #[cfg(feature = "file-cache")]
    pub(crate) fn note_read(&self, snapshot: Option<Snapshot>, clock: &WallClock) -> bool {
        let mut state = self.state.lock();
        if !matches!(*state, State::Unread) {
            return false;
        }
        if let Some(snapshot) = &snapshot {
            clock.set_not_before(snapshot.fetched_at);
        }
        *state = snapshot.map_or(State::None, |snapshot| State::Waiting(Box::new(snapshot)));
        true
    }

    pub(crate) fn step(&self, now: Now, clock: &WallClock, max_stale: Duration) -> Step {
        let mut state = self.state.lock();
        let snapshot = match std::mem::replace(&mut *state, State::None) {
            State::Waiting(snapshot) => snapshot,
            State::Used => {
                if !(clock.is_before_snapshot(now) && clock.is_confirmed(now)) {
                    *state = State::Used;
                    return Step::Nothing;
                }
                clock.forget_not_before();
                return Step::Refuse(SnapshotProblem::AheadOfClock);
            }
            other => {
                let _ = matches!(other, State::None).then(|| self.done.set(()));
                *state = other;
                return Step::Nothing;
            }
        };
        match age(snapshot.fetched_at, now) {
            Some(Ok(age)) if age > max_stale => Step::Refuse(SnapshotProblem::TooOld),
            Some(Ok(age)) => {
                *state = State::Used;
                Step::Use(snapshot, age)
            }
            Some(Err(())) if clock.is_confirmed(now) => {
                clock.forget_not_before();
                Step::Refuse(SnapshotProblem::AheadOfClock)
            }
            Some(Err(())) | None => {
                *state = State::Waiting(snapshot);
                Step::Nothing
            }
        }
    }
}

/// How old a snapshot is: `None` by a clock that is not set, an error by one that stands before it. Clocks that differ a little make it new.
fn age(fetched_at: SystemTime, now: Now) -> Option<Result<Duration, ()>> {
    let wall = now.wall?;
    Some(match wall.duration_since(fetched_at) {
        Ok(age) => Ok(age),
        Err(ahead) if ahead.duration() <= TOLERANCE => Ok(Duration::ZERO),
        Err(_) => Err(()),
    })
}

#[cfg(test)]
mod tests {
    /// Two threads read the file at once. The one that is slower finds the snapshot all the same, and nothing counts as read before.
    #[cfg(feature = "file-cache")]
    #[test]
    fn a_file_counts_as_read_when_a_thread_that_read_it_says_so() {
        use std::time::UNIX_EPOCH;

        use super::*;
        use crate::jose::jwk::JwkSet;

        let (clock, wall) = (WallClock::default(), UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let now = Now::new(wall, Duration::ZERO);
        let loader = SnapshotLoader::from_file(SnapshotFile::new("unused".into()));
        let keys = || JwkSet::parse(r#"{"keys":[]}"#).unwrap();
        let snapshot = || Some(Snapshot { fetched_at: wall, ttl: Duration::ZERO, metadata: None, keys: keys() });
        // Both are inside the read.
        assert!(loader.unread_file().is_some() && loader.unread_file().is_some());
        // A third one that only looks takes nothing away.
        assert!(matches!(loader.step(now, &clock, Duration::ZERO), Step::Nothing) && !loader.is_done());
        assert!(loader.note_read(snapshot(), &clock));
        assert!(!loader.note_read(None, &clock));
        assert!(matches!(loader.step(now, &clock, Duration::ZERO), Step::Use(..)));
    }
}
