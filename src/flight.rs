//! Single flight: of many callers who want the same thing at the same time one fetches it, and all get what it got.
//!
//! The invariants, each held by the model check in `tests/model`, which runs this very file under thousands of schedules:
//! 1. At most one flight is in the air. `aloft` is set at take-off and cleared at landing, both under the lock, and only the guard
//!    of the take-off clears it.
//! 2. Every flight lands, and lands once: the guard's `Drop` lands it with the outcome "crashed" where its leader did not, so an
//!    error, an early return and a panic all wake the waiters.
//! 3. Flights are numbered and land in the order of their numbers, so the count of landings says which are down. A waiter loops on
//!    that count until its own flight is down, whatever woke it and whatever has taken off since.
//! 4. A flight carries its outcome to its own waiters: it is set before the landing is counted, a later flight cannot take its
//!    place, and it is dropped with its last reader, so no token outlives its use here.
//! 5. The lock covers these changes of state only: no fetch, no clone or drop of an outcome happens under it.
//!
//! Two rules are the leader's: it looks at its cache again after the take-off, since another flight may have landed between its
//! look and its boarding, and it publishes to that cache before it lands, since whoever comes after the landing looks there.

use std::sync::{Arc, OnceLock};
#[cfg(not(aero2_shuttle))]
use std::thread::{self, ThreadId};

use parking_lot::{Condvar, Mutex};
#[cfg(aero2_shuttle)]
use shuttle::thread::{self, ThreadId};

use crate::clock::Deadline;

/// A place where flights take off, one at a time. `T` is the outcome, errors included.
#[derive(Debug)]
pub(crate) struct Flight<T> {
    state: Mutex<State<T>>,
    landed: Condvar,
    crashed: T,
}

#[derive(Debug)]
struct State<T> {
    landings: u64,
    aloft: Option<Aloft<T>>,
    /// What the next flight will carry: those who must not join the present one wait for it already.
    next: Cargo<T>,
}

#[derive(Debug)]
struct Aloft<T> {
    leader: ThreadId,
    cargo: Cargo<T>,
}

type Cargo<T> = Arc<OnceLock<T>>;

/// Which flight a caller may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// The one in the air, or else a new one.
    Current,
    /// Only one that takes off after the call.
    Next,
}

/// How boarding ended.
#[derive(Debug)]
pub(crate) enum Boarding<'a, T: Clone> {
    /// The caller leads: it fetches, publishes, and lands the flight.
    Leader(Takeoff<'a, T>),
    /// Another's flight landed with this.
    Landed(T),
    /// The caller's budget ended first.
    TimedOut,
    /// The flight in the air is led by this very thread, so to wait for it would be to wait for ever.
    Reentrant,
}

impl<T: Clone> Flight<T> {
    /// `crashed` is what the waiters get if a leader panics.
    pub(crate) fn new(crashed: T) -> Self {
        let state = State { landings: 0, aloft: None, next: Cargo::default() };
        Self { state: Mutex::new(state), landed: Condvar::new(), crashed }
    }

    /// Joins a flight or leads one. Blocks while another's is in the air, at most until `deadline`.
    pub(crate) fn board(&self, join: Join, deadline: Deadline) -> Boarding<'_, T> {
        let me = thread::current().id();
        let mut state = self.state.lock();
        let (number, cargo) = state.ticket(join);
        let mut in_time = true;
        while state.landings < number {
            match &state.aloft {
                None => return Boarding::Leader(self.take_off(&mut state, me)),
                Some(aloft) if aloft.leader == me => return Boarding::Reentrant,
                Some(_) if !in_time => return Boarding::TimedOut,
                Some(_) => {}
            }
            match deadline.instant() {
                Some(at) => in_time = !self.landed.wait_until(&mut state, at).timed_out(),
                None => self.landed.wait(&mut state),
            }
        }
        drop(state);
        Boarding::Landed(cargo.get().unwrap_or(&self.crashed).clone())
    }

    /// Leads a flight if none is in the air; for a refresh that nobody has to wait for.
    pub(crate) fn try_lead(&self) -> Option<Takeoff<'_, T>> {
        let mut state = self.state.lock();
        state.aloft.is_none().then(|| self.take_off(&mut state, thread::current().id()))
    }

    fn take_off(&self, state: &mut State<T>, leader: ThreadId) -> Takeoff<'_, T> {
        state.aloft = Some(Aloft { leader, cargo: std::mem::take(&mut state.next) });
        Takeoff { flight: self, down: false }
    }

    fn touch_down(&self, outcome: T) {
        let mut state = self.state.lock();
        let aloft = state.aloft.take();
        // An empty cell that this flight alone may fill, so nothing is dropped here.
        let _ = aloft.as_ref().map(|aloft| aloft.cargo.set(outcome));
        state.landings += 1;
        drop(state);
        self.landed.notify_all();
        drop(aloft);
    }
}

#[cfg(any(test, aero2_shuttle))]
impl<T> Flight<T> {
    /// How many callers hold a ticket, so that a test forces an overlap instead of hoping for it.
    pub(crate) fn waiting(&self) -> usize {
        let state = self.state.lock();
        let aloft = state.aloft.as_ref().map_or(0, |aloft| Arc::strong_count(&aloft.cargo) - 1);
        aloft + Arc::strong_count(&state.next) - 1
    }
}

impl<T> State<T> {
    /// The number of the first flight that the caller may take, and where its outcome will be.
    fn ticket(&self, join: Join) -> (u64, Cargo<T>) {
        match (&self.aloft, join) {
            (Some(aloft), Join::Current) => (self.landings + 1, aloft.cargo.clone()),
            (Some(_), Join::Next) => (self.landings + 2, self.next.clone()),
            (None, _) => (self.landings + 1, self.next.clone()),
        }
    }
}

/// The guard of a flight in the air; it belongs to the leader's thread.
#[derive(Debug)]
#[must_use = "dropping it lands the flight as crashed"]
pub(crate) struct Takeoff<'a, T: Clone> {
    flight: &'a Flight<T>,
    down: bool,
}

impl<T: Clone> Takeoff<'_, T> {
    /// Lands with this outcome, which goes to every waiter. Publish it first.
    pub(crate) fn land(mut self, outcome: T) -> T {
        self.down = true;
        self.flight.touch_down(outcome.clone());
        outcome
    }
}

impl<T: Clone> Drop for Takeoff<'_, T> {
    fn drop(&mut self) {
        if !self.down {
            self.flight.touch_down(self.flight.crashed.clone());
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

    const CRASHED: u32 = u32::MAX;

    fn never() -> Deadline {
        Deadline::after(Duration::MAX)
    }

    fn lead(flight: &Flight<u32>) -> Takeoff<'_, u32> {
        match flight.board(Join::Current, never()) {
            Boarding::Leader(takeoff) => takeoff,
            other => panic!("{other:?}"),
        }
    }

    fn landed(boarding: Boarding<'_, u32>) -> u32 {
        match boarding {
            Boarding::Landed(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn until_waiting<T>(flight: &Flight<T>, n: usize) {
        while flight.waiting() != n {
            thread::yield_now();
        }
    }

    #[test]
    fn all_who_wait_get_what_the_one_leader_got() {
        let flight = Flight::new(CRASHED);
        thread::scope(|scope| {
            let takeoff = lead(&flight);
            let waiters: Vec<_> =
                (0..20).map(|_| scope.spawn(|| landed(flight.board(Join::Current, never())))).collect();
            until_waiting(&flight, 20);
            assert_eq!(takeoff.land(7), 7);
            assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap() == 7));
        });
        assert_eq!(flight.state.lock().landings, 1);
    }

    #[test]
    fn a_leader_that_panics_wakes_everyone_and_leaves_the_place_free() {
        let flight = Flight::new(CRASHED);
        thread::scope(|scope| {
            let leader = catch_unwind(AssertUnwindSafe(|| {
                let _takeoff = lead(&flight);
                for _ in 0..3 {
                    scope.spawn(|| assert_eq!(landed(flight.board(Join::Current, never())), CRASHED));
                }
                until_waiting(&flight, 3);
                panic!("the transport did");
            }));
            assert!(leader.is_err());
        });
        assert_eq!(lead(&flight).land(1), 1);
    }

    #[test]
    fn a_leader_that_boards_its_own_flight_is_told_instead_of_hanging() {
        let flight = Flight::new(CRASHED);
        let takeoff = lead(&flight);
        for join in [Join::Current, Join::Next] {
            assert!(matches!(flight.board(join, never()), Boarding::Reentrant));
        }
        assert!(flight.try_lead().is_none());
        takeoff.land(1);
        assert!(flight.try_lead().is_some());
    }

    #[test]
    fn a_waiter_leaves_when_its_own_budget_ends_and_the_others_stay() {
        let flight = Flight::new(CRASHED);
        let flight = &flight;
        thread::scope(|scope| {
            let takeoff = lead(flight);
            let patient = scope.spawn(|| landed(flight.board(Join::Current, never())));
            for join in [Join::Current, Join::Next] {
                let hasty = scope.spawn(move || {
                    let budget = Deadline::after(Duration::from_millis(5));
                    matches!(flight.board(join, budget), Boarding::TimedOut)
                });
                assert!(hasty.join().unwrap());
            }
            until_waiting(flight, 1);
            takeoff.land(3);
            assert_eq!(patient.join().unwrap(), 3);
        });
    }

    #[test]
    fn who_wants_the_next_flight_never_gets_the_present_one_and_shares_the_next() {
        let flight = Flight::new(CRASHED);
        let requests = AtomicUsize::new(0);
        thread::scope(|scope| {
            let takeoff = lead(&flight);
            let insistent: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| match flight.board(Join::Next, never()) {
                        Boarding::Leader(takeoff) => {
                            requests.fetch_add(1, Ordering::Relaxed);
                            takeoff.land(2)
                        }
                        boarding => landed(boarding),
                    })
                })
                .collect();
            until_waiting(&flight, 8);
            takeoff.land(1);
            assert!(insistent.into_iter().all(|waiter| waiter.join().unwrap() == 2));
        });
        assert_eq!(requests.into_inner(), 1);
    }

    #[test]
    fn a_waiter_gets_its_own_flights_outcome_however_late_it_wakes() {
        let flight = Flight::new(CRASHED);
        let first = lead(&flight);
        let (number, cargo) = flight.state.lock().ticket(Join::Current);
        first.land(1);
        lead(&flight).land(2);
        let second = lead(&flight);
        assert!(
            flight.state.lock().landings >= number,
            "the second flight in the air keeps nobody of the first waiting"
        );
        assert_eq!(cargo.get(), Some(&1));
        drop(second);
    }

    #[test]
    fn an_outcome_is_gone_with_its_last_reader() {
        let flight = Flight::new(Arc::new(CRASHED));
        let outcome = Arc::new(1);
        thread::scope(|scope| {
            let Boarding::Leader(takeoff) = flight.board(Join::Current, never()) else { panic!() };
            let waiter = scope.spawn(|| matches!(flight.board(Join::Current, never()), Boarding::Landed(_)));
            until_waiting(&flight, 1);
            takeoff.land(outcome.clone());
            assert!(waiter.join().unwrap());
        });
        assert_eq!(Arc::strong_count(&outcome), 1);
    }

    #[test]
    fn of_callers_that_start_together_each_leads_or_gets_an_outcome() {
        let flight = Flight::new(CRASHED);
        let (start, in_the_air) = (Barrier::new(8), AtomicUsize::new(0));
        thread::scope(|scope| {
            for i in 0..8_u32 {
                let (flight, start, in_the_air) = (&flight, &start, &in_the_air);
                scope.spawn(move || {
                    start.wait();
                    for _ in 0..200 {
                        let join = if i % 2 == 0 { Join::Current } else { Join::Next };
                        match flight.board(join, never()) {
                            Boarding::Leader(takeoff) => {
                                assert_eq!(in_the_air.fetch_add(1, Ordering::SeqCst), 0);
                                thread::yield_now();
                                in_the_air.fetch_sub(1, Ordering::SeqCst);
                                takeoff.land(i);
                            }
                            boarding => assert!(landed(boarding) < 8),
                        }
                    }
                });
            }
        });
    }
}
