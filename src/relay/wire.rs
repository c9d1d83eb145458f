//! A leg's socket: what the relay asks of one, and the real ones.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// A non-blocking byte stream. The plane uses [`Wire`]; tests script their own.
pub trait Socket {
    /// Reads what is there. `Ok(0)` is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; any other error means that the socket is broken.
    fn recv(&mut self, bytes: &mut [u8]) -> io::Result<usize>;

    /// Writes as much as the peer takes now.
    ///
    /// # Errors
    /// `WouldBlock` if it takes nothing; any other error means that the socket is broken.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Tells the peer that nothing more will come. Reading goes on.
    ///
    /// # Errors
    /// The socket is broken.
    fn finish(&mut self) -> io::Result<()>;
}

/// A socket of the relay plane.
#[derive(Debug)]
pub enum Wire {
    /// TCP without TLS.
    Plain(TcpStream),
}

impl Wire {
    /// Takes over a socket that a tokio runtime has let go of.
    ///
    /// # Errors
    /// The socket cannot be made non-blocking.
    pub fn plain(socket: std::net::TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        Ok(Self::Plain(TcpStream::from_std(socket)))
    }

    /// Takes over a socket that another thread of ours has let go of: non-blocking, and without delay.
    #[must_use]
    pub fn ready(socket: TcpStream) -> Self {
        Self::Plain(socket)
    }

    /// Asks for readiness events under `token`.
    ///
    /// # Errors
    /// The system is out of memory or watches.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Plain(socket) => {
                registry.register(socket, token, Interest::READABLE | Interest::WRITABLE)
            }
        }
    }

    /// Asks for no more events.
    ///
    /// # Errors
    /// The socket was not registered.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Plain(socket) => registry.deregister(socket),
        }
    }
}

impl Socket for Wire {
    fn recv(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(bytes),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.shutdown(Shutdown::Write),
        }
    }
}
