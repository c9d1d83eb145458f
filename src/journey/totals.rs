//! What has come and passed since the start, summed from what each thread counts anyway.

use super::Journey;
use crate::metrics::Outcome;
use crate::relay::counts::Load;
use crate::row::Row;

/// Counts since the start of the process; they only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Handshakes that both sides accepted.
    pub handshakes: u64,
    /// Plain requests that runtimes answered.
    pub exchanges: u64,
    /// Whole data messages that came from clients over connections.
    pub messages_from_client: u64,
    /// The same from runtimes.
    pub messages_from_runtime: u64,
    /// Bytes on the wire that came from clients over connections.
    pub bytes_from_client: u64,
    /// The same from runtimes.
    pub bytes_from_runtime: u64,
}

impl Totals {
    /// What has been added to `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            handshakes: self.handshakes.saturating_sub(before.handshakes),
            exchanges: self.exchanges.saturating_sub(before.exchanges),
            messages_from_client: self
                .messages_from_client
                .saturating_sub(before.messages_from_client),
            messages_from_runtime: self
                .messages_from_runtime
                .saturating_sub(before.messages_from_runtime),
            bytes_from_client: self.bytes_from_client.saturating_sub(before.bytes_from_client),
            bytes_from_runtime: self.bytes_from_runtime.saturating_sub(before.bytes_from_runtime),
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
            messages_from_client: relayed.messages[0],
            messages_from_runtime: relayed.messages[1],
            bytes_from_client: relayed.bytes[0],
            bytes_from_runtime: relayed.bytes[1],
        }
    }
}
