//! Connections that speak HTTP/1.1: one request after the other.

use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::open::{Open, Watched};
use super::{AcceptSettings, Peer};
use crate::held::Held;
use crate::rewound::Rewound;

/// What hyper allows by itself, without taking memory for it.
const HEADERS_MAX: usize = 100;

/// Serves the requests of one connection, which has brought some elsewhere `before`.
pub(super) async fn converse<H, F, B>(
    stream: Rewound,
    (peer, before): (Peer, u32),
    held: Arc<Held>,
    settings: AcceptSettings,
    mut drain: watch::Receiver<bool>,
    handler: H,
) where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let client = peer.address;
    let open = Arc::new(Open::new(settings.keep_alive, before, held));
    let watched = Arc::clone(&open);
    let service = service_fn(move |request| {
        let place = Open::enter(&watched, None);
        let answer = handler(request, peer.clone());
        async move {
            let mut response = answer.await;
            if place.is_last() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(Watched::response(response, place))
        }
    });
    let mut builder = http1::Builder::new();
    if settings.headers_max != HEADERS_MAX {
        builder.max_headers(settings.headers_max);
    }
    let mut connection = pin!(
        builder
            .timer(TokioTimer::new())
            // It counts from the last answer. The first request has its own time, below.
            .header_read_timeout(settings.header_timeout.max(settings.keep_alive.idle_max))
            .max_buf_size(settings.header_bytes_max)
            .preserve_header_case(true)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    // Nobody tells when a request has ended, from when on the time runs.
    let look_within = settings.header_timeout.min(settings.keep_alive.idle_max);
    let mut is_ending = false;
    let end = loop {
        let left = open.may_be_idle_for(settings.header_timeout);
        let look_at = Instant::now() + left.min(look_within);
        tokio::select! {
            // A request that was handed over is taken up even now.
            biased;
            end = &mut connection => break end,
            _ = drain.wait_for(|drain| *drain), if !is_ending => {
                connection.as_mut().graceful_shutdown();
                is_ending = true;
            }
            () = sleep_until(look_at), if !is_ending => {
                if !open.may_be_idle_for(settings.header_timeout).is_zero() {
                    continue;
                }
                if !open.was_used() {
                    tracing::debug!(%client, "no request came in time");
                    return;
                }
                connection.as_mut().graceful_shutdown();
                is_ending = true;
            }
        }
    };
    if let Err(error) = end {
        tracing::debug!(%client, %error, "a client's connection failed");
    }
}
