//! Revoked access tokens: kept until they are over by themselves, in memory on every replica.

use super::record::application::RevocationRecord;
use crate::clock::UnixMillis;
use crate::grant::{ApplicationId, KeyId};
use crate::registry::Registry;
use crate::registry::record::REVOCATION;
use crate::registry::store::{Change, Expected, StoreError, Write};

/// Revocations in all.
pub const REVOCATIONS_MAX: usize = 100_000;
/// One application's.
pub const REVOCATIONS_PER_APPLICATION_MAX: usize = 1000;
const SWEPT_AT_ONCE: usize = 200;

impl Registry {
    /// Revokes a token. The directory has it when this returns; the live table is the caller's to look
    /// through. `false` if there are too many that are not over yet.
    ///
    /// # Errors
    /// The store's.
    pub async fn revoke_token(
        &self,
        application: ApplicationId,
        jti: u64,
        until: UnixMillis,
    ) -> Result<bool, StoreError> {
        self.know_apis().await?;
        if self.directory.is_revoked(jti) {
            return Ok(true);
        }
        let (all, own) = self.directory.count_revocations(application);
        if all >= REVOCATIONS_MAX || own >= REVOCATIONS_PER_APPLICATION_MAX {
            return Ok(false);
        }
        let record =
            RevocationRecord { application: application.to_string(), until_unix_ms: until.0 };
        let body = serde_json::to_vec(&record).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let id = KeyId(jti).to_string();
        let change = Change::Put { indexes: Vec::new(), body };
        let write = Write { kind: REVOCATION, id: id.clone(), expected: Expected::Any, change };
        let written = self.store.write(vec![write]).await;
        self.read_back(REVOCATION, &id).await;
        written.map(|_| true)
    }

    /// Removes some revocations of tokens that are over.
    ///
    /// # Errors
    /// The store's.
    pub async fn sweep_revocations(&self) -> Result<(), StoreError> {
        self.know_apis().await?;
        for jti in self.directory.revocations_over(self.wall.now(), SWEPT_AT_ONCE) {
            let id = KeyId(jti).to_string();
            // Another replica may have done so.
            if self.store.get(REVOCATION, &id).await?.is_some() {
                let (expected, change) = (Expected::Any, Change::Remove);
                let write = Write { kind: REVOCATION, id: id.clone(), expected, change };
                self.store.write(vec![write]).await?;
            }
            self.read_back(REVOCATION, &id).await;
        }
        Ok(())
    }
}
