//! What a connection holds in buffers, as it is counted.

use super::backpressure::with_budget;
use super::bench::Bench;
use super::model::directed;
use super::sealed::Protocol;
use crate::plan::Over;
use crate::relay::buffers::READ_BYTES_MAX;
use crate::relay::frames::{BINARY, Frame, TEXT};
use crate::relay::pair::Side;

const MESSAGE_BYTES: usize = 1_000_000;

#[test]
fn a_receiver_that_takes_nothing_costs_a_buffer_until_it_does() {
    for slow in Side::BOTH {
        for protocol in Protocol::ALL {
            let mut protocols = [Protocol::Plain; 2];
            protocols[slow as usize] = protocol;
            let mut bench = Bench::sealed(protocols);
            bench.run();
            assert_eq!(bench.connection.buffer_bytes(), 0);
            bench.wire(slow).set_room(0);
            let from = slow.other();
            let message = directed(Frame::new(BINARY, &[7; MESSAGE_BYTES]), from, [4, 3, 2, 1]);
            bench.deliver(from, &message.bytes());
            let held = bench.connection.buffer_bytes();
            // One for what waits, and one more for what TLS has sealed.
            assert!((READ_BYTES_MAX..=3 * READ_BYTES_MAX).contains(&held), "{protocol:?}: {held}");
            bench.wire(slow).set_room(usize::MAX);
            bench.run();
            assert_eq!(bench.connection.buffer_bytes(), 0, "{protocol:?}");
        }
    }
}

#[test]
fn what_waits_behind_a_pause_counts() {
    let mut bench = with_budget(1, 1, Over::Pace);
    let message = directed(Frame::new(TEXT, &[b'x'; 1000]), Side::Client, [4, 3, 2, 1]).bytes();
    bench.deliver(Side::Client, &message.repeat(3));
    let held = bench.connection.buffer_bytes();
    assert!((2 * message.len()..=3 * message.len()).contains(&held), "{held}");
}

#[test]
fn where_memory_is_scarce_a_receiver_that_takes_nothing_costs_little() {
    const LITTLE: usize = 8 * 1024;
    for slow in Side::BOTH {
        for protocol in Protocol::ALL {
            let mut protocols = [Protocol::Plain; 2];
            protocols[slow.other() as usize] = protocol;
            let mut bench = Bench::sealed(protocols);
            bench.run();
            bench.make_scarce();
            bench.wire(slow).set_room(0);
            let from = slow.other();
            let message = directed(Frame::new(BINARY, &[7; MESSAGE_BYTES]), from, [4, 3, 2, 1]);
            bench.deliver(from, &message.bytes());
            let held = bench.connection.buffer_bytes();
            let most = if protocol == Protocol::Plain { LITTLE } else { READ_BYTES_MAX / 2 };
            assert!((1..=most).contains(&held), "{protocol:?}: {held}");
            bench.wire(slow).set_room(usize::MAX);
            bench.run();
            assert_eq!(bench.connection.buffer_bytes(), 0, "{protocol:?}");
            assert_eq!(bench.received(slow), message.bytes(), "{protocol:?}");
        }
    }
}
