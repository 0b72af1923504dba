//! The way to one issuer: the transport with everything that is checked above it, the clock, the budgets and the counters.

use std::fmt;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::cache::reentrancy::Reentrancy;
use crate::error::{Detail, Endpoint, Error, NetworkError, NetworkErrorKind, OAuthError};
use crate::events::{Event, Events};
use crate::http::form::Form;
use crate::http::url::IssuerUrl;
use crate::http::{date, headers};
use crate::json::Object;
use crate::secret::Secret;
use crate::time::{Clock, Deadline, Now};
use crate::transport::{Request, Response, Retry, Transport, TransportError};

pub(crate) struct HttpClient {
    pub(crate) url: IssuerUrl,
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) timeout: Duration,
    pub(crate) refresh_timeout: Duration,
    pub(crate) events: Events,
    /// A transport that calls back into the issuer that it serves is told so.
    pub(crate) sending: Reentrancy,
    pub(crate) skew: Skew,
}

impl HttpClient {
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

    /// Finds a transport that is not configured for `url`, such as a proxy variable that cannot be used.
    pub(crate) fn check_transport(&self, url: &str) -> Result<(), Error> {
        let request = Request::get(url).plain_http_proxied(self.url.allows_http());
        match self.transport.check(&request) {
            Err(failure) => failure.config().map_or(Ok(()), |config| Err(Error::Config(config.clone()))),
            Ok(()) => Ok(()),
        }
    }

    /// Fetches a document of the issuer: only a 200 will do.
    pub(crate) fn get(&self, endpoint: Endpoint, url: &str, deadline: Deadline) -> Result<Response, Error> {
        let headers = [("accept", "application/json")];
        let response = self.send(endpoint, deadline, |timeout| Request::get(url).headed(&headers).within(timeout))?;
        match response.status() {
            200 => self.checked_body(endpoint, response),
            status => Err(self.refusal(endpoint, unexpected(status), &response)),
        }
    }

    /// Posts a form to an OAuth endpoint. An answer of 4xx or 5xx is an OAuth error where it is one (RFC 6749 §5.2).
    ///
    /// `form` makes the form and the value of `Authorization`. It is called again for the second try after a stale connection, so that no
    /// assertion is sent twice.
    pub(crate) fn post(
        &self,
        endpoint: Endpoint,
        url: &str,
        deadline: Deadline,
        form: impl Fn() -> Result<(Form, Option<Secret>), Error>,
    ) -> Result<Response, Error> {
        let attempt = |retry: Retry| {
            let (form, authorization) = form()?;
            let mut headers =
                vec![("accept", "application/json"), ("content-type", "application/x-www-form-urlencoded")];
            headers.extend(authorization.as_ref().map(|value| ("authorization", value.expose_secret())));
            self.send(endpoint, deadline, |timeout| {
                Request::post(url, form.as_bytes()).headed(&headers).within(timeout).retried(retry)
            })
        };
        let response = match attempt(Retry::ByCaller) {
            Err(failure) if failure.is_stale => attempt(Retry::Fresh),
            outcome => outcome,
        }?;
        match response.status() {
            200 => self.checked_body(endpoint, response),
            status => match oauth_error(endpoint, &response) {
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
    ) -> Result<Response, SendFailure> {
        let Some(timeout) = deadline.remaining() else {
            return Err(Error::network(NetworkErrorKind::Timeout, endpoint).into());
        };
        let Some(sending) = self.sending.enter() else {
            return Err(Error::network(NetworkErrorKind::Reentrant, endpoint).into());
        };
        let request = request(timeout).plain_http_proxied(self.url.allows_http());
        let response =
            self.transport.send(&request).map_err(|failure| SendFailure::new(failure, endpoint, self.now()))?;
        drop(sending);
        self.measure_skew(&response);
        Ok(response)
    }

    /// How far this machine's clock is behind the issuer's `Date` (RFC 9110 §6.6.1), in seconds. It is told and never applied.
    fn measure_skew(&self, response: &Response) {
        let wall = self.clock.wall();
        let Some(date) = response.header("date").and_then(|value| date::http_date(value, wall)) else { return };
        let seconds = seconds_between(wall, date);
        if self.skew.has_changed(seconds) {
            self.events.emit(&Event::ClockSkew { seconds });
        }
    }

    /// The limits that every transport must keep, whoever wrote it.
    fn checked_body(&self, endpoint: Endpoint, response: Response) -> Result<Response, Error> {
        let outcome = if is_compressed(&response) {
            Err(Error::invalid_response(endpoint, Detail::Compressed))
        } else if response.body().len() > crate::transport::MAX_RESPONSE_BYTES {
            Err(Error::network(NetworkErrorKind::TooLarge, endpoint))
        } else {
            Ok(())
        };
        self.judged(&response, outcome).map(|()| response)
    }

    /// What came of reading a 200. Where that failed, a `Retry-After` counts as with any other status.
    pub(crate) fn judged<T>(&self, response: &Response, outcome: Result<T, Error>) -> Result<T, Error> {
        outcome.map_err(|error| error.maybe_retry_after(self.retry_after(response)))
    }

    fn refusal(&self, endpoint: Endpoint, kind: NetworkErrorKind, response: &Response) -> Error {
        Error::Network(NetworkError::new(kind, endpoint).with_retry_after(self.retry_after(response)))
    }

    fn retry_after(&self, response: &Response) -> Option<Duration> {
        let asked = headers::retry_after(response.header("retry-after")?, self.clock.wall())?;
        Some(crate::cache::backoff::clamp_retry_after(asked))
    }
}

/// Why no response arrived.
struct SendFailure {
    error: Error,
    /// A reused connection ended before the first byte of an answer.
    is_stale: bool,
}

impl SendFailure {
    fn new(failure: TransportError, endpoint: Endpoint, now: Now) -> Self {
        if let Some(config) = failure.config() {
            return Error::Config(config.clone()).into();
        }
        // A certificate is always too new for a clock that stands at 1970.
        if failure.is_about_certificate_dates() && now.wall.is_none() {
            return Error::clock().into();
        }
        let is_stale = failure.is_stale();
        let (kind, source) = failure.into_parts();
        Self { error: Error::Network(NetworkError::new(kind, endpoint).with_source(source)), is_stale }
    }
}

impl From<Error> for SendFailure {
    fn from(error: Error) -> Self {
        Self { error, is_stale: false }
    }
}

impl From<SendFailure> for Error {
    fn from(failure: SendFailure) -> Self {
        failure.error
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

/// No compression is asked for, and none is undone. An empty `Content-Encoding` is none.
fn is_compressed(response: &Response) -> bool {
    let coded = |(name, coding): (&str, &str)| {
        let plain = coding.trim().is_empty() || coding.trim().eq_ignore_ascii_case("identity");
        name.eq_ignore_ascii_case("content-encoding") && !plain
    };
    response.headers().any(coded)
}

/// The OAuth error that an answer is, if it is one: a human sentence as `error`, HTML or nothing is none (RFC 6749 §5.2).
fn oauth_error(endpoint: Endpoint, response: &Response) -> Option<OAuthError> {
    let readable = response.body().len() <= crate::transport::MAX_RESPONSE_BYTES && !is_compressed(response);
    if !matches!(response.status(), 400..=599) || !readable {
        return None;
    }
    let object = Object::parse(std::str::from_utf8(response.body()).ok()?).ok()?;
    let code = object.string("error").ok()??;
    let well_formed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    if code.is_empty() || code.len() > MAX_ERROR_CODE || !code.bytes().all(well_formed) {
        return None;
    }
    let text = |name| object.string(name).ok().flatten();
    Some(OAuthError::new(endpoint, code, text("error_description"), text("error_uri"), response.status()))
}

/// The difference of the clocks as last measured.
#[derive(Default)]
pub(crate) struct Skew(Mutex<Option<i64>>);

impl Skew {
    pub(crate) fn seconds(&self) -> Option<i64> {
        *self.0.lock()
    }

    /// Takes a measurement; true if it is worth telling: beyond the usual tolerance, and not told before.
    fn has_changed(&self, seconds: i64) -> bool {
        let before = self.0.lock().replace(seconds).unwrap_or_default();
        seconds.unsigned_abs() > NOTEWORTHY_SKEW && seconds.abs_diff(before) > NOTEWORTHY_SKEW / 2
    }
}

fn seconds_between(from: SystemTime, to: SystemTime) -> i64 {
    let whole = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match to.duration_since(from) {
        Ok(ahead) => whole(ahead),
        Err(behind) => whole(behind.duration()).saturating_neg(),
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// Seconds by which the clocks may differ without a word: the default tolerance of a resource server.
const NOTEWORTHY_SKEW: u64 = 30;

/// The longest `error` that is taken for an OAuth error code; the registered ones have at most 25 characters.
const MAX_ERROR_CODE: usize = 64;
