//! Counts what the program asks the allocator for, but only while it is asked to: counting takes longer than many an allocation, and
//! must be no part of what is timed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering::Relaxed};

struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicIsize = AtomicIsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

impl Counting {
    fn note(calls: usize, new: usize, old: usize) {
        if ON.load(Relaxed) {
            CALLS.fetch_add(calls, Relaxed);
            HELD.fetch_add(new as isize - old as isize, Relaxed);
        }
    }
}

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note(1, layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::note(1, layout.size(), 0);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::note(0, 0, layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        Self::note(1, new_size, layout.size());
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// What `call` returns, its calls of the allocator, and the bytes that are held after it and were not before.
fn counted<T>(call: impl FnOnce() -> T) -> (T, usize, isize) {
    let (calls, held) = (CALLS.load(Relaxed), HELD.load(Relaxed));
    ON.store(true, Relaxed);
    let made = call();
    ON.store(false, Relaxed);
    (made, CALLS.load(Relaxed) - calls, HELD.load(Relaxed) - held)
}

/// How often one call allocates, once everything is warm.
pub(crate) fn per_call(mut call: impl FnMut()) -> usize {
    call();
    counted(call).1
}

/// Bytes that are still held after `make`, by what it returns.
pub(crate) fn bytes_held<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let (made, _, held) = counted(make);
    (made, held.try_into().unwrap_or(0))
}
