//! What it costs to get in.

use std::time::Duration;

use crate::bench::{Bench, Visit};
use crate::fault::Result;
use crate::load::Load;
use crate::load::churn::{Churn, NextRequest};
use crate::load::fleet::Fleet;
use crate::rivals::{Door, Rival};

/// Clients that are about at once.
pub const AT_ONCE: usize = 32;

pub fn visit(bench: &mut Bench, visit: &mut Visit) -> Result<()> {
    let count = bench.tenants.count;
    let doors = [
        (Door::Public, Visitors::Known, "public".to_owned()),
        (Door::Key, Visitors::Known, format!("API key, one of {count}")),
        (Door::Basic, Visitors::Known, "Basic, remembered".to_owned()),
        // Last: that so many keys were used is still being written down afterwards.
        (Door::Key, Visitors::New, format!("API key, one of {count}, first visit")),
    ];
    for (door, visitors, variant) in doors {
        if door != Door::Public && !visit.rival.checks() {
            continue;
        }
        if door == Door::Basic {
            // One login to be remembered; more at once would all have to wait for their bcrypt.
            Fleet::open(visit.running.address, [visit.rival.handshake(door, 0)].into_iter())?;
        }
        let next = requests(visit.rival, door, count, visitors);
        let mut churn = Churn::begin(visit.running.address, AT_ONCE, next)?;
        if door == Door::Key && visitors == Visitors::Known {
            get_known(&mut churn)?;
        }
        let sample = bench.measure(&mut churn, visit.process())?;
        bench.keep_sample(visit, &variant, "handshake", &sample);
        if let Some(latency) = sample.tally.latency.quantile_us(0.99) {
            bench.keep(visit, &variant, "p99 µs", latency);
        }
    }
    Ok(())
}

/// Whose handshakes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visitors {
    /// Those of [`KNOWN`] tenants, spread among all.
    Known,
    /// Those of the others.
    New,
}

/// Tenants who come again and again.
const KNOWN: u64 = 2_000;

/// Lets every known tenant come once before anything is measured.
pub fn get_known(churn: &mut Churn) -> Result<()> {
    let mut visits = 0;
    while visits < KNOWN {
        visits += churn.drive(Duration::from_millis(100))?.operations;
    }
    Ok(())
}

/// Handshakes of many tenants in turn, never of two neighbours.
pub fn requests(rival: Rival, door: Door, tenants: usize, visitors: Visitors) -> NextRequest {
    // A prime that no number of tenants here is a multiple of: all are visited.
    const STRIDE: usize = 7_919;
    let known = tenants.min(KNOWN as usize);
    let turns = match visitors {
        Visitors::Known => 0..known,
        Visitors::New => known..tenants,
    };
    let mut turns = turns.cycle();
    Box::new(move |request| {
        let turn = if door == Door::Key { turns.next().unwrap_or_default() } else { 0 };
        request.extend(rival.handshake(door, turn * STRIDE % tenants));
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn first(count: usize, tenants: usize, visitors: Visitors) -> BTreeSet<Vec<u8>> {
        let mut next = requests(Rival::Flowgate, Door::Key, tenants, visitors);
        let request = |_| {
            let mut request = Vec::new();
            next(&mut request);
            request
        };
        (0..count).map(request).collect()
    }

    #[test]
    fn whoever_is_new_is_not_known() {
        let known = first(10_000, 10_000, Visitors::Known);
        let new = first(8_000, 10_000, Visitors::New);
        assert_eq!((known.len(), new.len()), (2_000, 8_000));
        assert!(known.is_disjoint(&new));
        assert_eq!(first(100, 10, Visitors::Known).len(), 10);
    }
}
