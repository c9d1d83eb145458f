//! What is valid arrives as it was sent, however it was cut on the way.

use proptest::prelude::*;

use super::backpressure::set_budget;
use super::bench::RULES;
use super::model::{Peers, Then, cases, messages, messages_in, own_close};
use super::sim::Dice;
use crate::plan::Over;
use crate::relay::frames::{Frame, stream};
use crate::relay::pair::{Ending, Side};

fn conversation(from: Side) -> impl Strategy<Value = Vec<Frame>> {
    (messages(from), 1000_u16..1012).prop_map(move |(mut frames, code)| {
        frames.push(own_close(from, code));
        frames
    })
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn what_is_sent_arrives_byte_for_byte(
        from_client in conversation(Side::Client),
        from_runtime in conversation(Side::Runtime),
        seed: u64,
    ) {
        let mut dice = Dice::new(seed);
        let streams = [stream(&from_client), stream(&from_runtime)];
        let mut peers = Peers::new(streams.clone(), Then::Fin);
        let mut bench = peers.join(&mut dice, RULES);
        peers.finish(&mut bench, &mut dice);

        prop_assert!(bench.received(Side::Runtime) == streams[0], "client to runtime differs");
        prop_assert!(bench.received(Side::Client) == streams[1], "runtime to client differs");
        prop_assert!(bench.is_over);
        prop_assert!(bench.wires.iter().all(super::sim::Sim::is_finished));
        prop_assert_eq!(bench.kept_bytes(), [0, 0]);
        prop_assert_eq!(bench.messages(), [messages_in(&from_client), messages_in(&from_runtime)]);
        prop_assert_eq!(bench.bytes(), [streams[0].len() as u64, streams[1].len() as u64]);
        let closed = matches!(bench.ending(), Some(Ending::Closed(_, Some(1000..1012))));
        prop_assert!(closed, "{:?}", bench.ending());
    }

    /// The same under a message budget: pauses, stalls and moods together change no order.
    #[test]
    fn pauses_delay_and_change_nothing(
        from_client in conversation(Side::Client),
        from_runtime in conversation(Side::Runtime),
        burst in 1_u64..4,
        seed: u64,
    ) {
        let mut dice = Dice::new(seed);
        let streams = [stream(&from_client), stream(&from_runtime)];
        let mut peers = Peers::new(streams.clone(), Then::Fin);
        let mut bench = peers.join(&mut dice, RULES);
        set_budget(&mut bench, 50, burst, Over::Pace);
        while !peers.play(&mut bench, &mut dice, 10) {
            bench.check_after_ms(dice.roll(30) as u64);
        }
        peers.finish(&mut bench, &mut dice);
        for _ in 0..200 {
            bench.check_after_ms(10);
        }
        prop_assert!(bench.is_over);
        prop_assert!(bench.received(Side::Runtime) == streams[0], "client to runtime differs");
        prop_assert!(bench.received(Side::Client) == streams[1], "runtime to client differs");
        prop_assert_eq!(bench.kept_bytes(), [0, 0]);
    }

    /// Byte by byte, every buffer of ours is met in every state.
    #[test]
    fn single_bytes_arrive_too(
        from_client in conversation(Side::Client),
        from_runtime in conversation(Side::Runtime),
    ) {
        let streams = [stream(&from_client), stream(&from_runtime)].map(|mut stream| {
            stream.truncate(4000);
            stream
        });
        let mut bench = super::bench::Bench::plain(RULES);
        for place in 0..streams[0].len().max(streams[1].len()) {
            for side in Side::BOTH {
                bench.wire(side.other()).limit_writes(1);
                if let Some(byte) = streams[side as usize].get(place..=place) {
                    bench.deliver(side, byte);
                    let arrived = bench.received(side.other()).len();
                    prop_assert!(place + 1 - arrived.min(place + 1) <= 14, "kept too much");
                }
            }
        }
        for side in Side::BOTH {
            let received = bench.received(side.other());
            prop_assert!(streams[side as usize].starts_with(&received));
            prop_assert!(received.len() + 14 > streams[side as usize].len());
        }
    }
}
