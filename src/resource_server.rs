//! Verifies access tokens: the keys of the issuer, the pure checks, and what to do about an unknown key.

use std::fmt;
use std::sync::Arc;

use crate::claims::Claims;
use crate::error::{Error, NetworkErrorKind, TokenErrorKind};
use crate::events::{Count, Event};
use crate::http::authorization::bearer_token;
use crate::issuer::Issuer;
use crate::issuer::keys::CachedKeys;
use crate::resource_server::options::VerifyOptions;
use crate::resource_server::reader::Reader;
use crate::resource_server::steps::{Step, Trace};
use crate::resource_server::verified_cache::{TokenDigest, VerifiedCache, VerifiedToken};
use crate::resource_server::verify::{
    CallRequirements, Requirements, UnverifiedToken, VerifyOutcome, check_claims, refusal,
};
use crate::time::{Deadline, Now};

pub(crate) mod builder;
pub(crate) mod explain;
pub(crate) mod explanation;
pub(crate) mod multi_issuer;
pub(crate) mod options;
pub(crate) mod reader;
pub(crate) mod sender_constraint;
pub(crate) mod steps;
pub(crate) mod verified_cache;
pub(crate) mod verify;

/// Verifies access tokens of one issuer: signature, issuer, expiry, audience, kind, scopes (RFC 9068 §4, RFC 8725).
///
/// Made by [`Issuer::resource_server`]. A clone is a pointer, so share one among all threads. The first token triggers the fetch
/// of the keys; from then on they are cached, and a caller whose key is cached never waits.
///
/// ```
/// use aero2::{Error, TokenErrorKind};
/// let test = aero2::testing::TestIssuer::new();
/// let issuer = test.issuer();
/// let rs = issuer
///     .resource_server()
///     .audience("orders")
///     .required_scopes(["orders:read"])
///     .build()?;
///
/// let token = test
///     .token()
///     .subject("u1")
///     .audience("orders")
///     .scope("orders:read orders:write")
///     .sign();
/// let claims = rs.verify_token(&token)?;
/// assert_eq!(claims.subject(), Some("u1"));
/// assert!(claims.has_scope("orders:write"));
///
/// let foreign = test.token().audience("billing").scope("orders:read").sign();
/// let Err(Error::Token(e)) = rs.verify_token(&foreign) else { panic!("accepted") };
/// assert_eq!(e.kind(), TokenErrorKind::WrongAudience);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct ResourceServer(Arc<Inner>);

struct Inner {
    issuer: Issuer,
    policy: Requirements,
    verified: Option<VerifiedCache>,
    reader: Reader,
}

impl ResourceServer {
    /// Verifies a token and returns its claims.
    ///
    /// # Errors
    /// [`Error::Token`] if the token is refused. [`Error::Network`] if the keys cannot be fetched, and [`Error::Clock`] if the
    /// wall clock is not set: then nothing is known about the token.
    pub fn verify_token(&self, token: &str) -> Result<Claims, Error> {
        self.verify(token, |token| self.0.reader.read(token), &CallRequirements::default())
    }

    /// Like [`verify_token`](Self::verify_token), with other audiences, additional scopes or the client's certificate for this
    /// one call.
    ///
    /// # Errors
    /// As [`verify_token`](Self::verify_token); also [`Error::Config`] for an empty list of audiences, a malformed scope, or a
    /// certificate that is not DER.
    pub fn verify_token_with(&self, token: &str, options: &VerifyOptions) -> Result<Claims, Error> {
        self.verify(token, |token| self.0.reader.read(token), &options.expectation()?)
    }

    /// Verifies the token in the value of an `Authorization` header (RFC 6750 §2.1).
    ///
    /// ```
    /// let test = aero2::testing::TestIssuer::new();
    /// let rs = test.issuer().resource_server().build()?;
    /// let header = format!("Bearer {}", test.token().sign());
    /// assert!(rs.authorize(Some(&header)).is_ok());
    ///
    /// let err = rs.authorize(None).unwrap_err();
    /// assert_eq!(
    ///     (err.http_status(), err.www_authenticate(None).unwrap().as_str()),
    ///     (401, "Bearer")
    /// );
    /// # Ok::<(), aero2::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`verify_token`](Self::verify_token). If there is no header, or one with another scheme, the kind is
    /// [`MissingToken`](TokenErrorKind::MissingToken).
    pub fn authorize(&self, authorization: Option<&str>) -> Result<Claims, Error> {
        self.verify_token(self.bearer_token(authorization)?)
    }

    /// Like [`authorize`](Self::authorize), with options for this one call, for example the scopes that a route requires.
    ///
    /// ```
    /// use aero2::VerifyOptions;
    /// let test = aero2::testing::TestIssuer::new();
    /// let rs = test.issuer().resource_server().required_scopes(["orders:read"]).build()?;
    /// let header = format!("Bearer {}", test.token().scope("orders:read").sign());
    /// assert!(rs.authorize(Some(&header)).is_ok());
    ///
    /// let writing = VerifyOptions::new().required_scopes(["orders:write"]);
    /// assert_eq!(rs.authorize_with(Some(&header), &writing).unwrap_err().http_status(), 403);
    /// # Ok::<(), aero2::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`authorize`](Self::authorize) and [`verify_token_with`](Self::verify_token_with).
    pub fn authorize_with(&self, authorization: Option<&str>, options: &VerifyOptions) -> Result<Claims, Error> {
        self.verify_token_with(self.bearer_token(authorization)?, options)
    }

    /// The issuer whose tokens are verified.
    pub fn issuer(&self) -> &Issuer {
        &self.0.issuer
    }

    pub(crate) fn max_token_bytes(&self) -> usize {
        self.0.policy.max_token_bytes
    }

    /// `read` gives the token's parts, if they are needed: who has read them already need not do it again.
    fn verify<'t>(
        &self,
        token: &'t str,
        read: impl FnOnce(&'t str) -> Result<UnverifiedToken<'t>, TokenErrorKind>,
        expectation: &CallRequirements<'_>,
    ) -> Result<Claims, Error> {
        self.counted(self.verify_uncounted(token, read, expectation))
    }

    fn verify_uncounted<'t>(
        &self,
        token: &'t str,
        read: impl FnOnce(&'t str) -> Result<UnverifiedToken<'t>, TokenErrorKind>,
        expectation: &CallRequirements<'_>,
    ) -> Result<Claims, Error> {
        let Inner { issuer, verified, .. } = &*self.0;
        let (now, deadline) = (self.admit(token, &mut ())?, issuer.deadline());
        let Some(verified) = verified else {
            return self.verify_signature(read(token), expectation, now, deadline, &mut ()).map(|token| token.claims);
        };
        let digest = TokenDigest::of(token);
        if let Some(known) = verified.get(digest) {
            let keys = issuer.keys(now, deadline)?;
            if keys.value.still_has(&known.key, known.algorithm) {
                return self.verify_again(known, &keys, expectation);
            }
        }
        let fresh = self.verify_signature(read(token), expectation, now, deadline, &mut ())?;
        verified.insert(digest, fresh.clone());
        Ok(fresh.claims)
    }

    fn bearer_token<'h>(&self, authorization: Option<&'h str>) -> Result<&'h str, Error> {
        bearer_token(authorization).map_err(Error::token).or_else(|error| self.counted(Err(error)))
    }

    fn counted<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        let events = self.0.issuer.events();
        match &outcome {
            Ok(_) => events.count(Count::TokenAccepted),
            Err(error) => error.token_kind().into_iter().for_each(|kind| events.count_refusal(kind)),
        }
        outcome
    }

    /// What comes before any look into the token; gives the time.
    fn admit(&self, token: &str, trace: &mut impl Trace) -> Result<Now, Error> {
        let now = self.0.issuer.set_now()?;
        trace.passed(Step::Clock);
        self.0.policy.check_length(token).map_err(Error::token)?;
        trace.passed(Step::Length);
        Ok(now)
    }

    /// A token whose signature is known to be good: all that depends on time and policy.
    fn verify_again(
        &self,
        known: VerifiedToken,
        keys: &CachedKeys,
        expectation: &CallRequirements<'_>,
    ) -> Result<Claims, Error> {
        let Inner { issuer, policy, .. } = &*self.0;
        let wall = issuer.since_epoch(keys.at)?;
        let checked = check_claims(known.claims.set(), policy, expectation, wall, &mut ());
        checked.map_err(|kind| refusal(kind, policy, expectation))?;
        issuer.events().count(Count::VerifiedCacheHit);
        self.note_staleness(keys);
        Ok(known.claims)
    }

    fn verify_signature(
        &self,
        presented: Result<UnverifiedToken<'_>, TokenErrorKind>,
        expectation: &CallRequirements<'_>,
        now: Now,
        deadline: Deadline,
        trace: &mut impl Trace,
    ) -> Result<VerifiedToken, Error> {
        let Inner { issuer, policy, reader, .. } = &*self.0;
        // What is wrong with the token by itself costs no request.
        let mut presented = presented.map_err(Error::token)?;
        trace.header(presented.algorithm(), presented.kid());
        presented.check_header(policy).map_err(Error::token)?;
        trace.passed(Step::Type);
        let mut keys = issuer.keys(now, deadline)?;
        trace.keys(&keys.value, keys.stale);
        let wall = issuer.since_epoch(keys.at)?;
        let mut verdict = presented.check(&keys.value, policy, expectation, wall, trace);
        let cause = presented.refetch_cause(&verdict, policy, expectation, wall);
        let newer = cause.map(|cause| issuer.refetch(cause, &keys, deadline)).transpose();
        if let Some(newer) = newer.inspect_err(|error| self.note_limit(error))?.flatten() {
            keys = newer;
            trace.keys(&keys.value, keys.stale);
            verdict = presented.check(&keys.value, policy, expectation, issuer.since_epoch(keys.at)?, trace);
        }
        match verdict {
            VerifyOutcome::Verified { claims, key, algorithm } => {
                presented.new_header().into_iter().for_each(|header| reader.remember(header));
                self.note_staleness(&keys);
                Ok(VerifiedToken { claims, key, algorithm })
            }
            VerifyOutcome::UnknownKid { .. } => {
                issuer.events().emit(&Event::UnknownKidRefused {});
                Err(Error::token(TokenErrorKind::UnknownKey))
            }
            VerifyOutcome::Refused(kind) => Err(refusal(kind, policy, expectation)),
        }
    }

    /// Every step, whatever the caches know of the token and its header.
    fn verify_traced(
        &self,
        token: &str,
        expectation: &CallRequirements<'_>,
        trace: &mut impl Trace,
    ) -> Result<(), Error> {
        let now = self.admit(token, trace)?;
        let deadline = self.0.issuer.deadline();
        self.verify_signature(UnverifiedToken::read(token), expectation, now, deadline, trace).map(drop)
    }

    fn note_staleness(&self, keys: &CachedKeys) {
        if keys.stale {
            self.0.issuer.events().emit(&Event::StaleKeysServed {});
        }
    }

    fn note_limit(&self, error: &Error) {
        if matches!(error, Error::Network(e) if e.kind() == NetworkErrorKind::RateLimited) {
            self.0.issuer.events().emit(&Event::RateLimited {});
        }
    }
}

impl fmt::Debug for ResourceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceServer").field("issuer", &self.0.issuer.url()).finish_non_exhaustive()
    }
}
