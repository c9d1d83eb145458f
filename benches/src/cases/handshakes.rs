//! What it costs to get in.

use crate::bench::{Bench, Visit};
use crate::fault::Result;
use crate::load::churn::{Churn, NextRequest};
use crate::load::fleet::Fleet;
use crate::rivals::{Door, Rival};

/// Clients that are about at once.
pub const AT_ONCE: usize = 32;

pub fn visit(bench: &mut Bench, visit: &mut Visit) -> Result<()> {
    let doors = [
        (Door::Public, "public".to_owned()),
        (Door::Key, format!("API key, one of {}", bench.tenants.count)),
        (Door::Basic, "Basic, remembered".to_owned()),
    ];
    for (door, variant) in doors {
        if door != Door::Public && !visit.rival.checks() {
            continue;
        }
        if door == Door::Basic {
            // One login to be remembered; more at once would all have to wait for their bcrypt.
            Fleet::open(visit.running.address, [visit.rival.handshake(door, 0)].into_iter())?;
        }
        let next = requests(visit.rival, door, bench.tenants.count);
        let mut churn = Churn::begin(visit.running.address, AT_ONCE, next)?;
        let sample = bench.measure(&mut churn, visit.process())?;
        bench.keep_sample(visit, &variant, "handshake", &sample);
        if let Some(latency) = sample.tally.latency.quantile_us(0.99) {
            bench.keep(visit, &variant, "p99 µs", latency);
        }
    }
    Ok(())
}

/// Handshakes of many tenants in turn, never of two neighbours.
pub fn requests(rival: Rival, door: Door, tenants: usize) -> NextRequest {
    // A prime that no number of tenants here is a multiple of: all are visited.
    const STRIDE: usize = 7_919;
    let mut tenant = 0;
    Box::new(move |request| {
        if door == Door::Key {
            tenant = (tenant + STRIDE) % tenants;
        }
        request.extend(rival.handshake(door, tenant));
    })
}
