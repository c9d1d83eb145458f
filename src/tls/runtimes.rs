//! The client's half of TLS: handshakes with runtimes. Their certificates are always verified, by the
//! instance's own authorities or by the public ones.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::{HTTP_1_1, Stream, provider};
use crate::tenant::{Instance, InstanceTls};

/// The longest own authorities, in bytes of PEM.
pub const CA_PEM_BYTES_MAX: usize = 64 * 1024;
/// Authorities whose configuration is kept.
const CONFIGS_MAX: usize = 1024;
/// Runtimes of one authority whose sessions are kept for resumption.
const SESSIONS_MAX: usize = 256;

/// Why there is no TLS with a runtime.
#[derive(Debug)]
pub enum RuntimeTlsFault {
    /// Its certificate is not to be trusted, or cannot be judged.
    Certificate(String),
    /// Anything else: it speaks no TLS, or is gone.
    Handshake(String),
}

/// Does handshakes with runtimes, and remembers sessions.
#[derive(Debug)]
pub struct Connector {
    public: Arc<ClientConfig>,
    own: Mutex<HashMap<Arc<str>, Arc<ClientConfig>>>,
}

impl Connector {
    /// One without sessions.
    ///
    /// # Errors
    /// Never with the cryptography that is built in.
    pub fn new() -> Result<Self, rustls::Error> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Ok(Self { public: config(roots, None)?, own: Mutex::default() })
    }

    /// Does one handshake. Bounded by nothing but the runtime: give it a deadline.
    ///
    /// # Errors
    /// Why not.
    pub async fn connect(
        &self,
        socket: TcpStream,
        instance: &Instance,
        tls: &InstanceTls,
    ) -> Result<Stream, RuntimeTlsFault> {
        let name = tls.server_name.as_ref().unwrap_or(&instance.host);
        let name = server_name(name)
            .map_err(|error| RuntimeTlsFault::Certificate(format!("{name:?}: {error}")))?;
        let config = self.config_for(tls).map_err(RuntimeTlsFault::Certificate)?;
        match TlsConnector::from(config).connect(name, socket).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(TlsStream::Client(stream)))),
            Err(error) => Err(judge(&error)),
        }
    }

    fn config_for(&self, tls: &InstanceTls) -> Result<Arc<ClientConfig>, String> {
        let Some(ca_pem) = &tls.ca_pem else { return Ok(Arc::clone(&self.public)) };
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = own.get(ca_pem) {
            return Ok(Arc::clone(config));
        }
        let made = config(authorities(ca_pem)?, None).map_err(|error| error.to_string())?;
        // They are made anew at little cost.
        if own.len() >= CONFIGS_MAX {
            own.clear();
        }
        own.insert(Arc::clone(ca_pem), Arc::clone(&made));
        Ok(made)
    }
}

/// The name as it is asked for and verified; an IP address is verified, too, but not asked for.
///
/// # Errors
/// It is no name.
pub fn server_name(name: &str) -> Result<ServerName<'static>, &'static str> {
    ServerName::try_from(name.to_owned()).map_err(|_| "is neither a host name nor an IP address")
}

/// An instance's own authorities.
///
/// # Errors
/// What is wrong with them.
pub fn authorities(ca_pem: &str) -> Result<RootCertStore, String> {
    if ca_pem.len() > CA_PEM_BYTES_MAX {
        return Err("must be at most 64 KiB".to_owned());
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|_| "must be certificates in PEM".to_owned())?;
        roots.add(certificate).map_err(|error| format!("holds a bad certificate: {error}"))?;
    }
    match roots.is_empty() {
        false => Ok(roots),
        true => Err("must hold at least one certificate in PEM".to_owned()),
    }
}

/// A client's configuration; the certificate is for servers that ask for one.
pub(super) fn config(
    roots: RootCertStore,
    certificate: Option<Arc<CertifiedKey>>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certificate)))
        }
    };
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(Arc::new(config))
}

fn judge(error: &io::Error) -> RuntimeTlsFault {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(
            error @ (rustls::Error::InvalidCertificate(_)
            | rustls::Error::NoCertificatesPresented
            | rustls::Error::UnsupportedNameType),
        ) => RuntimeTlsFault::Certificate(error.to_string()),
        _ => RuntimeTlsFault::Handshake(format!("TLS: {error}")),
    }
}
