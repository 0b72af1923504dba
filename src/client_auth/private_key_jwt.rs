//! `private_key_jwt`: a client shows who it is by a JWT of its own (RFC 7523 §2.2 and §3, OIDC Core §9).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};

use crate::client_auth::signing_key::SigningKey;
use crate::error::{ConfigProblem, Error};
use crate::jose::algorithm::Algorithm;
use crate::json::write::push_string;
use crate::secret::Secret;
use crate::time::Now;

/// Client authentication with `private_key_jwt` (RFC 7523): the client signs a short-lived assertion, and its key is never sent.
///
/// The *secret* of the client is then its private key: a PKCS#8 PEM, as `openssl genpkey` writes it. Like any
/// [`SecretSource`](crate::SecretSource) it may come from a file, the environment or a function, and it is read anew for each
/// request, so a rotated key takes effect with the next one. The key determines the algorithm: P-256 signs with ES256, P-384 with
/// ES384, Ed25519 with EdDSA, and RSA (2048 bits or more) with RS256 unless [`algorithm`](Self::algorithm) says otherwise.
///
/// Each assertion is valid for one minute, so the wall clock must be set; otherwise the call fails with
/// [`Error::Clock`](crate::Error::Clock).
///
/// ```
/// use aero2::{Issuer, PrivateKeyJwt, SecretSource};
/// let issuer = Issuer::builder("https://acme.aero2.dev")
///     .transport(|_: &aero2::Request<'_>| Ok(aero2::Response::new(503, [], Vec::new())))
///     .build()?;
/// let m2m = issuer
///     .m2m_client("svc-orders", SecretSource::file("/run/secrets/svc-orders.pem"))
///     .client_auth(PrivateKeyJwt::new().key_id("2026-11"))
///     .build()?;
///
/// let err = issuer
///     .m2m_client("svc-orders", "a secret text")
///     .client_auth(PrivateKeyJwt::new())
///     .build()
///     .unwrap_err();
/// assert!(err.to_string().contains("PKCS#8 PEM"));
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[must_use]
pub struct PrivateKeyJwt {
    key_id: Option<String>,
    algorithm: Option<Algorithm>,
    audience: Option<String>,
}

impl PrivateKeyJwt {
    /// The default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// The `kid` in the assertion's header, by which the issuer finds the public key. Defaults to none.
    pub fn key_id(self, key_id: impl Into<String>) -> Self {
        Self { key_id: Some(key_id.into()), ..self }
    }

    /// The algorithm that the issuer expects; a key of another kind is then an [`Error::Config`](crate::Error::Config). Defaults
    /// to what the key is for, which for RSA is RS256.
    pub fn algorithm(self, algorithm: Algorithm) -> Self {
        Self { algorithm: Some(algorithm), ..self }
    }

    /// The `aud` of the assertion. Defaults to the issuer's URL, as the revision of RFC 7523 requires, because an assertion for
    /// the issuer cannot be replayed at another one. If your issuer follows the older rule, set the URL of its token endpoint.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        Self { audience: Some(audience.into()), ..self }
    }

    /// The key in that PEM, if this client can sign with it.
    pub(crate) fn read_key(&self, pem: &Secret) -> Result<SigningKey, Error> {
        SigningKey::from_pem(pem.expose_secret(), self.algorithm)
    }

    /// A new assertion of `client_id` for `issuer`.
    pub(crate) fn assertion(&self, client_id: &str, issuer: &str, now: Now, pem: &Secret) -> Result<Secret, Error> {
        let issued_at = now.wall.ok_or_else(Error::clock)?;
        let key = self.read_key(pem)?;
        let claims = claims(client_id, self.audience.as_deref().unwrap_or(issuer), issued_at)?;
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", encode(&self.header(&key)), encode(&claims));
        let signature = key.sign(signed.as_bytes())?;
        Ok(Secret::from(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }

    fn header(&self, key: &SigningKey) -> String {
        let kid = self.key_id.as_deref().map_or_else(String::new, |id| format!(",\"kid\":{}", quoted(id)));
        format!(r#"{{"alg":"{}","typ":"JWT"{kid}}}"#, key.algorithm())
    }
}

/// What RFC 7523 §3 asks for, and `jti` so that the issuer can refuse a second use.
fn claims(client_id: &str, audience: &str, issued_at: SystemTime) -> Result<String, Error> {
    let mut id = [0; 16];
    SystemRandom::new().fill(&mut id).map_err(|_| Error::config(ConfigProblem::NoRandomness))?;
    let issued_at = issued_at.duration_since(UNIX_EPOCH).map_err(|_| Error::clock())?;
    let expires_at = issued_at.saturating_add(LIFETIME).as_secs();
    let (client_id, audience, id) = (quoted(client_id), quoted(audience), URL_SAFE_NO_PAD.encode(id));
    let issued_at = issued_at.as_secs();
    Ok(format!(
        r#"{{"iss":{client_id},"sub":{client_id},"aud":{audience},"jti":"{id}","iat":{issued_at},"exp":{expires_at}}}"#
    ))
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    push_string(text, &mut out);
    out
}

/// `client_assertion_type` of a JWT (RFC 7523 §2.2).
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Long enough for a slow request and clocks a little apart, too short to be worth stealing.
const LIFETIME: Duration = Duration::from_secs(60);
