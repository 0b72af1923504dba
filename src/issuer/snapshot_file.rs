//! The file that keeps a snapshot between processes. It is read at the first need and written for what is new.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::crypto::{Sha256, sha256};
use crate::error::SnapshotProblem;
use crate::events::Event;
use crate::file_cache::private_file::{read_private, write_private};
use crate::issuer::addresses::Addresses;
use crate::issuer::snapshot::{MAX_SNAPSHOT_BYTES, Snapshot};
use crate::issuer::wall_clock::TOLERANCE;

pub(crate) struct SnapshotFile {
    path: PathBuf,
    /// What this process knows to be in the file.
    content: Mutex<Option<Content>>,
}

#[derive(Clone, Copy)]
struct Content {
    digest: Sha256,
    fetched_at: SystemTime,
}

impl SnapshotFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, content: Mutex::default() }
    }

    /// The snapshot in the file. Where there is no file yet, there is none, and that is no problem.
    pub(crate) fn read(&self, addresses: &Addresses) -> (Option<Snapshot>, Option<Event>) {
        let refused = |problem, error: Option<io::Error>| (None, Some(self.refused(problem, error)));
        let bytes = match read_private(&self.path, MAX_SNAPSHOT_BYTES) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return (None, None),
            Err(error) => return refused(SnapshotProblem::File, Some(error)),
        };
        let text = String::from_utf8(bytes).map_err(|_| SnapshotProblem::Malformed);
        match text.and_then(|text| Snapshot::parse(&text, addresses)) {
            Ok(snapshot) => {
                *self.content.lock() = Some(Content::of(&snapshot));
                (Some(snapshot), None)
            }
            Err(problem) => refused(problem, None),
        }
    }

    /// Writes the file, unless it holds the same keys, fetched not much earlier.
    pub(crate) fn write(&self, snapshot: &Snapshot, addresses: &Addresses) -> Option<Event> {
        let new = Content::of(snapshot);
        if self.content.lock().is_some_and(|old| old.is_as_good_as(&new, snapshot.ttl)) {
            return None;
        }
        match write_private(&self.path, snapshot.to_json(addresses).as_bytes()) {
            Ok(()) => {
                *self.content.lock() = Some(new);
                None
            }
            Err(error) => Some(self.refused(SnapshotProblem::File, Some(error))),
        }
    }

    /// Has the file written at the next fetch whatever the keys.
    pub(crate) fn forget_content(&self) {
        *self.content.lock() = None;
    }

    pub(crate) fn refused(&self, problem: SnapshotProblem, error: Option<io::Error>) -> Event {
        Event::SnapshotRefused { problem, path: Some(self.path.clone()), error: error.map(Arc::new) }
    }
}

impl Content {
    fn of(snapshot: &Snapshot) -> Self {
        let document = snapshot.metadata.as_ref().map_or("", |metadata| metadata.text());
        let digest = sha256([snapshot.keys.text(), "\n", document].concat().as_bytes());
        Self { digest, fetched_at: snapshot.fetched_at }
    }

    /// A later process gains little by a time that is a small part of the time to live newer.
    fn is_as_good_as(&self, new: &Self, ttl: Duration) -> bool {
        self.digest == new.digest
            && match new.fetched_at.duration_since(self.fetched_at) {
                Ok(lag) => lag < ttl / 5,
                Err(ahead) => ahead.duration() <= TOLERANCE,
            }
    }
}
