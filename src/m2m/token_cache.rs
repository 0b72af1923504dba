//! The tokens of one client: an entry per token request, with its token, its schedule, its back-off and its flight.
//!
//! The lock covers changes of state only. Clocks, the draw, requests, events and all other code of the user stay outside. Callers that
//! are served share the lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::cache::single_flight::Which;
use crate::crypto::jitter;
use crate::error::{Endpoint, Error};
use crate::events::Event;
use crate::m2m::token::AccessToken;
use crate::m2m::token_cache::entry::{Entry, FlightOutcome, Freshness, Lookup, Outcome, TokenFlight, binds};
use crate::m2m::token_request::TokenRequest;
use crate::m2m::token_response::Minted;
use crate::time::{Deadline, Now};

pub(crate) mod entry;

/// Where the cache gets tokens and times from. Called without the lock.
pub(crate) trait FetchToken {
    fn now(&self) -> Now;

    /// The end of a call's budget.
    fn deadline(&self) -> Deadline;

    /// The end of what the one caller that refreshes ahead pays at most.
    fn refresh_deadline(&self) -> Deadline;

    /// A token, or why there is none.
    fn fetch(
        &self,
        request: &TokenRequest,
        freshness: Freshness,
        deadline: Deadline,
        events: &mut Vec<Event>,
    ) -> Fetched;

    /// The cache was cleared during the request: this token must serve no later call, in another process neither.
    fn discard(&self, request: &TokenRequest, token: &AccessToken, events: &mut Vec<Event>);

    fn emit(&self, event: &Event);
}

/// What one fetch came to.
pub(crate) struct Fetched {
    pub(crate) outcome: Result<Minted, Error>,
    /// The time of the request, from which the lifetime counts.
    pub(crate) requested: Now,
    /// Whether the issuer was asked; otherwise another process was, shortly before.
    pub(crate) from_issuer: bool,
}

pub(crate) struct TokenCache(RwLock<State>);

struct State {
    entries: Vec<Entry>,
    /// The clock of "least recently used": it counts the changes from one entry to another. It may wrap.
    uses: AtomicUsize,
    /// How often the cache was cleared.
    clears: usize,
}

impl TokenCache {
    pub(crate) fn new() -> Self {
        Self(RwLock::new(State { entries: Vec::new(), uses: AtomicUsize::new(0), clears: 0 }))
    }

    /// A token for the request. Callers that need a new one at the same time share one fetch, and its error.
    pub(crate) fn get(&self, request: &Arc<TokenRequest>, freshness: Freshness, source: &impl FetchToken) -> Outcome {
        match self.lookup(request, freshness, source.now()) {
            Lookup::Serve(token) => Ok(token),
            Lookup::Refuse(error) => Err(error),
            Lookup::Refresh(token, flight) => {
                let call = Call { request, freshness, source, flight: &flight, deadline: source.refresh_deadline() };
                let mut events = Vec::new();
                let finished = flight.run_if_idle(|| self.look_again(&call), || self.fetch(&call, &mut events));
                events.iter().for_each(|event| source.emit(event));
                finished.map_or(Ok(token), |finished| finished.outcome)
            }
            Lookup::Fetch(flight) => {
                let call = Call { request, freshness, source, flight: &flight, deadline: source.deadline() };
                let which = if freshness == Freshness::Fresh { Which::Next } else { Which::Current };
                let mut events = Vec::new();
                let accepts = |finished: &FlightOutcome| finished.is_for(freshness);
                let fetch = || self.fetch(&call, &mut events);
                let finished = flight.run(which, call.deadline.into(), accepts, || self.look_again(&call), fetch);
                // After the flight, so that no handler makes its waiters wait.
                events.iter().for_each(|event| source.emit(event));
                finished.map_or_else(|reason| Err(reason.error(Endpoint::Token)), |finished| finished.outcome)
            }
        }
    }

    /// What another flight has published since the caller's own look-up.
    fn look_again<S: FetchToken>(&self, call: &Call<'_, S>) -> Option<FlightOutcome> {
        let outcome = match self.lookup(call.request, call.freshness, call.source.now()) {
            Lookup::Serve(token) => Ok(token),
            Lookup::Refuse(error) => Err(error),
            Lookup::Refresh(..) | Lookup::Fetch(_) => return None,
        };
        Some(FlightOutcome { outcome, fresh: false })
    }

    /// Fetches, and stores what came of it.
    fn fetch<S: FetchToken>(&self, call: &Call<'_, S>, events: &mut Vec<Event>) -> FlightOutcome {
        let clears = self.0.read().clears;
        let mut of_store = Vec::new();
        let fetched = call.source.fetch(call.request, call.freshness, call.deadline, &mut of_store);
        let finished = match fetched.outcome {
            Ok(minted) => {
                let recovered = self.store(call.request, call.flight, &minted, fetched.requested, jitter());
                events.extend(fetched.from_issuer.then_some(Event::TokenMinted { recovered }));
                if self.0.read().clears != clears {
                    call.source.discard(call.request, &minted.token, events);
                }
                FlightOutcome { outcome: Ok(minted.token), fresh: fetched.from_issuer }
            }
            Err(error) if fetched.from_issuer => self.failed(call, error, events),
            Err(error) => FlightOutcome { outcome: Err(error), fresh: true },
        };
        events.append(&mut of_store);
        finished
    }

    fn failed<S: FetchToken>(&self, call: &Call<'_, S>, error: Error, events: &mut Vec<Event>) -> FlightOutcome {
        let now = call.source.now();
        let error = self.fail(call.request, call.flight, error, now, jitter());
        events.push(Event::MintFailed { error: error.clone() });
        match self.lookup(call.request, call.freshness, now) {
            Lookup::Serve(old) | Lookup::Refresh(old, _) => {
                events.push(Event::OldTokenServed {});
                FlightOutcome { outcome: Ok(old), fresh: false }
            }
            Lookup::Fetch(_) | Lookup::Refuse(_) => FlightOutcome { outcome: Err(error), fresh: true },
        }
    }

    pub(crate) fn lookup(&self, request: &Arc<TokenRequest>, freshness: Freshness, now: Now) -> Lookup {
        let found = self.0.read().try_lookup(request, freshness, now);
        found.unwrap_or_else(|| self.lookup_and_note(request, freshness, now))
    }

    fn lookup_and_note(&self, request: &Arc<TokenRequest>, freshness: Freshness, now: Now) -> Lookup {
        let mut state = self.0.write();
        let evicted = state.make_room(request);
        let found = state.lookup(request, freshness, now);
        drop(state);
        // Without the lock: an error in it may hold a type of the user, and its drop is the user's code.
        drop(evicted);
        found
    }

    /// Stores a flight's token, unless the cache was cleared since it began, or the entry was evicted. Gives whether the fetch before it
    /// failed.
    fn store(
        &self,
        request: &Arc<TokenRequest>,
        flight: &TokenFlight,
        minted: &Minted,
        requested: Now,
        draw: f64,
    ) -> bool {
        let mut state = self.0.write();
        let own = state.find_mut(request).filter(|entry| Arc::ptr_eq(&entry.flight, flight));
        let last_error = own.and_then(|entry| entry.store(minted, requested, draw));
        drop(state);
        last_error.is_some()
    }

    /// Notes a failure, and gives the error with the wait that it begins. What binds every caller counts even if the cache was cleared
    /// meanwhile; a re-entrant call's error counts for no other.
    pub(crate) fn fail(
        &self,
        request: &Arc<TokenRequest>,
        flight: &TokenFlight,
        error: Error,
        now: Now,
        draw: f64,
    ) -> Error {
        if error.is_reentrant() {
            return error;
        }
        let mut state = self.0.write();
        let noted = state.find_mut(request).filter(|entry| Arc::ptr_eq(&entry.flight, flight) || binds(&error));
        let Some(entry) = noted else { return error };
        let replaced = entry.fail(error.clone(), now, draw);
        let wait = entry.wait(now);
        drop(state);
        drop(replaced);
        // Another endpoint's `Retry-After` may be longer than our back-off.
        let wait = wait.max(error.retry_after());
        error.maybe_retry_after(wait)
    }

    /// Drops every token and our own back-off. A flight in progress is cut off from the cache; a wait that the issuer asked for stays.
    pub(crate) fn clear(&self, now: Now) {
        let mut state = self.0.write();
        state.clears = state.clears.wrapping_add(1);
        let dropped: Vec<_> = state.entries.iter_mut().map(|entry| entry.clear(now)).collect();
        drop(state);
        drop(dropped);
    }

    /// Drops this very token, the first time that it is rejected; gives the requests that it was cached for.
    pub(crate) fn reject(&self, token: &AccessToken) -> Vec<Arc<TokenRequest>> {
        let mut state = self.0.write();
        let dropped = state.entries.iter_mut().filter_map(|entry| entry.reject(token.digest()));
        dropped.collect()
    }

    /// Notes that this very token was rejected, but keeps it.
    pub(crate) fn note_rejected(&self, token: &AccessToken) {
        let mut state = self.0.write();
        for entry in &mut state.entries {
            let _ = entry.note_rejected(token.digest());
        }
    }

    /// Whether this very token is the one to be replaced, or was rejected.
    pub(crate) fn is_spent(&self, request: &TokenRequest, token: &AccessToken) -> bool {
        let state = self.0.read();
        let entry = state.entries.iter().find(|entry| *entry.request == *request);
        entry.is_some_and(|entry| entry.caches(token.digest()) || entry.has_rejected(token.digest()))
    }
}

/// One call that has to fetch.
struct Call<'a, S> {
    request: &'a Arc<TokenRequest>,
    freshness: Freshness,
    source: &'a S,
    /// The entry's flight when the call looked.
    flight: &'a TokenFlight,
    deadline: Deadline,
}

impl State {
    /// A look-up that changes nothing but the order of use; `None` where it has to change more.
    fn try_lookup(&self, request: &Arc<TokenRequest>, freshness: Freshness, now: Now) -> Option<Lookup> {
        let entry = self.find(request)?;
        let plan = match &entry.cached {
            Some((_, schedule)) => Some(schedule.plan_unnoted(now)?),
            None => None,
        };
        self.used(entry);
        Some(entry.answer(plan, freshness, now))
    }

    #[expect(clippy::indexing_slicing, reason = "the entry was found or added just now")]
    fn lookup(&mut self, request: &Arc<TokenRequest>, freshness: Freshness, now: Now) -> Lookup {
        let at = self.position(request).unwrap_or_else(|| self.add(request));
        let plan = self.entries[at].cached.as_mut().map(|(_, schedule)| schedule.plan(now));
        self.used(&self.entries[at]);
        self.entries[at].answer(plan, freshness, now)
    }

    fn position(&self, request: &Arc<TokenRequest>) -> Option<usize> {
        // The client's default is always the same allocation, so no text is compared for it.
        self.entries.iter().position(|entry| Arc::ptr_eq(&entry.request, request) || entry.request == *request)
    }

    fn find(&self, request: &Arc<TokenRequest>) -> Option<&Entry> {
        self.position(request).and_then(|at| self.entries.get(at))
    }

    fn find_mut(&mut self, request: &Arc<TokenRequest>) -> Option<&mut Entry> {
        self.position(request).and_then(|at| self.entries.get_mut(at))
    }

    /// Writes nothing where the entry was the last one used anyway, so that callers of one entry share its cache line.
    fn used(&self, entry: &Entry) {
        if entry.last_used.load(Ordering::Relaxed) != self.uses.load(Ordering::Relaxed) {
            entry.last_used.store(self.tick(), Ordering::Relaxed);
        }
    }

    fn tick(&self) -> usize {
        self.uses.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    fn add(&mut self, request: &Arc<TokenRequest>) -> usize {
        self.entries.push(Entry::new(request.clone(), self.tick()));
        self.entries.len() - 1
    }

    /// Removes the least recently used entry where a new one needs its place; the caller drops it without the lock.
    fn make_room(&mut self, request: &Arc<TokenRequest>) -> Option<Entry> {
        if self.entries.len() < MAX_ENTRIES || self.position(request).is_some() {
            return None;
        }
        let uses = self.uses.load(Ordering::Relaxed);
        let age = |entry: &Entry| uses.wrapping_sub(entry.last_used.load(Ordering::Relaxed));
        let (oldest, _) = self.entries.iter().enumerate().max_by_key(|(_, entry)| age(entry))?;
        Some(self.entries.swap_remove(oldest))
    }
}

/// Entries of one client: more distinct scope sets than any service asks for, and few enough to look through.
const MAX_ENTRIES: usize = 64;

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::{Weak, mpsc};
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::error::{NetworkError, NetworkErrorKind};
    use crate::m2m::token_request::{Params, TokenOptions};

    #[derive(Debug)]
    struct UserError(Weak<TokenCache>);

    impl fmt::Debug for TokenCache {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("TokenCache")
        }
    }

    impl fmt::Display for UserError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("user error")
        }
    }

    impl std::error::Error for UserError {}

    impl Drop for UserError {
        fn drop(&mut self) {
            let free = self.0.upgrade().is_none_or(|cache| cache.0.try_write().is_some());
            assert!(free, "dropped under the lock");
        }
    }

    const NOW: Now = Now { wall: None, monotonic: Duration::ZERO };

    fn request(scope: &str) -> Arc<TokenRequest> {
        Arc::new(TokenRequest::new(&TokenOptions::new().scope(scope), None, &Params::default()).unwrap())
    }

    /// Holds the token `t`.
    fn holding(request: &Arc<TokenRequest>) -> TokenCache {
        let cache = TokenCache::new();
        fill(&cache, request);
        cache
    }

    fn fill(cache: &TokenCache, request: &Arc<TokenRequest>) {
        let Lookup::Fetch(flight) = cache.lookup(request, Freshness::Any, NOW) else { panic!("no flight") };
        let minted = Minted { token: AccessToken::new("t", None, None), lifetime: Some(Duration::from_secs(3_600)) };
        cache.store(request, &flight, &minted, NOW, 0.5);
    }

    #[test]
    fn a_token_is_rejected_once_and_only_where_it_is_held() {
        let request = request("scope");
        let cache = holding(&request);
        let held = AccessToken::new("t", None, None);
        assert!(cache.reject(&AccessToken::new("t2", None, None)).is_empty());
        assert!(matches!(cache.lookup(&request, Freshness::Any, NOW), Lookup::Serve(_)));
        assert_eq!((cache.reject(&held).len(), cache.reject(&held).len()), (1, 0));
        fill(&cache, &request);
        assert!(cache.reject(&held).is_empty(), "the issuer gave the same token again");
        assert!(matches!(cache.lookup(&request, Freshness::Any, NOW), Lookup::Serve(_)));
    }

    #[test]
    fn callers_that_are_served_from_the_cache_share_the_lock() {
        let request = request("scope");
        let cache = holding(&request);
        let (done, served) = mpsc::channel();
        thread::scope(|scope| {
            let other = cache.0.read();
            scope.spawn(|| done.send(matches!(cache.lookup(&request, Freshness::Any, NOW), Lookup::Serve(_))));
            let served = served.recv_timeout(Duration::from_secs(20));
            drop(other);
            assert_eq!(served, Ok(true));
        });
    }

    #[test]
    fn the_entry_that_was_not_asked_for_the_longest_goes_even_as_the_count_of_looks_wraps() {
        let all: Vec<_> = (0..=MAX_ENTRIES).map(|number| request(&format!("scope-{number}"))).collect();
        for (looks, again, goes) in [(0, 0, 0), (0, 1, 1), (usize::MAX - 40, 0, 0), (usize::MAX - 40, 1, 1)] {
            let cache = TokenCache::new();
            cache.0.write().uses = AtomicUsize::new(looks);
            for request in all.iter().take(MAX_ENTRIES).chain(all.iter().take(again)).chain(all.last()) {
                cache.lookup(request, Freshness::Any, NOW);
            }
            let state = cache.0.read();
            let gone: Vec<_> = (0..all.len()).filter(|at| state.find(&all[*at]).is_none()).collect();
            assert_eq!(gone, [goes], "after {looks} looks, {again} again");
        }
    }

    #[test]
    fn an_entry_that_has_to_go_is_dropped_without_the_lock() {
        let cache = Arc::new(TokenCache::new());
        for number in 0..=MAX_ENTRIES {
            let request = request(&format!("scope-{number}"));
            let Lookup::Fetch(flight) = cache.lookup(&request, Freshness::Any, NOW) else { panic!("no flight") };
            let error = NetworkError::new(NetworkErrorKind::Io, Endpoint::Token);
            let error = error.with_source(Some(Arc::new(UserError(Arc::downgrade(&cache)))));
            cache.fail(&request, &flight, Error::Network(error), NOW, 0.5);
        }
        assert_eq!(cache.0.read().entries.len(), MAX_ENTRIES);
    }
}
