//! A refused token.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A refused token. The message is "invalid token" for almost every refusal and never says more than the
/// [`challenge`](crate::Error::challenge), so you can show it to the sender of the token; [`kind`](Self::kind) is for logs and metrics.
#[derive(Clone)]
pub struct TokenError {
    kind: TokenErrorKind,
    demands: Option<Arc<Demands>>,
}

impl TokenError {
    pub(super) fn new(kind: TokenErrorKind) -> Self {
        Self { kind, demands: None }
    }

    pub(super) fn with_demands(self, demands: Demands) -> Self {
        Self { demands: Some(Arc::new(demands)), ..self }
    }

    pub(super) fn demands(&self) -> Option<&Demands> {
        self.demands.as_deref()
    }

    /// What was wrong: for logs, metrics and tests. Do not show it to the sender of the token.
    pub fn kind(&self) -> TokenErrorKind {
        self.kind
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TokenErrorKind::MissingToken => "missing token",
            TokenErrorKind::InsufficientScope | TokenErrorKind::InsufficientClaim => "insufficient scope",
            TokenErrorKind::InsufficientAuthentication => "insufficient user authentication",
            _ => "invalid token",
        })
    }
}

impl fmt::Debug for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenError").field(&self.kind).finish()
    }
}

impl StdError for TokenError {}

/// What the resource server demanded of a token that it refused.
#[derive(Clone, Default)]
pub(crate) struct Demands {
    pub(crate) scope: Option<String>,
    /// The `acr` values of which one is needed, separated by spaces (RFC 9470 §3).
    pub(crate) acr_values: Option<String>,
    /// The greatest age of the user's authentication (RFC 9470 §3).
    pub(crate) max_age: Option<Duration>,
    /// Where the resource server publishes its metadata (RFC 9728 §5.1).
    pub(crate) resource_metadata: Option<Arc<str>>,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $(#[cfg($condition:meta)])? $kind:ident => $label:literal,)+) => {
        /// Why a token was refused.
        ///
        /// `Display` says the reason in words ("wrong audience"). [`as_str`](Self::as_str) is the same as a label for metrics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum TokenErrorKind { $($(#[doc = $doc])+ $(#[cfg($condition)])? $kind,)+ }

        impl TokenErrorKind {
            /// Every kind, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$($(#[cfg($condition)])? Self::$kind,)+];

            /// The kind as a label for metrics: its name in snake case, such as `wrong_audience`.
            pub fn as_str(self) -> &'static str {
                match self { $($(#[cfg($condition)])? Self::$kind => $label,)+ }
            }
        }
    };
}

kinds! {
    /// There is no `Authorization` header, or it has another scheme than `Bearer`.
    MissingToken => "missing_token",
    /// The token is longer than the resource server's limit.
    TooLong => "too_long",
    /// The token is not three parts of canonical base64url (RFC 7515 §7.1), or its header or claims are not a JSON object without
    /// duplicate members.
    Malformed => "malformed",
    /// `alg` is not an algorithm that this resource server accepts.
    UnsupportedAlgorithm => "unsupported_algorithm",
    /// The header has `crit` (RFC 7515 §4.1.11).
    CriticalHeader => "critical_header",
    /// `typ` names another kind of JWT (RFC 8725 §3.11).
    WrongType => "wrong_type",
    /// No key of the issuer has the token's `kid`.
    UnknownKey => "unknown_key",
    /// The key is not for the token's `alg` (RFC 8725 §3.1).
    UnfitKey => "unfit_key",
    /// The token has no `kid` and several keys would fit.
    AmbiguousKey => "ambiguous_key",
    /// The signature was not made with the issuer's key.
    BadSignature => "bad_signature",
    /// A claim is missing, has the wrong JSON type or is out of range.
    InvalidClaim => "invalid_claim",
    /// `iss` is another issuer (RFC 7519 §4.1.1).
    WrongIssuer => "wrong_issuer",
    /// `exp` has passed (RFC 7519 §4.1.4).
    Expired => "expired",
    /// `nbf` or `iat` lies in the future (RFC 7519 §4.1.5, §4.1.6).
    NotYetValid => "not_yet_valid",
    /// `aud` contains none of the expected audiences (RFC 7519 §4.1.3).
    WrongAudience => "wrong_audience",
    /// `token_use` is not `access`: this is an ID token or a session token, signed with the same keys.
    WrongTokenUse => "wrong_token_use",
    /// The token is bound to a key of its sender (`cnf`) and the call did not prove possession of that key; or it is not bound
    /// although it has to be (see [`SenderConstraint`](crate::SenderConstraint)).
    SenderConstrained => "sender_constrained",
    /// A required scope is missing (RFC 6750 §3.1). Respond with 403.
    InsufficientScope => "insufficient_scope",
    /// A required claim is missing or has none of the required values. Respond with 403.
    InsufficientClaim => "insufficient_claim",
    /// The user's authentication is too old or too weak for this call (RFC 9470): the user has to authenticate again.
    InsufficientAuthentication => "insufficient_authentication",
    /// A check of your own refused the claims.
    CheckFailed => "check_failed",
}

impl fmt::Display for TokenErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = self.as_str().split('_');
        f.write_str(words.next().unwrap_or_default())?;
        words.try_for_each(|word| write!(f, " {word}"))
    }
}
