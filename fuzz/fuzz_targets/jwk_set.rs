//! Oracle: a set is one exactly where the second reading finds an object with an array `keys`; usable and skipped keys add up; each
//! usable key is, by the second reading, public, for signatures, of a known type and in its right place, and reads alone as well.
#![no_main]

use aero2::jose::{Algorithm, Jwk, JwkSet};
use aero2_fuzz::base64url;
use aero2_fuzz::strict::{Json, Reading, get};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let ours = JwkSet::parse(text);
    let members = match Reading::of(text) {
        Reading::Object(members) => members,
        Reading::Bad => return assert!(ours.is_err(), "a set out of what is no object"),
        Reading::HugeNumber => return,
    };
    let Some(Json::Array(keys)) = get(&members, "keys") else { return assert!(ours.is_err()) };
    let set = ours.expect("an object with an array of keys");
    assert_eq!(set.len() + set.skipped(), keys.len());
    assert_eq!(set.iter().count(), set.len());
    let mut candidates = keys.iter();
    for jwk in set.iter() {
        let key = jwk.verification_key().expect("usable");
        // In the order of the document, so the rest of it must have one that could be this.
        let found = candidates
            .any(|candidate| candidate.members().is_some_and(|members| could_be(members, jwk.kid(), key.algorithms())));
        assert!(found, "{jwk:?} is none of the document's");
    }
    if let Ok(jwk) = Jwk::parse(text) {
        assert!(jwk.verification_key().is_err() || get(&members, "kty").is_some());
    }
});

fn could_be(members: &[(String, Json)], kid: Option<&str>, algorithms: &[Algorithm]) -> bool {
    let text = |name| get(members, name).and_then(Json::text);
    let bytes = |name| text(name).and_then(base64url::decode).map(|bytes| bytes.len());
    let kind_fits = match (text("kty"), text("crv")) {
        (Some("RSA"), _) => bytes("n").is_some_and(|n| (256..=1024).contains(&n)) && bytes("e").is_some_and(|e| e <= 5),
        (Some("EC"), Some("P-256")) => bytes("x") == Some(32) && bytes("y") == Some(32),
        (Some("EC"), Some("P-384")) => bytes("x") == Some(48) && bytes("y") == Some(48),
        (Some("OKP"), Some("Ed25519")) => bytes("x") == Some(32),
        _ => false,
    };
    let own = text("alg").map(|name| if name == "Ed25519" { "EdDSA" } else { name });
    let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|name| get(members, name).is_some());
    kind_fits
        && !private
        && text("kid") == kid
        && get(members, "kid").is_none_or(|kid| kid.text().is_some())
        && get(members, "use").is_none_or(|used| used.text() == Some("sig"))
        && get(members, "key_ops").is_none_or(|ops| ops.texts().is_some_and(|ops| ops.iter().any(|op| op == "verify")))
        && get(members, "alg").is_none_or(|alg| alg.text().is_some())
        && own.is_none_or(|own| algorithms.iter().all(|algorithm| algorithm.name() == own))
        && !algorithms.is_empty()
}
