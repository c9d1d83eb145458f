//! A client's socket: what comes is read at once, and what it would not take is kept.

use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Registry, Token};
use rustix::net::sockopt;

use super::buffers::Buffers;
use super::links::{Taken, Watched};
use super::pending::Pending;
use crate::clock::Millis;

/// The client's socket and what it has not taken yet.
pub(super) struct ClientLeg {
    socket: TcpStream,
    token: Token,
    watched: Watched,
    /// A read may bring something.
    pub(super) readable: bool,
    /// The client is gone, or sends no more.
    pub(super) ended: bool,
    pending: Pending,
}

impl ClientLeg {
    /// A client whose events are reported under `token`. Often their request is there already.
    pub(super) fn new(socket: TcpStream, token: Token) -> Self {
        Self {
            socket,
            token,
            watched: Watched::No,
            readable: true,
            ended: false,
            pending: Pending::default(),
        }
    }

    pub(super) fn note(&mut self, event: &Event) {
        let ended = event.is_read_closed() || event.is_error();
        self.readable |= event.is_readable() || ended;
        self.ended |= ended;
    }

    /// Reads what is there; zero bytes are its end.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.socket.read(bytes) {
                Ok(length) => {
                    // A short read has emptied the socket: the next event tells of more.
                    self.readable = self.ended || length == bytes.len();
                    return Ok(length);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.readable = false;
                    return Err(error);
                }
            }
        }
    }

    /// Acknowledges at once what has come. A client that sends a request in parts may hold the next
    /// one back until then (RFC 9293 section 3.7.4).
    pub(super) fn acknowledge(&self) {
        // Without it the system does so a little later.
        let _ = sockopt::set_tcp_quickack(&self.socket, true);
    }

    /// Tells the client that nothing more will come.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    /// Since when it takes nothing of what is there for it.
    pub(super) fn blocked_since(&self) -> Option<Millis> {
        self.pending.blocked_since()
    }

    pub(super) fn is_blocked(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Sends what goes, behind what has not been taken yet, and keeps the rest.
    pub(super) fn send(
        &mut self,
        bytes: &[u8],
        buffers: &mut Buffers,
        now: Millis,
    ) -> io::Result<()> {
        self.pending.send(&mut self.socket, bytes, buffers, now)
    }

    /// Sends more of what is pending.
    pub(super) fn flush(&mut self, buffers: &mut Buffers, now: Millis) -> io::Result<()> {
        self.pending.flush(&mut self.socket, buffers, now)
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watched != Watched::No
    }

    /// Has its events reported.
    pub(super) fn watch(&mut self, registry: &Registry) -> io::Result<()> {
        let wanted = if self.is_blocked() { Watched::Both } else { Watched::Reading };
        self.watched.raise(wanted, &mut self.socket, self.token, registry)
    }

    /// The socket for whoever relays.
    pub(super) fn into_switched(self) -> Taken {
        (self.socket, self.watched != Watched::No)
    }

    /// The socket; nobody watches it then.
    pub(super) fn into_socket(mut self, registry: &Registry) -> io::Result<TcpStream> {
        if self.watched != Watched::No {
            registry.deregister(&mut self.socket)?;
        }
        Ok(self.socket)
    }

    /// Gives back what it holds of its thread's.
    pub(super) fn let_go(&mut self, buffers: &mut Buffers) {
        self.pending.let_go(buffers);
    }
}
