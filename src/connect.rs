//! The way to a runtime: names to addresses, dialling, and the upstream half of a handshake.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::{OnUpgrade, Parts, Upgraded};
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::clock::{Clock, Millis};
use crate::refusal::Refusal;
use crate::tenant::Instance;

/// How long a name's addresses are believed.
const NAMES_FRESH_FOR: Duration = Duration::from_secs(10);
/// How long it is believed that a name has none.
const NAMES_FAILED_FOR: Duration = Duration::from_secs(1);
const NAMES_MAX: usize = 4096;
const ADDRESSES_PER_NAME_MAX: usize = 8;

/// How long a runtime may take.
#[derive(Clone, Copy, Debug)]
pub struct ConnectSettings {
    /// To accept a TCP connection.
    pub connect_timeout: Duration,
    /// To answer a handshake. Node-RED leaves an upgrade to an unknown path without an answer.
    pub handshake_timeout: Duration,
    /// The most header bytes of an answer.
    pub header_bytes_max: usize,
}

/// Dials runtimes.
#[derive(Debug)]
pub struct Dialer {
    settings: ConnectSettings,
    clock: Clock,
    names: Mutex<HashMap<String, Name>>,
}

/// What was found of a name last, and until when that is believed.
type Known = Option<(Millis, Result<Vec<IpAddr>, String>)>;
/// Locked while it is looked up: many handshakes ask once.
type Name = Arc<tokio::sync::Mutex<Known>>;

/// What a runtime answered to a handshake.
#[derive(Debug)]
pub enum Answer {
    /// It switches protocols; the Accept was checked.
    Switched {
        /// The response to pass on.
        response: Response<()>,
        /// The upgraded connection, complete.
        upgraded: Upgraded,
    },
    /// Anything else: passed on as HTTP, after which the connection closes.
    Declined(Response<Incoming>),
}

impl Dialer {
    /// A dialer with an empty name cache.
    #[must_use]
    pub fn new(settings: ConnectSettings, clock: Clock) -> Self {
        Self { settings, clock, names: Mutex::default() }
    }

    /// Sends a handshake to a runtime and waits for the answer. Cancel safe: dropping it closes the
    /// connection.
    ///
    /// # Errors
    /// Unreachable, timed out, or an answer that is no HTTP or no right handshake.
    pub async fn handshake(
        &self,
        instance: &Instance,
        request: Request<Empty<Bytes>>,
    ) -> Result<Answer, Refusal> {
        let socket = self.dial(instance).await?;
        let exchange = self.exchange(socket, request);
        match timeout(self.settings.handshake_timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(Refusal::RuntimeTimedOut("no answer to the handshake")),
        }
    }

    async fn dial(&self, instance: &Instance) -> Result<TcpStream, Refusal> {
        let attempt = async {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in self.addresses(instance).await? {
                match TcpStream::connect(address).await {
                    Ok(socket) => {
                        socket.set_nodelay(true)?;
                        return Ok(socket);
                    }
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        match timeout(self.settings.connect_timeout, attempt).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(error)) => Err(Refusal::RuntimeUnreachable(format!("{instance}: {error}"))),
            Err(_) => Err(Refusal::RuntimeTimedOut("the runtime did not accept the connection")),
        }
    }

    async fn addresses(&self, instance: &Instance) -> io::Result<Vec<SocketAddr>> {
        let to_socket = |ip: &IpAddr| SocketAddr::new(*ip, instance.port);
        if let Ok(ip) = instance.host.parse() {
            return Ok(vec![to_socket(&ip)]);
        }
        let mut known = self.name(&instance.host).lock_owned().await;
        if let Some((until, found)) = &*known
            && self.clock.now() < *until
        {
            let ips = found.as_ref().map_err(|why| io::Error::other(why.clone()))?;
            return Ok(ips.iter().map(to_socket).collect());
        }
        // In a task of its own: a handshake that gives up leaves the name locked until the answer is
        // there, so that a name which hangs takes one thread and not all.
        let (host, clock) = (instance.host.clone(), self.clock);
        let look_up = tokio::spawn(async move {
            let found = tokio::net::lookup_host((host, 0)).await;
            let found = found.map_err(|error| error.to_string()).map(|found| {
                found.map(|found| found.ip()).take(ADDRESSES_PER_NAME_MAX).collect::<Vec<_>>()
            });
            let fresh_for = if found.is_ok() { NAMES_FRESH_FOR } else { NAMES_FAILED_FOR };
            *known = Some((clock.now().plus(fresh_for), found.clone()));
            found
        });
        let ips = look_up.await?.map_err(io::Error::other)?;
        Ok(ips.iter().map(to_socket).collect())
    }

    fn name(&self, host: &str) -> Name {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get(host) {
            return Arc::clone(name);
        }
        if names.len() >= NAMES_MAX {
            let now = self.clock.now();
            let is_fresh = |known: &Known| known.as_ref().is_some_and(|(until, _)| now < *until);
            names.retain(|_, name| name.try_lock().map_or(true, |known| is_fresh(&known)));
        }
        let name = Name::default();
        if names.len() < NAMES_MAX {
            names.insert(host.to_owned(), Arc::clone(&name));
        }
        name
    }

    async fn exchange(
        &self,
        socket: TcpStream,
        request: Request<Empty<Bytes>>,
    ) -> Result<Answer, Refusal> {
        let broke = |error: hyper::Error| Refusal::RuntimeBroke(error.to_string());
        let accept = expected_accept(request.headers());
        let (mut sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .title_case_headers(true)
            .max_buf_size(self.settings.header_bytes_max)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(broke)?;
        let driver = AbortOnDrop(Some(tokio::spawn(connection.with_upgrades())));
        let mut response = sender.send_request(request).await.map_err(broke)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            driver.let_go();
            return Ok(Answer::Declined(response));
        }
        // RFC 6455 section 4.1: both have to be right.
        let upgrade = response.headers().get(UPGRADE);
        if upgrade.is_none_or(|upgrade| !upgrade.as_bytes().eq_ignore_ascii_case(b"websocket")) {
            return Err(Refusal::RuntimeBroke("it switched to another protocol".into()));
        }
        let given = response.headers().get(SEC_WEBSOCKET_ACCEPT);
        if given.is_none_or(|given| given.as_bytes() != accept.as_bytes()) {
            return Err(Refusal::RuntimeBroke("wrong Sec-WebSocket-Accept".into()));
        }
        let upgraded = hyper::upgrade::on(&mut response).await.map_err(broke)?;
        Ok(Answer::Switched { response: response.map(|_| ()), upgraded })
    }
}

/// RFC 6455 section 4.2.2.
fn expected_accept(headers: &HeaderMap) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let mut sha1 = Sha1::new();
    sha1.update(headers.get(SEC_WEBSOCKET_KEY).map_or(&[][..], |key| key.as_bytes()));
    sha1.update(GUID);
    BASE64_STANDARD.encode(sha1.finalize())
}

/// Ends the task that drives a connection, unless it was let go.
struct AbortOnDrop(Option<JoinHandle<Result<(), hyper::Error>>>);

impl AbortOnDrop {
    fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// A socket that has left hyper and tokio, and what was read behind the handshake.
#[derive(Debug)]
pub struct Detached {
    /// Non-blocking.
    pub socket: std::net::TcpStream,
    /// The first bytes of the new protocol.
    pub read_ahead: Vec<u8>,
}

/// Takes the socket out of an upgraded connection.
///
/// # Errors
/// The connection ended before it was upgraded, or is none of ours.
pub async fn detach(upgrade: OnUpgrade) -> io::Result<Detached> {
    detach_now(upgrade.await.map_err(io::Error::other)?)
}

/// Takes the socket out of an upgraded connection.
///
/// # Errors
/// It is none of ours.
pub fn detach_now(upgraded: Upgraded) -> io::Result<Detached> {
    let Parts { io, read_buf, .. } = upgraded
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_| io::Error::other("not a TCP socket"))?;
    Ok(Detached { socket: io.into_inner().into_std()?, read_ahead: read_buf.to_vec() })
}

#[cfg(test)]
mod tests;
