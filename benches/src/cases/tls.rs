//! What it costs to get in by TLS.

use super::handshakes::{AT_ONCE, Visitors, requests};
use crate::bench::{Bench, Visit};
use crate::fault::Result;
use crate::load::churn::Churn;
use crate::rivals::Door;
use crate::tls::Handshakes;

pub fn visit(bench: &mut Bench, visit: &mut Visit) -> Result<()> {
    for (handshakes, variant) in
        [(Handshakes::Full, "TLS 1.3, full"), (Handshakes::Resumed, "TLS 1.3, resumed")]
    {
        let entrance = visit.secure(&bench.certificate, handshakes)?;
        let next = requests(visit.rival, Door::Public, bench.tenants.count, Visitors::Known);
        let mut churn = Churn::begin(entrance, AT_ONCE, next)?;
        let sample = bench.measure(&mut churn, visit.process())?;
        bench.keep_sample(visit, variant, "handshake", &sample);
        if let Some(latency) = sample.tally.latency.quantile_us(0.99) {
            bench.keep(visit, variant, "p99 µs", latency);
        }
    }
    Ok(())
}
