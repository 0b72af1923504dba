//! The handle that all capabilities hang on: one issuer, its keys and its discovery document.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::backoff::BackoffScope;
use crate::cache::refresh_ahead::{Fetched, Initial};
use crate::error::{Endpoint, Error, NetworkErrorKind, SnapshotProblem};
use crate::events::{Event, Events, Stats};
use crate::issuer::clock_check::{ClockCheck, ClockFetch};
use crate::issuer::discovery::{Discovery, Metadata};
use crate::issuer::http_client::{HttpClient, authority};
use crate::issuer::keys::fetch::KeyFetch;
use crate::issuer::keys::{CachedKeys, KeyAccess, KeyCache, RefetchCause};
use crate::issuer::snapshot::{MAX_TTL, Snapshot};
use crate::issuer::snapshot_loader::{SnapshotLoader, Step};
use crate::jose::jwk::JwkSet;
use crate::time::{Deadline, Now};

pub(crate) mod addresses;
pub(crate) mod builder;
pub(crate) mod clock_check;
pub(crate) mod discovery;
pub(crate) mod http_client;
pub(crate) mod keys;
pub(crate) mod oauth_request;
pub(crate) mod retry_after;
pub(crate) mod snapshot;
#[cfg(feature = "file-cache")]
pub(crate) mod snapshot_file;
pub(crate) mod snapshot_loader;
pub(crate) mod wall_clock;

/// One Aero2 application, or any other issuer that follows the standards, with its discovery document and keys in a cache.
///
/// Everything else is made from it: [`resource_server`](Self::resource_server), [`m2m_client`](Self::m2m_client),
/// [`introspector`](Self::introspector) and [`revoker`](Self::revoker). They all share its caches, so build one `Issuer` per
/// application and clone it: a clone is a pointer. Building does no I/O; the first call that needs the network fetches what it
/// needs.
///
/// ```
/// use aero2::Issuer;
/// # #[cfg(feature = "ureq")] {
/// let issuer = Issuer::new("https://acme.aero2.dev")?;
/// let orders = issuer.resource_server().audience("orders").build()?;
/// # }
/// let err = Issuer::new("http://acme.aero2.dev").unwrap_err();
/// assert!(err.to_string().contains("use https"));
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone)]
pub struct Issuer(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) http: HttpClient,
    /// How long keys are fresh where the issuer does not say it.
    pub(crate) key_ttl: Duration,
    pub(crate) max_stale: Duration,
    pub(crate) discovery: Discovery,
    pub(crate) keys: KeyCache,
    pub(crate) snapshots: SnapshotLoader,
    pub(crate) clock_check: ClockCheck,
}

impl Issuer {
    /// The issuer URL as it was given. The `iss` of a token must be the same, byte for byte, unless
    /// [`token_issuer`](crate::IssuerBuilder::token_issuer) is set.
    pub fn url(&self) -> &str {
        self.http().addresses.issuer().as_str()
    }

    /// Fetches the discovery document and the keys now, unless they are cached already, so that the first request need not wait. Where
    /// the program gave the key set's URL, the document is left to the first call that needs it.
    ///
    /// # Errors
    /// [`Error::Network`] if they cannot be fetched within the [`timeout`](crate::IssuerBuilder::timeout).
    pub fn preload(&self) -> Result<(), Error> {
        let deadline = self.deadline();
        if self.http().addresses.given(Endpoint::Keys).is_none() {
            self.metadata(BackoffScope::All, deadline)?;
        }
        self.keys(self.now(), deadline).map(drop)
    }

    /// Refreshes the keys and the discovery document if they are due, that is after 80 % of their time to live, so that no
    /// request has to.
    ///
    /// For programs with a timer of their own: call it every minute or so. If nothing is due, it does nothing.
    ///
    /// # Errors
    /// [`Error::Network`] if a refresh was due and failed. The cached keys stay in use all the same.
    pub fn refresh_if_due(&self) -> Result<(), Error> {
        self.0.load_snapshot();
        let deadline = self.deadline();
        // The keys first and in any case: it is on them that requests depend.
        let keys = self.0.keys.refresh_if_due(&self.0.key_fetch(), deadline);
        let discovery = if self.0.refreshes_document(self.now()) {
            self.0.discovery.refresh_if_due(self.http(), deadline)
        } else {
            Ok(())
        };
        keys.and(discovery).map_err(|error| self.placed(error))
    }

    /// How long until [`refresh_if_due`](Self::refresh_if_due) would send something, for a timer that sleeps in between. Zero only where
    /// it would send now: back-off, budget and a key id that a token is waiting for are counted in.
    ///
    /// ```
    /// use std::time::Duration;
    /// let test = aero2::testing::TestIssuer::new();
    /// let issuer = test.issuer();
    /// assert_eq!(issuer.next_refresh_in(), Duration::ZERO);
    /// issuer.refresh_if_due()?;
    /// assert!(issuer.next_refresh_in() > Duration::from_secs(60));
    /// # Ok::<(), aero2::Error>(())
    /// ```
    pub fn next_refresh_in(&self) -> Duration {
        self.0.load_snapshot();
        let now = self.now();
        let (keys, document) = (self.0.keys.next_refresh_in(now), self.0.discovery.next_refresh_in(now));
        match self.0.discovery.cached(now) {
            Some(_) => keys.min(document),
            // Without the document there is no request for the keys either.
            None if self.0.refreshes_document(now) => document,
            None => keys,
        }
    }

    /// Forgets this crate's own back-off after failures, for a program that hears that the network is up. What the issuer asked for by
    /// `Retry-After` (RFC 9110 §10.2.3) is kept.
    pub fn retry_now(&self) {
        self.0.keys.retry_now();
        self.0.discovery.retry_now();
    }

    /// Counts of what the caches have done so far.
    pub fn stats(&self) -> Stats {
        self.events().stats().with_clock_skew(self.http().skew.seconds())
    }

    /// The discovery document and the keys as a text that a later process can start from, with
    /// [`IssuerBuilder::snapshot`](crate::IssuerBuilder::snapshot).
    ///
    /// What is not cached yet is fetched. The text contains no secrets, but anyone who can change it decides which tokens are accepted.
    /// It belongs to this issuer under the addresses that its builder was given.
    ///
    /// ```
    /// let test = aero2::testing::TestIssuer::new();
    /// let issuer = test.issuer();
    /// let saved = issuer.snapshot()?;
    ///
    /// let no_network =
    ///     |_: &aero2::Request<'_>| -> Result<aero2::Response, aero2::TransportError> {
    ///         Err(aero2::TransportError::new(aero2::NetworkErrorKind::Connect))
    ///     };
    /// let later =
    ///     aero2::Issuer::builder(test.url()).transport(no_network).snapshot(&saved).build()?;
    /// later.resource_server().build()?.verify_token(&test.token().sign())?;
    /// # Ok::<(), aero2::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Network`] if something is missing and cannot be fetched, [`Error::Clock`] if the wall clock is not set.
    pub fn snapshot(&self) -> Result<String, Error> {
        let deadline = self.deadline();
        let addresses = &self.http().addresses;
        let metadata = match addresses.given(Endpoint::Keys) {
            Some(_) => self.0.discovery.cached(self.now()),
            None => Some(self.metadata(BackoffScope::All, deadline)?),
        };
        let keys = self.keys(self.set_now()?, deadline)?;
        // Keys that the program came with say nothing of the issuer's.
        let (keys, age, ttl) = self.0.keys.with_age(keys.at).ok_or_else(|| self.0.keys.failure(keys.at))?;
        let fetched_at = self.now().wall.and_then(|wall| wall.checked_sub(age)).ok_or_else(Error::clock)?;
        let metadata = metadata.as_deref().cloned();
        Ok(Snapshot { fetched_at, ttl: ttl.min(MAX_TTL), metadata, keys }.to_json(addresses))
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    pub(crate) fn http(&self) -> &HttpClient {
        &self.0.http
    }

    pub(crate) fn discovery(&self) -> &Discovery {
        &self.0.discovery
    }

    /// What the `iss` of access tokens must be.
    pub(crate) fn token_issuer(&self) -> &str {
        self.http().addresses.token_issuer()
    }

    pub(crate) fn now(&self) -> Now {
        self.http().now()
    }

    /// The end of a call's total budget, which begins now.
    pub(crate) fn deadline(&self) -> Deadline {
        self.http().deadline()
    }

    /// The end of what the one caller that draws a refresh-ahead pays at most.
    pub(crate) fn refresh_deadline(&self) -> Deadline {
        self.http().refresh_deadline()
    }

    /// Both clocks, of which the wall's can be right.
    pub(crate) fn set_now(&self) -> Result<Now, Error> {
        self.0.load_snapshot();
        let now = self.now();
        if self.http().wall_clock.since_epoch(now).is_some() {
            return Ok(now);
        }
        self.0.confirm_clock(now).map_err(|error| self.placed(error))
    }

    /// The wall clock's time as a span since 1970, if that clock can be right.
    pub(crate) fn since_epoch(&self, now: Now) -> Result<Duration, Error> {
        self.http().wall_clock.since_epoch(now).ok_or_else(|| self.placed(Error::clock()))
    }

    /// Names the issuer's host in an error that no request has made. A caller whose time ran out in another's flight says what the leader
    /// says: without a discovery document, both wait for that.
    #[cold]
    pub(crate) fn placed(&self, error: Error) -> Error {
        let addresses = &self.http().addresses;
        let waited = matches!(&error, Error::Network(e) if e.kind() == NetworkErrorKind::Timeout
            && addresses.given(e.endpoint()).is_none());
        let error = if waited && self.0.discovery.cached(self.now()).is_none() {
            Error::network(NetworkErrorKind::Timeout, Endpoint::Discovery).maybe_retry_after(error.retry_after())
        } else {
            error
        };
        error.with_host(authority(self.url()))
    }

    /// Whether nothing was fetched yet, and nothing is there that spares a fetch.
    pub(crate) fn needs_first_fetch(&self) -> bool {
        self.0.load_snapshot();
        let stats = self.events().stats();
        stats.discovery_fetches() == 0 && stats.key_fetches() == 0 && self.0.keys.with_age(self.now()).is_none()
    }

    pub(crate) fn events(&self) -> &Events {
        &self.http().events
    }

    pub(crate) fn metadata(&self, scope: BackoffScope, deadline: Deadline) -> Result<Arc<Metadata>, Error> {
        self.0.load_snapshot();
        self.0.discovery.get(self.http(), scope, deadline).map_err(|error| self.placed(error))
    }

    /// The keys, as they are `now` if they are cached; else the caller waits for them.
    pub(crate) fn keys(&self, now: Now, access: impl Into<KeyAccess>) -> Result<CachedKeys, Error> {
        self.0.load_snapshot();
        self.0.keys.get(&self.0.key_fetch(), now, access.into()).map_err(|error| self.placed(error))
    }

    /// Other keys than `seen`, for a token that those do not verify. A kid that stays unknown makes the discovery document due, since
    /// the key set may have moved.
    pub(crate) fn refetch(
        &self,
        cause: RefetchCause<'_>,
        seen: &CachedKeys,
        access: impl Into<KeyAccess>,
    ) -> Result<Option<CachedKeys>, Error> {
        let newer = self.0.keys.refetch(&self.0.key_fetch(), cause, seen, access.into());
        let newer = newer.map_err(|error| self.placed(error))?;
        if let (RefetchCause::UnknownKid(kid), Some(keys)) = (cause, &newer) {
            if !keys.value.contains_kid(kid) {
                self.0.discovery.mark_due();
            }
        }
        Ok(newer)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Inner {
    /// Whether the document is refreshed ahead: where the keys' URL is given, only if something else has needed it.
    fn refreshes_document(&self, now: Now) -> bool {
        self.http.addresses.given(Endpoint::Keys).is_none() || self.discovery.cached(now).is_some()
    }

    /// Takes the snapshot into the caches as soon as its age is known; what was fetched meanwhile stays.
    fn load_snapshot(&self) {
        if self.snapshots.is_done() {
            return;
        }
        #[cfg(feature = "file-cache")]
        if let Some(file) = self.snapshots.unread_file() {
            let (snapshot, problem) = file.read(&self.http.addresses);
            if self.snapshots.note_read(snapshot, &self.http.wall_clock) {
                problem.iter().for_each(|event| self.http.events.emit(event));
            }
        }
        let now = self.http.now();
        match self.snapshots.step(now, &self.http.wall_clock, self.max_stale) {
            Step::Nothing => {}
            Step::Refuse(problem) => self.refuse_snapshot(problem),
            Step::Use(snapshot, age) => {
                let Snapshot { ttl, metadata, keys, .. } = *snapshot;
                if let Some(metadata) = metadata {
                    self.discovery.init(metadata, age, now);
                }
                self.keys.init(Initial { value: keys, age: Some(age), ttl, serves_for: None }, now);
            }
        }
    }

    fn refuse_snapshot(&self, problem: SnapshotProblem) {
        #[cfg(feature = "file-cache")]
        if let Some(file) = &self.snapshots.file {
            file.forget_content();
            return self.http.events.emit(&file.refused(problem, None));
        }
        self.http.events.emit(&Event::SnapshotRefused { problem, path: None, error: None });
    }

    /// Both clocks where the wall's stands before a snapshot, if the issuer's own time shows that it is the snapshot that is wrong.
    #[cold]
    fn confirm_clock(&self, now: Now) -> Result<Now, Error> {
        if self.http.wall_clock.is_before_snapshot(now) {
            let fetch = ClockFetch { http: &self.http, discovery: &self.discovery, keys: self.key_fetch() };
            self.clock_check.run(&fetch, self.http.refresh_deadline())?;
            self.load_snapshot();
        }
        let now = self.http.now();
        self.http.wall_clock.since_epoch(now).map(|_| now).ok_or_else(Error::clock)
    }

    fn key_fetch(&self) -> KeyFetch<'_, impl Fn(&Fetched<JwkSet>) + '_> {
        KeyFetch { http: &self.http, discovery: &self.discovery, ttl: self.key_ttl, keep: |fetched| self.keep(fetched) }
    }

    /// Keeps what was fetched for the next process, unless the clock is not set.
    #[cfg(feature = "file-cache")]
    fn keep(&self, fetched: &Fetched<JwkSet>) {
        let Some(file) = &self.snapshots.file else { return };
        self.load_snapshot();
        let now = self.http.now();
        let metadata = self.discovery.cached(now).as_deref().cloned();
        let is_complete = metadata.is_some() || self.http.addresses.given(Endpoint::Keys).is_some();
        let wall = now.wall.filter(|_| is_complete && self.http.wall_clock.since_epoch(now).is_some());
        let Some(fetched_at) = wall else { return };
        let snapshot = Snapshot { fetched_at, ttl: fetched.ttl, metadata, keys: fetched.value.clone() };
        let problem = file.write(&snapshot, &self.http.addresses);
        problem.iter().for_each(|event| self.http.events.emit(event));
    }

    #[cfg(not(feature = "file-cache"))]
    #[expect(clippy::unused_self, reason = "there is no file without the feature")]
    fn keep(&self, _: &Fetched<JwkSet>) {}
}
