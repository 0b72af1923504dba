//! The way through an HTTP proxy: when it is taken, with which credentials, and within which time.

use std::io::{Read, Write};
use std::time::Duration;

use aero2::testing::TestIssuer;
use aero2::{Error, Issuer, NetworkErrorKind, UreqTransport, UreqTransportBuilder};

use crate::support::child;
use crate::support::pace::{in_time, within};
use crate::support::proxy::Proxy;
use crate::support::recorder::Recorder;
use crate::support::tls_server::{Authority, Tls, TlsServer, tls_front};

/// A server, and its authority in PEM.
fn serve() -> (TlsServer, String) {
    let authority = Authority::new("ours");
    (serve_as(&authority), authority.pem())
}

fn serve_as(authority: &Authority) -> TlsServer {
    let server = TlsServer::start(&Tls::new(authority.issue(&["localhost"], |_| {})));
    server.respond("/.well-known/openid-configuration", format!(r#"{{"issuer":"{}"}}"#, server.url("localhost")));
    server.respond("/oauth2/jwks.json", TestIssuer::new().key_set());
    server
}

fn preload(url: &str, transport: UreqTransportBuilder, timeout: Duration) -> Result<(), Error> {
    Issuer::builder(url).transport(Recorder::new(transport.build()?)).timeout(timeout).build()?.preload()
}

const LONG: Duration = Duration::from_secs(60);

#[track_caller]
fn kind_of(outcome: Result<(), Error>) -> NetworkErrorKind {
    match outcome {
        Err(Error::Network(error)) => error.kind(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_proxy_carries_one_tunnel_per_connection_and_sees_nothing_inside() {
    let (server, pem) = serve();
    let proxy = Proxy::start(None);
    let transport = UreqTransport::builder().root_certificates_pem(pem.as_bytes()).proxy(&proxy.url(""));
    preload(&server.url("localhost"), transport, LONG).unwrap();
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(heads[0].starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", server.port())), "{heads:?}");
    assert!(!heads[0].to_lowercase().contains("authorization"), "{heads:?}");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn plain_http_goes_through_a_proxy_only_if_plain_http_is_allowed_everywhere() {
    let test = TestIssuer::new();
    let server = test.serve().unwrap();
    for allowed in [false, true] {
        let proxy = Proxy::start(None);
        let transport = UreqTransport::builder().proxy(&proxy.url("")).build().unwrap();
        let issuer = Issuer::builder(server.url()).transport(Recorder::new(transport));
        let issuer = if allowed { issuer.dangerous_allow_http() } else { issuer };
        issuer.build().unwrap().preload().unwrap();
        assert_eq!(proxy.heads().len(), usize::from(allowed));
    }
}

#[test]
fn a_proxy_behind_tls_is_spoken_to_in_tls_and_the_target_inside() {
    let authority = Authority::new("ours");
    let server = serve_as(&authority);
    let proxy = Proxy::start(Some("Basic dXNlcjpwQHNz"));
    let front = tls_front(&Tls::new(authority.issue(&["localhost"], |_| {})), proxy.port());
    let transport = UreqTransport::builder().root_certificates_pem(authority.pem().as_bytes());
    let url = format!("https://user:p%40ss@localhost:{front}");
    preload(&server.url("localhost"), transport.proxy(&url), LONG).unwrap();
    assert_eq!(proxy.heads().len(), 1);
    let untrusting = UreqTransport::builder().proxy(&url);
    assert_eq!(kind_of(preload(&server.url("localhost"), untrusting, LONG)), NetworkErrorKind::Tls);
    assert_eq!(proxy.heads().len(), 1, "no credentials for a proxy that is not trusted");
}

#[test]
fn credentials_are_sent_decoded_and_never_shown() {
    let (server, pem) = serve();
    // dXNlcjpwQHNz = user:p@ss
    let proxy = Proxy::start(Some("Basic dXNlcjpwQHNz"));
    let through = |user: &str| UreqTransport::builder().root_certificates_pem(pem.as_bytes()).proxy(&proxy.url(user));
    preload(&server.url("localhost"), through("user:p%40ss@"), LONG).unwrap();
    let error = preload(&server.url("localhost"), through("user:hunter2@"), LONG).unwrap_err();
    let mut shown = format!("{error} {error:?}");
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        shown += &format!("{inner} {inner:?}");
        source = inner.source();
    }
    assert!(!shown.contains("hunter2") && !shown.contains("user"), "{shown}");
    assert_eq!(kind_of(Err(error)), NetworkErrorKind::Connect);
    let transport = through("user:hunter2@").build().unwrap();
    assert!(!format!("{transport:?}").contains("hunter2"));
}

#[test]
fn a_proxy_that_fails_is_a_failed_connection() {
    let (server, pem) = serve();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = server.url("localhost");
    let through = |proxy: &str| {
        kind_of(preload(&url, UreqTransport::builder().root_certificates_pem(pem.as_bytes()).proxy(proxy), LONG))
    };
    assert_eq!(through(&format!("http://{closed}")), NetworkErrorKind::Connect);
    // No resolver asks the network for a label of 64 characters (RFC 1035 §2.3.4).
    assert_eq!(through(&format!("http://{}.invalid:3128", "a".repeat(64))), NetworkErrorKind::Dns);
    let refusing = Proxy::serving(|_, client| {
        let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n");
    });
    assert_eq!(through(&refusing.url("")), NetworkErrorKind::Connect);
    let silent = Proxy::serving(|_, _| {});
    assert_eq!(through(&silent.url("")), NetworkErrorKind::Connect);
    let babbling = Proxy::serving(|_, client| {
        let _ = client.write_all(b"SSH-2.0-OpenSSH_9.9\r\n\r\n");
    });
    assert_eq!(through(&babbling.url("")), NetworkErrorKind::Io);
    assert!(server.requests().is_empty());
}

#[test]
fn a_slow_proxy_cannot_stretch_the_budget() {
    let (server, pem) = serve();
    let slow = Proxy::serving(|_, client| {
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\nx: ");
        while client.write_all(b"a").is_ok()
            && client.read(&mut [0]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
        {}
    });
    in_time("a slow proxy", |budget| {
        let transport = UreqTransport::builder().root_certificates_pem(pem.as_bytes()).proxy(&slow.url(""));
        let outcome = within("a slow proxy", budget, || preload(&server.url("localhost"), transport, budget))?;
        assert_eq!(kind_of(outcome), NetworkErrorKind::Timeout);
        Ok(())
    });
}

#[test]
fn a_slow_proxy_before_a_handshake_that_hangs_cannot_stretch_the_budget() {
    in_time("a slow proxy and no handshake", |budget| {
        let proxy = Proxy::serving(move |_, client| {
            client.set_read_timeout(Some(budget * 3 / 4)).unwrap();
            // Nothing comes before the tunnel is there.
            let _ = client.read(&mut [0]);
            let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
            client.set_read_timeout(None).unwrap();
            let _ = std::io::copy(client, &mut std::io::sink());
        });
        let transport = UreqTransport::builder().proxy(&proxy.url(""));
        let outcome = within("a slow proxy", budget, || preload("https://localhost:1", transport, budget))?;
        assert_eq!(kind_of(outcome), NetworkErrorKind::Timeout);
        Ok(())
    });
}

#[test]
fn the_proxy_of_the_environment_is_taken_unless_told_otherwise() {
    const NAME: &str = "proxy::the_proxy_of_the_environment_is_taken_unless_told_otherwise";
    if child::is_child() {
        let mut transport = UreqTransport::builder().root_certificates_pem(child::passed("ROOTS").as_bytes());
        if child::passed("DIRECT") == "yes" {
            transport = transport.no_proxy();
        }
        return preload(&child::passed("ISSUER"), transport, LONG).unwrap();
    }
    let (server, pem) = serve();
    for (variables, direct, through) in [
        (&["HTTPS_PROXY"][..], "no", true),
        (&["https_proxy"], "no", true),
        (&["ALL_PROXY"], "no", true),
        (&["HTTPS_PROXY"], "yes", false),
        (&["HTTPS_PROXY", "NO_PROXY"], "no", false),
        (&[], "no", false),
    ] {
        let proxy = Proxy::start(Some("Basic dXNlcjpwQHNz"));
        let (issuer, url) = (server.url("localhost"), proxy.url("user:p%40ss@"));
        let mut environment = vec![("ROOTS", &*pem), ("ISSUER", &*issuer), ("DIRECT", direct)];
        environment.extend(variables.iter().map(|name| (*name, if *name == "NO_PROXY" { "localhost" } else { &*url })));
        child::run(NAME, &environment);
        assert_eq!(proxy.heads().len(), usize::from(through), "{variables:?} {direct}");
    }
}
