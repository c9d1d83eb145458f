//! Live connections and plain requests of one tenant, whichever replica has them.

use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::connections::{ConnectionView, Filter, Wanted, after_id};
use super::guard::{Anyone, Operator};
use super::pages::page;
use super::tenants::missing;
use super::{Answer, At, Desk};
use crate::close::Cause;
use crate::json::{Asked, Id, Ids, Private};
use crate::presence::{Connections, Ended};
use crate::refusal::Refusal;
use crate::registry::replicas::Numbered;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OfTenantQuery {
    /// What the page before said as `next`.
    #[param(min_length = 1, max_length = 128)]
    after: Option<String>,
    /// How many, at most 1000; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only those that rest on this key: its id, or `default`.
    key: Option<String>,
    /// Only those at or below this path of the runtime's.
    path: Option<String>,
}

/// Some of what runs for a tenant: by replica, the oldest of each first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OfTenantPage {
    connections: Vec<ConnectionView>,
    /// How much runs for the tenant on all replicas that are known of, whatever the filter wants.
    total: u64,
    /// Where there is, or can be, more than all pages show, and why.
    incomplete: Vec<String>,
    /// `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// What was ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClosedOne {
    /// 1, or 0 if something else was ending it already.
    closed: usize,
}

impl Desk {
    /// Ends all that is wanted of a tenant's, on all replicas.
    pub(super) async fn close_of(
        &self,
        operator: &Operator,
        username: &str,
        wanted: &Wanted,
    ) -> Result<Ended, Refusal> {
        let tenant = self.tenant(username).await?;
        let filter = Filter::new(Some(&tenant), wanted.key.as_deref(), wanted.path.as_deref())?;
        let running = self.presence.connections_now(tenant.id).await;
        let found = running.shown.iter().filter(|(_, it)| it.closing.is_none() && filter.wants(it));
        let found: Vec<Numbered> = found.map(|(id, _)| *id).collect();
        self.note_closing(operator, wanted, found.len()).await?;
        let mut ended = self.presence.close_each(tenant.id, &found, Cause::ClosedByOperator).await;
        let mut incomplete = gaps(&running);
        incomplete.append(&mut ended.incomplete);
        Ok(Ended { incomplete, ..ended })
    }
}

/// What a list does not show.
fn gaps(running: &Connections) -> Vec<String> {
    let mut gaps = running.incomplete.clone();
    let unlisted = running.unlisted();
    if unlisted > 0 {
        gaps.push(format!("other replicas: {unlisted} more than their answers held"));
    }
    gaps
}

/// What runs for a tenant, on all replicas. What other replicas have is up to a second old.
#[utoipa::path(get, path = "/admin/v1/tenants/{username}/connections", tag = "connections",
    params(("username" = String, Path), OfTenantQuery),
    responses((status = 200, body = OfTenantPage)), security(("admin_token" = ["read"])))]
pub(super) async fn list(
    State(desk): At,
    Id(username): Id,
    Asked(query): Asked<OfTenantQuery>,
) -> Answer<OfTenantPage> {
    let (after, limit) = page(query.after, query.limit)?;
    let after = after_id(after.as_deref())?;
    let tenant = desk.tenant(&username).await?;
    let filter = Filter::new(Some(&tenant), query.key.as_deref(), query.path.as_deref())?;
    let running = desk.presence.connections(tenant.id).await;
    let (total, incomplete) = (running.total, gaps(&running));
    let mut found = running.shown;
    found.retain(|(id, shown)| after.is_none_or(|after| *id > after) && filter.wants(shown));
    // Their ages are measured anew for each page, their ids stay.
    found.sort_unstable_by_key(|(id, _)| *id);
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let view =
        |(id, shown)| ConnectionView::new(tenant.username.to_string(), Some(&tenant), id, shown);
    let next = found.last().map(|(id, _)| id.to_string()).filter(|_| !is_last);
    let connections = found.into_iter().map(view).collect();
    Ok(Private(StatusCode::OK, OfTenantPage { connections, total, incomplete, next }))
}

/// Closes one, on whichever replica it is.
#[utoipa::path(delete, path = "/admin/v1/tenants/{username}/connections/{id}", tag = "connections",
    params(("username" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = ClosedOne)), security(("admin_token" = ["operate"])))]
pub(super) async fn close(
    Extension(operator): Anyone,
    State(desk): At,
    Ids(username, id): Ids,
) -> Answer<ClosedOne> {
    let none = || missing("The tenant has no such connection.");
    let tenant = desk.tenant(&username).await?;
    let connection = Numbered::parse(&id).ok_or_else(none)?;
    if !desk.presence.may_have(tenant.id, connection) {
        return Err(none());
    }
    desk.note_closing_one(&operator, &id, tenant.username.as_str()).await?;
    match desk.presence.close(tenant.id, connection, Cause::ClosedByOperator).await {
        Err(Refusal::NotFound(_)) => Err(none()),
        done => Ok(Private(StatusCode::OK, ClosedOne { closed: usize::from(done?) })),
    }
}
