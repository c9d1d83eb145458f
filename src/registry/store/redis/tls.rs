//! TLS to Redis.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Options;
use crate::registry::store::error::StoreError;

/// Shakes hands on `stream` with the server that calls itself `host`. The files are read anew, so
/// that renewed ones count from the next connection on.
pub(super) async fn shake_hands(
    stream: TcpStream,
    host: &str,
    options: &Options,
) -> Result<TlsStream<TcpStream>, StoreError> {
    let away = |error: &dyn std::fmt::Display| StoreError::Unavailable(format!("TLS: {error}"));
    let name = ServerName::try_from(host.to_owned()).map_err(|error| away(&error))?;
    let connector = TlsConnector::from(Arc::new(config(options)?));
    connector.connect(name, stream).await.map_err(|error| away(&error))
}

fn config(options: &Options) -> Result<ClientConfig, StoreError> {
    let invalid = |what: String| StoreError::Invalid(what);
    let mut roots = RootCertStore::empty();
    match &options.ca_file {
        // Only that one then: whoever names a CA trusts no other.
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|e| invalid(format!("{}: {e}", file.display())))?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(error.to_string()))?
        .with_root_certificates(roots);
    match (&options.client_cert_file, &options.client_key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            // Its error may not quote what it read.
            let key_der = PrivateKeyDer::from_pem_file(key)
                .map_err(|_| invalid(format!("{} holds no private key", key.display())))?;
            builder
                .with_client_auth_cert(chain, key_der)
                .map_err(|error| invalid(format!("{}: {error}", certificate.display())))
        }
        _ => Err(invalid("a client certificate needs its key, and a key its certificate".into())),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let invalid = |what: &dyn std::fmt::Display| {
        StoreError::Invalid(format!("{} holds no certificates: {what}", file.display()))
    };
    let read = CertificateDer::pem_file_iter(file).map_err(|error| invalid(&error))?;
    let certificates = read.collect::<Result<Vec<_>, _>>().map_err(|error| invalid(&error))?;
    if certificates.is_empty() {
        return Err(invalid(&"it has none"));
    }
    Ok(certificates)
}
