//! The tokens of one client: an entry for each thing that was asked for, with its token, its back-off and its flight.
//!
//! The lock covers changes of state only. Clocks, the draw, requests, events and whatever else is a user's code stay outside.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::backoff::{Backoff, Heed};
use crate::clock::Now;
use crate::digest::Sha256;
use crate::error::{Endpoint, Error, NetworkErrorKind};
use crate::flight::Flight;
use crate::m2m::options::Asked;
use crate::m2m::plan::{Moment, Phase, Plan, Schedule};
use crate::m2m::token::AccessToken;
use crate::m2m::wish::Obtained;

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
    pub(crate) fn serves(&self, want: Want) -> bool {
        match &self.outcome {
            Err(error) if error.is_reentrant() => false,
            // Where nobody was asked, the token may be one from before the call.
            _ => self.asked || want == Want::Any,
        }
    }
}

pub(crate) type TokenFlight = Arc<Flight<Landing>>;

/// What the cache has for a caller.
pub(crate) enum Look {
    Serve(AccessToken),
    /// The token serves, and one caller should refresh it.
    Refresh(AccessToken, TokenFlight),
    Fetch(TokenFlight),
    /// It is too early to ask again.
    Refuse(Error),
}

/// Whether a held token is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Any,
    /// One that was asked for after the call. Only what the issuer said keeps it from asking, not our own caution.
    Fresh,
}

impl Want {
    pub(crate) fn heed(self) -> Heed {
        match self {
            Self::Any => Heed::All,
            Self::Fresh => Heed::IssuerOnly,
        }
    }
}

pub(crate) struct TokenCache(Mutex<State>);

struct State {
    entries: Vec<Entry>,
    /// Counts the look-ups: the clock of "least recently used".
    looks: u64,
}

struct Entry {
    asked: Arc<Asked>,
    last_look: u64,
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
        Self(Mutex::new(State { entries: Vec::new(), looks: 0 }))
    }

    pub(crate) fn look(&self, asked: &Arc<Asked>, want: Want, now: Now) -> Look {
        let mut state = self.0.lock();
        let evicted = state.make_room(asked);
        let look = state.look(asked, want, now);
        drop(state);
        // As in `store`.
        drop(evicted);
        look
    }

    /// Stores what a flight got, unless the cache was cleared since it took off, or its entry had to go; says whether it did.
    pub(crate) fn store(&self, asked: &Arc<Asked>, flight: &TokenFlight, new: &Obtained, draw: f64) -> bool {
        let mut state = self.0.lock();
        let own = state.find(asked).filter(|entry| Arc::ptr_eq(&entry.flight, flight));
        let replaced = own.map(|entry| entry.store(new, draw));
        drop(state);
        // The error may hold a user's type, whose drop is a user's code.
        replaced.is_some()
    }

    /// Notes a failure. One that binds everybody counts even if the cache was cleared meanwhile; what a thread has done to itself counts
    /// for nobody.
    pub(crate) fn fail(&self, asked: &Arc<Asked>, flight: &TokenFlight, error: &Error, now: Now, draw: f64) {
        if error.is_reentrant() {
            return;
        }
        let mut state = self.0.lock();
        let entry = state.find(asked);
        let noted = entry.filter(|entry| Arc::ptr_eq(&entry.flight, flight) || binds(error));
        let replaced = noted.map(|entry| entry.fail(error.clone(), now.monotonic, draw));
        drop(state);
        drop(replaced);
    }

    /// Drops every token and what is only our own caution. A flight in the air is cut off from the cache; what the issuer said stays.
    pub(crate) fn clear(&self, now: Now) {
        let mut state = self.0.lock();
        let dropped: Vec<_> = state.entries.iter_mut().map(|entry| entry.clear(now.monotonic)).collect();
        drop(state);
        drop(dropped);
    }

    /// Drops this very token, the first time that it is asked for; says whether it did.
    pub(crate) fn reject(&self, token: &AccessToken) -> bool {
        let mut state = self.0.lock();
        state.entries.iter_mut().filter_map(|entry| entry.reject(token.digest()).then_some(())).count() > 0
    }

    /// Whether this very token is the one that is to be replaced, or was rejected.
    pub(crate) fn is_spent(&self, asked: &Arc<Asked>, token: &AccessToken) -> bool {
        let mut state = self.0.lock();
        state.find(asked).is_some_and(|entry| entry.holds(token.digest()) || entry.rejected.contains(token.digest()))
    }
}

impl State {
    fn look(&mut self, asked: &Arc<Asked>, want: Want, now: Now) -> Look {
        let entry = self.entry(asked);
        let wait = match (want, entry.plan(now)) {
            (Want::Any, Some((Plan::Serve, token))) => return Look::Serve(token.clone()),
            (Want::Any, Some((Plan::ServeAndRefresh, token))) => {
                let token = token.clone();
                let tried = entry.backoff.wait(now.monotonic).is_some();
                return if tried { Look::Serve(token) } else { Look::Refresh(token, entry.flight.clone()) };
            }
            (Want::Any, _) => entry.wait(now.monotonic),
            (Want::Fresh, _) => entry.backoff.binding_wait(now.monotonic),
        };
        let Some(wait) = wait else { return Look::Fetch(entry.flight.clone()) };
        Look::Refuse(entry.last_error.clone().unwrap_or_else(crashed).with_retry_after(wait))
    }

    fn position(&self, asked: &Arc<Asked>) -> Option<usize> {
        // The client's default is always the same allocation, so no text is compared for it.
        self.entries.iter().position(|entry| Arc::ptr_eq(&entry.asked, asked) || entry.asked == *asked)
    }

    fn find(&mut self, asked: &Arc<Asked>) -> Option<&mut Entry> {
        self.position(asked).and_then(|at| self.entries.get_mut(at))
    }

    #[expect(clippy::indexing_slicing, reason = "the entry was found or added just now")]
    fn entry(&mut self, asked: &Arc<Asked>) -> &mut Entry {
        let at = self.position(asked).unwrap_or_else(|| self.add(asked));
        self.looks += 1;
        self.entries[at].last_look = self.looks;
        &mut self.entries[at]
    }

    fn add(&mut self, asked: &Arc<Asked>) -> usize {
        self.entries.push(Entry::new(asked.clone()));
        self.entries.len() - 1
    }

    /// What has to go for a new entry, to be dropped without the lock.
    fn make_room(&mut self, asked: &Arc<Asked>) -> Option<Entry> {
        if self.entries.len() < MAX_ENTRIES || self.position(asked).is_some() {
            return None;
        }
        let (oldest, _) = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.last_look)?;
        Some(self.entries.swap_remove(oldest))
    }
}

impl Entry {
    fn new(asked: Arc<Asked>) -> Self {
        Self {
            asked,
            last_look: 0,
            held: None,
            flight: new_flight(),
            phase: Phase::default(),
            backoff: Backoff::default(),
            last_error: None,
            rejected: VecDeque::new(),
        }
    }

    fn plan(&mut self, now: Now) -> Option<(Plan, &AccessToken)> {
        self.held.as_mut().map(|(token, schedule)| (schedule.plan(moment(now)), &*token))
    }

    /// How long a caller without a token has to wait. A secret that cannot be read has cost the issuer nothing, and whoever mends that
    /// need not wait.
    fn wait(&self, now: Duration) -> Option<Duration> {
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
    fn fail(&mut self, error: Error, now: Duration, draw: f64) -> Option<Error> {
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
    fn clear(&mut self, now: Duration) -> impl Sized + use<> {
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
    Arc::new(Flight::new(Landing { outcome: Err(crashed()), asked: true }))
}

/// What the waiters get if a leader panics.
fn crashed() -> Error {
    Error::network(NetworkErrorKind::Io, Endpoint::Token)
}

fn moment(now: Now) -> Moment {
    Moment { monotonic: now.monotonic, wall: now.set_wall() }
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
    use std::sync::Weak;
    use std::time::SystemTime;

    use super::*;
    use crate::error::NetworkError;
    use crate::m2m::options::{Params, TokenOptions};

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
            let free = self.0.upgrade().is_none_or(|cache| cache.0.try_lock().is_some());
            assert!(free, "dropped under the lock");
        }
    }

    #[test]
    fn an_entry_that_has_to_go_is_dropped_without_the_lock() {
        let cache = Arc::new(TokenCache::new());
        let now = Now { wall: SystemTime::UNIX_EPOCH, monotonic: Duration::ZERO };
        for number in 0..=MAX_ENTRIES {
            let options = TokenOptions::new().scope(format!("scope-{number}"));
            let asked = Arc::new(Asked::new(&options, None, &Params::default()).unwrap());
            let Look::Fetch(flight) = cache.look(&asked, Want::Any, now) else { panic!("no flight") };
            let error = NetworkError::new(NetworkErrorKind::Io, Endpoint::Token);
            let error = error.with_source(Some(Arc::new(UserError(Arc::downgrade(&cache)))));
            cache.fail(&asked, &flight, &Error::Network(error), now, 0.5);
        }
        assert_eq!(cache.0.lock().entries.len(), MAX_ENTRIES);
    }
}
