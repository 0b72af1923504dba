//! The handle that all capabilities hang on: one issuer, its keys and its discovery document.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::backoff::BackoffScope;
use crate::cache::refresh_ahead::{Cached, Fetch, Fetched, Initial, RefreshAheadCache};
use crate::error::{Detail, Endpoint, Error, NetworkErrorKind};
use crate::events::{Count, Event, Events, Stats};
use crate::http::headers;
use crate::http::url::IssuerUrl;
use crate::issuer::discovery::Metadata;
use crate::issuer::http_client::{HttpClient, body_text};
use crate::issuer::keys::{CachedKeys, KeyCache, RefetchCause};
use crate::issuer::snapshot::{MAX_TTL, Snapshot};
use crate::issuer::snapshot_loader::{SnapshotLoader, Step};
use crate::jose::jwk::JwkSet;
use crate::time::{Deadline, Now};
use crate::transport::Response;

pub(crate) mod builder;
pub(crate) mod discovery;
pub(crate) mod http_client;
pub(crate) mod keys;
pub(crate) mod oauth;
pub(crate) mod snapshot;
pub(crate) mod snapshot_loader;

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

struct Inner {
    connection: HttpClient,
    key_ttl: Duration,
    max_stale: Duration,
    discovery: RefreshAheadCache<Arc<Metadata>>,
    keys: KeyCache,
    boot: SnapshotLoader,
}

/// What an issuer is made from besides its connection.
pub(crate) struct Settings {
    pub(crate) key_ttl: Duration,
    pub(crate) max_stale: Duration,
    /// Keys in place of the issuer's.
    pub(crate) static_keys: Option<JwkSet>,
    /// Keys until the issuer's are there.
    pub(crate) first_keys: Option<JwkSet>,
    pub(crate) boot: SnapshotLoader,
}

impl Issuer {
    /// The issuer URL as it was given. The `iss` of a token must be the same, byte for byte.
    pub fn url(&self) -> &str {
        self.issuer_url().as_str()
    }

    /// Fetches the discovery document and the keys now, unless they are cached already, so that the first request need not wait.
    ///
    /// # Errors
    /// [`Error::Network`] if they cannot be fetched within the [`timeout`](crate::IssuerBuilder::timeout).
    pub fn preload(&self) -> Result<(), Error> {
        let deadline = self.deadline();
        self.metadata(BackoffScope::All, deadline)?;
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
        self.0.boot();
        let deadline = self.deadline();
        // The keys first and in any case: it is on them that requests depend.
        let keys = self.0.keys.refresh_if_due(&KeySource(&self.0), deadline);
        let discovery = self.0.discovery.refresh_if_due(&DiscoverySource(&self.0), deadline);
        keys.and(discovery)
    }

    /// Counts of what the caches have done so far.
    pub fn stats(&self) -> Stats {
        self.events().stats().with_clock_skew(self.connection().skew.seconds())
    }

    /// The discovery document and the keys as a text that a later process can start from, with
    /// [`IssuerBuilder::snapshot`](crate::IssuerBuilder::snapshot).
    ///
    /// Whatever is not cached yet is fetched. The text contains no secrets, but whoever can change it decides which tokens are
    /// accepted.
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
        let metadata = self.metadata(BackoffScope::All, deadline)?;
        let keys = self.keys(self.set_now()?, deadline)?;
        // Keys that the program came with say nothing of the issuer's.
        let (keys, age, ttl) = self.0.keys.with_age(keys.at).ok_or_else(|| self.0.keys.failure(keys.at))?;
        let fetched_at = self.now().wall.and_then(|wall| wall.checked_sub(age)).ok_or_else(Error::clock)?;
        let metadata = Metadata::clone(&metadata);
        Ok(Snapshot { fetched_at, ttl: ttl.min(MAX_TTL), metadata, keys }.to_json(self.issuer_url()))
    }

    fn from_parts(connection: HttpClient, settings: Settings) -> Self {
        let Settings { key_ttl, max_stale, static_keys, first_keys, boot } = settings;
        // A discovery document never stops serving: without one no token could be minted, and its URLs seldom change.
        let discovery = RefreshAheadCache::new(Endpoint::Discovery, Duration::MAX);
        let keys = KeyCache::new(max_stale, static_keys);
        if let Some(value) = first_keys {
            // Due at once, and serving until the issuer's own keys have come.
            let initial = Initial { value, age: None, ttl: Duration::ZERO, serves_for: Some(Duration::MAX) };
            keys.init(initial, connection.now());
        }
        Self(Arc::new(Inner { connection, key_ttl, max_stale, discovery, keys, boot }))
    }

    pub(crate) fn issuer_url(&self) -> &IssuerUrl {
        &self.0.connection.url
    }

    pub(crate) fn connection(&self) -> &HttpClient {
        &self.0.connection
    }

    pub(crate) fn now(&self) -> Now {
        self.0.connection.now()
    }

    /// The end of a call's total budget, which begins now.
    pub(crate) fn deadline(&self) -> Deadline {
        self.0.connection.deadline()
    }

    /// The end of what the one caller that draws a refresh-ahead pays at most.
    pub(crate) fn refresh_deadline(&self) -> Deadline {
        self.0.connection.refresh_deadline()
    }

    /// Both clocks, of which the wall's can be right.
    pub(crate) fn set_now(&self) -> Result<Now, Error> {
        self.0.boot();
        let now = self.now();
        self.since_epoch(now).map(|_| now)
    }

    /// The wall clock's time as a span since 1970, if that clock can be right.
    pub(crate) fn since_epoch(&self, now: Now) -> Result<Duration, Error> {
        let before_snapshot = self.0.boot.made_at().is_some_and(|made_at| now.wall.is_some_and(|wall| wall < made_at));
        now.since_epoch().filter(|_| !before_snapshot).ok_or_else(Error::clock)
    }

    pub(crate) fn events(&self) -> &Events {
        &self.0.connection.events
    }

    pub(crate) fn metadata(&self, scope: BackoffScope, deadline: Deadline) -> Result<Arc<Metadata>, Error> {
        self.0.metadata(scope, deadline).map(|held| held.value)
    }

    /// The keys, as they are `now` if they are cached; else the caller waits for them.
    pub(crate) fn keys(&self, now: Now, deadline: Deadline) -> Result<CachedKeys, Error> {
        self.0.boot();
        self.0.keys.get(&KeySource(&self.0), now, deadline)
    }

    /// Other keys than `seen`, for a token that those do not verify. A kid that stays unknown makes the discovery document due, since
    /// the key set may have moved.
    pub(crate) fn refetch(
        &self,
        cause: RefetchCause<'_>,
        seen: &CachedKeys,
        deadline: Deadline,
    ) -> Result<Option<CachedKeys>, Error> {
        let newer = self.0.keys.refetch(&KeySource(&self.0), cause, seen, deadline)?;
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
    /// Takes the snapshot into the caches as soon as its age is known; what was fetched meanwhile stays.
    fn boot(&self) {
        if self.boot.is_done() {
            return;
        }
        #[cfg(feature = "file-cache")]
        if let Err(problem) = self.boot.read_file(&self.connection.url) {
            self.connection.events.emit(&Event::SnapshotRefused { problem, path: None, error: None });
        }
        let now = self.connection.now();
        match self.boot.step(now, self.max_stale) {
            Step::Nothing => {}
            Step::Refuse(problem) => {
                self.connection.events.emit(&Event::SnapshotRefused { problem, path: None, error: None });
            }
            Step::Use(snapshot, age) => {
                let Snapshot { ttl, metadata, keys, .. } = *snapshot;
                let age = Some(age);
                let metadata = Initial { value: Arc::new(metadata), age, ttl: DISCOVERY_TTL, serves_for: None };
                self.discovery.init(metadata, now);
                self.keys.init(Initial { value: keys, age, ttl, serves_for: None }, now);
            }
        }
    }

    fn metadata(&self, scope: BackoffScope, deadline: Deadline) -> Result<Cached<Arc<Metadata>>, Error> {
        self.boot();
        self.discovery.get(scope, &DiscoverySource(self), self.connection.now(), deadline)
    }

    fn key_set_url(&self, metadata: &Metadata) -> Result<String, Error> {
        metadata.endpoint(Endpoint::Keys, &self.connection.url).map(Into::into)
    }

    /// The key set; where its URL has gone, the discovery document is read again, since that may name another.
    fn fetch_keys(&self, deadline: Deadline) -> Result<Fetched<JwkSet>, Error> {
        let metadata = self.metadata(BackoffScope::All, deadline)?;
        let url = self.key_set_url(&metadata.value)?;
        let gone = match self.get_keys(&url, deadline) {
            Err(Error::Network(e)) if matches!(e.kind(), NetworkErrorKind::Status(404 | 410)) => Error::Network(e),
            outcome => return outcome,
        };
        let again = self.discovery.refetch(&DiscoverySource(self), metadata.generation, deadline, |_| Ok(()));
        let Ok((newer, _)) = again else { return Err(gone) };
        let newer_url = self.key_set_url(&newer.value)?;
        if newer_url == url { Err(gone) } else { self.get_keys(&newer_url, deadline) }
    }

    /// One attempt, which is counted, and counted again if it fails.
    fn get_keys(&self, url: &str, deadline: Deadline) -> Result<Fetched<JwkSet>, Error> {
        self.connection.events.count(Count::KeyFetch);
        let response = self.connection.get(Endpoint::Keys, url, deadline);
        let fetched = response.and_then(|response| self.connection.judged(&response, self.parse_keys(&response)));
        if fetched.is_err() {
            self.connection.events.count(Count::KeyFetchFailure);
        }
        fetched
    }

    fn parse_keys(&self, response: &Response) -> Result<Fetched<JwkSet>, Error> {
        let text = body_text(Endpoint::Keys, response)?;
        let value = JwkSet::parse(text).map_err(|_| Error::invalid_response(Endpoint::Keys, Detail::Member("keys")))?;
        if value.is_empty() {
            return Err(Error::invalid_response(Endpoint::Keys, Detail::NoUsableKey));
        }
        let fresh_for = headers::freshness_lifetime(|| response.headers());
        let ttl = fresh_for.map_or(self.key_ttl, |fresh_for| fresh_for.clamp(MIN_KEY_TTL, MAX_TTL));
        Ok(Fetched { value, ttl })
    }

    /// Keeps what was fetched for the next process, unless nobody knows what time it is.
    #[cfg(feature = "file-cache")]
    fn save(&self, fetched: &Fetched<JwkSet>) {
        let now = self.connection.now();
        let (Some(fetched_at), Some((metadata, ..))) = (now.wall, self.discovery.with_age(now)) else {
            return;
        };
        let Fetched { value: keys, ttl } = fetched;
        let snapshot = || {
            let metadata = Metadata::clone(&metadata);
            Snapshot { fetched_at, ttl: *ttl, metadata, keys: keys.clone() }.to_json(&self.connection.url)
        };
        if let Err(problem) = self.boot.write_file(snapshot) {
            self.connection.events.emit(&Event::SnapshotRefused { problem, path: None, error: None });
        }
    }

    /// The discovery document, by the URL of OIDC Discovery §4 and, where there is none, of RFC 8414 §3.
    fn fetch_metadata(&self, deadline: Deadline) -> Result<Metadata, Error> {
        self.connection.events.count(Count::DiscoveryFetch);
        let url = &self.connection.url;
        let response = match self.connection.get(Endpoint::Discovery, &url.discovery_url(), deadline) {
            Err(Error::Network(e)) if e.kind() == NetworkErrorKind::Status(404) => {
                self.connection.get(Endpoint::Discovery, &url.oauth_metadata_url(), deadline)?
            }
            outcome => outcome?,
        };
        let read = body_text(Endpoint::Discovery, &response).and_then(|text| Metadata::parse(text, url));
        self.connection.judged(&response, read)
    }
}

struct KeySource<'a>(&'a Inner);

impl Fetch<JwkSet> for KeySource<'_> {
    fn reporting<R>(&self, flight: impl FnOnce() -> R) -> R {
        self.0.connection.events.after_flight(flight)
    }

    fn now(&self) -> Now {
        self.0.connection.now()
    }

    fn refresh_deadline(&self) -> Deadline {
        self.0.connection.refresh_deadline()
    }

    fn fetch(&self, deadline: Deadline) -> Result<Fetched<JwkSet>, Error> {
        let fetched = self.0.fetch_keys(deadline);
        #[cfg(feature = "file-cache")]
        if let Ok(fetched) = &fetched {
            self.0.save(fetched);
        }
        self.0.connection.events.emit(&match &fetched {
            Ok(Fetched { value, .. }) => self.0.connection.events.keys_refreshed(value.len(), value.skipped()),
            Err(error) => Event::KeyRefreshFailed { error: error.clone() },
        });
        fetched
    }
}

struct DiscoverySource<'a>(&'a Inner);

impl Fetch<Arc<Metadata>> for DiscoverySource<'_> {
    fn reporting<R>(&self, flight: impl FnOnce() -> R) -> R {
        self.0.connection.events.after_flight(flight)
    }

    fn now(&self) -> Now {
        self.0.connection.now()
    }

    fn refresh_deadline(&self) -> Deadline {
        self.0.connection.refresh_deadline()
    }

    fn fetch(&self, deadline: Deadline) -> Result<Fetched<Arc<Metadata>>, Error> {
        let metadata = self.0.fetch_metadata(deadline)?;
        Ok(Fetched { value: Arc::new(metadata), ttl: DISCOVERY_TTL })
    }
}

/// A `Cache-Control: max-age` below this would have us ask all day.
const MIN_KEY_TTL: Duration = Duration::from_secs(60);

/// Endpoints seldom move; where the key set's URL has gone, the document is read again at once.
const DISCOVERY_TTL: Duration = Duration::from_secs(24 * 3600);
