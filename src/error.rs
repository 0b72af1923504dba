//! The five kinds of error: whose fault it is, whether to try again, and what to answer over HTTP.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::config::ConfigRepr;
use crate::error::network::is_retryable_status;
use crate::secret::SecretFailure;

mod config;
mod network;
mod oauth;
mod token;

pub use config::{ConfigError, SnapshotProblem};
pub(crate) use config::{ConfigProblem, JwkProblem};
pub(crate) use network::{Detail, Endpoint};
pub use network::{NetworkError, NetworkErrorKind};
pub use oauth::OAuthError;
pub use token::{TokenError, TokenErrorKind};

/// Everything that can go wrong. The variant tells you where: in the token, in the issuer's refusal, in the network, in your
/// configuration, or in the clock.
///
/// An error is cheap to clone and at most two machine words in size. No message, `Debug` output or [`source`](StdError::source)
/// ever contains a token, a secret or text from a response, so you can log errors as they are.
///
/// ```
/// use aero2::{Error, TokenErrorKind};
/// let test = aero2::testing::TestIssuer::new();
/// let rs = test.issuer().resource_server().audience("orders").build()?;
/// let err = rs.verify_token("not a token").unwrap_err();
/// match &err {
///     Error::Token(e) => assert_eq!(e.kind(), TokenErrorKind::Malformed),
///     other => panic!("{other}"),
/// }
/// assert_eq!(err.http_status(), 401);
/// assert_eq!(
///     err.www_authenticate(Some("orders")).unwrap(),
///     r#"Bearer realm="orders", error="invalid_token""#
/// );
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The token was refused. Respond with 401, or with 403 for [`TokenErrorKind::InsufficientScope`].
    Token(TokenError),
    /// The issuer answered with an OAuth error (RFC 6749 §5.2): the credentials, the grant or the scope of your client are wrong.
    OAuth(OAuthError),
    /// The issuer could not be reached, or did not give a usable answer. This says nothing about any token.
    Network(NetworkError),
    /// Your program is configured wrongly; the message says what to write instead.
    Config(ConfigError),
    /// This machine's wall clock is not set, so nothing is known about any token.
    Clock(ClockError),
}

impl Error {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Token(_) | Self::Config(_) => false,
            Self::OAuth(e) => is_retryable_status(e.status()),
            Self::Network(e) => e.kind().is_retryable(),
            Self::Clock(_) => true,
        }
    }

    /// How long to wait before trying again: what the issuer asked for with `Retry-After` (RFC 9110 §10.2.3, limited to between 1
    /// s and 5 min), or what remains of this crate's own back-off or budget.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::OAuth(e) => e.retry_after(),
            Self::Network(e) => e.retry_after(),
            _ => None,
        }
    }

    /// The HTTP status with which a resource server should respond: 401 or 403 if the token was refused, 503 if it could not be
    /// judged, 500 if the server itself is configured wrongly.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Token(e) if e.kind() == TokenErrorKind::InsufficientScope => 403,
            Self::Token(_) => 401,
            Self::Network(_) | Self::Clock(_) => 503,
            Self::OAuth(_) | Self::Config(_) => 500,
        }
    }

    /// The value of the `WWW-Authenticate` header that goes with [`http_status`](Self::http_status) (RFC 6750 §3); `None` unless
    /// a token was refused. If the request had no token, the challenge has no error code (§3.1).
    pub fn www_authenticate(&self, realm: Option<&str>) -> Option<String> {
        let Self::Token(e) = self else { return None };
        let realm = realm.map(|realm| format!("realm=\"{}\"", quotable(realm)));
        let code = match e.kind() {
            TokenErrorKind::MissingToken => None,
            TokenErrorKind::InsufficientScope => Some("error=\"insufficient_scope\"".to_owned()),
            _ => Some("error=\"invalid_token\"".to_owned()),
        };
        let scope = e.required_scopes.as_ref().map(|scopes| format!("scope=\"{}\"", quotable(scopes)));
        let parameters: Vec<String> = [realm, code, scope].into_iter().flatten().collect();
        Some(if parameters.is_empty() { "Bearer".to_owned() } else { format!("Bearer {}", parameters.join(", ")) })
    }

    pub(crate) fn token(kind: TokenErrorKind) -> Self {
        Self::Token(TokenError { kind, required_scopes: None })
    }

    /// A token that lacks a scope, with the scopes that the challenge should name.
    pub(crate) fn insufficient_scope(required: &[String]) -> Self {
        let scopes = Arc::new(required.join(" "));
        Self::Token(TokenError { kind: TokenErrorKind::InsufficientScope, required_scopes: Some(scopes) })
    }

    pub(crate) fn network(kind: NetworkErrorKind, endpoint: Endpoint) -> Self {
        Self::Network(NetworkError::new(kind, endpoint))
    }

    pub(crate) fn invalid_response(endpoint: Endpoint, detail: Detail) -> Self {
        Self::Network(NetworkError::new(NetworkErrorKind::InvalidResponse, endpoint).with_detail(detail))
    }

    pub(crate) fn config(problem: ConfigProblem) -> Self {
        Self::Config(ConfigError(Arc::new(ConfigRepr { problem, source: None })))
    }

    pub(crate) fn config_with_source(problem: ConfigProblem, source: Arc<dyn StdError + Send + Sync>) -> Self {
        Self::Config(ConfigError(Arc::new(ConfigRepr { problem, source: Some(source) })))
    }

    pub(crate) fn clock() -> Self {
        Self::Clock(ClockError(()))
    }

    /// A transport called back into the issuer that it serves. That is between the thread and itself: it says nothing of the issuer, and
    /// nothing to those who wait.
    pub(crate) fn is_reentrant(&self) -> bool {
        matches!(self, Self::Network(e) if e.kind() == NetworkErrorKind::Reentrant)
    }

    pub(crate) fn maybe_retry_after(self, asked: Option<Duration>) -> Self {
        match asked {
            Some(wait) => self.with_retry_after(wait),
            None => self,
        }
    }

    /// The same error, told to a caller who comes later: what is left of the wait takes the place of the wait.
    pub(crate) fn with_retry_after(self, wait: Duration) -> Self {
        match self {
            Self::Network(e) => Self::Network(e.with_retry_after(Some(wait))),
            Self::OAuth(e) => Self::OAuth(e.with_retry_after(wait)),
            other => other,
        }
    }
}

impl From<SecretFailure> for Error {
    fn from(failure: SecretFailure) -> Self {
        match failure {
            SecretFailure::Env { name, source } => {
                Self::config_with_source(ConfigProblem::SecretVariable(name.to_string()), Arc::new(source))
            }
            SecretFailure::File { source } => Self::config_with_source(ConfigProblem::SecretFile, Arc::new(source)),
            SecretFailure::Function(source) => Self::config_with_source(ConfigProblem::SecretFunction, source),
            SecretFailure::Empty => Self::config(ConfigProblem::EmptySecret),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(e) => e.fmt(f),
            Self::OAuth(e) => e.fmt(f),
            Self::Network(e) => e.fmt(f),
            Self::Config(e) => e.fmt(f),
            Self::Clock(e) => e.fmt(f),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Network(e) => e.source(),
            Self::Config(e) => e.source(),
            Self::Token(_) | Self::OAuth(_) | Self::Clock(_) => None,
        }
    }
}

/// This machine's wall clock is not set: it shows a time before 2026, or before the snapshot that the issuer started from.
#[derive(Clone)]
pub struct ClockError(());

impl fmt::Display for ClockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the wall clock is not set (it is before 2026 or before the snapshot), so no token can be judged; set it, for example by NTP",
        )
    }
}

impl fmt::Debug for ClockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClockError({:?})", self.to_string())
    }
}

impl StdError for ClockError {}

/// What may stand in a quoted-string without a backslash (RFC 9110 §5.6.4), so that no caller's realm breaks out of it.
fn quotable(text: &str) -> String {
    text.chars().filter(|c| matches!(c, ' '..='~') && *c != '"' && *c != '\\').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_at_most_two_words() {
        assert!(size_of::<Error>() <= 2 * size_of::<usize>());
    }

    #[test]
    fn every_refusal_of_a_token_but_two_reads_the_same() {
        let kinds = [
            (TokenErrorKind::MissingToken, "missing token"),
            (TokenErrorKind::TooLong, "invalid token"),
            (TokenErrorKind::Malformed, "invalid token"),
            (TokenErrorKind::UnsupportedAlgorithm, "invalid token"),
            (TokenErrorKind::CriticalHeader, "invalid token"),
            (TokenErrorKind::WrongType, "invalid token"),
            (TokenErrorKind::UnknownKey, "invalid token"),
            (TokenErrorKind::UnfitKey, "invalid token"),
            (TokenErrorKind::AmbiguousKey, "invalid token"),
            (TokenErrorKind::BadSignature, "invalid token"),
            (TokenErrorKind::InvalidClaim, "invalid token"),
            (TokenErrorKind::WrongIssuer, "invalid token"),
            (TokenErrorKind::Expired, "invalid token"),
            (TokenErrorKind::NotYetValid, "invalid token"),
            (TokenErrorKind::WrongAudience, "invalid token"),
            (TokenErrorKind::WrongTokenUse, "invalid token"),
            (TokenErrorKind::SenderConstrained, "invalid token"),
            (TokenErrorKind::InsufficientScope, "insufficient scope"),
        ];
        for (kind, message) in kinds {
            assert_eq!(Error::token(kind).to_string(), message, "{kind:?}");
        }
    }

    #[test]
    fn the_message_of_every_network_error_is_pinned() {
        let kinds = [
            (NetworkErrorKind::Dns, "key set: the host name cannot be resolved"),
            (NetworkErrorKind::Connect, "key set: no connection can be made"),
            (NetworkErrorKind::Tls, "key set: no trusted TLS connection can be made"),
            (NetworkErrorKind::Timeout, "key set: no complete answer arrived in time"),
            (NetworkErrorKind::Io, "key set: the connection broke"),
            (NetworkErrorKind::Status(502), "key set: status 502"),
            (NetworkErrorKind::InvalidResponse, "key set: the answer is invalid"),
            (NetworkErrorKind::TooLarge, "key set: the answer is too large"),
            (NetworkErrorKind::RateLimited, "key set: too many unknown key ids, so the issuer is not asked again yet"),
            (NetworkErrorKind::Status(302), "key set: status 302, a redirect, which is never followed"),
            (
                NetworkErrorKind::IssuerMismatch,
                "key set: it names another issuer than the configured one; configure the issuer exactly as it is written there",
            ),
            (NetworkErrorKind::Reentrant, "key set: the transport called back into the issuer that it serves"),
        ];
        for (kind, message) in kinds {
            assert_eq!(Error::network(kind, Endpoint::Keys).to_string(), message);
        }
        let wrong_url = Error::network(NetworkErrorKind::Status(404), Endpoint::Discovery);
        assert_eq!(wrong_url.to_string(), "discovery document: status 404; check the issuer URL");
    }

    #[test]
    fn every_endpoint_and_every_detail_has_its_words() {
        let endpoints = [
            (Endpoint::Discovery, "discovery document: the connection broke"),
            (Endpoint::Keys, "key set: the connection broke"),
            (Endpoint::Token, "token endpoint: the connection broke"),
            (Endpoint::Introspection, "introspection endpoint: the connection broke"),
            (Endpoint::Revocation, "revocation endpoint: the connection broke"),
        ];
        for (endpoint, message) in endpoints {
            assert_eq!(Error::network(NetworkErrorKind::Io, endpoint).to_string(), message);
        }
        let details = [
            (Detail::TrailingSlash, "they differ in a trailing slash only, so write it as the document does"),
            (Detail::Compressed, "it is compressed, which was not asked for"),
            (Detail::NotJson, "it is not a JSON object with unique member names"),
            (Detail::Member("jwks_uri"), "the member jwks_uri is missing or wrong"),
            (Detail::Claims, "a claim is of the wrong type or out of range"),
            (Detail::EndpointUrl, "the discovery document names a URL that must not be used for it"),
        ];
        for (detail, message) in details {
            let expected = format!("token endpoint: the answer is invalid: {message}");
            assert_eq!(Error::invalid_response(Endpoint::Token, detail).to_string(), expected);
        }
    }

    #[test]
    fn what_a_main_shows_of_an_error_that_it_returns_says_what_to_do() {
        for error in [Error::config(ConfigProblem::IssuerNotAbsolute), Error::clock()] {
            let (shown, message) = (format!("{error:?}"), error.to_string());
            assert!(shown.contains(&message), "{shown}");
        }
    }

    #[test]
    fn the_message_of_every_configuration_error_is_pinned() {
        let pinned = include_str!("../tests/data/config-messages.txt");
        let messages: Vec<String> = every_config_problem().iter().map(ToString::to_string).collect();
        assert_eq!(messages.join("\n"), pinned.trim_end());
    }

    fn every_config_problem() -> Vec<ConfigProblem> {
        let mut all = vec![
            ConfigProblem::IssuerNotAbsolute,
            ConfigProblem::IssuerScheme,
            ConfigProblem::IssuerPlainHttp,
            ConfigProblem::IssuerUserInfo,
            ConfigProblem::IssuerQuery,
            ConfigProblem::IssuerHost,
            ConfigProblem::IssuerCharacter,
            ConfigProblem::NoTransport,
            ConfigProblem::ZeroTimeout,
            ConfigProblem::EmptyAudienceList,
            ConfigProblem::EmptyAudience,
            ConfigProblem::EmptyAlgorithmList,
            ConfigProblem::Scope,
            ConfigProblem::SenderCertificate,
            ConfigProblem::NoIssuers,
            ConfigProblem::DuplicateIssuer,
            ConfigProblem::EmptyClientId,
            ConfigProblem::EmptySecret,
            ConfigProblem::SecretVariable("NAME".into()),
            ConfigProblem::SecretFile,
            ConfigProblem::SecretFunction,
            ConfigProblem::ClientKeyPem,
            ConfigProblem::ClientKeyKind,
            ConfigProblem::ClientKeyAlgorithm,
            ConfigProblem::NoRandomness,
            ConfigProblem::ReservedParameter("grant_type".into()),
            ConfigProblem::CacheCapacity,
            ConfigProblem::JwkSet,
            ConfigProblem::Snapshot(SnapshotProblem::Malformed),
            ConfigProblem::Snapshot(SnapshotProblem::Version),
            ConfigProblem::Snapshot(SnapshotProblem::OtherIssuer),
            ConfigProblem::Snapshot(SnapshotProblem::TooOld),
            ConfigProblem::Snapshot(SnapshotProblem::File),
            ConfigProblem::RootCertificates,
            ConfigProblem::ClientCertificate,
            ConfigProblem::ProxyUrl,
            ConfigProblem::UserAgent,
        ];
        let jwk = [
            JwkProblem::NotAnObject,
            JwkProblem::Member,
            JwkProblem::Private,
            JwkProblem::Symmetric,
            JwkProblem::Unsupported,
            JwkProblem::NotForVerification,
            JwkProblem::Size,
            JwkProblem::Coordinates,
        ];
        all.extend(jwk.map(ConfigProblem::Jwk));
        all
    }

    #[test]
    fn the_status_and_the_challenge_fit_the_error() {
        let missing = Error::token(TokenErrorKind::MissingToken);
        assert_eq!((missing.http_status(), missing.www_authenticate(None)), (401, Some("Bearer".into())));
        assert_eq!(missing.www_authenticate(Some("api")).unwrap(), r#"Bearer realm="api""#);

        let expired = Error::token(TokenErrorKind::Expired);
        assert_eq!(expired.http_status(), 401);
        assert_eq!(expired.www_authenticate(None).unwrap(), r#"Bearer error="invalid_token""#);

        let scope = Error::insufficient_scope(&["a:read".into(), "a:write".into()]);
        assert_eq!(scope.http_status(), 403);
        let challenge = r#"Bearer realm="api", error="insufficient_scope", scope="a:read a:write""#;
        assert_eq!(scope.www_authenticate(Some("api")).unwrap(), challenge);

        let down = Error::network(NetworkErrorKind::Connect, Endpoint::Keys);
        assert_eq!((down.http_status(), down.www_authenticate(Some("api"))), (503, None));
        assert_eq!((Error::clock().http_status(), Error::clock().is_retryable()), (503, true));
        assert_eq!(Error::config(ConfigProblem::EmptySecret).http_status(), 500);
        assert_eq!(Error::OAuth(OAuthError::new("invalid_client", None, None, 401)).http_status(), 500);
    }

    #[test]
    fn no_realm_breaks_out_of_its_quotes() {
        let missing = Error::token(TokenErrorKind::MissingToken);
        let challenge = missing.www_authenticate(Some("a\"b\\c\r\nSet-Cookie: x")).unwrap();
        assert_eq!(challenge, r#"Bearer realm="abcSet-Cookie: x""#);
    }

    #[test]
    fn what_may_succeed_later_is_retryable() {
        for (status, retryable) in [(400, false), (401, false), (404, false), (408, true), (425, true), (429, true)] {
            assert_eq!(Error::network(NetworkErrorKind::Status(status), Endpoint::Keys).is_retryable(), retryable);
            let oauth = Error::OAuth(OAuthError::new("x", None, None, status));
            assert_eq!(oauth.is_retryable(), retryable, "{status}");
        }
        for (status, retryable) in [(499, false), (500, true), (503, true), (599, true), (600, false), (302, false)] {
            assert_eq!(Error::network(NetworkErrorKind::Status(status), Endpoint::Keys).is_retryable(), retryable);
        }
        use NetworkErrorKind as Kind;
        for kind in [Kind::Dns, Kind::Connect, Kind::Timeout, Kind::Io, Kind::RateLimited] {
            assert!(Error::network(kind, Endpoint::Keys).is_retryable(), "{kind:?}");
        }
        for kind in [Kind::Tls, Kind::InvalidResponse, Kind::TooLarge, Kind::IssuerMismatch, Kind::Reentrant] {
            assert!(!Error::network(kind, Endpoint::Keys).is_retryable(), "{kind:?}");
        }
        assert!(!Error::token(TokenErrorKind::Expired).is_retryable());
        assert!(!Error::config(ConfigProblem::EmptySecret).is_retryable());
    }

    #[test]
    fn server_text_shows_in_its_accessor_only_and_is_bounded() {
        let long = format!("bad\r\n\u{1b}[31m{}", "x".repeat(1000));
        let error = Error::OAuth(OAuthError::new("my_code", Some(&long), Some("https://e.example"), 400));
        for shown in [error.to_string(), format!("{error:?}"), format!("{error:#?}")] {
            assert!(!shown.contains("xxx") && !shown.contains("my_code") && !shown.contains("e.example"), "{shown}");
        }
        let Error::OAuth(error) = error else { panic!() };
        let description = error.description().unwrap();
        assert_eq!(description.chars().count(), 256);
        assert!(!description.contains(char::is_control));
        assert_eq!(
            (error.error_code(), error.error_uri(), error.status()),
            ("my_code", Some("https://e.example"), 400)
        );
        let registered = OAuthError::new("invalid_client", None, None, 401);
        assert_eq!(registered.to_string(), "the issuer refused the request with invalid_client (status 401)");
    }

    #[test]
    fn the_clock_error_says_what_to_do() {
        let message = "the wall clock is not set (it is before 2026 or before the snapshot), so no token can be judged; set it, for example by NTP";
        assert_eq!(Error::clock().to_string(), message);
    }
}
