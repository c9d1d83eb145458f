//! Listeners: accepts connections within a limit, does the handshake of TLS where that is spoken,
//! reads HTTP/1.1 or HTTP/2, and hands each request on.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use rustix::net::sockopt::{set_ipv6_v6only, set_tcp_user_timeout};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::held::Held;
use crate::keepalive::KeepAlive;
use crate::networks::Networks;
use crate::permits::{self, NoPlace, Permits, Room};
use crate::rewound::Rewound;
use crate::tls::Stream;
use crate::tls::server::Acceptor;

mod lobby;
mod open;
mod origin;
mod streams;
mod turns;

use lobby::Lobby;

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
    /// How long a client may take for the handshake of TLS, then to send a request's headers.
    pub header_timeout: Duration,
    /// How long a client may take no bytes of what is sent to it.
    pub write_stall_max: Duration,
    /// The most bytes of request line and headers.
    pub header_bytes_max: usize,
    /// The most header lines of a request.
    pub headers_max: usize,
    /// How long connections are kept.
    pub keep_alive: KeepAlive,
    /// Whose connections begin with a PROXY header.
    pub proxy_protocol_from: Networks,
}

/// A connection's place under the limit. It follows the socket wherever that goes.
pub type Permit = Arc<permits::Permit>;

/// Who is on the other end of an accepted socket.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address; of those behind a load balancer that says so, theirs.
    pub address: SocketAddr,
    /// Whether TLS is spoken with them.
    pub over_tls: bool,
    /// The place under the limit.
    pub permit: Permit,
    /// Why this request of theirs has none, beside others on the same connection.
    pub no_place: Option<NoPlace>,
}

/// Binds a listener. One on `[::]` leaves `0.0.0.0` to another, whatever the system's default is: RFC 3493
/// section 5.3.
///
/// # Errors
/// The address is in use or not ours.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts, with TLS if there is an acceptor for it, until `drain` turns true, then lets the requests
/// under way finish. Dropping it cuts them, and so does the end of a client's certificate.
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
    let mut lobby = Lobby::default();
    let mut is_full = false;
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &permits, &mut is_full) => accepted,
            Some(_) = connections.join_next() => continue,
            _ = drain.wait_for(|drain| *drain) => break,
        };
        let (socket, address, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_client(&error) => continue,
            Err(error) => {
                permits.say_short(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let has_room = match permits.admit(&socket) {
            Ok(Room::Own) => true,
            Ok(room) => {
                let somebody_goes = lobby.let_one_go();
                // Their descriptor is to be free for the next one.
                tokio::task::yield_now().await;
                somebody_goes || room == Room::Tight
            }
            Err(_) => false,
        };
        if !has_room {
            tracing::debug!(client = %address, "a client was turned away: descriptors run short");
            continue;
        }
        let arrived = Arrived { socket, address, permit };
        let (tls, permits, settings) = (tls.clone(), Arc::clone(&permits), settings.clone());
        let (mut drain, handler) = (drain.clone(), handler.clone());
        let (has_asked, asking) = Lobby::ticket();
        let handler = move |request, peer| {
            asking.store(true, Ordering::Relaxed);
            handler(request, peer)
        };
        let connection = connections.spawn(async move {
            let Some((stream, peer)) = secure(arrived, tls, &permits, &settings, &mut drain).await
            else {
                return;
            };
            let (client, certificate_left) = (peer.address, stream.certificate_left());
            let stream = Rewound::from(stream);
            let conversation = async {
                match stream.speaks_http_2() {
                    true => {
                        streams::converse(stream, peer, permits, settings, drain, handler).await
                    }
                    false => {
                        let held = Arc::clone(permits.held());
                        turns::converse(stream, (peer, 0), held, settings, drain, handler).await;
                    }
                }
            };
            if timeout(certificate_left.unwrap_or(Duration::MAX), conversation).await.is_err() {
                tracing::debug!(%client, "a client's certificate has ended");
            }
        });
        lobby.enter(has_asked, connection);
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
    /// How many requests it has brought before.
    pub requests: u32,
}

/// Serves what others have accepted, until nobody brings more and the requests under way have
/// finished; `drain` has them end after the next answer. Dropping it cuts them.
pub async fn serve_handed_over<H, F, B>(
    mut brought: mpsc::Receiver<HandedOver>,
    held: Arc<Held>,
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
        let HandedOver { socket, read, peer, requests } = tokio::select! {
            handed_over = brought.recv() => match handed_over {
                Some(handed_over) => handed_over,
                None => break,
            },
            Some(_) = connections.join_next() => continue,
        };
        match TcpStream::from_std(socket) {
            Ok(socket) => {
                let (settings, drain) = (settings.clone(), drain.clone());
                let (held, handler) = (Arc::clone(&held), handler.clone());
                connections.spawn(async move {
                    if is_prepared(&socket, peer.address, settings.write_stall_max) {
                        let stream = Rewound::new(Bytes::from(read), Stream::Plain(socket));
                        let peer = (peer, requests);
                        turns::converse(stream, peer, held, settings, drain, handler).await;
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

/// Others can be accepted all the same.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
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

fn is_prepared(socket: &TcpStream, client: SocketAddr, write_stall_max: Duration) -> bool {
    let prepared = prepare(socket, write_stall_max);
    if let Err(error) = &prepared {
        tracing::debug!(%client, %error, "the client was gone at once");
    }
    prepared.is_ok()
}

/// What was accepted, and nothing read from it.
struct Arrived {
    socket: TcpStream,
    address: SocketAddr,
    permit: permits::Permit,
}

/// Makes a connection fit to be served, and finds out whose it is; `None` if that failed, if they have
/// enough of them, or if nobody is to be served any more.
async fn secure(
    Arrived { socket, mut address, mut permit }: Arrived,
    tls: Option<Acceptor>,
    permits: &Permits,
    settings: &AcceptSettings,
    drain: &mut watch::Receiver<bool>,
) -> Option<(Stream, Peer)> {
    let client = address;
    if !is_prepared(&socket, client, settings.write_stall_max) {
        return None;
    }
    let over_tls = tls.is_some();
    let mut awaited = "PROXY header";
    let handshake = async {
        if settings.proxy_protocol_from.contain(client.ip()) {
            address = origin::read(&socket).await?.unwrap_or(client);
        }
        awaited = "taking a place";
        // Before the handshake of TLS there are no words for a refusal.
        let no_place = |why: NoPlace| io::Error::other(why.why());
        permits.seat(&mut permit, address.ip()).map_err(no_place)?;
        let Some(tls) = tls else { return Ok(Stream::Plain(socket)) };
        awaited = "TLS handshake";
        tls.accept(socket).await
    };
    let handshake = tokio::select! {
        handshake = timeout(settings.header_timeout, handshake) => handshake,
        _ = drain.wait_for(|drain| *drain) => return None,
    };
    match handshake {
        Ok(Ok(stream)) => {
            let permit = Arc::new(permit);
            return Some((stream, Peer { address, over_tls, permit, no_place: None }));
        }
        Ok(Err(error)) => tracing::debug!(%client, %error, "{awaited} failed"),
        Err(_) => tracing::debug!(%client, "{awaited} not finished in time"),
    }
    None
}
