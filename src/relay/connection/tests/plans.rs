//! What a plan leaves out: whole messages and nothing else, whatever they look like on the wire.

use proptest::prelude::*;

use super::backpressure::{account, set_budget, with_budget};
use super::bench::{Bench, RULES};
use super::model::{Peers, Then, cases, directed, messages};
use super::sim::Dice;
use crate::close::Cause;
use crate::plan::{Limit, Over, Plan, Quota};
use crate::relay::control::NOTICE;
use crate::relay::frames::{BINARY, CONTINUATION, Frame, PING, PONG, TEXT, is_close, read, stream};
use crate::relay::pair::{Check, Rules, Side};

const RSV1: u8 = 0x40;
/// Every message stands for itself.
const SINGLE: Rules = Rules { keeps_context: [false; 2], ..RULES };

fn frame(from: Side, opcode: u8, payload: &[u8]) -> Frame {
    directed(Frame::new(opcode, payload), from, [4, 3, 2, 1])
}

fn notice() -> Frame {
    Frame::new(TEXT, NOTICE.as_bytes())
}

/// So that each is known again: its place among them stands in front of its payload.
fn numbered(frames: Vec<Frame>) -> Vec<Frame> {
    let number = |(place, frame): (usize, Frame)| {
        let room = if frame.is_data() { usize::MAX } else { 121 };
        let rest = &frame.payload[..frame.payload.len().min(room)];
        Frame { payload: [&(place as u32).to_be_bytes(), rest].concat(), ..frame }
    };
    frames.into_iter().enumerate().map(number).collect()
}

/// What became of what one side sent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    passed: u64,
    payload_bytes: u64,
    dropped: u64,
    compressed_dropped: u64,
    notices: usize,
}

/// Checks that what arrived are the frames that were sent, unchanged and in order, without whole
/// messages alone; and that notices stand between messages.
fn outcome(sent: &[Frame], received: &[u8]) -> Result<Outcome, String> {
    let (frames, rest) = read(received);
    let (mut outcome, mut next, mut is_inside) = (Outcome::default(), 0, false);
    let mut is_dropped = false;
    for frame in frames.iter().map(Some).chain([None]) {
        if frame == Some(&notice()) {
            outcome.notices += 1;
            if is_inside {
                return Err("a notice inside a message".to_owned());
            }
            continue;
        }
        loop {
            let Some(expected) = sent.get(next) else {
                return match frame {
                    None if rest.is_empty() => Ok(outcome),
                    other => Err(format!("too much: {other:?}, {} bytes", rest.len())),
                };
            };
            next += 1;
            let here = frame.is_some_and(|it| it.payload == expected.payload);
            if here {
                let it = frame.map(|it| (it.opcode, it.fin, it.reserved, it.mask));
                if it != Some((expected.opcode, expected.fin, expected.reserved, expected.mask)) {
                    return Err(format!("{frame:?} for {expected:?}"));
                }
            }
            if !expected.is_data() {
                match here {
                    true => break,
                    false => return Err(format!("lost: {expected:?}")),
                }
            }
            if expected.opcode != CONTINUATION {
                is_dropped = !here;
                let is_compressed = expected.reserved == RSV1;
                outcome.dropped += u64::from(is_dropped);
                outcome.compressed_dropped += u64::from(is_dropped && is_compressed);
                outcome.passed += u64::from(here);
            }
            if here == is_dropped {
                return Err(format!("torn: {expected:?}"));
            }
            is_inside = here && !expected.fin;
            if here {
                outcome.payload_bytes += expected.payload.len() as u64;
                break;
            }
        }
    }
    Ok(outcome)
}

fn both(bench: &Bench, sent: &[Vec<Frame>; 2]) -> Result<[Outcome; 2], TestCaseError> {
    let side = |side: Side| outcome(&sent[side as usize], &bench.received(side.other()));
    let from_client = side(Side::Client).map_err(TestCaseError::fail)?;
    let from_runtime = side(Side::Runtime).map_err(TestCaseError::fail)?;
    Ok([from_client, from_runtime])
}

proptest! {
    #![proptest_config(cases(192))]

    /// Nothing but the number of messages decides how many pass: not their frames, not their cuts, not
    /// what stands between them, not their compression.
    #[test]
    fn a_plan_counts_messages_and_leaves_out_whole_ones(
        from_client in messages(Side::Client),
        from_runtime in messages(Side::Runtime),
        burst in 1_u64..6,
        seed: u64,
    ) {
        let sent = [numbered(from_client), numbered(from_runtime)];
        let mut dice = Dice::new(seed);
        let mut peers = Peers::new([stream(&sent[0]), stream(&sent[1])], Then::Stay);
        let mut bench = peers.join(&mut dice, SINGLE);
        set_budget(&mut bench, 1, burst, Over::Drop);
        peers.finish(&mut bench, &mut dice);

        let outcomes = both(&bench, &sent)?;
        let [passed, dropped] = [outcomes[0].passed + outcomes[1].passed, outcomes[0].dropped + outcomes[1].dropped];
        prop_assert_eq!(passed, burst.min(passed + dropped));
        prop_assert_eq!(outcomes[0].notices, 0);
        prop_assert_eq!(outcomes[1].notices, usize::from(dropped > 0), "one, as no time passes");
        let used = bench.account.as_ref().map(crate::plan::Account::used);
        prop_assert_eq!(used, Some([passed, 0, 0, 0]), "bytes have no limit");
        prop_assert_eq!(bench.messages(), [outcomes[0].passed, outcomes[1].passed]);
        prop_assert_eq!(bench.kept_bytes(), [0, 0]);
        prop_assert!(bench.connection.pair().closing().is_none());
    }

    /// The same while time passes, bytes are counted, and some messages may not be missed: those wait.
    #[test]
    fn what_others_refer_to_waits_and_the_rest_is_left_out(
        from_client in messages(Side::Client),
        from_runtime in messages(Side::Runtime),
        keeps_context: [bool; 2],
        (burst, bytes) in (1_u64..4, prop_oneof![Just(1_000_000_u64), 500_u64..100_000]),
        seed: u64,
    ) {
        let sent = [numbered(from_client), numbered(from_runtime)];
        let mut dice = Dice::new(seed);
        let mut peers = Peers::new([stream(&sent[0]), stream(&sent[1])], Then::Stay);
        let mut bench = peers.join(&mut dice, Rules { keeps_context, ..RULES });
        bench.account = Some(account(Plan {
            messages_per_second: Some(Quota { limit: 50, burst: Some(burst) }),
            bytes_per_minute: Some(Quota { limit: 60 * bytes, burst: Some(bytes) }),
            over: Over::Drop,
            ..Plan::default()
        }));
        while !peers.play(&mut bench, &mut dice, 10) {
            bench.check_after_ms(dice.roll(30) as u64);
        }
        peers.finish(&mut bench, &mut dice);
        for _ in 0..100_000 {
            if !bench.connection.is_paced() {
                break;
            }
            bench.check_after_ms(500);
        }
        let outcomes = both(&bench, &sent)?;
        for side in Side::BOTH {
            let outcome = &outcomes[side as usize];
            prop_assert!(!keeps_context[side as usize] || outcome.compressed_dropped == 0);
        }
        let passed = outcomes[0].passed + outcomes[1].passed;
        let payload_bytes = outcomes[0].payload_bytes + outcomes[1].payload_bytes;
        let used = bench.account.as_ref().map(crate::plan::Account::used);
        prop_assert_eq!(used, Some([passed, payload_bytes, 0, 0]));
        prop_assert_eq!(bench.kept_bytes(), [0, 0]);
    }
}

#[test]
fn the_client_is_told_once_a_second() {
    let mut bench = with_budget(1, 1, Over::Drop);
    let message = frame(Side::Client, TEXT, b"uncompressed").bytes();
    bench.deliver(Side::Client, &message.repeat(5));
    assert_eq!(bench.received(Side::Runtime), message);
    assert_eq!(bench.received(Side::Client), notice().bytes());
    assert_eq!(NOTICE, "Error code: 4008 reason: Websocket frame throttled out");
    bench.pass_ms(900);
    bench.deliver(Side::Client, &message);
    assert_eq!(bench.received(Side::Client), notice().bytes());
    bench.pass_ms(100);
    bench.deliver(Side::Client, &message.repeat(2));
    assert_eq!(bench.received(Side::Runtime), message.repeat(2), "one came back");
    assert_eq!(bench.received(Side::Client), notice().bytes().repeat(2));
    assert_eq!(bench.messages(), [2, 0]);
}

/// A notice waits for the end of a message towards the client; control frames do not.
#[test]
fn no_notice_stands_inside_a_message() {
    let mut bench = with_budget(1, 1, Over::Drop);
    let begin = frame(Side::Runtime, TEXT, b"be").unfinished().bytes();
    bench.deliver(Side::Runtime, &begin);
    bench.deliver(Side::Client, &frame(Side::Client, TEXT, b"too many").bytes());
    let ping = frame(Side::Runtime, PING, b"?").bytes();
    bench.deliver(Side::Runtime, &ping);
    assert_eq!(bench.received(Side::Client), [begin.clone(), ping.clone()].concat());
    let end = frame(Side::Runtime, CONTINUATION, b"gin").bytes();
    bench.deliver(Side::Runtime, &end[..3]);
    assert!(!bench.received(Side::Client).ends_with(&notice().bytes()));
    bench.deliver(Side::Runtime, &end[3..]);
    assert_eq!(bench.received(Side::Client), [begin, ping, end, notice().bytes()].concat());
    assert_eq!(bench.received(Side::Runtime), b"");
}

/// Of a message that is left out nothing arrives, so that between its fragments a notice may stand.
#[test]
fn control_frames_inside_what_is_left_out_pass() {
    let mut bench = with_budget(1, 1, Over::Drop);
    let passes = frame(Side::Runtime, BINARY, b"passes").bytes();
    bench.deliver(Side::Runtime, &passes);
    let ping = frame(Side::Runtime, PING, b"in between").bytes();
    let pong = frame(Side::Runtime, PONG, b"8 bytes.").bytes();
    let parts = [
        frame(Side::Runtime, BINARY, &[1; 300]).unfinished().bytes(),
        ping.clone(),
        frame(Side::Runtime, CONTINUATION, b"").unfinished().bytes(),
        pong.clone(),
        frame(Side::Runtime, CONTINUATION, &[2; 70_000]).bytes(),
    ];
    for byte in parts.concat() {
        bench.deliver(Side::Runtime, &[byte]);
    }
    let expected = [passes, notice().bytes(), ping, pong].concat();
    assert_eq!(bench.received(Side::Client), expected);
    assert_eq!(bench.messages(), [0, 1]);
    assert_eq!(bench.kept_bytes(), [0, 0]);
}

#[test]
fn a_close_of_ours_need_not_wait_for_the_end_of_what_is_left_out() {
    for side in Side::BOTH {
        let mut bench = with_budget(1, 1, Over::Drop);
        let message = frame(side, BINARY, &[7; 1000]).bytes();
        bench.deliver(side, &message);
        bench.deliver(side, &message[..500]);
        bench.close(Cause::KeyRegenerated);
        let received = bench.received(side.other());
        let rest = &received[message.len()..];
        let rest = rest.strip_prefix(notice().bytes().as_slice()).unwrap_or(rest);
        assert!(is_close(rest, Cause::KeyRegenerated, side == Side::Client), "{side:?}");
    }
}

/// What has begun to pass passes whole: its fragments wait for the bytes that they cost.
#[test]
fn the_rest_of_a_message_waits_instead() {
    let mut bench = Bench::plain(SINGLE);
    bench.account = Some(account(Plan {
        bytes_per_second: Some(1000.into()),
        over: Over::Drop,
        ..Plan::default()
    }));
    let parts = [
        frame(Side::Client, BINARY, &[1; 1000]).unfinished().bytes(),
        frame(Side::Client, CONTINUATION, &[2; 500]).bytes(),
    ];
    bench.deliver(Side::Client, &parts.concat());
    assert_eq!(bench.received(Side::Runtime), parts[0]);
    assert_eq!(bench.check_after_ms(499), Check::Fine);
    assert_eq!(bench.check_after_ms(1), Check::Step);
    assert_eq!(bench.received(Side::Runtime), parts.concat());
    bench.deliver(Side::Client, &frame(Side::Client, BINARY, &[3; 10]).bytes());
    assert_eq!(bench.received(Side::Runtime), parts.concat(), "a whole message is left out");
    assert_eq!(bench.received(Side::Client), notice().bytes());
    let standings = bench.account.as_ref().unwrap().standings(bench.now);
    assert_eq!(
        standings.iter().map(|it| (it.limit, it.left)).collect::<Vec<_>>(),
        [(Limit::BytesPerSecond, 0)]
    );
}
