//! An access token as the issuer minted it.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::crypto::{Sha256, sha256};
use crate::secret::Secret;

/// An access token for calling other services. A clone is a pointer. `Debug` does not show the token, and its memory is wiped
/// when the last clone is dropped.
///
/// ```
/// let test = aero2::testing::TestIssuer::new();
/// test.register_client("svc-orders", "secret", ["api:read"]);
/// let m2m = test.issuer().m2m_client("svc-orders", "secret").build()?;
/// let token = m2m.access_token()?;
/// assert!(token.authorization_header().expose_secret().starts_with("Bearer "));
/// assert_eq!(token.scope(), Some("api:read"));
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone)]
pub struct AccessToken(Arc<Minted>);

struct Minted {
    header: Secret,
    digest: Sha256,
    scope: Option<String>,
    expires_at: Option<SystemTime>,
}

impl AccessToken {
    /// `token` must be what may stand in a header: printable ASCII.
    pub(crate) fn new(token: &str, scope: Option<String>, expires_at: Option<SystemTime>) -> Self {
        let mut header = String::with_capacity(SCHEME.len() + token.len());
        header.push_str(SCHEME);
        header.push_str(token);
        Self(Arc::new(Minted { header: header.into(), digest: sha256(token.as_bytes()), scope, expires_at }))
    }

    /// The token itself. Lookup at each call of this method in a review.
    pub fn expose_secret(&self) -> &str {
        self.0.header.expose_secret().get(SCHEME.len()..).unwrap_or_default()
    }

    /// The value for an `Authorization` header (RFC 6750 §2.1): `Bearer`, a space and the token.
    pub fn authorization_header(&self) -> Secret {
        self.0.header.clone()
    }

    /// The granted scopes; if the issuer does not name them, those that were asked for (RFC 6749 §5.1).
    pub fn scope(&self) -> Option<&str> {
        self.0.scope.as_deref()
    }

    /// When the token expires, if that is known (by the issuer's word, or by
    /// [`default_lifetime`](crate::M2mClientBuilder::default_lifetime)) and the wall clock was set at the request.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.0.expires_at
    }

    /// By which two tokens are compared: nothing of the token itself is.
    pub(crate) fn digest(&self) -> &Sha256 {
        &self.0.digest
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the scope either: it may be text of the issuer's answer.
        f.debug_struct("AccessToken").field("expires_at", &self.0.expires_at).finish_non_exhaustive()
    }
}

const SCHEME: &str = "Bearer ";
