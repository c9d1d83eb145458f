//! The audit log: who changed what, written in the same call as the change itself.
//!
//! Entries are only ever added. The oldest go when their time is over, a few with each new one, and
//! when there are too many.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Registry;
use super::record::AUDIT;
use super::store::{Change, Document, Expected, StoreError, Write};
use crate::client::Client;
use crate::clock::UnixMillis;

/// How many entries are kept, whatever their age.
pub const ENTRIES_MAX: usize = 100_000;
/// Entries whose time is over that go with each new one.
const REMOVED_PER_WRITE: usize = 2;
/// After how many entries of this process they are counted again.
const COUNTED_EVERY: u64 = 1000;
const ENTRIES_PER_PAGE: usize = 1000;

/// Who makes a change, and what it is.
#[derive(Clone, Debug)]
pub struct Act {
    /// An operator or a tenant.
    pub by: By,
    /// The name of the operator's token, or the tenant's.
    pub who: String,
    /// What is done, as in "disable tenant".
    pub verb: &'static str,
    /// To what, as in "tenant/mike".
    pub object: String,
    /// From where.
    pub client: Client,
}

/// What kind of person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Whoever has an admin token.
    Operator,
    /// A tenant, about their own account.
    Tenant,
}

/// One change, as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// An operator or a tenant.
    pub by: By,
    /// The name of the operator's token, or the tenant's.
    pub who: String,
    /// What was done, as in `disable tenant`.
    pub verb: String,
    /// To what, as in `tenant/mike`.
    pub object: String,
    /// What it was before, as far as it changed: nothing that opens anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub before: Option<Value>,
    /// What it was afterwards, as far as it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub after: Option<Value>,
    /// From which address.
    pub client: String,
    /// The request, as the log names it.
    pub request_id: String,
}

impl Act {
    /// The write that puts the entry. Of `before` and `after` only what differs is kept.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn write(
        &self,
        now: UnixMillis,
        before: Option<Value>,
        after: Option<Value>,
    ) -> Result<Write, StoreError> {
        let (before, after) = differing(before, after);
        let entry = Entry {
            at_unix_ms: now.0,
            by: self.by,
            who: self.who.clone(),
            verb: self.verb.to_owned(),
            object: self.object.clone(),
            before,
            after,
            client: self.client.address.ip().to_canonical().to_string(),
            request_id: self.client.request_id.to_string(),
        };
        let body = serde_json::to_vec(&entry).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let random = getrandom::u32().map_err(|e| StoreError::Unavailable(e.to_string()))?;
        // What one process writes in the same millisecond stays in order.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let turn = u32::MAX - NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}{turn:08x}{random:08x}", first_id_at(now));
        let change = Change::Put { indexes: Vec::new(), body };
        Ok(Write { kind: AUDIT, id, expected: Expected::Absent, change })
    }
}

/// Where the entries of a moment begin: all of later moments have smaller ids.
fn first_id_at(moment: UnixMillis) -> String {
    format!("{:016x}", u64::MAX - moment.0)
}

/// Objects without the members that are the same in both.
fn differing(before: Option<Value>, after: Option<Value>) -> (Option<Value>, Option<Value>) {
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let without = |one: &Map<String, Value>, other: &Map<String, Value>| {
                let differs = |(name, value): &(&String, &Value)| other.get(*name) != Some(*value);
                let some = one.iter().filter(differs);
                Value::Object(some.map(|(name, value)| (name.clone(), value.clone())).collect())
            };
            (Some(without(&before, &after)), Some(without(&after, &before)))
        }
        both => both,
    }
}

/// For how long entries are kept, and how many this process has written.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) kept: Duration,
    written: AtomicU64,
    counted_at: AtomicU64,
}

impl Default for Keeping {
    fn default() -> Self {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        // The first count comes at once.
        let counted_at = AtomicU64::new(u64::MAX);
        Self { kept: YEAR, written: AtomicU64::new(0), counted_at }
    }
}

impl Registry {
    /// What an act's write goes with: removals of a few entries whose time is over. They are only
    /// housekeeping, so none are there if the store has no answer.
    pub(super) async fn audited(&self, entry: Write) -> Vec<Write> {
        self.audit.written.fetch_add(1, Ordering::Relaxed);
        let end = self.wall().now().minus(self.audit.kept);
        let old = self.store().list(AUDIT, Some(&first_id_at(end)), REMOVED_PER_WRITE).await;
        let old = old.unwrap_or_default().into_iter().map(remove);
        [entry].into_iter().chain(old).collect()
    }

    /// Writes down what changed no document.
    ///
    /// # Errors
    /// The store's.
    pub async fn note(
        &self,
        act: &Act,
        before: Option<Value>,
        after: Option<Value>,
    ) -> Result<(), StoreError> {
        let entry = act.write(self.wall().now(), before, after)?;
        self.store().write(self.audited(entry).await).await.map(|_| ())
    }

    /// The entries behind `after`, the newest first, with their ids.
    ///
    /// # Errors
    /// The store's.
    pub async fn audit(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, StoreError> {
        let documents = self.store().list(AUDIT, after, limit).await?;
        let read = |document: Document| {
            let entry = serde_json::from_slice(&document.body)
                .map_err(|error| StoreError::Corrupt(format!("an audit entry: {error}")))?;
            Ok((document.id, entry))
        };
        documents.into_iter().map(read).collect()
    }

    /// Removes what is too old, and the oldest of what is too much, if this process has added enough
    /// since it last looked. Returns how many went.
    ///
    /// # Errors
    /// The store's.
    pub async fn trim_audit(&self, entries_max: usize) -> Result<usize, StoreError> {
        let written = self.audit.written.load(Ordering::Relaxed);
        let counted_at = self.audit.counted_at.load(Ordering::Relaxed);
        if counted_at != u64::MAX && written - counted_at < COUNTED_EVERY {
            return Ok(0);
        }
        let end = first_id_at(self.wall().now().minus(self.audit.kept));
        let (mut kept, mut removed) = (0, 0);
        let mut after: Option<String> = None;
        loop {
            let page = self.store().list(AUDIT, after.as_deref(), ENTRIES_PER_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            let mut surplus = Vec::new();
            for document in page {
                match kept < entries_max && document.id < end {
                    true => kept += 1,
                    false => surplus.push(remove(document)),
                }
            }
            removed += surplus.len();
            self.store().write(surplus).await?;
        }
        self.audit.counted_at.store(written, Ordering::Relaxed);
        Ok(removed)
    }
}

fn remove(document: Document) -> Write {
    Write { kind: AUDIT, id: document.id, expected: Expected::Any, change: Change::Remove }
}

#[cfg(test)]
mod tests;
