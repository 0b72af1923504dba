//! The test issuer in memory: a transport that has no network below it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::endpoints::{self, Incoming, Site};
use super::state::State;
use crate::{NetworkErrorKind, Request, Response, Transport, TransportError};

/// A transport that leads to a [`TestIssuer`](super::TestIssuer) without a network. A clone leads to the same issuer.
#[derive(Clone)]
pub struct TestTransport {
    state: Arc<State>,
    site: Arc<Site>,
}

impl TestTransport {
    pub(super) fn new(state: Arc<State>, site: Arc<Site>) -> Self {
        Self { state, site }
    }
}

impl Transport for TestTransport {
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        let Self { state, site } = self;
        let target = site.target(request.url()).ok_or_else(|| TransportError::new(NetworkErrorKind::Dns))?;
        let header = |name: &str| request.headers().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v);
        let incoming = Incoming {
            method: request.method(),
            target,
            content_type: header("content-type"),
            authorization: header("authorization"),
            body: request.body().unwrap_or_default(),
        };
        let limit = Instant::now().checked_add(request.timeout());
        let patience = || match limit {
            Some(limit) => limit.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()),
            None => Some(Duration::MAX),
        };
        endpoints::handle(state, site, &incoming, &patience).map_err(TransportError::new)
    }
}

impl fmt::Debug for TestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestTransport").field("url", &self.site.url).finish_non_exhaustive()
    }
}
