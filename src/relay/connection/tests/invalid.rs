//! What breaks the protocol goes no further, and both sides are told.

use proptest::prelude::*;

use super::bench::{Bench, RULES};
use super::model::{Peers, Then, cases, directed, is_closed_at_boundary, messages};
use super::sim::Dice;
use crate::close::{Cause, Violation};
use crate::relay::frames::{BINARY, CONTINUATION, Frame, PING, PONG, TEXT, is_close, stream};
use crate::relay::pair::{Ending, Rules, Side};

/// One way to break the rules: valid frames that lead up to it, the bytes, and the cause.
#[derive(Clone, Debug)]
struct Bad {
    before: Vec<Frame>,
    bytes: Vec<u8>,
    cause: Cause,
}

/// A frame's header that claims this many payload bytes, without them.
fn claim(frame: &Frame, payload_bytes: u64) -> Vec<u8> {
    let mask = u8::from(frame.mask.is_some()) << 7;
    let mut bytes = vec![u8::from(frame.fin) << 7 | frame.opcode, mask | 127];
    bytes.extend(payload_bytes.to_be_bytes());
    bytes.extend(frame.mask.iter().flatten());
    bytes
}

/// Everything that a peer on this side can do wrong.
fn every_bad(from: Side) -> Vec<Bad> {
    let limit = RULES.message_bytes_max;
    let frame = |opcode, payload: &[u8]| directed(Frame::new(opcode, payload), from, [5, 6, 7, 8]);
    let other = |opcode| directed(Frame::new(opcode, b"bad"), from.other(), [5, 6, 7, 8]);
    let first = frame(TEXT, b"first part").unfinished();
    let table = [
        (vec![], other(TEXT).bytes(), Cause::Protocol(Violation::Mask)),
        (vec![], other(PING).bytes(), Cause::Protocol(Violation::Mask)),
        (
            vec![],
            reserved(frame(TEXT, b"x"), 0x20).bytes(),
            Cause::Protocol(Violation::ReservedBit),
        ),
        (
            vec![],
            reserved(frame(PONG, b"x"), 0x40).bytes(),
            Cause::Protocol(Violation::ReservedBit),
        ),
        (
            vec![first.clone()],
            reserved(frame(CONTINUATION, b"x"), 0x40).bytes(),
            Cause::Protocol(Violation::ReservedBit),
        ),
        (vec![], frame(3, b"x").bytes(), Cause::Protocol(Violation::Opcode)),
        (vec![], frame(15, b"x").bytes(), Cause::Protocol(Violation::Opcode)),
        (vec![], frame(PING, &[0; 126]).bytes(), Cause::Protocol(Violation::ControlLength)),
        (vec![], frame(8, &[0; 70_000]).bytes(), Cause::Protocol(Violation::ControlLength)),
        (
            vec![],
            frame(PING, b"x").unfinished().bytes(),
            Cause::Protocol(Violation::ControlFragment),
        ),
        (vec![], frame(CONTINUATION, b"x").bytes(), Cause::Protocol(Violation::Continuation)),
        (vec![first.clone()], frame(TEXT, b"x").bytes(), Cause::Protocol(Violation::Continuation)),
        (vec![], claim(&frame(BINARY, b""), 1 << 63), Cause::Protocol(Violation::Length)),
        (vec![], claim(&frame(BINARY, b""), u64::MAX), Cause::Protocol(Violation::Length)),
        (vec![], claim(&frame(BINARY, b""), limit + 1), Cause::MessageTooBig),
        (vec![], claim(&frame(TEXT, b""), u64::MAX >> 1), Cause::MessageTooBig),
        (vec![first.clone()], claim(&frame(CONTINUATION, b""), limit - 9), Cause::MessageTooBig),
        (
            vec![first.clone(), frame(PING, b"between"), frame(CONTINUATION, b"").unfinished()],
            claim(&frame(CONTINUATION, b""), u64::MAX >> 1),
            Cause::MessageTooBig,
        ),
    ];
    table.into_iter().map(|(before, bytes, cause)| Bad { before, bytes, cause }).collect()
}

fn reserved(frame: Frame, reserved: u8) -> Frame {
    Frame { reserved, ..frame }
}

fn any_bad() -> impl Strategy<Value = (Side, Bad)> {
    let all = Side::BOTH
        .into_iter()
        .flat_map(|side| every_bad(side).into_iter().map(move |bad| (side, bad)));
    prop::sample::select(all.collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn everything_before_passes_and_nothing_of_it(
        from_client in messages(Side::Client),
        from_runtime in messages(Side::Runtime),
        (from, bad) in any_bad(),
        junk in prop::collection::vec(any::<u8>(), 0..300),
        seed: u64,
    ) {
        let mut dice = Dice::new(seed);
        let mut frames = [from_client, from_runtime];
        frames[from as usize].extend(bad.before.clone());
        let mut streams = [stream(&frames[0]), stream(&frames[1])];
        let good = streams[from as usize].clone();
        streams[from as usize].extend([bad.bytes, junk].concat());
        let mut peers = Peers::new(streams, Then::Stay);
        let mut bench = peers.join(&mut dice, RULES);
        peers.finish(&mut bench, &mut dice);

        let received = bench.received(from.other());
        prop_assert!(received.starts_with(&good), "what was valid is missing");
        let to_runtime = from == Side::Client;
        prop_assert!(is_close(&received[good.len()..], bad.cause, to_runtime));
        let back = bench.received(from);
        let sent = &frames[from.other() as usize];
        prop_assert!(is_closed_at_boundary(&back, sent, bad.cause, !to_runtime));
        prop_assert!(bench.wires.iter().all(super::sim::Sim::is_finished));
        prop_assert_eq!(bench.ending(), Some(Ending::Flowgate(bad.cause)));
        prop_assert_eq!(bench.bytes()[from as usize], good.len() as u64);
    }
}

/// Each of them, cut at each byte.
#[test]
fn no_cut_lets_a_bad_frame_through() {
    for side in Side::BOTH {
        for bad in every_bad(side) {
            let good = stream(&bad.before);
            let whole = [good.clone(), bad.bytes].concat();
            for cut in 0..whole.len().min(200) {
                let mut bench = Bench::plain(RULES);
                bench.deliver(side, &whole[..cut]);
                bench.deliver(side, &whole[cut..]);
                let received = bench.received(side.other());
                assert!(received.starts_with(&good), "{:?} cut at {cut}", bad.cause);
                let rest = &received[good.len()..];
                assert!(is_close(rest, bad.cause, side == Side::Client), "{:?} {cut}", bad.cause);
                assert!(is_close(&bench.received(side), bad.cause, side == Side::Runtime));
            }
        }
    }
}

#[test]
fn a_message_may_be_exactly_as_long_as_the_plan_says() {
    let rules = Rules { message_bytes_max: 10, ..RULES };
    for side in Side::BOTH {
        let frame = |opcode, payload: &[u8]| directed(Frame::new(opcode, payload), side, [1; 4]);
        let fits = [
            frame(TEXT, &[b'x'; 10]),
            frame(TEXT, &[b'x'; 4]).unfinished(),
            frame(PING, &[b'x'; 100]),
            frame(CONTINUATION, &[b'x'; 6]).unfinished(),
            frame(CONTINUATION, b""),
            frame(BINARY, &[b'x'; 10]),
        ];
        let mut bench = Bench::plain(rules);
        bench.deliver(side, &stream(&fits));
        assert_eq!(bench.received(side.other()), stream(&fits));
        bench.deliver(side, &frame(BINARY, &[b'x'; 11]).bytes());
        assert!(is_close(&bench.received(side), Cause::MessageTooBig, side == Side::Runtime));
        assert_eq!(bench.messages()[side as usize], 3);
    }
}

/// No limit at all: the sum of lengths that were only claimed must not overflow.
#[test]
fn the_longest_lengths_fit_a_plan_without_a_limit() {
    let rules = Rules { message_bytes_max: u64::MAX, ..RULES };
    let mut bench = Bench::plain(rules);
    let first = Frame::new(BINARY, b"x").unfinished();
    bench.deliver(Side::Runtime, &first.bytes());
    let header = claim(&Frame::new(CONTINUATION, b""), u64::MAX >> 1);
    bench.deliver(Side::Runtime, &header);
    bench.deliver(Side::Runtime, &[7; 1000]);
    assert_eq!(bench.received(Side::Client), [first.bytes(), header, vec![7; 1000]].concat());
}

#[test]
fn a_new_size_counts_from_each_sides_next_message_on() {
    let rules = Rules { message_bytes_max: 10, ..RULES };
    for side in Side::BOTH {
        let frame = |opcode, payload: &[u8]| directed(Frame::new(opcode, payload), side, [1; 4]);
        let begun = frame(TEXT, &[b'x'; 6]).unfinished();
        let rest = frame(CONTINUATION, &[b'x'; 4]);
        let mut bench = Bench::plain(rules);
        bench.deliver(side, &begun.bytes());
        bench.connection.limit_messages(5);
        bench.deliver(side, &rest.bytes());
        let passed = stream(&[begun, rest]);
        assert_eq!(bench.received(side.other()), passed, "it was begun under the old limit");
        bench.connection.limit_messages(20);
        let long = frame(TEXT, &[b'x'; 20]);
        bench.deliver(side, &long.bytes());
        bench.connection.limit_messages(5);
        let fits = frame(TEXT, &[b'x'; 5]);
        bench.deliver(side, &fits.bytes());
        let passed = [passed, long.bytes(), fits.bytes()].concat();
        assert_eq!(bench.received(side.other()), passed);
        bench.deliver(side, &frame(TEXT, &[b'x'; 6]).bytes());
        assert!(is_close(&bench.received(side), Cause::MessageTooBig, side == Side::Runtime));
    }
}
