//! A leg's socket: what the relay asks of one, and the real ones.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::net::SendFlags;
use rustls::Connection as Session;

use super::tls::Tls;

/// What a read has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Bytes of the peer's.
    Bytes {
        /// How many; none if what came was for the socket itself.
        length: usize,
        /// Another read may bring more without a further event.
        more: bool,
    },
    /// The end of the stream.
    End,
}

/// A non-blocking byte stream. The plane uses [`Wire`]; tests script their own.
pub trait Socket {
    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; any other error means that the socket is broken.
    fn recv(&mut self, bytes: &mut [u8]) -> io::Result<Received>;

    /// The room without which a read would bring nothing.
    fn least_read_bytes(&self) -> usize {
        1
    }

    /// Takes as much as the peer, or the socket for it, takes now.
    ///
    /// # Errors
    /// `WouldBlock` if it takes nothing; any other error means that the socket is broken.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// The same for the last bytes of all: the socket may keep them for the end that follows at once,
    /// so that both leave in one segment.
    ///
    /// # Errors
    /// As for [`Socket::send`].
    fn send_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes)
    }

    /// The same with several pieces; a socket may look at the first alone.
    ///
    /// # Errors
    /// As for [`Socket::send`].
    fn send_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match pieces.iter().find(|piece| !piece.is_empty()) {
            Some(piece) => self.send(piece),
            None => Ok(0),
        }
    }

    /// Whether it has taken bytes, or made some itself, that the peer has not taken yet.
    fn is_holding(&self) -> bool {
        false
    }

    /// Writes some of what it is holding; returns how many bytes went.
    ///
    /// # Errors
    /// As for [`Socket::send`].
    fn flush(&mut self) -> io::Result<usize> {
        Ok(0)
    }

    /// Whether being dropped tells the peer all that [`Socket::finish`] would.
    fn ends_when_dropped(&self) -> bool;

    /// Tells the peer that nothing more will come. Reading goes on.
    ///
    /// # Errors
    /// `WouldBlock`: call it again once the socket takes bytes. Any other: it is broken.
    fn finish(&mut self) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn recv(&mut self, bytes: &mut [u8]) -> io::Result<Received> {
        match self.read(bytes)? {
            0 => Ok(Received::End),
            // A short read has emptied the socket: the next event tells of more.
            length => Ok(Received::Bytes { length, more: length == bytes.len() }),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn send_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
    }

    fn send_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_vectored(pieces)
    }

    fn ends_when_dropped(&self) -> bool {
        true
    }

    fn finish(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// A socket of the relay plane, with TLS or without.
#[derive(Debug)]
pub enum Wire<S = TcpStream> {
    /// Without TLS.
    Plain(S),
    /// With TLS. Boxed: its state would make every plain leg larger.
    Tls(Box<Tls<S>>),
}

impl Wire {
    /// Takes over a socket that a tokio runtime has let go of, with the TLS that is spoken on it.
    ///
    /// # Errors
    /// The socket cannot be made non-blocking.
    pub fn new(socket: std::net::TcpStream, session: Option<Box<Session>>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let socket = TcpStream::from_std(socket);
        Ok(match session {
            None => Self::Plain(socket),
            Some(session) => Self::Tls(Box::new(Tls::new(socket, session))),
        })
    }

    fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.socket(),
        }
    }

    /// Takes over a socket that another thread of ours has let go of: non-blocking, and without delay.
    #[must_use]
    pub fn ready(socket: TcpStream) -> Self {
        Self::Plain(socket)
    }

    /// Asks for events under `token` when there is something to be read; what is there already makes
    /// one, too. `is_watched` if the same poll has watched the socket so far.
    ///
    /// # Errors
    /// The system is out of memory or watches.
    pub fn watch(&mut self, registry: &Registry, token: Token, is_watched: bool) -> io::Result<()> {
        match is_watched {
            true => registry.reregister(self.socket(), token, Interest::READABLE),
            false => registry.register(self.socket(), token, Interest::READABLE),
        }
    }

    /// Asks for events when it takes bytes, too. Every socket would report that once, so nobody asks
    /// before it is of interest.
    ///
    /// # Errors
    /// The same.
    pub fn watch_for_room(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.reregister(self.socket(), token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Whether all that is to be read is where the system sees it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

impl<S: Socket> Socket for Wire<S> {
    fn recv(&mut self, bytes: &mut [u8]) -> io::Result<Received> {
        match self {
            Self::Plain(socket) => socket.recv(bytes),
            Self::Tls(tls) => tls.recv(bytes),
        }
    }

    fn least_read_bytes(&self) -> usize {
        match self {
            Self::Plain(socket) => socket.least_read_bytes(),
            Self::Tls(tls) => tls.least_read_bytes(),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.send(bytes),
            Self::Tls(tls) => tls.send(bytes),
        }
    }

    fn send_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.send_last(bytes),
            Self::Tls(tls) => tls.send_last(bytes),
        }
    }

    fn is_holding(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.is_holding(),
        }
    }

    fn flush(&mut self) -> io::Result<usize> {
        match self {
            Self::Plain(_) => Ok(0),
            Self::Tls(tls) => tls.flush(),
        }
    }

    fn ends_when_dropped(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.ends_when_dropped(),
            Self::Tls(tls) => tls.ends_when_dropped(),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.finish(),
            Self::Tls(tls) => tls.finish(),
        }
    }
}
