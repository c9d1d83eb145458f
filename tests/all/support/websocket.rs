//! A WebSocket client that can do everything wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::PATIENCE;

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;
pub const FIN: u8 = 0x80;
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
/// A valid Sec-WebSocket-Key.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A handshake for `path` with further header lines, each ending in CRLF.
pub fn handshake(path: &str, host: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    )
}

/// One frame, masked as a client's.
pub fn masked(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first_byte, 0x80, payload.len() as u64);
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// One frame as a server's.
pub fn unmasked(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first_byte, 0, payload.len() as u64);
    frame.extend(payload);
    frame
}

/// A frame's first bytes, without a mask's key.
pub fn header(first_byte: u8, mask_bit: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first_byte];
    match length {
        0..126 => header.push(mask_bit | length as u8),
        126..65_536 => {
            header.push(mask_bit | 126);
            header.extend((length as u16).to_be_bytes());
        }
        _ => {
            header.push(mask_bit | 127);
            header.extend(length.to_be_bytes());
        }
    }
    header
}

/// A frame that was received.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub first_byte: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Code and reason of a Close frame.
    pub fn close(&self) -> (u16, String) {
        assert_eq!(self.first_byte, FIN | CLOSE, "{self:?}");
        let code = u16::from_be_bytes([self.payload[0], self.payload[1]]);
        (code, String::from_utf8(self.payload[2..].to_vec()).unwrap())
    }
}

/// Either end of a WebSocket, on TCP or on TLS.
pub struct WebSocket<S = TcpStream> {
    pub socket: S,
    pub head: String,
}

impl WebSocket {
    /// Connects, sends a request and reads the head of the answer.
    pub fn open(address: SocketAddr, request: impl AsRef<[u8]>) -> Self {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(request.as_ref()).unwrap();
        let head = read_head(&mut socket);
        Self { socket, head }
    }

    /// Opens `path` on the bare host; it must be accepted.
    pub fn connect(address: SocketAddr, path: &str, headers: &str) -> Self {
        let websocket = Self::open(address, handshake(path, "localhost", headers));
        assert!(websocket.head.starts_with("HTTP/1.1 101"), "{}", websocket.head);
        websocket
    }

    pub fn half_close(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }
}

impl<S: Read + Write> WebSocket<S> {
    /// The same as [`WebSocket::open`], where the way is there already.
    pub fn ask(mut socket: S, request: impl AsRef<[u8]>) -> Self {
        socket.write_all(request.as_ref()).unwrap();
        let head = read_head(&mut socket);
        Self { socket, head }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// The next frame, unmasked; `None` at the end of the stream.
    pub fn receive(&mut self) -> Option<Frame> {
        let mut start = [0; 2];
        match self.socket.read_exact(&mut start) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                ) =>
            {
                return None;
            }
            Err(error) => panic!("{error}"),
        }
        let length = match start[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes(self.read())),
            127 => u64::from_be_bytes(self.read()),
            short => u64::from(short),
        };
        let mask: [u8; 4] = if start[1] & 0x80 != 0 { self.read() } else { [0; 4] };
        let mut payload = vec![0; length as usize];
        self.socket.read_exact(&mut payload).unwrap();
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        Some(Frame { first_byte: start[0], payload })
    }

    fn read<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.socket.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The next frame's payload as text; the frame must be a whole text message.
    pub fn receive_text(&mut self) -> String {
        let frame = self.receive().expect("a text message");
        assert_eq!(frame.first_byte, FIN | TEXT, "{frame:?}");
        String::from_utf8(frame.payload).unwrap()
    }

    /// Code and reason of the Close frame that comes next, behind which there must be nothing. Pings
    /// that come meanwhile are answered: they do after 30 s.
    pub fn receive_close(&mut self) -> (u16, String) {
        let close = loop {
            let frame = self.receive().expect("a Close frame");
            if frame.first_byte != FIN | PING {
                break frame.close();
            }
            self.send(&masked(FIN | PONG, &frame.payload));
        };
        assert_eq!(self.receive(), None);
        close
    }
}

/// Reads up to the empty line behind headers, and not a byte more.
pub fn read_head(socket: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}
