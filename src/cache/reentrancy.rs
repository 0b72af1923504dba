//! Which threads are inside the user's code now: one that enters a second time would recurse for ever.

use std::thread::{self, ThreadId};

use parking_lot::Mutex;

#[derive(Default)]
pub(crate) struct Reentrancy(Mutex<Vec<ThreadId>>);

impl Reentrancy {
    /// Lets this thread in until the guard is dropped; `None` if it is inside already.
    pub(crate) fn enter(&self) -> Option<Entered<'_>> {
        let this = thread::current().id();
        let mut threads = self.0.lock();
        if threads.contains(&this) {
            return None;
        }
        threads.push(this);
        Some(Entered { by: self, this })
    }
}

pub(crate) struct Entered<'a> {
    by: &'a Reentrancy,
    this: ThreadId,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.by.0.lock().retain(|thread| *thread != self.this);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_enters_once_at_a_time_and_others_are_let_in() {
        let reentrancy = Reentrancy::default();
        let guard = reentrancy.enter().unwrap();
        assert!(reentrancy.enter().is_none());
        thread::scope(|scope| assert!(scope.spawn(|| reentrancy.enter().is_some()).join().unwrap()));
        drop(guard);
        assert!(reentrancy.enter().is_some());
    }
}
