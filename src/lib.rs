//! A blocking SDK for the identity provider Aero2.
#![forbid(unsafe_code)]

mod backoff;
mod clock;
mod error;
mod events;
pub mod jose;
mod random;
mod secret;
#[cfg(feature = "testing")]
pub mod testing;
mod transport;

pub use clock::Clock;
pub use error::{
    ClockError, ConfigError, Error, NetworkError, NetworkErrorKind, OAuthError, TokenError, TokenErrorKind,
};
pub use events::{Event, Stats};
pub use secret::{Secret, SecretSource};
pub use transport::{Request, Response, Transport, TransportError};
