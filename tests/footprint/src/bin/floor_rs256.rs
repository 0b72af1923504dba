//! As `floor`, for those who take RS256 alone: what the other eight algorithms add to every verifier of them is the difference.

use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

fn main() {
    let input: Vec<String> = std::env::args().collect();
    let verified = input.first().zip(input.last()).is_some_and(|(key, message)| {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(message.as_bytes(), message.as_bytes()).is_ok()
    });
    println!("{verified}");
}
