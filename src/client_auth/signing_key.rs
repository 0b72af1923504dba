//! A client's private key, as `private_key_jwt` signs with it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use zeroize::Zeroizing;

use crate::error::{ConfigProblem, Error};
use crate::jose::algorithm::Algorithm;

/// A private key and the one algorithm that it signs by.
pub(crate) struct SigningKey {
    pair: Pair,
    algorithm: Algorithm,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

impl SigningKey {
    /// Reads a PKCS#8 key from its PEM (RFC 7468 §10). The key decides on the algorithm; only an RSA key leaves a choice, RS256 without
    /// one.
    pub(crate) fn from_pem(pem: &str, asked: Option<Algorithm>) -> Result<Self, Error> {
        let der = der_of(pem).ok_or_else(|| Error::config(ConfigProblem::ClientKeyPem))?;
        let (pair, algorithm) = read_pair(&der, asked)?;
        match asked {
            Some(asked) if asked != algorithm => Err(Error::config(ConfigProblem::ClientKeyAlgorithm)),
            _ => Ok(Self { pair, algorithm }),
        }
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The JWS signature (RFC 7518 §3.3–3.5, RFC 8037 §3.1).
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).map(|()| signature)
            }
        };
        signature.map_err(|_| Error::config(ConfigProblem::NoRandomness))
    }
}

/// The bytes between the lines of a `PRIVATE KEY` block; text around the block is allowed (RFC 7468 §2).
fn der_of(pem: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let mut base64 = Zeroizing::new(String::with_capacity(body.len()));
    base64.extend(body.split_ascii_whitespace());
    STANDARD.decode(base64.as_bytes()).ok().map(Zeroizing::new)
}

/// The key pair by whichever kind of key the document says that it is: each reader refuses the others' object identifiers.
fn read_pair(der: &[u8], asked: Option<Algorithm>) -> Result<(Pair, Algorithm), Error> {
    let random = SystemRandom::new();
    for (curve, algorithm) in
        [(&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::Es256), (&ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::Es384)]
    {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(curve, der, &random) {
            return Ok((Pair::Ecdsa(pair), algorithm));
        }
    }
    // "Maybe unchecked", since OpenSSL writes Ed25519 keys without their public half (RFC 8410 §7), from which there is nothing to check.
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        return Ok((Pair::Ed25519(pair), Algorithm::EdDsa));
    }
    let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| Error::config(ConfigProblem::ClientKeyKind))?;
    let algorithm = asked.unwrap_or(Algorithm::Rs256);
    let encoding = rsa_encoding(algorithm).ok_or_else(|| Error::config(ConfigProblem::ClientKeyAlgorithm))?;
    Ok((Pair::Rsa(pair, encoding), algorithm))
}

fn rsa_encoding(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    Some(match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &RSA_PSS_SHA256,
        Algorithm::Ps384 => &RSA_PSS_SHA384,
        Algorithm::Ps512 => &RSA_PSS_SHA512,
        _ => return None,
    })
}
