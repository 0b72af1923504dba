//! Randomness as a seam: the draws that spread a fleet's requests over time.

use ring::rand::{SecureRandom, SystemRandom};

/// A number in `[0, 1)`. Decisions take it as an argument, so they are tested at each edge of it.
///
/// Where the system gives no randomness the draw is the middle, since a missing jitter is no reason to fail a request.
pub(crate) fn draw() -> f64 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.5,
    }
}
