//! One value that is fetched, cached and refreshed ahead of its expiry: the discovery document, the key set.
//!
//! A pure plan decides; the shell locks, plans, unlocks, fetches, locks, stores. No I/O and no user code runs under the lock, so a
//! caller whose value is cached never waits for another caller.

use std::time::Duration;

use parking_lot::Mutex;

use crate::cache::backoff::{Backoff, BackoffScope};
use crate::cache::single_flight::{SingleFlight, Wait, Which};
use crate::crypto::jitter;
use crate::error::{Endpoint, Error, NetworkErrorKind};
use crate::time::{Deadline, Now};

/// Fetches the value, and reads the clocks. Called with no lock held.
pub(crate) trait Fetch<T> {
    fn now(&self) -> Now;

    /// The deadline of the one caller that refreshes ahead, and of a caller that waits for another's refetch.
    fn refresh_deadline(&self) -> Deadline;

    fn fetch(&self, deadline: Deadline) -> Result<Fetched<T>, Error>;

    /// Runs a flight, and reports what happened in it afterwards.
    fn reporting<R>(&self, flight: impl FnOnce() -> R) -> R {
        flight()
    }
}

/// A value fresh from the issuer.
pub(crate) struct Fetched<T> {
    pub(crate) value: T,
    pub(crate) ttl: Duration,
}

/// A value that was not fetched now: from a snapshot, or from the program itself.
pub(crate) struct Initial<T> {
    pub(crate) value: T,
    /// `None`: it never came from the issuer.
    pub(crate) age: Option<Duration>,
    pub(crate) ttl: Duration,
    /// `None`: as long as a fetched one.
    pub(crate) serves_for: Option<Duration>,
}

/// A value from the cache.
#[derive(Clone)]
pub(crate) struct Cached<T> {
    pub(crate) value: T,
    /// Counts the values cached so far, so that a caller can tell whether another one has come since.
    pub(crate) generation: u64,
    /// How old the value is at `at`, counted from the start of its fetch.
    pub(crate) age: Duration,
    /// Past its time to live, since the issuer cannot be reached.
    pub(crate) stale: bool,
    /// When it was found in the cache, or had come.
    pub(crate) at: Now,
}

pub(crate) struct RefreshAheadCache<T> {
    state: Mutex<State<T>>,
    flight: SingleFlight<Result<Cached<T>, Error>>,
    endpoint: Endpoint,
}

impl<T: Clone> RefreshAheadCache<T> {
    /// Empty; a value serves for `max_stale` past its time to live.
    pub(crate) fn new(endpoint: Endpoint, max_stale: Duration) -> Self {
        let abandoned = Err(Error::network(NetworkErrorKind::Io, endpoint));
        Self { state: Mutex::new(State::new(max_stale)), flight: SingleFlight::new(abandoned), endpoint }
    }

    /// The value: from the cache if it may serve, else from the one fetch that all such callers share. `scope` says which waits keep
    /// the caller from a fetch.
    pub(crate) fn get(
        &self,
        scope: BackoffScope,
        source: &impl Fetch<T>,
        now: Now,
        deadline: Deadline,
    ) -> Result<Cached<T>, Error> {
        let plan = self.state.lock().plan(scope, now);
        match plan {
            Plan::Serve(cached) => Ok(cached),
            Plan::RefreshAhead(cached) => Ok(self.refresh_ahead(source, cached, deadline)),
            Plan::Fetch => self.fetch(scope, source, deadline),
            Plan::Fail(error) => Err(error),
        }
    }

    /// The value from the cache, while it may serve.
    pub(crate) fn cached(&self, now: Now) -> Option<Cached<T>> {
        self.state.lock().present(now)
    }

    /// How long until [`refresh_if_due`](Self::refresh_if_due) would fetch.
    pub(crate) fn next_refresh_in(&self, now: Now) -> Duration {
        let next = self.state.lock().next_refresh_in(now);
        if self.flight.is_idle() { next } else { next.max(SOON) }
    }

    /// Forgets our own back-off.
    pub(crate) fn retry_now(&self) {
        let forgotten = self.state.lock().retry_now();
        drop(forgotten);
    }

    /// Why the last fetch failed, while it is too early for the next one.
    pub(crate) fn failure(&self, now: Now) -> Option<Error> {
        self.state.lock().failure(BackoffScope::All, now)
    }

    /// Takes a value that was not fetched now, unless a fetched one is cached already.
    pub(crate) fn init(&self, initial: Initial<T>, now: Now) {
        let replaced = self.state.lock().init(initial, now);
        drop(replaced);
    }

    /// The cached value if it came from the issuer, its age, and its time to live; for a snapshot.
    pub(crate) fn with_age(&self, now: Now) -> Option<(T, Duration, Duration)> {
        let state = self.state.lock();
        let entry = state.entry.as_ref()?;
        Some((entry.value.clone(), entry.age_of_fetched(now)?, entry.ttl))
    }

    /// Has the value fetched anew at the next look-up that may send, at most once a minute.
    pub(crate) fn mark_due(&self) {
        self.state.lock().marked_due = true;
    }

    /// Another value than that of generation `seen`, requested anew; joins a fetch that is in progress, where few others wait for it.
    /// `admit` may refuse the request (only the caller that would make it is asked). Gives the start of the request, if this caller
    /// made it.
    pub(crate) fn refetch(
        &self,
        source: &impl Fetch<T>,
        seen: u64,
        deadline: Deadline,
        admit: impl FnOnce(Now) -> Result<(), Error>,
    ) -> Result<(Cached<T>, Option<Now>), Error> {
        let mut requested = None;
        let lookup = || {
            let now = source.now();
            if let Some(newer) = self.newer_than(seen, now) {
                return Some(Ok(newer));
            }
            let failure = self.state.lock().failure(BackoffScope::All, now);
            failure.or_else(|| admit(now).err()).map(Err)
        };
        let fetch = || {
            requested = Some(source.now());
            self.fetch_and_store(source, deadline)
        };
        let wait = Wait { deadline: source.refresh_deadline().or_earlier(deadline), max_waiters: MAX_REFETCH_WAITERS };
        let outcome = source.reporting(|| self.run(wait, lookup, fetch));
        outcome.map(|cached| (cached, requested))
    }

    /// Refreshes if the value is due, and says how that went; for a caller with time to spare.
    pub(crate) fn refresh_if_due(&self, source: &impl Fetch<T>, deadline: Deadline) -> Result<(), Error> {
        let now = source.now();
        let plan = self.state.lock().plan(BackoffScope::All, now);
        match plan {
            Plan::Serve(_) => Ok(()),
            Plan::Fail(error) => Err(error),
            Plan::Fetch => self.fetch(BackoffScope::All, source, deadline).map(drop),
            Plan::RefreshAhead(_) => {
                let refresh = || self.flight.run_if_idle(|| None, || self.fetch_and_store(source, deadline));
                let outcome = source.reporting(refresh);
                outcome.map_or(Ok(()), |outcome| outcome.map(drop))
            }
        }
    }

    /// The present value, if it is another one than that of generation `seen`.
    pub(crate) fn newer_than(&self, seen: u64, now: Now) -> Option<Cached<T>> {
        self.cached(now).filter(|cached| cached.generation != seen)
    }

    /// One caller refreshes and pays at most the refresh time-out, but all of its own budget once the value is stale; all others are
    /// served at once, and so is this one if it fails.
    fn refresh_ahead(&self, source: &impl Fetch<T>, cached: Cached<T>, deadline: Deadline) -> Cached<T> {
        let lookup = || self.newer_than(cached.generation, source.now()).map(Ok);
        let fetch = || {
            let deadline = if cached.stale { deadline } else { source.refresh_deadline().or_earlier(deadline) };
            self.fetch_and_store(source, deadline)
        };
        match source.reporting(|| self.flight.run_if_idle(lookup, fetch)) {
            Some(Ok(newer)) => newer,
            Some(Err(_)) => Cached { at: source.now(), ..cached },
            None => cached,
        }
    }

    fn fetch(&self, scope: BackoffScope, source: &impl Fetch<T>, deadline: Deadline) -> Result<Cached<T>, Error> {
        let lookup = || {
            let now = source.now();
            let plan = self.state.lock().plan(scope, now);
            match plan {
                Plan::Serve(cached) => Some(Ok(cached)),
                Plan::Fail(error) => Some(Err(error)),
                Plan::Fetch | Plan::RefreshAhead(_) => None,
            }
        };
        source.reporting(|| self.run(deadline.into(), lookup, || self.fetch_and_store(source, deadline)))
    }

    /// A leader's re-entrancy error is its own; its waiters try again.
    fn run(
        &self,
        wait: Wait,
        lookup: impl FnOnce() -> Option<Result<Cached<T>, Error>>,
        fetch: impl FnOnce() -> Result<Cached<T>, Error>,
    ) -> Result<Cached<T>, Error> {
        let accepts = |outcome: &Result<Cached<T>, Error>| !matches!(outcome, Err(error) if error.is_reentrant());
        let outcome = self.flight.run(Which::Current, wait, accepts, lookup, fetch);
        outcome.unwrap_or_else(|reason| Err(reason.error(self.endpoint)))
    }

    fn fetch_and_store(&self, source: &impl Fetch<T>, deadline: Deadline) -> Result<Cached<T>, Error> {
        let start = source.now();
        let fetched = source.fetch(deadline);
        let (now, draw) = (source.now(), jitter());
        // What is replaced may hold a user's type, whose drop is user code, so it outlives the lock.
        match fetched {
            Ok(fetched) => {
                let (cached, _replaced) = self.state.lock().store(fetched, start, now);
                Ok(cached)
            }
            // A re-entrant call's error is not cached.
            Err(error) if error.is_reentrant() => Err(error),
            Err(error) => {
                let own = matches!(&error, Error::Network(e) if e.endpoint() == self.endpoint);
                let mut state = self.state.lock();
                let replaced = state.fail(error.clone(), own, now, draw);
                let wait = state.backoff.wait(now);
                drop(state);
                drop(replaced);
                Err(error.maybe_retry_after(wait))
            }
        }
    }
}

/// What a caller does now.
enum Plan<T> {
    /// From the cache.
    Serve(Cached<T>),
    /// From the cache, and due: one caller refreshes.
    RefreshAhead(Cached<T>),
    /// Nothing may serve: wait for the one fetch.
    Fetch,
    /// Nothing may serve, and it is too early to ask again.
    Fail(Error),
}

/// What the plan decides on. Pure: the time and the draw are arguments.
struct State<T> {
    entry: Option<Entry<T>>,
    generation: u64,
    backoff: Backoff,
    last_error: Option<Error>,
    last_attempt: Option<Now>,
    marked_due: bool,
    max_stale: Duration,
}

struct Entry<T> {
    value: T,
    generation: u64,
    since: Now,
    /// How old the value was when it came here: a fetched one is new, one from a snapshot is not. `None`: it never came from the issuer.
    age_then: Option<Duration>,
    ttl: Duration,
    due_at_age: Duration,
    serves_for: Duration,
    fetched: bool,
}

impl<T: Clone> State<T> {
    fn new(max_stale: Duration) -> Self {
        Self {
            entry: None,
            generation: 0,
            backoff: Backoff::default(),
            last_error: None,
            last_attempt: None,
            marked_due: false,
            max_stale,
        }
    }

    fn plan(&self, scope: BackoffScope, now: Now) -> Plan<T> {
        let Some(cached) = self.present(now) else {
            return self.failure(scope, now).map_or(Plan::Fetch, Plan::Fail);
        };
        let due = self.entry.as_ref().is_some_and(|entry| cached.age >= entry.due_at_age) || self.is_marked_due(now);
        if due && self.backoff.wait(now).is_none() { Plan::RefreshAhead(cached) } else { Plan::Serve(cached) }
    }

    fn is_marked_due(&self, now: Now) -> bool {
        self.marked_due && self.last_attempt.is_none_or(|last| now.elapsed_since(last) >= BETWEEN_MARKS)
    }

    fn next_refresh_in(&self, now: Now) -> Duration {
        let wait = self.backoff.wait(now).unwrap_or_default();
        let (Some(entry), Some(cached)) = (&self.entry, self.present(now)) else { return wait };
        let since_attempt = |last: Now| BETWEEN_MARKS.saturating_sub(now.elapsed_since(last));
        let marked = self.marked_due.then(|| self.last_attempt.map_or(Duration::ZERO, since_attempt));
        let due = entry.due_at_age.saturating_sub(cached.age);
        marked.map_or(due, |marked| due.min(marked)).max(wait)
    }

    /// Gives back as [`store`](Self::store) does.
    fn retry_now(&mut self) -> Option<Error> {
        if self.backoff.forget_caution() { self.last_error.take() } else { None }
    }

    /// The value, while it may serve at all.
    fn present(&self, now: Now) -> Option<Cached<T>> {
        let entry = self.entry.as_ref()?;
        let age = entry.age(now);
        let serves = entry.serves_at(age);
        serves.then(|| Cached {
            value: entry.value.clone(),
            generation: entry.generation,
            age,
            stale: age >= entry.ttl,
            at: now,
        })
    }

    /// The last error, while it is too early to ask again.
    fn failure(&self, scope: BackoffScope, now: Now) -> Option<Error> {
        let wait = self.backoff.wait_within(scope, now)?;
        self.last_error.clone().map(|error| error.with_retry_after(wait))
    }

    /// Gives back what it replaced, to be dropped without the lock.
    fn store(&mut self, fetched: Fetched<T>, start: Now, now: Now) -> (Cached<T>, impl Sized + use<T>) {
        self.backoff.succeeded();
        self.attempted(now);
        let Fetched { value, ttl } = fetched;
        let initial = Initial { value: value.clone(), age: Some(Duration::ZERO), ttl, serves_for: None };
        let replaced = (self.replace(initial, start, true), self.last_error.take());
        let (generation, age) = (self.generation, now.elapsed_since(start));
        (Cached { value, generation, age, stale: false, at: now }, replaced)
    }

    /// Takes a value that was not fetched now, unless a fetched one is cached already. Gives back as [`store`](Self::store) does.
    fn init(&mut self, initial: Initial<T>, now: Now) -> Option<Entry<T>> {
        let keeps = self.entry.as_ref().is_some_and(|entry| entry.fetched);
        if keeps { None } else { self.replace(initial, now, false) }
    }

    fn replace(&mut self, initial: Initial<T>, since: Now, fetched: bool) -> Option<Entry<T>> {
        self.generation = self.generation.wrapping_add(1);
        let Initial { value, age: age_then, ttl, serves_for } = initial;
        let serves_for = serves_for.unwrap_or_else(|| ttl.saturating_add(self.max_stale));
        let (generation, due_at_age) = (self.generation, ttl.mul_f64(REFRESH_AHEAD));
        self.entry.replace(Entry { value, generation, since, age_then, ttl, due_at_age, serves_for, fetched })
    }

    /// Notes a failure; the value cached, if any, stays. A wait that came with another endpoint's error does not bind a caller who
    /// insists. Gives back as [`store`](Self::store) does.
    fn fail(&mut self, error: Error, own: bool, now: Now, draw: f64) -> Option<Error> {
        self.attempted(now);
        if own {
            self.backoff.failed(now, error.retry_after(), draw);
        } else {
            self.backoff.held_up(now, error.retry_after(), draw);
        }
        self.last_error.replace(error)
    }

    fn attempted(&mut self, now: Now) {
        self.last_attempt = Some(now);
        self.marked_due = false;
    }
}

impl<T> Entry<T> {
    /// By the clock that says older.
    fn age(&self, now: Now) -> Duration {
        self.age_of_fetched(now).unwrap_or(Duration::MAX)
    }

    fn age_of_fetched(&self, now: Now) -> Option<Duration> {
        Some(now.elapsed_since(self.since).saturating_add(self.age_then?))
    }

    fn serves_at(&self, age: Duration) -> bool {
        self.serves_for == Duration::MAX || age < self.serves_for
    }
}

/// The share of the time to live after which one caller refreshes: early enough that an answer comes before the end of it, late
/// enough that a steady service asks no more than needed.
const REFRESH_AHEAD: f64 = 0.8;

/// How many callers wait for another's refetch: enough for the good tokens of a rotation, few enough that a flood of bad ones does not
/// hold all threads of a server.
const MAX_REFETCH_WAITERS: usize = 16;

/// How soon a timer should look again after a fetch that is in progress.
const SOON: Duration = Duration::from_secs(1);

/// The shortest time between two fetches of a value that is marked as due.
const BETWEEN_MARKS: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fmt;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Weak};

    use super::*;
    use crate::error::NetworkError;

    const TTL: Duration = Duration::from_secs(600);
    const MAX_STALE: Duration = Duration::from_secs(3600);
    const MS: Duration = Duration::from_millis(1);

    const LATER: Now = Now { wall: None, monotonic: Duration::from_secs(605) };
    const START: Now = Now { wall: None, monotonic: Duration::from_secs(5) };

    fn held_since(now: Now) -> State<u32> {
        let mut state = State::new(MAX_STALE);
        store(&mut state, 7, now);
        state
    }

    fn store(state: &mut State<u32>, value: u32, now: Now) -> u64 {
        state.store(Fetched { value, ttl: TTL }, now, now).0.generation
    }

    fn timeout() -> Error {
        Error::network(NetworkErrorKind::Timeout, Endpoint::Keys)
    }

    fn get(cache: &RefreshAheadCache<u32>, source: &impl Fetch<u32>, deadline: Deadline) -> Result<Cached<u32>, Error> {
        cache.get(BackoffScope::All, source, source.now(), deadline)
    }

    fn refetch(
        cache: &RefreshAheadCache<u32>,
        source: &impl Fetch<u32>,
        deadline: Deadline,
        admit: impl FnOnce(Now) -> Result<(), Error>,
    ) -> Result<(u32, bool), Error> {
        let outcome = cache.refetch(source, 1, deadline, admit);
        outcome.map(|(cached, requested)| (cached.value, requested.is_some()))
    }

    fn name(plan: &Plan<u32>) -> &'static str {
        match plan {
            Plan::Serve(cached) if cached.stale => "serve stale",
            Plan::Serve(_) => "serve",
            Plan::RefreshAhead(cached) if cached.stale => "refresh stale",
            Plan::RefreshAhead(_) => "refresh",
            Plan::Fetch => "fetch",
            Plan::Fail(_) => "fail",
        }
    }

    #[test]
    fn the_plan_changes_at_each_edge() {
        let state = held_since(START);
        for (age, expected) in [
            (Duration::ZERO, "serve"),
            (Duration::from_secs(480) - MS, "serve"),
            (Duration::from_secs(480), "refresh"),
            (TTL - MS, "refresh"),
            (TTL, "refresh stale"),
            (TTL + MAX_STALE - MS, "refresh stale"),
            (TTL + MAX_STALE, "fetch"),
        ] {
            assert_eq!(name(&state.plan(BackoffScope::All, START + age)), expected, "{age:?}");
        }
    }

    #[test]
    fn within_the_back_off_held_keys_serve_and_others_get_the_last_error() {
        let mut state = held_since(START);
        let expired = START + TTL;
        state.fail(timeout(), true, expired, 0.0);
        assert_eq!(name(&state.plan(BackoffScope::All, expired)), "serve stale");
        assert_eq!(name(&state.plan(BackoffScope::All, expired + Duration::from_secs(1))), "refresh stale");

        let mut empty = State::<u32>::new(MAX_STALE);
        empty.fail(timeout(), true, START, 0.0);
        let Plan::Fail(error) = empty.plan(BackoffScope::All, START + 400 * MS) else { panic!("not a failure") };
        assert_eq!(error.retry_after(), Some(600 * MS));
        assert_eq!(name(&empty.plan(BackoffScope::All, START + Duration::from_secs(1))), "fetch");
    }

    #[test]
    fn a_failure_never_clears_what_is_held() {
        let mut state = held_since(START);
        for _ in 0..10 {
            state.fail(timeout(), true, START + TTL, 0.5);
        }
        assert_eq!(state.present(START + TTL + MAX_STALE - MS).unwrap().value, 7);
        assert!(state.present(START + TTL + MAX_STALE).is_none());
    }

    #[test]
    fn a_success_ends_the_back_off_and_starts_a_new_generation() {
        let mut state = held_since(START);
        let first = state.present(START).unwrap().generation;
        state.fail(timeout(), true, START + TTL, 0.5);
        assert_ne!(store(&mut state, 8, START + TTL), first);
        assert_eq!(name(&state.plan(BackoffScope::All, START + TTL)), "serve");
    }

    #[test]
    fn an_initial_value_counts_the_age_that_it_came_with_and_replaces_nothing_that_was_fetched() {
        let mut state = State::new(MAX_STALE);
        state.init(Initial { age: Some(TTL - MS), ..init(1) }, START);
        assert_eq!(name(&state.plan(BackoffScope::All, START)), "refresh");
        assert_eq!(name(&state.plan(BackoffScope::All, START + MS)), "refresh stale");
        assert_eq!(name(&state.plan(BackoffScope::All, START + MS + MAX_STALE)), "fetch");
        state.init(init(2), START);
        assert_eq!(state.present(START).unwrap().value, 2);
        store(&mut state, 3, START);
        state.init(init(4), START);
        assert_eq!(state.present(START).unwrap().value, 3);
    }

    #[test]
    fn a_time_to_live_without_end_overflows_nothing() {
        let mut state = State::new(Duration::MAX);
        state.store(Fetched { value: 7, ttl: Duration::MAX }, START, START);
        assert_eq!(name(&state.plan(BackoffScope::All, START + Duration::from_secs(1_000_000_000))), "serve");
    }

    #[test]
    fn a_value_that_never_came_from_the_issuer_is_due_serves_without_end_and_is_in_no_snapshot() {
        let cache = RefreshAheadCache::new(Endpoint::Keys, MAX_STALE);
        let shipped = Initial { age: None, ttl: Duration::ZERO, serves_for: Some(Duration::MAX), ..init(1) };
        cache.init(shipped, START);
        let later = START + Duration::from_secs(1_000_000_000);
        assert_eq!(name(&cache.state.lock().plan(BackoffScope::All, START)), "refresh stale");
        assert_eq!(name(&cache.state.lock().plan(BackoffScope::All, later)), "refresh stale");
        assert!(cache.with_age(later).is_none());
    }

    #[test]
    fn a_value_ages_by_the_clock_that_says_older_from_the_start_of_its_fetch() {
        let start = Now { wall: Some(std::time::UNIX_EPOCH), ..START };
        let mut state = State::new(MAX_STALE);
        let (cached, _) = state.store(Fetched { value: 7, ttl: TTL }, start, start + 4 * MS);
        assert_eq!(cached.age, 4 * MS);
        let asleep = Now { monotonic: start.monotonic, ..start + TTL };
        assert_eq!(name(&state.plan(BackoffScope::All, asleep)), "refresh stale");
        let set_back = Now { wall: start.wall, ..start + TTL };
        assert_eq!(name(&state.plan(BackoffScope::All, set_back)), "refresh stale");
    }

    #[test]
    fn a_value_that_is_marked_as_due_is_fetched_once_a_minute_at_most() {
        let mut state = held_since(START);
        let plan =
            |state: &State<u32>, seconds| name(&state.plan(BackoffScope::All, START + Duration::from_secs(seconds)));
        state.marked_due = true;
        assert_eq!((plan(&state, 59), plan(&state, 60)), ("serve", "refresh"));
        state.fail(timeout(), true, START + Duration::from_secs(60), 0.0);
        assert_eq!(plan(&state, 200), "serve", "the failed attempt was the one that was wanted");
        state.marked_due = true;
        assert_eq!((plan(&state, 119), plan(&state, 120)), ("serve", "refresh"));
        store(&mut state, 8, START + Duration::from_secs(120));
        assert_eq!(plan(&state, 300), "serve");

        let mut of_snapshot = State::new(MAX_STALE);
        of_snapshot.init(init(1), START);
        of_snapshot.marked_due = true;
        assert_eq!(plan(&of_snapshot, 0), "refresh");
    }

    #[test]
    fn the_error_of_the_fetch_that_begins_a_back_off_says_how_long_it_lasts() {
        let cache = RefreshAheadCache::<u32>::new(Endpoint::Keys, MAX_STALE);
        let fails = Meanwhile { error: Some(timeout()), ..while_fetching(&|| ()) };
        let wait = get(&cache, &fails, budget()).err().unwrap().retry_after().unwrap();
        assert!((Duration::from_secs(1)..=Duration::from_secs(2)).contains(&wait), "{wait:?}");
    }

    #[test]
    fn a_wait_of_another_endpoint_is_kept_to_as_our_own_caution() {
        let mut state = State::<u32>::new(MAX_STALE);
        let hour = Duration::from_secs(3600);
        state.fail(Error::network(NetworkErrorKind::Io, Endpoint::Discovery).with_retry_after(hour), false, START, 0.0);
        assert_eq!(state.failure(BackoffScope::All, START).unwrap().retry_after(), Some(hour));
        assert!(state.failure(BackoffScope::RetryAfterOnly, START).is_none());
    }

    /// Looks from within each call of user code, and from the drop of a user's error, whether the cache is locked.
    struct Spy<'a> {
        cache: &'a Arc<RefreshAheadCache<u32>>,
        now: Now,
        answers: bool,
        given: Cell<Option<Deadline>>,
    }

    #[derive(Debug)]
    struct UserError(Weak<RefreshAheadCache<u32>>);

    impl fmt::Display for UserError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("user error")
        }
    }

    impl std::error::Error for UserError {}

    impl Drop for UserError {
        fn drop(&mut self) {
            let free = self.0.upgrade().is_none_or(|cache| cache.state.try_lock().is_some());
            assert!(free, "dropped under the lock");
        }
    }

    impl fmt::Debug for RefreshAheadCache<u32> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("RefreshAheadCache")
        }
    }

    impl Fetch<u32> for Spy<'_> {
        fn now(&self) -> Now {
            assert!(self.cache.state.try_lock().is_some(), "the clock is asked under the lock");
            self.now
        }

        fn refresh_deadline(&self) -> Deadline {
            Deadline::after(Duration::from_secs(3))
        }

        fn fetch(&self, deadline: Deadline) -> Result<Fetched<u32>, Error> {
            self.given.set(Some(deadline));
            if self.answers {
                return Ok(Fetched { value: 7, ttl: TTL });
            }
            let error = NetworkError::new(NetworkErrorKind::Io, Endpoint::Keys);
            Err(Error::Network(error.with_source(Some(Arc::new(UserError(Arc::downgrade(self.cache)))))))
        }
    }

    /// Its first fetch waits until another caller waits for it, and then tells of a re-entry.
    struct Reentering<'a> {
        cache: &'a RefreshAheadCache<u32>,
        fetches: AtomicUsize,
    }

    impl Fetch<u32> for Reentering<'_> {
        fn now(&self) -> Now {
            START
        }

        fn refresh_deadline(&self) -> Deadline {
            Deadline::after(Duration::from_secs(3))
        }

        fn fetch(&self, _: Deadline) -> Result<Fetched<u32>, Error> {
            if self.fetches.fetch_add(1, Ordering::SeqCst) > 0 {
                return Ok(Fetched { value: 7, ttl: TTL });
            }
            while self.cache.flight.waiting() == 0 {
                std::thread::yield_now();
            }
            Err(Error::network(NetworkErrorKind::Reentrant, Endpoint::Keys))
        }
    }

    #[test]
    fn who_waits_for_a_thread_that_called_back_into_its_issuer_is_served_all_the_same() {
        let far = || Deadline::after(Duration::from_secs(60));
        for refetching in [false, true] {
            let cache = RefreshAheadCache::new(Endpoint::Keys, MAX_STALE);
            let source = Reentering { cache: &cache, fetches: AtomicUsize::new(0) };
            std::thread::scope(|scope| {
                let inside = scope.spawn(|| get(&cache, &source, far()).map(|cached| cached.value));
                while source.fetches.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
                let waiter = if refetching {
                    refetch(&cache, &source, far(), |_| Ok(())).map(|(value, _)| value)
                } else {
                    get(&cache, &source, far()).map(|cached| cached.value)
                };
                assert_eq!(waiter.unwrap(), 7);
                assert!(inside.join().unwrap().unwrap_err().is_reentrant());
            });
        }
    }

    fn spied() -> Arc<RefreshAheadCache<u32>> {
        Arc::new(RefreshAheadCache::new(Endpoint::Keys, MAX_STALE))
    }

    fn spy(cache: &Arc<RefreshAheadCache<u32>>, now: Now, answers: bool) -> Spy<'_> {
        Spy { cache, now, answers, given: Cell::new(None) }
    }

    #[test]
    fn no_clock_and_no_drop_of_a_users_error_runs_under_the_lock() {
        let (cache, hour) = (spied(), Duration::from_secs(3600));
        drop(get(&cache, &spy(&cache, START, false), budget()));
        drop(cache.refresh_if_due(&spy(&cache, START + hour, false), budget()));
        get(&cache, &spy(&cache, START + 2 * hour, true), budget()).unwrap();
        cache.refresh_if_due(&spy(&cache, START + 3 * hour, true), budget()).unwrap();
    }

    #[test]
    fn a_refresh_ahead_ends_with_the_budget_of_the_call_that_draws_it() {
        let cache = spied();
        get(&cache, &spy(&cache, START, true), Deadline::after(Duration::MAX)).unwrap();
        let due = spy(&cache, START + TTL * 4 / 5, true);
        let budget = Deadline::after(Duration::from_secs(1));
        get(&cache, &due, budget).unwrap();
        assert_eq!(due.given.get().unwrap().instant(), budget.instant());
    }

    #[test]
    fn what_a_thread_has_done_to_itself_keeps_nobody_from_asking() {
        struct Inward;

        impl Fetch<u32> for Inward {
            fn now(&self) -> Now {
                START
            }

            fn refresh_deadline(&self) -> Deadline {
                Deadline::after(Duration::from_secs(3))
            }

            fn fetch(&self, _: Deadline) -> Result<Fetched<u32>, Error> {
                Err(Error::network(NetworkErrorKind::Reentrant, Endpoint::Keys))
            }
        }

        let cache = spied();
        assert!(get(&cache, &Inward, budget()).is_err());
        assert_eq!(get(&cache, &spy(&cache, START, true), budget()).unwrap().value, 7);
    }

    /// Another caller's doing, at a moment that a test chooses: while this caller looks at the clock for the second time, which is
    /// after the take-off, or while it fetches.
    struct Meanwhile<'a> {
        looks: Cell<u32>,
        at_second_look: &'a dyn Fn(),
        in_fetch: &'a dyn Fn(),
        error: Option<Error>,
    }

    impl Fetch<u32> for Meanwhile<'_> {
        fn now(&self) -> Now {
            self.looks.set(self.looks.get() + 1);
            if self.looks.get() == 2 {
                (self.at_second_look)();
            }
            LATER
        }

        fn refresh_deadline(&self) -> Deadline {
            Deadline::after(Duration::from_secs(3))
        }

        fn fetch(&self, _: Deadline) -> Result<Fetched<u32>, Error> {
            (self.in_fetch)();
            self.error.clone().map_or(Ok(Fetched { value: 9, ttl: TTL }), Err)
        }
    }

    fn after_takeoff(act: &dyn Fn()) -> Meanwhile<'_> {
        Meanwhile { looks: Cell::new(0), at_second_look: act, in_fetch: &|| panic!("a second request"), error: None }
    }

    fn while_fetching(act: &dyn Fn()) -> Meanwhile<'_> {
        Meanwhile { looks: Cell::new(0), at_second_look: &|| (), in_fetch: act, error: None }
    }

    /// A value that is due at [`TTL`].
    fn seeded(value: u32) -> RefreshAheadCache<u32> {
        let cache = RefreshAheadCache::new(Endpoint::Keys, MAX_STALE);
        cache.init(init(value), START);
        cache
    }

    fn init(value: u32) -> Initial<u32> {
        Initial { value, age: Some(Duration::ZERO), ttl: TTL, serves_for: None }
    }

    fn budget() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    fn kind<T>(outcome: Result<T, Error>) -> NetworkErrorKind {
        match outcome {
            Err(Error::Network(error)) => error.kind(),
            _ => panic!("no network error"),
        }
    }

    #[test]
    fn what_came_between_plan_and_takeoff_is_taken_without_another_request() {
        let due = seeded(1);
        let cached = get(&due, &after_takeoff(&|| due.init(init(2), LATER)), budget()).unwrap();
        assert_eq!((cached.value, cached.generation), (2, 2));

        let empty = RefreshAheadCache::new(Endpoint::Keys, MAX_STALE);
        assert_eq!(get(&empty, &after_takeoff(&|| empty.init(init(2), LATER)), budget()).unwrap().value, 2);

        let (old, admit) = (seeded(1), |_| panic!("asked for leave"));
        let comes = || old.init(init(2), LATER);
        let source = after_takeoff(&comes);
        source.looks.set(1);
        assert_eq!(refetch(&old, &source, budget(), admit).unwrap(), (2, false));
    }

    #[test]
    fn a_failure_that_came_between_plan_and_takeoff_is_told_without_another_request() {
        let empty = RefreshAheadCache::new(Endpoint::Keys, MAX_STALE);
        let fails = || drop(empty.state.lock().fail(timeout(), true, LATER, 0.0));
        assert_eq!(kind(get(&empty, &after_takeoff(&fails), budget())), NetworkErrorKind::Timeout);
        assert_eq!(kind(empty.refresh_if_due(&after_takeoff(&|| ()), budget())), NetworkErrorKind::Timeout);
    }

    #[test]
    fn nobody_waits_for_a_refresh_ahead_of_another() {
        let due = seeded(1);
        let another = || {
            let source = while_fetching(&|| panic!("a second request"));
            due.refresh_if_due(&source, budget()).unwrap();
            assert_eq!(get(&due, &source, budget()).unwrap().value, 1);
        };
        assert_eq!(get(&due, &while_fetching(&another), budget()).unwrap().value, 9);
        assert_eq!(due.newer_than(1, LATER).unwrap().value, 9);
    }

    #[test]
    fn who_joins_a_request_that_fails_gets_its_very_error() {
        let empty = RefreshAheadCache::new(Endpoint::Keys, MAX_STALE);
        let join = || {
            let outcome = get(&empty, &while_fetching(&|| panic!("a second request")), budget());
            outcome.err().map(|error| error.retry_after())
        };
        let (of_leader, of_waiter) = std::thread::scope(|scope| {
            let joined = Cell::new(None);
            let joins = || {
                joined.set(Some(scope.spawn(join)));
                while empty.flight.waiting() == 0 {
                    std::thread::yield_now();
                }
            };
            let fails = Meanwhile { error: Some(timeout()), ..while_fetching(&joins) };
            let of_leader = get(&empty, &fails, budget()).err().map(|error| error.retry_after());
            (of_leader, joined.take().unwrap().join().unwrap())
        });
        assert_eq!(of_waiter, of_leader);
    }

    #[test]
    fn who_waits_for_a_fetch_waits_no_longer_than_its_own_budget() {
        let empty = RefreshAheadCache::new(Endpoint::Keys, MAX_STALE);
        let join = || {
            let source = while_fetching(&|| panic!("a second request"));
            kind(get(&empty, &source, Deadline::after(Duration::ZERO)))
        };
        let another = || {
            let waited = std::thread::scope(|scope| scope.spawn(join).join());
            assert_eq!(waited.unwrap(), NetworkErrorKind::Timeout);
        };
        assert_eq!(get(&empty, &while_fetching(&another), budget()).unwrap().value, 9);
    }

    #[test]
    fn who_joins_a_refetch_gets_its_value_and_has_asked_nothing() {
        let old = seeded(1);
        let refetch = |during: &dyn Fn()| refetch(&old, &while_fetching(during), budget(), |_| Ok(())).unwrap();
        std::thread::scope(|scope| {
            let joined = Cell::new(None);
            let joins = || {
                joined.set(Some(scope.spawn(|| refetch(&|| panic!("a second request")))));
                while old.flight.waiting() == 0 {
                    std::thread::yield_now();
                }
            };
            assert_eq!(refetch(&joins), (9, true));
            assert_eq!(joined.take().unwrap().join().unwrap(), (9, false));
        });
    }

    #[test]
    fn who_waits_for_a_refetch_waits_no_longer_than_its_own_budget_and_never_for_itself() {
        let old = seeded(1);
        let join = |deadline| {
            let source = while_fetching(&|| panic!("a second request"));
            kind(refetch(&old, &source, deadline, |_| Ok(())))
        };
        let others = || {
            assert_eq!(join(budget()), NetworkErrorKind::Reentrant);
            let waited = std::thread::scope(|scope| scope.spawn(|| join(Deadline::after(Duration::ZERO))).join());
            assert_eq!(waited.unwrap(), NetworkErrorKind::Timeout);
        };
        assert_eq!(refetch(&old, &while_fetching(&others), budget(), |_| Ok(())).unwrap(), (9, true));
    }
}
