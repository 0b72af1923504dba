//! Verifies access tokens: the keys of the issuer, the pure checks, and the refetch of keys.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::claims::Claims;
use crate::error::{Demands, Error, NetworkErrorKind, TokenErrorKind};
use crate::events::{Count, Event};
use crate::http::authorization::{bearer_token, single_value};
use crate::issuer::Issuer;
use crate::issuer::keys::{CachedKeys, RefetchCause};
use crate::jose::jws::Header;
use crate::resource_server::options::VerifyOptions;
use crate::resource_server::steps::{Failure, Finding, Refusal, Step};
use crate::resource_server::verified_cache::{TokenDigest, VerifiedCache, VerifiedToken};
use crate::resource_server::verify::{CallRequirements, Requirements, UnverifiedToken};
use crate::time::Now;

pub(crate) mod builder;
pub(crate) mod explain;
pub(crate) mod metadata;
pub(crate) mod multi_issuer;
pub(crate) mod options;
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
    resource_metadata: Option<Arc<str>>,
    verified: Option<VerifiedCache>,
    /// The header of the last verified token. An issuer's tokens have the same one for as long as it keeps its key, and reading it costs
    /// a third of what a verification costs besides ring.
    header: Mutex<Option<Arc<Header>>>,
}

impl ResourceServer {
    /// Verifies a token and returns its claims. This takes the token alone: for the value of an `Authorization` header there is
    /// [`authorize`](Self::authorize).
    ///
    /// # Errors
    /// [`Error::Token`] if the token is refused. [`Error::Network`] if the keys cannot be fetched, and [`Error::Clock`] if the
    /// wall clock is not set: then nothing is known about the token.
    pub fn verify_token(&self, token: &str) -> Result<Claims, Error> {
        self.verify_token_with(token, NO_OPTIONS)
    }

    /// Like [`verify_token`](Self::verify_token), with other audiences, additional requirements or the client's certificate for
    /// this one call.
    ///
    /// # Errors
    /// As [`verify_token`](Self::verify_token); also [`Error::Config`] for options that no token can meet.
    pub fn verify_token_with(&self, token: &str, options: &VerifyOptions) -> Result<Claims, Error> {
        self.verify(token, None, options)
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
        self.authorize_with(authorization, NO_OPTIONS)
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
        let token = bearer_token(authorization).map_err(|kind| self.refused(Error::token(kind)))?;
        self.verify_token_with(token, options)
    }

    /// Like [`authorize`](Self::authorize), with the values of all `Authorization` headers of a request, as bytes.
    ///
    /// ```
    /// let test = aero2::testing::TestIssuer::new();
    /// let rs = test.issuer().resource_server().build()?;
    /// let header = format!("Bearer {}", test.token().sign());
    /// assert!(rs.authorize_all([&header]).is_ok());
    /// assert!(rs.authorize_all([&header, &header]).is_err());
    /// # Ok::<(), aero2::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`authorize`](Self::authorize). If there is more than one header, or one with anything but visible ASCII and blanks, the
    /// kind is [`Malformed`](TokenErrorKind::Malformed).
    pub fn authorize_all<V: AsRef<[u8]>>(&self, values: impl IntoIterator<Item = V>) -> Result<Claims, Error> {
        self.authorize_all_with(values, NO_OPTIONS)
    }

    /// Like [`authorize_all`](Self::authorize_all), with options for this one call.
    ///
    /// # Errors
    /// As [`authorize_all`](Self::authorize_all) and [`verify_token_with`](Self::verify_token_with).
    pub fn authorize_all_with<V: AsRef<[u8]>>(
        &self,
        values: impl IntoIterator<Item = V>,
        options: &VerifyOptions,
    ) -> Result<Claims, Error> {
        let value = single_value(values).map_err(|kind| self.refused(Error::token(kind)))?;
        self.authorize_with(value.as_deref(), options)
    }

    /// The issuer whose tokens are verified.
    pub fn issuer(&self) -> &Issuer {
        &self.0.issuer
    }

    pub(crate) fn max_token_bytes(&self) -> usize {
        self.0.policy.max_token_bytes
    }

    /// The `iss` that a token must have.
    pub(crate) fn token_issuer(&self) -> &str {
        &self.0.policy.issuer
    }

    pub(crate) fn resource_metadata(&self) -> Option<&Arc<str>> {
        self.0.resource_metadata.as_ref()
    }

    /// Verifies `token`, which may be parsed already.
    pub(crate) fn verify(
        &self,
        token: &str,
        parsed: Option<UnverifiedToken<'_>>,
        options: &VerifyOptions,
    ) -> Result<Claims, Error> {
        let call = CallRequirements::new(&self.0.policy, options)?;
        let verified = self.verify_for_call(token, parsed, &call).map_err(|failure| self.error(failure, &call))?;
        self.0.issuer.events().count(Count::TokenAccepted);
        Ok(verified)
    }

    fn verify_for_call<'p>(
        &self,
        token: &str,
        parsed: Option<UnverifiedToken<'_>>,
        call: &CallRequirements<'p>,
    ) -> Result<Claims, Failure<'p>> {
        let now = self.check_before_parsing(token)?;
        let parse = || UnverifiedToken::parse(token, self.0.header.lock().clone());
        let Some(verified) = &self.0.verified else {
            let parsed = parsed.map_or_else(parse, Ok)?;
            return self.verify_parsed(parsed, call, now, &mut |_| ()).map(|token| token.claims);
        };
        let digest = TokenDigest::of(token);
        if let Some(known) = verified.get(digest) {
            if let Some(claims) = self.verify_again(known, call, now)? {
                return Ok(claims);
            }
        }
        let fresh = self.verify_parsed(parsed.map_or_else(parse, Ok)?, call, now, &mut |_| ())?;
        verified.insert(digest, fresh.clone());
        Ok(fresh.claims)
    }

    fn check_before_parsing(&self, token: &str) -> Result<Now, Failure<'static>> {
        let now = self.0.issuer.set_now().map_err(|error| Failure::Unjudged(Step::Clock, error))?;
        self.0.policy.check_length(token)?;
        Ok(now)
    }

    /// A token whose signature was verified before: all that depends on time and requirements. `None` if its key is not among the
    /// issuer's any more.
    fn verify_again<'p>(
        &self,
        known: VerifiedToken,
        call: &CallRequirements<'p>,
        now: Now,
    ) -> Result<Option<Claims>, Failure<'p>> {
        let issuer = &self.0.issuer;
        let keys = issuer.keys(now, issuer.deadline()).map_err(|error| Failure::Unjudged(Step::Keys, error))?;
        if !keys.value.still_has(&known.key, known.algorithm) {
            return Ok(None);
        }
        let wall = issuer.since_epoch(keys.at).map_err(|error| Failure::Unjudged(Step::Clock, error))?;
        call.check_claims(known.claims.set(), wall)?;
        call.run_custom_checks(&known.claims)?;
        issuer.events().count(Count::VerifiedCacheHit);
        self.note_staleness(&keys);
        Ok(Some(known.claims))
    }

    fn verify_parsed<'p>(
        &self,
        mut token: UnverifiedToken<'_>,
        call: &CallRequirements<'p>,
        now: Now,
        found: &mut dyn FnMut(Finding<'_>),
    ) -> Result<VerifiedToken, Failure<'p>> {
        let issuer = &self.0.issuer;
        found(Finding::Header { algorithm: token.algorithm(), kid: token.kid() });
        // What is wrong with the token by itself costs no request.
        token.check_header(call.policy)?;
        let unjudged = |step| move |error| Failure::Unjudged(step, error);
        let deadline = issuer.deadline();
        let mut keys = issuer.keys(now, deadline).map_err(unjudged(Step::Keys))?;
        found(Finding::Keys { keys: &keys.value, stale: keys.stale });
        let mut wall = issuer.since_epoch(keys.at).map_err(unjudged(Step::Clock))?;
        let mut outcome = token.verify(&keys.value, call, wall, found);
        if let Some((step, cause)) = outcome.as_ref().err().and_then(|refusal| refetch_cause(refusal, &token)) {
            let newer = if token.precheck(call, wall) { issuer.refetch(cause, &keys, deadline) } else { Ok(None) };
            if let Some(newer) = newer.inspect_err(|error| self.note_limit(error)).map_err(unjudged(step))? {
                keys = newer;
                found(Finding::Keys { keys: &keys.value, stale: keys.stale });
                wall = issuer.since_epoch(keys.at).map_err(unjudged(Step::Clock))?;
                outcome = token.verify(&keys.value, call, wall, found);
            }
        }
        if outcome.as_ref().is_err_and(|refusal| refusal.kind == TokenErrorKind::UnknownKey) {
            issuer.events().emit(&Event::UnknownKidRefused {});
        }
        let verified = outcome?;
        if let Some(header) = token.new_header() {
            let last = self.0.header.lock().replace(header.clone());
            drop(last);
        }
        self.note_staleness(&keys);
        Ok(verified)
    }

    /// The error for a failure, with what its challenge tells: the scopes or the authentication that would have been enough
    /// (RFC 6750 §3.1, RFC 9470 §3).
    fn error(&self, failure: Failure<'_>, call: &CallRequirements<'_>) -> Error {
        let error = match failure {
            Failure::Unjudged(_, error) => return error,
            Failure::Refused(Refusal { kind: TokenErrorKind::InsufficientScope, .. }) => {
                Error::insufficient_scope(call.named_scopes().as_slice())
            }
            Failure::Refused(Refusal { kind: kind @ TokenErrorKind::InsufficientAuthentication, .. }) => {
                let values = &call.options.acr_values;
                let acr_values = (!values.is_empty()).then(|| values.join(" "));
                Error::refused(kind, Demands { acr_values, max_age: call.options.max_auth_age, ..Demands::default() })
            }
            Failure::Refused(refusal) => Error::token(refusal.kind),
        };
        self.refused(error)
    }

    /// Counts a refusal, and adds what every challenge of this server tells.
    fn refused(&self, error: Error) -> Error {
        error.token_kind().into_iter().for_each(|kind| self.0.issuer.events().count_refusal(kind));
        match &self.0.resource_metadata {
            Some(url) => error.with_resource_metadata(url),
            None => error,
        }
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

/// Why other keys than the cached ones might verify a token that was refused so.
fn refetch_cause<'t>(refusal: &Refusal<'_>, token: &'t UnverifiedToken<'_>) -> Option<(Step, RefetchCause<'t>)> {
    let cause = match refusal.kind {
        TokenErrorKind::UnknownKey => RefetchCause::UnknownKid(token.kid()?),
        TokenErrorKind::BadSignature | TokenErrorKind::UnfitKey => RefetchCause::OtherKey,
        _ => return None,
    };
    Some((refusal.step, cause))
}

impl fmt::Debug for ResourceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceServer").field("issuer", &self.0.issuer.url()).finish_non_exhaustive()
    }
}

const NO_OPTIONS: &VerifyOptions = &VerifyOptions::new();
