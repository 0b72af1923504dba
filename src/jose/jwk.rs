//! JSON Web Keys and sets of them (RFC 7517), read for one purpose: verifying signatures.

use std::str::FromStr;
use std::sync::Arc;
use std::{fmt, iter, slice};

use crate::error::{ConfigProblem, Error, JwkProblem};
use crate::jose::algorithm::Algorithm;
use crate::jose::base64url;
use crate::jose::key::{Material, VerificationKey};
use crate::json::{Element, Members, Object, WrongType};

/// One public key as JSON (RFC 7517 §4).
///
/// The certificate members (`x5c`, `x5u`, `x5t`, `x5t#S256`) are never read.
///
/// ```
/// use aero2::jose::Jwk;
/// // RFC 8037, appendix A.2
/// let jwk = Jwk::parse(
///     r#"{"kty":"OKP","crv":"Ed25519","kid":"1",
///         "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
/// )?;
/// assert_eq!(jwk.kid(), Some("1"));
/// let key = jwk.verification_key()?;
///
/// let for_encryption = r#"{"kty":"OKP","crv":"Ed25519","use":"enc",
///     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
/// assert!(Jwk::parse(for_encryption)?.verification_key().is_err());
/// # Ok::<(), aero2::Error>(())
/// ```
///
/// Key material counts by its value: leading zeros, padding and the standard base64 alphabet do no harm there. A member that is
/// null counts as absent.
#[derive(Clone)]
pub struct Jwk {
    kid: Option<Arc<str>>,
    key: Result<VerificationKey, JwkProblem>,
}

impl Jwk {
    /// Parses one key.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if the text is not a JSON object with unique member names.
    pub fn parse(json: &str) -> Result<Self, Error> {
        let object = Object::parse(json).map_err(|_| problem(JwkProblem::NotAnObject))?;
        Ok(Self::read(&object.members(), true))
    }

    /// The key's `kid` (RFC 7517 §4.5).
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The key itself, together with the algorithms that it serves.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if this is not a public key for verifying signatures: if a member is missing or bad, if the key is
    /// symmetric or private, if its type or curve is not supported, if an RSA key is not between 2048 and 8192 bits long, or if
    /// `use`, `key_ops` or `alg` name another purpose.
    pub fn verification_key(&self) -> Result<VerificationKey, Error> {
        self.key.clone().map_err(problem)
    }

    /// `has_room`: whether the set may still have another usable key. Curve arithmetic is done only then.
    fn read(members: &Members<'_>, has_room: bool) -> Self {
        let kid = members.string("kid").ok().flatten().map(Arc::from);
        Self { kid, key: read_key(members, has_room) }
    }

    fn fitting(&self, algorithm: Algorithm) -> Option<&VerificationKey> {
        self.key.as_ref().ok().filter(|key| key.fits(algorithm))
    }

    /// Symmetric and private keys leave no trace, not even their `kid`, since they are no part of a public set.
    fn leaves_no_trace(&self) -> bool {
        matches!(self.key, Err(JwkProblem::Private | JwkProblem::Symmetric))
    }
}

impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwk").field("kid", &self.kid).field("key", &self.key).finish()
    }
}

/// A JWK set (RFC 7517 §5): the keys with which the signatures of an issuer can be verified.
///
/// Members that cannot be used (other key types, other uses, malformed or private keys) are skipped, as the RFC asks;
/// [`skipped_reasons`](Self::skipped_reasons) tells why. Of a set with more than 100 usable keys the first 100 are used. A clone
/// is cheap and shares the keys.
///
/// ```
/// use aero2::jose::JwkSet;
/// let set = JwkSet::parse(
///     r#"{"keys":[
/// {"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
/// {"kty":"oct","kid":"2","k":"c2VjcmV0"}
/// ]}"#,
/// )?;
/// assert_eq!((set.len(), set.skipped()), (1, 1));
/// assert!(set.find("1").is_some() && set.find("2").is_none());
/// assert!(set.skipped_reasons().all(|reason| reason.contains("symmetric")));
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone)]
pub struct JwkSet(Arc<SetRepr>);

struct SetRepr {
    usable: Vec<Jwk>,
    /// Keys that verify nothing: a token that names one is refused without another fetch.
    unfit: Vec<Jwk>,
    /// One for each skipped member.
    skipped: Vec<JwkProblem>,
    /// The document itself, for a snapshot.
    text: Box<str>,
}

/// What a key set has for a token.
pub(crate) enum Candidates<'s> {
    /// At least one; each is tried.
    Keys(Vec<&'s VerificationKey>),
    One(&'s VerificationKey),
    UnknownKid,
    Unfit,
    Ambiguous,
}

impl JwkSet {
    /// Parses a key set.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if the text is not a JSON object with an array `keys`, or if any object in it has two members with the
    /// same name.
    pub fn parse(json: &str) -> Result<Self, Error> {
        let object = Object::parse(json).map_err(|_| Error::config(ConfigProblem::JwkSet))?;
        let keys = object.members().get("keys");
        let keys = keys.as_ref().and_then(Element::elements).ok_or_else(|| Error::config(ConfigProblem::JwkSet))?;
        let mut set = SetRepr { usable: Vec::new(), unfit: Vec::new(), skipped: Vec::new(), text: json.into() };
        for element in keys {
            let Some(members) = element.members() else {
                set.skipped.push(JwkProblem::NotAnObject);
                continue;
            };
            let jwk = Jwk::read(&members, set.usable.len() < MAX_KEYS);
            let Err(problem) = jwk.key else {
                set.usable.push(jwk);
                continue;
            };
            set.skipped.push(problem);
            if jwk.kid.is_some() && !jwk.leaves_no_trace() {
                set.unfit.push(jwk);
            }
        }
        Ok(Self(Arc::new(set)))
    }

    /// The text that the set was read from.
    pub(crate) fn text(&self) -> &str {
        &self.0.text
    }

    /// The number of usable keys.
    pub fn len(&self) -> usize {
        self.0.usable.len()
    }

    /// Whether there is no usable key.
    pub fn is_empty(&self) -> bool {
        self.0.usable.is_empty()
    }

    /// The number of members of `keys` that were skipped because they cannot be used.
    pub fn skipped(&self) -> usize {
        self.0.skipped.len()
    }

    /// Why each of the [`skipped`](Self::skipped) members cannot be used, in the order of the document. The texts name a member,
    /// never its value; they are written for people, and the wording may change.
    pub fn skipped_reasons(&self) -> impl Iterator<Item = String> {
        self.0.skipped.iter().map(ToString::to_string)
    }

    /// The usable keys, in the order of the document.
    pub fn iter(&self) -> slice::Iter<'_, Jwk> {
        self.0.usable.iter()
    }

    /// The first usable key with this `kid`, compared byte for byte.
    pub fn find(&self, kid: &str) -> Option<&Jwk> {
        self.iter().find(|jwk| jwk.kid() == Some(kid))
    }

    /// The keys for a token's `kid` and algorithm: a `kid` is looked up for equality and for nothing else; without one there must be
    /// no choice. Several keys may have one `kid`; the first [`MAX_CANDIDATES`] that fit are tried.
    pub(crate) fn candidates(&self, kid: Option<&str>, algorithm: Algorithm) -> Candidates<'_> {
        let SetRepr { usable, unfit, .. } = &*self.0;
        let named = |jwk: &&Jwk| kid.is_none() || jwk.kid() == kid;
        let mut fitting = usable.iter().filter(named).filter_map(|jwk| jwk.fitting(algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Candidates::One(key),
            (Some(_), Some(_)) if kid.is_none() => Candidates::Ambiguous,
            (Some(first), Some(second)) => {
                Candidates::Keys([first, second].into_iter().chain(fitting).take(MAX_CANDIDATES).collect())
            }
            (None, _) if kid.is_none() || usable.iter().chain(unfit).any(|jwk| named(&jwk)) => Candidates::Unfit,
            (None, _) => Candidates::UnknownKid,
        }
    }

    /// Whether any key of the set has this `kid`, usable or not.
    pub(crate) fn contains_kid(&self, kid: &str) -> bool {
        self.0.usable.iter().chain(&self.0.unfit).any(|jwk| jwk.kid() == Some(kid))
    }

    /// The kids of all keys, fit or not.
    pub(crate) fn kids(&self) -> impl Iterator<Item = &str> {
        self.0.usable.iter().chain(&self.0.unfit).filter_map(Jwk::kid)
    }

    /// Whether a key of this material still serves this algorithm.
    pub(crate) fn still_has(&self, digest: &[u8; 32], algorithm: Algorithm) -> bool {
        self.0.usable.iter().filter_map(|jwk| jwk.fitting(algorithm)).any(|key| key.digest() == digest)
    }
}

impl fmt::Debug for JwkSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwkSet").field("keys", &self.0.usable).field("skipped", &self.skipped()).finish()
    }
}

impl<'s> IntoIterator for &'s JwkSet {
    type Item = &'s Jwk;
    type IntoIter = slice::Iter<'s, Jwk>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromStr for JwkSet {
    type Err = Error;

    fn from_str(json: &str) -> Result<Self, Error> {
        Self::parse(json)
    }
}

impl TryFrom<&str> for JwkSet {
    type Error = Error;

    fn try_from(json: &str) -> Result<Self, Error> {
        Self::parse(json)
    }
}

impl FromStr for Jwk {
    type Err = Error;

    fn from_str(json: &str) -> Result<Self, Error> {
        Self::parse(json)
    }
}

impl TryFrom<&str> for Jwk {
    type Error = Error;

    fn try_from(json: &str) -> Result<Self, Error> {
        Self::parse(json)
    }
}

fn problem(problem: JwkProblem) -> Error {
    Error::config(ConfigProblem::Jwk(problem))
}

fn read_key(members: &Members<'_>, has_room: bool) -> Result<VerificationKey, JwkProblem> {
    if members.string("kty") == Ok(Some("oct")) {
        return Err(JwkProblem::Symmetric);
    }
    // A public RSA key may say that it has no other primes (RFC 7518 §6.3.2.7).
    let no_other_primes = |name: &str| {
        name == "oth" && members.array(name).is_ok_and(|primes| primes.is_some_and(|primes| primes.is_empty()))
    };
    if PRIVATE_MEMBERS.iter().any(|name| members.contains(name) && !no_other_primes(name)) {
        return Err(JwkProblem::Private);
    }
    if !has_room {
        return Err(JwkProblem::TooMany);
    }
    let kind = text(members, "kty")?;
    optional_text(members, "kid")?;
    let own = own_algorithm(members)?;
    let material = match kind {
        "RSA" => Material::rsa(members)?,
        "EC" => Material::ec(members)?,
        "OKP" => Material::okp(members)?,
        _ => return Err(JwkProblem::Unsupported),
    };
    VerificationKey::new(material, own)
}

/// The one algorithm that the key is for, if it names one. `use` and `key_ops`, where present, must both allow verifying
/// (RFC 7517 §4.2, §4.3).
fn own_algorithm(members: &Members<'_>) -> Result<Option<Algorithm>, JwkProblem> {
    let for_signatures = optional_text(members, "use")?.is_none_or(|used| used == "sig");
    let operations = members.strings("key_ops").map_err(|WrongType| JwkProblem::Member("key_ops"))?;
    if !for_signatures || !operations.is_none_or(|operations| operations.contains(&"verify")) {
        return Err(JwkProblem::NotForVerification);
    }
    let Some(name) = optional_text(members, "alg")? else { return Ok(None) };
    Algorithm::from_name(name).map(Some).ok_or(JwkProblem::NotForVerification)
}

impl Material {
    /// RFC 7518 §6.3.1.
    fn rsa(members: &Members<'_>) -> Result<Self, JwkProblem> {
        let (n, e) = (integer(members, "n")?, integer(members, "e")?);
        Ok(Self::Rsa(ring::signature::RsaPublicKeyComponents { n, e }))
    }

    /// RFC 7518 §6.2.1.
    fn ec(members: &Members<'_>) -> Result<Self, JwkProblem> {
        let (of_curve, len): (fn(Vec<u8>) -> Self, usize) = match text(members, "crv")? {
            "P-256" => (Self::P256, 32),
            "P-384" => (Self::P384, 48),
            _ => return Err(JwkProblem::Unsupported),
        };
        // The uncompressed form of SEC 1 §2.3.3, which is what ring takes.
        let mut point = vec![4];
        for name in ["x", "y"] {
            let coordinate = integer(members, name)?;
            let zeros = len.checked_sub(coordinate.len()).ok_or(JwkProblem::Coordinates)?;
            point.extend(iter::repeat_n(0, zeros));
            point.extend(coordinate);
        }
        Ok(of_curve(point))
    }

    /// RFC 8037 §2.
    fn okp(members: &Members<'_>) -> Result<Self, JwkProblem> {
        match text(members, "crv")? {
            "Ed25519" => Ok(Self::Ed25519(bytes(members, "x")?)),
            _ => Err(JwkProblem::Unsupported),
        }
    }
}

fn optional_text<'o>(members: &Members<'o>, name: &'static str) -> Result<Option<&'o str>, JwkProblem> {
    members.string(name).map_err(|WrongType| JwkProblem::Member(name))
}

fn text<'o>(members: &Members<'o>, name: &'static str) -> Result<&'o str, JwkProblem> {
    optional_text(members, name)?.ok_or(JwkProblem::Member(name))
}

fn bytes(members: &Members<'_>, name: &'static str) -> Result<Vec<u8>, JwkProblem> {
    base64url::decode_lenient(text(members, name)?).ok_or(JwkProblem::Member(name))
}

/// Big-endian, without leading zeros.
fn integer(members: &Members<'_>, name: &'static str) -> Result<Vec<u8>, JwkProblem> {
    let bytes = bytes(members, name)?;
    Ok(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

/// No issuer publishes as many; 256 KiB could hold fourteen times that, each of which costs curve arithmetic.
const MAX_KEYS: usize = 100;

/// Signature checks that one token may cost.
const MAX_CANDIDATES: usize = 4;

/// Private and secret members of any key type (RFC 7518 §6.2.2, §6.3.2, §6.4.1; RFC 8037 §2; `priv` of the key type AKP).
const PRIVATE_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];
