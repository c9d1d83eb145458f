//! The runtime behind the proxies: echoes WebSocket messages and serves plain HTTP, in one thread.
//!
//! - A handshake on any path is accepted; every frame comes back, unmasked.
//! - `GET …/bytes/N` is answered with N bytes of a pattern.
//! - A body that is sent is compared with the pattern; the answer is how many bytes were right.

use std::io::ErrorKind;
use std::net::SocketAddr;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::fault::{During, Result};

mod connection;
mod frames;

use connection::Connection;
pub use connection::{PATTERN_BYTES, doubled_pattern};

const LISTENER: Token = Token(usize::MAX);

/// Serves until the process is ended.
pub fn serve(address: SocketAddr) -> Result<()> {
    let mut listener = TcpListener::bind(address).during("listening")?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections: Slab<Connection> = Slab::new();
    let mut shared = connection::Shared::default();
    loop {
        if let Err(error) = poll.poll(&mut events, None) {
            match error.kind() {
                ErrorKind::Interrupted => continue,
                _ => return Err(error).during("waiting"),
            }
        }
        let mut is_calling = false;
        for event in &events {
            if event.token() == LISTENER {
                is_calling = true;
                continue;
            }
            let key = event.token().0;
            let Some(connection) = connections.get_mut(key) else { continue };
            let goes_on = connection.turn(event.is_read_closed() || event.is_error(), &mut shared);
            if !goes_on {
                connections.remove(key);
            }
        }
        // After the batch: a slot that was freed in it is not given away while its events are about.
        if is_calling {
            accept_all(&listener, &poll, &mut connections)?;
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut Slab<Connection>,
) -> Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error).during("accepting"),
        };
        stream.set_nodelay(true)?;
        let slot = connections.vacant_entry();
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(slot.key()), both)?;
        slot.insert(Connection::new(stream));
    }
}

#[cfg(test)]
mod tests;
