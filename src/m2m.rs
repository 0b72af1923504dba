//! Access tokens of this program itself, by client_credentials (RFC 6749 §4.4).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::client_auth::Client;
use crate::error::{Endpoint, Error};
use crate::events::Event;
use crate::issuer::Issuer;
use crate::issuer::http_client::body_text;
use crate::issuer::oauth_request::OAuthRequest;
use crate::issuer::retry_after::WaitScope;
use crate::m2m::shared_tokens::{SharedTokens, refused};
use crate::m2m::token::AccessToken;
use crate::m2m::token_cache::entry::Freshness;
use crate::m2m::token_cache::{FetchToken, Fetched, TokenCache};
use crate::m2m::token_request::{Params, TokenOptions, TokenRequest};
use crate::m2m::token_response::{Minted, Requested, parse_response};
use crate::time::{Deadline, Now};
use crate::transport::Response;

pub(crate) mod builder;
pub(crate) mod schedule;
pub(crate) mod shared_tokens;
pub(crate) mod stored;
pub(crate) mod token;
pub(crate) mod token_cache;
#[cfg(feature = "file-cache")]
pub(crate) mod token_file;
pub(crate) mod token_request;
pub(crate) mod token_response;
pub(crate) mod token_store;

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
    default_lifetime: Option<Duration>,
    /// The request of [`M2mClient::access_token`].
    default: Arc<TokenRequest>,
    cache: TokenCache,
    shared: Option<SharedTokens>,
}

impl M2mClient {
    /// A token for the default scope.
    ///
    /// # Errors
    /// [`Error::OAuth`] if the issuer refuses the client or the scope, which is remembered for 10 s. [`Error::Network`] if no
    /// token arrives within the [`timeout`](crate::IssuerBuilder::timeout), or if it is too early to ask again
    /// ([`retry_after`](Error::retry_after) says for how long). [`Error::Config`] if the secret cannot be read. [`Error::Clock`]
    /// if the client authenticates with a [`PrivateKeyJwt`](crate::PrivateKeyJwt) and the wall clock is not set.
    pub fn access_token(&self) -> Result<AccessToken, Error> {
        self.0.get(&self.0.default, Freshness::Any)
    }

    /// A token with `options` for this one call.
    ///
    /// # Errors
    /// As [`access_token`](Self::access_token); also [`Error::Config`] for a malformed scope or a parameter that this crate sets itself.
    pub fn access_token_with(&self, options: &TokenOptions) -> Result<AccessToken, Error> {
        let freshness = if options.force_refresh { Freshness::Fresh } else { Freshness::Any };
        if options.asks_for_defaults() {
            return self.0.get(&self.0.default, freshness);
        }
        let request = TokenRequest::new(options, self.0.default_scope.as_deref(), &self.0.params)?;
        self.0.get(&Arc::new(request), freshness)
    }

    /// Calls a service with a token. If the service answers 401 ([`Attempt::Unauthorized`]), the token is
    /// [rejected](Self::reject) and `send` is called once more with a new one; the second answer is returned as it is. A new token
    /// that is refused as well stays in use: until it is due, a 401 requests no token, so a service that always answers 401 costs one
    /// extra token request per token, not per call.
    ///
    /// ```
    /// use aero2::{AccessToken, Attempt};
    /// # let test = aero2::testing::TestIssuer::new();
    /// # test.register_client("svc-orders", "secret", ["api:read"]);
    /// # let m2m = test.issuer().m2m_client("svc-orders", "secret").build()?;
    /// # let get = |token: &AccessToken| (200, token.authorization_header());
    /// let answer = m2m.call(|token: &AccessToken| match get(token) {
    ///     answer @ (401, _) => Attempt::Unauthorized(answer),
    ///     answer => Attempt::Done(answer),
    /// })?;
    /// assert_eq!(answer.0, 200);
    /// # Ok::<(), aero2::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`access_token`](Self::access_token), for either token.
    pub fn call<T>(&self, mut send: impl FnMut(&AccessToken) -> Attempt<T>) -> Result<T, Error> {
        let token = self.access_token()?;
        let answer = match send(&token) {
            Attempt::Done(answer) => return Ok(answer),
            Attempt::Unauthorized(answer) => answer,
        };
        self.reject(&token);
        let next = self.access_token()?;
        if next.digest() == token.digest() {
            return Ok(answer);
        }
        match send(&next) {
            Attempt::Done(answer) => Ok(answer),
            Attempt::Unauthorized(answer) => {
                self.0.cache.note_rejected(&next);
                Ok(answer)
            }
        }
    }

    /// Forgets every token. Later calls ask for new ones, even while a request is in progress: its token goes to the callers that
    /// were waiting for it and is not kept. A `Retry-After` or a refusal from the issuer is not forgotten.
    pub fn clear_cache(&self) {
        let now = self.0.issuer.now();
        self.0.cache.clear(now);
        if let Some(event) = self.0.shared.as_ref().and_then(|shared| shared.clear(now)) {
            self.0.emit(&event);
        }
    }

    /// Reports that a service answered 401 to this token, so that the next call gets another one. Nothing happens if the cache
    /// already has another token, or if this same token was rejected before and the issuer returned it again.
    pub fn reject(&self, token: &AccessToken) {
        let mut events = Vec::new();
        for request in self.0.cache.reject(token) {
            self.0.discard(&request, token, &mut events);
        }
        events.iter().for_each(|event| self.0.emit(event));
    }
}

/// How a service answered to a token; what [`M2mClient::call`] needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt<T> {
    /// The service accepted the token, or failed for another reason.
    Done(T),
    /// The service refused the token: it answered 401.
    Unauthorized(T),
}

impl FetchToken for Inner {
    fn now(&self) -> Now {
        self.issuer.now()
    }

    fn deadline(&self) -> Deadline {
        self.issuer.deadline()
    }

    fn refresh_deadline(&self) -> Deadline {
        self.issuer.deadline().or_earlier(self.issuer.refresh_deadline())
    }

    /// From the issuer, or, if tokens are shared, from the store: look, lock, look again, ask, store.
    fn fetch(
        &self,
        request: &TokenRequest,
        freshness: Freshness,
        deadline: Deadline,
        events: &mut Vec<Event>,
    ) -> Fetched {
        // A store says by the wall clock when its tokens end.
        let shared = self.shared.as_ref().filter(|_| self.issuer.now().wall.is_some());
        let Some(shared) = shared else { return self.request(request, freshness, deadline) };
        // Most of the time there is something to read and no need of the lock. A failure is told by the second look.
        if let Some(found) = self.find(shared, request, freshness, &mut Vec::new()) {
            return found;
        }
        let _lock = shared.lock(request, deadline, events);
        if let Some(found) = self.find(shared, request, freshness, events) {
            return found;
        }
        let fetched = self.request(request, freshness, deadline);
        shared.store(request, &self.client, &fetched, events);
        fetched
    }

    fn discard(&self, request: &TokenRequest, token: &AccessToken, events: &mut Vec<Event>) {
        events.extend(self.shared.as_ref().and_then(|shared| shared.remove(request, token)));
    }

    fn emit(&self, event: &Event) {
        self.issuer.events().emit(event);
    }
}

impl Inner {
    fn get(&self, request: &Arc<TokenRequest>, freshness: Freshness) -> Result<AccessToken, Error> {
        let outcome = self.cache.get(request, freshness, self);
        outcome.map_err(|error| self.issuer.placed(error).with_client(&self.client.client_id, None))
    }

    /// What another process has got from the issuer.
    fn find(
        &self,
        shared: &SharedTokens,
        request: &TokenRequest,
        freshness: Freshness,
        events: &mut Vec<Event>,
    ) -> Option<Fetched> {
        let requested = self.issuer.now();
        let found = if freshness == Freshness::Any { shared.find(request, requested) } else { Ok(None) };
        let token = found.unwrap_or_else(|error| {
            events.push(refused(error));
            None
        });
        if let Some(minted) = token.filter(|minted| !self.cache.is_spent(request, &minted.token)) {
            return Some(Fetched { outcome: Ok(minted), requested, from_issuer: false });
        }
        let refusal = shared.find_refusal(request, &self.client, requested).unwrap_or_default()?;
        Some(Fetched { outcome: Err(refusal), requested, from_issuer: false })
    }

    fn request(&self, request: &TokenRequest, freshness: Freshness, deadline: Deadline) -> Fetched {
        let requested = self.issuer.now();
        Fetched { outcome: self.mint(request, freshness, requested, deadline), requested, from_issuer: true }
    }

    fn mint(
        &self,
        request: &TokenRequest,
        freshness: Freshness,
        now: Now,
        deadline: Deadline,
    ) -> Result<Minted, Error> {
        let oauth_request = OAuthRequest {
            endpoint: Endpoint::Token,
            client: &self.client,
            form: &request.form(),
            backoff: freshness.backoff_scope(),
            wait_scope: WaitScope::Everyone,
            deadline,
        };
        let requested = Requested { scope: request.scope(), at: now, default_lifetime: self.default_lifetime };
        let read = |response: &Response| parse_response(body_text(Endpoint::Token, response)?, requested);
        self.issuer.oauth_request(&oauth_request, read)
    }
}

impl fmt::Debug for M2mClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("M2mClient")
            .field("issuer", &self.0.issuer.url())
            .field("client_id", &self.0.client.client_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    //! Overlaps that the public API cannot force: the tests see how many callers wait for a flight. The rules that it can show are in
    //! `tests/it/m2m.rs` and `tests/it/m2m_calm.rs`.

    use std::thread::{self, ScopedJoinHandle};

    use super::*;
    use crate::error::NetworkErrorKind;
    use crate::m2m::token_cache::entry::{FlightOutcome, Lookup, Outcome, TokenFlight};
    use crate::testing::{Endpoint as At, Fault, TestIssuer};

    fn client(test: &TestIssuer) -> M2mClient {
        test.register_client("svc", "secret", ["api:read"]);
        test.issuer().m2m_client("svc", "secret").build().unwrap()
    }

    fn flight(m2m: &M2mClient) -> TokenFlight {
        match m2m.0.cache.lookup(&m2m.0.default, Freshness::Fresh, m2m.0.issuer.now()) {
            Lookup::Fetch(flight) => flight,
            _ => panic!("no flight"),
        }
    }

    /// Runs `during` while the token endpoint is about to answer a first caller and `options` of others wait for it.
    fn overlap(
        test: &TestIssuer,
        m2m: &M2mClient,
        options: &[TokenOptions],
        during: impl FnOnce(),
    ) -> (Outcome, Vec<Outcome>) {
        let gate = test.gate(At::Token);
        let flight = flight(m2m);
        thread::scope(|scope| {
            let leader = scope.spawn(|| m2m.access_token());
            gate.wait_until_reached(1);
            let waiters: Vec<_> =
                options.iter().map(|options| scope.spawn(|| m2m.access_token_with(options))).collect();
            while flight.waiting() != waiters.len() {
                thread::yield_now();
            }
            during();
            gate.release();
            let join = |caller: ScopedJoinHandle<'_, Outcome>| caller.join().unwrap();
            (join(leader), waiters.into_iter().map(join).collect())
        })
    }

    fn ten(options: &TokenOptions) -> Vec<TokenOptions> {
        vec![options.clone(); 10]
    }

    #[test]
    fn a_fresh_token_goes_to_all_callers_of_its_flight_whatever_its_lifetime() {
        for lifetime in ["0", "5"] {
            let test = TestIssuer::new();
            let m2m = client(&test);
            let answer = format!(r#"{{"access_token":"t","token_type":"Bearer","expires_in":{lifetime}}}"#);
            test.fail(At::Token, 1, Fault::json(200, answer));
            let (leader, waiters) = overlap(&test, &m2m, &ten(&TokenOptions::new()), || {});
            assert_eq!(leader.unwrap().expose_secret(), "t");
            assert!(waiters.into_iter().all(|waiter| waiter.unwrap().expose_secret() == "t"));
            assert_eq!(test.requests(At::Token), 1);
        }
    }

    #[test]
    fn concurrent_callers_share_one_fetch_errors_included() {
        let test = TestIssuer::new();
        let m2m = client(&test);
        test.fail(At::Token, 1, Fault::status(503));
        let (leader, waiters) = overlap(&test, &m2m, &ten(&TokenOptions::new()), || {});
        let shown = leader.unwrap_err().to_string();
        assert!(waiters.into_iter().all(|waiter| waiter.unwrap_err().to_string() == shown));
        assert_eq!(test.requests(At::Token), 1);
    }

    #[test]
    fn those_who_force_a_refresh_during_a_flight_share_the_one_after_it() {
        let test = TestIssuer::new();
        let m2m = client(&test);
        let (leader, waiters) = overlap(&test, &m2m, &ten(&TokenOptions::new().force_refresh()), || {});
        let tokens: Vec<_> = waiters.into_iter().map(|waiter| waiter.unwrap().expose_secret().to_owned()).collect();
        assert!(tokens.iter().all(|token| *token == tokens[0]));
        assert_ne!(leader.unwrap().expose_secret(), tokens[0]);
        assert_eq!(test.requests(At::Token), 2);
    }

    #[test]
    fn those_who_wait_when_the_cache_is_cleared_still_get_their_flights_token() {
        let test = TestIssuer::new();
        let m2m = client(&test);
        let (leader, waiters) = overlap(&test, &m2m, &ten(&TokenOptions::new()), || m2m.clear_cache());
        let token = leader.unwrap();
        assert!(waiters.into_iter().all(|waiter| waiter.unwrap().expose_secret() == token.expose_secret()));
        assert_ne!(m2m.access_token().unwrap().expose_secret(), token.expose_secret());
    }

    #[test]
    fn all_who_wait_for_a_leader_that_panics_get_an_error() {
        let test = TestIssuer::new();
        let m2m = client(&test);
        let flight = flight(&m2m);
        thread::scope(|scope| {
            let leader = flight.try_lead().unwrap();
            let waiters: Vec<_> = (0..10).map(|_| scope.spawn(|| m2m.access_token())).collect();
            while flight.waiting() != 10 {
                thread::yield_now();
            }
            drop(leader);
            for waiter in waiters {
                let Err(Error::Network(e)) = waiter.join().unwrap() else { panic!("not a network error") };
                assert_eq!(e.kind(), NetworkErrorKind::Io);
            }
        });
        m2m.access_token().unwrap();
    }

    #[test]
    fn a_thread_that_calls_back_into_its_own_issuer_harms_no_other() {
        let test = TestIssuer::new();
        let m2m = client(&test);
        let flight = flight(&m2m);
        let reentrant = Error::network(NetworkErrorKind::Reentrant, Endpoint::Token);
        thread::scope(|scope| {
            let leader = flight.try_lead().unwrap();
            let waiter = scope.spawn(|| m2m.access_token());
            while flight.waiting() != 1 {
                thread::yield_now();
            }
            m2m.0.cache.fail(&m2m.0.default, &flight, reentrant.clone(), m2m.0.issuer.now(), 0.5);
            leader.finish(FlightOutcome { outcome: Err(reentrant), fresh: true });
            waiter.join().unwrap().unwrap();
        });
    }

    #[test]
    fn what_a_leader_found_in_the_cache_is_not_good_enough_for_a_forced_refresh() {
        let test = TestIssuer::new();
        let m2m = client(&test);
        let old = m2m.access_token().unwrap();
        let flight = flight(&m2m);
        thread::scope(|scope| {
            let first = flight.try_lead().unwrap();
            let insistent = scope.spawn(|| m2m.access_token_with(&TokenOptions::new().force_refresh()));
            while flight.waiting() != 1 {
                thread::yield_now();
            }
            // Another caller takes the next flight before the one who waits wakes up, and looks into the cache only.
            first.finish(FlightOutcome { outcome: Ok(old.clone()), fresh: true });
            if let Some(second) = flight.try_lead() {
                second.finish(FlightOutcome { outcome: Ok(old.clone()), fresh: false });
            }
            assert_ne!(insistent.join().unwrap().unwrap().expose_secret(), old.expose_secret());
        });
        assert_eq!(test.requests(At::Token), 2);
    }
}
