//! The registry: where tenants live, behind one facade.
//!
//! A store keeps documents; the near cache spares a known tenant the way to it. Whoever changes a
//! tenant writes first, then the cache is replaced, then the caller looks through the live table
//! (see [`crate::revoke`]).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Wall};
use crate::metrics::Tally;
use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::sealing::Sealing;
use crate::secret::SecretDigest;
use crate::tenant::{Tenant, TenantId, Username};

pub mod analytics;
pub mod apis;
pub mod audit;
mod cache;
pub mod check;
pub mod copy;
mod documents;
pub mod freshness;
pub mod guesses;
pub mod handovers;
pub mod import;
pub mod keys;
pub mod pace;
pub mod profiles;
pub mod record;
pub mod replicas;
pub mod sessions;
pub mod store;
#[cfg(test)]
pub mod testing;
pub mod tickets;
pub mod turns;
pub mod usage;
pub mod uses;
pub mod view;
mod walk;

pub use cache::Counts;
use cache::{Cache, Knowledge, Lookup};
use freshness::Freshness;
use record::{PLAN, TENANT, TenantRecord};
use store::{Change, Document, Expected, Notice, Store, StoreError, Write};
use turns::Turns;

/// Finds and changes tenants.
#[derive(Debug)]
pub struct Registry {
    store: Store,
    cache: Cache,
    /// How often there was a gap in the feed.
    gaps: Tally<1>,
    freshness: Freshness,
    wall: Wall,
    /// One change at a time for each tenant in this process; other replicas are met as conflicts.
    changes: Turns<TenantId>,
    pace: pace::Pace,
    audit: audit::Keeping,
    session_limits: sessions::SessionLimits,
    directory: apis::Directory,
    sealing: Option<Arc<Sealing>>,
}

/// What is kept in memory.
#[derive(Clone, Copy, Debug)]
pub struct Caching {
    /// How many tenants.
    pub tenants_max: usize,
    /// How long they are believed while the registry is away.
    pub stale_max: Duration,
}

/// Why a tenant was not changed.
#[derive(Debug)]
pub enum ChangeError<E> {
    /// What the change itself had against it.
    Refused(E),
    /// There is no such tenant.
    Gone,
    /// Too many changes of this tenant wait.
    Busy,
    /// The store did not do it.
    Store(StoreError),
}

impl<E> From<StoreError> for ChangeError<E> {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Registry {
    /// A registry on this store.
    #[must_use]
    pub fn new(store: Store, caching: Caching, clock: Clock, wall: Wall) -> Self {
        Self {
            store,
            cache: Cache::new(caching.tenants_max, clock),
            gaps: Tally::default(),
            freshness: Freshness::new(caching.stale_max, clock),
            wall,
            changes: Turns::default(),
            pace: pace::Pace::default(),
            audit: audit::Keeping::default(),
            session_limits: sessions::SessionLimits::default(),
            directory: apis::Directory::default(),
            sealing: None,
        }
    }

    /// The same with another time for which audit entries are kept; else a year.
    #[must_use]
    pub fn keeping_audit(mut self, kept: Duration) -> Self {
        self.audit.kept = kept;
        self
    }

    /// The same with other limits for sessions; else 12 hours idle, a week in all.
    #[must_use]
    pub fn with_sessions(mut self, limits: sessions::SessionLimits) -> Self {
        self.session_limits = limits;
        self
    }

    /// The same with keys for secrets that have to be read again; else there can be none.
    #[must_use]
    pub fn with_sealing(mut self, sealing: Option<Arc<Sealing>>) -> Self {
        self.sealing = sealing;
        self
    }

    /// What secrets are sealed with, if there is a key for that.
    #[must_use]
    pub fn sealing(&self) -> Option<&Sealing> {
        self.sealing.as_deref()
    }

    /// How long sessions live.
    #[must_use]
    pub fn session_limits(&self) -> &sessions::SessionLimits {
        &self.session_limits
    }

    /// The store beneath.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// How old what is cached may be.
    #[must_use]
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// The process's clock, by which budgets are counted as well.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.cache.clock()
    }

    /// The time of day that expiry goes by.
    #[must_use]
    pub fn wall(&self) -> &Wall {
        &self.wall
    }

    /// The tenant with this id, as they are now.
    ///
    /// # Errors
    /// The tenant is not cached, and the store cannot be asked.
    pub async fn by_id(&self, id: TenantId) -> Result<Option<Arc<Tenant>>, StoreError> {
        if let Some(account) = operators(id) {
            return Ok(Some(account));
        }
        let fetch = || async move { self.store.get(TENANT, &id.to_string()).await };
        self.look_up(Lookup::Id(id), fetch).await
    }

    /// The tenant with this name.
    ///
    /// # Errors
    /// As [`Registry::by_id`].
    pub async fn by_username(
        &self,
        username: &Username,
    ) -> Result<Option<Arc<Tenant>>, StoreError> {
        let fetch = || {
            let index = record::username_index(username.as_str());
            async move { self.store.find(TENANT, &index).await }
        };
        self.look_up(Lookup::Username(username.clone()), fetch).await
    }

    /// The tenant to whom a key leads. Their own record decides whether it still works.
    ///
    /// # Errors
    /// As [`Registry::by_id`].
    pub async fn by_key(&self, digest: SecretDigest) -> Result<Option<Arc<Tenant>>, StoreError> {
        let fetch = || {
            let index = record::key_index(digest);
            async move { self.store.find(TENANT, &index).await }
        };
        self.look_up(Lookup::Key(digest), fetch).await
    }

    /// The tenant with this id as last known, however old that is, without asking the store.
    #[must_use]
    pub fn cached(&self, id: TenantId) -> Option<Arc<Tenant>> {
        if let Some(account) = operators(id) {
            return Some(account);
        }
        match self.cache.peek(&Lookup::Id(id)) {
            Knowledge::Tenant(tenant) => Some(tenant),
            Knowledge::Absent | Knowledge::Unknown => None,
        }
    }

    /// What the near cache has been asked, and what it holds.
    #[must_use]
    pub fn cache_counts(&self) -> Counts {
        self.cache.counts()
    }

    /// How many gaps there were in the feed.
    #[must_use]
    pub fn feed_gaps(&self) -> u64 {
        let [gaps] = self.gaps.sums();
        gaps
    }

    /// The tenant with this name, if they are known without asking the store and what is known is
    /// believed.
    #[must_use]
    pub fn known(&self, username: &Username) -> Option<Arc<Tenant>> {
        match self.cache.peek(&Lookup::Username(username.clone())) {
            Knowledge::Tenant(tenant) if self.freshness.is_believed() => Some(tenant),
            _ => None,
        }
    }

    async fn look_up<F>(
        &self,
        lookup: Lookup,
        fetch: impl Fn() -> F,
    ) -> Result<Option<Arc<Tenant>>, StoreError>
    where
        F: Future<Output = Result<Option<Document>, StoreError>>,
    {
        let fetch = || {
            let document = fetch();
            async move {
                match document.await? {
                    Some(document) => self.read(&document).await.map(Some),
                    None => Ok(None),
                }
            }
        };
        if !self.freshness.is_believed() {
            // What is read now is true now, but nobody would hear of its end.
            return Ok(fetch().await?.map(Arc::new));
        }
        self.cache.get(lookup, fetch).await
    }

    async fn read(&self, document: &Document) -> Result<Tenant, StoreError> {
        let record = TenantRecord::from_body(&document.body)?;
        let plan = self.plan(record.plan.as_deref()).await?;
        record.to_tenant(record::tenant_id(document)?, document.revision, plan)
    }

    async fn plan(&self, name: Option<&str>) -> Result<Arc<Plan>, StoreError> {
        let Some(name) = name else { return Ok(Arc::default()) };
        let document = self.store.get(PLAN, name).await?;
        let document = document
            .ok_or_else(|| StoreError::Corrupt(format!("the plan {name:?} does not exist")))?;
        serde_json::from_slice(&document.body)
            .map(Arc::new)
            .map_err(|error| StoreError::Corrupt(format!("the plan {name:?}: {error}")))
    }

    /// Believes nothing any more that a notice of the feed says is old. Returns whether it is about a
    /// tenant who was known.
    pub fn heed(&self, notice: &Notice) -> bool {
        if notice.kind == PLAN.0 {
            self.cache.invalidate_plan(&notice.id);
        }
        let id = TenantId::from_hex(&notice.id).filter(|_| notice.kind == TENANT.0);
        id.is_some_and(|id| self.cache.invalidate_before(id, notice.revision))
    }

    /// Believes nothing any more: there was a gap in the feed.
    pub fn forget_all(&self) {
        self.gaps.add(0);
        self.directory.unload();
        self.cache.clear();
    }

    /// Changes a tenant's record, again from the start if somebody else changed it meanwhile.
    /// Returns the tenant as they are now. The cache has nothing older when this returns; the live
    /// table is the caller's to look through.
    ///
    /// Not cancel safe: a write that was begun is carried out, and the cache hears of it only by the
    /// feed. Run it in a task of its own.
    ///
    /// # Errors
    /// What `change` returns; nothing was written then. Or the store's: nothing was written, but for
    /// [`StoreError::Unknown`].
    pub async fn change<T, E>(
        &self,
        id: TenantId,
        mut change: impl FnMut(&mut TenantRecord) -> Result<T, E>,
    ) -> Result<(Arc<Tenant>, T), ChangeError<E>> {
        self.change_as(None, id, |record, _| change(record)).await
    }
}

/// The account of an operator's API, under which the live table has what runs on it; see
/// [`crate::api::account_id`]. It is not stored: it has nothing but its id.
fn operators(id: TenantId) -> Option<Arc<Tenant>> {
    crate::api::is_account_id(id).then(|| Arc::new(Tenant::of_operator(id)))
}

/// What a client is told when a tenant cannot be read.
#[must_use]
pub fn away(error: StoreError) -> Refusal {
    Refusal::RegistryAway(error.to_string())
}

/// The write that puts a tenant's record.
///
/// # Errors
/// None that a record can cause.
pub fn put(id: TenantId, expected: Expected, record: &TenantRecord) -> Result<Write, StoreError> {
    let change = Change::Put { indexes: record.indexes(), body: record.to_body()? };
    Ok(Write { kind: TENANT, id: id.to_string(), expected, change })
}

#[cfg(test)]
mod tests;
