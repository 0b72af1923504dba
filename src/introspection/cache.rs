//! IntrospectionCache kept for a short while, and one request for all who ask about a token at once. Opt-in; one of these belongs to one client.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::cache::bounded_map::BoundedMap;
use crate::cache::single_flight::{SingleFlight, Which};
use crate::crypto::{Sha256, sha256};
use crate::error::{Endpoint, Error, NetworkErrorKind};
use crate::introspection::response::{Introspection, is_in_its_time};
use crate::time::{Deadline, Now};

pub(crate) struct IntrospectionCache {
    ttl: Duration,
    state: Mutex<State>,
}

type Outcome = Result<Introspection, Error>;

/// No token text is kept: both are keyed by the token's digest.
struct State {
    known: BoundedMap<Sha256, Known>,
    flights: HashMap<Sha256, Arc<SingleFlight<Outcome>>>,
}

struct Known {
    answer: Introspection,
    /// When it was asked for: the issuer may have answered at any time since.
    since: Now,
    ttl: Duration,
}

impl IntrospectionCache {
    pub(crate) fn new(capacity: usize, ttl: Duration) -> Self {
        let state = State { known: BoundedMap::new(capacity), flights: HashMap::new() };
        Self { ttl, state: Mutex::new(state) }
    }

    /// The answer about `token`: one that is kept, else that of the one request which all who ask now share. An error is shared, too,
    /// but not kept.
    pub(crate) fn get(
        &self,
        token: &str,
        clock: impl Fn() -> Now,
        deadline: Deadline,
        ask: impl FnOnce() -> Outcome,
    ) -> Outcome {
        let key = sha256(token.as_bytes());
        let flight = {
            let now = clock();
            let mut state = self.state.lock();
            if let Some(answer) = state.fresh(&key, now) {
                return Ok(answer);
            }
            state
                .flights
                .entry(key)
                .or_insert_with(|| Arc::new(SingleFlight::new(Err(failure(NetworkErrorKind::Io)))))
                .clone()
        };
        let mut entry = None;
        let lookup = || {
            entry = Some(RemoveOnDrop { cache: self, key, flight: &flight });
            let now = clock();
            self.state.lock().fresh(&key, now).map(Ok)
        };
        let fetch = || {
            let asked = clock();
            let outcome = ask();
            if let Ok(answer) = &outcome {
                self.keep(key, answer, asked);
            }
            outcome
        };
        // A leader's re-entrancy error is its own; its waiters try again.
        let accepts = |outcome: &Outcome| !matches!(outcome, Err(error) if error.is_reentrant());
        let outcome = flight.run(Which::Current, deadline.into(), accepts, lookup, fetch);
        outcome.unwrap_or_else(|reason| Err(reason.error(Endpoint::Introspection)))
    }

    fn keep(&self, key: Sha256, answer: &Introspection, asked: Now) {
        let ttl = match answer {
            Introspection::Active(_) => self.ttl,
            Introspection::Inactive => self.ttl.min(MAX_INACTIVE),
        };
        let known = Known { answer: answer.clone(), since: asked, ttl };
        self.state.lock().known.insert(key, known);
    }
}

impl State {
    /// An answer that may still be given: within its time to live, and within the token's own by the clock as it stands now.
    fn fresh(&mut self, key: &Sha256, now: Now) -> Option<Introspection> {
        let known = self.known.get(key)?;
        let holds = match &known.answer {
            Introspection::Active(info) => is_in_its_time(info, now).unwrap_or(false),
            Introspection::Inactive => true,
        };
        (now.elapsed_since(known.since) < known.ttl && holds).then(|| known.answer.clone())
    }
}

/// Removes a flight when its leader is done, also by a panic.
struct RemoveOnDrop<'a> {
    cache: &'a IntrospectionCache,
    key: Sha256,
    flight: &'a Arc<SingleFlight<Outcome>>,
}

impl Drop for RemoveOnDrop<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.state.lock();
        if state.flights.get(&self.key).is_some_and(|listed| Arc::ptr_eq(listed, self.flight)) {
            state.flights.remove(&self.key);
        }
    }
}

fn failure(kind: NetworkErrorKind) -> Error {
    Error::network(kind, Endpoint::Introspection)
}

/// "Inactive" may be a token that is not active yet, or a caller's slip: it is not held against it for long.
const MAX_INACTIVE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    /// Two callers who ask about one token at once: the first to ask gets `first` while the other waits, whoever asks after it is told
    /// "inactive". Gives what the first got, what the other got, and how often the issuer was asked.
    fn ask_together(first: fn() -> Outcome) -> (Outcome, Outcome, usize) {
        let answers = IntrospectionCache::new(4, Duration::from_secs(60));
        let asked = AtomicUsize::new(0);
        let waiting = || answers.state.lock().flights.values().map(|flight| flight.waiting()).sum::<usize>();
        let get = || {
            let clock = || Now { wall: None, monotonic: Duration::ZERO };
            answers.get("t", clock, Deadline::after(Duration::from_secs(60)), || {
                if asked.fetch_add(1, Ordering::SeqCst) > 0 {
                    return Ok(Introspection::Inactive);
                }
                while waiting() == 0 {
                    thread::yield_now();
                }
                first()
            })
        };
        let outcomes = thread::scope(|scope| {
            let inside = scope.spawn(get);
            while asked.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            let other = get();
            (inside.join().unwrap(), other)
        });
        assert!(answers.state.lock().flights.is_empty(), "every flight is off the list");
        (outcomes.0, outcomes.1, asked.into_inner())
    }

    #[test]
    fn who_waits_for_a_thread_that_called_back_into_its_issuer_asks_anew() {
        let (first, other, asked) = ask_together(|| Err(failure(NetworkErrorKind::Reentrant)));
        assert!(first.unwrap_err().is_reentrant());
        assert!(matches!(other, Ok(Introspection::Inactive)));
        assert_eq!(asked, 2);
    }

    #[test]
    fn who_waits_shares_an_answer_and_an_error() {
        let (first, other, asked) = ask_together(|| Ok(Introspection::Inactive));
        assert!(matches!((first, other, asked), (Ok(Introspection::Inactive), Ok(Introspection::Inactive), 1)));

        let (first, other, asked) = ask_together(|| Err(failure(NetworkErrorKind::Timeout)));
        for outcome in [first, other] {
            let Err(Error::Network(error)) = outcome else { panic!("no error was shared") };
            assert_eq!(error.kind(), NetworkErrorKind::Timeout);
        }
        assert_eq!(asked, 1);
    }
}
