//! A refused token.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// A refused token. The message is "invalid token" for almost every refusal, so you can show it to whoever sent the token;
/// [`kind`](Self::kind) is for logs and metrics.
#[derive(Clone)]
pub struct TokenError {
    pub(super) kind: TokenErrorKind,
    pub(super) required_scopes: Option<Arc<String>>,
}

impl TokenError {
    /// What was wrong: for logs, metrics and tests. Do not show it to whoever sent the token.
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
    /// There is no `Authorization` header, or it has another scheme than `Bearer`.
    MissingToken,
    /// The token is longer than the resource server's limit.
    TooLong,
    /// The token is not three parts of canonical base64url (RFC 7515 §7.1), or its header or claims are not a JSON object without
    /// duplicate members.
    Malformed,
    /// `alg` is not an algorithm that this resource server accepts.
    UnsupportedAlgorithm,
    /// The header has `crit` (RFC 7515 §4.1.11).
    CriticalHeader,
    /// `typ` names another kind of JWT (RFC 8725 §3.11).
    WrongType,
    /// No key of the issuer has the token's `kid`.
    UnknownKey,
    /// The key is not for the token's `alg` (RFC 8725 §3.1).
    UnfitKey,
    /// The token has no `kid` and several keys would fit.
    AmbiguousKey,
    /// The signature was not made with the issuer's key.
    BadSignature,
    /// A claim is missing, has the wrong JSON type or is out of range.
    InvalidClaim,
    /// `iss` is another issuer (RFC 7519 §4.1.1).
    WrongIssuer,
    /// `exp` has passed (RFC 7519 §4.1.4).
    Expired,
    /// `nbf` or `iat` lies in the future (RFC 7519 §4.1.5, §4.1.6).
    NotYetValid,
    /// `aud` contains none of the expected audiences (RFC 7519 §4.1.3).
    WrongAudience,
    /// `token_use` is not `access`: this is an ID token or a session token, signed with the same keys.
    WrongTokenUse,
    /// The token is bound to a key of its sender (`cnf`) and the call did not prove possession of that key; or it is not bound
    /// although it has to be (see [`SenderConstraint`](crate::SenderConstraint)).
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
