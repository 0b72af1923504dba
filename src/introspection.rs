//! Asks the issuer whether a token is active (RFC 7662).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::backoff::BackoffScope;
use crate::claims::claim_set::{ClaimSet, ClaimsProblem};
use crate::claims::requirements::ClaimRequirements;
use crate::client_auth::{Client, ClientAuth};
use crate::error::{ConfigProblem, Detail, Endpoint, Error, TokenErrorKind};
use crate::introspection::cache::IntrospectionCache;
use crate::introspection::response::{Introspection, TokenInfo, is_in_its_time};
use crate::issuer::Issuer;
use crate::issuer::http_client::body_text;
use crate::issuer::oauth_request::OAuthRequest;
use crate::issuer::retry_after::WaitScope;
use crate::json::Object;
use crate::oauth::TokenTypeHint;
use crate::secret::SecretSource;
use crate::time::{Deadline, Now};
use crate::transport::Response;

pub(crate) mod cache;
pub(crate) mod response;

/// Asks the issuer whether a token is active (RFC 7662). Each question is a request, and the answer takes revocation into
/// account.
///
/// Made by [`Issuer::introspector`]. A clone is a pointer.
///
/// ```
/// use aero2::Introspection;
/// let test = aero2::testing::TestIssuer::new();
/// test.register_resource_server("orders", "secret");
/// let issuer = test.issuer();
/// let introspector = issuer.introspector("orders", "secret").build()?;
///
/// let token = test.token().subject("u1").audience("orders").sign();
/// let Introspection::Active(info) = introspector.introspect(&token)? else {
///     panic!("inactive")
/// };
/// assert_eq!(info.subject(), Some("u1"));
///
/// assert!(matches!(introspector.introspect("no such token")?, Introspection::Inactive));
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone)]
pub struct Introspector {
    issuer: Issuer,
    client: Arc<Client>,
    max_token_bytes: usize,
    requirements: Arc<ClaimRequirements>,
    answers: Option<Arc<IntrospectionCache>>,
}

impl Introspector {
    /// Asks whether `token` is active.
    ///
    /// # Errors
    /// [`Error::Token`] if the token is longer than [`max_token_bytes`](IntrospectorBuilder::max_token_bytes) (nothing is sent then), or if
    /// an active answer does not meet a requirement of the builder.
    /// [`Error::OAuth`] if the issuer refuses this client (not the token). [`Error::Network`] if there is no usable answer.
    /// [`Error::Clock`] if the answer contains `exp` or `nbf` and the wall clock is not set. [`Error::Config`] if the secret
    /// cannot be read.
    pub fn introspect(&self, token: &str) -> Result<Introspection, Error> {
        self.ask(token, None)
    }

    /// Asks whether `token` is active, with a hint at its type (RFC 7662 §2.1).
    ///
    /// # Errors
    /// As [`introspect`](Self::introspect).
    pub fn introspect_with(&self, token: &str, hint: TokenTypeHint) -> Result<Introspection, Error> {
        self.ask(token, Some(hint))
    }

    fn ask(&self, token: &str, hint: Option<TokenTypeHint>) -> Result<Introspection, Error> {
        if token.is_empty() {
            return Ok(Introspection::Inactive);
        }
        if token.len() > self.max_token_bytes {
            return Err(Error::token(TokenErrorKind::TooLong));
        }
        let deadline = self.issuer.deadline();
        let request = || self.request(token, hint, deadline);
        let outcome = match &self.answers {
            Some(answers) => {
                let flight = || answers.get(token, || self.issuer.now(), deadline, request);
                self.issuer.events().after_flight(flight)
            }
            None => request(),
        };
        let answer = outcome.map_err(|error| self.issuer.placed(error).with_client(&self.client.client_id, None))?;
        answer.active().map_or(Ok(()), |info| info.check(&self.requirements))?;
        Ok(answer)
    }

    fn request(&self, token: &str, hint: Option<TokenTypeHint>, deadline: Deadline) -> Result<Introspection, Error> {
        let mut form = vec![("token", token)];
        form.extend(hint.map(|hint| ("token_type_hint", hint.name())));
        let request = OAuthRequest {
            endpoint: Endpoint::Introspection,
            client: &self.client,
            form: &form,
            backoff: BackoffScope::All,
            wait_scope: WaitScope::Everyone,
            deadline,
        };
        let issuer = self.issuer.token_issuer();
        self.issuer.oauth_request(&request, |response| parse_response(response, issuer, self.issuer.now()))
    }
}

/// Fails closed: what is no proper answer says nothing about the token (RFC 7662 §2.2).
pub(crate) fn parse_response(response: &Response, issuer: &str, now: Now) -> Result<Introspection, Error> {
    let invalid = |detail| Error::invalid_response(Endpoint::Introspection, detail);
    let text = body_text(Endpoint::Introspection, response)?;
    let object = Object::parse(text).map_err(|_| invalid(Detail::NotJson))?;
    match object.boolean("active") {
        Ok(Some(true)) => {}
        Ok(Some(false)) => return Ok(Introspection::Inactive),
        _ => return Err(invalid(Detail::Member("active"))),
    }
    let token_type = object.string("token_type").map_err(|_| invalid(Detail::Member("token_type")))?;
    object.string("username").map_err(|_| invalid(Detail::Member("username")))?;
    let claims = ClaimSet::parse_introspection(text.to_owned()).map_err(|problem| {
        invalid(match problem {
            ClaimsProblem::NotAnObject => Detail::NotJson,
            ClaimsProblem::Claim(name) => Detail::Member(name),
        })
    })?;
    let info = TokenInfo::new(claims, token_type);
    Ok(if is_consistent(&info, issuer, now)? { Introspection::Active(info) } else { Introspection::Inactive })
}

/// An active answer that contradicts itself is none: another issuer, expired, or not yet valid.
fn is_consistent(info: &TokenInfo, issuer: &str, now: Now) -> Result<bool, Error> {
    if info.issuer().is_some_and(|other| other != issuer) {
        return Ok(false);
    }
    is_in_its_time(info, now)
}

impl fmt::Debug for Introspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspector").field("issuer", &self.issuer.url()).finish_non_exhaustive()
    }
}

impl Issuer {
    /// Starts building an [`Introspector`]. `client_id` is the resource server's own id at the issuer: Aero2 confirms an access
    /// token only to its audience.
    pub fn introspector(&self, client_id: impl Into<String>, secret: impl Into<SecretSource>) -> IntrospectorBuilder {
        IntrospectorBuilder {
            issuer: self.clone(),
            client: Client::new(client_id.into(), secret.into()),
            max_token_bytes: MAX_TOKEN_BYTES,
            requirements: ClaimRequirements::new(),
            cache: None,
        }
    }
}

/// The settings of an [`Introspector`] that is being built; made by [`Issuer::introspector`].
#[derive(Clone, Debug)]
#[must_use]
pub struct IntrospectorBuilder {
    issuer: Issuer,
    client: Client,
    max_token_bytes: usize,
    requirements: ClaimRequirements,
    cache: Option<(usize, Duration)>,
}

impl IntrospectorBuilder {
    /// How the client authenticates. Defaults to what the issuer's metadata says, as [`ClientAuth`] describes.
    pub fn client_auth(mut self, auth: impl Into<ClientAuth>) -> Self {
        self.client.auth = Some(auth.into());
        self
    }

    /// The name of your service, which the `aud` of an active answer must contain; otherwise the token is refused as a JWT would be
    /// ([`WrongAudience`](crate::TokenErrorKind::WrongAudience)). Defaults to none: the answer's `aud` is not checked.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.requirements.set_audiences([audience.into()]);
        self
    }

    /// The scopes that an active answer must have, all of them; otherwise the token is refused with
    /// [`InsufficientScope`](crate::TokenErrorKind::InsufficientScope). A second call adds. Defaults to none.
    pub fn required_scopes<S: AsRef<str>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.requirements.add_required_scopes(scopes);
        self
    }

    /// A claim that an active answer must have, as
    /// [`ResourceServerBuilder::require_claim`](crate::ResourceServerBuilder::require_claim) describes it; otherwise the token is
    /// refused with [`InsufficientClaim`](crate::TokenErrorKind::InsufficientClaim). A second call is a second condition. Defaults to
    /// none.
    pub fn require_claim<S: AsRef<str>>(mut self, pointer: &str, values: impl IntoIterator<Item = S>) -> Self {
        self.requirements.add_claim(pointer, values);
        self
    }

    /// The length of the longest token, in bytes, that is asked about. Defaults to 16 KiB.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_token_bytes = bytes;
        self
    }

    /// Keeps up to `capacity` answers for `ttl`, but never beyond the token's `exp`, and "inactive" for at most 5 s. A revoked
    /// token may be accepted for as long as its answer is kept, so choose a short `ttl`. Concurrent questions about the same
    /// token share one request. Defaults to none: every question is a request.
    pub fn cache(mut self, capacity: usize, ttl: Duration) -> Self {
        self.cache = Some((capacity, ttl));
        self
    }

    /// Builds the introspector. Does no I/O.
    ///
    /// # Errors
    /// [`Error::Config`] for an empty client id or secret, a cache with a capacity or time of zero, or a requirement that no answer can
    /// meet, such as an empty audience.
    pub fn build(self) -> Result<Introspector, Error> {
        let client = Arc::new(self.client.checked()?);
        self.requirements.check_settings()?;
        let answers = match self.cache {
            Some((0, _) | (_, Duration::ZERO)) => return Err(Error::config(ConfigProblem::CacheCapacity)),
            Some((capacity, ttl)) => Some(Arc::new(IntrospectionCache::new(capacity, ttl))),
            None => None,
        };
        let Self { issuer, max_token_bytes, requirements, .. } = self;
        Ok(Introspector { issuer, client, max_token_bytes, requirements: Arc::new(requirements), answers })
    }
}

/// The longest token that is asked about by default, as for a resource server.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
