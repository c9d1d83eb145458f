//! Live connections and plain requests of this replica.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::guard::{Anyone, Operator};
use super::pages::page;
use super::tenants::{Closed, missing};
use super::{Answer, At, Desk};
use crate::close::Cause;
use crate::grant::{Grant, KeyId};
use crate::json::{Asked, Id, Input, Private};
use crate::live::{Entry, Kind};
use crate::path::is_under;
use crate::refusal::Refusal;
use crate::registry::away;
use crate::tenant::Tenant;

/// Which ones.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only this tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tenant: Option<String>,
    /// Only those that rest on this key of the tenant's: its id, or `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    key: Option<String>,
    /// Only those at or below this path of the runtime's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    path: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ConnectionQuery {
    /// What the page before said as `next`.
    #[param(min_length = 1, max_length = 128)]
    after: Option<String>,
    /// How many, at most 1000; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only this tenant's.
    tenant: Option<String>,
    /// Only those that rest on this key of the tenant's: its id, or `default`.
    key: Option<String>,
    /// Only those at or below this path of the runtime's.
    path: Option<String>,
}

/// One connection or plain request.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectionView {
    id: String,
    /// `connection`, or `exchange` for a plain request.
    kind: &'static str,
    tenant: String,
    /// The runtime's, without query.
    path: String,
    /// What it rests on: `anonymous`, `password`, `key:` and an id.
    grant: String,
    key_name: Option<String>,
    client: String,
    request_id: String,
    since: String,
    messages_from_client: u64,
    messages_from_runtime: u64,
    bytes_from_client: u64,
    bytes_from_runtime: u64,
    /// Why it is being closed, if it is.
    closing: Option<&'static str>,
}

/// Some of them, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectionPage {
    connections: Vec<ConnectionView>,
    /// How many the filter wants in all, on this replica.
    total: usize,
    /// `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

impl Desk {
    /// What runs here and is wanted, by id.
    async fn entries(&self, wanted: &Wanted) -> Result<Vec<Arc<Entry>>, Refusal> {
        let tenant = match &wanted.tenant {
            Some(username) => Some(self.tenant(username).await?),
            None => None,
        };
        let key = wanted.key_of(tenant.as_deref())?;
        let mut entries = match &tenant {
            Some(tenant) => self.live().entries_of(tenant.id),
            None => self.live().entries(),
        };
        entries.retain(|entry| {
            let rests_on = |key| matches!(entry.grant, Grant::Key { id, .. } if id == key);
            key.is_none_or(rests_on)
                && wanted.path.as_ref().is_none_or(|path| is_under(&entry.path, path))
        });
        entries.sort_unstable_by_key(|entry| entry.id);
        Ok(entries)
    }

    async fn view(&self, entry: &Entry) -> Result<ConnectionView, Refusal> {
        let key_name = match entry.grant {
            Grant::Key { id, .. } => {
                let tenant = self.registry().by_id(entry.tenant).await.map_err(away)?;
                tenant.and_then(|tenant| tenant.key(id).and_then(|key| key.name.clone()))
            }
            _ => None,
        };
        let age = self.clock().now().since(entry.since);
        Ok(ConnectionView {
            id: entry.id.to_string(),
            kind: match entry.kind {
                Kind::Connection => "connection",
                Kind::Exchange => "exchange",
            },
            tenant: entry.username.to_string(),
            path: entry.path.to_string(),
            grant: entry.grant.to_string(),
            key_name,
            client: entry.client.address.to_string(),
            request_id: entry.client.request_id.to_string(),
            since: self.now().minus(age).to_string(),
            messages_from_client: entry.from_client.messages(),
            messages_from_runtime: entry.from_runtime.messages(),
            bytes_from_client: entry.from_client.bytes(),
            bytes_from_runtime: entry.from_runtime.bytes(),
            closing: entry.closing().map(Cause::reason),
        })
    }

    fn entry(&self, id: &str) -> Result<Arc<Entry>, Refusal> {
        let id: Option<u64> = id.parse().ok();
        let entry = self.live().entries().into_iter().find(|entry| Some(entry.id) == id);
        entry.ok_or_else(|| missing("There is no such connection on this replica."))
    }

    /// Writes down what an operator closes, then closes it.
    async fn close(
        &self,
        operator: &Operator,
        object: String,
        wanted: Option<&Wanted>,
        entries: &[Arc<Entry>],
    ) -> Result<usize, Refusal> {
        let act = operator.act("close connections", object);
        let after = json!({ "wanted": wanted, "found": entries.len() });
        self.registry().note(&act, None, Some(after)).await.map_err(away)?;
        let ended = entries.iter().filter(|entry| entry.close(Cause::ClosedByOperator)).count();
        tracing::info!(ended, by = operator.name, "connections closed by an operator");
        Ok(ended)
    }
}

impl Wanted {
    /// Ids of keys are the tenant's own: every tenant's default key has the same.
    fn key_of(&self, tenant: Option<&Tenant>) -> Result<Option<KeyId>, Refusal> {
        match (&self.key, tenant) {
            (None, _) => Ok(None),
            (Some(_), None) => Err(Refusal::BadInput("key needs tenant beside it.".to_owned())),
            (Some(key), Some(_)) if key == "default" => Ok(Some(KeyId::DEFAULT)),
            (Some(key), Some(_)) => match KeyId::from_hex(key) {
                Some(id) => Ok(Some(id)),
                None => Err(Refusal::BadInput("key must be a key's id, or default.".to_owned())),
            },
        }
    }
}

/// What runs on this replica.
#[utoipa::path(get, path = "/admin/v1/connections", tag = "connections", params(ConnectionQuery),
    responses((status = 200, body = ConnectionPage)), security(("admin_token" = ["read"])))]
pub(super) async fn list(
    State(desk): At,
    Asked(query): Asked<ConnectionQuery>,
) -> Answer<ConnectionPage> {
    let (after, limit) = page(query.after, query.limit)?;
    let bad = |_| Refusal::BadInput("after must be what a page said as next.".to_owned());
    let after: Option<u64> = after.map(|after| after.parse().map_err(bad)).transpose()?;
    let wanted = Wanted { tenant: query.tenant, key: query.key, path: query.path };
    let entries = desk.entries(&wanted).await?;
    let total = entries.len();
    let first = entries.partition_point(|entry| after.is_some_and(|after| entry.id <= after));
    let shown = entries.iter().skip(first).take(limit);
    let mut connections = Vec::new();
    for entry in shown {
        connections.push(desk.view(entry).await?);
    }
    let is_last = first + connections.len() == total;
    let next = connections.last().map(|last| last.id.clone()).filter(|_| !is_last);
    Ok(Private(StatusCode::OK, ConnectionPage { connections, total, next }))
}

/// One of them.
#[utoipa::path(get, path = "/admin/v1/connections/{id}", tag = "connections",
    params(("id" = String, Path)),
    responses((status = 200, body = ConnectionView)), security(("admin_token" = ["read"])))]
pub(super) async fn show(State(desk): At, Id(id): Id) -> Answer<ConnectionView> {
    let entry = desk.entry(&id)?;
    Ok(Private(StatusCode::OK, desk.view(&entry).await?))
}

/// Closes one.
#[utoipa::path(delete, path = "/admin/v1/connections/{id}", tag = "connections",
    params(("id" = String, Path)),
    responses((status = 200, body = Closed)), security(("admin_token" = ["operate"])))]
pub(super) async fn close_one(
    Extension(operator): Anyone,
    State(desk): At,
    Id(id): Id,
) -> Answer<Closed> {
    let entry = desk.entry(&id)?;
    let object = format!("connection/{}", entry.client.request_id);
    let closed = desk.close(&operator, object, None, &[entry]).await?;
    Ok(Private(StatusCode::OK, Closed { closed }))
}

/// Closes all that the body wants: by tenant, key, path, or several of them.
#[utoipa::path(post, path = "/admin/v1/connections/close", tag = "connections",
    request_body = Wanted,
    responses((status = 200, body = Closed)), security(("admin_token" = ["operate"])))]
pub(super) async fn close(
    Extension(operator): Anyone,
    State(desk): At,
    Input(wanted): Input<Wanted>,
) -> Answer<Closed> {
    if wanted.tenant.is_none() && wanted.path.is_none() {
        let what = "Say whose, with tenant, or where, with path; or both.";
        return Err(Refusal::BadInput(what.to_owned()));
    }
    let entries = desk.entries(&wanted).await?;
    let closed = desk.close(&operator, "connections".to_owned(), Some(&wanted), &entries).await?;
    Ok(Private(StatusCode::OK, Closed { closed }))
}
