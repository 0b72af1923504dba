//! What goes wrong between this program and the issuer, and at which endpoint.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::endpoint::{Endpoint, Parties, write_sources};

/// The issuer could not be reached, or did not give a usable answer.
#[derive(Clone)]
pub struct NetworkError(Arc<NetworkRepr>);

#[derive(Clone)]
struct NetworkRepr {
    kind: NetworkErrorKind,
    endpoint: Endpoint,
    parties: Parties,
    detail: Detail,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl NetworkError {
    pub(crate) fn new(kind: NetworkErrorKind, endpoint: Endpoint) -> Self {
        let parties = Parties::default();
        Self(Arc::new(NetworkRepr { kind, endpoint, parties, detail: Detail::None, retry_after: None, source: None }))
    }

    pub(crate) fn with_detail(self, detail: Detail) -> Self {
        Self(Arc::new(NetworkRepr { detail, ..(*self.0).clone() }))
    }

    pub(crate) fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self(Arc::new(NetworkRepr { retry_after, ..(*self.0).clone() }))
    }

    pub(crate) fn with_source(self, source: Option<Arc<dyn StdError + Send + Sync>>) -> Self {
        Self(Arc::new(NetworkRepr { source, ..(*self.0).clone() }))
    }

    pub(super) fn with_host(self, host: &str) -> Self {
        let parties = self.0.parties.clone().or_host(host);
        Self(Arc::new(NetworkRepr { parties, ..(*self.0).clone() }))
    }

    /// The documents of the issuer are fetched for all clients together, so their errors name none.
    pub(super) fn with_client(self, client_id: &str) -> Self {
        if matches!(self.0.endpoint, Endpoint::Discovery | Endpoint::Keys) {
            return self;
        }
        let parties = self.0.parties.clone().or_client(client_id);
        Self(Arc::new(NetworkRepr { parties, ..(*self.0).clone() }))
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What went wrong.
    pub fn kind(&self) -> NetworkErrorKind {
        self.0.kind
    }

    /// Which of the issuer's documents or endpoints the request was for.
    pub fn endpoint(&self) -> Endpoint {
        self.0.endpoint
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NetworkRepr { kind, endpoint, parties, detail, .. } = &*self.0;
        write!(f, "{endpoint}{parties}: ")?;
        match detail {
            Detail::AskedToWait => detail.fmt(f)?,
            _ => kind.fmt(f)?,
        }
        match (kind, detail) {
            (NetworkErrorKind::Status(404), _) if *endpoint == Endpoint::Discovery => {
                f.write_str("; check the issuer URL")?;
            }
            (NetworkErrorKind::Status(300..=399), _) => f.write_str(", a redirect, which is never followed")?,
            (NetworkErrorKind::IssuerMismatch, Detail::None) => {
                f.write_str("; configure the issuer exactly as it is written there")?;
            }
            (_, Detail::None | Detail::AskedToWait) => {}
            (_, detail) => write!(f, ": {detail}")?,
        }
        if f.alternate() { write_sources(f, self) } else { Ok(()) }
    }
}

impl fmt::Debug for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A `main` that returns the error shows its Debug.
        f.debug_struct("NetworkError")
            .field("message", &format!("{self:#}"))
            .field("kind", &self.0.kind)
            .field("retry_after", &self.0.retry_after)
            .finish_non_exhaustive()
    }
}

impl StdError for NetworkError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| -> &(dyn StdError + 'static) { e })
    }
}

/// What went wrong between your program and the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NetworkErrorKind {
    /// The host name could not be resolved.
    Dns,
    /// No connection could be made.
    Connect,
    /// The TLS handshake failed: an untrusted, expired or wrong certificate, or no TLS on the other side.
    Tls,
    /// No complete response arrived within the time limit of the call.
    Timeout,
    /// The connection broke, or what arrived was not HTTP.
    Io,
    /// An error status without an OAuth error in the body.
    Status(u16),
    /// A response that lacks something it must contain, or contains something it must not.
    InvalidResponse,
    /// The headers or the body exceed the limit.
    TooLarge,
    /// This crate's own budget for fetching keys because of unknown `kid`s is used up. Nothing is known about the token.
    RateLimited,
    /// The discovery document names another issuer than the configured one (OIDC Discovery §4.3, RFC 8414 §3.3).
    IssuerMismatch,
    /// The transport called back into the issuer that it serves, on the same thread.
    Reentrant,
    /// The token's key is not cached, and the call was limited to cached keys. Nothing is known about the token.
    KeysNotCached,
}

impl NetworkErrorKind {
    pub(super) fn is_retryable(self) -> bool {
        match self {
            Self::Dns | Self::Connect | Self::Timeout | Self::Io | Self::RateLimited | Self::KeysNotCached => true,
            Self::Status(status) => is_retryable_status(status),
            Self::Tls | Self::InvalidResponse | Self::TooLarge | Self::IssuerMismatch | Self::Reentrant => false,
        }
    }
}

impl fmt::Display for NetworkErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns => f.write_str("the host name cannot be resolved"),
            Self::Connect => f.write_str("no connection can be made"),
            Self::Tls => f.write_str("no trusted TLS connection can be made"),
            Self::Timeout => f.write_str("no complete answer arrived in time"),
            Self::Io => f.write_str("the connection broke"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::InvalidResponse => f.write_str("the answer is invalid"),
            Self::TooLarge => f.write_str("the answer is too large"),
            Self::RateLimited => f.write_str("too many unknown key ids, so the issuer is not asked again yet"),
            Self::IssuerMismatch => f.write_str("it names another issuer than the configured one"),
            Self::Reentrant => f.write_str("the transport called back into the issuer that it serves"),
            Self::KeysNotCached => f.write_str("the key is not cached, and this call may not fetch any"),
        }
    }
}

/// What was wrong with an answer, in this crate's own words only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    None,
    /// The discovery document's issuer and the configured one differ in a trailing slash only.
    TrailingSlash,
    Compressed,
    NotJson,
    /// The member is missing, or of the wrong type.
    Member(&'static str),
    /// The key set has no key that this crate can use.
    NoUsableKey,
    /// The discovery document's URL for this endpoint must not be used.
    EndpointUrl,
    /// The endpoint's last answer, which says nothing to this caller, had a `Retry-After` (RFC 9110 §10.2.3).
    AskedToWait,
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::TrailingSlash => {
                f.write_str("they differ in a trailing slash only, so write it as the document does")
            }
            Self::Compressed => f.write_str("it is compressed, which was not asked for"),
            Self::NotJson => f.write_str("it is not a JSON object with unique member names"),
            Self::Member(name) => write!(f, "the member {name} is missing or wrong"),
            Self::NoUsableKey => f.write_str("it contains no usable key"),
            Self::EndpointUrl => f.write_str("the discovery document names a URL that must not be used for it"),
            Self::AskedToWait => f.write_str("the issuer asked to wait before the next request"),
        }
    }
}

/// Status codes after which the same request may succeed (RFC 9110 §15, RFC 6585 §4, RFC 8470 §5.2).
pub(super) fn is_retryable_status(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}
