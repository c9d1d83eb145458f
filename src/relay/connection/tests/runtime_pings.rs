//! Pings of flowgate's own to runtimes.

use std::time::Duration;

use super::bench::{Bench, NONCE, PATIENCE, RULES};
use super::model::directed;
use crate::close::Cause;
use crate::relay::frames::{Frame, PING, PONG, TEXT, is_close, read};
use crate::relay::pair::{Check, Patience, Side};

const PING_AFTER_MS: u64 = 10_000;

/// Clients are asked, too, if `both`.
fn bench(both: bool) -> Bench {
    let mut bench = Bench::plain(RULES);
    let after = Some(Duration::from_millis(PING_AFTER_MS));
    let ping_after = after.filter(|_| both);
    bench.patience = Patience { ping_after, ping_runtime_after: after, ..PATIENCE };
    bench.run();
    bench
}

fn pings(bench: &Bench, to: Side) -> Vec<Frame> {
    read(&bench.received(to)).0.into_iter().filter(|frame| frame.opcode == PING).collect()
}

#[test]
fn a_silent_runtime_gets_two_pings_and_then_a_close() {
    let mut bench = bench(false);
    for count in 1..=2 {
        assert_eq!(bench.check_after_ms(PING_AFTER_MS - 1), Check::Fine);
        assert_eq!(bench.check_after_ms(1), Check::Step);
        let pings = pings(&bench, Side::Runtime);
        assert_eq!(pings.len(), count);
        assert!(pings.iter().all(|ping| ping.mask.is_some() && ping.payload.len() == 8));
    }
    let before = bench.received(Side::Runtime).len();
    assert_eq!(bench.check_after_ms(PING_AFTER_MS - 1), Check::Fine);
    assert_eq!(bench.check_after_ms(1), Check::Step);
    let said = bench.received(Side::Runtime);
    assert!(is_close(&said[before..], Cause::RuntimeSilent, true));
    assert!(is_close(&bench.received(Side::Client), Cause::RuntimeSilent, false));
    assert_eq!(bench.bytes(), [0, 0], "frames of our own are nobody's bytes");
}

#[test]
fn whatever_the_runtime_sends_is_a_sign_of_life() {
    let mut bench = bench(false);
    for _ in 0..5 {
        bench.check_after_ms(PING_AFTER_MS - 1);
        bench.deliver(Side::Runtime, &Frame::new(TEXT, b"here").bytes());
    }
    assert!(pings(&bench, Side::Runtime).is_empty());
    // The client's say nothing of it.
    bench.check_after_ms(PING_AFTER_MS - 1);
    bench.deliver(Side::Client, &directed(Frame::new(TEXT, b"x"), Side::Client, [7; 4]).bytes());
    assert_eq!(bench.check_after_ms(1), Check::Step);
    assert_eq!(pings(&bench, Side::Runtime).len(), 1);
}

#[test]
fn an_answered_ping_is_swallowed_at_every_cut() {
    let next = Frame::new(TEXT, b"next").bytes();
    let mut length = usize::MAX;
    let mut cut = 0;
    while cut <= length {
        let mut bench = bench(false);
        bench.check_after_ms(PING_AFTER_MS);
        let pong = Frame::new(PONG, &pings(&bench, Side::Runtime)[0].payload).bytes();
        length = pong.len();
        bench.deliver(Side::Runtime, &pong[..cut]);
        bench.deliver(Side::Runtime, &pong[cut..]);
        assert_eq!(bench.received(Side::Client), [0_u8; 0], "cut at {cut}");
        bench.deliver(Side::Runtime, &next);
        assert_eq!(bench.received(Side::Client), next);
        assert_eq!(bench.check_after_ms(PING_AFTER_MS - 1), Check::Fine);
        assert_eq!(bench.check_after_ms(1), Check::Step);
        assert_eq!(pings(&bench, Side::Runtime).len(), 2);
        cut += 1;
    }
}

#[test]
fn a_client_may_ask_the_runtime_with_what_it_was_asked_itself() {
    let mut bench = bench(true);
    bench.check_after_ms(PING_AFTER_MS);
    let asked = pings(&bench, Side::Client);
    assert!(asked[0].payload.starts_with(&NONCE));
    assert_ne!(pings(&bench, Side::Runtime)[0].payload[..7], asked[0].payload[..7]);
    let before = bench.received(Side::Client).len();
    let pong = Frame::new(PONG, &asked[0].payload).bytes();
    bench.deliver(Side::Runtime, &pong);
    assert_eq!(bench.received(Side::Client)[before..], pong);
}

#[test]
fn each_side_is_asked_for_itself() {
    let mut bench = bench(true);
    bench.check_after_ms(PING_AFTER_MS / 2);
    bench.deliver(Side::Runtime, &Frame::new(TEXT, b"here").bytes());
    bench.check_after_ms(PING_AFTER_MS / 2);
    assert_eq!([Side::Client, Side::Runtime].map(|side| pings(&bench, side).len()), [1, 0]);
    bench.check_after_ms(PING_AFTER_MS / 2);
    assert_eq!([Side::Client, Side::Runtime].map(|side| pings(&bench, side).len()), [1, 1]);
}
