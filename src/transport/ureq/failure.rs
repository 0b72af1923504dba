//! What went wrong, sorted: every error of ureq becomes one kind, with a source that holds no text of URL, request or response.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::error::{ConfigError, NetworkErrorKind};
use crate::transport::TransportError;
use crate::transport::ureq::tls_failure::TlsFailure;

/// What this transport's own connectors know better than ureq.
#[derive(Debug)]
pub(super) enum Failure {
    /// A reused connection ended before the first byte of an answer.
    Stale,
    Dns(Arc<io::Error>),
    Connect(io::Error),
    Tls(TlsFailure),
    /// Something between here and the proxy's readiness.
    Proxy(ProxyFailure),
    /// The proxy refused to connect, with this status.
    ProxyStatus(u16),
    /// The proxy ended the connection without an answer.
    ProxyEnded,
    /// The answer does not begin like HTTP/1.1.
    NotHttp,
    /// The transport is not configured for this request.
    Config(ConfigError),
    /// A header that HTTP cannot carry.
    Unsendable,
}

/// A failure on the way through a proxy.
#[derive(Debug)]
pub(super) struct ProxyFailure {
    /// Host and port of the proxy.
    pub(super) place: String,
    pub(super) error: Box<ureq::Error>,
}

impl From<Failure> for ureq::Error {
    fn from(failure: Failure) -> Self {
        Self::Other(Box::new(failure))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Stale => "the idle connection had ended",
            Self::Dns(_) => "the host name cannot be resolved",
            Self::Connect(_) => "no connection can be made",
            Self::Tls(_) => "the TLS connection cannot be made",
            Self::Proxy(_) => "no connection can be made through the proxy",
            Self::ProxyStatus(407) => "the proxy demands other credentials (status 407)",
            Self::ProxyStatus(status) => return write!(f, "the proxy refused to connect (status {status})"),
            Self::ProxyEnded => "the proxy ended the connection without an answer",
            Self::NotHttp => "the answer is not HTTP/1.1",
            Self::Unsendable => "the request has a URL or header that HTTP cannot carry",
            Self::Config(_) => "the transport is not configured for this request",
        };
        f.write_str(text)
    }
}

impl StdError for Failure {}

pub(super) fn is_stale(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Other(inner) if matches!(inner.downcast_ref(), Some(Failure::Stale)))
}

pub(super) fn unsendable() -> ureq::Error {
    Failure::Unsendable.into()
}

/// Whether the peer has gone away, as opposed to a time-out or a failure on this side.
pub(super) fn is_disconnect(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
    )
}

pub(super) fn transport_error(error: ureq::Error) -> TransportError {
    use NetworkErrorKind as Kind;
    let (kind, cause) = match error {
        ureq::Error::Other(inner) => match inner.downcast::<Failure>() {
            Ok(failure) => return own(*failure),
            Err(_) => (Kind::Io, "the exchange failed"),
        },
        ureq::Error::Io(error) => return io_error(&error),
        ureq::Error::Timeout(_) => return TransportError::new(Kind::Timeout),
        ureq::Error::HostNotFound => (Kind::Dns, "the host has no address"),
        ureq::Error::ConnectionFailed => (Kind::Connect, "no connection can be made"),
        ureq::Error::Tls(_) | ureq::Error::TlsRequired => (Kind::Tls, "the TLS connection cannot be made"),
        ureq::Error::LargeResponseHeader(..) => (Kind::TooLarge, "the headers are beyond the limit"),
        ureq::Error::BodyExceedsLimit(_) => (Kind::TooLarge, "the body is beyond the limit"),
        // The type of the inner error is not exported; the fault table of the tests holds this text.
        ureq::Error::Protocol(error) if error.to_string() == "http parse resulted in too many headers" => {
            (Kind::TooLarge, "the headers are beyond the limit")
        }
        ureq::Error::Protocol(_) => (Kind::Io, "the answer is not HTTP/1.1"),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => return own(Failure::Unsendable),
        _ => (Kind::Io, "the exchange failed"),
    };
    TransportError::new(kind).with_source(Cause(cause))
}

fn own(failure: Failure) -> TransportError {
    use NetworkErrorKind as Kind;
    match failure {
        Failure::Config(error) => error.into(),
        Failure::Proxy(ProxyFailure { place, error }) => through_proxy(place, transport_error(*error)),
        Failure::Dns(source) => TransportError::new(Kind::Dns).with_source(source),
        Failure::Connect(error) if error.kind() == io::ErrorKind::TimedOut => TransportError::new(Kind::Timeout),
        Failure::Connect(source) => TransportError::new(Kind::Connect).with_source(bare(&source)),
        Failure::Tls(source) => {
            let error = TransportError::new(Kind::Tls).with_source(source);
            if source.is_about_certificate_dates() { error.about_certificate_dates() } else { error }
        }
        Failure::Stale => TransportError::new(Kind::Io).with_source(failure).stale(),
        Failure::ProxyStatus(_) | Failure::ProxyEnded => TransportError::new(Kind::Connect).with_source(failure),
        Failure::NotHttp | Failure::Unsendable => TransportError::new(Kind::Io).with_source(failure),
    }
}

fn through_proxy(place: String, error: TransportError) -> TransportError {
    let dates = error.is_about_certificate_dates();
    let (kind, source) = error.into_parts();
    let error = TransportError::new(kind).with_source(ThroughProxy { place, source });
    if dates { error.about_certificate_dates() } else { error }
}

/// Names the proxy above the cause.
#[derive(Debug)]
struct ThroughProxy {
    place: String,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl fmt::Display for ThroughProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection through the proxy {}", self.place)
    }
}

impl StdError for ThroughProxy {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| -> &(dyn StdError + 'static) { source })
    }
}

/// rustls hands its errors through `io::Error`, after the handshake too: a TLS 1.3 server refuses a client certificate that late.
fn io_error(error: &io::Error) -> TransportError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => own(Failure::Tls(tls.into())),
        None => TransportError::from(bare(error)),
    }
}

/// The error without whatever text it was made with.
fn bare(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::from(error.kind()), io::Error::from_raw_os_error)
}

/// A cause in this crate's own words.
#[derive(Debug)]
struct Cause(&'static str);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl StdError for Cause {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_becomes_its_kind_and_shows_no_foreign_text() {
        use NetworkErrorKind as Kind;
        let secret = || String::from("hunter2");
        let io = |kind| io::Error::new(kind, "hunter2");
        for (error, kind) in [
            (ureq::Error::BadUri(secret()), Kind::Io),
            (Failure::ProxyStatus(407).into(), Kind::Connect),
            (Failure::ProxyEnded.into(), Kind::Connect),
            (Failure::NotHttp.into(), Kind::Io),
            (
                Failure::Proxy(ProxyFailure {
                    place: "proxy:3128".to_owned(),
                    error: Box::new(io(io::ErrorKind::BrokenPipe).into()),
                })
                .into(),
                Kind::Io,
            ),
            (ureq::Error::ConnectionFailed, Kind::Connect),
            (ureq::Error::RequireHttpsOnly(secret()), Kind::Io),
            (ureq::Error::HostNotFound, Kind::Dns),
            (ureq::Error::Timeout(ureq::Timeout::Connect), Kind::Timeout),
            (ureq::Error::Timeout(ureq::Timeout::Global), Kind::Timeout),
            (ureq::Error::Tls("x"), Kind::Tls),
            (ureq::Error::TlsRequired, Kind::Tls),
            (ureq::Error::LargeResponseHeader(2, 1), Kind::TooLarge),
            (ureq::Error::BodyExceedsLimit(1), Kind::TooLarge),
            (ureq::Error::Io(io(io::ErrorKind::ConnectionReset)), Kind::Io),
            (ureq::Error::Io(io(io::ErrorKind::TimedOut)), Kind::Timeout),
            (ureq::Error::Io(io::Error::other(rustls::Error::HandshakeNotComplete)), Kind::Tls),
            (ureq::Error::Other("hunter2".into()), Kind::Io),
            (Failure::Stale.into(), Kind::Io),
            (Failure::Connect(io(io::ErrorKind::ConnectionRefused)).into(), Kind::Connect),
            (Failure::Connect(io(io::ErrorKind::TimedOut)).into(), Kind::Timeout),
            (Failure::Tls(TlsFailure::Protocol).into(), Kind::Tls),
            (Failure::Unsendable.into(), Kind::Io),
        ] {
            let name = format!("{error:?}");
            let error = transport_error(error);
            assert_eq!(error.kind(), kind, "{name}");
            let source = error.source().map(|source| format!("{source} {source:?}")).unwrap_or_default();
            assert!(!source.contains("hunter2"), "{name}: {source}");
        }
    }
}
