//! How long calls may take, here and on an emulated processor (scripts/cross-test).

use std::time::Duration;

/// A total budget that is short, but long enough for a healthy call on a busy machine.
pub(crate) fn budget() -> Duration {
    if emulated() { Duration::from_secs(4) } else { Duration::from_millis(500) }
}

/// What a call may take beyond its budget: a quarter of a second by the promise, and the rest for a machine of two cores on which
/// three hundred tests wait for each other.
pub(crate) fn slack() -> Duration {
    if emulated() { Duration::from_secs(10) } else { Duration::from_millis(250 + 1250) }
}

fn emulated() -> bool {
    std::env::var_os("AERO2_TEST_RUNNER").is_some_and(|runner| !runner.is_empty())
}
