//! Signs anything: headers and payloads are bytes, keys are our own.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair, RsaPublicKeyComponents};

pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const ISSUER: &str = "https://victim.example";
pub(super) const AUDIENCE: &str = "orders";
pub(super) const CLAIMS: &str = r#"{"iss":"https://victim.example","sub":"u1","aud":"orders","exp":1800003600,"iat":1800000000,"token_use":"access","scope":"read write"}"#;

/// The issuer's private keys.
pub(super) struct Keys {
    pub(super) rsa: RsaKeyPair,
    pub(super) p256: EcdsaKeyPair,
    pub(super) p384: EcdsaKeyPair,
    pub(super) ed: Ed25519KeyPair,
}

pub(super) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        rsa: RsaKeyPair::from_pkcs8(include_bytes!("../../data/test-rsa-2048.pk8")).unwrap(),
        p256: ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        p384: ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        ed: Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap(),
    })
}

/// The attacker's own key, which no key set holds.
pub(super) fn attackers_key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[66; 32]).unwrap()
}

fn ecdsa(algorithm: &'static signature::EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &rng).unwrap()
}

pub(super) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn unb64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// n and e, big-endian.
pub(super) fn rsa_numbers() -> (Vec<u8>, Vec<u8>) {
    let public: RsaPublicKeyComponents<Vec<u8>> = keys().rsa.public().into();
    (public.n, public.e)
}

/// Members of a JWK, without braces.
pub(super) fn rsa_members(n: &[u8], e: &[u8]) -> String {
    format!(r#""kty":"RSA","n":"{}","e":"{}""#, b64(n), b64(e))
}

pub(super) fn ec_members(crv: &str, pair: &EcdsaKeyPair) -> String {
    let (x, y) = coordinates(pair);
    format!(r#""kty":"EC","crv":"{crv}","x":"{}","y":"{}""#, b64(x), b64(y))
}

pub(super) fn coordinates(pair: &EcdsaKeyPair) -> (&[u8], &[u8]) {
    let point = &pair.public_key().as_ref()[1..];
    point.split_at(point.len() / 2)
}

pub(super) fn ed_members(public: &[u8]) -> String {
    format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, b64(public))
}

/// The members of the usual key of that name.
pub(super) fn members(kid: &str) -> String {
    let (n, e) = rsa_numbers();
    match kid {
        "rsa" => rsa_members(&n, &e),
        "p256" => ec_members("P-256", &keys().p256),
        "p384" => ec_members("P-384", &keys().p384),
        _ => ed_members(keys().ed.public_key().as_ref()),
    }
}

/// A key set of JWKs that are given by their members, and of one that is good and of no use here: a set without a usable key is refused.
pub(super) fn set<M: AsRef<str>>(jwks: impl IntoIterator<Item = M>) -> String {
    let other = format!(r#"{{"kid":"other","alg":"PS384",{}}}"#, members("rsa"));
    let jwks = jwks.into_iter().map(|members| format!("{{{}}}", members.as_ref()));
    let jwks: Vec<String> = jwks.chain([other]).collect();
    format!(r#"{{"keys":[{}]}}"#, jwks.join(","))
}

pub(super) fn usual_keys() -> String {
    set(["rsa", "p256", "p384", "ed"].map(|kid| format!(r#""kid":"{kid}",{}"#, members(kid))))
}

pub(super) fn header(algorithm: &str, kid: &str) -> String {
    format!(r#"{{"alg":"{algorithm}","kid":"{kid}"}}"#)
}

/// A token of any bytes, with whatever `sign` makes of the signing input.
pub(super) fn token(
    header: impl AsRef<[u8]>,
    payload: impl AsRef<[u8]>,
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> String {
    parts(&b64(header), &b64(payload), sign)
}

/// As [`token`], of parts that are encoded already, however badly.
pub(super) fn parts(header: &str, payload: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let input = format!("{header}.{payload}");
    let signature = b64(sign(input.as_bytes()));
    format!("{input}.{signature}")
}

/// A token signed by the key and algorithm that its header text names; by Ed25519 where it names none.
pub(super) fn signed(header: &str, payload: &str) -> String {
    let algorithm = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384"]
        .into_iter()
        .find(|a| header.contains(a));
    token(header, payload, |input| sign(algorithm.unwrap_or("EdDSA"), input))
}

/// A token of the usual header and other claims.
pub(super) fn claiming(payload: impl AsRef<[u8]>) -> String {
    token(header("EdDSA", "ed"), payload, |input| sign("EdDSA", input))
}

/// A token of another header and the usual claims, signed by the key `ed`.
pub(super) fn headed(header: impl AsRef<[u8]>) -> String {
    token(header, CLAIMS, |input| sign("EdDSA", input))
}

pub(super) fn good() -> String {
    claiming(CLAIMS)
}

/// The issuer's signature.
pub(super) fn sign(algorithm: &str, input: &[u8]) -> Vec<u8> {
    let (keys, rng) = (keys(), SystemRandom::new());
    let padding: &dyn signature::RsaEncoding = match algorithm {
        "ES256" => return keys.p256.sign(&rng, input).unwrap().as_ref().to_vec(),
        "ES384" => return keys.p384.sign(&rng, input).unwrap().as_ref().to_vec(),
        "EdDSA" => return keys.ed.sign(input).as_ref().to_vec(),
        "RS256" => &signature::RSA_PKCS1_SHA256,
        "RS384" => &signature::RSA_PKCS1_SHA384,
        "RS512" => &signature::RSA_PKCS1_SHA512,
        "PS256" => &signature::RSA_PSS_SHA256,
        "PS384" => &signature::RSA_PSS_SHA384,
        _ => &signature::RSA_PSS_SHA512,
    };
    let mut bytes = vec![0; keys.rsa.public().modulus_len()];
    keys.rsa.sign(padding, &rng, input, &mut bytes).unwrap();
    bytes
}

/// The usual claims with one of them replaced, added, or left out.
pub(super) fn claims_with(name: &str, value: Option<&str>) -> String {
    let mut claims: serde_json::Map<String, serde_json::Value> = serde_json::from_str(CLAIMS).unwrap();
    claims.remove(name);
    let mut text = serde_json::to_string(&claims).unwrap();
    if let Some(value) = value {
        text.insert_str(text.len() - 1, &format!(r#","{name}":{value}"#));
    }
    text
}

/// Big-endian numbers of any length, as much of them as forgery needs.
pub(super) mod number {
    pub(crate) fn add(a: &[u8], b: &[u8]) -> Vec<u8> {
        let len = a.len().max(b.len()) + 1;
        let digit = |n: &[u8], at: usize| n.len().checked_sub(at + 1).map_or(0, |i| u32::from(n[i]));
        let (mut sum, mut carry) = (vec![0; len], 0);
        for at in 0..len {
            let digits = digit(a, at) + digit(b, at) + carry;
            sum[len - 1 - at] = digits.to_be_bytes()[3];
            carry = digits >> 8;
        }
        trim(&sum)
    }

    /// `a - b`, which is not below zero.
    pub(crate) fn subtract(a: &[u8], b: &[u8]) -> Vec<u8> {
        let b = padded(b, a.len());
        let (mut difference, mut borrow) = (vec![0; a.len()], 0);
        for at in (0..a.len()).rev() {
            let digits = 256 + i32::from(a[at]) - i32::from(b[at]) - borrow;
            difference[at] = digits.to_be_bytes()[3];
            borrow = i32::from(digits < 256);
        }
        difference
    }

    pub(crate) fn multiply(a: &[u8], b: &[u8]) -> Vec<u8> {
        let mut product = vec![0_u32; a.len() + b.len()];
        for (i, x) in a.iter().rev().enumerate() {
            let mut carry = 0;
            for (j, y) in b.iter().rev().enumerate() {
                let digits = product[i + j] + u32::from(*x) * u32::from(*y) + carry;
                product[i + j] = digits & 0xff;
                carry = digits >> 8;
            }
            product[i + b.len()] += carry;
        }
        let bytes: Vec<u8> = product.iter().rev().map(|digit| digit.to_be_bytes()[3]).collect();
        trim(&bytes)
    }

    /// The smallest number whose cube is not below `target`.
    pub(crate) fn cube_root(target: &[u8]) -> Vec<u8> {
        let mut root = vec![0; target.len() / 3 + 1];
        for bit in (0..root.len() * 8).rev() {
            let at = root.len() - 1 - bit / 8;
            root[at] |= 1 << (bit % 8);
            if !is_less(&cube(&root), target) {
                root[at] ^= 1 << (bit % 8);
            }
        }
        add(&root, &[1])
    }

    pub(crate) fn cube(n: &[u8]) -> Vec<u8> {
        multiply(&multiply(n, n), n)
    }

    pub(crate) fn is_less(a: &[u8], b: &[u8]) -> bool {
        let (a, b) = (trim(a), trim(b));
        (a.len(), a) < (b.len(), b)
    }

    pub(crate) fn trim(n: &[u8]) -> Vec<u8> {
        n.iter().copied().skip_while(|byte| *byte == 0).collect()
    }

    pub(crate) fn padded(n: &[u8], len: usize) -> Vec<u8> {
        let n = trim(n);
        [vec![0; len - n.len()], n].concat()
    }
}
