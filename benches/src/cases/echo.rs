//! Messages on connections that are open.

use std::rc::Rc;
use std::time::Duration;

use crate::bench::{Bench, Sample, Visit};
use crate::fault::Result;
use crate::load::fleet::{Fleet, Traffic};
use crate::rivals::Door;
use crate::websocket::Message;

/// Messages per second that every target can carry, the slowest included.
const RATE_PER_SECOND: u32 = 2_000;
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// Connections through the visited target.
pub fn fleet(visit: &Visit, connections: usize) -> Result<Fleet> {
    let request = visit.rival.handshake(Door::Public, 0);
    Fleet::open(visit.running.address, std::iter::repeat_n(request, connections))
}

/// Sends, measures and waits for the rest.
pub fn sample(bench: &Bench, visit: &Visit, fleet: &mut Fleet, traffic: Traffic) -> Result<Sample> {
    sample_for(bench.scale.time, bench, visit, fleet, traffic)
}

/// The same for another time.
pub fn sample_for(
    time: Duration,
    bench: &Bench,
    visit: &Visit,
    fleet: &mut Fleet,
    traffic: Traffic,
) -> Result<Sample> {
    fleet.begin(traffic)?;
    let sample = bench.measure_for(time, fleet, visit.process())?;
    fleet.finish()?;
    Ok(sample)
}

/// Each answer is followed by a message, on all connections.
pub fn closed_loop(message: &Rc<Message>, in_flight: usize, active: usize) -> Traffic {
    Traffic { message: Rc::clone(message), in_flight, active, per_second: None }
}

pub fn one_in_flight(bench: &mut Bench, visit: &mut Visit) -> Result<()> {
    let messages = [("64 B", 64), ("4 KiB", 4096)]
        .map(|(name, bytes)| (name, Rc::new(Message::new(bytes, 1))));
    for connections in [1, 100, bench.scale.thousand] {
        let mut fleet = fleet(visit, connections)?;
        for (name, message) in &messages {
            let sample = sample(bench, visit, &mut fleet, closed_loop(message, 1, connections))?;
            let variant = format!(
                "{name}, {connections} connection{}",
                if connections == 1 { "" } else { "s" }
            );
            bench.keep_sample(visit, &variant, "message", &sample);
        }
        if connections == bench.scale.thousand {
            break;
        }
    }
    Ok(())
}

pub fn fixed_rate(bench: &mut Bench, visit: &mut Visit) -> Result<()> {
    let mut fleet = fleet(visit, 100)?;
    let message = Rc::new(Message::new(64, 1));
    let traffic = Traffic { message, in_flight: 1, active: 100, per_second: Some(RATE_PER_SECOND) };
    let sample = sample_for(bench.scale.long_time, bench, visit, &mut fleet, traffic)?;
    let variant = format!("{RATE_PER_SECOND} messages/s");
    for (name, share) in QUANTILES {
        let Some(latency) = sample.tally.latency.quantile_us(share) else { continue };
        if visit.process().is_none() {
            bench.direct.insert(name.to_owned(), latency);
        } else if let Some(direct) = bench.direct.get(name).copied() {
            bench.keep(visit, &variant, &format!("{name} added µs"), latency - direct);
        }
    }
    for (name, share) in QUANTILES {
        if let Some(latency) = sample.tally.latency.quantile_us(share) {
            bench.keep(visit, &variant, &format!("{name} µs"), latency);
        }
    }
    bench.keep_sample(visit, &variant, "message", &sample);
    Ok(())
}

pub fn pipelined(bench: &mut Bench, visit: &mut Visit) -> Result<()> {
    let mut fleet = fleet(visit, 20)?;
    let message = Rc::new(Message::new(64, 50));
    let sample = sample(bench, visit, &mut fleet, closed_loop(&message, 50, 20))?;
    bench.keep_sample(visit, "64 B, 20 × 50", "message", &sample);
    Ok(())
}

pub fn large(bench: &mut Bench, visit: &mut Visit) -> Result<()> {
    let mut fleet = fleet(visit, 20)?;
    let message = Rc::new(Message::new(1 << 20, 1));
    let sample = sample(bench, visit, &mut fleet, closed_loop(&message, 1, 20))?;
    bench.keep_sample(visit, "1 MiB, 20 × 1", "message", &sample);
    Ok(())
}
