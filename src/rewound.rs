//! A connection from which something was read before whoever serves it got it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::tls::Stream;

/// A stream, and the bytes to be read before its own.
#[derive(Debug)]
pub struct Rewound {
    before: Bytes,
    stream: Stream,
}

impl Rewound {
    /// Reads will bring `before` first.
    #[must_use]
    pub fn new(before: Bytes, stream: Stream) -> Self {
        Self { before, stream }
    }

    /// Whether both sides have agreed on HTTP/2.
    #[must_use]
    pub fn speaks_http_2(&self) -> bool {
        self.stream.speaks_http_2()
    }

    /// What has not been read yet, and the stream.
    #[must_use]
    pub fn into_parts(self) -> (Bytes, Stream) {
        (self.before, self.stream)
    }
}

impl From<Stream> for Rewound {
    fn from(stream: Stream) -> Self {
        Self::new(Bytes::new(), stream)
    }
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, bytes);
        }
        let length = self.before.len().min(bytes.remaining());
        bytes.put_slice(&self.before[..length]);
        self.before.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
