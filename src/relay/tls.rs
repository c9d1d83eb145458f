//! TLS on a leg, over any [`Socket`]: what comes is opened, what goes is sealed. A leg at rest keeps
//! the keys and the 4 KiB into which rustls reads, and nothing else.

use std::io::{self, ErrorKind, IoSlice, Read, Write};

use rustls::Connection as Session;

use super::buffers::READ_BYTES_MAX;
use super::wire::{Received, Socket};

/// The longest record on the wire (RFC 5246 section 6.2.3, which is the more generous one).
const RECORD_BYTES_MAX: usize = 5 + 16_384 + 2_048;

/// Of what is sealed, so much is read at once at least.
const LEAST_SEALED_BYTES: usize = 4096;

/// A socket with the TLS session that is spoken on it.
#[derive(Debug)]
pub struct Tls<S> {
    socket: S,
    session: Box<Session>,
    /// The session has opened bytes that were not read yet.
    is_full: bool,
    /// The peer has said that nothing more will come.
    is_closed: bool,
    has_failed: bool,
}

impl<S: Socket> Tls<S> {
    /// Goes on with a session whose handshake is done. What it has opened or sealed already is not
    /// lost.
    pub fn new(socket: S, mut session: Box<Session>) -> Self {
        // What is held when the peer takes nothing: with the other side's spill, all there is.
        session.set_buffer_limit(Some(READ_BYTES_MAX));
        let mut tls = Self { socket, session, is_full: false, is_closed: false, has_failed: false };
        tls.process();
        tls
    }

    /// The socket below.
    pub fn socket(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Opens whole records.
    fn process(&mut self) {
        match self.session.process_new_packets() {
            Ok(state) => {
                self.is_full = state.plaintext_bytes_to_read() > 0;
                self.is_closed = state.peer_has_closed();
            }
            Err(error) => {
                tracing::debug!(%error, "a TLS record cannot be opened");
                self.has_failed = true;
                // What came before it is good.
                self.is_full = true;
            }
        }
    }

    /// Takes what has been opened; returns how much that was.
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        match self.session.reader().read(bytes) {
            // There may be more if and only if all of the room was needed.
            Ok(length) => {
                self.is_full = length > 0 && length == bytes.len();
                length
            }
            Err(_) => {
                self.is_full = false;
                0
            }
        }
    }

    /// Reads records to behind the place where one unfinished record, opened, would end: so what is
    /// opened never catches up with what is not. Returns how many bytes were opened.
    fn open(&mut self, bytes: &mut [u8], length: usize) -> usize {
        let (mut opened, mut fed) = (0, 0);
        while fed < length && !self.is_closed && !self.has_failed {
            let start = RECORD_BYTES_MAX + fed;
            let mut sealed = &bytes[start..RECORD_BYTES_MAX + length];
            match self.session.read_tls(&mut sealed) {
                Ok(taken) if taken > 0 => fed += taken,
                _ => self.has_failed = true,
            }
            self.process();
            if self.is_full {
                opened += self.take(&mut bytes[opened..RECORD_BYTES_MAX + fed]);
            }
        }
        opened
    }

    fn write_some(&mut self) -> io::Result<usize> {
        match self.session.write_tls(&mut Below(&mut self.socket)) {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            written => written,
        }
    }
}

impl<S: Socket> Socket for Tls<S> {
    /// An end without the peer's `close_notify` is an error: anybody on the way could have made it
    /// (RFC 8446 section 6.1).
    fn recv(&mut self, bytes: &mut [u8]) -> io::Result<Received> {
        if self.is_full {
            let length = self.take(bytes);
            if length > 0 {
                let more = self.is_full || self.is_closed || self.has_failed;
                // The socket itself has not been looked at.
                return Ok(Received::Bytes { length, more: more || !self.is_closed });
            }
        }
        if self.has_failed {
            return Err(ErrorKind::InvalidData.into());
        }
        if self.is_closed {
            return Ok(Received::End);
        }
        let (length, more) = match self.socket.recv(&mut bytes[RECORD_BYTES_MAX..])? {
            Received::Bytes { length, more } => (length, more),
            Received::End => return Err(ErrorKind::UnexpectedEof.into()),
        };
        let opened = self.open(bytes, length);
        // An alert, perhaps. What does not go now is held.
        while self.session.wants_write() && self.write_some().is_ok() {}
        let more = more || self.is_full || self.is_closed || self.has_failed;
        Ok(Received::Bytes { length: opened, more })
    }

    fn least_read_bytes(&self) -> usize {
        RECORD_BYTES_MAX + LEAST_SEALED_BYTES
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        while self.session.wants_write() {
            self.write_some()?;
        }
        let taken = self.session.writer().write(bytes)?;
        while self.session.wants_write() {
            match self.write_some() {
                Ok(_) => {}
                // It is sealed and cannot be given back: it is held.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock) => break,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    fn is_holding(&self) -> bool {
        self.session.wants_write()
    }

    fn flush(&mut self) -> io::Result<usize> {
        match self.session.wants_write() {
            true => self.write_some(),
            false => Ok(0),
        }
    }

    /// A peer that hears no `close_notify` cannot tell the end from an attack.
    fn ends_when_dropped(&self) -> bool {
        false
    }

    fn finish(&mut self) -> io::Result<()> {
        // Once only, however often it is asked for.
        self.session.send_close_notify();
        while self.session.wants_write() {
            match self.write_some() {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        self.socket.finish()
    }
}

/// The socket as rustls writes to it.
struct Below<'a, S>(&'a mut S);

impl<S: Socket> Write for Below<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.send_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
