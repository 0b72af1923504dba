//! Which threads are inside the user's code now: one that comes in a second time would recurse for ever.

use std::thread::{self, ThreadId};

use parking_lot::Mutex;

#[derive(Default)]
pub(crate) struct Inside(Mutex<Vec<ThreadId>>);

impl Inside {
    /// Lets this thread in until the guard is dropped; `None` if it is inside already.
    pub(crate) fn enter(&self) -> Option<InsideGuard<'_>> {
        let this = thread::current().id();
        let mut threads = self.0.lock();
        if threads.contains(&this) {
            return None;
        }
        threads.push(this);
        Some(InsideGuard { inside: self, this })
    }
}

pub(crate) struct InsideGuard<'a> {
    inside: &'a Inside,
    this: ThreadId,
}

impl Drop for InsideGuard<'_> {
    fn drop(&mut self) {
        self.inside.0.lock().retain(|thread| *thread != self.this);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_enters_once_at_a_time_and_others_are_let_in() {
        let inside = Inside::default();
        let guard = inside.enter().unwrap();
        assert!(inside.enter().is_none());
        thread::scope(|scope| assert!(scope.spawn(|| inside.enter().is_some()).join().unwrap()));
        drop(guard);
        assert!(inside.enter().is_some());
    }
}
