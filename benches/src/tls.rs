//! TLS between clients and proxies: one certificate for all proxies, and what clients need to speak
//! to its owner. TLS 1.3, X25519 and AES-128-GCM only, so that all proxies do the same work.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::ring::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::fault::{During, Result};

/// Whom clients ask for.
const NAME: &str = "bench.test";
/// Sessions that a client keeps for itself; a server may offer several at once.
const SESSIONS_MAX: usize = 4;

/// The certificate's files.
pub struct Certificate {
    /// The certificate, in PEM.
    pub chain: PathBuf,
    /// Its private key (ECDSA, P-256), in PEM.
    pub key: PathBuf,
    /// Both in one file, for HAProxy.
    pub both: PathBuf,
}

impl Certificate {
    /// Makes one and writes it into a folder of its own.
    pub fn make(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).during("a folder for the certificate")?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).during("a key")?;
        let params = CertificateParams::new([NAME.to_owned()]).during("a certificate")?;
        let chain = params.self_signed(&key).during("a certificate")?.pem();
        let key = key.serialize_pem();
        let write = |name: &str, text: &str| -> Result<PathBuf> {
            let path = folder.join(name);
            let mut options = fs::OpenOptions::new();
            let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
            file.and_then(|mut file| file.write_all(text.as_bytes())).during(name)?;
            Ok(path)
        };
        Ok(Self {
            chain: write("chain.pem", &chain)?,
            key: write("key.pem", &key)?,
            both: write("both.pem", &(chain + &key))?,
        })
    }
}

/// Which handshakes clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshakes {
    /// All are full ones.
    Full,
    /// The first of each client is, the others resume its session.
    Resumed,
}

/// How clients speak TLS.
#[derive(Clone)]
pub struct Speech {
    config: ClientConfig,
    /// Which handshakes they do.
    pub handshakes: Handshakes,
}

impl Speech {
    /// With whoever has the certificate of this file.
    pub fn with(chain: &Path, handshakes: Handshakes) -> Result<Self> {
        let known = CertificateDer::from_pem_file(chain).during("the certificate")?;
        let provider = Arc::new(CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![kx_group::X25519],
            ..default_provider()
        });
        let algorithms = provider.signature_verification_algorithms;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .during("TLS 1.3")?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OneKnown { known, algorithms }))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self { config, handshakes })
    }

    /// What one client needs, with its sessions, if it resumes any.
    pub fn of_a_client(&self) -> Arc<ClientConfig> {
        let mut config = self.config.clone();
        if self.handshakes == Handshakes::Resumed {
            config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        }
        Arc::new(config)
    }
}

/// A client's half of a connection, before its first byte.
pub fn session(config: &Arc<ClientConfig>) -> Result<ClientConnection> {
    let name = ServerName::try_from(NAME).during("the name")?;
    ClientConnection::new(Arc::clone(config), name).during("TLS")
}

/// Takes the one certificate for right, and no other. Absent: checks of signatures, which would make
/// the generator busier than any proxy is; nobody here has a reason to lie.
#[derive(Debug)]
struct OneKnown {
    known: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for OneKnown {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        match *end_entity == self.known {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::Error::General("another certificate than ours".to_owned())),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
