//! A simulated wire: behaves like a TCP socket under edge-triggered epoll, with a peer that the
//! test plays.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::rc::Rc;

use super::sealed::Peer;
use crate::relay::wire::{Received, Socket};

/// Randomness that a seed repeats (xorshift64*).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// From 0 to `below` - 1.
    pub fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }

    /// A size from 1 to `max`, small ones often.
    pub fn size(&mut self, max: usize) -> usize {
        let bound = [1, 3, 16, 300, 70_000, max][self.roll(6)];
        1 + self.roll(bound.min(max))
    }
}

#[derive(Debug)]
struct State {
    /// Set: the wire is moody; unset: it takes and gives as much as there is.
    dice: Option<Dice>,
    write_bytes_max: usize,
    inbox: VecDeque<u8>,
    fin: bool,
    broken: bool,
    end_was_read: bool,
    outbox: Vec<u8>,
    room_bytes: usize,
    wants_room: bool,
    finished: bool,
    readable: bool,
    writable: bool,
    reads: usize,
    writes: usize,
    /// The peer speaks TLS.
    peer: Option<Peer>,
}

/// Both ends of one wire: the connection holds it as a [`Socket`], the test plays the peer.
#[derive(Clone, Debug)]
pub struct Sim(Rc<RefCell<State>>);

impl Sim {
    pub fn new(dice: Option<Dice>) -> Self {
        Self(Rc::new(RefCell::new(State {
            dice,
            write_bytes_max: usize::MAX,
            inbox: VecDeque::new(),
            fin: false,
            broken: false,
            end_was_read: false,
            outbox: Vec::new(),
            room_bytes: usize::MAX,
            wants_room: false,
            finished: false,
            readable: false,
            writable: false,
            reads: 0,
            writes: 0,
            peer: None,
        })))
    }

    /// From now on the peer speaks TLS, and has sent what it has to say about that.
    pub fn speak(&self, mut peer: Peer) {
        let sealed = peer.sealed();
        self.0.borrow_mut().peer = Some(peer);
        self.deliver_raw(&sealed);
    }

    /// What the peer would write to send these bytes.
    pub fn seal(&self, bytes: &[u8]) -> Vec<u8> {
        match &mut self.0.borrow_mut().peer {
            Some(peer) => peer.seal(bytes),
            None => bytes.to_vec(),
        }
    }

    /// What the peer would write to say that no more follows.
    pub fn seal_end(&self) -> Vec<u8> {
        self.0.borrow_mut().peer.as_mut().map_or(Vec::new(), Peer::seal_end)
    }

    /// The peer sends.
    pub fn deliver(&self, bytes: &[u8]) {
        let bytes = self.seal(bytes);
        self.deliver_raw(&bytes);
    }

    /// The peer writes.
    pub fn deliver_raw(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.0.borrow_mut();
        state.inbox.extend(bytes);
        state.readable = true;
    }

    /// The peer sends a FIN.
    pub fn end(&self) {
        let goodbye = self.seal_end();
        self.deliver_raw(&goodbye);
        self.end_raw();
    }

    /// The peer's system sends a FIN, whatever the peer may have wanted to say.
    pub fn end_raw(&self) {
        let mut state = self.0.borrow_mut();
        state.fin = true;
        state.readable = true;
    }

    /// The peer sends a RST. What it sent before can still be read, as on Linux.
    pub fn reset(&self) {
        let mut state = self.0.borrow_mut();
        state.broken = true;
        state.readable = true;
        state.writable = true;
    }

    /// The peer has room for this many bytes from now on.
    pub fn set_room(&self, room_bytes: usize) {
        let mut state = self.0.borrow_mut();
        state.room_bytes = room_bytes;
        if room_bytes > 0 && state.wants_room {
            state.wants_room = false;
            state.writable = true;
        }
    }

    /// The peer has a little room, but too little for the system to tell.
    pub fn set_room_in_silence(&self, room_bytes: usize) {
        self.0.borrow_mut().room_bytes = room_bytes;
    }

    /// No write takes more than this.
    pub fn limit_writes(&self, write_bytes_max: usize) {
        self.0.borrow_mut().write_bytes_max = write_bytes_max;
    }

    /// Everything the peer has received.
    pub fn received(&self) -> Vec<u8> {
        let State { outbox, peer, .. } = &mut *self.0.borrow_mut();
        match peer {
            Some(peer) => peer.open(outbox),
            None => outbox.clone(),
        }
    }

    /// Whether the peer has received a FIN.
    pub fn is_finished(&self) -> bool {
        self.received();
        let state = self.0.borrow();
        let is_unexpected = |peer: &Peer| state.finished && !state.broken && !peer.heard_the_end;
        assert!(!state.peer.as_ref().is_some_and(is_unexpected), "a FIN without a goodbye");
        state.finished
    }

    /// The connection drops its end. With something unread the peer would get a RST for it.
    pub fn hang_up(&self) {
        let mut state = self.0.borrow_mut();
        if !state.broken && !state.finished {
            assert!(state.inbox.is_empty(), "the peer's system would drop what it has received");
            state.finished = true;
        }
    }

    /// Bytes that the connection has not read yet.
    pub fn unread_bytes(&self) -> usize {
        self.0.borrow().inbox.len()
    }

    /// How often the connection has read and written.
    pub fn calls(&self) -> (usize, usize) {
        let state = self.0.borrow();
        (state.reads, state.writes)
    }

    /// The readable edge, if there is one: whether the end is signalled too.
    pub fn take_readable(&self) -> Option<bool> {
        let mut state = self.0.borrow_mut();
        let read_closed = state.fin || state.broken;
        std::mem::take(&mut state.readable).then_some(read_closed)
    }

    /// The writable edge, if there is one.
    pub fn take_writable(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().writable)
    }
}

impl State {
    fn is_moody(&mut self) -> bool {
        self.dice.as_mut().is_some_and(|dice| dice.once_in(12))
    }

    fn recv(&mut self, bytes: &mut [u8]) -> io::Result<Received> {
        assert!(!self.end_was_read, "a read after the end");
        self.reads += 1;
        if self.is_moody() {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.inbox.is_empty() {
            if self.broken || self.fin {
                self.end_was_read = true;
            }
            return match (self.broken, self.fin) {
                (true, _) => Err(ErrorKind::ConnectionReset.into()),
                (false, true) => Ok(Received::End),
                (false, false) => Err(ErrorKind::WouldBlock.into()),
            };
        }
        let mut length = self.inbox.len().min(bytes.len());
        if let Some(dice) = &mut self.dice
            && dice.once_in(2)
        {
            length = dice.size(length);
            // As if the rest had come just after.
            self.readable = true;
        }
        for (place, byte) in bytes.iter_mut().zip(self.inbox.drain(..length)) {
            *place = byte;
        }
        Ok(Received::Bytes { length, more: length == bytes.len() })
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.finished, "a write after the FIN");
        assert!(!bytes.is_empty(), "a write of nothing");
        self.writes += 1;
        if self.broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if self.is_moody() {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.is_moody() {
            // There was no room for a moment.
            self.writable = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut length = bytes.len().min(self.room_bytes).min(self.write_bytes_max);
        if length == 0 {
            self.wants_room = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        if let Some(dice) = &mut self.dice {
            length = dice.size(length);
        }
        self.outbox.extend_from_slice(&bytes[..length]);
        self.room_bytes -= length;
        Ok(length)
    }
}

impl Socket for Sim {
    fn recv(&mut self, bytes: &mut [u8]) -> io::Result<Received> {
        self.0.borrow_mut().recv(bytes)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().send(bytes)
    }

    fn ends_when_dropped(&self) -> bool {
        true
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        assert!(!state.finished, "a second FIN");
        state.finished = true;
        match state.broken {
            true => Err(ErrorKind::NotConnected.into()),
            false => Ok(()),
        }
    }
}
