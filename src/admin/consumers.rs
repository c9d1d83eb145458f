//! Consumers of an operator's APIs, and their credentials.

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::guard::Administrator;
use super::pages::{PageQuery, tag};
use super::{Answer, At, Tagged};
use crate::api::Owner;
use crate::json::{Asked, Id, Ids, Input, Private};
use crate::publish::Changed;
use crate::publish::consumers::{NewKey, NewPassword, NewTokens};
use crate::publish::view::ConsumerView;
use crate::registry::away;

const OWNER: Owner = Owner::Operator;

/// Some consumers, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConsumerPage {
    consumers: Vec<ConsumerView>,
    /// `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// A consumer after a change.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChangedConsumer {
    #[serde(flatten)]
    consumer: ConsumerView,
    /// Connections and plain requests that were closed on the replica that was asked. Others close
    /// theirs within a second.
    closed: usize,
}

/// A consumer with one more key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MadeConsumerKey {
    /// The key's id.
    id: String,
    /// The key, if it was made here: it is told here and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    key: Option<String>,
    consumer: ConsumerView,
}

/// What was ended by a removal.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RemovedConsumer {
    /// As in a changed consumer.
    closed: usize,
}

fn changed(changed: &Changed<crate::api::Consumer>) -> Tagged<ChangedConsumer> {
    let consumer = ConsumerView::new(&changed.present);
    let answer = ChangedConsumer { consumer, closed: changed.ended };
    Ok((tag(changed.present.revision), Private(StatusCode::OK, answer)))
}

/// The consumers.
#[utoipa::path(get, path = "/admin/v1/consumers", tag = "consumers", params(PageQuery),
    responses((status = 200, body = ConsumerPage)), security(("admin_token" = ["read"])))]
pub(super) async fn list(State(desk): At, Asked(query): Asked<PageQuery>) -> Answer<ConsumerPage> {
    let (after, limit) = query.page()?;
    desk.registry().know_apis().await.map_err(away)?;
    let mut found = desk.registry().directory().consumers_of(OWNER);
    found.retain(|it| after.as_ref().is_none_or(|after| it.username > *after));
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let next = found.last().map(|it| it.username.clone()).filter(|_| !is_last);
    let consumers = found.iter().map(|consumer| ConsumerView::new(consumer)).collect();
    Ok(Private(StatusCode::OK, ConsumerPage { consumers, next }))
}

/// One consumer.
#[utoipa::path(get, path = "/admin/v1/consumers/{username}", tag = "consumers",
    params(("username" = String, Path)),
    responses((status = 200, body = ConsumerView, headers(("ETag" = String)))),
    security(("admin_token" = ["read"])))]
pub(super) async fn show(State(desk): At, Id(username): Id) -> Tagged<ConsumerView> {
    let consumer = desk.publishing().consumer(OWNER, &username).await?;
    Ok((tag(consumer.revision), Private(StatusCode::OK, ConsumerView::new(&consumer))))
}

/// Creates a consumer; one that is there stays as it is.
#[utoipa::path(put, path = "/admin/v1/consumers/{username}", tag = "consumers",
    params(("username" = String, Path)),
    responses((status = 200, body = ConsumerView, headers(("ETag" = String))),
        (status = 201, body = ConsumerView, headers(("ETag" = String)))),
    security(("admin_token" = ["admin"])))]
pub(super) async fn put(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(username): Id,
) -> Tagged<ConsumerView> {
    let act = operator.act("create consumer", format!("consumer/{username}"));
    let (consumer, is_new) = desk.publishing().add_consumer(&act, OWNER, &username).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((tag(consumer.revision), Private(status, ConsumerView::new(&consumer))))
}

/// Removes a consumer and closes all that rests on their credentials.
#[utoipa::path(delete, path = "/admin/v1/consumers/{username}", tag = "consumers",
    params(("username" = String, Path)),
    responses((status = 200, body = RemovedConsumer)), security(("admin_token" = ["admin"])))]
pub(super) async fn remove(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(username): Id,
) -> Answer<RemovedConsumer> {
    let consumer = desk.publishing().consumer(OWNER, &username).await?;
    let act = operator.act("remove consumer", format!("consumer/{username}"));
    let closed = desk.publishing().remove_consumer(&act, &consumer).await?;
    Ok(Private(StatusCode::OK, RemovedConsumer { closed }))
}

/// Gives a consumer a key, which is made, or one that they have already.
#[utoipa::path(post, path = "/admin/v1/consumers/{username}/keys", tag = "consumers",
    params(("username" = String, Path)), request_body = NewKey,
    responses((status = 201, body = MadeConsumerKey)), security(("admin_token" = ["admin"])))]
pub(super) async fn add_key(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(username): Id,
    Input(wanted): Input<NewKey>,
) -> Answer<MadeConsumerKey> {
    let consumer = desk.publishing().consumer(OWNER, &username).await?;
    let act = operator.act("add consumer's key", format!("consumer/{username}"));
    let (consumer, id, key) = desk.publishing().add_key(&act, &consumer, wanted).await?;
    let (id, key) = (id.to_string(), key.map(|key| key.expose().to_owned()));
    let answer = MadeConsumerKey { id, key, consumer: ConsumerView::new(&consumer) };
    Ok(Private(StatusCode::CREATED, answer))
}

/// Gives a consumer a password, in the place of any there is.
#[utoipa::path(put, path = "/admin/v1/consumers/{username}/basic", tag = "consumers",
    params(("username" = String, Path)), request_body = NewPassword,
    responses((status = 200, body = ChangedConsumer, headers(("ETag" = String)))),
    security(("admin_token" = ["admin"])))]
pub(super) async fn set_basic(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(username): Id,
    Input(wanted): Input<NewPassword>,
) -> Tagged<ChangedConsumer> {
    let consumer = desk.publishing().consumer(OWNER, &username).await?;
    let act = operator.act("set consumer's password", format!("consumer/{username}"));
    let client = operator.client;
    changed(&desk.publishing().set_basic(&act, &consumer, wanted, client).await?)
}

/// Says how a consumer's tokens are verified, in the place of what was said.
#[utoipa::path(put, path = "/admin/v1/consumers/{username}/jwt", tag = "consumers",
    params(("username" = String, Path)), request_body = NewTokens,
    responses((status = 200, body = ChangedConsumer, headers(("ETag" = String)))),
    security(("admin_token" = ["admin"])))]
pub(super) async fn set_jwt(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(username): Id,
    Input(wanted): Input<NewTokens>,
) -> Tagged<ChangedConsumer> {
    let consumer = desk.publishing().consumer(OWNER, &username).await?;
    let act = operator.act("set consumer's tokens", format!("consumer/{username}"));
    changed(&desk.publishing().set_tokens(&act, &consumer, wanted).await?)
}

/// Takes a credential away and closes all that rests on it.
#[utoipa::path(delete, path = "/admin/v1/consumers/{username}/credentials/{id}", tag = "consumers",
    params(("username" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = ChangedConsumer, headers(("ETag" = String)))),
    security(("admin_token" = ["admin"])))]
pub(super) async fn remove_credential(
    Administrator(operator): Administrator,
    State(desk): At,
    Ids(username, id): Ids,
) -> Tagged<ChangedConsumer> {
    let consumer = desk.publishing().consumer(OWNER, &username).await?;
    let act = operator.act("remove consumer's credential", format!("consumer/{username}"));
    changed(&desk.publishing().remove_credential(&act, &consumer, &id).await?)
}
