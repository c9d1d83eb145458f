//! What each replica has used of plans, as entries that end by themselves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Registry;
use super::replicas::ReplicaId;
use super::store::StoreError;
use crate::plan::Unit;

/// How long a page can be read; who has something to say writes it anew sooner.
pub const USES_TTL: Duration = Duration::from_secs(15);
/// Owners on one page: each takes fewer than 130 bytes of its 64 KiB.
pub const USES_PER_PAGE: usize = 500;
/// Pages of one replica.
pub const PAGES_MAX: usize = 100;

/// A part of what a replica has used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsePage {
    /// Counts the replica's rounds.
    pub round: u64,
    /// How many pages there are.
    pub pages: usize,
    /// What was used, by owner.
    pub uses: Vec<Used>,
}

/// What was used of one owner's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// `t` for a tenant or `s` for a subscription, and the id.
    pub owner: String,
    /// The round from which on it was counted.
    pub since: u64,
    /// How much since then, in the order of [`Unit`].
    pub units: [u64; Unit::COUNT],
}

impl Registry {
    /// Says what a replica has used. A page is replaced as a whole.
    ///
    /// # Errors
    /// The store's.
    pub async fn publish_uses(
        &self,
        id: ReplicaId,
        page: usize,
        body: &UsePage,
    ) -> Result<(), StoreError> {
        let body = serde_json::to_vec(body).map_err(|e| StoreError::Invalid(e.to_string()))?;
        self.store().put_expiring(&key(id, page), &body, USES_TTL).await
    }

    /// A page of what a replica has used, if it was said lately.
    ///
    /// # Errors
    /// The store's.
    pub async fn uses_of(&self, id: ReplicaId, page: usize) -> Result<Option<UsePage>, StoreError> {
        let body = self.store().get_expiring(&key(id, page)).await?;
        // Another version's is as good as none.
        Ok(body.and_then(|body| serde_json::from_slice(&body).ok()))
    }
}

fn key(id: ReplicaId, page: usize) -> String {
    format!("uses:{id}:{page}")
}
