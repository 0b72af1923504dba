//! Tokens whose signature was verified before: a repeated one costs a digest and a look-up. Opt-in.
//!
//! Only what the signature proves is remembered. Everything that depends on time, policy or the present key set is checked on every
//! hit by the caller. No token text is kept, and a refusal never is.

use parking_lot::Mutex;

use crate::cache::bounded_map::BoundedMap;
use crate::claims::Claims;
use crate::crypto::{Sha256, sha256};
use crate::jose::algorithm::Algorithm;

/// SHA-256 of the whole token, signature included.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenDigest(Sha256);

impl TokenDigest {
    pub(crate) fn of(token: &str) -> Self {
        Self(sha256(token.as_bytes()))
    }

    /// Spreads the digests evenly; they are uniform already.
    fn shard(self, shards: usize) -> usize {
        let [first, second, ..] = self.0;
        usize::from(u16::from_le_bytes([first, second])) % shards.max(1)
    }
}

/// What a verified signature proves: these claims, by that key.
#[derive(Clone)]
pub(crate) struct VerifiedToken {
    pub(crate) claims: Claims,
    /// The digest of the key material, and what it was used for.
    pub(crate) key: Sha256,
    pub(crate) algorithm: Algorithm,
}

/// Sharded, so that threads seldom meet; a critical section is a look-up and a pointer copy.
pub(crate) struct VerifiedCache {
    shards: Vec<Mutex<BoundedMap<TokenDigest, VerifiedToken>>>,
}

impl VerifiedCache {
    pub(crate) fn new(capacity: usize) -> Self {
        let shards = (capacity / MIN_SHARD).clamp(1, MAX_SHARDS);
        let each = capacity.div_ceil(shards);
        Self { shards: (0..shards).map(|_| Mutex::new(BoundedMap::new(each))).collect() }
    }

    pub(crate) fn get(&self, token: TokenDigest) -> Option<VerifiedToken> {
        self.shard(token)?.lock().get(&token).cloned()
    }

    pub(crate) fn insert(&self, token: TokenDigest, verified: VerifiedToken) {
        if let Some(shard) = self.shard(token) {
            let evicted = shard.lock().insert(token, verified);
            drop(evicted);
        }
    }

    fn shard(&self, token: TokenDigest) -> Option<&Mutex<BoundedMap<TokenDigest, VerifiedToken>>> {
        self.shards.get(token.shard(self.shards.len()))
    }
}

/// Beyond this, more shards gain nothing on the machines that this crate is for.
const MAX_SHARDS: usize = 16;

/// Below this, a shard would evict while another has room.
const MIN_SHARD: usize = 64;
