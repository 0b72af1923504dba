//! A blocking SDK for the identity provider Aero2: verify access tokens, get client_credentials tokens, introspect and revoke.
//!
//! It works with any issuer that publishes OpenID Connect discovery or RFC 8414 metadata. It needs no async runtime, starts no background
//! thread and keeps no global state.
//!
//! # A verified token in 60 seconds
//!
//! ```toml
//! [dependencies]
//! aero2 = "0.1"
//!
//! [dev-dependencies]
//! aero2 = { version = "0.1", features = ["testing"] }
//! ```
//!
//! When your program starts, build one [`Issuer`] per Aero2 application, and from it a [`ResourceServer`]:
//!
//! ```
//! use aero2::{Error, Issuer, ResourceServer};
//!
//! fn orders_api() -> Result<ResourceServer, Error> {
//!     // No request is made yet: keys are fetched when they are first needed, then cached.
//!     let issuer = Issuer::new("https://acme.aero2.dev")?;
//!     issuer
//!         .resource_server()
//!         .audience("orders-api")
//!         .required_scopes(["orders:read"])
//!         .build()
//! }
//! # #[cfg(feature = "ureq")]
//! # assert!(orders_api().is_ok());
//! ```
//!
//! Pass it the `Authorization` header of each request. If it returns an error, that knows which response it calls for:
//!
//! ```
//! use aero2::ResourceServer;
//!
//! fn orders(api: &ResourceServer, authorization: Option<&str>) -> (u16, String) {
//!     match api.authorize(authorization) {
//!         Ok(claims) => {
//!             (200, format!("orders of {}", claims.subject().unwrap_or("a stranger")))
//!         }
//!         // Also send the header WWW-Authenticate: err.www_authenticate(Some("orders")).
//!         Err(err) => (err.http_status(), err.to_string()),
//!     }
//! }
//!
//! // Try it with the test issuer that comes with the crate (feature `testing`).
//! let test = aero2::testing::TestIssuer::new();
//! let api = test.issuer().resource_server().audience("orders-api").build()?;
//!
//! let token = test.token().subject("u1").audience("orders-api").sign();
//! let header = format!("Bearer {token}");
//! assert_eq!(orders(&api, Some(&header)), (200, "orders of u1".to_owned()));
//!
//! let expired = format!("Bearer {}", test.token().audience("orders-api").expired().sign());
//! assert_eq!(orders(&api, Some(&expired)), (401, "invalid token".to_owned()));
//! assert_eq!(orders(&api, None), (401, "missing token".to_owned()));
//! # Ok::<(), aero2::Error>(())
//! ```
//!
//! # What else you can do
//!
//! | To | see |
//! |---|---|
//! | verify tokens | [`Issuer::resource_server`], [`ResourceServer`], [`Claims`], [`VerifyOptions`] |
//! | get tokens for calling other services | [`Issuer::m2m_client`], [`M2mClient`], [`SecretSource`] |
//! | ask whether a token is still valid | [`Issuer::introspector`], [`Introspection`] |
//! | revoke a token | [`Issuer::revoker`] |
//! | choose a response, or try again | [`Error`] |
//! | test your own service | [`testing`](testing/index.html) |
//! | find out why a token was refused | [`ResourceServer::explain`] |
//! | accept tokens from several issuers | [`ByIssuer`] |
//! | accept tokens that are bound to a certificate | [`SenderConstraint`] |
//! | start while the issuer cannot be reached | [`IssuerBuilder::snapshot`], [`static_then_remote`](IssuerBuilder::static_then_remote) |
//! | monitor it in production | [`IssuerBuilder::on_event`], [`Issuer::stats`] |
//! | use your own HTTP client | [`Transport`] |
//! | verify other JWS as strictly | [`jose`] |
//!
//! The [guide](guide/index.html) has a chapter for each kind of program (threaded server, gateway, build script, plugin) and for questions
//! such as testing, errors, outages and security. Its [decisions](guide/decisions/index.html) explain why the crate is the way it is.
//!
//! # Features
//!
//! | Feature | Adds |
//! |---|---|
//! | `ureq` (default) | [`UreqTransport`](struct.UreqTransport.html): HTTPS with ureq and rustls |
//! | `platform-verifier` | `platform_verifier()`: trust the system's certificates |
//! | `serde` | `Serialize` for claims and token info, and `Claims::deserialize` |
//! | `log` | one log line per event, through the `log` facade |
//! | `file-cache` | keeps tokens and keys on disk between processes |
//! | `testing` | [`testing`](testing/index.html), for `[dev-dependencies]` only |
#![forbid(unsafe_code)]
// The README's first program fetches over HTTPS.
#![cfg_attr(all(doctest, feature = "ureq"), doc = include_str!("../README.md"))]

// Before the rest, so that rustdoc lists what is the issuer's own before what is made from it.
mod issuer;

mod cache;
mod claims;
mod client_auth;
mod crypto;
mod error;
mod events;
#[cfg(feature = "file-cache")]
mod file_cache;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(doctest)]
pub mod guide;
// The chapters link to what these features add.
#[cfg(all(not(doctest), doc, feature = "file-cache", feature = "testing", feature = "ureq"))]
pub mod guide;
mod http;
mod introspection;
pub mod jose;
mod json;
mod m2m;
mod oauth;
mod resource_server;
mod revocation;
mod secret;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
mod transport;

pub use claims::value::ClaimValue;
pub use claims::{Claims, Confirmation};
pub use client_auth::ClientAuth;
pub use client_auth::private_key_jwt::PrivateKeyJwt;
pub use error::{
    Challenge, ClockError, ConfigError, Endpoint, Error, NetworkError, NetworkErrorKind, OAuthError, SnapshotProblem,
    TokenError, TokenErrorKind,
};
pub use events::{Event, Stats};
pub use introspection::response::{Introspection, TokenInfo};
pub use introspection::{Introspector, IntrospectorBuilder};
pub use issuer::Issuer;
pub use issuer::builder::IssuerBuilder;
pub use m2m::builder::M2mClientBuilder;
pub use m2m::token::AccessToken;
#[cfg(feature = "file-cache")]
pub use m2m::token_file::TokenFile;
pub use m2m::token_request::TokenOptions;
pub use m2m::token_store::{StoreLock, TokenStore};
pub use m2m::{Attempt, M2mClient};
pub use oauth::TokenTypeHint;
pub use resource_server::ResourceServer;
pub use resource_server::builder::ResourceServerBuilder;
pub use resource_server::explain::{CheckOutcome, ExplainedCheck, Explanation};
pub use resource_server::multi_issuer::ByIssuer;
pub use resource_server::options::VerifyOptions;
pub use resource_server::sender_constraint::SenderConstraint;
pub use revocation::{Revoker, RevokerBuilder};
pub use secret::{Secret, SecretSource};
pub use time::Clock;
#[cfg(feature = "ureq")]
pub use transport::ureq::{UreqTransport, UreqTransportBuilder};
pub use transport::{Request, Response, Transport, TransportError};
