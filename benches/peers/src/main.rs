//! One verification each, by aero2 and by what a user would pick instead: the same tokens, iss, aud and exp checked by all, each given
//! its keys in the form that suits it best, made beforehand. Ratios are medians of interleaved rounds against ring alone.
//!
//! Before it is timed, each has to accept the good token and to refuse those of [`refused`].
//!
//! jsonwebtoken is built with one crypto library at a time, so `./run` starts this twice. With the name of a file as its argument it
//! writes there what `others/`, for what is not Rust, verify and compare with.
#![expect(dead_code, reason = "the modules shared with the main package's benchmarks hold more than is used here")]

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aero2::jose::Algorithm;
use aws_lc_rs::signature as aws;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[path = "../../support/allocations.rs"]
mod allocations;
#[path = "../../support/fixture.rs"]
mod fixture;
#[path = "../../support/harness.rs"]
mod harness;

use fixture::{AUDIENCE, Fixture};
use harness::{Contender, ratio, run};

#[cfg(feature = "aws-lc")]
const JSONWEBTOKEN: [&str; 2] = ["jsonwebtoken 11, aws-lc-rs, by kid", "jsonwebtoken 11, aws-lc-rs, one known key"];
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc")))]
const JSONWEBTOKEN: [&str; 2] = ["jsonwebtoken 11, rust_crypto, by kid", "jsonwebtoken 11, rust_crypto, one known key"];
#[cfg(not(any(feature = "aws-lc", feature = "rust-crypto")))]
compile_error!("choose the feature aws-lc or rust-crypto");

/// What every peer reads a token into.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    client_id: Option<String>,
    scope: Option<String>,
}

/// Part of a verification, on the good token.
type Part<'f> = Box<dyn FnMut() + 'f>;

/// A whole one: whether the token is accepted.
type Verify<'f> = Box<dyn FnMut(&str) -> bool + 'f>;

fn main() {
    println!("| one verification | µs | ratio to ring alone | allocations |\n|---|---|---|---|");
    let mut for_others = Vec::new();
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let f = Fixture::new(algorithm);
        let repeated = f.issuer.resource_server().audience(AUDIENCE).verified_token_cache(64).build().unwrap();
        let set: Value = serde_json::from_str(&f.test.key_set()).unwrap();
        let jwk = &set["keys"][0];
        let mut entries: Vec<(&str, Part<'_>)> = vec![
            ("ring alone", Box::new(|| f.raw.verify())),
            ("aws-lc-rs alone, key parsed before", aws_lc(algorithm, jwk, &f.token)),
            ("base64 and miniserde alone, into a struct", Box::new(|| drop(black_box(read(&f.token).unwrap())))),
            ("SHA-256 and a map under a lock alone", look_up(&f.token)),
        ];
        let verifiers: Vec<(&str, Option<Verify<'_>>)> = vec![
            ("**aero2**", Some(Box::new(|token| f.rs.verify_token(token).is_ok()))),
            ("**aero2**, a token seen before", Some(Box::new(|token| repeated.verify_token(token).is_ok()))),
            ("20 lines on ring and miniserde", Some(prototype(algorithm, jwk, &f))),
            (JSONWEBTOKEN[0], Some(jsonwebtoken(algorithm, jwk, &f, true))),
            (JSONWEBTOKEN[1], Some(jsonwebtoken(algorithm, jwk, &f, false))),
            ("aliri 0.6 (ring), by kid", aliri(algorithm, &f)),
            ("biscuit 0.8 (ring), one known key", biscuit(algorithm, jwk, &f)),
            ("josekit 0.10 (OpenSSL 3), one known key", Some(josekit(algorithm, jwk, &f))),
        ];
        for (name, verify) in verifiers {
            let Some(mut verify) = verify else { continue };
            examine(name, &mut verify, &f);
            let token = f.token.clone();
            entries.push((name, Box::new(move || assert!(verify(&token)))));
        }
        let ring = print(algorithm, entries);
        for_others.push(json!({
            "name": format!("{algorithm:?}"), "algorithm": algorithm.name(), "issuer": f.test.url(), "audience": AUDIENCE,
            "keys": set, "good": f.token, "refused": BTreeMap::from(refused(&f)), "ring": ring,
        }));
    }
    if let Some(file) = std::env::args().nth(1) {
        std::fs::write(file, Value::from(for_others).to_string()).unwrap();
    }
}

/// What no verifier may accept.
fn refused(f: &Fixture) -> [(&'static str, String); 4] {
    let token = || fixture::access_token(&f.test);
    [
        ("a bad signature", token().bad_signature().sign()),
        ("an expired token", token().expired().sign()),
        ("a token of another audience", token().audience("another-api").sign()),
        ("a token of another issuer", token().issuer("https://another.example").sign()),
    ]
}

/// Nothing is timed that does not verify.
fn examine(name: &str, verify: &mut Verify<'_>, f: &Fixture) {
    assert!(verify(&f.token), "{name}: the good token");
    for (what, token) in refused(f) {
        assert!(!verify(&token), "{name}: {what}");
    }
}

/// Gives the time of the first, ring's, in microseconds.
fn print(algorithm: Algorithm, mut entries: Vec<(&str, Part<'_>)>) -> f64 {
    let counts: Vec<usize> = entries.iter_mut().map(|(_, call)| allocations::per_call(call)).collect();
    let (names, calls): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
    let mut contenders: Vec<_> = calls.into_iter().map(Contender::new).collect();
    run(&mut contenders, 1500);
    for ((name, contender), count) in names.iter().zip(&contenders).zip(counts) {
        let against = ratio(contender, &contenders[0]);
        println!("| {algorithm:?}: {name} | {:.1} | {against:.2} | {count} |", contender.best() / 1e3);
    }
    contenders[0].best() / 1e3
}

/// What a digest and a map cost that know the token among 64.
fn look_up<'f>(token: &'f str) -> Part<'f> {
    let key = |text: &str| <[u8; 32]>::try_from(digest(&SHA256, text.as_bytes()).as_ref()).unwrap();
    let known: HashMap<_, _> = (0..63)
        .map(|number: u32| (key(&number.to_string()), Arc::new(number)))
        .chain([(key(token), Arc::new(63))])
        .collect();
    let known = Mutex::new(known);
    Box::new(move || drop(black_box(known.lock().unwrap().get(&key(token)).cloned().unwrap())))
}

#[derive(miniserde::Deserialize)]
struct Header {
    kid: String,
}

#[derive(miniserde::Deserialize)]
struct Checked {
    iss: String,
    aud: String,
    exp: u64,
}

fn read(token: &str) -> Option<(Header, Checked)> {
    let (header, rest) = token.split_once('.')?;
    let (payload, _) = rest.split_once('.')?;
    let text = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    Some((miniserde::json::from_str(&text(header)?).ok()?, miniserde::json::from_str(&text(payload)?).ok()?))
}

/// What somebody would write who wants no library: no duplicate, type or use is looked at, one form of `aud` is understood.
fn prototype<'f>(algorithm: Algorithm, jwk: &Value, f: &'f Fixture) -> Verify<'f> {
    let (parameters, key): (&'static dyn VerificationAlgorithm, Vec<u8>) = match algorithm {
        Algorithm::Rs256 => (&RSA_PKCS1_2048_8192_SHA256, rsa_der(&member(jwk, "n"), &member(jwk, "e"))),
        Algorithm::Es256 => (&ECDSA_P256_SHA256_FIXED, point(jwk)),
        _ => (&ED25519, member(jwk, "x")),
    };
    let keys = HashMap::from([(jwk["kid"].as_str().unwrap().to_owned(), UnparsedPublicKey::new(parameters, key))]);
    let verify = move |token: &str| {
        let (header, claims) = read(token)?;
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        keys.get(&header.kid)?.verify(signed.as_bytes(), &signature).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        (claims.iss == f.test.url() && claims.aud == AUDIENCE && claims.exp > now).then_some(claims)
    };
    Box::new(move |token| black_box(verify(token)).is_some())
}

fn aws_lc(algorithm: Algorithm, jwk: &Value, token: &str) -> Part<'static> {
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

fn jsonwebtoken<'f>(algorithm: Algorithm, jwk: &Value, f: &'f Fixture, by_kid: bool) -> Verify<'f> {
    use jsonwebtoken::{Algorithm as Alg, DecodingKey, Validation, decode, decode_header};
    let mut validation = Validation::new(match algorithm {
        Algorithm::Rs256 => Alg::RS256,
        Algorithm::Es256 => Alg::ES256,
        _ => Alg::EdDSA,
    });
    validation.set_issuer(&[f.test.url()]);
    validation.set_audience(&[AUDIENCE]);
    let key = DecodingKey::from_jwk(&serde_json::from_value(jwk.clone()).unwrap()).unwrap();
    if !by_kid {
        return Box::new(move |token| black_box(decode::<Claims>(token, &key, &validation)).is_ok());
    }
    let keys = HashMap::from([(jwk["kid"].as_str().unwrap().to_owned(), key)]);
    Box::new(move |token| {
        let header = decode_header(token).unwrap();
        let key = &keys[header.kid.as_deref().unwrap()];
        black_box(decode::<Claims>(token, key, &validation)).is_ok()
    })
}

/// Has no EdDSA.
fn aliri<'f>(algorithm: Algorithm, f: &'f Fixture) -> Option<Verify<'f>> {
    use aliri::jwa;
    use aliri::jwt::{Audience, BasicClaims, CoreHeaders, CoreValidator, Decomposed, HasAlgorithm, Issuer, Validated};
    let algorithm = match algorithm {
        Algorithm::Rs256 => jwa::Algorithm::RS256,
        Algorithm::Es256 => jwa::Algorithm::ES256,
        _ => return None,
    };
    let keys: aliri::Jwks = serde_json::from_str(&f.test.key_set()).unwrap();
    let validator = CoreValidator::default()
        .check_expiration()
        .add_approved_algorithm(algorithm)
        .add_allowed_audience(Audience::new(AUDIENCE.to_owned()))
        .require_issuer(Issuer::new(f.test.url().to_owned()));
    Some(Box::new(move |token| {
        let token = aliri::JwtRef::from_str(token);
        let parts: Decomposed = token.decompose().unwrap();
        let key = keys.get_key_by_id(parts.kid().unwrap(), parts.alg()).unwrap();
        let verified: Result<Validated<BasicClaims>, _> = token.verify(key, &validator);
        black_box(verified).is_ok()
    }))
}

/// Has no EdDSA.
fn biscuit<'f>(algorithm: Algorithm, jwk: &Value, f: &'f Fixture) -> Option<Verify<'f>> {
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
    Some(Box::new(move |token| {
        let token = JWT::<Value, Empty>::new_encoded(token).into_decoded(&secret, algorithm);
        black_box(token).is_ok_and(|token| token.validate(options.clone()).is_ok())
    }))
}

fn josekit<'f>(algorithm: Algorithm, jwk: &Value, f: &'f Fixture) -> Verify<'f> {
    use josekit::jws::{ES256, EdDSA, JwsVerifier, RS256};
    let jwk = josekit::jwk::Jwk::from_bytes(jwk.to_string()).unwrap();
    let verifier: Box<dyn JwsVerifier> = match algorithm {
        Algorithm::Rs256 => Box::new(RS256.verifier_from_jwk(&jwk).unwrap()),
        Algorithm::Es256 => Box::new(ES256.verifier_from_jwk(&jwk).unwrap()),
        _ => Box::new(EdDSA.verifier_from_jwk(&jwk).unwrap()),
    };
    Box::new(move |token| {
        let Ok((payload, _)) = josekit::jwt::decode_with_verifier(token, &*verifier) else { return false };
        let mut checks = josekit::jwt::JwtPayloadValidator::new();
        checks.set_base_time(SystemTime::now());
        checks.set_issuer(f.test.url());
        checks.set_audience(AUDIENCE);
        let checked = checks.validate(&payload).is_ok();
        drop(black_box(payload));
        checked
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
