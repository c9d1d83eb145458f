//! The echo itself: a walk over the client's frames that writes each back, unmasked.

use crate::websocket::{CLOSE, FIN, PING, PONG, header, header_bytes, parse_header, unmask};

/// How a stretch of frames ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Walk {
    /// There may be more.
    GoesOn,
    /// A Close frame was echoed: the connection is over.
    Closed,
}

/// Where in a client's frames we are. Frames may be of any length: nothing waits for a whole one.
#[derive(Default)]
pub struct Frames {
    head: Vec<u8>,
    payload_left: u64,
    payload_done: usize,
    mask: [u8; 4],
    is_close: bool,
}

impl Frames {
    /// Takes what has arrived and appends what is to be sent.
    pub fn walk(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Walk {
        loop {
            if self.payload_left == 0 {
                if self.is_close {
                    return Walk::Closed;
                }
                let Some(used) = self.take_head(bytes, out) else { return Walk::GoesOn };
                bytes = &bytes[used..];
                continue;
            }
            if bytes.is_empty() {
                return Walk::GoesOn;
            }
            let taken = usize::try_from(self.payload_left)
                .map_or(bytes.len(), |left| left.min(bytes.len()));
            let begin = out.len();
            out.extend_from_slice(&bytes[..taken]);
            unmask(&mut out[begin..], self.mask, self.payload_done);
            self.payload_left -= taken as u64;
            self.payload_done += taken;
            bytes = &bytes[taken..];
        }
    }

    /// Takes the rest of a header; `None` if it is still not whole.
    fn take_head(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            self.head.push(*byte);
            if self.head.len() > 1 && self.head.len() == header_bytes(self.head[1]) {
                self.begin_payload(out);
                return Some(at + 1);
            }
        }
        None
    }

    fn begin_payload(&mut self, out: &mut Vec<u8>) {
        let (payload_bytes, mask) = parse_header(&self.head);
        let opcode = self.head[0] & 0xf;
        let first = if opcode == PING { FIN | PONG } else { self.head[0] };
        let length = usize::try_from(payload_bytes).unwrap_or(usize::MAX);
        out.extend(header(first, length, None));
        self.payload_left = payload_bytes;
        self.payload_done = 0;
        self.mask = mask.unwrap_or_default();
        self.is_close = opcode == CLOSE;
        self.head.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::{BINARY, Message, client_frame};

    #[test]
    fn frames_come_back_whatever_the_cuts() {
        let message = Message::new(300, 3);
        let mut bytes = message.frames.clone();
        bytes.extend(client_frame(CLOSE, &1000_u16.to_be_bytes()));
        for cut in 1..50 {
            let mut frames = Frames::default();
            let mut out = Vec::new();
            let ends: Vec<Walk> =
                bytes.chunks(cut).map(|part| frames.walk(part, &mut out)).collect();
            assert_eq!(ends.last(), Some(&Walk::Closed), "{cut}");
            assert_eq!(ends.iter().filter(|end| **end == Walk::Closed).count(), 1);
            let echoes = message.echo_bytes * 4;
            assert_eq!(out[..echoes], message.echoes[..echoes]);
            assert_eq!(out[echoes..], [FIN | CLOSE, 2, 3, 232]);
        }
    }

    #[test]
    fn an_empty_message_comes_back_empty() {
        let mut out = Vec::new();
        let mut frames = Frames::default();
        frames.walk(&client_frame(BINARY, b""), &mut out);
        frames.walk(&client_frame(PING, b"x"), &mut out);
        assert_eq!(out, [FIN | BINARY, 0, FIN | PONG, 1, b'x']);
    }
}
