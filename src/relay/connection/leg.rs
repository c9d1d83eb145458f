//! The two halves of a connection's state: its legs, and what is on its way between them.

use std::io::{self, ErrorKind};

use crate::clock::Millis;
use crate::relay::pair::HOLD_BYTES_MAX;
use crate::relay::wire::Socket;

/// One end.
#[derive(Debug)]
pub struct Leg<S> {
    pub socket: S,
    pub readable: bool,
    pub writable: bool,
    /// The peer's FIN is known to be there: reads go on until they return zero.
    pub read_closed: bool,
    pub source_ended: bool,
    pub finished: bool,
    /// It takes no more bytes.
    pub lost: bool,
}

impl<S: Socket> Leg<S> {
    pub fn new(socket: S) -> Self {
        Self {
            socket,
            readable: true,
            writable: true,
            read_closed: false,
            source_ended: false,
            finished: false,
            lost: false,
        }
    }

    /// The socket keeps bytes that somebody is to take yet.
    pub fn is_holding(&self) -> bool {
        !self.lost && self.socket.is_holding()
    }

    /// Writes until the peer takes no more; a broken socket is an error. See [`Socket::send_last`].
    pub fn send_all(&mut self, bytes: &[u8], are_last: bool) -> io::Result<usize> {
        let mut sent = 0;
        while self.writable && sent < bytes.len() {
            let send = if are_last { S::send_last } else { S::send };
            sent += self.attempt(|socket| match send(socket, &bytes[sent..]) {
                Ok(0) => Err(ErrorKind::WriteZero.into()),
                sent => sent,
            })?;
        }
        Ok(sent)
    }

    /// Writes what the socket itself keeps, until the peer takes no more; returns how much went.
    pub fn flush_all(&mut self) -> io::Result<usize> {
        let mut sent = 0;
        while self.writable && self.socket.is_holding() {
            sent += self.attempt(Socket::flush)?;
        }
        Ok(sent)
    }

    fn attempt(&mut self, write: impl FnOnce(&mut S) -> io::Result<usize>) -> io::Result<usize> {
        match write(&mut self.socket) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.writable = false;
                Ok(0)
            }
            written => written,
        }
    }
}

/// One direction's bytes that are neither in a socket nor in the scratch buffer.
#[derive(Debug, Default)]
pub struct Lane {
    /// Boxed: a lane in which everything flows has none.
    pub backlog: Option<Box<Backlog>>,
}

/// What a lane keeps while something does not flow.
#[derive(Debug, Default)]
pub struct Backlog {
    /// The beginning of a header, or of a frame that is judged as a whole.
    pub held: [u8; HOLD_BYTES_MAX],
    pub held_bytes: u8,
    /// Read but not judged yet: a handshake's read-ahead, or what stands behind a pause.
    pub pending: Vec<u8>,
    /// Judged but not taken yet by the other side, from `spill_start` on.
    pub spill: Vec<u8>,
    pub spill_start: usize,
    /// Set while the other side, or its socket, has something that the peer does not take.
    pub blocked_since: Option<Millis>,
    pub paused_until: Option<Millis>,
}

impl Lane {
    pub fn new(pending: Vec<u8>) -> Self {
        let mut lane = Self::default();
        if !pending.is_empty() {
            lane.backlog_mut().pending = pending;
        }
        lane
    }

    /// The backlog, to be added to.
    pub fn backlog_mut(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_default()
    }

    /// Forgets a backlog in which nothing is left.
    pub fn tidy(&mut self) {
        self.backlog.take_if(|backlog| {
            backlog.held_bytes == 0
                && backlog.pending.is_empty()
                && backlog.spill.capacity() == 0
                && backlog.blocked_since.is_none()
                && backlog.paused_until.is_none()
        });
    }

    pub fn buffer_bytes(&self) -> usize {
        let of = |backlog: &Backlog| backlog.pending.capacity() + backlog.spill.capacity();
        self.backlog.as_deref().map_or(0, of)
    }

    pub fn is_spilling(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| !backlog.waiting().is_empty())
    }

    pub fn blocked_since(&self) -> Option<Millis> {
        self.backlog.as_ref().and_then(|backlog| backlog.blocked_since)
    }

    pub fn paused_until(&self) -> Option<Millis> {
        self.backlog.as_ref().and_then(|backlog| backlog.paused_until)
    }
}

impl Backlog {
    /// What the other side is to take next.
    pub fn waiting(&self) -> &[u8] {
        &self.spill[self.spill_start..]
    }
}
