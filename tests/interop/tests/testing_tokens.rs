//! Our own test issuer speaks no private dialect: other languages' libraries discover it, read its keys and verify its tokens.

use aero2::jose::Algorithm;
use aero2::testing::TestIssuer;
use aero2_interop::{Verifier, verified_by};

const VERIFIERS: [Verifier; 2] = [Verifier::Jose, Verifier::PyJwt];

#[test]
fn tokens_of_the_test_issuer_are_verified_by_jose_and_pyjwt() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let test = TestIssuer::builder().algorithm(algorithm).build();
        let server = test.serve().unwrap();
        let token = server.token().subject("u1").audience("orders").scope("api:read").claim("tenant", "acme").sign();
        for verifier in VERIFIERS {
            let claims = verified_by(verifier, server.url(), "orders", &token).unwrap();
            assert_eq!(claims["sub"], "u1", "{verifier:?} {algorithm:?}");
            assert_eq!(claims["iss"], server.url(), "{verifier:?} {algorithm:?}");
            assert_eq!(claims["scope"], "api:read", "{verifier:?} {algorithm:?}");
            assert_eq!(claims["tenant"], "acme", "{verifier:?} {algorithm:?}");
        }
    }
}

#[test]
fn tokens_made_wrong_are_refused_by_jose_and_pyjwt_too() {
    let test = TestIssuer::new();
    let server = test.serve().unwrap();
    let token = || server.token().subject("u1").audience("orders");
    for (wrong, by_jose, by_pyjwt) in [
        (token().expired().sign(), "ERR_JWT_EXPIRED", "ExpiredSignatureError"),
        (token().bad_signature().sign(), "ERR_JWS_SIGNATURE_VERIFICATION_FAILED", "InvalidSignatureError"),
        (token().other_key().sign(), "ERR_JWS_SIGNATURE_VERIFICATION_FAILED", "InvalidSignatureError"),
        (token().issuer("https://other.test").sign(), "ERR_JWT_CLAIM_VALIDATION_FAILED", "InvalidIssuerError"),
        (token().audience("billing").sign(), "ERR_JWT_CLAIM_VALIDATION_FAILED", "InvalidAudienceError"),
    ] {
        for (verifier, expected) in VERIFIERS.into_iter().zip([by_jose, by_pyjwt]) {
            let refusal = verified_by(verifier, server.url(), "orders", &wrong).unwrap_err();
            assert_eq!(refusal.trim(), expected, "{verifier:?}");
        }
    }
}
