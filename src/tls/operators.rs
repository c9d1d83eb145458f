//! The commands' half of TLS: handshakes with the operators' listener of a server. Its certificate is
//! always verified: an admin token goes to nobody else.

use std::error::Error;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::Stream;
use super::certificates::CertificateFiles;
use super::runtimes::{authorities, config, server_name};

/// Does handshakes with one server.
#[derive(Debug)]
pub struct ToServer {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl ToServer {
    /// `host` is what the certificate must be for: a name, or an IP address without brackets. With
    /// `ca_pem` only certificates by those authorities are believed, else those by public ones.
    /// `certificate` is shown to a server that asks for one.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn new(
        host: &str,
        ca_pem: Option<&str>,
        certificate: Option<&CertificateFiles>,
    ) -> Result<Self, String> {
        let name = server_name(host).map_err(|what| format!("{host:?} {what}"))?;
        let roots = match ca_pem {
            Some(pem) => authorities(pem)?,
            None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        };
        let certificate = certificate.map(CertificateFiles::read).transpose();
        let certificate = certificate.map_err(|fault| fault.to_string())?;
        Ok(Self { config: config(roots, certificate).map_err(|error| error.to_string())?, name })
    }

    /// Does one handshake. Bounded by nothing but the server: give it a deadline.
    ///
    /// # Errors
    /// Its certificate is not to be trusted, it speaks no TLS, or is gone.
    pub async fn connect(&self, socket: TcpStream) -> Result<Stream, String> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(self.name.clone(), socket).await;
        let stream = stream.map_err(|error| match inner(&error) {
            Some(rustls::Error::InvalidMessage(_)) => {
                "it speaks no TLS: say http:// in place of https://".to_owned()
            }
            Some(error @ rustls::Error::InvalidCertificate(why)) => match why {
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => {
                    format!("{error}; --server names it as its certificate does")
                }
                CertificateError::UnknownIssuer => {
                    format!("{error}; --ca FILE names the authority to believe")
                }
                other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                    "its certificate is an authority's own (CA:TRUE), which is none for a server"
                        .to_owned()
                }
                _ => error.to_string(),
            },
            Some(rustls::Error::AlertReceived(_)) => {
                told(&error).map_or_else(|| format!("TLS: {error}"), str::to_owned)
            }
            _ => format!("TLS: {error}"),
        })?;
        Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
    }
}

/// What an error, or what it comes from, says of the certificate that was shown or not. With TLS 1.3 a
/// server judges it behind the handshake, so the first read tells.
#[must_use]
pub fn told(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        let by_io = error.downcast_ref::<std::io::Error>().and_then(inner);
        match by_io.or_else(|| error.downcast_ref()) {
            Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => {
                return Some("it wants a client certificate: --certificate CERT:KEY");
            }
            Some(rustls::Error::AlertReceived(
                AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::DecryptError,
            )) => return Some("it does not trust the certificate of --certificate"),
            _ => next = error.source(),
        }
    }
    None
}

fn inner(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
