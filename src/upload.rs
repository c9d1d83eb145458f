//! A request's body on its way to a runtime: streamed, bounded, and without identity in its trailers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::carriers::is_ours;
use crate::close::Cause;
use crate::live::Registered;

/// Whether a body went over its limit.
#[derive(Clone, Debug, Default)]
pub struct OverLimit(Arc<AtomicBool>);

impl OverLimit {
    /// It did.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The body. A runtime may answer before it has read it, so it has a place of its own in the live
/// table and is closed there.
pub struct Upload {
    /// None if there is nothing in it.
    body: Option<Incoming>,
    closed: Pin<Box<dyn Future<Output = Cause> + Send>>,
    registered: Arc<Registered>,
    left_bytes: u64,
    over_limit: OverLimit,
}

impl Upload {
    /// A body of which at most `limit_bytes` pass.
    #[must_use]
    pub fn new(body: Incoming, limit_bytes: u64, registered: Arc<Registered>) -> Self {
        let closed = closed(&registered);
        let body = (!body.is_end_stream()).then_some(body);
        Self { body, closed, registered, left_bytes: limit_bytes, over_limit: OverLimit::default() }
    }

    /// The same once more, if there is nothing in it.
    #[must_use]
    pub fn again(&self) -> Option<Self> {
        if self.body.is_some() {
            return None;
        }
        let registered = Arc::clone(&self.registered);
        let over_limit = self.over_limit();
        Some(Self {
            body: None,
            closed: closed(&registered),
            registered,
            left_bytes: 0,
            over_limit,
        })
    }

    /// Tells later whether it was too long.
    #[must_use]
    pub fn over_limit(&self) -> OverLimit {
        self.over_limit.clone()
    }
}

fn closed(registered: &Registered) -> Pin<Box<dyn Future<Output = Cause> + Send>> {
    let entry = Arc::clone(registered.entry());
    Box::pin(async move { entry.closed().await })
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("entry", &self.registered.entry().id).finish_non_exhaustive()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(cause) = this.closed.as_mut().poll(cx) {
            return Poll::Ready(Some(Err(cause.reason().into())));
        }
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        let length = frame.data_ref().map_or(0, |data| data.remaining() as u64);
        match this.left_bytes.checked_sub(length) {
            Some(left_bytes) => this.left_bytes = left_bytes,
            None => {
                this.over_limit.0.store(true, Ordering::Relaxed);
                return Poll::Ready(Some(Err("the body is over the limit".into())));
            }
        }
        Poll::Ready(Some(Ok(match frame.into_trailers() {
            Ok(trailers) => Frame::trailers(without_identity(trailers)),
            Err(frame) => frame,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

fn without_identity(trailers: HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in &trailers {
        if !is_ours(name.as_str()) {
            kept.append(name, value.clone());
        }
    }
    kept
}
