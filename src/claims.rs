//! The claims of a verified access token.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::claims::claim_set::{ClaimSet, ClaimsProblem, NumericDate};
use crate::error::TokenErrorKind;
use crate::jose::jws::VerifiedPayload;

pub(crate) mod claim_set;

/// The claims of an access token that passed every check, its signature first (RFC 7519 §4, RFC 9068 §2.2).
///
/// Only a [`ResourceServer`](crate::ResourceServer) makes them. A clone is cheap and shares the claims; `Debug` shows no values.
///
/// ```
/// let test = aero2::testing::TestIssuer::new();
/// let rs = test.issuer().resource_server().audience("orders").build()?;
/// let token = test
///     .token()
///     .subject("u1")
///     .audience("orders")
///     .scope("api:read api:write")
///     .claim("tenant", "acme")
///     .sign();
///
/// let claims = rs.verify_token(&token)?;
/// assert_eq!(claims.issuer(), test.url());
/// assert_eq!(claims.subject(), Some("u1"));
/// assert_eq!(claims.audience(), ["orders"]);
/// assert!(claims.has_scope("api:read") && !claims.has_scope("api"));
/// assert_eq!(claims.get_str("tenant"), Some("acme"));
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone)]
pub struct Claims(Arc<ClaimSet>);

impl Claims {
    /// The claims in a payload, which only a checked signature gives.
    pub(crate) fn parse(payload: VerifiedPayload) -> Result<Self, TokenErrorKind> {
        Ok(Self(Arc::new(ClaimSet::from_bytes(payload.into_bytes()).map_err(refused)?)))
    }

    pub(crate) fn set(&self) -> &ClaimSet {
        &self.0
    }

    /// `iss`: the issuer, byte for byte the configured one.
    pub fn issuer(&self) -> &str {
        // A token without `iss` is refused before its claims get out.
        self.0.issuer().unwrap_or_default()
    }

    /// `sub`: the user, or the client itself for a client_credentials token.
    pub fn subject(&self) -> Option<&str> {
        self.0.subject()
    }

    /// `aud`: the services that the token is for; empty if the token does not say.
    pub fn audience(&self) -> &[String] {
        self.0.audience().unwrap_or_default()
    }

    /// `exp`: when the token expires.
    pub fn expires_at(&self) -> SystemTime {
        // A token without `exp` is refused before its claims get out.
        self.0.expires_at().map_or(UNIX_EPOCH, NumericDate::time)
    }

    /// `iat`: when the token was issued.
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.0.issued_at().map(NumericDate::time)
    }

    /// `nbf`: when the token becomes valid.
    pub fn not_before(&self) -> Option<SystemTime> {
        self.0.not_before().map(NumericDate::time)
    }

    /// `jti`: the token's unique id.
    pub fn jwt_id(&self) -> Option<&str> {
        self.0.jwt_id()
    }

    /// `client_id`: the client that the token was issued to (RFC 8693 §4.3).
    pub fn client_id(&self) -> Option<&str> {
        self.0.client_id()
    }

    /// `token_use`: `access` if the issuer sets it, as Aero2 does.
    pub fn token_use(&self) -> Option<&str> {
        self.0.token_use()
    }

    /// `scope`, or else `scp`: the granted scopes, separated by spaces (RFC 6749 §3.3). The members of an array are joined with
    /// spaces.
    pub fn scope(&self) -> Option<&str> {
        self.0.scope()
    }

    /// The granted scopes, one by one.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.0.scopes()
    }

    /// Whether `scope` was granted.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.0.has_scope(scope)
    }

    /// `cnf`: the key that the token is bound to (RFC 7800 §3.1); `None` for a plain bearer token. A resource server refuses
    /// bound tokens unless it is told otherwise: see [`SenderConstraint`](crate::SenderConstraint).
    pub fn confirmation(&self) -> Option<Confirmation<'_>> {
        Confirmation::of(&self.0)
    }

    /// The string in a top-level claim; `None` if there is no such claim, or if it is not a string.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.0.get_str(name)
    }

    /// The boolean in a top-level claim; `None` if there is no such claim, or if it is not a boolean.
    pub fn get_bool(&self, name: &str) -> Option<bool> {
        self.0.get_bool(name)
    }

    /// The integer in a top-level claim; `None` if there is no such claim, if it is written with a fraction or an exponent, or if
    /// it does not fit an `i64`.
    pub fn get_i64(&self, name: &str) -> Option<i64> {
        self.0.get_i64(name)
    }

    /// The number in a top-level claim; `None` if there is no such claim, if it is not a number, or if it does not fit an `f64`.
    pub fn get_f64(&self, name: &str) -> Option<f64> {
        self.0.get_f64(name)
    }

    /// The JSON text of all claims, exactly as it was signed.
    pub fn raw_json(&self) -> &str {
        self.0.raw_json()
    }

    /// Reads all claims into a type of yours. Feature `serde`.
    ///
    /// # Errors
    ///
    /// [`Error::Token`](crate::Error::Token) with [`TokenErrorKind::InvalidClaim`] if the claims do not fit that type.
    #[cfg(feature = "serde")]
    pub fn deserialize<T: serde::de::DeserializeOwned>(&self) -> Result<T, crate::error::Error> {
        // serde_json's own error quotes values, so it goes no further.
        serde_json::from_str(self.raw_json()).map_err(|_| crate::error::Error::token(TokenErrorKind::InvalidClaim))
    }
}

/// What a token with such claims is refused with.
pub(crate) fn refused(problem: ClaimsProblem) -> TokenErrorKind {
    match problem {
        ClaimsProblem::NotAnObject => TokenErrorKind::Malformed,
        ClaimsProblem::Claim(_) => TokenErrorKind::InvalidClaim,
    }
}

/// The claim `cnf` (RFC 7800 §3.1): the key that the sender of the token must prove to hold. If both accessors return `None`, the
/// token is bound in a way that this crate does not know, but it is still bound.
#[derive(Clone, Copy)]
pub struct Confirmation<'a>(&'a ClaimSet);

impl<'a> Confirmation<'a> {
    pub(crate) fn of(claims: &'a ClaimSet) -> Option<Self> {
        claims.is_sender_constrained().then_some(Self(claims))
    }

    /// `jkt`: the SHA-256 thumbprint, in base64url, of the key that must have signed the DPoP proof (RFC 9449 §6.1).
    pub fn jkt(self) -> Option<&'a str> {
        self.0.key_thumbprint()
    }

    /// `x5t#S256`: the SHA-256 thumbprint, in base64url, of the client certificate that the TLS connection must have shown (RFC 8705 §3.1).
    pub fn x5t_s256(self) -> Option<&'a str> {
        self.0.certificate_thumbprint()
    }
}

impl fmt::Debug for Confirmation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Confirmation(..)")
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims(..)")
    }
}

/// Serializes as the object that was signed.
#[cfg(feature = "serde")]
impl serde::Serialize for Claims {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
