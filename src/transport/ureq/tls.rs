//! TLS by rustls with the ring provider, given explicitly.

use std::fmt;
use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};

use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use crate::error::{ConfigProblem, Error};
use crate::transport::ureq::connect::remaining;
use crate::transport::ureq::failure::Failure;
use crate::transport::ureq::tls_failure::TlsFailure;

/// Whom to trust.
#[derive(Clone, Default)]
pub(super) enum Roots {
    /// webpki's.
    #[default]
    BuiltIn,
    Given(Arc<RootCertStore>),
    /// The operating system's.
    #[cfg(feature = "platform-verifier")]
    Platform,
}

impl Roots {
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        let problem = || Error::config(ConfigProblem::RootCertificates);
        let mut store = RootCertStore::empty();
        for certificate in certificates(pem).ok_or_else(problem)? {
            store.add(certificate).map_err(|_| problem())?;
        }
        Ok(Self::Given(Arc::new(store)))
    }
}

/// This program's own certificate.
#[derive(Clone)]
pub(super) struct Identity(Arc<SingleCertAndKey>);

impl Identity {
    pub(super) fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        let problem = || Error::config(ConfigProblem::ClientCertificate);
        let chain = certificates(chain).ok_or_else(problem)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| problem())?;
        // This finds a key of another certificate as well.
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|_| problem())?;
        Ok(Self(Arc::new(SingleCertAndKey::from(certified))))
    }
}

/// At least one certificate, and all of them sound.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!certificates.is_empty()).then_some(certificates)
}

/// Wraps a connection in TLS where the URL is `https`. The configuration is made on first use, since the operating system's store is read then.
#[derive(Clone)]
pub(super) struct Tls {
    roots: Roots,
    identity: Option<Identity>,
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl Tls {
    pub(super) fn new(roots: Roots, identity: Option<Identity>) -> Self {
        Self { roots, identity, config: Arc::default() }
    }

    /// Two threads may make it at once; one of the two is kept.
    fn config(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        if let Some(config) = self.config.get() {
            return Ok(config.clone());
        }
        let made = Arc::new(self.make_config()?);
        Ok(self.config.get_or_init(|| made).clone())
    }

    fn make_config(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        #[cfg(not(feature = "platform-verifier"))]
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        #[cfg(feature = "platform-verifier")]
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match &self.roots {
            Roots::Given(store) => builder.with_root_certificates(store.clone()),
            Roots::BuiltIn => {
                builder.with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
            }
            #[cfg(feature = "platform-verifier")]
            Roots::Platform => {
                let verifier = rustls_platform_verifier::Verifier::new(provider)?;
                // What is called dangerous is any verifier but rustls' own; this one checks with the operating system.
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        Ok(match &self.identity {
            Some(Identity(resolver)) => {
                let resolver: Arc<dyn ResolvesClientCert> = resolver.clone();
                builder.with_client_cert_resolver(resolver)
            }
            None => builder.with_no_client_auth(),
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl<In: Transport> Connector<In> for Tls {
    type Out = Either<In, TlsTransport>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default();
        self.wrap(transport.boxed(), host, details).map(|inside| Some(Either::B(inside)))
    }
}

impl Tls {
    /// Makes a TLS connection to `host`, which is as it stands in a URL.
    pub(super) fn wrap(
        &self,
        transport: Box<dyn Transport>,
        host: &str,
        details: &ConnectionDetails<'_>,
    ) -> Result<TlsTransport, ureq::Error> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| Failure::Tls(TlsFailure::HostName))?;
        let client = self.config().and_then(|config| ClientConnection::new(config, name));
        let mut connection = client.map_err(|error| Failure::Tls((&error).into()))?;
        let mut socket = TransportAdapter::new(transport, details.current_time.clone());
        socket.set_timeout(remaining(details)?);
        connection.complete_io(&mut socket)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(TlsTransport { buffers, stream: StreamOwned::new(connection, socket) })
    }
}

/// A connection inside TLS.
pub(super) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        Ok(self.stream.write_all(output)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let read = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").finish_non_exhaustive()
    }
}
