//! An HTTP client of your own: here one on bare sockets, wrapped by a closure that logs, in place of the default `UreqTransport`.
//!
//! Run it with `cargo run --example custom_transport`; it starts an issuer on loopback. It works with `--no-default-features`, where
//! a transport must be given.

#[macro_use]
mod support;

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use aero2::testing::TestIssuer;
use aero2::{Issuer, NetworkErrorKind, Request, Response, Transport, TransportError};

fn main() -> Result<(), Box<dyn Error>> {
    support::help("custom_transport", include_str!("custom_transport.rs"));
    let server = TestIssuer::new().serve()?;

    // A closure is a transport, and so is `Arc<T>`. Method, URL and status tell enough: headers and bodies hold secrets.
    let http = PlainHttp { user_agent: "orders-worker/1.0" };
    let logged = move |request: &Request<'_>| {
        let start = Instant::now();
        let result = http.send(request);
        let (method, url, millis) = (request.method(), request.url(), start.elapsed().as_millis());
        match &result {
            Ok(response) => println!("{method:<4} {url} -> status {} after {millis} ms", response.status()),
            Err(err) => println!("{method:<4} {url} -> {err}"),
        }
        result
    };

    let issuer = Issuer::builder(server.url()).transport(logged).build()?;
    let token = issuer.m2m_client(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build()?.access_token()?;
    let claims = issuer.resource_server().build()?.verify_token(token.expose_secret())?;
    println!(
        "verified a token of {}, fetched by this program's own HTTP client\n",
        claims.subject().unwrap_or("nobody")
    );

    drop(server);
    match issuer.introspector(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build()?.introspect("some token") {
        Err(err) => println!("without the issuer: {err} (retryable: {})", err.is_retryable()),
        Ok(_) => println!("without the issuer: an answer, which must not happen"),
    }
    Ok(())
}

/// HTTP/1.1 without TLS to an IP address and port, one connection for each request: enough for loopback, and to show the duties of
/// a transport.
struct PlainHttp {
    user_agent: &'static str,
}

impl Transport for PlainHttp {
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        let rest = request.url().strip_prefix("http://").ok_or_else(|| unusable("not http"))?;
        let (host, path) = rest.split_once('/').ok_or_else(|| unusable("no path"))?;
        let address: SocketAddr =
            host.parse().map_err(|err| TransportError::new(NetworkErrorKind::Dns).with_source(err))?;

        // Keep to the time-out that is left of the caller's budget.
        let start = Instant::now();
        let connected = TcpStream::connect_timeout(&address, request.timeout());
        let mut stream = connected.map_err(|err| TransportError::new(NetworkErrorKind::Connect).with_source(err))?;
        stream.set_write_timeout(Some(request.timeout()))?;

        let body = request.body().unwrap_or_default();
        let mut message = format!(
            "{} /{path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
            request.method(),
            self.user_agent,
            body.len()
        );
        for (name, value) in request.headers() {
            message.extend([name, ": ", value, "\r\n"]);
        }
        message.push_str("\r\n");
        stream.write_all(message.as_bytes())?;
        stream.write_all(body)?;

        // Stop reading past the limit; the crate refuses what is longer. And never follow a redirect: just return it.
        let (mut answer, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        while answer.len() <= request.max_response_bytes().saturating_add(HEAD_ROOM) {
            let left = request.timeout().saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(TransportError::new(NetworkErrorKind::Timeout));
            }
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => answer.extend_from_slice(buffer.get(..read).unwrap_or_default()),
                // What a read that timed out is called differs between systems.
                Err(err) if err.kind() == ErrorKind::WouldBlock => {
                    return Err(TransportError::new(NetworkErrorKind::Timeout));
                }
                Err(err) => return Err(err.into()),
            }
        }
        parse(&answer).ok_or_else(|| unusable("no HTTP"))
    }
}

fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(answer.get(..end)?).ok()?, answer.get(end + 4..)?);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let response = Response::new(status, headers, body.to_vec());
    // Half an answer is none.
    let whole = response.header("content-length").is_none_or(|length| length.parse() == Ok(body.len()));
    whole.then_some(response)
}

fn unusable(what: &'static str) -> TransportError {
    TransportError::new(NetworkErrorKind::Io).with_source(what)
}

/// For status line and headers.
const HEAD_ROOM: usize = 64 * 1024;
