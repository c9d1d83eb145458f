//! The floor: a readiness loop that receives and sends and does nothing else. No proxy can do with
//! less, since none can do with fewer system calls.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::fault::{During, Result};

const LISTENER: Token = Token(usize::MAX);
/// A little less than the loopback carries in one segment: a read of 64 KiB would leave in two.
const READ_BYTES_MAX: usize = 64 * 1024 - 256;

/// One direction of a pair: what one side has sent and the other has not taken yet.
#[derive(Default)]
struct Way {
    pending: Vec<u8>,
    has_ended: bool,
    is_shut: bool,
}

struct Pair {
    streams: [TcpStream; 2],
    /// By the side that sends.
    ways: [Way; 2],
}

/// Serves in this thread until the process is ended.
pub fn serve(listen: SocketAddr, to: SocketAddr) -> Result<()> {
    let mut listener = TcpListener::bind(listen).during("listening")?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut pairs: Slab<Pair> = Slab::new();
    let mut buffer = vec![0; READ_BYTES_MAX];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            outcome => outcome.during("waiting")?,
        }
        let mut is_calling = false;
        for event in &events {
            if event.token() == LISTENER {
                is_calling = true;
                continue;
            }
            let (key, side) = (event.token().0 / 2, event.token().0 % 2);
            let Some(pair) = pairs.get_mut(key) else { continue };
            let reads_to_end = event.is_read_closed() || event.is_error();
            let read = !event.is_readable() || pair.forward(side, reads_to_end, &mut buffer);
            // A side that can be written to again lets the other be read again.
            let wrote = !event.is_writable()
                || pair.ways[1 - side].pending.is_empty()
                || pair.forward(1 - side, true, &mut buffer);
            if !read || !wrote || pair.ways.iter().all(|way| way.is_shut) {
                pairs.remove(key);
            }
        }
        if is_calling {
            accept_all(&listener, to, &poll, &mut pairs)?;
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    to: SocketAddr,
    poll: &Poll,
    pairs: &mut Slab<Pair>,
) -> Result<()> {
    loop {
        let client = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error).during("accepting"),
        };
        let mut streams = [client, TcpStream::connect(to)?];
        let slot = pairs.vacant_entry();
        for (side, stream) in streams.iter_mut().enumerate() {
            stream.set_nodelay(true)?;
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(stream, Token(2 * slot.key() + side), both)?;
        }
        slot.insert(Pair { streams, ways: Default::default() });
    }
}

impl Pair {
    /// Moves what `side` has sent to the other; false when the pair has failed.
    fn forward(&mut self, side: usize, reads_to_end: bool, buffer: &mut [u8]) -> bool {
        let (left, right) = self.streams.split_at_mut(1);
        let (from, to) =
            if side == 0 { (&mut left[0], &mut right[0]) } else { (&mut right[0], &mut left[0]) };
        let way = &mut self.ways[side];
        loop {
            if !way.pending.is_empty() {
                let Some(done) = send(to, &way.pending) else { return false };
                way.pending.drain(..done);
                if !way.pending.is_empty() {
                    return true;
                }
            }
            if way.has_ended {
                way.is_shut = way.is_shut || to.shutdown(Shutdown::Write).is_ok();
                return way.is_shut;
            }
            let count = match from.read(buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            way.has_ended = count == 0;
            let Some(done) = send(to, &buffer[..count]) else { return false };
            way.pending.extend_from_slice(&buffer[done..count]);
            if count < buffer.len() && !reads_to_end && way.pending.is_empty() {
                return true;
            }
        }
    }
}

/// How much was taken; `None` when the side is gone.
fn send(to: &mut TcpStream, bytes: &[u8]) -> Option<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match to.write(&bytes[done..]) {
            Ok(count) => done += count,
            // Not connected yet is "later", too.
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) =>
            {
                break;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    Some(done)
}
