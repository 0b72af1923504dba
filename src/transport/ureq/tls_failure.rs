//! Why a TLS connection failed, in this crate's own words: rustls's errors contain text of the certificate.

use std::error::Error as StdError;
use std::fmt;

use rustls::{AlertDescription, CertificateError};

/// The reason for a failed TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsFailure {
    Certificate(CertificateFlaw),
    NoCertificate,
    /// The server refused, with this alert (RFC 8446 §6.2).
    Alert(AlertDescription),
    Incompatible,
    /// The server sent what TLS does not allow, or no TLS at all.
    Protocol,
    Configuration,
    /// No certificate can name the host.
    HostName,
    System,
}

/// What is wrong with the server's certificate (RFC 5280 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CertificateFlaw {
    Expired,
    NotYetValid,
    UnknownIssuer,
    OtherHost,
    Revoked,
    RevocationUnknown,
    Purpose,
    Signature,
    Malformed,
    Refused,
}

impl TlsFailure {
    /// Whether the dates of the certificate are all that is wrong, as far as it was looked at.
    pub(super) fn is_about_certificate_dates(self) -> bool {
        matches!(self, Self::Certificate(CertificateFlaw::Expired | CertificateFlaw::NotYetValid))
    }
}

impl From<&rustls::Error> for TlsFailure {
    fn from(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(flaw) => Self::Certificate(flaw.into()),
            rustls::Error::NoCertificatesPresented => Self::NoCertificate,
            rustls::Error::AlertReceived(alert) => Self::Alert(*alert),
            rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol => Self::Incompatible,
            rustls::Error::InvalidMessage(_)
            | rustls::Error::InappropriateMessage { .. }
            | rustls::Error::InappropriateHandshakeMessage { .. }
            | rustls::Error::PeerMisbehaved(_)
            | rustls::Error::PeerSentOversizedRecord
            | rustls::Error::DecryptError
            | rustls::Error::HandshakeNotComplete => Self::Protocol,
            rustls::Error::UnsupportedNameType => Self::HostName,
            rustls::Error::FailedToGetCurrentTime | rustls::Error::FailedToGetRandomBytes => Self::System,
            _ => Self::Configuration,
        }
    }
}

impl From<&CertificateError> for CertificateFlaw {
    fn from(error: &CertificateError) -> Self {
        use CertificateError as E;
        match error {
            E::Expired | E::ExpiredContext { .. } => Self::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => Self::NotYetValid,
            E::UnknownIssuer => Self::UnknownIssuer,
            E::NotValidForName | E::NotValidForNameContext { .. } => Self::OtherHost,
            E::Revoked => Self::Revoked,
            E::UnknownRevocationStatus
            | E::ExpiredRevocationList
            | E::ExpiredRevocationListContext { .. }
            | E::InvalidOcspResponse => Self::RevocationUnknown,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::Purpose,
            E::BadSignature
            | E::UnsupportedSignatureAlgorithmContext { .. }
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::Signature,
            E::BadEncoding | E::UnhandledCriticalExtension => Self::Malformed,
            _ => Self::Refused,
        }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate(flaw) => return flaw.fmt(f),
            Self::NoCertificate => "the server presented no certificate",
            Self::Alert(alert) => return write_alert(*alert, f),
            Self::Incompatible => "the server speaks neither TLS 1.3 nor TLS 1.2 with a cipher suite in common",
            Self::Protocol => "the server does not follow the TLS protocol; check the port",
            Self::Configuration => "the TLS configuration cannot be used",
            Self::HostName => "no certificate can name this host",
            Self::System => "the operating system provides no time or no randomness",
        })
    }
}

impl fmt::Display for CertificateFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the server's certificate has expired, or this machine's clock is ahead",
            Self::NotYetValid => "the server's certificate is not valid yet, or this machine's clock is behind",
            Self::UnknownIssuer => "the server's certificate was issued by an authority that is not trusted",
            Self::OtherHost => "the server's certificate is for another host",
            Self::Revoked => "the server's certificate was revoked",
            Self::RevocationUnknown => "it cannot be found out whether the server's certificate was revoked",
            Self::Purpose => "the server's certificate is not for TLS servers",
            Self::Signature => "the server's certificate has a signature that is wrong or of an unsupported kind",
            Self::Malformed => "the server's certificate is malformed",
            Self::Refused => "the server's certificate is not accepted",
        })
    }
}

fn write_alert(alert: AlertDescription, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(match alert {
        AlertDescription::CertificateRequired => "the server demands a client certificate",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA => "the server refused the client certificate",
        AlertDescription::AccessDenied => "the server denied access",
        AlertDescription::ProtocolVersion => "the server speaks neither TLS 1.3 nor TLS 1.2",
        AlertDescription::UnrecognisedName => "the server does not know this host name",
        other => return write!(f, "the server ended the TLS handshake with alert {}", u8::from(other)),
    })
}

impl StdError for TlsFailure {}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{ServerName, UnixTime};

    use super::*;

    #[test]
    fn no_text_of_a_certificate_is_shown() {
        let hostile = String::from("DnsName(\"hunter2\u{1b}[31m\r\n\")");
        for error in [
            rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                expected: ServerName::try_from("a.example").unwrap(),
                presented: vec![hostile.clone()],
            }),
            rustls::Error::General(hostile),
        ] {
            let failure = TlsFailure::from(&error);
            let shown = format!("{failure} {failure:?}");
            assert!(!shown.contains("hunter2") && !shown.chars().any(char::is_control), "{shown}");
        }
    }

    #[test]
    fn dates_are_told_from_every_other_flaw() {
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1));
        for (flaw, dates) in [
            (CertificateError::Expired, true),
            (CertificateError::ExpiredContext { time, not_after: time }, true),
            (CertificateError::NotValidYet, true),
            (CertificateError::NotValidYetContext { time, not_before: time }, true),
            (CertificateError::ExpiredRevocationList, false),
            (CertificateError::UnknownIssuer, false),
            (CertificateError::NotValidForName, false),
            (CertificateError::ApplicationVerificationFailure, false),
        ] {
            let failure = TlsFailure::from(&rustls::Error::InvalidCertificate(flaw));
            assert_eq!(failure.is_about_certificate_dates(), dates, "{failure}");
        }
        let refused = rustls::Error::AlertReceived(AlertDescription::CertificateExpired);
        assert!(!TlsFailure::from(&refused).is_about_certificate_dates());
    }

    #[test]
    fn every_reason_is_one_lowercase_sentence() {
        let alerts = [42, 46, 49, 70, 112, 116, 120, 255].map(|code| TlsFailure::Alert(AlertDescription::from(code)));
        let reasons = [
            TlsFailure::NoCertificate,
            TlsFailure::Incompatible,
            TlsFailure::Protocol,
            TlsFailure::Configuration,
            TlsFailure::HostName,
            TlsFailure::System,
        ];
        for reason in alerts.into_iter().chain(reasons) {
            let text = reason.to_string();
            assert!(text.starts_with(|c: char| c.is_lowercase()) && !text.ends_with('.'), "{text}");
        }
        assert!(alerts[7].to_string().ends_with("alert 255"));
    }
}
