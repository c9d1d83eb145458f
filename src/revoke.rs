//! Revocation: from a change of a tenant to the end of what rested on it, and to the plan's limits
//! for what goes on.
//!
//! A handshake verifies, enters the live table, reads the tenant again, and only then dials. A
//! revoker writes, replaces the cached tenant, and then looks through the live table. Whatever the
//! order, one of the two sees the other.

use std::sync::Arc;
use std::time::Duration;

use crate::close::Cause;
use crate::live::{Entry, LiveTable};
use crate::registry::Registry;
use crate::registry::record::{PLAN, TENANT};
use crate::registry::store::Notice;
use crate::tenant::{Tenant, TenantId};

/// How often everything that runs is held against the one rule.
const RECHECK_EVERY: Duration = Duration::from_secs(1);
const NOTICES_PER_PAGE: usize = 1000;
/// Between two attempts to read a feed that cannot be read.
const FEED_PAUSE: Duration = Duration::from_secs(1);

/// Holds everything that runs for a tenant against their record, now that `changed` was written:
/// ends what rests on a grant that does not hold any more, or goes where it must not stay, and has
/// the plan count for the rest. Returns how much was ended; the feed may have been faster with some
/// of it. Each is told at its next frame boundary.
pub async fn revoke(live: &LiveTable, registry: &Registry, changed: &Tenant) -> usize {
    // In this order: what is in the table by now came in under the record that is read next, or
    // under an older one. Somebody may have made a newer one than `changed` meanwhile.
    let entries = live.entries_of(changed.id);
    match registry.by_id(changed.id).await {
        Ok(None) => end_all(&entries),
        Ok(Some(present)) if present.revision >= changed.revision => {
            hold(live, registry, &present, &entries)
        }
        // What was written is the newest that is known.
        Ok(Some(_)) | Err(_) => hold(live, registry, changed, &entries),
    }
}

/// Two who cross may leave the older of two plans: the next look of [`recheck`] mends that.
fn hold(live: &LiveTable, registry: &Registry, tenant: &Tenant, entries: &[Arc<Entry>]) -> usize {
    live.follow_plan(tenant, registry.clock().now());
    let now = registry.wall().now();
    let is_ended = |entry: &&Arc<Entry>| {
        let verdict = tenant.allows(&entry.grant, now).and_then(|()| entry.stays(tenant));
        // What ended for another reason before is not counted again.
        verdict.is_err_and(|cause| entry.close(cause) || entry.closing() == Some(cause))
    };
    entries.iter().filter(is_ended).count()
}

/// Ends everything of a tenant who is not there any more.
fn end_all(entries: &[Arc<Entry>]) -> usize {
    entries.iter().filter(|entry| entry.close(Cause::TenantDisabled)).count()
}

/// Follows the registry's feed from `after` on: what this process has not written itself, or wrote
/// for a caller who did not wait, reaches cache and live table here. Runs until it is dropped.
pub async fn follow(live: Arc<LiveTable>, registry: Arc<Registry>, mut after: u64) {
    let mut changes = registry.store().changes();
    loop {
        changes.mark_unchanged();
        match registry.store().feed(after, NOTICES_PER_PAGE).await {
            Ok(page) if page.gap => {
                tracing::warn!(
                    after,
                    last = page.last_revision,
                    "a gap in the feed: looking at all"
                );
                registry.forget_all();
                recheck_all(&live, &registry).await;
                after = page.last_revision;
            }
            Ok(page) => {
                for notice in &page.notices {
                    apply(&live, &registry, notice).await;
                    after = notice.revision;
                }
                if after >= page.last_revision && changes.changed().await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the feed cannot be read");
                tokio::time::sleep(FEED_PAUSE).await;
            }
        }
    }
}

async fn apply(live: &LiveTable, registry: &Registry, notice: &Notice) {
    registry.heed(notice);
    if notice.kind == PLAN.0 {
        // Who has another plan is still in memory: the store is asked for the others only.
        recheck_all(live, registry).await;
    } else if notice.kind == TENANT.0
        && let Some(id) = TenantId::from_hex(&notice.id)
    {
        recheck_one(live, registry, id).await;
    }
}

async fn recheck_all(live: &LiveTable, registry: &Registry) {
    for id in live.tenants() {
        recheck_one(live, registry, id).await;
    }
}

/// As [`revoke`], for a record that somebody else wrote.
async fn recheck_one(live: &LiveTable, registry: &Registry, id: TenantId) -> usize {
    let entries = live.entries_of(id);
    match registry.by_id(id).await {
        Ok(Some(tenant)) => hold(live, registry, &tenant, &entries),
        Ok(None) => end_all(&entries),
        // What cannot be read now is looked at again by `recheck`.
        Err(_) => 0,
    }
}

/// Holds everything that runs against the tenants' records, again and again: keys end by time
/// alone. Runs until it is dropped.
pub async fn recheck(live: Arc<LiveTable>, registry: Arc<Registry>) {
    let mut tick = tokio::time::interval(RECHECK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        recheck_all(&live, &registry).await;
        live.sweep(registry.clock().now());
    }
}

#[cfg(test)]
mod tests;
