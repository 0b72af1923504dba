//! The hint that introspection and revocation share.

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
