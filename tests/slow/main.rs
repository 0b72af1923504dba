//! The tests that take more than a second each. `cargo test` leaves them out; `cargo xtask slow` and CI run them.
#![cfg(test)] // so that helpers count as tests for the lints too

mod cost;
mod costly;
mod day;
#[path = "../it/support/recorder.rs"]
#[expect(dead_code, reason = "shared with tests/it")]
mod recorder;
mod storm;
