//! One request that tells whether this machine's clock or a snapshot is wrong.

use std::time::Duration;

use crate::cache::backoff::BackoffScope;
use crate::cache::refresh_ahead::{Fetch, Fetched, RefreshAheadCache};
use crate::error::{Endpoint, Error};
use crate::issuer::discovery::Discovery;
use crate::issuer::http_client::HttpClient;
use crate::jose::jwk::JwkSet;
use crate::time::{Deadline, Now};

/// Bounds the requests: callers share one, and a clock that stays wrong backs off.
pub(crate) struct ClockCheck(RefreshAheadCache<()>);

impl ClockCheck {
    pub(crate) fn new() -> Self {
        Self(RefreshAheadCache::new(Endpoint::Discovery, Duration::ZERO))
    }

    /// Whether the issuer's time agrees with this clock.
    ///
    /// # Errors
    /// [`Error::Clock`] if it does not, or cannot be had.
    pub(crate) fn run<K: Fetch<JwkSet>>(&self, fetch: &ClockFetch<'_, K>, deadline: Deadline) -> Result<(), Error> {
        self.0.get(BackoffScope::All, fetch, fetch.now(), deadline).map(drop).map_err(|_| Error::clock())
    }
}

/// Fetches the discovery document, or the keys where the program does without one; both are used when they have come.
pub(crate) struct ClockFetch<'a, K> {
    pub(crate) http: &'a HttpClient,
    pub(crate) discovery: &'a Discovery,
    pub(crate) keys: K,
}

impl<K: Fetch<JwkSet>> Fetch<()> for ClockFetch<'_, K> {
    fn reporting<R>(&self, flight: impl FnOnce() -> R) -> R {
        self.http.events.after_flight(flight)
    }

    fn now(&self) -> Now {
        self.http.now()
    }

    fn refresh_deadline(&self) -> Deadline {
        self.http.refresh_deadline()
    }

    fn fetch(&self, deadline: Deadline) -> Result<Fetched<()>, Error> {
        let is_confirmed = || self.http.wall_clock.is_confirmed(self.http.now());
        if !is_confirmed() {
            match self.http.addresses.given(Endpoint::Keys) {
                Some(_) => self.keys.fetch(deadline).map(drop)?,
                None => self.discovery.fetch(self.http, deadline)?,
            }
        }
        if is_confirmed() { Ok(Fetched { value: (), ttl: Duration::ZERO }) } else { Err(Error::clock()) }
    }
}
