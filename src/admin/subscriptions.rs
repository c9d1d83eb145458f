//! Subscriptions of applications to published APIs, whoever has them.

use axum::extract::{Extension, State};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::applications::ChangedApplication;
use super::guard::{Administrator, Anyone};
use super::pages::tag;
use super::{Answer, At, Tagged};
use crate::json::{Id, Ids, Input, Private};
use crate::publish::Changed;
use crate::publish::portal::{ApplicationView, SubscriberView};
use crate::publish::subscriptions::{Blocked, NewSubscription, Side, SubscriptionPlan};

/// An application with one more subscription.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MadeSubscription {
    /// The subscription's id.
    id: String,
    application: ApplicationView,
}

/// The applications that are subscribed to an API.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Subscribers {
    subscriptions: Vec<SubscriberView>,
}

/// Subscribes an application to a published API.
#[utoipa::path(post, path = "/admin/v1/applications/{id}/subscriptions", tag = "applications",
    params(("id" = String, Path)), request_body = NewSubscription,
    responses((status = 201, body = MadeSubscription)), security(("admin_token" = ["admin"])))]
pub(super) async fn subscribe(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(id): Id,
    Input(wanted): Input<NewSubscription>,
) -> Answer<MadeSubscription> {
    let publishing = desk.publishing();
    let before = publishing.application(None, &id).await?;
    let act = operator.act("subscribe application", format!("application/{id}"));
    let (present, id) = publishing.subscribe(&act, &before, wanted).await?;
    let application = publishing.show_application(&present);
    Ok(Private(StatusCode::CREATED, MadeSubscription { id: id.to_string(), application }))
}

/// Ends a subscription and closes all that rests on it.
#[utoipa::path(delete, path = "/admin/v1/applications/{id}/subscriptions/{subscription}",
    tag = "applications", params(("id" = String, Path), ("subscription" = String, Path)),
    responses((status = 200, body = ChangedApplication, headers(("ETag" = String)))),
    security(("admin_token" = ["admin"])))]
pub(super) async fn unsubscribe(
    Administrator(operator): Administrator,
    State(desk): At,
    Ids(id, subscription): Ids,
) -> Tagged<ChangedApplication> {
    let publishing = desk.publishing();
    let before = publishing.application(None, &id).await?;
    let act = operator.act("end subscription", format!("application/{id}"));
    let changed = publishing.unsubscribe(&act, &before, &subscription, Side::Publisher).await?;
    let application = publishing.show_application(&changed.present);
    let answer = ChangedApplication { application, closed: changed.ended };
    Ok((tag(changed.present.revision), Private(StatusCode::OK, answer)))
}

/// Who is subscribed to an API.
#[utoipa::path(get, path = "/admin/v1/apis/{id}/subscriptions", tag = "apis",
    params(("id" = String, Path)), responses((status = 200, body = Subscribers)),
    security(("admin_token" = ["read"])))]
pub(super) async fn subscribers(State(desk): At, Id(id): Id) -> Answer<Subscribers> {
    let api = desk.publishing().api(None, &id).await?;
    let subscriptions = desk.publishing().show_subscribers(&api);
    Ok(Private(StatusCode::OK, Subscribers { subscriptions }))
}

/// Gives a subscription another of the API's plans. It counts for what runs, too.
#[utoipa::path(put, path = "/admin/v1/applications/{id}/subscriptions/{subscription}/plan",
    tag = "applications", params(("id" = String, Path), ("subscription" = String, Path)),
    request_body = SubscriptionPlan,
    responses((status = 200, body = ChangedApplication, headers(("ETag" = String)))),
    security(("admin_token" = ["admin"])))]
pub(super) async fn set_plan(
    Administrator(operator): Administrator,
    State(desk): At,
    Ids(id, subscription): Ids,
    Input(wanted): Input<SubscriptionPlan>,
) -> Tagged<ChangedApplication> {
    let publishing = desk.publishing();
    let before = publishing.application(None, &id).await?;
    let act = operator.act("change subscription's plan", format!("application/{id}"));
    let changed =
        publishing.set_plan(&act, &before, &subscription, wanted, Side::Publisher).await?;
    let application = publishing.show_application(&changed.present);
    let answer = ChangedApplication { application, closed: changed.ended };
    Ok((tag(changed.present.revision), Private(StatusCode::OK, answer)))
}

/// Blocks a subscription and closes all that rests on it, or lets it through again.
#[utoipa::path(put, path = "/admin/v1/apis/{id}/subscriptions/{subscription}/blocked",
    tag = "apis", params(("id" = String, Path), ("subscription" = String, Path)),
    request_body = Blocked, responses((status = 200, body = ChangedApplication,
        headers(("ETag" = String)))),
    security(("admin_token" = ["operate"])))]
pub(super) async fn set_blocked(
    Extension(operator): Anyone,
    State(desk): At,
    Ids(id, subscription): Ids,
    Input(wanted): Input<Blocked>,
) -> Tagged<ChangedApplication> {
    let publishing = desk.publishing();
    let api = publishing.api(None, &id).await?;
    let application = publishing.subscriber(&api, &subscription)?;
    let verb = if wanted.blocked { "block subscription" } else { "unblock subscription" };
    let act = operator.act(verb, format!("application/{}", application.id));
    let changed = publishing.set_blocked(&act, &application, &subscription, wanted).await?;
    let Changed { present, ended } = changed;
    let application = publishing.show_application(&present);
    let answer = ChangedApplication { application, closed: ended };
    Ok((tag(present.revision), Private(StatusCode::OK, answer)))
}
