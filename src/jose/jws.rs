//! Compact JWS (RFC 7515 §7.1): three parts, read once.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::error::{Error, TokenErrorKind};
use crate::jose::algorithm::Algorithm;
use crate::jose::base64url;
use crate::jose::key::{SignatureChecked, VerificationKey};
use crate::json::{Object, Span, Value};

/// A compact JWS (RFC 7515 §7.1) that was parsed but not yet verified: three parts of canonical base64url, an algorithm that this
/// crate verifies, and no critical header.
///
/// The header members `jwk`, `jku`, `x5u` and `x5c` are never read: a key comes from the verifier, not from the token.
///
/// ```
/// use aero2::jose::{CompactJws, Jwk};
/// // RFC 8037, appendix A.4
/// let key = Jwk::parse(
///     r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
/// )?
/// .verification_key()?;
/// let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
/// hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
/// assert_eq!(CompactJws::parse(token)?.verify(&key)?, b"Example of Ed25519 signing");
///
/// let forged = token.replacen("RXhh", "RXhi", 1);
/// assert!(CompactJws::parse(&forged)?.verify(&key).is_err());
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone)]
pub struct CompactJws<'a> {
    signing_input: &'a str,
    header: Arc<Header>,
    header_was_known: bool,
    /// The payload, and after it the signature: one allocation for both. Wiped, since with its signature a token can be used.
    payload_and_signature: Zeroizing<Vec<u8>>,
    payload_len: usize,
}

/// A header as read, and the segment that it was read from: the tokens of one key have the same one, so that it need not be read
/// again.
pub(crate) struct Header {
    segment: String,
    object: Object,
    algorithm: Algorithm,
    kid: Option<Span>,
    typ: Option<Span>,
}

/// A payload whose signature was checked; it comes from [`CompactJws::take_verified`] alone.
pub(crate) struct VerifiedPayload(Vec<u8>);

impl VerifiedPayload {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl<'a> CompactJws<'a> {
    /// Parses a token. The work is linear in its length, which is for the caller to limit.
    ///
    /// # Errors
    ///
    /// [`Error::Token`] with the kind `Malformed` if this is not three parts of canonical base64url without padding (the payload
    /// may be empty), or if the header is not a JSON object with unique names, has no string `alg`, or has a `kid` or `typ` that
    /// is not a string; `CriticalHeader` for any `crit`; `UnsupportedAlgorithm` for an `alg` that is not an [`Algorithm`].
    pub fn parse(token: &'a str) -> Result<Self, Error> {
        Self::read(None, token).map_err(Error::token)
    }

    /// The algorithm that the header asks for. The key decides whether it is used.
    pub fn algorithm(&self) -> Algorithm {
        self.header.algorithm
    }

    /// The header's `kid` (RFC 7515 §4.1.4), unverified. Compare it to find a key, and use it for nothing else.
    pub fn kid(&self) -> Option<&str> {
        self.header.kid.map(|span| self.header.object.text(span))
    }

    /// The header's `typ` (RFC 7515 §4.1.9), unverified; [`verify`](Self::verify) does not check it.
    pub fn typ(&self) -> Option<&str> {
        self.header.typ.map(|span| self.header.object.text(span))
    }

    /// Verifies the signature and returns the payload.
    ///
    /// # Errors
    ///
    /// [`Error::Token`] with the kind `UnfitKey` if the key is not for the header's algorithm, or `BadSignature` if the signature
    /// was not made with that key.
    pub fn verify(&self, key: &VerificationKey) -> Result<Vec<u8>, Error> {
        if !key.fits(self.algorithm()) {
            return Err(Error::token(TokenErrorKind::UnfitKey));
        }
        match self.check(key) {
            Some(_) => Ok(self.payload().to_vec()),
            None => Err(Error::token(TokenErrorKind::BadSignature)),
        }
    }

    /// As [`parse`](Self::parse); a header of the same segment as `known` is not read again.
    pub(crate) fn read(known: Option<Arc<Header>>, token: &'a str) -> Result<Self, TokenErrorKind> {
        let Parts { signing_input, header, payload, signature } = Parts::of(token).ok_or(TokenErrorKind::Malformed)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(payload.len() + signature.len()));
        base64url::append(payload, &mut bytes).ok_or(TokenErrorKind::Malformed)?;
        let payload_len = bytes.len();
        base64url::append(signature, &mut bytes).ok_or(TokenErrorKind::Malformed)?;
        let known = known.filter(|known| known.segment == header);
        let header_was_known = known.is_some();
        let header = known.map_or_else(|| Header::read(header).map(Arc::new), Ok)?;
        Ok(Self { signing_input, header, header_was_known, payload_and_signature: bytes, payload_len })
    }

    /// The header, if it had to be read.
    pub(crate) fn new_header(&self) -> Option<&Arc<Header>> {
        if self.header_was_known { None } else { Some(&self.header) }
    }

    pub(crate) fn check(&self, key: &VerificationKey) -> Option<SignatureChecked> {
        key.verify(self.algorithm(), self.signing_input.as_bytes(), self.signature())
    }

    /// The payload, taken out, for the proof that this token's signature was checked.
    pub(crate) fn take_verified(&mut self, SignatureChecked { .. }: SignatureChecked) -> VerifiedPayload {
        let mut payload = std::mem::take(&mut *self.payload_and_signature);
        let payload_len = std::mem::take(&mut self.payload_len);
        // The compiler cannot leave this out, since it has to take the bytes for read.
        payload.get_mut(payload_len..).unwrap_or_default().fill(0);
        std::hint::black_box(payload.as_mut_slice());
        payload.truncate(payload_len);
        VerifiedPayload(payload)
    }

    /// The payload, which anybody may have written.
    pub(crate) fn unverified_payload(&self) -> &[u8] {
        self.payload()
    }

    /// Signing input, payload and signature, unverified.
    #[cfg(fuzzing)]
    pub(crate) fn parts(&self) -> (&str, &[u8], &[u8]) {
        (self.signing_input, self.payload(), self.signature())
    }

    fn payload(&self) -> &[u8] {
        self.payload_and_signature.get(..self.payload_len).unwrap_or_default()
    }

    fn signature(&self) -> &[u8] {
        self.payload_and_signature.get(self.payload_len..).unwrap_or_default()
    }
}

impl fmt::Debug for CompactJws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompactJws").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

impl Header {
    /// Types first, then `crit` whatever its value (RFC 7515 §4.1.11: no extension is understood here), then the algorithm.
    fn read(segment: &str) -> Result<Self, TokenErrorKind> {
        let json = base64url::decode(segment).ok_or(TokenErrorKind::Malformed)?;
        let text = std::str::from_utf8(&json).map_err(|_| TokenErrorKind::Malformed)?;
        let object = Object::parse(text).map_err(|_| TokenErrorKind::Malformed)?;
        let (mut alg, mut kid, mut typ, mut critical) = (None, None, None, false);
        for (name, element) in object.members().iter() {
            let member = match name {
                "alg" => &mut alg,
                "kid" => &mut kid,
                "typ" => &mut typ,
                "crit" => {
                    critical = true;
                    continue;
                }
                _ => continue,
            };
            let Value::Text(span) = element.value() else { return Err(TokenErrorKind::Malformed) };
            *member = Some(span);
        }
        let alg = alg.ok_or(TokenErrorKind::Malformed)?;
        if critical {
            return Err(TokenErrorKind::CriticalHeader);
        }
        let algorithm = Algorithm::from_name(object.text(alg)).ok_or(TokenErrorKind::UnsupportedAlgorithm)?;
        Ok(Self { segment: segment.to_owned(), object, algorithm, kid, typ })
    }
}

/// The parts of a token as they stand in it.
struct Parts<'a> {
    signing_input: &'a str,
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    /// A missing or empty header or signature is refused here, and parts beyond the third (five are a JWE, RFC 7516 §3.1) with the
    /// signature's base64url, which has no dot.
    fn of(token: &'a str) -> Option<Self> {
        let (header, rest) = token.split_once('.')?;
        let (payload, signature) = rest.split_once('.')?;
        let signing_input = token.get(..header.len() + 1 + payload.len())?;
        let complete = !header.is_empty() && !signature.is_empty();
        complete.then_some(Self { signing_input, header, payload, signature })
    }
}
