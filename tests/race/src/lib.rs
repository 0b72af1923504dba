//! Two threads write one value, in the ways in which the library's threads meet: under a `parking_lot` lock, handed over by a condvar,
//! or past both. `scripts/tsan` runs each test by itself and knows by its name what ThreadSanitizer has to say: a report of
//! [`Shared::write`] where the name begins with `racy`, none where it begins with `sound`.
#![cfg(test)]

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use parking_lot::{Condvar, Mutex};

#[derive(Default)]
struct Shared {
    lock: Mutex<bool>,
    changed: Condvar,
    value: UnsafeCell<u64>,
    /// Puts the writes one after the other in time, so that each run ends alike. Relaxed, so that it orders no memory.
    first_is_done: AtomicBool,
}

// SAFETY: it is not safe, on purpose.
unsafe impl Sync for Shared {}

impl Shared {
    #[inline(never)]
    fn write(&self) {
        // SAFETY: as above.
        unsafe { *self.value.get() += 1 };
    }

    fn first(&self) {
        let mut done = self.lock.lock();
        self.write();
        *done = true;
        self.changed.notify_all();
        drop(done);
        self.first_is_done.store(true, Ordering::Relaxed);
    }

    fn past_the_lock(&self) {
        while !self.first_is_done.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        self.write();
    }

    fn under_the_lock(&self) {
        while !self.first_is_done.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        let _guard = self.lock.lock();
        self.write();
    }

    fn after_a_wait(&self) {
        let mut done = self.lock.lock();
        while !*done {
            self.changed.wait(&mut done);
        }
        drop(done);
        self.write();
    }
}

fn in_a_scope(second: fn(&Shared)) {
    let shared = Shared::default();
    thread::scope(|scope| {
        scope.spawn(|| shared.first());
        scope.spawn(|| second(&shared));
    });
}

fn in_threads_of_their_own(second: fn(&Shared)) {
    let shared = Arc::new(Shared::default());
    let (one, other) = (shared.clone(), shared);
    let threads = [thread::spawn(move || one.first()), thread::spawn(move || second(&other))];
    for thread in threads {
        thread.join().unwrap();
    }
}

fn with_the_tests_own_thread(second: fn(&Shared)) {
    let shared = Arc::new(Shared::default());
    let one = shared.clone();
    let thread = thread::spawn(move || one.first());
    second(&shared);
    thread.join().unwrap();
}

#[test]
fn racy_in_a_scope() {
    in_a_scope(Shared::past_the_lock);
}

#[test]
fn racy_in_threads_of_their_own() {
    in_threads_of_their_own(Shared::past_the_lock);
}

#[test]
fn racy_with_the_tests_own_thread() {
    with_the_tests_own_thread(Shared::past_the_lock);
}

#[test]
fn sound_under_the_lock() {
    in_a_scope(Shared::under_the_lock);
    in_threads_of_their_own(Shared::under_the_lock);
    with_the_tests_own_thread(Shared::under_the_lock);
}

#[test]
fn sound_after_a_wait() {
    in_a_scope(Shared::after_a_wait);
    in_threads_of_their_own(Shared::after_a_wait);
    with_the_tests_own_thread(Shared::after_a_wait);
}
