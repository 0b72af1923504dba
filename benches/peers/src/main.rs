//! One verification each, by aero2 and by what a user would pick instead: the same tokens, iss, aud and exp checked by all, each given
//! its keys in the form that suits it best, made beforehand. Ratios are medians of interleaved rounds against ring alone.
//!
//! jsonwebtoken is built with one crypto library at a time, so `./run` starts this twice.
#![expect(dead_code, reason = "the modules shared with the main package's benchmarks hold more than is used here")]

use std::collections::HashMap;
use std::hint::black_box;

use aero2::jose::Algorithm;
use aws_lc_rs::signature as aws;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

#[path = "../../support/allocations.rs"]
mod allocations;
#[path = "../../support/fixture.rs"]
mod fixture;
#[path = "../../support/harness.rs"]
mod harness;

use fixture::{AUDIENCE, Fixture};
use harness::{Contender, ratio, run};

#[cfg(feature = "aws-lc")]
const JSONWEBTOKEN: &str = "jsonwebtoken 11, aws-lc-rs, by kid";
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc")))]
const JSONWEBTOKEN: &str = "jsonwebtoken 11, rust_crypto, by kid";
#[cfg(not(any(feature = "aws-lc", feature = "rust-crypto")))]
compile_error!("choose the feature aws-lc or rust-crypto");

/// What every peer reads a token into.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    client_id: Option<String>,
    scope: Option<String>,
}

fn main() {
    println!("| one verification | µs | ratio to ring alone | allocations |\n|---|---|---|---|");
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let f = Fixture::new(algorithm);
        let repeated = f.issuer.resource_server().audience(AUDIENCE).verified_token_cache(64).build().unwrap();
        let mut entries: Vec<(&str, Box<dyn FnMut() + '_>)> = vec![
            ("ring alone", Box::new(|| f.raw.verify())),
            ("**aero2**", Box::new(|| drop(black_box(f.rs.verify_token(&f.token).unwrap())))),
            ("**aero2**, a token seen before", Box::new(|| drop(black_box(repeated.verify_token(&f.token).unwrap())))),
        ];
        let set: Value = serde_json::from_str(&f.test.key_set()).unwrap();
        let jwk = &set["keys"][0];
        entries.push(("aws-lc-rs alone, key parsed before", aws_lc(algorithm, jwk, &f.token)));
        entries.push((JSONWEBTOKEN, jsonwebtoken(algorithm, jwk, &f)));
        if let Some(call) = biscuit(algorithm, jwk, &f) {
            entries.push(("biscuit 0.8 (ring)", call));
        }
        entries.push(("josekit 0.10 (OpenSSL 3)", josekit(algorithm, jwk, &f)));
        print(algorithm, entries);
    }
}

fn print(algorithm: Algorithm, mut entries: Vec<(&str, Box<dyn FnMut() + '_>)>) {
    let counts: Vec<usize> = entries.iter_mut().map(|(_, call)| allocations::per_call(call)).collect();
    let (names, calls): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
    let mut contenders: Vec<_> = calls.into_iter().map(Contender::new).collect();
    run(&mut contenders, 1500);
    for ((name, contender), count) in names.iter().zip(&contenders).zip(counts) {
        let against = ratio(contender, &contenders[0]);
        println!("| {algorithm:?}: {name} | {:.1} | {against:.2} | {count} |", contender.best() / 1e3);
    }
}

fn aws_lc(algorithm: Algorithm, jwk: &Value, token: &str) -> Box<dyn FnMut()> {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (signed, signature) = (signed.as_bytes().to_vec(), decode(signature));
    let key = match algorithm {
        Algorithm::Rs256 => {
            aws::ParsedPublicKey::new(&aws::RSA_PKCS1_2048_8192_SHA256, rsa_der(&member(jwk, "n"), &member(jwk, "e")))
                .unwrap()
        }
        Algorithm::Es256 => aws::ParsedPublicKey::new(&aws::ECDSA_P256_SHA256_FIXED, point(jwk)).unwrap(),
        _ => aws::ParsedPublicKey::new(&aws::ED25519, member(jwk, "x")).unwrap(),
    };
    Box::new(move || key.verify_sig(&signed, &signature).unwrap())
}

fn jsonwebtoken<'f>(algorithm: Algorithm, jwk: &Value, f: &'f Fixture) -> Box<dyn FnMut() + 'f> {
    use jsonwebtoken::{Algorithm as Alg, DecodingKey, Validation, decode, decode_header};
    let mut validation = Validation::new(match algorithm {
        Algorithm::Rs256 => Alg::RS256,
        Algorithm::Es256 => Alg::ES256,
        _ => Alg::EdDSA,
    });
    validation.set_issuer(&[f.test.url()]);
    validation.set_audience(&[AUDIENCE]);
    let key = DecodingKey::from_jwk(&serde_json::from_value(jwk.clone()).unwrap()).unwrap();
    let keys = HashMap::from([(jwk["kid"].as_str().unwrap().to_owned(), key)]);
    Box::new(move || {
        let header = decode_header(&f.token).unwrap();
        let key = &keys[header.kid.as_deref().unwrap()];
        drop(black_box(decode::<Claims>(&f.token, key, &validation).unwrap()));
    })
}

/// Has no EdDSA.
fn biscuit<'f>(algorithm: Algorithm, jwk: &Value, f: &'f Fixture) -> Option<Box<dyn FnMut() + 'f>> {
    use biscuit::jwa::SignatureAlgorithm;
    use biscuit::jws::Secret;
    use biscuit::{ClaimPresenceOptions, Empty, JWT, Validation, ValidationOptions};
    let (algorithm, key) = match algorithm {
        Algorithm::Rs256 => (SignatureAlgorithm::RS256, rsa_der(&member(jwk, "n"), &member(jwk, "e"))),
        Algorithm::Es256 => (SignatureAlgorithm::ES256, point(jwk)),
        _ => return None,
    };
    let secret = Secret::PublicKey(key);
    let options = ValidationOptions {
        claim_presence_options: ClaimPresenceOptions::default(),
        issuer: Validation::Validate(f.test.url().to_owned()),
        audience: Validation::Validate(AUDIENCE.to_owned()),
        ..ValidationOptions::default()
    };
    Some(Box::new(move || {
        let token = JWT::<Value, Empty>::new_encoded(&f.token).into_decoded(&secret, algorithm).unwrap();
        token.validate(options.clone()).unwrap();
        drop(black_box(token));
    }))
}

fn josekit<'f>(algorithm: Algorithm, jwk: &Value, f: &'f Fixture) -> Box<dyn FnMut() + 'f> {
    use josekit::jws::{ES256, EdDSA, JwsVerifier, RS256};
    let jwk = josekit::jwk::Jwk::from_bytes(jwk.to_string()).unwrap();
    let verifier: Box<dyn JwsVerifier> = match algorithm {
        Algorithm::Rs256 => Box::new(RS256.verifier_from_jwk(&jwk).unwrap()),
        Algorithm::Es256 => Box::new(ES256.verifier_from_jwk(&jwk).unwrap()),
        _ => Box::new(EdDSA.verifier_from_jwk(&jwk).unwrap()),
    };
    Box::new(move || {
        let (payload, _) = josekit::jwt::decode_with_verifier(&f.token, &*verifier).unwrap();
        let mut checks = josekit::jwt::JwtPayloadValidator::new();
        checks.set_base_time(std::time::SystemTime::now());
        checks.set_issuer(f.test.url());
        checks.set_audience(AUDIENCE);
        checks.validate(&payload).unwrap();
        drop(black_box(payload));
    })
}

fn point(jwk: &Value) -> Vec<u8> {
    [vec![4], member(jwk, "x"), member(jwk, "y")].concat()
}

/// RSAPublicKey of PKCS #1 in DER: a sequence of two positive integers.
fn rsa_der(n: &[u8], e: &[u8]) -> Vec<u8> {
    let item = |tag: u8, body: Vec<u8>| {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        let head = if body.len() < 128 { vec![tag, length[1]] } else { [&[tag, 0x82][..], &length].concat() };
        [head, body].concat()
    };
    let integer = |bytes: &[u8]| {
        let sign = if bytes[0] >= 0x80 { vec![0] } else { vec![] };
        item(0x02, [sign, bytes.to_vec()].concat())
    };
    item(0x30, [integer(n), integer(e)].concat())
}

fn member(jwk: &Value, name: &str) -> Vec<u8> {
    decode(jwk[name].as_str().unwrap())
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}
