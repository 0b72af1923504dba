//! How a [`ResourceServer`] is made.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{ConfigProblem, Error};
use crate::issuer::Issuer;
use crate::jose::algorithm::Algorithm;
use crate::resource_server::checks::{Names, Policy};
use crate::resource_server::options::{check_audiences, check_scopes};
use crate::resource_server::sender_constrained::SenderConstrained;
use crate::resource_server::verified_tokens::VerifiedTokens;
use crate::resource_server::{Inner, ResourceServer};

impl Issuer {
    /// Begins a [`ResourceServer`] that verifies this issuer's access tokens.
    pub fn resource_server(&self) -> ResourceServerBuilder {
        ResourceServerBuilder {
            issuer: self.clone(),
            audiences: None,
            clock_tolerance: Duration::from_secs(30),
            required_scopes: Names::default(),
            algorithms: Algorithm::ALL.to_vec(),
            max_token_bytes: 16 * 1024,
            sender_constrained: SenderConstrained::Refuse,
            verified_tokens: None,
        }
    }
}

/// Makes a [`ResourceServer`]; from [`Issuer::resource_server`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ResourceServerBuilder {
    issuer: Issuer,
    audiences: Option<Names>,
    clock_tolerance: Duration,
    required_scopes: Names,
    algorithms: Vec<Algorithm>,
    max_token_bytes: usize,
    sender_constrained: SenderConstrained,
    verified_tokens: Option<usize>,
}

impl ResourceServerBuilder {
    /// The name of this resource server, which the token's `aud` must contain (RFC 8725 §3.9). Recommended: without it a token that
    /// was issued for another service of the same issuer is taken. Defaults to none: `aud` is not compared.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.audiences([audience])
    }

    /// The names of this resource server, of which the token's `aud` must contain one. Defaults to none: `aud` is not compared.
    pub fn audiences<A: Into<String>>(mut self, audiences: impl IntoIterator<Item = A>) -> Self {
        self.audiences = Some(audiences.into_iter().map(Into::into).collect());
        self
    }

    /// How far this machine's clock and the issuer's may differ. Defaults to 30 s.
    pub fn clock_tolerance(mut self, tolerance: Duration) -> Self {
        self.clock_tolerance = tolerance;
        self
    }

    /// Scopes that every token must have, all of them. Defaults to none.
    pub fn required_scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.required_scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// The signature algorithms to take (RFC 8725 §3.1). Defaults to all of [`Algorithm::ALL`]; the key has the last word in any case.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// The longest token, in bytes, that is looked at. Defaults to 16 KiB.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_token_bytes = bytes;
        self
    }

    /// What to do about a token that is bound to a key of its sender by `cnf`. Defaults to [`SenderConstrained::Refuse`].
    pub fn sender_constrained(mut self, mode: SenderConstrained) -> Self {
        self.sender_constrained = mode;
        self
    }

    /// Remembers up to `capacity` tokens whose signature was good, so that a repeated token costs a SHA-256 and a look-up. Expiry,
    /// audience, scopes and whether the key is still of the issuer are checked on every hit; refusals are never kept.
    ///
    /// An entry takes the size of its claims and about 300 bytes. Defaults to none.
    pub fn verified_token_cache(mut self, capacity: usize) -> Self {
        self.verified_tokens = Some(capacity);
        self
    }

    /// The resource server. Does no I/O.
    ///
    /// # Errors
    /// [`Error::Config`] for an empty list of audiences or algorithms, an empty audience, a malformed scope, a cache without room.
    pub fn build(self) -> Result<ResourceServer, Error> {
        self.audiences.as_ref().map_or(Ok(()), check_audiences)?;
        check_scopes(&self.required_scopes)?;
        if self.algorithms.is_empty() {
            return Err(Error::config(ConfigProblem::EmptyAlgorithmList));
        }
        if self.verified_tokens == Some(0) {
            return Err(Error::config(ConfigProblem::CacheCapacity));
        }
        let policy = Policy {
            issuer: self.issuer.url().into(),
            audiences: self.audiences,
            tolerance: self.clock_tolerance,
            required_scopes: self.required_scopes,
            algorithms: self.algorithms,
            max_token_bytes: self.max_token_bytes,
            sender_constrained: self.sender_constrained,
        };
        let verified = self.verified_tokens.map(VerifiedTokens::new);
        Ok(ResourceServer(Arc::new(Inner { issuer: self.issuer, policy, verified, header: Mutex::default() })))
    }
}
