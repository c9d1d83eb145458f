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
use crate::registry::Registry;
use crate::tenant::{Tenant, TenantId};

/// How often everything that runs is held against the one rule.
const RECHECK_EVERY: Duration = Duration::from_secs(1);

/// Ends everything that rests on a grant which the tenant does not allow any more. Returns how many
/// were ended by this call. Each is told at its next frame boundary.
pub fn revoke(live: &LiveTable, tenant: &Tenant, now: UnixMillis) -> usize {
    let entries = live.entries_of(tenant.id);
    let ended = entries.iter().filter(|entry| match tenant.allows(&entry.grant, now) {
        Ok(()) => false,
        Err(cause) => entry.close(cause),
    });
    ended.count()
}

/// Ends everything of a tenant who is not there any more.
pub fn revoke_all(live: &LiveTable, tenant: TenantId) -> usize {
    let entries = live.entries_of(tenant);
    entries.iter().filter(|entry| entry.close(Cause::TenantDisabled)).count()
}

/// Holds everything that runs against the one rule, again and again: keys end by time alone, and a
/// write whose outcome was unknown may have been done. Runs until it is dropped.
pub async fn recheck(live: Arc<LiveTable>, registry: Arc<Registry>) {
    let mut tick = tokio::time::interval(RECHECK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for id in live.tenants() {
            match registry.by_id(id).await {
                Ok(Some(tenant)) => revoke(&live, &tenant, registry.wall().now()),
                Ok(None) => revoke_all(&live, id),
                // What cannot be read now is looked at again at the next tick.
                Err(_) => 0,
            };
        }
    }
}
