//! What no design of the crate could go below: the standard library and ring's verification of the nine algorithms, nothing else.

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};

const ALGORITHMS: [&dyn VerificationAlgorithm; 9] = [
    &RSA_PKCS1_2048_8192_SHA256,
    &RSA_PKCS1_2048_8192_SHA384,
    &RSA_PKCS1_2048_8192_SHA512,
    &RSA_PSS_2048_8192_SHA256,
    &RSA_PSS_2048_8192_SHA384,
    &RSA_PSS_2048_8192_SHA512,
    &ECDSA_P256_SHA256_FIXED,
    &ECDSA_P384_SHA384_FIXED,
    &ED25519,
];

fn main() {
    let input: Vec<String> = std::env::args().collect();
    let verified = ALGORITHMS.get(input.len()).and_then(|algorithm| {
        UnparsedPublicKey::new(*algorithm, &input.first()?)
            .verify(input.first()?.as_bytes(), input.last()?.as_bytes())
            .ok()
    });
    println!("{}", verified.is_some());
}
