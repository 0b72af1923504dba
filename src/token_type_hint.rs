//! The hint that introspection and revocation share.

/// What kind of token it is, so that the issuer finds it sooner (RFC 7009 §2.1, RFC 7662 §2.1). Only a hint: a wrong one changes
/// no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenTypeHint {
    /// `access_token`
    AccessToken,
    /// `refresh_token`
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
