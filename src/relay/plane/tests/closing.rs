//! Closing and stopping, from other threads.

use std::io::Read;
use std::net::TcpStream;
use std::sync::{Arc, Barrier, mpsc};

use mio::{Poll, Token, Waker};

use super::cluster::{Cluster, Joined, read_exactly, read_to_end};
use crate::close::Cause;
use crate::live::{Entry, Mail, Mailbox};
use crate::relay::frames::{CLOSE, read};
use crate::relay::plane::Permit;

fn mailbox() -> (Poll, Mailbox) {
    let poll = Poll::new().unwrap();
    let waker = Waker::new(poll.registry(), Token(0)).unwrap();
    (poll, Mailbox::new(waker))
}

fn assert_closed(peer: &TcpStream, cause: Cause) {
    let received = read_to_end(peer);
    let (frames, rest) = read(&received);
    let [close] = frames.as_slice() else { panic!("{received:02x?}") };
    assert!(rest.is_empty() && close.opcode == CLOSE);
    assert_eq!(close.payload[..2], cause.code().to_be_bytes());
}

#[test]
fn closed_before_adoption() {
    let cluster = Cluster::start(1);
    let (adoption, Joined { client, runtime, entry }) = cluster.prepare([&[], &[]]);
    assert!(entry.close(Cause::KeyRegenerated));
    assert!(!entry.close(Cause::Drain), "the first cause stays");
    cluster.adopt(adoption);
    assert_closed(&client, Cause::KeyRegenerated);
    assert_closed(&runtime, Cause::KeyRegenerated);
    drop((client, runtime));
    cluster.wait_until_empty();
    cluster.plane.stop();
}

#[test]
fn closed_after_adoption() {
    let cluster = Cluster::start(2);
    for cause in Cause::all() {
        let Joined { client, runtime, entry } = cluster.join([&[0x82, 0x80, 1, 2, 3, 4], &[]]);
        read_exactly(&runtime, 6).unwrap();
        entry.close(cause);
        assert_closed(&client, cause);
        assert_closed(&runtime, cause);
    }
    cluster.wait_until_empty();
    cluster.plane.stop();
}

/// Whichever comes first, the seat or the close: no connection outlives it.
#[test]
fn closed_while_being_adopted() {
    const ROUNDS: usize = 3000;
    let cluster = Cluster::start(2);
    let (to_closer, entries) = mpsc::sync_channel::<Arc<Entry>>(0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (round, entry) in entries.into_iter().enumerate() {
                // A little earlier or later each time.
                (0..round % 64).for_each(|_| std::hint::spin_loop());
                entry.close(Cause::PasswordChanged);
            }
        });
        for round in 0..ROUNDS {
            let (adoption, Joined { client, runtime, entry }) = cluster.prepare([&[], &[]]);
            if round % 2 == 0 {
                to_closer.send(entry).unwrap();
                cluster.adopt(adoption);
            } else {
                cluster.adopt(adoption);
                to_closer.send(entry).unwrap();
            }
            assert_closed(&client, Cause::PasswordChanged);
            assert_closed(&runtime, Cause::PasswordChanged);
        }
        drop(to_closer);
    });
    cluster.wait_until_empty();
    cluster.plane.stop();
}

#[test]
fn a_full_mailbox_becomes_a_look_at_all() {
    let (_poll, mailbox) = mailbox();
    (0..1024).for_each(|slot| mailbox.look_at(slot));
    assert_eq!(mailbox.take(), Mail::Slots((0..1024).collect()));
    assert_eq!(mailbox.take(), Mail::Slots(Vec::new()));
    (0..1025).for_each(|slot| mailbox.look_at(slot));
    assert_eq!(mailbox.take(), Mail::All);
    assert_eq!(mailbox.take(), Mail::Slots(Vec::new()));
}

/// Keeps the thread that drops it until the test lets it go on.
#[derive(Debug)]
struct Gate(Arc<Barrier>);

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.wait();
        self.0.wait();
    }
}

/// More closings than the mailbox holds, while its thread is busy: all are obeyed.
#[test]
fn an_overflowing_mailbox_forgets_nobody() {
    let cluster = Cluster::start(1);
    let all: Vec<Joined> = (0..50).map(|_| cluster.join([&[], &[]])).collect();
    let barrier = Arc::new(Barrier::new(2));
    let (mut adoption, joined) = cluster.prepare([&[], &[]]);
    adoption.permit = Permit::Shared(Arc::new(Gate(Arc::clone(&barrier))));
    cluster.adopt(adoption);
    drop(joined);
    barrier.wait();
    for _ in 0..30 {
        all.iter().for_each(|joined| {
            joined.entry.close(Cause::Drain);
        });
    }
    barrier.wait();
    for joined in &all {
        assert_closed(&joined.client, Cause::Drain);
        assert_closed(&joined.runtime, Cause::Drain);
    }
    drop(all);
    cluster.wait_until_empty();
    cluster.plane.stop();
}

#[test]
fn what_cannot_be_closed_is_cut() {
    let cluster = Cluster::start(1);
    // A frame that never ends, in either direction.
    let Joined { client, runtime, entry } =
        cluster.join([&[0x82, 0x85, 1, 2, 3, 4, b'x'], &[0x82, 0x05, b'x']]);
    assert_eq!(read_exactly(&runtime, 7).unwrap().len(), 7);
    assert_eq!(read_exactly(&client, 3).unwrap().len(), 3);
    entry.close(Cause::TenantDisabled);
    assert_eq!(read_to_end(&client), [0_u8; 0]);
    assert_eq!(read_to_end(&runtime), [0_u8; 0]);
    cluster.wait_until_empty();
    cluster.plane.stop();
}

#[test]
fn stopping_cuts_whatever_is_left() {
    let cluster = Cluster::start(2);
    // Some may not have been seated yet.
    let all: Vec<Joined> = (0..20).map(|_| cluster.join([&[], &[]])).collect();
    let places: Vec<_> = (0..4).map(|_| cluster.plane.reserve().unwrap()).collect();
    let late: Vec<_> = (0..2).map(|_| cluster.prepare([&[], &[]])).collect();
    let Cluster { plane, live, permit, .. } = cluster;
    plane.stop();
    let mut places = places.into_iter();
    let late = late.into_iter().map(|(adoption, joined)| {
        places.next().unwrap().adopt(adoption);
        joined
    });
    for Joined { client, runtime, .. } in late.collect::<Vec<_>>().into_iter().chain(all) {
        assert_eq!(read_to_end(&client), [0_u8; 0]);
        assert_eq!(read_to_end(&runtime), [0_u8; 0]);
    }
    assert!(live.is_empty());
    assert_eq!(Arc::strong_count(&permit), 1);
    assert_eq!(places.count(), 2, "somebody still holds a place on each thread");
}

/// A place is given back when the connection has been taken, or when nobody came.
#[test]
fn places_on_the_way_are_limited() {
    let cluster = Cluster::start(1);
    let places: Vec<_> = std::iter::from_fn(|| cluster.plane.reserve()).take(2000).collect();
    assert_eq!(places.len(), 1024);
    drop(places);
    for _ in 0..1100 {
        let Joined { mut client, runtime, .. } = cluster.join([&[], &[]]);
        drop(runtime);
        assert!(client.read(&mut [0; 8]).unwrap() > 0);
    }
    cluster.wait_until_empty();
    cluster.plane.stop();
}
