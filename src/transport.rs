//! The seam to the network: one request, one whole response.

mod request;
#[cfg(feature = "ureq")]
pub(crate) mod ureq;

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use zeroize::Zeroize;

use crate::error::{ConfigError, NetworkErrorKind};

pub use request::Request;
pub(crate) use request::{MAX_RESPONSE_BYTES, Retry};

/// Sends an HTTP request and returns the complete response.
///
/// Implement this trait to use your own HTTP client. Closures, `Arc<T>` and `Box<dyn Transport>` are transports as well. An
/// implementation must not follow redirects (they would carry secrets elsewhere), must finish within [`Request::timeout`], and
/// should stop reading at [`Request::max_response_bytes`]. Several threads may call it at once.
///
/// ```
/// use aero2::{Issuer, Request, Response, TransportError};
///
/// let offline = |_: &Request<'_>| -> Result<Response, TransportError> {
///     Ok(Response::new(503, [], Vec::new()))
/// };
/// let issuer = Issuer::builder("https://acme.aero2.dev").transport(offline).build()?;
/// assert!(issuer.preload().unwrap_err().is_retryable());
/// # Ok::<(), aero2::Error>(())
/// ```
pub trait Transport: Send + Sync {
    /// Sends `request` and returns the complete response, whatever its status.
    ///
    /// # Errors
    /// A [`TransportError`] only if no complete response arrived.
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError>;

    /// Says, without sending anything, whether this transport is configured such that it could send `request`.
    /// [`IssuerBuilder::build`](crate::IssuerBuilder::build) calls it for each URL that it knows, so that a wrong configuration is
    /// found at once. Defaults to yes.
    ///
    /// # Errors
    /// A [`TransportError`] made from a [`ConfigError`].
    fn check(&self, request: &Request<'_>) -> Result<(), TransportError> {
        let _ = request;
        Ok(())
    }
}

impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        (**self).send(request)
    }

    fn check(&self, request: &Request<'_>) -> Result<(), TransportError> {
        (**self).check(request)
    }
}

impl Transport for Box<dyn Transport> {
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        (**self).send(request)
    }

    fn check(&self, request: &Request<'_>) -> Result<(), TransportError> {
        (**self).check(request)
    }
}

impl<F> Transport for F
where
    F: Fn(&Request<'_>) -> Result<Response, TransportError> + Send + Sync,
{
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        self(request)
    }
}

/// A complete HTTP response. `Debug` shows the status only.
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Response {
    /// A response. Header names are compared case-insensitively.
    pub fn new(status: u16, headers: impl IntoIterator<Item = (String, String)>, body: Vec<u8>) -> Self {
        Self { status, headers: headers.into_iter().collect(), body }
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The headers in the order in which they came.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Response {
    /// A token endpoint's answer holds a token.
    fn drop(&mut self) {
        self.body.zeroize();
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}

/// No complete response arrived.
///
/// The source becomes part of the [`source`](std::error::Error::source) chain of an [`Error::Network`](crate::Error::Network), so
/// it should not contain a secret.
#[derive(Clone)]
pub struct TransportError {
    kind: NetworkErrorKind,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    config: Option<ConfigError>,
    certificate_dates: bool,
    stale: bool,
}

impl TransportError {
    /// A failure of that kind.
    pub fn new(kind: NetworkErrorKind) -> Self {
        Self { kind, source: None, config: None, certificate_dates: false, stale: false }
    }

    /// Adds the underlying error.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { source: Some(source.into().into()), ..self }
    }

    /// What went wrong.
    pub fn kind(&self) -> NetworkErrorKind {
        self.kind
    }

    /// The wrong configuration for which nothing was sent. The call then fails with [`Error::Config`](crate::Error::Config).
    pub fn config(&self) -> Option<&ConfigError> {
        self.config.as_ref()
    }

    /// Whether the server's certificate is refused for its dates alone, which is what an unset clock leads to.
    pub(crate) fn is_about_certificate_dates(&self) -> bool {
        self.certificate_dates
    }

    /// Whether a reused connection ended before the first byte of an answer, so that a new request may be sent at once.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale
    }

    #[cfg_attr(not(feature = "ureq"), expect(dead_code, reason = "of UreqTransport"))]
    pub(crate) fn about_certificate_dates(self) -> Self {
        Self { certificate_dates: true, ..self }
    }

    #[cfg_attr(not(feature = "ureq"), expect(dead_code, reason = "of UreqTransport"))]
    pub(crate) fn stale(self) -> Self {
        Self { stale: true, ..self }
    }

    pub(crate) fn into_parts(self) -> (NetworkErrorKind, Option<Arc<dyn StdError + Send + Sync>>) {
        (self.kind, self.source)
    }
}

impl From<ConfigError> for TransportError {
    /// The transport's own configuration forbids the request.
    fn from(error: ConfigError) -> Self {
        Self { config: Some(error.clone()), ..Self::new(NetworkErrorKind::Connect).with_source(error) }
    }
}

impl From<io::Error> for TransportError {
    /// `TimedOut` is a time-out, all else a broken connection.
    fn from(error: io::Error) -> Self {
        let timed_out = error.kind() == io::ErrorKind::TimedOut;
        Self::new(if timed_out { NetworkErrorKind::Timeout } else { NetworkErrorKind::Io }).with_source(error)
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl fmt::Debug for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportError").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl StdError for TransportError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| -> &(dyn StdError + 'static) { e })
    }
}
