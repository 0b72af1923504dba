//! Single flight: of many callers that want the same value at the same time one fetches it, and all get its outcome.
//!
//! [`SingleFlight::run`] is the whole protocol: join, look up again, fetch, publish, finish. Its invariants, each held by the model check
//! in `tests/model`, which runs this very file under thousands of schedules:
//! 1. At most one flight is in progress. `in_flight` is set when a caller becomes the leader and cleared when it finishes, both under the
//!    lock, and only the leader's guard clears it.
//! 2. Every flight finishes exactly once: the guard's `Drop` finishes it as abandoned if its leader did not, so an error, an early return
//!    and a panic all wake the waiters.
//! 3. Flights are numbered and finish in the order of their numbers, so the count of finished flights says which are over. A waiter loops
//!    on that count until its own flight is over, whatever woke it and whichever flight has started since.
//! 4. A flight carries its outcome to its own waiters: it is set before the flight is counted as finished, a later flight cannot replace
//!    it, and it is dropped with its last reader, so no token outlives its use here.
//! 5. The lock covers these changes of state only: no fetch, no clone or drop of an outcome happens under it.
//! 6. A flight belongs to the process that started it: after a fork the child takes over what its parent had in flight.

use std::sync::{Arc, OnceLock};
#[cfg(not(aero2_shuttle))]
use std::thread::{self, ThreadId};

use parking_lot::{Condvar, Mutex};
#[cfg(aero2_shuttle)]
use shuttle::thread::{self, ThreadId};

use crate::time::Deadline;

/// Runs one flight at a time. `T` is the outcome, errors included.
#[derive(Debug)]
pub(crate) struct SingleFlight<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    abandoned: T,
}

#[derive(Debug)]
struct State<T> {
    finished: u64,
    in_flight: Option<InFlight<T>>,
    /// The outcome of the next flight: callers that must not join the present one wait for it already.
    next: Outcome<T>,
}

#[derive(Debug)]
struct InFlight<T> {
    leader: ThreadId,
    process: u32,
    outcome: Outcome<T>,
}

type Outcome<T> = Arc<OnceLock<T>>;

/// Which flight a caller may join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one in progress, or else a new one.
    Current,
    /// Only one that starts after the call.
    Next,
}

/// How long, and beside how many others, a caller waits for another's flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) deadline: Deadline,
    /// With so many waiters already, the caller does not wait at all.
    pub(crate) max_waiters: usize,
}

impl From<Deadline> for Wait {
    fn from(deadline: Deadline) -> Self {
        Self { deadline, max_waiters: usize::MAX }
    }
}

/// What joining came to.
#[derive(Debug)]
pub(crate) enum Join<'a, T: Clone> {
    /// The caller leads: it fetches, publishes, and finishes the flight.
    Leader(Leader<'a, T>),
    /// Another's flight finished with this outcome.
    Finished(T),
    /// There was no flight to lead and no outcome to wait for.
    Refused(NoOutcome),
}

/// Why a caller has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoOutcome {
    /// Its deadline passed first.
    TimedOut,
    /// This thread leads the flight, so it would wait for itself.
    Reentrant,
    /// [`Wait::max_waiters`] wait already.
    Full,
}

impl<T: Clone> SingleFlight<T> {
    /// `abandoned` is the waiters' outcome if a leader panics.
    pub(crate) fn new(abandoned: T) -> Self {
        let state = State { finished: 0, in_flight: None, next: Outcome::default() };
        Self { state: Mutex::new(state), changed: Condvar::new(), abandoned }
    }

    /// Leads a flight, or waits for one whose outcome `accepts` takes.
    ///
    /// The leader calls `lookup` first, since another flight may have published between the caller's own look-up and now; only if that
    /// finds nothing it calls `fetch`, which publishes before it returns, since callers that come after the flight look there.
    pub(crate) fn run(
        &self,
        which: Which,
        wait: Wait,
        accepts: impl Fn(&T) -> bool,
        lookup: impl FnOnce() -> Option<T>,
        fetch: impl FnOnce() -> T,
    ) -> Result<T, NoOutcome> {
        let mut which = which;
        loop {
            match self.join(which, wait) {
                Join::Leader(leader) => return Ok(leader.lead(lookup, fetch)),
                Join::Finished(outcome) if accepts(&outcome) => return Ok(outcome),
                // Every flight from now on starts after the call.
                Join::Finished(_) => which = Which::Current,
                Join::Refused(reason) => return Err(reason),
            }
        }
    }

    /// As [`run`](Self::run) for a caller that waits for nobody: `None` if a flight is in progress.
    pub(crate) fn run_if_idle(&self, lookup: impl FnOnce() -> Option<T>, fetch: impl FnOnce() -> T) -> Option<T> {
        Some(self.try_lead()?.lead(lookup, fetch))
    }

    /// Joins a flight or leads one. Blocks while another's is in progress, at most until the deadline.
    pub(crate) fn join(&self, which: Which, wait: Wait) -> Join<'_, T> {
        let me = thread::current().id();
        let mut state = self.state.lock();
        self.take_over(&mut state);
        let (number, outcome) = state.ticket(which);
        // The flight holds one reference, this caller another.
        let full = Arc::strong_count(&outcome).saturating_sub(2) >= wait.max_waiters;
        let mut in_time = true;
        while state.finished < number {
            match &state.in_flight {
                None => return Join::Leader(self.start(&mut state, me)),
                Some(flight) if flight.leader == me => return Join::Refused(NoOutcome::Reentrant),
                Some(_) if full => return Join::Refused(NoOutcome::Full),
                Some(_) if !in_time => return Join::Refused(NoOutcome::TimedOut),
                Some(_) => {}
            }
            match wait.deadline.instant() {
                Some(at) => in_time = !self.changed.wait_until(&mut state, at).timed_out(),
                None => self.changed.wait(&mut state),
            }
        }
        drop(state);
        Join::Finished(outcome.get().unwrap_or(&self.abandoned).clone())
    }

    /// Whether no flight is in progress.
    pub(crate) fn is_idle(&self) -> bool {
        let mut state = self.state.lock();
        self.take_over(&mut state);
        state.in_flight.is_none()
    }

    /// Leads a flight if none is in progress.
    pub(crate) fn try_lead(&self) -> Option<Leader<'_, T>> {
        let mut state = self.state.lock();
        self.take_over(&mut state);
        state.in_flight.is_none().then(|| self.start(&mut state, thread::current().id()))
    }

    /// Drops a flight of another process: this one is its fork, and of the threads that led the flight or waited for it, or for the
    /// next one, none but the calling thread exists here.
    fn take_over(&self, state: &mut State<T>) {
        let foreign = |flight: &mut InFlight<T>| flight.process != std::process::id();
        if state.in_flight.take_if(foreign).is_some() {
            state.next = Outcome::default();
            state.finished += 1;
            self.changed.notify_all();
        }
    }

    fn start(&self, state: &mut State<T>, leader: ThreadId) -> Leader<'_, T> {
        let outcome = std::mem::take(&mut state.next);
        state.in_flight = Some(InFlight { leader, process: std::process::id(), outcome });
        Leader { flight: self, number: state.finished + 1, finished: false }
    }

    fn finish(&self, number: u64, outcome: T) {
        let mut state = self.state.lock();
        if state.finished >= number {
            // The leader forked inside its flight, and the child has taken the flight over.
            return;
        }
        let in_flight = state.in_flight.take();
        // An empty cell that this flight alone may fill, so nothing is dropped here.
        let _ = in_flight.as_ref().map(|flight| flight.outcome.set(outcome));
        state.finished += 1;
        drop(state);
        self.changed.notify_all();
        drop(in_flight);
    }
}

#[cfg(any(test, aero2_shuttle))]
impl<T> SingleFlight<T> {
    /// How many callers hold a ticket, so that a test forces an overlap instead of hoping for it.
    pub(crate) fn waiting(&self) -> usize {
        let state = self.state.lock();
        let present = state.in_flight.as_ref().map_or(0, |flight| Arc::strong_count(&flight.outcome) - 1);
        present + Arc::strong_count(&state.next) - 1
    }
}

impl<T> State<T> {
    /// The number of the first flight that the caller may join, and where its outcome will be.
    fn ticket(&self, which: Which) -> (u64, Outcome<T>) {
        match (&self.in_flight, which) {
            (Some(flight), Which::Current) => (self.finished + 1, flight.outcome.clone()),
            (Some(_), Which::Next) => (self.finished + 2, self.next.clone()),
            (None, _) => (self.finished + 1, self.next.clone()),
        }
    }
}

/// The guard of a flight in progress; it belongs to the leader's thread.
#[derive(Debug)]
#[must_use = "dropping it abandons the flight"]
pub(crate) struct Leader<'a, T: Clone> {
    flight: &'a SingleFlight<T>,
    number: u64,
    finished: bool,
}

impl<T: Clone> Leader<'_, T> {
    fn lead(self, lookup: impl FnOnce() -> Option<T>, fetch: impl FnOnce() -> T) -> T {
        let outcome = lookup().unwrap_or_else(fetch);
        self.finish(outcome)
    }

    /// Ends the flight with this outcome, which goes to every waiter.
    pub(crate) fn finish(mut self, outcome: T) -> T {
        self.finished = true;
        self.flight.finish(self.number, outcome.clone());
        outcome
    }
}

impl<T: Clone> Drop for Leader<'_, T> {
    fn drop(&mut self) {
        if !self.finished {
            self.flight.finish(self.number, self.flight.abandoned.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    const ABANDONED: u32 = u32::MAX;

    fn never() -> Wait {
        Deadline::after(Duration::MAX).into()
    }

    fn lead(flight: &SingleFlight<u32>) -> Leader<'_, u32> {
        match flight.join(Which::Current, never()) {
            Join::Leader(leader) => leader,
            other => panic!("{other:?}"),
        }
    }

    fn finished(joined: Join<'_, u32>) -> u32 {
        match joined {
            Join::Finished(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn until_waiting<T>(flight: &SingleFlight<T>, n: usize) {
        while flight.waiting() != n {
            thread::yield_now();
        }
    }

    #[test]
    fn all_who_wait_get_what_the_one_leader_got() {
        let flight = SingleFlight::new(ABANDONED);
        thread::scope(|scope| {
            let leader = lead(&flight);
            let waiters: Vec<_> =
                (0..20).map(|_| scope.spawn(|| finished(flight.join(Which::Current, never())))).collect();
            until_waiting(&flight, 20);
            assert_eq!(leader.finish(7), 7);
            assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap() == 7));
        });
        assert_eq!(flight.state.lock().finished, 1);
    }

    #[test]
    fn a_leader_that_panics_wakes_everyone_and_leaves_the_place_free() {
        let flight = SingleFlight::new(ABANDONED);
        thread::scope(|scope| {
            let leader = catch_unwind(AssertUnwindSafe(|| {
                let _takeoff = lead(&flight);
                for _ in 0..3 {
                    scope.spawn(|| assert_eq!(finished(flight.join(Which::Current, never())), ABANDONED));
                }
                until_waiting(&flight, 3);
                panic!("the transport did");
            }));
            assert!(leader.is_err());
        });
        assert_eq!(lead(&flight).finish(1), 1);
    }

    #[test]
    fn a_leader_that_joins_its_own_flight_gets_an_error_instead_of_hanging() {
        let flight = SingleFlight::new(ABANDONED);
        let leader = lead(&flight);
        for which in [Which::Current, Which::Next] {
            assert!(matches!(flight.join(which, never()), Join::Refused(NoOutcome::Reentrant)));
        }
        assert!(flight.try_lead().is_none());
        leader.finish(1);
        assert!(flight.try_lead().is_some());
    }

    #[test]
    fn a_waiter_leaves_when_its_own_budget_ends_and_the_others_stay() {
        let flight = SingleFlight::new(ABANDONED);
        let flight = &flight;
        thread::scope(|scope| {
            let leader = lead(flight);
            let patient = scope.spawn(|| finished(flight.join(Which::Current, never())));
            for which in [Which::Current, Which::Next] {
                let hasty = scope.spawn(move || {
                    let budget = Deadline::after(Duration::from_millis(5)).into();
                    matches!(flight.join(which, budget), Join::Refused(NoOutcome::TimedOut))
                });
                assert!(hasty.join().unwrap());
            }
            until_waiting(flight, 1);
            leader.finish(3);
            assert_eq!(patient.join().unwrap(), 3);
        });
    }

    #[test]
    fn who_wants_the_next_flight_never_gets_the_present_one_and_shares_the_next() {
        let flight = SingleFlight::new(ABANDONED);
        let requests = AtomicUsize::new(0);
        thread::scope(|scope| {
            let leader = lead(&flight);
            let insistent: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| match flight.join(Which::Next, never()) {
                        Join::Leader(leader) => {
                            requests.fetch_add(1, Ordering::Relaxed);
                            leader.finish(2)
                        }
                        joined => finished(joined),
                    })
                })
                .collect();
            until_waiting(&flight, 8);
            leader.finish(1);
            assert!(insistent.into_iter().all(|waiter| waiter.join().unwrap() == 2));
        });
        assert_eq!(requests.into_inner(), 1);
    }

    #[test]
    fn a_waiter_gets_its_own_flights_outcome_however_late_it_wakes() {
        let flight = SingleFlight::new(ABANDONED);
        let first = lead(&flight);
        let (number, outcome) = flight.state.lock().ticket(Which::Current);
        first.finish(1);
        lead(&flight).finish(2);
        let second = lead(&flight);
        assert!(
            flight.state.lock().finished >= number,
            "the second flight in the air keeps nobody of the first waiting"
        );
        assert_eq!(outcome.get(), Some(&1));
        drop(second);
    }

    #[test]
    fn an_outcome_is_gone_with_its_last_reader() {
        let flight = SingleFlight::new(Arc::new(ABANDONED));
        let outcome = Arc::new(1);
        thread::scope(|scope| {
            let Join::Leader(leader) = flight.join(Which::Current, never()) else { panic!() };
            let waiter = scope.spawn(|| matches!(flight.join(Which::Current, never()), Join::Finished(_)));
            until_waiting(&flight, 1);
            leader.finish(outcome.clone());
            assert!(waiter.join().unwrap());
        });
        assert_eq!(Arc::strong_count(&outcome), 1);
    }

    #[test]
    fn of_callers_that_start_together_each_leads_or_gets_an_outcome() {
        let flight = SingleFlight::new(ABANDONED);
        let (start, in_flight) = (Barrier::new(8), AtomicUsize::new(0));
        thread::scope(|scope| {
            for i in 0..8_u32 {
                let (flight, start, in_flight) = (&flight, &start, &in_flight);
                scope.spawn(move || {
                    start.wait();
                    for _ in 0..200 {
                        let which = if i % 2 == 0 { Which::Current } else { Which::Next };
                        match flight.join(which, never()) {
                            Join::Leader(leader) => {
                                assert_eq!(in_flight.fetch_add(1, Ordering::SeqCst), 0);
                                thread::yield_now();
                                in_flight.fetch_sub(1, Ordering::SeqCst);
                                leader.finish(i);
                            }
                            joined => assert!(finished(joined) < 8),
                        }
                    }
                });
            }
        });
    }

    /// Makes the flight in progress one of a process of which this one is the fork.
    fn forked(flight: &SingleFlight<u32>) {
        flight.state.lock().in_flight.as_mut().unwrap().process = std::process::id().wrapping_add(1);
    }

    #[test]
    fn a_forked_child_takes_over_what_its_parent_had_in_flight() {
        let flight = SingleFlight::new(ABANDONED);
        let of_parent = lead(&flight);
        forked(&flight);
        let leader = thread::scope(|scope| scope.spawn(|| lead(&flight)).join().unwrap());
        drop(of_parent);
        assert!(flight.try_lead().is_none(), "the parent's leader ends no flight of the child");
        assert_eq!(leader.finish(2), 2);
        assert_eq!(flight.state.lock().finished, 2);

        let of_parent = lead(&flight);
        forked(&flight);
        assert_eq!(flight.run_if_idle(|| None, || 3), Some(3), "a refresh ahead takes it over as well");
        drop(of_parent);
        assert_eq!(flight.state.lock().finished, 4);
    }

    #[test]
    fn waiters_that_a_fork_has_left_behind_take_no_place() {
        let flight = SingleFlight::new(ABANDONED);
        let of_parent = lead(&flight);
        // The references of waiting threads that do not exist in the child.
        let left_behind = [(); 3].map(|()| flight.state.lock().ticket(Which::Next));
        forked(&flight);
        let leader = lead(&flight);
        let one_place = Wait { max_waiters: 1, ..never() };
        thread::scope(|scope| {
            let waiter = scope.spawn(|| finished(flight.join(Which::Current, one_place)));
            until_waiting(&flight, 1);
            let second =
                scope.spawn(|| matches!(flight.join(Which::Current, one_place), Join::Refused(NoOutcome::Full)));
            assert!(second.join().unwrap());
            leader.finish(5);
            assert_eq!(waiter.join().unwrap(), 5);
        });
        drop((of_parent, left_behind));
    }
}
