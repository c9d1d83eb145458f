//! Many connections: what each costs that does nothing, and what messages cost among them.

use std::rc::Rc;

use super::echo::{closed_loop, sample};
use crate::bench::{Bench, Visit};
use crate::fault::Result;
use crate::load::fleet::Fleet;
use crate::load::{Entrance, Load};
use crate::machine::pss_kib;
use crate::rivals::Door;
use crate::tls::Handshakes;
use crate::websocket::Message;

pub fn plain(bench: &mut Bench, visit: &mut Visit) -> Result<()> {
    let entrance = visit.running.address.into();
    measure(bench, visit, entrance)
}

pub fn tls(bench: &mut Bench, visit: &mut Visit) -> Result<()> {
    let entrance = visit.secure(&bench.certificate, Handshakes::Full)?;
    measure(bench, visit, entrance)
}

fn measure(bench: &mut Bench, visit: &mut Visit, entrance: Entrance) -> Result<()> {
    let connections = bench.scale.many;
    let pid = visit.process().map(|process| process.pid());
    let before = pid.map(pss_kib).transpose()?;
    let request = visit.rival.handshake(Door::Public, 0);
    let mut fleet = Fleet::open(entrance, std::iter::repeat_n(request, connections))?;
    if let (Some(pid), Some(before)) = (pid, before) {
        // Whoever tidies up gets a moment for it.
        fleet.drive(bench.scale.warm_up)?;
        let grown = pss_kib(pid)?.saturating_sub(before);
        let variant = format!("{connections} idle connections");
        bench.keep(visit, &variant, "KiB/connection", grown as f64 / connections as f64);
        bench.keep(visit, &variant, "MiB at the start", before as f64 / 1024.0);
    }
    let active = (connections / 100).max(1);
    let message = Rc::new(Message::new(64, 1));
    let sample = sample(bench, visit, &mut fleet, closed_loop(&message, 1, active))?;
    let variant = format!("{active} of {connections} connections active");
    bench.keep_sample(visit, &variant, "message", &sample);
    Ok(())
}
