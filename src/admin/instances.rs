//! Instances: where tenants' runtimes are.

use std::net::SocketAddr;

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::guard::Administrator;
use super::pages::{Condition, PageQuery, tag};
use super::tenants::Changed;
use super::{Answer, At, Desk, Tagged};
use crate::connect::reach::denial;
use crate::json::{Asked, Id, Input, Private};
use crate::refusal::{OperatorRefusal, Refusal};
use crate::registry::profiles::InstanceProfile;
use crate::registry::record::TenantRecord;
use crate::registry::view;
use crate::tenant::TenantId;

/// How a tenant's runtime is reached.
#[utoipa::path(get, path = "/admin/v1/tenants/{username}/instance", tag = "instances",
    params(("username" = String, Path)),
    responses((status = 200, body = Option<InstanceProfile>, headers(("ETag" = String)))),
    security(("admin_token" = ["read"])))]
pub(super) async fn show(State(desk): At, Id(username): Id) -> Tagged<Value> {
    let (_, revision, record) = desk.record(&username).await?;
    Ok((tag(revision), Private(StatusCode::OK, instance(&record))))
}

fn instance(record: &TenantRecord) -> Value {
    view::settings(record).get_mut("instance").map(Value::take).unwrap_or_default()
}

/// Says where a tenant's runtime is from now on. The revision is the tenant's.
#[utoipa::path(put, path = "/admin/v1/tenants/{username}/instance", tag = "instances",
    params(("username" = String, Path),
        ("If-Match" = String, Header, description = "The tenant's ETag, or `*`", pattern = r#"^(\*|"[0-9]{1,19}")$"#)),
    request_body = Option<InstanceProfile>,
    responses((status = 200, body = Changed, headers(("ETag" = String)))),
    security(("admin_token" = ["admin"])))]
pub(super) async fn put(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(username): Id,
    condition: Condition,
    Input(body): Input<Value>,
) -> Tagged<Changed> {
    let (_, revision, before) = desk.record(&username).await?;
    condition.meets(revision)?;
    let mut settings = view::settings(&before).as_object().cloned().unwrap_or_default();
    settings.insert("instance".to_owned(), body);
    let moved = desk.wanted(&operator, &username, settings, Some(&before)).await?.into_record();
    let change = |record: &mut TenantRecord, revision| {
        condition.meets(revision)?;
        record.instance.clone_from(&moved.instance);
        Ok(())
    };
    let changed = desk.change(&operator, "move instance", &username, change).await?;
    Ok((tag(changed.tenant.revision()), Private(StatusCode::OK, changed)))
}

impl Desk {
    /// Refuses an address that is never dialled. Where a name leads is judged at each dial.
    pub(super) fn judge_host(&self, host: &str, port: u16) -> Result<(), Refusal> {
        let Ok(ip) = host.parse() else { return Ok(()) };
        let judged = self.journey.dialer.reach().judge(SocketAddr::new(ip, port));
        judged.map_err(|what| Refusal::Operator(OperatorRefusal::AddressDenied(denial(ip, what))))
    }
}

/// A tenant's instance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InstanceLine {
    username: String,
    /// The tenant's revision.
    revision: u64,
    #[schema(value_type = Option<InstanceProfile>)]
    instance: Value,
    /// Connections and plain requests on this replica.
    live: usize,
}

/// Some instances, by tenant's id.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InstancePage {
    instances: Vec<InstanceLine>,
    /// `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// The instances of all tenants.
#[utoipa::path(get, path = "/admin/v1/instances", tag = "instances", params(PageQuery),
    responses((status = 200, body = InstancePage)), security(("admin_token" = ["read"])))]
pub(super) async fn list(State(desk): At, Asked(query): Asked<PageQuery>) -> Answer<InstancePage> {
    let (after, limit) = query.page()?;
    let (found, next) = desk.find(after, limit, |_| true).await?;
    let line = |(id, revision, record): (TenantId, u64, TenantRecord)| InstanceLine {
        instance: instance(&record),
        username: record.username,
        revision,
        live: desk.live().entries_of(id).len(),
    };
    let instances = found.into_iter().map(line).collect();
    Ok(Private(StatusCode::OK, InstancePage { instances, next }))
}
