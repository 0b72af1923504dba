//! Tokens that are signed for real, then spoilt. Oracle: whatever is accepted has a signature that ring checks once more over the bytes
//! of the token itself, was never spoilt in header or payload, and passes an independent reading of every rule of claims; whatever is
//! unspoilt and passes that reading is accepted. One server without and one with a cache of verified tokens see all of it and agree.
//!
//! Input: one byte for the key, one for the header, one for the number of changes, four bytes for each change, then the payload
//! (none: good claims).
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use aero2::{Clock, Error, Issuer, Request, ResourceServer, Response, TransportError};
use aero2_fuzz::{ISSUER, NOW, base64url, reference, wall};
use libfuzzer_sys::fuzz_target;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair, UnparsedPublicKey};

const CLAIMS: &[u8] = br#"{"iss":"https://acme.aero2.dev","aud":"orders","exp":1800003600,"scope":"read"}"#;

struct World {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    plain: ResourceServer,
    caching: ResourceServer,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let rsa = RsaKeyPair::from_pkcs8(include_bytes!("../../tests/data/test-rsa-2048.pk8")).unwrap();
    let rng = SystemRandom::new();
    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
    let p256 = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &rng).unwrap();
    let ed = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public: signature::RsaPublicKeyComponents<Vec<u8>> = rsa.public().into();
    let (x, y) = p256.public_key().as_ref()[1..].split_at(32);
    let b64 = base64url::encode;
    let keys = format!(
        r#"{{"keys":[{{"kid":"rsa","kty":"RSA","n":"{}","e":"{}"}},{{"kid":"ec","kty":"EC","crv":"P-256","x":"{}","y":"{}"}},{{"kid":"ed","kty":"OKP","crv":"Ed25519","x":"{}"}}]}}"#,
        b64(&public.n),
        b64(&public.e),
        b64(x),
        b64(y),
        b64(ed.public_key().as_ref())
    );
    let issuer = Issuer::builder(ISSUER).transport(NoNetwork).clock(Stopped).static_keys(&keys).build().unwrap();
    let server = || issuer.resource_server().audience("orders").required_scopes(["read"]);
    let (plain, caching) = (server().build().unwrap(), server().verified_token_cache(64).build().unwrap());
    World { rsa, p256, ed, plain, caching }
});

struct Stopped;

impl Clock for Stopped {
    fn wall(&self) -> SystemTime {
        wall()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

struct NoNetwork;

impl aero2::Transport for NoNetwork {
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        panic!("{request:?}")
    }
}

fuzz_target!(|data: &[u8]| {
    let [key, header, changes, rest @ ..] = data else { return };
    let changes = usize::from(*changes % 8);
    let Some((spoilers, payload)) = rest.split_at_checked(4 * changes) else { return };
    let payload = if payload.is_empty() { CLAIMS } else { payload };
    let world = &*WORLD;
    let (header, plausible) = header_of(*key, *header);
    let signed = world.token(*key, &header, payload);
    let token = spoil(&signed, spoilers);
    let Ok(token) = String::from_utf8(token) else { return };

    let outcome = world.plain.verify_token(&token);
    for again in [world.caching.verify_token(&token), world.caching.verify_token(&token)] {
        assert_eq!(kind(&outcome), kind(&again), "{token}");
    }
    let (input, signed_input) = (token.rsplit_once('.').map(|parts| parts.0), signed.rsplit_once('.').unwrap().0);
    match outcome {
        Ok(claims) => {
            assert_eq!(input, Some(signed_input), "accepted with other bytes than were signed");
            assert!(plausible, "accepted under {header}");
            assert_eq!(claims.raw_json().as_bytes(), payload);
            world.check_again(*key, &token);
            // `None`: a number in it that serde_json does not read.
            if let Some(read) = reference::claims(claims.raw_json()) {
                let read = read.expect("claims by the second reading too");
                assert!(reference::is_acceptable(&read, ISSUER, "orders", NOW), "{}", claims.raw_json());
            }
        }
        Err(error) => {
            let Error::Token(_) = &error else { panic!("{error:?}") };
            let unspoilt = token == signed && plausible && token.len() <= 16 * 1024;
            let read = std::str::from_utf8(payload).ok().and_then(reference::claims);
            let good = read.is_some_and(|read| read.is_ok_and(|c| reference::is_acceptable(&c, ISSUER, "orders", NOW)));
            assert!(!(unspoilt && good), "refused: {error:?}");
        }
    }
});

fn kind(outcome: &Result<aero2::Claims, Error>) -> String {
    match outcome {
        Ok(claims) => claims.raw_json().to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

/// A header, and whether a server may take a token that bears it.
fn header_of(key: u8, choice: u8) -> (String, bool) {
    let (algorithm, kid) = [("RS256", "rsa"), ("ES256", "ec"), ("EdDSA", "ed"), ("PS384", "rsa")][usize::from(key % 4)];
    let usual = format!(r#""alg":"{algorithm}","kid":"{kid}""#);
    let (members, plausible) = match choice % 16 {
        0..=4 => (usual, true),
        5 => (format!(r#""alg":"{algorithm}""#), true),
        6 => (format!(r#"{usual},"typ":"JWT""#), true),
        7 => (format!(r#"{usual},"typ":"application/AT+jwt","jku":"https://evil.example""#), true),
        8 => (format!(r#"{usual},"typ":"dpop+jwt""#), false),
        9 => (format!(r#"{usual},"crit":["exp"]"#), false),
        10 => (format!(r#""alg":"none","kid":"{kid}""#), false),
        11 => (format!(r#""alg":"HS256","kid":"{kid}""#), false),
        12 => (format!(r#"{usual},"\u0061lg":"{algorithm}""#), false),
        13 => (format!(r#""alg":"{algorithm}","kid":"other""#), false),
        14 => (format!(r#""alg":"RS512","kid":"{kid}""#), false),
        _ => (format!(r#"{usual},"kid":"{kid}""#), false),
    };
    (format!("{{{members}}}"), plausible)
}

/// Each change: a position (two bytes), what to do, and a byte to do it with.
fn spoil(token: &str, spoilers: &[u8]) -> Vec<u8> {
    let mut token = token.as_bytes().to_vec();
    for spoiler in spoilers.chunks_exact(4) {
        let [high, low, what, byte] = spoiler.try_into().unwrap();
        let at = usize::from(u16::from_be_bytes([high, low])) % (token.len() + 1);
        let ascii = byte & 0x7f;
        match what % 8 {
            0 | 1 if at < token.len() => token[at] = ascii,
            2 if at < token.len() => token[at] ^= 1 << (byte % 7),
            3 => token.insert(at, ascii),
            4 if at < token.len() => drop(token.remove(at)),
            5 => token.truncate(at),
            6 => token.extend_from_within(at..),
            7 if at > 0 && at < token.len() => token.swap(at - 1, at),
            _ => {}
        }
    }
    token
}

impl World {
    fn token(&self, key: u8, header: &str, payload: &[u8]) -> String {
        let input = format!("{}.{}", base64url::encode(header.as_bytes()), base64url::encode(payload));
        let rng = SystemRandom::new();
        let rsa = |padding: &'static dyn signature::RsaEncoding| {
            let mut bytes = vec![0; 256];
            self.rsa.sign(padding, &rng, input.as_bytes(), &mut bytes).unwrap();
            bytes
        };
        let signature = match key % 4 {
            0 => rsa(&signature::RSA_PKCS1_SHA256),
            1 => self.p256.sign(&rng, input.as_bytes()).unwrap().as_ref().to_vec(),
            2 => self.ed.sign(input.as_bytes()).as_ref().to_vec(),
            _ => rsa(&signature::RSA_PSS_SHA384),
        };
        format!("{input}.{}", base64url::encode(&signature))
    }

    /// ring alone, over the token's own bytes.
    fn check_again(&self, key: u8, token: &str) {
        let (input, signature) = token.rsplit_once('.').unwrap();
        let signature = base64url::decode(signature).unwrap();
        let (algorithm, public): (&'static dyn signature::VerificationAlgorithm, &[u8]) = match key % 4 {
            0 => (&signature::RSA_PKCS1_2048_8192_SHA256, self.rsa.public().as_ref()),
            1 => (&signature::ECDSA_P256_SHA256_FIXED, self.p256.public_key().as_ref()),
            2 => (&signature::ED25519, self.ed.public_key().as_ref()),
            _ => (&signature::RSA_PSS_2048_8192_SHA384, self.rsa.public().as_ref()),
        };
        UnparsedPublicKey::new(algorithm, public).verify(input.as_bytes(), &signature).expect("the signature is good");
    }
}
