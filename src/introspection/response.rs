//! What an issuer says of a token.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::claims::Confirmation;
use crate::claims::claim_set::{ClaimSet, NumericDate};
use crate::claims::requirements::ClaimRequirements;
use crate::error::{Error, TokenErrorKind};
use crate::time::Now;

/// What the issuer says about a token. "Inactive" is an answer, not an error.
#[derive(Clone, Debug)]
#[must_use = "an inactive token must not be accepted"]
pub enum Introspection {
    /// The token is active.
    Active(TokenInfo),
    /// The token is expired, revoked, malformed, from another issuer, or not this client's to ask about; the issuer never says
    /// which. Respond with 401.
    Inactive,
}

impl Introspection {
    /// Whether the token is active.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active().is_some()
    }

    /// What the issuer reports about the token, if it is active.
    #[must_use]
    pub fn active(&self) -> Option<&TokenInfo> {
        match self {
            Self::Active(info) => Some(info),
            Self::Inactive => None,
        }
    }
}

/// What the issuer reports about an active token (RFC 7662 §2.2). It resembles [`Claims`](crate::Claims), but an issuer may leave
/// out anything. A clone is a pointer; `Debug` shows no values.
#[derive(Clone)]
pub struct TokenInfo(Arc<Inner>);

struct Inner {
    claims: ClaimSet,
    token_type: Option<String>,
}

impl TokenInfo {
    pub(crate) fn new(claims: ClaimSet, token_type: Option<&str>) -> Self {
        Self(Arc::new(Inner { claims, token_type: token_type.map(str::to_owned) }))
    }

    /// The first of the requirements that the answer does not meet, in the order in which a JWT is checked.
    pub(crate) fn check(&self, requirements: &ClaimRequirements) -> Result<(), Error> {
        let claims = &self.0.claims;
        if let Some(expected) = &requirements.audiences {
            let mut audiences = claims.audiences().ok_or(TokenErrorKind::InvalidClaim)?;
            if !audiences.any(|audience| expected.contains(audience)) {
                return Err(TokenErrorKind::WrongAudience.into());
            }
        }
        if !requirements.has_scopes(claims) {
            let named: Vec<String> = requirements.named_scopes().cloned().collect();
            return Err(Error::insufficient_scope(&named));
        }
        match requirements.unmet_claim(claims) {
            Some(_) => Err(TokenErrorKind::InsufficientClaim.into()),
            None => Ok(()),
        }
    }

    /// `token_type`, such as `Bearer`.
    pub fn token_type(&self) -> Option<&str> {
        self.0.token_type.as_deref()
    }

    /// `iss`; if present, it is the configured issuer.
    pub fn issuer(&self) -> Option<&str> {
        self.0.claims.issuer()
    }

    /// `sub`: a user's id, or the client's own for an M2M token.
    pub fn subject(&self) -> Option<&str> {
        self.0.claims.subject()
    }

    /// `aud`: the services that the token is for.
    pub fn audience(&self) -> Option<&[String]> {
        self.0.claims.audience()
    }

    /// `exp`: when the token expires.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.0.claims.expires_at().map(NumericDate::time)
    }

    /// `iat`: when the token was issued.
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.0.claims.issued_at().map(NumericDate::time)
    }

    /// `nbf`: when the token becomes valid.
    pub fn not_before(&self) -> Option<SystemTime> {
        self.0.claims.not_before().map(NumericDate::time)
    }

    /// `jti`: the token's unique id.
    pub fn jwt_id(&self) -> Option<&str> {
        self.0.claims.jwt_id()
    }

    /// `client_id`: the client that the token was issued to.
    pub fn client_id(&self) -> Option<&str> {
        self.0.claims.client_id()
    }

    /// `token_use`: `access` for an access token of Aero2.
    pub fn token_use(&self) -> Option<&str> {
        self.0.claims.token_use()
    }

    /// `scope`: the granted scopes, separated by spaces.
    pub fn scope(&self) -> Option<&str> {
        self.0.claims.scope()
    }

    /// The granted scopes, one by one.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.0.claims.scopes()
    }

    /// Whether `scope` was granted.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.0.claims.has_scope(scope)
    }

    /// `cnf`: the key that the token is bound to (RFC 8705 §3.2, RFC 9449 §6.2); `None` for a plain bearer token. The issuer only
    /// reports it: it is for the caller to check that the sender has that key.
    pub fn confirmation(&self) -> Option<Confirmation<'_>> {
        Confirmation::of(&self.0.claims)
    }

    /// The string in any other member; `None` if there is no such member, or if it is not a string.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.0.claims.get_str(name)
    }

    /// The boolean in any other member; `None` if there is no such member, or if it is not a boolean.
    pub fn get_bool(&self, name: &str) -> Option<bool> {
        self.0.claims.get_bool(name)
    }

    /// The integer in any other member; `None` if there is no such member, or if it does not fit an `i64`.
    pub fn get_i64(&self, name: &str) -> Option<i64> {
        self.0.claims.get_i64(name)
    }

    /// The number in any other member; `None` if there is no such member, or if it is not a number.
    pub fn get_f64(&self, name: &str) -> Option<f64> {
        self.0.claims.get_f64(name)
    }

    /// The JSON text of the whole answer, as it was received.
    pub fn raw_json(&self) -> &str {
        self.0.claims.raw_json()
    }
}

/// Whether `exp` lies ahead and `nbf` does not, without tolerance: it is the issuer's own clock that was asked.
///
/// # Errors
/// [`Error::Clock`] if there is such a time and the wall clock is not set.
pub(crate) fn is_in_its_time(info: &TokenInfo, now: Now) -> Result<bool, Error> {
    if info.expires_at().is_none() && info.not_before().is_none() {
        return Ok(true);
    }
    let wall = now.wall.ok_or_else(Error::clock)?;
    let ended = info.expires_at().is_some_and(|at| at <= wall);
    let ahead = info.not_before().is_some_and(|at| at > wall);
    Ok(!ended && !ahead)
}

impl fmt::Debug for TokenInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenInfo").finish_non_exhaustive()
    }
}

/// Serializes as the object that came, `active` and all.
#[cfg(feature = "serde")]
impl serde::Serialize for TokenInfo {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.claims.serialize(serializer)
    }
}
