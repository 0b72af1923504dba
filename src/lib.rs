//! A blocking SDK for the identity provider Aero2.
#![forbid(unsafe_code)]

mod backoff;
mod bearer;
mod client_auth;
mod clock;
mod error;
mod events;
mod flight;
mod headers;
mod issuer;
pub mod jose;
mod random;
mod resource_server;
mod secret;
#[cfg(feature = "testing")]
pub mod testing;
mod transport;
mod url;

pub use client_auth::ClientAuth;
pub use clock::Clock;
pub use error::{
    ClockError, ConfigError, Error, NetworkError, NetworkErrorKind, OAuthError, TokenError, TokenErrorKind,
};
pub use events::{Event, Stats};
pub use jose::claims::Claims;
pub use secret::{Secret, SecretSource};
#[cfg(feature = "ureq")]
pub use transport::ureq::{UreqTransport, UreqTransportBuilder};
pub use transport::{Request, Response, Transport, TransportError};
