//! The test issuer over HTTP on loopback. A server of its own rather than a crate's, since a test needs what those do not give:
//! connections that end without an answer, any number of them held back at once, and nothing left behind when it stops.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use super::endpoints::{self, Incoming, Site};
use super::memory::TestTransport;
use super::state::State;
use super::token::TestToken;
use crate::{Issuer, IssuerBuilder, Response};

/// A [`TestIssuer`](super::TestIssuer) on a loopback port, for programs in any language. Dropping it closes all connections and
/// ends its threads.
///
/// ```
/// use aero2::testing::TestIssuer;
///
/// let server = TestIssuer::new().serve()?;
/// let rs = server.issuer().resource_server().build()?;
/// assert_eq!(rs.verify_token(&server.token().subject("u1").sign())?.issuer(), server.url());
///
/// drop(server);
/// let error = rs.verify_token("not a token").unwrap_err();
/// assert_eq!(error.http_status(), 401, "this one needs no network to be refused");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TestServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    state: Arc<State>,
    site: Arc<Site>,
    stopping: AtomicBool,
    connections: Mutex<Vec<(TcpStream, JoinHandle<()>)>>,
}

impl TestServer {
    pub(super) fn start(state: Arc<State>, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        let site = Arc::new(Site::new(&format!("http://{address}")));
        let (stopping, connections) = (AtomicBool::new(false), Mutex::default());
        let shared = Arc::new(Shared { state, site, stopping, connections });
        let accept = shared.clone();
        let accepting = Builder::new().name(String::from("test-issuer")).spawn(move || accept.accept(&listener))?;
        Ok(Self { address, shared, accepting: Some(accepting) })
    }

    /// The URL: `http://127.0.0.1:` and the port.
    pub fn url(&self) -> &str {
        &self.shared.site.url
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The builder of an [`Issuer`] for this URL, with the test issuer's clock. It uses HTTP with the feature `ureq`, and
    /// otherwise stays in memory.
    pub fn issuer_builder(&self) -> IssuerBuilder {
        let builder = if cfg!(feature = "ureq") {
            Issuer::builder(self.url())
        } else {
            Issuer::builder(self.url())
                .transport(TestTransport::new(self.shared.state.clone(), self.shared.site.clone()))
        };
        match self.shared.state.clock() {
            Some(clock) => builder.clock(clock.clone()),
            None => builder,
        }
    }

    /// A new [`Issuer`] for this URL, with the test issuer's clock and caches of its own. It uses HTTP with the feature `ureq`,
    /// and otherwise stays in memory.
    ///
    /// # Panics
    /// Never, unless a loopback URL stopped being one that an issuer may have.
    #[expect(clippy::expect_used, reason = "a loopback URL is one that an issuer may have")]
    pub fn issuer(&self) -> Issuer {
        self.issuer_builder().build().expect("an issuer on loopback")
    }

    /// A token of the issuer at this URL, which is good unless the test changes something.
    pub fn token(&self) -> TestToken {
        TestToken::new(self.shared.state.clone(), self.shared.site.url.clone())
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; if that fails the listener is gone, and so is the thread.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for (stream, thread) in std::mem::take(&mut *self.shared.connections.lock()) {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for TestServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestServer").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.stopping() {
                return;
            }
            // A connection that was reset before it was taken is no reason to stop.
            let Ok(stream) = stream else { continue };
            let Ok(handle) = stream.try_clone() else { continue };
            let serving = self.clone();
            let thread = Builder::new().name(String::from("test-issuer-connection")).spawn(move || {
                // An error is the client's leaving, or a script's wish: either way the connection ends.
                let _ = serving.serve(&stream);
                let _ = stream.shutdown(Shutdown::Both);
            });
            let mut connections = self.connections.lock();
            connections.retain(|(_, thread)| !thread.is_finished());
            connections.extend(thread.ok().map(|thread| (handle, thread)));
        }
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STOP_CHECK))?;
        let mut reader = BufReader::new(UntilStopped { stream, stopping: &self.stopping });
        while let Some(request) = HttpRequest::read(&mut reader)? {
            let incoming = Incoming {
                method: &request.method,
                target: &request.target,
                content_type: request.header("content-type"),
                authorization: request.header("authorization"),
                body: &request.body,
            };
            let answer =
                endpoints::handle(&self.state, &self.site, &incoming, &|| (!self.stopping()).then_some(STOP_CHECK));
            let mut out = stream;
            let Ok(response) = answer else { return out.write_all(BROKEN_ANSWER) };
            out.write_all(&written(&response, request.closes))?;
            if request.closes || self.stopping() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Reads from a connection until the server stops. On Windows, `shutdown` wakes no read that is blocked.
struct UntilStopped<'s> {
    stream: &'s TcpStream,
    stopping: &'s AtomicBool,
}

impl io::Read for UntilStopped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                // Unix says `WouldBlock`, Windows `TimedOut`.
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if self.stopping.load(Ordering::SeqCst) {
                        return Err(error);
                    }
                }
                outcome => return outcome,
            }
        }
    }
}

/// A request as it came over the wire.
struct HttpRequest {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    closes: bool,
}

impl HttpRequest {
    /// `None` when the client has closed the connection.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = reader.by_ref().take(MAX_HEAD);
        let Some(start) = line(&mut head)? else { return Ok(None) };
        let mut parts = start.split(' ');
        let (Some(method), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(invalid());
        };
        let mut headers = Vec::new();
        loop {
            let line = line(&mut head)?.ok_or_else(invalid)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(invalid)?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let (method, target, closes) = (method.to_owned(), target.to_owned(), version != "HTTP/1.1");
        let mut request = Self { method, target, headers, body: Vec::new(), closes };
        request.closes |= request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        request.read_body(reader)?;
        Ok(Some(request))
    }

    fn read_body(&mut self, reader: &mut impl BufRead) -> io::Result<()> {
        if self.header("transfer-encoding").is_some() {
            return Err(invalid());
        }
        let length = self.header("content-length").map_or(Ok(0), str::parse).map_err(|_| invalid())?;
        if length > MAX_BODY {
            return Err(invalid());
        }
        self.body = vec![0; length];
        reader.read_exact(&mut self.body)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The next line without its end; `None` at the end of the stream.
fn line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = reader.read_line(&mut line)?;
    if read > 0 && !line.ends_with('\n') {
        return Err(invalid());
    }
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok((read > 0).then_some(line))
}

fn written(response: &Response, closes: bool) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} Test\r\ncontent-length: {}\r\n", response.status(), response.body().len());
    for (name, value) in response.headers().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length")) {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str(if closes { "connection: close\r\n\r\n" } else { "\r\n" });
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(response.body());
    bytes
}

fn invalid() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

/// What comes of a transport error: an answer that breaks off. One that ended before its first byte may be asked for again at
/// once (RFC 9110 §9.2.2), so it would not be the failure that the test asked for.
const BROKEN_ANSWER: &[u8] = b"HTTP/1.1 ";

/// How often a connection that waits, for a request or with one that is held back, looks whether the server stops.
const STOP_CHECK: Duration = Duration::from_millis(20);

/// Request line and headers, in bytes.
const MAX_HEAD: u64 = 64 * 1024;

/// A form, in bytes.
const MAX_BODY: usize = 1024 * 1024;
