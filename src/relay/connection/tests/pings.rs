//! Pings of flowgate's own.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::bench::{Bench, NONCE, PATIENCE, RULES};
use super::model::{cases, directed, messages};
use super::sim::Dice;
use crate::close::Cause;
use crate::relay::frames::{BINARY, Frame, PING, PONG, TEXT, is_close, read, stream};
use crate::relay::pair::{Check, Patience, Side};

const PING_AFTER_MS: u64 = 10_000;

fn bench() -> Bench {
    let mut bench = Bench::plain(RULES);
    let ping_after = Some(Duration::from_millis(PING_AFTER_MS));
    bench.patience = Patience { ping_after, ..PATIENCE };
    bench.run();
    bench
}

fn from_client(opcode: u8, payload: &[u8]) -> Frame {
    directed(Frame::new(opcode, payload), Side::Client, [0xca, 0xfe, 0, 1])
}

fn is_own_ping(frame: &Frame) -> bool {
    frame.opcode == PING && frame.payload.len() == 8 && frame.payload.starts_with(&NONCE)
}

fn own_pings(bench: &Bench) -> Vec<Frame> {
    read(&bench.received(Side::Client)).0.into_iter().filter(is_own_ping).collect()
}

#[test]
fn a_silent_client_gets_two_pings_and_then_a_close() {
    let mut bench = bench();
    for count in 1..=2 {
        assert_eq!(bench.check_after_ms(PING_AFTER_MS - 1), Check::Fine);
        assert_eq!(bench.check_after_ms(1), Check::Step);
        assert_eq!(own_pings(&bench).len(), count);
    }
    let pings = bench.received(Side::Client);
    assert_eq!(bench.check_after_ms(PING_AFTER_MS - 1), Check::Fine);
    assert_eq!(bench.check_after_ms(1), Check::Step);
    assert!(is_close(&bench.received(Side::Client)[pings.len()..], Cause::ClientSilent, false));
    assert!(is_close(&bench.received(Side::Runtime), Cause::ClientSilent, true));
    assert_eq!(bench.bytes(), [0, 0], "frames of our own are nobody's bytes");
}

#[test]
fn an_answered_ping_is_swallowed_at_every_cut() {
    let whole = {
        let mut bench = bench();
        bench.check_after_ms(PING_AFTER_MS);
        from_client(PONG, &own_pings(&bench)[0].payload).bytes()
    };
    let next = from_client(TEXT, b"next").bytes();
    for cut in 0..=whole.len() {
        let mut bench = bench();
        bench.check_after_ms(PING_AFTER_MS);
        bench.deliver(Side::Client, &whole[..cut]);
        bench.deliver(Side::Client, &whole[cut..]);
        assert_eq!(bench.received(Side::Runtime), [0_u8; 0], "cut at {cut}");
        bench.deliver(Side::Client, &next);
        assert_eq!(bench.received(Side::Runtime), next);
        assert_eq!(bench.check_after_ms(PING_AFTER_MS - 1), Check::Fine);
        assert_eq!(bench.check_after_ms(1), Check::Step);
        assert_eq!(own_pings(&bench).len(), 2);
    }
}

#[test]
fn however_many_pings_there_were_every_answer_is_known() {
    let mut bench = bench();
    for count in 1..=600 {
        assert_eq!(bench.check_after_ms(PING_AFTER_MS), Check::Step);
        let pings = own_pings(&bench);
        assert_eq!(pings.len(), count);
        assert!(count == 1 || pings[count - 1] != pings[count - 2], "two Pings alike");
        bench.deliver(Side::Client, &from_client(PONG, &pings[count - 1].payload).bytes());
        assert_eq!(
            bench.received(Side::Runtime),
            [0_u8; 0],
            "the answer to Ping {count} got through"
        );
    }
}

/// Swallowed between its neighbours, which leave as they came.
#[test]
fn a_pong_of_ours_in_the_middle_leaves_no_gap() {
    let mut bench = bench();
    bench.check_after_ms(PING_AFTER_MS);
    let ours = from_client(PONG, &own_pings(&bench)[0].payload);
    let others = [
        from_client(TEXT, b"one").unfinished(),
        from_client(PONG, b"8 bytes!"),
        from_client(PONG, b""),
        from_client(PONG, &[0; 125]),
        from_client(0, b"two"),
    ];
    for place in 0..=others.len() {
        let before = bench.received(Side::Runtime).len();
        let mut frames = others.to_vec();
        frames.insert(place, ours.clone());
        bench.deliver(Side::Client, &stream(&frames));
        assert_eq!(bench.received(Side::Runtime)[before..], stream(&others));
    }
}

#[test]
fn pongs_of_anybody_else_pass() {
    let mut nearly = NONCE.to_vec();
    nearly.push(1);
    for place in 0..7 {
        let mut bench = bench();
        let mut payload = nearly.clone();
        // Before the first Ping of ours, even our own nonce is somebody's unasked Pong.
        let unasked = from_client(PONG, &payload).bytes();
        bench.deliver(Side::Client, &unasked);
        bench.check_after_ms(PING_AFTER_MS);
        payload[place] ^= 1;
        let pong = from_client(PONG, &payload).bytes();
        bench.deliver(Side::Client, &pong);
        assert_eq!(bench.received(Side::Runtime), [unasked, pong].concat());
    }
    let mut bench = bench();
    bench.check_after_ms(PING_AFTER_MS);
    let pong = Frame::new(PONG, &own_pings(&bench)[0].payload).bytes();
    let before = bench.received(Side::Client).len();
    bench.deliver(Side::Runtime, &pong);
    assert_eq!(bench.received(Side::Client)[before..], pong, "a runtime's Pong is never ours");
}

#[test]
fn a_ping_waits_for_the_boundary() {
    let message = Frame::new(BINARY, b"in the way").bytes();
    for cut in 0..message.len() {
        let mut bench = bench();
        bench.pass_ms(PING_AFTER_MS - 1);
        bench.deliver(Side::Runtime, &message[..cut]);
        assert_eq!(bench.check_after_ms(1), Check::Step);
        assert_eq!(bench.check_after_ms(1), Check::Fine, "one Ping is due, not two");
        bench.deliver(Side::Runtime, &message[cut..]);
        let received = bench.received(Side::Client);
        let (frames, rest) = read(&received);
        assert!(rest.is_empty());
        let place = usize::from(cut >= 2);
        assert!(is_own_ping(&frames[place]), "cut at {cut}");
        assert_eq!(frames[1 - place].bytes(), message);
    }
}

/// A Ping of ours that goes in before a begun header is no sign of life from the runtime.
#[test]
fn a_ping_does_not_hide_a_stalled_header() {
    let mut bench = bench();
    let frame_stall_ms = PATIENCE.frame_stall_max.as_millis() as u64;
    bench.deliver(Side::Runtime, &Frame::new(BINARY, b"begun").bytes()[..1]);
    assert_eq!(bench.check_after_ms(PING_AFTER_MS), Check::Step);
    assert_eq!(own_pings(&bench).len(), 1);
    bench.deliver(Side::Client, &from_client(TEXT, b"here").bytes());
    assert_eq!(bench.check_after_ms(frame_stall_ms - PING_AFTER_MS), Check::Step);
    assert_eq!(bench.connection.pair().closing(), Some(Cause::FrameStalled));
}

#[test]
fn nobody_is_pinged_while_it_means_nothing() {
    // The client takes nothing: the stalled write will tell.
    let mut blocked = bench();
    blocked.wire(Side::Client).set_room(0);
    blocked.deliver(Side::Runtime, &Frame::new(TEXT, b"hello").bytes());
    blocked.check_after_ms(PING_AFTER_MS * 2);
    blocked.wire(Side::Client).set_room(usize::MAX);
    blocked.run();
    assert!(own_pings(&blocked).is_empty());
    // Its answer would not be read.
    let mut unread = bench();
    unread.wire(Side::Runtime).set_room(0);
    unread.deliver(Side::Client, &from_client(TEXT, b"hello").bytes());
    unread.check_after_ms(PING_AFTER_MS * 2);
    assert!(own_pings(&unread).is_empty());
    // One side has said goodbye.
    for side in Side::BOTH {
        let mut closed = bench();
        closed.deliver(side, &super::model::own_close(side, 1000).bytes());
        assert_eq!(closed.check_after_ms(PING_AFTER_MS * 2), Check::Fine);
        assert!(own_pings(&closed).is_empty());
    }
}

/// A client that answers every Ping, as libraries do: at the next boundary of its own stream.
struct Answering {
    queue: VecDeque<u8>,
    frames: VecDeque<Frame>,
    passed: Vec<Frame>,
    seen_frames: usize,
}

impl Answering {
    fn hear(&mut self, bench: &Bench) {
        let (frames, _) = read(&bench.received(Side::Client));
        for frame in &frames[self.seen_frames..] {
            if frame.opcode == PING {
                self.frames.push_front(from_client(PONG, &frame.payload));
            }
        }
        self.seen_frames = frames.len();
    }

    fn say(&mut self, bench: &mut Bench, dice: &mut Dice) {
        if self.queue.is_empty()
            && let Some(frame) = self.frames.pop_front()
        {
            self.queue.extend(frame.bytes());
            if !(frame.opcode == PONG && frame.payload.starts_with(&NONCE)) {
                self.passed.push(frame);
            }
        }
        if !self.queue.is_empty() {
            let length = dice.size(self.queue.len());
            let bytes: Vec<u8> = self.queue.drain(..length).collect();
            bench.deliver(Side::Client, &bytes);
        }
    }

    fn is_done(&self) -> bool {
        self.queue.is_empty() && self.frames.is_empty()
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn pings_of_ours_change_nothing_of_what_passes(
        from_client in messages(Side::Client),
        from_runtime in messages(Side::Runtime),
        seed: u64,
    ) {
        let mut dice = Dice::new(seed);
        let mut bench = bench();
        bench.patience.frame_stall_max = Duration::MAX;
        let to_send = stream(&from_runtime);
        let mut sent = 0;
        let mut client_waits = 0;
        let mut client = Answering {
            queue: VecDeque::new(),
            frames: from_client.into(),
            passed: Vec::new(),
            seen_frames: 0,
        };
        while sent < to_send.len() || !client.is_done() {
            client_waits += 1;
            if client_waits < 4 && dice.once_in(2) && sent < to_send.len() {
                let length = dice.size(to_send.len() - sent);
                bench.deliver(Side::Runtime, &to_send[sent..sent + length]);
                sent += length;
            } else {
                client.say(&mut bench, &mut dice);
                client_waits = 0;
            }
            bench.check_after_ms(dice.roll(7_000) as u64);
            client.hear(&bench);
        }
        let received = bench.received(Side::Client);
        let (frames, rest) = read(&received);
        let others: Vec<Frame> = frames.into_iter().filter(|frame| !is_own_ping(frame)).collect();
        prop_assert!(rest.is_empty() && others == read(&to_send).0);
        prop_assert!(bench.received(Side::Runtime) == stream(&client.passed));
        prop_assert_eq!(bench.ending(), None);
        prop_assert_eq!(bench.bytes()[1], to_send.len() as u64);
    }
}
