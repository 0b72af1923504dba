//! One HTTP request, as a transport gets it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use zeroize::Zeroize;

/// One HTTP request. `Debug` shows method and path only.
///
/// A transport that wraps another can pass on a changed request:
///
/// ```
/// use aero2::{Request, Response, Transport, TransportError};
///
/// struct Numbered<T>(T);
///
/// impl<T: Transport> Transport for Numbered<T> {
///     fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
///         self.0.send(&request.with_header("x-request-id", "7f3a"))
///     }
/// }
///
/// let inner = |request: &Request<'_>| {
///     assert_eq!(request.headers().next(), Some(("x-request-id", "7f3a")));
///     Ok(Response::new(200, [], Vec::new()))
/// };
/// Numbered(inner).send(&Request::get("https://acme.aero2.dev/"))?;
/// # Ok::<(), TransportError>(())
/// ```
#[derive(Clone)]
pub struct Request<'a> {
    method: &'static str,
    url: Cow<'a, str>,
    headers: Vec<Header<'a>>,
    body: Option<&'a [u8]>,
    timeout: Duration,
    plain_http_proxied: bool,
    retry: Retry,
    status_suffices: bool,
}

#[derive(Clone)]
struct Header<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
}

impl Drop for Header<'_> {
    /// It may be a credential.
    fn drop(&mut self) {
        if let Cow::Owned(value) = &mut self.value {
            value.zeroize();
        }
    }
}

/// Who sends a request again whose reused connection ended before the first byte of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// The transport, once, on a fresh connection.
    ByTransport,
    /// The caller, who builds a new request: this one has an assertion or proof that may be used once. The transport reports
    /// a stale connection.
    ByCaller,
    /// Nobody: this is the second try, which uses a fresh connection.
    Fresh,
}

impl<'a> Request<'a> {
    /// A `GET` without headers and with a time limit of 10 s.
    pub fn get(url: &'a str) -> Self {
        Self {
            method: "GET",
            url: Cow::Borrowed(url),
            headers: Vec::new(),
            body: None,
            timeout: DEFAULT_TIMEOUT,
            plain_http_proxied: false,
            retry: Retry::ByTransport,
            status_suffices: false,
        }
    }

    /// A `POST` without headers and with a time limit of 10 s.
    pub fn post(url: &'a str, body: &'a [u8]) -> Self {
        Self { method: "POST", body: Some(body), ..Self::get(url) }
    }

    /// The same request to another URL.
    #[must_use]
    pub fn with_url(&self, url: &str) -> Self {
        Self { url: Cow::Owned(url.to_owned()), ..self.clone() }
    }

    /// The same request with this header in the place of all headers of that name. The name is written in lower case.
    #[must_use]
    pub fn with_header(&self, name: &str, value: &str) -> Self {
        let mut changed = self.clone();
        changed.headers.retain(|header| !header.name.eq_ignore_ascii_case(name));
        let (name, value) = (Cow::Owned(name.to_ascii_lowercase()), Cow::Owned(value.to_owned()));
        changed.headers.push(Header { name, value });
        changed
    }

    /// `GET` or `POST`.
    pub fn method(&self) -> &str {
        self.method
    }

    /// The absolute URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The headers to send, with names in lower case. One of them may be `authorization`.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|header| (&*header.name, &*header.value))
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

    /// Adds headers whose names are in lower case and not among the present ones.
    pub(crate) fn headed(mut self, headers: &[(&'a str, &'a str)]) -> Self {
        let borrowed = |(name, value): &(&'a str, &'a str)| Header { name: (*name).into(), value: (*value).into() };
        self.headers.extend(headers.iter().map(borrowed));
        self
    }

    pub(crate) fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether plain `http` may go through a proxy: the program has chosen `dangerous_allow_http`.
    pub(crate) fn plain_http_proxied(mut self, proxied: bool) -> Self {
        self.plain_http_proxied = proxied;
        self
    }

    /// Whether a body beyond the limit is no failure, since the status says all.
    pub(crate) fn by_status(mut self, suffices: bool) -> Self {
        self.status_suffices = suffices;
        self
    }

    #[cfg_attr(not(any(feature = "ureq", test)), expect(dead_code, reason = "of UreqTransport"))]
    pub(crate) fn status_suffices(&self) -> bool {
        self.status_suffices
    }

    pub(crate) fn retried(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    #[cfg_attr(not(any(feature = "ureq", test)), expect(dead_code, reason = "of UreqTransport"))]
    pub(crate) fn is_plain_http_proxied(&self) -> bool {
        self.plain_http_proxied
    }

    #[cfg_attr(not(any(feature = "ureq", test)), expect(dead_code, reason = "of UreqTransport"))]
    pub(crate) fn retry(&self) -> Retry {
        self.retry
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = self.url.split(['?', '#']).next().unwrap_or_default();
        let path = bare.split_once("://").map_or(bare, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
        f.debug_struct("Request").field("method", &self.method).field("path", &path).finish_non_exhaustive()
    }
}

/// The longest body that is read: a discovery document or a key set of 64 RSA keys has a tenth of it.
pub(crate) const MAX_RESPONSE_BYTES: usize = 256 * 1024;

/// The limit of a request that a program makes itself: the default of [`IssuerBuilder::timeout`](crate::IssuerBuilder::timeout).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_request_shows_no_query() {
        for url in ["https://h/a/b?key=hidden", "https://h/a/b?x=/hidden"] {
            let shown = format!("{:?}", Request::get(url));
            assert!(shown.contains("\"/a/b\"") && !shown.contains("hidden"), "{shown}");
        }
    }

    #[test]
    fn a_changed_request_keeps_all_else() {
        let headers = [("accept", "a"), ("authorization", "Basic eA==")];
        let request = Request::post("https://h/", b"x").headed(&headers).within(Duration::from_secs(3));
        let request = request.plain_http_proxied(true).retried(Retry::ByCaller).by_status(true);
        let changed = request.with_url("https://other/").with_header("Accept", "b").with_header("x", "y");
        assert_eq!(changed.url(), "https://other/");
        let shown: Vec<_> = changed.headers().collect();
        assert_eq!(shown, [("authorization", "Basic eA=="), ("accept", "b"), ("x", "y")]);
        assert_eq!((changed.method(), changed.body()), ("POST", Some(&b"x"[..])));
        assert_eq!(changed.timeout(), Duration::from_secs(3));
        assert!(changed.is_plain_http_proxied() && changed.retry() == Retry::ByCaller && changed.status_suffices());
        assert_eq!(request.url(), "https://h/");
        assert_eq!(request.headers().count(), 2);
    }
}
