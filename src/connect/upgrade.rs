//! The upstream half of a WebSocket handshake, and how its socket leaves hyper.

use std::io;

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
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Dialer;
use crate::metrics::{Phase, Stopwatch};
use crate::refusal::Refusal;
use crate::rewound::Rewound;
use crate::tenant::Instance;
use crate::tls::Stream;

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
    /// Sends a handshake to a runtime and waits for the answer; `watch` is told where the time goes.
    /// Cancel safe: dropping it closes the connection.
    ///
    /// # Errors
    /// Unreachable, timed out, or an answer that is no HTTP or no right handshake.
    pub async fn handshake(
        &self,
        instance: &Instance,
        request: Request<Empty<Bytes>>,
        watch: &mut Stopwatch,
    ) -> Result<Answer, Refusal> {
        let socket = self.dial(instance, watch).await?;
        watch.pass(Phase::Connect, self.clock.micros());
        self.switch_in_time(socket, request, watch).await
    }

    pub(super) async fn switch_in_time(
        &self,
        socket: Stream,
        request: Request<Empty<Bytes>>,
        watch: &mut Stopwatch,
    ) -> Result<Answer, Refusal> {
        let exchange = self.switch(socket, request);
        let answer = timeout(self.settings.handshake_timeout, exchange).await;
        watch.pass(Phase::Upstream, self.clock.micros());
        match answer {
            Ok(answer) => answer,
            Err(_) => Err(Refusal::RuntimeTimedOut("no answer to the handshake")),
        }
    }

    async fn switch(
        &self,
        socket: Stream,
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
        check_switch(response.headers(), &accept)?;
        let upgraded = hyper::upgrade::on(&mut response).await.map_err(broke)?;
        Ok(Answer::Switched { response: response.map(|_| ()), upgraded })
    }
}

/// Whether a 101 is the one that was asked for: both headers have to be right (RFC 6455 section 4.1).
///
/// # Errors
/// It is not.
pub fn check_switch(headers: &HeaderMap, accept: &str) -> Result<(), Refusal> {
    let upgrade = headers.get(UPGRADE);
    if upgrade.is_none_or(|upgrade| !upgrade.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        return Err(Refusal::RuntimeBroke("it switched to another protocol".into()));
    }
    let given = headers.get(SEC_WEBSOCKET_ACCEPT);
    if given.is_none_or(|given| given.as_bytes() != accept.as_bytes()) {
        return Err(Refusal::RuntimeBroke("wrong Sec-WebSocket-Accept".into()));
    }
    Ok(())
}

/// The `Sec-WebSocket-Accept` that answers a request's key (RFC 6455 section 4.2.2).
#[must_use]
pub fn expected_accept(headers: &HeaderMap) -> String {
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
    /// What is spoken on it, if it is TLS. It may have read and opened bytes already.
    pub session: Option<Box<rustls::Connection>>,
    /// The first bytes of the new protocol.
    pub read_ahead: Vec<u8>,
}

/// Takes a client's socket out of an upgraded connection.
///
/// # Errors
/// The connection ended before it was upgraded, or is none of ours.
pub async fn detach(upgrade: OnUpgrade) -> io::Result<Detached> {
    let upgraded = upgrade.await.map_err(io::Error::other)?;
    let Parts { io, read_buf, .. } = upgraded
        .downcast::<TokioIo<Rewound>>()
        .map_err(|_| io::Error::other("not a client's socket"))?;
    let (before, stream) = io.into_inner().into_parts();
    let (socket, session) = stream.into_parts()?;
    Ok(Detached { socket, session, read_ahead: [read_buf, before].concat() })
}

/// Takes a runtime's socket out of an upgraded connection.
///
/// # Errors
/// It is none of ours.
pub fn detach_now(upgraded: Upgraded) -> io::Result<Detached> {
    let Parts { io, read_buf, .. } = upgraded
        .downcast::<TokioIo<Stream>>()
        .map_err(|_| io::Error::other("not a socket of ours"))?;
    let (socket, session) = io.into_inner().into_parts()?;
    Ok(Detached { socket, session, read_ahead: read_buf.to_vec() })
}

#[cfg(test)]
mod tests;
