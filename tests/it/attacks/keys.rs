//! Attacks by way of the key set, and on which key a token gets. The key decides what it is for, the token only asks.

use aero2::TokenErrorKind::{AmbiguousKey, BadSignature, UnfitKey, UnknownKey, UnsupportedAlgorithm};
use aero2::jose::{Jwk, JwkSet};
use aero2::{Error, NetworkErrorKind, TokenErrorKind};
use base64::Engine as _;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::Attack;
use super::forge::{
    self, CLAIMS, b64, coordinates, ed_members, header, keys, members, rsa_members, rsa_numbers, set, signed, token,
};

/// A set of one JWK under the kid `k`.
fn one(members: impl AsRef<str>) -> Attack {
    Attack::on(&set([format!(r#""kid":"k",{}"#, members.as_ref())]))
}

fn for_k(algorithm: &str) -> String {
    signed(&header(algorithm, "k"), CLAIMS)
}

#[test]
fn a_symmetric_key_in_the_set_is_as_if_it_were_not_there() {
    let attack = one(format!(r#""kty":"oct","k":"{}""#, b64("secret")));
    for (name, algorithm) in [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
    {
        let mac = |input: &[u8]| hmac::sign(&hmac::Key::new(algorithm, b"secret"), input).as_ref().to_vec();
        attack.row(name, &token(header(name, "k"), CLAIMS, mac), UnsupportedAlgorithm);
    }
    attack.row("by its kid", &for_k("EdDSA"), UnknownKey);
    let disguised =
        one(format!(r#""kty":"oct","k":"{}","alg":"EdDSA","use":"sig","crv":"Ed25519","x":"AA""#, b64("s")));
    disguised.row("disguised", &for_k("EdDSA"), UnknownKey);
}

/// Whoever publishes one has lost it: anybody can sign with it.
#[test]
fn a_private_key_in_the_set_is_as_if_it_were_not_there() {
    let (n, e) = rsa_numbers();
    for (name, algorithm, members) in [
        ("RSA, d", "RS256", format!(r#"{},"d":"AQAB""#, rsa_members(&n, &e))),
        ("RSA, p", "RS256", format!(r#"{},"p":"AQAB""#, rsa_members(&n, &e))),
        ("RSA, oth", "RS256", format!(r#"{},"oth":[{{}}]"#, rsa_members(&n, &e))),
        ("EC, d", "ES256", format!(r#"{},"d":"AQAB""#, members("p256"))),
        ("OKP, d", "EdDSA", format!(r#"{},"d":"{}""#, members("ed"), b64([7; 32]))),
        ("OKP, d of the wrong type", "EdDSA", format!(r#"{},"d":[]"#, members("ed"))),
        ("OKP, d by an escape", "EdDSA", format!(r#"{},"\u0064":"AA""#, members("ed"))),
        ("k", "EdDSA", format!(r#"{},"k":"AA""#, members("ed"))),
    ] {
        one(members).row(name, &for_k(algorithm), UnknownKey);
    }
    let beside = Attack::on(&set([format!(r#"{},"d":"AA""#, members("ed")), members("ed")]));
    beside.accepted("no kid, and a public one beside it", &signed(r#"{"alg":"EdDSA"}"#, CLAIMS));
}

#[test]
fn a_key_of_another_type_or_curve_is_unfit_whatever_the_header_asks() {
    let attack = Attack::new();
    for kid in ["rsa", "p256", "p384", "ed"] {
        for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"] {
            let fits = match kid {
                "rsa" => algorithm.starts_with(['R', 'P']),
                "p256" => algorithm == "ES256",
                "p384" => algorithm == "ES384",
                _ => algorithm == "EdDSA",
            };
            if !fits {
                let token = signed(&header(algorithm, kid), CLAIMS);
                attack.row(&format!("{algorithm} under {kid}"), &token, UnfitKey);
            }
        }
    }
}

#[test]
fn a_key_is_for_its_own_algorithm_use_and_operations_alone() {
    for (algorithm, kid, bound) in [
        ("PS256", "rsa", r#""alg":"RS256""#),
        ("RS256", "rsa", r#""alg":"PS256""#),
        ("RS512", "rsa", r#""alg":"RS256""#),
        ("RS256", "rsa", r#""alg":"RSA-OAEP""#),
        ("RS256", "rsa", r#""alg":"HS256""#),
        ("RS256", "rsa", r#""alg":"none""#),
        ("RS256", "rsa", r#""alg":"rs256""#),
        ("RS256", "rsa", r#""alg":"""#),
        ("RS256", "rsa", r#""alg":["RS256"]"#),
        ("RS256", "rsa", r#""alg":"ES256""#),
        ("ES256", "p256", r#""alg":"ES384""#),
        ("ES256", "p256", r#""alg":"ECDH-ES""#),
        ("EdDSA", "ed", r#""alg":"ES256""#),
        ("EdDSA", "ed", r#""use":"enc""#),
        ("EdDSA", "ed", r#""use":"SIG""#),
        ("EdDSA", "ed", r#""use":"""#),
        ("EdDSA", "ed", r#""use":["sig"]"#),
        ("EdDSA", "ed", r#""key_ops":["sign"]"#),
        ("EdDSA", "ed", r#""key_ops":["encrypt","wrapKey"]"#),
        ("EdDSA", "ed", r#""key_ops":[]"#),
        ("EdDSA", "ed", r#""key_ops":"verify""#),
        ("EdDSA", "ed", r#""key_ops":["verify",1]"#),
        ("EdDSA", "ed", r#""use":"enc","key_ops":["verify"]"#),
        ("EdDSA", "ed", r#""use":"sig","key_ops":["encrypt"]"#),
    ] {
        one(format!("{bound},{}", members(kid))).row(&format!("{algorithm} with {bound}"), &for_k(algorithm), UnfitKey);
    }
    let nulls = r#""alg":null,"use":null,"key_ops":null,"d":null,"oth":[],"x5c":null"#;
    for bound in
        [nulls, r#""use":"sig""#, r#""key_ops":["verify"]"#, r#""alg":"EdDSA""#, r#""alg":"Ed25519","use":"sig""#]
    {
        one(format!("{bound},{}", members("ed"))).accepted(bound, &for_k("EdDSA"));
    }
}

/// ring takes e from 3 to 2^33 - 1, odd, and n of 2048 to 8192 bits, odd; we ask the same when the set is read.
#[test]
fn a_weak_or_broken_rsa_key_is_unfit() {
    let (n, e) = rsa_numbers();
    let even = [&n[..255], &[n[255] & 0xfe]].concat();
    for (name, n, e) in [
        ("1024 bits", n[..128].iter().copied().chain([1]).skip(1).collect(), e.clone()),
        ("2047 bits", [&[0x7f], &n[1..]].concat(), e.clone()),
        ("8 bits", vec![0xfb], e.clone()),
        ("16384 bits", n.repeat(8), e.clone()),
        ("even modulus", even, e.clone()),
        ("n of nothing", Vec::new(), e.clone()),
        ("e of nothing", n.clone(), Vec::new()),
        ("e = 0", n.clone(), vec![0]),
        ("e = 1: every signature is its own message", n.clone(), vec![1]),
        ("e = 2", n.clone(), vec![2]),
        ("e even", n.clone(), vec![1, 0, 0]),
        ("e as long as n", n.clone(), n.clone()),
    ] {
        one(rsa_members(&n, &e)).row(name, &for_k("RS256"), UnfitKey);
    }
    for members in [
        r#""kty":"RSA","e":"AQAB""#.to_owned(),
        format!(r#""kty":"RSA","n":"{}""#, b64(&n)),
        format!(r#""kty":"RSA","n":"{} ","e":"AQAB""#, b64(&n)),
        format!(r#""kty":"RSA","n":"{}","e":65537"#, b64(&n)),
        format!(r#""kty":"rsa","n":"{}","e":"AQAB""#, b64(&n)),
        format!(r#""n":"{}","e":"AQAB""#, b64(&n)),
        format!(r#""kty":null,"n":"{}","e":"AQAB""#, b64(&n)),
    ] {
        one(&members).row(&members, &for_k("RS256"), UnfitKey);
    }
}

/// The signature that e = 1 would let pass: the padded digest itself.
#[test]
fn a_signature_that_is_the_padded_digest_is_refused() {
    let (n, e) = rsa_numbers();
    let forged = token(header("RS256", "k"), CLAIMS, |input| {
        let digest = ring::digest::digest(&ring::digest::SHA256, input);
        let info = [&super::signatures::SHA256_INFO[..], digest.as_ref()].concat();
        [&[0, 1][..], &vec![0xff; 256 - 3 - info.len()], &[0], &info].concat()
    });
    one(rsa_members(&n, &[1])).row("e = 1", &forged, UnfitKey);
    one(rsa_members(&n, &e)).row("e = 65537", &forged, BadSignature);
}

#[test]
fn a_point_that_is_none_is_unfit() {
    let (x, y) = coordinates(&keys().p256);
    let ec = |crv: &str, x: &[u8], y: &[u8]| format!(r#""kty":"EC","crv":"{crv}","x":"{}","y":"{}""#, b64(x), b64(y));
    let off = [&y[..31], &[y[31] ^ 1]].concat();
    let field = [&[0xff; 4][..], &[0, 0, 0, 1], &[0; 12], &[0xff; 12]].concat();
    let (x384, y384) = coordinates(&keys().p384);
    for (name, algorithm, members) in [
        ("off the curve", "ES256", ec("P-256", x, &off)),
        ("infinity", "ES256", ec("P-256", &[0; 32], &[0; 32])),
        ("x = p", "ES256", ec("P-256", &field, y)),
        ("a short x", "ES256", ec("P-256", &x[..31], y)),
        ("a long x", "ES256", ec("P-256", &[&[1], x].concat(), y)),
        ("no x", "ES256", ec("P-256", &[], y)),
        ("a short y", "ES256", ec("P-256", x, &y[..31])),
        ("a long y", "ES256", ec("P-256", x, &[&[1], y].concat())),
        ("no y", "ES256", ec("P-256", x, &[])),
        ("the bytes of both, parted elsewhere", "ES256", ec("P-256", &x[..31], &[&x[31..], y].concat())),
        ("both swapped", "ES256", ec("P-256", y, x)),
        ("a point of P-384 for P-256", "ES256", ec("P-256", x384, y384)),
        ("a point of P-256 for P-384", "ES384", ec("P-384", x, y)),
        ("another curve", "ES256", ec("secp256k1", x, y)),
        ("P-521", "ES256", ec("P-521", x, y)),
        ("a curve by another spelling", "ES256", ec("p-256", x, y)),
        ("crv of the wrong type", "ES256", ec("P-256", x, y).replace(r#""P-256""#, "256")),
        ("Ed25519, 31 bytes", "EdDSA", ed_members(&[7; 31])),
        ("Ed25519, 33 bytes", "EdDSA", ed_members(&[7; 33])),
        ("X25519", "EdDSA", members("ed").replace("Ed25519", "X25519")),
        ("Ed448", "EdDSA", members("ed").replace("Ed25519", "Ed448")),
    ] {
        one(members).row(name, &for_k(algorithm), UnfitKey);
    }
}

#[test]
fn what_is_no_key_set_verifies_nothing() {
    let good = members("ed");
    for set in [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"keys":null}"#.to_owned(),
        r#"{"keys":{}}"#.to_owned(),
        r#"{"keys":[]}"#.to_owned(),
        r#"{"keys":[null,1,"x",[],{}]}"#.to_owned(),
        format!(r#"{{"keys":[{{"kid":"k","use":"enc",{good}}}]}}"#),
        format!("{{{good}}}"),
        format!("[{{{good}}}]"),
        format!(r#"{{"keys":[{{"kid":"k",{good}}}],"keys":[]}}"#),
        format!(r#"{{"keys":[],"\u006beys":[{{"kid":"k",{good}}}]}}"#),
        format!(r#"{{"keys":[{{"kid":"k","kid":"k",{good}}}]}}"#),
        format!(r#"{{"keys":[{{"kid":"k","\u006bid":"j",{good}}}]}}"#),
        format!(r#"{{"keys":[{{"kid":"k",{good},"\u0078":"AA"}}]}}"#),
        format!(r#"{{"keys":[{{"kid":"k",{good}}}]}} x"#),
        format!("\u{feff}{{\"keys\":[{{\"kid\":\"k\",{good}}}]}}"),
        format!(r#"{{"keys":[{{"kid":"k",{good}}}],"x":{}{}}}"#, "[".repeat(70), "]".repeat(70)),
    ] {
        for outcome in Attack::on(&set).outcomes(&for_k("EdDSA")) {
            let Err(Error::Network(error)) = outcome else { panic!("{set}: {outcome:?}") };
            assert_eq!(error.kind(), NetworkErrorKind::InvalidResponse, "{set}");
        }
    }
}

#[test]
fn in_a_mixed_set_each_token_gets_the_key_that_it_names_and_no_other() {
    let named = |kid: &str, members: &str| format!(r#""kid":"{kid}",{members}"#);
    let other = ed_members(forge::attackers_key().public_key().as_ref());
    let (ours, rsa) = (members("ed"), members("rsa"));
    let kidless = signed(r#"{"alg":"EdDSA"}"#, CLAIMS);
    let rows: [(&str, Vec<String>, &str, Option<TokenErrorKind>); 12] = [
        ("a repeated kid, good one first", vec![named("k", &ours), named("k", &other)], &for_k("EdDSA"), None),
        ("a repeated kid, good one last", vec![named("k", &other), named("k", &ours)], &for_k("EdDSA"), None),
        ("a repeated kid of two types", vec![named("k", &rsa), named("k", &ours)], &for_k("EdDSA"), None),
        (
            "a repeated kid, twice another's",
            vec![named("k", &other), named("k", &other)],
            &for_k("EdDSA"),
            Some(BadSignature),
        ),
        ("the kid on another key", vec![named("k", &other), named("j", &ours)], &for_k("EdDSA"), Some(BadSignature)),
        ("the kid on an unfit key", vec![named("k", &rsa), named("j", &ours)], &for_k("EdDSA"), Some(UnfitKey)),
        ("the kid on a broken key", vec![named("k", r#""kty":"OKP""#), ours.clone()], &for_k("EdDSA"), Some(UnfitKey)),
        ("the kid nowhere, a key without one", vec![ours.clone()], &for_k("EdDSA"), Some(UnknownKey)),
        ("no kid, one that fits", vec![rsa.clone(), named("k", &ours)], &kidless, None),
        ("no kid, two that fit", vec![named("j", &other), named("k", &ours)], &kidless, Some(AmbiguousKey)),
        ("no kid, the same key twice", vec![ours.clone(), ours.clone()], &kidless, Some(AmbiguousKey)),
        ("no kid, none that fits", vec![rsa.clone()], &kidless, Some(UnfitKey)),
    ];
    for (name, members, token, expected) in rows {
        let attack = Attack::on(&set(members));
        match expected {
            Some(kind) => attack.row(name, token, kind),
            None => attack.accepted(name, token),
        }
    }
    let null = Attack::on(&set([format!(r#""kid":null,{ours}"#)]));
    null.row("a kid of null is no kid to be named by", &for_k("EdDSA"), UnknownKey);
    null.accepted("and counts as absent", &kidless);
    let broken = Attack::on(&set([format!(r#""kid":7,{ours}"#)]));
    broken.row("a key with a broken member is not used", &kidless, UnfitKey);
}

#[test]
fn key_material_counts_by_its_value() {
    let (n, e) = rsa_numbers();
    let zeros = |bytes: &[u8]| [&[0, 0], bytes].concat();
    let standard = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let (x, y) = coordinates(&keys().p256);
    let (x384, y384) = coordinates(&keys().p384);
    let ec = |crv: &str, x: &str, y: &str| format!(r#""kty":"EC","crv":"{crv}","x":"{x}","y":"{y}""#);
    for (name, algorithm, members) in [
        ("leading zeros of n", "RS256", rsa_members(&zeros(&n), &e)),
        ("leading zeros of e", "PS384", rsa_members(&n, &[0, 1, 0, 1])),
        ("padding", "RS256", format!(r#""kty":"RSA","n":"{}==","e":"AQAB""#, b64(&n))),
        ("standard base64", "RS256", format!(r#""kty":"RSA","n":"{}","e":"AQAB""#, standard(&n))),
        ("a long x", "ES256", ec("P-256", &b64(zeros(x)), &b64(y))),
        ("a long y", "ES384", ec("P-384", &b64(x384), &b64(zeros(y384)))),
        ("standard base64 of coordinates", "ES256", ec("P-256", &standard(x), &standard(y))),
    ] {
        one(members).accepted(name, &for_k(algorithm));
    }
    one(ed_members(&[&[0], keys().ed.public_key().as_ref()].concat())).row(
        "an OKP x is its bytes",
        &for_k("EdDSA"),
        UnfitKey,
    );
}

#[test]
fn a_short_coordinate_is_filled_up_with_zeros() {
    let (x, y) = std::iter::repeat_with(new_p256).find(|(x, y)| x[0] == 0 || y[0] == 0).unwrap();
    let trimmed = |bytes: &[u8]| b64(bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>());
    let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#, trimmed(&x), trimmed(&y));
    assert!(jwk.parse::<Jwk>().unwrap().verification_key().is_ok());
}

fn new_p256() -> (Vec<u8>, Vec<u8>) {
    let rng = ring::rand::SystemRandom::new();
    let key = ring::agreement::EphemeralPrivateKey::generate(&ring::agreement::ECDH_P256, &rng).unwrap();
    let point = key.compute_public_key().unwrap();
    let (x, y) = point.as_ref()[1..].split_at(32);
    (x.to_vec(), y.to_vec())
}

#[test]
fn four_keys_of_one_kid_are_tried_and_no_more() {
    let other = |n: u8| ed_members(Ed25519KeyPair::from_seed_unchecked(&[n; 32]).unwrap().public_key().as_ref());
    let (ours, rsa) = (members("ed"), members("rsa"));
    let named = |members: &str| format!(r#""kid":"k",{members}"#);
    let with_ours_at = |at: usize| {
        let mut keys: Vec<String> = (1..6).map(|n| named(&other(n))).collect();
        keys.insert(at, named(&ours));
        keys.insert(0, named(&rsa));
        Attack::on(&set(keys))
    };
    with_ours_at(3).accepted("the fourth that fits", &for_k("EdDSA"));
    with_ours_at(4).row("the fifth", &for_k("EdDSA"), BadSignature);
}

#[test]
fn the_first_hundred_usable_keys_are_used() {
    let key = |kid: &str, members: &str| format!(r#"{{"kid":"{kid}",{members}}}"#);
    let broken: Vec<String> = (0..50).map(|n| key(&format!("broken-{n}"), r#""kty":"OKP""#)).collect();
    let good: Vec<String> = (0..102).map(|n| key(&format!("good-{n}"), &members("ed"))).collect();
    let keys = [broken, good, vec![r#"{"kty":"oct","kid":"good-0","k":"AA"}"#.to_owned()]].concat();
    let set: JwkSet = format!(r#"{{"keys":[{}]}}"#, keys.join(",")).parse().unwrap();
    assert_eq!((set.len(), set.skipped(), set.skipped_reasons().count()), (100, 53, 53));
    assert!(set.find("good-99").is_some() && set.find("good-100").is_none());
    let reasons: Vec<String> = set.skipped_reasons().collect();
    assert!(reasons[0].contains("member crv"), "{}", reasons[0]);
    assert!(reasons[50].contains("more than 100"), "{}", reasons[50]);
    assert!(reasons[52].contains("symmetric"), "{}", reasons[52]);
}
