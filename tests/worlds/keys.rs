//! Key pairs and tokens. The keys come from a pool that all worlds share; the Ed25519 ones are the same in every run.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};

use crate::clock::{BASE, SECOND};

pub(crate) const ISSUER: &str = "https://w.example";
pub(crate) const AUDIENCE: &str = "svc";

/// The keys of each algorithm; the last sixteen are the attackers'.
const POOL: usize = 208;
pub(crate) const HONEST: usize = POOL - 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    EdDsa,
    Es256,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

fn pair(algorithm: Algorithm, key: usize) -> &'static Pair {
    static POOLS: [[OnceLock<Pair>; POOL]; 2] = [const { [const { OnceLock::new() }; POOL] }; 2];
    match algorithm {
        Algorithm::EdDsa => POOLS[0][key].get_or_init(|| {
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&key.to_le_bytes());
            Pair::Ed25519(Ed25519KeyPair::from_seed_unchecked(&seed).unwrap())
        }),
        Algorithm::Es256 => POOLS[1][key].get_or_init(|| {
            let (random, curve) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
            let document = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
            Pair::P256(EcdsaKeyPair::from_pkcs8(curve, document.as_ref(), &random).unwrap())
        }),
    }
}

/// What is odd about a document, though legal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) nulls: bool,
    pub(crate) padded: bool,
    pub(crate) leading_zeros: bool,
    pub(crate) junk: bool,
    pub(crate) silent: bool,
}

/// A JWK as that issuer writes it.
pub(crate) fn jwk(algorithm: Algorithm, key: usize, kid: Option<u32>, shape: Shape) -> String {
    let encode = |bytes: &[u8]| if shape.padded { STANDARD.encode(bytes) } else { URL_SAFE_NO_PAD.encode(bytes) };
    let kid = kid.map(|kid| format!(",\"kid\":\"k{kid}\"")).unwrap_or_default();
    let rest = if shape.nulls { ",\"alg\":null,\"use\":null,\"d\":null,\"x5c\":null" } else { ",\"use\":\"sig\"" };
    match pair(algorithm, key) {
        Pair::Ed25519(pair) => {
            let x = encode(pair.public_key().as_ref());
            format!("{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{x}\"{rest}{kid}}}")
        }
        Pair::P256(pair) => {
            let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
            let coordinate = |bytes: &[u8]| {
                let zero = if shape.leading_zeros { &[0][..] } else { &[] };
                encode(&[zero, bytes].concat())
            };
            let (x, y) = (coordinate(x), coordinate(y));
            format!("{{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"{x}\",\"y\":\"{y}\"{rest}{kid}}}")
        }
    }
}

/// A token and what the oracle knows of it. Times are those of the issuer's clock, in milliseconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) key: usize,
    pub(crate) kid: Option<u32>,
    pub(crate) issued: u64,
    pub(crate) expires: u64,
}

impl Token {
    pub(crate) fn sign(
        algorithm: Algorithm,
        key: usize,
        kid: Option<u32>,
        t: u64,
        lifetime: u64,
        subject: &str,
    ) -> Self {
        let (issued, expires) = ((BASE + t) / SECOND, (BASE + t + lifetime) / SECOND);
        let alg = if algorithm == Algorithm::EdDsa { "EdDSA" } else { "ES256" };
        let kid_member = kid.map(|kid| format!(",\"kid\":\"k{kid}\"")).unwrap_or_default();
        let header = format!("{{\"alg\":\"{alg}\",\"typ\":\"JWT\"{kid_member}}}");
        let payload = format!(
            "{{\"iss\":\"{ISSUER}\",\"sub\":\"{subject}\",\"aud\":\"{AUDIENCE}\",\"iat\":{issued},\"exp\":{expires}}}"
        );
        let mut text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = match pair(algorithm, key) {
            Pair::Ed25519(pair) => pair.sign(text.as_bytes()).as_ref().to_vec(),
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap().as_ref().to_vec(),
        };
        text.push('.');
        text.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Self { text, key, kid, issued: issued * SECOND, expires: expires * SECOND }
    }
}
