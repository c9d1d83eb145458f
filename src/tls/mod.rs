//! TLS (rustls with ring): certificates for clients, trust in runtimes, and the stream that both
//! planes hand around.
//!
//! Deliberately absent: a way to accept a runtime's certificate unverified, 0-RTT, renegotiation,
//! client certificates of anybody but operators.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::Connection as Session;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

pub mod certificates;
pub mod operators;
pub mod runtimes;
pub mod server;

/// What is negotiated by ALPN (RFC 7301), on any leg.
const HTTP_1_1: &[u8] = b"http/1.1";
/// Offered to clients of the data plane alone.
const HTTP_2: &[u8] = b"h2";

/// The one source of cryptography.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A connection on the handshake plane.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS, either end of it.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether both sides have agreed on HTTP/2.
    #[must_use]
    pub fn speaks_http_2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(HTTP_2),
        }
    }

    /// How much longer the certificate is valid that the other side has shown; `None` without one.
    #[must_use]
    pub fn certificate_left(&self) -> Option<Duration> {
        let Self::Tls(stream) = self else { return None };
        let end = certificates::end_of(stream.get_ref().1.peer_certificates()?.first()?);
        Some(end.saturating_sub(Duration::from_secs(UnixTime::now().as_secs())))
    }

    /// Takes the socket from tokio, with its TLS session. What the session has read and opened is
    /// still in it.
    ///
    /// # Errors
    /// tokio does not let the socket go.
    pub fn into_parts(self) -> io::Result<(std::net::TcpStream, Option<Box<Session>>)> {
        let (socket, session) = match self {
            Self::Plain(socket) => (socket, None),
            Self::Tls(stream) => match *stream {
                TlsStream::Client(stream) => {
                    let (socket, session) = stream.into_inner();
                    (socket, Some(Box::new(Session::Client(session))))
                }
                TlsStream::Server(stream) => {
                    let (socket, session) = stream.into_inner();
                    (socket, Some(Box::new(Session::Server(session))))
                }
            },
        };
        Ok((socket.into_std()?, session))
    }

    fn inner(self: Pin<&mut Self>) -> Inner<'_> {
        match self.get_mut() {
            Self::Plain(socket) => Inner::Plain(Pin::new(socket)),
            Self::Tls(stream) => Inner::Tls(Pin::new(&mut **stream)),
        }
    }
}

enum Inner<'a> {
    Plain(Pin<&'a mut TcpStream>),
    Tls(Pin<&'a mut TlsStream<TcpStream>>),
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(socket) => socket.as_fd(),
            Self::Tls(stream) => stream.get_ref().0.as_fd(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.inner() {
            Inner::Plain(socket) => socket.poll_read(context, bytes),
            Inner::Tls(stream) => stream.poll_read(context, bytes),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.inner() {
            Inner::Plain(socket) => socket.poll_write(context, bytes),
            Inner::Tls(stream) => stream.poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.inner() {
            Inner::Plain(socket) => socket.poll_write_vectored(context, pieces),
            Inner::Tls(stream) => stream.poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.inner() {
            Inner::Plain(socket) => socket.poll_flush(context),
            Inner::Tls(stream) => stream.poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.inner() {
            Inner::Plain(socket) => socket.poll_shutdown(context),
            Inner::Tls(stream) => stream.poll_shutdown(context),
        }
    }
}
