//! Reports what happens: events for a handler, counts for metrics, and lines for the `log` facade.

use std::fmt;
#[cfg(feature = "file-cache")]
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::cache::reentrancy::Reentrancy;
use crate::error::{Error, SnapshotProblem};

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
    },
    /// Keys could not be fetched. Cached keys, if there are any, stay in use.
    #[non_exhaustive]
    KeyRefreshFailed {
        /// Why.
        error: Error,
    },
    /// A token was verified with keys beyond their time to live, because the issuer cannot be reached.
    StaleKeysServed,
    /// A token's `kid` belongs to no key, even after asking the issuer again if the budget allowed it.
    UnknownKidRefused,
    /// A token's `kid` belongs to no key, and the budget for asking the issuer again is used up.
    RateLimited,
    /// An M2M token was minted.
    TokenMinted,
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
        /// Why.
        problem: SnapshotProblem,
    },
    /// A token file was not used because it is damaged or others may have written it. The issuer is asked instead. Feature
    /// `file-cache`.
    #[cfg(feature = "file-cache")]
    #[non_exhaustive]
    TokenFileRefused {
        /// Why.
        error: Arc<io::Error>,
    },
    /// A token file could not be written, so other processes have to ask for tokens of their own. Feature `file-cache`.
    #[cfg(feature = "file-cache")]
    #[non_exhaustive]
    TokenFileNotWritten {
        /// Why.
        error: Arc<io::Error>,
    },
    /// Renewing a token early failed, and the old token, which is still valid, stays in use.
    OldTokenServed,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeysRefreshed { usable, skipped } => write!(f, "keys refreshed: {usable} usable, {skipped} skipped"),
            Self::KeyRefreshFailed { error } => write!(f, "key refresh failed: {error}"),
            Self::StaleKeysServed => f.write_str("stale keys served"),
            Self::UnknownKidRefused => f.write_str("unknown key id refused"),
            Self::RateLimited => f.write_str("unknown key id not looked up: rate limited"),
            Self::TokenMinted => f.write_str("token minted"),
            Self::MintFailed { error } => write!(f, "minting a token failed: {error}"),
            Self::ClockSkew { seconds } => write!(f, "this clock is {seconds} s behind the issuer's"),
            Self::SnapshotRefused { problem } => write!(f, "snapshot not used: {problem}"),
            #[cfg(feature = "file-cache")]
            Self::TokenFileRefused { error } => write!(f, "token file not used: {error}"),
            #[cfg(feature = "file-cache")]
            Self::TokenFileNotWritten { error } => write!(f, "token file not written: {error}"),
            Self::OldTokenServed => f.write_str("early refresh failed, the old token serves on"),
        }
    }
}

/// What an [`Issuer`](crate::Issuer) has counted since it was built, for all its handles together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    counts: [u64; COUNTS],
    clock_skew: Option<i64>,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident => $count:ident,)+) => {
        /// One of the numbers of [`Stats`].
        #[derive(Clone, Copy, Debug)]
        pub(crate) enum Count { $($count),+ }

        const COUNTS: usize = [$(Count::$count),+].len();

        impl Stats {
            $($(#[$doc])* pub fn $name(&self) -> u64 { self.of(Count::$count) })+
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
}

impl Stats {
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

/// The handler and the counters of one issuer.
#[derive(Default)]
pub(crate) struct Events {
    handler: Option<Arc<Handler>>,
    /// A handler that uses the issuer gets no events for what it causes itself.
    telling: Reentrancy,
    counters: [counter::Counter; COUNTS],
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

    /// Counts, logs and tells. Call it with no lock held: the handler is the user's code.
    pub(crate) fn emit(&self, event: &Event) {
        if let Some(count) = counted_by(event) {
            self.count(count);
        }
        #[cfg(feature = "log")]
        log_line(event);
        if let (Some(handler), Some(_telling)) = (&self.handler, self.telling.enter()) {
            // A handler's panic is its own: the call that it was told of goes on.
            let _ = catch_unwind(AssertUnwindSafe(|| handler(event)));
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            clock_skew: None,
            counts: std::array::from_fn(|i| self.counters.get(i).map_or(0, counter::Counter::value)),
        }
    }
}

fn counted_by(event: &Event) -> Option<Count> {
    Some(match event {
        Event::KeysRefreshed { .. }
        | Event::KeyRefreshFailed { .. }
        | Event::OldTokenServed
        | Event::ClockSkew { .. }
        | Event::SnapshotRefused { .. } => return None,
        #[cfg(feature = "file-cache")]
        Event::TokenFileRefused { .. } | Event::TokenFileNotWritten { .. } => return None,
        Event::StaleKeysServed => Count::StaleKeysServed,
        Event::UnknownKidRefused => Count::UnknownKidRefused,
        Event::RateLimited => Count::RateLimited,
        Event::TokenMinted => Count::TokenMinted,
        Event::MintFailed { .. } => Count::MintFailure,
    })
}

#[cfg(feature = "log")]
fn log_line(event: &Event) {
    let level = match event {
        Event::KeysRefreshed { .. } | Event::TokenMinted => log::Level::Debug,
        Event::UnknownKidRefused | Event::StaleKeysServed => log::Level::Info,
        _ => log::Level::Warn,
    };
    log::log!(target: "aero2", level, "{event}");
}

#[expect(clippy::as_conversions, reason = "the discriminant of a fieldless enum")]
fn index(count: Count) -> usize {
    count as usize
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
