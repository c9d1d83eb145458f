//! What operators are shown of a tenant: nothing that opens anything.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Desk;
use crate::clock::UnixMillis;
use crate::grant::KeyId;
use crate::live::PlanUse;
use crate::registry::profiles::Profile;
use crate::registry::record::{KeyRecord, TenantRecord};
use crate::registry::view;
use crate::tenant::TenantId;

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TenantView {
    /// Permanent.
    username: String,
    /// Random and permanent.
    id: String,
    /// As in the `ETag`.
    revision: u64,
    /// What a `PUT` of the tenant takes.
    #[schema(value_type = Profile)]
    settings: Value,
    /// Whether there is a password.
    password: bool,
    /// The default API key.
    api_key: Option<KeyView>,
    /// The named ones.
    keys: Vec<KeyView>,
    /// Connections and plain requests on this replica.
    live: usize,
    /// What is left of their plan on this replica.
    plan_use: PlanUse,
}

/// A tenant in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TenantLine {
    /// Permanent.
    pub username: String,
    /// Random and permanent.
    pub id: String,
    /// As in the tenant's `ETag`.
    pub revision: u64,
    /// The plan's name.
    pub plan: Option<String>,
    /// Answered as if they did not exist.
    pub disabled: bool,
    /// API keys, the default one included.
    pub keys: usize,
    /// Connections and plain requests on this replica.
    pub live: usize,
}

/// An API key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyView {
    /// `0000000000000000` for the default key.
    pub id: String,
    /// For people; the default key has none.
    name: Option<String>,
    /// The secret's last characters.
    last_four: Option<String>,
    /// When the secret was made.
    created: String,
    /// When it was last used, within 30 days and as far as that can be read.
    last_used: Option<String>,
    /// From where that was, as far as it is known.
    last_used_from: Option<String>,
    /// When it stops working.
    expires: Option<String>,
    /// The paths below `node_root` that it opens; empty for all.
    scope: Vec<String>,
    /// Until when the secret before the last rotation works.
    previous_works_until: Option<String>,
}

impl Desk {
    /// All that is shown of a tenant.
    pub(super) async fn describe(
        &self,
        id: TenantId,
        revision: u64,
        record: &TenantRecord,
    ) -> TenantView {
        let mut keys = self.describe_keys(id, record).await;
        let is_default = |key: &KeyView| key.name.is_none();
        let default = keys.iter().position(is_default).map(|place| keys.remove(place));
        let (clock, plan) = (self.registry().clock(), self.registry().by_id(id).await);
        let plan = plan.ok().flatten().map(|tenant| Arc::clone(&tenant.plan)).unwrap_or_default();
        let plan_use = self.live().plan_use(id, &plan, clock.now());
        TenantView {
            username: record.username.clone(),
            id: id.to_string(),
            revision,
            settings: view::settings(record),
            password: record.password.is_some(),
            api_key: default,
            keys,
            live: self.live().entries_of(id).len(),
            plan_use,
        }
    }

    /// One line of it.
    pub(super) fn outline(&self, id: TenantId, revision: u64, record: TenantRecord) -> TenantLine {
        TenantLine {
            username: record.username,
            id: id.to_string(),
            revision,
            plan: record.plan,
            disabled: record.disabled,
            keys: record.keys.len(),
            live: self.live().entries_of(id).len(),
        }
    }

    /// All keys of a tenant.
    pub(super) async fn describe_keys(&self, id: TenantId, record: &TenantRecord) -> Vec<KeyView> {
        let mut keys = Vec::with_capacity(record.keys.len());
        for key in &record.keys {
            keys.push(self.describe_key(id, key).await);
        }
        keys
    }

    async fn describe_key(&self, id: TenantId, key: &KeyRecord) -> KeyView {
        let moment = |unix_ms: u64| UnixMillis(unix_ms).to_string();
        let key_id = KeyId::from_hex(&key.id).unwrap_or(KeyId::DEFAULT);
        // Only news: a change that was made is not to look as if it had failed for want of it.
        let used = self.journey.usage.last_used(self.registry(), id, key_id).await;
        let used = used.unwrap_or_default();
        // What was used before the secret was made was another secret.
        let used = used.filter(|used| used.at.0 >= key.created_unix_ms);
        let now = self.now();
        let previous = key.previous.as_ref().map(|previous| previous.until_unix_ms);
        KeyView {
            id: key.id.clone(),
            name: key.name.clone(),
            last_four: key.hint.clone(),
            created: moment(key.created_unix_ms),
            last_used: used.map(|used| used.at.to_string()),
            last_used_from: used.and_then(|used| used.from).map(|from| from.to_string()),
            expires: key.expires_unix_ms.map(moment),
            scope: key.scope.clone(),
            previous_works_until: previous.filter(|until| now.0 < *until).map(moment),
        }
    }
}

impl TenantView {
    /// The revision shown.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }
}
