//! The table: fault × endpoint → outcome, and the bodies of a 200 that are none.

use std::io::Write;

use aero2::NetworkErrorKind;

use crate::fault_server::{Fault, Line};
use crate::http::response;

use Expect::{Fine, Kind, OAuth};
use NetworkErrorKind::{Connect, InvalidResponse, Io, Status, Timeout, TooLarge};

/// What a call ends with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Expect {
    Kind(NetworkErrorKind),
    OAuth(&'static str),
    Fine,
}

/// The endpoints, in the order of each row's outcomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Endpoint {
    Discovery,
    Keys,
    Token,
    Introspection,
    Revocation,
}

use Endpoint::{Discovery, Introspection as Introspect, Keys, Revocation, Token};

pub(crate) const ENDPOINTS: [Endpoint; 5] = [Discovery, Keys, Token, Introspect, Revocation];

impl Endpoint {
    /// The member of the discovery document that names it.
    pub(crate) fn member(self) -> Option<&'static str> {
        match self {
            Discovery => None,
            Keys => Some("jwks_uri"),
            Token => Some("token_endpoint"),
            Introspect => Some("introspection_endpoint"),
            Revocation => Some("revocation_endpoint"),
        }
    }

    pub(crate) fn path(self) -> &'static str {
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

pub(crate) type Row = (&'static str, Fault, [Expect; 5]);

/// fault × endpoint → outcome. `LEAK` in a text must never show.
pub(crate) const TABLE: &[Row] = &[
    // There is no connection, or it ends.
    ("a refused connection", Fault::Refused, all(Connect)),
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
    (
        "20 MiB, announced",
        Fault::Answer(|line, _| large(line, "content-length: 20971520\r\n\r\n")),
        where_read(TooLarge),
    ),
    ("20 MiB, not announced", Fault::Answer(|line, _| large(line, "\r\n")), where_read(TooLarge)),
    (
        "20 MiB, in one chunk",
        Fault::Answer(|line, _| large(line, "transfer-encoding: chunked\r\n\r\n1400000\r\n")),
        where_read(TooLarge),
    ),
    ("20 MiB of an error", Fault::Answer(large_error), all(Status(500))),
    (
        "a length beyond 64 bits",
        Fault::Text("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n"),
        all(Io),
    ),
    (
        "an absurd length",
        Fault::Text("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n"),
        where_read(TooLarge),
    ),
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
    // Known limits of ureq, which the guide names.
    ("a folded header line", Fault::Text("HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\n{}"), all(Io)),
    (
        "a long chunk extension",
        Fault::Text("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=01234567890123456\r\n{}\r\n0\r\n\r\n"),
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
    ("200 with an OAuth error", Fault::Status("200 OK", "", "{\"error\":\"invalid_client\"}"), all(InvalidResponse)),
    ("201", Fault::Status("201 x", "", "{}"), where_read(InvalidResponse)),
    ("204", Fault::Text("HTTP/1.1 204 x\r\n\r\n"), where_read(InvalidResponse)),
    ("a gzip bomb", Fault::Answer(|line, _| bomb(line, "content-encoding: gzip\r\n")), where_read(InvalidResponse)),
    ("a gzip bomb, not announced", Fault::Answer(|line, _| bomb(line, "")), where_read(InvalidResponse)),
    (
        "gzip, announced and not done",
        Fault::Answer(|line, healthy| line.finish(response("200 OK", "content-encoding: gzip\r\n", healthy))),
        where_read(InvalidResponse),
    ),
    (
        "brotli",
        Fault::Answer(|line, healthy| line.finish(response("200 OK", "Content-Encoding: br\r\n", healthy))),
        where_read(InvalidResponse),
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
        "100 Continue with header lines",
        Fault::Answer(|line, healthy| {
            line.repeat("HTTP/1.1 100 Continue\r\nx: y\r\n\r\n", 2);
            line.finish(response("200 OK", "", healthy));
        }),
        [Fine; 5],
    ),
    (
        "an empty content encoding",
        Fault::Answer(|line, healthy| line.finish(response("200 OK", "content-encoding: \r\n", healthy))),
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

/// 64 KiB of gzip (RFC 1952) that would become 10 MiB of zeros: a byte, then matches of 258 bytes at distance 1 in fixed codes (RFC 1951
/// §3.2.6), 13 bits each.
fn bomb(line: &mut Line<'_>, headers: &str) {
    let mut bits: Vec<u8> = vec![1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0];
    (0..40_000).for_each(|_| bits.extend([1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]));
    bits.extend([0; 7]);
    let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    body.extend(bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |value, bit| value << 1 | bit)));
    let head = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n", body.len());
    line.finish([head.as_bytes(), &body].concat());
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
pub(crate) const WRONG_BODIES: &[(Endpoint, &[&str])] = &[
    (
        Discovery,
        &[
            "{}",
            r#"{"issuer":null}"#,
            r#"{"issuer":7}"#,
            r#"{"issuer":["URL"]}"#,
            r#"{"issuer":"URL","jwks_uri":7}"#,
            r#"{"issuer":"URL","token_endpoint":{}}"#,
            r#"{"issuer":"URL","introspection_endpoint":[]}"#,
            r#"{"issuer":"URL","revocation_endpoint":false}"#,
            r#"{"issuer":"URL","token_endpoint_auth_methods_supported":"client_secret_post"}"#,
            r#"{"issuer":"URL","token_endpoint_auth_methods_supported":[7]}"#,
            r#"{"issuer":"URL","revocation_endpoint_auth_methods_supported":{}}"#,
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
            r#"{"access_token":"LEAK","token_type":"Bearer","expires_in":-1}"#,
            r#"{"access_token":"LEAK","token_type":"Bearer","expires_in":"soon"}"#,
            r#"{"access_token":"LEAK","token_type":"Bearer","expires_in":"-1"}"#,
            r#"{"access_token":"LEAK","token_type":"Bearer","expires_in":true}"#,
            r#"{"access_token":"LEAK","token_type":"Bearer","expires_in":[]}"#,
            r#"{"access_token":"LEAK","token_type":"Bearer","expires_in":1e400}"#,
            r#"{"access_token":"LEAK","token_type":"Bearer","scope":7}"#,
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
