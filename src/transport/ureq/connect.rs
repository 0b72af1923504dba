//! Looking up, connecting, and watching over a connection's reuse.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::{Duration as Wait, Instant as Moment};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, NextTimeout, TcpConnector, Transport,
};

use crate::transport::ureq::failure::{Failure, is_disconnect};

/// Resolves nothing. ureq asks its resolver before it looks for an idle connection; [`Dial`] does it when there is none.
#[derive(Debug)]
pub(super) struct Unresolved;

impl Resolver for Unresolved {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// Looks up the host and opens a TCP connection, unless a proxy's tunnel is there already.
#[derive(Debug, Default)]
pub(super) struct Dial {
    resolver: DefaultResolver,
    tcp: TcpConnector,
}

impl<In: Transport> Connector<In> for Dial {
    type Out = Either<In, Box<dyn Transport>>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if let Some(tunnel) = chained {
            return Ok(Some(Either::A(tunnel)));
        }
        let located = ConnectionDetails {
            uri: details.uri,
            addrs: self.addresses(details)?,
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: (details.current_time)(),
            timeout: remaining(details)?,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        match self.tcp.connect(&located, None::<()>) {
            Ok(Some(connection)) => Ok(Some(Either::B(connection.boxed()))),
            Ok(None) => Ok(None),
            Err(Error::Io(error)) => Err(Failure::Connect(error).into()),
            Err(error) => Err(error),
        }
    }
}

impl Dial {
    fn addresses(&self, details: &ConnectionDetails<'_>) -> Result<ResolvedSocketAddrs, Error> {
        let uri = details.uri;
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let known = unmistakable(host);
        if known.is_empty() {
            return self.resolver.resolve(uri, details.config, remaining(details)?).map_err(|error| match error {
                Error::Io(error) => Failure::Dns(error).into(),
                error => error,
            });
        }
        let mut addresses = details.resolver.empty();
        for address in known {
            addresses.push(SocketAddr::new(address, port));
        }
        Ok(addresses)
    }
}

/// The addresses of a host that needs no look-up. `localhost` is loopback (RFC 6761 §6.3), since plain `http` is allowed there.
fn unmistakable(host: &str) -> Vec<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().into_iter().collect()
}

/// What is left of the time for connecting: ureq counts it once, before the first step.
pub(super) fn remaining(details: &ConnectionDetails<'_>) -> Result<NextTimeout, Error> {
    let spent = match (details.now, (details.current_time)()) {
        (Moment::Exact(start), Moment::Exact(now)) => now.saturating_duration_since(start),
        _ => Duration::ZERO,
    };
    let after = match details.timeout.after {
        Wait::Exact(wait) => Wait::Exact(wait.saturating_sub(spent)),
        Wait::NotHappening => Wait::NotHappening,
    };
    if after.is_zero() {
        return Err(Error::Timeout(details.timeout.reason));
    }
    Ok(NextTimeout { after, ..details.timeout })
}

/// The last connector: it knows whether a connection that ends had been idle before.
#[derive(Debug)]
pub(super) struct Watch;

impl<In: Transport> Connector<In> for Watch {
    type Out = Watched;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let first_use_ends = match (details.now, details.config.timeouts().global) {
            (Moment::Exact(start), Some(budget)) => start.checked_add(budget),
            _ => None,
        };
        Ok(chained.map(|inner| Watched { inner: inner.boxed(), first_use_ends, reused: false, answered: false }))
    }
}

/// A connection that tells a stale end (idle, then gone before the first byte of an answer) from every other.
#[derive(Debug)]
pub(super) struct Watched {
    inner: Box<dyn Transport>,
    /// The end of the request that opened the connection. ureq's CONNECT grants each read the whole time for connecting.
    first_use_ends: Option<Instant>,
    reused: bool,
    answered: bool,
}

impl Watched {
    fn within_first_use(&self, timeout: NextTimeout) -> NextTimeout {
        let Some(end) = self.first_use_ends else { return timeout };
        let left = Wait::from(end.saturating_duration_since(Instant::now()));
        NextTimeout { after: timeout.after.min(left), ..timeout }
    }

    fn is_stale(&self) -> bool {
        self.reused && !self.answered
    }

    fn told_apart(&self, error: Error) -> Error {
        match error {
            Error::Io(error) if self.is_stale() && is_disconnect(&error) => Failure::Stale.into(),
            error => error,
        }
    }
}

impl Transport for Watched {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = self.within_first_use(timeout);
        self.inner.transmit_output(amount, timeout).map_err(|error| self.told_apart(error))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = self.within_first_use(timeout);
        match self.inner.await_input(timeout) {
            Ok(false) if self.is_stale() => Err(Failure::Stale.into()),
            Ok(progress) => {
                self.answered |= progress;
                Ok(progress)
            }
            Err(error) => Err(self.told_apart(error)),
        }
    }

    /// ureq asks this between two requests, and only then.
    fn is_open(&mut self) -> bool {
        (self.first_use_ends, self.reused, self.answered) = (None, true, false);
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
