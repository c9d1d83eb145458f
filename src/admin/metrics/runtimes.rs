//! The runtimes that this process wakes.

use std::fmt;

use super::page::{Family, Page};
use crate::runtimes::Runtimes;

const STATES: Family = Family::new(
    "flowgate_runtimes",
    "Runtimes of flowgate's own of which this process knows that they are not asleep, by state.",
);
const STARTS: Family =
    Family::new("flowgate_runtime_starts", "Starts of runtimes by this process, by outcome.");
const START: Family =
    Family::seconds("flowgate_runtime_start_duration", "How long starts took, up to ready.");
const ENDS: Family = Family::new(
    "flowgate_runtime_ends",
    "Runtimes of this process's that were ready and ended, by how that was.",
);
const WAITING: Family =
    Family::new("flowgate_runtime_waiting", "Requests and handshakes that wait for runtimes.");
const WAITING_MAX: Family = Family::new("flowgate_runtime_waiting_max", "How many may wait.");
const WAIT: Family = Family::seconds(
    "flowgate_runtime_wait",
    "How long requests and handshakes waited for runtimes that they reached.",
);

pub(super) fn put(page: &mut Page<'_>, runtimes: &Runtimes) -> fmt::Result {
    let counts = runtimes.counts();
    page.gauges(&STATES, counts.states.map(|(state, count)| ([("state", state)], count)))?;
    page.counters(&STARTS, counts.starts.map(|(outcome, count)| ([("outcome", outcome)], count)))?;
    page.histogram(&START, counts.start_durations)?;
    page.counters(&ENDS, counts.ends.map(|(how, count)| ([("how", how)], count)))?;
    page.gauge(&WAITING, counts.waiting)?;
    page.gauge(&WAITING_MAX, counts.waiting_max)?;
    page.histogram(&WAIT, counts.waits)
}
