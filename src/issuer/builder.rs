//! How an [`Issuer`] is made.

use std::fmt;
#[cfg(feature = "file-cache")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::reentrancy::Reentrancy;
use crate::error::{ConfigProblem, Error};
use crate::events::{Event, Events, Handler};
use crate::http::url::IssuerUrl;
use crate::issuer::http_client::{HttpClient, Skew};
use crate::issuer::snapshot::Snapshot;
use crate::issuer::snapshot_loader::SnapshotLoader;
use crate::issuer::{Issuer, Settings};
use crate::jose::jwk::JwkSet;
use crate::time::{Clock, SystemClock};
use crate::transport::Transport;

impl Issuer {
    /// An issuer with the default settings: [`UreqTransport`](struct.UreqTransport.html), the machine's clock, and the limits of
    /// [`IssuerBuilder`].
    ///
    /// `url` must be what the tokens carry as `iss`, byte for byte; for Aero2 that is `https://{app}.aero2.dev`.
    ///
    /// # Errors
    /// [`Error::Config`] if `url` is not an absolute `https` URL, or contains user info, a query or a fragment (plain `http` is
    /// accepted on loopback only), or if there is no transport because the feature `ureq` is off.
    pub fn new(url: &str) -> Result<Self, Error> {
        Self::builder(url).build()
    }

    /// An issuer with settings of your own.
    pub fn builder(url: &str) -> IssuerBuilder {
        IssuerBuilder::new(url)
    }
}

/// The settings of an [`Issuer`] that is being built; made by [`Issuer::builder`].
///
/// ```
/// use std::time::Duration;
///
/// use aero2::{Event, Issuer};
/// let test = aero2::testing::TestIssuer::new();
///
/// let issuer = Issuer::builder(test.url())
///     .transport(test.transport()) // without this line, HTTPS by UreqTransport
///     .timeout(Duration::from_secs(5))
///     .max_stale(Duration::from_secs(24 * 3600))
///     .on_event(|event: &Event| eprintln!("{event}"))
///     .build()?;
/// assert!(issuer.resource_server().build()?.verify_token(&test.token().sign()).is_ok());
///
/// let refused = Issuer::builder("http://acme.aero2.dev").transport(test.transport()).build();
/// assert_eq!(
///     refused.unwrap_err().to_string(),
///     "a plain http issuer is accepted on loopback only; use https, or dangerous_allow_http"
/// );
/// # Ok::<(), aero2::Error>(())
/// ```
#[must_use]
pub struct IssuerBuilder {
    url: String,
    transport: Option<Box<dyn Transport>>,
    clock: Option<Box<dyn Clock>>,
    timeout: Duration,
    refresh_timeout: Duration,
    key_ttl: Duration,
    max_stale: Duration,
    allow_http: bool,
    handler: Option<Arc<Handler>>,
    static_keys: Option<String>,
    first_keys: Option<String>,
    snapshot: Option<String>,
    #[cfg(feature = "file-cache")]
    snapshot_file: Option<PathBuf>,
}

impl IssuerBuilder {
    fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            transport: None,
            clock: None,
            timeout: Duration::from_secs(10),
            refresh_timeout: Duration::from_secs(3),
            key_ttl: Duration::from_secs(600),
            max_stale: Duration::from_secs(3600),
            allow_http: false,
            handler: None,
            static_keys: None,
            first_keys: None,
            snapshot: None,
            #[cfg(feature = "file-cache")]
            snapshot_file: None,
        }
    }

    /// What sends the requests. To share one among several issuers, pass an `Arc`. Defaults to
    /// [`UreqTransport`](struct.UreqTransport.html).
    pub fn transport(mut self, transport: impl Transport + 'static) -> Self {
        self.transport = Some(Box::new(transport));
        self
    }

    /// The clock by which tokens and cached data are judged. Defaults to the machine's own.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Some(Box::new(clock));
        self
    }

    /// The time limit for one whole call: waiting for another caller's fetch, the DNS look-up, connecting, the complete answer,
    /// and a second try. Defaults to 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The time limit for refreshing keys or tokens that are still good. One caller does it while all others are served from the
    /// cache. It is never longer than [`timeout`](Self::timeout). Defaults to 3 s.
    pub fn refresh_timeout(mut self, timeout: Duration) -> Self {
        self.refresh_timeout = timeout;
        self
    }

    /// How long keys are fresh if the issuer does not say so with `Cache-Control: max-age` (which is limited to between 1 min and
    /// 24 h). Defaults to 600 s.
    pub fn key_ttl(mut self, ttl: Duration) -> Self {
        self.key_ttl = ttl;
        self
    }

    /// How long keys stay in use beyond their time to live while the issuer cannot be reached. A longer time makes an outage
    /// harmless for longer; a shorter one makes a withdrawn key useless sooner, even in an outage. Defaults to 3600 s.
    pub fn max_stale(mut self, max_stale: Duration) -> Self {
        self.max_stale = max_stale;
        self
    }

    /// Accepts a plain `http` issuer that is not on loopback. Anybody on the network path can then forge every token and read
    /// every secret: for isolated test networks only.
    pub fn dangerous_allow_http(mut self) -> Self {
        self.allow_http = true;
        self
    }

    /// A function that receives every [`Event`], on the thread of the call that caused it and while no lock is held. Defaults to
    /// none.
    pub fn on_event(mut self, handler: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.handler = Some(Arc::new(handler));
        self
    }

    /// Uses these keys (a JWK set, RFC 7517 §5) instead of the issuer's. Keys are never fetched, so tokens are verified without a
    /// network, and a key rotation needs a new build of your program. Defaults to none.
    pub fn static_keys(mut self, jwk_set: &str) -> Self {
        self.static_keys = Some(jwk_set.to_owned());
        self
    }

    /// Uses these keys (a JWK set, RFC 7517 §5), shipped with your program, until the issuer's own keys have been fetched. The
    /// first token triggers that fetch; while it fails, these keys stay in use, for however long. Defaults to none.
    pub fn static_then_remote(mut self, jwk_set: &str) -> Self {
        self.first_keys = Some(jwk_set.to_owned());
        self
    }

    /// Starts from what [`Issuer::snapshot`] returned in an earlier process, so that no network is needed. The keys count as
    /// fetched at the time when the snapshot was made; if that is longer ago than [`max_stale`](Self::max_stale), the snapshot is
    /// not used. A wall clock that is behind that time counts as not set ([`Error::Clock`]). Defaults to none.
    pub fn snapshot(mut self, json: &str) -> Self {
        self.snapshot = Some(json.to_owned());
        self
    }

    /// Keeps a [snapshot](Self::snapshot) in the file at `path`. The file is read when it is first needed and replaced as a whole
    /// after each refresh of the keys; only this user can read or write it. A file that is damaged, too old, from another issuer
    /// or writable by others is not used: [`Event::SnapshotRefused`] reports it, and the keys are fetched instead. Defaults to
    /// none.
    #[cfg(feature = "file-cache")]
    pub fn snapshot_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.snapshot_file = Some(path.into());
        self
    }

    /// Builds the issuer. Does no I/O.
    ///
    /// # Errors
    /// [`Error::Config`] as for [`Issuer::new`]; also for a timeout of zero, and for static keys or a snapshot that cannot be
    /// read or belong to another issuer, and for static keys of which none is usable.
    pub fn build(self) -> Result<Issuer, Error> {
        let url = IssuerUrl::parse(&self.url, self.allow_http)?;
        if self.timeout.is_zero() || self.refresh_timeout.is_zero() {
            return Err(Error::config(ConfigProblem::ZeroTimeout));
        }
        let boot = self.snapshot.as_deref().map_or_else(|| Ok(SnapshotLoader::default()), |json| boot(json, &url))?;
        #[cfg(feature = "file-cache")]
        let boot = boot.with_file(self.snapshot_file);
        let settings = Settings {
            key_ttl: self.key_ttl,
            max_stale: self.max_stale,
            static_keys: self.static_keys.as_deref().map(own_keys).transpose()?,
            first_keys: self.first_keys.as_deref().map(own_keys).transpose()?,
            boot,
        };
        let connection = HttpClient {
            url,
            transport: self.transport.map_or_else(default_transport, Ok)?,
            clock: self.clock.unwrap_or_else(|| Box::new(SystemClock::new())),
            timeout: self.timeout,
            refresh_timeout: self.refresh_timeout,
            events: Events::new(self.handler),
            sending: Reentrancy::default(),
            skew: Skew::default(),
        };
        connection.check_transport(connection.url.as_str())?;
        Ok(Issuer::from_parts(connection, settings))
    }
}

impl fmt::Debug for IssuerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerBuilder")
            .field("timeout", &self.timeout)
            .field("refresh_timeout", &self.refresh_timeout)
            .field("key_ttl", &self.key_ttl)
            .field("max_stale", &self.max_stale)
            .finish_non_exhaustive()
    }
}

/// The program's own keys, of which one must be usable.
fn own_keys(jwk_set: &str) -> Result<JwkSet, Error> {
    let keys = JwkSet::parse(jwk_set)?;
    if keys.is_empty() { Err(Error::config(ConfigProblem::NoUsableKey)) } else { Ok(keys) }
}

fn boot(snapshot: &str, issuer: &IssuerUrl) -> Result<SnapshotLoader, Error> {
    let snapshot =
        Snapshot::parse(snapshot, issuer).map_err(|problem| Error::config(ConfigProblem::Snapshot(problem)))?;
    Ok(SnapshotLoader::from_snapshot(snapshot))
}

#[cfg(feature = "ureq")]
fn default_transport() -> Result<Box<dyn Transport>, Error> {
    Ok(Box::new(crate::transport::ureq::UreqTransport::builder().build()?))
}

#[cfg(not(feature = "ureq"))]
fn default_transport() -> Result<Box<dyn Transport>, Error> {
    Err(Error::config(ConfigProblem::NoTransport))
}
