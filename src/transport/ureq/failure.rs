//! What went wrong, sorted: every error of ureq becomes one kind, with a source that holds no text of URL, request or response.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use crate::error::NetworkErrorKind;
use crate::transport::TransportError;
use crate::transport::ureq::tls_failure::TlsFailure;

/// What this transport's own connectors know better than ureq.
#[derive(Debug)]
pub(super) enum Failure {
    /// A reused connection ended before the first byte of an answer.
    Stale,
    Dns(io::Error),
    Connect(io::Error),
    Tls(TlsFailure),
    /// A header that HTTP cannot carry.
    Unsendable,
}

impl From<Failure> for ureq::Error {
    fn from(failure: Failure) -> Self {
        Self::Other(Box::new(failure))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stale => "the idle connection had ended",
            Self::Dns(_) => "the host name cannot be resolved",
            Self::Connect(_) => "no connection can be made",
            Self::Tls(_) => "the TLS connection cannot be made",
            Self::Unsendable => "the request has a URL or header that HTTP cannot carry",
        })
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
        ureq::Error::ConnectProxyFailed(_) => (Kind::Connect, "the proxy refused to connect"),
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
    let kind = match &failure {
        Failure::Stale | Failure::Unsendable => NetworkErrorKind::Io,
        Failure::Dns(_) => NetworkErrorKind::Dns,
        Failure::Connect(error) if error.kind() == io::ErrorKind::TimedOut => NetworkErrorKind::Timeout,
        Failure::Connect(_) => NetworkErrorKind::Connect,
        Failure::Tls(_) => NetworkErrorKind::Tls,
    };
    let error = TransportError::new(kind);
    match failure {
        Failure::Dns(source) => error.with_source(source),
        Failure::Connect(source) => error.with_source(bare(&source)),
        Failure::Tls(source) if source.is_about_certificate_dates() => {
            error.with_source(source).about_certificate_dates()
        }
        Failure::Tls(source) => error.with_source(source),
        failure @ Failure::Stale => error.with_source(failure).stale(),
        failure @ Failure::Unsendable => error.with_source(failure),
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
            (ureq::Error::ConnectProxyFailed(secret()), Kind::Connect),
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
