//! The keys that a test issuer signs with.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair, UnparsedPublicKey};

use super::json::Json;
use crate::jose::Algorithm;

/// The present key of each algorithm in use, and all that are published.
#[derive(Default)]
pub(super) struct KeyRing {
    generation: usize,
    current: BTreeMap<Algorithm, Arc<SigningKey>>,
    published: Vec<Arc<SigningKey>>,
    extra: Vec<Json>,
}

impl KeyRing {
    /// The key to sign with, made and published when it is first asked for.
    pub(super) fn current(&mut self, algorithm: Algorithm) -> Arc<SigningKey> {
        if let Some(key) = self.current.get(&algorithm) {
            return key.clone();
        }
        let key = Arc::new(SigningKey::new(algorithm, self.generation));
        self.current.insert(algorithm, key.clone());
        self.published.push(key.clone());
        key
    }

    /// New keys for all algorithms in use; the old ones stay published, or go.
    pub(super) fn rotate(&mut self, keep_old: bool) {
        self.generation += 1;
        if !keep_old {
            self.published.clear();
        }
        for algorithm in std::mem::take(&mut self.current).into_keys() {
            self.current(algorithm);
        }
    }

    pub(super) fn publish(&mut self, jwk: Json) {
        self.extra.push(jwk);
    }

    pub(super) fn with_id(&self, key_id: &str) -> Option<&SigningKey> {
        self.published.iter().find(|key| key.id == key_id).map(Arc::as_ref)
    }

    /// The newest key first, as many issuers do.
    pub(super) fn key_set(&self) -> Json {
        let keys: Vec<Json> =
            self.published.iter().rev().map(|key| key.jwk()).chain(self.extra.iter().cloned()).collect();
        Json::object([("keys", keys)])
    }
}

/// A key pair, its algorithm and its id.
pub(super) struct SigningKey {
    pub(super) id: String,
    algorithm: Algorithm,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    fn new(algorithm: Algorithm, generation: usize) -> Self {
        let id = format!("test-{}-{}", algorithm.name().to_ascii_lowercase(), generation + 1);
        let rsa = RSA_KEYS.get(generation % RSA_KEYS.len()).copied().unwrap_or(OTHER_RSA_KEY);
        Self { id, algorithm, pair: Pair::new(algorithm, rsa) }
    }

    /// A key that no test issuer publishes.
    pub(super) fn unpublished(algorithm: Algorithm) -> Self {
        Self { id: String::from("unpublished"), algorithm, pair: Pair::new(algorithm, OTHER_RSA_KEY) }
    }

    #[expect(clippy::expect_used, reason = "documented in TestToken::sign: only a system without randomness gets here")]
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(rsa_encoding(self.algorithm), &random, message, &mut signature).expect("an RSA signature");
                signature
            }
            Pair::Ecdsa(pair) => pair.sign(&random, message).expect("an ECDSA signature").as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = match &self.pair {
            Pair::Rsa(pair) => pair.public().as_ref().to_vec(),
            Pair::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        };
        UnparsedPublicKey::new(verification(self.algorithm), public).verify(message, signature).is_ok()
    }

    /// The public key as a JWK (RFC 7517, RFC 7518 §6, RFC 8037 §2), with the members that Aero2 gives.
    pub(super) fn jwk(&self) -> Json {
        let mut members = match &self.pair {
            Pair::Rsa(pair) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                vec![("kty", Json::from("RSA")), ("n", encoded(&n)), ("e", encoded(&e))]
            }
            Pair::Ecdsa(pair) => {
                // An uncompressed point: 4, x, y (SEC 1 §2.3.3).
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if self.algorithm == Algorithm::Es256 { "P-256" } else { "P-384" };
                vec![("kty", Json::from("EC")), ("crv", Json::from(curve)), ("x", encoded(x)), ("y", encoded(y))]
            }
            Pair::Ed25519(pair) => {
                let x = encoded(pair.public_key().as_ref());
                vec![("kty", Json::from("OKP")), ("crv", Json::from("Ed25519")), ("x", x)]
            }
        };
        let [algorithm, id] = [self.algorithm.name(), &self.id].map(Json::from);
        members.extend([("alg", algorithm), ("use", Json::from("sig")), ("kid", id)]);
        Json::object(members)
    }
}

impl Pair {
    #[expect(clippy::expect_used, reason = "embedded keys are well-formed, and only a system without randomness fails")]
    fn new(algorithm: Algorithm, rsa: &[u8]) -> Self {
        let random = SystemRandom::new();
        match algorithm {
            Algorithm::Es256 | Algorithm::Es384 => {
                let curve = match algorithm {
                    Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                    _ => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
                };
                let document = EcdsaKeyPair::generate_pkcs8(curve, &random).expect("a new ECDSA key");
                Self::Ecdsa(EcdsaKeyPair::from_pkcs8(curve, document.as_ref(), &random).expect("a new ECDSA key"))
            }
            Algorithm::EdDsa => {
                let document = Ed25519KeyPair::generate_pkcs8(&random).expect("a new Ed25519 key");
                Self::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a new Ed25519 key"))
            }
            _ => Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(rsa).expect("an embedded RSA test key"))),
        }
    }
}

fn rsa_encoding(algorithm: Algorithm) -> &'static dyn signature::RsaEncoding {
    match algorithm {
        Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_SHA512,
        _ => &signature::RSA_PKCS1_SHA256,
    }
}

fn verification(algorithm: Algorithm) -> &'static dyn signature::VerificationAlgorithm {
    match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDsa => &signature::ED25519,
    }
}

fn encoded(bytes: &[u8]) -> Json {
    Json::from(URL_SAFE_NO_PAD.encode(bytes))
}

/// PUBLIC TEST KEYS, known to everybody; see keys/README.txt. ring makes no RSA keys, so these are embedded, and return after
/// four rotations, under another id.
const RSA_KEYS: [&[u8]; 4] = [
    include_bytes!("keys/public-test-key-1.pkcs8.der"),
    include_bytes!("keys/public-test-key-2.pkcs8.der"),
    include_bytes!("keys/public-test-key-3.pkcs8.der"),
    include_bytes!("keys/public-test-key-4.pkcs8.der"),
];

/// A PUBLIC TEST KEY that no test issuer publishes.
const OTHER_RSA_KEY: &[u8] = include_bytes!("keys/public-test-key-other.pkcs8.der");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_signs_what_its_own_key_alone_verifies() {
        for &algorithm in Algorithm::ALL {
            let key = KeyRing::default().current(algorithm);
            let signature = key.sign(b"message");
            assert!(key.verify(b"message", &signature), "{algorithm}");
            assert!(!key.verify(b"massage", &signature), "{algorithm}");
            assert!(!SigningKey::unpublished(algorithm).verify(b"message", &signature), "{algorithm}");
        }
    }

    #[test]
    fn a_rotation_keeps_the_old_keys_or_drops_them() {
        let mut ring = KeyRing::default();
        let old = ring.current(Algorithm::Rs256);
        ring.rotate(true);
        let new = ring.current(Algorithm::Rs256);
        assert_ne!(old.id, new.id);
        assert!(ring.with_id(&old.id).is_some() && ring.with_id(&new.id).is_some());
        ring.rotate(false);
        assert!(ring.with_id(&old.id).is_none() && ring.with_id(&new.id).is_none());
        assert_eq!(ring.key_set().to_string().matches("\"kid\"").count(), 1);
    }
}
