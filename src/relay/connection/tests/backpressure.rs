//! What slows a sender down: a receiver that takes nothing, and a plan's message budget.

use super::bench::{Bench, LEFT_BYTES_MAX, RULES};
use super::model::{directed, own_close};
use crate::clock::Millis;
use crate::close::Cause;
use crate::plan::{Account, Over, Plan, Quota, Share};
use crate::relay::buffers::READ_BYTES_MAX;
use crate::relay::connection::TURN_BYTES_MAX;
use crate::relay::frames::{BINARY, CONTINUATION, Frame, PING, TEXT, is_close, stream};
use crate::relay::pair::{Check, Ending, Side};

fn frame(from: Side, opcode: u8, payload: &[u8]) -> Frame {
    directed(Frame::new(opcode, payload), from, [4, 3, 2, 1])
}

pub fn with_budget(per_second: u64, burst: u64, over: Over) -> Bench {
    let mut bench = Bench::plain(RULES);
    set_budget(&mut bench, per_second, burst, over);
    bench
}

pub fn set_budget(bench: &mut Bench, per_second: u64, burst: u64, over: Over) {
    let messages_per_second = Some(Quota { limit: per_second, burst: Some(burst) });
    bench.account = Some(account(Plan { messages_per_second, over, ..Plan::default() }));
}

pub fn account(plan: Plan) -> Account {
    Account::new(&plan, Share::default(), Millis(0))
}

#[test]
fn a_receiver_that_takes_nothing_stops_the_reading() {
    for slow in Side::BOTH {
        let from = slow.other();
        let mut bench = Bench::plain(RULES);
        bench.wire(slow).set_room(0);
        let message = frame(from, BINARY, &[b'm'; 1_000_000]).bytes();
        bench.deliver(from, &message);
        assert_eq!(bench.wire(from).unread_bytes(), message.len() - READ_BYTES_MAX);
        assert_eq!(bench.kept_bytes()[from as usize], READ_BYTES_MAX);
        let (reads, _) = bench.wire(from).calls();
        for _ in 0..10 {
            bench.deliver(from, &frame(from, TEXT, b"more").bytes());
            bench.disturb(from);
            bench.run();
        }
        assert_eq!(bench.wire(from).calls().0, reads, "not a single read more");
        // The other direction is not disturbed.
        let back = frame(slow, BINARY, &[b'b'; 500_000]).bytes();
        bench.deliver(slow, &back);
        assert_eq!(bench.received(from), back);
        let mut taken = 0;
        while taken < message.len() {
            bench.wire(slow).set_room(10_000);
            bench.run();
            assert!(bench.received(slow).len() > taken, "the reading did not resume");
            assert!(bench.kept_bytes()[from as usize] <= LEFT_BYTES_MAX);
            taken = bench.received(slow).len();
        }
        assert!(bench.received(slow).starts_with(&message));
    }
}

/// More than one turn's share: the rest is fetched without a further event.
#[test]
fn a_large_message_passes_though_its_turns_are_limited() {
    for side in Side::BOTH {
        let mut bench = Bench::plain(RULES);
        let message = frame(side, BINARY, &[b'm'; 1_000_000]);
        bench.deliver(side, &stream(&[message.clone(), message.clone()]));
        assert_eq!(bench.received(side.other()), stream(&[message.clone(), message]));
        assert_eq!(bench.kept_bytes(), [0, 0]);
    }
}

/// A turn's share used up and the way blocked at once: nothing to do is nothing to do again.
#[test]
fn a_connection_that_can_only_wait_rests() {
    let message = frame(Side::Client, BINARY, &[b'm'; 50_000]).bytes();
    let in_one_turn = TURN_BYTES_MAX / message.len();
    for last_byte in 1..20 {
        let mut blocked = Bench::plain(RULES);
        blocked.wire(Side::Runtime).set_room(TURN_BYTES_MAX - last_byte);
        blocked.deliver(Side::Client, &message.repeat(20));
        assert_eq!(blocked.received(Side::Runtime).len(), TURN_BYTES_MAX - last_byte);
        blocked.wire(Side::Runtime).set_room(usize::MAX);
        blocked.run();
        assert_eq!(blocked.received(Side::Runtime), message.repeat(20));
    }
    let mut paused = with_budget(1, in_one_turn as u64, Over::Pace);
    paused.deliver(Side::Client, &message.repeat(20));
    assert_eq!(paused.messages()[0], in_one_turn as u64);
    while paused.check_after_ms(1000) == Check::Step {}
    assert_eq!(paused.received(Side::Runtime), message.repeat(20));
}

#[test]
fn a_spent_budget_pauses_and_goes_on() {
    let mut bench = with_budget(10, 2, Over::Pace);
    let frames: Vec<Frame> =
        (0..6_u8).map(|number| frame(Side::Client, TEXT, &[number; 5])).collect();
    bench.deliver(Side::Client, &stream(&frames));
    for passed in 2..=6 {
        assert_eq!(bench.received(Side::Runtime), stream(&frames[..passed]));
        assert_eq!(bench.connection.is_paced(), passed < 6);
        if passed < 6 {
            assert_eq!(bench.check_after_ms(99), Check::Fine);
            bench.disturb(Side::Client);
            bench.run();
            assert_eq!(bench.received(Side::Runtime), stream(&frames[..passed]), "too early");
            assert_eq!(bench.check_after_ms(1), Check::Step);
        }
    }
    assert_eq!(bench.kept_bytes(), [0, 0]);
    assert_eq!(bench.messages(), [6, 0]);
}

/// What one read brought is judged again after each pause: held, pending and unread bytes keep
/// their order.
#[test]
fn pauses_keep_the_order_at_every_cut() {
    let frames = [
        frame(Side::Client, TEXT, b"first").unfinished(),
        frame(Side::Client, PING, b"between"),
        frame(Side::Client, CONTINUATION, b"second"),
        frame(Side::Client, BINARY, b"third"),
        frame(Side::Client, TEXT, b""),
        own_close(Side::Client, 1000),
    ];
    let whole = stream(&frames);
    for cut in 0..whole.len() {
        let mut bench = with_budget(1, 1, Over::Pace);
        bench.deliver(Side::Client, &whole[..cut]);
        bench.deliver(Side::Client, &whole[cut..]);
        for _ in 0..3 {
            bench.check_after_ms(1000);
        }
        assert_eq!(bench.received(Side::Runtime), whole, "cut at {cut}");
        assert_eq!(bench.kept_bytes(), [0, 0]);
        assert_eq!(bench.ending(), Some(Ending::Closed(Side::Client, Some(1000))));
    }
}

#[test]
fn both_directions_draw_on_one_budget() {
    let mut bench = with_budget(1, 3, Over::Pace);
    for side in Side::BOTH {
        let message = frame(side, TEXT, b"one of two");
        bench.deliver(side, &stream(&[message.clone(), message]));
    }
    assert_eq!(bench.messages(), [2, 1]);
    bench.check_after_ms(1000);
    assert_eq!(bench.messages(), [2, 2]);
}

#[test]
fn a_paused_side_is_not_read_from() {
    let mut bench = with_budget(1, 1, Over::Pace);
    let message = frame(Side::Runtime, BINARY, &[b'm'; 40_000]);
    bench.deliver(Side::Runtime, &stream(&[message.clone(), message.clone()]));
    let (reads, _) = bench.wire(Side::Runtime).calls();
    bench.deliver(Side::Runtime, &message.bytes());
    assert_eq!(bench.wire(Side::Runtime).calls().0, reads);
    assert!(bench.kept_bytes()[1] <= LEFT_BYTES_MAX);
    for _ in 0..3 {
        bench.check_after_ms(1000);
    }
    assert_eq!(bench.messages(), [0, 3]);
}

#[test]
fn a_pause_does_not_delay_a_close_of_ours() {
    let mut bench = with_budget(1, 1, Over::Pace);
    let frames = [frame(Side::Client, TEXT, b"passes"), frame(Side::Client, TEXT, b"waits")];
    bench.deliver(Side::Client, &stream(&frames));
    bench.close(Cause::KeyRegenerated);
    let passed = frames[0].bytes();
    let received = bench.received(Side::Runtime);
    assert!(received.starts_with(&passed));
    assert!(is_close(&received[passed.len()..], Cause::KeyRegenerated, true));
    assert_eq!(bench.kept_bytes(), [0, 0]);
    bench.end(Side::Client);
    bench.end(Side::Runtime);
    assert!(bench.is_over);
}

#[test]
fn a_paused_sender_is_not_called_stalled() {
    let mut bench = with_budget(1, 1, Over::Pace);
    let message = frame(Side::Client, TEXT, b"waits").bytes();
    bench.deliver(Side::Client, &message.repeat(2));
    bench.deliver(Side::Client, &message[..3]);
    bench.patience.frame_stall_max = std::time::Duration::from_millis(300);
    // A second, less the tick that a budget gives in advance.
    assert_eq!(bench.check_after_ms(989), Check::Fine);
    assert_eq!(bench.check_after_ms(1), Check::Step);
    assert_eq!(bench.check_after_ms(299), Check::Fine, "its time starts after the pause");
    assert_eq!(bench.check_after_ms(1), Check::Step);
    assert_eq!(bench.connection.pair().closing(), Some(Cause::FrameStalled));
}

#[test]
fn a_plan_may_close_instead() {
    for side in Side::BOTH {
        let mut bench = with_budget(1, 2, Over::Close);
        let message = frame(side, TEXT, b"message");
        let ping = frame(side, PING, b"free");
        let passing = [message.clone(), ping.clone(), message.clone(), ping];
        bench.deliver(side, &stream(&[&passing[..], &[message]].concat()));
        let received = bench.received(side.other());
        let passed = stream(&passing);
        assert!(received.starts_with(&passed));
        assert!(is_close(&received[passed.len()..], Cause::BudgetExhausted, side == Side::Client));
        assert!(is_close(&bench.received(side), Cause::BudgetExhausted, side == Side::Runtime));
        assert_eq!(bench.messages()[side as usize], 2);
    }
}

#[test]
fn a_message_costs_the_same_in_any_number_of_frames() {
    let mut bench = with_budget(1, 2, Over::Close);
    let mut frames = vec![frame(Side::Client, CONTINUATION, b"part").unfinished(); 20];
    frames[0].opcode = TEXT;
    frames.push(frame(Side::Client, CONTINUATION, b"end"));
    frames.push(frame(Side::Client, TEXT, b"the second"));
    bench.deliver(Side::Client, &stream(&frames));
    assert_eq!(bench.received(Side::Runtime), stream(&frames));
    assert_eq!(bench.connection.pair().closing(), None);
}

/// Paused and blocked at once: each is waited for.
#[test]
fn a_pause_behind_a_blocked_receiver() {
    let mut bench = with_budget(1, 1, Over::Pace);
    bench.wire(Side::Runtime).set_room(2);
    let message = frame(Side::Client, TEXT, b"message").bytes();
    bench.deliver(Side::Client, &message.repeat(3));
    bench.check_after_ms(5000);
    assert_eq!(bench.received(Side::Runtime), message[..2]);
    bench.wire(Side::Runtime).set_room(usize::MAX);
    bench.run();
    assert_eq!(bench.received(Side::Runtime), message.repeat(2));
    bench.check_after_ms(1000);
    assert_eq!(bench.received(Side::Runtime), message.repeat(3));
    assert_eq!(bench.kept_bytes(), [0, 0]);
}
