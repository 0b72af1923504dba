//! How an [`Issuer`] is made.

use std::fmt;
#[cfg(feature = "file-cache")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::reentrancy::Reentrancy;
use crate::cache::refresh_ahead::Initial;
use crate::error::{ConfigProblem, Error};
use crate::events::{Event, Events, Handler};
use crate::http::url::{IssuerUrl, Origin, is_good_address};
use crate::issuer::addresses::{Addresses, Given};
use crate::issuer::clock_check::ClockCheck;
use crate::issuer::discovery::Discovery;
use crate::issuer::http_client::{HttpClient, Skew};
use crate::issuer::keys::KeyCache;
use crate::issuer::retry_after::RetryAfterWaits;
use crate::issuer::snapshot::Snapshot;
#[cfg(feature = "file-cache")]
use crate::issuer::snapshot_file::SnapshotFile;
use crate::issuer::snapshot_loader::SnapshotLoader;
use crate::issuer::wall_clock::WallClock;
use crate::issuer::{Inner, Issuer};
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
#[derive(Clone)]
#[must_use]
pub struct IssuerBuilder {
    url: String,
    transport: Option<Arc<dyn Transport>>,
    clock: Option<Arc<dyn Clock>>,
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
    addresses: Given,
    reach_at: Option<String>,
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
            addresses: Given::default(),
            reach_at: None,
        }
    }

    /// What sends the requests. To share one among several issuers, pass an `Arc`. Defaults to
    /// [`UreqTransport`](struct.UreqTransport.html).
    pub fn transport(mut self, transport: impl Transport + 'static) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// The clock by which tokens and cached data are judged. Defaults to the machine's own.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Some(Arc::new(clock));
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

    /// Reads the discovery document at this URL instead of below the issuer's, for issuers whose document is elsewhere (Azure AD B2C,
    /// Oracle Identity Cloud). Its `issuer` must still be the configured one, byte for byte. Like the following URLs it must be `https`, or
    /// plain `http` on loopback or with [`dangerous_allow_http`](Self::dangerous_allow_http). Defaults to
    /// `{issuer}/.well-known/openid-configuration`.
    pub fn metadata_url(mut self, url: impl Into<String>) -> Self {
        self.addresses.metadata = Some(url.into());
        self
    }

    /// Fetches the keys at this URL, whatever the discovery document says. Verifying tokens then needs no discovery document. Defaults to
    /// the document's `jwks_uri`.
    ///
    /// ```
    /// let issuer = aero2::Issuer::builder("https://login.example.com/realms/main")
    ///     .keys_url("https://keycloak.internal/realms/main/protocol/openid-connect/certs")
    /// #   .transport(aero2::testing::TestIssuer::new().transport())
    ///     .build()?;
    /// # Ok::<(), aero2::Error>(())
    /// ```
    pub fn keys_url(mut self, url: impl Into<String>) -> Self {
        self.addresses.keys = Some(url.into());
        self
    }

    /// Requests tokens at this URL, whatever the discovery document says. Defaults to the document's `token_endpoint`.
    pub fn token_url(mut self, url: impl Into<String>) -> Self {
        self.addresses.token = Some(url.into());
        self
    }

    /// Introspects tokens at this URL, whatever the discovery document says. Defaults to the document's `introspection_endpoint`.
    pub fn introspection_url(mut self, url: impl Into<String>) -> Self {
        self.addresses.introspection = Some(url.into());
        self
    }

    /// Revokes tokens at this URL, whatever the discovery document says. Defaults to the document's `revocation_endpoint`.
    pub fn revocation_url(mut self, url: impl Into<String>) -> Self {
        self.addresses.revocation = Some(url.into());
        self
    }

    /// Connects to this scheme, host and port for every URL that has the issuer's own origin: the document, the keys and the endpoints.
    /// For an issuer that this program reaches under another name than its users do, such as Keycloak in a container network. Endpoints
    /// that the document names at this origin are fine as well. The `iss` of tokens and the document's `issuer` stay what they are. The
    /// certificate must be for this host; plain `http` off loopback needs [`dangerous_allow_http`](Self::dangerous_allow_http). Defaults
    /// to the issuer's own origin.
    ///
    /// ```
    /// let builder = aero2::Issuer::builder("https://login.example.com/realms/main");
    /// # let builder = builder.transport(aero2::testing::TestIssuer::new().transport());
    /// assert!(builder.clone().reach_at("https://keycloak:8443").build().is_ok());
    ///
    /// let refused = builder.reach_at("https://keycloak:8443/realms").build();
    /// assert!(refused.unwrap_err().to_string().contains("write it like https://keycloak:8443"));
    /// # Ok::<(), aero2::Error>(())
    /// ```
    pub fn reach_at(mut self, origin: impl Into<String>) -> Self {
        self.reach_at = Some(origin.into());
        self
    }

    /// What the `iss` of access tokens must be, byte for byte, for issuers that write another one than their URL (AD FS, products with a
    /// name of their own): any text. Defaults to the issuer URL.
    pub fn token_issuer(mut self, iss: impl Into<String>) -> Self {
        self.addresses.token_issuer = Some(iss.into());
        self
    }

    /// Builds the issuer. Does no I/O.
    ///
    /// # Errors
    /// [`Error::Config`] as for [`Issuer::new`]; also for a timeout of zero, for static keys or a snapshot that cannot be
    /// read or belong to another issuer, for static keys of which none is usable, for more than one source of keys, and for an address
    /// that cannot be used.
    pub fn build(self) -> Result<Issuer, Error> {
        if self.timeout.is_zero() || self.refresh_timeout.is_zero() {
            return Err(Error::config(ConfigProblem::ZeroTimeout));
        }
        self.check_key_sources()?;
        let addresses = self.checked_addresses()?;
        let read = |json: &str| {
            Snapshot::parse(json, &addresses).map_err(|problem| Error::config(ConfigProblem::Snapshot(problem)))
        };
        let snapshot = self.snapshot.as_deref().map(read).transpose()?;
        let wall_clock = WallClock::default();
        if let Some(snapshot) = &snapshot {
            wall_clock.set_not_before(snapshot.fetched_at);
        }
        #[cfg(feature = "file-cache")]
        let snapshots = match self.snapshot_file {
            Some(path) => SnapshotLoader::from_file(SnapshotFile::new(path)),
            None => SnapshotLoader::new(snapshot),
        };
        #[cfg(not(feature = "file-cache"))]
        let snapshots = SnapshotLoader::new(snapshot);
        let keys = KeyCache::new(self.max_stale, self.static_keys.as_deref().map(own_keys).transpose()?);
        let first_keys = self.first_keys.as_deref().map(own_keys).transpose()?;
        let http = HttpClient {
            addresses,
            transport: self.transport.map_or_else(default_transport, Ok)?,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            timeout: self.timeout,
            refresh_timeout: self.refresh_timeout,
            events: Events::new(self.handler),
            sending: Reentrancy::default(),
            skew: Skew::default(),
            waits: RetryAfterWaits::default(),
            wall_clock,
        };
        http.addresses.known_urls().iter().try_for_each(|url| http.check_transport(url))?;
        if let Some(value) = first_keys {
            // Due at once, and serving until the issuer's own keys have come.
            let initial = Initial { value, age: None, ttl: Duration::ZERO, serves_for: Some(Duration::MAX) };
            keys.init(initial, http.now());
        }
        Ok(Issuer::from_inner(Inner {
            http,
            key_ttl: self.key_ttl,
            max_stale: self.max_stale,
            discovery: Discovery::new(),
            keys,
            snapshots,
            clock_check: ClockCheck::new(),
        }))
    }

    /// One source of keys at most: with two of them one would be ignored.
    fn check_key_sources(&self) -> Result<(), Error> {
        let sources = [self.static_keys.is_some(), self.first_keys.is_some(), self.snapshot.is_some()];
        #[cfg(feature = "file-cache")]
        let sources = [sources.as_slice(), &[self.snapshot_file.is_some()]].concat();
        let set = sources.iter().filter(|set| **set).count();
        if set > 1 { Err(Error::config(ConfigProblem::KeySources)) } else { Ok(()) }
    }

    fn checked_addresses(&self) -> Result<Addresses, Error> {
        let issuer = IssuerUrl::parse(&self.url, self.allow_http)?;
        let Given { metadata, keys, token, introspection, revocation, token_issuer, .. } = &self.addresses;
        for (name, url) in [
            ("metadata_url", metadata),
            ("keys_url", keys),
            ("token_url", token),
            ("introspection_url", introspection),
            ("revocation_url", revocation),
        ] {
            if url.as_ref().is_some_and(|url| !is_good_address(url, self.allow_http)) {
                return Err(Error::config(ConfigProblem::Address(name)));
            }
        }
        if token_issuer.as_ref().is_some_and(String::is_empty) {
            return Err(Error::config(ConfigProblem::EmptyTokenIssuer));
        }
        let origin = |text: &String| Origin::parse(text).ok_or_else(|| Error::config(ConfigProblem::ReachAt));
        let reach_at = self.reach_at.as_ref().map(origin).transpose()?;
        if reach_at.as_ref().is_some_and(|origin| !origin.is_private() && !self.allow_http) {
            return Err(Error::config(ConfigProblem::ReachAtPlainHttp));
        }
        Ok(Addresses::new(issuer, Given { reach_at, ..self.addresses.clone() }))
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

#[cfg(feature = "ureq")]
fn default_transport() -> Result<Arc<dyn Transport>, Error> {
    Ok(Arc::new(crate::transport::ureq::UreqTransport::builder().build()?))
}

#[cfg(not(feature = "ureq"))]
fn default_transport() -> Result<Arc<dyn Transport>, Error> {
    Err(Error::config(ConfigProblem::NoTransport))
}
