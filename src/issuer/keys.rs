//! The key set of an issuer, and the budget for asking again on an unknown `kid`.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;

use crate::cache::refresh_ahead::{Cached, Fetch, Initial, RefreshAheadCache};
use crate::crypto::{Sha256, sha256};
use crate::error::{Endpoint, Error, NetworkError, NetworkErrorKind};
use crate::jose::jwk::JwkSet;
use crate::time::Deadline;

/// The keys of an issuer as a caller got them.
pub(crate) type CachedKeys = Cached<JwkSet>;

pub(crate) struct KeyCache {
    keys: RefreshAheadCache<JwkSet>,
    unknown: Mutex<UnknownKids>,
    /// Keys that the program came with, in place of the issuer's: nothing is ever fetched.
    fixed: Option<JwkSet>,
}

impl KeyCache {
    pub(crate) fn new(max_stale: Duration, fixed: Option<JwkSet>) -> Self {
        Self { keys: RefreshAheadCache::new(Endpoint::Keys, max_stale), unknown: Mutex::default(), fixed }
    }

    /// Takes keys that were not fetched now, unless some are held already.
    pub(crate) fn init(&self, seed: Initial<JwkSet>, now: Duration) {
        self.keys.init(seed, now);
    }

    /// The keys held, how old they are, and their time to live.
    pub(crate) fn with_age(&self, now: Duration) -> Option<(JwkSet, Duration, Duration)> {
        match &self.fixed {
            Some(fixed) => Some((fixed.clone(), Duration::ZERO, Duration::MAX)),
            None => self.keys.with_age(now),
        }
    }

    /// The keys: from the cache where they may serve.
    pub(crate) fn get(
        &self,
        source: &impl Fetch<JwkSet>,
        deadline: impl FnOnce() -> Deadline,
    ) -> Result<CachedKeys, Error> {
        match &self.fixed {
            Some(fixed) => Ok(Cached { value: fixed.clone(), generation: 0, stale: false }),
            None => self.keys.get(source, deadline),
        }
    }

    pub(crate) fn refresh_if_due(&self, source: &impl Fetch<JwkSet>, deadline: Deadline) -> Result<(), Error> {
        if self.fixed.is_some() { Ok(()) } else { self.keys.refresh_if_due(source, deadline) }
    }

    /// Other keys than those of generation `seen`, in which `kid` was not: one request, if the budget allows it. `None` where
    /// there are none, so that the kid stays unknown.
    ///
    /// # Errors
    /// `RateLimited` at once past the budget, since nothing is known of the token; else why the keys could not be fetched.
    pub(crate) fn refetch_for_kid(
        &self,
        source: &impl Fetch<JwkSet>,
        kid: &str,
        seen: u64,
        deadline: Deadline,
    ) -> Result<Option<CachedKeys>, Error> {
        if self.fixed.is_some() {
            return Ok(None);
        }
        let name = sha256(kid.as_bytes());
        let now = source.monotonic();
        if let Some(newer) = self.keys.newer_than(seen, now) {
            return Ok(Some(newer));
        }
        if self.unknown.lock().was_refused(&name, now) {
            return Ok(None);
        }
        let admit = |now| self.unknown.lock().admit(now).map_err(rate_limited);
        let (held, asked) = self.keys.refetch(source, seen, deadline, admit)?;
        // Only the caller whose own request came back without the kid knows that the issuer does not have it.
        if asked && !held.value.contains_kid(kid) {
            let now = source.monotonic();
            self.unknown.lock().refuse(name, now);
        }
        Ok((held.generation != seen).then_some(held))
    }
}

fn rate_limited(wait: Duration) -> Error {
    Error::Network(NetworkError::new(NetworkErrorKind::RateLimited, Endpoint::Keys).with_retry_after(Some(wait)))
}

/// The budget for refetches, and the kids that the issuer was asked about and does not have. Pure: the time is an argument.
#[derive(Default)]
struct UnknownKids {
    /// When the bucket will be full again.
    full_at: Duration,
    /// By digest: a kid is as long as whoever sent the token likes.
    refused: VecDeque<(Sha256, Duration)>,
}

impl UnknownKids {
    /// Takes one attempt from the bucket, or says how long until the next one.
    fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        let full_at = self.full_at.max(now);
        let missing = full_at.saturating_sub(now);
        if let Some(wait) = missing.checked_sub(REFILL * (BURST - 1)).filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        self.full_at = full_at.saturating_add(REFILL);
        Ok(())
    }

    fn was_refused(&self, kid: &Sha256, now: Duration) -> bool {
        self.refused.iter().any(|(refused, at)| refused == kid && now.saturating_sub(*at) < REFUSED_FOR)
    }

    fn refuse(&mut self, kid: Sha256, now: Duration) {
        self.refused.retain(|(refused, at)| *refused != kid && now.saturating_sub(*at) < REFUSED_FOR);
        if self.refused.len() >= MAX_REFUSED {
            self.refused.pop_front();
        }
        self.refused.push_back((kid, now));
    }
}

/// Attempts that may be made at once: a rotation is seen at once even if some token was odd just before.
const BURST: u32 = 3;

/// One more attempt comes back in this time; with the burst at most 5 requests in the worst minute.
const REFILL: Duration = Duration::from_secs(30);

/// How long a kid that the issuer does not have is refused without asking.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// The bucket lets five kids a minute get so far; the rest is room to spare.
const MAX_REFUSED: usize = 32;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::cache::refresh_ahead::Fetched;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_bucket_gives_three_at_once_and_then_one_in_thirty_seconds() {
        let mut kids = UnknownKids::default();
        let start = secs(100);
        for _ in 0..3 {
            assert_eq!(kids.admit(start), Ok(()));
        }
        assert_eq!(kids.admit(start), Err(secs(30)));
        assert_eq!(kids.admit(start + secs(29)), Err(secs(1)));
        assert_eq!(kids.admit(start + secs(30)), Ok(()));
        assert_eq!(kids.admit(start + secs(30)), Err(secs(30)));
        assert_eq!(kids.admit(start + secs(60)), Ok(()));
    }

    #[test]
    fn the_bucket_fills_up_to_three_and_no_further() {
        let mut kids = UnknownKids::default();
        let later = secs(86_400);
        assert_eq!((0..10).filter(|_| kids.admit(later).is_ok()).count(), 3);
    }

    #[test]
    fn a_refused_kid_is_remembered_for_a_minute() {
        let mut kids = UnknownKids::default();
        kids.refuse(sha256(b"k"), secs(10));
        assert!(kids.was_refused(&sha256(b"k"), secs(70) - Duration::from_millis(1)));
        assert!(!kids.was_refused(&sha256(b"k"), secs(70)));
        assert!(!kids.was_refused(&sha256(b"other"), secs(10)));
    }

    #[test]
    fn the_set_of_refused_kids_is_bounded_and_the_oldest_goes_first() {
        let mut kids = UnknownKids::default();
        for i in 0..=MAX_REFUSED {
            kids.refuse(sha256(i.to_string().as_bytes()), secs(1));
        }
        assert_eq!(kids.refused.len(), MAX_REFUSED);
        assert!(!kids.was_refused(&sha256(b"0"), secs(1)));
        assert!(kids.was_refused(&sha256(b"1"), secs(1)));
    }

    #[test]
    fn a_refused_kid_takes_one_place_and_gives_it_back_after_its_minute() {
        let mut kids = UnknownKids::default();
        kids.refuse(sha256(b"first"), secs(1));
        for _ in 0..=MAX_REFUSED {
            kids.refuse(sha256(b"k"), secs(1));
        }
        assert!(kids.was_refused(&sha256(b"first"), secs(1)));
        kids.refuse(sha256(b"later"), secs(61));
        assert_eq!(kids.refused.len(), 1);
    }

    /// Makes no request; does what a test wants when the clock is looked at for the second time.
    struct Nowhere<'a> {
        looks: Cell<u32>,
        at_second_look: &'a dyn Fn(),
    }

    impl Fetch<JwkSet> for Nowhere<'_> {
        fn monotonic(&self) -> Duration {
            self.looks.set(self.looks.get() + 1);
            if self.looks.get() == 2 {
                (self.at_second_look)();
            }
            secs(1)
        }

        fn refresh_deadline(&self) -> Deadline {
            panic!("a request")
        }

        fn fetch(&self, _: Deadline) -> Result<Fetched<JwkSet>, Error> {
            panic!("a request")
        }
    }

    fn look(cache: &KeyCache, seen: u64, meanwhile: &dyn Fn()) -> Option<u64> {
        let source = Nowhere { looks: Cell::new(0), at_second_look: meanwhile };
        let outcome = cache.refetch_for_kid(&source, "k", seen, Deadline::after(secs(10)));
        outcome.unwrap().map(|held| held.generation)
    }

    fn init(cache: &KeyCache) {
        let value = JwkSet::parse(r#"{"keys":[]}"#).unwrap();
        cache.init(Initial { value, age: secs(0), ttl: secs(60), serves_for: None }, secs(1));
    }

    #[test]
    fn keys_that_came_since_are_looked_at_before_the_budget() {
        let cache = KeyCache::new(secs(60), None);
        init(&cache);
        init(&cache);
        cache.unknown.lock().refuse(sha256(b"k"), secs(1));
        assert_eq!(look(&cache, 1, &|| ()), Some(2));
        assert_eq!(look(&cache, 2, &|| ()), None, "refused just now, and no other keys");
    }

    #[test]
    fn a_kid_is_refused_after_a_request_that_did_not_bring_it_and_not_after_one_that_did() {
        struct Answer(&'static str);

        impl Fetch<JwkSet> for Answer {
            fn monotonic(&self) -> Duration {
                secs(1)
            }

            fn refresh_deadline(&self) -> Deadline {
                Deadline::after(secs(3))
            }

            fn fetch(&self, _: Deadline) -> Result<Fetched<JwkSet>, Error> {
                Ok(Fetched { value: JwkSet::parse(self.0).unwrap(), ttl: secs(60) })
            }
        }

        for (set, refused) in [(r#"{"keys":[{"kid":"k"}]}"#, false), (r#"{"keys":[{"kid":"other"}]}"#, true)] {
            let cache = KeyCache::new(secs(60), None);
            let held = cache.refetch_for_kid(&Answer(set), "k", 0, Deadline::after(secs(10))).unwrap();
            assert_eq!(held.map(|held| held.generation), Some(1), "{set}");
            assert_eq!(cache.unknown.lock().was_refused(&sha256(b"k"), secs(1)), refused, "{set}");
        }
    }

    #[test]
    fn a_kid_that_anothers_request_did_not_bring_may_be_asked_for() {
        let cache = KeyCache::new(secs(60), None);
        init(&cache);
        assert_eq!(look(&cache, 1, &|| init(&cache)), Some(2));
        assert!(!cache.unknown.lock().was_refused(&sha256(b"k"), secs(1)));
    }
}
