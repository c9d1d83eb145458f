//! Published APIs: an operator's own, and everybody's to look at, block and remove.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::guard::{Administrator, Anyone};
use super::pages::{Condition, page, tag};
use super::{Answer, At, Desk, Tagged};
use crate::api::{Api, Definition, Owner, State as Life};
use crate::json::{Asked, Id, Input, Private};
use crate::publish::view::ApiView;
use crate::publish::{DEFINITION_BYTES_MAX, NewState, Publish, Publishing};
use crate::registry::away;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ApiQuery {
    /// What the page before said as `next`.
    #[param(min_length = 1, max_length = 128)]
    after: Option<String>,
    /// How many, at most 1000; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only this tenant's.
    tenant: Option<String>,
    /// Only those in this state.
    state: Option<Life>,
}

/// Some APIs, in the order of their paths.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiPage {
    apis: Vec<ApiView>,
    /// `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// An API after a change.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChangedApi {
    #[serde(flatten)]
    api: ApiView,
    /// Connections and plain requests that were closed on the replica that was asked. Others close
    /// theirs within a second.
    closed: usize,
}

/// What was ended by a removal.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RemovedApi {
    /// As in a changed API.
    closed: usize,
}

impl Desk {
    pub(super) fn publishing(&self) -> Publishing<'_> {
        let (registry, live) = (self.registry(), self.live());
        Publishing { registry, live, passwords: &self.journey.passwords }
    }

    async fn changed(&self, api: &Api, closed: usize) -> ChangedApi {
        ChangedApi { api: self.publishing().show(api).await, closed }
    }
}

/// Published APIs, the tenants' included.
#[utoipa::path(get, path = "/admin/v1/apis", tag = "apis", params(ApiQuery),
    responses((status = 200, body = ApiPage)), security(("admin_token" = ["read"])))]
pub(super) async fn list(State(desk): At, Asked(query): Asked<ApiQuery>) -> Answer<ApiPage> {
    let (after, limit) = page(query.after, query.limit)?;
    let owner = match &query.tenant {
        Some(username) => Some(Owner::Tenant(desk.tenant(username).await?.id)),
        None => None,
    };
    desk.registry().know_apis().await.map_err(away)?;
    let is_wanted = |api: &Api| {
        after.as_deref().is_none_or(|after| api.prefix.to_string().as_str() > after)
            && owner.is_none_or(|owner| api.owner == owner)
            && query.state.is_none_or(|state| api.state == state)
    };
    let mut found: Vec<Arc<Api>> = desk.registry().directory().apis(is_wanted);
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let next = found.last().map(|api| api.prefix.to_string()).filter(|_| !is_last);
    let mut apis = Vec::new();
    for api in found {
        apis.push(desk.publishing().show(&api).await);
    }
    Ok(Private(StatusCode::OK, ApiPage { apis, next }))
}

/// Creates an operator's API; with `publish=true` it is published at once.
#[utoipa::path(post, path = "/admin/v1/apis", tag = "apis", params(Publish),
    request_body = Definition,
    responses((status = 201, body = ApiView, headers(("ETag" = String)))),
    security(("admin_token" = ["admin"])))]
pub(super) async fn create(
    Administrator(operator): Administrator,
    State(desk): At,
    Asked(publish): Asked<Publish>,
    Input(definition): Input<Definition, DEFINITION_BYTES_MAX>,
) -> Tagged<ApiView> {
    let act = operator.act("create API", format!("api/{}", definition.name));
    let publishing = desk.publishing();
    let api = publishing.create(&act, Owner::Operator, definition, publish).await?;
    Ok((tag(api.revision), Private(StatusCode::CREATED, publishing.show(&api).await)))
}

/// One API.
#[utoipa::path(get, path = "/admin/v1/apis/{id}", tag = "apis", params(("id" = String, Path)),
    responses((status = 200, body = ApiView, headers(("ETag" = String)))),
    security(("admin_token" = ["read"])))]
pub(super) async fn show(State(desk): At, Id(id): Id) -> Tagged<ApiView> {
    let publishing = desk.publishing();
    let api = publishing.api(None, &id).await?;
    Ok((tag(api.revision), Private(StatusCode::OK, publishing.show(&api).await)))
}

/// Replaces what is said of an API. Live connections that have no credential any more that it asks
/// for are closed; the others stay where they are.
#[utoipa::path(put, path = "/admin/v1/apis/{id}", tag = "apis",
    params(("id" = String, Path),
        ("If-Match" = String, Header, description = "The ETag that is replaced, or `*`", pattern = r#"^(\*|"[0-9]{1,19}")$"#)),
    request_body = Definition,
    responses((status = 200, body = ChangedApi, headers(("ETag" = String)))),
    security(("admin_token" = ["admin"])))]
pub(super) async fn define(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(id): Id,
    condition: Condition,
    Input(definition): Input<Definition, DEFINITION_BYTES_MAX>,
) -> Tagged<ChangedApi> {
    let publishing = desk.publishing();
    let before = publishing.api(None, &id).await?;
    let act = operator.act("change API", format!("api/{id}"));
    let meets = |revision| condition.meets(revision);
    let changed = publishing.define(&act, &before, definition, meets).await?;
    let view = desk.changed(&changed.present, changed.ended).await;
    Ok((tag(changed.present.revision), Private(StatusCode::OK, view)))
}

/// Moves an API on in its life: `published`, `blocked`, `deprecated`, `retired`, … Needs no revision:
/// it may have to be quick.
#[utoipa::path(put, path = "/admin/v1/apis/{id}/state", tag = "apis",
    params(("id" = String, Path)), request_body = NewState,
    responses((status = 200, body = ChangedApi, headers(("ETag" = String)))),
    security(("admin_token" = ["operate"])))]
pub(super) async fn set_state(
    Extension(operator): Anyone,
    State(desk): At,
    Id(id): Id,
    Input(wanted): Input<NewState>,
) -> Tagged<ChangedApi> {
    let publishing = desk.publishing();
    let before = publishing.api(None, &id).await?;
    let act = operator.act("move API", format!("api/{id}"));
    let changed = publishing.set_state(&act, &before, wanted).await?;
    let view = desk.changed(&changed.present, changed.ended).await;
    Ok((tag(changed.present.revision), Private(StatusCode::OK, view)))
}

/// Removes an API and closes all that runs on it.
#[utoipa::path(delete, path = "/admin/v1/apis/{id}", tag = "apis",
    params(("id" = String, Path),
        ("If-Match" = String, Header, description = "The ETag that is removed, or `*`", pattern = r#"^(\*|"[0-9]{1,19}")$"#)),
    responses((status = 200, body = RemovedApi)), security(("admin_token" = ["admin"])))]
pub(super) async fn remove(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(id): Id,
    condition: Condition,
) -> Answer<RemovedApi> {
    let publishing = desk.publishing();
    let before = publishing.api(None, &id).await?;
    let act = operator.act("remove API", format!("api/{id}"));
    let meets = |revision| condition.meets(revision);
    let closed = publishing.remove(&act, &before, meets).await?;
    Ok(Private(StatusCode::OK, RemovedApi { closed }))
}
