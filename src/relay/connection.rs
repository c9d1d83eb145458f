//! One connection's bytes: reads from one leg, asks the [`Pair`], writes to the other.
//!
//! Generic over the socket, so that the simulated wire of the tests runs the very code that the
//! plane runs. A connection at rest owns no buffer.

use std::io::ErrorKind;

use super::buffers::{Pool, READ_BYTES_MAX};
use super::pair::{Check, Counts, LaneState, Pair, Patience, Side, Verdict};
use super::wire::{Received, Socket};
use crate::clock::Millis;
use crate::close::Cause;
use crate::plan::Accounts;

mod leg;
mod turn;

pub use turn::{Outcome, TURN_BYTES_MAX, Turn};

use leg::{Lane, Leg};

/// One live, relayed WebSocket.
#[derive(Debug)]
pub struct Connection<S> {
    legs: [Leg<S>; 2],
    lanes: [Lane; 2],
    pair: Pair,
}

impl<S: Socket> Connection<S> {
    /// Joins two sockets whose handshakes are done. `read_ahead` is what was read behind each
    /// handshake, from client and from runtime. Both sockets count as ready until tried.
    pub fn new(sockets: [S; 2], read_ahead: [Vec<u8>; 2], pair: Pair) -> Self {
        let legs = sockets.map(Leg::new);
        let lanes = read_ahead.map(Lane::new);
        Self { legs, lanes, pair }
    }

    /// The pure part, to read counts and the ending from.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// This side's socket.
    pub fn socket(&mut self, side: Side) -> &mut S {
        &mut self.legs[side as usize].socket
    }

    /// See [`Pair::take_counts`].
    pub fn take_counts(&mut self, from: Side) -> Counts {
        self.pair.take_counts(from)
    }

    /// See [`Pair::limit_messages`].
    pub fn limit_messages(&mut self, message_bytes_max: u64) {
        self.pair.limit_messages(message_bytes_max);
    }

    /// This side has bytes, or has ended if `read_closed`.
    pub fn readable(&mut self, side: Side, read_closed: bool) {
        let leg = &mut self.legs[side as usize];
        leg.readable = true;
        leg.read_closed |= read_closed;
    }

    /// An event will tell when this side has bytes: nothing is to be tried before that.
    pub fn await_bytes(&mut self, side: Side) {
        self.legs[side as usize].readable = false;
    }

    /// This side did not take all that there was for it.
    pub fn lacks_room(&self, side: Side) -> bool {
        let leg = &self.legs[side as usize];
        !leg.writable && !leg.lost
    }

    /// This side may take bytes.
    pub fn writable(&mut self, side: Side) {
        self.legs[side as usize].writable = true;
    }

    /// Ends the connection at the next frame boundaries; a turn must follow.
    pub fn close(&mut self, cause: Cause, now: Millis) {
        self.pair.close(cause, now);
    }

    /// Whether a deadline or the end of a pause is near.
    pub fn is_paced(&self) -> bool {
        self.pair.is_ending() || self.lanes.iter().any(|lane| lane.paused_until().is_some())
    }

    /// Bytes of the buffers that it holds for what waits, TLS's included.
    pub fn buffer_bytes(&self) -> usize {
        let lanes = self.lanes.iter().map(Lane::buffer_bytes).sum::<usize>();
        let sockets = self.legs.iter().filter(|leg| leg.is_holding()).count();
        lanes + sockets * READ_BYTES_MAX
    }

    /// Applies the deadlines; see [`Pair::check`].
    pub fn check(&mut self, now: Millis, patience: &Patience) -> Check {
        let lanes = [0, 1].map(|place| LaneState {
            blocked_since: self.lanes[place].blocked_since(),
            paused: self.lanes[place].paused_until().is_some(),
        });
        let check = self.pair.check(now, patience, lanes);
        let mut step = false;
        for from in Side::BOTH {
            let lane = &self.lanes[from as usize];
            step |= lane.paused_until().is_some_and(|end| end <= now);
            // Systems tell of room only when there is much of it. Whoever reads slowly would seem
            // to have stopped: hence a try.
            if self.is_blocked(from) {
                self.writable(from.other());
                step = true;
            }
        }
        match check {
            Check::Fine if step => Check::Step,
            check => check,
        }
    }

    /// Moves bytes both ways until nothing moves or each leg has had its share.
    pub fn turn(&mut self, turn: &mut Turn<'_>) -> Outcome {
        let mut share_bytes = [TURN_BYTES_MAX; 2];
        loop {
            let mut moved = false;
            for from in Side::BOTH {
                moved |= self.lane_turn(from, &mut share_bytes[from as usize], turn);
            }
            if !moved {
                break;
            }
        }
        let used_up = |from: Side| {
            let waits = self.is_blocked(from) || self.lanes[from as usize].paused_until().is_some();
            share_bytes[from as usize] == 0 && self.legs[from as usize].readable && !waits
        };
        if self.is_over() {
            Outcome::Over
        } else if Side::BOTH.into_iter().any(used_up) {
            Outcome::Again
        } else {
            Outcome::Idle
        }
    }

    /// Something of this side's is where the other side has to take it first.
    fn is_blocked(&self, from: Side) -> bool {
        self.lanes[from as usize].is_spilling() || self.legs[from.other() as usize].is_holding()
    }

    fn is_over(&self) -> bool {
        let is_done = |leg: &Leg<S>| leg.source_ended && (leg.finished || leg.lost);
        self.legs.iter().all(is_done) || self.may_hang_up()
    }

    /// Both peers have said goodbye, one has hung up, and nothing of theirs is on its way or unread:
    /// then the server is to end the TCP connection first (RFC 6455 section 7.1.1), and there is
    /// nothing to wait for. With something unread, closing would reset what the peer is yet to read.
    fn may_hang_up(&self) -> bool {
        let is_quiet = |leg: &Leg<S>| leg.source_ended || !leg.readable;
        self.pair.have_parted()
            && self.legs.iter().any(|leg| leg.source_ended)
            && self.legs.iter().all(|leg| is_quiet(leg) && leg.socket.ends_when_dropped())
            && !Side::BOTH.into_iter().any(|from| self.is_blocked(from))
    }

    /// One step of one direction; returns whether anything moved.
    fn lane_turn(&mut self, from: Side, share_bytes: &mut usize, turn: &mut Turn<'_>) -> bool {
        // A socket may have come to write by itself what it was holding.
        let was_blocked = self.lanes[from as usize].blocked_since().is_some();
        if (was_blocked || self.is_blocked(from)) && !self.flush(from, turn) {
            return false;
        }
        if self.pass_on_the_end(from, turn.now) {
            return true;
        }
        if self.pair.wants_step(from) {
            self.judge(from, &[], turn.now, turn.accounts, &mut turn.pool);
            return true;
        }
        if let Some(backlog) = &mut self.lanes[from as usize].backlog {
            if let Some(until) = backlog.paused_until {
                if turn.now < until && !self.pair.is_finished(from) {
                    return false;
                }
                backlog.paused_until = None;
                self.pair.resumed(from, turn.now);
            }
            let pending = std::mem::take(&mut backlog.pending);
            if !pending.is_empty() {
                self.judge(from, &pending, turn.now, turn.accounts, &mut turn.pool);
            }
            self.lanes[from as usize].tidy();
            if !pending.is_empty() {
                return true;
            }
        }
        self.receive(from, share_bytes, turn)
    }

    /// Half-closes the other side once nothing more will go there.
    fn pass_on_the_end(&mut self, from: Side, now: Millis) -> bool {
        let to = from.other();
        let leg = &self.legs[to as usize];
        if leg.finished || leg.lost || !self.pair.is_finished(from) || self.may_hang_up() {
            return false;
        }
        let leg = &mut self.legs[to as usize];
        match leg.socket.finish() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.lanes[from as usize].backlog_mut().blocked_since.get_or_insert(now);
                leg.writable = false;
                return false;
            }
            Ok(()) => leg.finished = true,
            Err(_) => {
                leg.finished = true;
                self.lose_sink(to, now);
            }
        }
        true
    }

    fn receive(&mut self, from: Side, share_bytes: &mut usize, turn: &mut Turn<'_>) -> bool {
        let leg = &self.legs[from as usize];
        if !leg.readable || leg.source_ended || *share_bytes == 0 {
            return false;
        }
        let held_bytes = self.show_held(from, turn.scratch);
        let leg = &mut self.legs[from as usize];
        let room_bytes = turn.pool.read_bytes(leg.socket.least_read_bytes());
        let room = &mut turn.scratch[held_bytes..held_bytes + room_bytes];
        match leg.socket.recv(room) {
            Ok(Received::End) => self.end_source(from, turn.now),
            Ok(Received::Bytes { length: 0, more }) => {
                // TLS about itself: whoever has much to say about that uses up the share, too.
                leg.readable = more || leg.read_closed;
                *share_bytes = share_bytes.saturating_sub(READ_BYTES_MAX);
            }
            Ok(Received::Bytes { length, more }) => {
                leg.readable = more || leg.read_closed;
                *share_bytes = share_bytes.saturating_sub(length);
                let bytes = &turn.scratch[..held_bytes + length];
                self.judge(from, bytes, turn.now, turn.accounts, &mut turn.pool);
                return true;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                leg.readable = false;
                self.hold(from, held_bytes, turn.scratch);
                return false;
            }
            Err(_) => {
                self.end_source(from, turn.now);
                self.lose_sink(from, turn.now);
            }
        }
        self.hold(from, held_bytes, turn.scratch);
        true
    }

    /// Puts the held bytes in front of what will be read.
    fn show_held(&mut self, from: Side, scratch: &mut [u8]) -> usize {
        let Some(backlog) = &mut self.lanes[from as usize].backlog else { return 0 };
        let held_bytes = usize::from(std::mem::take(&mut backlog.held_bytes));
        scratch[..held_bytes].copy_from_slice(&backlog.held[..held_bytes]);
        held_bytes
    }

    fn hold(&mut self, from: Side, held_bytes: usize, bytes: &[u8]) {
        if held_bytes == 0 {
            return;
        }
        let backlog = self.lanes[from as usize].backlog_mut();
        backlog.held[..held_bytes].copy_from_slice(&bytes[..held_bytes]);
        backlog.held_bytes = held_bytes as u8;
    }

    /// Does what the pair says about `bytes`; neighbouring frames leave in one write.
    fn judge(
        &mut self,
        from: Side,
        bytes: &[u8],
        now: Millis,
        accounts: Accounts<'_>,
        pool: &mut Pool<'_>,
    ) {
        let mut run_start = 0;
        let mut place = 0;
        loop {
            let verdict = self.pair.step(from, &bytes[place..], now, accounts);
            if let Verdict::Forward(length) = verdict {
                place += length;
                continue;
            }
            self.send(from, &bytes[run_start..place], now, pool);
            match verdict {
                Verdict::Forward(_) => {}
                Verdict::Idle => return,
                Verdict::Hold(length) => return self.hold(from, length, &bytes[place..]),
                Verdict::Discard(length) => place += length,
                Verdict::Inject(frame) => self.send(from, frame.encode().as_bytes(), now, pool),
                Verdict::PauseUntil(moment) => {
                    let backlog = self.lanes[from as usize].backlog_mut();
                    backlog.paused_until = Some(moment);
                    backlog.pending = bytes[place..].to_vec();
                    return;
                }
                Verdict::Close(cause) => self.pair.close(cause, now),
            }
            run_start = place;
        }
    }

    /// Writes to the other side; what it does not take waits in a borrowed buffer.
    fn send(&mut self, from: Side, bytes: &[u8], now: Millis, pool: &mut Pool<'_>) {
        let to = from.other();
        // Behind its Close there is only its end to come, and that is there.
        let are_last = self.pair.said_goodbye(from) && self.legs[from as usize].read_closed;
        let lane = &mut self.lanes[from as usize];
        let leg = &mut self.legs[to as usize];
        if bytes.is_empty() || leg.lost {
            return;
        }
        let mut sent = 0;
        if !lane.is_spilling() {
            match leg.send_all(bytes, are_last) {
                Ok(length) => sent = length,
                Err(_) => return self.lose_sink(to, now),
            }
        }
        if sent == bytes.len() && !leg.socket.is_holding() {
            return;
        }
        let backlog = lane.backlog_mut();
        backlog.blocked_since.get_or_insert(now);
        if sent < bytes.len() {
            if backlog.spill.capacity() == 0 {
                backlog.spill = pool.lend(bytes.len() - sent);
            }
            backlog.spill.extend_from_slice(&bytes[sent..]);
        }
    }

    /// Writes what is waiting, first in the socket, then here; returns whether all of it is gone.
    fn flush(&mut self, from: Side, turn: &mut Turn<'_>) -> bool {
        let to = from.other();
        let lane = &mut self.lanes[from as usize];
        let leg = &mut self.legs[to as usize];
        let backlog = lane.backlog_mut();
        let sent =
            leg.flush_all().and_then(|held| Ok((held, leg.send_all(backlog.waiting(), false)?)));
        let is_holding = leg.socket.is_holding();
        match sent {
            Ok((held, sent)) => {
                backlog.spill_start += sent;
                if !backlog.waiting().is_empty() || is_holding {
                    if held + sent > 0 || backlog.blocked_since.is_none() {
                        backlog.blocked_since = Some(turn.now);
                    }
                    return false;
                }
            }
            Err(_) => self.lose_sink(to, turn.now),
        }
        let lane = &mut self.lanes[from as usize];
        let backlog = lane.backlog_mut();
        if backlog.spill.capacity() > 0 {
            turn.pool.give_back(std::mem::take(&mut backlog.spill));
        }
        backlog.spill_start = 0;
        backlog.blocked_since = None;
        lane.tidy();
        self.pair.resumed(from, turn.now);
        true
    }

    fn end_source(&mut self, side: Side, now: Millis) {
        self.legs[side as usize].source_ended = true;
        self.pair.source_ended(side, now);
    }

    /// A socket that refuses bytes is broken, but what it received before is read to its end.
    fn lose_sink(&mut self, side: Side, now: Millis) {
        let leg = &mut self.legs[side as usize];
        leg.lost = true;
        leg.readable = true;
        leg.read_closed = true;
        self.pair.sink_lost(side, now);
        if let Some(to_it) = &mut self.lanes[side.other() as usize].backlog {
            to_it.spill_start = to_it.spill.len();
            to_it.blocked_since = None;
        }
    }
}

#[cfg(test)]
mod tests;
