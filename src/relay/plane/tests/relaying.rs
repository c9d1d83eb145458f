//! Bytes between real sockets.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::cluster::{Cluster, Joined, read_exactly, read_to_end, wait_until};
use crate::clock::Clock;
use crate::close::Cause;
use crate::relay::frames::{BINARY, CLOSE, Frame, TEXT, close_payload, is_close, stream};

const KEY: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];

fn send(mut peer: &TcpStream, bytes: &[u8]) {
    peer.write_all(bytes).unwrap();
}

/// Sends on a thread of its own while this one reads.
fn pass(from: &TcpStream, to: &TcpStream, bytes: &[u8]) {
    std::thread::scope(|scope| {
        scope.spawn(|| send(from, bytes));
        assert!(read_exactly(to, bytes.len()).unwrap() == bytes, "bytes changed on the way");
    });
}

fn say_goodbye(joined: &Joined) {
    let close = Frame::new(CLOSE, &close_payload(1000, ""));
    let masked = close.clone().masked(KEY).bytes();
    send(&joined.client, &masked);
    send(&joined.runtime, &close.bytes());
    joined.runtime.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&joined.client).ends_with(&close.bytes()));
    joined.client.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&joined.runtime).ends_with(&masked));
}

#[test]
fn read_ahead_comes_first_and_then_a_mebibyte_each_way() {
    let cluster = Cluster::start(1);
    let early = Frame::new(TEXT, b"early").masked(KEY).bytes();
    let greeting = Frame::new(TEXT, b"welcome").bytes();
    // The read-ahead ends inside a header and inside a payload.
    let joined = cluster.join([&early[..3], &greeting[..4]]);
    send(&joined.client, &early[3..]);
    send(&joined.runtime, &greeting[4..]);
    assert_eq!(read_exactly(&joined.runtime, early.len()).unwrap(), early);
    assert_eq!(read_exactly(&joined.client, greeting.len()).unwrap(), greeting);
    let question = Frame::new(BINARY, &[b'q'; 1 << 20]).masked(KEY).bytes();
    let answer = Frame::new(BINARY, &[b'a'; 1 << 20]).bytes();
    pass(&joined.client, &joined.runtime, &question);
    pass(&joined.runtime, &joined.client, &answer);
    wait_until("both counts", || {
        (joined.entry.from_client.messages(), joined.entry.from_runtime.messages()) == (2, 2)
    });
    say_goodbye(&joined);
    cluster.wait_until_empty();
    let entry = &joined.entry;
    assert!(entry.from_client.bytes() > (1 << 20) && entry.from_runtime.bytes() > (1 << 20));
    cluster.plane.stop();
}

/// What waits in the sockets at adoption brings no event of its own.
#[test]
fn what_came_before_adoption_is_read() {
    let cluster = Cluster::start(1);
    for ended in [false, true] {
        let (adoption, Joined { client, runtime, .. }) = cluster.prepare([&[], &[]]);
        let message = Frame::new(TEXT, b"sent early").masked(KEY).bytes();
        send(&client, &message);
        if ended {
            client.shutdown(Shutdown::Write).unwrap();
        }
        cluster.adopt(adoption);
        assert_eq!(read_exactly(&runtime, message.len()).unwrap(), message);
        if ended {
            assert_eq!(read_to_end(&runtime), [0_u8; 0]);
        }
    }
    cluster.wait_until_empty();
    cluster.plane.stop();
}

#[test]
fn two_hundred_connections_at_once() {
    let cluster = Cluster::start(2);
    let all: Vec<Joined> = (0..200).map(|_| cluster.join([&[], &[]])).collect();
    let question = |number: usize| Frame::new(TEXT, &number.to_be_bytes()).masked(KEY).bytes();
    let answer = |number: usize| Frame::new(BINARY, &vec![number as u8; 3000]).bytes();
    for round in 0..5 {
        for (number, joined) in all.iter().enumerate() {
            send(&joined.client, &question(number + round));
            send(&joined.runtime, &answer(number + round));
        }
        for (number, joined) in all.iter().enumerate() {
            let (question, answer) = (question(number + round), answer(number + round));
            assert_eq!(read_exactly(&joined.runtime, question.len()).unwrap(), question);
            assert_eq!(read_exactly(&joined.client, answer.len()).unwrap(), answer);
        }
    }
    assert_eq!(cluster.live.len(), 200);
    all.iter().for_each(say_goodbye);
    cluster.wait_until_empty();
    cluster.plane.stop();
}

#[test]
fn a_client_that_never_reads_disturbs_nobody() {
    let cluster = Cluster::start(1);
    let stuck = cluster.join([&[], &[]]);
    let flood = Frame::new(BINARY, &[b'f'; 1 << 16]).bytes();
    stuck.runtime.set_nonblocking(true).unwrap();
    // Into every buffer on the way, until nothing has moved for long.
    let clock = Clock::start();
    let (mut flooded_bytes, mut moved_at) = (0, clock.now());
    wait_until("full buffers", || {
        while let Ok(sent @ 1..) = (&stuck.runtime).write(&flood[flooded_bytes % flood.len()..]) {
            flooded_bytes += sent;
            moved_at = clock.now();
        }
        clock.now().since(moved_at) >= Duration::from_secs(1)
    });
    assert!(stuck.entry.from_runtime.bytes() < flooded_bytes as u64);
    stuck.runtime.set_nonblocking(false).unwrap();
    let other = cluster.join([&[], &[]]);
    for _ in 0..200 {
        pass(&other.client, &other.runtime, &Frame::new(TEXT, b"ping").masked(KEY).bytes());
        pass(&other.runtime, &other.client, &Frame::new(TEXT, b"pong").bytes());
    }
    // The stuck connection still works the other way, and closes when told to.
    pass(&stuck.client, &stuck.runtime, &Frame::new(TEXT, b"help").masked(KEY).bytes());
    say_goodbye(&other);
    stuck.entry.close(Cause::ClosedByOperator);
    cluster.wait_until_empty();
    cluster.plane.stop();
}

#[test]
fn a_vanished_runtime_is_told_to_the_client() {
    let cluster = Cluster::start(1);
    let Joined { client, runtime, .. } = cluster.join([&[], &[]]);
    let message = Frame::new(TEXT, b"last words").bytes();
    pass(&runtime, &client, &message);
    drop(runtime);
    assert!(is_close(&read_to_end(&client), Cause::RuntimeGone, false));
    drop(client);
    cluster.wait_until_empty();
    cluster.plane.stop();
}

/// A runtime that says goodbye and closes at once, with unread bytes in its socket, resets the
/// connection behind its own last frames. They arrive all the same.
#[test]
fn a_reset_does_not_overtake_the_last_frames() {
    let cluster = Cluster::start(1);
    let last =
        [Frame::new(TEXT, b"going down"), Frame::new(CLOSE, &close_payload(1001, "runtime stops"))];
    for _ in 0..100 {
        let Joined { client, runtime, .. } = cluster.join([&[], &[]]);
        let chatter = stream(&vec![Frame::new(TEXT, b"chatter").masked(KEY); 20]);
        send(&client, &chatter);
        read_exactly(&runtime, 1).unwrap();
        runtime.peek(&mut [0]).unwrap();
        send(&runtime, &stream(&last));
        drop(runtime);
        // May fail: then the reset has come through already.
        let _ = (&client).write_all(&chatter);
        assert_eq!(read_exactly(&client, stream(&last).len()).unwrap(), stream(&last));
    }
    cluster.wait_until_empty();
    cluster.plane.stop();
}
