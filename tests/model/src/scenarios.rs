//! What three or four threads do to one flight, and what must hold whatever the order.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use shuttle::thread::{self, JoinHandle};

use crate::clock::Deadline;
use crate::flight::{Boarding, Flight, Join, Takeoff};

type Scenario = (&'static str, fn());

pub(crate) const ALL: &[Scenario] = &[
    ("everyone_gets_an_outcome_of_a_flight_that_may_serve_him", mixed_callers),
    ("all_who_wait_are_woken_by_one_landing", one_landing),
    ("a_flight_after_the_landing_keeps_no_waiter_back", late_waiter),
    ("who_waits_gets_his_own_flights_outcome", own_outcome),
    ("who_wants_the_next_flight_shares_it_and_not_the_present_one", next_flight),
    ("a_leader_that_panics_lands", panicking_leader),
    ("a_leader_that_boards_again_is_told", reentrant_leader),
    ("who_has_no_more_time_leaves", impatient_waiter),
    ("a_refresh_ahead_waits_for_nobody", refresh_ahead),
];

/// What a flight got: its number, and what tells whether anybody still keeps it.
#[derive(Clone, Debug)]
enum Outcome {
    Of(usize, #[expect(dead_code, reason = "held, not read")] Arc<()>),
    Crashed,
}

impl Outcome {
    fn number(&self) -> Option<usize> {
        match self {
            Self::Of(number, _) => Some(*number),
            Self::Crashed => None,
        }
    }
}

/// One flight and the books about it.
struct World {
    flight: Flight<Outcome>,
    taken_off: AtomicUsize,
    landed: AtomicUsize,
    crashed: AtomicUsize,
    in_the_air: AtomicUsize,
    kept: Arc<()>,
}

impl World {
    fn new() -> Arc<Self> {
        let zero = || AtomicUsize::new(0);
        Arc::new(Self {
            flight: Flight::new(Outcome::Crashed),
            taken_off: zero(),
            landed: zero(),
            crashed: zero(),
            in_the_air: zero(),
            kept: Arc::new(()),
        })
    }

    /// The leader's part. By the coin it lands, or leaves without landing, or panics.
    fn fly(&self, takeoff: Takeoff<'_, Outcome>, may_crash: bool) {
        assert_eq!(self.in_the_air.fetch_add(1, SeqCst), 0, "two flights are in the air");
        let number = self.taken_off.fetch_add(1, SeqCst);
        thread::yield_now();
        let crash = if may_crash { thread_rng().gen_range(0..4) } else { 3 };
        if crash < 2 {
            self.crashed.fetch_add(1, SeqCst);
        }
        self.in_the_air.fetch_sub(1, SeqCst);
        match crash {
            0 => drop(takeoff),
            1 => {
                let panic = || {
                    let _takeoff = takeoff;
                    // Without the panic hook, which would print.
                    resume_unwind(Box::new(()));
                };
                assert!(catch_unwind(AssertUnwindSafe(panic)).is_err());
            }
            _ => drop(takeoff.land(Outcome::Of(number, self.kept.clone()))),
        }
        self.landed.fetch_add(1, SeqCst);
    }

    /// One call, with all that may be said about its outcome whatever the others do.
    fn call(&self, join: Join, deadline: Deadline, may_crash: bool) {
        let (taken_off, landed) = (self.taken_off.load(SeqCst), self.landed.load(SeqCst));
        let outcome = match self.flight.board(join, deadline) {
            Boarding::Leader(takeoff) => return self.fly(takeoff, may_crash),
            Boarding::Landed(outcome) => outcome,
            Boarding::TimedOut => return assert!(deadline.instant().is_some(), "this caller had all the time"),
            Boarding::Reentrant => panic!("this thread leads no flight"),
        };
        match (outcome.number(), join) {
            (None, _) => assert!(self.crashed.load(SeqCst) > 0, "no flight has crashed"),
            (Some(number), Join::Current) => assert!(number >= landed, "flight {number} had landed before the call"),
            (Some(number), Join::Next) => assert!(number >= taken_off, "flight {number} took off before the call"),
        }
    }

    /// Until so many callers have a ticket: the overlap is forced, the order in which they wake is free.
    fn until_waiting(&self, callers: usize) {
        while self.flight.waiting() != callers {
            thread::yield_now();
        }
    }

    fn lead(&self) -> Takeoff<'_, Outcome> {
        match self.flight.board(Join::Current, never()) {
            Boarding::Leader(takeoff) => takeoff,
            other => panic!("{other:?}"),
        }
    }

    fn outcome(&self, number: usize) -> Outcome {
        Outcome::Of(number, self.kept.clone())
    }

    /// At the end nothing is in the air, and no outcome is kept.
    fn check_at_rest(&self) {
        drop(self.flight.try_lead().expect("a flight is in the air for ever"));
        assert_eq!(Arc::strong_count(&self.kept), 1, "the flight keeps an outcome that nobody will read");
    }
}

fn never() -> Deadline {
    Deadline::after(Duration::MAX)
}

fn some_time() -> Deadline {
    Deadline::after(Duration::from_secs(1))
}

fn spawn(world: &Arc<World>, run: impl FnOnce(&World) + Send + 'static) -> JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || run(&world))
}

fn join_all(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Boards and must be handed this flight's outcome.
fn passenger(world: &World, join: Join, number: usize) {
    match world.flight.board(join, never()) {
        Boarding::Landed(outcome) => assert_eq!(outcome.number(), Some(number)),
        other => panic!("{other:?}"),
    }
}

fn mixed_callers() {
    let world = World::new();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            spawn(&world, |world| {
                for _ in 0..2 {
                    let coin = || thread_rng().gen_bool(0.5);
                    let join = if coin() { Join::Current } else { Join::Next };
                    let deadline = if coin() { never() } else { some_time() };
                    world.call(join, deadline, true);
                }
            })
        })
        .collect();
    join_all(threads);
    world.check_at_rest();
}

fn one_landing() {
    let world = World::new();
    let takeoff = world.lead();
    let waiters: Vec<_> = (0..3).map(|_| spawn(&world, |world| passenger(world, Join::Current, 0))).collect();
    world.until_waiting(3);
    drop(takeoff.land(world.outcome(0)));
    join_all(waiters);
    world.check_at_rest();
}

fn late_waiter() {
    let world = World::new();
    let first = world.lead();
    let waiters: Vec<_> = (0..2).map(|_| spawn(&world, |world| passenger(world, Join::Current, 0))).collect();
    world.until_waiting(2);
    drop(first.land(world.outcome(0)));
    // In the air until they have left.
    let second = world.lead();
    join_all(waiters);
    drop(second.land(world.outcome(1)));
    world.check_at_rest();
}

fn own_outcome() {
    let world = World::new();
    let first = world.lead();
    let waiter = spawn(&world, |world| passenger(world, Join::Current, 0));
    world.until_waiting(1);
    drop(first.land(world.outcome(0)));
    for number in 1..3 {
        drop(world.lead().land(world.outcome(number)));
    }
    join_all([waiter]);
    world.check_at_rest();
}

fn next_flight() {
    let world = World::new();
    let first = world.lead();
    world.taken_off.store(1, SeqCst);
    let insistent: Vec<_> = (0..2).map(|_| spawn(&world, |world| world.call(Join::Next, never(), false))).collect();
    let content = spawn(&world, |world| passenger(world, Join::Current, 0));
    world.until_waiting(3);
    drop(first.land(world.outcome(0)));
    join_all(insistent.into_iter().chain([content]));
    assert_eq!(world.taken_off.load(SeqCst), 2, "they share one flight");
    world.check_at_rest();
}

fn panicking_leader() {
    let world = World::new();
    let takeoff = world.lead();
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            spawn(&world, |world| match world.flight.board(Join::Current, never()) {
                Boarding::Landed(outcome) => assert_eq!(outcome.number(), None),
                other => panic!("{other:?}"),
            })
        })
        .collect();
    let panic = || {
        let _takeoff = takeoff;
        world.until_waiting(3);
        resume_unwind(Box::new(()));
    };
    assert!(catch_unwind(AssertUnwindSafe(panic)).is_err());
    join_all(waiters);
    world.check_at_rest();
}

fn reentrant_leader() {
    let world = World::new();
    let takeoff = world.lead();
    let waiter = spawn(&world, |world| passenger(world, Join::Current, 0));
    for join in [Join::Current, Join::Next] {
        for deadline in [never(), some_time()] {
            assert!(matches!(world.flight.board(join, deadline), Boarding::Reentrant));
        }
    }
    assert!(world.flight.try_lead().is_none());
    world.until_waiting(1);
    drop(takeoff.land(world.outcome(0)));
    join_all([waiter]);
    world.check_at_rest();
}

fn impatient_waiter() {
    let world = World::new();
    let takeoff = world.lead();
    let impatient: Vec<_> = [Join::Current, Join::Next]
        .map(|join| {
            spawn(&world, move |world| match world.flight.board(join, some_time()) {
                Boarding::TimedOut => {}
                other => panic!("{other:?}"),
            })
        })
        .into();
    let patient = spawn(&world, |world| passenger(world, Join::Current, 0));
    // The leader is slower than they are patient.
    join_all(impatient);
    world.until_waiting(1);
    drop(takeoff.land(world.outcome(0)));
    join_all([patient]);
    world.check_at_rest();
}

fn refresh_ahead() {
    let world = World::new();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            spawn(&world, |world| {
                if let Some(takeoff) = world.flight.try_lead() {
                    world.fly(takeoff, true);
                }
                world.call(Join::Current, never(), true);
            })
        })
        .collect();
    join_all(threads);
    world.check_at_rest();
}
