//! How a [`ResourceServer`] is made.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::claims::Claims;
use crate::claims::requirements::ClaimRequirements;
use crate::error::{ConfigProblem, Error};
use crate::issuer::Issuer;
use crate::jose::algorithm::Algorithm;
use crate::resource_server::metadata::is_resource_url;
use crate::resource_server::sender_constraint::SenderConstraint;
use crate::resource_server::verified_cache::VerifiedCache;
use crate::resource_server::verify::{CustomCheck, Requirements};
use crate::resource_server::{Inner, ResourceServer};

impl Issuer {
    /// Starts building a [`ResourceServer`], which verifies the access tokens of this issuer.
    pub fn resource_server(&self) -> ResourceServerBuilder {
        let policy = Requirements {
            issuer: self.token_issuer().into(),
            claims: ClaimRequirements::new(),
            tolerance: Duration::from_secs(30),
            algorithms: Algorithm::ALL.to_vec(),
            max_token_bytes: 16 * 1024,
            sender_constrained: SenderConstraint::CheckIfBound,
            max_token_age: None,
            require_not_before: false,
            rfc9068: false,
            custom_checks: Vec::new(),
        };
        ResourceServerBuilder { issuer: self.clone(), policy, resource_metadata: None, verified_tokens: None }
    }
}

/// The settings of a [`ResourceServer`] that is being built; made by [`Issuer::resource_server`].
///
/// ```
/// use aero2::jose::Algorithm;
/// let test = aero2::testing::TestIssuer::new();
///
/// let orders = test
///     .issuer()
///     .resource_server()
///     .audience("orders")
///     .required_scopes(["orders:read"])
///     .algorithms([Algorithm::Rs256])
///     .verified_token_cache(1024)
///     .build()?;
/// let token = || test.token().audience("orders").scope("orders:read");
/// assert!(orders.verify_token(&token().sign()).is_ok());
/// assert!(orders.verify_token(&token().algorithm(Algorithm::Es256).sign()).is_err());
///
/// let refused = test.issuer().resource_server().audience("").build();
/// assert_eq!(
///     refused.unwrap_err().to_string(),
///     "an audience is empty; write the name of this resource server"
/// );
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ResourceServerBuilder {
    issuer: Issuer,
    policy: Requirements,
    resource_metadata: Option<String>,
    verified_tokens: Option<usize>,
}

impl ResourceServerBuilder {
    /// The name of your service, which a token's `aud` must contain (RFC 8725 §3.9). Recommended: without it, a token that was
    /// issued for another service of the same issuer is accepted. Defaults to none: `aud` is not checked.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.audiences([audience.into()])
    }

    /// The names of your service, of which a token's `aud` must contain at least one. Defaults to none: `aud` is not checked.
    pub fn audiences<A: AsRef<str>>(mut self, audiences: impl IntoIterator<Item = A>) -> Self {
        self.policy.claims.set_audiences(audiences);
        self
    }

    /// How far this machine's clock and the issuer's may be apart. Defaults to 30 s.
    pub fn clock_tolerance(mut self, tolerance: Duration) -> Self {
        self.policy.tolerance = tolerance;
        self
    }

    /// The scopes that every token must have, all of them. A second call adds. Defaults to none.
    pub fn required_scopes<S: AsRef<str>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.policy.claims.add_required_scopes(scopes);
        self
    }

    /// Scopes of which every token must have at least one. A second call is a second condition. Defaults to none.
    ///
    /// ```
    /// let test = aero2::testing::TestIssuer::new();
    /// let rs = test.issuer().resource_server().any_scope(["api:read", "api:admin"]).build()?;
    /// assert!(rs.verify_token(&test.token().scope("api:admin").sign()).is_ok());
    /// assert_eq!(rs.verify_token(&test.token().sign()).unwrap_err().http_status(), 403);
    /// # Ok::<(), aero2::Error>(())
    /// ```
    pub fn any_scope<S: AsRef<str>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.policy.claims.add_any_scope(scopes);
        self
    }

    /// A claim that must have one of these values: `pointer` is a JSON Pointer (RFC 6901), and the value there must be a string
    /// equal to one of `values`, or an array that contains one. Otherwise the kind is
    /// [`InsufficientClaim`](crate::TokenErrorKind::InsufficientClaim). A second call is a second condition. Defaults to none.
    ///
    /// ```
    /// use aero2::testing::Json;
    /// let test = aero2::testing::TestIssuer::new();
    /// let rs = test
    ///     .issuer()
    ///     .resource_server()
    ///     .require_claim("/realm_access/roles", ["operator", "admin"])
    ///     .build()?;
    /// let token = |roles: Vec<&str>| {
    ///     test.token().claim("realm_access", Json::object([("roles", roles)])).sign()
    /// };
    /// assert!(rs.verify_token(&token(vec!["guest", "operator"])).is_ok());
    /// assert_eq!(rs.verify_token(&token(vec!["guest"])).unwrap_err().http_status(), 403);
    /// # Ok::<(), aero2::Error>(())
    /// ```
    pub fn require_claim<S: AsRef<str>>(mut self, pointer: &str, values: impl IntoIterator<Item = S>) -> Self {
        self.policy.claims.add_claim(pointer, values);
        self
    }

    /// A check of your own, which runs after all others and again for a token from the
    /// [`verified_token_cache`](Self::verified_token_cache). If it returns false, the kind is
    /// [`CheckFailed`](crate::TokenErrorKind::CheckFailed); `explain` shows `name`. No lock is held while it runs, and its panic is
    /// the caller's. A second call is a second check. Defaults to none.
    pub fn custom_check(
        mut self,
        name: impl Into<String>,
        check: impl Fn(&Claims) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.policy.custom_checks.push(CustomCheck { name: name.into(), check: Arc::new(check) });
        self
    }

    /// How old a token may be at most, by `iat`, which it must then have. An older one is
    /// [`Expired`](crate::TokenErrorKind::Expired). Defaults to no limit but `exp`.
    pub fn max_token_age(mut self, age: Duration) -> Self {
        self.policy.max_token_age = Some(age);
        self
    }

    /// Every token must have `nbf`. Defaults to not.
    pub fn require_not_before(mut self) -> Self {
        self.policy.require_not_before = true;
        self
    }

    /// Accepts access tokens by the letter of RFC 9068 only: `typ` is `at+jwt`, and `iss`, `exp`, `aud`, `sub`, `client_id`, `iat`
    /// and `jti` are there (§2.2). A token with `at_hash` is an ID token. Defaults to not.
    pub fn rfc9068(mut self) -> Self {
        self.policy.rfc9068 = true;
        self
    }

    /// Where this service publishes its metadata (RFC 9728 §3): the URL goes into every challenge (§5.1). The document itself is
    /// [`protected_resource_metadata`](ResourceServer::protected_resource_metadata). Defaults to none.
    pub fn resource_metadata(mut self, url: impl Into<String>) -> Self {
        self.resource_metadata = Some(url.into());
        self
    }

    /// The signature algorithms to accept (RFC 8725 §3.1). Defaults to [`Algorithm::ALL`]. In any case a key is used only for the
    /// algorithms that it is meant for.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.policy.algorithms = algorithms.into_iter().collect();
        self
    }

    /// The longest token to accept, in bytes. Defaults to 16 KiB.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.policy.max_token_bytes = bytes;
        self
    }

    /// What to do with a token that is bound to a key of its sender by the claim `cnf`. Defaults to
    /// [`SenderConstraint::CheckIfBound`].
    pub fn sender_constrained(mut self, mode: SenderConstraint) -> Self {
        self.policy.sender_constrained = mode;
        self
    }

    /// Remembers up to `capacity` tokens whose signature was good, so that verifying one again costs a SHA-256 and a look-up.
    /// Every time, expiry, audience and scopes are still checked, and so is whether the issuer still publishes the key. Refused
    /// tokens are never remembered.
    ///
    /// An entry takes about 300 bytes more than the claims. Defaults to none.
    pub fn verified_token_cache(mut self, capacity: usize) -> Self {
        self.verified_tokens = Some(capacity);
        self
    }

    /// Builds the resource server. Does no I/O.
    ///
    /// # Errors
    /// [`Error::Config`] for an empty list of audiences, algorithms, scopes or values, an empty audience, a malformed scope, a text
    /// that is not a JSON Pointer, a cache with a capacity of zero, or a bad URL of the metadata.
    pub fn build(self) -> Result<ResourceServer, Error> {
        let Self { issuer, policy, resource_metadata, verified_tokens } = self;
        policy.claims.check_settings()?;
        if policy.algorithms.is_empty() {
            return Err(Error::config(ConfigProblem::EmptyAlgorithmList));
        }
        if verified_tokens == Some(0) {
            return Err(Error::config(ConfigProblem::CacheCapacity));
        }
        if resource_metadata.as_deref().is_some_and(|url| !is_resource_url(url)) {
            return Err(Error::config(ConfigProblem::ResourceUrl));
        }
        Ok(ResourceServer(Arc::new(Inner {
            issuer,
            policy,
            resource_metadata: resource_metadata.map(Arc::from),
            verified: verified_tokens.map(VerifiedCache::new),
            header: Mutex::default(),
        })))
    }
}
