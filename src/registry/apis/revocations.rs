//! Revoked access tokens: kept until they are over by themselves, in memory on every replica.

use std::time::Duration;

use super::record::application::RevocationRecord;
use crate::api::Owner;
use crate::clock::UnixMillis;
use crate::grant::{ApplicationId, KeyId};
use crate::registry::Registry;
use crate::registry::record::REVOCATION;
use crate::registry::store::{Change, Expected, StoreError, Write};

/// Revocations in all.
pub const REVOCATIONS_MAX: usize = 100_000;
/// One application's.
pub const REVOCATIONS_PER_APPLICATION_MAX: usize = 1000;
/// All of an owner's applications' together.
pub const REVOCATIONS_PER_OWNER_MAX: usize = 2000;
/// How many go at once, before others have their turn.
const SWEPT_AT_ONCE: usize = 2000;
/// For how long a revocation is kept when its token is over: other replicas' clocks may be behind.
const SLACK: Duration = Duration::from_secs(5 * 60);

/// What came of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// It was written just now.
    Now,
    /// It was revoked already.
    Before,
    /// There are too many that are not over yet, or came too fast.
    TooMany,
}

impl Registry {
    /// Revokes a token. The directory has it when this returns; the live table is the caller's to look
    /// through. A tenant's are paced like their other changes, since each stands in the feed.
    ///
    /// # Errors
    /// The store's.
    pub async fn revoke_token(
        &self,
        application: ApplicationId,
        jti: u64,
        until: UnixMillis,
    ) -> Result<Revoked, StoreError> {
        self.know_apis().await?;
        if self.directory.is_revoked(jti) {
            return Ok(Revoked::Before);
        }
        let owner = self.directory.application(application).map(|it| it.owner);
        let counts = self.directory.count_revocations(application, owner);
        if counts.all >= REVOCATIONS_MAX
            || counts.of_owner >= REVOCATIONS_PER_OWNER_MAX
            || counts.of_application >= REVOCATIONS_PER_APPLICATION_MAX
        {
            return Ok(Revoked::TooMany);
        }
        if let Some(Owner::Tenant(owner)) = owner {
            let wait = self.pace.wait(owner, self.freshness.now());
            let Some(wait) = wait else { return Ok(Revoked::TooMany) };
            tokio::time::sleep(wait).await;
        }
        let record =
            RevocationRecord { application: application.to_string(), until_unix_ms: until.0 };
        let body = serde_json::to_vec(&record).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let id = KeyId(jti).to_string();
        let change = Change::Put { indexes: Vec::new(), body };
        let write = Write { kind: REVOCATION, id: id.clone(), expected: Expected::Any, change };
        let written = self.store.write(vec![write]).await;
        self.read_back(REVOCATION, &id).await;
        written.map(|_| Revoked::Now)
    }

    /// Removes some revocations of tokens that are over, or whose application is gone.
    ///
    /// # Errors
    /// The store's.
    pub async fn sweep_revocations(&self) -> Result<(), StoreError> {
        self.know_apis().await?;
        let over_since = self.wall.now().minus(SLACK);
        for jti in self.directory.revocations_over(over_since, SWEPT_AT_ONCE) {
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
