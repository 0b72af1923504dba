//! A private certificate authority, and an HTTPS server on loopback.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use super::http::{Recorded, read_request, response};

/// A certificate authority that nobody else trusts.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate chain and its key, both PEM.
pub(crate) struct Certificate {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        pem("CERTIFICATE", self.0.der())
    }

    /// A certificate for `names`, changed by `change` before it is signed.
    pub(crate) fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Certificate {
            chain: pem("CERTIFICATE", params.signed_by(&key, &self.0).unwrap().der()),
            key: pem("PRIVATE KEY", key.serialized_der()),
        }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: String =
        text.as_bytes().chunks(64).map(|line| format!("{}\n", std::str::from_utf8(line).unwrap())).collect();
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}

/// How the server speaks TLS.
pub(crate) struct Tls {
    pub(crate) certificate: Certificate,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    /// The authority of the client certificates that are demanded.
    pub(crate) clients: Option<String>,
}

impl Tls {
    pub(crate) fn new(certificate: Certificate) -> Self {
        Self { certificate, versions: rustls::ALL_VERSIONS.to_vec(), clients: None }
    }

    fn config(&self) -> ServerConfig {
        let provider = Arc::new(default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&self.versions).unwrap();
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = CertificateDer::pem_slice_iter(self.certificate.chain.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(self.certificate.key.as_bytes()).unwrap();
        builder.with_single_cert(chain, key).unwrap()
    }
}

/// Serves bodies by path. Its threads end with the connections; the one that accepts, with the process.
pub(crate) struct TlsServer {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    bodies: Mutex<BTreeMap<String, String>>,
    requests: Mutex<Vec<Recorded>>,
    versions: Mutex<Vec<rustls::ProtocolVersion>>,
    connections: Mutex<usize>,
}

impl TlsServer {
    pub(crate) fn start(tls: &Tls) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let (config, state) = (Arc::new(tls.config()), shared.clone());
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (config, state) = (config.clone(), state.clone());
                std::thread::spawn(move || serve(config, stream, &state));
            }
        });
        Self { port, shared }
    }

    pub(crate) fn url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn respond(&self, path: &str, body: impl Into<String>) {
        self.shared.bodies.lock().unwrap().insert(path.to_owned(), body.into());
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The TLS version of each request.
    pub(crate) fn versions(&self) -> Vec<rustls::ProtocolVersion> {
        self.shared.versions.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap()
    }
}

/// Takes off the TLS of each connection and passes on what is inside to `port`; the port to connect to.
pub(crate) fn tls_front(tls: &Tls, port: u16) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let front = listener.local_addr().unwrap().port();
    let config = Arc::new(tls.config());
    std::thread::spawn(move || {
        while let Ok((outside, _)) = listener.accept() {
            let config = config.clone();
            std::thread::spawn(move || {
                let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), outside);
                if tls.conn.complete_io(&mut tls.sock).is_err() {
                    return;
                }
                let mut inside = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                for stream in [&tls.sock, &inside] {
                    stream.set_read_timeout(Some(std::time::Duration::from_millis(5))).unwrap();
                }
                while pass(&mut tls, &mut inside) && pass(&mut inside, &mut tls) {}
            });
        }
    });
    front
}

/// Passes on what there is; `false` at the end.
fn pass(from: &mut impl Read, to: &mut impl Write) -> bool {
    let mut buffer = [0; 4096];
    match from.read(&mut buffer) {
        Ok(0) => false,
        Ok(length) => to.write_all(&buffer[..length]).is_ok(),
        // Unix says `WouldBlock`, Windows `TimedOut`.
        Err(error) => matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
    }
}

fn serve(config: Arc<ServerConfig>, stream: TcpStream, shared: &Shared) {
    *shared.connections.lock().unwrap() += 1;
    let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    while let Some(request) = read_request(&mut tls) {
        let body = shared.bodies.lock().unwrap().get(&request.path).cloned();
        shared.versions.lock().unwrap().push(tls.conn.protocol_version().unwrap());
        shared.requests.lock().unwrap().push(request);
        let answer = body.map_or_else(|| response("404 Not Found", "", ""), |body| response("200 OK", "", &body));
        if tls.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
    // An alert is lost if the connection is reset by what the client sent after it.
    let _ = tls.sock.shutdown(std::net::Shutdown::Write);
    while tls.sock.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
}
