//! All published APIs, consumers and applications, the plans, the keys that sign access tokens, and the
//! tokens that were revoked, in memory.
//!
//! Whatever is taken in was read from the store under one lock that all who read hold: so nothing
//! older ever replaces something newer. The feed, and whoever writes here, has read again what was
//! written. What was being read when there was a gap in the feed is read again: each gap begins a
//! generation.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::api::context::Prefix;
use crate::api::signing::KeyRing;
use crate::api::{Api, Application, Consumer, Owner};
use crate::clock::UnixMillis;
use crate::close::Cause;
use crate::grant::{ApiId, ApplicationId, ConsumerId, Grant, SubscriptionId};
use crate::registry::record::{API, APPLICATION, CONSUMER, PLAN, REVOCATION, SIGNING, TENANT};
use crate::registry::store::{Kind, Store, StoreError};
use crate::secret::SecretDigest;
use crate::tenant::TenantId;

mod known;
mod subscribed;

use known::Known;
pub use subscribed::Subscribed;

/// The kinds of which everything is in memory.
pub(super) const KINDS: [Kind; 6] = [API, CONSUMER, APPLICATION, SIGNING, REVOCATION, PLAN];

/// Readings of everything that may be overtaken by gaps.
const LOADS_MAX: usize = 4;

/// How many revoked tokens are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct RevocationCounts {
    pub(super) all: usize,
    /// Of the tenant's applications; an operator's have no limit together.
    pub(super) of_owner: usize,
    pub(super) of_application: usize,
}

/// What is known of APIs and whoever calls them.
#[derive(Debug, Default)]
pub struct Directory {
    known: RwLock<Known>,
    /// Held by whoever reads from the store to take it in.
    reading: tokio::sync::Mutex<()>,
}

impl Directory {
    /// Whether everything is there.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.read().is_loaded
    }

    /// From now on nothing is believed until everything was read anew.
    pub fn unload(&self) {
        let mut known = self.write();
        known.is_loaded = false;
        known.generation += 1;
    }

    /// Reads everything, unless somebody else did so meanwhile.
    ///
    /// # Errors
    /// The store's; or there was one gap after another meanwhile.
    pub(super) async fn load(&self, store: &Store) -> Result<(), StoreError> {
        let _reading = self.reading.lock().await;
        for _ in 0..LOADS_MAX {
            let Some(generation) = self.wanted() else { return Ok(()) };
            if self.put_in(Known::read(store).await?, generation) {
                return Ok(());
            }
        }
        let why = "published APIs were forgotten again and again while they were read";
        Err(StoreError::Unavailable(why.to_owned()))
    }

    /// The generation for which everything is to be read; `None` if it is there.
    fn wanted(&self) -> Option<u64> {
        let known = self.read();
        (!known.is_loaded).then_some(known.generation)
    }

    /// Takes in what was read from when a generation was wanted; not if there is another by now.
    fn put_in(&self, known: Known, generation: u64) -> bool {
        let mut current = self.write();
        let is_current = current.generation == generation;
        if is_current {
            *current = Known { is_loaded: true, generation, ..known };
        }
        is_current
    }

    /// Reads again whether a tenant's applications may call anything, if they have some. Returns
    /// whether that is so.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn refresh_owner(
        &self,
        store: &Store,
        id: TenantId,
    ) -> Result<bool, StoreError> {
        let _reading = self.reading.lock().await;
        if !self.is_loaded() || !self.read().owners.contains_key(&id) {
            return Ok(false);
        }
        let document = store.get(TENANT, &id.to_string()).await?;
        self.write().take_in_owner(id, document.as_ref());
        Ok(true)
    }

    /// Reads one of them again.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn refresh(
        &self,
        store: &Store,
        kind: Kind,
        id: &str,
    ) -> Result<(), StoreError> {
        let _reading = self.reading.lock().await;
        if !self.is_loaded() {
            return Ok(());
        }
        let document = store.get(kind, id).await?;
        let application = document.as_ref().filter(|_| kind == APPLICATION);
        let owner = application.and_then(known::owner_of);
        // Known by the time that somebody sees the application.
        let owner = match owner {
            Some(id) => Some((id, store.get(TENANT, &id.to_string()).await?)),
            None => None,
        };
        let mut known = self.write();
        known.forget(kind, id);
        if let Some(document) = document {
            known.take_in(kind, &document);
        }
        if let Some((id, document)) = owner {
            known.take_in_owner(id, document.as_ref());
        }
        Ok(())
    }

    /// The API with the longest prefix of this path.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<Arc<Api>> {
        let known = self.read();
        known.contexts.find(path).and_then(|id| known.apis.get(&id).cloned())
    }

    /// Whether a prefix is within one of another owner's, or one of those within it.
    #[must_use]
    pub fn overlaps(&self, prefix: &Prefix, owner: Owner) -> bool {
        self.read().contexts.overlaps(prefix, owner)
    }

    /// The API with this id.
    #[must_use]
    pub fn api(&self, id: ApiId) -> Option<Arc<Api>> {
        self.read().apis.get(&id).cloned()
    }

    /// All of an owner's, by prefix.
    #[must_use]
    pub fn apis_of(&self, owner: Owner) -> Vec<Arc<Api>> {
        self.apis(|api| api.owner == owner)
    }

    /// All that are wanted, by prefix.
    #[must_use]
    pub fn apis(&self, wants: impl Fn(&Api) -> bool) -> Vec<Arc<Api>> {
        let known = self.read();
        let mut apis: Vec<_> = known.apis.values().filter(|api| wants(api)).cloned().collect();
        drop(known);
        apis.sort_by(|one, other| one.prefix.as_str().cmp(other.prefix.as_str()));
        apis
    }

    /// All consumers of an owner's, by name.
    #[must_use]
    pub fn consumers_of(&self, owner: Owner) -> Vec<Arc<Consumer>> {
        let known = self.read();
        let of_owner = |consumer: &&Arc<Consumer>| consumer.owner == owner;
        let mut consumers: Vec<_> = known.consumers.values().filter(of_owner).cloned().collect();
        drop(known);
        consumers.sort_by(|one, other| one.username.cmp(&other.username));
        consumers
    }

    /// How many APIs and consumers there are in all.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let known = self.read();
        (known.apis.len(), known.consumers.len())
    }

    /// The consumer with this id.
    #[must_use]
    pub fn consumer(&self, id: ConsumerId) -> Option<Arc<Consumer>> {
        self.read().consumers.get(&id).cloned()
    }

    /// An owner's consumer of this name.
    #[must_use]
    pub fn consumer_named(&self, owner: Owner, username: &str) -> Option<Arc<Consumer>> {
        let known = self.read();
        known.names.get(&(owner, username.to_owned())).and_then(|id| known.consumer(*id))
    }

    /// An owner's consumer who has this key.
    #[must_use]
    pub fn consumer_with_key(&self, owner: Owner, digest: SecretDigest) -> Option<Arc<Consumer>> {
        let known = self.read();
        known.keys.get(&(owner, digest)).and_then(|id| known.consumer(*id))
    }

    /// An owner's consumer whose tokens have this claim `key`.
    #[must_use]
    pub fn consumer_with_claim(&self, owner: Owner, key: &str) -> Option<Arc<Consumer>> {
        let known = self.read();
        known.claims.get(&(owner, key.to_owned())).and_then(|id| known.consumer(*id))
    }

    /// The application with this id.
    #[must_use]
    pub fn application(&self, id: ApplicationId) -> Option<Arc<Application>> {
        self.read().applications.get(&id).cloned()
    }

    /// The application that has this subscription.
    #[must_use]
    pub fn application_subscribed(&self, id: SubscriptionId) -> Option<Arc<Application>> {
        let known = self.read();
        known.subscriptions.get(&id).and_then(|id| known.applications.get(id).cloned())
    }

    /// All applications that are wanted, by id.
    #[must_use]
    pub fn applications(&self, wants: impl Fn(&Application) -> bool) -> Vec<Arc<Application>> {
        let known = self.read();
        let mut found: Vec<_> =
            known.applications.values().filter(|it| wants(it)).cloned().collect();
        drop(known);
        found.sort_by_key(|application| application.id);
        found
    }

    /// The applications of a tenant's.
    #[must_use]
    pub fn applications_of(&self, id: TenantId) -> Vec<Arc<Application>> {
        let known = self.read();
        let ids = known.owners.get(&id).into_iter().flat_map(|owner| &owner.applications);
        ids.filter_map(|id| known.applications.get(id).cloned()).collect()
    }

    /// How many applications there are in all.
    #[must_use]
    pub fn count_applications(&self) -> usize {
        self.read().applications.len()
    }

    /// Whether an owner's applications may call anything: not those of a tenant who is disabled or gone.
    #[must_use]
    pub fn is_open(&self, owner: Owner) -> bool {
        self.read().is_open(owner)
    }

    /// The keys that sign access tokens.
    #[must_use]
    pub fn signing_keys(&self) -> Arc<KeyRing> {
        Arc::clone(&self.read().ring)
    }

    /// Whether an access token was revoked.
    #[must_use]
    pub fn is_revoked(&self, jti: u64) -> bool {
        self.read().revoked.contains_key(&jti)
    }

    /// Whose token was revoked.
    #[must_use]
    pub fn revoked_of(&self, jti: u64) -> Option<ApplicationId> {
        self.read().revoked.get(&jti).map(|(application, _)| *application)
    }

    /// How many tokens are revoked.
    #[must_use]
    pub(super) fn count_revocations(
        &self,
        application: ApplicationId,
        owner: Option<Owner>,
    ) -> RevocationCounts {
        let known = self.read();
        let of = |id: &ApplicationId| known.revoked_of.get(id).copied().unwrap_or_default();
        let owners = match owner {
            Some(Owner::Tenant(id)) => known.owners.get(&id),
            _ => None,
        };
        RevocationCounts {
            all: known.revoked.len(),
            of_owner: owners.map_or(0, |owner| owner.applications.iter().map(of).sum()),
            of_application: of(&application),
        }
    }

    /// Some of the revoked tokens that are over or of applications that are gone.
    #[must_use]
    pub(super) fn revocations_over(&self, now: UnixMillis, max: usize) -> Vec<u64> {
        let known = self.read();
        let is_over = |application: &ApplicationId, until: UnixMillis| {
            now >= until
                || (until != UnixMillis::NEVER && !known.applications.contains_key(application))
        };
        let over = known.revoked.iter().filter(|(_, (id, until))| is_over(id, *until));
        over.map(|(jti, _)| *jti).take(max).collect()
    }

    /// Whether a grant holds, as far as it rests on an API. `None` where that is not known now.
    #[must_use]
    pub fn allows(&self, grant: &Grant, now: UnixMillis) -> Option<Result<(), Cause>> {
        let Some(api) = grant.api() else { return Some(Ok(())) };
        // That is known without anything else.
        if grant.ends_at().is_some_and(|end| now >= end) {
            return Some(Err(Cause::TokenExpired));
        }
        let known = self.read();
        known.is_loaded.then(|| known.allows(api, grant, now))
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
