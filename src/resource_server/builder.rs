//! How a [`ResourceServer`] is made.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{ConfigProblem, Error};
use crate::issuer::Issuer;
use crate::jose::algorithm::Algorithm;
use crate::resource_server::options::{check_audiences, check_scopes, owned};
use crate::resource_server::reader::Reader;
use crate::resource_server::sender_constraint::SenderConstraint;
use crate::resource_server::verified_cache::VerifiedCache;
use crate::resource_server::verify::{Requirements, StringSet};
use crate::resource_server::{Inner, ResourceServer};

impl Issuer {
    /// Starts building a [`ResourceServer`], which verifies the access tokens of this issuer.
    pub fn resource_server(&self) -> ResourceServerBuilder {
        ResourceServerBuilder {
            issuer: self.clone(),
            audiences: None,
            clock_tolerance: Duration::from_secs(30),
            required_scopes: StringSet::default(),
            algorithms: Algorithm::ALL.to_vec(),
            max_token_bytes: 16 * 1024,
            sender_constrained: SenderConstraint::CheckIfBound,
            verified_tokens: None,
        }
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
    audiences: Option<StringSet>,
    clock_tolerance: Duration,
    required_scopes: StringSet,
    algorithms: Vec<Algorithm>,
    max_token_bytes: usize,
    sender_constrained: SenderConstraint,
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
        self.audiences = Some(audiences.into_iter().map(owned).collect());
        self
    }

    /// How far this machine's clock and the issuer's may be apart. Defaults to 30 s.
    pub fn clock_tolerance(mut self, tolerance: Duration) -> Self {
        self.clock_tolerance = tolerance;
        self
    }

    /// The scopes that every token must have, all of them. Defaults to none.
    pub fn required_scopes<S: AsRef<str>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.required_scopes = scopes.into_iter().map(owned).collect();
        self
    }

    /// The signature algorithms to accept (RFC 8725 §3.1). Defaults to [`Algorithm::ALL`]. In any case a key is used only for the
    /// algorithms that it is meant for.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// The longest token to accept, in bytes. Defaults to 16 KiB.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_token_bytes = bytes;
        self
    }

    /// What to do with a token that is bound to a key of its sender by the claim `cnf`. Defaults to
    /// [`SenderConstraint::CheckIfBound`].
    pub fn sender_constrained(mut self, mode: SenderConstraint) -> Self {
        self.sender_constrained = mode;
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
    /// [`Error::Config`] for an empty list of audiences or algorithms, an empty audience, a malformed scope, or a cache with a
    /// capacity of zero.
    pub fn build(self) -> Result<ResourceServer, Error> {
        self.audiences.as_ref().map_or(Ok(()), check_audiences)?;
        check_scopes(&self.required_scopes)?;
        if self.algorithms.is_empty() {
            return Err(Error::config(ConfigProblem::EmptyAlgorithmList));
        }
        if self.verified_tokens == Some(0) {
            return Err(Error::config(ConfigProblem::CacheCapacity));
        }
        let policy = Requirements {
            issuer: self.issuer.url().into(),
            audiences: self.audiences,
            tolerance: self.clock_tolerance,
            required_scopes: self.required_scopes,
            algorithms: self.algorithms,
            max_token_bytes: self.max_token_bytes,
            sender_constrained: self.sender_constrained,
        };
        let verified = self.verified_tokens.map(VerifiedCache::new);
        Ok(ResourceServer(Arc::new(Inner { issuer: self.issuer, policy, verified, reader: Reader::new() })))
    }
}
