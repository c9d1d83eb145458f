//! Plans over several replicas: each gives out of its own budgets and tells the others what it gave,
//! and each takes out of its own what the others gave.
//!
//! No frame waits for that. Each has its part of every burst, so that all together give no more than
//! the burst at once. What one gives the others know after two rounds at most; meanwhile each may give
//! the whole rate. As what they learn counts as spent, up to debts, that makes up for itself: in any
//! time t, R replicas give at most burst + rate x t + (R - 1) x rate x D, with D the two rounds and what
//! the registry takes to answer, and one more of each for the rounding.
//!
//! A replica that has not heard the others for [`APART_AFTER`] gives its part of the rate only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::clock::Millis;
use crate::live::{LiveTable, Owner, SubscriberId};
use crate::plan::{Cost, Share, Unit};
use crate::presence::Presence;
use crate::registry::Registry;
use crate::registry::replicas::ReplicaId;
use crate::registry::store::StoreError;
use crate::registry::uses::{PAGES_MAX, USES_PER_PAGE, UsePage, Used};
use crate::tenant::TenantId;

/// Between two rounds.
pub const ROUND_EVERY: Duration = Duration::from_millis(500);
/// Without a round that went well for so long, replicas do not count on each other any more.
pub const APART_AFTER: Duration = Duration::from_secs(3);
/// What is over is told for so many rounds more, should somebody have missed it.
const QUIET_ROUNDS_MAX: u32 = 10;
/// What has not changed is told anew after so many rounds, before it expires.
const TOLD_FOR_ROUNDS: u64 = 8;

/// Settles with the other replicas until it is dropped; returns at once where there can be none.
pub async fn settle(live: Arc<LiveTable>, registry: Arc<Registry>, presence: Arc<Presence>) {
    if !registry.is_shared() {
        return;
    }
    let clock = registry.clock();
    let mut settler = Settler::new(presence.id(), live, Arc::clone(&registry));
    let mut well_at = clock.now();
    let mut tick = interval(ROUND_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let others = presence.others_alive();
        match timeout(APART_AFTER, settler.round(&others, clock.now())).await {
            Ok(Ok(())) => well_at = clock.now(),
            // The registry's own state is logged where it is watched.
            Ok(Err(error)) => tracing::debug!(%error, "what plans gave could not be settled"),
            Err(_) => tracing::debug!("what plans gave could not be settled in time"),
        }
        let replicas = u32::try_from(others.len() + 1).unwrap_or(u32::MAX);
        let is_apart = clock.now().since(well_at) >= APART_AFTER;
        settler.live.set_share(Share { replicas, is_apart }, clock.now());
    }
}

type Units = [u64; Unit::COUNT];

/// One replica's side of it.
#[derive(Debug)]
struct Settler {
    id: ReplicaId,
    live: Arc<LiveTable>,
    registry: Arc<Registry>,
    round: u64,
    own: HashMap<Owner, Own>,
    told_in_round: u64,
    heard: HashMap<ReplicaId, Heard>,
}

/// What this replica gave to one owner.
#[derive(Debug, Default)]
struct Own {
    /// As the account said it last.
    seen: Units,
    /// Since which round it is told, and how much it was since then.
    told: Option<(u64, Units)>,
    quiet_rounds: u32,
}

/// What another replica has said.
#[derive(Debug)]
struct Heard {
    /// What began in an earlier round was there before this replica was.
    from_round: u64,
    uses: HashMap<Owner, (u64, Units)>,
}

impl Settler {
    fn new(id: ReplicaId, live: Arc<LiveTable>, registry: Arc<Registry>) -> Self {
        let (own, heard) = (HashMap::new(), HashMap::new());
        Self { id, live, registry, round: 0, own, told_in_round: 0, heard }
    }

    /// Tells what was given here, and takes in what was given elsewhere.
    async fn round(&mut self, others: &[ReplicaId], now: Millis) -> Result<(), StoreError> {
        self.round += 1;
        if self.look() || self.round >= self.told_in_round + TOLD_FOR_ROUNDS || self.round == 1 {
            self.tell().await?;
            self.told_in_round = self.round;
        }
        self.heard.retain(|id, _| others.contains(id));
        for id in others {
            self.hear(*id, now).await?;
        }
        Ok(())
    }

    /// Looks at the accounts; returns whether there is anything new.
    fn look(&mut self) -> bool {
        let (mut before, mut is_new) = (std::mem::take(&mut self.own), false);
        for (owner, used) in self.live.used() {
            let mut own = before.remove(&owner).unwrap_or_default();
            let more = minus(used, own.seen);
            own.seen = used;
            if more == Units::default() {
                own.quiet_rounds += 1;
                if own.quiet_rounds > QUIET_ROUNDS_MAX {
                    own.told = None;
                }
            } else {
                let (_, told) = own.told.get_or_insert((self.round, Units::default()));
                told.iter_mut().zip(more).for_each(|(told, more)| *told += more);
                own.quiet_rounds = 0;
                is_new = true;
            }
            self.own.insert(owner, own);
        }
        is_new
    }

    async fn tell(&self) -> Result<(), StoreError> {
        let told = self.own.iter().filter_map(|(owner, own)| {
            let (since, units) = own.told?;
            Some(Used { owner: name(*owner), since, units })
        });
        let told: Vec<Used> = told.take(USES_PER_PAGE * PAGES_MAX).collect();
        let pages = told.len().div_ceil(USES_PER_PAGE).max(1);
        // The first page last: it says how many there are.
        for page in (0..pages).rev() {
            let uses = told.chunks(USES_PER_PAGE).nth(page).unwrap_or_default().to_vec();
            let body = UsePage { round: self.round, pages, uses };
            self.registry.publish_uses(self.id, page, &body).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, id: ReplicaId, now: Millis) -> Result<(), StoreError> {
        let Some(first) = self.registry.uses_of(id, 0).await? else { return Ok(()) };
        let (round, pages) = (first.round, first.pages.min(PAGES_MAX));
        let mut all = first.uses;
        for page in 1..pages {
            let page = self.registry.uses_of(id, page).await?;
            all.extend(page.into_iter().flat_map(|page| page.uses));
        }
        // Nothing waits from here on: what is charged is remembered.
        let new = || Heard { from_round: round, uses: HashMap::new() };
        let heard = self.heard.entry(id).or_insert_with(new);
        let mut uses = HashMap::with_capacity(all.len());
        for Used { owner, since, units } in all {
            let Some(owner) = owner_named(&owner) else { continue };
            let more = match heard.uses.get(&owner) {
                Some((before, so_far)) if *before == since => minus(units, *so_far),
                // It was going on when this replica first heard of that one.
                None if since <= heard.from_round => Units::default(),
                _ => units,
            };
            if more != Units::default() {
                self.live.charge(owner, Cost::new(more), now);
            }
            uses.insert(owner, (since, units));
        }
        heard.uses = uses;
        Ok(())
    }
}

fn minus(units: Units, before: Units) -> Units {
    std::array::from_fn(|place| units[place].saturating_sub(before[place]))
}

fn name(owner: Owner) -> String {
    match owner {
        Owner::Tenant(id) => format!("t{id}"),
        Owner::Subscriber(id) => format!("s{:032x}", id.to_number()),
    }
}

fn owner_named(name: &str) -> Option<Owner> {
    match name.split_at_checked(1)? {
        ("t", id) => TenantId::from_hex(id).map(Owner::Tenant),
        ("s", id) => {
            let number = u128::from_str_radix(id, 16).ok()?;
            Some(Owner::Subscriber(SubscriberId::from_number(number)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
