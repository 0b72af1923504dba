//! The `WWW-Authenticate` challenge of a refusal (RFC 6750 §3, RFC 9470 §3, RFC 9728 §5.1).

use std::fmt;

use crate::error::token::{Demands, TokenError, TokenErrorKind};

/// The value of a `WWW-Authenticate` header (RFC 6750 §3), made by [`Error::challenge`](crate::Error::challenge).
///
/// `Display` gives the header's value. It is always one line of ASCII: a character that cannot stand in a quoted string is left out.
///
/// ```
/// use aero2::{Error, TokenErrorKind};
/// let err = Error::from(TokenErrorKind::MissingToken);
/// let challenge = err
///     .challenge()
///     .realm("orders")
///     .scope("orders:read")
///     .resource_metadata("https://api.example/.well-known/oauth-protected-resource");
/// assert_eq!(
///     challenge.to_string(),
///     "Bearer realm=\"orders\", scope=\"orders:read\", \
///      resource_metadata=\"https://api.example/.well-known/oauth-protected-resource\""
/// );
/// ```
#[derive(Clone)]
#[must_use = "a challenge is sent as the value of WWW-Authenticate"]
pub struct Challenge {
    realm: Option<String>,
    error: Option<&'static str>,
    demands: Demands,
}

impl Challenge {
    /// Without a refused token: the challenge of a request that has none.
    pub(super) fn new(refused: Option<&TokenError>) -> Self {
        let error = match refused.map(TokenError::kind) {
            None | Some(TokenErrorKind::MissingToken) => None,
            Some(TokenErrorKind::InsufficientScope | TokenErrorKind::InsufficientClaim) => Some("insufficient_scope"),
            Some(TokenErrorKind::InsufficientAuthentication) => Some("insufficient_user_authentication"),
            Some(_) => Some("invalid_token"),
        };
        let demands = refused.and_then(TokenError::demands).cloned().unwrap_or_default();
        Self { realm: None, error, demands }
    }

    /// The protection space (RFC 9110 §11.5).
    pub fn realm(self, realm: &str) -> Self {
        Self { realm: Some(realm.to_owned()), ..self }
    }

    /// The scopes that the resource needs, separated by spaces, in place of those that the error names (RFC 6750 §3).
    pub fn scope(mut self, scope: &str) -> Self {
        self.demands.scope = Some(scope.to_owned());
        self
    }

    /// The URL of the resource server's metadata (RFC 9728 §5.1), in place of that of the
    /// [`ResourceServerBuilder`](crate::ResourceServerBuilder).
    pub fn resource_metadata(mut self, url: &str) -> Self {
        self.demands.resource_metadata = Some(url.into());
        self
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Demands { scope, acr_values, max_age, resource_metadata } = &self.demands;
        let max_age = max_age.map(|age| age.as_secs().to_string());
        f.write_str("Bearer")?;
        let mut separator = " ";
        for (name, value, may_be_empty) in [
            ("realm", self.realm.as_deref(), true),
            ("error", self.error, false),
            ("scope", scope.as_deref(), false),
            ("acr_values", acr_values.as_deref(), false),
            ("max_age", max_age.as_deref(), false),
            ("resource_metadata", resource_metadata.as_deref(), false),
        ] {
            let Some(value) = value.map(quotable).filter(|value| may_be_empty || !value.is_empty()) else { continue };
            write!(f, "{separator}{name}=\"{value}\"")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Challenge").field(&self.to_string()).finish()
    }
}

/// What may stand in a quoted-string without a backslash (RFC 9110 §5.6.4), so that no value breaks out of it.
fn quotable(text: &str) -> String {
    text.chars().filter(|c| matches!(c, ' '..='~') && *c != '"' && *c != '\\').collect()
}
