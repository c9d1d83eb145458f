//! HTTP/2 frame by frame: for what no client would do on purpose.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::version::TLS13;

use super::flowgate::Flowgate;
use super::tls::{Authority, ClientStream, connect};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const PROTOCOL_ERROR: u32 = 1;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;

/// A frame that was received.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The code of a RST_STREAM.
    pub fn code(&self) -> u32 {
        assert_eq!(self.kind, RST_STREAM, "{self:?}");
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }

    /// The status of an answer whose status is in HPACK's static table (RFC 7541 appendix A).
    pub fn status(&self) -> u16 {
        assert_eq!(self.kind, HEADERS, "{self:?}");
        let known = [(0x88, 200), (0x8c, 400), (0x8d, 404)];
        let of =
            |byte: u8| known.iter().find(|(known, _)| *known == byte).map(|(_, status)| *status);
        // Any other is a literal of three digits, plain or by Huffman's code.
        of(self.payload[0]).unwrap_or(0)
    }
}

/// A client's connection.
pub struct Http2 {
    stream: ClientStream,
}

impl Http2 {
    /// Connects, and sends what a client begins with.
    pub fn connect(flowgate: &Flowgate, authority: &Authority) -> Self {
        let mut config = rustls::ClientConfig::clone(&authority.client(&[&TLS13]));
        config.alpn_protocols = vec![b"h2".to_vec()];
        let mut stream = connect(&Arc::new(config), flowgate.tls(), "localhost");
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let mut http2 = Self { stream };
        http2.send(SETTINGS, 0, 0, &[]).unwrap();
        http2
    }

    pub fn send(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> std::io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.stream.write_all(&[&head, payload].concat())
    }

    /// A request without a body.
    pub fn ask(&mut self, stream: u32, headers: &[(&str, &str)]) {
        let block = block(headers);
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &block).unwrap();
    }

    /// GET of a path on the bare host.
    pub fn get(&mut self, stream: u32, path: &str, more: &[(&str, &str)]) {
        let own = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", path),
        ];
        self.ask(stream, &[&own, more].concat());
    }

    /// The next frame; `None` at the end. Settings and pings are answered on the way.
    pub fn receive(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing comes"),
            Err(_) => return None,
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).ok()?;
        let [_, _, _, kind, flags, stream @ ..] = head;
        let frame = Frame { kind, flags, stream: u32::from_be_bytes(stream), payload };
        match (frame.kind, frame.flags & ACK) {
            (SETTINGS, 0) => self.send(SETTINGS, ACK, 0, &[]).ok()?,
            (PING, 0) => self.send(PING, ACK, 0, &frame.payload).ok()?,
            _ => {}
        }
        Some(frame)
    }

    /// The next frame of a kind.
    pub fn receive_next(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.receive().expect("the connection has ended");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// The next frame of a stream.
    pub fn receive_of(&mut self, stream: u32) -> Frame {
        loop {
            let frame = self.receive().expect("the connection has ended");
            if frame.stream == stream && frame.kind <= RST_STREAM {
                return frame;
            }
        }
    }

    /// Whether the connection ends, whatever comes before.
    pub fn ends(&mut self) -> bool {
        while self.receive().is_some() {}
        true
    }
}

/// Headers as literals that nobody remembers (RFC 7541 section 6.2.2).
pub fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            put_length(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// With a prefix of seven bits (RFC 7541 section 5.1).
fn put_length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    let mut left = length - 127;
    while left >= 128 {
        block.push((left % 128) as u8 | 128);
        left /= 128;
    }
    block.push(left as u8);
}
