//! A change of a tenant, whoever makes it: written in one call with its audit entry; then what
//! rested on what was changed ends, before anybody is told.

use std::sync::Arc;

use crate::api::Owner;
use crate::close::Cause;
use crate::live::{Entry, LiveTable};
use crate::refusal::Refusal;
use crate::registry::audit::Act;
use crate::registry::record::{TENANT, TenantRecord};
use crate::registry::store::StoreError;
use crate::registry::{ChangeError, Registry};
use crate::revoke::{recheck_applications_of, revoke};
use crate::tenant::{Tenant, TenantId};

/// Where changes go.
#[derive(Clone, Copy, Debug)]
pub struct Changing<'a> {
    /// Where tenants live.
    pub registry: &'a Registry,
    /// What runs.
    pub live: &'a LiveTable,
}

/// What came of a change.
#[derive(Clone, Debug)]
pub struct Changed<T> {
    /// The tenant as they are now.
    pub tenant: Arc<Tenant>,
    /// What the change returned.
    pub answer: T,
    /// How many connections and plain requests it ended here.
    pub ended: usize,
}

impl Changing<'_> {
    /// Changes a tenant's record; `change` is told the revision, too. Not cancel safe, as
    /// [`Registry::change`].
    ///
    /// # Errors
    /// What `change` has against it, `gone` if there is no such tenant any more, or what became of
    /// the write.
    pub async fn change<T>(
        self,
        before: &Tenant,
        act: &Act,
        gone: Refusal,
        change: impl FnMut(&mut TenantRecord, u64) -> Result<T, Refusal>,
    ) -> Result<Changed<T>, Refusal> {
        // Counted among these: by the time that the change is made, the feed may have ended some.
        let entries = self.live.entries_of(before.id);
        let changed = self.registry.change_as(Some(act), before.id, change).await;
        let (tenant, answer) = changed.map_err(|error| refused(error, gone))?;
        revoke(self.live, self.registry, &tenant).await;
        self.heed_applications(tenant.id).await;
        let now = self.registry.wall().now();
        let held = |entry: &&Arc<Entry>| before.allows(&entry.grant, now).is_ok();
        let ended = entries
            .iter()
            .filter(held)
            .filter(|entry| tenant.allows(&entry.grant, now).is_err())
            .count();
        let revision = tenant.revision;
        tracing::info!(
            tenant = %tenant.username,
            revision,
            ended,
            what = act.verb,
            by = act.who,
            "tenant changed"
        );
        Ok(Changed { tenant, answer, ended })
    }

    /// What rests on the tenant's applications goes with them, too.
    async fn heed_applications(self, owner: TenantId) {
        if self.registry.directory().applications_of(owner).is_empty() {
            return;
        }
        if let Err(error) = self.registry.heed_api(TENANT, &owner.to_string()).await {
            tracing::warn!(%error, "a tenant's applications will be looked at when the feed says so");
        }
        recheck_applications_of(self.live, self.registry, owner);
    }

    /// Removes a tenant and ends all that runs for them. Returns how much that was.
    ///
    /// # Errors
    /// As [`Changing::change`].
    pub async fn remove(
        self,
        before: &Tenant,
        act: &Act,
        gone: Refusal,
        check: impl Fn(&TenantRecord, u64) -> Result<(), Refusal>,
    ) -> Result<usize, Refusal> {
        let removed = self.registry.remove(act, before.id, check).await;
        removed.map_err(|error| refused(error, gone))?;
        // While it is known which applications are theirs.
        self.heed_applications(before.id).await;
        // They open nothing any more; only so that nothing is left lying about.
        if let Err(error) = self.registry.unpublish_all(act, Owner::Tenant(before.id)).await {
            tracing::warn!(%error, "the published APIs of a removed tenant are left");
        }
        // Whoever comes from now on reads that there is no such tenant.
        let entries = self.live.entries_of(before.id);
        for entry in &entries {
            entry.close(Cause::TenantDisabled);
        }
        let ended = entries.len();
        tracing::info!(tenant = %before.username, ended, by = act.who, "tenant removed");
        Ok(ended)
    }
}

/// What whoever wanted a change is told.
fn refused(error: ChangeError<Refusal>, gone: Refusal) -> Refusal {
    match error {
        ChangeError::Refused(refusal) => refusal,
        ChangeError::Gone => gone,
        ChangeError::Busy => Refusal::Overloaded("too many changes of this account wait"),
        ChangeError::Store(error) => unwritten(error),
    }
}

/// What is said of a write that was not made, or perhaps not.
#[must_use]
pub fn unwritten(error: StoreError) -> Refusal {
    match error {
        StoreError::Unknown(why) => Refusal::UnknownOutcome(why),
        StoreError::Invalid(_) => {
            Refusal::Conflicting("That is more than can be stored of one account.")
        }
        StoreError::IndexTaken { index, .. } if index.starts_with("key:") => {
            Refusal::Conflicting("One of the API keys belongs to another tenant.")
        }
        StoreError::IndexTaken { .. } => Refusal::Conflicting("There is a tenant of that name."),
        error => Refusal::RegistryAway(error.to_string()),
    }
}
