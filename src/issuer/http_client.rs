//! The way to one issuer: every request goes through here, and whatever holds for every answer is applied here.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::cache::backoff::clamp_retry_after;
use crate::cache::reentrancy::Reentrancy;
use crate::error::{Detail, Endpoint, Error, NetworkError, NetworkErrorKind, OAuthError};
use crate::events::{Count, Event, Events};
use crate::http::form::Form;
use crate::http::url::Url;
use crate::http::{date, headers};
use crate::issuer::addresses::Addresses;
use crate::issuer::retry_after::{RetryAfterWaits, WaitScope};
use crate::issuer::wall_clock::WallClock;
use crate::json::Object;
use crate::secret::Secret;
use crate::time::{Clock, Deadline, Now};
use crate::transport::{MAX_RESPONSE_BYTES, Request, Response, Retry, Transport, TransportError};

pub(crate) struct HttpClient {
    pub(crate) addresses: Addresses,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timeout: Duration,
    pub(crate) refresh_timeout: Duration,
    pub(crate) events: Events,
    /// A transport that calls back into the issuer that it serves gets an error.
    pub(crate) sending: Reentrancy,
    pub(crate) skew: Skew,
    pub(crate) waits: RetryAfterWaits,
    pub(crate) wall_clock: WallClock,
}

/// Where a request goes, and until when it may take.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) endpoint: Endpoint,
    pub(crate) url: &'a str,
    pub(crate) deadline: Deadline,
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

    /// Whether a request to `endpoint` may be sent now, as far as the issuer's `Retry-After` goes.
    pub(crate) fn check_wait(&self, endpoint: Endpoint, scope: WaitScope) -> Result<(), Error> {
        self.waits.check(endpoint, scope, self.now())
    }

    /// Finds a transport that is not configured for `url`, such as a proxy variable that cannot be used.
    pub(crate) fn check_transport(&self, url: &str) -> Result<(), Error> {
        let request = Request::get(url).plain_http_proxied(self.addresses.issuer().allows_http());
        match self.transport.check(&request) {
            Err(failure) => failure.config().map_or(Ok(()), |config| Err(Error::Config(config.clone()))),
            Ok(()) => Ok(()),
        }
    }

    /// Fetches a document of the issuer and reads it. Only a 200 will do.
    pub(crate) fn get<T>(
        &self,
        target: Target<'_>,
        read: impl FnOnce(&Response) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let accept = match target.endpoint {
            Endpoint::Keys => "application/json, application/jwk-set+json",
            _ => "application/json",
        };
        let headers = [("accept", accept)];
        let send = || self.send(target, |timeout| Request::get(target.url).headed(&headers).within(timeout));
        self.exchange(target, WaitScope::Everyone, send, |response| match response.status() {
            200 => {
                check_body(target.endpoint, response)?;
                let document = read(response)?;
                self.observe_time(target.url, response);
                Ok(document)
            }
            status => Err(Error::network(unexpected(status), target.endpoint)),
        })
    }

    /// Posts a form to an OAuth endpoint and reads the answer: a 200, and at the revocation endpoint any 2xx (RFC 7009 §2.2). An answer of
    /// 4xx or 5xx is an OAuth error where it is one (RFC 6749 §5.2).
    ///
    /// `form` makes the form and the value of `Authorization`. It is called again for the second try after a stale connection, so that no
    /// assertion is sent twice.
    pub(crate) fn post<T>(
        &self,
        target: Target<'_>,
        scope: WaitScope,
        form: impl Fn() -> Result<(Form, Option<Secret>), Error>,
        read: impl FnOnce(&Response) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let attempt = |retry: Retry| {
            let (form, authorization) = form()?;
            let mut headers =
                vec![("accept", "application/json"), ("content-type", "application/x-www-form-urlencoded")];
            headers.extend(authorization.as_ref().map(|value| ("authorization", value.expose_secret())));
            // RFC 7009 §2.2: a revocation is done whatever its answer says.
            let by_status = target.endpoint == Endpoint::Revocation;
            self.send(target, |timeout| {
                let request = Request::post(target.url, form.as_bytes()).headed(&headers).within(timeout);
                request.retried(retry).by_status(by_status)
            })
        };
        let send = || match attempt(Retry::ByCaller) {
            Err(failure) if failure.is_stale => attempt(Retry::Fresh),
            outcome => outcome,
        };
        self.exchange(target, scope, send, |response| match response.status() {
            200..=299 if target.endpoint == Endpoint::Revocation => read(response),
            200 => check_body(target.endpoint, response).and_then(|()| read(response)),
            status => Err(match oauth_error(target.endpoint, response) {
                Some(error) => Error::OAuth(error),
                None => Error::network(unexpected(status), target.endpoint),
            }),
        })
    }

    /// One request and the reading of its answer. If that fails, a `Retry-After` binds every caller of the endpoint, whatever the status.
    fn exchange<T>(
        &self,
        target: Target<'_>,
        scope: WaitScope,
        send: impl FnOnce() -> Result<Response, SendFailure>,
        read: impl FnOnce(&Response) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.check_wait(target.endpoint, scope)?;
        if target.endpoint == Endpoint::Introspection {
            self.events.count(Count::Introspection);
        }
        let in_place = |error: Error| error.with_host(authority(target.url));
        let response = send().map_err(|failure| in_place(failure.error))?;
        self.measure_skew(&response);
        read(&response).map_err(|error| self.note_retry_after(target.endpoint, scope, &response, in_place(error)))
    }

    fn send<'r>(
        &self,
        target: Target<'_>,
        request: impl FnOnce(Duration) -> Request<'r>,
    ) -> Result<Response, SendFailure> {
        let endpoint = target.endpoint;
        let Some(timeout) = target.deadline.remaining() else {
            return Err(Error::network(NetworkErrorKind::Timeout, endpoint).into());
        };
        let Some(sending) = self.sending.enter() else {
            return Err(Error::network(NetworkErrorKind::Reentrant, endpoint).into());
        };
        let request = request(timeout).plain_http_proxied(self.addresses.issuer().allows_http());
        let sent = self.transport.send(&request);
        drop(sending);
        sent.map_err(|failure| {
            let clock_is_set = self.wall_clock.since_epoch(self.now()).is_some();
            SendFailure::new(failure, endpoint, clock_is_set)
        })
    }

    fn note_retry_after(&self, endpoint: Endpoint, scope: WaitScope, response: &Response, error: Error) -> Error {
        let now = self.now();
        let asked = response.header("retry-after").and_then(|value| headers::retry_after(value, self.clock.wall()));
        if let (Some(asked), Error::Network(_) | Error::OAuth(_)) = (asked, &error) {
            self.waits.note(endpoint, scope, asked, &error, now);
        }
        error.maybe_retry_after(asked.map(clamp_retry_after))
    }

    /// The issuer's time as one of its documents tells it: `Date`, and `Age` from a cache on the way (RFC 9111 §4.2.3). Over plain http
    /// beyond loopback anybody may have written it.
    fn observe_time(&self, url: &str, response: &Response) {
        let now = self.now();
        let date = response.header("date").and_then(|value| date::http_date(value, self.clock.wall()));
        let age = headers::age(response.headers()).unwrap_or_default();
        if let Some(date) = date.and_then(|date| date.checked_add(age)).filter(|_| is_authentic(url)) {
            self.wall_clock.observe(date, now);
        }
    }

    /// How far this machine's clock is behind the issuer's `Date` (RFC 9110 §6.6.1), in seconds. It is reported and never applied.
    fn measure_skew(&self, response: &Response) {
        let wall = self.clock.wall();
        let Some(date) = response.header("date").and_then(|value| date::http_date(value, wall)) else { return };
        let seconds = seconds_between(wall, date);
        if self.skew.has_changed(seconds) {
            self.events.emit(&Event::ClockSkew { seconds });
        }
    }
}

/// Why no response arrived.
struct SendFailure {
    error: Error,
    /// A reused connection ended before the first byte of an answer.
    is_stale: bool,
}

impl SendFailure {
    fn new(failure: TransportError, endpoint: Endpoint, clock_is_set: bool) -> Self {
        if let Some(config) = failure.config() {
            return Error::Config(config.clone()).into();
        }
        // A certificate is always too new for a clock that stands at 1970.
        if failure.is_about_certificate_dates() && !clock_is_set {
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

/// The text of a body that must be a JSON object.
pub(crate) fn body_text(endpoint: Endpoint, response: &Response) -> Result<&str, Error> {
    std::str::from_utf8(response.body()).map_err(|_| Error::invalid_response(endpoint, Detail::NotJson))
}

/// What an answer that must be a JSON object says, if this crate may read it: it is short enough and not compressed.
pub(crate) fn readable_object(response: &Response) -> Option<Object> {
    if response.body().len() > MAX_RESPONSE_BYTES || is_compressed(response) {
        return None;
    }
    Object::parse(std::str::from_utf8(response.body()).ok()?).ok()
}

/// The limits that every transport must keep, whoever wrote it.
fn check_body(endpoint: Endpoint, response: &Response) -> Result<(), Error> {
    if is_compressed(response) {
        Err(Error::invalid_response(endpoint, Detail::Compressed))
    } else if response.body().len() > MAX_RESPONSE_BYTES {
        Err(Error::network(NetworkErrorKind::TooLarge, endpoint))
    } else {
        Ok(())
    }
}

/// Host and port as a message shows them.
pub(crate) fn authority(url: &str) -> &str {
    Url::parse(url).map_or("", |url| url.authority())
}

fn is_authentic(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.origin().is_private())
}

fn unexpected(status: u16) -> NetworkErrorKind {
    match status {
        200..=299 => NetworkErrorKind::InvalidResponse,
        status => NetworkErrorKind::Status(status),
    }
}

/// No compression is asked for, so none is undone. An empty header names none.
fn is_compressed(response: &Response) -> bool {
    let is_coding = |coding: &str| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity");
    let coded = |(name, value): (&str, &str)| {
        name.eq_ignore_ascii_case("content-encoding")
            && value.split(',').any(|coding| is_coding(coding.trim_matches([' ', '\t'])))
    };
    response.headers().any(coded)
}

/// The OAuth error that an answer is, if it is one: a human sentence as `error`, HTML or nothing is none (RFC 6749 §5.2).
fn oauth_error(endpoint: Endpoint, response: &Response) -> Option<OAuthError> {
    if !matches!(response.status(), 400..=599) {
        return None;
    }
    let object = readable_object(response)?;
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

    /// Takes a measurement; true if it is worth a report: beyond the usual tolerance, and not reported before.
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
        f.debug_struct("HttpClient").field("issuer", &self.addresses.issuer().as_str()).finish_non_exhaustive()
    }
}

/// Seconds by which the clocks may differ without a report: the default tolerance of a resource server.
const NOTEWORTHY_SKEW: u64 = 30;

/// The longest `error` that is taken for an OAuth error code; the registered ones have at most 25 characters.
const MAX_ERROR_CODE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuers_time_is_believed_over_https_and_from_this_machine_only() {
        for (url, authentic) in [
            ("https://acme.aero2.dev/x", true),
            ("http://127.0.0.1:8080/x", true),
            ("http://localhost/x", true),
            ("http://idp.internal/x", false),
            ("http://127.0.0.1.example/x", false),
        ] {
            assert_eq!(is_authentic(url), authentic, "{url}");
        }
    }

    #[test]
    fn an_empty_content_encoding_is_none() {
        for (value, compressed) in [
            ("", false),
            (" ", false),
            ("identity", false),
            ("Identity, ", false),
            ("gzip", true),
            ("identity, br", true),
        ] {
            let response = Response::new(200, [("Content-Encoding".into(), value.into())], Vec::new());
            assert_eq!(is_compressed(&response), compressed, "{value:?}");
        }
    }
}
