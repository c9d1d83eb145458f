//! Revocation: from a change of a tenant to the end of what rested on it.
//!
//! A handshake verifies, enters the live table, reads the tenant again, and only then dials. A
//! revoker writes, replaces the cached tenant, and then looks through the live table. Whatever the
//! order, one of the two sees the other.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::UnixMillis;
use crate::close::Cause;
use crate::live::LiveTable;
use crate::presence::Presence;
use crate::registry::Registry;
use crate::registry::record::TENANT;
use crate::registry::store::Notice;
use crate::tenant::{Tenant, TenantId};

/// How often everything that runs is held against the one rule.
const RECHECK_EVERY: Duration = Duration::from_secs(1);
const NOTICES_PER_PAGE: usize = 1000;
/// Between two attempts to read a feed that cannot be read.
const FEED_PAUSE: Duration = Duration::from_secs(1);

/// Ends everything that rests on a grant which the tenant does not allow any more. Returns how much
/// that was; the feed may have been faster with some of it. Each is told at its next frame boundary.
pub fn revoke(live: &LiveTable, tenant: &Tenant, now: UnixMillis) -> usize {
    let mut ended = 0;
    for entry in live.entries_of(tenant.id) {
        if let Err(cause) = tenant.allows(&entry.grant, now) {
            // What ended for another reason before is not counted again.
            let is_first = entry.close(cause);
            ended += usize::from(is_first || entry.closing() == Some(cause));
        }
    }
    ended
}

/// Ends everything of a tenant who is not there any more.
pub fn revoke_all(live: &LiveTable, tenant: TenantId) -> usize {
    let entries = live.entries_of(tenant);
    entries.iter().filter(|entry| entry.close(Cause::TenantDisabled)).count()
}

/// Follows the registry's feed from `after` on: what this process has not written itself, or wrote
/// for a caller who did not wait, reaches cache and live table here, and what other replicas ask
/// reaches `presence`. Runs until it is dropped.
pub async fn follow(
    live: Arc<LiveTable>,
    registry: Arc<Registry>,
    presence: Arc<Presence>,
    mut after: u64,
) {
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
                for id in live.tenants() {
                    recheck_one(&live, &registry, id).await;
                }
                after = page.last_revision;
            }
            Ok(page) => {
                for notice in &page.notices {
                    presence.heed(notice);
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
    if notice.kind == TENANT.0
        && let Some(id) = TenantId::from_hex(&notice.id)
    {
        recheck_one(live, registry, id).await;
    }
}

/// Holds what runs for one tenant against the one rule.
async fn recheck_one(live: &LiveTable, registry: &Registry, id: TenantId) -> usize {
    match registry.by_id(id).await {
        Ok(Some(tenant)) => revoke(live, &tenant, registry.wall().now()),
        Ok(None) => revoke_all(live, id),
        // What cannot be read now is looked at again by `recheck`.
        Err(_) => 0,
    }
}

/// Holds everything that runs against the one rule, again and again: keys end by time alone. Runs
/// until it is dropped.
pub async fn recheck(live: Arc<LiveTable>, registry: Arc<Registry>) {
    let mut tick = tokio::time::interval(RECHECK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for id in live.tenants() {
            recheck_one(&live, &registry, id).await;
        }
    }
}
