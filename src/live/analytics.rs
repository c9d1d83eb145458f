//! What analytics count of what runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Entry, Kind, LiveTable};
use crate::clock::Millis;
use crate::ledger::{Cell, Key, Ledger, Measure, Sums};

impl Entry {
    /// Has it summed up there; to be said once.
    pub fn count_as(&self, cell: Arc<Cell>) {
        let _ = self.cell.set(cell);
    }

    /// Where it is summed up.
    pub fn cell(&self) -> Option<&Arc<Cell>> {
        self.cell.get()
    }

    /// It has ended as a connection.
    pub fn end(&self, now: Millis) {
        let lived_ms = u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX);
        self.lived_ms.store(lived_ms.max(1), Ordering::Relaxed);
    }

    /// What it has come to as a connection; nothing before both sides have switched protocols.
    fn so_far(&self, lived_ms: u64) -> Sums {
        let mut sums = Sums::default();
        if self.kind == Kind::Connection && self.from_client.last_data_at() > Millis(0) {
            let counts = self.counts();
            sums.add(Measure::Handshakes, 1);
            sums.add(Measure::MessagesFromClient, counts.messages_from_client);
            sums.add(Measure::MessagesFromRuntime, counts.messages_from_runtime);
            sums.add(Measure::BytesFromClient, counts.bytes_from_client);
            sums.add(Measure::BytesFromRuntime, counts.bytes_from_runtime);
            sums.add(Measure::ConnectionMs, lived_ms);
        }
        sums
    }

    fn present(&self, now: Millis) -> Sums {
        match self.lived_ms.load(Ordering::Relaxed) {
            0 => self.so_far(u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX)),
            lived_ms => self.so_far(lived_ms),
        }
    }

    /// It leaves the table, whose lock is held.
    pub(super) fn sum_up(&self) {
        let Some(cell) = self.cell.get() else { return };
        if self.kind == Kind::Exchange {
            cell.add(Measure::Requests, u64::from(!self.is_left_out.load(Ordering::Relaxed)));
        }
        cell.add_all(&self.so_far(self.lived_ms.load(Ordering::Relaxed)));
    }
}

impl LiveTable {
    /// A table that counts for analytics; the default does not.
    #[must_use]
    pub fn counting(ledger: Ledger) -> Self {
        Self { ledger: Some(ledger), ..Self::default() }
    }

    /// Where analytics sum up, if they do.
    pub fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    /// What is new of each sum since that was asked last; one may ask at a time. Looks at every entry.
    ///
    /// A connection is either among the live ones or summed up: the tenant's lock is held while both
    /// are read, as it is while one becomes the other. Only of sums that several tenants share a
    /// connection may be missed that ends just then; it is told the next time.
    pub fn news(&self, now: Millis) -> Vec<(Key, Sums)> {
        let Some(ledger) = &self.ledger else { return Vec::new() };
        let mut news = Vec::new();
        for (tenant, cells) in ledger.cells() {
            let Some(tenant) = tenant else {
                news.extend(self.shared_news(ledger, &cells, now));
                continue;
            };
            let shared = self.tenants.get(&tenant).map(|shared| Arc::clone(&shared));
            let entries = shared.as_ref().map(|shared| shared.entries());
            let mut sums: Vec<Sums> = cells.iter().map(|cell| cell.sums()).collect();
            for entry in entries.iter().flat_map(|entries| entries.all()) {
                add_live(entry, &cells, &mut sums, now);
            }
            drop(entries);
            let each = cells.iter().zip(sums);
            news.extend(each.map(|(cell, sums)| (cell.key().clone(), ledger.news(cell, &sums))));
        }
        news.retain(|(_, sums)| !sums.is_nothing());
        ledger.sweep();
        news
    }

    /// The same of sums that are no single tenant's.
    fn shared_news(&self, ledger: &Ledger, cells: &[Arc<Cell>], now: Millis) -> Vec<(Key, Sums)> {
        // First what has ended: a connection that ends meanwhile must not be counted twice.
        let mut sums: Vec<Sums> = cells.iter().map(|cell| cell.sums()).collect();
        // Whatever connection is summed up there, few are held by more than the list and the ledger.
        if cells.iter().any(|cell| Arc::strong_count(cell) > 2) {
            for entry in self.entries() {
                add_live(&entry, cells, &mut sums, now);
            }
        }
        let each = cells.iter().zip(sums);
        each.map(|(cell, sums)| (cell.key().clone(), ledger.news(cell, &sums))).collect()
    }
}

fn add_live(entry: &Entry, cells: &[Arc<Cell>], sums: &mut [Sums], now: Millis) {
    let Some(its) = entry.cell.get() else { return };
    if let Some(place) = cells.iter().position(|cell| Arc::ptr_eq(cell, its)) {
        sums[place].add_all(&entry.present(now));
    }
}

#[cfg(test)]
mod tests;
