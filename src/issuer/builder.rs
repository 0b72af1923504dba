//! How an [`Issuer`] is made.

use std::fmt;
#[cfg(feature = "file-cache")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::error::{ConfigProblem, Error};
use crate::events::{Event, Events, Handler};
use crate::inside::Inside;
use crate::issuer::boot::Boot;
use crate::issuer::connection::{Connection, Skew};
use crate::issuer::snapshot::Snapshot;
use crate::issuer::{Issuer, Settings};
use crate::jose::jwk::JwkSet;
use crate::transport::Transport;
use crate::url::IssuerUrl;

impl Issuer {
    /// An issuer with every default: [`UreqTransport`](crate::UreqTransport), the machine's clock, the budgets of [`IssuerBuilder`].
    ///
    /// `url` is the issuer as it stands in the tokens' `iss`, byte for byte; for Aero2 `https://{app}.aero2.dev`.
    ///
    /// # Errors
    /// [`Error::Config`] if `url` is no absolute `https` URL without user info, query and fragment (plain `http` is taken on loopback
    /// only), or if there is no transport because the feature `ureq` is off.
    pub fn new(url: &str) -> Result<Self, Error> {
        Self::builder(url).build()
    }

    /// An issuer with choices of your own.
    pub fn builder(url: &str) -> IssuerBuilder {
        IssuerBuilder::new(url)
    }
}

/// Makes an [`Issuer`]; from [`Issuer::builder`].
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

    /// The way to the network. Share one among many issuers by `Arc`. Defaults to [`UreqTransport`](crate::UreqTransport).
    pub fn transport(mut self, transport: impl Transport + 'static) -> Self {
        self.transport = Some(Box::new(transport));
        self
    }

    /// The clocks that decide validity and time to live. Defaults to the machine's.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Some(Box::new(clock));
        self
    }

    /// The total budget of one call: waiting for another caller's fetch, name resolution, connecting, the whole answer, a second
    /// try. Defaults to 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What the one caller that draws a refresh-ahead pays at most (never more than [`timeout`](Self::timeout)). Defaults to 3 s.
    pub fn refresh_timeout(mut self, timeout: Duration) -> Self {
        self.refresh_timeout = timeout;
        self
    }

    /// How long keys are fresh when the issuer does not say it by `Cache-Control: max-age` (which is clamped to 1 min … 24 h).
    /// Defaults to 600 s.
    pub fn key_ttl(mut self, ttl: Duration) -> Self {
        self.key_ttl = ttl;
        self
    }

    /// How long past their time to live keys still serve while the issuer cannot be reached. Longer means calmer in an outage,
    /// shorter means that a withdrawn key dies sooner in one. Defaults to 3600 s.
    pub fn max_stale(mut self, max_stale: Duration) -> Self {
        self.max_stale = max_stale;
        self
    }

    /// Takes a plain `http` issuer that is not on loopback. Whoever sits on the way can then forge every token and read every
    /// secret; for closed test networks only.
    pub fn dangerous_allow_http(mut self) -> Self {
        self.allow_http = true;
        self
    }

    /// Is told of each [`Event`], on the thread of the call that caused it and outside of every lock. Defaults to none.
    pub fn on_event(mut self, handler: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.handler = Some(Arc::new(handler));
        self
    }

    /// These keys (a JWK set, RFC 7517 §5) in place of the issuer's: none is ever fetched, so tokens are verified without any network
    /// and a rotation needs a new program. Defaults to none.
    pub fn static_keys(mut self, jwk_set: &str) -> Self {
        self.static_keys = Some(jwk_set.to_owned());
        self
    }

    /// These keys (a JWK set, RFC 7517 §5), which came with the program, until the issuer's own have been fetched: the first token tries
    /// to fetch them, and while that fails these serve, however long. Defaults to none.
    pub fn static_then_remote(mut self, jwk_set: &str) -> Self {
        self.first_keys = Some(jwk_set.to_owned());
        self
    }

    /// What [`Issuer::snapshot`] gave to an earlier process, so that this one starts without the network. It serves as if it had been
    /// fetched when it was made; older than [`max_stale`](Self::max_stale) it is not used. A wall clock that stands before the snapshot's
    /// time is taken for unset ([`Error::Clock`]). Defaults to none.
    pub fn snapshot(mut self, json: &str) -> Self {
        self.snapshot = Some(json.to_owned());
        self
    }

    /// Keeps a [snapshot](Self::snapshot) in the file at `path`: read when it is first needed, written anew after each refresh of the
    /// keys, whole or not at all, readable and writable by this user only. A file that is damaged, too old, of another issuer or writable
    /// by others is not used: [`Event::SnapshotRefused`] says so, and the network is used. Defaults to none.
    #[cfg(feature = "file-cache")]
    pub fn snapshot_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.snapshot_file = Some(path.into());
        self
    }

    /// The issuer. Does no I/O.
    ///
    /// # Errors
    /// [`Error::Config`]: see [`Issuer::new`]; also if a timeout is zero, and for static keys or a snapshot that are none, or are of another
    /// issuer.
    pub fn build(self) -> Result<Issuer, Error> {
        let url = IssuerUrl::parse(&self.url, self.allow_http)?;
        if self.timeout.is_zero() || self.refresh_timeout.is_zero() {
            return Err(Error::config(ConfigProblem::ZeroTimeout));
        }
        let boot = self.snapshot.as_deref().map_or_else(|| Ok(Boot::default()), |json| boot(json, &url))?;
        #[cfg(feature = "file-cache")]
        let boot = boot.with_file(self.snapshot_file);
        let settings = Settings {
            key_ttl: self.key_ttl,
            max_stale: self.max_stale,
            static_keys: self.static_keys.as_deref().map(JwkSet::parse).transpose()?,
            first_keys: self.first_keys.as_deref().map(JwkSet::parse).transpose()?,
            boot,
        };
        let connection = Connection {
            url,
            transport: self.transport.map_or_else(default_transport, Ok)?,
            clock: self.clock.unwrap_or_else(|| Box::new(SystemClock::new())),
            timeout: self.timeout,
            refresh_timeout: self.refresh_timeout,
            events: Events::new(self.handler),
            sending: Inside::default(),
            skew: Skew::default(),
        };
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

fn boot(snapshot: &str, issuer: &IssuerUrl) -> Result<Boot, Error> {
    let snapshot =
        Snapshot::parse(snapshot, issuer).map_err(|problem| Error::config(ConfigProblem::Snapshot(problem)))?;
    Ok(Boot::from_snapshot(snapshot))
}

#[cfg(feature = "ureq")]
fn default_transport() -> Result<Box<dyn Transport>, Error> {
    Ok(Box::new(crate::transport::ureq::UreqTransport::builder().build()?))
}

#[cfg(not(feature = "ureq"))]
fn default_transport() -> Result<Box<dyn Transport>, Error> {
    Err(Error::config(ConfigProblem::NoTransport))
}
