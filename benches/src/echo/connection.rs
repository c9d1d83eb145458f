//! One connection of the echo runtime.

use std::io::{ErrorKind, Read, Write};
use std::sync::LazyLock;

use mio::net::TcpStream;

use super::frames::{Frames, Walk};
use crate::websocket::{READ_BYTES_MAX, accept, head_end, header_value, pattern};

/// After this many bytes a body begins anew.
pub const PATTERN_BYTES: usize = 64 * 1024;
const HEAD_BYTES_MAX: usize = 64 * 1024;
const BODY_BYTES_PER_WRITE: usize = PATTERN_BYTES;

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| pattern(PATTERN_BYTES).repeat(2));

/// The pattern twice, so that a stretch of one length can begin anywhere in the first.
pub fn doubled_pattern() -> &'static [u8] {
    &PATTERN
}

/// What the thread's connections share.
pub struct Shared {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { input: vec![0; READ_BYTES_MAX], output: Vec::with_capacity(2 * READ_BYTES_MAX) }
    }
}

enum Stage {
    Head(Vec<u8>),
    Frames(Frames),
    Body { left: u64, done: u64, wrong: u64, head: String },
}

/// A client, which is a proxy or, without one, the generator.
pub struct Connection {
    stream: TcpStream,
    stage: Stage,
    pending: Vec<u8>,
    pending_at: usize,
    /// Bytes of a pattern that are still to be sent behind what is pending.
    download_left: u64,
    download_at: usize,
    ends_after_write: bool,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            stage: Stage::Head(Vec::new()),
            pending: Vec::new(),
            pending_at: 0,
            download_left: 0,
            download_at: 0,
            ends_after_write: false,
        }
    }

    /// Does what can be done now; false when the connection is over.
    pub fn turn(&mut self, reads_to_end: bool, shared: &mut Shared) -> bool {
        loop {
            match self.write_pending() {
                Ok(true) => {}
                Ok(false) => return true,
                Err(_) => return false,
            }
            if self.ends_after_write {
                return false;
            }
            let count = match self.stream.read(&mut shared.input) {
                Ok(0) => return false,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            shared.output.clear();
            if !self.take(&shared.input[..count], &mut shared.output) {
                return false;
            }
            if !self.write(&shared.output) {
                return false;
            }
            let is_drained = count < READ_BYTES_MAX && !reads_to_end;
            if is_drained
                && self.pending.is_empty()
                && self.download_left == 0
                && !self.ends_after_write
            {
                return true;
            }
        }
    }

    /// Writes now, and keeps what is not taken.
    fn write(&mut self, bytes: &[u8]) -> bool {
        let mut done = 0;
        while done < bytes.len() {
            match self.stream.write(&bytes[done..]) {
                Ok(0) => return false,
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.pending.extend_from_slice(&bytes[done..]);
        true
    }

    /// Writes what is pending and then what is to be downloaded; true when all is written.
    fn write_pending(&mut self) -> std::io::Result<bool> {
        loop {
            let bytes = match self.pending.len() - self.pending_at {
                0 if self.download_left == 0 => {
                    self.pending = Vec::new();
                    self.pending_at = 0;
                    return Ok(true);
                }
                0 => {
                    let most = usize::try_from(self.download_left).unwrap_or(usize::MAX);
                    &PATTERN[self.download_at..][..BODY_BYTES_PER_WRITE.min(most)]
                }
                _ => &self.pending[self.pending_at..],
            };
            let count = match self.stream.write(bytes) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if self.pending_at < self.pending.len() {
                self.pending_at += count;
            } else {
                self.download_left -= count as u64;
                self.download_at = (self.download_at + count) % PATTERN_BYTES;
            }
        }
    }

    /// Takes what has arrived; false if it cannot be understood.
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        match &mut self.stage {
            Stage::Frames(frames) => {
                self.ends_after_write = frames.walk(bytes, out) == Walk::Closed;
                true
            }
            Stage::Body { left, done, wrong, .. } => {
                let (used, mismatches) = compare(bytes, *done, *left);
                *done += used as u64;
                *left -= used as u64;
                *wrong += mismatches;
                match *left {
                    0 => self.answer_body(out) && self.take(&bytes[used..], out),
                    _ => true,
                }
            }
            Stage::Head(head) => {
                head.extend_from_slice(bytes);
                match head_end(head) {
                    Some(end) => {
                        let rest = head.split_off(end);
                        let head = String::from_utf8_lossy(head).into_owned();
                        self.begin(&head, out) && (rest.is_empty() || self.take(&rest, out))
                    }
                    None => head.len() < HEAD_BYTES_MAX,
                }
            }
        }
    }

    fn begin(&mut self, head: &str, out: &mut Vec<u8>) -> bool {
        if let Some(key) = header_value(head, "sec-websocket-key") {
            out.extend_from_slice(switching(key).as_bytes());
            self.stage = Stage::Frames(Frames::default());
            return true;
        }
        if header_value(head, "transfer-encoding").is_some() {
            out.extend_from_slice(
                b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
            self.ends_after_write = true;
            return true;
        }
        let left = header_value(head, "content-length").map_or(Some(0), |value| value.parse().ok());
        let Some(left) = left else { return false };
        self.stage = Stage::Body { left, done: 0, wrong: 0, head: head.to_owned() };
        left > 0 || self.answer_body(out)
    }

    fn answer_body(&mut self, out: &mut Vec<u8>) -> bool {
        let stage = std::mem::replace(&mut self.stage, Stage::Head(Vec::new()));
        let Stage::Body { done, wrong, head, .. } = stage else { return false };
        let path = head.split(' ').nth(1).unwrap_or_default();
        let bytes = path.rsplit_once("/bytes/").and_then(|(_, count)| count.parse::<u64>().ok());
        let body = bytes.map_or_else(|| (done - wrong).to_string(), |_| String::new());
        let length = bytes.unwrap_or(body.len() as u64);
        let connection = match header_value(&head, "connection") {
            Some(value) if value.eq_ignore_ascii_case("close") => "Connection: close\r\n",
            // CHP asks in HTTP/1.1 without a word, nginx's health checks in HTTP/1.0.
            _ if head.contains(" HTTP/1.0\r\n") => "Connection: close\r\n",
            _ => "",
        };
        self.ends_after_write = !connection.is_empty();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n{connection}\r\n{body}"
        );
        out.extend_from_slice(answer.as_bytes());
        match bytes {
            // A small body goes out with its head.
            Some(count) if count <= BODY_BYTES_PER_WRITE as u64 => {
                out.extend_from_slice(&PATTERN[..count as usize]);
            }
            Some(count) => (self.download_left, self.download_at) = (count, 0),
            None => {}
        }
        true
    }
}

fn switching(key: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept(key)
    )
}

/// How many of the bytes belong to a body of which `left` are missing, and how many of these are not
/// those of the pattern.
fn compare(bytes: &[u8], done: u64, left: u64) -> (usize, u64) {
    let used = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    let at = (done % PATTERN_BYTES as u64) as usize;
    let expected = &PATTERN[at..at + used];
    if expected == &bytes[..used] {
        return (used, 0);
    }
    let wrong = expected.iter().zip(bytes).filter(|(expected, found)| expected != found).count();
    (used, wrong as u64)
}
