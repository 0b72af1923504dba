//! Access tokens of this program itself, by client_credentials (RFC 6749 §4.4).

use std::fmt;
use std::sync::Arc;

use crate::cache::single_flight::Which;
use crate::client_auth::Client;
use crate::crypto::jitter;
use crate::error::{Endpoint, Error};
use crate::events::Event;
use crate::issuer::Issuer;
use crate::issuer::http_client::body_text;
use crate::m2m::sharing::Sharing;
use crate::m2m::token::AccessToken;
use crate::m2m::token_cache::{Freshness, Landing, Lookup, Outcome, TokenCache, TokenFlight};
use crate::m2m::token_request::{Params, TokenOptions, TokenRequest};
use crate::m2m::token_response::{Minted, parse_response};
use crate::m2m::wish::{Obtained, Wish};
use crate::time::{Deadline, Now};

pub(crate) mod builder;
pub(crate) mod schedule;
pub(crate) mod sharing;
pub(crate) mod token;
pub(crate) mod token_cache;
#[cfg(feature = "file-cache")]
pub(crate) mod token_file;
pub(crate) mod token_request;
pub(crate) mod token_response;
pub(crate) mod wish;

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
    default: Arc<TokenRequest>,
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
        let default = Arc::new(TokenRequest::new(&TokenOptions::new(), default_scope.as_deref(), &params)?);
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
        self.0.get(&self.0.default, Freshness::Any)
    }

    /// A token with `options` for this one call.
    ///
    /// # Errors
    /// As [`access_token`](Self::access_token); also [`Error::Config`] for a malformed scope or a parameter that this crate sets itself.
    pub fn access_token_with(&self, options: &TokenOptions) -> Result<AccessToken, Error> {
        let want = if options.force_refresh { Freshness::Fresh } else { Freshness::Any };
        if options.asks_for_defaults() {
            return self.0.get(&self.0.default, want);
        }
        let asked = TokenRequest::new(options, self.0.default_scope.as_deref(), &self.0.params)?;
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
    fn get(&self, asked: &Arc<TokenRequest>, want: Freshness) -> Outcome {
        match self.cache.look(asked, want, self.issuer.now()) {
            Lookup::Serve(token) => Ok(token),
            Lookup::Refuse(error) => Err(error),
            Lookup::Refresh(token, flight) => {
                let deadline = self.issuer.deadline().or_earlier(self.issuer.refresh_deadline());
                let errand = Errand { asked, want, flight: &flight };
                let mut events = Vec::new();
                let landed = flight.run_if_idle(|| self.lookup(&errand), || self.fetch(&errand, deadline, &mut events));
                self.emit(events);
                landed.map_or(Ok(token), |landing| landing.outcome)
            }
            Lookup::Fetch(flight) => {
                let deadline = self.issuer.deadline();
                let errand = Errand { asked, want, flight: &flight };
                let which = if want == Freshness::Fresh { Which::Next } else { Which::Current };
                let mut events = Vec::new();
                let accepts = |landing: &Landing| landing.serves(want);
                let fetch = || self.fetch(&errand, deadline, &mut events);
                let landed = flight.run(which, deadline.into(), accepts, || self.lookup(&errand), fetch);
                self.emit(events);
                landed.map_or_else(|reason| Err(reason.error(Endpoint::Token)), |landing| landing.outcome)
            }
        }
    }

    /// What another flight has published since the caller's own look-up.
    fn lookup(&self, errand: &Errand<'_>) -> Option<Landing> {
        match self.cache.look(errand.asked, errand.want, self.issuer.now()) {
            Lookup::Serve(token) => Some(Landing { outcome: Ok(token), asked: false }),
            Lookup::Refuse(error) => Some(Landing { outcome: Err(error), asked: false }),
            Lookup::Refresh(..) | Lookup::Fetch(_) => None,
        }
    }

    /// Asks and stores. The events are for after the flight, so that no handler makes its waiters wait.
    fn fetch(&self, errand: &Errand<'_>, deadline: Deadline, events: &mut Vec<Event>) -> Landing {
        let (obtained, of_sharing) = self.obtain(errand, deadline);
        let landing = match obtained {
            Ok(obtained) => self.store(errand, obtained, events),
            Err(error) => self.fail(errand, error, events),
        };
        events.extend(of_sharing);
        landing
    }

    fn store(&self, errand: &Errand<'_>, obtained: Obtained, events: &mut Vec<Event>) -> Landing {
        let kept = self.cache.store(errand.asked, errand.flight, &obtained, jitter());
        let Obtained { minted, from_issuer, .. } = obtained;
        events.extend(from_issuer.then_some(Event::TokenMinted {}));
        if !kept {
            // The cache was cleared meanwhile, and this token may have come to where others find it after that.
            events.extend(self.sharing.clear());
        }
        Landing { outcome: Ok(minted.token), asked: from_issuer }
    }

    fn fail(&self, errand: &Errand<'_>, error: Error, events: &mut Vec<Event>) -> Landing {
        let now = self.issuer.now();
        self.cache.fail(errand.asked, errand.flight, &error, now, jitter());
        let old = match self.cache.look(errand.asked, errand.want, now) {
            Lookup::Serve(old) | Lookup::Refresh(old, _) => Some(old),
            Lookup::Fetch(_) | Lookup::Refuse(_) => None,
        };
        events.push(Event::MintFailed { error: error.clone() });
        match old {
            Some(old) => {
                events.push(Event::OldTokenServed {});
                Landing { outcome: Ok(old), asked: false }
            }
            None => Landing { outcome: Err(error), asked: true },
        }
    }

    fn obtain(&self, errand: &Errand<'_>, deadline: Deadline) -> (Result<Obtained, Error>, Vec<Event>) {
        let fresh = errand.want == Freshness::Fresh;
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
        let read = body_text(Endpoint::Token, &response).and_then(|text| parse_response(text, asked.scope(), now));
        self.issuer.connection().judged(&response, read)
    }
}

/// What one call is about.
struct Errand<'a> {
    asked: &'a Arc<TokenRequest>,
    want: Freshness,
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

#[cfg(test)]
mod tests {
    //! Overlaps that the public API cannot force: the tests see how many callers wait for a flight. The rules that it can show are in
    //! `tests/it/m2m.rs` and `tests/it/m2m_calm.rs`.

    use std::thread::{self, ScopedJoinHandle};

    use super::*;
    use crate::error::NetworkErrorKind;
    use crate::testing::{Endpoint as At, Fault, TestIssuer};

    fn client(test: &TestIssuer) -> M2mClient {
        test.register_client("svc", "secret", ["api:read"]);
        test.issuer().m2m_client("svc", "secret").build().unwrap()
    }

    fn flight(m2m: &M2mClient) -> TokenFlight {
        match m2m.0.cache.look(&m2m.0.default, Freshness::Fresh, m2m.0.issuer.now()) {
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
            m2m.0.cache.fail(&m2m.0.default, &flight, &reentrant, m2m.0.issuer.now(), 0.5);
            leader.finish(Landing { outcome: Err(reentrant), asked: true });
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
            first.finish(Landing { outcome: Ok(old.clone()), asked: true });
            if let Some(second) = flight.try_lead() {
                second.finish(Landing { outcome: Ok(old.clone()), asked: false });
            }
            assert_ne!(insistent.join().unwrap().unwrap().expose_secret(), old.expose_secret());
        });
        assert_eq!(test.requests(At::Token), 2);
    }
}
