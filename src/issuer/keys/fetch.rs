//! How the key set is fetched: its URL by the discovery document, its time to live by the answer.

use std::time::Duration;

use crate::cache::backoff::BackoffScope;
use crate::cache::refresh_ahead::{Fetch, Fetched};
use crate::error::{Detail, Endpoint, Error, NetworkErrorKind};
use crate::events::{Count, Event};
use crate::http::headers;
use crate::issuer::discovery::{Discovery, is_endpoint_failure};
use crate::issuer::http_client::{HttpClient, Target, body_text};
use crate::issuer::retry_after::WaitScope;
use crate::issuer::snapshot::MAX_TTL;
use crate::jose::jwk::JwkSet;
use crate::time::{Deadline, Now};
use crate::transport::Response;

/// Fetches the key set of one issuer.
pub(crate) struct KeyFetch<'a, K: Fn(&Fetched<JwkSet>)> {
    pub(crate) http: &'a HttpClient,
    pub(crate) discovery: &'a Discovery,
    /// The time to live where the answer does not say one.
    pub(crate) ttl: Duration,
    /// Keeps what was fetched for the next process.
    pub(crate) keep: K,
}

impl<K: Fn(&Fetched<JwkSet>)> KeyFetch<'_, K> {
    /// Where the URL has gone for good, the discovery document is read again at once, since it may name another.
    fn attempt(&self, deadline: Deadline) -> Result<Fetched<JwkSet>, Error> {
        self.http.check_wait(Endpoint::Keys, WaitScope::Everyone)?;
        let url = self.url(deadline)?;
        let outcome = self.get(&url, deadline);
        if !outcome.as_ref().is_err_and(is_gone) {
            return outcome;
        }
        match self.url(deadline) {
            Ok(newer) if newer != url => self.get(&newer, deadline),
            _ => outcome,
        }
    }

    fn url(&self, deadline: Deadline) -> Result<String, Error> {
        let addresses = &self.http.addresses;
        if let Some(given) = addresses.given(Endpoint::Keys) {
            return Ok(given.to_owned());
        }
        let metadata = self.discovery.get(self.http, BackoffScope::All, deadline)?;
        let named = metadata.endpoint(Endpoint::Keys);
        let url = addresses.endpoint(Endpoint::Keys, named).inspect_err(|_| self.discovery.mark_due())?;
        Ok(url.into_owned())
    }

    /// One attempt, which is counted, and counted again if it fails.
    fn get(&self, url: &str, deadline: Deadline) -> Result<Fetched<JwkSet>, Error> {
        self.http.events.count(Count::KeyFetch);
        let target = Target { endpoint: Endpoint::Keys, url, deadline };
        self.http.get(target, |response| self.read(response)).inspect_err(|error| {
            self.http.events.count(Count::KeyFetchFailure);
            if self.http.addresses.given(Endpoint::Keys).is_none() && is_endpoint_failure(error) {
                self.discovery.mark_due();
            }
        })
    }

    fn read(&self, response: &Response) -> Result<Fetched<JwkSet>, Error> {
        let text = body_text(Endpoint::Keys, response)?;
        let value = JwkSet::parse(text).map_err(|_| Error::invalid_response(Endpoint::Keys, Detail::Member("keys")))?;
        if value.is_empty() {
            return Err(Error::invalid_response(Endpoint::Keys, Detail::NoUsableKey));
        }
        let fresh_for = headers::freshness_lifetime(|| response.headers());
        let ttl = fresh_for.map_or(self.ttl, |fresh_for| fresh_for.clamp(MIN_KEY_TTL, MAX_TTL));
        Ok(Fetched { value, ttl })
    }
}

impl<K: Fn(&Fetched<JwkSet>)> Fetch<JwkSet> for KeyFetch<'_, K> {
    fn reporting<R>(&self, flight: impl FnOnce() -> R) -> R {
        self.http.events.after_flight(flight)
    }

    fn now(&self) -> Now {
        self.http.now()
    }

    fn refresh_deadline(&self) -> Deadline {
        self.http.refresh_deadline()
    }

    fn fetch(&self, deadline: Deadline) -> Result<Fetched<JwkSet>, Error> {
        let fetched = self.attempt(deadline);
        if let Ok(fetched) = &fetched {
            (self.keep)(fetched);
        }
        self.http.events.emit(&match &fetched {
            Ok(Fetched { value, .. }) => self.http.events.keys_refreshed(value.len(), value.skipped()),
            Err(error) => Event::KeyRefreshFailed { error: error.clone() },
        });
        fetched
    }
}

fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Network(e) if matches!(e.kind(), NetworkErrorKind::Status(404 | 410)))
}

/// A `Cache-Control: max-age` below this would mean a request every few seconds.
const MIN_KEY_TTL: Duration = Duration::from_secs(60);
