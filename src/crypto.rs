//! SHA-256 and randomness, by ring.

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

/// A SHA-256 digest, by which caches know a text without keeping it.
pub(crate) type Sha256 = [u8; 32];

pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    out
}

/// A number in `[0, 1)`. Decisions take it as an argument, so they are tested at each edge of it.
///
/// Where the system gives no randomness the draw is the middle, since a missing jitter is no reason to fail a request.
pub(crate) fn jitter() -> f64 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.5,
    }
}
