//! What a connection costs that does nothing.

use crate::bench::{Bench, Visit};
use crate::fault::{Result, fault};
use crate::load::Load;
use crate::machine::pss_kib;

pub fn idle_connections(bench: &mut Bench, visit: &mut Visit) -> Result<()> {
    let Some(pid) = visit.process().map(|process| process.pid()) else {
        return fault("no process");
    };
    let before = pss_kib(pid)?;
    let mut fleet = super::echo::fleet(visit, bench.scale.many)?;
    // Whoever tidies up gets a moment for it.
    fleet.drive(bench.scale.warm_up)?;
    let grown = pss_kib(pid)?.saturating_sub(before);
    let variant = format!("{} connections", fleet.len());
    bench.keep(visit, &variant, "KiB/connection", grown as f64 / fleet.len() as f64);
    bench.keep(visit, &variant, "MiB at the start", before as f64 / 1024.0);
    Ok(())
}
