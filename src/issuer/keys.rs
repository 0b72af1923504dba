//! The key set of an issuer, and the budget for asking again when it has no key for a token.
//!
//! While the issuer answers, a published key verifies within 30 s, whatever others send: any refetch brings all keys, one is admitted at
//! most 30 s after the one before, and no kid waits longer than that for the next question about it.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;

use crate::cache::backoff::BackoffScope;
use crate::cache::refresh_ahead::{Cached, Fetch, Initial, RefreshAheadCache};
use crate::crypto::{Sha256, sha256};
use crate::error::{Endpoint, Error, NetworkError, NetworkErrorKind};
use crate::jose::jwk::JwkSet;
use crate::time::{Deadline, Now};

pub(crate) mod fetch;

/// The keys of an issuer as a caller got them.
pub(crate) type CachedKeys = Cached<JwkSet>;

pub(crate) struct KeyCache {
    keys: RefreshAheadCache<JwkSet>,
    budget: Mutex<RefetchBudget>,
    /// Keys that the program came with, in place of the issuer's: nothing is ever fetched.
    fixed: Option<JwkSet>,
}

/// What a caller may do to get keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyAccess {
    /// Neither send nor wait.
    #[cfg_attr(not(test), expect(dead_code, reason = "no option asks for it yet"))]
    CachedOnly,
    /// Send, or wait for another caller's request.
    Until(Deadline),
}

impl From<Deadline> for KeyAccess {
    fn from(deadline: Deadline) -> Self {
        Self::Until(deadline)
    }
}

/// Why other keys than the cached ones may verify a token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RefetchCause<'a> {
    /// No key has this `kid`.
    UnknownKid(&'a str),
    /// The key that the token names, or the only one there is, does not fit or did not make the signature: the issuer may have put
    /// another in its place.
    OtherKey,
}

impl KeyCache {
    pub(crate) fn new(max_stale: Duration, fixed: Option<JwkSet>) -> Self {
        Self { keys: RefreshAheadCache::new(Endpoint::Keys, max_stale), budget: Mutex::default(), fixed }
    }

    /// Takes keys that were not fetched now, unless fetched ones are cached already.
    pub(crate) fn init(&self, initial: Initial<JwkSet>, now: Now) {
        self.keys.init(initial, now);
    }

    /// The cached keys if they came from the issuer, or are fixed; how old they are, and their time to live.
    pub(crate) fn with_age(&self, now: Now) -> Option<(JwkSet, Duration, Duration)> {
        match &self.fixed {
            Some(fixed) => Some((fixed.clone(), Duration::ZERO, Duration::MAX)),
            None => self.keys.with_age(now),
        }
    }

    /// The keys: from the cache where they may serve.
    pub(crate) fn get(&self, source: &impl Fetch<JwkSet>, now: Now, access: KeyAccess) -> Result<CachedKeys, Error> {
        match (&self.fixed, access) {
            (Some(fixed), _) => Ok(fixed_keys(fixed, now)),
            (None, KeyAccess::Until(deadline)) => self.keys.get(BackoffScope::All, source, now, deadline),
            (None, KeyAccess::CachedOnly) => {
                self.keys.cached(now).ok_or_else(|| not_cached(self.keys.next_refresh_in(now)))
            }
        }
    }

    /// Why there are no keys of the issuer.
    pub(crate) fn failure(&self, now: Now) -> Error {
        self.keys.failure(now).unwrap_or_else(|| Error::network(NetworkErrorKind::Io, Endpoint::Keys))
    }

    /// Refreshes the keys if they are due, or if a kid is wanted that they do not have.
    pub(crate) fn refresh_if_due(&self, source: &impl Fetch<JwkSet>, deadline: Deadline) -> Result<(), Error> {
        if self.fixed.is_some() {
            return Ok(());
        }
        let now = source.now();
        let Some(seen) = self.keys.cached(now).filter(|keys| self.wanted_in(keys, now) == Some(Duration::ZERO)) else {
            return self.keys.refresh_if_due(source, deadline);
        };
        let (keys, requested) = self.keys.refetch(source, seen.generation, deadline, |now| self.acquire(now))?;
        if let Some(start) = requested {
            self.budget.lock().note_wanted(&keys.value, start);
        }
        Ok(())
    }

    /// How long until [`refresh_if_due`](Self::refresh_if_due) would send something.
    pub(crate) fn next_refresh_in(&self, now: Now) -> Duration {
        if self.fixed.is_some() {
            return Duration::MAX;
        }
        let next = self.keys.next_refresh_in(now);
        let wanted = self.keys.cached(now).and_then(|keys| self.wanted_in(&keys, now));
        wanted.map_or(next, |wanted| next.min(wanted))
    }

    /// How long until the issuer may be asked about a kid that is wanted and that `keys` do not have; `None` where there is none.
    fn wanted_in(&self, keys: &CachedKeys, now: Now) -> Option<Duration> {
        let wanted = self.budget.lock().wants_other_than(&keys.value);
        wanted.then(|| self.wait_for_refetch(now))
    }

    fn wait_for_refetch(&self, now: Now) -> Duration {
        let failed = self.keys.failure(now).and_then(|error| error.retry_after());
        failed.max(self.budget.lock().wait(now)).unwrap_or_default()
    }

    pub(crate) fn retry_now(&self) {
        self.keys.retry_now();
    }

    /// Other keys than `seen`, for a token that those do not verify: one request, if the budget allows it. `None` where there are
    /// none, so that the answer stays what it was.
    ///
    /// # Errors
    /// For an unknown `kid`: `KeysNotCached` where the caller may not send, and then the next [`refresh_if_due`](Self::refresh_if_due) asks
    /// for the kid; `RateLimited` at once past the budget, and where enough callers wait for the request that is in progress;
    /// else why the keys could not be fetched. For another cause there are none.
    pub(crate) fn refetch(
        &self,
        source: &impl Fetch<JwkSet>,
        cause: RefetchCause<'_>,
        seen: &CachedKeys,
        access: KeyAccess,
    ) -> Result<Option<CachedKeys>, Error> {
        match (cause, access) {
            _ if self.fixed.is_some() => Ok(None),
            (RefetchCause::UnknownKid(kid), _) => self.refetch_for_kid(source, kid, seen, access),
            (RefetchCause::OtherKey, KeyAccess::CachedOnly) => Ok(None),
            (RefetchCause::OtherKey, _) if seen.age <= MIN_AGE_FOR_OTHER_KEY => Ok(None),
            (RefetchCause::OtherKey, KeyAccess::Until(deadline)) => {
                let refetched = self.keys.refetch(source, seen.generation, deadline, |now| self.acquire(now));
                Ok(refetched.ok().map(|(keys, _)| keys))
            }
        }
    }

    fn refetch_for_kid(
        &self,
        source: &impl Fetch<JwkSet>,
        kid: &str,
        seen: &CachedKeys,
        access: KeyAccess,
    ) -> Result<Option<CachedKeys>, Error> {
        let (digest, now) = (sha256(kid.as_bytes()), source.now());
        if let Some(newer) = self.keys.newer_than(seen.generation, now) {
            return Ok(Some(newer));
        }
        if self.budget.lock().is_refused(&digest, now) {
            return Ok(None);
        }
        let KeyAccess::Until(deadline) = access else {
            self.budget.lock().want(digest);
            return Err(not_cached(self.wait_for_refetch(now)));
        };
        let (keys, requested) = self.keys.refetch(source, seen.generation, deadline, |now| self.acquire(now))?;
        // Only the caller whose own request came back without the kid knows that the issuer does not have it.
        if let Some(start) = requested {
            self.budget.lock().note(digest, keys.value.contains_kid(kid), start);
        }
        Ok(Some(keys))
    }

    fn acquire(&self, now: Now) -> Result<(), Error> {
        self.budget.lock().try_acquire(now).map_err(rate_limited)
    }
}

fn fixed_keys(fixed: &JwkSet, at: Now) -> CachedKeys {
    Cached { value: fixed.clone(), generation: 0, age: Duration::ZERO, stale: false, at }
}

fn rate_limited(wait: Duration) -> Error {
    Error::Network(NetworkError::new(NetworkErrorKind::RateLimited, Endpoint::Keys).with_retry_after(Some(wait)))
}

fn not_cached(wait: Duration) -> Error {
    let wait = wait.max(SHORTEST_RETRY_AFTER);
    Error::network(NetworkErrorKind::KeysNotCached, Endpoint::Keys).with_retry_after(wait)
}

/// The token bucket for refetches, and the kids that the issuer did not have. Pure: the time is an argument.
#[derive(Default)]
struct RefetchBudget {
    /// How long the bucket took to be full again when it was last used, and when that was.
    last_use: Option<(Duration, Now)>,
    refused: VecDeque<RefusedKid>,
    /// Kids of tokens that waited for no request; the program's timer asks for them.
    wanted: VecDeque<Sha256>,
}

/// A kid that the issuer did not have, by digest: a kid is as long as the sender of the token likes.
struct RefusedKid {
    digest: Sha256,
    /// When the issuer was last asked. From then on: the issuer may have got the key before its answer arrived.
    asked: Now,
    times: usize,
}

impl RefetchBudget {
    /// Takes one attempt from the bucket, or says how long until the next one.
    fn try_acquire(&mut self, now: Now) -> Result<(), Duration> {
        if let Some(wait) = self.wait(now) {
            return Err(wait);
        }
        self.last_use = Some((self.missing(now).saturating_add(REFILL), now));
        Ok(())
    }

    /// How long until the next attempt may be taken.
    fn wait(&self, now: Now) -> Option<Duration> {
        self.missing(now).checked_sub(REFILL * (BURST - 1)).filter(|wait| !wait.is_zero())
    }

    /// How long until the bucket is full.
    fn missing(&self, now: Now) -> Duration {
        self.last_use.map_or(Duration::ZERO, |(missing, at)| missing.saturating_sub(now.elapsed_since(at)))
    }

    /// Whether it is too early to ask about this kid again.
    fn is_refused(&self, kid: &Sha256, now: Now) -> bool {
        self.refused.iter().any(|refused| refused.digest == *kid && now.elapsed_since(refused.asked) < refused.wait())
    }

    /// Notes what came of a request for this kid that started at `asked`.
    fn note(&mut self, digest: Sha256, found: bool, asked: Now) {
        let before = self.refused.iter().position(|refused| refused.digest == digest);
        let before = before.and_then(|at| self.refused.remove(at));
        if found {
            return;
        }
        let remembered = before.filter(|refused| asked.elapsed_since(refused.asked) < FORGOTTEN_AFTER);
        if self.refused.len() >= MAX_REFUSED {
            self.refused.pop_front();
        }
        let times = remembered.map_or(0, |refused| refused.times.saturating_add(1));
        self.refused.push_back(RefusedKid { digest, asked, times });
    }
}

impl RefetchBudget {
    fn want(&mut self, kid: Sha256) {
        if !self.wanted.contains(&kid) {
            if self.wanted.len() >= MAX_REFUSED {
                self.wanted.pop_front();
            }
            self.wanted.push_back(kid);
        }
    }

    fn wants_other_than(&mut self, keys: &JwkSet) -> bool {
        if !self.wanted.is_empty() {
            let present: Vec<Sha256> = keys.kids().map(|kid| sha256(kid.as_bytes())).collect();
            self.wanted.retain(|kid| !present.contains(kid));
        }
        !self.wanted.is_empty()
    }

    /// Notes what came of a request for all wanted kids that started at `asked`.
    fn note_wanted(&mut self, keys: &JwkSet, asked: Now) {
        self.wants_other_than(keys);
        for kid in std::mem::take(&mut self.wanted) {
            self.note(kid, false, asked);
        }
    }
}

impl RefusedKid {
    fn wait(&self) -> Duration {
        REFUSED_FOR.get(self.times).copied().unwrap_or(LONGEST_REFUSAL)
    }
}

/// Attempts that may be made at once: a rotation is seen at once even if some token was odd just before.
const BURST: u32 = 3;

/// One more attempt comes back in this time; with the burst at most 5 requests in the worst minute.
const REFILL: Duration = Duration::from_secs(30);

/// How long a kid that the issuer did not have is refused without asking, each time longer: a key may be published a little after its
/// first token, and a CDN may be behind.
const REFUSED_FOR: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(10), Duration::from_secs(20)];

/// Not longer than [`REFILL`], so that a published key waits no longer for its kid than for the bucket.
const LONGEST_REFUSAL: Duration = REFILL;

/// A kid that no token had for so long starts from the shortest refusal again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// A timer need not look sooner.
const SHORTEST_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The bucket lets five kids a minute get so far; the rest is room to spare.
const MAX_REFUSED: usize = 32;

/// Keys as young as this are not fetched again for a bad signature: one sender of bad tokens takes at most every second attempt from the
/// bucket. With the wait for an attempt, a new key under an old kid verifies within 95 s.
const MIN_AGE_FOR_OTHER_KEY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::cache::refresh_ahead::Fetched;

    const START: Now = Now { wall: None, monotonic: Duration::from_secs(100) };

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_bucket_gives_three_at_once_and_then_one_in_thirty_seconds() {
        let mut budget = RefetchBudget::default();
        for _ in 0..3 {
            assert_eq!(budget.try_acquire(START), Ok(()));
        }
        assert_eq!(budget.try_acquire(START), Err(secs(30)));
        assert_eq!(budget.try_acquire(START + secs(29)), Err(secs(1)));
        assert_eq!(budget.try_acquire(START + secs(30)), Ok(()));
        assert_eq!(budget.try_acquire(START + secs(30)), Err(secs(30)));
        assert_eq!(budget.try_acquire(START + secs(60)), Ok(()));
    }

    #[test]
    fn the_bucket_fills_up_to_three_and_no_further() {
        let mut budget = RefetchBudget::default();
        assert_eq!(budget.try_acquire(START), Ok(()));
        let later = START + secs(86_400);
        assert_eq!((0..10).filter(|_| budget.try_acquire(later).is_ok()).count(), 3);
    }

    #[test]
    fn the_bucket_and_the_refusal_of_a_kid_end_on_either_clock() {
        let mut budget = RefetchBudget::default();
        let start = Now { wall: Some(std::time::UNIX_EPOCH), ..START };
        while budget.try_acquire(start).is_ok() {}
        budget.note(sha256(b"k"), false, start);
        let asleep = Now { monotonic: start.monotonic, ..start + secs(30) };
        assert!(!budget.is_refused(&sha256(b"k"), asleep));
        assert_eq!(budget.try_acquire(asleep), Ok(()));
    }

    #[test]
    fn a_kid_that_the_issuer_does_not_have_is_asked_about_after_5_10_20_and_then_each_30_seconds() {
        let (mut budget, kid) = (RefetchBudget::default(), sha256(b"k"));
        let mut asked = START;
        for wait in [5, 10, 20, 30, 30, 30] {
            budget.note(kid, false, asked);
            assert!(budget.is_refused(&kid, asked + secs(wait) - Duration::from_millis(1)), "{wait}");
            assert!(!budget.is_refused(&kid, asked + secs(wait)), "{wait}");
            assert!(!budget.is_refused(&sha256(b"other"), asked));
            asked = asked + secs(wait);
        }
        budget.note(kid, false, asked + secs(60));
        assert!(!budget.is_refused(&kid, asked + secs(65)), "after a pause of a minute it starts again");
    }

    #[test]
    fn a_kid_that_the_issuer_has_is_refused_no_longer() {
        let (mut budget, kid) = (RefetchBudget::default(), sha256(b"k"));
        budget.note(kid, false, START);
        budget.note(kid, true, START);
        assert!(!budget.is_refused(&kid, START));
    }

    #[test]
    fn the_set_of_refused_kids_is_bounded_and_the_oldest_goes_first() {
        let mut budget = RefetchBudget::default();
        for i in 0..=MAX_REFUSED {
            budget.note(sha256(i.to_string().as_bytes()), false, START);
            budget.note(sha256(b"again"), false, START);
        }
        assert_eq!(budget.refused.len(), MAX_REFUSED);
        assert!(!budget.is_refused(&sha256(b"0"), START));
        assert!(budget.is_refused(&sha256(b"2"), START) && budget.is_refused(&sha256(b"again"), START));
    }

    /// Makes no request; does what a test wants when the clock is looked at for the second time.
    struct Nowhere<'a> {
        looks: Cell<u32>,
        at_second_look: &'a dyn Fn(),
    }

    impl Fetch<JwkSet> for Nowhere<'_> {
        fn now(&self) -> Now {
            self.looks.set(self.looks.get() + 1);
            if self.looks.get() == 2 {
                (self.at_second_look)();
            }
            START
        }

        fn refresh_deadline(&self) -> Deadline {
            Deadline::after(secs(3))
        }

        fn fetch(&self, _: Deadline) -> Result<Fetched<JwkSet>, Error> {
            panic!("a request")
        }
    }

    fn seen(generation: u64, age: u64) -> CachedKeys {
        let value = JwkSet::parse(r#"{"keys":[]}"#).unwrap();
        Cached { value, generation, age: secs(age), stale: false, at: START }
    }

    fn refetch(
        cache: &KeyCache,
        source: &impl Fetch<JwkSet>,
        cause: RefetchCause<'_>,
        seen: &CachedKeys,
    ) -> Option<u64> {
        let outcome = cache.refetch(source, cause, seen, whole_timeout());
        outcome.unwrap().map(|keys| keys.generation)
    }

    fn whole_timeout() -> KeyAccess {
        KeyAccess::Until(Deadline::after(secs(10)))
    }

    fn look(cache: &KeyCache, generation: u64, meanwhile: &dyn Fn()) -> Option<u64> {
        let source = Nowhere { looks: Cell::new(0), at_second_look: meanwhile };
        refetch(cache, &source, RefetchCause::UnknownKid("k"), &seen(generation, 0))
    }

    fn init(cache: &KeyCache) {
        let value = JwkSet::parse(r#"{"keys":[]}"#).unwrap();
        cache.init(Initial { value, age: Some(secs(0)), ttl: secs(60), serves_for: None }, START);
    }

    #[test]
    fn keys_that_came_since_are_looked_at_before_the_budget() {
        let cache = KeyCache::new(secs(60), None);
        init(&cache);
        init(&cache);
        cache.budget.lock().note(sha256(b"k"), false, START);
        assert_eq!(look(&cache, 1, &|| ()), Some(2));
        assert_eq!(look(&cache, 2, &|| ()), None, "refused just now, and no other keys");
    }

    struct Answer(&'static str);

    impl Fetch<JwkSet> for Answer {
        fn now(&self) -> Now {
            START
        }

        fn refresh_deadline(&self) -> Deadline {
            Deadline::after(secs(3))
        }

        fn fetch(&self, _: Deadline) -> Result<Fetched<JwkSet>, Error> {
            Ok(Fetched { value: JwkSet::parse(self.0).unwrap(), ttl: secs(60) })
        }
    }

    #[test]
    fn a_kid_is_refused_after_a_request_that_did_not_bring_it_and_not_after_one_that_did() {
        for (set, refused) in [(r#"{"keys":[{"kid":"k"}]}"#, false), (r#"{"keys":[{"kid":"other"}]}"#, true)] {
            let cache = KeyCache::new(secs(60), None);
            assert_eq!(refetch(&cache, &Answer(set), RefetchCause::UnknownKid("k"), &seen(0, 0)), Some(1), "{set}");
            assert_eq!(cache.budget.lock().is_refused(&sha256(b"k"), START), refused, "{set}");
        }
    }

    #[test]
    fn a_kid_that_anothers_request_did_not_bring_may_be_asked_for() {
        let cache = KeyCache::new(secs(60), None);
        init(&cache);
        assert_eq!(look(&cache, 1, &|| init(&cache)), Some(2));
        assert!(!cache.budget.lock().is_refused(&sha256(b"k"), START));
    }

    #[test]
    fn keys_of_over_a_minute_are_fetched_again_for_another_key_within_the_same_budget() {
        let (cache, source) = (KeyCache::new(secs(60), None), Answer(r#"{"keys":[]}"#));
        for generation in 0..4 {
            assert_eq!(refetch(&cache, &source, RefetchCause::OtherKey, &seen(generation, 60)), None);
            let fetched = refetch(&cache, &source, RefetchCause::OtherKey, &seen(generation, 61));
            assert_eq!(fetched, (generation < 3).then_some(generation + 1), "the bucket has three");
        }
        let limited = cache.refetch(&source, RefetchCause::UnknownKid("k"), &seen(3, 0), whole_timeout());
        assert_eq!(limited.err().unwrap().retry_after(), Some(secs(30)));
    }

    #[test]
    fn a_kid_that_a_caller_may_not_ask_for_is_asked_for_by_the_timer_within_the_budget() {
        let (cache, source) = (KeyCache::new(secs(60), None), Answer(r#"{"keys":[{"kid":"other"}]}"#));
        let only = |seen| cache.refetch(&source, RefetchCause::UnknownKid("k"), &seen, KeyAccess::CachedOnly);
        let none = cache.get(&source, START, KeyAccess::CachedOnly).err().unwrap();
        assert_eq!((none.network_kind(), none.retry_after()), (Some(NetworkErrorKind::KeysNotCached), Some(secs(1))));
        init(&cache);
        assert_eq!(cache.next_refresh_in(START), secs(48));
        let unknown = only(seen(1, 0)).err().unwrap();
        assert_eq!(unknown.network_kind(), Some(NetworkErrorKind::KeysNotCached));
        assert_eq!(cache.next_refresh_in(START), secs(0));
        cache.refresh_if_due(&source, Deadline::after(secs(10))).unwrap();
        assert_eq!(cache.next_refresh_in(START), secs(48));
        assert_eq!(only(seen(1, 0)).unwrap().unwrap().generation, 2);
        assert!(only(seen(2, 0)).unwrap().is_none(), "the issuer does not have it");

        while cache.acquire(START).is_ok() {}
        let other = RefetchCause::UnknownKid("k2");
        let limited = cache.refetch(&source, other, &seen(2, 0), KeyAccess::CachedOnly).err().unwrap();
        assert_eq!(limited.retry_after(), Some(secs(30)));
        assert_eq!(cache.next_refresh_in(START), secs(30));
    }
}
