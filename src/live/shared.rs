//! What all of one tenant's entries share: the plan's limits as they are at present.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Entry, Kind};
use crate::clock::Millis;
use crate::plan::{Budget, Plan};

/// What all of one tenant's entries share.
#[derive(Debug)]
pub(super) struct TenantLive {
    pub(super) budget: Budget,
    message_bytes_max: AtomicU64,
    entries: Mutex<Entries>,
}

impl TenantLive {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            budget: Budget::new(plan.messages),
            message_bytes_max: AtomicU64::new(message_bytes_max(plan)),
            entries: Mutex::default(),
        }
    }

    /// From now on this plan counts. Writes nothing if it does so already.
    pub(super) fn follow(&self, plan: &Plan, now: Millis) {
        self.budget.set_rate(plan.messages, now);
        if self.message_bytes_max() != message_bytes_max(plan) {
            self.message_bytes_max.store(message_bytes_max(plan), Ordering::Relaxed);
        }
    }

    pub(super) fn message_bytes_max(&self) -> u64 {
        self.message_bytes_max.load(Ordering::Relaxed)
    }

    pub(super) fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries().by_id.is_empty()
    }
}

fn message_bytes_max(plan: &Plan) -> u64 {
    plan.message_bytes.unwrap_or(u64::MAX)
}

/// A tenant's entries, counted by kind.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) by_id: HashMap<u64, Arc<Entry>>,
    exchanges: usize,
    /// What entries relayed that are gone.
    gone: Relayed,
}

/// Messages and bytes, each from clients and from runtimes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Whole data messages.
    pub messages: [u64; 2],
    /// Bytes on the wire.
    pub bytes: [u64; 2],
}

impl Relayed {
    fn add(&mut self, entry: &Entry) {
        for (side, counter) in [&entry.from_client, &entry.from_runtime].into_iter().enumerate() {
            self.messages[side] += counter.messages();
            self.bytes[side] += counter.bytes();
        }
    }
}

impl Entries {
    pub(super) fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Connection => self.by_id.len() - self.exchanges,
            Kind::Exchange => self.exchanges,
        }
    }

    pub(super) fn insert(&mut self, entry: Arc<Entry>) {
        self.exchanges += usize::from(entry.kind == Kind::Exchange);
        self.by_id.insert(entry.id, entry);
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        if self.by_id.remove(&entry.id).is_some() {
            self.exchanges -= usize::from(entry.kind == Kind::Exchange);
            self.gone.add(entry);
        }
    }

    /// What all entries have relayed, those that are gone included. Never falls.
    pub(super) fn relayed(&self) -> Relayed {
        let mut relayed = self.gone;
        self.by_id.values().for_each(|entry| relayed.add(entry));
        relayed
    }
}
