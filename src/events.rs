//! Reports what happens: events for a handler, counts for metrics, and lines for the `log` facade.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cache::reentrancy::Reentrancy;
use crate::error::{Error, SnapshotProblem, TokenErrorKind};
use crate::events::held::Held;

mod held;

/// Something that happened inside an [`Issuer`](crate::Issuer), for logs and metrics.
///
/// The handler passed to [`IssuerBuilder::on_event`](crate::IssuerBuilder::on_event) runs on the thread of the call that caused
/// the event, while no lock is held. A handler that panics does no harm. A handler that uses the issuer itself gets no events for
/// what it causes. No event contains a token or a secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Keys were fetched and are in use.
    #[non_exhaustive]
    KeysRefreshed {
        /// The number of usable keys.
        usable: usize,
        /// The number of members of the key set that cannot be used.
        skipped: usize,
        /// Whether the fetch before this one failed.
        recovered: bool,
    },
    /// Keys could not be fetched. Cached keys, if there are any, stay in use.
    #[non_exhaustive]
    KeyRefreshFailed {
        /// Why.
        error: Error,
    },
    /// A token was verified with keys beyond their time to live, because the issuer cannot be reached.
    #[non_exhaustive]
    StaleKeysServed {},
    /// A token's `kid` belongs to no key, even after asking the issuer again if the budget allowed it.
    #[non_exhaustive]
    UnknownKidRefused {},
    /// A token's `kid` belongs to no key, and the budget for asking the issuer again is used up.
    #[non_exhaustive]
    RateLimited {},
    /// An M2M token was minted.
    #[non_exhaustive]
    TokenMinted {
        /// Whether the attempt before this one failed.
        recovered: bool,
    },
    /// Minting an M2M token failed.
    #[non_exhaustive]
    MintFailed {
        /// Why.
        error: Error,
    },
    /// This machine's clock and the issuer's differ by more than 30 s, the default tolerance. Reported when it is first seen and
    /// whenever it changes; no token is judged by it.
    #[non_exhaustive]
    ClockSkew {
        /// How far this machine's clock is behind the issuer's; negative if it is ahead.
        seconds: i64,
    },
    /// A snapshot was not used, or could not be written. Keys are fetched from the issuer.
    #[non_exhaustive]
    SnapshotRefused {
        /// What is wrong.
        problem: SnapshotProblem,
        /// The file; `None` for the text that was passed to [`IssuerBuilder::snapshot`](crate::IssuerBuilder::snapshot).
        path: Option<PathBuf>,
        /// The cause, if the file cannot be read or written.
        error: Option<Arc<io::Error>>,
    },
    /// A token file or store was not used: it is damaged, others may have written it, or it cannot be locked. The issuer is asked
    /// instead.
    #[non_exhaustive]
    TokenFileRefused {
        /// Why; for a file with its path.
        error: Arc<io::Error>,
    },
    /// A token file or store could not be written, so other processes have to ask for tokens of their own.
    #[non_exhaustive]
    TokenFileNotWritten {
        /// Why; for a file with its path.
        error: Arc<io::Error>,
    },
    /// Renewing a token early failed, and the old token, which is still valid, stays in use.
    #[non_exhaustive]
    OldTokenServed {},
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeysRefreshed { usable, skipped, recovered } => {
                let again = if *recovered { " again after failures" } else { "" };
                write!(f, "keys refreshed{again}: {usable} usable, {skipped} skipped")
            }
            Self::KeyRefreshFailed { error } => write!(f, "key refresh failed: {error}"),
            Self::StaleKeysServed {} => f.write_str("stale keys served"),
            Self::UnknownKidRefused {} => f.write_str("unknown key id refused"),
            Self::RateLimited {} => f.write_str("unknown key id not looked up: rate limited"),
            Self::TokenMinted { recovered: false } => f.write_str("token minted"),
            Self::TokenMinted { recovered: true } => f.write_str("token minted again after failures"),
            Self::MintFailed { error } => write!(f, "minting a token failed: {error}"),
            Self::ClockSkew { seconds } => write!(f, "this clock is {seconds} s behind the issuer's"),
            Self::SnapshotRefused { problem, path, error } => {
                f.write_str("snapshot")?;
                path.iter().try_for_each(|path| write!(f, " {}", path.display()))?;
                write!(f, " not used: {problem}")?;
                error.iter().try_for_each(|error| write!(f, ": {error}"))
            }
            Self::TokenFileRefused { error } => write!(f, "token file not used: {error}"),
            Self::TokenFileNotWritten { error } => write!(f, "token file not written: {error}"),
            Self::OldTokenServed {} => f.write_str("early refresh failed, the old token serves on"),
        }
    }
}

/// What an [`Issuer`](crate::Issuer) has counted since it was built, for all its handles together.
///
/// ```
/// use aero2::TokenErrorKind;
/// let test = aero2::testing::TestIssuer::new();
/// let issuer = test.issuer();
/// let rs = issuer.resource_server().audience("orders").build()?;
/// assert!(rs.verify_token(&test.token().audience("orders").sign()).is_ok());
/// assert!(rs.verify_token(&test.token().audience("billing").sign()).is_err());
///
/// let stats = issuer.stats();
/// assert_eq!((stats.tokens_accepted(), stats.tokens_refused()), (1, 1));
/// assert_eq!(stats.refused(TokenErrorKind::WrongAudience), 1);
/// // For a metrics endpoint: every count by its name, and refusals by their kind.
/// for (name, count) in stats.iter() {
///     println!("aero2_{name} {count}");
/// }
/// for kind in TokenErrorKind::ALL {
///     println!("aero2_refused{{kind=\"{}\"}} {}", kind.as_str(), stats.refused(*kind));
/// }
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    counts: [u64; COUNTS],
    refused: [u64; KINDS],
    clock_skew: Option<i64>,
}

const KINDS: usize = TokenErrorKind::ALL.len();

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident => $count:ident,)+) => {
        /// One of the numbers of [`Stats`].
        #[derive(Clone, Copy, Debug)]
        pub(crate) enum Count { $($count),+ }

        const COUNTS: usize = [$(Count::$count),+].len();

        impl Stats {
            $($(#[$doc])* pub fn $name(&self) -> u64 { self.of(Count::$count) })+

            /// Every count with the name of its method, for metrics. [`refused`](Self::refused) has the refusals by their kind.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                let counts = [$((stringify!($name), self.$name()),)+ ("tokens_refused", self.tokens_refused())];
                counts.into_iter()
            }
        }
    };
}

counts! {
    /// Attempts to fetch the discovery document.
    discovery_fetches => DiscoveryFetch,
    /// Attempts to fetch the key set.
    key_fetches => KeyFetch,
    /// Attempts to fetch the key set that failed.
    key_fetch_failures => KeyFetchFailure,
    /// Verifications with keys beyond their time to live.
    stale_keys_served => StaleKeysServed,
    /// Tokens refused because no key has their `kid`.
    unknown_kids_refused => UnknownKidRefused,
    /// Tokens that could not be judged because the budget for unknown `kid`s was used up.
    rate_limited => RateLimited,
    /// Tokens minted.
    tokens_minted => TokenMinted,
    /// Attempts to mint a token that failed.
    mint_failures => MintFailure,
    /// Introspection requests sent.
    introspections => Introspection,
    /// Tokens that were found in the cache of verified tokens.
    verified_cache_hits => VerifiedCacheHit,
    /// Tokens accepted by the issuer's resource servers.
    tokens_accepted => TokenAccepted,
}

impl Stats {
    /// Tokens refused by the issuer's resource servers, a missing token included. A token that could not be judged is not one of
    /// them.
    pub fn tokens_refused(&self) -> u64 {
        self.refused.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Tokens refused for that reason.
    pub fn refused(&self, kind: TokenErrorKind) -> u64 {
        self.refused.get(index_of_kind(kind)).copied().unwrap_or_default()
    }

    /// By how many seconds this machine's clock is behind the issuer's, according to the latest response with a `Date` header;
    /// negative if it is ahead. For information only: no token is judged by it.
    pub fn clock_skew(&self) -> Option<i64> {
        self.clock_skew
    }

    pub(crate) fn with_clock_skew(self, clock_skew: Option<i64>) -> Self {
        Self { clock_skew, ..self }
    }

    fn of(&self, count: Count) -> u64 {
        self.counts.get(index(count)).copied().unwrap_or_default()
    }
}

impl fmt::Debug for Stats {
    /// Every count by its name, and the kinds of which tokens were refused.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Stats");
        for (name, count) in self.iter() {
            shown.field(name, &count);
        }
        for kind in TokenErrorKind::ALL.iter().filter(|kind| self.refused(**kind) > 0) {
            shown.field(kind.as_str(), &self.refused(*kind));
        }
        shown.field("clock_skew", &self.clock_skew).finish()
    }
}

/// The handler and the counters of one issuer.
#[derive(Default)]
pub(crate) struct Events {
    handler: Option<Arc<Handler>>,
    /// A handler that uses the issuer gets no events for what it causes itself.
    handling: Reentrancy,
    held: Held<Event>,
    counters: [counter::Counter; COUNTS],
    refused: [counter::Counter; KINDS],
    /// Whether the last fetch of keys failed.
    keys_failed: AtomicBool,
}

pub(crate) type Handler = dyn Fn(&Event) + Send + Sync;

impl Events {
    pub(crate) fn new(handler: Option<Arc<Handler>>) -> Self {
        Self { handler, ..Self::default() }
    }

    /// Adds one to a count that is not an event's.
    pub(crate) fn count(&self, count: Count) {
        if let Some(counter) = self.counters.get(index(count)) {
            counter.increment();
        }
    }

    pub(crate) fn count_refusal(&self, kind: TokenErrorKind) {
        self.refused.get(index_of_kind(kind)).into_iter().for_each(counter::Counter::increment);
    }

    /// The event for a fetch of keys that succeeded.
    pub(crate) fn keys_refreshed(&self, usable: usize, skipped: usize) -> Event {
        Event::KeysRefreshed { usable, skipped, recovered: self.keys_failed.swap(false, Ordering::Relaxed) }
    }

    /// Counts the event, logs it and calls the handler, after the flight that this thread leads if it does. Call it with no lock held:
    /// the handler is the user's code.
    pub(crate) fn emit(&self, event: &Event) {
        if let Some(count) = counted_by(event) {
            self.count(count);
        }
        if matches!(event, Event::KeyRefreshFailed { .. }) {
            self.keys_failed.store(true, Ordering::Relaxed);
        }
        let reported = self.handler.is_some() || cfg!(feature = "log");
        if reported && !self.held.keep(event) {
            self.report(event);
        }
    }

    /// Runs what may fetch inside a flight. Events are reported afterwards, so a handler may use what was fetched, and a slow one makes
    /// no waiter wait.
    pub(crate) fn after_flight<R>(&self, flight: impl FnOnce() -> R) -> R {
        let _reports = self.held.begin().then(|| ReportOnDrop(self));
        flight()
    }

    fn report(&self, event: &Event) {
        #[cfg(feature = "log")]
        log::log!(target: "aero2", level(event), "{event}");
        if let (Some(handler), Some(_handling)) = (&self.handler, self.handling.enter()) {
            // A handler's panic is its own: the call that caused the event goes on.
            let _ = catch_unwind(AssertUnwindSafe(|| handler(event)));
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let value = |counter: Option<&counter::Counter>| counter.map_or(0, counter::Counter::value);
        Stats {
            clock_skew: None,
            counts: std::array::from_fn(|i| value(self.counters.get(i))),
            refused: std::array::from_fn(|i| value(self.refused.get(i))),
        }
    }
}

/// Also after a transport's panic.
struct ReportOnDrop<'a>(&'a Events);

impl Drop for ReportOnDrop<'_> {
    fn drop(&mut self) {
        self.0.held.end().iter().for_each(|event| self.0.report(event));
    }
}

fn counted_by(event: &Event) -> Option<Count> {
    Some(match event {
        Event::KeysRefreshed { .. }
        | Event::KeyRefreshFailed { .. }
        | Event::OldTokenServed {}
        | Event::ClockSkew { .. }
        | Event::SnapshotRefused { .. } => return None,
        Event::TokenFileRefused { .. } | Event::TokenFileNotWritten { .. } => return None,
        Event::StaleKeysServed {} => Count::StaleKeysServed,
        Event::UnknownKidRefused {} => Count::UnknownKidRefused,
        Event::RateLimited {} => Count::RateLimited,
        Event::TokenMinted { .. } => Count::TokenMinted,
        Event::MintFailed { .. } => Count::MintFailure,
    })
}

/// A recovery has the level of the failure, so that its end is seen where it was seen.
#[cfg(feature = "log")]
fn level(event: &Event) -> log::Level {
    match event {
        Event::KeysRefreshed { recovered: false, .. } | Event::TokenMinted { recovered: false } => log::Level::Debug,
        Event::UnknownKidRefused {} | Event::StaleKeysServed {} => log::Level::Info,
        _ => log::Level::Warn,
    }
}

#[expect(clippy::as_conversions, reason = "the discriminant of a fieldless enum")]
fn index(count: Count) -> usize {
    count as usize
}

#[expect(clippy::as_conversions, reason = "the discriminant of a fieldless enum")]
fn index_of_kind(kind: TokenErrorKind) -> usize {
    kind as usize
}

#[cfg(target_has_atomic = "64")]
mod counter {
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    pub(super) struct Counter(AtomicU64);

    impl Counter {
        pub(super) fn increment(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        pub(super) fn value(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }
}

#[cfg(not(target_has_atomic = "64"))]
mod counter {
    use parking_lot::Mutex;

    #[derive(Default)]
    pub(super) struct Counter(Mutex<u64>);

    impl Counter {
        pub(super) fn increment(&self) {
            let mut value = self.0.lock();
            *value = value.saturating_add(1);
        }

        pub(super) fn value(&self) -> u64 {
            *self.0.lock()
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(feature = "log")]
    fn the_end_of_a_failure_is_logged_at_the_level_of_the_failure() {
        use super::{Error, Event, Events, level};

        let events = Events::default();
        let failed = Event::KeyRefreshFailed { error: Error::clock() };
        events.emit(&failed);
        assert_eq!(level(&failed), log::Level::Warn);
        let recovered = events.keys_refreshed(2, 1);
        assert_eq!(level(&recovered), log::Level::Warn);
        assert_eq!(recovered.to_string(), "keys refreshed again after failures: 2 usable, 1 skipped");
        let usual = events.keys_refreshed(2, 1);
        assert_eq!(level(&usual), log::Level::Debug);
        assert_eq!(usual.to_string(), "keys refreshed: 2 usable, 1 skipped");
    }
}
