//! The transport that comes with the crate: HTTP/1.1 by ureq, TLS by rustls.

mod connect;
mod failure;
mod head;
mod lookups;
pub(crate) mod proxy;
mod stale;
mod tls;
mod tls_failure;
mod tunnel;

use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ureq::config::Config;
use ureq::http::header::HeaderValue;
use ureq::unversioned::transport::Connector;
use ureq::{Agent, AsSendBody, Body, http};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{ConfigProblem, Error};
use crate::transport::ureq::connect::Unresolved;
use crate::transport::ureq::failure::{Failure, is_stale, transport_error, unsendable};
use crate::transport::ureq::proxy::ProxyChoice;
use crate::transport::ureq::proxy::address::ProxyAddress;
use crate::transport::ureq::proxy::environment::ProxyEnvironment;
use crate::transport::ureq::stale::DetectStale;
use crate::transport::ureq::tls::{Identity, Roots, Tls};
use crate::transport::ureq::tunnel::Reach;
use crate::transport::{Request, Response, Retry, Transport, TransportError};

/// HTTPS with ureq and rustls, with connections kept alive between requests. Feature `ureq`.
///
/// - It trusts the built-in root certificates (webpki), or those that you pass to
///   [`root_certificates_pem`](UreqTransportBuilder::root_certificates_pem). It uses ring, whatever the process-wide default of rustls is.
/// - It never follows redirects and never asks for compression.
/// - [`Request::timeout`] limits the whole exchange. A host name is looked up in a short-lived thread, because the system's resolver cannot
///   be interrupted: one thread per host at a time, and four in all. IP addresses and `localhost` (always loopback) are not looked up.
/// - The addresses of a host are tried in turns of IPv6 and IPv4. Dead ones cost at most a quarter of the time.
/// - If a reused connection ends before the first byte of a response, the request is sent once more on a fresh one.
/// - After a fork the child makes connections of its own. Those of the parent are neither used nor closed.
/// - It uses the proxy variables of the environment by curl's rules, unless the builder says otherwise: see
///   [`proxy`](UreqTransportBuilder::proxy).
///
/// At log level trace, the crate `ureq_proto` writes headers and bodies, and so secrets, to the `log` facade, and `ureq` writes
/// where a redirect leads. Leave that level switched off for both in production.
///
/// ```
/// use aero2::{Error, Issuer, UreqTransport};
/// use std::time::Duration;
///
/// let transport = UreqTransport::builder()
///     .connect_timeout(Duration::from_secs(2))
///     .no_proxy()
///     .build()?;
/// let issuer = Issuer::builder("https://acme.aero2.dev").transport(transport).build()?;
///
/// let refused = UreqTransport::builder().root_certificates_pem(b"no PEM").build();
/// assert!(matches!(refused, Err(Error::Config(_))));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct UreqTransport {
    shared: Arc<Shared>,
}

impl UreqTransport {
    /// Starts with the default settings, which an [`Issuer`](crate::Issuer) also uses by itself.
    pub fn builder() -> UreqTransportBuilder {
        UreqTransportBuilder {
            connect_timeout: None,
            proxy: GivenProxy::Environment,
            roots: GivenRoots::BuiltIn,
            identity: None,
            user_agent: None,
        }
    }

    /// `fresh` leaves idle connections alone.
    fn attempt(&self, request: &Request<'_>, timeout: Duration, fresh: bool) -> Result<Response, ureq::Error> {
        match request.body() {
            Some(body) => self.exchange(request, body, timeout, fresh),
            None => self.exchange(request, (), timeout, fresh),
        }
    }

    fn exchange<B: AsSendBody>(
        &self,
        request: &Request<'_>,
        body: B,
        timeout: Duration,
        fresh: bool,
    ) -> Result<Response, ureq::Error> {
        let mut builder = http::Request::builder().method(request.method()).uri(request.url());
        for (name, value) in request.headers() {
            let mut value = HeaderValue::from_str(value).map_err(|_| unsendable())?;
            value.set_sensitive(true);
            builder = builder.header(name, value);
        }
        let message = builder.body(body).map_err(|_| unsendable())?;
        let proxy = self.shared.settings.proxy.proxy_for(message.uri(), request.is_plain_http_proxied());
        let proxy = proxy.map_err(Failure::Config)?;
        let agent = self.shared.agent();
        let config = agent.configure_request(message).timeout_global(Some(timeout.min(LONGEST_TIMEOUT))).proxy(proxy);
        let config = if fresh { config.max_idle_age(Duration::ZERO) } else { config };
        let (head, body) = agent.run(config.build())?.into_parts();
        let body = match read_body(body, request.max_response_bytes()) {
            Ok(body) => body,
            // What an error answer says is of no use beyond the limit, nor is that of a request whose status says all.
            Err(ureq::Error::BodyExceedsLimit(_)) if !head.status.is_success() || request.status_suffices() => {
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
        Ok(Response::new(head.status.as_u16(), headers, body))
    }
}

impl Transport for UreqTransport {
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        let started = Instant::now();
        let answer = match self.attempt(request, request.timeout(), request.retry() == Retry::Fresh) {
            Err(error) if is_stale(&error) && request.retry() == Retry::ByTransport => {
                self.attempt(request, request.timeout().saturating_sub(started.elapsed()), true)
            }
            answer => answer,
        };
        answer.map_err(transport_error)
    }

    fn check(&self, request: &Request<'_>) -> Result<(), TransportError> {
        let Ok(uri) = request.url().parse() else { return Ok(()) };
        self.shared.settings.proxy.proxy_for(&uri, request.is_plain_http_proxied())?;
        Ok(())
    }
}

/// What all clones of a transport have in common.
struct Shared {
    settings: Settings,
    own: Mutex<Own>,
}

/// What an agent is made of.
struct Settings {
    config: Config,
    proxy: ProxyChoice,
    tls: Tls,
    user_agent: String,
}

/// An agent, with its connections and look-ups, and the process that made it.
struct Own {
    process: u32,
    agent: Agent,
}

impl Shared {
    fn new(settings: Settings) -> Self {
        let own = Mutex::new(Own::new(&settings));
        Self { settings, own }
    }

    /// The agent of this process. A child made by fork leaves its parent's connections as they are: it neither uses nor closes them.
    fn agent(&self) -> Agent {
        let mut own = self.own.lock();
        if own.process != std::process::id() {
            std::mem::forget(std::mem::replace(&mut *own, Own::new(&self.settings)));
        }
        own.agent.clone()
    }
}

impl Own {
    fn new(settings: &Settings) -> Self {
        let reach = Reach::new(settings.tls.clone(), settings.user_agent.clone());
        let connector = ().chain(reach).chain(settings.tls.clone()).chain(DetectStale);
        let agent = Agent::with_parts(settings.config.clone(), connector, Unresolved);
        Self { process: std::process::id(), agent }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let own = self.own.get_mut();
        if own.process != std::process::id() {
            // One more count: the parent's connections stay.
            std::mem::forget(own.agent.clone());
        }
    }
}

impl fmt::Debug for UreqTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UreqTransport").finish_non_exhaustive()
    }
}

/// The settings of a [`UreqTransport`] that is being built. `Debug` shows none of them.
#[must_use]
pub struct UreqTransportBuilder {
    connect_timeout: Option<Duration>,
    proxy: GivenProxy,
    roots: GivenRoots,
    identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    user_agent: Option<String>,
}

enum GivenRoots {
    BuiltIn,
    Pem(Vec<u8>),
    #[cfg(feature = "platform-verifier")]
    Platform,
}

enum GivenProxy {
    Environment,
    None,
    Url(Zeroizing<String>),
}

impl UreqTransportBuilder {
    /// The time limit for the DNS look-up, connecting and the TLS handshake together, within the time limit of the request.
    /// Defaults to the latter alone.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// Sends every `https` request through the HTTP proxy at `url`, by `CONNECT`. The URL is
    /// `[http[s]://][user[:password]@]host[:port][/]`, with user and password percent-encoded; the port defaults to 80, or 443 for `https`.
    /// Plain `http` goes through no proxy, except under [`dangerous_allow_http`](crate::IssuerBuilder::dangerous_allow_http).
    ///
    /// Defaults to the proxy of the environment, which is read when the transport is built, by curl's rules. The first of `https_proxy`,
    /// `HTTPS_PROXY`, `all_proxy` and `ALL_PROXY` that is not empty counts; for plain `http` it is `http_proxy` and `HTTP_PROXY` in place of
    /// the first two, of which a CGI program (with `REQUEST_METHOD` set) ignores the upper case one. `no_proxy` or `NO_PROXY` lists
    /// domains with their subdomains, addresses and networks (`10.0.0.0/8`), each with an optional port, or is `*`. Loopback is never
    /// proxied by the environment. A variable that applies and names no HTTP proxy is an [`Error::Config`]: of
    /// [`IssuerBuilder::build`](crate::IssuerBuilder::build) for the issuer's URL, and of the call for another.
    pub fn proxy(mut self, url: &str) -> Self {
        self.proxy = GivenProxy::Url(Zeroizing::new(url.to_owned()));
        self
    }

    /// Connects directly, whatever the proxy variables of the environment say.
    pub fn no_proxy(mut self) -> Self {
        self.proxy = GivenProxy::None;
        self
    }

    /// Trusts these root certificates (PEM, one or more) and no others. Defaults to the built-in roots (webpki).
    pub fn root_certificates_pem(mut self, pem: &[u8]) -> Self {
        self.roots = GivenRoots::Pem(pem.to_owned());
        self
    }

    /// Trusts the certificates that the operating system trusts, in the place of the built-in roots or of those passed to
    /// [`root_certificates_pem`](Self::root_certificates_pem) before. Feature `platform-verifier`.
    #[cfg(feature = "platform-verifier")]
    pub fn platform_verifier(mut self) -> Self {
        self.roots = GivenRoots::Platform;
        self
    }

    /// Presents this certificate to a server that asks for one (mutual TLS): the chain, leaf first, and its private key (PKCS#8,
    /// PKCS#1 or SEC1), both as PEM. Defaults to none.
    pub fn client_certificate_pem(mut self, chain: &[u8], key: &[u8]) -> Self {
        self.identity = Some((chain.to_owned(), Zeroizing::new(key.to_owned())));
        self
    }

    /// The `User-Agent` header. Defaults to `aero2/` and this crate's version.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// Checks the settings and builds the transport. Reads nothing but the proxy variables, and connects to nothing.
    ///
    /// # Errors
    /// [`Error::Config`] for a timeout of zero, a proxy URL that cannot be used, PEM that is malformed or contains no
    /// certificate, a client key that is missing or belongs to another certificate, or a user agent that cannot be a header
    /// value.
    pub fn build(self) -> Result<UreqTransport, Error> {
        if self.connect_timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Error::config(ConfigProblem::ZeroTimeout));
        }
        let roots = match self.roots {
            GivenRoots::BuiltIn => Roots::default(),
            GivenRoots::Pem(pem) => Roots::from_pem(&pem)?,
            #[cfg(feature = "platform-verifier")]
            GivenRoots::Platform => Roots::Platform,
        };
        let identity = self.identity.map(|(chain, key)| Identity::from_pem(&chain, &key)).transpose()?;
        let user_agent = checked_user_agent(self.user_agent)?;
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .accept_encoding("identity")
            .user_agent(&user_agent)
            // The proxy is found for each request.
            .proxy(None)
            .timeout_connect(self.connect_timeout.map(|timeout| timeout.min(LONGEST_TIMEOUT)))
            .max_response_header_size(MAX_HEADER_BYTES)
            .input_buffer_size(INPUT_BUFFER)
            .output_buffer_size(OUTPUT_BUFFER)
            .build();
        let proxy = match self.proxy {
            GivenProxy::Environment => ProxyChoice::Environment(ProxyEnvironment::of_this_process()),
            GivenProxy::None => ProxyChoice::Direct,
            GivenProxy::Url(url) => ProxyChoice::Given(checked_proxy(&url)?),
        };
        let settings = Settings { config, proxy, tls: Tls::new(roots, identity), user_agent };
        Ok(UreqTransport { shared: Arc::new(Shared::new(settings)) })
    }
}

impl fmt::Debug for UreqTransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UreqTransportBuilder").finish_non_exhaustive()
    }
}

fn checked_user_agent(user_agent: Option<String>) -> Result<String, Error> {
    let text = user_agent.unwrap_or_else(|| concat!("aero2/", env!("CARGO_PKG_VERSION")).to_owned());
    let printable = text.bytes().all(|b| matches!(b, b' '..=b'~')) && text.trim() == text && !text.is_empty();
    if printable { Ok(text) } else { Err(Error::config(ConfigProblem::UserAgent)) }
}

fn checked_proxy(url: &str) -> Result<ProxyAddress, Error> {
    ProxyAddress::parse(url).map_err(|unusable| match unusable.place {
        Some(place) => Error::config(ConfigProblem::ProxyKind(place)),
        None => Error::config(ConfigProblem::ProxyUrl),
    })
}

/// Reads up to `limit` bytes and not one more than it takes to see that there are more. No piece of it is left in freed memory.
fn read_body(body: Body, limit: usize) -> Result<Vec<u8>, ureq::Error> {
    let too_large = || ureq::Error::BodyExceedsLimit(u64::try_from(limit).unwrap_or(u64::MAX));
    let announced = body.content_length().map_or(Ok(0), |length| usize::try_from(length).map_err(|_| too_large()))?;
    if announced > limit {
        return Err(too_large());
    }
    let mut whole = Zeroizing::new(Vec::with_capacity(announced));
    let mut chunk = Zeroizing::new([0; CHUNK]);
    let mut reader = body.into_reader();
    loop {
        let read = reader.read(&mut *chunk).map_err(ureq::Error::from)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok(std::mem::take(&mut *whole));
        };
        if bytes.len() > limit.saturating_sub(whole.len()) {
            return Err(too_large());
        }
        append(&mut whole, bytes);
    }
}

fn append(whole: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    let needed = whole.len().saturating_add(bytes.len());
    if needed > whole.capacity() {
        let mut grown = Vec::with_capacity(needed.max(whole.capacity().saturating_mul(2)));
        grown.extend_from_slice(whole);
        std::mem::swap(&mut **whole, &mut grown);
        grown.zeroize();
    }
    whole.extend_from_slice(bytes);
}

/// Beyond any wait that means anything, and well inside what an `Instant` can add on every platform.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Status line and headers. An issuer sends less than 2 KiB; nginx and Node.js send no header lines beyond 32 KiB.
const MAX_HEADER_BYTES: usize = 48 * 1024;
/// More than the headers' limit, so that the limit shows before the buffer is full.
const INPUT_BUFFER: usize = 64 * 1024;
const OUTPUT_BUFFER: usize = 32 * 1024;
const CHUNK: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread::JoinHandle;

    use super::*;
    use crate::error::NetworkErrorKind;

    /// Serves each connection by `serve`, which is told its number; the URL, and what becomes the number of connections.
    fn server(connections: usize, serve: fn(usize, TcpStream)) -> (String, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            for number in 0..connections {
                serve(number, listener.accept().unwrap().0);
            }
        });
        (url, thread)
    }

    /// Reads a request; `None` at the end of the connection.
    fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some((head, body))
    }

    fn answer(stream: &mut TcpStream, text: &str) {
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()).unwrap();
    }

    fn transport() -> UreqTransport {
        UreqTransport::builder().no_proxy().build().unwrap()
    }

    fn post(transport: &UreqTransport, url: &str, body: &[u8]) -> Result<Response, TransportError> {
        transport
            .send(&Request::post(url, body).headed(&[("authorization", "Basic eA==")]).within(Duration::from_secs(5)))
    }

    #[test]
    fn a_connection_is_kept_and_used_again() {
        let (url, thread) = server(1, |_, stream| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut stream = stream;
            while let Some((head, body)) = read_request(&mut reader) {
                assert!(head.starts_with("POST / HTTP/1.1\r\n"), "{head}");
                assert!(head.contains("\r\nauthorization: Basic eA==\r\n"), "{head}");
                assert!(head.contains("\r\naccept-encoding: identity\r\n"), "{head}");
                assert!(head.contains(concat!("\r\nuser-agent: aero2/", env!("CARGO_PKG_VERSION"), "\r\n")), "{head}");
                answer(&mut stream, std::str::from_utf8(&body).unwrap());
            }
        });
        let transport = transport();
        for text in ["one", "two", "three"] {
            assert_eq!(post(&transport, &url, text.as_bytes()).unwrap().body(), text.as_bytes());
        }
        drop(transport);
        thread.join().unwrap();
    }

    #[test]
    fn a_post_is_sent_once_more_if_its_idle_connection_ends_before_an_answer() {
        let (url, thread) = server(2, |number, stream| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut stream = stream;
            read_request(&mut reader).unwrap();
            answer(&mut stream, if number == 0 { "first" } else { "second" });
            if number == 0 {
                // Takes the second request and ends without a byte of an answer.
                read_request(&mut reader).unwrap();
            }
        });
        let transport = transport();
        assert_eq!(post(&transport, &url, b"x").unwrap().body(), b"first");
        assert_eq!(post(&transport, &url, b"x").unwrap().body(), b"second");
        thread.join().unwrap();
    }

    #[test]
    fn the_second_try_takes_no_other_idle_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let accept = || {
                let stream = listener.accept().unwrap().0;
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                read_request(&mut reader).unwrap();
                (reader, stream)
            };
            // Both answered only now, so the client holds two idle connections.
            let mut idle = [accept(), accept()];
            for (_, stream) in &mut idle {
                answer(stream, "first");
            }
            for (mut reader, stream) in idle {
                std::thread::spawn(move || {
                    read_request(&mut reader);
                    drop(stream);
                });
            }
            answer(&mut accept().1, "fresh");
        });
        let transport = transport();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| assert_eq!(post(&transport, &url, b"x").unwrap().body(), b"first"));
            }
        });
        assert_eq!(post(&transport, &url, b"x").unwrap().body(), b"fresh");
        thread.join().unwrap();
    }

    #[test]
    fn nothing_is_sent_again_on_a_fresh_connection_or_after_a_byte_of_an_answer() {
        let (url, thread) = server(2, |number, stream| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut stream = stream;
            read_request(&mut reader).unwrap();
            if number == 1 {
                answer(&mut stream, "kept");
                read_request(&mut reader).unwrap();
                stream.write_all(b"H").unwrap();
            }
        });
        let transport = transport();
        assert_eq!(post(&transport, &url, b"x").unwrap_err().kind(), NetworkErrorKind::Io);
        assert_eq!(post(&transport, &url, b"x").unwrap().body(), b"kept");
        assert_eq!(post(&transport, &url, b"x").unwrap_err().kind(), NetworkErrorKind::Io);
        thread.join().unwrap();
    }

    #[test]
    fn interim_answers_may_have_header_lines() {
        let (url, thread) = server(1, |_, stream| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut stream = stream;
            for pieces in [
                &["HTTP/1.1 100 Continue\r\nx: y\r\n\r\n", "HTTP/1.1 103 x\r\nlink: </x>\r\n\r\n"][..],
                &["HTTP/1.1 100 Continue\r\n", "x: y\r\n", "\r\n"],
                &[],
            ] {
                read_request(&mut reader).unwrap();
                for piece in pieces {
                    stream.write_all(piece.as_bytes()).unwrap();
                }
                answer(&mut stream, "x");
            }
        });
        let transport = transport();
        for _ in 0..3 {
            assert_eq!(post(&transport, &url, b"x").unwrap().body(), b"x");
        }
        thread.join().unwrap();
    }

    /// As if another process had made the transport.
    fn inherited(transport: &UreqTransport) {
        transport.shared.own.lock().process = 0;
    }

    #[test]
    fn a_child_neither_uses_nor_closes_the_connections_of_its_parent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            [(); 2].map(|()| {
                let (mut stream, _) = listener.accept().unwrap();
                read_request(&mut BufReader::new(stream.try_clone().unwrap())).unwrap();
                answer(&mut stream, "x");
                stream
            })
        });
        let transport = transport();
        post(&transport, &url, b"x").unwrap();
        inherited(&transport);
        post(&transport, &url, b"x").unwrap();
        let [of_parent, of_child] = thread.join().unwrap();
        inherited(&transport);
        drop(transport);
        for stream in [of_parent, of_child] {
            stream.set_nonblocking(true).unwrap();
            let error = (&stream).read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "it is open and unused");
        }
    }

    #[test]
    fn a_body_is_read_up_to_the_limit_and_no_further() {
        for chunked in [false, true] {
            for (length, fits) in [(256 * 1024, true), (256 * 1024 + 1, false)] {
                let (url, thread) = server(1, if chunked { send_chunked } else { send_whole });
                let url = format!("{url}{length}");
                let answer = transport().send(&Request::get(&url).within(Duration::from_secs(5)));
                match answer {
                    Ok(answer) => assert!(fits && answer.body().len() == length),
                    Err(error) => assert!(!fits && error.kind() == NetworkErrorKind::TooLarge, "{error:?}"),
                }
                thread.join().unwrap();
            }
        }
    }

    fn send_whole(_: usize, mut stream: TcpStream) {
        let length = asked_length(&stream);
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").unwrap();
        let _ = stream.write_all(&vec![b'x'; length]);
    }

    fn send_chunked(_: usize, mut stream: TcpStream) {
        let length = asked_length(&stream);
        write!(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n").unwrap();
        let _ = stream.write_all(&vec![b'x'; length]);
        let _ = stream.write_all(b"\r\n0\r\n\r\n");
    }

    fn asked_length(stream: &TcpStream) -> usize {
        let (head, _) = read_request(&mut BufReader::new(stream.try_clone().unwrap())).unwrap();
        head.split(['/', ' ']).nth(2).unwrap().parse().unwrap()
    }

    #[test]
    fn an_endless_timeout_is_no_overflow_and_none_at_all_is_a_timeout() {
        let (url, thread) = server(1, send_whole);
        let url = format!("{url}3");
        let transport = UreqTransport::builder().no_proxy().connect_timeout(Duration::MAX).build().unwrap();
        assert_eq!(transport.send(&Request::get(&url).within(Duration::MAX)).unwrap().body(), b"xxx");
        thread.join().unwrap();
        let error = transport.send(&Request::get(&url).within(Duration::ZERO)).unwrap_err();
        assert_eq!(error.kind(), NetworkErrorKind::Timeout);
    }

    #[test]
    fn what_cannot_be_reached_or_sent_is_said() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (url, header, kind) in [
            (format!("http://{closed}/"), "x", NetworkErrorKind::Connect),
            // No resolver asks the network for a label of 64 characters (RFC 1035 §2.3.4).
            (format!("http://{}.invalid/", "a".repeat(64)), "x", NetworkErrorKind::Dns),
            ("http://a.invalid/\u{1}".to_owned(), "x", NetworkErrorKind::Io),
            (format!("http://{closed}/"), "a\r\nb: c", NetworkErrorKind::Io),
        ] {
            let error = transport()
                .send(&Request::get(&url).with_header("x", header).within(Duration::from_secs(5)))
                .unwrap_err();
            assert_eq!(error.kind(), kind, "{url} {header}");
        }
    }

    #[test]
    fn loopback_is_reached_by_each_of_its_names() {
        let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            for _ in 0..2 {
                send_whole(0, listener.accept().unwrap().0);
            }
        });
        // Nobody listens at 127.0.0.1 there, so `localhost` takes its second address.
        for host in ["[::1]", "localhost"] {
            let url = format!("http://{host}:{port}/3");
            assert_eq!(transport().send(&Request::get(&url).within(Duration::from_secs(5))).unwrap().body(), b"xxx");
        }
        thread.join().unwrap();
    }

    #[test]
    fn every_good_endpoint_url_can_be_sent_to() {
        for url in [
            "https://a_b.example/x?y=z&%7B'()*!,;=:@$",
            "https://[2001:db8::1]:8443/a//b/../c;d",
            "https://x.example.?q",
            "http://127.0.0.1:1",
        ] {
            let uri: http::Uri = url.parse().unwrap();
            assert!(uri.scheme().is_some() && uri.host().is_some_and(|host| !host.is_empty()), "{url}");
        }
    }

    #[test]
    fn bad_options_are_refused_and_never_shown() {
        use ConfigProblem as P;
        let builder = UreqTransport::builder;
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (options, problem) in [
            (builder().connect_timeout(Duration::ZERO), P::ZeroTimeout),
            (builder().root_certificates_pem(b""), P::RootCertificates),
            (builder().root_certificates_pem(b"no PEM"), P::RootCertificates),
            (builder().root_certificates_pem(broken), P::RootCertificates),
            (builder().root_certificates_pem(b"-----BEGIN CERTIFICATE-----\nAAAA"), P::RootCertificates),
            (builder().client_certificate_pem(b"", b""), P::ClientCertificate),
            (builder().client_certificate_pem(broken, broken), P::ClientCertificate),
            (builder().proxy(""), P::ProxyUrl),
            (builder().proxy("http://"), P::ProxyUrl),
            (builder().proxy("http://u:hunter2@"), P::ProxyUrl),
            (builder().proxy("http://u:hunter2@proxy.example:notaport"), P::ProxyUrl),
            (builder().proxy("http://u:hunter2#w@proxy.example:3128"), P::ProxyUrl),
            (builder().proxy("socks5://u:hunter2@proxy.example"), P::ProxyKind("proxy.example".into())),
            (builder().proxy("ftp://u:hunter2@proxy.example:21"), P::ProxyKind("proxy.example:21".into())),
            (builder().proxy("not a proxy"), P::ProxyUrl),
            (builder().user_agent(""), P::UserAgent),
            (builder().user_agent(" x"), P::UserAgent),
            (builder().user_agent("a\r\nb: c"), P::UserAgent),
            (builder().user_agent("\u{e4}"), P::UserAgent),
        ] {
            assert!(!format!("{options:?}").contains("hunter2"));
            let error = options.build().unwrap_err();
            assert_eq!(error.to_string(), problem.to_string());
            assert!(!format!("{error:?}").contains("hunter2"));
        }
        let good = builder().proxy("http://u:hunter2@proxy.example:3128").user_agent("x/1 (y)").build().unwrap();
        assert!(!format!("{good:?}").contains("hunter2"));
    }
}
