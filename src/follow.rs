//! The registry's feed: what others have changed reaches the cache and what runs here.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::api::account_id;
use crate::clock::Millis;
use crate::grant::{ApiId, ApplicationId, ConsumerId, KeyId, SessionId};
use crate::live::LiveTable;
use crate::presence::Presence;
use crate::registry::Registry;
use crate::registry::freshness::Standing;
use crate::registry::record::{
    API, APPLICATION, CONSUMER, PLAN, REVOCATION, SESSION, SIGNING, TENANT,
};
use crate::registry::store::{FeedPage, Notice, StoreError};
use crate::revoke::{
    follow_subscriptions_of, recheck_all, recheck_all_tokens, recheck_api, recheck_applications_of,
    recheck_consumer, recheck_one, recheck_session, recheck_sessions, recheck_token,
    recheck_tokens,
};
use crate::tenant::TenantId;

const NOTICES_PER_PAGE: usize = 1000;
/// How often the feed is read even if nothing seems to be new.
const FEED_READ_EVERY: Duration = Duration::from_secs(1);
/// How often the log says again that the registry is away.
const REMINDED_EVERY: Duration = Duration::from_secs(60);

/// Follows the registry's feed from `after` on: what this process has not written itself, or wrote
/// for a caller who did not wait, reaches cache and live table here, and what other replicas ask
/// reaches `presence`. Says how fresh the cache is, and so reads again when nothing happens. Runs
/// until it is dropped.
pub async fn follow(
    live: Arc<LiveTable>,
    registry: Arc<Registry>,
    presence: Arc<Presence>,
    mut after: u64,
) {
    let mut changes = registry.store().changes();
    let mut contact = Contact::default();
    loop {
        changes.mark_unchanged();
        let asked_at = registry.freshness().now();
        match registry.store().feed(after, NOTICES_PER_PAGE).await {
            Ok(page) => {
                contact.found(&page, after);
                match take_in(&live, &registry, &presence, &page, &mut after).await {
                    Ok(()) if after < page.last_revision => continue,
                    Ok(()) => registry.freshness().caught_up(asked_at),
                    // What it says about sessions is read again from there on.
                    Err(error) => contact.missed(&registry, &error),
                }
            }
            Err(error) => contact.missed(&registry, &error),
        }
        // A sender that is gone tells no more: then by time alone.
        if let Ok(Err(_)) = timeout(FEED_READ_EVERY, changes.changed()).await {
            sleep(FEED_READ_EVERY).await;
        }
    }
}

/// Applies a page; `after` is how far that came.
async fn take_in(
    live: &Arc<LiveTable>,
    registry: &Arc<Registry>,
    presence: &Presence,
    page: &FeedPage,
    after: &mut u64,
) -> Result<(), StoreError> {
    if page.gap {
        registry.forget_all();
        registry.load_apis().await?;
        recheck_all(live, registry).await;
        recheck_sessions(live, registry).await?;
        *after = page.last_revision;
        return Ok(());
    }
    for notice in &page.notices {
        presence.heed(notice);
        apply(live, registry, notice).await?;
        *after = notice.revision;
    }
    Ok(())
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

    fn missed(&mut self, registry: &Registry, error: &StoreError) {
        let freshness = registry.freshness();
        let standing = match error {
            StoreError::Stale(_) => {
                freshness.note_held();
                Standing::Held
            }
            _ => {
                freshness.note_away();
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

async fn apply(
    live: &Arc<LiveTable>,
    registry: &Arc<Registry>,
    notice: &Notice,
) -> Result<(), StoreError> {
    let is_known = registry.heed(notice);
    if notice.kind == PLAN.0 {
        registry.heed_api(PLAN, &notice.id).await?;
        // Who has another plan is still in memory: the store is asked for the others only.
        recheck_all(live, registry).await;
    } else if notice.kind == TENANT.0
        && let Some(id) = TenantId::from_hex(&notice.id)
        // Who was known stays so, should the registry go away next. To read everybody whom others
        // change would hold up the feed, and push out of the cache those who are used here.
        && (is_known || !live.entries_of(id).is_empty())
    {
        recheck_one(live, registry, id).await;
        heed_owner(live, registry, id, notice).await?;
    } else if notice.kind == TENANT.0
        && let Some(id) = TenantId::from_hex(&notice.id)
    {
        heed_owner(live, registry, id, notice).await?;
    } else if notice.kind == SESSION.0
        && let Some(id) = SessionId::from_hex(&notice.id)
    {
        recheck_session(live, registry, id).await?;
    } else if notice.kind == API.0
        && let Some(id) = ApiId::from_hex(&notice.id)
    {
        let before = registry.directory().api(id);
        registry.heed_api(API, &notice.id).await?;
        let present = before.or_else(|| registry.directory().api(id));
        // Nobody's account is one under which nothing runs.
        let account = present.map_or_else(|| account_id(id), |api| api.account_id());
        recheck_api(live, registry, id, account);
    } else if notice.kind == CONSUMER.0
        && let Some(id) = ConsumerId::from_hex(&notice.id)
    {
        let before = registry.directory().consumer(id);
        registry.heed_api(CONSUMER, &notice.id).await?;
        if let Some(before) = before {
            recheck_consumer(live, registry, id, before.owner);
        }
    } else {
        apply_of_application(live, registry, notice).await?;
    }
    Ok(())
}

/// A tenant's applications go with them.
async fn heed_owner(
    live: &LiveTable,
    registry: &Registry,
    id: TenantId,
    notice: &Notice,
) -> Result<(), StoreError> {
    if !registry.directory().applications_of(id).is_empty() {
        registry.heed_api(TENANT, &notice.id).await?;
        recheck_applications_of(live, registry, id);
    }
    Ok(())
}

/// What is about applications and their tokens.
async fn apply_of_application(
    live: &LiveTable,
    registry: &Registry,
    notice: &Notice,
) -> Result<(), StoreError> {
    let apis_of = |id: Option<ApplicationId>| {
        let application = id.and_then(|id| registry.directory().application(id));
        let subscriptions = application.iter().flat_map(|it| &it.subscriptions).map(|it| it.api);
        subscriptions.collect::<Vec<_>>()
    };
    if notice.kind == APPLICATION.0 {
        // What was taken away is found among what was there.
        let before = apis_of(ApplicationId::from_hex(&notice.id));
        registry.heed_api(APPLICATION, &notice.id).await?;
        recheck_tokens(live, registry, before);
        if let Some(id) = ApplicationId::from_hex(&notice.id) {
            follow_subscriptions_of(live, registry, id);
        }
    } else if notice.kind == REVOCATION.0 {
        registry.heed_api(REVOCATION, &notice.id).await?;
        let jti = KeyId::from_hex(&notice.id);
        if let Some(KeyId(jti)) = jti {
            let application = registry.directory().revoked_of(jti);
            recheck_token(live, registry, apis_of(application), jti);
        }
    } else if notice.kind == SIGNING.0 {
        registry.heed_api(SIGNING, &notice.id).await?;
        recheck_all_tokens(live, registry);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
