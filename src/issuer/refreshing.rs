//! One value that is fetched, kept and refreshed: the discovery document, the key set.
//!
//! A pure plan decides; the shell locks, plans, unlocks, fetches, locks, stores. No I/O and no user code runs under the lock, so a
//! caller whose value is held never waits for another, whatever is going on.

use std::time::Duration;

use parking_lot::Mutex;

use crate::backoff::{Backoff, Heed};
use crate::clock::Deadline;
use crate::error::{Endpoint, Error, NetworkErrorKind};
use crate::flight::{Boarding, Flight, Join, Takeoff};
use crate::random;

/// Where the value comes from, and what time it is. Called with no lock held.
pub(crate) trait Source<T> {
    fn monotonic(&self) -> Duration;

    /// The end of what the one caller that draws a refresh-ahead pays at most.
    fn refresh_deadline(&self) -> Deadline;

    fn fetch(&self, deadline: Deadline) -> Result<Fetched<T>, Error>;
}

/// A value fresh from the issuer.
pub(crate) struct Fetched<T> {
    pub(crate) value: T,
    pub(crate) ttl: Duration,
}

/// A value from elsewhere: a snapshot, or the program itself.
pub(crate) struct Seed<T> {
    pub(crate) value: T,
    pub(crate) age: Duration,
    pub(crate) ttl: Duration,
    /// `None`: as long as a fetched one.
    pub(crate) serves_for: Option<Duration>,
}

/// A value as the cache holds it.
#[derive(Clone)]
pub(crate) struct Held<T> {
    pub(crate) value: T,
    /// Counts the values held so far, so that a caller can tell whether another one has come since.
    pub(crate) generation: u64,
    /// Past its time to live, since the issuer cannot be reached.
    pub(crate) stale: bool,
}

pub(crate) struct Refreshing<T> {
    state: Mutex<State<T>>,
    flight: Flight<Result<Held<T>, Error>>,
    endpoint: Endpoint,
}

impl<T: Clone> Refreshing<T> {
    /// Empty; a value serves for `max_stale` past its time to live.
    pub(crate) fn new(endpoint: Endpoint, max_stale: Duration) -> Self {
        let crashed = Err(Error::network(NetworkErrorKind::Io, endpoint));
        Self { state: Mutex::new(State::new(max_stale)), flight: Flight::new(crashed), endpoint }
    }

    /// The value: from the cache where it may serve, else from the one fetch that all such callers share.
    pub(crate) fn get(&self, source: &impl Source<T>, deadline: impl FnOnce() -> Deadline) -> Result<Held<T>, Error> {
        self.get_heeding(Heed::All, source, deadline)
    }

    /// As [`get`](Self::get), for a caller who may insist.
    pub(crate) fn get_heeding(
        &self,
        heed: Heed,
        source: &impl Source<T>,
        deadline: impl FnOnce() -> Deadline,
    ) -> Result<Held<T>, Error> {
        let now = source.monotonic();
        let plan = self.state.lock().plan(heed, now);
        match plan {
            Plan::Serve(held) => Ok(held),
            Plan::RefreshAhead(held) => Ok(self.refresh_ahead(source, held, deadline())),
            Plan::Fetch => self.fetch(heed, source, deadline()),
            Plan::Fail(error) => Err(error),
        }
    }

    /// Takes a value that was not fetched now, unless a fetched one is held already.
    pub(crate) fn seed(&self, seed: Seed<T>, now: Duration) {
        self.state.lock().seed(seed, now);
    }

    /// The value held, how old it is, and its time to live; for a snapshot.
    pub(crate) fn with_age(&self, now: Duration) -> Option<(T, Duration, Duration)> {
        let state = self.state.lock();
        let entry = state.entry.as_ref()?;
        Some((entry.value.clone(), entry.age(now), entry.ttl))
    }

    /// Another value than the one of generation `seen`, requested anew; joins a fetch that is under way. `admit` may refuse the
    /// request (it is asked only by the caller who would make it). The flag says whether this caller made the request itself.
    pub(crate) fn refetch(
        &self,
        source: &impl Source<T>,
        seen: u64,
        deadline: Deadline,
        admit: impl FnOnce(Duration) -> Result<(), Error>,
    ) -> Result<(Held<T>, bool), Error> {
        if let Some(newer) = self.newer_than(seen, source.monotonic()) {
            return Ok((newer, false));
        }
        match self.board(deadline) {
            Boarding::Landed(outcome) => Ok((outcome?, false)),
            Boarding::Leader(takeoff) => {
                let now = source.monotonic();
                if let Some(newer) = self.newer_than(seen, now) {
                    return takeoff.land(Ok(newer)).map(|held| (held, false));
                }
                let refused = self.state.lock().failure(Heed::All, now).map_or_else(|| admit(now).err(), Some);
                match refused {
                    Some(error) => takeoff.land(Err(error)).map(|held| (held, false)),
                    None => self.fly(takeoff, source, deadline).map(|held| (held, true)),
                }
            }
            Boarding::TimedOut => Err(Error::network(NetworkErrorKind::Timeout, self.endpoint)),
            Boarding::Reentrant => Err(Error::network(NetworkErrorKind::Reentrant, self.endpoint)),
        }
    }

    /// Refreshes if the value is due, and says how that went; for a caller with time to spare.
    pub(crate) fn refresh_if_due(&self, source: &impl Source<T>, deadline: Deadline) -> Result<(), Error> {
        let now = source.monotonic();
        let plan = self.state.lock().plan(Heed::All, now);
        match plan {
            Plan::Serve(_) => Ok(()),
            Plan::Fail(error) => Err(error),
            Plan::Fetch => self.fetch(Heed::All, source, deadline).map(drop),
            Plan::RefreshAhead(_) => match self.flight.try_lead() {
                Some(takeoff) => self.fly(takeoff, source, deadline).map(drop),
                None => Ok(()),
            },
        }
    }

    /// The present value, if another one than that of generation `seen` is held.
    pub(crate) fn newer_than(&self, seen: u64, now: Duration) -> Option<Held<T>> {
        self.state.lock().present(now).filter(|held| held.generation != seen)
    }

    /// One caller refreshes and pays at most the refresh time-out, or what is left of its own budget; all others are served at once,
    /// and so is this one if it fails.
    fn refresh_ahead(&self, source: &impl Source<T>, held: Held<T>, deadline: Deadline) -> Held<T> {
        let Some(takeoff) = self.flight.try_lead() else { return held };
        // Another caller may have refreshed between the plan and the take-off.
        if let Some(newer) = self.newer_than(held.generation, source.monotonic()) {
            return takeoff.land(Ok(newer)).unwrap_or(held);
        }
        self.fly(takeoff, source, source.refresh_deadline().or_earlier(deadline)).unwrap_or(held)
    }

    fn fetch(&self, heed: Heed, source: &impl Source<T>, deadline: Deadline) -> Result<Held<T>, Error> {
        match self.board(deadline) {
            Boarding::Landed(outcome) => outcome,
            Boarding::Leader(takeoff) => {
                // A flight may have landed between the plan and the take-off.
                let now = source.monotonic();
                let plan = self.state.lock().plan(heed, now);
                match plan {
                    Plan::Serve(held) => takeoff.land(Ok(held)),
                    Plan::Fail(error) => takeoff.land(Err(error)),
                    Plan::Fetch | Plan::RefreshAhead(_) => self.fly(takeoff, source, deadline),
                }
            }
            Boarding::TimedOut => Err(Error::network(NetworkErrorKind::Timeout, self.endpoint)),
            Boarding::Reentrant => Err(Error::network(NetworkErrorKind::Reentrant, self.endpoint)),
        }
    }

    /// Joins the flight in the air or leads one; one that told its leader of its own re-entry told nobody else anything.
    fn board(&self, deadline: Deadline) -> Boarding<'_, Result<Held<T>, Error>> {
        loop {
            match self.flight.board(Join::Current, deadline) {
                Boarding::Landed(Err(error)) if error.is_reentrant() => {}
                boarding => return boarding,
            }
        }
    }

    /// Makes the request, stores what came of it, and only then lands.
    fn fly(
        &self,
        takeoff: Takeoff<'_, Result<Held<T>, Error>>,
        source: &impl Source<T>,
        deadline: Deadline,
    ) -> Result<Held<T>, Error> {
        let fetched = source.fetch(deadline);
        let (now, draw) = (source.monotonic(), random::draw());
        // The error may hold a user's type, whose drop is a user's code, so what is replaced outlives the lock.
        let (outcome, replaced) = match fetched {
            Ok(fetched) => {
                let (held, replaced) = self.state.lock().store(fetched, now);
                (Ok(held), replaced)
            }
            Err(error) if error.is_reentrant() => (Err(error), None),
            Err(error) => {
                let replaced = self.state.lock().fail(error.clone(), now, draw);
                (Err(error), replaced)
            }
        };
        drop(replaced);
        takeoff.land(outcome)
    }
}

/// What a caller does now.
enum Plan<T> {
    /// From the cache.
    Serve(Held<T>),
    /// From the cache, and due: one caller refreshes.
    RefreshAhead(Held<T>),
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

    fn plan(&self, heed: Heed, now: Duration) -> Plan<T> {
        let Some(held) = self.present(now) else {
            return self.failure(heed, now).map_or(Plan::Fetch, Plan::Fail);
        };
        let due = self.entry.as_ref().is_some_and(|entry| entry.age(now) >= entry.due_at_age);
        if due && self.backoff.wait(now).is_none() { Plan::RefreshAhead(held) } else { Plan::Serve(held) }
    }

    /// The value, while it may serve at all.
    fn present(&self, now: Duration) -> Option<Held<T>> {
        let entry = self.entry.as_ref()?;
        let age = entry.age(now);
        let serves = age < entry.serves_for;
        serves.then(|| Held { value: entry.value.clone(), generation: entry.generation, stale: age >= entry.ttl })
    }

    /// The last error, while it is too early to ask again.
    fn failure(&self, heed: Heed, now: Duration) -> Option<Error> {
        let wait = self.backoff.wait_of(heed, now)?;
        self.last_error.clone().map(|error| error.with_retry_after(wait))
    }

    /// Gives back the error that it replaced, to be dropped without the lock.
    fn store(&mut self, fetched: Fetched<T>, now: Duration) -> (Held<T>, Option<Error>) {
        self.backoff.succeeded();
        let replaced = self.last_error.take();
        self.generation = self.generation.wrapping_add(1);
        let Fetched { value, ttl } = fetched;
        let serves_for = ttl.saturating_add(self.max_stale);
        let (generation, since, age_then, fetched) = (self.generation, now, Duration::ZERO, true);
        let due_at_age = ttl.mul_f64(REFRESH_AHEAD);
        let held = Held { value: value.clone(), generation, stale: false };
        self.entry = Some(Entry { value, generation, since, age_then, ttl, due_at_age, serves_for, fetched });
        (held, replaced)
    }

    /// Takes a value that was not fetched now, unless a fetched one is held already.
    fn seed(&mut self, seed: Seed<T>, now: Duration) {
        if self.entry.as_ref().is_some_and(|entry| entry.fetched) {
            return;
        }
        self.generation = self.generation.wrapping_add(1);
        let Seed { value, age, ttl, serves_for } = seed;
        let serves_for = serves_for.unwrap_or_else(|| ttl.saturating_add(self.max_stale));
        let (generation, since, age_then, fetched) = (self.generation, now, age, false);
        let due_at_age = ttl.mul_f64(REFRESH_AHEAD);
        self.entry = Some(Entry { value, generation, since, age_then, ttl, due_at_age, serves_for, fetched });
    }

    /// Notes a failure; the value held, if any, stays. Gives back as [`store`](Self::store) does.
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
            Plan::Serve(held) if held.stale => "serve stale",
            Plan::Serve(_) => "serve",
            Plan::RefreshAhead(held) if held.stale => "refresh stale",
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
            assert_eq!(name(&state.plan(Heed::All, start + age)), expected, "{age:?}");
        }
    }

    #[test]
    fn within_the_back_off_held_keys_serve_and_others_get_the_last_error() {
        let mut state = held_since(Duration::ZERO);
        state.fail(timeout(), TTL, 0.0);
        assert_eq!(name(&state.plan(Heed::All, TTL)), "serve stale");
        assert_eq!(name(&state.plan(Heed::All, TTL + Duration::from_secs(1))), "refresh stale");

        let mut empty = State::<u32>::new(MAX_STALE);
        empty.fail(timeout(), Duration::ZERO, 0.0);
        let Plan::Fail(error) = empty.plan(Heed::All, Duration::from_millis(400)) else { panic!("not a failure") };
        assert_eq!(error.retry_after(), Some(Duration::from_millis(600)));
        assert_eq!(name(&empty.plan(Heed::All, Duration::from_secs(1))), "fetch");
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
        assert_eq!(name(&state.plan(Heed::All, TTL)), "serve");
    }

    #[test]
    fn a_seed_counts_the_age_that_it_came_with_and_replaces_nothing_that_was_fetched() {
        let mut state = State::new(MAX_STALE);
        let start = Duration::from_secs(5);
        state.seed(Seed { value: 1, age: TTL - MS, ttl: TTL, serves_for: None }, start);
        assert_eq!(name(&state.plan(Heed::All, start)), "refresh");
        assert_eq!(name(&state.plan(Heed::All, start + MS)), "refresh stale");
        assert_eq!(name(&state.plan(Heed::All, start + MS + MAX_STALE)), "fetch");
        state.seed(Seed { value: 2, age: Duration::ZERO, ttl: TTL, serves_for: None }, start);
        assert_eq!(state.present(start).unwrap().value, 2);
        state.store(Fetched { value: 3, ttl: TTL }, start);
        state.seed(Seed { value: 4, age: Duration::ZERO, ttl: TTL, serves_for: None }, start);
        assert_eq!(state.present(start).unwrap().value, 3);
    }

    #[test]
    fn a_time_to_live_without_end_overflows_nothing() {
        let mut state = State::new(Duration::MAX);
        state.store(Fetched { value: 7, ttl: Duration::MAX }, Duration::ZERO);
        assert_eq!(name(&state.plan(Heed::All, Duration::from_secs(1_000_000_000))), "serve");
    }

    /// Looks from within each call of user code, and from the drop of a user's error, whether the cache is locked.
    struct Spy<'a> {
        cache: &'a Arc<Refreshing<u32>>,
        now: Duration,
        answers: bool,
        given: Cell<Option<Deadline>>,
    }

    #[derive(Debug)]
    struct UserError(Weak<Refreshing<u32>>);

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

    impl fmt::Debug for Refreshing<u32> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Refreshing")
        }
    }

    impl Source<u32> for Spy<'_> {
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
        cache: &'a Refreshing<u32>,
        fetches: AtomicUsize,
    }

    impl Source<u32> for Reentering<'_> {
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
            let cache = Refreshing::new(Endpoint::Keys, MAX_STALE);
            let source = Reentering { cache: &cache, fetches: AtomicUsize::new(0) };
            std::thread::scope(|scope| {
                let inside = scope.spawn(|| cache.get(&source, far).map(|held| held.value));
                while source.fetches.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
                let waiter = if refetching {
                    cache.refetch(&source, 0, far(), |_| Ok(())).map(|(held, _)| held.value)
                } else {
                    cache.get(&source, far).map(|held| held.value)
                };
                assert_eq!(waiter.unwrap(), 7);
                assert!(inside.join().unwrap().unwrap_err().is_reentrant());
            });
        }
    }

    fn spied() -> Arc<Refreshing<u32>> {
        Arc::new(Refreshing::new(Endpoint::Keys, MAX_STALE))
    }

    fn spy(cache: &Arc<Refreshing<u32>>, now: Duration, answers: bool) -> Spy<'_> {
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

        impl Source<u32> for Inward {
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

    impl Source<u32> for Meanwhile<'_> {
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
    fn seeded(value: u32) -> Refreshing<u32> {
        let cache = Refreshing::new(Endpoint::Keys, MAX_STALE);
        cache.seed(seed(value), Duration::ZERO);
        cache
    }

    fn seed(value: u32) -> Seed<u32> {
        Seed { value, age: Duration::ZERO, ttl: TTL, serves_for: None }
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
        let held = due.get(&after_takeoff(&|| due.seed(seed(2), TTL)), budget).unwrap();
        assert_eq!((held.value, held.generation), (2, 2));

        let empty = Refreshing::new(Endpoint::Keys, MAX_STALE);
        assert_eq!(empty.get(&after_takeoff(&|| empty.seed(seed(2), TTL)), budget).unwrap().value, 2);

        let (old, admit) = (seeded(1), |_| panic!("asked for leave"));
        let (held, asked) = old.refetch(&after_takeoff(&|| old.seed(seed(2), TTL)), 1, budget(), admit).unwrap();
        assert_eq!((held.value, asked), (2, false));
        let (held, asked) = old.refetch(&after_takeoff(&|| ()), 1, budget(), admit).unwrap();
        assert_eq!((held.value, asked), (2, false), "known before any take-off");
    }

    #[test]
    fn a_failure_that_came_between_plan_and_takeoff_is_told_without_another_request() {
        let empty = Refreshing::new(Endpoint::Keys, MAX_STALE);
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
        let empty = Refreshing::new(Endpoint::Keys, MAX_STALE);
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
        let empty = Refreshing::new(Endpoint::Keys, MAX_STALE);
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
            let (held, asked) = old.refetch(&while_fetching(during), 1, budget(), |_| Ok(())).unwrap();
            (held.value, asked)
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
        let (held, asked) = old.refetch(&while_fetching(&others), 1, budget(), |_| Ok(())).unwrap();
        assert_eq!((held.value, asked), (9, true));
    }
}
