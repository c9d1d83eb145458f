//! What has come and passed since the start, with what has ended since.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Counter, Entry, Kind, LiveTable};

/// Counts since the start of the process; they only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Handshakes that were accepted.
    pub handshakes: u64,
    /// Plain requests that were accepted.
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
    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            handshakes: with(self.handshakes, other.handshakes),
            exchanges: with(self.exchanges, other.exchanges),
            messages_from_client: with(self.messages_from_client, other.messages_from_client),
            messages_from_runtime: with(self.messages_from_runtime, other.messages_from_runtime),
            bytes_from_client: with(self.bytes_from_client, other.bytes_from_client),
            bytes_from_runtime: with(self.bytes_from_runtime, other.bytes_from_runtime),
        }
    }

    /// What has been added to `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        self.zip(before, u64::saturating_sub)
    }

    /// Of each count the greater one: what ends while it is counted can be missing for once.
    #[must_use]
    pub fn at_least(self, before: Self) -> Self {
        self.zip(before, u64::max)
    }

    fn plus(self, entry: &Entry) -> Self {
        let counts = |counter: &Counter| (counter.messages(), counter.bytes());
        let (
            (messages_from_client, bytes_from_client),
            (messages_from_runtime, bytes_from_runtime),
        ) = (counts(&entry.from_client), counts(&entry.from_runtime));
        let passed = Self {
            messages_from_client,
            messages_from_runtime,
            bytes_from_client,
            bytes_from_runtime,
            ..Self::default()
        };
        self.zip(passed, u64::wrapping_add)
    }
}

/// What the table keeps of entries that have left it.
#[derive(Debug, Default)]
pub(super) struct Gone {
    handshakes: AtomicU64,
    exchanges: AtomicU64,
    messages_from_client: AtomicU64,
    messages_from_runtime: AtomicU64,
    bytes_from_client: AtomicU64,
    bytes_from_runtime: AtomicU64,
}

impl Gone {
    pub(super) fn entered(&self, kind: Kind) {
        let count = match kind {
            Kind::Connection => &self.handshakes,
            Kind::Exchange => &self.exchanges,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn left(&self, entry: &Entry) {
        let passed = Totals::default().plus(entry);
        for (count, more) in [
            (&self.messages_from_client, passed.messages_from_client),
            (&self.messages_from_runtime, passed.messages_from_runtime),
            (&self.bytes_from_client, passed.bytes_from_client),
            (&self.bytes_from_runtime, passed.bytes_from_runtime),
        ] {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    fn read(&self) -> Totals {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Totals {
            handshakes: read(&self.handshakes),
            exchanges: read(&self.exchanges),
            messages_from_client: read(&self.messages_from_client),
            messages_from_runtime: read(&self.messages_from_runtime),
            bytes_from_client: read(&self.bytes_from_client),
            bytes_from_runtime: read(&self.bytes_from_runtime),
        }
    }
}

impl LiveTable {
    /// What has come and passed since the start. Looks at every entry: for once a second, while
    /// somebody watches.
    pub fn totals(&self) -> Totals {
        // First: what leaves meanwhile is missing for once instead of there twice.
        let mut totals = self.gone.read();
        for shared in &self.tenants {
            totals = shared.entries().all().fold(totals, |sum, entry| sum.plus(entry));
        }
        totals
    }
}
