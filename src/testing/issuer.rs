//! The test issuer: its handle, its switches.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::cdn::CdnSettings;
use super::clock::ManualClock;
use super::endpoints::Site;
use super::faults::{Endpoint, Fault, Gate, Script};
use super::json::Json;
use super::memory::TestTransport;
use super::server::TestServer;
use super::state::{Proof, Settings, State};
use super::token::{TestToken, random_text};
use crate::jose::Algorithm;
use crate::{Issuer, IssuerBuilder, Request, Response, Transport, TransportError};

/// An issuer for tests that behaves like Aero2: discovery document, key set, client_credentials tokens, introspection and
/// revocation. A clone is the same issuer.
///
/// It runs in memory, and [`serve`](Self::serve) puts it on a loopback port as well. From the start it has one client,
/// [`CLIENT_ID`](Self::CLIENT_ID), with the scopes `api:read` and `api:write`.
///
/// ```
/// use aero2::testing::{Endpoint, TestIssuer};
/// use aero2::{Error, Introspection};
///
/// let test = TestIssuer::new();
/// let issuer = test.issuer();
///
/// let m2m = issuer.m2m_client(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build()?;
/// let token = m2m.access_token()?;
/// let claims = issuer.resource_server().build()?.verify_token(token.expose_secret())?;
/// assert!(claims.has_scope("api:read"));
/// assert_eq!(test.requests(Endpoint::Discovery), 1);
///
/// let introspector =
///     issuer.introspector(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build()?;
/// assert!(matches!(
///     introspector.introspect(token.expose_secret())?,
///     Introspection::Active(_)
/// ));
/// test.revoke(token.expose_secret());
/// assert!(matches!(
///     introspector.introspect(token.expose_secret())?,
///     Introspection::Inactive
/// ));
///
/// let wrong = issuer.m2m_client(TestIssuer::CLIENT_ID, "a wrong secret").build()?;
/// let Err(Error::OAuth(e)) = wrong.access_token() else { panic!("accepted") };
/// assert_eq!(e.error_code(), "invalid_client");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct TestIssuer {
    state: Arc<State>,
    site: Arc<Site>,
}

impl TestIssuer {
    /// The id of the client that every test issuer has.
    pub const CLIENT_ID: &'static str = "test-client";
    /// The secret of that client.
    pub const CLIENT_SECRET: &'static str = "test-secret";

    /// An issuer at `https://test.aero2.example`, on the machine's clock.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// An issuer at another URL. It may have a path.
    pub fn with_url(url: impl Into<String>) -> Self {
        Self::builder().url(url).build()
    }

    /// An issuer that uses a clock which the test moves.
    pub fn with_clock(clock: ManualClock) -> Self {
        Self::builder().clock(clock).build()
    }

    /// An issuer with more options.
    pub fn builder() -> TestIssuerBuilder {
        TestIssuerBuilder(Settings {
            url: String::from("https://test.aero2.example"),
            clock: None,
            algorithm: Algorithm::Rs256,
            token_lifetime: Duration::from_secs(3600),
            default_audience: None,
            keys_max_age: None,
            cdn: None,
            auth_methods: vec![String::from("client_secret_post")],
            oauth_metadata_only: false,
        })
    }

    /// The issuer's URL: its `iss`.
    pub fn url(&self) -> &str {
        &self.site.url
    }

    /// A transport that leads to this issuer without a network, and to no other host.
    pub fn transport(&self) -> TestTransport {
        TestTransport::new(self.state.clone(), self.site.clone())
    }

    /// The builder of an [`Issuer`] that is connected to this one and uses the same clock.
    pub fn issuer_builder(&self) -> IssuerBuilder {
        let builder = Issuer::builder(self.url()).transport(self.transport());
        match &self.state.settings.clock {
            Some(clock) => builder.clock(clock.clone()),
            None => builder,
        }
    }

    /// A new [`Issuer`] that is connected to this one and uses the same clock. It has caches of its own.
    ///
    /// # Panics
    /// If the URL passed to [`with_url`](Self::with_url) cannot be an issuer's.
    #[expect(clippy::expect_used, reason = "documented; a test's own URL is wrong")]
    pub fn issuer(&self) -> Issuer {
        self.issuer_builder().build().expect("a test issuer's URL must be one that an issuer may have")
    }

    /// Puts the same issuer (keys, clients, faults, counts) on a free port of 127.0.0.1 as well, until the handle is dropped.
    /// There its URL is [`TestServer::url`], and tokens that are minted there name that URL.
    ///
    /// # Errors
    /// If there is no free port, or no thread can be started.
    pub fn serve(&self) -> io::Result<TestServer> {
        self.serve_on(0)
    }

    /// Like [`serve`](Self::serve), on a port of your choice: for a restart at the same address.
    ///
    /// # Errors
    /// If the port is taken, or no thread can be started.
    pub fn serve_on(&self, port: u16) -> io::Result<TestServer> {
        TestServer::start(self.state.clone(), port)
    }

    /// A token of this issuer, which is good unless the test changes something.
    pub fn token(&self) -> TestToken {
        TestToken::new(self.state.clone(), self.site.url.clone())
    }

    /// An opaque refresh token for that client, valid for seven days. The client can introspect and revoke it.
    ///
    /// # Panics
    /// If the system has no randomness.
    pub fn refresh_token(&self, client_id: &str) -> String {
        let (token, expires) = (random_text(), self.state.now() + REFRESH_LIFETIME);
        self.state.registry.lock().refresh_tokens.insert(token.clone(), (client_id.to_owned(), expires));
        token
    }

    /// Registers a client that may use client_credentials with these scopes, or replaces it.
    pub fn register_client<S: AsRef<str>>(&self, id: &str, secret: &str, scopes: impl IntoIterator<Item = S>) {
        let scopes = Some(scopes.into_iter().map(|scope| scope.as_ref().to_owned()).collect());
        self.state.register(id, Proof::Secret(secret.to_owned()), scopes);
    }

    /// Registers a client that has a key instead of a secret; `jwk` is the public half. The issuer must accept `private_key_jwt`
    /// ([`TestIssuerBuilder::client_auth_methods`]). It accepts each assertion once.
    pub fn register_client_key<S: AsRef<str>>(&self, id: &str, jwk: &str, scopes: impl IntoIterator<Item = S>) {
        let scopes = Some(scopes.into_iter().map(|scope| scope.as_ref().to_owned()).collect());
        self.state.register(id, Proof::Key(jwk.to_owned()), scopes);
    }

    /// Registers a client that may introspect and revoke, but not mint tokens (`unauthorized_client`), like most resource
    /// servers.
    pub fn register_resource_server(&self, id: &str, secret: &str) {
        self.state.register(id, Proof::Secret(secret.to_owned()), None);
    }

    /// Sets or replaces a member of the discovery document.
    pub fn set_metadata(&self, name: &str, value: impl Into<Json>) {
        self.state.registry.lock().metadata.insert(name.to_owned(), Some(value.into()));
    }

    /// Removes a member from the discovery document. As at Aero2, `introspection_endpoint` is not in it from the start.
    pub fn remove_metadata(&self, name: &str) {
        self.state.registry.lock().metadata.insert(name.to_owned(), None);
    }

    /// The key set that is published now, as JSON.
    pub fn key_set(&self) -> String {
        self.state.keys.lock().key_set().to_string()
    }

    /// Adds a member to the key set as it is, valid or not.
    pub fn publish_jwk(&self, jwk: impl Into<String>) {
        self.state.keys.lock().publish(Json::raw(jwk));
    }

    /// Makes new keys for all algorithms in use. The old ones stay in the key set, so tokens signed with them remain good.
    pub fn rotate_keys(&self) {
        self.state.keys.lock().rotate(true);
    }

    /// Makes new keys for all algorithms in use and removes the old ones. Tokens signed with those are refused as soon as a
    /// verifier has fetched the key set again.
    pub fn rotate_keys_dropping_old(&self) {
        self.state.keys.lock().rotate(false);
    }

    /// Revokes an access or refresh token. Introspection reports it; a verification of its signature cannot.
    pub fn revoke(&self, token: &str) {
        self.state.registry.lock().revoked.insert(token.to_owned());
    }

    /// The number of requests that have arrived at that endpoint, in memory and on loopback.
    pub fn requests(&self, endpoint: Endpoint) -> usize {
        self.state.script.requests(endpoint)
    }

    /// Sets all counts of requests to zero.
    pub fn reset_counts(&self) {
        self.state.script.reset_counts();
    }

    /// Makes the next `times` requests to that endpoint fail with `fault`, after the faults that are already scheduled there.
    /// `u32::MAX` means for ever.
    pub fn fail(&self, endpoint: Endpoint, times: u32, fault: Fault) {
        self.state.script.fail(endpoint, times, fault);
    }

    /// Removes all faults that are still scheduled.
    pub fn clear_faults(&self) {
        self.state.script.clear_faults();
    }

    /// Holds back all requests to that endpoint from now on, until the gate is released or dropped.
    pub fn gate(&self, endpoint: Endpoint) -> Gate {
        self.state.script.gate(endpoint)
    }
}

/// As [`TestIssuer::transport`].
impl Transport for TestIssuer {
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        self.transport().send(request)
    }
}

impl Default for TestIssuer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TestIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestIssuer").field("url", &self.site.url).finish_non_exhaustive()
    }
}

/// The settings of a [`TestIssuer`] that is being built.
#[derive(Clone, Debug)]
pub struct TestIssuerBuilder(Settings);

impl TestIssuerBuilder {
    /// Sets the issuer's URL. Defaults to `https://test.aero2.example`.
    #[must_use]
    pub fn url(self, url: impl Into<String>) -> Self {
        Self(Settings { url: url.into(), ..self.0 })
    }

    /// Sets the clock. Defaults to the machine's.
    #[must_use]
    pub fn clock(self, clock: ManualClock) -> Self {
        Self(Settings { clock: Some(clock), ..self.0 })
    }

    /// Sets the algorithm that the issuer signs with. Defaults to RS256.
    #[must_use]
    pub fn algorithm(self, algorithm: Algorithm) -> Self {
        Self(Settings { algorithm, ..self.0 })
    }

    /// Sets how long its tokens live. Defaults to an hour.
    #[must_use]
    pub fn token_lifetime(self, lifetime: Duration) -> Self {
        Self(Settings { token_lifetime: lifetime, ..self.0 })
    }

    /// Sets the `aud` of minted tokens for requests without a parameter `audience` or `resource`. Defaults to none.
    #[must_use]
    pub fn default_audience(self, audience: impl Into<String>) -> Self {
        Self(Settings { default_audience: Some(audience.into()), ..self.0 })
    }

    /// Sets the `Cache-Control: max-age` of the key set. Defaults to none.
    #[must_use]
    pub fn keys_max_age(self, max_age: Duration) -> Self {
        Self(Settings { keys_max_age: Some(max_age), ..self.0 })
    }

    /// Puts a content delivery network in front of the key set. Its edges answer in turn, each with a copy that it keeps for
    /// `keeps_for`, so that an edge may be behind after a rotation. `Age` and `Date` (RFC 9111 §4.2.3) are by the issuer's clock.
    /// Defaults to none.
    ///
    /// ```
    /// use aero2::testing::{ManualClock, TestIssuer};
    /// use std::time::Duration;
    ///
    /// let clock = ManualClock::new();
    /// let test = TestIssuer::builder().clock(clock).cdn(2, Duration::from_secs(60)).build();
    /// let issuer = test.issuer();
    /// issuer.preload()?; // the first edge fetches a copy
    /// test.rotate_keys(); // of which the first edge does not know yet
    /// let rs = issuer.resource_server().build()?;
    /// assert!(rs.verify_token(&test.token().sign()).is_ok(), "the second edge has no copy yet");
    /// # Ok::<(), aero2::Error>(())
    /// ```
    #[must_use]
    pub fn cdn(self, edges: usize, keeps_for: Duration) -> Self {
        Self(Settings { cdn: Some(CdnSettings { edges, keeps_for }), ..self.0 })
    }

    /// Sets the methods of client authentication that are advertised and accepted, out of `client_secret_post`,
    /// `client_secret_basic` and `private_key_jwt`. Defaults to `client_secret_post` only.
    #[must_use]
    pub fn client_auth_methods<M: AsRef<str>>(self, methods: impl IntoIterator<Item = M>) -> Self {
        Self(Settings {
            auth_methods: methods.into_iter().map(|method| method.as_ref().to_owned()).collect(),
            ..self.0
        })
    }

    /// Publishes the metadata like an OAuth server without OpenID Connect (RFC 8414 §3): at
    /// `/.well-known/oauth-authorization-server`, and 404 at the address for OpenID Connect.
    #[must_use]
    pub fn oauth_metadata_only(self) -> Self {
        Self(Settings { oauth_metadata_only: true, ..self.0 })
    }

    /// Builds the issuer.
    pub fn build(self) -> TestIssuer {
        let site = Arc::new(Site::new(&self.0.url));
        let state = State {
            settings: self.0,
            keys: Mutex::default(),
            cdn: Mutex::default(),
            registry: Mutex::default(),
            script: Script::default(),
        };
        state.signing_key(state.settings.algorithm);
        let issuer = TestIssuer { state: Arc::new(state), site };
        issuer.register_client(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET, ["api:read", "api:write"]);
        issuer
    }
}

/// Aero2's refresh tokens live seven days.
const REFRESH_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
