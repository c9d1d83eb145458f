//! Connections that speak HTTP/2 (RFC 9113): many requests at once, each as if it had come by
//! HTTP/1.1.
//!
//! Deliberately absent: WebSocket on a stream (RFC 8441), server push, priorities. A client that is
//! not offered the first opens a connection of its own for it, which speaks HTTP/1.1.

use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{COOKIE, HOST, HeaderMap, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::open::{ANSWER_BYTES_MAX, Open, Watched};
use super::{AcceptSettings, Peer};
use crate::permits::Permits;
use crate::rewound::Rewound;

/// Requests of one connection at once.
const STREAMS_MAX: u32 = 100;
/// What a client may send of one body, and of all, before it is taken.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Requests that were taken back before anybody saw them.
const TAKEN_BACK_MAX: usize = 20;
/// A client that is silent for this long, with requests open, has to answer a PING within the next.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_MAX: Duration = Duration::from_secs(20);

/// Serves the requests of one connection.
pub(super) async fn converse<H, F, B>(
    stream: Rewound,
    peer: Peer,
    permits: Arc<Permits>,
    settings: AcceptSettings,
    mut drain: watch::Receiver<bool>,
    handler: H,
) where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let client = peer.address;
    let open = Arc::new(Open::new(settings.keep_alive, 0, Arc::clone(permits.held())));
    let watched = Arc::clone(&open);
    let service = service_fn(move |request| {
        let peer = seated(&peer, &permits);
        let place = Open::enter(&watched, Some(Arc::clone(&peer.permit)));
        let answer = handler(as_http_1(request), peer);
        async move {
            let response = answer.await;
            Ok::<_, std::convert::Infallible>(Watched::response(response, place))
        }
    });
    let header_bytes_max = u32::try_from(settings.header_bytes_max).unwrap_or(u32::MAX);
    let mut connection = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(header_bytes_max)
            .max_pending_accept_reset_streams(TAKEN_BACK_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(ANSWER_BYTES_MAX)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    let shortest = settings.header_timeout.min(settings.keep_alive.idle_max);
    let look_every = shortest.min(settings.write_stall_max) / 2;
    let mut ending_since = None;
    let end = loop {
        let look_at = Instant::now() + look_every;
        tokio::select! {
            end = &mut connection => break end,
            () = open.overrun() => {
                tracing::debug!(%client, "closed: too many requests were taken back");
                return;
            }
            _ = drain.wait_for(|drain| *drain), if ending_since.is_none() => {
                connection.as_mut().graceful_shutdown();
                ending_since = Some(Instant::now());
            }
            () = open.spent(), if ending_since.is_none() => {
                connection.as_mut().graceful_shutdown();
                ending_since = Some(Instant::now());
            }
            () = sleep_until(look_at) => {
                let now = Instant::now();
                if open.stalled_for(now) >= settings.write_stall_max {
                    tracing::debug!(%client, "closed: the client takes nothing of an answer");
                    return;
                }
                let is_idle = open.may_be_idle_for(settings.header_timeout).is_zero();
                match ending_since {
                    None if is_idle => {
                        connection.as_mut().graceful_shutdown();
                        ending_since = Some(now);
                    }
                    // It was told to go, and has had time to take the end of the last answer.
                    Some(since) if is_idle && now - since >= settings.write_stall_max => return,
                    // It has not even said that it speaks HTTP/2, or never asked for anything.
                    Some(_) if is_idle && !open.was_used() => return,
                    _ => {}
                }
            }
        }
    };
    if let Err(error) = end {
        tracing::debug!(%client, %error, "a client's connection failed");
    }
}

/// The client with a place for one request more: the connection's own, while no other request has it,
/// as each may need a connection to a runtime.
fn seated(peer: &Peer, permits: &Permits) -> Peer {
    let mut peer = peer.clone();
    // The connection's, and this one.
    if Arc::strong_count(&peer.permit) > 2 {
        match permits.take_beside(peer.address.ip()) {
            Ok(permit) => peer.permit = Arc::new(permit),
            Err(why) => peer.no_place = Some(why),
        }
    }
    peer
}

/// The request as a client with HTTP/1.1 would have sent it: its authority as Host (RFC 9113 section
/// 8.3.1), its cookies in one header (section 8.2.3).
fn as_http_1<T>(mut request: Request<T>) -> Request<T> {
    *request.version_mut() = Version::HTTP_11;
    let authority = request.uri().authority().map(|it| HeaderValue::from_str(it.as_str()));
    let headers = request.headers_mut();
    if let Some(Ok(authority)) = authority
        && !headers.contains_key(HOST)
    {
        headers.insert(HOST, authority);
    }
    join_cookies(headers);
    request
}

fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests;
