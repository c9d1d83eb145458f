//! Revocation: from a change of a tenant to the end of what rested on it, and to the plan's limits
//! for what goes on.
//!
//! A handshake verifies, enters the live table, reads the tenant again, and only then dials. A
//! revoker writes, replaces the cached tenant, and then looks through the live table. Whatever the
//! order, one of the two sees the other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::clock::Millis;
use crate::close::Cause;
use crate::live::{Entry, LiveTable};
use crate::registry::Registry;
use crate::registry::freshness::Standing;
use crate::registry::record::{PLAN, TENANT};
use crate::registry::store::{FeedPage, Notice, StoreError};
use crate::tenant::{Tenant, TenantId};

/// How often everything that runs is held against the one rule.
const RECHECK_EVERY: Duration = Duration::from_secs(1);
const NOTICES_PER_PAGE: usize = 1000;
/// How often the feed is read even if nothing seems to be new.
const FEED_READ_EVERY: Duration = Duration::from_secs(1);
/// How often the log says again that the registry is away.
const REMINDED_EVERY: Duration = Duration::from_secs(60);
/// Tenants who are read at once when all are looked at.
const RECHECKS_AT_ONCE: usize = 32;

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
/// for a caller who did not wait, reaches cache and live table here. Says how fresh the cache is, and
/// so reads again when nothing happens. Runs until it is dropped.
pub async fn follow(live: Arc<LiveTable>, registry: Arc<Registry>, mut after: u64) {
    let mut changes = registry.store().changes();
    let mut contact = Contact::default();
    loop {
        changes.mark_unchanged();
        let asked_at = registry.freshness().now();
        match registry.store().feed(after, NOTICES_PER_PAGE).await {
            Ok(page) => {
                contact.found(&page, after);
                if page.gap {
                    registry.forget_all();
                    recheck_all(&live, &registry).await;
                    after = page.last_revision;
                } else {
                    for notice in &page.notices {
                        apply(&live, &registry, notice).await;
                        after = notice.revision;
                    }
                }
                if after < page.last_revision {
                    continue;
                }
                registry.freshness().caught_up(asked_at);
            }
            Err(error) => contact.missed(&registry, asked_at, &error),
        }
        // A sender that is gone tells no more: then by time alone.
        if let Ok(Err(_)) = timeout(FEED_READ_EVERY, changes.changed()).await {
            sleep(FEED_READ_EVERY).await;
        }
    }
}

/// Tells the log when the registry goes and comes, once each.
#[derive(Default)]
struct Contact {
    lost: Option<(Millis, Standing)>,
}

impl Contact {
    fn found(&mut self, page: &FeedPage, after: u64) {
        let last = page.last_revision;
        if page.gap {
            tracing::warn!(
                after,
                last,
                "a gap in the registry's feed: everything is looked at anew"
            );
        }
        if self.lost.take().is_some() {
            tracing::info!(after, last, "the registry is back");
        }
    }

    fn missed(&mut self, registry: &Registry, asked_at: Millis, error: &StoreError) {
        let freshness = registry.freshness();
        let standing = match error {
            StoreError::Stale(_) => {
                freshness.is_held(asked_at);
                Standing::Held
            }
            _ => {
                freshness.is_away();
                Standing::Away
            }
        };
        let now = freshness.now();
        let is_news = self
            .lost
            .is_none_or(|(said_at, said)| said != standing || now.since(said_at) >= REMINDED_EVERY);
        if !is_news {
            return;
        }
        self.lost = Some((now, standing));
        let stale_max = humantime::format_duration(freshness.stale_max());
        match standing {
            Standing::Held => tracing::error!(
                %error,
                "known tenants are served from memory; 'flowgate registry adopt' accepts what is stored"
            ),
            _ => tracing::error!(
                %error,
                age = ?freshness.age(),
                "the registry's feed cannot be read: known tenants are served for up to {stale_max}"
            ),
        }
    }
}

/// Holds all that runs against the one rule, some tenants at a time: after a gap each may have to be
/// read from the registry.
async fn recheck_all(live: &Arc<LiveTable>, registry: &Arc<Registry>) {
    let tenants = live.tenants();
    let at_once = tenants.len().min(RECHECKS_AT_ONCE);
    let tenants = Arc::new(Mutex::new(tenants));
    let workers: JoinSet<()> = (0..at_once)
        .map(|_| {
            let (live, registry) = (Arc::clone(live), Arc::clone(registry));
            let tenants = Arc::clone(&tenants);
            let next = move || tenants.lock().unwrap_or_else(PoisonError::into_inner).pop();
            async move {
                while let Some(id) = next() {
                    recheck_one(&live, &registry, id).await;
                }
            }
        })
        .collect();
    workers.join_all().await;
}

async fn apply(live: &Arc<LiveTable>, registry: &Arc<Registry>, notice: &Notice) {
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

/// As [`revoke`], for a record that somebody else wrote.
async fn recheck_one(live: &LiveTable, registry: &Registry, id: TenantId) -> usize {
    let entries = live.entries_of(id);
    match registry.by_id(id).await {
        Ok(Some(tenant)) => hold(live, registry, &tenant, &entries),
        Ok(None) => end_all(&entries),
        // Nothing is known to have changed but the time. What cannot be read now is looked at again
        // by `recheck`.
        Err(_) => match registry.cached(id) {
            Some(tenant) => hold(live, registry, &tenant, &entries),
            None => 0,
        },
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
