//! The tokens of one client: an entry for each thing that was asked for, with its token, its back-off and its flight.
//!
//! The lock covers changes of state only. Clocks, the draw, requests, events and whatever else is a user's code stay outside. Callers
//! who are served share it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use crate::cache::backoff::{Backoff, BackoffScope};
use crate::cache::single_flight::SingleFlight;
use crate::crypto::Sha256;
use crate::error::{Endpoint, Error, NetworkErrorKind};
use crate::m2m::schedule::{Moment, Phase, Plan, Schedule};
use crate::m2m::token::AccessToken;
use crate::m2m::token_request::TokenRequest;
use crate::m2m::wish::Obtained;
use crate::time::Now;

pub(crate) type Outcome = Result<AccessToken, Error>;

/// How a flight ended.
#[derive(Clone)]
pub(crate) struct Landing {
    pub(crate) outcome: Outcome,
    /// The issuer was asked; otherwise the leader found what it wanted, or a reason not to ask, in the cache.
    pub(crate) asked: bool,
}

impl Landing {
    /// Whether a waiter may take it for the answer to his own call.
    pub(crate) fn serves(&self, want: Freshness) -> bool {
        match &self.outcome {
            Err(error) if error.is_reentrant() => false,
            // Where nobody was asked, the token may be one from before the call.
            _ => self.asked || want == Freshness::Any,
        }
    }
}

pub(crate) type TokenFlight = Arc<SingleFlight<Landing>>;

/// What the cache has for a caller.
pub(crate) enum Lookup {
    Serve(AccessToken),
    /// The token serves, and one caller should refresh it.
    Refresh(AccessToken, TokenFlight),
    Fetch(TokenFlight),
    /// It is too early to ask again.
    Refuse(Error),
}

/// Whether a held token is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    Any,
    /// One that was asked for after the call. Only what the issuer said keeps it from asking, not our own caution.
    Fresh,
}

impl Freshness {
    pub(crate) fn heed(self) -> BackoffScope {
        match self {
            Self::Any => BackoffScope::All,
            Self::Fresh => BackoffScope::RetryAfterOnly,
        }
    }
}

pub(crate) struct TokenCache(RwLock<State>);

struct State {
    entries: Vec<Entry>,
    /// The clock of "least recently used": counts the looks at another entry than the one before. It may wrap.
    looks: AtomicUsize,
}

struct Entry {
    asked: Arc<TokenRequest>,
    last_look: AtomicUsize,
    held: Option<(AccessToken, Schedule)>,
    /// Replaced when the cache is cleared: a flight that is not the entry's own any more may not store its token.
    flight: TokenFlight,
    phase: Phase,
    backoff: Backoff,
    last_error: Option<Error>,
    /// Digests of tokens that were rejected once; a second time would have us ask for ever.
    rejected: VecDeque<Sha256>,
}

impl TokenCache {
    pub(crate) fn new() -> Self {
        Self(RwLock::new(State { entries: Vec::new(), looks: AtomicUsize::new(0) }))
    }

    pub(crate) fn look(&self, asked: &Arc<TokenRequest>, want: Freshness, now: Now) -> Lookup {
        let try_lookup = self.0.read().try_lookup(asked, want, now);
        try_lookup.unwrap_or_else(|| self.look_and_note(asked, want, now))
    }

    fn look_and_note(&self, asked: &Arc<TokenRequest>, want: Freshness, now: Now) -> Lookup {
        let mut state = self.0.write();
        let evicted = state.make_room(asked);
        let look = state.look(asked, want, now);
        drop(state);
        // As in `store`.
        drop(evicted);
        look
    }

    /// Stores what a flight got, unless the cache was cleared since it took off, or its entry had to go; says whether it did.
    pub(crate) fn store(&self, asked: &Arc<TokenRequest>, flight: &TokenFlight, new: &Obtained, draw: f64) -> bool {
        let mut state = self.0.write();
        let own = state.find_mut(asked).filter(|entry| Arc::ptr_eq(&entry.flight, flight));
        let replaced = own.map(|entry| entry.store(new, draw));
        drop(state);
        // The error may hold a user's type, whose drop is a user's code.
        replaced.is_some()
    }

    /// Notes a failure. One that binds everybody counts even if the cache was cleared meanwhile; what a thread has done to itself counts
    /// for nobody.
    pub(crate) fn fail(&self, asked: &Arc<TokenRequest>, flight: &TokenFlight, error: &Error, now: Now, draw: f64) {
        if error.is_reentrant() {
            return;
        }
        let mut state = self.0.write();
        let entry = state.find_mut(asked);
        let noted = entry.filter(|entry| Arc::ptr_eq(&entry.flight, flight) || binds(error));
        let replaced = noted.map(|entry| entry.fail(error.clone(), now, draw));
        drop(state);
        drop(replaced);
    }

    /// Drops every token and what is only our own caution. A flight in the air is cut off from the cache; what the issuer said stays.
    pub(crate) fn clear(&self, now: Now) {
        let mut state = self.0.write();
        let dropped: Vec<_> = state.entries.iter_mut().map(|entry| entry.clear(now)).collect();
        drop(state);
        drop(dropped);
    }

    /// Drops this very token, the first time that it is asked for; says whether it did.
    pub(crate) fn reject(&self, token: &AccessToken) -> bool {
        let mut state = self.0.write();
        state.entries.iter_mut().filter_map(|entry| entry.reject(token.digest()).then_some(())).count() > 0
    }

    /// Whether this very token is the one that is to be replaced, or was rejected.
    pub(crate) fn is_spent(&self, asked: &Arc<TokenRequest>, token: &AccessToken) -> bool {
        let state = self.0.read();
        state.find(asked).is_some_and(|entry| entry.holds(token.digest()) || entry.rejected.contains(token.digest()))
    }
}

impl State {
    /// A look that changes nothing but the order of use; `None` where it has to change more.
    fn try_lookup(&self, asked: &Arc<TokenRequest>, want: Freshness, now: Now) -> Option<Lookup> {
        let entry = self.find(asked)?;
        let plan = match &entry.held {
            Some((_, schedule)) => Some(schedule.plan_unnoted(moment(now))?),
            None => None,
        };
        self.used(entry);
        Some(entry.answer(plan, want, now))
    }

    #[expect(clippy::indexing_slicing, reason = "the entry was found or added just now")]
    fn look(&mut self, asked: &Arc<TokenRequest>, want: Freshness, now: Now) -> Lookup {
        let at = self.position(asked).unwrap_or_else(|| self.add(asked));
        let plan = self.entries[at].held.as_mut().map(|(_, schedule)| schedule.plan(moment(now)));
        self.used(&self.entries[at]);
        self.entries[at].answer(plan, want, now)
    }

    fn position(&self, asked: &Arc<TokenRequest>) -> Option<usize> {
        // The client's default is always the same allocation, so no text is compared for it.
        self.entries.iter().position(|entry| Arc::ptr_eq(&entry.asked, asked) || entry.asked == *asked)
    }

    fn find(&self, asked: &Arc<TokenRequest>) -> Option<&Entry> {
        self.position(asked).and_then(|at| self.entries.get(at))
    }

    fn find_mut(&mut self, asked: &Arc<TokenRequest>) -> Option<&mut Entry> {
        self.position(asked).and_then(|at| self.entries.get_mut(at))
    }

    /// Writes nothing where the entry was the last one used anyway, so that callers of one entry stay out of each other's way.
    fn used(&self, entry: &Entry) {
        if entry.last_look.load(Ordering::Relaxed) != self.looks.load(Ordering::Relaxed) {
            entry.last_look.store(self.tick(), Ordering::Relaxed);
        }
    }

    fn tick(&self) -> usize {
        self.looks.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    fn add(&mut self, asked: &Arc<TokenRequest>) -> usize {
        self.entries.push(Entry::new(asked.clone(), self.tick()));
        self.entries.len() - 1
    }

    /// What has to go for a new entry, to be dropped without the lock.
    fn make_room(&mut self, asked: &Arc<TokenRequest>) -> Option<Entry> {
        if self.entries.len() < MAX_ENTRIES || self.position(asked).is_some() {
            return None;
        }
        let looks = self.looks.load(Ordering::Relaxed);
        let age = |entry: &Entry| looks.wrapping_sub(entry.last_look.load(Ordering::Relaxed));
        let (oldest, _) = self.entries.iter().enumerate().max_by_key(|(_, entry)| age(entry))?;
        Some(self.entries.swap_remove(oldest))
    }
}

impl Entry {
    fn new(asked: Arc<TokenRequest>, look: usize) -> Self {
        Self {
            asked,
            last_look: AtomicUsize::new(look),
            held: None,
            flight: new_flight(),
            phase: Phase::default(),
            backoff: Backoff::default(),
            last_error: None,
            rejected: VecDeque::new(),
        }
    }

    /// What a caller gets, by the plan for the token held, if one is.
    fn answer(&self, plan: Option<Plan>, want: Freshness, now: Now) -> Lookup {
        let held = self.held.as_ref().map(|(token, _)| token);
        let wait = match (want, plan.zip(held)) {
            (Freshness::Any, Some((Plan::Serve, token))) => return Lookup::Serve(token.clone()),
            (Freshness::Any, Some((Plan::ServeAndRefresh, token))) => {
                let token = token.clone();
                let tried = self.backoff.wait(now).is_some();
                return if tried { Lookup::Serve(token) } else { Lookup::Refresh(token, self.flight.clone()) };
            }
            (Freshness::Any, _) => self.wait(now),
            (Freshness::Fresh, _) => self.backoff.binding_wait(now),
        };
        let Some(wait) = wait else { return Lookup::Fetch(self.flight.clone()) };
        Lookup::Refuse(self.last_error.clone().unwrap_or_else(crashed).with_retry_after(wait))
    }

    /// How long a caller without a token has to wait. A secret that cannot be read has cost the issuer nothing, and whoever mends that
    /// need not wait.
    fn wait(&self, now: Now) -> Option<Duration> {
        self.backoff.wait(now).filter(|_| !matches!(self.last_error, Some(Error::Config(_))))
    }

    /// Gives back what it replaced, to be dropped without the lock.
    fn store(&mut self, new: &Obtained, draw: f64) -> Option<Error> {
        let (minted, requested) = (&new.minted, new.at);
        let (spread, phase) = self.phase.minted();
        self.phase = phase;
        self.backoff.succeeded();
        self.held = minted
            .lifetime
            .map(|lifetime| (minted.token.clone(), Schedule::new(lifetime, moment(requested), spread, draw)));
        self.last_error.take()
    }

    /// As [`store`](Self::store).
    fn fail(&mut self, error: Error, now: Now, draw: f64) -> Option<Error> {
        self.phase = self.phase.failed();
        let asked = asked_to_wait(&error);
        if is_refusal(&error) {
            self.backoff.refused(now, asked.unwrap_or_default().max(REFUSAL_REMEMBERED));
        } else {
            self.backoff.failed(now, asked, draw);
        }
        self.last_error.replace(error)
    }

    /// As [`store`](Self::store), the token and the flight included.
    fn clear(&mut self, now: Now) -> impl Sized + use<> {
        let flight = std::mem::replace(&mut self.flight, new_flight());
        let bound = self.backoff.binding_wait(now).is_some();
        let error = if bound { None } else { self.last_error.take() };
        if !bound {
            self.backoff.succeeded();
        }
        (flight, error, self.held.take())
    }

    fn holds(&self, digest: &Sha256) -> bool {
        self.held.as_ref().is_some_and(|(token, _)| token.digest() == digest)
    }

    fn reject(&mut self, digest: &Sha256) -> bool {
        let drops = self.holds(digest) && !self.rejected.contains(digest);
        if drops {
            self.held = None;
            if self.rejected.len() >= MAX_REJECTED {
                self.rejected.pop_front();
            }
            self.rejected.push_back(*digest);
        }
        drops
    }
}

fn new_flight() -> TokenFlight {
    Arc::new(SingleFlight::new(Landing { outcome: Err(crashed()), asked: true }))
}

/// What the waiters get if a leader panics.
fn crashed() -> Error {
    Error::network(NetworkErrorKind::Io, Endpoint::Token)
}

fn moment(now: Now) -> Moment {
    Moment { monotonic: now.monotonic, wall: now.wall }
}

/// Whether the failure keeps everybody from asking again, `force_refresh` included: the issuer said when to come back, or gave an
/// answer that will not change by itself.
fn binds(error: &Error) -> bool {
    asked_to_wait(error).is_some() || is_refusal(error)
}

/// An OAuth error that is no matter of time.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::OAuth(_)) && !error.is_retryable()
}

/// The token endpoint's `Retry-After`. A wait for another endpoint may be our own caution, and that one's cache keeps it.
fn asked_to_wait(error: &Error) -> Option<Duration> {
    match error {
        Error::Network(e) if e.endpoint() != Endpoint::Token => None,
        _ => error.retry_after(),
    }
}

/// Entries of one client: more distinct scope sets than any service asks for, and few enough to look through.
const MAX_ENTRIES: usize = 64;

/// Rejected tokens remembered per entry: enough for an issuer that goes round among several.
const MAX_REJECTED: usize = 16;

/// How long an OAuth error that is no matter of time is answered without asking again: a wrong secret stays wrong until somebody
/// has mended it.
const REFUSAL_REMEMBERED: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::{Weak, mpsc};
    use std::thread;

    use super::*;
    use crate::error::NetworkError;
    use crate::m2m::token_request::{Params, TokenOptions};
    use crate::m2m::token_response::Minted;

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

    fn asked(scope: &str) -> Arc<TokenRequest> {
        Arc::new(TokenRequest::new(&TokenOptions::new().scope(scope), None, &Params::default()).unwrap())
    }

    /// Holds the token `t`.
    fn holding(asked: &Arc<TokenRequest>) -> TokenCache {
        let cache = TokenCache::new();
        fill(&cache, asked);
        cache
    }

    fn fill(cache: &TokenCache, asked: &Arc<TokenRequest>) {
        let Lookup::Fetch(flight) = cache.look(asked, Freshness::Any, NOW) else { panic!("no flight") };
        let minted = Minted { token: AccessToken::new("t", None, None), lifetime: Some(Duration::from_secs(3_600)) };
        assert!(cache.store(asked, &flight, &Obtained { minted, at: NOW, from_issuer: true }, 0.5));
    }

    #[test]
    fn a_token_is_rejected_once_and_only_where_it_is_held() {
        let asked = asked("scope");
        let cache = holding(&asked);
        let held = AccessToken::new("t", None, None);
        assert!(!cache.reject(&AccessToken::new("t2", None, None)));
        assert!(matches!(cache.look(&asked, Freshness::Any, NOW), Lookup::Serve(_)));
        assert!(cache.reject(&held) && !cache.reject(&held));
        fill(&cache, &asked);
        assert!(!cache.reject(&held), "the issuer gave the same token again");
        assert!(matches!(cache.look(&asked, Freshness::Any, NOW), Lookup::Serve(_)));
    }

    #[test]
    fn whoever_is_served_from_the_cache_shares_the_lock() {
        let asked = asked("scope");
        let cache = holding(&asked);
        let (done, served) = mpsc::channel();
        thread::scope(|scope| {
            let other = cache.0.read();
            scope.spawn(|| done.send(matches!(cache.look(&asked, Freshness::Any, NOW), Lookup::Serve(_))));
            let served = served.recv_timeout(Duration::from_secs(20));
            drop(other);
            assert_eq!(served, Ok(true));
        });
    }

    #[test]
    fn the_entry_that_was_not_asked_for_the_longest_goes_even_as_the_count_of_looks_wraps() {
        let all: Vec<_> = (0..=MAX_ENTRIES).map(|number| asked(&format!("scope-{number}"))).collect();
        for (looks, again, goes) in [(0, 0, 0), (0, 1, 1), (usize::MAX - 40, 0, 0), (usize::MAX - 40, 1, 1)] {
            let cache = TokenCache::new();
            cache.0.write().looks = AtomicUsize::new(looks);
            for asked in all.iter().take(MAX_ENTRIES).chain(all.iter().take(again)).chain(all.last()) {
                cache.look(asked, Freshness::Any, NOW);
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
            let asked = asked(&format!("scope-{number}"));
            let Lookup::Fetch(flight) = cache.look(&asked, Freshness::Any, NOW) else { panic!("no flight") };
            let error = NetworkError::new(NetworkErrorKind::Io, Endpoint::Token);
            let error = error.with_source(Some(Arc::new(UserError(Arc::downgrade(&cache)))));
            cache.fail(&asked, &flight, &Error::Network(error), NOW, 0.5);
        }
        assert_eq!(cache.0.read().entries.len(), MAX_ENTRIES);
    }
}
