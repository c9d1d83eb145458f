//! Live connections and plain requests of this replica, and the closing of many.

use std::collections::HashMap;
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
use crate::clock::UnixMillis;
use crate::close::Cause;
use crate::grant::{Grant, KeyId};
use crate::json::{Asked, Id, Input, Private};
use crate::live::Entry;
use crate::path::is_under;
use crate::presence::{Ended, Shown};
use crate::refusal::Refusal;
use crate::registry::away;
use crate::registry::replicas::Numbered;
use crate::tenant::{Tenant, TenantId};

/// Which ones.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only this tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub tenant: Option<String>,
    /// Only those that rest on this key of the tenant's: its id, or `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub key: Option<String>,
    /// Only those at or below this path of the runtime's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub path: Option<String>,
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

const ELSEWHERE: &str = "This id is another replica's: DELETE \
     /admin/v1/tenants/{username}/connections/{id} reaches all, and GET …/connections shows them.";

/// One connection or plain request.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectionView {
    /// The replica's, and a number there.
    id: String,
    /// `connection`, or `exchange` for a plain request.
    kind: &'static str,
    tenant: String,
    /// The runtime's, without query.
    path: String,
    /// What it rests on: `anonymous`, `password`, `session`, `key:default`, `key:` and an
    /// id; on a published API `open`, or `consumer:` and the ids of consumer and credential.
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
    closing: Option<String>,
}

/// Some of them, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectionPage {
    connections: Vec<ConnectionView>,
    /// This replica's id.
    replica: String,
    /// How many the filter wants in all, on this replica.
    total: usize,
    /// `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// What was ended, and where.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClosedMany {
    /// Connections and plain requests.
    closed: usize,
    /// `all` if a tenant was named, else `this` one alone.
    replicas: &'static str,
    /// Where some may still run, and why.
    incomplete: Vec<String>,
}

/// Which connections of a tenant, or of all, are meant.
pub(super) struct Filter<'a> {
    key: Option<KeyId>,
    path: Option<&'a str>,
}

impl<'a> Filter<'a> {
    /// Ids of keys are the tenant's own: every tenant's default key has the same.
    pub fn new(
        tenant: Option<&Tenant>,
        key: Option<&str>,
        path: Option<&'a str>,
    ) -> Result<Self, Refusal> {
        let bad = |what: &str| Refusal::BadInput(what.to_owned());
        let key = match (key, tenant) {
            (None, _) => None,
            (Some(_), None) => return Err(bad("key needs tenant beside it.")),
            (Some("default"), Some(_)) => Some(KeyId::DEFAULT),
            (Some(key), Some(_)) => {
                let id = KeyId::from_hex(key);
                Some(id.ok_or_else(|| bad("key must be a key's id, or default."))?)
            }
        };
        Ok(Self { key, path })
    }

    /// Whether something that is shown is meant.
    pub fn wants(&self, shown: &Shown) -> bool {
        self.fits(shown.key.as_deref().and_then(KeyId::from_hex), &shown.path)
    }

    fn fits(&self, key: Option<KeyId>, path: &str) -> bool {
        self.key.is_none_or(|wanted| key == Some(wanted))
            && self.path.is_none_or(|wanted| is_under(path, wanted))
    }
}

impl ConnectionView {
    /// `tenant` is for the name of the key.
    pub fn new(username: String, tenant: Option<&Tenant>, id: Numbered, shown: Shown) -> Self {
        let key = shown.key.as_deref().and_then(KeyId::from_hex);
        let key = key.and_then(|key| tenant?.key(key));
        Self {
            id: id.to_string(),
            kind: if shown.is_exchange { "exchange" } else { "connection" },
            tenant: username,
            path: shown.path,
            grant: shown.grant,
            key_name: key.and_then(|key| key.name.as_deref().map(str::to_owned)),
            client: shown.client,
            request_id: shown.request_id,
            since: UnixMillis(shown.since_unix_ms).to_string(),
            messages_from_client: shown.messages_from_client,
            messages_from_runtime: shown.messages_from_runtime,
            bytes_from_client: shown.bytes_from_client,
            bytes_from_runtime: shown.bytes_from_runtime,
            closing: shown.closing,
        }
    }
}

/// The id of a connection that a page said as `next`.
pub(super) fn after_id(after: Option<&str>) -> Result<Option<Numbered>, Refusal> {
    let bad = || Refusal::BadInput("after must be what a page said as next.".to_owned());
    after.map(|after| Numbered::parse(after).ok_or_else(bad)).transpose()
}

impl Desk {
    /// What runs here and is wanted, by id.
    async fn entries(&self, wanted: &Wanted) -> Result<Vec<Arc<Entry>>, Refusal> {
        let tenant = match &wanted.tenant {
            Some(username) => Some(self.tenant(username).await?),
            None => None,
        };
        let filter = Filter::new(tenant.as_deref(), wanted.key.as_deref(), wanted.path.as_deref())?;
        let mut entries = match &tenant {
            Some(tenant) => self.live().entries_of(tenant.id),
            None => self.live().entries(),
        };
        entries.retain(|entry| {
            let key = match entry.grant {
                Grant::Key { id, .. } => Some(id),
                _ => None,
            };
            filter.fits(key, &entry.path)
        });
        entries.sort_unstable_by_key(|entry| entry.id);
        Ok(entries)
    }

    /// As it is shown; the names of tenants are looked up once.
    async fn view(
        &self,
        entry: &Entry,
        tenants: &mut HashMap<TenantId, Option<Arc<Tenant>>>,
    ) -> Result<ConnectionView, Refusal> {
        let (id, shown) = self.presence.show(entry);
        let tenant = match tenants.get(&entry.tenant()) {
            Some(tenant) => tenant.clone(),
            None if shown.key.is_none() => None,
            None => {
                let tenant = self.registry().by_id(entry.tenant()).await.map_err(away)?;
                tenants.entry(entry.tenant()).or_insert(tenant).clone()
            }
        };
        let username = entry.username().to_string();
        Ok(ConnectionView::new(username, tenant.as_deref(), id, shown))
    }

    fn entry(&self, id: &str) -> Result<Arc<Entry>, Refusal> {
        let none = || missing("There is no such connection on this replica.");
        let id = Numbered::parse(id).ok_or_else(none)?;
        if id.replica != self.presence.id() {
            return Err(missing(ELSEWHERE));
        }
        let entry = self.live().entries().into_iter().find(|entry| entry.id == id.number);
        entry.ok_or_else(none)
    }

    /// Ends all that is wanted of this replica's.
    async fn close_here(&self, operator: &Operator, wanted: &Wanted) -> Result<Ended, Refusal> {
        let entries = self.entries(wanted).await?;
        self.note_closing(operator, wanted, entries.len()).await?;
        let ended = entries.iter().filter(|entry| entry.close(Cause::ClosedByOperator));
        Ok(Ended { closed: ended.count(), incomplete: Vec::new() })
    }

    /// Writes down what an operator is about to close.
    pub(super) async fn note_closing(
        &self,
        operator: &Operator,
        wanted: &Wanted,
        found: usize,
    ) -> Result<(), Refusal> {
        let act = operator.act("close connections", "connections".to_owned());
        let after = json!({ "wanted": wanted, "found": found });
        self.registry().note(&act, None, Some(after)).await.map_err(away)
    }

    /// The same of a single one.
    pub(super) async fn note_closing_one(
        &self,
        operator: &Operator,
        id: &str,
        username: &str,
    ) -> Result<(), Refusal> {
        let act = operator.act("close connections", format!("connection/{id}"));
        let after = json!({ "tenant": username });
        self.registry().note(&act, None, Some(after)).await.map_err(away)?;
        tracing::info!(connection = id, by = operator.name, "an operator closes a connection");
        Ok(())
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
    let after = after_id(after.as_deref())?;
    let here = desk.presence.id();
    if after.is_some_and(|after| after.replica != here) {
        return Err(Refusal::BadInput("after is of another replica's page.".to_owned()));
    }
    let wanted = Wanted { tenant: query.tenant, key: query.key, path: query.path };
    let entries = desk.entries(&wanted).await?;
    let total = entries.len();
    let is_before = |entry: &Arc<Entry>| after.is_some_and(|after| entry.id <= after.number);
    let first = entries.partition_point(is_before);
    let mut tenants = HashMap::new();
    let mut connections = Vec::new();
    for entry in entries.iter().skip(first).take(limit) {
        connections.push(desk.view(entry, &mut tenants).await?);
    }
    let is_last = first + connections.len() == total;
    let next = connections.last().map(|last| last.id.clone()).filter(|_| !is_last);
    let replica = here.to_string();
    Ok(Private(StatusCode::OK, ConnectionPage { connections, replica, total, next }))
}

/// One of them.
#[utoipa::path(get, path = "/admin/v1/connections/{id}", tag = "connections",
    params(("id" = String, Path)),
    responses((status = 200, body = ConnectionView)), security(("admin_token" = ["read"])))]
pub(super) async fn show(State(desk): At, Id(id): Id) -> Answer<ConnectionView> {
    let entry = desk.entry(&id)?;
    Ok(Private(StatusCode::OK, desk.view(&entry, &mut HashMap::new()).await?))
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
    desk.note_closing_one(&operator, &id, entry.username().as_str()).await?;
    let closed = usize::from(entry.close(Cause::ClosedByOperator));
    Ok(Private(StatusCode::OK, Closed { closed }))
}

/// Closes all that the body wants: by tenant, key, path, or several of them. On all replicas if a
/// tenant is named, else on this one.
#[utoipa::path(post, path = "/admin/v1/connections/close", tag = "connections",
    request_body = Wanted,
    responses((status = 200, body = ClosedMany)), security(("admin_token" = ["operate"])))]
pub(super) async fn close(
    Extension(operator): Anyone,
    State(desk): At,
    Input(wanted): Input<Wanted>,
) -> Answer<ClosedMany> {
    let (ended, replicas) = match (&wanted.tenant, &wanted.path) {
        (None, None) => {
            let what = "Say whose, with tenant, or where, with path; or both.";
            return Err(Refusal::BadInput(what.to_owned()));
        }
        (Some(username), _) => (desk.close_of(&operator, username, &wanted).await?, "all"),
        (None, Some(_)) => (desk.close_here(&operator, &wanted).await?, "this"),
    };
    let Ended { closed, incomplete } = ended;
    tracing::info!(closed, replicas, by = operator.name, "connections closed by an operator");
    Ok(Private(StatusCode::OK, ClosedMany { closed, replicas, incomplete }))
}
