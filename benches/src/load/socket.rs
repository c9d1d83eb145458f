//! What a client's bytes go through: a socket, with or without TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token, event::Source};
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use super::client::is_later;
use crate::fault::{During, Result};
use crate::tls::{Speech, session};

/// Where clients get in, and how.
#[derive(Clone)]
pub struct Entrance {
    /// Where.
    pub address: SocketAddr,
    /// How they speak TLS; `None` where they do not.
    pub tls: Option<Speech>,
}

impl From<SocketAddr> for Entrance {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

/// A connection of a client.
pub enum Socket {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<Tls>),
}

/// A socket with its session.
pub struct Tls {
    stream: TcpStream,
    session: ClientConnection,
}

impl Socket {
    /// Begins to connect; with TLS if there is a configuration for it.
    pub fn connect(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let stream = TcpStream::connect(address).during("connecting")?;
        let Some(config) = tls else { return Ok(Self::Plain(stream)) };
        // The end of the handshake and the first request go out apart.
        stream.set_nodelay(true)?;
        Ok(Self::Tls(Box::new(Tls { stream, session: session(config)? })))
    }

    /// Sends at once what is written.
    pub fn set_nodelay(&self) -> io::Result<()> {
        self.stream().set_nodelay(true)
    }

    /// Whether a read of less than there was room for has emptied it.
    pub fn is_emptied_by_short_reads(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Whether a session was resumed; `None` without TLS and before that is known.
    pub fn has_resumed(&self) -> Option<bool> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls.session.handshake_kind().map(|it| it == HandshakeKind::Resumed),
        }
    }

    fn stream(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => &tls.stream,
        }
    }

    fn stream_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => &mut tls.stream,
        }
    }
}

impl Tls {
    /// Sends what the session has to send; false if some of it is left.
    fn flush(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if is_later(error.kind()) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Behind a close_notify: answers it, and waits for the other side to end the connection, so that
    /// no port of the generator's is left waiting.
    fn end(&mut self) -> io::Result<usize> {
        self.session.send_close_notify();
        self.flush()?;
        let mut nothing = [0; 64];
        loop {
            match self.stream.read(&mut nothing) {
                Ok(0) => return Ok(0),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(0),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Read for Tls {
    /// An end without a close_notify is an end, too.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.flush()?;
        loop {
            match self.session.reader().read(buffer) {
                Ok(0) => return self.end(),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(error),
            }
            self.session.read_tls(&mut self.stream)?;
            let processed = self.session.process_new_packets();
            // An alert of ours, too.
            self.flush()?;
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }
}

impl Write for Tls {
    /// What was taken may still have to be sent: each read does that.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.flush()? && !self.session.is_handshaking() {
            return Err(ErrorKind::WouldBlock.into());
        }
        match self.session.writer().write(bytes)? {
            0 if !bytes.is_empty() => Err(ErrorKind::WouldBlock.into()),
            count => self.flush().map(|_| count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Tls::flush(self).map(|_| ())
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, wants: Interest) -> io::Result<()> {
        self.stream_mut().register(registry, token, wants)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, wants: Interest) -> io::Result<()> {
        self.stream_mut().reregister(registry, token, wants)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.stream_mut().deregister(registry)
    }
}
