//! What all entries of one application share that call the same API: its plan's limits as they are at
//! present.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::accounts::{PlanUse, TooMany, take, use_of};
use super::{Entry, Kind, LiveTable};
use crate::clock::Millis;
use crate::grant::{ApiId, ApplicationId};
use crate::plan::{Account, Plan, Share};

/// Whose account it is: an application's, for its calls of one API. Not the subscription's: whoever
/// subscribes anew has no more left than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId {
    /// Who calls.
    pub application: ApplicationId,
    /// What is called.
    pub api: ApiId,
}

impl SubscriberId {
    /// Both as one number, for whoever tells other replicas.
    #[must_use]
    pub fn to_number(self) -> u128 {
        u128::from(self.application.0) << 64 | u128::from(self.api.0)
    }

    /// Reads what [`SubscriberId::to_number`] writes.
    #[must_use]
    pub fn from_number(number: u128) -> Self {
        let (application, api) = ((number >> 64) as u64, number as u64);
        Self { application: ApplicationId(application), api: ApiId(api) }
    }
}

/// What all entries share that rest on one subscription.
#[derive(Debug)]
pub struct Subscriber {
    /// Whose it is.
    pub id: SubscriberId,
    /// What is left of its plan.
    pub account: Account,
    connections: AtomicU32,
    message_bytes_max: AtomicU64,
    drops: AtomicBool,
}

impl Subscriber {
    fn new(id: SubscriberId, plan: &Plan, share: Share, now: Millis) -> Self {
        Self {
            id,
            account: Account::new(plan, share, now),
            connections: AtomicU32::new(0),
            message_bytes_max: AtomicU64::new(plan.message_bytes.unwrap_or(u64::MAX)),
            drops: AtomicBool::new(plan.drops()),
        }
    }

    fn follow(&self, plan: &Plan, now: Millis) {
        self.account.follow(plan, now);
        let max = plan.message_bytes.unwrap_or(u64::MAX);
        if self.message_bytes_max() != max {
            self.message_bytes_max.store(max, Ordering::Relaxed);
        }
        self.drops.store(plan.drops(), Ordering::Relaxed);
    }

    pub(super) fn message_bytes_max(&self) -> u64 {
        self.message_bytes_max.load(Ordering::Relaxed)
    }

    fn enter(&self, kind: Kind, plan: &Plan, now: Millis) -> Result<(), TooMany> {
        if kind == Kind::Connection {
            let max = plan.connections.unwrap_or(u32::MAX);
            let one_more = |count: u32| (count < max).then(|| count + 1);
            let entered =
                self.connections.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
            entered.map_err(|_| TooMany::AtOnce { max })?;
        }
        take(&self.account, kind, now).inspect_err(|_| self.leave(kind))
    }

    pub(super) fn leave(&self, kind: Kind) {
        if kind == Kind::Connection {
            self.connections.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Entry {
    /// Has it draw on a subscriber's account, too, under this plan; to be said once, before it is
    /// dialled for.
    ///
    /// # Errors
    /// That plan has no connection, handshake or request left. Then it has cost the tenant nothing, either.
    pub fn draw_on(
        &self,
        subscriber: Arc<Subscriber>,
        plan: &Plan,
        now: Millis,
    ) -> Result<(), TooMany> {
        subscriber.enter(self.kind, plan, now).inspect_err(|_| self.give_back())?;
        let _ = self.subscriber.set(subscriber);
        Ok(())
    }

    /// Whether the tenant's plan or the subscriber's leaves messages out; see [`Plan::drops`].
    pub fn drops_under(&self, tenants: &Plan) -> bool {
        let subscriber = self.subscriber.get();
        tenants.drops() || subscriber.is_some_and(|it| it.drops.load(Ordering::Relaxed))
    }

    /// By which subscription it came in, where it did by one.
    pub fn subscriber(&self) -> Option<SubscriberId> {
        self.subscriber.get().map(|subscriber| subscriber.id)
    }
}

impl LiveTable {
    /// What all calls of a subscription share, which from now on follows this plan.
    pub fn subscriber(&self, id: SubscriberId, plan: &Plan, now: Millis) -> Arc<Subscriber> {
        let known = self.subscribers.entry(id);
        let known = known.or_insert_with(|| Arc::new(Subscriber::new(id, plan, self.share(), now)));
        known.follow(plan, now);
        Arc::clone(&known)
    }

    /// Those who have something running, or not all of their plan left.
    pub fn subscribers(&self) -> Vec<SubscriberId> {
        self.subscribers.iter().map(|known| *known.key()).collect()
    }

    /// Has a subscription's present plan count for what runs, as [`LiveTable::follow_plan`].
    pub fn follow_subscription(&self, id: SubscriberId, plan: &Plan, now: Millis) {
        if let Some(known) = self.subscribers.get(&id) {
            known.follow(plan, now);
        }
    }

    /// How many connections rest on a subscription here, and what it has left of its plan.
    pub fn subscription_use(&self, id: SubscriberId, plan: &Plan, now: Millis) -> (u32, PlanUse) {
        match self.subscribers.get(&id) {
            Some(known) => (known.connections.load(Ordering::Acquire), use_of(&known.account, now)),
            None => (0, use_of(&Account::new(plan, self.share(), now), now)),
        }
    }
}

#[cfg(test)]
mod tests;
