//! A content delivery network in front of the key set, whose edges may be behind.

use std::time::{Duration, SystemTime};

use super::json::Json;

/// How many edges there are, and how long each keeps its copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct CdnSettings {
    pub(super) edges: usize,
    pub(super) keeps_for: Duration,
}

/// The copies of the edges, which answer in turn.
#[derive(Default)]
pub(super) struct Cdn {
    copies: Vec<Option<Copy>>,
    next: usize,
}

#[derive(Clone)]
pub(super) struct Copy {
    pub(super) body: Json,
    /// When the edge fetched it from the issuer.
    pub(super) fetched_at: SystemTime,
}

impl Copy {
    /// How old it is; `None` for one from ahead of the clock.
    pub(super) fn age(&self, now: SystemTime) -> Option<Duration> {
        now.duration_since(self.fetched_at).ok()
    }
}

impl Cdn {
    /// The copy of the edge whose turn it is. It fetches a new one from `origin` if it has none, or none that is fresh.
    pub(super) fn answer(&mut self, settings: CdnSettings, now: SystemTime, origin: impl FnOnce() -> Json) -> Copy {
        self.copies.resize(settings.edges.max(1), None);
        let turn = self.next % self.copies.len();
        self.next = turn + 1;
        let fresh = |copy: &Copy| copy.age(now).is_some_and(|age| age < settings.keeps_for);
        let held = self.copies.get(turn).cloned().flatten().filter(fresh);
        let copy = held.unwrap_or_else(|| Copy { body: origin(), fetched_at: now });
        self.copies.iter_mut().skip(turn).take(1).for_each(|edge| *edge = Some(copy.clone()));
        copy
    }
}
