//! The near cache: what this process knows of tenants, so that a known tenant's handshake asks no
//! store.
//!
//! A value that was fetched before an invalidation is never put in after it: every invalidation
//! raises the generation, and a fetch is put in only if the generation is still the one it began
//! with. Names and keys that lead nowhere are remembered for a moment, apart from tenants, so that
//! a scan of unknown names pushes nobody out.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use dashmap::DashMap;

use crate::clock::{Clock, Millis};
use crate::secret::SecretDigest;
use crate::tenant::{Tenant, TenantId, Username};

/// How long an answer "there is none" is believed.
const ABSENT_FOR: Duration = Duration::from_secs(2);
const ABSENT_MAX: usize = 65_536;
/// When there are too many tenants, the longest unused of this many goes.
const EVICTION_SAMPLE: usize = 16;

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
    tenants: DashMap<TenantId, Known>,
    usernames: DashMap<Username, TenantId>,
    keys: DashMap<SecretDigest, TenantId>,
    absent: DashMap<Lookup, Millis>,
    generation: Mutex<u64>,
    /// One fetch at a time for each look-up; whoever comes meanwhile waits for it.
    flights: Mutex<HashMap<Lookup, Weak<tokio::sync::Mutex<()>>>>,
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
            tenants: DashMap::new(),
            usernames: DashMap::new(),
            keys: DashMap::new(),
            absent: DashMap::new(),
            generation: Mutex::new(0),
            flights: Mutex::default(),
        }
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
            Knowledge::Tenant(tenant) => return Ok(Some(tenant)),
            Knowledge::Absent => return Ok(None),
            Knowledge::Unknown => {}
        }
        let flight = self.flight(&lookup);
        let _alone = flight.lock().await;
        loop {
            match self.peek(&lookup) {
                Knowledge::Tenant(tenant) => return Ok(Some(tenant)),
                Knowledge::Absent => return Ok(None),
                Knowledge::Unknown => {}
            }
            let generation = *self.generation();
            let fetched = fetch().await?.map(Arc::new);
            let is_current = match &fetched {
                Some(tenant) => self.insert_if(generation, Arc::clone(tenant)),
                None => self.insert_absent_if(generation, lookup.clone()),
            };
            // Else something was written meanwhile, perhaps this very one.
            if is_current {
                return Ok(fetched);
            }
        }
    }

    fn flight(&self, lookup: &Lookup) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(lookup).and_then(Weak::upgrade) {
            return flight;
        }
        flights.retain(|_, flight| flight.strong_count() > 0);
        let flight = Arc::new(tokio::sync::Mutex::new(()));
        flights.insert(lookup.clone(), Arc::downgrade(&flight));
        flight
    }

    fn generation(&self) -> MutexGuard<'_, u64> {
        self.generation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody must see an old value even for a moment: checked and put in under one lock, which
    /// every invalidation takes as well.
    fn insert_if(&self, generation: u64, tenant: Arc<Tenant>) -> bool {
        let current = self.generation();
        if *current == generation {
            self.insert(tenant);
        }
        *current == generation
    }

    fn insert_absent_if(&self, generation: u64, lookup: Lookup) -> bool {
        let current = self.generation();
        if *current != generation {
            return false;
        }
        let now = self.clock.now();
        if self.absent.len() >= ABSENT_MAX {
            self.absent.retain(|_, until| now < *until);
        }
        if self.absent.len() < ABSENT_MAX {
            self.absent.insert(lookup, now.plus(ABSENT_FOR));
        }
        true
    }

    fn insert(&self, tenant: Arc<Tenant>) {
        if self.tenants.len() >= self.tenants_max && !self.tenants.contains_key(&tenant.id) {
            self.evict();
        }
        self.usernames.insert(tenant.username.clone(), tenant.id);
        for digest in tenant.keys.iter().flat_map(|key| key.digests()) {
            self.keys.insert(digest, tenant.id);
        }
        let used_ms = AtomicU64::new(self.clock.now().0);
        self.tenants.insert(tenant.id, Known { tenant, used_ms });
    }

    fn evict(&self) {
        let sample = self.tenants.iter().take(EVICTION_SAMPLE);
        let oldest = sample.min_by_key(|known| known.used_ms.load(Ordering::Relaxed));
        let oldest = oldest.map(|known| *known.key());
        if let Some(id) = oldest {
            self.forget(id);
        }
    }

    /// Puts in what has just been written, unless something newer is there: two writers may arrive
    /// in the wrong order.
    pub fn replace(&self, tenant: Arc<Tenant>) {
        let mut generation = self.generation();
        *generation += 1;
        let known = self.tenants.get(&tenant.id).map(|known| known.tenant.revision);
        if known.is_none_or(|revision| revision <= tenant.revision) {
            self.forget(tenant.id);
            self.insert(tenant);
        }
        // Whoever was looked for in vain may be this one.
        self.absent.clear();
    }

    /// Takes a tenant out, and keeps what is being fetched from being put in.
    pub fn invalidate(&self, id: TenantId) {
        let mut generation = self.generation();
        *generation += 1;
        self.forget(id);
    }

    /// Takes a tenant out if what is known of them is older than `revision`.
    pub fn invalidate_before(&self, id: TenantId, revision: u64) {
        let mut generation = self.generation();
        *generation += 1;
        let known = self.tenants.get(&id).map(|known| known.tenant.revision);
        if known.is_some_and(|known| known < revision) {
            self.forget(id);
        }
        // Whoever was looked for in vain may be this one.
        self.absent.clear();
    }

    /// Takes everything out.
    pub fn clear(&self) {
        let mut generation = self.generation();
        *generation += 1;
        self.tenants.clear();
        self.usernames.clear();
        self.keys.clear();
        self.absent.clear();
    }

    fn forget(&self, id: TenantId) {
        let Some((_, known)) = self.tenants.remove(&id) else { return };
        self.usernames.remove_if(&known.tenant.username, |_, owner| *owner == id);
        for digest in known.tenant.keys.iter().flat_map(|key| key.digests()) {
            self.keys.remove_if(&digest, |_, owner| *owner == id);
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.tenants.len()
    }
}

#[cfg(test)]
mod tests;
