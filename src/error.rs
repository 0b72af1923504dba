//! The five kinds of error: whose fault it is, whether to try again, and what to answer over HTTP.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::config::ConfigRepr;
use crate::error::network::is_retryable_status;
use crate::secret::SecretFailure;

mod challenge;
mod clock;
mod config;
mod endpoint;
mod network;
mod oauth;
mod token;

pub use challenge::Challenge;
pub use clock::ClockError;
pub use config::{ConfigError, SnapshotProblem};
pub(crate) use config::{ConfigProblem, JwkProblem};
pub use endpoint::Endpoint;
pub(crate) use network::Detail;
pub use network::{NetworkError, NetworkErrorKind};
pub use oauth::OAuthError;
pub(crate) use token::Demands;
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
    /// The token was refused. Respond with [`http_status`](Self::http_status) (401 or 403) and the [`challenge`](Self::challenge).
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
    /// Whether the same call may succeed later by itself: after an outage, a limit, or the setting of the clock.
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

    /// The value of a `Retry-After` header (RFC 9110 §10.2.3) for your own response: [`retry_after`](Self::retry_after) in whole
    /// seconds, rounded up.
    pub fn retry_after_header(&self) -> Option<String> {
        let wait = self.retry_after()?;
        let begun = u64::from(wait.subsec_nanos() > 0);
        Some(wait.as_secs().saturating_add(begun).to_string())
    }

    /// The HTTP status with which a resource server should respond: 401 or 403 if the token was refused, 503 if it could not be
    /// judged, 500 if the server itself is configured wrongly or the issuer refuses it.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Token(e) => match e.kind() {
                TokenErrorKind::InsufficientScope | TokenErrorKind::InsufficientClaim => 403,
                _ => 401,
            },
            Self::OAuth(_) if self.is_retryable() => 503,
            Self::Network(_) | Self::Clock(_) => 503,
            Self::OAuth(_) | Self::Config(_) => 500,
        }
    }

    /// The `WWW-Authenticate` challenge of a refused token (RFC 6750 §3), to which you can add a realm, scopes and the URL of your
    /// metadata. If the request had no token, the challenge has no error code (§3.1).
    ///
    /// An error that is no refusal of a token gives the challenge of a request without a token; send it with status 401 only.
    pub fn challenge(&self) -> Challenge {
        Challenge::new(match self {
            Self::Token(e) => Some(e),
            _ => None,
        })
    }

    /// The [`challenge`](Self::challenge) as the value of the `WWW-Authenticate` header that goes with
    /// [`http_status`](Self::http_status); `None` unless a token was refused.
    pub fn www_authenticate(&self, realm: Option<&str>) -> Option<String> {
        let Self::Token(_) = self else { return None };
        let challenge = self.challenge();
        Some(realm.map_or(challenge.clone(), |realm| challenge.realm(realm)).to_string())
    }

    /// Why the token was refused; `None` for any other error.
    pub fn token_kind(&self) -> Option<TokenErrorKind> {
        match self {
            Self::Token(e) => Some(e.kind()),
            _ => None,
        }
    }

    /// What went wrong between your program and the issuer; `None` for any other error.
    pub fn network_kind(&self) -> Option<NetworkErrorKind> {
        match self {
            Self::Network(e) => Some(e.kind()),
            _ => None,
        }
    }

    pub(crate) fn token(kind: TokenErrorKind) -> Self {
        Self::Token(TokenError::new(kind))
    }

    /// A token that lacks a scope, with the scopes that the challenge should name.
    pub(crate) fn insufficient_scope(required: &[String]) -> Self {
        let demands = Demands { scope: Some(required.join(" ")), ..Demands::default() };
        Self::refused(TokenErrorKind::InsufficientScope, demands)
    }

    /// A refused token, with what the challenge should say of it.
    pub(crate) fn refused(kind: TokenErrorKind, demands: Demands) -> Self {
        Self::Token(TokenError::new(kind).with_demands(demands))
    }

    /// Adds the URL of the resource server's metadata to the challenge of a refused token (RFC 9728 §5.1).
    pub(crate) fn with_resource_metadata(self, url: &Arc<str>) -> Self {
        match self {
            Self::Token(e) => {
                let demands = e.demands().cloned().unwrap_or_default();
                Self::Token(e.with_demands(Demands { resource_metadata: Some(Arc::clone(url)), ..demands }))
            }
            other => other,
        }
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
        Self::Clock(ClockError::new(None))
    }

    /// Names the issuer's host in the message, unless one is named: the request knows it better than its caller.
    pub(crate) fn with_host(self, host: &str) -> Self {
        match self {
            Self::Network(e) => Self::Network(e.with_host(host)),
            Self::OAuth(e) => Self::OAuth(e.with_host(host)),
            Self::Clock(e) => Self::Clock(e.with_host(host)),
            Self::Token(_) | Self::Config(_) => self,
        }
    }

    /// Names the client whose request it was, and how it authenticated (RFC 7591 §2).
    pub(crate) fn with_client(self, client_id: &str, auth_method: Option<&'static str>) -> Self {
        match self {
            Self::Network(e) => Self::Network(e.with_client(client_id)),
            Self::OAuth(e) => Self::OAuth(e.with_client(client_id, auth_method)),
            Self::Clock(e) => Self::Clock(e.with_client(client_id)),
            Self::Token(_) | Self::Config(_) => self,
        }
    }

    /// A transport called back into the issuer that it serves. This concerns only its own thread: it says nothing about the issuer, and the
    /// error is not shared.
    pub(crate) fn is_reentrant(&self) -> bool {
        matches!(self, Self::Network(e) if e.kind() == NetworkErrorKind::Reentrant)
    }

    pub(crate) fn maybe_retry_after(self, asked: Option<Duration>) -> Self {
        match asked {
            Some(wait) => self.with_retry_after(wait),
            None => self,
        }
    }

    /// The same error for a later caller: with what is left of the wait.
    pub(crate) fn with_retry_after(self, wait: Duration) -> Self {
        match self {
            Self::Network(e) => Self::Network(e.with_retry_after(Some(wait))),
            Self::OAuth(e) => Self::OAuth(e.with_retry_after(wait)),
            other => other,
        }
    }
}

/// A refusal of that kind, for tests of your own error handling.
impl From<TokenErrorKind> for Error {
    fn from(kind: TokenErrorKind) -> Self {
        Self::token(kind)
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
            Self::Clock(e) => e.source(),
            Self::Token(_) | Self::OAuth(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_error_is_at_most_two_words() {
        assert!(size_of::<Error>() <= 2 * size_of::<usize>());
    }

    #[test]
    fn a_refused_token_s_message_says_no_more_than_its_challenge() {
        for kind in TokenErrorKind::ALL.iter().copied() {
            let (message, status) = match kind {
                TokenErrorKind::MissingToken => ("missing token", 401),
                TokenErrorKind::InsufficientScope | TokenErrorKind::InsufficientClaim => ("insufficient scope", 403),
                TokenErrorKind::InsufficientAuthentication => ("insufficient user authentication", 401),
                _ => ("invalid token", 401),
            };
            let error = Error::from(kind);
            assert_eq!((error.to_string().as_str(), error.http_status()), (message, status), "{kind:?}");
            assert_eq!((error.token_kind(), error.network_kind()), (Some(kind), None));
        }
    }

    #[test]
    fn the_words_and_the_label_of_a_kind_are_its_name() {
        for kind in TokenErrorKind::ALL {
            let mut label = String::new();
            for c in format!("{kind:?}").chars() {
                if c.is_uppercase() && !label.is_empty() {
                    label.push('_');
                }
                label.push(c.to_ascii_lowercase());
            }
            assert_eq!(kind.as_str(), label);
            assert_eq!(kind.to_string(), label.replace('_', " "));
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
            (NetworkErrorKind::KeysNotCached, "key set: the key is not cached, and this call may not fetch any"),
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
            (Detail::EndpointUrl, "the discovery document names a URL that must not be used for it"),
        ];
        for (detail, message) in details {
            let expected = format!("token endpoint: the answer is invalid: {message}");
            assert_eq!(Error::invalid_response(Endpoint::Token, detail).to_string(), expected);
        }
    }

    #[test]
    fn a_message_names_the_host_and_the_client_and_on_demand_the_causes() {
        let cause = io::Error::new(io::ErrorKind::ConnectionRefused, "refused\r\nlog: line");
        let error = NetworkError::new(NetworkErrorKind::Connect, Endpoint::Token).with_source(Some(Arc::new(cause)));
        let error = Error::Network(error).with_host("acme.aero2.dev").with_client("svc\n1", None);
        let message = "token endpoint of acme.aero2.dev for client svc 1: no connection can be made";
        assert_eq!(error.to_string(), message);
        let full = format!("{message}: refused  log: line");
        assert_eq!(format!("{error:#}"), full);
        assert!(format!("{error:?}").contains(&full));
        assert_eq!(error.clone().with_host("other").with_client("other", None).to_string(), message);
        assert_eq!(error.with_retry_after(Duration::from_secs(1)).to_string(), message);

        let keys =
            Error::network(NetworkErrorKind::Io, Endpoint::Keys).with_client("svc", None).with_host("[::1]:8080");
        assert_eq!(keys.to_string(), "key set of [::1]:8080: the connection broke");
        let clock = Error::clock().with_host("a.example").with_client("svc", None).to_string();
        assert!(clock.contains("certificate of a.example for client svc can be judged"), "{clock}");
        let config = Error::config_with_source(ConfigProblem::SecretFile, Arc::new(io::Error::other("gone")));
        for shown in [format!("{config:#}"), format!("{config:?}")] {
            assert!(shown.contains("check its path and permissions: gone"), "{shown}");
        }
    }

    #[test]
    fn a_refused_client_reads_how_it_authenticated_and_by_what_else_it_could() {
        let error = Error::OAuth(OAuthError::new(Endpoint::Token, "invalid_client", None, None, 401));
        let error = error.with_host("acme.aero2.dev").with_client("svc", Some("client_secret_basic"));
        let message = "token endpoint of acme.aero2.dev for client svc: the issuer refused the request with invalid_client (status 401); \
                       client_secret_basic was used: check the client's id and secret or key, and whether the issuer expects \
                       client_secret_post or client_secret_basic";
        assert_eq!(error.to_string(), message);
        let scope = Error::OAuth(OAuthError::new(Endpoint::Token, "invalid_scope", None, None, 400));
        let scope = scope.with_client("svc", Some("client_secret_post")).to_string();
        let message = "token endpoint for client svc: the issuer refused the request with invalid_scope (status 400)";
        assert_eq!(scope, message);
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
        let problems = every_config_problem().into_iter().chain(every_problem_of_addresses());
        let messages: Vec<String> = problems.map(|problem| problem.to_string()).collect();
        assert_eq!(messages.join("\n"), pinned.trim_end());
    }

    /// Of [`IssuerBuilder`](crate::IssuerBuilder).
    fn every_problem_of_addresses() -> [ConfigProblem; 5] {
        [
            ConfigProblem::Address("keys_url"),
            ConfigProblem::ReachAt,
            ConfigProblem::ReachAtPlainHttp,
            ConfigProblem::EmptyTokenIssuer,
            ConfigProblem::KeySources,
        ]
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
            ConfigProblem::Algorithm,
            ConfigProblem::Scope,
            ConfigProblem::ScopeList,
            ConfigProblem::NoValues("any_scope"),
            ConfigProblem::Pointer("roles".into()),
            ConfigProblem::AcrValue,
            ConfigProblem::ResourceUrl,
            ConfigProblem::SenderCertificate,
            ConfigProblem::NoIssuers,
            ConfigProblem::DuplicateIssuer,
            ConfigProblem::EmptyClientId,
            ConfigProblem::EmptySecret,
            ConfigProblem::SecretCharacter,
            ConfigProblem::KeyAsSecret,
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
            ConfigProblem::NoUsableKey,
            ConfigProblem::Snapshot(SnapshotProblem::Malformed),
            ConfigProblem::Snapshot(SnapshotProblem::Version),
            ConfigProblem::Snapshot(SnapshotProblem::OtherIssuer),
            ConfigProblem::Snapshot(SnapshotProblem::TooOld),
            ConfigProblem::Snapshot(SnapshotProblem::File),
            ConfigProblem::RootCertificates,
            ConfigProblem::ClientCertificate,
            ConfigProblem::ProxyUrl,
            ConfigProblem::ProxyKind("proxy.example:1080".into()),
            ConfigProblem::ProxyVariable { variable: "ALL_PROXY", place: Some("proxy.example:1080".into()) },
            ConfigProblem::ProxyVariable { variable: "HTTPS_PROXY", place: None },
            ConfigProblem::UserAgent,
        ];
        all.extend(every_jwk_problem().map(ConfigProblem::Jwk));
        all
    }

    fn every_jwk_problem() -> [JwkProblem; 9] {
        [
            JwkProblem::NotAnObject,
            JwkProblem::Member("n"),
            JwkProblem::Private,
            JwkProblem::Symmetric,
            JwkProblem::Unsupported,
            JwkProblem::NotForVerification,
            JwkProblem::Size,
            JwkProblem::Coordinates,
            JwkProblem::TooMany,
        ]
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
        assert_eq!(
            Error::OAuth(OAuthError::new(Endpoint::Token, "invalid_client", None, None, 401)).http_status(),
            500
        );
        assert_eq!(
            Error::OAuth(OAuthError::new(Endpoint::Token, "temporarily_unavailable", None, None, 503)).http_status(),
            503
        );
    }

    #[test]
    fn a_demand_for_better_authentication_stands_in_the_challenge() {
        let demands = Demands {
            acr_values: Some("urn:mfa urn:hw".into()),
            max_age: Some(Duration::from_millis(300_900)),
            ..Demands::default()
        };
        let error = Error::refused(TokenErrorKind::InsufficientAuthentication, demands);
        let challenge = r#"Bearer realm="api", error="insufficient_user_authentication", acr_values="urn:mfa urn:hw", max_age="300""#;
        assert_eq!(error.www_authenticate(Some("api")).unwrap(), challenge);
        let claim =
            Error::from(TokenErrorKind::InsufficientClaim).with_resource_metadata(&"https://a.example/m".into());
        let challenge = r#"Bearer error="insufficient_scope", resource_metadata="https://a.example/m""#;
        assert_eq!(claim.challenge().to_string(), challenge);
    }

    #[test]
    fn the_header_for_a_wait_is_whole_seconds_rounded_up() {
        for (wait, header) in [(0, "0"), (1, "1"), (999, "1"), (1_000, "1"), (1_001, "2"), (59_500, "60")] {
            let error = Error::network(NetworkErrorKind::Io, Endpoint::Keys);
            assert_eq!(error.retry_after_header(), None);
            let error = error.with_retry_after(Duration::from_millis(wait));
            assert_eq!(error.retry_after_header().as_deref(), Some(header), "{wait} ms");
        }
    }

    #[test]
    fn no_value_breaks_out_of_its_quotes() {
        let missing = Error::token(TokenErrorKind::MissingToken);
        let evil = "a\"b\\c\r\nSet-Cookie: x\u{e9}";
        assert_eq!(missing.www_authenticate(Some(evil)).unwrap(), r#"Bearer realm="abcSet-Cookie: x""#);
        let challenge = missing.challenge().resource_metadata(evil).scope(evil).realm("");
        let expected = r#"Bearer realm="", scope="abcSet-Cookie: x", resource_metadata="abcSet-Cookie: x""#;
        assert_eq!(challenge.to_string(), expected);
        assert_eq!(missing.challenge().scope("\r\n").to_string(), "Bearer");
    }

    #[test]
    fn what_may_succeed_later_is_retryable() {
        for (status, retryable) in [(400, false), (401, false), (404, false), (408, true), (425, true), (429, true)] {
            assert_eq!(Error::network(NetworkErrorKind::Status(status), Endpoint::Keys).is_retryable(), retryable);
            let oauth = Error::OAuth(OAuthError::new(Endpoint::Token, "x", None, None, status));
            assert_eq!(oauth.is_retryable(), retryable, "{status}");
        }
        for (status, retryable) in [(499, false), (500, true), (503, true), (599, true), (600, false), (302, false)] {
            assert_eq!(Error::network(NetworkErrorKind::Status(status), Endpoint::Keys).is_retryable(), retryable);
        }
        use NetworkErrorKind as Kind;
        for kind in [Kind::Dns, Kind::Connect, Kind::Timeout, Kind::Io, Kind::RateLimited, Kind::KeysNotCached] {
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
        let error =
            Error::OAuth(OAuthError::new(Endpoint::Token, "my_code", Some(&long), Some("https://e.example"), 400));
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
        let registered = OAuthError::new(Endpoint::Token, "invalid_client", None, None, 401);
        assert_eq!(
            registered.to_string(),
            "token endpoint: the issuer refused the request with invalid_client (status 401)"
        );
    }

    #[test]
    fn the_clock_error_says_what_to_do() {
        let message = "the wall clock is not set (it is before 2026 or before the snapshot), so no token or certificate can be judged; set it, for example by NTP";
        assert_eq!(Error::clock().to_string(), message);
    }
}
