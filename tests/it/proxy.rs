//! The way through an HTTP proxy: when it is taken, with which credentials, and within which time.

use std::io::{Read, Write};
use std::time::Duration;

use aero2::testing::TestIssuer;
use aero2::{Error, Issuer, NetworkErrorKind, UreqTransport, UreqTransportBuilder};

use crate::support::child;
use crate::support::http::{read_request, response};
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

/// Unix says `WouldBlock`, Windows `TimedOut`.
fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

#[test]
fn a_slow_proxy_cannot_stretch_the_budget() {
    let (server, pem) = serve();
    let slow = Proxy::serving(|_, client| {
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\nx: ");
        while client.write_all(b"a").is_ok() && client.read(&mut [0]).is_err_and(|e| is_timeout(&e)) {}
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

/// A server whose certificate names `issuer.test`, its URL under that name, and its authority.
fn serve_far_away() -> (TlsServer, String, String) {
    let authority = Authority::new("ours");
    let server = TlsServer::start(&Tls::new(authority.issue(&["issuer.test"], |_| {})));
    let url = server.url("issuer.test");
    server.respond("/.well-known/openid-configuration", format!(r#"{{"issuer":"{url}"}}"#));
    server.respond("/oauth2/jwks.json", TestIssuer::new().key_set());
    (server, url, authority.pem())
}

const READY: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

#[test]
fn a_tunnel_may_begin_with_1xx_any_2xx_and_many_header_lines() {
    let (server, url, pem) = serve_far_away();
    let through = |ready: &str| {
        let proxy = Proxy::leading_to(server.port(), ready);
        preload(&url, UreqTransport::builder().root_certificates_pem(pem.as_bytes()).proxy(&proxy.url("")), LONG)
    };
    for ready in [
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 102 Processing\r\nx: y\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 201 Created\r\n\r\n",
        "HTTP/1.1 204\r\ncontent-length: 7\r\n\r\n",
        "HTTP/1.1 299 Fine\r\ntransfer-encoding: chunked\r\n\r\n",
        &format!("HTTP/1.1 200 OK\r\n{}\r\n", "x-line: y\r\n".repeat(500)),
    ] {
        through(ready).unwrap_or_else(|error| panic!("{ready}: {error:?}"));
    }
    for (ready, kind) in [
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", NetworkErrorKind::Connect),
        ("HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n", NetworkErrorKind::Connect),
        ("HTTP/2 200 OK\r\n\r\n", NetworkErrorKind::Io),
        (&format!("HTTP/1.1 200 OK\r\n{}\r\n", "x-line: y\r\n".repeat(5000)), NetworkErrorKind::TooLarge),
    ] {
        assert_eq!(kind_of(through(ready)), kind, "{ready}");
    }
}

#[test]
fn an_error_on_the_way_through_a_proxy_names_it() {
    let refusing = Proxy::serving(|_, client| {
        let _ = client.write_all(b"HTTP/1.1 407 LEAK\r\ncontent-length: 0\r\n\r\n");
    });
    let transport = UreqTransport::builder().proxy(&refusing.url("user:hunter2@"));
    let error = preload("https://issuer.test", transport, LONG).unwrap_err();
    let mut shown = Vec::new();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        shown.push(inner.to_string());
        source = inner.source();
    }
    let place = format!("no connection through the proxy 127.0.0.1:{}", refusing.port());
    assert_eq!(shown, [&*place, "the proxy demands other credentials (status 407)"]);
}

/// A child's part: what `preload` comes to with the environment's proxy.
fn preload_in_a_child() {
    let transport = UreqTransport::builder().root_certificates_pem(child::passed("ROOTS").as_bytes());
    let transport = if child::passed("DIRECT") == "yes" { transport.no_proxy() } else { transport };
    let outcome = preload(&child::passed("ISSUER"), transport, LONG);
    match &*child::passed("OUTCOME") {
        "ok" => outcome.unwrap(),
        expected => match outcome {
            Err(Error::Config(error)) => {
                let text = format!("{error} {error:?}");
                assert!(text.contains(expected) && !text.contains("hunter2"), "{text}");
            }
            other => panic!("{other:?}"),
        },
    }
}

#[test]
fn the_proxy_of_the_environment_is_taken() {
    const NAME: &str = "proxy::the_proxy_of_the_environment_is_taken";
    if child::is_child() {
        return preload_in_a_child();
    }
    let (server, issuer, pem) = serve_far_away();
    for variables in [&["HTTPS_PROXY"][..], &["https_proxy"], &["ALL_PROXY"], &["all_proxy"]] {
        let proxy = Proxy::leading_to(server.port(), READY);
        let url = proxy.url("user:p%40ss@");
        let mut environment = vec![("ROOTS", &*pem), ("ISSUER", &*issuer), ("DIRECT", "no"), ("OUTCOME", "ok")];
        environment.extend([("NO_PROXY", "other.test, 10.0.0.0/8"), ("HTTP_PROXY", "socks5://x")]);
        environment.extend(variables.iter().map(|name| (*name, &*url)));
        child::run(NAME, &environment);
        let heads = proxy.heads();
        assert_eq!(heads.len(), 1, "{variables:?}");
        assert!(heads[0].contains("Proxy-Authorization: Basic dXNlcjpwQHNz\r\n"), "{heads:?}");
    }
}

#[test]
fn loopback_is_never_proxied_by_the_environment() {
    const NAME: &str = "proxy::loopback_is_never_proxied_by_the_environment";
    if child::is_child() {
        return preload_in_a_child();
    }
    let (server, pem) = serve();
    let plain = TestIssuer::new().serve().unwrap();
    let proxy = Proxy::start(None);
    for url in [&*proxy.url(""), "socks5://user:hunter2@proxy.example", "no proxy"] {
        let environment = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
        let environment: Vec<(&str, &str)> = environment.into_iter().map(|name| (name, url)).collect();
        for issuer in [server.url("localhost"), plain.url().to_owned()] {
            let own = [("ROOTS", &*pem), ("ISSUER", &*issuer), ("DIRECT", "no"), ("OUTCOME", "ok")];
            child::run(NAME, &[&own[..], &environment].concat());
        }
    }
    assert!(proxy.heads().is_empty());
}

#[test]
fn a_proxy_of_the_environment_that_cannot_be_used_is_an_error_where_it_would_apply() {
    const NAME: &str = "proxy::a_proxy_of_the_environment_that_cannot_be_used_is_an_error_where_it_would_apply";
    if child::is_child() {
        // `build` says it, before anything is sent.
        let url = child::passed("ISSUER");
        let outcome = Issuer::builder(&url).build().map(drop);
        match &*child::passed("OUTCOME") {
            "ok" => outcome.unwrap(),
            expected => {
                let Err(Error::Config(error)) = outcome else { panic!("{outcome:?}") };
                let text = format!("{error} {error:?}");
                assert!(text.contains(expected) && !text.contains("hunter2") && !text.contains("user@"), "{text}");
            }
        }
        return;
    }
    for (variable, value, no_proxy, outcome) in [
        ("ALL_PROXY", "socks5://user:hunter2@proxy.example:1080", "", "ALL_PROXY names the proxy proxy.example:1080"),
        ("all_proxy", "socks5h://proxy.example", "", "all_proxy names the proxy proxy.example,"),
        ("HTTPS_PROXY", "ftp://proxy.example", "x", "HTTPS_PROXY"),
        ("https_proxy", "http://", "", "https_proxy"),
        ("HTTPS_PROXY", "http://user:hunter2@p:notaport", "", "HTTPS_PROXY"),
        ("HTTPS_PROXY", "http://proxy.example\n", "", "HTTPS_PROXY"),
        ("HTTPS_PROXY", "not a proxy", "*", "ok"),
        ("HTTPS_PROXY", "not a proxy", "b, test", "ok"),
        ("HTTPS_PROXY", "", "", "ok"),
        ("HTTP_PROXY", "not a proxy", "", "ok"),
    ] {
        let environment = [("ISSUER", "https://issuer.test"), ("OUTCOME", outcome), (variable, value)];
        child::run(NAME, &[&environment[..], &[("NO_PROXY", no_proxy)]].concat());
    }
}

#[test]
fn an_endpoint_for_which_the_proxy_cannot_be_used_is_not_connected_to_directly() {
    const NAME: &str = "proxy::an_endpoint_for_which_the_proxy_cannot_be_used_is_not_connected_to_directly";
    if child::is_child() {
        let url = child::passed("ISSUER");
        let issuer = Issuer::builder(&url).build().unwrap();
        let outcome = issuer.introspector("svc", "hunter2").build().unwrap().introspect("t");
        assert!(matches!(&outcome, Err(Error::Config(e)) if e.to_string().contains("ALL_PROXY")), "{outcome:?}");
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let document = format!(r#"{{"issuer":"{issuer}","introspection_endpoint":"https://issuer.test/i"}}"#);
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream).unwrap();
        stream.write_all(response("200 OK", "", &document).as_bytes()).unwrap();
    });
    child::run(NAME, &[("ISSUER", &*issuer), ("ALL_PROXY", "socks5://proxy.example")]);
    thread.join().unwrap();
}
