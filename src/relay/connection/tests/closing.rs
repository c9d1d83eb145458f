//! Closing by flowgate, at any moment.

use proptest::prelude::*;

use super::bench::{Bench, MASK, RULES};
use super::model::{Peers, Then, cases, is_closed_at_boundary, messages, own_close};
use super::sim::Dice;
use crate::close::Cause;
use crate::relay::frames::{Frame, TEXT, is_close, read, stream};
use crate::relay::pair::{CLOSE_GRACE, Check, Ending, Side};

fn any_cause() -> impl Strategy<Value = Cause> {
    prop::sample::select(Cause::all().collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn a_close_goes_in_at_a_boundary_of_both_directions(
        from_client in messages(Side::Client),
        from_runtime in messages(Side::Runtime),
        cause in any_cause(),
        steps in 0_usize..60,
        seed: u64,
    ) {
        let mut dice = Dice::new(seed);
        let frames = [from_client, from_runtime];
        let mut peers = Peers::new([stream(&frames[0]), stream(&frames[1])], Then::Stay);
        let mut bench = peers.join(&mut dice, RULES);
        peers.play(&mut bench, &mut dice, steps);
        bench.close(cause);
        peers.finish(&mut bench, &mut dice);

        for side in Side::BOTH {
            let received = bench.received(side);
            let sent = &frames[side.other() as usize];
            let masked = side == Side::Runtime;
            prop_assert!(is_closed_at_boundary(&received, sent, cause, masked), "{:?}", side);
            prop_assert!(bench.wire(side).is_finished());
        }
        prop_assert_eq!(bench.ending(), Some(Ending::Flowgate(cause)));
        prop_assert!(!bench.is_over, "nobody has hung up yet");
        bench.wires.iter().for_each(super::sim::Sim::end);
        bench.run();
        prop_assert!(bench.is_over);
    }

    /// What stays without a boundary gets nothing, and is cut in time.
    #[test]
    fn who_never_reaches_a_boundary_is_cut(
        from_client in messages(Side::Client),
        from_runtime in messages(Side::Runtime),
        cause in any_cause(),
        steps in 0_usize..60,
        seed: u64,
    ) {
        let mut dice = Dice::new(seed);
        let frames = [from_client, from_runtime];
        let mut peers = Peers::new([stream(&frames[0]), stream(&frames[1])], Then::Stay);
        let mut bench = peers.join(&mut dice, RULES);
        peers.play(&mut bench, &mut dice, steps);
        peers.settle(&mut bench);
        bench.close(cause);
        peers.settle(&mut bench);

        for side in Side::BOTH {
            let received = bench.received(side);
            let sent = &frames[side.other() as usize];
            let closed = is_closed_at_boundary(&received, sent, cause, side == Side::Runtime);
            let in_frame = !read(&received).1.is_empty();
            prop_assert!(closed != in_frame);
            prop_assert!(closed || stream(sent).starts_with(&received));
            prop_assert_eq!(closed, bench.wire(side).is_finished());
        }
        let grace_ms = CLOSE_GRACE.as_millis() as u64;
        prop_assert_eq!(bench.check_after_ms(grace_ms - 1), Check::Fine);
        prop_assert_eq!(bench.check_after_ms(1), Check::Cut);
    }
}

fn text(from: Side, payload: &[u8]) -> Frame {
    super::model::directed(Frame::new(TEXT, payload), from, [1, 2, 3, 4])
}

#[test]
fn every_cause_reaches_both_sides_with_its_code_and_reason() {
    for cause in Cause::all() {
        let mut bench = Bench::plain(RULES);
        bench.run();
        bench.close(cause);
        assert!(is_close(&bench.received(Side::Client), cause, false), "{cause:?}");
        let towards_runtime = bench.received(Side::Runtime);
        assert!(is_close(&towards_runtime, cause, true), "{cause:?}");
        assert_eq!(read(&towards_runtime).0[0].mask, Some(MASK));
        assert!(bench.wires.iter().all(super::sim::Sim::is_finished));
    }
}

#[test]
fn the_first_cause_stays() {
    let mut bench = Bench::plain(RULES);
    let begun = text(Side::Client, b"hello").bytes();
    bench.deliver(Side::Client, &begun[..8]);
    bench.close(Cause::KeyRegenerated);
    bench.close(Cause::Drain);
    bench.deliver(Side::Client, &begun[8..]);
    let rest = bench.received(Side::Runtime).split_off(begun.len());
    assert!(is_close(&rest, Cause::KeyRegenerated, true));
    assert!(is_close(&bench.received(Side::Client), Cause::KeyRegenerated, false));
}

#[test]
fn a_close_before_the_first_turn_drops_the_read_ahead() {
    let read_ahead = Side::BOTH.map(|side| text(side, b"too late").bytes());
    let mut bench = Bench::new([None, None], RULES, read_ahead);
    bench.close(Cause::TenantDisabled);
    assert!(is_close(&bench.received(Side::Client), Cause::TenantDisabled, false));
    assert!(is_close(&bench.received(Side::Runtime), Cause::TenantDisabled, true));
    assert_eq!(bench.kept_bytes(), [0, 0]);
    assert_eq!(bench.messages(), [0, 0]);
}

/// A side that has said goodbye itself gets no second word in that direction.
#[test]
fn behind_a_peers_own_close_there_is_none_of_ours() {
    for closer in Side::BOTH {
        let mut bench = Bench::plain(RULES);
        let goodbye = own_close(closer, 1000).bytes();
        bench.deliver(closer, &goodbye);
        bench.close(Cause::ClosedByOwner);
        assert_eq!(bench.received(closer.other()), goodbye);
        let answer = bench.received(closer);
        assert!(is_close(&answer, Cause::ClosedByOwner, closer == Side::Runtime));
        assert_eq!(bench.ending(), Some(Ending::Closed(closer, Some(1000))));
        assert_eq!(bench.check_after_ms(1000), Check::Cut);
    }
}

/// A Close frame behind bytes that are not taken cannot reach its side: cut, not forgotten.
#[test]
fn a_side_that_takes_nothing_is_cut() {
    let mut bench = Bench::plain(RULES);
    bench.wire(Side::Client).set_room(3);
    bench.deliver(Side::Runtime, &text(Side::Runtime, b"hello").bytes());
    bench.close(Cause::Drain);
    assert!(is_close(&bench.received(Side::Runtime), Cause::Drain, true));
    assert_eq!(bench.received(Side::Client).len(), 3);
    assert!(matches!(bench.check_after_ms(999), Check::Fine | Check::Step));
    assert_eq!(bench.check_after_ms(1), Check::Cut);
}

/// What still comes is read and dropped, so that no reset overtakes the Close frame.
#[test]
fn after_our_close_both_sides_are_drained() {
    let mut bench = Bench::plain(RULES);
    bench.close(Cause::Drain);
    let received = Side::BOTH.map(|side| bench.received(side));
    for side in Side::BOTH {
        for _ in 0..50 {
            bench.deliver(side, &[0xff; 100_000]);
            assert_eq!(bench.wire(side).unread_bytes(), 0);
        }
    }
    assert_eq!(Side::BOTH.map(|side| bench.received(side)), received);
    assert_eq!(bench.kept_bytes(), [0, 0]);
    assert_eq!(bench.check_after_ms(1000), Check::Cut);
}
