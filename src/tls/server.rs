//! The server's half of TLS: handshakes with clients.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;

use rustls::crypto::ring::Ticketer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::certificates::Certificates;
use super::{HTTP_1_1, HTTP_2, Stream, provider};
use crate::scheduling::{HANDSHAKE_STINT_MICROS, in_stints};

/// What a listener asks of its clients, and offers them.
#[derive(Debug, Default)]
pub struct Asks {
    /// HTTP/2 is offered, before HTTP/1.1.
    pub http_2: bool,
    /// A client needs a certificate by one of these, at each handshake anew: none of them is resumed.
    pub client_authorities: Option<RootCertStore>,
}

/// Does handshakes: TLS 1.2 and 1.3, with session tickets whose keys change every six hours where no
/// certificate is asked for.
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
    /// The system has no randomness to give for ticket keys, or there are no authorities.
    pub fn new(certificates: Arc<Certificates>, asks: Asks) -> Result<Self, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let asks_for_certificates = asks.client_authorities.is_some();
        let builder = match asks.client_authorities {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                let verifier = verifier.build();
                builder.with_client_cert_verifier(
                    verifier.map_err(|error| rustls::Error::General(error.to_string()))?,
                )
            }
        };
        let mut config = builder.with_cert_resolver(certificates);
        if asks_for_certificates {
            // A resumed session has the certificate of the first one, and nobody looks whether it has
            // ended since then.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        } else {
            config.ticketer = Ticketer::new()?;
        }
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        if asks.http_2 {
            config.alpn_protocols.insert(0, HTTP_2.to_vec());
        }
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Does one handshake. Bounded by nothing but the client: give it a deadline.
    ///
    /// # Errors
    /// The client speaks no TLS, none that is spoken here, or is gone. It was told by an alert.
    pub async fn accept(&self, socket: TcpStream) -> io::Result<Stream> {
        let mut handshake = pin!(self.0.accept(socket));
        // Its arithmetic takes a fraction of a millisecond, and hundreds may be in a row.
        let step = |context: &mut Context<'_>| {
            in_stints(HANDSHAKE_STINT_MICROS, || handshake.as_mut().poll(context))
        };
        let stream = poll_fn(step).await?;
        Ok(Stream::Tls(Box::new(TlsStream::Server(stream))))
    }
}
