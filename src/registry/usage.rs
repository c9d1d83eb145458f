//! When keys were last used: collected in memory and written in batches, beside the records, so that
//! a busy device changes no revision.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Registry;
use super::record::TenantRecord;
use super::store::{Merge, SeriesUpdate, StoreError};
use crate::clock::UnixMillis;
use crate::grant::{Grant, KeyId};
use crate::tenant::TenantId;

/// How often what was collected is written.
pub const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// Keys whose use may wait to be written; more are forgotten until the next flush.
const WAITING_MAX: usize = 100_000;
const UPDATES_PER_WRITE: usize = 1000;
const FIELD: &str = "last_used_unix_ms";
const MINUTES_PER_DAY: u64 = 24 * 60;
const MS_PER_MINUTE: u64 = 60_000;
/// How far back the last use is looked for.
const DAYS_MAX: u64 = 30;

/// Threads that note something at the same time seldom meet in one of these.
const PARTS: usize = 16;

type Waiting = HashMap<(TenantId, KeyId), UnixMillis>;

/// Uses that are not written yet.
#[derive(Debug, Default)]
pub struct Usage {
    waiting: [Mutex<Waiting>; PARTS],
}

impl Usage {
    /// Notes that a request came with this grant.
    pub fn note(&self, tenant: TenantId, grant: &Grant, now: UnixMillis) {
        let Grant::Key { id, .. } = *grant else { return };
        let mut waiting = self.waiting_of(tenant);
        if waiting.len() < WAITING_MAX / PARTS || waiting.contains_key(&(tenant, id)) {
            waiting.insert((tenant, id), now);
        }
    }

    fn waiting_of(&self, tenant: TenantId) -> MutexGuard<'_, Waiting> {
        // The ids are random.
        let part = (tenant.0 % PARTS as u128) as usize;
        self.waiting[part].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what was collected. What could not be written is forgotten: it is only news.
    ///
    /// # Errors
    /// The store's.
    pub async fn flush(&self, registry: &Registry) -> Result<(), StoreError> {
        let taken = self.waiting.iter().flat_map(|part| {
            std::mem::take(&mut *part.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let updates: Vec<SeriesUpdate> = taken
            .map(|((tenant, key), at)| SeriesUpdate {
                name: series(tenant, key),
                minute: day_of(at),
                field: FIELD.to_owned(),
                merge: Merge::Max(at.0),
            })
            .collect();
        for some in updates.chunks(UPDATES_PER_WRITE) {
            registry.store().merge(some.to_vec()).await?;
        }
        Ok(())
    }

    /// When a key was last used, within the last 30 days.
    ///
    /// # Errors
    /// The store's.
    pub async fn last_used(
        &self,
        registry: &Registry,
        tenant: TenantId,
        key: KeyId,
    ) -> Result<Option<UnixMillis>, StoreError> {
        let waiting = self.waiting_of(tenant).get(&(tenant, key)).copied();
        if waiting.is_some() {
            return Ok(waiting);
        }
        let today = day_of(registry.wall().now());
        let first = today.saturating_sub(DAYS_MAX * MINUTES_PER_DAY);
        let days = registry.store().series(&series(tenant, key), first, today).await?;
        Ok(days.iter().filter_map(|day| day.fields.get(FIELD)).max().copied().map(UnixMillis))
    }
}

/// The series of a tenant's keys.
pub(super) fn series_of(tenant: TenantId, record: &TenantRecord) -> Vec<String> {
    let ids = record.keys.iter().filter_map(|key| KeyId::from_hex(&key.id));
    ids.map(|id| series(tenant, id)).collect()
}

fn series(tenant: TenantId, key: KeyId) -> String {
    format!("key:{tenant}:{key}")
}

/// One bucket a day is enough.
fn day_of(at: UnixMillis) -> u64 {
    let minute = at.0 / MS_PER_MINUTE;
    minute - minute % MINUTES_PER_DAY
}

#[cfg(test)]
mod tests;
