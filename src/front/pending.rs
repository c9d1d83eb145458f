//! What a socket has not taken yet.

use std::io::{self, ErrorKind, Write};

use mio::net::TcpStream;

use super::buffers::Buffers;
use crate::clock::Millis;
use crate::held::Part;

/// Bytes that wait for room. Without any there is no buffer.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: Vec<u8>,
    start: usize,
    /// As long as there are any.
    held: Option<Part>,
    since: Option<Millis>,
}

impl Pending {
    /// Since when none of it was taken.
    pub(super) fn blocked_since(&self) -> Option<Millis> {
        self.since
    }

    pub(super) fn is_empty(&self) -> bool {
        self.since.is_none()
    }

    /// Sends what goes, behind what waits already, and keeps the rest.
    pub(super) fn send(
        &mut self,
        socket: &mut TcpStream,
        mut bytes: &[u8],
        buffers: &mut Buffers,
        now: Millis,
    ) -> io::Result<()> {
        if !self.is_empty() {
            self.bytes.extend_from_slice(bytes);
            self.held = Some(buffers.hold(&self.bytes));
            return Ok(());
        }
        while !bytes.is_empty() {
            match socket.write(bytes) {
                Ok(length) => bytes = &bytes[length..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let (waiting, part) = buffers.copy_to_wait(bytes);
                    (self.bytes, self.held) = (waiting, Some(part));
                    (self.start, self.since) = (0, Some(now));
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends more of what waits.
    pub(super) fn flush(
        &mut self,
        socket: &mut TcpStream,
        buffers: &mut Buffers,
        now: Millis,
    ) -> io::Result<()> {
        while self.start < self.bytes.len() {
            match socket.write(&self.bytes[self.start..]) {
                Ok(length) => {
                    self.start += length;
                    self.since = Some(now);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.let_go(buffers);
        Ok(())
    }

    /// Gives back what it holds of its thread's.
    pub(super) fn let_go(&mut self, buffers: &mut Buffers) {
        self.held = None;
        buffers.give_back(std::mem::take(&mut self.bytes));
        self.since = None;
    }
}
