//! The way to a server: directly, or through an HTTP proxy by CONNECT (RFC 9110 §9.3.6).

use std::fmt;
use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::Uri;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport, TransportAdapter};
use ureq::{Error, Proxy, ProxyProtocol};
use zeroize::Zeroizing;

use crate::transport::ureq::connect::{Connect, remaining};
use crate::transport::ureq::failure::{Failure, ProxyFailure};
use crate::transport::ureq::tls::Tls;

/// The first connector. The proxy is that of the request's configuration.
pub(super) struct Reach {
    connect: Connect,
    tls: Tls,
    user_agent: String,
}

impl Reach {
    pub(super) fn new(tls: Tls, user_agent: String) -> Self {
        Self { connect: Connect::new(), tls, user_agent }
    }

    fn through(&self, proxy: &Proxy, details: &ConnectionDetails<'_>) -> Result<Box<dyn Transport>, Error> {
        let mut connection = self.connect.open(proxy.host(), proxy.port(), details)?;
        if proxy.protocol() == ProxyProtocol::Https {
            connection = self.tls.wrap(connection, proxy.host(), details)?.boxed();
        }
        let mut adapter = TransportAdapter::new(connection, details.current_time.clone());
        adapter.set_timeout(remaining(details)?);
        adapter.write_all(&self.request(proxy, details.uri))?;
        let mut connection = adapter.into_inner();
        await_tunnel(&mut *connection, details)?;
        Ok(Tunnel(connection).boxed())
    }

    fn request(&self, proxy: &Proxy, target: &Uri) -> Zeroizing<Vec<u8>> {
        let host = target.host().unwrap_or_default();
        let port = port_of(target);
        let credentials = credentials(proxy).map_or_else(Zeroizing::default, |encoded| {
            Zeroizing::new(format!("Proxy-Authorization: Basic {}\r\n", *encoded))
        });
        let head = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
        let agent = format!("User-Agent: {}\r\nProxy-Connection: Keep-Alive\r\n", self.user_agent);
        Zeroizing::new([head.as_bytes(), agent.as_bytes(), credentials.as_bytes(), b"\r\n"].concat())
    }
}

impl Connector<()> for Reach {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Self::Out>, Error> {
        let Some(proxy) = details.config.proxy() else {
            return self.connect.open(details.uri.host().unwrap_or_default(), port_of(details.uri), details).map(Some);
        };
        self.through(proxy, details).map(Some).map_err(|error| {
            let place = format!("{}:{}", proxy.host(), proxy.port());
            Failure::Proxy(ProxyFailure { place, error: Box::new(error) }).into()
        })
    }
}

pub(super) fn port_of(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 })
}

fn credentials(proxy: &Proxy) -> Option<Zeroizing<String>> {
    let user = proxy.username()?;
    let pair = Zeroizing::new(format!("{user}:{}", proxy.password().unwrap_or_default()));
    Some(Zeroizing::new(STANDARD.encode(pair.as_bytes())))
}

/// Reads answers until one that is final: 1xx may come first, and any 2xx opens the tunnel, whatever its header says of a body.
fn await_tunnel(connection: &mut dyn Transport, details: &ConnectionDetails<'_>) -> Result<(), Error> {
    let most = details.config.max_response_header_size();
    let mut consumed = 0_usize;
    loop {
        let input = connection.buffers().input();
        if let Some(length) = head_length(input) {
            let status = status(input).ok_or(Failure::NotHttp)?;
            connection.buffers().input_consume(length);
            consumed = consumed.saturating_add(length);
            match status {
                _ if consumed > most => return Err(Error::LargeResponseHeader(consumed, most)),
                // After "101 Switching Protocols" HTTP ends.
                100 | 102..=199 => continue,
                200..=299 => return Ok(()),
                status => return Err(Failure::ProxyStatus(status).into()),
            }
        }
        if consumed.saturating_add(input.len()) > most {
            return Err(Error::LargeResponseHeader(consumed.saturating_add(input.len()), most));
        }
        if !connection.await_input(remaining(details)?)? {
            return Err(Failure::ProxyEnded.into());
        }
    }
}

/// The length of a whole header section with its empty line; a line may end without a carriage return (RFC 9112 §2.2).
fn head_length(input: &[u8]) -> Option<usize> {
    let mut end = 0_usize;
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        end = end.saturating_add(line.len());
        match line {
            b"\n" | b"\r\n" => return Some(end),
            _ => {}
        }
    }
    None
}

/// The code of a status line of HTTP/1.x (RFC 9112 §4).
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let (version, rest) = rest.split_first()?;
    let code = rest.strip_prefix(b" ")?;
    let (code, rest) = code.split_at_checked(3)?;
    let ends = rest.first().is_some_and(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
    let digits = version.is_ascii_digit() && code.iter().all(u8::is_ascii_digit) && code.first() != Some(&b'0');
    (ends && digits).then(|| std::str::from_utf8(code).ok()?.parse().ok())?
}

/// A connection to the server. There may be TLS to the proxy; there is none to the server yet.
#[derive(Debug)]
struct Tunnel(Box<dyn Transport>);

impl Transport for Tunnel {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.0.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        false
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_whole_with_its_empty_line() {
        for (input, length) in [
            (&b"HTTP/1.1 200 OK\r\n\r\nrest"[..], Some(19)),
            (b"HTTP/1.1 200 OK\r\na: b\r\n\r\n", Some(25)),
            (b"HTTP/1.1 200\n\n", Some(14)),
            (b"HTTP/1.1 200 OK\r\n", None),
            (b"HTTP/1.1 200 OK\r\na: b\r\n\r", None),
            (b"", None),
        ] {
            assert_eq!(head_length(input), length, "{input:?}");
        }
    }

    #[test]
    fn a_status_line_is_of_http_1() {
        for (head, code) in [
            (&b"HTTP/1.1 200 Connection established\r\n\r\n"[..], Some(200)),
            (b"HTTP/1.0 201\r\n\r\n", Some(201)),
            (b"HTTP/1.1 100 \n\n", Some(100)),
            (b"HTTP/2 200\r\n\r\n", None),
            (b"HTTP/1.1 2000\r\n\r\n", None),
            (b"HTTP/1.1 020 x\r\n\r\n", None),
            (b"HTTP/1.1  200\r\n\r\n", None),
            (b"HTTP/1.1 20\r\n\r\n", None),
            (b"HTTP/1.x 200\r\n\r\n", None),
            (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", None),
        ] {
            assert_eq!(status(head), code, "{head:?}");
        }
    }
}
