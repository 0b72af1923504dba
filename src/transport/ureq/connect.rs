//! Looking up a host, and opening a TCP connection to one of its addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::{Duration as Wait, Instant as Moment};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport};
use ureq::{Error, Timeout};

use crate::transport::ureq::failure::Failure;
use crate::transport::ureq::lookups::{LookupError, Lookups};

/// Resolves nothing. ureq asks its resolver before it looks for an idle connection; [`Connect`] looks up when there is none.
#[derive(Debug)]
pub(super) struct Unresolved;

impl Resolver for Unresolved {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// Opens TCP connections.
#[derive(Debug)]
pub(super) struct Connect {
    lookups: Lookups,
    tcp: TcpConnector,
}

impl Connect {
    pub(super) fn new() -> Self {
        Self { lookups: Lookups::new(), tcp: TcpConnector::default() }
    }

    /// Connects to an address of `host`, which is as it stands in a URL.
    pub(super) fn open(
        &self,
        host: &str,
        port: u16,
        details: &ConnectionDetails<'_>,
    ) -> Result<Box<dyn Transport>, Error> {
        let addresses = self.addresses(host, remaining(details)?)?;
        let budget = *remaining(details)?.after;
        first_that_answers(&addresses, budget, |address, wait| {
            let left = remaining(details)?;
            let timeout = NextTimeout { after: Wait::Exact(wait.min(*left.after)), ..left };
            self.attempt(SocketAddr::new(address, port), timeout, details)
        })
    }

    fn addresses(&self, host: &str, timeout: NextTimeout) -> Result<Vec<IpAddr>, Error> {
        let known = unmistakable(host);
        if !known.is_empty() {
            return Ok(known);
        }
        let found = self.lookups.addresses(host, Instant::now().checked_add(*timeout.after));
        match found {
            Ok(found) if found.is_empty() => Err(Error::HostNotFound),
            Ok(found) => Ok(taking_turns(&found)),
            Err(LookupError::TimedOut) => Err(Error::Timeout(timeout.reason)),
            Err(LookupError::Failed(error)) => Err(Failure::Dns(error).into()),
        }
    }

    fn attempt(
        &self,
        address: SocketAddr,
        timeout: NextTimeout,
        details: &ConnectionDetails<'_>,
    ) -> Result<Box<dyn Transport>, Error> {
        let mut addrs = details.resolver.empty();
        addrs.push(address);
        let located = ConnectionDetails {
            uri: details.uri,
            addrs,
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: (details.current_time)(),
            timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        match self.tcp.connect(&located, None::<()>) {
            Ok(Some(connection)) => Ok(connection.boxed()),
            Ok(None) => Err(Error::ConnectionFailed),
            Err(Error::Io(error)) => Err(Failure::Connect(error).into()),
            Err(error) => Err(error),
        }
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

/// The families by turns, that of the first address first (RFC 8305 §4), and a bounded number of addresses.
fn taking_turns(found: &[IpAddr]) -> Vec<IpAddr> {
    let of_first = |address: &IpAddr| found.first().is_some_and(|first| first.is_ipv4() == address.is_ipv4());
    let mut firsts = found.iter().filter(|address| of_first(address));
    let mut others = found.iter().filter(|address| !of_first(address));
    let mut ordered = Vec::new();
    loop {
        let turn = [firsts.next(), others.next()];
        if turn == [None, None] || ordered.len() >= MAX_ADDRESSES {
            return ordered;
        }
        ordered.extend(turn.into_iter().flatten());
    }
}

/// Tries the addresses in equal shares of a quarter of `budget`, so that dead ones cost no more. Those that kept silent get another share,
/// of a half of `budget`, for networks that are slow. A quarter remains for the exchange. A single address has all the time.
fn first_that_answers<T>(
    addresses: &[IpAddr],
    budget: Duration,
    mut attempt: impl FnMut(IpAddr, Duration) -> Result<T, Error>,
) -> Result<T, Error> {
    if let [only] = addresses {
        return attempt(*only, budget);
    }
    let mut last = Error::ConnectionFailed;
    let mut waiting = addresses.to_vec();
    for part in [budget / 4, budget / 2] {
        let share = part / u32::try_from(waiting.len()).unwrap_or(u32::MAX).max(1);
        let mut silent = Vec::new();
        for address in waiting {
            match attempt(address, share.max(SHORTEST_SHARE)) {
                Ok(connection) => return Ok(connection),
                Err(Error::Timeout(_)) => silent.push(address),
                Err(error) => last = error,
            }
        }
        waiting = silent;
    }
    Err(if waiting.is_empty() { last } else { Error::Timeout(Timeout::Connect) })
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

/// More than any issuer publishes; login.microsoftonline.com has sixteen.
const MAX_ADDRESSES: usize = 16;

/// `connect` takes no time-out of zero.
const SHORTEST_SHARE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_families_take_turns() {
        for (found, expected) in [
            (&["::1", "::2", "::3", "1.1.1.1", "2.2.2.2"][..], &["::1", "1.1.1.1", "::2", "2.2.2.2", "::3"][..]),
            (&["1.1.1.1", "::1", "2.2.2.2", "3.3.3.3"], &["1.1.1.1", "::1", "2.2.2.2", "3.3.3.3"]),
            (&["1.1.1.1"], &["1.1.1.1"]),
            (&[], &[]),
        ] {
            assert_eq!(taking_turns(&addresses(found)), addresses(expected));
        }
        let many: Vec<IpAddr> = (0..=255).map(|last| Ipv4Addr::new(10, 0, 0, last).into()).collect();
        assert_eq!(taking_turns(&many).len(), MAX_ADDRESSES);
    }

    /// What an attempt at an address comes to, and how long it takes.
    enum Peer {
        Answers(Duration),
        Refuses,
        Dead,
    }

    /// Connects to the peers with 12 s; the outcome, and the time that it took.
    fn connect(peers: &[Peer]) -> (Result<usize, Error>, Duration) {
        let all: Vec<IpAddr> = (0..).zip(peers).map(|(number, _)| Ipv4Addr::new(10, 0, 0, number).into()).collect();
        let mut spent = Duration::ZERO;
        let outcome = first_that_answers(&all, Duration::from_secs(12), |address, share| {
            let number = all.iter().position(|known| *known == address).unwrap();
            let (takes, outcome) = match &peers[number] {
                Peer::Answers(after) if *after <= share => (*after, Ok(number)),
                Peer::Refuses => (Duration::ZERO, Err(io::Error::from(io::ErrorKind::ConnectionRefused).into())),
                Peer::Answers(_) | Peer::Dead => (share, Err(Error::Timeout(Timeout::Connect))),
            };
            spent += takes;
            outcome
        });
        (outcome, spent)
    }

    #[test]
    fn dead_addresses_cost_a_quarter_at_most_and_never_all() {
        const SOON: Duration = Duration::from_millis(50);
        let quarter = Duration::from_secs(3);
        for dead in 1..MAX_ADDRESSES {
            let mut peers: Vec<Peer> = (0..dead).map(|_| Peer::Dead).collect();
            peers.push(Peer::Answers(SOON));
            let (outcome, spent) = connect(&peers);
            assert_eq!(outcome.unwrap(), dead);
            assert!(spent <= quarter, "{dead}: {spent:?}");
        }
        let (outcome, spent) = connect(&[Peer::Dead, Peer::Dead]);
        assert!(matches!(outcome, Err(Error::Timeout(_))));
        assert_eq!(spent, 3 * quarter, "a quarter remains");
    }

    #[test]
    fn a_slow_address_is_reached_in_the_second_round() {
        let slow = Duration::from_secs(2);
        assert_eq!(connect(&[Peer::Dead, Peer::Answers(slow)]).0.unwrap(), 1);
        assert_eq!(connect(&[Peer::Refuses, Peer::Answers(2 * slow)]).0.unwrap(), 1);
        assert_eq!(connect(&[Peer::Answers(5 * slow)]).0.unwrap(), 0, "a single one has all the time");
    }

    #[test]
    fn refusals_are_told_from_silence() {
        assert!(matches!(connect(&[Peer::Refuses, Peer::Refuses]).0, Err(Error::Io(_))));
        assert!(matches!(connect(&[Peer::Refuses, Peer::Dead]).0, Err(Error::Timeout(_))));
        assert!(matches!(connect(&[Peer::Refuses]).0, Err(Error::Io(_))));
    }
}
