//! What is told of connections: their counts after each turn, and a log line at the end.

use super::Seated;
use crate::client::text::Text;
use crate::clock::Millis;
use crate::close::Cause;
use crate::ledger::Measure;
use crate::plan::Throttled;
use crate::relay::counts::Counts;
use crate::relay::pair::{Ending, Side};

/// Adds up what this turn has brought; most bring something from one side only.
pub(super) fn publish(seated: &mut Seated, all: &Counts, now: Millis) {
    let entry = seated.registered.entry();
    for (side, counter) in
        [(Side::Client, &entry.from_client), (Side::Runtime, &entry.from_runtime)]
    {
        let counts = seated.connection.take_counts(side);
        if counts.bytes > 0 {
            all.relayed(side, (counts.messages.into(), counts.bytes.into()));
            counter.add(counts.messages, counts.bytes, counts.has_data.then_some(now));
        }
        if counts.dropped > 0 || counts.paced > 0 {
            let (paced, dropped) = (counts.paced.into(), counts.dropped.into());
            all.throttled(paced, dropped);
            let more = Throttled { paced, dropped, refused: 0 };
            entry.accounts().each().for_each(|account| account.note(more));
            if let Some(cell) = entry.cell() {
                cell.add(Measure::Throttled, paced + dropped);
            }
        }
    }
}

/// The one log line at the end of a connection, and its counts.
pub(super) fn report(seated: &Seated, all: &Counts, now: Millis) {
    const NO_CODE: u16 = 1005;
    const ABNORMAL: u16 = 1006;
    let entry = seated.registered.entry();
    let pair = seated.connection.pair();
    let (ended_by, code, reason) = match pair.ending() {
        Some(Ending::Closed(Side::Client, code)) => ("client", code.unwrap_or(NO_CODE), ""),
        Some(Ending::Closed(Side::Runtime, code)) => ("runtime", code.unwrap_or(NO_CODE), ""),
        Some(Ending::Lost(Side::Client)) => ("client", ABNORMAL, "no Close frame"),
        Some(Ending::Lost(Side::Runtime)) => {
            ("runtime", Cause::RuntimeGone.code(), Cause::RuntimeGone.reason())
        }
        Some(Ending::Flowgate(cause)) => ("flowgate", cause.code(), cause.reason()),
        None => ("flowgate", ABNORMAL, "cut"),
    };
    all.ended(seated.row, ended_by, code, now.since(entry.since));
    entry.end(now);
    if let (Some(Ending::Flowgate(Cause::BudgetExhausted)), Some(cell)) =
        (pair.ending(), entry.cell())
    {
        cell.add(Measure::Throttled, 1);
    }
    tracing::info!(
        request_id = %entry.client.request_id,
        client = %Text::from(entry.client.address),
        tenant = %entry.username(),
        grant = %entry.grant,
        path = &*entry.path,
        duration_ms = now.since(entry.since).as_millis() as u64,
        messages_from_client = entry.from_client.messages(),
        messages_from_runtime = entry.from_runtime.messages(),
        bytes_from_client = entry.from_client.bytes(),
        bytes_from_runtime = entry.from_runtime.bytes(),
        ended_by,
        code,
        reason,
        "connection ended"
    );
}
