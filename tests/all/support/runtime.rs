//! A runtime that does as it is told: for what no real one would do on purpose.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};

use super::PATIENCE;
use super::websocket::{CLOSE, FIN, TEXT, WebSocket, masked, read_head, unmasked};

/// Accepts connections until it is dropped.
pub struct Runtime {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Runtime {
    /// Has `conduct` deal with each connection, whose request's head was read, on a thread of its own.
    pub fn start(conduct: impl Fn(WebSocket) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let conduct = Arc::new(conduct);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let conduct = Arc::clone(&conduct);
                std::thread::spawn(move || {
                    let mut socket = socket;
                    socket.set_read_timeout(Some(PATIENCE)).unwrap();
                    let head = read_head(&mut socket);
                    conduct(WebSocket { socket, head });
                });
            }
        });
        Self { address, stop }
    }

    /// Accepts every handshake and then does `conduct`.
    pub fn accepting(conduct: impl Fn(&mut WebSocket) + Send + Sync + 'static) -> Self {
        Self::start(move |mut websocket| {
            accept(&mut websocket, "");
            conduct(&mut websocket);
        })
    }

    /// Sends every message back.
    pub fn echo() -> Self {
        Self::accepting(echo)
    }

    /// An address where nobody listens.
    pub fn nowhere() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// Answers 101 with further header lines, each ending in CRLF.
pub fn accept<S: Read + Write>(websocket: &mut WebSocket<S>, headers: &str) {
    accept_with(websocket, headers, &[]);
}

/// The same, with the first bytes of the new protocol in the same write.
pub fn accept_with<S: Read + Write>(
    websocket: &mut WebSocket<S>,
    headers: &str,
    read_ahead: &[u8],
) {
    let key = header_value(&websocket.head, "Sec-WebSocket-Key").expect("a handshake");
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let accept = BASE64_STANDARD.encode(digest);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
    );
    websocket.send(&[answer.as_bytes(), read_ahead].concat());
}

/// Sends every frame back until the client ends; a Close frame is the last.
pub fn echo<S: Read + Write>(websocket: &mut WebSocket<S>) {
    while let Some(frame) = websocket.receive() {
        let back = unmasked(frame.first_byte, &frame.payload);
        if websocket.socket.write_all(&back).is_err() || frame.first_byte == FIN | CLOSE {
            return;
        }
    }
}

/// The value of a header, whose name must be written just so.
pub fn header_value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// A message as a client sends it.
pub fn text_from_client(text: &str) -> Vec<u8> {
    masked(FIN | TEXT, text.as_bytes())
}
