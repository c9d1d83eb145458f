//! What has come and passed since the start, summed from what each thread counts anyway.

use serde::Serialize;

use super::Journey;
use crate::live::Counts;
use crate::metrics::Outcome;
use crate::relay::counts::Load;
use crate::row::Row;

/// Counts since the start of the process, which only grow; or what was added to some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Handshakes that both sides accepted.
    pub handshakes: u64,
    /// Plain requests that runtimes answered.
    pub exchanges: u64,
    /// What was relayed over connections.
    #[serde(flatten)]
    pub relayed: Counts,
}

impl Totals {
    /// What has been added to `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            handshakes: self.handshakes.saturating_sub(before.handshakes),
            exchanges: self.exchanges.saturating_sub(before.exchanges),
            relayed: self.relayed.since(before.relayed),
        }
    }
}

impl Journey {
    /// What has come and passed since the start.
    pub fn totals(&self) -> Totals {
        let mut relayed = Load::default();
        for load in self.plane.loads() {
            relayed.add(&load);
        }
        let switched = Outcome::Switched.label();
        let handshakes = self.metrics.handshakes();
        let requests = self.metrics.requests();
        let relayed_rows = Row::ALL.map(Row::label);
        Totals {
            handshakes: handshakes
                .filter(|([outcome, _], _)| *outcome == switched)
                .map(|(_, count)| count)
                .sum(),
            exchanges: requests
                .filter(|([row, _], _)| relayed_rows.contains(row))
                .map(|(_, count)| count)
                .sum(),
            relayed: Counts {
                messages_from_client: relayed.messages[0],
                messages_from_runtime: relayed.messages[1],
                bytes_from_client: relayed.bytes[0],
                bytes_from_runtime: relayed.bytes[1],
            },
        }
    }
}
