//! Time-outs that are really waited for, on a machine of any speed.
//!
//! The promise is that a call returns within its timeout and a quarter of a second, and it is held to the letter. What a busy machine
//! makes late is late by chance, and what the code makes late is late every time, so a late attempt is made anew, with twice the budget:
//! that also gives healthy calls whatever time they need on this machine.

use std::time::{Duration, Instant};

use aero2::{Error, NetworkErrorKind};

/// A call overran its budget, or ended with it where it should not have.
#[derive(Debug)]
pub(crate) struct Late(pub(crate) String);

/// Makes `attempt`, which is given a budget for its calls, until it is in time.
#[track_caller]
pub(crate) fn in_time(what: &str, attempt: impl Fn(Duration) -> Result<(), Late>) {
    let mut late = Vec::new();
    for doubled in 0..ATTEMPTS {
        match attempt(SHORTEST * (1 << doubled)) {
            Ok(()) => return,
            Err(Late(call)) => late.push(call),
        }
        println!("late: {what}: {:?}", late.last());
    }
    panic!("{what} was late {ATTEMPTS} times: {late:#?}");
}

/// What `call` returns, if it does so within `budget` and [`PROMISED`].
pub(crate) fn within<T>(what: &str, budget: Duration, call: impl FnOnce() -> T) -> Result<T, Late> {
    let started = Instant::now();
    let outcome = call();
    let took = started.elapsed();
    if took > budget + PROMISED && !emulated() {
        return Err(Late(format!("{what} took {took:?} of {budget:?}")));
    }
    Ok(outcome)
}

/// What a call that nothing is wrong with returns: it fails if it does, and is late if it runs out of time.
#[track_caller]
pub(crate) fn healthy<T>(what: &str, outcome: Result<T, Error>) -> Result<T, Late> {
    match outcome {
        Ok(value) => Ok(value),
        Err(Error::Network(error)) if error.kind() == NetworkErrorKind::Timeout => {
            Err(Late(format!("{what}: {error}")))
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Whether an emulated processor runs this (scripts/cross-test): its own pace is no part of the promise.
fn emulated() -> bool {
    std::env::var_os("AERO2_TEST_RUNNER").is_some_and(|runner| !runner.is_empty())
}

/// What a call may take beyond its timeout.
const PROMISED: Duration = Duration::from_millis(250);
/// The budget of the first attempt; the last has 8 s.
const SHORTEST: Duration = Duration::from_millis(500);
const ATTEMPTS: u32 = 5;
