//! The live feed: a WebSocket of flowgate's own, on which whoever watches is told each second what
//! goes on. A browser cannot send a header with a handshake, so it is opened by a ticket.
//!
//! All who watch are told the same. Nothing is measured while nobody does.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, body::Body};
use bytes::Bytes;
use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocketError, WebSocketRead, WebSocketWrite};
use http::StatusCode;
use http::header::{CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, watch};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::tokens::{AdminToken, TokensInUse};
use super::{Answer, At, Desk};
use crate::accept::Permit;
use crate::client::Client;
use crate::connect::upgrade::expected_accept;
use crate::journey::handshake;
use crate::json::{Asked, Private};
use crate::refusal::{OperatorRefusal, Refusal};
use crate::secret::Secret;

mod second;
mod tickets;

use tickets::LIFE;
pub(super) use tickets::Tickets;

/// Where tickets are given out.
pub(super) const TICKETS_PATH: &str = "/admin/v1/feed-tickets";
/// Feeds at once.
const FEEDS_MAX: u32 = 32;
/// Seconds that a reader may be behind.
const BEHIND_MAX: usize = 8;
/// How long a message may take to be written.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// Whoever watches has nothing to say.
const HEARD_BYTES_MAX: usize = 1024;
/// Pings that wait for their Pong.
const PONGS_MAX: usize = 4;

/// Everybody who watches, and who may begin to.
#[derive(Debug)]
pub struct Feeds {
    tickets: Tickets,
    places: Arc<Semaphore>,
    /// What is told; absent while nobody watches.
    seconds: Mutex<Option<broadcast::Sender<Bytes>>>,
    stop: watch::Sender<bool>,
}

impl Default for Feeds {
    fn default() -> Self {
        Self {
            tickets: Tickets::default(),
            places: Arc::new(Semaphore::new(FEEDS_MAX as usize)),
            seconds: Mutex::default(),
            stop: watch::Sender::new(false),
        }
    }
}

impl Feeds {
    /// Tells all who watch that it is over, and waits until they have been told.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        // Never given back: nobody begins to watch any more.
        if let Ok(all) = self.places.acquire_many(FEEDS_MAX).await {
            all.forget();
        }
    }

    /// Hears what is told from now on; the first to do so has it measured.
    fn listen(&self, desk: &Arc<Desk>) -> broadcast::Receiver<Bytes> {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = &*seconds {
            return told.subscribe();
        }
        let (told, heard) = broadcast::channel(BEHIND_MAX);
        *seconds = Some(told);
        tokio::spawn(second::tell(Arc::clone(desk)));
        heard
    }

    /// Tells everybody; returns whether there is anybody left.
    fn tell(&self, message: Bytes) -> bool {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let is_heard = seconds.as_ref().is_some_and(|told| told.send(message).is_ok());
        if !is_heard {
            *seconds = None;
        }
        is_heard
    }
}

/// What opens a feed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FeedTicket {
    /// For `GET /admin/v1/feed?ticket=…`, once.
    ticket: String,
    /// For how long.
    expires_in_seconds: u64,
}

/// Gives out a ticket that opens the live feed once, `GET /admin/v1/feed?ticket=…`, on this replica.
#[utoipa::path(post, path = "/admin/v1/feed-tickets", tag = "server",
    responses((status = 200, body = FeedTicket)), security(("admin_token" = ["read"])))]
pub(super) async fn issue(
    State(desk): At,
    Extension(token): Extension<AdminToken>,
    headers: HeaderMap,
) -> Answer<FeedTicket> {
    let ticket = desk.feeds.tickets.issue(token, &headers, desk.clock().now())?;
    let ticket = ticket.expose().to_owned();
    let expires_in_seconds = LIFE.0 / 1000;
    Ok(Private(StatusCode::OK, FeedTicket { ticket, expires_in_seconds }))
}

/// `/admin/v1/feed`, which asks for a ticket instead of a token.
pub(super) fn router() -> Router<Arc<Desk>> {
    Router::new().route("/admin/v1/feed", get(open))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedQuery {
    ticket: Option<String>,
}

async fn open(
    State(desk): At,
    Asked(query): Asked<FeedQuery>,
    Extension(client): Extension<Client>,
    permit: Option<Extension<Permit>>,
    request: Request,
) -> Result<Response, Refusal> {
    const NO_TICKET: Refusal = Refusal::Operator(OperatorRefusal::Ticket);
    let (mut parts, _) = request.into_parts();
    let ticket = query.ticket.map(Secret::new).ok_or(NO_TICKET)?;
    let token = desk.feeds.tickets.take(&ticket, &parts.headers, desk.clock().now())?;
    if !desk.tokens.has(&token) {
        return Err(NO_TICKET);
    }
    // What a body is here would be taken for frames.
    let has_body = ["content-length", "transfer-encoding"];
    let has_body = has_body.iter().any(|name| parts.headers.contains_key(*name));
    handshake::check(&parts, has_body)?;
    if !handshake::is_upgrade(&parts) {
        return Err(Refusal::BadHandshake("A feed needs \"Upgrade: websocket\"."));
    }
    let place = Arc::clone(&desk.feeds.places).try_acquire_owned();
    let place = place.map_err(|_| Refusal::Overloaded("32 live feeds are open"))?;
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let upgrade = upgrade.ok_or(Refusal::BadHandshake("No upgrade is possible."))?;
    tracing::info!(by = token.name, request_id = %client.request_id, "an operator watches");
    let watching = Watching {
        heard: desk.feeds.listen(&desk),
        stop: desk.feeds.stop.subscribe(),
        tokens: Arc::clone(&desk.tokens),
        token,
        _held: (place, permit.map(|Extension(permit)| permit)),
    };
    tokio::spawn(async move {
        match timeout(WRITE_MAX, upgrade).await {
            Ok(Ok(upgraded)) => watching.serve(upgraded).await,
            _ => tracing::debug!("whoever wanted to watch was gone at once"),
        }
    });
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, Body::empty()).into_response();
    let accept = HeaderValue::from_str(&expected_accept(&parts.headers));
    let accept = accept.map_err(|_| Refusal::Overloaded("an Accept that is no header"))?;
    for (name, value) in [
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ] {
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

type Io = TokioIo<Upgraded>;

/// One of those who watch.
struct Watching {
    heard: broadcast::Receiver<Bytes>,
    stop: watch::Receiver<bool>,
    /// Among these it must be as long as it is served.
    tokens: Arc<TokensInUse>,
    token: AdminToken,
    /// Its place among the feeds, and its connection's under the listener's limit.
    _held: (OwnedSemaphorePermit, Option<Permit>),
}

/// Why a feed ends, as its Close frame says it.
type Ending = (u16, &'static str);

const STOPPING: Ending = (1001, "flowgate stops");
const REMOVED: Ending = (1008, "the token was removed or changed");
const SLOW: Ending = (1008, "too slow");
const TALKS: Ending = (1008, "nothing is to be sent here");
const DONE: Ending = (1000, "");

impl Watching {
    async fn serve(mut self, upgraded: Upgraded) {
        let (read, write) = tokio::io::split(TokioIo::new(upgraded));
        let (reader, mut writer) = fastwebsockets::after_handshake_split(read, write, Role::Server);
        let (pongs, mut pings) = mpsc::channel(PONGS_MAX);
        // One future to the end: reading a frame must not be begun anew.
        let mut hearing = pin!(hear(reader, pongs));
        let mut removed = pin!(self.tokens.without(&self.token));
        let ended = loop {
            let frame = tokio::select! {
                ended = &mut hearing => break ended,
                () = &mut removed => break Some(REMOVED),
                heard = self.heard.recv() => match heard {
                    Ok(message) => Frame::text(Payload::Owned(message.to_vec())),
                    Err(RecvError::Lagged(_)) => break Some(SLOW),
                    Err(RecvError::Closed) => break Some(STOPPING),
                },
                Some(ping) = pings.recv() => Frame::pong(Payload::Owned(ping)),
                _ = self.stop.wait_for(|stop| *stop) => break Some(STOPPING),
            };
            if write_frame(&mut writer, frame).await.is_none() {
                break None;
            }
        };
        if let Some((code, reason)) = ended {
            let _ = write_frame(&mut writer, Frame::close(code, reason.as_bytes())).await;
        }
        // Gone without a word: RFC 6455 section 7.1.5.
        let code = ended.map_or(1006, |(code, _)| code);
        tracing::debug!(by = self.token.name, code, "an operator watches no more");
    }
}

async fn write_frame(writer: &mut WebSocketWrite<WriteHalf<Io>>, frame: Frame<'_>) -> Option<()> {
    timeout(WRITE_MAX, writer.write_frame(frame)).await.ok()?.ok()
}

/// Reads until the other side closes or says something; `None` if it is gone.
async fn hear(
    mut reader: WebSocketRead<ReadHalf<Io>>,
    pongs: mpsc::Sender<Vec<u8>>,
) -> Option<Ending> {
    reader.set_auto_close(false);
    reader.set_auto_pong(false);
    reader.set_max_message_size(HEARD_BYTES_MAX);
    loop {
        let mut nothing_to_send = |_: Frame<'_>| async { Ok::<(), Infallible>(()) };
        match reader.read_frame(&mut nothing_to_send).await {
            Ok(frame) if frame.opcode == OpCode::Close => return Some(DONE),
            // Whoever sends more at once than is answered misses some of the answers.
            Ok(frame) if frame.opcode == OpCode::Ping => {
                let _ = pongs.try_send(frame.payload.to_vec());
            }
            Ok(frame) if frame.opcode == OpCode::Pong => {}
            Ok(_) => return Some(TALKS),
            Err(WebSocketError::FrameTooLarge) => return Some(TALKS),
            Err(_) => return None,
        }
    }
}
