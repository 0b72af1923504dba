//! Every fault at every endpoint: which error it is, within which time, what stays cached, and that nothing leaks.

use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aero2::testing::{ManualClock, TestIssuer};
use aero2::{Error, Introspection, Issuer, M2mClient, NetworkErrorKind, TokenErrorKind, TokenOptions, UreqTransport};

#[cfg(target_os = "linux")]
use crate::support::child;
use crate::support::fault_server::{Fault, FaultServer, Line, response};
use crate::support::pace::{budget, slack};
use crate::support::recorder::Recorder;

use Expect::{Fine, Kind, OAuth};
use NetworkErrorKind::{Connect, InvalidResponse, Io, Status, Timeout, TooLarge};

/// What a call ends with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expect {
    Kind(NetworkErrorKind),
    OAuth(&'static str),
    Fine,
}

/// The endpoints, in the order of each row's outcomes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Endpoint {
    Discovery,
    Keys,
    Token,
    Introspection,
    Revocation,
}

use Endpoint::{Discovery, Introspection as Introspect, Keys, Revocation, Token};

const ENDPOINTS: [Endpoint; 5] = [Discovery, Keys, Token, Introspect, Revocation];

impl Endpoint {
    fn path(self) -> &'static str {
        match self {
            Discovery => "/.well-known/openid-configuration",
            Keys => "/oauth2/jwks.json",
            Token => "/oauth2/token",
            Introspect => "/oauth2/introspect",
            Revocation => "/oauth2/revoke",
        }
    }
}

const fn all(kind: NetworkErrorKind) -> [Expect; 5] {
    [Kind(kind); 5]
}

/// For what is wrong with a body only: that of a revocation's answer is not looked at (RFC 7009 §2.2).
const fn where_read(kind: NetworkErrorKind) -> [Expect; 5] {
    [Kind(kind), Kind(kind), Kind(kind), Kind(kind), Fine]
}

/// For an answer that is an OAuth error where there are such (RFC 6749 §5.2).
const fn oauth(status: u16, code: &'static str) -> [Expect; 5] {
    [Kind(Status(status)), Kind(Status(status)), OAuth(code), OAuth(code), OAuth(code)]
}

type Row = (&'static str, Fault, [Expect; 5]);

/// fault × endpoint → outcome. `LEAK` in a text must never show.
const TABLE: &[Row] = &[
    // The connection ends.
    ("reset before an answer", Fault::Unread(|_| {}), all(Io)),
    ("closed before an answer", Fault::Answer(|_, _| {}), all(Io)),
    ("reset in the status line", Fault::Unread(|stream| drop(stream.write_all(b"HTTP/1.1 2"))), all(Io)),
    ("reset in the headers", Fault::Unread(|stream| drop(stream.write_all(b"HTTP/1.1 200 OK\r\nLEAK: "))), all(Io)),
    (
        "reset in the body",
        Fault::Unread(|stream| drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nLEAK"))),
        all(Io),
    ),
    ("closed in the headers", Fault::Text("HTTP/1.1 200 OK\r\nLEAK: "), all(Io)),
    ("closed in the body", Fault::Text("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"LEAK"), all(Io)),
    ("closed in a chunk", Fault::Text("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n99\r\n{\"LEAK"), all(Io)),
    ("closed between chunks", Fault::Text("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"), all(Io)),
    // The answer does not come.
    ("a hang before the headers", Fault::Answer(|line, _| line.hang()), all(Timeout)),
    ("a hang in the headers", Fault::Answer(|line, _| line.hang_after("HTTP/1.1 200 OK\r\nLEAK: ")), all(Timeout)),
    (
        "a hang in the body",
        Fault::Answer(|line, _| line.hang_after("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{")),
        all(Timeout),
    ),
    (
        "a hang in a body without length",
        Fault::Answer(|line, _| line.hang_after("HTTP/1.1 200 OK\r\n\r\n{")),
        all(Timeout),
    ),
    (
        "headers byte by byte",
        Fault::Answer(|line, healthy| line.trickle(&response("200 OK", "", healthy))),
        all(Timeout),
    ),
    ("a body byte by byte", Fault::Answer(body_byte_by_byte), all(Timeout)),
    (
        "a slow storm of 103",
        Fault::Answer(|line, _| while line.send("HTTP/1.1 103 x\r\n\r\n") && line.pause() {}),
        all(Timeout),
    ),
    (
        "a slow storm of 100",
        Fault::Answer(|line, _| while line.send("HTTP/1.1 100 x\r\n\r\n") && line.pause() {}),
        all(Timeout),
    ),
    // Too much.
    ("20 MiB, announced", Fault::Answer(|line, _| large(line, "content-length: 20971520\r\n\r\n")), all(TooLarge)),
    ("20 MiB, not announced", Fault::Answer(|line, _| large(line, "\r\n")), all(TooLarge)),
    (
        "20 MiB, in one chunk",
        Fault::Answer(|line, _| large(line, "transfer-encoding: chunked\r\n\r\n1400000\r\n")),
        all(TooLarge),
    ),
    ("20 MiB of an error", Fault::Answer(large_error), all(Status(500))),
    (
        "a length beyond 64 bits",
        Fault::Text("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n"),
        all(Io),
    ),
    ("an absurd length", Fault::Text("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n"), all(TooLarge)),
    ("100,000 headers", Fault::Answer(|line, _| many_headers(line, "a: b\r\n", 100_000)), all(TooLarge)),
    ("a header of 1 MiB", Fault::Answer(|line, _| many_headers(line, "0123456789abcdef", 65_536)), all(TooLarge)),
    // Lies about the length, and no HTTP.
    (
        "a length that is too short",
        Fault::Answer(|line, healthy| line.finish(format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{healthy}"))),
        where_read(InvalidResponse),
    ),
    ("a length that is no number", Fault::Text("HTTP/1.1 200 OK\r\ncontent-length: LEAK\r\n\r\n{}"), all(Io)),
    ("a negative length", Fault::Text("HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}"), all(Io)),
    ("two lengths", Fault::Text("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}!"), all(Io)),
    (
        "a chunk of no length",
        Fault::Text("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nLEAK\r\n{}\r\n"),
        all(Io),
    ),
    (
        "a chunk of endless length",
        Fault::Text("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}"),
        all(Io),
    ),
    (
        "a chunk without its end",
        Fault::Text("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}LEAK"),
        all(Io),
    ),
    ("no HTTP", Fault::Text("SSH-2.0-LEAK\r\n\r\n"), all(Io)),
    ("binary", Fault::Text("\u{0}\u{1}\u{2}\r\n\r\n"), all(Io)),
    ("HTTP/2", Fault::Text("HTTP/2 200 OK\r\n\r\n{}"), all(Io)),
    ("a status of two digits", Fault::Text("HTTP/1.1 20 OK\r\n\r\n{}"), all(Io)),
    ("a broken header", Fault::Text("HTTP/1.1 200 OK\r\nLEAK\u{0}: x\r\n\r\n{}"), all(Io)),
    // Statuses that lead elsewhere.
    ("301", Fault::Status("301 x", "location: /elsewhere\r\n", ""), all(Status(301))),
    (
        "302 to another origin",
        Fault::Status("302 x", "location: https://elsewhere.invalid/LEAK\r\n", ""),
        all(Status(302)),
    ),
    ("303", Fault::Status("303 x", "location: /elsewhere\r\n", "{}"), all(Status(303))),
    ("307", Fault::Status("307 x", "location: /elsewhere\r\n", ""), all(Status(307))),
    ("308 to plain http", Fault::Status("308 x", "location: http://elsewhere.invalid/LEAK\r\n", ""), all(Status(308))),
    ("a redirect without a place", Fault::Status("302 x", "", ""), all(Status(302))),
    ("a redirect to nonsense", Fault::Status("302 x", "location: http://[LEAK\r\n", ""), all(Status(302))),
    ("300", Fault::Status("300 x", "", ""), all(Status(300))),
    ("304", Fault::Text("HTTP/1.1 304 x\r\n\r\n"), all(Status(304))),
    ("101", Fault::Text("HTTP/1.1 101 x\r\n\r\n"), all(Status(101))),
    // Statuses with JSON, HTML and nothing.
    (
        "401 JSON",
        Fault::Status("401 x", "", "{\"error\":\"invalid_client\",\"error_description\":\"LEAK\"}"),
        oauth(401, "invalid_client"),
    ),
    ("401 HTML", Fault::Status("401 x", "", "<p>LEAK</p>"), all(Status(401))),
    ("401 nothing", Fault::Status("401 x", "", ""), all(Status(401))),
    ("403 JSON", Fault::Status("403 x", "", "{\"error\":\"access_denied\"} "), oauth(403, "access_denied")),
    ("403 HTML", Fault::Status("403 x", "", "<html>"), all(Status(403))),
    ("403 nothing", Fault::Status("403 x", "", ""), all(Status(403))),
    ("404 JSON", Fault::Status("404 x", "", "{\"error\":\"The LEAK is it\"}"), all(Status(404))),
    ("404 HTML", Fault::Status("404 x", "", "<html>"), all(Status(404))),
    ("404 nothing", Fault::Status("404 x", "", ""), all(Status(404))),
    ("410 nothing", Fault::Status("410 x", "", ""), all(Status(410))),
    ("429 JSON", Fault::Status("429 x", "retry-after: 7\r\n", "{\"error\":\"slow_down\"}"), oauth(429, "slow_down")),
    ("429 HTML", Fault::Status("429 x", "retry-after: 7\r\n", "<html>"), all(Status(429))),
    ("429 nothing", Fault::Status("429 x", "retry-after: 7\r\n", ""), all(Status(429))),
    ("500 JSON", Fault::Status("500 x", "", "{\"error\":\"server_error\"}"), oauth(500, "server_error")),
    ("500 HTML", Fault::Status("500 x", "", "<html>"), all(Status(500))),
    ("500 nothing", Fault::Status("500 x", "", ""), all(Status(500))),
    ("502 JSON of another kind", Fault::Status("502 x", "", "{\"message\":\"LEAK\"}"), all(Status(502))),
    ("502 HTML", Fault::Status("502 x", "", "<html>"), all(Status(502))),
    ("502 nothing", Fault::Status("502 x", "", ""), all(Status(502))),
    (
        "503 JSON",
        Fault::Status("503 x", "", "{\"error\":\"temporarily_unavailable\"} "),
        oauth(503, "temporarily_unavailable"),
    ),
    ("503 HTML", Fault::Status("503 x", "", "<html>"), all(Status(503))),
    ("503 nothing", Fault::Text("HTTP/1.1 503 x\r\n\r\n"), all(Status(503))),
    ("999", Fault::Status("999 x", "", ""), all(Status(999))),
    ("a gzip bomb of an error", Fault::Status("503 x", "content-encoding: gzip\r\n", "LEAK"), all(Status(503))),
    // A 200 that is not what it must be.
    ("200 nothing", Fault::Status("200 OK", "", ""), where_read(InvalidResponse)),
    ("200 HTML", Fault::Status("200 OK", "", "<p>LEAK</p>"), where_read(InvalidResponse)),
    (
        "200 with an OAuth error",
        Fault::Status("200 OK", "", "{\"error\":\"invalid_client\"}"),
        where_read(InvalidResponse),
    ),
    ("201", Fault::Status("201 x", "", "{}"), all(InvalidResponse)),
    ("204", Fault::Text("HTTP/1.1 204 x\r\n\r\n"), all(InvalidResponse)),
    (
        "a gzip bomb",
        Fault::Answer(|line, healthy| line.finish(response("200 OK", "content-encoding: gzip\r\n", healthy))),
        all(InvalidResponse),
    ),
    (
        "brotli",
        Fault::Answer(|line, healthy| line.finish(response("200 OK", "Content-Encoding: br\r\n", healthy))),
        all(InvalidResponse),
    ),
    (
        "a byte order mark",
        Fault::Answer(|line, healthy| ok(line, format!("\u{feff}{healthy}"))),
        where_read(InvalidResponse),
    ),
    (
        "text after the end",
        Fault::Answer(|line, healthy| ok(line, format!("{healthy}{{}}"))),
        where_read(InvalidResponse),
    ),
    (
        "half of the text",
        Fault::Answer(|line, healthy| ok(line, &healthy[..healthy.len() / 2])),
        where_read(InvalidResponse),
    ),
    ("an array", Fault::Answer(|line, healthy| ok(line, format!("[{healthy}]"))), where_read(InvalidResponse)),
    ("null", Fault::Answer(|line, _| ok(line, "null")), where_read(InvalidResponse)),
    (
        "invalid UTF-8",
        Fault::Answer(|line, healthy| ok(line, with(healthy, b"\"x\":\"\xff\""))),
        where_read(InvalidResponse),
    ),
    (
        "a lone surrogate",
        Fault::Answer(|line, healthy| ok(line, with(healthy, br#""x":"\ud800""#))),
        where_read(InvalidResponse),
    ),
    (
        "duplicate members",
        Fault::Answer(|line, healthy| ok(line, with(healthy, br#""x":1,"\u0078":1"#))),
        where_read(InvalidResponse),
    ),
    (
        "duplicate members inside",
        Fault::Answer(|line, healthy| ok(line, with(healthy, br#""x":[{"y":1,"y":1}]"#))),
        where_read(InvalidResponse),
    ),
    ("65 levels", Fault::Answer(|line, healthy| ok(line, with(healthy, &nested(64)))), where_read(InvalidResponse)),
    (
        "10,000 levels",
        Fault::Answer(|line, healthy| ok(line, with(healthy, &nested(10_000)))),
        where_read(InvalidResponse),
    ),
    // What must be taken.
    ("64 levels", Fault::Answer(|line, healthy| ok(line, with(healthy, &nested(63)))), [Fine; 5]),
    ("a number beyond a double", Fault::Answer(|line, healthy| ok(line, with(healthy, b"\"x\":1e400"))), [Fine; 5]),
    ("HTTP/1.0", Fault::Answer(|line, healthy| line.finish(format!("HTTP/1.0 200 OK\r\n\r\n{healthy}"))), [Fine; 5]),
    (
        "a connection closed after each answer",
        Fault::Answer(|line, healthy| line.finish(response("200 OK", "", healthy))),
        [Fine; 5],
    ),
    (
        "a few 1xx first",
        Fault::Answer(|line, healthy| {
            line.repeat("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", 20);
            line.finish(response("200 OK", "", healthy));
        }),
        [Fine; 5],
    ),
    (
        "chunks with trailers",
        Fault::Answer(|line, healthy| {
            let (first, rest) = healthy.split_at(1);
            line.finish(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\nx: y\r\n\r\n",
            rest.len()
        ));
        }),
        [Fine; 5],
    ),
    (
        "identity named",
        Fault::Answer(|line, healthy| line.finish(response("200 OK", "content-encoding: identity\r\n", healthy))),
        [Fine; 5],
    ),
];

fn body_byte_by_byte(line: &mut Line<'_>, healthy: &str) {
    if line.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", healthy.len() + 50)) {
        line.trickle(&format!("{}{healthy}", " ".repeat(50)));
    }
}

fn large(line: &mut Line<'_>, framing: &str) {
    if line.send(format!("HTTP/1.1 200 OK\r\n{framing}")) {
        line.repeat(&"LEAK".repeat(4096), 20 * 64);
    }
}

fn large_error(line: &mut Line<'_>, _: &str) {
    if line.send("HTTP/1.1 500 x\r\ncontent-length: 20971520\r\n\r\n") {
        line.repeat(&"LEAK".repeat(4096), 20 * 64);
    }
}

fn many_headers(line: &mut Line<'_>, piece: &str, times: usize) {
    if line.send("HTTP/1.1 200 OK\r\nx: ") {
        line.repeat(piece, times);
        line.finish("\r\n\r\n");
    }
}

fn ok(line: &mut Line<'_>, body: impl AsRef<[u8]>) {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    line.finish([head.as_bytes(), body].concat());
}

/// A healthy object with more members.
fn with(healthy: &str, members: &[u8]) -> Vec<u8> {
    let (start, comma) = (healthy.strip_suffix('}').unwrap(), if healthy == "{}" { "" } else { "," });
    [start.as_bytes(), comma.as_bytes(), members, b"}"].concat()
}

fn nested(levels: usize) -> Vec<u8> {
    format!("\"x\":{}{}", "[".repeat(levels), "]".repeat(levels)).into_bytes()
}

/// Bodies of a 200 with one member missing or of the wrong type, each InvalidResponse. `URL` stands for the issuer.
const WRONG_BODIES: &[(Endpoint, &[&str])] = &[
    (
        Discovery,
        &[
            "{}",
            r#"{"issuer":null}"#,
            r#"{"issuer":7}"#,
            r#"{"issuer":["URL"]}"#,
            r#"{"issuer":"URL","jwks_uri":7}"#,
            r#"{"issuer":"URL","jwks_uri":null}"#,
            r#"{"issuer":"URL","token_endpoint":{}}"#,
            r#"{"issuer":"URL","introspection_endpoint":[]}"#,
            r#"{"issuer":"URL","revocation_endpoint":false}"#,
            r#"{"issuer":"URL","token_endpoint_auth_methods_supported":"client_secret_post"}"#,
            r#"{"issuer":"URL","token_endpoint_auth_methods_supported":[7]}"#,
            r#"{"issuer":"URL","jwks_uri":"http://elsewhere.example/keys"}"#,
            r#"{"issuer":"URL","jwks_uri":"ftp://127.0.0.1/keys"}"#,
            r#"{"issuer":"URL","jwks_uri":"http://user:password@127.0.0.1/keys"}"#,
            r#"{"issuer":"URL","jwks_uri":"/keys"}"#,
            r#"{"issuer":"URL","jwks_uri":""}"#,
        ],
    ),
    (Keys, &["{}", r#"{"keys":null}"#, r#"{"keys":{}}"#, r#"{"keys":"LEAK"}"#, r#"{"keys":7}"#]),
    (
        Token,
        &[
            "{}",
            r#"{"token_type":"Bearer"}"#,
            r#"{"access_token":null,"token_type":"Bearer"}"#,
            r#"{"access_token":7,"token_type":"Bearer"}"#,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            r#"{"access_token":["LEAK"],"token_type":"Bearer"}"#,
            r#"{"access_token":"LEAK"}"#,
            r#"{"access_token":"LEAK","token_type":null}"#,
            r#"{"access_token":"LEAK","token_type":7}"#,
            r#"{"access_token":"LEAK","token_type":"mac"}"#,
            r#"{"access_token":"LEAK","token_type":"Bearer","expires_in":null}"#,
            r#"{"access_token":"LEAK","token_type":"Bearer","expires_in":-1}"#,
            r#"{"access_token":"LEAK","token_type":"Bearer","expires_in":"soon"}"#,
            r#"{"access_token":"LEAK","token_type":"Bearer","expires_in":"-1"}"#,
            r#"{"access_token":"LEAK","token_type":"Bearer","expires_in":true}"#,
            r#"{"access_token":"LEAK","token_type":"Bearer","expires_in":[]}"#,
            r#"{"access_token":"LEAK","token_type":"Bearer","expires_in":1e400}"#,
            r#"{"access_token":"LEAK","token_type":"Bearer","scope":7}"#,
            r#"{"access_token":"LEAK","token_type":"Bearer","scope":null}"#,
        ],
    ),
    (
        Introspect,
        &[
            "{}",
            r#"{"active":null}"#,
            r#"{"active":"true"}"#,
            r#"{"active":1}"#,
            r#"{"active":true,"scope":7}"#,
            r#"{"active":true,"client_id":7}"#,
            r#"{"active":true,"token_type":7}"#,
            r#"{"active":true,"username":7}"#,
            r#"{"active":true,"exp":"LEAK"}"#,
            r#"{"active":true,"exp":null}"#,
            r#"{"active":true,"exp":-1}"#,
            r#"{"active":true,"exp":1e400}"#,
            r#"{"active":true,"iat":[]}"#,
            r#"{"active":true,"nbf":{}}"#,
            r#"{"active":true,"sub":7}"#,
            r#"{"active":true,"aud":7}"#,
            r#"{"active":true,"aud":[7]}"#,
            r#"{"active":true,"iss":7}"#,
            r#"{"active":true,"jti":7}"#,
            r#"{"active":true,"token_use":7}"#,
        ],
    ),
];

/// An issuer on a fault server, with a clock in the test's hand.
struct World {
    server: FaultServer,
    clock: ManualClock,
    good: String,
    unknown: String,
}

impl World {
    fn new() -> Self {
        let (server, clock) = (FaultServer::start(), ManualClock::new());
        let test = TestIssuer::builder().url(server.url()).clock(clock.clone()).build();
        server.respond(Discovery.path(), format!(r#"{{"issuer":"{}"}}"#, server.url()));
        server.respond(Keys.path(), test.key_set());
        server.respond(Introspect.path(), r#"{"active":true,"sub":"u1"}"#);
        server.respond(Revocation.path(), "{}");
        let good = test.token().sign();
        server.respond(Token.path(), format!(r#"{{"access_token":"{good}","token_type":"Bearer","expires_in":3600}}"#));
        test.rotate_keys();
        let unknown = test.token().sign();
        Self { server, clock, good, unknown }
    }

    fn client(&self) -> Client {
        let transport = Recorder::new(UreqTransport::builder().no_proxy().build().unwrap());
        let issuer = Issuer::builder(self.server.url()).transport(transport.clone()).clock(self.clock.clone());
        let issuer = issuer.timeout(budget()).build().unwrap();
        let m2m = issuer.m2m_client("svc", "hunter2").build().unwrap();
        Client { issuer, m2m, transport }
    }
}

/// All capabilities of one issuer.
struct Client {
    issuer: Issuer,
    m2m: M2mClient,
    transport: Recorder<UreqTransport>,
}

impl Client {
    /// A call that needs `endpoint`.
    fn call(&self, endpoint: Endpoint, token: &str) -> Result<(), Error> {
        match endpoint {
            Discovery | Keys => self.issuer.preload(),
            Token => self.m2m.access_token().map(|_| ()),
            Introspect => self.issuer.introspector("svc", "hunter2").build()?.introspect(token).map(|_| ()),
            Revocation => self.issuer.revoker("svc", "hunter2").build()?.revoke(token, None),
        }
    }
}

/// Runs `call`, holds it to the budget, and looks at what it ends with.
fn judged(what: &str, secret: &str, call: impl FnOnce() -> Result<(), Error>) -> (Expect, Option<Error>) {
    let started = Instant::now();
    let outcome = call();
    let took = started.elapsed();
    assert!(took <= budget() + slack(), "{what} took {took:?}");
    let expect = match &outcome {
        Ok(()) => Fine,
        Err(Error::Network(error)) => Kind(error.kind()),
        Err(Error::OAuth(error)) => {
            OAuth(KNOWN_CODES.iter().find(|code| **code == error.error_code()).expect("a code of the table"))
        }
        Err(error) => panic!("{what}: {error}"),
    };
    let error = outcome.err();
    if let Some(error) = &error {
        let mut shown = format!("{error} {error:?}");
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            shown += &format!(" {inner} {inner:?}");
            source = inner.source();
        }
        for secret in ["LEAK", "hunter2", secret] {
            assert!(!shown.contains(secret), "{what} shows {secret}: {shown}");
        }
    }
    (expect, error)
}

const KNOWN_CODES: [&str; 5] =
    ["invalid_client", "access_denied", "slow_down", "server_error", "temporarily_unavailable"];

fn run_case((name, fault, expected): &Row, column: usize) {
    let (endpoint, expected) = (ENDPOINTS[column], expected[column]);
    let what = format!("{name} at {endpoint:?}");
    let world = World::new();
    let (fresh, warm) = (world.client(), world.client());
    let warm_rs = warm.issuer.resource_server().build().unwrap();
    let warm_introspector =
        warm.issuer.introspector("svc", "hunter2").cache(8, Duration::from_secs(3600)).build().unwrap();
    warm_rs.verify_token(&world.good).unwrap();
    let held = warm.m2m.access_token().unwrap();
    warm_introspector.introspect(&world.good).unwrap();

    world.server.fault(endpoint.path(), *fault);
    let (outcome, error) = judged(&what, &world.good, || fresh.call(endpoint, &world.good));
    assert_eq!(outcome, expected, "{what}: {error:?}");
    if name.starts_with("429") {
        assert_eq!(error.unwrap().retry_after(), Some(Duration::from_secs(7)), "{what}");
    }

    // What was cached serves on, also after an attempt to replace it.
    if endpoint == Keys {
        let refetch = || match warm_rs.verify_token(&world.unknown) {
            Err(Error::Token(error)) if error.kind() == TokenErrorKind::UnknownKey => Ok(()),
            outcome => outcome.map(|_| panic!("{what}: a token without a key")),
        };
        assert_eq!(judged(&what, &world.unknown, refetch).0, expected, "{what}, unknown kid");
    }
    if endpoint == Token {
        let forced = || warm.m2m.access_token_with(&TokenOptions::new().force_refresh()).map(|_| ());
        assert_eq!(judged(&what, &world.good, forced).0, expected, "{what}, forced");
    }
    warm_rs.verify_token(&world.good).unwrap();
    assert_eq!(warm.m2m.access_token().unwrap().expose_secret(), held.expose_secret(), "{what}");
    assert!(matches!(warm_introspector.introspect(&world.good), Ok(Introspection::Active(_))), "{what}");

    // And the fault leaves nothing behind once it is over.
    world.server.heal();
    world.clock.advance(Duration::from_secs(301));
    fresh.call(endpoint, &world.good).unwrap_or_else(|error| panic!("{what}, healed: {error}"));
    for client in [&fresh, &warm] {
        let url = world.server.url();
        let allowed = [Token, Introspect, Revocation].map(|endpoint| format!("{url}{}", endpoint.path()));
        assert!(client.transport.carriers().iter().all(|carrier| allowed.contains(carrier)), "{what}");
    }
    for request in world.server.requests() {
        assert!(!request.path.contains("elsewhere"), "{what} was followed");
        assert!(!request.head.contains("hunter2"), "{what}: a secret in the head");
        assert!(request.method == "POST" || request.body.is_empty(), "{what}: a GET with a body");
        assert!(request.method == "GET" || request.body.contains("client_secret=hunter2"), "{what}: no credentials");
    }
}

/// The cases wait far more than they work, so many run at once.
fn run_all(cases: usize, run: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(case) = Some(next.fetch_add(1, Ordering::SeqCst)).filter(|case| *case < cases) {
                    run(case);
                }
            });
        }
    });
}

const WORKERS: usize = 8;

#[test]
fn every_fault_at_every_endpoint_is_its_documented_error() {
    run_all(TABLE.len() * ENDPOINTS.len(), |case| {
        run_case(&TABLE[case / ENDPOINTS.len()], case % ENDPOINTS.len());
    });
}

#[test]
fn every_member_of_the_wrong_type_is_an_invalid_response() {
    let cases: Vec<(Endpoint, &str)> =
        WRONG_BODIES.iter().flat_map(|(endpoint, bodies)| bodies.iter().map(|body| (*endpoint, *body))).collect();
    run_all(cases.len(), |case| {
        let (endpoint, body) = cases[case];
        let world = World::new();
        world.server.respond(endpoint.path(), body.replace("URL", world.server.url()));
        let (outcome, error) = judged(body, &world.good, || world.client().call(endpoint, &world.good));
        assert_eq!(outcome, Kind(InvalidResponse), "{endpoint:?} {body}: {error:?}");
    });
}

#[test]
fn a_fast_storm_of_1xx_ends_by_the_limit_of_the_headers_or_the_budget() {
    for storm in [
        Fault::Answer(|line, _| line.repeat("HTTP/1.1 103 x\r\nlink: LEAK\r\n\r\n", usize::MAX)),
        Fault::Answer(|line, _| line.repeat("HTTP/1.1 100 x\r\n\r\n", usize::MAX)),
    ] {
        for endpoint in ENDPOINTS {
            let world = World::new();
            world.server.fault(endpoint.path(), storm);
            let (outcome, _) = judged("storm", &world.good, || world.client().call(endpoint, &world.good));
            assert!([Kind(TooLarge), Kind(Timeout)].contains(&outcome), "{endpoint:?}: {outcome:?}");
        }
    }
}

#[test]
fn an_endpoint_that_nobody_listens_at_is_a_failed_connection() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (endpoint, name) in [
        (Keys, "jwks_uri"),
        (Token, "token_endpoint"),
        (Introspect, "introspection_endpoint"),
        (Revocation, "revocation_endpoint"),
    ] {
        let world = World::new();
        let document = format!(r#"{{"issuer":"{}","{name}":"http://{closed}/"}}"#, world.server.url());
        world.server.respond(Discovery.path(), document);
        let (outcome, error) = judged(name, &world.good, || world.client().call(endpoint, &world.good));
        assert_eq!(outcome, Kind(Connect), "{error:?}");
    }
    let transport = UreqTransport::builder().no_proxy().build().unwrap();
    let issuer = Issuer::builder(&format!("http://{closed}")).transport(transport).timeout(budget()).build().unwrap();
    assert_eq!(judged("discovery", "LEAK", || issuer.preload()).0, Kind(Connect));
}

#[test]
fn an_endpoint_that_secrets_may_not_go_to_gets_no_request() {
    for (endpoint, name) in
        [(Token, "token_endpoint"), (Introspect, "introspection_endpoint"), (Revocation, "revocation_endpoint")]
    {
        for url in [
            "http://elsewhere.example/",
            "ftp://127.0.0.1/",
            "http://user:password@127.0.0.1/",
            "http://127.0.0.1\\\\@elsewhere.example/",
            "http://127.0.0.1/#x",
            "/relative",
            "",
        ] {
            let world = World::new();
            let document = format!(r#"{{"issuer":"{}","{name}":"{url}"}}"#, world.server.url());
            world.server.respond(Discovery.path(), document);
            let client = world.client();
            let (outcome, error) = judged(name, &world.good, || client.call(endpoint, &world.good));
            assert_eq!(outcome, Kind(InvalidResponse), "{url}: {error:?}");
            assert_eq!(world.server.requests().len(), 1);
            assert!(client.transport.carriers().is_empty());
            client.issuer.preload().unwrap();
        }
    }
}

#[test]
fn no_secret_is_sent_on_the_word_of_another_issuers_document() {
    let world = World::new();
    world.server.respond(Discovery.path(), r#"{"issuer":"http://127.0.0.1:1"}"#);
    let client = world.client();
    for endpoint in [Token, Introspect, Revocation] {
        let (outcome, _) = judged("mismatch", &world.good, || client.call(endpoint, &world.good));
        assert_eq!(outcome, Kind(NetworkErrorKind::IssuerMismatch));
    }
    assert!(client.transport.carriers().is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn faults_leave_no_thread_and_no_file_descriptor_behind() {
    const NAME: &str = "faults::faults_leave_no_thread_and_no_file_descriptor_behind";
    if !child::is_child() {
        return child::run(NAME, &[]);
    }
    let count = |of: &str| std::fs::read_dir(format!("/proc/self/{of}")).unwrap().count();
    run_case(&TABLE[0], 0);
    let (threads, files) = (count("task"), count("fd"));
    run_all(TABLE.len(), |case| run_case(&TABLE[case], case % ENDPOINTS.len()));
    // A thread that was joined may still show for a moment, here and in the first count.
    let ended = Instant::now() + Duration::from_secs(5);
    while count("task") > threads || count("fd") > files {
        let now = (count("task"), count("fd"));
        assert!(Instant::now() < ended, "{threads} threads and {files} file descriptors became {now:?}");
        std::thread::yield_now();
    }
}
