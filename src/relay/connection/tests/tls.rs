//! Legs with TLS: every cut, what is held, what an end without a goodbye means.

use super::bench::Bench;
use super::model::{directed, own_close};
use super::sealed::Protocol;
use super::sim::Sim;
use crate::close::Cause;
use crate::relay::buffers::READ_BYTES_MAX;
use crate::relay::frames::{BINARY, Frame, PING, TEXT, is_close, stream};
use crate::relay::pair::{Check, Ending, Side};

const SEALED: [[Protocol; 2]; 4] = [
    [Protocol::Tls13, Protocol::Plain],
    [Protocol::Plain, Protocol::Tls13],
    [Protocol::Tls12, Protocol::Tls13],
    [Protocol::Tls13, Protocol::Tls12],
];
/// What a record adds to its bytes, and a whole one.
const RECORD_BYTES_MAX: usize = 16_384 + 300;

fn frame(from: Side, opcode: u8, payload: &[u8]) -> Frame {
    directed(Frame::new(opcode, payload), from, [4, 3, 2, 1])
}

fn conversation(from: Side) -> Vec<u8> {
    stream(&[
        frame(from, TEXT, b"text"),
        frame(from, PING, b"?"),
        frame(from, BINARY, &[7; 200]),
        own_close(from, 1000),
    ])
}

#[test]
fn cut_in_many_places_with_some_write_limits() {
    let streams = Side::BOTH.map(conversation);
    for protocols in SEALED {
        // Behind the longest there is no cut.
        for cut in (0..500).step_by(3) {
            for limit in [1, 100, usize::MAX] {
                let mut bench = Bench::sealed(protocols);
                bench.run();
                for side in Side::BOTH {
                    bench.wire(side).limit_writes(limit);
                    let wire = bench.wire(side).clone();
                    // In two records, so that cuts fall between them, too.
                    let (first, second) = streams[side as usize].split_at(9);
                    let mut raw = [wire.seal(first), wire.seal(second)].concat();
                    raw.extend(wire.seal_end());
                    let cut = cut.min(raw.len());
                    wire.deliver_raw(&raw[..cut]);
                    bench.run();
                    wire.deliver_raw(&raw[cut..]);
                    wire.end_raw();
                }
                bench.run();
                let what = format!("{protocols:?}, cut {cut}, writes of {limit}");
                assert_eq!(bench.received(Side::Runtime), streams[0], "{what}");
                assert_eq!(bench.received(Side::Client), streams[1], "{what}");
                assert!(bench.is_over && bench.wires.iter().all(Sim::is_finished), "{what}");
                assert_eq!(bench.kept_bytes(), [0, 0], "{what}");
            }
        }
    }
}

#[test]
fn blocked_at_every_byte() {
    let streams = Side::BOTH.map(conversation);
    for protocols in SEALED {
        for room in 0..400 {
            let mut bench = Bench::sealed(protocols);
            for side in Side::BOTH {
                bench.wire(side.other()).set_room(room);
                bench.deliver(side, &streams[side as usize]);
                bench.wire(side).end();
                bench.run();
            }
            for side in Side::BOTH {
                assert!(streams[side as usize].starts_with(&bench.received(side.other())));
                bench.wire(side).set_room(usize::MAX);
            }
            bench.run();
            for side in Side::BOTH {
                let arrived = bench.received(side.other());
                assert_eq!(arrived, streams[side as usize], "{protocols:?}, room for {room}");
            }
            assert!(bench.is_over && bench.wires.iter().all(Sim::is_finished));
        }
    }
}

#[test]
fn a_receiver_that_takes_nothing_stops_the_reading() {
    for protocols in SEALED {
        for slow in Side::BOTH {
            let from = slow.other();
            let mut bench = Bench::sealed(protocols);
            bench.run();
            bench.wire(slow).set_room(0);
            let message = frame(from, BINARY, &[b'm'; 1_000_000]).bytes();
            bench.deliver(from, &message);
            // What the slow side's TLS holds, what is spilled, and a record that is not whole.
            let kept_max = 2 * READ_BYTES_MAX + RECORD_BYTES_MAX;
            let unread = bench.wire(from).unread_bytes();
            assert!(unread > message.len() - kept_max, "{protocols:?}: {unread} are unread");
            let (reads, _) = bench.wire(from).calls();
            for _ in 0..10 {
                bench.deliver(from, &frame(from, TEXT, b"more").bytes());
                bench.disturb(from);
                bench.run();
            }
            assert_eq!(bench.wire(from).calls().0, reads, "not a single read more");
            let back = frame(slow, BINARY, &[b'b'; 500_000]).bytes();
            bench.deliver(slow, &back);
            assert_eq!(bench.received(from), back);
            for _ in 0..1_000_000 / 5_000 + 20 {
                bench.wire(slow).set_room(10_000);
                bench.run();
            }
            assert!(bench.received(slow).starts_with(&message));
        }
    }
}

/// A side that takes a byte now and then has not stalled; one that takes none has, and though there
/// is nothing more to relay.
#[test]
fn bytes_that_tls_holds_are_waited_for_as_others_are() {
    for side in Side::BOTH {
        let mut bench = Bench::sealed([Protocol::Tls13; 2]);
        bench.run();
        bench.wire(side).set_room(0);
        let message = frame(side.other(), TEXT, b"sealed and not taken").bytes();
        bench.deliver(side.other(), &message);
        assert_eq!(bench.kept_bytes(), [0, 0]);
        for _ in 0..4 {
            bench.wire(side).set_room_in_silence(1);
            assert_eq!(bench.check_after_ms(20_000), Check::Step);
            assert_eq!(bench.connection.pair().closing(), None);
        }
        bench.check_after_ms(30_000);
        let expected = match side {
            Side::Client => Cause::ClientStalled,
            Side::Runtime => Cause::RuntimeStalled,
        };
        assert_eq!(bench.connection.pair().closing(), Some(expected));
        assert_eq!(bench.check_after_ms(1_000), Check::Cut);
    }
}

#[test]
fn an_end_without_a_goodbye_is_an_abort() {
    for protocol in [Protocol::Tls12, Protocol::Tls13] {
        for side in Side::BOTH {
            let mut bench = Bench::sealed([protocol; 2]);
            let message = frame(side, TEXT, b"before it").bytes();
            bench.deliver(side, &message);
            bench.wire(side).end_raw();
            bench.run();
            let received = bench.received(side.other());
            assert!(received.starts_with(&message));
            if side == Side::Runtime {
                assert!(is_close(&received[message.len()..], Cause::RuntimeGone, false));
            }
            bench.end(side.other());
            assert!(bench.is_over);
            assert_eq!(bench.ending(), Some(Ending::Lost(side)));
        }
    }
}

#[test]
fn a_forged_record_ends_it_and_what_came_before_arrives() {
    for protocols in [[Protocol::Tls12; 2], [Protocol::Tls13; 2]] {
        for side in Side::BOTH {
            let mut bench = Bench::sealed(protocols);
            bench.run();
            let message = frame(side, TEXT, b"good").bytes();
            let wire = bench.wire(side).clone();
            let mut raw = wire.seal(&message);
            let good = raw.len();
            raw.extend(wire.seal(&frame(side, TEXT, b"forged").bytes()));
            *raw.last_mut().unwrap() ^= 1;
            assert!(good < raw.len());
            wire.deliver_raw(&raw);
            bench.run();
            assert!(bench.received(side.other()).starts_with(&message));
            let after = &bench.received(side.other())[message.len()..];
            assert!(!after.windows(6).any(|bytes| bytes == b"forged"));
            bench.end(side.other());
            assert!(bench.is_over);
            assert_eq!(bench.ending(), Some(Ending::Lost(side)));
        }
    }
}

/// Half-closed by TLS's own goodbye: the other direction goes on.
#[test]
fn each_side_may_half_close() {
    for protocols in SEALED {
        let mut bench = Bench::sealed(protocols);
        bench.deliver(Side::Client, &frame(Side::Client, TEXT, b"last").bytes());
        bench.end(Side::Client);
        assert!(bench.wire(Side::Runtime).is_finished());
        let answer = frame(Side::Runtime, BINARY, &[1; 100_000]).bytes();
        bench.deliver(Side::Runtime, &answer);
        assert_eq!(bench.received(Side::Client), answer);
        bench.end(Side::Runtime);
        assert!(bench.is_over && bench.wire(Side::Client).is_finished());
    }
}

/// What hyper has read behind the handshake comes first, then what rustls has opened, then the rest.
#[test]
fn nothing_read_ahead_is_lost() {
    let streams = Side::BOTH.map(conversation);
    for protocols in SEALED {
        for cut in 0..=streams[0].len() {
            let early = Side::BOTH.map(|side| {
                let stream = &streams[side as usize];
                let is_sealed = protocols[side as usize] != Protocol::Plain;
                let opened = if is_sealed { cut.min(stream.len()) } else { 0 };
                let read = opened.min(cut / 2);
                (stream[..read].to_vec(), stream[read..opened].to_vec())
            });
            let read = early.clone().map(|(read, opened)| read.len() + opened.len());
            let mut bench = Bench::sealed_early(protocols, early);
            bench.run();
            for side in Side::BOTH {
                bench.deliver(side, &streams[side as usize][read[side as usize]..]);
            }
            assert_eq!(bench.received(Side::Runtime), streams[0], "{protocols:?}, cut {cut}");
            assert_eq!(bench.received(Side::Client), streams[1], "{protocols:?}, cut {cut}");
        }
    }
}
