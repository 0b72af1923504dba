//! The integration tests: one binary, one module per capability, the public API only.
#![cfg(test)] // so that helpers count as tests for the lints too

mod layers;
mod testing;
