//! The seam to the network: one request, one whole response.

#[cfg(feature = "ureq")]
pub(crate) mod ureq;

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroize;

use crate::error::NetworkErrorKind;

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
}

impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        (**self).send(request)
    }
}

impl Transport for Box<dyn Transport> {
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        (**self).send(request)
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

/// One HTTP request. `Debug` shows method and path only.
pub struct Request<'a> {
    method: &'static str,
    url: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: Option<&'a [u8]>,
    timeout: Duration,
}

impl<'a> Request<'a> {
    pub(crate) fn get(url: &'a str, headers: &'a [(&'a str, &'a str)], timeout: Duration) -> Self {
        Self { method: "GET", url, headers, body: None, timeout }
    }

    pub(crate) fn post(url: &'a str, headers: &'a [(&'a str, &'a str)], body: &'a [u8], timeout: Duration) -> Self {
        Self { method: "POST", url, headers, body: Some(body), timeout }
    }

    /// `GET` or `POST`.
    pub fn method(&self) -> &str {
        self.method
    }

    /// The absolute URL.
    pub fn url(&self) -> &str {
        self.url
    }

    /// The headers to send, with names in lower case. One of them may be `authorization`.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().copied()
    }

    /// The body of a `POST`. It may contain a client secret or a token.
    pub fn body(&self) -> Option<&[u8]> {
        self.body
    }

    /// What remains of the call's time limit. The DNS look-up, connecting, sending and receiving the complete response must fit
    /// into it.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The length of the longest body that will be accepted, in bytes. There is no use in reading more.
    pub fn max_response_bytes(&self) -> usize {
        MAX_RESPONSE_BYTES
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = self.url.split(['?', '#']).next().unwrap_or_default();
        let path = bare.split_once("://").map_or(bare, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
        f.debug_struct("Request").field("method", &self.method).field("path", &path).finish_non_exhaustive()
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
}

impl TransportError {
    /// A failure of that kind.
    pub fn new(kind: NetworkErrorKind) -> Self {
        Self { kind, source: None }
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

    pub(crate) fn into_parts(self) -> (NetworkErrorKind, Option<Arc<dyn StdError + Send + Sync>>) {
        (self.kind, self.source)
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

/// The longest body that is read: a discovery document or a key set of 64 RSA keys has a tenth of it.
pub(crate) const MAX_RESPONSE_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_request_shows_no_query() {
        for url in ["https://h/a/b?key=hidden", "https://h/a/b?x=/hidden"] {
            let shown = format!("{:?}", Request::get(url, &[], Duration::ZERO));
            assert!(shown.contains("\"/a/b\"") && !shown.contains("hidden"), "{shown}");
        }
    }
}
