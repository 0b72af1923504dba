//! A public key together with the algorithms that it serves, and the signature check itself, all of it ring's.

use std::fmt;
use std::sync::Arc;

use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use ring::{agreement, digest, rand};

use crate::error::JwkProblem;
use crate::jose::algorithm::Algorithm;

/// A public key together with the algorithms that it serves. Whatever the header of a token asks for, a key of another type or
/// curve, or one that is meant for another algorithm, is never used (RFC 8725 §3.1).
///
/// A clone is cheap and shares the key.
///
/// ```
/// use aero2::jose::{Algorithm, Jwk};
/// // RFC 8037, appendix A.2
/// let key = Jwk::parse(
///     r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
/// )?
/// .verification_key()?;
/// assert_eq!(key.algorithms(), [Algorithm::EdDsa]);
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone)]
pub struct VerificationKey(Arc<Repr>);

struct Repr {
    material: Material,
    algorithms: Vec<Algorithm>,
    digest: [u8; 32],
}

/// The key's bytes in the form that ring takes.
pub(crate) enum Material {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Proof that a signature was checked; nothing but [`VerificationKey::verify`] makes one.
pub(crate) struct SignatureChecked(());

impl VerificationKey {
    /// A key of `material`, for `own`, the algorithm that it names, or for all of its type.
    pub(crate) fn new(material: Material, own: Option<Algorithm>) -> Result<Self, JwkProblem> {
        material.check()?;
        let algorithms: Vec<Algorithm> =
            material.algorithms().iter().copied().filter(|algorithm| own.is_none_or(|own| own == *algorithm)).collect();
        if algorithms.is_empty() {
            return Err(JwkProblem::NotForVerification);
        }
        let digest = material.digest();
        Ok(Self(Arc::new(Repr { material, algorithms, digest })))
    }

    /// The algorithms that this key serves: the one that the JWK names, or else all for its type.
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.0.algorithms
    }

    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.0.algorithms.contains(&algorithm)
    }

    /// A digest of the key material alone, by which a key is known again after a refresh.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.0.digest
    }

    /// Checks a signature. A key that does not [fit](Self::fits) verifies nothing.
    pub(crate) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Option<SignatureChecked> {
        if !self.fits(algorithm) {
            return None;
        }
        let checked = match &self.0.material {
            Material::Rsa(key) => key.verify(rsa_parameters(algorithm)?, message, signature),
            Material::P256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Material::P384(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(message, signature)
            }
            Material::Ed25519(point) => UnparsedPublicKey::new(&signature::ED25519, point).verify(message, signature),
        };
        checked.ok().map(|()| SignatureChecked(()))
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey").field("algorithms", &self.0.algorithms).finish_non_exhaustive()
    }
}

impl Material {
    fn algorithms(&self) -> &'static [Algorithm] {
        match self {
            Self::Rsa(_) => &[
                Algorithm::Rs256,
                Algorithm::Rs384,
                Algorithm::Rs512,
                Algorithm::Ps256,
                Algorithm::Ps384,
                Algorithm::Ps512,
            ],
            Self::P256(_) => &[Algorithm::Es256],
            Self::P384(_) => &[Algorithm::Es384],
            Self::Ed25519(_) => &[Algorithm::EdDsa],
        }
    }

    fn check(&self) -> Result<(), JwkProblem> {
        match self {
            Self::Rsa(key) => check_rsa(&key.n, &key.e),
            Self::P256(point) => check_point(&agreement::ECDH_P256, point),
            Self::P384(point) => check_point(&agreement::ECDH_P384, point),
            Self::Ed25519(point) if point.len() == ED25519_LEN && !is_of_small_order(point) => Ok(()),
            Self::Ed25519(_) => Err(JwkProblem::Coordinates),
        }
    }

    fn digest(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        let (tag, first, second): (u8, &[u8], &[u8]) = match self {
            Self::Rsa(key) => (0, &key.n, &key.e),
            Self::P256(point) => (1, point, &[]),
            Self::P384(point) => (2, point, &[]),
            Self::Ed25519(point) => (3, point, &[]),
        };
        context.update(&[tag]);
        // Both lengths follow from the whole and from the exponent's, so no two keys have the same bytes here.
        context.update(first);
        context.update(second);
        context.update(&second.len().to_be_bytes());
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        bytes
    }
}

/// What ring checks at each verification (RFC 8017 §3.1), checked once beforehand, so that a set's bad keys are found on reading.
/// `n` and `e` have no leading zeros, and ring rounds the size up to whole octets.
fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), JwkProblem> {
    let (Some(&high), Some(&low)) = (n.first(), n.last()) else { return Err(JwkProblem::Coordinates) };
    let bits = n.len().saturating_mul(8).saturating_sub(usize::try_from(high.leading_zeros()).unwrap_or(usize::MAX));
    if high == 0 || low & 1 == 0 {
        return Err(JwkProblem::Coordinates);
    }
    if !(RSA_MIN_BITS..=RSA_MAX_BITS).contains(&bits) {
        return Err(JwkProblem::Size);
    }
    let leading_zero = e.first().is_none_or(|&high| high == 0);
    let exponent = e.iter().try_fold(0_u64, |sum, &byte| Some(sum.checked_mul(256)? | u64::from(byte)));
    match exponent {
        Some(e) if !leading_zero && e & 1 == 1 && (3..=RSA_MAX_EXPONENT).contains(&e) => Ok(()),
        _ => Err(JwkProblem::Coordinates),
    }
}

/// Whether the point is on its curve: ring tells by agreeing on a secret with it, which is thrown away. Where the system gives no
/// randomness the question stays open until verification, which asks it again.
fn check_point(curve: &'static agreement::Algorithm, point: &[u8]) -> Result<(), JwkProblem> {
    let Ok(own) = agreement::EphemeralPrivateKey::generate(curve, &rand::SystemRandom::new()) else { return Ok(()) };
    let peer = agreement::UnparsedPublicKey::new(curve, point);
    agreement::agree_ephemeral(own, &peer, |_| ()).map_err(|_| JwkProblem::Coordinates)
}

/// ring verifies with such points as well (RFC 8032 §5.1.7 does not ask to refuse them), and then signatures fit that nobody made.
fn is_of_small_order(point: &[u8]) -> bool {
    let parts = |point: &[u8]| point.split_last().map(|(high, low)| (high & 0x7f, low.to_vec()));
    SMALL_ORDER.iter().any(|known| parts(known) == parts(point))
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => None,
    }
}

/// RFC 7518 §3.3: 2048 bits or more. The upper bound is ring's, against keys that cost the verifier dearly.
const RSA_MIN_BITS: usize = 2048;
const RSA_MAX_BITS: usize = 8192;

/// ring's bound, for the same reason.
const RSA_MAX_EXPONENT: u64 = (1 << 33) - 1;

/// RFC 8032 §5.1.5.
const ED25519_LEN: usize = 32;

/// Every encoding of a point whose order divides 8, those that are not canonical among them, but for the sign bit: y = 0 and 1, the
/// two y of order 8, and p - 1, p and p + 1.
const SMALL_ORDER: [[u8; ED25519_LEN]; 7] = [
    [0; ED25519_LEN],
    first_and_last(1, 0, 0),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 5, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 2, 0x88, 0x6d, 0x53, 0xfc, 5,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0xb, 0x76, 0xd, 0x10, 0x67, 0xf, 0x2a, 0x20, 0x53,
        0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 3, 0x7a,
    ],
    first_and_last(0xec, 0xff, 0x7f),
    first_and_last(0xed, 0xff, 0x7f),
    first_and_last(0xee, 0xff, 0x7f),
];

const fn first_and_last(first: u8, between: u8, last: u8) -> [u8; ED25519_LEN] {
    let mut point = [between; ED25519_LEN];
    [point[0], point[ED25519_LEN - 1]] = [first, last];
    point
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    fn rsa(bits: usize, low: u8) -> Vec<u8> {
        let mut n = vec![0xff; bits.div_ceil(8)];
        n[0] = 0xff >> (n.len() * 8 - bits);
        *n.last_mut().unwrap() = low;
        n
    }

    fn new_rsa(n: Vec<u8>, e: &[u8]) -> Result<VerificationKey, JwkProblem> {
        VerificationKey::new(Material::Rsa(RsaPublicKeyComponents { n, e: e.to_vec() }), None)
    }

    const E: [u8; 3] = [1, 0, 1];

    #[test]
    fn rsa_keys_have_2048_to_8192_bits() {
        for bits in [2048, 2049, 3072, 8191, 8192] {
            assert!(new_rsa(rsa(bits, 1), &E).is_ok(), "{bits}");
        }
        for bits in [8, 512, 1024, 2040, 2041, 2047, 8193, 8200, 16384] {
            assert_eq!(new_rsa(rsa(bits, 1), &E).err(), Some(JwkProblem::Size), "{bits}");
        }
    }

    #[test]
    fn an_rsa_modulus_is_odd_and_without_leading_zeros() {
        assert_eq!(new_rsa(rsa(2048, 2), &E).err(), Some(JwkProblem::Coordinates));
        assert_eq!(new_rsa([vec![0], rsa(2048, 1)].concat(), &E).err(), Some(JwkProblem::Coordinates));
        assert_eq!(new_rsa(Vec::new(), &E).err(), Some(JwkProblem::Coordinates));
    }

    #[test]
    fn an_rsa_exponent_is_as_ring_takes_it() {
        for e in [&[3][..], &[17], &E, &[1, 0xff, 0xff, 0xff, 0xff]] {
            assert!(new_rsa(rsa(2048, 1), e).is_ok(), "{e:?}");
        }
        for e in [&[][..], &[0], &[1], &[2], &[4], &[0, 3], &[1, 0, 0], &[2, 0, 0, 0, 1], &[1, 0, 0, 0, 0, 0, 0, 0, 1]]
        {
            assert_eq!(new_rsa(rsa(2048, 1), e).err(), Some(JwkProblem::Coordinates), "{e:?}");
        }
    }

    #[test]
    fn a_point_is_on_its_curve() {
        let one = [vec![4], vec![1; 64]].concat();
        assert_eq!(VerificationKey::new(Material::P256(one), None).err(), Some(JwkProblem::Coordinates));
        let one = [vec![4], vec![1; 96]].concat();
        assert_eq!(VerificationKey::new(Material::P384(one), None).err(), Some(JwkProblem::Coordinates));
        for len in [0, 31, 33] {
            assert_eq!(
                VerificationKey::new(Material::Ed25519(vec![1; len]), None).err(),
                Some(JwkProblem::Coordinates)
            );
        }
    }

    #[test]
    fn a_key_serves_the_algorithms_of_its_type_or_its_own_one() {
        let key = |own| VerificationKey::new(Material::Ed25519(vec![1; 32]), own);
        assert_eq!(key(None).unwrap().algorithms(), [Algorithm::EdDsa]);
        assert_eq!(key(Some(Algorithm::EdDsa)).unwrap().algorithms(), [Algorithm::EdDsa]);
        assert_eq!(key(Some(Algorithm::Es256)).err(), Some(JwkProblem::NotForVerification));
        let key = new_rsa(rsa(2048, 1), &E).unwrap();
        for &algorithm in Algorithm::ALL {
            let is_rsa = algorithm.name().starts_with(['R', 'P']);
            assert_eq!(key.fits(algorithm), is_rsa, "{algorithm}");
            assert_eq!(rsa_parameters(algorithm).is_some(), is_rsa, "{algorithm}");
        }
    }

    #[test]
    fn a_good_signature_verifies_under_an_algorithm_of_the_key_alone() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let key = VerificationKey::new(Material::Ed25519(pair.public_key().as_ref().to_vec()), None).unwrap();
        let signature = pair.sign(b"message");
        for &algorithm in Algorithm::ALL {
            let checked = key.verify(algorithm, b"message", signature.as_ref());
            assert_eq!(checked.is_some(), algorithm == Algorithm::EdDsa, "{algorithm}");
        }
        assert!(key.verify(Algorithm::EdDsa, b"another", signature.as_ref()).is_none());
    }

    #[test]
    fn another_material_has_another_digest() {
        let digest = |n, e| *new_rsa(n, e).unwrap().digest();
        let ed = |byte| *VerificationKey::new(Material::Ed25519(vec![byte; 32]), None).unwrap().digest();
        let all = [digest(rsa(2048, 1), &E), digest(rsa(2048, 1), &[3]), digest(rsa(2048, 3), &E), ed(1), ed(2)];
        for (at, one) in all.iter().enumerate() {
            assert_eq!(all.iter().filter(|other| *other == one).count(), 1, "{at}");
        }
        assert_eq!(ed(1), ed(1));
    }
}
