//! Listeners: accepts connections within a limit, does the handshake of TLS where that is spoken,
//! reads HTTP/1.1, and hands each request on.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::permits::{self, Permits};
use crate::rewound::Rewound;
use crate::tls::Stream;
use crate::tls::server::Acceptor;

const BACKLOG: u32 = 4096;
/// Wait after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener allows.
#[derive(Clone, Debug)]
pub struct AcceptSettings {
    /// Sockets at once on all data listeners together, relayed connections included.
    pub connections_max: usize,
    /// Of them, so many of one address; 0 for no limit.
    pub connections_per_address_max: usize,
    /// How long a client may take for the handshake of TLS, then to send a request's headers, and how
    /// long a kept-alive connection may wait for its next request.
    pub header_timeout: Duration,
    /// How long a client may take no bytes of what is sent to it.
    pub write_stall_max: Duration,
    /// The most bytes of request line and headers.
    pub header_bytes_max: usize,
}

/// A connection's place under the limit. It follows the socket wherever that goes.
pub type Permit = Arc<permits::Permit>;

/// Who is on the other end of an accepted socket.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address.
    pub address: SocketAddr,
    /// Whether TLS is spoken with them.
    pub over_tls: bool,
    /// The place under the limit.
    pub permit: Permit,
}

/// Binds a listener.
///
/// # Errors
/// The address is in use or not ours.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts, with TLS if there is an acceptor for it, until `drain` turns true, then lets the requests under way finish. Dropping it cuts them.
pub async fn serve<H, F, B>(
    listener: TcpListener,
    tls: Option<Acceptor>,
    settings: AcceptSettings,
    permits: Arc<Permits>,
    mut drain: watch::Receiver<bool>,
    handler: H,
) where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut is_full = false;
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &permits, &mut is_full) => accepted,
            Some(_) = connections.join_next() => continue,
            _ = drain.wait_for(|drain| *drain) => break,
        };
        let (socket, address, mut permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                permits.say_short(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Before the handshake of TLS there are no words for a refusal.
        if let Err(why) = permits.seat(&mut permit, address.ip(), &socket) {
            tracing::debug!(client = %address, ?why, "a client was turned away");
            continue;
        }
        let peer = Peer { address, over_tls: tls.is_some(), permit: Arc::new(permit) };
        let (tls, settings) = (tls.clone(), settings.clone());
        let (mut drain, handler) = (drain.clone(), handler.clone());
        connections.spawn(async move {
            if let Some(stream) = secure(socket, &peer, tls, &settings, &mut drain).await {
                converse(Rewound::from(stream), peer, settings, drain, handler).await;
            }
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// A connection that somebody else has accepted and read from.
#[derive(Debug)]
pub struct HandedOver {
    /// Its socket, non-blocking.
    pub socket: std::net::TcpStream,
    /// What was read from it; nothing was answered.
    pub read: Vec<u8>,
    /// Its peer.
    pub peer: Peer,
}

/// Serves what others have accepted, until nobody brings more and the requests under way have
/// finished; `drain` has them end after the next answer. Dropping it cuts them.
pub async fn serve_handed_over<H, F, B>(
    mut brought: mpsc::Receiver<HandedOver>,
    settings: AcceptSettings,
    drain: watch::Receiver<bool>,
    handler: H,
) where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let HandedOver { socket, read, peer } = tokio::select! {
            handed_over = brought.recv() => match handed_over {
                Some(handed_over) => handed_over,
                None => break,
            },
            Some(_) = connections.join_next() => continue,
        };
        match TcpStream::from_std(socket) {
            Ok(socket) => {
                let (settings, mut drain) = (settings.clone(), drain.clone());
                let handler = handler.clone();
                connections.spawn(async move {
                    let stream = secure(socket, &peer, None, &settings, &mut drain).await;
                    if let Some(stream) = stream {
                        let stream = Rewound::new(Bytes::from(read), stream);
                        converse(stream, peer, settings, drain, handler).await;
                    }
                });
            }
            Err(error) => tracing::error!(%error, "a connection could not be taken over"),
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Takes a place first, then a connection; without a place the kernel's queue holds the clients.
/// Cancel safe.
async fn accept(
    listener: &TcpListener,
    permits: &Permits,
    is_full: &mut bool,
) -> io::Result<(TcpStream, SocketAddr, permits::Permit)> {
    if permits.available() > 0 {
        *is_full = false;
    } else if !std::mem::replace(is_full, true) {
        tracing::warn!("connections_max is reached: new connections wait");
    }
    let permit = permits.take().await?;
    let (socket, address) = listener.accept().await?;
    Ok((socket, address, permit))
}

/// hyper waits for ever for a client that never reads; the kernel does not (RFC 5482). The relay has
/// the same patience and tells the runtime why, so it must be the first to lose it.
fn prepare(socket: &TcpStream, write_stall_max: Duration) -> io::Result<()> {
    const RELAY_FIRST: Duration = Duration::from_secs(5);
    socket.set_nodelay(true)?;
    let patience_ms = (write_stall_max + RELAY_FIRST).as_millis();
    set_tcp_user_timeout(socket, u32::try_from(patience_ms).unwrap_or(u32::MAX))?;
    Ok(())
}

/// Makes a connection fit to be served; `None` if that failed, or if nobody is to be served any more.
async fn secure(
    socket: TcpStream,
    peer: &Peer,
    tls: Option<Acceptor>,
    settings: &AcceptSettings,
    drain: &mut watch::Receiver<bool>,
) -> Option<Stream> {
    let client = peer.address;
    if let Err(error) = prepare(&socket, settings.write_stall_max) {
        tracing::debug!(%client, %error, "the client was gone at once");
        return None;
    }
    let Some(tls) = tls else { return Some(Stream::Plain(socket)) };
    let handshake = tokio::select! {
        handshake = timeout(settings.header_timeout, tls.accept(socket)) => handshake,
        _ = drain.wait_for(|drain| *drain) => return None,
    };
    match handshake {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(%client, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%client, "TLS handshake not finished in time"),
    }
    None
}

/// Serves the requests of one connection.
async fn converse<H, F, B>(
    stream: Rewound,
    peer: Peer,
    settings: AcceptSettings,
    mut drain: watch::Receiver<bool>,
    handler: H,
) where
    H: Fn(Request<Incoming>, Peer) -> F + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let client = peer.address;
    let service = service_fn(move |request| {
        let answer = handler(request, peer.clone());
        async { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(settings.header_timeout)
            .max_buf_size(settings.header_bytes_max)
            .preserve_header_case(true)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let drained = async { drain.wait_for(|drain| *drain).await.map(|_| ()) };
    let ended = tokio::select! {
        // A request that was handed over is taken up even now.
        biased;
        end = &mut connection => Some(end),
        _ = drained => None,
    };
    let end = match ended {
        Some(end) => end,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = end {
        tracing::debug!(%client, %error, "a client's connection failed");
    }
}
