//! The server's half of TLS: handshakes with clients.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::certificates::Certificates;
use super::{HTTP_1_1, Stream, provider};

/// Does handshakes: TLS 1.2 and 1.3, with session tickets whose keys change every six hours.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Acceptor {
    /// One that presents these certificates, as they are at the time of each handshake.
    ///
    /// # Errors
    /// The system has no randomness to give for ticket keys.
    pub fn new(certificates: Arc<Certificates>) -> Result<Self, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificates);
        config.ticketer = Ticketer::new()?;
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Does one handshake. Bounded by nothing but the client: give it a deadline.
    ///
    /// # Errors
    /// The client speaks no TLS, none that is spoken here, or is gone. It was told by an alert.
    pub async fn accept(&self, socket: TcpStream) -> io::Result<Stream> {
        let stream = self.0.accept(socket).await?;
        Ok(Stream::Tls(Box::new(TlsStream::Server(stream))))
    }
}
