//! Handshakes and plain requests.

use std::fmt;

use super::page::{Family, Page};
use crate::journey::Journey;

const HANDSHAKES: Family = Family::new(
    "flowgate_handshakes",
    "WebSocket handshakes that were answered, by outcome and by the kind of credential that was proven.",
);
const HANDSHAKE: Family = Family::seconds(
    "flowgate_handshake_duration",
    "From the request's head to the runtime's 101, of handshakes that switched protocols.",
);
const PHASES: Family = Family::seconds(
    "flowgate_handshake_phase_duration",
    "How long each phase of a handshake took that came so far, refused or not.",
);
const REQUESTS: Family = Family::new(
    "flowgate_requests",
    "Plain HTTP requests that were answered, by row and by class of status; refusals are counted elsewhere.",
);
const REQUEST: Family = Family::seconds(
    "flowgate_request_duration",
    "From a plain request's head to the head of its answer.",
);
const REFUSALS: Family =
    Family::new("flowgate_refusals", "Requests and handshakes of clients that were refused.");
const OPERATORS_REFUSALS: Family =
    Family::new("flowgate_admin_refusals", "Requests of operators that were refused.");

pub(super) fn put(page: &mut Page<'_>, journey: &Journey) -> fmt::Result {
    let metrics = &journey.metrics;
    page.counters(
        &HANDSHAKES,
        metrics.handshakes().map(|([outcome, credential], count)| {
            ([("outcome", outcome), ("credential", credential)], count)
        }),
    )?;
    page.histogram(&HANDSHAKE, metrics.whole())?;
    page.histograms(
        &PHASES,
        metrics.phases().map(|(phase, spans)| ([("phase", phase.label())], spans)),
    )?;
    page.counters(
        &REQUESTS,
        metrics
            .requests()
            .map(|([row, status], count)| ([("row", row), ("status", status)], count)),
    )?;
    page.histogram(&REQUEST, metrics.answers())?;
    page.counters(
        &REFUSALS,
        metrics.refusals().map(|(label, count)| ([("refusal", label)], count)),
    )?;
    page.counters(
        &OPERATORS_REFUSALS,
        metrics.operators_refusals().map(|(label, count)| ([("refusal", label)], count)),
    )
}
