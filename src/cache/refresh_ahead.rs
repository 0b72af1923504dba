//! One value that is fetched, cached and refreshed ahead of its expiry: the discovery document, the key set.
//!
//! A pure plan decides; the shell locks, plans, unlocks, fetches, locks, stores. No I/O and no user code runs under the lock, so a
//! caller whose value is cached never waits for another caller.

use std::time::Duration;

use parking_lot::Mutex;

use crate::cache::backoff::{Backoff, BackoffScope};
use crate::cache::single_flight::{SingleFlight, Which};
use crate::crypto::jitter;
use crate::error::{Endpoint, Error, NetworkErrorKind};
use crate::time::Deadline;

/// Fetches the value, and tells the time. Called with no lock cached.
pub(crate) trait Fetch<T> {
    fn monotonic(&self) -> Duration;

    /// The deadline of the one caller that refreshes ahead.
    fn refresh_deadline(&self) -> Deadline;

    fn fetch(&self, deadline: Deadline) -> Result<Fetched<T>, Error>;
}

/// A value fresh from the issuer.
pub(crate) struct Fetched<T> {
    pub(crate) value: T,
    pub(crate) ttl: Duration,
}

/// A value that was not fetched now: from a snapshot, or from the program itself.
pub(crate) struct Initial<T> {
    pub(crate) value: T,
    pub(crate) age: Duration,
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
    /// Past its time to live, since the issuer cannot be reached.
    pub(crate) stale: bool,
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

    /// The value: from the cache if it may serve, else from the one fetch that all such callers share.
    pub(crate) fn get(&self, source: &impl Fetch<T>, deadline: impl FnOnce() -> Deadline) -> Result<Cached<T>, Error> {
        self.get_within(BackoffScope::All, source, deadline)
    }

    /// As [`get`](Self::get), for a caller that may ignore our own back-off.
    pub(crate) fn get_within(
        &self,
        scope: BackoffScope,
        source: &impl Fetch<T>,
        deadline: impl FnOnce() -> Deadline,
    ) -> Result<Cached<T>, Error> {
        let now = source.monotonic();
        let plan = self.state.lock().plan(scope, now);
        match plan {
            Plan::Serve(cached) => Ok(cached),
            Plan::RefreshAhead(cached) => Ok(self.refresh_ahead(source, cached, deadline())),
            Plan::Fetch => self.fetch(scope, source, deadline()),
            Plan::Fail(error) => Err(error),
        }
    }

    /// Takes a value that was not fetched now, unless a fetched one is cached already.
    pub(crate) fn init(&self, initial: Initial<T>, now: Duration) {
        self.state.lock().init(initial, now);
    }

    /// The cached value, its age, and its time to live; for a snapshot.
    pub(crate) fn with_age(&self, now: Duration) -> Option<(T, Duration, Duration)> {
        let state = self.state.lock();
        let entry = state.entry.as_ref()?;
        Some((entry.value.clone(), entry.age(now), entry.ttl))
    }

    /// Another value than that of generation `seen`, requested anew; joins a fetch that is in progress. `admit` may refuse the request
    /// (only the caller that would make it is asked). The flag says whether this caller made the request itself.
    pub(crate) fn refetch(
        &self,
        source: &impl Fetch<T>,
        seen: u64,
        deadline: Deadline,
        admit: impl FnOnce(Duration) -> Result<(), Error>,
    ) -> Result<(Cached<T>, bool), Error> {
        if let Some(newer) = self.newer_than(seen, source.monotonic()) {
            return Ok((newer, false));
        }
        let mut requested = false;
        let lookup = || {
            let now = source.monotonic();
            if let Some(newer) = self.newer_than(seen, now) {
                return Some(Ok(newer));
            }
            let refused = self.state.lock().failure(BackoffScope::All, now).map_or_else(|| admit(now).err(), Some);
            refused.map(Err)
        };
        let fetch = || {
            requested = true;
            self.fetch_and_store(source, deadline)
        };
        let outcome = self.run(deadline, lookup, fetch);
        outcome.map(|cached| (cached, requested))
    }

    /// Refreshes if the value is due, and says how that went; for a caller with time to spare.
    pub(crate) fn refresh_if_due(&self, source: &impl Fetch<T>, deadline: Deadline) -> Result<(), Error> {
        let now = source.monotonic();
        let plan = self.state.lock().plan(BackoffScope::All, now);
        match plan {
            Plan::Serve(_) => Ok(()),
            Plan::Fail(error) => Err(error),
            Plan::Fetch => self.fetch(BackoffScope::All, source, deadline).map(drop),
            Plan::RefreshAhead(_) => {
                let outcome = self.flight.run_if_idle(|| None, || self.fetch_and_store(source, deadline));
                outcome.map_or(Ok(()), |outcome| outcome.map(drop))
            }
        }
    }

    /// The present value, if it is another one than that of generation `seen`.
    pub(crate) fn newer_than(&self, seen: u64, now: Duration) -> Option<Cached<T>> {
        self.state.lock().present(now).filter(|cached| cached.generation != seen)
    }

    /// One caller refreshes and pays at most the refresh time-out, or what is left of its own budget; all others are served at once,
    /// and so is this one if it fails.
    fn refresh_ahead(&self, source: &impl Fetch<T>, cached: Cached<T>, deadline: Deadline) -> Cached<T> {
        let lookup = || self.newer_than(cached.generation, source.monotonic()).map(Ok);
        let fetch = || self.fetch_and_store(source, source.refresh_deadline().or_earlier(deadline));
        match self.flight.run_if_idle(lookup, fetch) {
            Some(Ok(newer)) => newer,
            Some(Err(_)) | None => cached,
        }
    }

    fn fetch(&self, scope: BackoffScope, source: &impl Fetch<T>, deadline: Deadline) -> Result<Cached<T>, Error> {
        let lookup = || {
            let now = source.monotonic();
            let plan = self.state.lock().plan(scope, now);
            match plan {
                Plan::Serve(cached) => Some(Ok(cached)),
                Plan::Fail(error) => Some(Err(error)),
                Plan::Fetch | Plan::RefreshAhead(_) => None,
            }
        };
        self.run(deadline, lookup, || self.fetch_and_store(source, deadline))
    }

    /// A leader's re-entrancy error is its own; its waiters try again.
    fn run(
        &self,
        deadline: Deadline,
        lookup: impl FnOnce() -> Option<Result<Cached<T>, Error>>,
        fetch: impl FnOnce() -> Result<Cached<T>, Error>,
    ) -> Result<Cached<T>, Error> {
        let accepts = |outcome: &Result<Cached<T>, Error>| !matches!(outcome, Err(error) if error.is_reentrant());
        let outcome = self.flight.run(Which::Current, deadline.into(), accepts, lookup, fetch);
        outcome.unwrap_or_else(|reason| Err(reason.error(self.endpoint)))
    }

    fn fetch_and_store(&self, source: &impl Fetch<T>, deadline: Deadline) -> Result<Cached<T>, Error> {
        let fetched = source.fetch(deadline);
        let (now, draw) = (source.monotonic(), jitter());
        // The error may hold a user's type, whose drop is user code, so what is replaced outlives the lock.
        let (outcome, replaced) = match fetched {
            Ok(fetched) => {
                let (cached, replaced) = self.state.lock().store(fetched, now);
                (Ok(cached), replaced)
            }
            // A re-entrant call's error is not cached.
            Err(error) if error.is_reentrant() => (Err(error), None),
            Err(error) => {
                let replaced = self.state.lock().fail(error.clone(), now, draw);
                (Err(error), replaced)
            }
        };
        drop(replaced);
        outcome
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
    max_stale: Duration,
}

struct Entry<T> {
    value: T,
    generation: u64,
    since: Duration,
    /// How old the value was when it came here: a fetched one is new, one from a snapshot is not.
    age_then: Duration,
    ttl: Duration,
    due_at_age: Duration,
    serves_for: Duration,
    fetched: bool,
}

impl<T: Clone> State<T> {
    fn new(max_stale: Duration) -> Self {
        Self { entry: None, generation: 0, backoff: Backoff::default(), last_error: None, max_stale }
    }

    fn plan(&self, scope: BackoffScope, now: Duration) -> Plan<T> {
        let Some(cached) = self.present(now) else {
            return self.failure(scope, now).map_or(Plan::Fetch, Plan::Fail);
        };
        let due = self.entry.as_ref().is_some_and(|entry| entry.age(now) >= entry.due_at_age);
        if due && self.backoff.wait(now).is_none() { Plan::RefreshAhead(cached) } else { Plan::Serve(cached) }
    }

    /// The value, while it may serve at all.
    fn present(&self, now: Duration) -> Option<Cached<T>> {
        let entry = self.entry.as_ref()?;
        let age = entry.age(now);
        let serves = age < entry.serves_for;
        serves.then(|| Cached { value: entry.value.clone(), generation: entry.generation, stale: age >= entry.ttl })
    }

    /// The last error, while it is too early to ask again.
    fn failure(&self, scope: BackoffScope, now: Duration) -> Option<Error> {
        let wait = self.backoff.wait_within(scope, now)?;
        self.last_error.clone().map(|error| error.with_retry_after(wait))
    }

    /// Gives back the error that it replaced, to be dropped without the lock.
    fn store(&mut self, fetched: Fetched<T>, now: Duration) -> (Cached<T>, Option<Error>) {
        self.backoff.succeeded();
        let replaced = self.last_error.take();
        self.generation = self.generation.wrapping_add(1);
        let Fetched { value, ttl } = fetched;
        let serves_for = ttl.saturating_add(self.max_stale);
        let (generation, since, age_then, fetched) = (self.generation, now, Duration::ZERO, true);
        let due_at_age = ttl.mul_f64(REFRESH_AHEAD);
        let cached = Cached { value: value.clone(), generation, stale: false };
        self.entry = Some(Entry { value, generation, since, age_then, ttl, due_at_age, serves_for, fetched });
        (cached, replaced)
    }

    /// Takes a value that was not fetched now, unless a fetched one is cached already.
    fn init(&mut self, seed: Initial<T>, now: Duration) {
        if self.entry.as_ref().is_some_and(|entry| entry.fetched) {
            return;
        }
        self.generation = self.generation.wrapping_add(1);
        let Initial { value, age, ttl, serves_for } = seed;
        let serves_for = serves_for.unwrap_or_else(|| ttl.saturating_add(self.max_stale));
        let (generation, since, age_then, fetched) = (self.generation, now, age, false);
        let due_at_age = ttl.mul_f64(REFRESH_AHEAD);
        self.entry = Some(Entry { value, generation, since, age_then, ttl, due_at_age, serves_for, fetched });
    }

    /// Notes a failure; the value cached, if any, stays. Gives back as [`store`](Self::store) does.
    fn fail(&mut self, error: Error, now: Duration, draw: f64) -> Option<Error> {
        self.backoff.failed(now, error.retry_after(), draw);
        self.last_error.replace(error)
    }
}

impl<T> Entry<T> {
    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.since).saturating_add(self.age_then)
    }
}

/// The share of the time to live after which one caller refreshes: early enough that an answer comes before the end of it, late
/// enough that a steady service asks no more than needed.
const REFRESH_AHEAD: f64 = 0.8;

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

    fn held_since(now: Duration) -> State<u32> {
        let mut state = State::new(MAX_STALE);
        state.store(Fetched { value: 7, ttl: TTL }, now);
        state
    }

    fn timeout() -> Error {
        Error::network(NetworkErrorKind::Timeout, Endpoint::Keys)
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
        let start = Duration::from_secs(5);
        let state = held_since(start);
        for (age, expected) in [
            (Duration::ZERO, "serve"),
            (Duration::from_secs(480) - MS, "serve"),
            (Duration::from_secs(480), "refresh"),
            (TTL - MS, "refresh"),
            (TTL, "refresh stale"),
            (TTL + MAX_STALE - MS, "refresh stale"),
            (TTL + MAX_STALE, "fetch"),
        ] {
            assert_eq!(name(&state.plan(BackoffScope::All, start + age)), expected, "{age:?}");
        }
    }

    #[test]
    fn within_the_back_off_held_keys_serve_and_others_get_the_last_error() {
        let mut state = held_since(Duration::ZERO);
        state.fail(timeout(), TTL, 0.0);
        assert_eq!(name(&state.plan(BackoffScope::All, TTL)), "serve stale");
        assert_eq!(name(&state.plan(BackoffScope::All, TTL + Duration::from_secs(1))), "refresh stale");

        let mut empty = State::<u32>::new(MAX_STALE);
        empty.fail(timeout(), Duration::ZERO, 0.0);
        let Plan::Fail(error) = empty.plan(BackoffScope::All, Duration::from_millis(400)) else {
            panic!("not a failure")
        };
        assert_eq!(error.retry_after(), Some(Duration::from_millis(600)));
        assert_eq!(name(&empty.plan(BackoffScope::All, Duration::from_secs(1))), "fetch");
    }

    #[test]
    fn a_failure_never_clears_what_is_held() {
        let mut state = held_since(Duration::ZERO);
        for _ in 0..10 {
            state.fail(timeout(), TTL, 0.5);
        }
        assert_eq!(state.present(TTL + MAX_STALE - MS).unwrap().value, 7);
        assert!(state.present(TTL + MAX_STALE).is_none());
    }

    #[test]
    fn a_success_ends_the_back_off_and_starts_a_new_generation() {
        let mut state = held_since(Duration::ZERO);
        let first = state.present(Duration::ZERO).unwrap().generation;
        state.fail(timeout(), TTL, 0.5);
        let second = state.store(Fetched { value: 8, ttl: TTL }, TTL).0.generation;
        assert_ne!(first, second);
        assert_eq!(name(&state.plan(BackoffScope::All, TTL)), "serve");
    }

    #[test]
    fn a_seed_counts_the_age_that_it_came_with_and_replaces_nothing_that_was_fetched() {
        let mut state = State::new(MAX_STALE);
        let start = Duration::from_secs(5);
        state.init(Initial { value: 1, age: TTL - MS, ttl: TTL, serves_for: None }, start);
        assert_eq!(name(&state.plan(BackoffScope::All, start)), "refresh");
        assert_eq!(name(&state.plan(BackoffScope::All, start + MS)), "refresh stale");
        assert_eq!(name(&state.plan(BackoffScope::All, start + MS + MAX_STALE)), "fetch");
        state.init(Initial { value: 2, age: Duration::ZERO, ttl: TTL, serves_for: None }, start);
        assert_eq!(state.present(start).unwrap().value, 2);
        state.store(Fetched { value: 3, ttl: TTL }, start);
        state.init(Initial { value: 4, age: Duration::ZERO, ttl: TTL, serves_for: None }, start);
        assert_eq!(state.present(start).unwrap().value, 3);
    }

    #[test]
    fn a_time_to_live_without_end_overflows_nothing() {
        let mut state = State::new(Duration::MAX);
        state.store(Fetched { value: 7, ttl: Duration::MAX }, Duration::ZERO);
        assert_eq!(name(&state.plan(BackoffScope::All, Duration::from_secs(1_000_000_000))), "serve");
    }

    /// Looks from within each call of user code, and from the drop of a user's error, whether the cache is locked.
    struct Spy<'a> {
        cache: &'a Arc<RefreshAheadCache<u32>>,
        now: Duration,
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
        fn monotonic(&self) -> Duration {
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
        fn monotonic(&self) -> Duration {
            Duration::ZERO
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
                let inside = scope.spawn(|| cache.get(&source, far).map(|cached| cached.value));
                while source.fetches.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
                let waiter = if refetching {
                    cache.refetch(&source, 0, far(), |_| Ok(())).map(|(cached, _)| cached.value)
                } else {
                    cache.get(&source, far).map(|cached| cached.value)
                };
                assert_eq!(waiter.unwrap(), 7);
                assert!(inside.join().unwrap().unwrap_err().is_reentrant());
            });
        }
    }

    fn spied() -> Arc<RefreshAheadCache<u32>> {
        Arc::new(RefreshAheadCache::new(Endpoint::Keys, MAX_STALE))
    }

    fn spy(cache: &Arc<RefreshAheadCache<u32>>, now: Duration, answers: bool) -> Spy<'_> {
        Spy { cache, now, answers, given: Cell::new(None) }
    }

    #[test]
    fn no_clock_and_no_drop_of_a_users_error_runs_under_the_lock() {
        let (cache, hour) = (spied(), Duration::from_secs(3600));
        let budget = || Deadline::after(Duration::from_secs(10));
        drop(cache.get(&spy(&cache, Duration::ZERO, false), budget));
        drop(cache.refresh_if_due(&spy(&cache, hour, false), budget()));
        cache.get(&spy(&cache, 2 * hour, true), budget).unwrap();
        cache.refresh_if_due(&spy(&cache, 3 * hour, true), budget()).unwrap();
    }

    #[test]
    fn a_refresh_ahead_ends_with_the_budget_of_the_call_that_draws_it() {
        let cache = spied();
        cache.get(&spy(&cache, Duration::ZERO, true), || Deadline::after(Duration::from_secs(10))).unwrap();
        let due = spy(&cache, TTL, true);
        let budget = Deadline::after(Duration::from_secs(1));
        cache.get(&due, || budget).unwrap();
        assert_eq!(due.given.get().unwrap().instant(), budget.instant());
    }

    #[test]
    fn what_a_thread_has_done_to_itself_keeps_nobody_from_asking() {
        struct Inward;

        impl Fetch<u32> for Inward {
            fn monotonic(&self) -> Duration {
                Duration::ZERO
            }

            fn refresh_deadline(&self) -> Deadline {
                Deadline::after(Duration::from_secs(3))
            }

            fn fetch(&self, _: Deadline) -> Result<Fetched<u32>, Error> {
                Err(Error::network(NetworkErrorKind::Reentrant, Endpoint::Keys))
            }
        }

        let (cache, budget) = (spied(), || Deadline::after(Duration::from_secs(10)));
        assert!(cache.get(&Inward, budget).is_err());
        assert_eq!(cache.get(&spy(&cache, Duration::ZERO, true), budget).unwrap().value, 7);
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
        fn monotonic(&self) -> Duration {
            self.looks.set(self.looks.get() + 1);
            if self.looks.get() == 2 {
                (self.at_second_look)();
            }
            TTL
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
        cache.init(init(value), Duration::ZERO);
        cache
    }

    fn init(value: u32) -> Initial<u32> {
        Initial { value, age: Duration::ZERO, ttl: TTL, serves_for: None }
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
        let cached = due.get(&after_takeoff(&|| due.init(init(2), TTL)), budget).unwrap();
        assert_eq!((cached.value, cached.generation), (2, 2));

        let empty = RefreshAheadCache::new(Endpoint::Keys, MAX_STALE);
        assert_eq!(empty.get(&after_takeoff(&|| empty.init(init(2), TTL)), budget).unwrap().value, 2);

        let (old, admit) = (seeded(1), |_| panic!("asked for leave"));
        let (cached, asked) = old.refetch(&after_takeoff(&|| old.init(init(2), TTL)), 1, budget(), admit).unwrap();
        assert_eq!((cached.value, asked), (2, false));
        let (cached, asked) = old.refetch(&after_takeoff(&|| ()), 1, budget(), admit).unwrap();
        assert_eq!((cached.value, asked), (2, false), "known before any take-off");
    }

    #[test]
    fn a_failure_that_came_between_plan_and_takeoff_is_told_without_another_request() {
        let empty = RefreshAheadCache::new(Endpoint::Keys, MAX_STALE);
        let fails = || drop(empty.state.lock().fail(timeout(), TTL, 0.0));
        assert_eq!(kind(empty.get(&after_takeoff(&fails), budget)), NetworkErrorKind::Timeout);
        assert_eq!(kind(empty.refresh_if_due(&after_takeoff(&|| ()), budget())), NetworkErrorKind::Timeout);
    }

    #[test]
    fn nobody_waits_for_a_refresh_ahead_of_another() {
        let due = seeded(1);
        let another = || {
            let source = while_fetching(&|| panic!("a second request"));
            due.refresh_if_due(&source, budget()).unwrap();
            assert_eq!(due.get(&source, budget).unwrap().value, 1);
        };
        assert_eq!(due.get(&while_fetching(&another), budget).unwrap().value, 9);
        assert_eq!(due.newer_than(1, TTL).unwrap().value, 9);
    }

    #[test]
    fn who_joins_a_request_that_fails_gets_its_very_error() {
        let empty = RefreshAheadCache::new(Endpoint::Keys, MAX_STALE);
        let join = || {
            let outcome = empty.get(&while_fetching(&|| panic!("a second request")), budget);
            outcome.err().map(|error| error.retry_after())
        };
        let retry_after = std::thread::scope(|scope| {
            let joined = Cell::new(None);
            let joins = || {
                joined.set(Some(scope.spawn(join)));
                while empty.flight.waiting() == 0 {
                    std::thread::yield_now();
                }
            };
            let fails = Meanwhile { error: Some(timeout()), ..while_fetching(&joins) };
            assert_eq!(kind(empty.get(&fails, budget)), NetworkErrorKind::Timeout);
            joined.take().unwrap().join().unwrap()
        });
        assert_eq!(retry_after, Some(None), "no wait, which only the cache's own answer has");
    }

    #[test]
    fn who_waits_for_a_fetch_waits_no_longer_than_its_own_budget() {
        let empty = RefreshAheadCache::new(Endpoint::Keys, MAX_STALE);
        let join = || {
            let source = while_fetching(&|| panic!("a second request"));
            kind(empty.get(&source, || Deadline::after(Duration::ZERO)))
        };
        let another = || {
            let waited = std::thread::scope(|scope| scope.spawn(join).join());
            assert_eq!(waited.unwrap(), NetworkErrorKind::Timeout);
        };
        assert_eq!(empty.get(&while_fetching(&another), budget).unwrap().value, 9);
    }

    #[test]
    fn who_joins_a_refetch_gets_its_value_and_has_asked_nothing() {
        let old = seeded(1);
        let refetch = |during: &dyn Fn()| {
            let (cached, asked) = old.refetch(&while_fetching(during), 1, budget(), |_| Ok(())).unwrap();
            (cached.value, asked)
        };
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
            kind(old.refetch(&source, 1, deadline, |_| Ok(())))
        };
        let others = || {
            assert_eq!(join(budget()), NetworkErrorKind::Reentrant);
            let waited = std::thread::scope(|scope| scope.spawn(|| join(Deadline::after(Duration::ZERO))).join());
            assert_eq!(waited.unwrap(), NetworkErrorKind::Timeout);
        };
        let (cached, asked) = old.refetch(&while_fetching(&others), 1, budget(), |_| Ok(())).unwrap();
        assert_eq!((cached.value, asked), (9, true));
    }
}
