//! What passes between client and runtime on the handshake plane: headers and bodies.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use crate::close::Cause;
use crate::live::Registered;

pub mod extensions;
pub mod headers;

/// The body of an answer to a client.
pub enum Body {
    /// flowgate's own.
    Own(Full<Bytes>),
    /// The runtime's, streamed; in the live table until it ends, is closed there, or the client
    /// goes away.
    Runtime {
        /// The stream.
        body: Incoming,
        /// Its end by somebody's [`crate::live::Entry::close`].
        closed: Pin<Box<dyn Future<Output = Cause> + Send>>,
        /// Its place in the live table.
        registered: Arc<Registered>,
        /// What is called once it has come to its end.
        at_end: Option<Box<dyn FnOnce() + Send>>,
    },
}

impl Body {
    /// A runtime's.
    #[must_use]
    pub fn runtime(
        body: Incoming,
        registered: Arc<Registered>,
        at_end: impl FnOnce() + Send + 'static,
    ) -> Self {
        let entry = Arc::clone(registered.entry());
        let closed = Box::pin(async move { entry.closed().await });
        let mut at_end: Option<Box<dyn FnOnce() + Send>> = Some(Box::new(at_end));
        // hyper polls no body that is known to be empty, as after HEAD.
        if body.is_end_stream() {
            at_end.take().into_iter().for_each(|at_end| at_end());
        }
        Self::Runtime { body, closed, registered, at_end }
    }

    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::from(Bytes::new())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Own(Full::new(bytes))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Runtime { body, closed, at_end, .. } => {
                if let Poll::Ready(cause) = closed.as_mut().poll(cx) {
                    return Poll::Ready(Some(Err(cause.reason().into())));
                }
                let frame = Pin::new(&mut *body).poll_frame(cx).map_err(Into::into);
                if matches!(frame, Poll::Ready(None)) || body.is_end_stream() {
                    at_end.take().into_iter().for_each(|at_end| at_end());
                }
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Runtime { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Runtime { body, .. } => body.size_hint(),
        }
    }
}
