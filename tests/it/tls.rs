//! TLS for real: a rustls server on loopback with a private certificate authority.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aero2::testing::ManualClock;
use aero2::{Error, Issuer, NetworkErrorKind, UreqTransport, UreqTransportBuilder};
use rcgen::{CertificateParams, date_time_ymd};
use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};

use crate::support::child;
use crate::support::pace::{in_time, within};
use crate::support::recorder::Recorder;
use crate::support::tls_server::{Authority, Certificate, Tls, TlsServer};

const DISCOVERY: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/oauth2/jwks.json";

/// An HTTPS issuer named `localhost`, whose authority is `authority`.
fn serve(tls: &Tls) -> TlsServer {
    let server = TlsServer::start(tls);
    server.respond(DISCOVERY, format!(r#"{{"issuer":"{}"}}"#, server.url("localhost")));
    server.respond(KEYS, aero2::testing::TestIssuer::new().key_set());
    server
}

fn server_of(authority: &Authority) -> TlsServer {
    serve(&Tls::new(authority.issue(&["localhost"], |_| {})))
}

fn trusting(authority: &Authority) -> UreqTransportBuilder {
    UreqTransport::builder().no_proxy().root_certificates_pem(authority.pem().as_bytes())
}

fn preload(url: &str, transport: UreqTransportBuilder) -> Result<(), Error> {
    Issuer::builder(url)
        .transport(Recorder::new(transport.build()?))
        .timeout(Duration::from_secs(60))
        .build()?
        .preload()
}

#[track_caller]
fn assert_refused(outcome: Result<(), Error>) {
    match outcome {
        Err(Error::Network(error)) => assert_eq!(error.kind(), NetworkErrorKind::Tls, "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_certificate_of_a_given_authority_is_accepted_and_no_other() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let server = server_of(&authority);
    preload(&server.url("localhost"), trusting(&authority)).unwrap();
    assert_refused(preload(&server.url("localhost"), trusting(&other)));
    assert_refused(preload(&server.url("localhost"), UreqTransport::builder().no_proxy()));
    let both = format!("{}\n# another\n{}", other.pem(), authority.pem());
    preload(&server.url("localhost"), UreqTransport::builder().no_proxy().root_certificates_pem(both.as_bytes()))
        .unwrap();
    assert_eq!(server.requests().len(), 4, "a refused server gets no request");
}

#[test]
fn a_certificate_of_the_same_name_by_another_authority_is_refused() {
    let (real, forged) = (Authority::new("ours"), Authority::new("ours"));
    assert_refused(preload(&server_of(&forged).url("localhost"), trusting(&real)));
}

#[test]
fn a_certificate_is_for_its_host_only() {
    let authority = Authority::new("ours");
    let server = serve(&Tls::new(authority.issue(&["other.example", "127.0.0.1", "::1"], |_| {})));
    assert_refused(preload(&server.url("localhost"), trusting(&authority)));
    let url = server.url("127.0.0.1");
    server.respond(DISCOVERY, format!(r#"{{"issuer":"{url}"}}"#));
    preload(&url, trusting(&authority)).unwrap();
}

#[test]
fn a_certificate_has_its_time() {
    let authority = Authority::new("ours");
    let changes: [(Change, bool); 3] = [
        (expired, false),
        (|params| params.not_before = date_time_ymd(4000, 1, 1), false),
        (|params| params.not_before = date_time_ymd(2020, 1, 1), true),
    ];
    for (change, good) in changes {
        let server = serve(&Tls::new(authority.issue(&["localhost"], change)));
        let outcome = preload(&server.url("localhost"), trusting(&authority));
        if good { outcome.unwrap() } else { assert_refused(outcome) }
    }
}

type Change = fn(&mut CertificateParams);

fn expired(params: &mut CertificateParams) {
    (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
}

#[test]
fn a_certificate_that_is_only_out_of_date_says_that_the_clock_is_not_set() {
    let authority = Authority::new("ours");
    let not_yet: Change = |params| params.not_before = date_time_ymd(4000, 1, 1);
    let cases: [(Change, &[&str], bool); 3] =
        [(expired, &["localhost"], true), (not_yet, &["localhost"], true), (|_| {}, &["other.example"], false)];
    for (change, names, of_the_clock) in cases {
        let server = serve(&Tls::new(authority.issue(names, change)));
        for set in [false, true] {
            let clock = ManualClock::new();
            if !set {
                clock.set_wall(UNIX_EPOCH);
            }
            let transport = trusting(&authority).build().unwrap();
            let issuer = Issuer::builder(&server.url("localhost"))
                .transport(Recorder::new(transport))
                .clock(clock)
                .build()
                .unwrap();
            match issuer.preload() {
                Err(Error::Clock(_)) => assert!(of_the_clock && !set),
                outcome => {
                    assert!(!of_the_clock || set, "{outcome:?}");
                    assert_refused(outcome);
                }
            }
        }
    }
}

#[test]
fn no_text_of_a_certificate_is_shown() {
    let authority = Authority::new("ours");
    let server = serve(&Tls::new(authority.issue(&["hunter2.example", "x\u{1b}[31m\r\nhunter2"], |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "hunter2\r\n");
    })));
    let error = preload(&server.url("localhost"), trusting(&authority)).unwrap_err();
    let mut shown = format!("{error} {error:?}");
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        shown += &format!(" {inner} {inner:?}");
        source = inner.source();
    }
    assert!(shown.contains("for another host"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.chars().any(char::is_control), "{shown}");
}

#[test]
fn both_versions_of_tls_are_spoken() {
    let authority = Authority::new("ours");
    for version in [&TLS12, &TLS13] {
        let expected = version.version;
        let server = serve(&Tls { versions: vec![version], ..Tls::new(authority.issue(&["localhost"], |_| {})) });
        preload(&server.url("localhost"), trusting(&authority)).unwrap();
        assert_eq!(server.versions(), [expected, expected]);
        assert_eq!(server.connections(), 1, "the connection is kept");
    }
}

#[test]
fn a_client_certificate_is_shown_where_it_is_demanded() {
    let (authority, clients, others) = (Authority::new("ours"), Authority::new("clients"), Authority::new("others"));
    for version in [&TLS12, &TLS13] {
        let tls = Tls {
            versions: vec![version],
            clients: Some(clients.pem()),
            ..Tls::new(authority.issue(&["localhost"], |_| {}))
        };
        let server = serve(&tls);
        let showing = |Certificate { chain, key }: &Certificate| {
            preload(
                &server.url("localhost"),
                trusting(&authority).client_certificate_pem(chain.as_bytes(), key.as_bytes()),
            )
        };
        showing(&clients.issue(&["client"], |_| {})).unwrap();
        assert_refused(showing(&others.issue(&["client"], |_| {})));
        assert_refused(showing(&clients.issue(&["client"], expired)));
        assert_refused(preload(&server.url("localhost"), trusting(&authority)));
        assert_eq!(server.requests().len(), 2);
    }
}

#[test]
fn a_client_certificate_needs_its_own_key() {
    let clients = Authority::new("clients");
    let (one, two) = (clients.issue(&["client"], |_| {}), clients.issue(&["client"], |_| {}));
    let build = |chain: &str, key: &str| {
        UreqTransport::builder().client_certificate_pem(chain.as_bytes(), key.as_bytes()).build().map(|_| ())
    };
    build(&one.chain, &one.key).unwrap();
    for (chain, key) in [(&*one.chain, &*two.key), (&one.chain, ""), ("", &one.key), (&one.chain, &one.chain)] {
        assert!(matches!(build(chain, key), Err(Error::Config(_))));
    }
}

#[test]
fn plain_http_on_the_https_port_is_no_tls() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").unwrap();
        while stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
    });
    assert_refused(preload(&url, UreqTransport::builder().no_proxy()));
    thread.join().unwrap();
}

#[test]
fn a_handshake_that_hangs_ends_with_the_budget() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    for of_connecting in [false, true] {
        in_time("a handshake that hangs", |budget| {
            let (connect, total) = if of_connecting { (Some(budget), Duration::from_secs(60)) } else { (None, budget) };
            let mut transport = UreqTransport::builder().no_proxy();
            if let Some(connect) = connect {
                transport = transport.connect_timeout(connect);
            }
            let issuer = Issuer::builder(&url)
                .transport(Recorder::new(transport.build().unwrap()))
                .timeout(total)
                .build()
                .unwrap();
            let outcome = within("a handshake that hangs", budget, || issuer.preload())?;
            assert!(matches!(outcome, Err(Error::Network(e)) if e.kind() == NetworkErrorKind::Timeout));
            Ok(())
        });
    }
}

#[test]
fn a_secret_goes_nowhere_without_trust() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let good = server_of(&authority);
    let evil = serve(&Tls::new(other.issue(&["localhost"], |_| {})));
    good.respond(
        DISCOVERY,
        format!(r#"{{"issuer":"{}","introspection_endpoint":"{}/i"}}"#, good.url("localhost"), evil.url("localhost")),
    );
    let recorder = Recorder::new(trusting(&authority).build().unwrap());
    let issuer = Issuer::builder(&good.url("localhost")).transport(recorder.clone()).build().unwrap();
    assert_refused(issuer.introspector("svc", "hunter2").build().unwrap().introspect("t").map(|_| ()));
    assert_eq!(recorder.carriers(), [format!("{}/i", evil.url("localhost"))], "the document names it");
    assert!(evil.requests().is_empty(), "and it is not trusted");
}

#[test]
fn no_process_wide_provider_is_used_or_installed() {
    const NAME: &str = "tls::no_process_wide_provider_is_used_or_installed";
    if !child::is_child() {
        child::run(NAME, &[("INSTALL", "nothing")]);
        child::run(NAME, &[("INSTALL", "one that can do nothing")]);
        return;
    }
    let install = child::passed("INSTALL") != "nothing";
    if install {
        let useless = CryptoProvider { cipher_suites: Vec::new(), kx_groups: Vec::new(), ..ring::default_provider() };
        useless.install_default().unwrap();
    }
    let (authority, clients) = (Authority::new("ours"), Authority::new("clients"));
    let server = serve(&Tls { clients: Some(clients.pem()), ..Tls::new(authority.issue(&["localhost"], |_| {})) });
    let Certificate { chain, key } = clients.issue(&["client"], |_| {});
    preload(&server.url("localhost"), trusting(&authority).client_certificate_pem(chain.as_bytes(), key.as_bytes()))
        .unwrap();
    // The built-in roots, or the operating system's, need no default either: they say no.
    assert_refused(preload(&server.url("localhost"), UreqTransport::builder().no_proxy()));
    let default: Option<&Arc<CryptoProvider>> = CryptoProvider::get_default();
    assert_eq!(default.map(|provider| provider.cipher_suites.len()), install.then_some(0));
}

#[cfg(feature = "platform-verifier")]
#[test]
fn the_operating_systems_store_is_trusted_where_the_builder_says_so_and_only_there() {
    const NAME: &str = "tls::the_operating_systems_store_is_trusted_where_the_builder_says_so_and_only_there";
    if child::is_child() {
        let url = child::passed("ISSUER");
        assert_refused(preload(&url, UreqTransport::builder()));
        assert_refused(Issuer::builder(&url).build().unwrap().preload());
        return preload(&url, UreqTransport::builder().platform_verifier()).unwrap();
    }
    let authority = Authority::new("of the system");
    let server = server_of(&authority);
    let folder = std::env::temp_dir().join(format!("aero2-store-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let store = folder.join("ca.pem");
    std::fs::write(&store, authority.pem()).unwrap();
    child::run(NAME, &[("SSL_CERT_FILE", store.to_str().unwrap()), ("ISSUER", &server.url("localhost"))]);
    std::fs::remove_dir_all(folder).unwrap();
}
