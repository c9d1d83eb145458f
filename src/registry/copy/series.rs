//! When keys were last used: the one series that a registry keeps.

use tokio::task::{JoinError, JoinSet};

use super::job::Job;
use super::{CopyError, Phase};
use crate::clock::Wall;
use crate::registry::record::{TENANT, TenantRecord, tenant_id};
use crate::registry::store::limits::{SERIES_AHEAD_MINUTES, SERIES_KEPT_MINUTES};
use crate::registry::store::{Bucket, Merge, SeriesUpdate, Store, StoreError};
use crate::registry::usage::series_of;
use crate::registry::walk::Walk;

const MS_PER_MINUTE: u64 = 60_000;
const UPDATES_PER_WRITE: usize = 1000;
/// Series that are read at once.
const READS_MAX: usize = 64;

/// Copies the series of all tenants that the source has. Merging the larger number is the same done
/// once or twice.
pub(super) async fn copy(job: &mut Job<'_>, wall: &Wall) -> Result<(), CopyError> {
    let now = wall.unix_ms() / MS_PER_MINUTE;
    let minutes = (now.saturating_sub(SERIES_KEPT_MINUTES), now + SERIES_AHEAD_MINUTES);
    let mut walk = Walk::new(job.source, TENANT);
    let mut tenants = 0;
    loop {
        let page = walk.page().await.map_err(CopyError::Source)?;
        if page.is_empty() {
            return Ok(());
        }
        tenants += page.len() as u64;
        let names = page.iter().filter_map(|document| {
            // One that cannot be read is copied all the same; its keys are nobody's.
            let record = TenantRecord::from_body(&document.body).ok()?;
            Some(series_of(tenant_id(document).ok()?, &record))
        });
        let names: Vec<String> = names.flatten().collect();
        for names in names.chunks(READS_MAX) {
            let updates = missing(job, names, minutes).await?;
            job.done.numbers += updates.len() as u64;
            for updates in updates.chunks(UPDATES_PER_WRITE) {
                job.target.merge(updates.to_vec()).await.map_err(CopyError::Target)?;
            }
        }
        job.tell(Phase::Usage, tenants);
    }
}

/// What the target lacks of these series.
async fn missing(
    job: &Job<'_>,
    names: &[String],
    minutes: (u64, u64),
) -> Result<Vec<SeriesUpdate>, CopyError> {
    let mut reads = JoinSet::new();
    for name in names {
        reads.spawn(difference(job.source.clone(), job.target.clone(), name.clone(), minutes));
    }
    let mut updates = Vec::new();
    while let Some(read) = reads.join_next().await {
        let away = |failure: JoinError| StoreError::Unavailable(failure.to_string());
        let read = read.map_err(|failure| CopyError::Source(away(failure)))?;
        updates.extend(read?);
    }
    Ok(updates)
}

async fn difference(
    source: Store,
    target: Store,
    name: String,
    (from, to): (u64, u64),
) -> Result<Vec<SeriesUpdate>, CopyError> {
    let wanted = source.series(&name, from, to).await.map_err(CopyError::Source)?;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let present = target.series(&name, from, to).await.map_err(CopyError::Target)?;
    let known = |minute: u64, field: &str| {
        let bucket = present.iter().find(|bucket| bucket.minute == minute);
        bucket.and_then(|bucket| bucket.fields.get(field)).copied()
    };
    let mut updates = Vec::new();
    for Bucket { minute, fields } in wanted {
        for (field, number) in fields {
            if known(minute, &field) < Some(number) {
                let merge = Merge::Max(number);
                updates.push(SeriesUpdate { name: name.clone(), minute, field, merge });
            }
        }
    }
    Ok(updates)
}
