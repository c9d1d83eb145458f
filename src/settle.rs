//! Plans over several replicas: each gives out of its own budgets and tells the others what it gave,
//! and each takes out of its own what the others gave.
//!
//! No frame waits for that. Each has its part of every burst, so that all together give no more than
//! the burst at once. What one gives the others know after two rounds at most; meanwhile each may give
//! the whole rate. As what they learn counts as spent, up to debts, that makes up for itself: in any
//! time t, R replicas give at most burst + rate x t + (R - 1) x rate x D, with D the two rounds and what
//! the registry takes to answer, and one more of each for the rounding.
//!
//! A replica that has not heard the others for [`APART_AFTER`] gives its part of the rate only. The others
//! count it as long as they see its heartbeat, and then give the whole rate among themselves: nobody can
//! tell one that is cut off from one that died, whose clients are theirs by then. So k of R that are cut
//! off add k parts in R.

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
use crate::registry::uses::{PAGES_MAX, USES_PER_PAGE, USES_TTL, UsePage, Used};
use crate::tenant::TenantId;

/// Between two rounds.
pub const ROUND_EVERY: Duration = Duration::from_millis(500);
/// Without a round that went well for so long, replicas do not count on each other any more.
pub const APART_AFTER: Duration = Duration::from_secs(3);
/// What is over is told for so many rounds more, should somebody have missed it.
const QUIET_ROUNDS_MAX: u32 = 10;
/// What has not changed is told anew after so many rounds, before it expires.
const TOLD_FOR_ROUNDS: u64 = 8;
/// Owners that are told at once. Whoever is beyond is told once there is room.
const OWNERS_MAX: usize = USES_PER_PAGE * PAGES_MAX;
/// Who was missing from so many reads in succession is not told any more.
const ABSENT_READS_MAX: u128 = USES_TTL.as_millis() / ROUND_EVERY.as_millis();

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
    uses: HashMap<Owner, Said>,
}

/// What another replica has said of one owner.
#[derive(Debug)]
struct Said {
    since: u64,
    units: Units,
    /// Reads since then that did not have it.
    absent_reads: u128,
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
        let told = self.own.values().filter(|own| own.told.is_some()).count();
        let mut room = OWNERS_MAX.saturating_sub(told);
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
                if own.told.is_none() && room > 0 {
                    room -= 1;
                    own.told = Some((self.round, Units::default()));
                }
                if let Some((_, told)) = &mut own.told {
                    told.iter_mut().zip(more).for_each(|(told, more)| *told += more);
                }
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
        let mut told: Vec<Used> = told.collect();
        // Everybody stays on the same page, or nearly so: a read may fall between two pages.
        told.sort_unstable_by(|one, other| one.owner.cmp(&other.owner));
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
        for (owner, more) in self.heard.entry(id).or_insert_with(new).take_in(all) {
            self.live.charge(owner, Cost::new(more), now);
        }
        Ok(())
    }
}

impl Heard {
    /// Takes in what was read; returns what is new. Pages are replaced one by one, so what was read may be
    /// of two rounds, without an owner who changed pages meanwhile, and with another one twice. That
    /// does no harm: of each owner counts what goes beyond what was heard before, in whatever order it
    /// comes, and one who is missing is remembered until that has lasted.
    fn take_in(&mut self, all: Vec<Used>) -> Vec<(Owner, Units)> {
        self.uses.values_mut().for_each(|said| said.absent_reads += 1);
        let mut new = Vec::new();
        for Used { owner, since, units } in all {
            let Some(owner) = owner_named(&owner) else { continue };
            // It may have been going on when this replica first heard of that one.
            let known = if since <= self.from_round { units } else { Units::default() };
            let begin = |units| Said { since, units, absent_reads: 0 };
            let said = self.uses.entry(owner).or_insert_with(|| begin(known));
            if since > said.since {
                *said = begin(Units::default());
            }
            said.absent_reads = 0;
            let more = minus(units, said.units);
            if since == said.since && more != Units::default() {
                said.units.iter_mut().zip(more).for_each(|(said, more)| *said += more);
                new.push((owner, more));
            }
        }
        self.uses.retain(|_, said| said.absent_reads <= ABSENT_READS_MAX);
        new
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
