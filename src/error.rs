//! The five kinds of error: whose fault it is, whether to try again, and what to answer over HTTP.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::secret::SecretFailure;

/// Any failure of this crate. The variant answers the first question: is it the token, the issuer's refusal, the network, the
/// configuration, or the clock?
///
/// An error is cheap to clone (one failed request fails every caller that waited for it) and at most two words long. No message,
/// `Debug` output or [`source`](StdError::source) ever holds a token, a secret or text of a response.
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
    /// The token was refused. Answer 401, or 403 for [`TokenErrorKind::InsufficientScope`].
    Token(TokenError),
    /// The issuer answered with an OAuth error (RFC 6749 §5.2): credentials, grant or scope of this client are wrong.
    OAuth(OAuthError),
    /// Keys, a token or an answer could not be had from the issuer. Says nothing about any token.
    Network(NetworkError),
    /// This program is configured wrongly; the message says what to write instead.
    Config(ConfigError),
    /// The wall clock of this machine is not set, so nothing can be said about any token.
    Clock(ClockError),
}

impl Error {
    /// Whether the same call may succeed later without a change by a human.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Token(_) | Self::Config(_) => false,
            Self::OAuth(e) => is_retryable_status(e.status()),
            Self::Network(e) => e.kind().is_retryable(),
            Self::Clock(_) => true,
        }
    }

    /// How long to wait before the same call can do better: what the issuer asked for by `Retry-After` (RFC 9110 §10.2.3, clamped
    /// to 1 s … 5 min), or what is left of this crate's own back-off or budget.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::OAuth(e) => e.0.retry_after,
            Self::Network(e) => e.0.retry_after,
            _ => None,
        }
    }

    /// The status that a resource server should answer with: 401 or 403 for a refused token, 503 where the token could not be
    /// judged, 500 where this server is set up wrongly.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Token(e) if e.kind() == TokenErrorKind::InsufficientScope => 403,
            Self::Token(_) => 401,
            Self::Network(_) | Self::Clock(_) => 503,
            Self::OAuth(_) | Self::Config(_) => 500,
        }
    }

    /// The value of the `WWW-Authenticate` header that belongs to [`http_status`](Self::http_status) (RFC 6750 §3); `None` unless
    /// a token was refused. A request without a token gets the bare challenge, without an error code (§3.1).
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
            Self::OAuth(e) => {
                Self::OAuth(OAuthError(Arc::new(OAuthRepr { retry_after: Some(wait), ..(*e.0).clone() })))
            }
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

/// A refused token. Its message is the same for every refusal but two, so that it can be shown to whoever sent the token;
/// [`kind`](Self::kind) is for logs and metrics.
#[derive(Clone)]
pub struct TokenError {
    kind: TokenErrorKind,
    required_scopes: Option<Arc<String>>,
}

impl TokenError {
    /// What was wrong, for logs, metrics and tests. Do not show it to whoever sent the token.
    pub fn kind(&self) -> TokenErrorKind {
        self.kind
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl fmt::Debug for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenError").field(&self.kind).finish()
    }
}

impl StdError for TokenError {}

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenErrorKind {
    /// No `Authorization` header, or one of another scheme than `Bearer`.
    MissingToken,
    /// Longer than the resource server's limit.
    TooLong,
    /// Not three parts of canonical base64url (RFC 7515 §7.1), or header or claims are no JSON object without duplicate members.
    Malformed,
    /// `alg` is none that this resource server takes.
    UnsupportedAlgorithm,
    /// The header has `crit` (RFC 7515 §4.1.11).
    CriticalHeader,
    /// `typ` names another kind of JWT (RFC 8725 §3.11).
    WrongType,
    /// No key of the issuer bears the token's `kid`.
    UnknownKey,
    /// The key is not for the token's `alg` (RFC 8725 §3.1).
    UnfitKey,
    /// The token has no `kid` and several keys would fit.
    AmbiguousKey,
    /// The signature is not of the issuer's key.
    BadSignature,
    /// A claim is missing, of the wrong JSON type or out of range.
    InvalidClaim,
    /// `iss` is another issuer (RFC 7519 §4.1.1).
    WrongIssuer,
    /// `exp` has passed (RFC 7519 §4.1.4).
    Expired,
    /// `nbf` or `iat` lies ahead (RFC 7519 §4.1.5, §4.1.6).
    NotYetValid,
    /// `aud` names none of the expected audiences (RFC 7519 §4.1.3).
    WrongAudience,
    /// `token_use` is not `access`: an ID or session token, signed by the same keys.
    WrongTokenUse,
    /// The token is bound to a key of its sender (`cnf`), and the call did not show that it holds it; or it is not bound, and must be
    /// (see [`SenderConstrained`](crate::SenderConstrained)).
    SenderConstrained,
    /// A required scope is missing (RFC 6750 §3.1).
    InsufficientScope,
}

impl fmt::Display for TokenErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MissingToken => "missing token",
            Self::InsufficientScope => "insufficient scope",
            _ => "invalid token",
        })
    }
}

/// The issuer refused the request with an OAuth error (RFC 6749 §5.2).
#[derive(Clone)]
pub struct OAuthError(Arc<OAuthRepr>);

#[derive(Clone)]
struct OAuthRepr {
    code: String,
    description: Option<String>,
    uri: Option<String>,
    status: u16,
    retry_after: Option<Duration>,
}

impl OAuthError {
    /// Texts of the server as they came; the bounds are put on here.
    pub(crate) fn new(code: &str, description: Option<&str>, uri: Option<&str>, status: u16) -> Self {
        let (description, uri) = (description.map(bounded), uri.map(bounded));
        Self(Arc::new(OAuthRepr { code: code.to_owned(), description, uri, status, retry_after: None }))
    }

    /// The `error` code, such as `invalid_client`: 1–64 characters of `[a-z0-9_.-]`.
    pub fn error_code(&self) -> &str {
        &self.0.code
    }

    /// The server's `error_description`, at most 256 characters and without control characters. Text of the server: for a log that
    /// may hold such, not for users.
    pub fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// The server's `error_uri`, bounded like the description.
    pub fn error_uri(&self) -> Option<&str> {
        self.0.uri.as_deref()
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    fn registered_code(&self) -> Option<&str> {
        REGISTERED_CODES.iter().find(|code| **code == self.0.code).copied()
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.registered_code() {
            Some(code) => write!(f, "the issuer refused the request with {code} (status {})", self.0.status),
            None => write!(f, "the issuer refused the request (status {})", self.0.status),
        }
    }
}

impl fmt::Debug for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.registered_code().unwrap_or("(not registered)");
        f.debug_struct("OAuthError").field("error_code", &code).field("status", &self.0.status).finish_non_exhaustive()
    }
}

impl StdError for OAuthError {}

/// No usable answer could be had from the issuer.
#[derive(Clone)]
pub struct NetworkError(Arc<NetworkRepr>);

#[derive(Clone)]
struct NetworkRepr {
    kind: NetworkErrorKind,
    endpoint: Endpoint,
    detail: Detail,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl NetworkError {
    pub(crate) fn new(kind: NetworkErrorKind, endpoint: Endpoint) -> Self {
        Self(Arc::new(NetworkRepr { kind, endpoint, detail: Detail::None, retry_after: None, source: None }))
    }

    pub(crate) fn with_detail(self, detail: Detail) -> Self {
        Self(Arc::new(NetworkRepr { detail, ..(*self.0).clone() }))
    }

    pub(crate) fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self(Arc::new(NetworkRepr { retry_after, ..(*self.0).clone() }))
    }

    pub(crate) fn with_source(self, source: Option<Arc<dyn StdError + Send + Sync>>) -> Self {
        Self(Arc::new(NetworkRepr { source, ..(*self.0).clone() }))
    }

    /// What went wrong.
    pub fn kind(&self) -> NetworkErrorKind {
        self.0.kind
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.0.endpoint
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NetworkRepr { kind, endpoint, detail, .. } = &*self.0;
        match (kind, detail) {
            (NetworkErrorKind::Status(404), _) if *endpoint == Endpoint::Discovery => {
                write!(f, "{endpoint}: status 404; is the issuer URL the right one")
            }
            (_, Detail::None) => write!(f, "{endpoint}: {kind}"),
            (_, detail) => write!(f, "{endpoint}: {kind}: {detail}"),
        }
    }
}

impl fmt::Debug for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NetworkRepr { kind, endpoint, retry_after, .. } = &*self.0;
        f.debug_struct("NetworkError")
            .field("kind", kind)
            .field("endpoint", endpoint)
            .field("retry_after", retry_after)
            .finish_non_exhaustive()
    }
}

impl StdError for NetworkError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| -> &(dyn StdError + 'static) { e })
    }
}

/// What went wrong between this program and the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NetworkErrorKind {
    /// The host name could not be resolved.
    Dns,
    /// No connection could be made.
    Connect,
    /// The TLS handshake failed: an untrusted, expired or wrong certificate, or no TLS on the other side.
    Tls,
    /// No complete answer within the call's budget.
    Timeout,
    /// The connection broke, or what came was no HTTP.
    Io,
    /// A status that is no success and no OAuth error.
    Status(u16),
    /// An answer without what it must carry, or with something that it must not.
    InvalidResponse,
    /// Headers or body beyond the limit.
    TooLarge,
    /// This crate's own budget for unknown key ids is used up; nothing is known of the token.
    RateLimited,
    /// The discovery document names another issuer than the configured one (OIDC Discovery §4.3, RFC 8414 §3.3).
    IssuerMismatch,
    /// The transport called back into the issuer that it serves, on the same thread.
    Reentrant,
}

impl NetworkErrorKind {
    fn is_retryable(self) -> bool {
        match self {
            Self::Dns | Self::Connect | Self::Timeout | Self::Io | Self::RateLimited => true,
            Self::Status(status) => is_retryable_status(status),
            Self::Tls | Self::InvalidResponse | Self::TooLarge | Self::IssuerMismatch | Self::Reentrant => false,
        }
    }
}

impl fmt::Display for NetworkErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns => f.write_str("the host name cannot be resolved"),
            Self::Connect => f.write_str("no connection can be made"),
            Self::Tls => f.write_str("the TLS connection cannot be trusted or made"),
            Self::Timeout => f.write_str("no complete answer in time"),
            Self::Io => f.write_str("the connection broke"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::InvalidResponse => f.write_str("the answer is not what it must be"),
            Self::TooLarge => f.write_str("the answer is too large"),
            Self::RateLimited => f.write_str("too many unknown key ids, so the issuer is not asked again yet"),
            Self::IssuerMismatch => f.write_str("it names another issuer than the configured one"),
            Self::Reentrant => f.write_str("the transport called back into the issuer that it serves"),
        }
    }
}

/// Which of the issuer's resources a request was for; named in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Discovery,
    Keys,
    Token,
    Introspection,
    Revocation,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discovery => "discovery document",
            Self::Keys => "key set",
            Self::Token => "token endpoint",
            Self::Introspection => "introspection endpoint",
            Self::Revocation => "revocation endpoint",
        })
    }
}

/// What about an answer was wrong, in this crate's own words only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    None,
    /// The discovery document's issuer and the configured one differ in a trailing slash only.
    TrailingSlash,
    Compressed,
    NotJson,
    /// The member is missing, or of the wrong type.
    Member(&'static str),
    /// A claim of an introspection answer is of the wrong type or out of range.
    Claims,
    /// The discovery document's URL for this endpoint is none that may be used.
    EndpointUrl,
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::TrailingSlash => {
                f.write_str("they differ in a trailing slash only, so write it as the document does")
            }
            Self::Compressed => f.write_str("it is compressed, which was not asked for"),
            Self::NotJson => f.write_str("it is no JSON object without duplicate members"),
            Self::Member(name) => write!(f, "the member {name} is missing or wrong"),
            Self::Claims => f.write_str("a claim is of the wrong type or out of range"),
            Self::EndpointUrl => f.write_str("the discovery document gives a URL for it that may not be used"),
        }
    }
}

/// This program is configured wrongly. The message says what is wrong and what to write instead.
#[derive(Clone)]
pub struct ConfigError(Arc<ConfigRepr>);

struct ConfigRepr {
    problem: ConfigProblem,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.problem.fmt(f)
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConfigError").field(&self.0.problem).finish()
    }
}

impl StdError for ConfigError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| -> &(dyn StdError + 'static) { e })
    }
}

/// Everything that can be wrong with a configuration. Names in it are the program's own, never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConfigProblem {
    IssuerNotAbsolute,
    IssuerScheme,
    IssuerPlainHttp,
    IssuerUserInfo,
    IssuerQuery,
    IssuerHost,
    IssuerCharacter,
    #[cfg_attr(all(feature = "ureq", not(test)), expect(dead_code, reason = "with ureq there always is a transport"))]
    NoTransport,
    ZeroTimeout,
    EmptyAudienceList,
    EmptyAudience,
    EmptyAlgorithmList,
    Scope,
    SenderCertificate,
    NoIssuers,
    DuplicateIssuer,
    EmptyClientId,
    EmptySecret,
    SecretVariable(String),
    SecretFile,
    SecretFunction,
    ClientKeyPem,
    ClientKeyKind,
    ClientKeyAlgorithm,
    NoRandomness,
    ReservedParameter(String),
    CacheCapacity,
    Jwk(JwkProblem),
    JwkSet,
    Snapshot(SnapshotProblem),
    #[cfg_attr(not(any(feature = "ureq", test)), expect(dead_code, reason = "of UreqTransport"))]
    RootCertificates,
    #[cfg_attr(not(any(feature = "ureq", test)), expect(dead_code, reason = "of UreqTransport"))]
    ClientCertificate,
    #[cfg_attr(not(any(feature = "ureq", test)), expect(dead_code, reason = "of UreqTransport"))]
    ProxyUrl,
    #[cfg_attr(not(any(feature = "ureq", test)), expect(dead_code, reason = "of UreqTransport"))]
    UserAgent,
}

/// Why a JWK is no key to verify with (RFC 7517, RFC 7518 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JwkProblem {
    NotAnObject,
    Member,
    Private,
    Symmetric,
    Unsupported,
    NotForVerification,
    Size,
    Coordinates,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IssuerNotAbsolute => "the issuer is no absolute URL; write it like https://acme.aero2.dev",
            Self::IssuerScheme => "the issuer's scheme must be https; write it like https://acme.aero2.dev",
            Self::IssuerPlainHttp => "a plain http issuer is taken on loopback only; use https, or dangerous_allow_http",
            Self::IssuerUserInfo => "the issuer URL must not carry user name or password; write it like https://acme.aero2.dev",
            Self::IssuerQuery => "the issuer URL must have no query and no fragment; write it like https://acme.aero2.dev",
            Self::IssuerHost => "the issuer URL has no valid host or port; write it like https://acme.aero2.dev",
            Self::IssuerCharacter => "the issuer URL holds white space or another character that no URL has; write it percent-encoded, hosts in punycode",
            Self::NoTransport => "no transport: give one with Issuer::builder(..).transport(..), or enable the feature ureq",
            Self::ZeroTimeout => "a timeout of zero allows no request; give at least a millisecond",
            Self::EmptyAudienceList => "the list of audiences is empty, which no token can satisfy; name one, or leave the call out",
            Self::EmptyAudience => "an audience is the empty text; write the name of this resource server",
            Self::EmptyAlgorithmList => "the list of algorithms is empty, which no token can satisfy; name one, or leave the call out",
            Self::Scope => "a scope must be non-empty printable ASCII without space, quote and backslash (RFC 6749, section 3.3)",
            Self::SenderCertificate => "the sender's certificate is no DER; give it as the TLS library does, and decode PEM first",
            Self::NoIssuers => "there is no resource server to choose from; give one for each issuer",
            Self::DuplicateIssuer => "two resource servers are of one issuer; give one, with the audiences of both",
            Self::EmptyClientId => "the client id is empty; write the id that the issuer gave to this client",
            Self::EmptySecret => "the client secret is empty; give the one that the issuer gave to this client",
            Self::SecretVariable(name) => return write!(f, "the environment variable {name} holds no secret; set it to the client secret"),
            Self::SecretFile => "the file of the client secret cannot be read; check its path and permissions",
            Self::SecretFunction => "the function that gives the client secret failed",
            Self::ClientKeyPem => "private_key_jwt takes the client's private key as its secret: a PKCS#8 PEM, -----BEGIN PRIVATE KEY-----",
            Self::ClientKeyKind => "the client's private key is of no kind that can sign; make one of P-256, P-384, Ed25519, or RSA of 2048 to 4096 bits",
            Self::ClientKeyAlgorithm => "the client's private key is not for the algorithm that was asked for; leave the call out, or give a key for it",
            Self::NoRandomness => "the operating system gives no randomness, so nothing can be signed",
            Self::ReservedParameter(name) => return write!(f, "the parameter {name} is set by this crate; use the method of that name"),
            Self::CacheCapacity => "a cache needs room for at least one entry and a time to live; leave the call out for no cache",
            Self::Jwk(problem) => return problem.fmt(f),
            Self::JwkSet => "the key set must be a JSON object with an array keys and no duplicate members (RFC 7517, section 5)",
            Self::Snapshot(problem) => return write!(f, "the snapshot cannot be used: {problem}; make a new one by Issuer::snapshot"),
            Self::RootCertificates => "the root certificates are no PEM with at least one certificate",
            Self::ClientCertificate => "the client certificate and key must be PEM: a certificate chain, and a private key that belongs to it",
            Self::ProxyUrl => "the proxy URL cannot be used; write it like http://user:password@proxy.example:3128",
            Self::UserAgent => "the user agent must be printable ASCII",
        })
    }
}

impl fmt::Display for JwkProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAnObject => "the JWK must be a JSON object without duplicate members (RFC 7517, section 4)",
            Self::Member => "the JWK has a member that is missing, of the wrong type or no canonical base64url",
            Self::Private => "the JWK holds a private key; give only its public part",
            Self::Symmetric => "the JWK is a symmetric key, which a verifier of public tokens never uses",
            Self::Unsupported => "the JWK is of a key type, curve or algorithm that is not supported",
            Self::NotForVerification => "the JWK is not for verifying signatures by its use, key_ops or alg",
            Self::Size => "the RSA key must have 2048 to 8192 bits",
            Self::Coordinates => "the JWK's key material is no valid public key",
        })
    }
}

/// Why a snapshot is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotProblem {
    /// It is no snapshot, or not a whole one.
    Malformed,
    /// It was written by a version of this crate whose snapshots this one does not read.
    Version,
    /// It is of another issuer.
    OtherIssuer,
    /// It is older than [`max_stale`](crate::IssuerBuilder::max_stale).
    TooOld,
    /// The file cannot be read or written, or others than its owner may write to it.
    File,
}

impl fmt::Display for SnapshotProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is no snapshot of this crate, or not a whole one",
            Self::Version => "it was written by another version of this crate",
            Self::OtherIssuer => "it is of another issuer",
            Self::TooOld => "it is older than max_stale",
            Self::File => "the file cannot be read or written, or others may write to it",
        })
    }
}

/// The wall clock of this machine is not set: it stands before 2026, or before the snapshot that the issuer was made from.
#[derive(Clone, Debug)]
pub struct ClockError(());

impl fmt::Display for ClockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the wall clock is not set (it is before 2026 or before the snapshot), so no token can be judged; set it, for example by NTP",
        )
    }
}

impl StdError for ClockError {}

/// Status codes after which the same request may succeed (RFC 9110 §15, RFC 6585 §4, RFC 8470 §5.2).
fn is_retryable_status(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// What may stand in a quoted-string without a backslash (RFC 9110 §5.6.4), so that no caller's realm breaks out of it.
fn quotable(text: &str) -> String {
    text.chars().filter(|c| matches!(c, ' '..='~') && *c != '"' && *c != '\\').collect()
}

fn bounded(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SERVER_TEXT).collect()
}

/// Characters kept of a text of the server.
const MAX_SERVER_TEXT: usize = 256;

/// The registered error codes (RFC 6749 §4.1.2.1 and §5.2, RFC 7009 §2.2.1, RFC 8628 §3.5, RFC 8707 §2, RFC 9449 §5 and §8).
const REGISTERED_CODES: [&str; 17] = [
    "access_denied",
    "authorization_pending",
    "expired_token",
    "invalid_client",
    "invalid_dpop_proof",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "invalid_token",
    "server_error",
    "slow_down",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_token_type",
    "use_dpop_nonce",
];

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
            (NetworkErrorKind::Tls, "key set: the TLS connection cannot be trusted or made"),
            (NetworkErrorKind::Timeout, "key set: no complete answer in time"),
            (NetworkErrorKind::Io, "key set: the connection broke"),
            (NetworkErrorKind::Status(502), "key set: status 502"),
            (NetworkErrorKind::InvalidResponse, "key set: the answer is not what it must be"),
            (NetworkErrorKind::TooLarge, "key set: the answer is too large"),
            (NetworkErrorKind::RateLimited, "key set: too many unknown key ids, so the issuer is not asked again yet"),
            (NetworkErrorKind::IssuerMismatch, "key set: it names another issuer than the configured one"),
            (NetworkErrorKind::Reentrant, "key set: the transport called back into the issuer that it serves"),
        ];
        for (kind, message) in kinds {
            assert_eq!(Error::network(kind, Endpoint::Keys).to_string(), message);
        }
        let wrong_url = Error::network(NetworkErrorKind::Status(404), Endpoint::Discovery);
        assert_eq!(wrong_url.to_string(), "discovery document: status 404; is the issuer URL the right one");
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
            (Detail::NotJson, "it is no JSON object without duplicate members"),
            (Detail::Member("jwks_uri"), "the member jwks_uri is missing or wrong"),
            (Detail::Claims, "a claim is of the wrong type or out of range"),
            (Detail::EndpointUrl, "the discovery document gives a URL for it that may not be used"),
        ];
        for (detail, message) in details {
            let expected = format!("token endpoint: the answer is not what it must be: {message}");
            assert_eq!(Error::invalid_response(Endpoint::Token, detail).to_string(), expected);
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
