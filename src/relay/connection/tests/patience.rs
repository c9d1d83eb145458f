//! The deadlines: at each limit, and one millisecond before.

use super::bench::{Bench, PATIENCE, RULES};
use super::model::{directed, own_close};
use crate::close::Cause;
use crate::relay::frames::{Frame, TEXT, is_close};
use crate::relay::pair::{Check, Side};

const FRAME_STALL_MS: u64 = PATIENCE.frame_stall_max.as_millis() as u64;
const WRITE_STALL_MS: u64 = PATIENCE.write_stall_max.as_millis() as u64;
const HALF_OPEN_MS: u64 = PATIENCE.half_open_max.as_millis() as u64;

fn text(from: Side, payload: &[u8]) -> Vec<u8> {
    directed(Frame::new(TEXT, payload), from, [1, 2, 3, 4]).bytes()
}

#[test]
fn a_frame_left_unfinished_is_closed() {
    for side in Side::BOTH {
        let frame = text(side, b"stalls");
        for cut in 1..frame.len() {
            let mut bench = Bench::plain(RULES);
            bench.pass_ms(FRAME_STALL_MS * 3);
            bench.deliver(side, &frame[..cut]);
            assert_eq!(bench.check_after_ms(FRAME_STALL_MS - 1), Check::Fine, "{cut}");
            assert_eq!(bench.check_after_ms(1), Check::Step, "{cut}");
            let back = bench.received(side);
            assert!(is_close(&back, Cause::FrameStalled, side == Side::Runtime));
            assert_eq!(bench.check_after_ms(999), Check::Fine);
            assert_eq!(bench.check_after_ms(1), Check::Cut);
        }
    }
}

#[test]
fn every_byte_of_a_frame_renews_the_patience() {
    for side in Side::BOTH {
        let frame = text(side, b"slow, but not stalled");
        let mut bench = Bench::plain(RULES);
        for byte in &frame {
            bench.deliver(side, &[*byte]);
            assert_eq!(bench.check_after_ms(FRAME_STALL_MS - 1), Check::Fine);
        }
        assert_eq!(bench.check_after_ms(FRAME_STALL_MS * 10), Check::Fine, "idle is no stall");
        assert_eq!(bench.received(side.other()), frame);
    }
}

/// The other direction's traffic, or an event without bytes, says nothing about a frame.
#[test]
fn what_brings_no_byte_renews_nothing() {
    let mut bench = Bench::plain(RULES);
    bench.deliver(Side::Client, &text(Side::Client, b"stalls")[..3]);
    assert_eq!(bench.check_after_ms(FRAME_STALL_MS - 1), Check::Fine);
    bench.disturb(Side::Client);
    bench.deliver(Side::Runtime, &text(Side::Runtime, b"busy"));
    assert_eq!(bench.check_after_ms(1), Check::Step);
    assert!(is_close(&bench.received(Side::Runtime), Cause::FrameStalled, true));
}

#[test]
fn a_close_frame_left_unfinished_is_cut_too() {
    for side in Side::BOTH {
        let mut bench = Bench::plain(RULES);
        let close = own_close(side, 1000).bytes();
        bench.deliver(side, &close[..close.len() - 1]);
        assert_eq!(bench.check_after_ms(FRAME_STALL_MS), Check::Step);
        assert_eq!(bench.check_after_ms(1000), Check::Cut);
    }
}

#[test]
fn a_side_that_takes_nothing_is_closed() {
    for side in Side::BOTH {
        let cause = match side {
            Side::Client => Cause::ClientStalled,
            Side::Runtime => Cause::RuntimeStalled,
        };
        let mut bench = Bench::plain(RULES);
        bench.pass_ms(WRITE_STALL_MS * 3);
        bench.wire(side).set_room(4);
        bench.deliver(side.other(), &text(side.other(), b"not wanted"));
        assert_eq!(bench.check_after_ms(WRITE_STALL_MS - 1), Check::Step);
        assert_eq!(bench.received(side.other()), [0_u8; 0]);
        assert_eq!(bench.check_after_ms(1), Check::Step);
        assert!(is_close(&bench.received(side.other()), cause, side == Side::Client));
        assert_eq!(bench.received(side).len(), 4);
        assert_eq!(bench.check_after_ms(1000), Check::Cut);
    }
}

#[test]
fn every_byte_taken_renews_the_patience() {
    for side in Side::BOTH {
        let mut bench = Bench::plain(RULES);
        let message = text(side.other(), &[b'm'; 60]);
        bench.wire(side).set_room(0);
        bench.deliver(side.other(), &message);
        for taken in 1..=message.len() {
            assert_eq!(bench.check_after_ms(WRITE_STALL_MS - 1), Check::Step);
            bench.wire(side).set_room(1);
            bench.run();
            assert_eq!(bench.received(side).len(), taken);
        }
        assert_eq!(bench.received(side), message);
        assert_eq!(bench.check_after_ms(WRITE_STALL_MS * 10), Check::Fine);
    }
}

/// A system does not tell of a little room; a slow reader has it all the same.
#[test]
fn room_that_nobody_tells_of_is_found() {
    for side in Side::BOTH {
        let mut bench = Bench::plain(RULES);
        let message = text(side.other(), &[b'm'; 60]);
        bench.wire(side).set_room(0);
        bench.deliver(side.other(), &message);
        for taken in 1..message.len() {
            bench.wire(side).set_room_in_silence(1);
            assert_eq!(bench.check_after_ms(WRITE_STALL_MS - 1), Check::Step);
            assert_eq!(bench.received(side).len(), taken);
        }
        assert_eq!(bench.received(side.other()), [0_u8; 0], "nobody is called stalled");
    }
}

/// A sender is not blamed for the time in which flowgate did not read from it.
#[test]
fn a_frame_behind_a_blocked_receiver_is_not_stalled() {
    let mut bench = Bench::plain(RULES);
    let message = text(Side::Runtime, &[b'm'; 100]);
    bench.wire(Side::Client).set_room(0);
    bench.deliver(Side::Runtime, &message[..50]);
    assert_eq!(bench.check_after_ms(FRAME_STALL_MS + 1), Check::Step);
    bench.wire(Side::Client).set_room(usize::MAX);
    bench.run();
    assert_eq!(bench.check_after_ms(FRAME_STALL_MS - 1), Check::Fine);
    assert_eq!(bench.received(Side::Client), message[..50]);
    assert_eq!(bench.check_after_ms(1), Check::Step);
    assert!(is_close(&bench.received(Side::Runtime), Cause::FrameStalled, true));
}

#[test]
fn a_half_open_connection_may_be_silent_for_so_long() {
    for ended_by_close in [false, true] {
        let mut bench = Bench::plain(RULES);
        bench.pass_ms(HALF_OPEN_MS * 3);
        match ended_by_close {
            true => bench.deliver(Side::Client, &own_close(Side::Client, 1000).bytes()),
            false => bench.deliver(Side::Client, &text(Side::Client, b"the last")),
        }
        bench.end(Side::Client);
        assert_eq!(bench.check_after_ms(HALF_OPEN_MS - 1), Check::Fine);
        let more = text(Side::Runtime, b"more");
        bench.deliver(Side::Runtime, &more);
        assert_eq!(bench.received(Side::Client), more);
        assert_eq!(bench.check_after_ms(HALF_OPEN_MS - 1), Check::Fine);
        assert_eq!(bench.check_after_ms(1), Check::Cut);
    }
}

#[test]
fn a_runtime_that_said_goodbye_waits_as_long_for_the_client() {
    let mut bench = Bench::plain(RULES);
    bench.deliver(Side::Runtime, &own_close(Side::Runtime, 1001).bytes());
    bench.end(Side::Runtime);
    assert_eq!(bench.check_after_ms(HALF_OPEN_MS - 1), Check::Fine);
    assert_eq!(bench.check_after_ms(1), Check::Cut);
}

/// Half-open and slow: bytes that wait for the reader are not silence.
#[test]
fn a_slow_reader_of_a_half_open_connection_is_not_cut() {
    let mut bench = Bench::plain(RULES);
    let message = text(Side::Runtime, &[b'm'; 60]);
    bench.wire(Side::Client).set_room(0);
    bench.deliver(Side::Runtime, &message);
    bench.end(Side::Client);
    for _ in &message {
        assert_eq!(bench.check_after_ms(WRITE_STALL_MS - 1), Check::Step);
        bench.wire(Side::Client).set_room(1);
        bench.run();
    }
    assert_eq!(bench.received(Side::Client), message);
    assert_eq!(bench.check_after_ms(HALF_OPEN_MS - 1), Check::Fine);
    assert_eq!(bench.check_after_ms(1), Check::Cut);
}

/// However time and bytes fall together, whoever is open and idle stays.
#[test]
fn an_idle_connection_lives_for_ever() {
    let mut bench = Bench::plain(RULES);
    bench.run();
    for _ in 0..1000 {
        assert_eq!(bench.check_after_ms(3_600_000), Check::Fine);
    }
    assert_eq!(bench.wire(Side::Client).calls(), (1, 0));
    assert_eq!(bench.wire(Side::Runtime).calls(), (1, 0));
}
