//! The way to one issuer: the transport with everything that is checked above it, the clock, the budgets and the counters.

use std::fmt;
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{Clock, Deadline, Now};
use crate::error::{Detail, Endpoint, Error, NetworkError, NetworkErrorKind, OAuthError};
use crate::events::Events;
use crate::headers;
use crate::jose::json::Object;
use crate::secret::Secret;
use crate::transport::{Request, Response, Transport};
use crate::url::IssuerUrl;

pub(crate) struct Connection {
    pub(crate) url: IssuerUrl,
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) timeout: Duration,
    pub(crate) refresh_timeout: Duration,
    pub(crate) events: Events,
    pub(crate) sending: Sending,
}

impl Connection {
    pub(crate) fn now(&self) -> Now {
        Now::read(&*self.clock)
    }

    /// The end of a call's total budget, which begins now.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.timeout)
    }

    /// The end of what the one caller that draws a refresh-ahead pays at most.
    pub(crate) fn refresh_deadline(&self) -> Deadline {
        Deadline::after(self.refresh_timeout.min(self.timeout))
    }

    /// Fetches a document of the issuer: only a 200 will do.
    pub(crate) fn get(&self, endpoint: Endpoint, url: &str, deadline: Deadline) -> Result<Response, Error> {
        let headers = [("accept", "application/json")];
        let response = self.send(endpoint, deadline, |timeout| Request::get(url, &headers, timeout))?;
        match response.status() {
            200 => self.checked_body(endpoint, response),
            status => Err(self.refusal(endpoint, unexpected(status), &response)),
        }
    }

    /// Posts a form to an OAuth endpoint. An answer of 4xx or 5xx is an OAuth error where it is one (RFC 6749 §5.2).
    pub(crate) fn post(
        &self,
        endpoint: Endpoint,
        url: &str,
        form: &[u8],
        authorization: Option<&Secret>,
        deadline: Deadline,
    ) -> Result<Response, Error> {
        let mut headers = vec![("accept", "application/json"), ("content-type", "application/x-www-form-urlencoded")];
        headers.extend(authorization.map(|value| ("authorization", value.expose_secret())));
        let response = self.send(endpoint, deadline, |timeout| Request::post(url, &headers, form, timeout))?;
        match response.status() {
            200 => self.checked_body(endpoint, response),
            status => match oauth_error(&response) {
                Some(error) => Err(Error::OAuth(error).maybe_retry_after(self.retry_after(&response))),
                None => Err(self.refusal(endpoint, unexpected(status), &response)),
            },
        }
    }

    fn send<'r>(
        &self,
        endpoint: Endpoint,
        deadline: Deadline,
        request: impl FnOnce(Duration) -> Request<'r>,
    ) -> Result<Response, Error> {
        let Some(timeout) = deadline.remaining() else {
            return Err(Error::network(NetworkErrorKind::Timeout, endpoint));
        };
        let Some(_sending) = self.sending.begin() else {
            return Err(Error::network(NetworkErrorKind::Reentrant, endpoint));
        };
        self.transport.send(&request(timeout)).map_err(|error| {
            let (kind, source) = error.into_parts();
            Error::Network(NetworkError::new(kind, endpoint).with_source(source))
        })
    }

    /// The limits that every transport is held to, whoever wrote it.
    fn checked_body(&self, endpoint: Endpoint, response: Response) -> Result<Response, Error> {
        let compressed =
            response.header("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"));
        if compressed {
            return Err(Error::invalid_response(endpoint, Detail::Compressed));
        }
        if response.body().len() > crate::transport::MAX_RESPONSE_BYTES {
            return Err(self.refusal(endpoint, NetworkErrorKind::TooLarge, &response));
        }
        Ok(response)
    }

    fn refusal(&self, endpoint: Endpoint, kind: NetworkErrorKind, response: &Response) -> Error {
        Error::Network(NetworkError::new(kind, endpoint).with_retry_after(self.retry_after(response)))
    }

    fn retry_after(&self, response: &Response) -> Option<Duration> {
        let asked = headers::retry_after(response.header("retry-after")?, self.clock.wall())?;
        Some(crate::backoff::clamp_retry_after(asked))
    }
}

/// The text of a body that must be a JSON object.
pub(crate) fn body_text(endpoint: Endpoint, response: &Response) -> Result<&str, Error> {
    std::str::from_utf8(response.body()).map_err(|_| Error::invalid_response(endpoint, Detail::NotJson))
}

fn unexpected(status: u16) -> NetworkErrorKind {
    match status {
        200..=299 => NetworkErrorKind::InvalidResponse,
        status => NetworkErrorKind::Status(status),
    }
}

/// The OAuth error that an answer is, if it is one: a human sentence as `error`, HTML or nothing is none (RFC 6749 §5.2).
fn oauth_error(response: &Response) -> Option<OAuthError> {
    if !matches!(response.status(), 400..=599) || response.body().len() > crate::transport::MAX_RESPONSE_BYTES {
        return None;
    }
    let object = Object::parse(std::str::from_utf8(response.body()).ok()?).ok()?;
    let code = object.string("error").ok()??;
    let well_formed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    if code.is_empty() || code.len() > MAX_ERROR_CODE || !code.bytes().all(well_formed) {
        return None;
    }
    let text = |name| object.string(name).ok().flatten();
    Some(OAuthError::new(code, text("error_description"), text("error_uri"), response.status()))
}

/// The threads that are inside the transport now: one that calls back into the issuer that it serves would recurse for ever.
#[derive(Default)]
pub(crate) struct Sending(Mutex<Vec<ThreadId>>);

impl Sending {
    fn begin(&self) -> Option<SendingGuard<'_>> {
        let this = thread::current().id();
        let mut inside = self.0.lock();
        if inside.contains(&this) {
            return None;
        }
        inside.push(this);
        Some(SendingGuard { sending: self, this })
    }
}

struct SendingGuard<'a> {
    sending: &'a Sending,
    this: ThreadId,
}

impl Drop for SendingGuard<'_> {
    fn drop(&mut self) {
        self.sending.0.lock().retain(|thread| *thread != self.this);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// The longest `error` that is taken for an OAuth error code; the registered ones have at most 25 characters.
const MAX_ERROR_CODE: usize = 64;
