//! Numbered messages, and what must come back.

use std::collections::VecDeque;

use flowgate_bench::websocket::{BINARY, FIN, PING, PONG, client_frame, pattern};

use crate::dice::Dice;
use crate::frames::Frame;
use crate::judge::Way;

/// The kind of violation.
pub const WRONG: &str = "a message lost, twice, out of order or changed";

/// What a frame is.
#[derive(Debug, PartialEq, Eq)]
pub enum Checked {
    /// The message that is due.
    Message,
    /// Somebody asks whether the client is there; with what.
    Ping(Vec<u8>),
    /// Nothing of interest.
    Nothing,
}

/// What a connection has sent and not got back yet.
pub struct Checker {
    missing: VecDeque<Vec<u8>>,
    sent: u64,
}

impl Checker {
    /// The runtime speaks first.
    pub fn new(greeting: String) -> Self {
        Self { missing: VecDeque::from([greeting.into_bytes()]), sent: 0 }
    }

    /// Whether anything is to come.
    pub fn misses_something(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Frames of some new messages, mostly short ones.
    pub fn prepare(&mut self, way: &Way, dice: &mut Dice) -> Vec<u8> {
        let mut frames = Vec::new();
        for _ in 0..1 + dice.below(4) {
            let bytes = match dice.below(1000) {
                0 => 300_000,
                1..20 => 1_000 + dice.below(60_000),
                _ => dice.below(400),
            };
            self.sent += 1;
            // Nobody else's message is like it, and nothing of it is like another part of it.
            let mut payload = format!("{}/{}/{}:", way.tenant.name, way.id, self.sent).into_bytes();
            payload.extend(pattern(bytes));
            frames.extend(client_frame(BINARY, &payload));
            self.missing.push_back(payload);
        }
        frames
    }

    /// Compares a frame with what is due.
    pub fn check(&mut self, frame: Frame) -> Result<Checked, String> {
        if frame.is_masked {
            return Err("a runtime's frame with a mask".to_owned());
        }
        match frame.opcode() {
            PING => return Ok(Checked::Ping(frame.payload)),
            PONG => return Ok(Checked::Nothing),
            _ => {}
        }
        let due = self.missing.pop_front();
        match due {
            Some(due) if due == frame.payload && frame.first == FIN | BINARY => {
                Ok(Checked::Message)
            }
            due => Err(format!(
                "{:02x} {} came, {} was due",
                frame.first,
                shown(&frame.payload),
                due.map_or_else(|| "nothing".to_owned(), |due| shown(&due))
            )),
        }
    }
}

/// The begin of a message, and its length.
fn shown(payload: &[u8]) -> String {
    let begin: String = payload
        .iter()
        .take(40)
        .take_while(|byte| **byte != b':')
        .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
        .collect();
    format!("{begin:?} of {} bytes", payload.len())
}
