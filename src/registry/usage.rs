//! When keys were last used, and from where: collected in memory and written in batches, beside the records, so that
//! a busy device changes no revision.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
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
/// And a number: see [`from_fields`].
const FROM: &str = "from_";
const MINUTES_PER_DAY: u64 = 24 * 60;
const MS_PER_MINUTE: u64 = 60_000;
/// How far back the last use is looked for.
const DAYS_MAX: u64 = 30;

/// Threads that note something at the same time seldom meet in one of these.
const PARTS: usize = 16;

/// A use of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// When.
    pub at: UnixMillis,
    /// From where, as far as that is known.
    pub from: Option<IpAddr>,
}

type Waiting = HashMap<(TenantId, KeyId), LastUse>;

/// Uses that are not written yet.
#[derive(Debug, Default)]
pub struct Usage {
    waiting: [Mutex<Waiting>; PARTS],
}

impl Usage {
    /// Notes that a request came with this grant.
    pub fn note(&self, tenant: TenantId, grant: &Grant, from: IpAddr, now: UnixMillis) {
        let Grant::Key { id, .. } = *grant else { return };
        let mut waiting = self.waiting_of(tenant);
        if waiting.len() < WAITING_MAX / PARTS || waiting.contains_key(&(tenant, id)) {
            waiting.insert((tenant, id), LastUse { at: now, from: Some(from) });
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
            .flat_map(|((tenant, key), LastUse { at, from })| {
                let time = (FIELD.to_owned(), at.0);
                let fields = from.map(|from| from_fields(at, from)).into_iter().flatten();
                [time].into_iter().chain(fields).map(move |(field, number)| SeriesUpdate {
                    name: series(tenant, key),
                    minute: day_of(at),
                    field,
                    merge: Merge::Max(number),
                })
            })
            .collect();
        for some in updates.chunks(UPDATES_PER_WRITE) {
            registry.store().merge(some.to_vec()).await?;
        }
        Ok(())
    }

    /// When a key was last used, within the last 30 days, and from where.
    ///
    /// # Errors
    /// The store's.
    pub async fn last_used(
        &self,
        registry: &Registry,
        tenant: TenantId,
        key: KeyId,
    ) -> Result<Option<LastUse>, StoreError> {
        let waiting = self.waiting_of(tenant).get(&(tenant, key)).copied();
        if waiting.is_some() {
            return Ok(waiting);
        }
        let today = day_of(registry.wall().now());
        let first = today.saturating_sub(DAYS_MAX * MINUTES_PER_DAY);
        let days = registry.store().series(&series(tenant, key), first, today).await?;
        let uses = days.iter().filter_map(|day| {
            let at = UnixMillis(*day.fields.get(FIELD)?);
            Some(LastUse { at, from: read_from(at, &day.fields) })
        });
        Ok(uses.max_by_key(|used| used.at))
    }
}

/// An address does not fit into a number. It goes into several, each behind the second of its use, so
/// that the last use's are the largest. The last number tells whether the others belong together: two
/// replicas may see a key within the same second.
fn from_fields(at: UnixMillis, from: IpAddr) -> Vec<(String, u64)> {
    let bits = match from {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let parts = [96, 64, 32, 0].map(|shift| (bits >> shift) as u32);
    let second = (at.0 / 1000) << 32;
    let numbers = parts.into_iter().chain([seal(parts)]);
    let named = |(place, part)| (format!("{FROM}{place}"), second | u64::from(part));
    numbers.enumerate().map(named).collect()
}

fn seal(parts: [u32; 4]) -> u32 {
    parts.iter().fold(0x9e37_79b9, |sum: u32, part| (sum ^ part).wrapping_mul(0x0100_0193))
}

fn read_from(at: UnixMillis, fields: &BTreeMap<String, u64>) -> Option<IpAddr> {
    let part = |place: usize| {
        let number = fields.get(&format!("{FROM}{place}"))?;
        (number >> 32 == at.0 / 1000).then_some(*number as u32)
    };
    let parts = [part(0)?, part(1)?, part(2)?, part(3)?];
    let bits = parts.iter().fold(0, |bits: u128, part| bits << 32 | u128::from(*part));
    (part(4)? == seal(parts)).then_some(IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical())
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
