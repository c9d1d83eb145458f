//! All published APIs and consumers, in memory.
//!
//! Whatever is taken in was read from the store under one lock that all who read hold: so nothing
//! older ever replaces something newer. The feed, and whoever writes here, has read again what was
//! written. What was being read when there was a gap in the feed is read again: each gap begins a
//! generation.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::keeping::Record;
use super::record::{ApiRecord, ConsumerRecord};
use crate::api::context::{Contexts, Prefix};
use crate::api::{Api, Consumer, Owner};
use crate::clock::UnixMillis;
use crate::close::Cause;
use crate::grant::{ApiId, ConsumerId, Grant};
use crate::registry::record::{API, CONSUMER};
use crate::registry::store::{Document, Kind, Store, StoreError};
use crate::registry::walk::Walk;
use crate::secret::SecretDigest;

/// Readings of everything that may be overtaken by gaps.
const LOADS_MAX: usize = 4;

/// What is known of APIs and consumers.
#[derive(Debug, Default)]
pub struct Directory {
    known: RwLock<Known>,
    /// Held by whoever reads from the store to take it in.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    is_loaded: bool,
    /// Raised when nothing is to be believed any more.
    generation: u64,
    contexts: Contexts,
    apis: HashMap<ApiId, Arc<Api>>,
    consumers: HashMap<ConsumerId, Arc<Consumer>>,
    names: HashMap<(Owner, String), ConsumerId>,
    keys: HashMap<(Owner, SecretDigest), ConsumerId>,
    claims: HashMap<(Owner, String), ConsumerId>,
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
        let mut known = self.write();
        known.forget(kind, id);
        if let Some(document) = document {
            known.take_in(kind, &document);
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

    /// Whether a grant holds, as far as it rests on an API. `None` where that is not known now.
    #[must_use]
    pub fn allows(&self, grant: &Grant, now: UnixMillis) -> Option<Result<(), Cause>> {
        let Some(api) = grant.api() else { return Some(Ok(())) };
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

impl Known {
    async fn read(store: &Store) -> Result<Self, StoreError> {
        let mut known = Self::default();
        for kind in [API, CONSUMER] {
            let mut walk = Walk::new(store, kind);
            loop {
                let page = walk.page().await?;
                if page.is_empty() {
                    break;
                }
                page.iter().for_each(|document| known.take_in(kind, document));
            }
        }
        Ok(known)
    }

    fn consumer(&self, id: ConsumerId) -> Option<Arc<Consumer>> {
        self.consumers.get(&id).cloned()
    }

    fn allows(&self, api: ApiId, grant: &Grant, now: UnixMillis) -> Result<(), Cause> {
        let api = self.apis.get(&api).ok_or(Cause::ApiUnpublished)?;
        api.allows(now)?;
        let Grant::Consumer { consumer, credential, secret, until, .. } = grant else {
            // Who came in without a credential would need one now.
            return if api.is_open() { Ok(()) } else { Err(Cause::ConsumerRevoked) };
        };
        let consumer = self.consumers.get(consumer).filter(|known| known.owner == api.owner);
        let consumer = consumer.ok_or(Cause::ConsumerRevoked)?;
        let credential = consumer.credential(*credential).ok_or(Cause::ConsumerRevoked)?;
        let is_asked_for = api.definition.security.contains(&credential.kind());
        if credential.fingerprint() != *secret || !is_asked_for {
            return Err(Cause::ConsumerRevoked);
        }
        if now >= *until { Err(Cause::TokenExpired) } else { Ok(()) }
    }

    /// What cannot be read is as if it were not there, and does not take the others along.
    fn take_in(&mut self, kind: Kind, document: &Document) {
        let taken = match kind {
            API => api(document).map(|api| self.insert_api(api)),
            _ => consumer(document).map(|consumer| self.insert_consumer(consumer)),
        };
        if let Err(error) = taken {
            tracing::error!(%error, "a document of the registry cannot be used");
        }
    }

    fn insert_api(&mut self, api: Api) {
        self.contexts.insert(api.prefix.clone(), api.id, api.owner);
        self.apis.insert(api.id, Arc::new(api));
    }

    fn insert_consumer(&mut self, consumer: Consumer) {
        let (owner, id) = (consumer.owner, consumer.id);
        self.names.insert((owner, consumer.username.clone()), id);
        self.keys.extend(consumer.digests().map(|digest| ((owner, digest), id)));
        self.claims.extend(consumer.claims().map(|key| ((owner, key.to_owned()), id)));
        self.consumers.insert(id, Arc::new(consumer));
    }

    fn forget(&mut self, kind: Kind, id: &str) {
        if kind == API {
            let api = ApiId::from_hex(id).and_then(|id| self.apis.remove(&id));
            if let Some(api) = api {
                self.contexts.remove(&api.prefix, api.id);
            }
        } else if let Some(id) = ConsumerId::from_hex(id)
            && let Some(consumer) = self.consumers.remove(&id)
        {
            // A name or key may be another's by now, whose notice came first.
            let (owner, is_own) = (consumer.owner, |known: &ConsumerId| *known == id);
            let name = (owner, consumer.username.clone());
            if self.names.get(&name).is_some_and(is_own) {
                self.names.remove(&name);
            }
            for digest in consumer.digests() {
                if self.keys.get(&(owner, digest)).is_some_and(is_own) {
                    self.keys.remove(&(owner, digest));
                }
            }
            for claim in consumer.claims() {
                let claim = (owner, claim.to_owned());
                if self.claims.get(&claim).is_some_and(is_own) {
                    self.claims.remove(&claim);
                }
            }
        }
    }
}

fn api(document: &Document) -> Result<Api, StoreError> {
    let id = ApiId::from_hex(&document.id);
    let id = id.ok_or_else(|| StoreError::Corrupt(format!("{:?} is no API's id", document.id)))?;
    ApiRecord::from_body(&document.body)?.to_api(id, document.revision)
}

fn consumer(document: &Document) -> Result<Consumer, StoreError> {
    let id = ConsumerId::from_hex(&document.id);
    let id =
        id.ok_or_else(|| StoreError::Corrupt(format!("{:?} is no consumer's id", document.id)))?;
    ConsumerRecord::from_body(&document.body)?.to_consumer(id, document.revision)
}

#[cfg(test)]
mod tests;
