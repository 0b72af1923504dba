//! Tokens of any make, right by default and wrong where a test wants it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};

use super::json::Json;
use super::keys::SigningKey;
use super::state::State;
use crate::jose::Algorithm;

/// Builds a token of a [`TestIssuer`](super::TestIssuer); [`sign`](Self::sign) returns its text.
///
/// Without any changes it is a good access token: `iss`, `sub`, `iat`, `exp` (an hour later), `jti`, `token_use` `access`, no
/// `aud`, signed with RS256 and the issuer's current key. Each method changes one thing. If a claim or header member is set
/// twice, the last value counts.
///
/// ```
/// use aero2::testing::TestIssuer;
/// use aero2::{Error, TokenErrorKind};
///
/// let test = TestIssuer::new();
/// let rs = test.issuer().resource_server().audience("orders").build()?;
///
/// let good = test
///     .token()
///     .subject("u1")
///     .audience("orders")
///     .scope("api:read api:write")
///     .claim("tier", 3)
///     .sign();
/// let claims = rs.verify_token(&good)?;
/// assert_eq!((claims.subject(), claims.get_i64("tier")), (Some("u1"), Some(3)));
///
/// let late = test.token().audience("orders").expired().sign();
/// let Err(Error::Token(e)) = rs.verify_token(&late) else { panic!("accepted") };
/// assert_eq!(e.kind(), TokenErrorKind::Expired);
/// let forged = test.token().audience("orders").other_key().sign();
/// let Err(Error::Token(e)) = rs.verify_token(&forged) else { panic!("accepted") };
/// assert_eq!(e.kind(), TokenErrorKind::BadSignature);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a token comes of sign()"]
pub struct TestToken {
    state: Arc<State>,
    issuer: String,
    algorithm: Algorithm,
    lifetime: Duration,
    issued_at: Option<SystemTime>,
    claims: Members,
    header: Members,
    raw_payload: Option<Vec<u8>>,
    raw_header: Option<Vec<u8>>,
    signer: Signer,
}

/// What a test set or took away, by name.
type Members = Vec<(String, Option<Json>)>;

#[derive(Clone)]
enum Signer {
    Current,
    Unpublished,
    Broken,
    Function(Arc<SignFunction>),
}

type SignFunction = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

impl TestToken {
    pub(super) fn new(state: Arc<State>, issuer: String) -> Self {
        let (algorithm, lifetime) = (state.settings.algorithm, state.settings.token_lifetime);
        let (claims, header) = (Members::new(), Members::new());
        let (raw_payload, raw_header, signer) = (None, None, Signer::Current);
        Self { state, issuer, algorithm, lifetime, issued_at: None, claims, header, raw_payload, raw_header, signer }
    }

    /// Sets `sub`. Defaults to `test-subject`.
    pub fn subject(self, subject: impl AsRef<str>) -> Self {
        self.claim("sub", subject.as_ref())
    }

    /// Sets `aud` to one audience, as a string. Defaults to no `aud`.
    pub fn audience(self, audience: impl AsRef<str>) -> Self {
        self.claim("aud", audience.as_ref())
    }

    /// Sets `aud` to a list.
    pub fn audiences<A: AsRef<str>>(self, audiences: impl IntoIterator<Item = A>) -> Self {
        let audiences: Vec<Json> = audiences.into_iter().map(|audience| audience.as_ref().into()).collect();
        self.claim("aud", audiences)
    }

    /// Sets `scope`: names separated by spaces. Defaults to no `scope`.
    pub fn scope(self, scope: impl AsRef<str>) -> Self {
        self.claim("scope", scope.as_ref())
    }

    /// Sets `client_id`. Defaults to none.
    pub fn client_id(self, client_id: impl AsRef<str>) -> Self {
        self.claim("client_id", client_id.as_ref())
    }

    /// Sets `token_use`: `access`, `id` or `session`. Defaults to `access`.
    pub fn token_use(self, token_use: impl AsRef<str>) -> Self {
        self.claim("token_use", token_use.as_ref())
    }

    /// Sets `iss`. Defaults to the test issuer's URL.
    pub fn issuer(self, url: impl AsRef<str>) -> Self {
        self.claim("iss", url.as_ref())
    }

    /// Sets `exp` to that long after `iat`. Defaults to one hour.
    pub fn lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// Sets `iat`, and so moves `exp`. Defaults to now.
    pub fn issued_at(self, at: SystemTime) -> Self {
        Self { issued_at: Some(at), ..self }
    }

    /// Sets `nbf`. Defaults to none.
    pub fn not_before(self, at: SystemTime) -> Self {
        self.claim("nbf", numeric_date(at))
    }

    /// Sets `exp`.
    pub fn expires_at(self, at: SystemTime) -> Self {
        self.claim("exp", numeric_date(at))
    }

    /// Makes a token that was issued two hours ago and expired one hour ago.
    pub fn expired(self) -> Self {
        let issued = whole_seconds(self.state.now().checked_sub(2 * HOUR).unwrap_or(UNIX_EPOCH));
        self.issued_at(issued).expires_at(issued + HOUR)
    }

    /// Sets any claim to any value.
    pub fn claim(mut self, name: &str, value: impl Into<Json>) -> Self {
        put(&mut self.claims, name, Some(value.into()));
        self
    }

    /// Removes a claim.
    pub fn without_claim(mut self, name: &str) -> Self {
        put(&mut self.claims, name, None);
        self
    }

    /// Signs with that algorithm and the issuer's current key for it, which is published from now on. Defaults to RS256.
    pub fn algorithm(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// Sets `kid`, whatever key signs.
    pub fn key_id(self, key_id: impl AsRef<str>) -> Self {
        self.header("kid", key_id.as_ref())
    }

    /// Removes `kid`.
    pub fn without_key_id(self) -> Self {
        self.without_header("kid")
    }

    /// Sets `typ`. Defaults to `JWT`.
    pub fn typ(self, typ: impl AsRef<str>) -> Self {
        self.header("typ", typ.as_ref())
    }

    /// Sets any header member to any value. The key that signs stays the same, even for `alg`.
    pub fn header(mut self, name: &str, value: impl Into<Json>) -> Self {
        put(&mut self.header, name, Some(value.into()));
        self
    }

    /// Removes a header member.
    pub fn without_header(mut self, name: &str) -> Self {
        put(&mut self.header, name, None);
        self
    }

    /// Signs this text as the header, instead of everything that was set. It need not be JSON.
    pub fn raw_header(self, text: impl Into<Vec<u8>>) -> Self {
        Self { raw_header: Some(text.into()), ..self }
    }

    /// Signs this text as the payload, instead of everything that was set. It need not be JSON.
    pub fn raw_payload(self, text: impl Into<Vec<u8>>) -> Self {
        Self { raw_payload: Some(text.into()), ..self }
    }

    /// Flips one bit of the signature.
    pub fn bad_signature(self) -> Self {
        Self { signer: Signer::Broken, ..self }
    }

    /// Signs with a key that the issuer does not publish, under the `kid` of one that it does publish.
    pub fn other_key(self) -> Self {
        Self { signer: Signer::Unpublished, ..self }
    }

    /// Lets `sign` make the signature over header and payload. The header stays as it is.
    pub fn sign_with(self, sign: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self { signer: Signer::Function(Arc::new(sign)), ..self }
    }

    /// The token as text. Each call makes a new one, with a `jti` of its own unless you set that.
    ///
    /// # Panics
    /// If the system has no randomness.
    pub fn sign(&self) -> String {
        let key = self.state.signing_key(self.algorithm);
        let header = self.raw_header.clone().unwrap_or_else(|| self.header_text(&key).into_bytes());
        let payload = self.raw_payload.clone().unwrap_or_else(|| self.payload_text().into_bytes());
        let mut token = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = match &self.signer {
            Signer::Current => key.sign(token.as_bytes()),
            Signer::Unpublished => SigningKey::unpublished(self.algorithm).sign(token.as_bytes()),
            Signer::Broken => broken(key.sign(token.as_bytes())),
            Signer::Function(sign) => sign(token.as_bytes()),
        };
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    fn header_text(&self, key: &SigningKey) -> String {
        let defaults = [("alg", self.algorithm.name().into()), ("typ", "JWT".into()), ("kid", Json::from(&key.id))];
        object(defaults, &self.header)
    }

    fn payload_text(&self) -> String {
        let issued = self.issued_at.unwrap_or_else(|| whole_seconds(self.state.now()));
        let expires = issued.checked_add(self.lifetime).unwrap_or(issued);
        let defaults = [
            ("iss", Json::from(&self.issuer)),
            ("sub", "test-subject".into()),
            ("exp", numeric_date(expires)),
            ("iat", numeric_date(issued)),
            ("jti", random_text().into()),
            ("token_use", "access".into()),
        ];
        object(defaults, &self.claims)
    }
}

impl fmt::Debug for TestToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestToken").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn put(members: &mut Members, name: &str, value: Option<Json>) {
    match members.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = value,
        None => members.push((name.to_owned(), value)),
    }
}

/// The defaults in their places, with what the test changed, then what it added.
fn object<const N: usize>(defaults: [(&str, Json); N], changes: &Members) -> String {
    let mut members: Members = defaults.map(|(name, value)| (name.to_owned(), Some(value))).into();
    for (name, value) in changes {
        put(&mut members, name, value.clone());
    }
    Json::object(members.into_iter().filter_map(|(name, value)| Some((name, value?)))).to_string()
}

/// Seconds since 1970 (RFC 7519 §2), with a fraction where there is one.
pub(super) fn numeric_date(at: SystemTime) -> Json {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) if since.subsec_nanos() == 0 => Json::from(since.as_secs()),
        Ok(since) => Json::from(since.as_secs_f64()),
        Err(before) => Json::from(-before.duration().as_secs_f64()),
    }
}

fn whole_seconds(at: SystemTime) -> SystemTime {
    at.duration_since(UNIX_EPOCH).map_or(at, |since| UNIX_EPOCH + Duration::from_secs(since.as_secs()))
}

fn broken(mut signature: Vec<u8>) -> Vec<u8> {
    let middle = signature.len() / 2;
    if let Some(byte) = signature.get_mut(middle) {
        *byte ^= 1;
    }
    signature
}

/// 128 random bits.
#[expect(clippy::expect_used, reason = "documented in TestToken::sign: only a system without randomness gets here")]
pub(super) fn random_text() -> String {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).expect("randomness of the system");
    URL_SAFE_NO_PAD.encode(bytes)
}

const HOUR: Duration = Duration::from_secs(3600);
