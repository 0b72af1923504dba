//! A wrong configuration, and what to write instead.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::error::endpoint::write_sources;

/// Your program is configured wrongly. The message says what is wrong and what to write instead.
#[derive(Clone)]
pub struct ConfigError(pub(super) Arc<ConfigRepr>);

pub(super) struct ConfigRepr {
    pub(super) problem: ConfigProblem,
    pub(super) source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl From<ConfigProblem> for ConfigError {
    fn from(problem: ConfigProblem) -> Self {
        Self(Arc::new(ConfigRepr { problem, source: None }))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.problem.fmt(f)?;
        if f.alternate() { write_sources(f, self) } else { Ok(()) }
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A `main` that returns the error shows its Debug, so what to write instead is in there, too.
        f.debug_tuple("ConfigError").field(&format!("{self:#}")).finish()
    }
}

impl StdError for ConfigError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| -> &(dyn StdError + 'static) { e })
    }
}

/// Everything that can be wrong with a configuration. StringSet in it are the program's own, never a secret.
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
    Address(&'static str),
    ReachAt,
    ReachAtPlainHttp,
    EmptyTokenIssuer,
    KeySources,
    ZeroTimeout,
    EmptyAudienceList,
    EmptyAudience,
    EmptyAlgorithmList,
    Algorithm,
    Scope,
    ScopeList,
    NoValues(&'static str),
    Pointer(String),
    AcrValue,
    ResourceUrl,
    SenderCertificate,
    NoIssuers,
    DuplicateIssuer,
    EmptyClientId,
    EmptySecret,
    SecretCharacter,
    KeyAsSecret,
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
    NoUsableKey,
    Snapshot(SnapshotProblem),
    #[cfg_attr(not(any(feature = "ureq", test)), expect(dead_code, reason = "of UreqTransport"))]
    RootCertificates,
    #[cfg_attr(not(any(feature = "ureq", test)), expect(dead_code, reason = "of UreqTransport"))]
    ClientCertificate,
    #[cfg_attr(not(any(feature = "ureq", test)), expect(dead_code, reason = "of UreqTransport"))]
    ProxyUrl,
    /// Host and port of the proxy.
    #[cfg_attr(not(any(feature = "ureq", test)), expect(dead_code, reason = "of UreqTransport"))]
    ProxyKind(String),
    #[cfg_attr(not(any(feature = "ureq", test)), expect(dead_code, reason = "of UreqTransport"))]
    ProxyVariable {
        variable: &'static str,
        /// Host and port of the proxy, if that much can be read.
        place: Option<String>,
    },
    #[cfg_attr(not(any(feature = "ureq", test)), expect(dead_code, reason = "of UreqTransport"))]
    UserAgent,
}

/// Why a JWK is no key to verify with (RFC 7517, RFC 7518 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JwkProblem {
    NotAnObject,
    /// The member of this name.
    Member(&'static str),
    Private,
    Symmetric,
    Unsupported,
    NotForVerification,
    Size,
    Coordinates,
    /// Behind the last key that a set may have.
    TooMany,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IssuerNotAbsolute => "the issuer is not an absolute URL; write it like https://acme.aero2.dev",
            Self::IssuerScheme => "the issuer's scheme must be https in lower case; write it like https://acme.aero2.dev",
            Self::IssuerPlainHttp => "a plain http issuer is accepted on loopback only; use https, or dangerous_allow_http",
            Self::IssuerUserInfo => "the issuer URL must not contain a user name or password; write it like https://acme.aero2.dev",
            Self::IssuerQuery => "the issuer URL must not have a query or a fragment; write it like https://acme.aero2.dev",
            Self::IssuerHost => "the issuer URL has no valid host or port; write it like https://acme.aero2.dev",
            Self::IssuerCharacter => "the issuer URL contains white space, a line end or another character that a URL cannot have; trim it, percent-encode the rest, and write the host in punycode",
            Self::NoTransport => "there is no transport; pass one to Issuer::builder(..).transport(..), or enable the feature ureq",
            Self::Address(name) => return write!(f, "{name} is not an absolute https URL without user name and fragment; write it like https://login.example.com/path (plain http is accepted on loopback only, or with dangerous_allow_http)"),
            Self::ReachAt => "reach_at takes a scheme, a host and a port, and nothing else; write it like https://keycloak:8443",
            Self::ReachAtPlainHttp => "a plain http reach_at is accepted on loopback only; use https, or dangerous_allow_http",
            Self::EmptyTokenIssuer => "token_issuer is empty; write what the iss of the tokens is, or do not set it",
            Self::KeySources => "more than one source of keys is set, and all but one would be ignored; set one of static_keys, static_then_remote, snapshot and snapshot_file",
            Self::ZeroTimeout => "a timeout of zero allows no request; set at least a millisecond",
            Self::EmptyAudienceList => "the list of audiences is empty, so no token could be accepted; name one, or do not set it",
            Self::EmptyAudience => "an audience is empty; write the name of this resource server",
            Self::EmptyAlgorithmList => "the list of algorithms is empty, so no token could be accepted; name one, or do not set it",
            Self::Algorithm => "this is not the name of an algorithm that this crate verifies; write one of Algorithm::ALL, such as RS256",
            Self::Scope => "a scope must be non-empty printable ASCII without space, quote and backslash (RFC 6749, section 3.3)",
            Self::ScopeList => "a scope contains a comma; write each scope as an item of the list",
            Self::NoValues(setting) => return write!(f, "the list of {setting} is empty, so no token could be accepted; name a value, or do not set it"),
            Self::Pointer(pointer) => return write!(f, "{pointer:?} is not a JSON Pointer to a claim; write it like /roles or /realm_access/roles (RFC 6901)"),
            Self::AcrValue => "an acr value must be non-empty printable ASCII without space, quote and backslash",
            Self::ResourceUrl => "a resource and its metadata need an https URL without fragment; write it like https://api.example (RFC 9728, section 1.2)",
            Self::SenderCertificate => "the client certificate is not DER; pass it as the TLS library gives it, and decode PEM first",
            Self::NoIssuers => "the list of resource servers is empty; pass one for each issuer",
            Self::DuplicateIssuer => "two resource servers have the same issuer; pass one, with the audiences of both",
            Self::EmptyClientId => "the client id is empty; use the one that the issuer gave to this client",
            Self::EmptySecret => "the client secret is empty; use the one that the issuer gave to this client",
            Self::SecretCharacter => "the client secret has a blank at one end or contains a control character, such as a line end; pass it exactly as the issuer gave it to this client",
            Self::KeyAsSecret => "the client secret is a PEM, which must not be sent to the issuer; set client_auth(PrivateKeyJwt::new()) to sign with it",
            Self::SecretVariable(name) => return write!(f, "the environment variable {name} contains no secret; set it to the client secret"),
            Self::SecretFile => "the file of the client secret cannot be read; check its path and permissions",
            Self::SecretFunction => "the function that returns the client secret failed",
            Self::ClientKeyPem => "private_key_jwt needs the client's private key as its secret; pass a PKCS#8 PEM, -----BEGIN PRIVATE KEY-----",
            Self::ClientKeyKind => "the client's private key is of a kind that cannot sign; use P-256, P-384, Ed25519, or RSA with 2048 to 4096 bits",
            Self::ClientKeyAlgorithm => "the client's private key is not for the algorithm that was set; do not set one, or use a key for it",
            Self::NoRandomness => "the operating system provides no randomness, so nothing can be signed",
            Self::ReservedParameter(name) => return write!(f, "the parameter {name} is set by this crate; use the client's own settings instead"),
            Self::CacheCapacity => "a cache needs a capacity and a time to live above zero; for no cache, do not set one",
            Self::Jwk(problem) => return problem.fmt(f),
            Self::JwkSet => "the key set must be a JSON object with an array keys and no duplicate members (RFC 7517, section 5)",
            Self::NoUsableKey => "the key set has no public key for verifying signatures, so no token could be accepted; pass the issuer's own",
            Self::Snapshot(problem) => return write!(f, "the snapshot cannot be used: {problem}; make a new one with Issuer::snapshot"),
            Self::RootCertificates => "the root certificates must be PEM with at least one certificate",
            Self::ClientCertificate => "the client certificate and key must be PEM: a certificate chain, and a private key that belongs to it",
            Self::ProxyUrl => "the proxy URL cannot be used; write it like http://user:password@proxy.example:3128 with user and password percent-encoded",
            Self::ProxyKind(place) => return write!(f, "the proxy {place} is not an HTTP proxy; use one whose URL begins with http:// or https://"),
            Self::ProxyVariable { variable, place: Some(place) } => return write!(f, "the environment variable {variable} names the proxy {place}, which is not an HTTP proxy; use one whose URL begins with http:// or https://, list the host in NO_PROXY, or choose UreqTransportBuilder::no_proxy"),
            Self::ProxyVariable { variable, place: None } => return write!(f, "the environment variable {variable} names no proxy that can be used; write it like http://user:password@proxy.example:3128 with user and password percent-encoded"),
            Self::UserAgent => "the user agent must be printable ASCII",
        })
    }
}

impl fmt::Display for JwkProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Member(name) => {
                return write!(f, "the JWK's member {name} is missing, of the wrong type or not canonical base64url");
            }
            Self::NotAnObject => "the JWK must be a JSON object without duplicate members (RFC 7517, section 4)",
            Self::Private => "the JWK contains a private key; pass only its public part",
            Self::Symmetric => "the JWK is a symmetric key, which a verifier of public tokens never uses",
            Self::Unsupported => "the JWK has a key type, curve or algorithm that is not supported",
            Self::NotForVerification => "the JWK is not for verifying signatures, according to its use, key_ops or alg",
            Self::Size => "the RSA key must have 2048 to 8192 bits",
            Self::Coordinates => "the JWK's key material is not a valid public key",
            Self::TooMany => "the key set has more than 100 usable keys, and this one comes after them",
        })
    }
}

/// Why a snapshot was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotProblem {
    /// It is not a snapshot, or not a complete one.
    Malformed,
    /// It was written by a version of this crate whose snapshots this version cannot read.
    Version,
    /// It belongs to another issuer.
    OtherIssuer,
    /// It is older than [`max_stale`](crate::IssuerBuilder::max_stale).
    TooOld,
    /// It is more than a minute ahead of this machine's clock, which the issuer's own time confirms.
    AheadOfClock,
    /// The file cannot be read or written, or users other than its owner may write to it.
    File,
}

impl fmt::Display for SnapshotProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is not a snapshot of this crate, or not a complete one",
            Self::Version => "it was written by another version of this crate",
            Self::OtherIssuer => "it is a snapshot of another issuer",
            Self::TooOld => "it is older than max_stale",
            Self::AheadOfClock => "it was made by a clock that ran ahead",
            Self::File => "the file cannot be read or written, or others may write to it",
        })
    }
}
