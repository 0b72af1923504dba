//! What all benchmarks measure: a realistic access token, an issuer with its keys in the cache, and ring alone on the same bytes.

use aero2::jose::Algorithm;
use aero2::testing::{TestIssuer, TestToken};
use aero2::{Issuer, M2mClient, ResourceServer};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};

/// A whole token of this many bytes is what an issuer of today signs by RS256 with 2048 bits.
pub(crate) const TOKEN_BYTES: usize = 700;

pub(crate) const AUDIENCE: &str = "orders-api";

pub(crate) struct Fixture {
    pub(crate) test: TestIssuer,
    pub(crate) issuer: Issuer,
    pub(crate) rs: ResourceServer,
    pub(crate) token: String,
    pub(crate) raw: Raw,
}

impl Fixture {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        Self::with_token_bytes(algorithm, TOKEN_BYTES)
    }

    pub(crate) fn with_token_bytes(algorithm: Algorithm, bytes: usize) -> Self {
        let test = TestIssuer::builder().algorithm(algorithm).build();
        let issuer = test.issuer();
        let rs = issuer.resource_server().audience(AUDIENCE).required_scopes(["orders:read"]).build().unwrap();
        let token = padded(&access_token(&test), bytes);
        rs.verify_token(&token).unwrap();
        let raw = Raw::new(algorithm, &test.key_set(), &token);
        Self { test, issuer, rs, token, raw }
    }

    pub(crate) fn m2m(&self) -> M2mClient {
        self.test.register_client("svc-orders", "secret", ["orders:read"]);
        let m2m = self.issuer.m2m_client("svc-orders", "secret").default_scope("orders:read").build().unwrap();
        m2m.access_token().unwrap();
        m2m
    }
}

pub(crate) fn access_token(test: &TestIssuer) -> TestToken {
    test.token().subject("u-3f6c2f0e").audience(AUDIENCE).client_id("svc").scope("orders:read")
}

/// The token with a claim that brings it to this length, or the next shorter one that base64 has.
pub(crate) fn padded(token: &TestToken, bytes: usize) -> String {
    let plain = token.clone().claim("ext", "").sign().len();
    let missing = bytes.saturating_sub(plain) / 4 * 3;
    token.clone().claim("ext", "x".repeat(missing)).sign()
}

/// One verification by ring and nothing else: the key and the signature decoded beforehand, no claim looked at.
pub(crate) struct Raw {
    key: Key,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

enum Key {
    Rsa(&'static signature::RsaParameters, Vec<u8>, Vec<u8>),
    Other(&'static dyn signature::VerificationAlgorithm, Vec<u8>),
}

impl Raw {
    fn new(algorithm: Algorithm, key_set: &str, token: &str) -> Self {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let set: serde_json::Value = serde_json::from_str(key_set).unwrap();
        let member = |name: &str| decode(set["keys"][0][name].as_str().unwrap());
        let rsa = |parameters| Key::Rsa(parameters, member("n"), member("e"));
        let point = || [vec![4], member("x"), member("y")].concat();
        let key = match algorithm {
            Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Ps256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::Es256 => Key::Other(&signature::ECDSA_P256_SHA256_FIXED, point()),
            Algorithm::Es384 => Key::Other(&signature::ECDSA_P384_SHA384_FIXED, point()),
            Algorithm::EdDsa => Key::Other(&signature::ED25519, member("x")),
            other => panic!("{other:?} is not measured"),
        };
        Self { key, signed: signed.as_bytes().to_vec(), signature: decode(signature) }
    }

    pub(crate) fn verify(&self) {
        let verified = match &self.key {
            Key::Rsa(parameters, n, e) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, &self.signed, &self.signature)
            }
            Key::Other(algorithm, key) => UnparsedPublicKey::new(*algorithm, key).verify(&self.signed, &self.signature),
        };
        verified.unwrap();
    }
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}
