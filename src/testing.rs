//! An issuer for your tests, in memory and on loopback: your test decides about tokens, failures and the time. Feature `testing`.
//!
//! Enable it under `[dev-dependencies]` and never in a production build: its private keys are public knowledge.
//!
//! ```toml
//! [dev-dependencies]
//! aero2 = { version = "0.1", features = ["testing"] }
//! ```
//!
//! Unlike the rest of the crate, this module panics instead of returning an error: where the test itself is wrong (a URL that no issuer
//! may have, a [`Gate`] that no request reaches), and where the system has no randomness for a key or a signature.
//!
//! Pass the [`Issuer`](crate::Issuer) into your code from outside. Your test passes one that is connected to a [`TestIssuer`]:
//!
//! ```
//! use aero2::testing::TestIssuer;
//! use aero2::{Error, ResourceServer, TokenErrorKind};
//!
//! // The service.
//! fn greet(rs: &ResourceServer, authorization: Option<&str>) -> (u16, String) {
//!     match rs.authorize(authorization) {
//!         Ok(claims) => (200, format!("hello {}", claims.subject().unwrap_or("stranger"))),
//!         Err(err) => (err.http_status(), err.to_string()),
//!     }
//! }
//!
//! // Its test.
//! let test = TestIssuer::new();
//! let rs = test
//!     .issuer()
//!     .resource_server()
//!     .audience("greeter")
//!     .required_scopes(["greet"])
//!     .build()?;
//! let header = |token: String| format!("Bearer {token}");
//!
//! let good = test.token().subject("u1").audience("greeter").scope("greet").sign();
//! assert_eq!(greet(&rs, Some(&header(good))), (200, "hello u1".to_owned()));
//!
//! let without_scope = test.token().subject("u1").audience("greeter").sign();
//! assert_eq!(greet(&rs, Some(&header(without_scope))).0, 403);
//!
//! let stolen_elsewhere =
//!     test.token().subject("u1").audience("another-service").scope("greet").sign();
//! assert_eq!(greet(&rs, Some(&header(stolen_elsewhere))).0, 401);
//! assert_eq!(greet(&rs, None).0, 401);
//! # Ok::<(), Error>(())
//! ```
//!
//! | To test | use |
//! |---|---|
//! | good and bad tokens | [`TestIssuer::token`] |
//! | expiry | [`ManualClock`] |
//! | key rotation | [`TestIssuer::rotate_keys`], [`rotate_keys_dropping_old`](TestIssuer::rotate_keys_dropping_old) |
//! | a content delivery network that is behind | [`TestIssuerBuilder::cdn`] |
//! | outages and wrong answers | [`TestIssuer::fail`] with a [`Fault`] |
//! | slow answers and races | [`TestIssuer::gate`] |
//! | caching | [`TestIssuer::requests`] |
//! | revocation | [`TestIssuer::revoke`] |
//! | a whole program, in any language | [`TestIssuer::serve`] |

mod assertion;
mod cdn;
mod clock;
mod endpoints;
mod faults;
mod form;
mod issuer;
mod json;
mod keys;
mod memory;
mod server;
mod state;
mod token;

pub use clock::ManualClock;
pub use faults::{Endpoint, Fault, Gate};
pub use issuer::{TestIssuer, TestIssuerBuilder};
pub use json::Json;
pub use memory::TestTransport;
pub use server::TestServer;
pub use token::TestToken;
