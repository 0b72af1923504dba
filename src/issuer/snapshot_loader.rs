//! Starting without the network: what an issuer knows before its first fetch.

#[cfg(feature = "file-cache")]
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::error::SnapshotProblem;
#[cfg(feature = "file-cache")]
use crate::file_cache::private_file::{read_private, write_private};
#[cfg(feature = "file-cache")]
use crate::http::url::IssuerUrl;
#[cfg(feature = "file-cache")]
use crate::issuer::snapshot::MAX_SNAPSHOT_BYTES;
use crate::issuer::snapshot::Snapshot;
use crate::time::Now;

/// The snapshot of an issuer until it is used, and the time at which it was made.
#[derive(Default)]
pub(crate) struct SnapshotLoader {
    snapshot: Mutex<Option<Box<Snapshot>>>,
    done: OnceLock<()>,
    /// A clock that stands before this time is not set.
    made_at: OnceLock<SystemTime>,
    #[cfg(feature = "file-cache")]
    file: Option<SnapshotFile>,
}

/// Where the snapshot is kept between processes. It is read once, at the first need.
#[cfg(feature = "file-cache")]
struct SnapshotFile {
    path: PathBuf,
    was_read: OnceLock<()>,
}

/// What is to be done with the snapshot now.
pub(crate) enum Step {
    /// Nothing: there is none, or not any more, or nobody knows how old it is before the clock is set.
    Nothing,
    /// To be taken into the caches, at this age.
    Use(Box<Snapshot>, Duration),
    Refuse(SnapshotProblem),
}

impl SnapshotLoader {
    pub(crate) fn from_snapshot(snapshot: Snapshot) -> Self {
        let boot = Self { made_at: OnceLock::from(snapshot.fetched_at), ..Self::default() };
        *boot.snapshot.lock() = Some(Box::new(snapshot));
        boot
    }

    #[cfg(feature = "file-cache")]
    pub(crate) fn with_file(self, path: Option<PathBuf>) -> Self {
        Self { file: path.map(|path| SnapshotFile { path, was_read: OnceLock::new() }), ..self }
    }

    /// Reads the file, if there is one and it was not read before. Where there is none yet, that is no problem.
    #[cfg(feature = "file-cache")]
    pub(crate) fn read_file(&self, issuer: &IssuerUrl) -> Result<(), SnapshotProblem> {
        let Some(file) = self.file.as_ref().filter(|file| file.was_read.set(()).is_ok()) else { return Ok(()) };
        let bytes = read_private(&file.path, MAX_SNAPSHOT_BYTES).map_err(|_| SnapshotProblem::File)?;
        let Some(bytes) = bytes else { return Ok(()) };
        let text = String::from_utf8(bytes).map_err(|_| SnapshotProblem::Malformed)?;
        let snapshot = Snapshot::parse(&text, issuer)?;
        let _ = self.made_at.set(snapshot.fetched_at);
        *self.snapshot.lock() = Some(Box::new(snapshot));
        Ok(())
    }

    /// Writes the file anew, if there is to be one.
    #[cfg(feature = "file-cache")]
    pub(crate) fn write_file(&self, json: impl FnOnce() -> String) -> Result<(), SnapshotProblem> {
        let Some(file) = &self.file else { return Ok(()) };
        write_private(&file.path, json().as_bytes()).map_err(|_| SnapshotProblem::File)
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
        let Some(age) = now.wall.and_then(|wall| snapshot.age(wall)) else {
            *slot = Some(snapshot);
            return Step::Nothing;
        };
        if age > max_stale { Step::Refuse(SnapshotProblem::TooOld) } else { Step::Use(snapshot, age) }
    }
}
