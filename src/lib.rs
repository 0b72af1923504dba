//! A blocking SDK for the identity provider Aero2.
#![forbid(unsafe_code)]

#[cfg(feature = "file-cache")]
mod atomic_file;
mod backoff;
mod bearer;
mod bounded;
mod client_auth;
mod clock;
mod digest;
mod error;
mod events;
#[cfg(feature = "file-cache")]
mod file_lock;
mod flight;
mod headers;
mod inside;
mod introspection;
mod issuer;
pub mod jose;
mod m2m;
mod random;
mod resource_server;
mod revocation;
mod scope;
mod secret;
#[cfg(feature = "testing")]
pub mod testing;
mod token_type_hint;
mod transport;
mod url;

pub use client_auth::ClientAuth;
pub use client_auth::assertion::PrivateKeyJwt;
pub use clock::Clock;
pub use error::{
    ClockError, ConfigError, Error, NetworkError, NetworkErrorKind, OAuthError, SnapshotProblem, TokenError,
    TokenErrorKind,
};
pub use events::{Event, Stats};
pub use introspection::answer::{Introspection, TokenInfo};
pub use introspection::{Introspector, IntrospectorBuilder};
pub use issuer::Issuer;
pub use issuer::builder::IssuerBuilder;
pub use jose::claims::{Claims, Confirmation};
pub use m2m::M2mClient;
pub use m2m::builder::M2mClientBuilder;
pub use m2m::options::TokenOptions;
pub use m2m::token::AccessToken;
pub use resource_server::ResourceServer;
pub use resource_server::builder::ResourceServerBuilder;
pub use resource_server::options::VerifyOptions;
pub use resource_server::sender_constrained::SenderConstrained;
pub use revocation::{Revoker, RevokerBuilder};
pub use secret::{Secret, SecretSource};
pub use token_type_hint::TokenTypeHint;
#[cfg(feature = "ureq")]
pub use transport::ureq::{UreqTransport, UreqTransportBuilder};
pub use transport::{Request, Response, Transport, TransportError};
