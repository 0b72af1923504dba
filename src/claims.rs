//! The claims of a verified access token.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::claims::claim_set::{ClaimSet, ClaimsProblem, NumericDate};
use crate::claims::value::ClaimValue;
#[cfg(feature = "serde")]
use crate::error::{Error, TokenErrorKind};
use crate::jose::jws::VerifiedPayload;

pub(crate) mod claim_set;
pub(crate) mod requirements;
pub(crate) mod value;

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
pub struct Claims(Arc<Inner>);

struct Inner {
    set: ClaimSet,
    present: Present,
}

/// What a verified token has in any case.
pub(crate) struct Present {
    /// The configured one, since it is the same.
    pub(crate) issuer: Arc<str>,
    pub(crate) expires_at: NumericDate,
}

/// Claims behind a checked signature, which are not judged yet.
pub(crate) struct SignedClaims(ClaimSet);

impl SignedClaims {
    /// The claims in a payload, which only a checked signature gives.
    pub(crate) fn parse(payload: VerifiedPayload) -> Result<Self, ClaimsProblem> {
        ClaimSet::from_bytes(payload.into_bytes()).map(Self)
    }

    pub(crate) fn set(&self) -> &ClaimSet {
        &self.0
    }

    pub(crate) fn accept(self, present: Present) -> Claims {
        Claims(Arc::new(Inner { set: self.0, present }))
    }
}

impl Claims {
    pub(crate) fn set(&self) -> &ClaimSet {
        &self.0.set
    }

    /// `iss`: the issuer, byte for byte the configured one.
    pub fn issuer(&self) -> &str {
        &self.0.present.issuer
    }

    /// `sub`: the user, or the client itself for a client_credentials token.
    pub fn subject(&self) -> Option<&str> {
        self.0.set.subject()
    }

    /// `aud`: the services that the token is for; empty if the token does not say.
    pub fn audience(&self) -> &[String] {
        self.0.set.audience().unwrap_or_default()
    }

    /// `exp`: when the token expires.
    pub fn expires_at(&self) -> SystemTime {
        self.0.present.expires_at.time()
    }

    /// `iat`: when the token was issued.
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.0.set.issued_at().map(NumericDate::time)
    }

    /// `nbf`: when the token becomes valid.
    pub fn not_before(&self) -> Option<SystemTime> {
        self.0.set.not_before().map(NumericDate::time)
    }

    /// `jti`: the token's unique id.
    pub fn jwt_id(&self) -> Option<&str> {
        self.0.set.jwt_id()
    }

    /// `client_id`: the client that the token was issued to (RFC 8693 §4.3).
    pub fn client_id(&self) -> Option<&str> {
        self.0.set.client_id()
    }

    /// The client that the token was issued to, whichever claim the issuer writes it to: `client_id`, else `azp`, `cid` or
    /// `appid`.
    pub fn client(&self) -> Option<&str> {
        self.0.set.client()
    }

    /// `token_use`: `access` if the issuer sets it, as Aero2 does.
    pub fn token_use(&self) -> Option<&str> {
        self.0.set.token_use()
    }

    /// `scope`, or else `scp`: the granted scopes, separated by spaces (RFC 6749 §3.3). The members of an array are joined with
    /// spaces.
    pub fn scope(&self) -> Option<&str> {
        self.0.set.scope()
    }

    /// The granted scopes, one by one.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.0.set.scopes()
    }

    /// Whether `scope` was granted.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.0.set.has_scope(scope)
    }

    /// `cnf`: the key that the token is bound to (RFC 7800 §3.1); `None` for a plain bearer token. A resource server refuses
    /// bound tokens unless it is told otherwise: see [`SenderConstraint`](crate::SenderConstraint).
    pub fn confirmation(&self) -> Option<Confirmation<'_>> {
        Confirmation::of(&self.0.set)
    }

    /// The value of a top-level claim, whatever its type. A claim that is null counts as absent.
    pub fn get(&self, name: &str) -> Option<ClaimValue<'_>> {
        self.0.set.get(name)
    }

    /// The value at a JSON Pointer (RFC 6901), such as `/realm_access/roles`; `None` if there is none, if it is null, or if this
    /// is not a pointer.
    pub fn pointer(&self, pointer: &str) -> Option<ClaimValue<'_>> {
        self.0.set.pointer(pointer)
    }

    /// The string in a top-level claim; `None` if there is no such claim, or if it is not a string.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.0.set.get_str(name)
    }

    /// The boolean in a top-level claim; `None` if there is no such claim, or if it is not a boolean.
    pub fn get_bool(&self, name: &str) -> Option<bool> {
        self.0.set.get_bool(name)
    }

    /// The integer in a top-level claim; `None` if there is no such claim, if it is written with a fraction or an exponent, or if
    /// it does not fit an `i64`.
    pub fn get_i64(&self, name: &str) -> Option<i64> {
        self.0.set.get_i64(name)
    }

    /// The number in a top-level claim; `None` if there is no such claim, if it is not a number, or if it does not fit an `f64`.
    pub fn get_f64(&self, name: &str) -> Option<f64> {
        self.0.set.get_f64(name)
    }

    /// The JSON text of all claims, exactly as it was signed.
    pub fn raw_json(&self) -> &str {
        self.0.set.raw_json()
    }

    /// Reads all claims into a type of yours. Feature `serde`.
    ///
    /// # Errors
    ///
    /// [`Error::Token`](crate::Error::Token) with [`TokenErrorKind::InvalidClaim`] if the claims do not fit that type.
    #[cfg(feature = "serde")]
    pub fn deserialize<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        // serde_json's own error quotes values, so it goes no further.
        serde_json::from_str(self.raw_json()).map_err(|_| Error::token(TokenErrorKind::InvalidClaim))
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
        self.0.set.serialize(serializer)
    }
}
