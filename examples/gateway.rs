//! A gateway with an unreliable connection: it starts without the network, keeps verifying through days of outage, trusts a private
//! certificate authority, and refreshes on a timer of its own so that no request has to wait for the issuer.
//!
//! ```text
//! cargo run --example gateway --features file-cache
//! ```
//!
//! The issuer is a test issuer behind TLS. The example controls the clock, so two days pass in a second.

#[macro_use]
mod support;

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use aero2::testing::{Endpoint, ManualClock, TestIssuer};
use aero2::{Error, Issuer, NetworkErrorKind, ResourceServer, UreqTransport};

type BoxError = Box<dyn StdError + Send + Sync>;

/// What a gateway is made of.
struct Gateway {
    issuer: Issuer,
    api: ResourceServer,
    /// Dropped with the gateway, which ends the thread.
    timer: Timer,
}

impl Gateway {
    fn start(settings: &Settings) -> Result<Self, Error> {
        // Only the authority of this installation is trusted, not those of the web.
        let transport = UreqTransport::builder().root_certificates_pem(settings.authority.as_bytes()).build()?;
        let issuer = Issuer::builder(&settings.issuer)
            .transport(transport)
            // Keys of the last run, so that a restart needs no network.
            .snapshot_file(&settings.snapshot)
            // A week without the issuer is better than a closed gate; a withdrawn key lives on for as long, though.
            .max_stale(Duration::from_secs(7 * 24 * 3600))
            .clock(settings.clock.clone())
            .on_event(|event| println!("    event: {event}"))
            .build()?;
        let api = issuer.resource_server().audience("gate").build()?;
        let timer = Timer::start(issuer.clone(), settings.tick);
        Ok(Self { issuer, api, timer })
    }
}

/// A thread of the program's own: the crate never starts one.
struct Timer {
    ticks: Arc<AtomicU64>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Timer {
    fn start(issuer: Issuer, tick: Duration) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let ticks = Arc::new(AtomicU64::new(0));
        let counter = ticks.clone();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                // Costs nothing when nothing is due. A failure has been told as an event, and the keys that are held serve on.
                let _ = issuer.refresh_if_due();
                counter.fetch_add(1, Ordering::Release);
            }
        });
        Self { ticks, stop: Some(stop), thread: Some(thread) }
    }

    /// Waits until a tick has begun and ended: for this example, whose time jumps.
    fn wait(&self) {
        let enough = self.ticks.load(Ordering::Acquire) + 2;
        while self.ticks.load(Ordering::Acquire) < enough {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Settings {
    issuer: String,
    authority: String,
    snapshot: PathBuf,
    /// A minute or so for a real gateway.
    tick: Duration,
    /// Left out for a real gateway.
    clock: ManualClock,
}

fn main() -> Result<(), BoxError> {
    support::help("gateway --features file-cache", include_str!("gateway.rs"));
    let directory = std::env::temp_dir().join(format!("aero2-gateway-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let outcome = story(&directory);
    std::fs::remove_dir_all(&directory)?;
    outcome
}

fn story(directory: &Path) -> Result<(), BoxError> {
    let clock = ManualClock::new();
    let front = tls::Front::open()?;
    let test = TestIssuer::builder().url(front.url()).clock(clock.clone()).build();
    for (member, path) in [("issuer", ""), ("jwks_uri", "/oauth2/jwks.json"), ("token_endpoint", "/oauth2/token")] {
        test.set_metadata(member, format!("{}{path}", front.url()));
    }
    let settings = Settings {
        issuer: front.url().to_owned(),
        authority: front.authority().to_owned(),
        snapshot: directory.join("keys.json"),
        tick: Duration::from_millis(10),
        clock: clock.clone(),
    };
    let token = || test.token().audience("gate").subject("sensor-7").sign();

    println!("the issuer is up and the gateway starts");
    let server = test.serve()?;
    front.lead_to(Some(server.port()));
    let gateway = Gateway::start(&settings)?;
    admitted(&gateway, &token())?;

    println!("nine minutes later the timer refreshes the keys, so no request has to");
    clock.advance(Duration::from_secs(540));
    gateway.timer.wait();
    assert_eq!(test.requests(Endpoint::Keys), 2);
    admitted(&gateway, &token())?;

    println!("the issuer stops; two days later the gate still opens");
    front.lead_to(None);
    drop(server);
    clock.advance(Duration::from_secs(2 * 24 * 3600));
    gateway.timer.wait();
    assert_eq!(gateway.issuer.stats().key_fetch_failures(), 1);
    admitted(&gateway, &token())?;

    println!("the gateway restarts, still without the issuer: the keys are in the snapshot file");
    drop(gateway);
    let gateway = Gateway::start(&settings)?;
    let old_token = token();
    admitted(&gateway, &old_token)?;

    println!(
        "the issuer is back with new keys; the timer fetches them, and a token signed with the old ones is refused"
    );
    test.rotate_keys_dropping_old();
    let server = test.serve()?;
    front.lead_to(Some(server.port()));
    clock.advance(Duration::from_secs(60));
    gateway.timer.wait();
    assert!(gateway.api.verify_token(&old_token).is_err());
    admitted(&gateway, &token())?;

    println!("a gateway that does not trust the certificate authority does not talk to the issuer");
    let stranger = Issuer::builder(front.url()).build()?;
    match stranger.preload() {
        Err(Error::Network(error)) if error.kind() == NetworkErrorKind::Tls => println!("    refused: {error}"),
        other => return Err(format!("a certificate that nobody vouches for was taken: {other:?}").into()),
    }
    Ok(())
}

fn admitted(gateway: &Gateway, token: &str) -> Result<(), BoxError> {
    let claims = gateway.api.verify_token(token)?;
    println!("    admitted: {}", claims.subject().unwrap_or("nobody"));
    Ok(())
}

/// What stands before a real issuer: a server that speaks TLS with a certificate of a private authority, and asks the issuer behind it.
mod tls {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::sync::{Arc, Mutex, PoisonError};
    use std::thread;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use super::BoxError;

    pub(super) struct Front {
        url: String,
        authority: String,
        behind: Arc<Mutex<Option<u16>>>,
    }

    impl Front {
        pub(super) fn open() -> Result<Self, BoxError> {
            let mut params = CertificateParams::new(Vec::new())?;
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
            let key = KeyPair::generate()?;
            let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &authority)?;
            let key = PrivateKeyDer::try_from(key.serialize_der())?;
            let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key)?;

            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let url = format!("https://localhost:{}", listener.local_addr()?.port());
            let behind = Arc::new(Mutex::new(None));
            let (config, target) = (Arc::new(config), behind.clone());
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (config, target) = (config.clone(), target.clone());
                    thread::spawn(move || answer(stream, config, &target));
                }
            });
            Ok(Self { url, authority: pem(authority.der()), behind })
        }

        pub(super) fn url(&self) -> &str {
            &self.url
        }

        pub(super) fn authority(&self) -> &str {
            &self.authority
        }

        /// The port of the issuer behind; `None` while it is stopped.
        pub(super) fn lead_to(&self, port: Option<u16>) {
            *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = port;
        }
    }

    /// One GET on one connection.
    fn answer(stream: TcpStream, config: Arc<ServerConfig>, behind: &Mutex<Option<u16>>) -> Result<(), BoxError> {
        let port = *behind.lock().unwrap_or_else(PoisonError::into_inner);
        // Without an issuer behind the connection is closed at once.
        let port = port.ok_or("the issuer is stopped")?;
        let mut client = StreamOwned::new(ServerConnection::new(config)?, stream);
        let mut lines = BufReader::new(&mut client).lines();
        let first = lines.next().ok_or("no request")??;
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        drop(lines);

        let mut issuer = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        write!(issuer, "{first}\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut response = Vec::new();
        issuer.read_to_end(&mut response)?;
        client.write_all(&response)?;
        client.conn.send_close_notify();
        client.flush()?;
        Ok(())
    }

    fn pem(der: &[u8]) -> String {
        use base64::Engine;

        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }
}
