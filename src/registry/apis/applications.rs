//! Applications: how they are written.

use std::convert::Infallible;
use std::sync::Arc;

use super::random;
use super::record::application::ApplicationRecord;
use crate::api::{Application, Owner};
use crate::grant::ApplicationId;
use crate::registry::audit::Act;
use crate::registry::store::StoreError;
use crate::registry::{ChangeError, Registry};

/// Applications in all.
pub const APPLICATIONS_MAX: usize = 100_000;
/// A tenant's.
pub const APPLICATIONS_PER_TENANT_MAX: usize = 50;
/// Subscriptions of one application.
pub const SUBSCRIPTIONS_MAX: usize = 50;

impl Registry {
    /// Creates an application.
    ///
    /// # Errors
    /// The store's; [`StoreError::IndexTaken`] where another of the owner's has the name.
    pub async fn create_application(
        &self,
        act: &Act,
        record: &ApplicationRecord,
    ) -> Result<Arc<Application>, StoreError> {
        let id = ApplicationId(random()?);
        record.to_application(id, 0)?;
        let revision = self.create_record(act, &id.to_string(), record).await?;
        record.to_application(id, revision).map(Arc::new)
    }

    /// Changes an application's record, as [`Registry::change_api`].
    ///
    /// # Errors
    /// As [`Registry::change`].
    pub async fn change_application<T, E>(
        &self,
        act: &Act,
        id: ApplicationId,
        change: impl FnMut(&mut ApplicationRecord, u64) -> Result<T, E>,
    ) -> Result<(Arc<Application>, T), ChangeError<E>> {
        let check = |record: &ApplicationRecord| record.to_application(id, 0).map(|_| ());
        let (record, revision, answer) =
            self.change_record(act, &id.to_string(), change, check).await?;
        Ok((Arc::new(record.to_application(id, revision)?), answer))
    }

    /// Removes an application.
    ///
    /// # Errors
    /// As [`Registry::change`].
    pub async fn remove_application<E>(
        &self,
        act: &Act,
        id: ApplicationId,
    ) -> Result<(), ChangeError<E>> {
        self.remove_record(act, &id.to_string(), |_: &ApplicationRecord, _| Ok(())).await
    }

    /// Removes all applications of an owner's who is gone.
    ///
    /// # Errors
    /// The store's; some may be removed already.
    pub async fn remove_applications(&self, act: &Act, owner: Owner) -> Result<(), StoreError> {
        self.know_apis().await?;
        for application in self.directory.applications(|it| it.owner == owner) {
            match self.remove_application::<Infallible>(act, application.id).await {
                Err(ChangeError::Store(error)) => return Err(error),
                Ok(()) | Err(ChangeError::Gone | ChangeError::Busy | ChangeError::Refused(_)) => {}
            }
        }
        Ok(())
    }
}
