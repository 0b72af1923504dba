//! One entry of the token cache: what is known for one token request. Pure: the time and the draw are arguments.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use crate::cache::backoff::{Backoff, BackoffScope};
use crate::cache::single_flight::SingleFlight;
use crate::crypto::Sha256;
use crate::error::{Endpoint, Error, NetworkErrorKind};
use crate::m2m::schedule::{Jitter, Plan, Schedule};
use crate::m2m::token::AccessToken;
use crate::m2m::token_request::TokenRequest;
use crate::m2m::token_response::Minted;
use crate::time::Now;

pub(super) struct Entry {
    pub(super) request: Arc<TokenRequest>,
    pub(super) last_used: AtomicUsize,
    pub(super) cached: Option<(AccessToken, Schedule)>,
    /// Replaced when the cache is cleared: a flight that is not the entry's own any more may not store its token.
    pub(super) flight: TokenFlight,
    /// The jitter of the next token.
    jitter: Jitter,
    backoff: Backoff,
    last_error: Option<Error>,
    /// Digests of tokens that were rejected once; rejecting them again would request tokens without end.
    rejected: VecDeque<Sha256>,
}

impl Entry {
    pub(super) fn new(request: Arc<TokenRequest>, use_count: usize) -> Self {
        Self {
            request,
            last_used: AtomicUsize::new(use_count),
            cached: None,
            flight: new_flight(),
            jitter: Jitter::default(),
            backoff: Backoff::default(),
            last_error: None,
            rejected: VecDeque::new(),
        }
    }

    /// What a caller gets, by the plan for the cached token.
    pub(super) fn answer(&self, plan: Option<Plan>, freshness: Freshness, now: Now) -> Lookup {
        let cached = self.cached.as_ref().map(|(token, _)| token);
        let wait = match (freshness, plan.zip(cached)) {
            (Freshness::Any, Some((Plan::Serve, token))) => return Lookup::Serve(token.clone()),
            (Freshness::Any, Some((Plan::ServeAndRefresh, token))) => {
                let token = token.clone();
                let tried = self.backoff.wait(now).is_some();
                return if tried { Lookup::Serve(token) } else { Lookup::Refresh(token, self.flight.clone()) };
            }
            (Freshness::Any, _) => self.wait(now),
            (Freshness::Fresh, _) => self.backoff.binding_wait(now),
        };
        let Some(wait) = wait else { return Lookup::Fetch(self.flight.clone()) };
        Lookup::Refuse(self.last_error.clone().unwrap_or_else(abandoned).with_retry_after(wait))
    }

    /// How long a caller without a token has to wait. A secret that cannot be read has cost the issuer nothing, so the next call reads it
    /// again.
    pub(super) fn wait(&self, now: Now) -> Option<Duration> {
        self.backoff.wait(now).filter(|_| !matches!(self.last_error, Some(Error::Config(_))))
    }

    /// Gives what it replaced, which the caller drops without the lock.
    pub(super) fn store(&mut self, minted: &Minted, requested: Now, draw: f64) -> Option<Error> {
        let schedule = |lifetime| Schedule::new(lifetime, requested, self.jitter, draw);
        self.cached = minted.lifetime.map(|lifetime| (minted.token.clone(), schedule(lifetime)));
        self.jitter = self.jitter.after_token();
        self.backoff.succeeded();
        self.last_error.take()
    }

    /// As [`store`](Self::store).
    pub(super) fn fail(&mut self, error: Error, now: Now, draw: f64) -> Option<Error> {
        self.jitter = self.jitter.after_failure();
        let asked = asked_to_wait(&error);
        if is_refusal(&error) {
            self.backoff.refused(now, asked.unwrap_or_default().max(REFUSAL_REMEMBERED));
        } else if asked.is_some() {
            self.backoff.failed(now, asked, draw);
        } else {
            self.backoff.held_up(now, error.retry_after(), draw);
        }
        self.last_error.replace(error)
    }

    /// As [`store`](Self::store), the token and the flight included.
    pub(super) fn clear(&mut self, now: Now) -> impl Sized + use<> {
        let flight = std::mem::replace(&mut self.flight, new_flight());
        let bound = self.backoff.binding_wait(now).is_some();
        let error = if bound { None } else { self.last_error.take() };
        if !bound {
            self.backoff.succeeded();
        }
        (flight, error, self.cached.take())
    }

    pub(super) fn caches(&self, digest: &Sha256) -> bool {
        self.cached.as_ref().is_some_and(|(token, _)| token.digest() == digest)
    }

    /// Whether that token was rejected, now or before.
    pub(super) fn has_rejected(&self, digest: &Sha256) -> bool {
        self.rejected.contains(digest)
    }

    /// Drops that token, if it is cached and was not rejected before; gives the request that it was for.
    pub(super) fn reject(&mut self, digest: &Sha256) -> Option<Arc<TokenRequest>> {
        self.note_rejected(digest)?;
        self.cached = None;
        Some(self.request.clone())
    }

    /// As [`reject`](Self::reject), but keeps the token in use.
    pub(super) fn note_rejected(&mut self, digest: &Sha256) -> Option<()> {
        if !self.caches(digest) || self.rejected.contains(digest) {
            return None;
        }
        if self.rejected.len() >= MAX_REJECTED {
            self.rejected.pop_front();
        }
        self.rejected.push_back(*digest);
        Some(())
    }
}

fn new_flight() -> TokenFlight {
    Arc::new(SingleFlight::new(FlightOutcome { outcome: Err(abandoned()), fresh: true }))
}

/// What the waiters get if a leader panics.
fn abandoned() -> Error {
    Error::network(NetworkErrorKind::Io, Endpoint::Token)
}

/// Whether the failure keeps every caller from asking again, `force_refresh` included: the issuer said when to come back, or gave an
/// answer that will not change by itself.
pub(super) fn binds(error: &Error) -> bool {
    asked_to_wait(error).is_some() || is_refusal(error)
}

/// An OAuth error that is no matter of time.
pub(crate) fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::OAuth(_)) && !error.is_retryable()
}

/// The token endpoint's `Retry-After`. A wait for another endpoint may be our own back-off, and that endpoint's cache keeps it.
fn asked_to_wait(error: &Error) -> Option<Duration> {
    match error {
        Error::Network(e) if e.endpoint() != Endpoint::Token => None,
        _ => error.retry_after(),
    }
}

pub(crate) type Outcome = Result<AccessToken, Error>;

/// How a flight ended.
#[derive(Clone)]
pub(crate) struct FlightOutcome {
    pub(crate) outcome: Outcome,
    /// It is of a request during the flight; otherwise the leader found a token, or a reason not to ask, in the cache.
    pub(crate) fresh: bool,
}

impl FlightOutcome {
    /// Whether a waiter may take it for the answer to its own call.
    pub(crate) fn is_for(&self, freshness: Freshness) -> bool {
        match &self.outcome {
            Err(error) if error.is_reentrant() => false,
            _ => self.fresh || freshness == Freshness::Any,
        }
    }
}

pub(crate) type TokenFlight = Arc<SingleFlight<FlightOutcome>>;

/// What the cache has for a caller.
pub(crate) enum Lookup {
    Serve(AccessToken),
    /// The token serves, and one caller should refresh it.
    Refresh(AccessToken, TokenFlight),
    Fetch(TokenFlight),
    /// It is too early to ask again.
    Refuse(Error),
}

/// Whether a cached token is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    Any,
    /// A token that is requested after the call began. Only the issuer's own word keeps the call from asking, not our back-off.
    Fresh,
}

impl Freshness {
    pub(crate) fn backoff_scope(self) -> BackoffScope {
        match self {
            Self::Any => BackoffScope::All,
            Self::Fresh => BackoffScope::RetryAfterOnly,
        }
    }
}

/// Rejected tokens remembered per entry: enough for an issuer that goes round among several.
const MAX_REJECTED: usize = 16;

/// How long an OAuth error that is no matter of time is answered without asking again: a wrong secret stays wrong until it is mended.
pub(crate) const REFUSAL_REMEMBERED: Duration = Duration::from_secs(10);
