//! Many tenants: each token goes to the resource server of its issuer.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::bearer::bearer_token;
use crate::bounded::BoundedMap;
use crate::digest::{Sha256, sha256};
use crate::error::{ConfigProblem, Error, TokenErrorKind};
use crate::jose::claims::Claims;
use crate::resource_server::ResourceServer;
use crate::resource_server::checks::{Expectation, Presented};
use crate::resource_server::options::VerifyOptions;

/// The resource servers of many issuers, of which each token goes to its own: one Aero2 application per tenant, for example.
///
/// A token is routed by its unverified `iss`, compared byte for byte, before any request; the resource server that it leads to then
/// verifies it with the keys of that issuer and of no other, so a token of one tenant never passes at another, even if both publish the
/// same key. A token of an unknown issuer costs no request and is refused with the kind [`WrongIssuer`](TokenErrorKind::WrongIssuer).
///
/// Which tenant a token is of, its [`Claims::issuer`] tells. A clone is a pointer; share one among all threads.
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
    tenants: Tenants,
}

enum Tenants {
    Listed(HashMap<Box<str>, ResourceServer>),
    Resolved { resolve: Box<Resolve>, known: Mutex<Known> },
}

/// What was resolved lately, by the digest of the issuer's URL.
struct Known {
    servers: BoundedMap<Sha256, ResourceServer>,
    /// Counts calls of `forget`: an answer from before one is not kept.
    forgotten: u64,
}

type Resolve = dyn Fn(&str) -> Option<ResourceServer> + Send + Sync;

impl ByIssuer {
    /// Of these resource servers, one for each issuer.
    ///
    /// # Errors
    /// [`Error::Config`] if there are none, or two of one issuer. Several audiences of one issuer are
    /// [`audiences`](crate::ResourceServerBuilder::audiences) of one resource server, or [`VerifyOptions::audience`] of a call.
    pub fn new(servers: impl IntoIterator<Item = ResourceServer>) -> Result<Self, Error> {
        let mut listed = HashMap::new();
        for server in servers {
            if listed.insert(Box::from(server.issuer().url()), server).is_some() {
                return Err(Error::config(ConfigProblem::DuplicateIssuer));
            }
        }
        // The longest that any of them takes; each refuses by its own limit after that.
        let longest = listed.values().map(ResourceServer::max_token_bytes).max();
        let max_token_bytes = longest.ok_or_else(|| Error::config(ConfigProblem::NoIssuers))?;
        Ok(Self(Arc::new(Inner { max_token_bytes, tenants: Tenants::Listed(listed) })))
    }

    /// Of the resource servers that `resolve` gives for an issuer's URL, for tenants that come and go. The `capacity` that were used
    /// lately are kept, with the keys that they fetched.
    ///
    /// **`resolve` decides whom you trust.** The text is the unverified `iss` of whatever was sent: look it up among the tenants that you
    /// know. To build an [`Issuer`](crate::Issuer) from any text would take the tokens of every stranger that runs an issuer, and send
    /// requests to wherever they like.
    ///
    /// It is called outside of every lock, on the thread of the call, and may be called for one issuer by several threads at once, of
    /// whose answers one is kept. `None` is not kept: an unknown issuer is asked about at each of its tokens, so keep the look-up
    /// cheap. An answer for another issuer counts as `None`. A tenant that was dropped serves on while it is kept:
    /// [`forget`](Self::forget) it. Tokens over 64 KiB are refused before `resolve` is asked, shorter ones by the limit of their
    /// resource server.
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
        let tenants = Tenants::Resolved {
            resolve: Box::new(resolve),
            known: Mutex::new(Known { servers: BoundedMap::new(capacity), forgotten: 0 }),
        };
        Ok(Self(Arc::new(Inner { max_token_bytes: MAX_RESOLVED_TOKEN_BYTES, tenants })))
    }

    /// Verifies a token by the resource server of its issuer.
    ///
    /// # Errors
    /// As [`ResourceServer::verify_token`]; the kind is [`WrongIssuer`](TokenErrorKind::WrongIssuer) for an issuer that is not known here.
    pub fn verify_token(&self, token: &str) -> Result<Claims, Error> {
        self.verify(token, &Expectation::default())
    }

    /// Like [`verify_token`](Self::verify_token), with the options of this one call.
    ///
    /// # Errors
    /// As [`ResourceServer::verify_token_with`], and as there.
    pub fn verify_token_with(&self, token: &str, options: &VerifyOptions) -> Result<Claims, Error> {
        self.verify(token, &options.expectation()?)
    }

    /// Verifies the token in the value of an `Authorization` header, as [`ResourceServer::authorize`] does.
    ///
    /// # Errors
    /// As [`verify_token`](Self::verify_token); without a header, or with one of another scheme, the kind is
    /// [`MissingToken`](TokenErrorKind::MissingToken).
    pub fn authorize(&self, authorization: Option<&str>) -> Result<Claims, Error> {
        self.verify_token(bearer_token(authorization).map_err(Error::token)?)
    }

    /// Like [`authorize`](Self::authorize), with the options of this one call.
    ///
    /// # Errors
    /// As [`authorize`](Self::authorize) and [`ResourceServer::verify_token_with`].
    pub fn authorize_with(&self, authorization: Option<&str>, options: &VerifyOptions) -> Result<Claims, Error> {
        self.verify_token_with(bearer_token(authorization).map_err(Error::token)?, options)
    }

    /// The resource server that the token goes to by its unverified `iss`, for [`ResourceServer::explain`] and the like. Nothing about
    /// the token is verified by this.
    ///
    /// # Errors
    /// [`Error::Token`] for what is no token, or of an issuer that is not known here.
    pub fn route(&self, token: &str) -> Result<ResourceServer, Error> {
        self.server_for(token).map(|(server, _)| server).map_err(Error::token)
    }

    /// Drops what `resolve` gave for that issuer; its next token asks again. Calls that are under way finish with what they have. Without
    /// a resolver this does nothing.
    pub fn forget(&self, issuer: &str) {
        if let Tenants::Resolved { known, .. } = &self.0.tenants {
            let digest = sha256(issuer.as_bytes());
            let mut known = known.lock();
            known.forgotten = known.forgotten.wrapping_add(1);
            let server = known.servers.remove(&digest);
            drop(known);
            drop(server);
        }
    }

    fn verify(&self, token: &str, expectation: &Expectation<'_>) -> Result<Claims, Error> {
        let (server, presented) = self.server_for(token).map_err(Error::token)?;
        server.verify(token, |_| Ok(presented), expectation)
    }

    fn server_for<'t>(&self, token: &'t str) -> Result<(ResourceServer, Presented<'t>), TokenErrorKind> {
        if token.len() > self.0.max_token_bytes {
            return Err(TokenErrorKind::TooLong);
        }
        let presented = Presented::read(token, None)?;
        let issuer = presented.unverified_issuer()?;
        let server = match &self.0.tenants {
            Tenants::Listed(listed) => listed.get(&*issuer).cloned(),
            Tenants::Resolved { resolve, known } => resolved(&issuer, resolve, known),
        };
        Ok((server.ok_or(TokenErrorKind::WrongIssuer)?, presented))
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
        let mut known = known.lock();
        if let Some(server) = known.servers.get(&digest) {
            return Some(server.clone());
        }
        known.forgotten
    };
    let server = resolve(issuer).filter(|server| server.issuer().url() == issuer)?;
    let mut known = known.lock();
    if let Some(earlier) = known.servers.get(&digest).cloned() {
        drop(known);
        return Some(earlier);
    }
    let kept = known.forgotten == before;
    let evicted = if kept { known.servers.insert(digest, server.clone()) } else { None };
    drop(known);
    drop(evicted);
    Some(server)
}

/// What a resolver's resource server takes is not known before it is asked. Beyond this no HTTP server hands on a header.
const MAX_RESOLVED_TOKEN_BYTES: usize = 64 * 1024;
