//! What three or four threads do to one flight, and what must hold whatever the order.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use shuttle::thread::{self, JoinHandle};

use crate::single_flight::{Join, Leader, NoOutcome, SingleFlight, Wait, Which};
use crate::time::Deadline;

type Scenario = (&'static str, fn());

pub(crate) const ALL: &[Scenario] = &[
    ("every_caller_gets_an_outcome_of_a_flight_it_may_join", mixed_callers),
    ("all_waiters_are_woken_by_one_finish", one_finish),
    ("a_later_flight_keeps_no_waiter_back", late_waiter),
    ("a_waiter_gets_its_own_flights_outcome", own_outcome),
    ("callers_for_the_next_flight_share_it_and_not_the_present_one", next_flight),
    ("a_leader_that_panics_finishes", panicking_leader),
    ("a_leader_that_joins_again_gets_an_error", reentrant_leader),
    ("a_waiter_without_time_leaves", impatient_waiter),
    ("a_refresh_ahead_never_waits", refresh_ahead),
    ("a_caller_beyond_the_places_leaves_at_once", few_places),
];

/// What a flight got: its number, and what tells whether anybody still keeps it.
#[derive(Clone, Debug)]
enum Outcome {
    Of(usize, #[expect(dead_code, reason = "held, not read")] Arc<()>),
    Abandoned,
}

impl Outcome {
    fn number(&self) -> Option<usize> {
        match self {
            Self::Of(number, _) => Some(*number),
            Self::Abandoned => None,
        }
    }
}

/// One flight and the books about it.
struct World {
    flight: SingleFlight<Outcome>,
    started: AtomicUsize,
    finished: AtomicUsize,
    abandoned: AtomicUsize,
    in_flight: AtomicUsize,
    kept: Arc<()>,
}

impl World {
    fn new() -> Arc<Self> {
        let zero = || AtomicUsize::new(0);
        Arc::new(Self {
            flight: SingleFlight::new(Outcome::Abandoned),
            started: zero(),
            finished: zero(),
            abandoned: zero(),
            in_flight: zero(),
            kept: Arc::new(()),
        })
    }

    /// The leader's part. By the coin it finishes, or leaves without finishing, or panics.
    fn lead_flight(&self, leader: Leader<'_, Outcome>, may_abandon: bool) {
        assert_eq!(self.in_flight.fetch_add(1, SeqCst), 0, "two flights are in progress");
        let number = self.started.fetch_add(1, SeqCst);
        thread::yield_now();
        let crash = if may_abandon { thread_rng().gen_range(0..4) } else { 3 };
        if crash < 2 {
            self.abandoned.fetch_add(1, SeqCst);
        }
        self.in_flight.fetch_sub(1, SeqCst);
        match crash {
            0 => drop(leader),
            1 => {
                let panic = || {
                    let _takeoff = leader;
                    // Without the panic hook, which would print.
                    resume_unwind(Box::new(()));
                };
                assert!(catch_unwind(AssertUnwindSafe(panic)).is_err());
            }
            _ => drop(leader.finish(Outcome::Of(number, self.kept.clone()))),
        }
        self.finished.fetch_add(1, SeqCst);
    }

    /// One call, with all that may be said about its outcome whatever the others do.
    fn call(&self, which: Which, wait: Wait, may_abandon: bool) {
        let (started, finished) = (self.started.load(SeqCst), self.finished.load(SeqCst));
        let outcome = match self.flight.join(which, wait) {
            Join::Leader(leader) => return self.lead_flight(leader, may_abandon),
            Join::Finished(outcome) => outcome,
            Join::Refused(NoOutcome::TimedOut) => {
                return assert!(wait.deadline.instant().is_some(), "this caller had all the time");
            }
            Join::Refused(reason) => {
                panic!("{reason:?}, but this thread leads no flight and the places are not limited")
            }
        };
        match (outcome.number(), which) {
            (None, _) => assert!(self.abandoned.load(SeqCst) > 0, "no flight has abandoned"),
            (Some(number), Which::Current) => {
                assert!(number >= finished, "flight {number} had finished before the call")
            }
            (Some(number), Which::Next) => assert!(number >= started, "flight {number} started before the call"),
        }
    }

    /// Until so many callers have a ticket: the overlap is forced, the order in which they wake is free.
    fn until_waiting(&self, callers: usize) {
        while self.flight.waiting() != callers {
            thread::yield_now();
        }
    }

    fn lead(&self) -> Leader<'_, Outcome> {
        match self.flight.join(Which::Current, never()) {
            Join::Leader(leader) => leader,
            other => panic!("{other:?}"),
        }
    }

    fn outcome(&self, number: usize) -> Outcome {
        Outcome::Of(number, self.kept.clone())
    }

    /// At the end nothing is in progress, and no outcome is kept.
    fn check_at_rest(&self) {
        drop(self.flight.try_lead().expect("a flight is in progress for ever"));
        assert_eq!(Arc::strong_count(&self.kept), 1, "the flight keeps an outcome without a reader");
    }
}

fn never() -> Wait {
    Deadline::after(Duration::MAX).into()
}

fn some_time() -> Wait {
    Deadline::after(Duration::from_secs(1)).into()
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

/// Joins and must be handed this flight's outcome.
fn waiter_gets(world: &World, which: Which, number: usize) {
    match world.flight.join(which, never()) {
        Join::Finished(outcome) => assert_eq!(outcome.number(), Some(number)),
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
                    let which = if coin() { Which::Current } else { Which::Next };
                    let wait = if coin() { never() } else { some_time() };
                    world.call(which, wait, true);
                }
            })
        })
        .collect();
    join_all(threads);
    world.check_at_rest();
}

fn one_finish() {
    let world = World::new();
    let leader = world.lead();
    let waiters: Vec<_> = (0..3).map(|_| spawn(&world, |world| waiter_gets(world, Which::Current, 0))).collect();
    world.until_waiting(3);
    drop(leader.finish(world.outcome(0)));
    join_all(waiters);
    world.check_at_rest();
}

fn late_waiter() {
    let world = World::new();
    let first = world.lead();
    let waiters: Vec<_> = (0..2).map(|_| spawn(&world, |world| waiter_gets(world, Which::Current, 0))).collect();
    world.until_waiting(2);
    drop(first.finish(world.outcome(0)));
    // In progress until they have left.
    let second = world.lead();
    join_all(waiters);
    drop(second.finish(world.outcome(1)));
    world.check_at_rest();
}

fn own_outcome() {
    let world = World::new();
    let first = world.lead();
    let waiter = spawn(&world, |world| waiter_gets(world, Which::Current, 0));
    world.until_waiting(1);
    drop(first.finish(world.outcome(0)));
    for number in 1..3 {
        drop(world.lead().finish(world.outcome(number)));
    }
    join_all([waiter]);
    world.check_at_rest();
}

fn next_flight() {
    let world = World::new();
    let first = world.lead();
    world.started.store(1, SeqCst);
    let insistent: Vec<_> = (0..2).map(|_| spawn(&world, |world| world.call(Which::Next, never(), false))).collect();
    let content = spawn(&world, |world| waiter_gets(world, Which::Current, 0));
    world.until_waiting(3);
    drop(first.finish(world.outcome(0)));
    join_all(insistent.into_iter().chain([content]));
    assert_eq!(world.started.load(SeqCst), 2, "they share one flight");
    world.check_at_rest();
}

fn panicking_leader() {
    let world = World::new();
    let leader = world.lead();
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            spawn(&world, |world| match world.flight.join(Which::Current, never()) {
                Join::Finished(outcome) => assert_eq!(outcome.number(), None),
                other => panic!("{other:?}"),
            })
        })
        .collect();
    let panic = || {
        let _takeoff = leader;
        world.until_waiting(3);
        resume_unwind(Box::new(()));
    };
    assert!(catch_unwind(AssertUnwindSafe(panic)).is_err());
    join_all(waiters);
    world.check_at_rest();
}

fn reentrant_leader() {
    let world = World::new();
    let leader = world.lead();
    let waiter = spawn(&world, |world| waiter_gets(world, Which::Current, 0));
    for which in [Which::Current, Which::Next] {
        for wait in [never(), some_time()] {
            assert!(matches!(world.flight.join(which, wait), Join::Refused(NoOutcome::Reentrant)));
        }
    }
    assert!(world.flight.try_lead().is_none());
    world.until_waiting(1);
    drop(leader.finish(world.outcome(0)));
    join_all([waiter]);
    world.check_at_rest();
}

fn impatient_waiter() {
    let world = World::new();
    let leader = world.lead();
    let impatient: Vec<_> = [Which::Current, Which::Next]
        .map(|which| {
            spawn(&world, move |world| match world.flight.join(which, some_time()) {
                Join::Refused(NoOutcome::TimedOut) => {}
                other => panic!("{other:?}"),
            })
        })
        .into();
    let patient = spawn(&world, |world| waiter_gets(world, Which::Current, 0));
    // The leader is slower than they are patient.
    join_all(impatient);
    world.until_waiting(1);
    drop(leader.finish(world.outcome(0)));
    join_all([patient]);
    world.check_at_rest();
}

fn refresh_ahead() {
    let world = World::new();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            spawn(&world, |world| {
                if let Some(leader) = world.flight.try_lead() {
                    world.lead_flight(leader, true);
                }
                world.call(Which::Current, never(), true);
            })
        })
        .collect();
    join_all(threads);
    world.check_at_rest();
}

fn few_places() {
    let world = World::new();
    let leader = world.lead();
    let refused = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let refused = refused.clone();
            spawn(&world, move |world| match world.flight.join(Which::Current, Wait { max_waiters: 2, ..never() }) {
                Join::Finished(outcome) => assert_eq!(outcome.number(), Some(0)),
                Join::Refused(NoOutcome::Full) => drop(refused.fetch_add(1, SeqCst)),
                other => panic!("{other:?}"),
            })
        })
        .collect();
    // The third leaves while the flight is in progress.
    while refused.load(SeqCst) == 0 {
        thread::yield_now();
    }
    world.until_waiting(2);
    drop(leader.finish(world.outcome(0)));
    join_all(callers);
    assert_eq!(refused.load(SeqCst), 1);
    world.check_at_rest();
}
