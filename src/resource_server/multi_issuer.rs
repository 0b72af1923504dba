//! Many tenants: each token goes to the resource server of its issuer.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::cache::bounded_map::BoundedMap;
use crate::claims::Claims;
use crate::crypto::{Sha256, sha256};
use crate::error::{ConfigProblem, Endpoint, Error, NetworkErrorKind, TokenErrorKind};
use crate::http::authorization::{bearer_token, single_value};
use crate::resource_server::ResourceServer;
use crate::resource_server::options::VerifyOptions;
use crate::resource_server::verify::UnverifiedToken;

/// A set of resource servers, one per issuer, that passes each token to the right one: for example, one Aero2 application per
/// tenant.
///
/// A token is routed by its unverified `iss`, compared byte for byte, before any request is made. The resource server that it
/// leads to then verifies it with the keys of that issuer and no other, so a token of one tenant is never accepted for another,
/// even if both publish the same key. A token from an unknown issuer costs no request and is refused with the kind
/// [`WrongIssuer`](TokenErrorKind::WrongIssuer).
///
/// [`Claims::issuer`] tells you which tenant a token belongs to. A clone is a pointer, so share one among all threads.
///
/// ```
/// use aero2::testing::TestIssuer;
/// use aero2::{ByIssuer, Error, TokenErrorKind};
///
/// let (acme, globex) = (
///     TestIssuer::with_url("https://acme.aero2.dev"),
///     TestIssuer::with_url("https://globex.aero2.dev"),
/// );
/// let tenants = ByIssuer::new([
///     acme.issuer().resource_server().audience("orders").build()?,
///     globex.issuer().resource_server().audience("orders").build()?,
/// ])?;
/// let claims = tenants.verify_token(&acme.token().audience("orders").sign())?;
/// assert_eq!(claims.issuer(), "https://acme.aero2.dev");
///
/// let stranger =
///     TestIssuer::with_url("https://initech.aero2.dev").token().audience("orders").sign();
/// let Err(Error::Token(e)) = tenants.verify_token(&stranger) else { panic!("accepted") };
/// assert_eq!(e.kind(), TokenErrorKind::WrongIssuer);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct ByIssuer(Arc<Inner>);

struct Inner {
    max_token_bytes: usize,
    resource_metadata: Option<Arc<str>>,
    tenants: Tenants,
}

enum Tenants {
    Listed(HashMap<Box<str>, ResourceServer>),
    Resolved { resolve: Box<Resolve>, known: Mutex<Known> },
}

/// What was resolved lately, by the digest of the issuer's URL.
struct Known {
    /// Issuers of which a token was verified, in the order of their last verified token.
    verified: BoundedMap<Sha256, ResourceServer>,
    /// The others, with their waits and budgets, in the order of their first token. They have a room of their own, so that no stranger's
    /// token evicts a verified issuer.
    others: BoundedMap<Sha256, ResourceServer>,
    first_fetches: FirstFetches,
    /// Counts calls of `forget`: an answer from before one is not kept.
    forgotten: u64,
}

impl Known {
    fn new(capacity: usize) -> Self {
        Self {
            verified: BoundedMap::new(capacity),
            others: BoundedMap::new(capacity.max(MIN_OTHERS)),
            first_fetches: FirstFetches::default(),
            forgotten: 0,
        }
    }

    fn get(&self, issuer: &Sha256) -> Option<&ResourceServer> {
        self.verified.peek(issuer).or_else(|| self.others.peek(issuer))
    }

    /// A token of the issuer was verified. Gives what had to go.
    fn note_verified(&mut self, issuer: Sha256) -> Option<ResourceServer> {
        if self.verified.get(&issuer).is_some() {
            return None;
        }
        let server = self.others.remove(&issuer)?;
        self.verified.insert(issuer, server)
    }
}

/// The budget that all issuers share of which no token was verified yet, so that strangers' tokens cause no discoveries without end. It
/// counts by the wall clock, since each issuer may have a monotonic one of its own.
#[derive(Default)]
struct FirstFetches {
    full_at: Duration,
}

impl FirstFetches {
    /// Takes one, or says how long until the next.
    fn try_acquire(&mut self, now: Duration) -> Result<(), Duration> {
        // A clock that was set back must not make anybody wait longer than an empty bucket does.
        let full_at = self.full_at.clamp(now, now.saturating_add(FIRST_FETCH_REFILL * FIRST_FETCH_BURST));
        let spare = FIRST_FETCH_REFILL * (FIRST_FETCH_BURST - 1);
        let wait = full_at.saturating_sub(now).saturating_sub(spare);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.full_at = full_at.saturating_add(FIRST_FETCH_REFILL);
        Ok(())
    }
}

type Resolve = dyn Fn(&str) -> Option<ResourceServer> + Send + Sync;

impl ByIssuer {
    /// Routes tokens among these resource servers, one for each issuer.
    ///
    /// # Errors
    /// [`Error::Config`] if there are none, or two for the same issuer. To accept several audiences of one issuer, use
    /// [`audiences`](crate::ResourceServerBuilder::audiences) or [`VerifyOptions::audience`].
    pub fn new(servers: impl IntoIterator<Item = ResourceServer>) -> Result<Self, Error> {
        let mut listed = HashMap::new();
        for server in servers {
            if listed.insert(Box::from(server.token_issuer()), server).is_some() {
                return Err(Error::config(ConfigProblem::DuplicateIssuer));
            }
        }
        // The longest that any of them takes; each refuses by its own limit after that.
        let longest = listed.values().map(ResourceServer::max_token_bytes).max();
        let max_token_bytes = longest.ok_or_else(|| Error::config(ConfigProblem::NoIssuers))?;
        let mut metadata = listed.values().map(ResourceServer::resource_metadata);
        let first = metadata.next().flatten().cloned();
        let resource_metadata = first.filter(|first| metadata.all(|other| other == Some(first)));
        Ok(Self(Arc::new(Inner { max_token_bytes, resource_metadata, tenants: Tenants::Listed(listed) })))
    }

    /// Routes tokens to the resource servers that `resolve` returns for an issuer's URL: for tenants that come and go. The
    /// `capacity` most recently used ones are kept, together with the keys that they fetched.
    ///
    /// **`resolve` decides whom you trust.** It receives the unverified `iss` of whatever somebody sent, so look that up among
    /// the tenants you know. If you built an [`Issuer`](crate::Issuer) from just any text, you would accept the tokens of every
    /// stranger who runs an issuer, and send requests wherever they like.
    ///
    /// It runs on the thread of the call while no lock is held, and several threads may call it for the same issuer at once; one
    /// of their answers is kept. `None` is not remembered: `resolve` runs for every token from an unknown issuer, so keep it
    /// cheap. A resource server of another issuer counts as `None`. A tenant that you have removed stays known while it is kept,
    /// until you [`forget`](Self::forget) it. Only verified tokens decide who is kept. All issuers of which no token was verified yet
    /// share a budget for their first fetches (10, then one a second), so that strangers' tokens cannot cause requests without
    /// end: beyond it the call is a retryable [`Error::Network`]. Tokens over 64 KiB are refused before `resolve` is called; shorter ones are subject
    /// to the limit of their resource server.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use aero2::ByIssuer;
    /// # use aero2::testing::TestIssuer;
    /// # let acme = TestIssuer::with_url("https://acme.aero2.dev");
    /// # let transport = acme.transport();
    ///
    /// // From your database: a tenant's issuer, and what it calls this service.
    /// let tenants = HashMap::from([("https://acme.aero2.dev", "orders")]);
    /// let by_issuer = ByIssuer::resolver(1_000, move |iss| {
    ///     let (known, audience) = tenants.get_key_value(iss)?;
    ///     let issuer = aero2::Issuer::builder(known).transport(transport.clone()).build().ok()?;
    ///     issuer.resource_server().audience(*audience).build().ok()
    /// })?;
    /// assert!(by_issuer.verify_token(&acme.token().audience("orders").sign()).is_ok());
    /// # Ok::<(), aero2::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] for a capacity of zero.
    pub fn resolver<F>(capacity: usize, resolve: F) -> Result<Self, Error>
    where
        F: Fn(&str) -> Option<ResourceServer> + Send + Sync + 'static,
    {
        if capacity == 0 {
            return Err(Error::config(ConfigProblem::CacheCapacity));
        }
        let tenants = Tenants::Resolved { resolve: Box::new(resolve), known: Mutex::new(Known::new(capacity)) };
        let max_token_bytes = MAX_RESOLVED_TOKEN_BYTES;
        Ok(Self(Arc::new(Inner { max_token_bytes, resource_metadata: None, tenants })))
    }

    /// Verifies a token with the resource server of its issuer.
    ///
    /// # Errors
    /// As [`ResourceServer::verify_token`]. For an unknown issuer the kind is [`WrongIssuer`](TokenErrorKind::WrongIssuer).
    pub fn verify_token(&self, token: &str) -> Result<Claims, Error> {
        self.verify_token_with(token, NO_OPTIONS)
    }

    /// Like [`verify_token`](Self::verify_token), with options for this one call.
    ///
    /// # Errors
    /// As [`verify_token`](Self::verify_token) and [`ResourceServer::verify_token_with`].
    pub fn verify_token_with(&self, token: &str, options: &VerifyOptions) -> Result<Claims, Error> {
        options.check_settings()?;
        let (server, parsed) = self.server_for(token).map_err(|kind| self.error(kind))?;
        let Tenants::Resolved { known, .. } = &self.0.tenants else {
            return server.verify(token, Some(parsed), options);
        };
        let issuer = sha256(server.token_issuer().as_bytes());
        admit_first_fetch(&server, &issuer, known)?;
        let claims = server.verify(token, Some(parsed), options)?;
        let gone = known.lock().note_verified(issuer);
        drop(gone);
        Ok(claims)
    }

    /// Verifies the token in the value of an `Authorization` header, as [`ResourceServer::authorize`] does.
    ///
    /// # Errors
    /// As [`verify_token`](Self::verify_token). If there is no header, or one with another scheme, the kind is
    /// [`MissingToken`](TokenErrorKind::MissingToken).
    pub fn authorize(&self, authorization: Option<&str>) -> Result<Claims, Error> {
        self.authorize_with(authorization, NO_OPTIONS)
    }

    /// Like [`authorize`](Self::authorize), with options for this one call.
    ///
    /// # Errors
    /// As [`authorize`](Self::authorize) and [`ResourceServer::verify_token_with`].
    pub fn authorize_with(&self, authorization: Option<&str>, options: &VerifyOptions) -> Result<Claims, Error> {
        self.verify_token_with(bearer_token(authorization).map_err(|kind| self.error(kind))?, options)
    }

    /// Like [`authorize`](Self::authorize), with the values of all `Authorization` headers of a request, as bytes.
    ///
    /// # Errors
    /// As [`authorize`](Self::authorize) and [`ResourceServer::authorize_all`].
    pub fn authorize_all<V: AsRef<[u8]>>(&self, values: impl IntoIterator<Item = V>) -> Result<Claims, Error> {
        self.authorize_all_with(values, NO_OPTIONS)
    }

    /// Like [`authorize_all`](Self::authorize_all), with options for this one call.
    ///
    /// # Errors
    /// As [`authorize_all`](Self::authorize_all) and [`ResourceServer::verify_token_with`].
    pub fn authorize_all_with<V: AsRef<[u8]>>(
        &self,
        values: impl IntoIterator<Item = V>,
        options: &VerifyOptions,
    ) -> Result<Claims, Error> {
        let value = single_value(values).map_err(|kind| self.error(kind))?;
        self.authorize_with(value.as_deref(), options)
    }

    /// The resource server that would receive the token, by its unverified `iss`: for [`ResourceServer::explain`], for example.
    /// This verifies nothing about the token.
    ///
    /// # Errors
    /// [`Error::Token`] if this is not a token at all, or comes from an unknown issuer.
    pub fn route(&self, token: &str) -> Result<ResourceServer, Error> {
        self.server_for(token).map(|(server, _)| server).map_err(|kind| self.error(kind))
    }

    /// Forgets what `resolve` returned for that issuer, so that its next token calls `resolve` again. Calls in progress finish
    /// with what they have. Without a resolver this does nothing.
    pub fn forget(&self, issuer: &str) {
        if let Tenants::Resolved { known, .. } = &self.0.tenants {
            let digest = sha256(issuer.as_bytes());
            let mut known = known.lock();
            known.forgotten = known.forgotten.wrapping_add(1);
            let servers = (known.verified.remove(&digest), known.others.remove(&digest));
            drop(known);
            drop(servers);
        }
    }

    /// A refusal before a resource server is found. Its challenge names the metadata that all of them share.
    fn error(&self, kind: TokenErrorKind) -> Error {
        let error = Error::token(kind);
        match &self.0.resource_metadata {
            Some(url) => error.with_resource_metadata(url),
            None => error,
        }
    }

    fn server_for<'t>(&self, token: &'t str) -> Result<(ResourceServer, UnverifiedToken<'t>), TokenErrorKind> {
        if token.len() > self.0.max_token_bytes {
            return Err(TokenErrorKind::TooLong);
        }
        let parsed = UnverifiedToken::parse(token, None).map_err(|refusal| refusal.kind)?;
        let issuer = parsed.unverified_issuer()?;
        let server = match &self.0.tenants {
            Tenants::Listed(listed) => listed.get(&*issuer).cloned(),
            Tenants::Resolved { resolve, known } => resolved(&issuer, resolve, known),
        };
        Ok((server.ok_or(TokenErrorKind::WrongIssuer)?, parsed))
    }
}

impl fmt::Debug for ByIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByIssuer").finish_non_exhaustive()
    }
}

/// The kept one, or what `resolve` says. Of several that were resolved at once the first is kept and given to all, so that they share
/// its keys. Nothing is dropped under the lock: what hangs on a resource server, its transport for one, is user code.
fn resolved(issuer: &str, resolve: &Resolve, known: &Mutex<Known>) -> Option<ResourceServer> {
    let digest = sha256(issuer.as_bytes());
    let before = {
        let known = known.lock();
        if let Some(server) = known.get(&digest) {
            return Some(server.clone());
        }
        known.forgotten
    };
    let server = resolve(issuer).filter(|server| server.token_issuer() == issuer)?;
    let mut known = known.lock();
    if let Some(earlier) = known.get(&digest).cloned() {
        drop(known);
        return Some(earlier);
    }
    let kept = known.forgotten == before;
    let evicted = if kept { known.others.insert(digest, server.clone()) } else { None };
    drop(known);
    drop(evicted);
    Some(server)
}

/// # Errors
/// `RateLimited` where the issuer must be asked for the first time, no token of it was verified yet, and the shared budget is spent.
fn admit_first_fetch(server: &ResourceServer, issuer: &Sha256, known: &Mutex<Known>) -> Result<(), Error> {
    if known.lock().verified.peek(issuer).is_some() || !server.issuer().needs_first_fetch() {
        return Ok(());
    }
    // Without a wall clock nothing is fetched for a token.
    let Some(now) = server.issuer().now().since_epoch() else { return Ok(()) };
    known
        .lock()
        .first_fetches
        .try_acquire(now)
        .map_err(|wait| Error::network(NetworkErrorKind::RateLimited, Endpoint::Discovery).with_retry_after(wait))
}

/// First fetches at once, and how long until one more.
const FIRST_FETCH_BURST: u32 = 10;
const FIRST_FETCH_REFILL: Duration = Duration::from_secs(1);

/// Room for issuers without a verified token, however small the capacity is: most of them hold no keys.
const MIN_OTHERS: usize = 64;

/// What a resolver's resource server takes is not known before it is asked. Beyond this no HTTP server hands on a header.
const MAX_RESOLVED_TOKEN_BYTES: usize = 64 * 1024;

const NO_OPTIONS: &VerifyOptions = &VerifyOptions::new();
