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
use crate::transport::ureq::head::{head_length, is_interim, status};
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
                status if is_interim(status) => continue,
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
