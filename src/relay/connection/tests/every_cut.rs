//! A short conversation with one of each kind of frame, cut everywhere; nothing random.

use super::bench::{Bench, RULES};
use super::model::{directed, messages_in, own_close};
use super::sim::Sim;
use crate::relay::frames::{BINARY, CONTINUATION, Frame, Length, PING, PONG, TEXT, stream};
use crate::relay::pair::Side;

fn one_of_each(from: Side) -> Vec<Frame> {
    let frame = |opcode, payload: &[u8]| directed(Frame::new(opcode, payload), from, [3, 1, 4, 1]);
    vec![
        frame(TEXT, b"text"),
        Frame { reserved: 0x40, ..frame(BINARY, b"deflate") }.unfinished(),
        frame(PING, b"?"),
        frame(CONTINUATION, b"").unfinished(),
        frame(PONG, b"8 bytes."),
        Frame { length: Length::Bits16, ..frame(CONTINUATION, b"end") },
        frame(PONG, b""),
        Frame { length: Length::Bits64, ..frame(TEXT, b"") },
        own_close(from, 1000),
    ]
}

fn assert_all_arrived(bench: &mut Bench, streams: &[Vec<u8>; 2], what: &str) {
    assert_eq!(bench.received(Side::Runtime), streams[0], "{what}");
    assert_eq!(bench.received(Side::Client), streams[1], "{what}");
    assert_eq!(bench.kept_bytes(), [0, 0], "{what}");
    assert_eq!(bench.messages(), Side::BOTH.map(|side| messages_in(&one_of_each(side))));
    bench.wires.iter().for_each(Sim::end);
    bench.run();
    assert!(bench.is_over && bench.wires.iter().all(Sim::is_finished), "{what}");
}

#[test]
fn cut_at_every_byte_with_every_write_limit() {
    let streams = Side::BOTH.map(|side| stream(&one_of_each(side)));
    for cut in 0..=streams[0].len() {
        for limit in 1..=streams[0].len() {
            let mut bench = Bench::plain(RULES);
            for side in Side::BOTH {
                bench.wire(side).limit_writes(limit);
                let cut = cut.min(streams[side as usize].len());
                bench.deliver(side, &streams[side as usize][..cut]);
            }
            for side in Side::BOTH {
                let cut = cut.min(streams[side as usize].len());
                bench.deliver(side, &streams[side as usize][cut..]);
            }
            assert_all_arrived(&mut bench, &streams, &format!("cut {cut}, writes of {limit}"));
        }
    }
}

/// The receiver has room for so many bytes, and for the rest only later.
#[test]
fn blocked_at_every_byte() {
    let streams = Side::BOTH.map(|side| stream(&one_of_each(side)));
    for room in 0..=streams[0].len() {
        let mut bench = Bench::plain(RULES);
        for side in Side::BOTH {
            bench.wire(side.other()).set_room(room);
            bench.deliver(side, &streams[side as usize]);
            let arrived = room.min(streams[side as usize].len());
            assert_eq!(bench.received(side.other()), streams[side as usize][..arrived]);
        }
        for side in Side::BOTH {
            bench.wire(side).set_room(usize::MAX);
        }
        bench.run();
        assert_all_arrived(&mut bench, &streams, &format!("room for {room}"));
    }
}

/// The read-ahead of either handshake ends anywhere.
#[test]
fn read_ahead_of_every_length() {
    let streams = Side::BOTH.map(|side| stream(&one_of_each(side)));
    for cut in 0..=streams[1].len() {
        let read_ahead = [0, 1].map(|place| streams[place][..cut].to_vec());
        let mut bench = Bench::new([None, None], RULES, read_ahead);
        bench.run();
        for side in Side::BOTH {
            bench.deliver(side, &streams[side as usize][cut..]);
        }
        assert_all_arrived(&mut bench, &streams, &format!("read-ahead of {cut}"));
    }
}
