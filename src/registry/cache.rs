//! The near cache: what this process knows of tenants, so that a known tenant's handshake asks no
//! store.
//!
//! A value that was fetched before an invalidation is never put in after it: every invalidation
//! raises the generation, and a fetch is put in only if the generation is still the one it began
//! with. Only fetches put in who is not known: a replacement that comes late is older than that.
//! Names and keys that lead nowhere are remembered for a moment, apart from tenants, so that
//! a scan of unknown names pushes nobody out.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::DashMap;

use super::turns::Turns;
use crate::clock::{Clock, Millis};
use crate::metrics::Tally;
use crate::secret::SecretDigest;
use crate::tenant::by_id::ById;
use crate::tenant::{Tenant, TenantId, Username};

/// How long an answer "there is none" is believed.
const ABSENT_FOR: Duration = Duration::from_secs(2);
const ABSENT_MAX: usize = 65_536;
/// When there are too many tenants, the longest unused of this many goes.
const EVICTION_SAMPLE: usize = 16;
/// Fetches of one call that may be overtaken by writes, anybody's.
const FETCHES_MAX: usize = 4;

/// By what a tenant is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// The id.
    Id(TenantId),
    /// The name.
    Username(Username),
    /// An API key's digest.
    Key(SecretDigest),
}

#[derive(Debug)]
struct Known {
    tenant: Arc<Tenant>,
    used_ms: AtomicU64,
}

/// What is known.
#[derive(Debug)]
pub struct Cache {
    clock: Clock,
    tenants_max: usize,
    tenants: DashMap<TenantId, Known, ById>,
    usernames: DashMap<Username, TenantId>,
    keys: DashMap<SecretDigest, TenantId>,
    absent: DashMap<Lookup, Millis>,
    order: Mutex<Order>,
    /// One fetch at a time for each look-up; whoever comes meanwhile waits for it.
    flights: Turns<Lookup>,
    /// Hits, absent hits, misses, fetches, evictions, invalidations.
    tally: Tally<6>,
}

/// What all that goes in or out takes turns at.
#[derive(Debug, Default)]
struct Order {
    /// Raised by every invalidation.
    generation: u64,
    /// Raised when a plan has changed.
    plans: u64,
    /// Every tenant who is in, in the order of being looked at when one has to go; and some who went.
    queue: VecDeque<TenantId>,
}

const HIT: usize = 0;
const ABSENT_HIT: usize = 1;
const MISS: usize = 2;
const FETCH: usize = 3;
const EVICTION: usize = 4;
const INVALIDATION: usize = 5;

/// What a cache has been asked since the start, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Tenants in it.
    pub tenants: usize,
    /// At most.
    pub tenants_max: usize,
    /// Names and keys of which it knows that they are nobody's.
    pub absent: usize,
    /// Look-ups that it answered with a tenant.
    pub hits: u64,
    /// Look-ups that it answered with "there is none".
    pub absent_hits: u64,
    /// Look-ups that it could not answer.
    pub misses: u64,
    /// Reads of the store for those; fewer, since who asks for the same waits for the same read.
    pub fetches: u64,
    /// Tenants who had to go for others.
    pub evictions: u64,
    /// Tenants who were changed or removed.
    pub invalidations: u64,
}

/// What the cache says.
#[derive(Clone, Debug)]
pub enum Knowledge {
    /// It is this one.
    Tenant(Arc<Tenant>),
    /// There is none.
    Absent,
    /// The store has to be asked.
    Unknown,
}

impl Cache {
    /// An empty cache for at most `tenants_max` tenants.
    #[must_use]
    pub fn new(tenants_max: usize, clock: Clock) -> Self {
        Self {
            clock,
            tenants_max,
            tenants: DashMap::default(),
            usernames: DashMap::new(),
            keys: DashMap::new(),
            absent: DashMap::new(),
            order: Mutex::default(),
            flights: Turns::default(),
            tally: Tally::default(),
        }
    }

    /// The clock by which it is noted who was used when.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// What is known without asking anybody.
    pub fn peek(&self, lookup: &Lookup) -> Knowledge {
        let now = self.clock.now();
        let id = match lookup {
            Lookup::Id(id) => Some(*id),
            Lookup::Username(username) => self.usernames.get(username).map(|id| *id),
            Lookup::Key(digest) => self.keys.get(digest).map(|id| *id),
        };
        if let Some(known) = id.and_then(|id| self.tenants.get(&id)) {
            known.used_ms.store(now.0, Ordering::Relaxed);
            return Knowledge::Tenant(Arc::clone(&known.tenant));
        }
        match self.absent.get(lookup) {
            Some(until) if now < *until => Knowledge::Absent,
            _ => Knowledge::Unknown,
        }
    }

    /// The tenant, asking `fetch` if need be, once for all who ask at the same time.
    ///
    /// # Errors
    /// Those of `fetch`; nothing is remembered then.
    pub async fn get<E, F>(
        &self,
        lookup: Lookup,
        fetch: impl Fn() -> F,
    ) -> Result<Option<Arc<Tenant>>, E>
    where
        F: Future<Output = Result<Option<Tenant>, E>>,
    {
        match self.peek(&lookup) {
            Knowledge::Tenant(tenant) => {
                self.tally.add(HIT);
                return Ok(Some(tenant));
            }
            Knowledge::Absent => {
                self.tally.add(ABSENT_HIT);
                return Ok(None);
            }
            Knowledge::Unknown => self.tally.add(MISS),
        }
        let flight = self.flights.place(&lookup);
        let _turn = flight.turn().await;
        let mut fetched = None;
        for _ in 0..FETCHES_MAX {
            match self.peek(&lookup) {
                Knowledge::Tenant(tenant) => return Ok(Some(tenant)),
                Knowledge::Absent => return Ok(None),
                Knowledge::Unknown => {}
            }
            let generation = self.order().generation;
            self.tally.add(FETCH);
            fetched = fetch().await?.map(Arc::new);
            let is_current = match &fetched {
                Some(tenant) => self.insert_if(generation, Arc::clone(tenant)),
                None => self.insert_absent_if(generation, lookup.clone()),
            };
            // Else something was written meanwhile, perhaps this very one.
            if is_current {
                break;
            }
        }
        // Not older than this call, if perhaps older than what may be put in.
        Ok(fetched)
    }

    /// What it has been asked, and what it holds.
    pub fn counts(&self) -> Counts {
        let [hits, absent_hits, misses, fetches, evictions, invalidations] = self.tally.sums();
        Counts {
            tenants: self.tenants.len(),
            tenants_max: self.tenants_max,
            absent: self.absent.len(),
            hits,
            absent_hits,
            misses,
            fetches,
            evictions,
            invalidations,
        }
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody must see an old value even for a moment: checked and put in under one lock, which
    /// every invalidation takes as well.
    fn insert_if(&self, generation: u64, tenant: Arc<Tenant>) -> bool {
        let mut order = self.order();
        if order.generation == generation {
            self.insert(&mut order, tenant);
        }
        order.generation == generation
    }

    fn insert_absent_if(&self, generation: u64, lookup: Lookup) -> bool {
        let order = self.order();
        if order.generation != generation {
            return false;
        }
        // Whoever fills it looks for what nobody has; to sort them would make the others wait.
        if self.absent.len() >= ABSENT_MAX {
            self.absent.clear();
        }
        self.absent.insert(lookup, self.clock.now().plus(ABSENT_FOR));
        true
    }

    fn insert(&self, order: &mut Order, tenant: Arc<Tenant>) {
        if !self.forget(tenant.id) {
            self.make_room(order);
            order.queue.push_back(tenant.id);
        }
        self.usernames.insert(tenant.username.clone(), tenant.id);
        for digest in tenant.digests() {
            self.keys.insert(digest, tenant.id);
        }
        let used_ms = AtomicU64::new(self.clock.now().0);
        self.tenants.insert(tenant.id, Known { tenant, used_ms });
    }

    fn make_room(&self, order: &mut Order) {
        while self.tenants.len() >= self.tenants_max
            && let Some(id) = self.take_oldest(&mut order.queue)
        {
            self.tally.add(EVICTION);
            self.forget(id);
        }
        // Who was invalidated and came back is in it twice.
        if order.queue.len() > 2 * self.tenants_max {
            order.queue = self.tenants.iter().map(|known| *known.key()).collect();
        }
    }

    /// The longest unused of the next few; the others go to the end.
    fn take_oldest(&self, queue: &mut VecDeque<TenantId>) -> Option<TenantId> {
        let mut oldest: Option<(u64, TenantId)> = None;
        let mut looked_at = 0;
        while looked_at < EVICTION_SAMPLE
            && let Some(id) = queue.pop_front()
        {
            let used_ms = self.tenants.get(&id).map(|known| known.used_ms.load(Ordering::Relaxed));
            let Some(used_ms) = used_ms else { continue };
            looked_at += 1;
            match oldest {
                Some((before_ms, _)) if before_ms <= used_ms => queue.push_back(id),
                _ => queue.extend(oldest.replace((used_ms, id)).map(|(_, spared)| spared)),
            }
        }
        oldest.map(|(_, id)| id)
    }

    /// A mark of which plans are known to have changed; see [`Cache::replace`].
    pub fn plans(&self) -> u64 {
        self.order().plans
    }

    /// Takes in what has just been written, unless something newer is there: two writers may arrive
    /// in the wrong order. Who is not known stays so, since the newer one may have been forgotten.
    /// `plans` is the mark from before the tenant's plan was read: if it has moved, the plan may be
    /// an old one, and the tenant is forgotten instead.
    pub fn replace(&self, tenant: Arc<Tenant>, plans: u64) {
        let mut order = self.order();
        order.generation += 1;
        let known = self.tenants.get(&tenant.id).map(|known| known.tenant.revision);
        if known.is_some_and(|revision| revision <= tenant.revision) {
            match order.plans == plans {
                true => self.insert(&mut order, tenant),
                false => _ = self.forget(tenant.id),
            }
        }
        // Whoever was looked for in vain may be this one.
        self.absent.clear();
    }

    /// Takes a tenant out, and keeps what is being fetched from being put in.
    pub fn invalidate(&self, id: TenantId) {
        self.tally.add(INVALIDATION);
        let mut order = self.order();
        order.generation += 1;
        self.forget(id);
    }

    /// Takes a tenant out if what is known of them is older than `revision`. Returns whether anything
    /// was known.
    pub fn invalidate_before(&self, id: TenantId, revision: u64) -> bool {
        self.tally.add(INVALIDATION);
        let mut order = self.order();
        order.generation += 1;
        let known = self.tenants.get(&id).map(|known| known.tenant.revision);
        if known.is_some_and(|known| known < revision) {
            self.forget(id);
        }
        // Whoever was looked for in vain may be this one.
        self.absent.clear();
        known.is_some()
    }

    /// Takes out the tenants who have this plan.
    pub fn invalidate_plan(&self, name: &str) {
        let mut order = self.order();
        order.generation += 1;
        order.plans += 1;
        drop(order);
        // Whoever is put in from here on was fetched after the change: only those who are there now
        // are looked at, and the look itself makes nobody wait.
        let has_plan = |known: &Known| known.tenant.plan_name.as_deref() == Some(name);
        let some = self.tenants.iter().filter(|known| has_plan(known));
        let ids: Vec<TenantId> = some.map(|known| *known.key()).collect();
        for id in ids {
            let _order = self.order();
            self.forget(id);
        }
    }

    /// Takes everything out.
    pub fn clear(&self) {
        let mut order = self.order();
        order.generation += 1;
        order.plans += 1;
        order.queue.clear();
        self.tenants.clear();
        self.usernames.clear();
        self.keys.clear();
        self.absent.clear();
    }

    /// Returns whether they were there.
    fn forget(&self, id: TenantId) -> bool {
        let Some((_, known)) = self.tenants.remove(&id) else { return false };
        self.usernames.remove_if(&known.tenant.username, |_, owner| *owner == id);
        for digest in known.tenant.digests() {
            self.keys.remove_if(&digest, |_, owner| *owner == id);
        }
        true
    }
}

#[cfg(test)]
mod tests;
