//! Applications: an operator's own, and everybody's to look at and remove.

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::guard::Administrator;
use super::pages::{page, tag};
use super::{Answer, At, Tagged};
use crate::api::{Application, Owner};
use crate::json::{Asked, Id, Input, Private};
use crate::publish::applications::{NewApplication, NewKeys};
use crate::publish::portal::ApplicationView;
use crate::registry::away;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ApplicationQuery {
    /// What the page before said as `next`.
    #[param(min_length = 1, max_length = 128)]
    after: Option<String>,
    /// How many, at most 1000; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only this tenant's.
    tenant: Option<String>,
}

/// Some applications, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApplicationPage {
    applications: Vec<ApplicationView>,
    /// `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// An application after a change.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChangedApplication {
    #[serde(flatten)]
    pub(super) application: ApplicationView,
    /// Connections and plain requests that were closed on the replica that was asked. Others close
    /// theirs within a second.
    pub(super) closed: usize,
}

/// An application with new keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MadeApplicationKeys {
    /// The consumer key.
    consumer_key: String,
    /// The consumer secret: it is told here and never again.
    consumer_secret: String,
    application: ApplicationView,
    /// As in a changed application.
    closed: usize,
}

/// What was ended by a removal.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RemovedApplication {
    /// As in a changed application.
    closed: usize,
}

/// Applications, the tenants' included.
#[utoipa::path(get, path = "/admin/v1/applications", tag = "applications",
    params(ApplicationQuery), responses((status = 200, body = ApplicationPage)),
    security(("admin_token" = ["read"])))]
pub(super) async fn list(
    State(desk): At,
    Asked(query): Asked<ApplicationQuery>,
) -> Answer<ApplicationPage> {
    let (after, limit) = page(query.after, query.limit)?;
    let owner = match &query.tenant {
        Some(username) => Some(Owner::Tenant(desk.tenant(username).await?.id)),
        None => None,
    };
    desk.registry().know_apis().await.map_err(away)?;
    let is_wanted = |it: &Application| {
        after.as_deref().is_none_or(|after| it.id.to_string().as_str() > after)
            && owner.is_none_or(|owner| it.owner == owner)
    };
    let mut found = desk.registry().directory().applications(is_wanted);
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let next = found.last().map(|it| it.id.to_string()).filter(|_| !is_last);
    let applications = found.iter().map(|it| desk.publishing().show_application(it)).collect();
    Ok(Private(StatusCode::OK, ApplicationPage { applications, next }))
}

/// Creates an operator's application, without keys.
#[utoipa::path(post, path = "/admin/v1/applications", tag = "applications",
    request_body = NewApplication,
    responses((status = 201, body = ApplicationView, headers(("ETag" = String)))),
    security(("admin_token" = ["admin"])))]
pub(super) async fn create(
    Administrator(operator): Administrator,
    State(desk): At,
    Input(wanted): Input<NewApplication>,
) -> Tagged<ApplicationView> {
    let act = operator.act("create application", format!("application/{}", wanted.name));
    let made = desk.publishing().add_application(&act, Owner::Operator, wanted).await?;
    let view = desk.publishing().show_application(&made);
    Ok((tag(made.revision), Private(StatusCode::CREATED, view)))
}

/// One application.
#[utoipa::path(get, path = "/admin/v1/applications/{id}", tag = "applications",
    params(("id" = String, Path)),
    responses((status = 200, body = ApplicationView, headers(("ETag" = String)))),
    security(("admin_token" = ["read"])))]
pub(super) async fn show(State(desk): At, Id(id): Id) -> Tagged<ApplicationView> {
    let found = desk.publishing().application(None, &id).await?;
    let view = desk.publishing().show_application(&found);
    Ok((tag(found.revision), Private(StatusCode::OK, view)))
}

/// Removes an application and closes all that rests on its tokens.
#[utoipa::path(delete, path = "/admin/v1/applications/{id}", tag = "applications",
    params(("id" = String, Path)),
    responses((status = 200, body = RemovedApplication)),
    security(("admin_token" = ["admin"])))]
pub(super) async fn remove(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(id): Id,
) -> Answer<RemovedApplication> {
    let before = desk.publishing().application(None, &id).await?;
    let act = operator.act("remove application", format!("application/{id}"));
    let closed = desk.publishing().remove_application(&act, &before).await?;
    Ok(Private(StatusCode::OK, RemovedApplication { closed }))
}

/// Gives an application a new consumer secret. Tokens that were issued for the one before end with it.
#[utoipa::path(post, path = "/admin/v1/applications/{id}/keys", tag = "applications",
    params(("id" = String, Path)), request_body = Option<NewKeys>,
    responses((status = 201, body = MadeApplicationKeys)),
    security(("admin_token" = ["admin"])))]
pub(super) async fn generate_keys(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(id): Id,
    Input(wanted): Input<NewKeys>,
) -> Answer<MadeApplicationKeys> {
    let publishing = desk.publishing();
    let before = publishing.application(None, &id).await?;
    let act = operator.act("generate application's keys", format!("application/{id}"));
    let (changed, secret) = publishing.generate_keys(&act, &before, wanted).await?;
    let answer = MadeApplicationKeys {
        consumer_key: before.id.to_string(),
        consumer_secret: secret.expose().to_owned(),
        application: publishing.show_application(&changed.present),
        closed: changed.ended,
    };
    Ok(Private(StatusCode::CREATED, answer))
}
