//! The integration tests: one binary, one module per capability, the public API only.
#![cfg(test)] // so that helpers count as tests for the lints too

mod addresses;
mod attacks;
mod boot;
mod by_issuer;
#[cfg(feature = "ureq")]
mod connections;
mod contract;
mod events;
mod explain;
mod guide;
mod in_transit;
mod introspection;
mod jose;
mod keys;
mod layers;
mod leaks;
mod m2m;
mod m2m_calm;
mod private_key_jwt;
mod providers;
#[cfg(feature = "ureq")]
mod proxy;
mod refetch;
mod requirements;
mod resource_server;
mod sender_constrained;
mod small_machines;
mod support;
mod testing;
#[cfg(feature = "ureq")]
mod tls;
#[cfg(all(feature = "file-cache", feature = "ureq"))]
mod token_file;
