//! Access tokens of this program itself, by client_credentials (RFC 6749 §4.4).

use std::fmt;
use std::sync::Arc;

use crate::client_auth::Client;
use crate::clock::{Deadline, Now};
use crate::error::{Endpoint, Error, NetworkErrorKind};
use crate::events::Event;
use crate::flight::{Boarding, Join, Takeoff};
use crate::issuer::Issuer;
use crate::issuer::connection::body_text;
use crate::m2m::answer::{Minted, read_answer};
use crate::m2m::options::{Asked, Params, TokenOptions};
use crate::m2m::sharing::Sharing;
use crate::m2m::token::AccessToken;
use crate::m2m::token_cache::{Landing, Look, Outcome, TokenCache, TokenFlight, Want};
use crate::m2m::wish::{Obtained, Wish};
use crate::random;

pub(crate) mod answer;
pub(crate) mod builder;
pub(crate) mod options;
pub(crate) mod plan;
pub(crate) mod sharing;
pub(crate) mod token;
pub(crate) mod token_cache;
#[cfg(feature = "file-cache")]
pub(crate) mod token_file;
pub(crate) mod wish;

#[cfg(test)]
mod tests;

/// Gets access tokens for calling other services (client_credentials, RFC 6749 §4.4), and keeps them until shortly before they
/// expire.
///
/// Made by [`Issuer::m2m_client`]. A clone is a pointer and shares the tokens.
///
/// Tokens are cached per set of scopes and additional parameters, up to 64 of them. About a minute before a token expires, one
/// caller renews it, within the [`refresh_timeout`](crate::IssuerBuilder::refresh_timeout), while all others get the token that
/// is still valid. If that fails, the old token stays in use until 10 s before it expires. Callers that need the same new token
/// at the same time share one request, and its error if it fails.
///
/// The moment of renewal is random: up to 5 % of the lifetime earlier, and once, for the second token of a client in steady use or
/// the first one after a failure, nearly anywhere in the lifetime. So a fleet of clients that was restarted at one moment does not
/// keep renewing at one moment.
///
/// ```
/// let test = aero2::testing::TestIssuer::new();
/// test.register_client("svc-orders", "secret", ["api:read"]);
/// let issuer = test.issuer();
/// let m2m = issuer.m2m_client("svc-orders", "secret").default_scope("api:read").build()?;
/// let token = m2m.access_token()?;
/// assert_eq!(m2m.access_token()?.expose_secret(), token.expose_secret());
/// assert_eq!(issuer.stats().tokens_minted(), 1);
///
/// let wrong = issuer.m2m_client("svc-orders", "another secret").build()?;
/// let Err(aero2::Error::OAuth(e)) = wrong.access_token() else { panic!("accepted") };
/// assert_eq!(e.error_code(), "invalid_client");
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone)]
pub struct M2mClient(Arc<Inner>);

struct Inner {
    issuer: Issuer,
    client: Client,
    default_scope: Option<String>,
    params: Params,
    /// What [`M2mClient::access_token`] asks for.
    default: Arc<Asked>,
    cache: TokenCache,
    sharing: Sharing,
}

impl M2mClient {
    fn new(
        issuer: Issuer,
        client: Client,
        default_scope: Option<String>,
        params: Params,
        sharing: Sharing,
    ) -> Result<Self, Error> {
        let default = Arc::new(Asked::new(&TokenOptions::new(), default_scope.as_deref(), &params)?);
        Ok(Self(Arc::new(Inner { issuer, client, default_scope, params, default, cache: TokenCache::new(), sharing })))
    }

    /// A token for the default scope.
    ///
    /// # Errors
    /// [`Error::OAuth`] if the issuer refuses the client or the scope, which is remembered for 10 s. [`Error::Network`] if no
    /// token arrives within the [`timeout`](crate::IssuerBuilder::timeout), or if it is too early to ask again
    /// ([`retry_after`](Error::retry_after) says for how long). [`Error::Config`] if the secret cannot be read. [`Error::Clock`]
    /// if the client authenticates with a [`PrivateKeyJwt`](crate::PrivateKeyJwt) and the wall clock is not set.
    pub fn access_token(&self) -> Result<AccessToken, Error> {
        self.0.get(&self.0.default, Want::Any)
    }

    /// A token with `options` for this one call.
    ///
    /// # Errors
    /// As [`access_token`](Self::access_token); also [`Error::Config`] for a malformed scope or a parameter that this crate sets itself.
    pub fn access_token_with(&self, options: &TokenOptions) -> Result<AccessToken, Error> {
        let want = if options.force_refresh { Want::Fresh } else { Want::Any };
        if options.asks_for_defaults() {
            return self.0.get(&self.0.default, want);
        }
        let asked = Asked::new(options, self.0.default_scope.as_deref(), &self.0.params)?;
        self.0.get(&Arc::new(asked), want)
    }

    /// Forgets every token. Later calls ask for new ones, even while a request is in progress: its token goes to the callers that
    /// were waiting for it and is not kept. A `Retry-After` or a refusal from the issuer is not forgotten.
    pub fn clear_cache(&self) {
        self.0.cache.clear(self.0.issuer.now());
        self.0.emit(self.0.sharing.clear());
    }

    /// Reports that a service answered 401 to this token, so that the next call gets another one. Nothing happens if the cache
    /// already has another token, or if this same token was rejected before and the issuer returned it again.
    pub fn reject(&self, token: &AccessToken) {
        if self.0.cache.reject(token) {
            self.0.emit(self.0.sharing.forget(token));
        }
    }
}

impl Inner {
    fn get(&self, asked: &Arc<Asked>, want: Want) -> Outcome {
        match self.cache.look(asked, want, self.issuer.now()) {
            Look::Serve(token) => Ok(token),
            Look::Refresh(token, flight) => match flight.try_lead() {
                Some(takeoff) => self.lead(takeoff, &Errand { asked, want, flight: &flight }, self.issuer.deadline()),
                None => Ok(token),
            },
            Look::Fetch(flight) => self.board(&Errand { asked, want, flight: &flight }),
            Look::Refuse(error) => Err(error),
        }
    }

    fn board(&self, errand: &Errand<'_>) -> Outcome {
        let deadline = self.issuer.deadline();
        let mut join = if errand.want == Want::Fresh { Join::Next } else { Join::Current };
        loop {
            match errand.flight.board(join, deadline) {
                Boarding::Leader(takeoff) => return self.lead(takeoff, errand, deadline),
                Boarding::Landed(landing) if landing.serves(errand.want) => return landing.outcome,
                // Every flight from now on took off after the call.
                Boarding::Landed(_) => join = Join::Current,
                Boarding::TimedOut => return Err(Error::network(NetworkErrorKind::Timeout, Endpoint::Token)),
                Boarding::Reentrant => return Err(Error::network(NetworkErrorKind::Reentrant, Endpoint::Token)),
            }
        }
    }

    /// Looks again, since a flight may have landed between the look and the take-off; asks, stores, and only then lands. Handlers of
    /// events run after the landing, so that nobody waits for them.
    fn lead(&self, takeoff: Takeoff<'_, Landing>, errand: &Errand<'_>, deadline: Deadline) -> Outcome {
        let deadline = match self.cache.look(errand.asked, errand.want, self.issuer.now()) {
            Look::Serve(token) => return takeoff.land(Landing { outcome: Ok(token), asked: false }).outcome,
            Look::Refuse(error) => return takeoff.land(Landing { outcome: Err(error), asked: false }).outcome,
            Look::Refresh(..) => deadline.or_earlier(self.issuer.refresh_deadline()),
            Look::Fetch(_) => deadline,
        };
        let (obtained, events) = self.obtain(errand, deadline);
        let outcome = match obtained {
            Ok(obtained) => self.land(takeoff, errand, obtained),
            Err(error) => self.land_failed(takeoff, errand, error),
        };
        self.emit(events);
        outcome
    }

    fn land(&self, takeoff: Takeoff<'_, Landing>, errand: &Errand<'_>, obtained: Obtained) -> Outcome {
        let kept = self.cache.store(errand.asked, errand.flight, &obtained, random::draw());
        let Obtained { minted, from_issuer, .. } = obtained;
        let outcome = takeoff.land(Landing { outcome: Ok(minted.token), asked: from_issuer }).outcome;
        self.emit(from_issuer.then_some(Event::TokenMinted));
        if !kept {
            // The cache was cleared meanwhile, and this token may have come to where others find it after that.
            self.emit(self.sharing.clear());
        }
        outcome
    }

    fn land_failed(&self, takeoff: Takeoff<'_, Landing>, errand: &Errand<'_>, error: Error) -> Outcome {
        let now = self.issuer.now();
        self.cache.fail(errand.asked, errand.flight, &error, now, random::draw());
        let landing = match self.cache.look(errand.asked, errand.want, now) {
            Look::Serve(old) | Look::Refresh(old, _) => Landing { outcome: Ok(old), asked: false },
            Look::Fetch(_) | Look::Refuse(_) => Landing { outcome: Err(error.clone()), asked: true },
        };
        let outcome = takeoff.land(landing).outcome;
        self.issuer.events().emit(&Event::MintFailed { error });
        if outcome.is_ok() {
            self.issuer.events().emit(&Event::OldTokenServed);
        }
        outcome
    }

    fn obtain(&self, errand: &Errand<'_>, deadline: Deadline) -> (Result<Obtained, Error>, Vec<Event>) {
        let fresh = errand.want == Want::Fresh;
        self.sharing.obtain(&Wish {
            asked: errand.asked,
            accepts: &|token| !fresh && !self.cache.is_spent(errand.asked, token),
            deadline,
            now: &|| self.issuer.now(),
            mint: &|at| self.mint(errand, at, deadline),
        })
    }

    fn emit(&self, events: impl IntoIterator<Item = Event>) {
        events.into_iter().for_each(|event| self.issuer.events().emit(&event));
    }

    fn mint(&self, errand: &Errand<'_>, now: Now, deadline: Deadline) -> Result<Minted, Error> {
        let (asked, heed) = (errand.asked, errand.want.heed());
        let response = self.issuer.oauth_request(Endpoint::Token, &self.client, &asked.form(), heed, deadline)?;
        let read = body_text(Endpoint::Token, &response).and_then(|text| read_answer(text, asked.scope(), now));
        self.issuer.connection().judged(&response, read)
    }
}

/// What one call is about.
struct Errand<'a> {
    asked: &'a Arc<Asked>,
    want: Want,
    /// The entry's flight as it was when the call looked.
    flight: &'a TokenFlight,
}

impl fmt::Debug for M2mClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("M2mClient")
            .field("issuer", &self.0.issuer.url())
            .field("client_id", &self.0.client.client_id)
            .finish_non_exhaustive()
    }
}
