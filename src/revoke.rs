//! Revocation: from a change of a tenant to the end of what rested on it, and to the plan's limits
//! for what goes on.
//!
//! A handshake verifies, enters the live table, reads the tenant again, and only then dials. A
//! revoker writes, replaces the cached tenant, and then looks through the live table. Whatever the
//! order, one of the two sees the other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::close::Cause;
use crate::grant::SessionId;
use crate::live::{Entry, LiveTable};
use crate::registry::Registry;
use crate::registry::store::StoreError;
use crate::tenant::{Tenant, TenantId};

/// How often everything that runs is held against the one rule.
const RECHECK_EVERY: Duration = Duration::from_secs(1);
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

/// Ends what rests on sessions that were ended. Returns how much that was.
pub fn end_sessions(live: &LiveTable, ended: &[SessionId]) -> usize {
    let entries = ended.iter().flat_map(|id| live.entries_of_session(*id));
    entries.filter(|entry| entry.close(Cause::SessionEnded)).count()
}

/// Holds what rests on a session against the registry, since something was written about it.
///
/// # Errors
/// The store's; what is not known goes on.
pub(crate) async fn recheck_session(
    live: &LiveTable,
    registry: &Registry,
    id: SessionId,
) -> Result<(), StoreError> {
    let entries = live.entries_of_session(id);
    if entries.is_empty() {
        return Ok(());
    }
    match registry.session(id).await {
        Ok(Some(_)) => {}
        // What cannot be read opens nothing any more.
        Ok(None) | Err(StoreError::Corrupt(_)) => {
            end_sessions(live, &[id]);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The same for all sessions that something rests on.
///
/// # Errors
/// As [`recheck_session`].
pub(crate) async fn recheck_sessions(
    live: &LiveTable,
    registry: &Registry,
) -> Result<(), StoreError> {
    for id in live.sessions() {
        recheck_session(live, registry, id).await?;
    }
    Ok(())
}

/// Ends everything of a tenant who is not there any more.
fn end_all(entries: &[Arc<Entry>]) -> usize {
    entries.iter().filter(|entry| entry.close(Cause::TenantDisabled)).count()
}

/// Holds all that runs against the one rule, some tenants at a time: after a gap each may have to be
/// read from the registry.
pub(crate) async fn recheck_all(live: &Arc<LiveTable>, registry: &Arc<Registry>) {
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

/// As [`revoke`], for a record that somebody else wrote.
pub(crate) async fn recheck_one(live: &LiveTable, registry: &Registry, id: TenantId) -> usize {
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
