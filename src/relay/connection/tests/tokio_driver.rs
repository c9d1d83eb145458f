//! The same connection on tokio: nothing of it is the relay thread's.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream as StdStream};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncWrite, Interest};
use tokio::net::{TcpListener, TcpStream};

use super::bench::RULES;
use super::model::{directed, own_close};
use super::sim::Dice;
use crate::clock::Millis;
use crate::plan::Accounts;
use crate::relay::buffers::Buffers;
use crate::relay::connection::{Connection, Outcome, Turn};
use crate::relay::frames::{BINARY, Frame, PING, stream};
use crate::relay::pair::{Ending, Pair, Side};
use crate::relay::wire::{Received, Socket};

impl Socket for TcpStream {
    fn recv(&mut self, bytes: &mut [u8]) -> io::Result<Received> {
        match self.try_read(bytes)? {
            0 => Ok(Received::End),
            length => Ok(Received::Bytes { length, more: length == bytes.len() }),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(bytes)
    }

    fn ends_when_dropped(&self) -> bool {
        true
    }

    fn finish(&mut self) -> io::Result<()> {
        match Pin::new(self).poll_shutdown(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

/// Turns until the connection is over, then drops it; between them, waits for what it lacks.
async fn relay(mut connection: Connection<TcpStream>) -> Pair {
    let mut buffers = Buffers::default();
    loop {
        let (scratch, pool) = buffers.split();
        let mut turn = Turn { now: Millis(0), accounts: Accounts::default(), scratch, pool };
        match connection.turn(&mut turn) {
            Outcome::Over => return connection.pair,
            Outcome::Again => tokio::task::yield_now().await,
            Outcome::Idle => {
                poll_fn(|context| {
                    match Side::BOTH.map(|side| note(&mut connection, side, context)) {
                        [false, false] => Poll::Pending,
                        _ => Poll::Ready(()),
                    }
                })
                .await;
            }
        }
    }
}

/// Tells the connection what its socket is ready for; returns whether that is anything new.
fn note(connection: &mut Connection<TcpStream>, side: Side, context: &mut Context<'_>) -> bool {
    let leg = &connection.legs[side as usize];
    let (wants_bytes, wants_room) = (!leg.readable && !leg.source_ended, !leg.writable);
    let readable = wants_bytes && leg.socket.poll_read_ready(context).is_ready();
    let writable = wants_room && leg.socket.poll_write_ready(context).is_ready();
    if readable {
        connection.readable(side, false);
    }
    if writable {
        connection.writable(side);
    }
    readable || writable
}

async fn socket_pair() -> (TcpStream, StdStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    socket.ready(Interest::WRITABLE).await.unwrap();
    (socket, peer)
}

/// Sends and receives on threads of their own, until the other end has nothing more to say.
fn peer(socket: StdStream, bytes: Vec<u8>) -> impl FnOnce() -> Vec<u8> {
    let mut reading = socket.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut received = Vec::new();
        reading.read_to_end(&mut received).unwrap();
        received
    });
    let writer = std::thread::spawn(move || {
        (&socket).write_all(&bytes).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
    });
    move || {
        writer.join().unwrap();
        reader.join().unwrap()
    }
}

fn conversation(from: Side, dice: &mut Dice) -> Vec<u8> {
    let mut frames = Vec::new();
    for _ in 0..40 {
        let payload = vec![b'x'; dice.size(400_000)];
        frames.push(directed(Frame::new(BINARY, &payload), from, [7, 7, 0, 1]));
        frames.push(directed(Frame::new(PING, b"still there?"), from, [0, 7, 0, 1]));
    }
    frames.push(own_close(from, 1000));
    stream(&frames)
}

#[tokio::test]
async fn two_real_sockets_are_relayed_without_mio() {
    let mut dice = Dice::new(7);
    let streams = Side::BOTH.map(|side| conversation(side, &mut dice));
    let (client_leg, client) = socket_pair().await;
    let (runtime_leg, runtime) = socket_pair().await;
    let peers = [peer(client, streams[0].clone()), peer(runtime, streams[1].clone())];
    let pair = Pair::new(RULES, Millis(0));
    let read_ahead = [Vec::new(), Vec::new()];
    let pair = relay(Connection::new([client_leg, runtime_leg], read_ahead, pair)).await;
    let [to_client, to_runtime] = peers.map(|join| join());
    assert!(to_runtime == streams[0] && to_client == streams[1]);
    for side in Side::BOTH {
        let counts = pair.counts(side);
        assert_eq!((counts.messages, counts.bytes), (40, streams[side as usize].len() as u32));
    }
    assert!(matches!(pair.ending(), Some(Ending::Closed(_, Some(1000)))));
}
