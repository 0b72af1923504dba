//! OAuth 2.0 terms that several capabilities share: the scope grammar, the token type hint.

/// The type of a token, which helps the issuer to find it faster (RFC 7009 §2.1, RFC 7662 §2.1). It is only a hint: a wrong one
/// does not change the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenTypeHint {
    /// `access_token`: an access token.
    AccessToken,
    /// `refresh_token`: a refresh token.
    RefreshToken,
}

impl TokenTypeHint {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::RefreshToken => "refresh_token",
        }
    }
}

/// A scope-token (RFC 6749 §3.3).
pub(crate) fn is_scope_token(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}
