//! Writes of tenants and plans, each in one call with its audit entry.

use std::sync::Arc;

use super::audit::{Act, By};
use super::record::{PLAN, TENANT, TenantRecord, tenant_id};
use super::store::{Change, Document, Expected, Notice, StoreError, Write};
use super::turns::Turn;
use super::{ChangeError, Registry, put, view};
use crate::plan::Plan;
use crate::tenant::{Tenant, TenantId};

/// How often a change is tried again when another process was faster.
pub(super) const CHANGE_ATTEMPTS_MAX: usize = 16;
/// Changes of one tenant that may wait for their turn.
const CHANGES_WAITING_MAX: usize = 64;

impl Registry {
    /// A turn at changing what is this tenant's, one at a time in this process: the record, and what was
    /// published. `None` if too many wait. A tenant's own changes wait besides, where there were too many
    /// lately: see [`Pace`](super::pace::Pace). An operator's always have their turn.
    pub async fn turn<'a>(
        &'a self,
        id: &'a TenantId,
        by: Option<By>,
    ) -> Option<Turn<'a, TenantId>> {
        let place = self.changes.place(id);
        if place.number > CHANGES_WAITING_MAX && by != Some(By::Operator) {
            return None;
        }
        if by == Some(By::Tenant) {
            let wait = self.pace.wait(*id, self.freshness.now())?;
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
        Some(place.into_turn().await)
    }

    /// As [`Registry::change`], with the act for the audit log; `change` is told the revision, too.
    /// A record that is as it was before is not written, and no act.
    ///
    /// # Errors
    /// As [`Registry::change`].
    pub async fn change_as<T, E>(
        &self,
        act: Option<&Act>,
        id: TenantId,
        mut change: impl FnMut(&mut TenantRecord, u64) -> Result<T, E>,
    ) -> Result<(Arc<Tenant>, T), ChangeError<E>> {
        let turn = self.turn(&id, act.map(|act| act.by)).await;
        let _turn = turn.ok_or(ChangeError::Busy)?;
        let mut last = StoreError::Conflict { place: 0 };
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let document = self.store.get(TENANT, &id.to_string()).await?;
            let document = document.ok_or(ChangeError::Gone)?;
            let before = TenantRecord::from_body(&document.body)?;
            let mut record = before.clone();
            let answer = change(&mut record, document.revision).map_err(ChangeError::Refused)?;
            let plans = self.cache.plans();
            let plan = self.plan(record.plan.as_deref()).await?;
            // Before it is written: behind that nothing may fail any more.
            let mut tenant = record.to_tenant(id, document.revision, plan)?;
            if act.is_some() && record == before {
                return Ok((Arc::new(tenant), answer));
            }
            let mut writes = vec![put(id, Expected::Revision(document.revision), &record)?];
            if let Some(act) = act {
                let both = (Some(view::audited(&before)), Some(view::audited(&record)));
                let entry = act.write(self.wall.now(), both.0, both.1)?;
                writes.extend(self.audited(entry).await);
            }
            match self.store.write(writes).await {
                Ok(revisions) => {
                    tenant.revision = revisions.first().copied().unwrap_or(tenant.revision);
                    let tenant = Arc::new(tenant);
                    self.cache.replace(Arc::clone(&tenant), plans);
                    return Ok((tenant, answer));
                }
                Err(conflict @ StoreError::Conflict { .. }) => last = conflict,
                Err(error) => {
                    // What is cached is believed no more, unless nothing was written: while the
                    // registry is away, whoever is known stays so.
                    if !matches!(error, StoreError::Unavailable(_)) {
                        self.cache.invalidate(id);
                    }
                    return Err(error.into());
                }
            }
        }
        Err(last.into())
    }

    /// Creates a tenant.
    ///
    /// # Errors
    /// The store's; [`StoreError::IndexTaken`] where the name or a key belongs to another.
    pub async fn create(
        &self,
        act: &Act,
        record: &TenantRecord,
    ) -> Result<Arc<Tenant>, StoreError> {
        let id = TenantId::random().map_err(|e| StoreError::Unavailable(e.to_string()))?;
        let plans = self.cache.plans();
        let plan = self.plan(record.plan.as_deref()).await?;
        let mut tenant = record.to_tenant(id, 0, plan)?;
        let mut writes = vec![put(id, Expected::Absent, record)?];
        let entry = act.write(self.wall.now(), None, Some(view::audited(record)))?;
        writes.extend(self.audited(entry).await);
        let revisions = self.store.write(writes).await?;
        tenant.revision = revisions.first().copied().unwrap_or_default();
        let tenant = Arc::new(tenant);
        // Whoever looked for them in vain may look again.
        self.cache.replace(Arc::clone(&tenant), plans);
        Ok(tenant)
    }

    /// Removes a tenant. The cache knows them no more when this returns; the live table is the
    /// caller's to look through.
    ///
    /// # Errors
    /// As [`Registry::change`]; `check` is told record and revision.
    pub async fn remove<E>(
        &self,
        act: &Act,
        id: TenantId,
        check: impl Fn(&TenantRecord, u64) -> Result<(), E>,
    ) -> Result<(), ChangeError<E>> {
        let _turn = self.turn(&id, Some(act.by)).await.ok_or(ChangeError::Busy)?;
        let mut last = StoreError::Conflict { place: 0 };
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let document = self.store.get(TENANT, &id.to_string()).await?;
            let document = document.ok_or(ChangeError::Gone)?;
            let record = TenantRecord::from_body(&document.body)?;
            check(&record, document.revision).map_err(ChangeError::Refused)?;
            let expected = Expected::Revision(document.revision);
            let remove = Write { kind: TENANT, id: document.id, expected, change: Change::Remove };
            let entry = act.write(self.wall.now(), Some(view::audited(&record)), None)?;
            let mut writes = vec![remove];
            writes.extend(self.audited(entry).await);
            let written = self.store.write(writes).await;
            match written {
                Err(conflict @ StoreError::Conflict { .. }) => last = conflict,
                written => {
                    if !matches!(written, Err(StoreError::Unavailable(_))) {
                        self.cache.invalidate(id);
                    }
                    return written.map(|_| ()).map_err(ChangeError::Store);
                }
            }
        }
        Err(last.into())
    }

    /// A tenant's record and revision, from the store.
    ///
    /// # Errors
    /// The store's.
    pub async fn record(
        &self,
        username: &str,
    ) -> Result<Option<(TenantId, u64, TenantRecord)>, StoreError> {
        let index = super::record::username_index(username);
        let Some(document) = self.store.find(TENANT, &index).await? else { return Ok(None) };
        read(&document).map(Some)
    }

    /// The records behind `after`, in the order of their ids.
    ///
    /// # Errors
    /// The store's.
    pub async fn records(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(TenantId, u64, TenantRecord)>, StoreError> {
        let documents = self.store.list(TENANT, after, limit).await?;
        documents.iter().map(read).collect()
    }

    /// The plan of that name, with its revision.
    ///
    /// # Errors
    /// The store's.
    pub async fn plan_named(&self, name: &str) -> Result<Option<(u64, Plan)>, StoreError> {
        let document = self.store.get(PLAN, name).await?;
        document.map(|document| Ok((document.revision, read_plan(&document)?))).transpose()
    }

    /// The plans behind `after`, by name, with their revisions.
    ///
    /// # Errors
    /// The store's.
    pub async fn plans(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, u64, Plan)>, StoreError> {
        let documents = self.store.list(PLAN, after, limit).await?;
        let read = |document: Document| {
            let plan = read_plan(&document)?;
            Ok((document.id, document.revision, plan))
        };
        documents.into_iter().map(read).collect()
    }

    /// Puts a plan, or takes it away. Returns its revision. Tenants who are live on it hear of it by
    /// the feed.
    ///
    /// # Errors
    /// The store's; [`StoreError::Conflict`] where it is not what is expected.
    pub async fn write_plan(
        &self,
        act: &Act,
        name: &str,
        expected: Expected,
        plan: Option<&Plan>,
    ) -> Result<u64, StoreError> {
        let json = |plan: &Plan| {
            serde_json::to_value(plan).map_err(|error| StoreError::Corrupt(error.to_string()))
        };
        let before = self.plan_named(name).await?;
        let before = before.map(|(_, before)| json(&before)).transpose()?;
        let after = plan.map(json).transpose()?;
        let change = match &after {
            Some(after) => {
                Change::Put { indexes: Vec::new(), body: after.to_string().into_bytes() }
            }
            None => Change::Remove,
        };
        let entry = act.write(self.wall.now(), before, after)?;
        let mut writes = vec![Write { kind: PLAN, id: name.to_owned(), expected, change }];
        writes.extend(self.audited(entry).await);
        let written = self.store.write(writes).await;
        let revision = written.as_ref().ok().and_then(|revisions| revisions.first().copied());
        let revision = revision.unwrap_or(u64::MAX);
        self.heed(&Notice { kind: PLAN.0.to_owned(), id: name.to_owned(), revision });
        self.read_back(PLAN, name).await;
        written.map(|_| revision)
    }
}

fn read(document: &Document) -> Result<(TenantId, u64, TenantRecord), StoreError> {
    Ok((tenant_id(document)?, document.revision, TenantRecord::from_body(&document.body)?))
}

pub(in crate::registry) fn read_plan(document: &Document) -> Result<Plan, StoreError> {
    serde_json::from_slice(&document.body)
        .map_err(|error| StoreError::Corrupt(format!("the plan {:?}: {error}", document.id)))
}
