//! Half-close, reset and end of stream, of each side.

use super::bench::{Bench, PATIENCE, RULES};
use super::model::{directed, own_close};
use super::sim::Sim;
use crate::close::Cause;
use crate::relay::frames::{Frame, TEXT, is_close};
use crate::relay::pair::{CLOSE_GRACE, Check, Ending, Side};

fn text(from: Side, payload: &[u8]) -> Vec<u8> {
    directed(Frame::new(TEXT, payload), from, [1, 2, 3, 4]).bytes()
}

#[test]
fn a_client_may_half_close_and_read_on() {
    let mut bench = Bench::plain(RULES);
    let question = text(Side::Client, b"question");
    bench.deliver(Side::Client, &question);
    bench.end(Side::Client);
    assert!(bench.wire(Side::Runtime).is_finished() && !bench.wire(Side::Client).is_finished());
    let answer = [text(Side::Runtime, &[b'a'; 200_000]), own_close(Side::Runtime, 1000).bytes()];
    bench.deliver(Side::Runtime, &answer[0]);
    bench.deliver(Side::Runtime, &answer[1]);
    bench.end(Side::Runtime);
    assert_eq!(bench.received(Side::Client), answer.concat());
    assert_eq!(bench.received(Side::Runtime), question);
    assert!(bench.is_over && bench.wire(Side::Client).is_finished());
    assert_eq!(bench.ending(), Some(Ending::Lost(Side::Client)));
}

/// A FIN inside a frame, or inside its header, is passed on as it is.
#[test]
fn a_client_that_ends_anywhere_is_passed_on() {
    let whole = text(Side::Client, &[b'q'; 300]);
    for cut in 0..=whole.len() {
        let mut bench = Bench::plain(RULES);
        bench.deliver(Side::Client, &whole[..cut]);
        bench.end(Side::Client);
        let header_bytes = 8;
        let arrived = if cut < header_bytes { 0 } else { cut };
        assert_eq!(bench.received(Side::Runtime), whole[..arrived]);
        assert!(bench.wire(Side::Runtime).is_finished());
        assert_eq!(bench.received(Side::Client), [0_u8; 0]);
        assert_eq!(bench.messages()[0], u64::from(cut == whole.len()));
    }
}

#[test]
fn a_runtime_that_ends_at_a_boundary_is_reported_to_the_client() {
    let message = text(Side::Runtime, b"last words");
    // A boundary, or a header that was begun and never passed.
    for begun in 0..2 {
        let mut bench = Bench::plain(RULES);
        bench.deliver(Side::Runtime, &[&message[..], &message[..begun]].concat());
        bench.end(Side::Runtime);
        let received = bench.received(Side::Client);
        assert!(received.starts_with(&message));
        assert!(is_close(&received[message.len()..], Cause::RuntimeGone, false));
        assert!(bench.wire(Side::Client).is_finished());
        assert!(is_close(&bench.received(Side::Runtime), Cause::RuntimeGone, true));
        assert_eq!(bench.ending(), Some(Ending::Lost(Side::Runtime)));
        bench.end(Side::Client);
        assert!(bench.is_over);
    }
}

#[test]
fn a_runtime_that_ends_inside_a_frame_leaves_a_fin_and_no_close() {
    let message = text(Side::Runtime, b"unfinished");
    for cut in 2..message.len() {
        let mut bench = Bench::plain(RULES);
        bench.deliver(Side::Runtime, &message[..cut]);
        bench.end(Side::Runtime);
        assert_eq!(bench.received(Side::Client), message[..cut]);
        assert!(bench.wire(Side::Client).is_finished());
        assert!(is_close(&bench.received(Side::Runtime), Cause::RuntimeGone, true));
        assert_eq!(bench.check_after_ms(1000), Check::Cut);
        assert_eq!(bench.messages()[1], 0);
    }
}

/// Its last bytes and its FIN stand behind what the client has not taken yet.
#[test]
fn a_runtime_that_ends_while_the_client_is_slow_loses_nothing() {
    let message = text(Side::Runtime, &[b'm'; 30_000]);
    let mut bench = Bench::plain(RULES);
    bench.wire(Side::Client).set_room(10);
    bench.deliver(Side::Runtime, &message);
    bench.end(Side::Runtime);
    assert_eq!(bench.received(Side::Client).len(), 10);
    assert!(!bench.wire(Side::Client).is_finished());
    bench.wire(Side::Client).set_room(usize::MAX);
    bench.run();
    let received = bench.received(Side::Client);
    assert!(received.starts_with(&message));
    assert!(is_close(&received[message.len()..], Cause::RuntimeGone, false));
}

#[test]
fn close_frames_pass_verbatim_and_nothing_behind_them() {
    let odd = [
        Frame::new(8, b""),
        Frame::new(8, &[3, 232]),
        Frame::new(8, b"\x0f\xa0a reason of their own"),
        Frame::new(8, &[b'x'; 125]),
    ];
    for side in Side::BOTH {
        for close in &odd {
            let close = directed(close.clone(), side, [9, 9, 1, 1]);
            let code = close.payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            let sent = [close.bytes(), text(side, b"too late"), vec![0xff; 100]].concat();
            for cut in 0..sent.len() {
                let mut bench = Bench::plain(RULES);
                bench.deliver(side, &sent[..cut]);
                bench.deliver(side, &sent[cut..]);
                assert_eq!(bench.received(side.other()), close.bytes(), "cut at {cut}");
                assert_eq!(bench.received(side), [0_u8; 0]);
                assert!(bench.wires.iter().all(|wire| !wire.is_finished()));
                assert_eq!(bench.ending(), Some(Ending::Closed(side, code)));
                bench.end(side);
                assert_eq!(bench.received(side), [0_u8; 0], "an end after a Close is no news");
                assert!(bench.wire(side.other()).is_finished() && !bench.wire(side).is_finished());
            }
        }
    }
}

#[test]
fn a_close_handshake_of_either_side_ends_the_connection() {
    for first in Side::BOTH {
        let mut bench = Bench::plain(RULES);
        let [ask, answer] = [first, first.other()].map(|side| own_close(side, 1001).bytes());
        bench.deliver(first, &ask);
        let more = text(first.other(), b"still on its way");
        bench.deliver(first.other(), &[more.clone(), answer.clone()].concat());
        assert_eq!(bench.received(first), [more, answer].concat());
        assert!(bench.wires.iter().all(|wire| !wire.is_finished()));
        bench.end(first.other());
        assert!(bench.is_over, "nothing is left to be waited for");
        assert!(bench.wires.iter().all(Sim::is_finished));
        assert_eq!(bench.ending(), Some(Ending::Closed(first, Some(1001))));
    }
}

/// After both Close frames nobody should speak. Who does is heard out, so that no reset takes from
/// them what they are yet to read.
#[test]
fn what_is_unread_is_read_before_both_are_hung_up_on() {
    for first in Side::BOTH {
        let mut bench = Bench::plain(RULES);
        let [ask, answer] = [first, first.other()].map(|side| own_close(side, 1001).bytes());
        bench.deliver(first, &ask);
        bench.deliver(first.other(), &answer);
        bench.wire(first).deliver(&[b'x'; 700_000]);
        bench.end(first.other());
        assert!(bench.is_over && bench.wire(first).unread_bytes() == 0);
        assert!(bench.wires.iter().all(Sim::is_finished));
    }
}

#[test]
fn a_close_that_is_not_taken_yet_keeps_both_sides() {
    for first in Side::BOTH {
        let mut bench = Bench::plain(RULES);
        let [ask, answer] = [first, first.other()].map(|side| own_close(side, 1001).bytes());
        bench.deliver(first, &ask);
        bench.wire(first).set_room(1);
        bench.deliver(first.other(), &answer);
        bench.end(first.other());
        assert!(!bench.is_over && bench.wires.iter().all(|wire| !wire.is_finished()));
        bench.wire(first).set_room(usize::MAX);
        bench.run();
        assert_eq!(bench.received(first), answer);
        assert!(bench.is_over);
    }
}

/// Half of a Close frame is none.
#[test]
fn sides_have_not_parted_before_the_last_byte_of_a_close() {
    let mut bench = Bench::plain(RULES);
    bench.deliver(Side::Client, &own_close(Side::Client, 1001).bytes());
    let answer = directed(Frame::new(8, b"\x03\xe9bye"), Side::Runtime, [0; 4]).bytes();
    bench.deliver(Side::Runtime, &answer[..answer.len() - 1]);
    bench.end(Side::Runtime);
    assert!(!bench.is_over && bench.wire(Side::Client).is_finished());
    bench.end(Side::Client);
    assert!(bench.is_over);
}

#[test]
fn a_reset_runtime_is_reported_to_the_client() {
    let mut bench = Bench::plain(RULES);
    let message = text(Side::Runtime, b"before the crash");
    bench.wire(Side::Runtime).deliver(&message);
    bench.reset(Side::Runtime);
    let received = bench.received(Side::Client);
    assert!(received.starts_with(&message));
    assert!(is_close(&received[message.len()..], Cause::RuntimeGone, false));
    assert_eq!(bench.ending(), Some(Ending::Lost(Side::Runtime)));
    bench.end(Side::Client);
    assert!(bench.is_over);
}

#[test]
fn a_reset_client_is_a_fin_to_the_runtime() {
    let mut bench = Bench::plain(RULES);
    let message = text(Side::Client, b"before the crash");
    bench.wire(Side::Client).deliver(&message);
    bench.reset(Side::Client);
    assert_eq!(bench.received(Side::Runtime), message);
    assert!(bench.wire(Side::Runtime).is_finished());
    assert_eq!(bench.ending(), Some(Ending::Lost(Side::Client)));
    bench.deliver(Side::Runtime, &text(Side::Runtime, b"for nobody"));
    assert_eq!(bench.bytes()[1], 0, "nobody took it");
    bench.end(Side::Runtime);
    assert!(bench.is_over);
}

/// The write fails first, while the peer's last message and its Close wait to be read: both pass.
#[test]
fn a_failed_write_does_not_lose_what_was_sent_before() {
    for side in Side::BOTH {
        let mut bench = Bench::plain(RULES);
        bench.run();
        let last = [text(side, b"going away"), own_close(side, 1001).bytes()].concat();
        let wire = bench.wire(side).clone();
        wire.deliver(&last);
        wire.reset();
        // Its events are still on their way when the other side's message is written to it.
        assert!(wire.take_readable().is_some() && wire.take_writable());
        bench.deliver(side.other(), &text(side.other(), b"are you there?"));
        assert_eq!(bench.received(side.other()), last, "{side:?}");
        assert!(bench.wire(side.other()).is_finished());
        assert_eq!(bench.ending(), Some(Ending::Closed(side, Some(1001))));
        assert_eq!(bench.check_after_ms(1000), Check::Cut);
    }
}

/// What is waiting for a side that breaks is given up; the other direction goes on to its end.
#[test]
fn a_reset_while_bytes_wait_for_it() {
    for side in Side::BOTH {
        let mut bench = Bench::plain(RULES);
        bench.wire(side).set_room(5);
        bench.deliver(side.other(), &text(side.other(), &[b'w'; 5000]));
        bench.reset(side);
        assert!(bench.connection.legs[side as usize].lost);
        assert!(bench.wire(side.other()).is_finished());
        bench.end(side.other());
        assert!(bench.is_over, "{side:?}");
        assert_eq!(bench.ending(), Some(Ending::Lost(side)));
    }
}

#[test]
fn both_reset_is_the_end() {
    let mut bench = Bench::plain(RULES);
    bench.run();
    bench.wire(Side::Runtime).reset();
    bench.reset(Side::Client);
    assert!(bench.is_over);
}

/// A message that was cut short by the receiver's end is not counted, whatever follows.
#[test]
fn half_a_message_is_none() {
    let mut bench = Bench::plain(RULES);
    let whole = text(Side::Client, &[b'h'; 100]);
    bench.deliver(Side::Client, &whole[..50]);
    bench.reset(Side::Runtime);
    bench.deliver(Side::Client, &whole[50..]);
    assert_eq!(bench.messages(), [0, 0]);
}

/// Who has said goodbye cannot hold the connection open by talking on.
#[test]
fn junk_behind_a_close_does_not_keep_a_connection() {
    let half_open_ms = PATIENCE.half_open_max.as_millis() as u64;
    let mut bench = Bench::plain(RULES);
    bench.deliver(Side::Client, &own_close(Side::Client, 1000).bytes());
    for _ in 1..half_open_ms / 1000 {
        bench.deliver(Side::Client, &[0xff; 1000]);
        assert_eq!(bench.check_after_ms(1000), Check::Fine);
    }
    bench.deliver(Side::Client, &[0xff; 1000]);
    assert_eq!(bench.check_after_ms(1000), Check::Cut);
}

/// Once both have said goodbye, neither can keep the other's socket by not hanging up.
#[test]
fn after_both_goodbyes_there_is_little_patience() {
    let grace_ms = CLOSE_GRACE.as_millis() as u64;
    for late in Side::BOTH {
        let mut bench = Bench::plain(RULES);
        for side in Side::BOTH {
            bench.deliver(side, &own_close(side, 1000).bytes());
        }
        bench.end(late.other());
        bench.deliver(late, &[0xff; 1000]);
        assert_eq!(bench.check_after_ms(grace_ms - 1), Check::Fine);
        assert_eq!(bench.check_after_ms(1), Check::Cut);
    }
}

/// A runtime that hangs up on a client's goodbye has not vanished.
#[test]
fn a_runtime_may_hang_up_on_a_goodbye() {
    let mut bench = Bench::plain(RULES);
    bench.deliver(Side::Client, &own_close(Side::Client, 1000).bytes());
    bench.end(Side::Runtime);
    assert_eq!(bench.received(Side::Client), [0_u8; 0]);
    assert!(bench.wire(Side::Client).is_finished());
    assert_eq!(bench.ending(), Some(Ending::Closed(Side::Client, Some(1000))));
}
