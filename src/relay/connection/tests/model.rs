//! What peers say, at random, and what must have become of it.

use proptest::prelude::*;

use super::bench::Bench;
use super::sim::Dice;
use crate::close::Cause;
use crate::relay::frames::{
    BINARY, CLOSE, CONTINUATION, Frame, Length, PING, PONG, TEXT, close_payload, is_close, stream,
};
use crate::relay::pair::Side;

const RSV1: u8 = 0x40;

/// Settings for every property: the same number of cases each time, nothing written to the disk.
pub fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![
        4 => Just(0),
        8 => 1_usize..40,
        2 => Just(8),
        4 => 120_usize..132,
        2 => 1000_usize..5000,
        1 => 65_530_usize..65_545,
        1 => 100_000_usize..200_000,
    ];
    (length, any::<u8>()).prop_map(|(length, salt)| {
        (0..length).map(|place| salt.wrapping_add((place % 251) as u8)).collect()
    })
}

fn control() -> impl Strategy<Value = Frame> {
    let length = prop_oneof![Just(0_usize), Just(8), Just(125), 0_usize..126];
    (prop_oneof![Just(PING), Just(PONG)], length, any::<u8>())
        .prop_map(|(opcode, length, salt)| Frame::new(opcode, &vec![salt; length]))
}

/// A message in one to four frames, with control frames between them.
fn message() -> impl Strategy<Value = Vec<Frame>> {
    let length = prop_oneof![6 => Just(Length::Shortest), 1 => Just(Length::Bits16), 1 => Just(Length::Bits64)];
    let part = (payload(), length, proptest::option::of(control()));
    (prop::collection::vec(part, 1..4), any::<bool>(), any::<bool>()).prop_map(
        |(parts, binary, deflate)| {
            let last = parts.len() - 1;
            let mut frames = Vec::new();
            for (place, (payload, length, control)) in parts.into_iter().enumerate() {
                let opcode = match (place, binary) {
                    (0, true) => BINARY,
                    (0, false) => TEXT,
                    _ => CONTINUATION,
                };
                let reserved = if place == 0 && deflate { RSV1 } else { 0 };
                let fin = place == last;
                frames.push(Frame { fin, reserved, length, ..Frame::new(opcode, &payload) });
                frames.extend(control);
            }
            frames
        },
    )
}

/// Whole messages, masked as `from` has to.
pub fn messages(from: Side) -> impl Strategy<Value = Vec<Frame>> {
    let key = prop_oneof![Just([0; 4]), any::<[u8; 4]>()];
    let item = prop_oneof![3 => message(), 1 => control().prop_map(|frame| vec![frame])];
    prop::collection::vec((item, key), 0..7).prop_map(move |items| {
        let frames =
            items.into_iter().flat_map(|(frames, key)| frames.into_iter().map(move |f| (f, key)));
        frames.map(|(frame, key)| directed(frame, from, key)).collect()
    })
}

/// The frame as it has to look when it comes `from` that side.
pub fn directed(frame: Frame, from: Side, key: [u8; 4]) -> Frame {
    match from {
        Side::Client => frame.masked(key),
        Side::Runtime => frame,
    }
}

/// A Close frame of this side's own.
pub fn own_close(from: Side, code: u16) -> Frame {
    directed(Frame::new(CLOSE, &close_payload(code, "bye")), from, [9, 8, 7, 6])
}

/// How many messages the frames complete.
pub fn messages_in(frames: &[Frame]) -> u64 {
    frames.iter().filter(|frame| frame.is_data() && frame.fin).count() as u64
}

/// How a peer behaves behind its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Stay,
    Fin,
}

/// Both peers, sending bit by bit.
pub struct Peers {
    streams: [Vec<u8>; 2],
    sent_bytes: [usize; 2],
    then: Then,
}

impl Peers {
    pub fn new(streams: [Vec<u8>; 2], then: Then) -> Self {
        Self { streams, sent_bytes: [0, 0], then }
    }

    /// Some of the streams become read-ahead, and the connection is made.
    pub fn join(&mut self, dice: &mut Dice, rules: crate::relay::pair::Rules) -> Bench {
        let read_ahead = [0, 1].map(|place| {
            let stream = &self.streams[place];
            let length = if dice.once_in(2) { dice.roll(stream.len().min(9000) + 1) } else { 0 };
            self.sent_bytes[place] = length;
            stream[..length].to_vec()
        });
        Bench::moody(dice, rules, read_ahead)
    }

    /// Sends in pieces, with stalls and false alarms, for at most `steps` steps; true once all is sent.
    pub fn play(&mut self, bench: &mut Bench, dice: &mut Dice, steps: usize) -> bool {
        for _ in 0..steps {
            let side = Side::BOTH[dice.roll(2)];
            match dice.roll(8) {
                0 => bench.disturb(side),
                1 => bench.wire(side).set_room(dice.roll(100_000)),
                2 => bench.wire(side).set_room(usize::MAX),
                _ => self.send_some(bench, side, dice),
            }
            if dice.once_in(2) {
                bench.run();
            }
            if self.is_done() {
                return true;
            }
        }
        false
    }

    fn is_done(&self) -> bool {
        [0, 1].into_iter().all(|place| self.sent_bytes[place] == self.streams[place].len())
    }

    fn send_some(&mut self, bench: &mut Bench, side: Side, dice: &mut Dice) {
        let left = &self.streams[side as usize][self.sent_bytes[side as usize]..];
        if !left.is_empty() {
            let length = dice.size(left.len());
            bench.wire(side).deliver(&left[..length]);
            self.sent_bytes[side as usize] += length;
        }
    }

    /// Both take everything from now on.
    pub fn settle(&self, bench: &mut Bench) {
        for side in Side::BOTH {
            bench.wire(side).set_room(usize::MAX);
        }
        bench.run();
    }

    /// Sends what is left, and takes everything.
    pub fn finish(&mut self, bench: &mut Bench, dice: &mut Dice) {
        while !self.play(bench, dice, 1000) {}
        if self.then == Then::Fin {
            bench.wires.iter().for_each(super::sim::Sim::end);
        }
        self.settle(bench);
    }
}

/// Whether a side received whole frames of what was sent to it, and then our Close for `cause`.
pub fn is_closed_at_boundary(received: &[u8], sent: &[Frame], cause: Cause, masked: bool) -> bool {
    (0..=sent.len()).any(|count| {
        received
            .strip_prefix(stream(&sent[..count]).as_slice())
            .is_some_and(|rest| is_close(rest, cause, masked))
    })
}
