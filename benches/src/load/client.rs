//! One client's WebSocket: its handshake, then prepared frames one way and their echoes the other.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use super::fleet::Closed;
use super::socket::Socket;
use crate::clock::now;
use crate::fault::{During, Result, fault};
use crate::histogram::Histogram;
use crate::websocket::{ACCEPT, CLOSE, FIN, Message, PING, head_end};

enum Stage {
    /// What of the request is still to be sent, and the answer so far.
    Handshake {
        request: Vec<u8>,
        sent: usize,
        answer: Vec<u8>,
    },
    Open,
    Ended,
}

/// What a turn has brought.
pub enum Came {
    /// The handshake has succeeded.
    Opened,
    /// So many messages are back.
    Messages(usize),
}

/// A client.
pub struct Client {
    stream: Socket,
    stage: Stage,
    out_at: usize,
    out_left: usize,
    in_at: usize,
    sent: VecDeque<Instant>,
    /// Set once the proxy has closed.
    pub closed: Option<Closed>,
}

impl Client {
    /// A client that will send the handshake once it is connected.
    pub fn new(stream: Socket, request: Vec<u8>) -> Self {
        Self {
            stream,
            stage: Stage::Handshake { request, sent: 0, answer: Vec::new() },
            out_at: 0,
            out_left: 0,
            in_at: 0,
            sent: VecDeque::new(),
            closed: None,
        }
    }

    /// Another message may follow.
    pub fn reset(&mut self) {
        (self.out_at, self.in_at) = (0, 0);
    }

    /// Messages that have not come back.
    pub fn missing(&self) -> usize {
        self.sent.len()
    }

    /// Sends `count` messages, which were due at `at`.
    pub fn send(&mut self, count: usize, at: Instant, message: &Message) -> Result<()> {
        if !matches!(self.stage, Stage::Open) {
            return Ok(());
        }
        self.sent.extend(std::iter::repeat_n(at, count));
        self.out_left += count * message.frame_bytes;
        self.write(message)
    }

    fn write(&mut self, message: &Message) -> Result<()> {
        while self.out_left > 0 {
            let most = (self.out_at + self.out_left).min(message.frames.len());
            match self.stream.write(&message.frames[self.out_at..most]) {
                Ok(count) => {
                    self.out_at = (self.out_at + count) % message.frame_bytes;
                    self.out_left -= count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The reading side tells whether that was a Close.
                Err(error) if is_gone(error.kind()) => break,
                Err(error) => return Err(error).during("sending"),
            }
        }
        Ok(())
    }

    /// Does what can be done now.
    pub fn turn(
        &mut self,
        reads_to_end: bool,
        buffer: &mut [u8],
        message: &Message,
        latency: &mut Histogram,
    ) -> Result<Came> {
        match self.stage {
            Stage::Handshake { .. } => return self.shake_hands(buffer),
            Stage::Ended => return Ok(Came::Messages(0)),
            Stage::Open => {}
        }
        if self.out_left > 0 {
            self.write(message)?;
        }
        let mut came = 0;
        let is_emptied = self.stream.is_emptied_by_short_reads() && !reads_to_end;
        loop {
            let count = match self.stream.read(buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if is_gone(error.kind()) => 0,
                Err(error) => return Err(error).during("receiving"),
            };
            if count == 0 {
                return self.end().map(|()| Came::Messages(came));
            }
            came += self.take(&buffer[..count], message, latency)?;
            if matches!(self.stage, Stage::Ended) || (count < buffer.len() && is_emptied) {
                break;
            }
        }
        Ok(Came::Messages(came))
    }

    fn end(&mut self) -> Result<()> {
        self.stage = Stage::Ended;
        match self.closed {
            Some(_) => Ok(()),
            None => fault("a connection ended without a Close frame"),
        }
    }

    /// Compares what came with what must come; returns how many messages are complete.
    fn take(&mut self, bytes: &[u8], message: &Message, latency: &mut Histogram) -> Result<usize> {
        if message.echoes[self.in_at..][..bytes.len()] != *bytes {
            return self.take_control(bytes, message, latency);
        }
        self.in_at += bytes.len();
        let complete = self.in_at / message.echo_bytes;
        self.in_at %= message.echo_bytes;
        if complete > 0 {
            let at = now();
            for _ in 0..complete {
                let Some(sent) = self.sent.pop_front() else {
                    return fault("more messages came back than were sent");
                };
                latency.record(at.saturating_duration_since(sent).as_nanos() as u64);
            }
        }
        Ok(complete)
    }

    /// Not only echoes: a proxy may ping and close at a frame boundary, and nothing else.
    fn take_control(
        &mut self,
        bytes: &[u8],
        message: &Message,
        latency: &mut Histogram,
    ) -> Result<usize> {
        let until_boundary = (message.echo_bytes - self.in_at) % message.echo_bytes;
        let mut at = until_boundary.min(bytes.len());
        let whole = |at: usize| {
            let next = bytes.get(at..at + message.echo_bytes);
            next.is_some_and(|next| next == &message.echoes[..message.echo_bytes])
        };
        while whole(at) {
            at += message.echo_bytes;
        }
        let (before, control) = bytes.split_at(at);
        if message.echoes[self.in_at..][..before.len()] != *before {
            return fault("what came back is not what was sent");
        }
        let mut came = if before.is_empty() { 0 } else { self.take(before, message, latency)? };
        match control {
            [first, ..] if *first == FIN | CLOSE => {
                let code =
                    control.get(2..4).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                self.closed = Some(Closed { code, at: now() });
                self.stage = Stage::Ended;
            }
            [first, length, rest @ ..]
                if *first == FIN | PING && rest.len() >= usize::from(*length) =>
            {
                // Unanswered: a load is never silent for long enough to be missed.
                let rest = &rest[usize::from(*length)..];
                came += if rest.is_empty() { 0 } else { self.take(rest, message, latency)? };
            }
            _ => return fault("what came back is not what was sent"),
        }
        Ok(came)
    }

    fn shake_hands(&mut self, buffer: &mut [u8]) -> Result<Came> {
        let Stage::Handshake { request, sent, answer } = &mut self.stage else {
            return Ok(Came::Messages(0));
        };
        while *sent < request.len() {
            match self.stream.write(&request[*sent..]) {
                Ok(count) => *sent += count,
                Err(error) if is_later(error.kind()) => return Ok(Came::Messages(0)),
                Err(error) => return Err(error).during("a handshake"),
            }
        }
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return fault("a handshake was not answered"),
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
                Err(error) if is_later(error.kind()) => return Ok(Came::Messages(0)),
                Err(error) => return Err(error).during("a handshake"),
            }
            if head_end(answer).is_some() {
                break;
            }
        }
        check_answer(answer)?;
        self.stage = Stage::Open;
        self.stream.set_nodelay()?;
        Ok(Came::Opened)
    }
}

/// Whether an answer is the 101 that completes the handshake, and nothing behind it.
pub fn check_answer(answer: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(answer);
    let is_whole = head_end(answer) == Some(answer.len());
    match text.starts_with("HTTP/1.1 101 ") && text.contains(ACCEPT) && is_whole {
        true => Ok(()),
        false => fault(format!(
            "a handshake was answered with {}",
            text.lines().next().unwrap_or_default()
        )),
    }
}

/// An outcome that is no outcome yet.
pub fn is_later(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted)
}

fn is_gone(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
