//! Revocation: from a change of a tenant to the end of what rested on it, and to the plan's limits
//! for what goes on.
//!
//! A handshake verifies, enters the live table, reads the tenant again, and only then dials. A
//! revoker writes, replaces the cached tenant, and then looks through the live table. Whatever the
//! order, one of the two sees the other.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::api::{Api, Owner, Security};
use crate::close::Cause;
use crate::grant::{ApiId, ApplicationId, ConsumerId, Grant, SessionId};
use crate::live::{Entry, LiveTable, SubscriberId};
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
        // Where nothing is known of APIs just now, what rests on them goes on.
        let allows = registry.allows(tenant, &entry.grant, now).unwrap_or(Ok(()));
        let verdict = allows.and_then(|()| entry.stays(tenant));
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

/// Holds what rests on a published API against it, now that something was written about it.
pub fn recheck_api(live: &LiveTable, registry: &Registry, api: ApiId, account: TenantId) {
    end_where_due(live, registry, account, |grant| grant.api() == Some(api));
}

/// The same for what rests on a consumer's credentials, whichever of the owner's APIs it calls.
pub fn recheck_consumer(live: &LiveTable, registry: &Registry, consumer: ConsumerId, owner: Owner) {
    let apis = registry.directory().apis_of(owner);
    // A tenant's are all under one account.
    let accounts: HashSet<TenantId> = apis.iter().map(|api| api.account_id()).collect();
    for account in accounts {
        end_where_due(
            live,
            registry,
            account,
            |grant| matches!(grant, Grant::Consumer { consumer: id, .. } if *id == consumer),
        );
    }
}

/// The same for what rests on access tokens and calls one of these APIs.
pub fn recheck_tokens(
    live: &LiveTable,
    registry: &Registry,
    apis: impl IntoIterator<Item = ApiId>,
) {
    for account in accounts_of(registry, apis) {
        end_where_due(live, registry, account, |grant| matches!(grant, Grant::Token { .. }));
    }
}

fn accounts_of(registry: &Registry, apis: impl IntoIterator<Item = ApiId>) -> HashSet<TenantId> {
    let directory = registry.directory();
    let apis = apis.into_iter().filter_map(|id| directory.api(id));
    apis.map(|api| api.account_id()).collect()
}

/// The same for what rests on one of them.
pub fn recheck_token(
    live: &LiveTable,
    registry: &Registry,
    apis: impl IntoIterator<Item = ApiId>,
    revoked: u64,
) {
    let is_it = |grant: &Grant| matches!(grant, Grant::Token { jti, .. } if *jti == revoked);
    for account in accounts_of(registry, apis) {
        end_where_due(live, registry, account, is_it);
    }
}

/// The same for all of them.
pub fn recheck_all_tokens(live: &LiveTable, registry: &Registry) {
    let takes_them = |api: &Api| api.definition.security.contains(&Security::Oauth2);
    let apis = registry.directory().apis(takes_them);
    recheck_tokens(live, registry, apis.iter().map(|api| api.id));
}

/// The same for what rests on a tenant's applications.
pub fn recheck_applications_of(live: &LiveTable, registry: &Registry, owner: TenantId) {
    let applications = registry.directory().applications_of(owner);
    let subscriptions = applications.iter().flat_map(|application| &application.subscriptions);
    recheck_tokens(live, registry, subscriptions.map(|subscription| subscription.api));
}

/// Has the present plans of an application's subscriptions count for what runs.
pub fn follow_subscriptions_of(live: &LiveTable, registry: &Registry, application: ApplicationId) {
    let known = registry.directory().application(application);
    for subscription in known.iter().flat_map(|it| &it.subscriptions) {
        follow_subscription(live, registry, SubscriberId { application, api: subscription.api });
    }
}

/// The same for all of them.
pub(crate) fn follow_subscriptions(live: &LiveTable, registry: &Registry) {
    for id in live.subscribers() {
        follow_subscription(live, registry, id);
    }
}

fn follow_subscription(live: &LiveTable, registry: &Registry, id: SubscriberId) {
    // One that is over has no plan: what rests on it ends.
    if let Some(known) = registry.directory().subscribed_to(id.application, id.api) {
        live.follow_subscription(id, &known.plan, registry.clock().now());
    }
}

fn end_where_due(
    live: &LiveTable,
    registry: &Registry,
    account: TenantId,
    is_meant: impl Fn(&Grant) -> bool,
) {
    let now = registry.wall().now();
    for entry in live.entries_of(account).iter().filter(|entry| is_meant(&entry.grant)) {
        // Where nothing is known of APIs just now, it goes on.
        if let Some(Err(cause)) = registry.directory().allows(&entry.grant, now) {
            entry.close(cause);
        }
    }
}

/// Ends what is over by itself, whatever else is known.
fn end_by_time(registry: &Registry, entries: &[Arc<Entry>]) -> usize {
    let now = registry.wall().now();
    let is_over = |entry: &&Arc<Entry>| entry.grant.ends_at().is_some_and(|end| now >= end);
    entries.iter().filter(is_over).filter(|entry| entry.close(Cause::TokenExpired)).count()
}

/// Ends everything of a tenant who is not there any more.
fn end_all(entries: &[Arc<Entry>]) -> usize {
    entries.iter().filter(|entry| entry.close(Cause::TenantDisabled)).count()
}

/// Holds all that runs against the one rule, some tenants at a time: after a gap each may have to be
/// read from the registry. Plans of subscriptions count as they are now.
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
    follow_subscriptions(live, registry);
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
            None => end_by_time(registry, &entries),
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
        // What was forgotten at a gap, if it could not be read at once. What runs goes on until it can.
        let _ = registry.know_apis().await;
        recheck_all(&live, &registry).await;
        live.sweep(registry.clock().now());
    }
}

#[cfg(test)]
mod tests;
