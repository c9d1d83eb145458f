//! The little of RFC 6455 that a generator and an echo need.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};

/// The most bytes read from a socket at once.
pub const READ_BYTES_MAX: usize = 64 * 1024;

/// The handshake's key is always the same, so that the accept value is, too.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What the handshake's key must be answered with (RFC 6455, section 1.3).
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The bit of a frame's first byte that says that it is the last of its message.
pub const FIN: u8 = 0x80;
/// Opcode of a message of bytes.
pub const BINARY: u8 = 0x2;
/// Opcode of the end.
pub const CLOSE: u8 = 0x8;
/// Opcode of a question whether somebody is there.
pub const PING: u8 = 0x9;
/// Opcode of the answer.
pub const PONG: u8 = 0xA;
const MASKED: u8 = 0x80;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The value of `Sec-WebSocket-Accept` for a key (RFC 6455, section 4.2.2).
pub fn accept(key: &str) -> String {
    BASE64_STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// A handshake of a client for a path, with further headers, each ended by CRLF.
pub fn handshake(host: &str, path: &str, headers: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
    .into_bytes()
}

/// The header of a frame.
pub fn header(first: u8, payload_bytes: usize, mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { MASKED } else { 0 };
    let mut header = vec![first];
    match payload_bytes {
        0..126 => header.push(masked | payload_bytes as u8),
        126..=0xffff => {
            header.push(masked | 126);
            header.extend((payload_bytes as u16).to_be_bytes());
        }
        _ => {
            header.push(masked | 127);
            header.extend((payload_bytes as u64).to_be_bytes());
        }
    }
    header.extend(mask.into_iter().flatten());
    header
}

/// A masked frame of a client's.
pub fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(FIN | opcode, payload.len(), Some(MASK));
    let begin = frame.len();
    frame.extend_from_slice(payload);
    unmask(&mut frame[begin..], MASK, 0);
    frame
}

/// Masks or unmasks bytes of which `offset` came before (RFC 6455, section 5.3).
pub fn unmask(bytes: &mut [u8], mut mask: [u8; 4], offset: usize) {
    mask.rotate_left(offset % 4);
    let wide = u32::from_ne_bytes(mask);
    let wide = u64::from(wide) << 32 | u64::from(wide);
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        let value = u64::from_ne_bytes([
            word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7],
        ]);
        word.copy_from_slice(&(value ^ wide).to_ne_bytes());
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// The length of a frame's header, once its first two bytes are there.
pub fn header_bytes(second: u8) -> usize {
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + extended + if second & MASKED != 0 { 4 } else { 0 }
}

/// Payload length and mask of a whole header.
pub fn parse_header(header: &[u8]) -> (u64, Option<[u8; 4]>) {
    let second = header[1];
    let extended = &header[2..];
    let (payload_bytes, used) = match second & 0x7f {
        126 => (u64::from(extended[0]) << 8 | u64::from(extended[1]), 2),
        127 => (extended[..8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), 8),
        short => (u64::from(short), 0),
    };
    let mask = (second & MASKED != 0)
        .then(|| [extended[used], extended[used + 1], extended[used + 2], extended[used + 3]]);
    (payload_bytes, mask)
}

/// Where the body begins: behind the empty line, if that is there.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// A header's value in a head, its name in lower case.
pub fn header_value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// One message, many times over: what a client sends, and what must come back.
pub struct Message {
    /// Bytes of the frame on its way to the runtime.
    pub frame_bytes: usize,
    /// Bytes of the frame on its way back.
    pub echo_bytes: usize,
    /// As many frames as may be sent at once, and one more.
    pub frames: Vec<u8>,
    /// Echoes for one read, wherever in an echo it begins.
    pub echoes: Vec<u8>,
}

impl Message {
    /// A message of `payload_bytes` of which `at_once` may be sent in one write.
    pub fn new(payload_bytes: usize, at_once: usize) -> Self {
        let payload = pattern(payload_bytes);
        let frame = client_frame(BINARY, &payload);
        let mut echo = header(FIN | BINARY, payload_bytes, None);
        echo.extend_from_slice(&payload);
        let echoes = echo.len() + READ_BYTES_MAX;
        Self {
            frame_bytes: frame.len(),
            echo_bytes: echo.len(),
            frames: frame.repeat(at_once + 1),
            echoes: echo.iter().copied().cycle().take(echoes).collect(),
        }
    }
}

/// Bytes of which no stretch is like another near by.
pub fn pattern(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_the_one_of_the_rfc() {
        assert_eq!(accept(KEY), ACCEPT);
    }

    #[test]
    fn a_frame_of_any_length_can_be_read_back() {
        for payload_bytes in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
            let payload = pattern(payload_bytes);
            let frame = client_frame(BINARY, &payload);
            let begin = header_bytes(frame[1]);
            let (length, mask) = parse_header(&frame[..begin]);
            assert_eq!(length, payload_bytes as u64);
            let mut body = frame[begin..].to_vec();
            unmask(&mut body, mask.unwrap(), 0);
            assert_eq!(body, payload);
        }
    }

    #[test]
    fn unmasking_in_pieces_is_unmasking() {
        let payload = pattern(1000);
        let frame = client_frame(BINARY, &payload);
        let begin = header_bytes(frame[1]);
        let mut body = frame[begin..].to_vec();
        let (first, second) = body.split_at_mut(333);
        unmask(first, MASK, 0);
        unmask(second, MASK, 333);
        assert_eq!(body, payload);
    }
}
