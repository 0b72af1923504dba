//! The integration tests: one binary, one module per capability, the public API only.
#![cfg(test)] // so that helpers count as tests for the lints too

mod introspection;
mod keys;
mod layers;
mod private_key_jwt;
mod resource_server;
#[cfg(feature = "ureq")]
mod proxy;
mod support;
mod testing;
#[cfg(feature = "ureq")]
mod tls;
