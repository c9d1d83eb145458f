//! Published APIs and their consumers: how they are written, and what of them is in memory.
//!
//! All of them are in memory, on every replica, so that no handshake asks the store: see
//! [`Directory`]. Their number is bounded where they are made.

use std::sync::Arc;

use super::audit::Act;
use super::record::TENANT;
use super::store::{Kind, StoreError};
use super::{ChangeError, Registry};
use crate::api::{Api, Consumer, Owner};
use crate::clock::UnixMillis;
use crate::close::Cause;
use crate::grant::{ApiId, ConsumerId, Grant};
use crate::tenant::{Tenant, TenantId};

pub mod applications;
pub mod directory;
pub mod keeping;
pub mod record;
pub mod revocations;
pub mod signing;

pub use directory::Directory;
use record::{ApiRecord, ConsumerRecord};

/// Published APIs in all.
pub const APIS_MAX: usize = 10_000;
/// A tenant's.
pub const APIS_PER_TENANT_MAX: usize = 50;
/// Consumers in all.
pub const CONSUMERS_MAX: usize = 100_000;
/// A tenant's.
pub const CONSUMERS_PER_TENANT_MAX: usize = 1000;

impl Registry {
    /// What is known of APIs and consumers. [`Registry::know_apis`] sees to it that it is all there.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Has all APIs and consumers in memory, and believed.
    ///
    /// # Errors
    /// They are not, and the store cannot be asked; or the feed has not been read for too long.
    pub async fn know_apis(&self) -> Result<(), StoreError> {
        if !self.freshness.is_believed() {
            let why = "what is known of published APIs is too old";
            return Err(StoreError::Unavailable(why.to_owned()));
        }
        match self.directory.is_loaded() {
            true => Ok(()),
            false => self.load_apis().await,
        }
    }

    /// Reads all APIs and consumers, for whoever follows the feed: they are believed again only once it
    /// has been caught up with.
    ///
    /// # Errors
    /// The store's.
    pub async fn load_apis(&self) -> Result<(), StoreError> {
        self.directory.load(&self.store).await
    }

    /// The API to which a path on the bare host leads.
    ///
    /// # Errors
    /// As [`Registry::know_apis`].
    pub async fn api_at(&self, path: &str) -> Result<Option<Arc<Api>>, StoreError> {
        self.know_apis().await?;
        Ok(self.directory.at(path))
    }

    /// Reads again what a notice is about, if it is in the directory, or a tenant who has applications.
    ///
    /// # Errors
    /// The store's: what is in memory is as it was, and the notice is to be heeded again.
    pub async fn heed_api(&self, kind: Kind, id: &str) -> Result<(), StoreError> {
        if kind == TENANT {
            return match TenantId::from_hex(id) {
                Some(id) => self.directory.refresh_owner(&self.store, id).await.map(|_| ()),
                None => Ok(()),
            };
        }
        match directory::KINDS.contains(&kind) {
            true => self.directory.refresh(&self.store, kind, id).await,
            false => Ok(()),
        }
    }

    /// The one rule for everything that runs: the tenant's own, and the API's where the grant rests on
    /// one. `None` where nothing is known of APIs just now.
    #[must_use]
    pub fn allows(
        &self,
        tenant: &Tenant,
        grant: &Grant,
        now: UnixMillis,
    ) -> Option<Result<(), Cause>> {
        match tenant.allows(grant, now) {
            Ok(()) => self.directory.allows(grant, now),
            Err(cause) => Some(Err(cause)),
        }
    }

    /// Creates an API.
    ///
    /// # Errors
    /// The store's; [`StoreError::IndexTaken`] where another has its context and version.
    pub async fn create_api(&self, act: &Act, record: &ApiRecord) -> Result<Arc<Api>, StoreError> {
        let id = ApiId(random()?);
        record.to_api(id, 0)?;
        let revision = self.create_record(act, &id.to_string(), record).await?;
        record.to_api(id, revision).map(Arc::new)
    }

    /// Changes an API's record, again from the start if somebody else changed it meanwhile. The
    /// directory has it when this returns; the live table is the caller's to look through.
    ///
    /// # Errors
    /// As [`Registry::change`].
    pub async fn change_api<T, E>(
        &self,
        act: &Act,
        id: ApiId,
        change: impl FnMut(&mut ApiRecord, u64) -> Result<T, E>,
    ) -> Result<(Arc<Api>, T), ChangeError<E>> {
        let check = |record: &ApiRecord| record.to_api(id, 0).map(|_| ());
        let (record, revision, answer) =
            self.change_record(act, &id.to_string(), change, check).await?;
        Ok((Arc::new(record.to_api(id, revision)?), answer))
    }

    /// Removes an API.
    ///
    /// # Errors
    /// As [`Registry::change`]; `check` is told record and revision.
    pub async fn remove_api<E>(
        &self,
        act: &Act,
        id: ApiId,
        check: impl Fn(&ApiRecord, u64) -> Result<(), E>,
    ) -> Result<(), ChangeError<E>> {
        self.remove_record(act, &id.to_string(), check).await
    }

    /// Creates a consumer.
    ///
    /// # Errors
    /// The store's; [`StoreError::IndexTaken`] where another of the owner's has the name or a
    /// credential.
    pub async fn create_consumer(
        &self,
        act: &Act,
        record: &ConsumerRecord,
    ) -> Result<Arc<Consumer>, StoreError> {
        let id = ConsumerId(random()?);
        record.to_consumer(id, 0)?;
        let revision = self.create_record(act, &id.to_string(), record).await?;
        record.to_consumer(id, revision).map(Arc::new)
    }

    /// Changes a consumer's record, as [`Registry::change_api`].
    ///
    /// # Errors
    /// As [`Registry::change`].
    pub async fn change_consumer<T, E>(
        &self,
        act: &Act,
        id: ConsumerId,
        change: impl FnMut(&mut ConsumerRecord, u64) -> Result<T, E>,
    ) -> Result<(Arc<Consumer>, T), ChangeError<E>> {
        let check = |record: &ConsumerRecord| record.to_consumer(id, 0).map(|_| ());
        let (record, revision, answer) =
            self.change_record(act, &id.to_string(), change, check).await?;
        Ok((Arc::new(record.to_consumer(id, revision)?), answer))
    }

    /// Removes a consumer.
    ///
    /// # Errors
    /// As [`Registry::change`]; `check` is told record and revision.
    pub async fn remove_consumer<E>(
        &self,
        act: &Act,
        id: ConsumerId,
        check: impl Fn(&ConsumerRecord, u64) -> Result<(), E>,
    ) -> Result<(), ChangeError<E>> {
        self.remove_record(act, &id.to_string(), check).await
    }

    /// Removes all that an owner has published and all their consumers and applications: they are gone themselves.
    /// Returns what was removed of APIs.
    ///
    /// # Errors
    /// The store's; some may be removed already.
    pub async fn unpublish_all(&self, act: &Act, owner: Owner) -> Result<Vec<ApiId>, StoreError> {
        let whatever = |error: ChangeError<std::convert::Infallible>| match error {
            ChangeError::Store(error) => Err(error),
            ChangeError::Gone | ChangeError::Busy => Ok(()),
        };
        self.know_apis().await?;
        let apis: Vec<ApiId> = self.directory.apis_of(owner).iter().map(|api| api.id).collect();
        for api in &apis {
            self.remove_api(act, *api, |_, _| Ok(())).await.or_else(whatever)?;
        }
        for consumer in self.directory.consumers_of(owner) {
            self.remove_consumer(act, consumer.id, |_, _| Ok(())).await.or_else(whatever)?;
        }
        self.remove_applications(act, owner).await?;
        Ok(apis)
    }
}

/// An id that none has: no zero, so that it can stand for nobody.
fn random() -> Result<u64, StoreError> {
    match getrandom::u64() {
        Ok(random) => Ok(random.max(1)),
        Err(error) => Err(StoreError::Unavailable(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
