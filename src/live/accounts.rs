//! What plans have left for those of whom something runs.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use serde::Serialize;
use utoipa::ToSchema;

use super::subscribers::{Subscriber, SubscriberId};
use super::{Entry, Kind, LiveTable};
use crate::clock::Millis;
use crate::plan::{Account, Accounts, Cost, Limit, Plan, Quota, Share, Throttled, Unit};
use crate::tenant::{Tenant, TenantId};

/// Whose an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A tenant's, for all that goes to their runtime.
    Tenant(TenantId),
    /// Of an application, for what it calls of one API.
    Subscriber(SubscriberId),
}

/// A limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// So many run.
    AtOnce {
        /// The limit.
        max: u32,
    },
    /// So many came in some time.
    Lately {
        /// Which limit.
        limit: Limit,
        /// How much it allows.
        quota: Quota,
        /// When one more may come at the earliest.
        from: Millis,
    },
}

/// What is left of a plan's limits on this replica, and how often that was nothing.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct PlanUse {
    /// The limits that are counted over time.
    pub limits: Vec<LimitUse>,
    /// Times that reading a connection paused.
    pub paced: u64,
    /// Messages that were left out.
    pub dropped: u64,
    /// Handshakes and requests that were refused.
    pub refused: u64,
}

/// What is left of one limit.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LimitUse {
    /// The plan's member.
    pub limit: &'static str,
    /// How much comes back within its time.
    pub allows: u64,
    /// How much may come at once.
    pub burst: u64,
    /// How much may come at once now.
    pub left: u64,
    /// Until all of it is back.
    pub full_in_ms: u64,
}

fn cost(kind: Kind) -> Cost {
    match kind {
        Kind::Connection => Cost::HANDSHAKE,
        Kind::Exchange => Cost::REQUEST,
    }
}

pub(super) fn take(account: &Account, kind: Kind, now: Millis) -> Result<(), TooMany> {
    account.take(cost(kind), now).map_err(|shortage| {
        account.note(Throttled { refused: 1, ..Throttled::default() });
        let quota = account.quota(shortage.limit).unwrap_or(Quota::from(0));
        TooMany::Lately { limit: shortage.limit, quota, from: shortage.from }
    })
}

pub(super) fn use_of(account: &Account, now: Millis) -> PlanUse {
    let limits = account.standings(now).into_iter().map(|it| LimitUse {
        limit: it.limit.name(),
        allows: it.quota.limit,
        burst: it.quota.burst(),
        left: it.left,
        full_in_ms: it.full_at.0.saturating_sub(now.0),
    });
    let Throttled { paced, dropped, refused } = account.throttled();
    PlanUse { limits: limits.collect(), paced, dropped, refused }
}

impl Entry {
    /// What its messages are taken from.
    pub fn accounts(&self) -> Accounts<'_> {
        let subscriber = self.subscriber.get().map(|subscriber| &subscriber.account);
        Accounts { tenant: Some(&self.shared.account), subscriber }
    }

    /// Puts back what it cost to enter: it will come again by another way.
    pub fn give_back(&self) {
        self.is_left_out.store(true, Ordering::Relaxed);
        self.accounts().each().for_each(|account| account.give_back(cost(self.kind)));
    }

    /// Has a plan count for all of the tenant's entries; see [`LiveTable::follow_plan`].
    pub fn follow_plan(&self, plan: &Plan, now: Millis) {
        self.shared.follow(plan, now);
    }
}

impl LiveTable {
    /// Has a tenant's present plan count for what runs: its rates at once, its message size from each
    /// connection's next message on. Only new connections are held against its number of
    /// connections.
    pub fn follow_plan(&self, tenant: &Tenant, now: Millis) {
        if let Some(shared) = self.tenants.get(&tenant.id) {
            shared.follow(&tenant.plan, now);
        }
    }

    /// The part of every plan that this process may give.
    pub fn share(&self) -> Share {
        *self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this is the part of every plan that this process may give.
    pub fn set_share(&self, share: Share, now: Millis) {
        let before = std::mem::replace(
            &mut *self.share.lock().unwrap_or_else(PoisonError::into_inner),
            share,
        );
        if before == share {
            return;
        }
        // Accounts that are made meanwhile have it already: they read it while their shard is locked.
        self.tenants.iter().for_each(|shared| shared.account.share(share, now));
        self.subscribers.iter().for_each(|known| known.account.share(share, now));
    }

    /// What was taken out of each account that has limits.
    pub fn used(&self) -> Vec<(Owner, [u64; Unit::COUNT])> {
        let tenants = self.tenants.iter().filter(|shared| shared.account.is_limited());
        let tenants = tenants.map(|it| (Owner::Tenant(it.tenant), it.account.used()));
        let subscribers = self.subscribers.iter().filter(|known| known.account.is_limited());
        let subscribers = subscribers.map(|it| (Owner::Subscriber(it.id), it.account.used()));
        tenants.chain(subscribers).collect()
    }

    /// Takes out of an account what was used by other processes. Whoever has none here has a full one.
    pub fn charge(&self, owner: Owner, cost: Cost, now: Millis) {
        match owner {
            Owner::Tenant(id) => {
                self.tenants.get(&id).inspect(|shared| shared.account.charge(cost, now));
            }
            Owner::Subscriber(id) => {
                self.subscribers.get(&id).inspect(|known| known.account.charge(cost, now));
            }
        }
    }

    /// What a tenant has left of their plan here.
    pub fn plan_use(&self, tenant: TenantId, plan: &Plan, now: Millis) -> PlanUse {
        match self.tenants.get(&tenant) {
            Some(shared) => use_of(&shared.account, now),
            None => use_of(&Account::new(plan, self.share(), now), now),
        }
    }

    /// Forgets tenants of whom nothing runs and whose budgets are full again; to be called about once
    /// a second.
    pub fn sweep(&self, now: Millis) {
        self.tenants.retain(|_, shared| !shared.account.is_full(now) || !shared.is_empty());
        let is_used = |known: &Arc<Subscriber>| Arc::strong_count(known) > 1;
        self.subscribers.retain(|_, known| !known.account.is_full(now) || is_used(known));
    }
}
