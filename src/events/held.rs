//! Holds a thread's events back while it leads a flight, so that no handler runs inside one.

use std::thread::{self, ThreadId};

use parking_lot::Mutex;

/// The events that threads hold back now.
pub(super) struct Held<E>(Mutex<Vec<(ThreadId, Vec<E>)>>);

impl<E> Default for Held<E> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<E: Clone> Held<E> {
    /// Holds this thread's events back from now on; false if it does so already.
    pub(super) fn begin(&self) -> bool {
        let this = thread::current().id();
        let mut threads = self.0.lock();
        let begins = threads.iter().all(|(thread, _)| *thread != this);
        if begins {
            threads.push((this, Vec::new()));
        }
        begins
    }

    /// Keeps the event, if this thread holds its events back.
    pub(super) fn keep(&self, event: &E) -> bool {
        let this = thread::current().id();
        let mut threads = self.0.lock();
        let events = threads.iter_mut().find(|(thread, _)| *thread == this);
        events.map(|(_, events)| events.push(event.clone())).is_some()
    }

    /// The events that this thread held back.
    pub(super) fn end(&self) -> Vec<E> {
        let this = thread::current().id();
        let mut threads = self.0.lock();
        let at = threads.iter().position(|(thread, _)| *thread == this);
        at.map(|at| threads.swap_remove(at).1).unwrap_or_default()
    }
}
