//! The public building blocks of `aero2::jose`: published vectors, every algorithm, and what is refused.

use std::time::{Duration, UNIX_EPOCH};

use aero2::jose::{Algorithm, CompactJws, Jwk, JwkSet, VerificationKey};
use aero2::testing::ManualClock;
use aero2::{Error, Issuer, Request, Response, TokenErrorKind};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair, RsaPublicKeyComponents};

use crate::support::recorder::Recorder;
use crate::support::token_kind;

const A2_KEY: &str = include_str!("../data/rfc7515-a2-rs256.jwk");
const A2_TOKEN: &str = include_str!("../data/rfc7515-a2-rs256.jws");
const A3_KEY: &str = include_str!("../data/rfc7515-a3-es256.jwk");
const A3_TOKEN: &str = include_str!("../data/rfc7515-a3-es256.jws");
const ED25519_KEY: &str = include_str!("../data/rfc8037-a2-ed25519.jwk");
const ED25519_TOKEN: &str = include_str!("../data/rfc8037-a4-ed25519.jws");
const RFC7517_SET: &str = include_str!("../data/rfc7517-a1.jwks");
const RSA_TEST_KEY: &[u8] = include_bytes!("../data/test-rsa-2048.pk8");

fn key(jwk: &str) -> VerificationKey {
    Jwk::parse(jwk).unwrap().verification_key().unwrap()
}

fn verify(token: &str, key: &VerificationKey) -> Result<Vec<u8>, Error> {
    CompactJws::parse(token)?.verify(key)
}

/// Why a JWK cannot serve, in the words of the error.
fn problem(jwk: &str) -> String {
    match Jwk::parse(jwk).and_then(|jwk| jwk.verification_key()) {
        Err(Error::Config(e)) => e.to_string(),
        other => panic!("{jwk}: {other:?}"),
    }
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn signing_input(algorithm: Algorithm, payload: &str) -> String {
    format!("{}.{}", b64(format!(r#"{{"alg":"{algorithm}"}}"#)), b64(payload))
}

/// A token of `algorithm`, and a JWK that names it.
fn signed(algorithm: Algorithm) -> (String, String) {
    let (input, rng) = (signing_input(algorithm, "a payload"), SystemRandom::new());
    let (jwk, bytes) = match algorithm {
        Algorithm::Es256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", &input),
        Algorithm::Es384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", &input),
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
            let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, b64(pair.public_key()));
            (jwk, pair.sign(input.as_bytes()).as_ref().to_vec())
        }
        _ => {
            let padding: &dyn signature::RsaEncoding = match algorithm {
                Algorithm::Rs256 => &signature::RSA_PKCS1_SHA256,
                Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
                Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
                Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
                Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
                _ => &signature::RSA_PSS_SHA512,
            };
            let pair = RsaKeyPair::from_pkcs8(RSA_TEST_KEY).unwrap();
            let public: RsaPublicKeyComponents<Vec<u8>> = pair.public().into();
            let mut bytes = vec![0; pair.public().modulus_len()];
            pair.sign(padding, &rng, input.as_bytes(), &mut bytes).unwrap();
            (format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, b64(public.n), b64(public.e)), bytes)
        }
    };
    let named = jwk.replacen('{', &format!(r#"{{"alg":"{algorithm}","#), 1);
    (format!("{input}.{}", b64(bytes)), named)
}

fn ecdsa(algorithm: &'static signature::EcdsaSigningAlgorithm, crv: &str, input: &str) -> (String, Vec<u8>) {
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &rng).unwrap();
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    let jwk = format!(r#"{{"kty":"EC","crv":"{crv}","x":"{}","y":"{}"}}"#, b64(x), b64(y));
    (jwk, pair.sign(&rng, input.as_bytes()).unwrap().as_ref().to_vec())
}

/// The same token with its signature replaced.
fn with_signature(token: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let (input, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    change(&mut bytes);
    format!("{input}.{}", b64(bytes))
}

#[test]
fn the_vectors_of_rfc_7515_and_8037_verify() {
    let joe: &[u8] = b"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
    for (token, jwk, payload) in
        [(A2_TOKEN, A2_KEY, joe), (A3_TOKEN, A3_KEY, joe), (ED25519_TOKEN, ED25519_KEY, b"Example of Ed25519 signing")]
    {
        assert_eq!(verify(token.trim_end(), &key(jwk)).unwrap(), payload);
        let forged = with_signature(token.trim_end(), |bytes| bytes[5] ^= 1);
        assert_eq!(token_kind(verify(&forged, &key(jwk))), TokenErrorKind::BadSignature);
    }
}

#[test]
fn the_key_set_of_rfc_7517_has_one_key_for_signatures() {
    let set = JwkSet::parse(RFC7517_SET).unwrap();
    assert_eq!((set.len(), set.skipped(), set.is_empty()), (1, 1, false));
    let jwk = set.iter().next().unwrap();
    assert_eq!(jwk.kid(), Some("2011-04-29"));
    assert_eq!(jwk.verification_key().unwrap().algorithms(), [Algorithm::Rs256]);
}

#[test]
fn every_algorithm_verifies_with_its_own_key_and_with_no_other() {
    let all: Vec<_> = Algorithm::ALL.iter().map(|&algorithm| (algorithm, signed(algorithm))).collect();
    for (algorithm, (token, jwk)) in &all {
        assert_eq!(verify(token, &key(jwk)).unwrap(), b"a payload", "{algorithm}");
        assert_eq!(key(jwk).algorithms(), [*algorithm]);
        let jws = CompactJws::parse(token).unwrap();
        assert_eq!((jws.algorithm(), jws.kid(), jws.typ()), (*algorithm, None, None));
        for (other, (_, jwk)) in all.iter().filter(|(other, _)| other != algorithm) {
            assert_eq!(token_kind(verify(token, &key(jwk))), TokenErrorKind::UnfitKey, "{algorithm} with {other}");
        }
    }
}

#[test]
fn an_rsa_signature_of_one_padding_or_digest_is_none_of_another() {
    let (_, jwk) = signed(Algorithm::Rs256);
    let any = key(&jwk.replace(r#""alg":"RS256","#, ""));
    assert_eq!(any.algorithms().len(), 6);
    for &algorithm in any.algorithms() {
        let (token, _) = signed(algorithm);
        assert!(verify(&token, &any).is_ok());
        for &other in any.algorithms().iter().filter(|other| **other != algorithm) {
            let (_, rest) = token.split_once('.').unwrap();
            let claimed = format!("{}.{rest}", b64(format!(r#"{{"alg":"{other}"}}"#)));
            assert_eq!(token_kind(verify(&claimed, &any)), TokenErrorKind::BadSignature, "{algorithm} as {other}");
        }
    }
}

type Change = fn(&mut Vec<u8>);

#[test]
fn a_signature_has_exactly_the_size_of_its_algorithm() {
    for &algorithm in Algorithm::ALL {
        let (token, jwk) = signed(algorithm);
        let key = key(&jwk);
        let changes: [(&str, Change); 8] = [
            ("longer", |bytes| bytes.push(0)),
            ("longer in front", |bytes| bytes.insert(0, 0)),
            ("shorter", |bytes| bytes.truncate(bytes.len() - 1)),
            ("shorter in front", |bytes| *bytes = bytes.split_off(1)),
            ("one byte", |bytes| bytes.truncate(1)),
            ("zero", |bytes| bytes.fill(0)),
            ("all ones", |bytes| bytes.fill(0xff)),
            ("a kibibyte more", |bytes| bytes.extend([0; 1024])),
        ];
        for (name, change) in changes {
            let kind = token_kind(verify(&with_signature(&token, change), &key));
            assert_eq!(kind, TokenErrorKind::BadSignature, "{algorithm}: {name}");
        }
    }
}

#[test]
fn an_ecdsa_signature_in_der_is_none() {
    let rng = SystemRandom::new();
    let algorithm = &signature::ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &rng).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let key = key(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#, b64(x), b64(y)));
    let input = signing_input(Algorithm::Es256, "a payload");
    let token = format!("{input}.{}", b64(pair.sign(&rng, input.as_bytes()).unwrap()));
    assert_eq!(token_kind(verify(&token, &key)), TokenErrorKind::BadSignature);
}

#[test]
fn an_empty_payload_is_fine_and_the_type_is_not_looked_at() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let key = key(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, b64(pair.public_key())));
    let input = format!("{}.", b64(r#"{"alg":"Ed25519","typ":"logout+jwt","kid":"k\u0031"}"#));
    let token = format!("{input}.{}", b64(pair.sign(input.as_bytes())));
    let jws = CompactJws::parse(&token).unwrap();
    assert_eq!((jws.algorithm(), jws.typ(), jws.kid()), (Algorithm::EdDsa, Some("logout+jwt"), Some("k1")));
    assert_eq!(jws.verify(&key).unwrap(), b"");
    assert_eq!(jws.clone().verify(&key).unwrap(), b"", "a second time");
}

#[test]
fn what_is_no_compact_jws_is_refused() {
    use TokenErrorKind::{CriticalHeader, Malformed, UnsupportedAlgorithm};
    let good = ED25519_TOKEN.trim_end();
    let (header, rest) = good.split_once('.').unwrap();
    let with = |header: &str| format!("{}.{rest}", b64(header));
    for (token, kind) in [
        (String::new(), Malformed),
        (header.to_owned(), Malformed),
        (good.rsplit_once('.').unwrap().0.to_owned(), Malformed),
        (format!("{}.", good.rsplit_once('.').unwrap().0), Malformed),
        (format!(".{rest}"), Malformed),
        (format!("{good}.AA.AA"), Malformed),
        (format!("{good}="), Malformed),
        (format!("{good}\n"), Malformed),
        (with(r#"{"typ":"JWT"}"#), Malformed),
        (with(r#"{"alg":null}"#), Malformed),
        (with(r#"{"alg":"EdDSA","alg":"EdDSA"}"#), Malformed),
        (with(r#"{"alg":"EdDSA","kid":7}"#), Malformed),
        (with(r#"{"alg":"EdDSA","crit":null}"#), CriticalHeader),
        (with(r#"{"alg":"none"}"#), UnsupportedAlgorithm),
        (with(r#"{"alg":"HS256"}"#), UnsupportedAlgorithm),
    ] {
        assert_eq!(token_kind(CompactJws::parse(&token)), kind, "{token}");
    }
}

#[test]
fn a_jwk_that_cannot_verify_says_why() {
    let (_, rsa) = signed(Algorithm::Rs256);
    let (_, ec) = signed(Algorithm::Es256);
    let plus = |jwk: &str, member: &str| jwk.replacen('{', &format!("{{{member},"), 1);
    let ed = ED25519_KEY.trim_end();
    for (jwk, words) in [
        ("", "must be a JSON object"),
        ("[]", "must be a JSON object"),
        (&plus(ed, r#""kty":"OKP""#), "must be a JSON object"),
        ("{}", "missing, of the wrong type"),
        (r#"{"kty":7}"#, "missing, of the wrong type"),
        (r#"{"kty":"RSA","e":"AQAB"}"#, "missing, of the wrong type"),
        (r#"{"kty":"RSA","n":"A"}"#, "missing, of the wrong type"),
        (r#"{"kty":"OKP","crv":"Ed25519"}"#, "missing, of the wrong type"),
        (r#"{"kty":"EC","x":"AA","y":"AA"}"#, "missing, of the wrong type"),
        (&plus(ed, r#""kid":7"#), "missing, of the wrong type"),
        (&plus(ed, r#""use":7"#), "member use is missing, of the wrong type"),
        (&plus(ed, r#""key_ops":"verify""#), "missing, of the wrong type"),
        (&plus(ed, r#""alg":1"#), "missing, of the wrong type"),
        (r#"{"kty":"oct","k":"AAAA"}"#, "symmetric key"),
        (&plus(ed, r#""d":"AA""#), "private key"),
        (&plus(&rsa, r#""p":"AA""#), "private key"),
        (&plus(&rsa, r#""q":"AA""#), "private key"),
        (&plus(&rsa, r#""dp":"AA""#), "private key"),
        (&plus(&rsa, r#""dq":"AA""#), "private key"),
        (&plus(&rsa, r#""qi":"AA""#), "private key"),
        (&plus(&rsa, r#""oth":[1]"#), "private key"),
        (&plus(&rsa, r#""k":"AA""#), "private key"),
        (&plus(ed, r#""priv":"AA""#), "private key"),
        (&plus(&ec, r#""d":"AA""#), "private key"),
        (r#"{"kty":"XYZ"}"#, "not supported"),
        (r#"{"kty":"rsa"}"#, "not supported"),
        (r#"{"kty":"EC","crv":"P-521","x":"AA","y":"AA"}"#, "not supported"),
        (r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#, "not supported"),
        (r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#, "not supported"),
        (r#"{"kty":"OKP","crv":"Ed448","x":"AA"}"#, "not supported"),
        (&plus(ed, r#""use":"enc""#), "not for verifying"),
        (&plus(ed, r#""use":"sig","key_ops":["sign"]"#), "not for verifying"),
        (&plus(ed, r#""use":"enc","key_ops":["verify"]"#), "not for verifying"),
        (&plus(ed, r#""alg":"RS256""#), "not for verifying"),
        (&plus(ed, r#""alg":"HS256""#), "not for verifying"),
        (&ec.replace("ES256", "ES384"), "not for verifying"),
        (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, "2048 to 8192 bits"),
        (&rsa.replace(r#""e":"AQAB""#, r#""e":"AQ""#), "not a valid public key"),
        (&ec.replace("P-256", "P-384").replace("ES256", "ES384"), "not a valid public key"),
        (r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, "not a valid public key"),
        (r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#, "not a valid public key"),
    ] {
        assert!(problem(jwk).contains(words), "{jwk}: {}", problem(jwk));
    }
}

#[test]
fn a_jwk_for_verifying_serves() {
    let plus = |member: &str| ED25519_KEY.trim_end().replacen('{', &format!("{{{member},"), 1);
    for jwk in [
        plus(r#""use":"sig""#),
        plus(r#""key_ops":["verify"]"#),
        plus(r#""key_ops":["sign","verify"],"use":"sig""#),
        plus(r#""alg":"EdDSA""#),
        plus(r#""alg":"Ed25519""#),
        plus(r#""x5c":1,"x5u":2,"x5t":3,"x5t#S256":4,"unknown":{"a":[1]}"#),
    ] {
        assert!(verify(ED25519_TOKEN.trim_end(), &key(&jwk)).is_ok(), "{jwk}");
    }
}

#[test]
fn a_key_set_is_an_object_with_an_array_of_keys() {
    for text in [
        "",
        "[]",
        "{}",
        r#"{"keys":null}"#,
        r#"{"keys":{}}"#,
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[{"kty":"RSA","kty":"RSA"}]}"#,
        r#"{"keys":[]} x"#,
    ] {
        assert!(matches!(JwkSet::parse(text), Err(Error::Config(_))), "{text}");
    }
    let set = JwkSet::parse(r#"{"keys":[],"more":1}"#).unwrap();
    assert_eq!((set.len(), set.skipped(), set.is_empty()), (0, 0, true));
    let set =
        JwkSet::parse(&format!(r#"{{"keys":[1,null,"x",[],{{}},{{"kty":"oct","k":"AA"}},{ED25519_KEY}]}}"#)).unwrap();
    assert_eq!((set.len(), set.skipped()), (1, 6));
}

#[test]
fn keys_are_cheap_handles_that_show_no_material() {
    fn handle<T: Clone + Send + Sync + std::fmt::Debug>(_: &T) {}
    let (jwk, set) = (Jwk::parse(ED25519_KEY).unwrap(), JwkSet::parse(RFC7517_SET).unwrap());
    handle(&jwk);
    handle(&set);
    handle(&jwk.verification_key().unwrap());
    let shown = format!("{jwk:?} {set:?} {:?}", CompactJws::parse(ED25519_TOKEN.trim_end()).unwrap());
    assert!(!shown.contains("11qYAYKx") && !shown.contains("hgyY0il"), "{shown}");
    for name in ["Jwk {", "VerificationKey { algorithms: [EdDsa]", "JwkSet {", "CompactJws { algorithm: EdDsa"] {
        assert!(shown.contains(name), "{name} in {shown}");
    }
    assert_eq!(Algorithm::Ps256.to_string(), "PS256");
}

/// The example of RFC 9068 with times of this century's third quarter, since this crate takes no clock before 2026 for set.
#[test]
fn the_example_of_rfc_9068_passes_a_resource_server() {
    let pair = RsaKeyPair::from_pkcs8(RSA_TEST_KEY).unwrap();
    let public: RsaPublicKeyComponents<Vec<u8>> = pair.public().into();
    let (n, e) = (b64(public.n), b64(public.e));
    let keys = format!(r#"{{"keys":[{{"kty":"RSA","kid":"RjEwOwOA","use":"sig","n":"{n}","e":"{e}"}}]}}"#);
    let header = include_str!("../data/rfc9068-2.2-header.json");
    let claims = include_str!("../data/rfc9068-2.2-claims.json")
        .replace("1639528912", "1800000600")
        .replace("1618354090", "1800000000");
    let input = format!("{}.{}", b64(header), b64(&claims));
    let mut bytes = vec![0; pair.public().modulus_len()];
    pair.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut bytes).unwrap();

    let issuer = "https://authorization-server.example.com/";
    let discovery = format!(r#"{{"issuer":"{issuer}","jwks_uri":"{issuer}keys"}}"#);
    let transport = move |request: &Request<'_>| {
        let body = if request.url().ends_with("/keys") { &keys } else { &discovery };
        Ok(Response::new(200, [], body.clone().into_bytes()))
    };
    let clock = ManualClock::new();
    clock.set_wall(UNIX_EPOCH + Duration::from_secs(1_800_000_300));
    let issuer = Issuer::builder(issuer).transport(Recorder::new(transport)).clock(clock).build().unwrap();
    let rs =
        issuer.resource_server().audience("https://rs.example.com/").required_scopes(["reademail"]).build().unwrap();
    let claims = rs.verify_token(&format!("{input}.{}", b64(bytes))).unwrap();
    assert_eq!((claims.subject(), claims.client_id()), (Some("5ba552d67"), Some("s6BhdRkqt3")));
    assert_eq!(claims.scopes().collect::<Vec<_>>(), ["openid", "profile", "reademail"]);
}
