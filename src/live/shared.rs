//! What all of one tenant's entries share: the plan's limits as they are at present.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;

use super::{Counts, Entry, Kind};
use crate::clock::Millis;
use crate::grant::{ConsumerId, Grant, SubscriptionId};
use crate::plan::{Account, Plan, Share};
use crate::tenant::{Tenant, TenantId, Username};

/// What all of one tenant's entries share.
#[derive(Debug)]
pub(super) struct TenantLive {
    pub(super) tenant: TenantId,
    pub(super) username: Username,
    pub(super) account: Account,
    message_bytes_max: AtomicU64,
    entries: Mutex<Entries>,
}

impl TenantLive {
    pub(super) fn new(tenant: &Tenant, share: Share, now: Millis) -> Self {
        Self {
            tenant: tenant.id,
            username: tenant.username.clone(),
            account: Account::new(&tenant.plan, share, now),
            message_bytes_max: AtomicU64::new(message_bytes_max(&tenant.plan)),
            entries: Mutex::default(),
        }
    }

    /// From now on this plan counts. Writes nothing if it does so already.
    pub(super) fn follow(&self, plan: &Plan, now: Millis) {
        self.account.follow(plan, now);
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
        self.entries().by_place.is_empty()
    }
}

fn message_bytes_max(plan: &Plan) -> u64 {
    plan.message_bytes.unwrap_or(u64::MAX)
}

/// Who has no more than a part of a tenant's exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Guest {
    Consumer(ConsumerId),
    Subscription(SubscriptionId),
}

impl Guest {
    /// Whose grant it is; `None` for the tenant's own and for those who cannot be told apart.
    fn of(grant: &Grant) -> Option<Self> {
        match *grant {
            Grant::Consumer { consumer, .. } => Some(Self::Consumer(consumer)),
            Grant::Token { subscription, .. } => Some(Self::Subscription(subscription)),
            _ => None,
        }
    }

    fn of_exchange(entry: &Entry) -> Option<Self> {
        Self::of(&entry.grant).filter(|_| entry.kind == Kind::Exchange)
    }
}

/// A tenant's entries, counted by kind.
#[derive(Debug, Default)]
pub(super) struct Entries {
    by_place: Slab<Arc<Entry>>,
    exchanges: usize,
    /// Guests' among them.
    of_guests: HashMap<Guest, u32>,
    /// The path that was called last: a tenant's devices often call the same.
    path: Arc<str>,
    /// What entries relayed that are gone.
    gone: Counts,
    /// What was told to be new of what all have relayed.
    told: Counts,
}

impl Entries {
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_place.iter().map(|(_, entry)| entry)
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Connection => self.by_place.len() - self.exchanges,
            Kind::Exchange => self.exchanges,
        }
    }

    /// How many exchanges there are of the consumer or the subscription whose grant it is; 0 for
    /// anybody else's.
    pub(super) fn exchanges_of(&self, grant: &Grant) -> u32 {
        let count = Guest::of(grant).and_then(|guest| self.of_guests.get(&guest));
        count.copied().unwrap_or_default()
    }

    /// The same path as it is kept already, or a new one.
    pub(super) fn path(&mut self, path: &str) -> Arc<str> {
        if &*self.path != path {
            self.path = path.into();
        }
        Arc::clone(&self.path)
    }

    /// Where the next entry will be. There are never more than sockets, whose numbers are 32 bits long.
    pub(super) fn vacant_place(&self) -> u32 {
        self.by_place.vacant_key() as u32
    }

    /// Takes in an entry that was made for the vacant place.
    pub(super) fn insert(&mut self, entry: Arc<Entry>) {
        self.exchanges += usize::from(entry.kind == Kind::Exchange);
        if let Some(guest) = Guest::of_exchange(&entry) {
            *self.of_guests.entry(guest).or_default() += 1;
        }
        self.by_place.insert(entry);
    }

    /// Takes an entry out. Returns what is new of all if it was the last one: nobody may ask for it later.
    pub(super) fn remove(&mut self, entry: &Entry) -> Option<Counts> {
        self.by_place.try_remove(entry.place as usize)?;
        self.exchanges -= usize::from(entry.kind == Kind::Exchange);
        if let Some(guest) = Guest::of_exchange(entry)
            && let Some(count) = self.of_guests.get_mut(&guest)
        {
            *count -= 1;
            if *count == 0 {
                self.of_guests.remove(&guest);
            }
        }
        self.gone = self.gone.plus(entry.counts());
        self.by_place.is_empty().then(|| self.news())
    }

    /// What all entries have relayed since that was asked last.
    pub(super) fn news(&mut self) -> Counts {
        let relayed = self.relayed();
        relayed.since(std::mem::replace(&mut self.told, relayed))
    }

    /// What all entries have relayed, those that are gone included. Never falls.
    pub(super) fn relayed(&self) -> Counts {
        self.all().fold(self.gone, |sum, entry| sum.plus(entry.counts()))
    }
}
