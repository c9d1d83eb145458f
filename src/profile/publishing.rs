//! A tenant's own published APIs and the consumers of them.

use axum::Router;
use axum::extract::{Extension, State};
use axum::routing::{delete, get, post, put};
use http::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::{
    Answer, Arc, At, Desk, From, Owner as Asker, Private, act, check_current, password_of,
};
use crate::api::{Consumer, Definition, Owner};
use crate::authenticate::Identity;
use crate::close::Cause;
use crate::json::{Asked, Id, Ids, Input};
use crate::publish::consumers::{NewKey, NewPassword, NewTokens};
use crate::publish::view::ConsumerView;
use crate::publish::{Changed, DEFINITION_BYTES_MAX, NewState, Publish, Publishing};
use crate::refusal::Refusal;
use crate::registry::audit::By;
use crate::registry::away;
use crate::registry::turns::Turn;
use crate::tenant::TenantId;

/// The handlers, below `/profile/apis` and `/profile/consumers`.
pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/profile/apis", get(list).post(create))
        .route("/profile/apis/{id}", get(show).put(define).delete(remove))
        .route("/profile/apis/{id}/state", put(set_state))
        .route("/profile/consumers", get(consumers))
        .route("/profile/consumers/{username}", put(add_consumer).delete(remove_consumer))
        .route("/profile/consumers/{username}/keys", post(add_key))
        .route("/profile/consumers/{username}/basic", put(set_basic))
        .route("/profile/consumers/{username}/jwt", put(set_jwt))
        .route("/profile/consumers/{username}/credentials/{id}", delete(remove_credential))
}

impl Desk {
    /// A turn at changing what is theirs, for who still is whom the request was from: its body may have
    /// taken a while to come.
    pub(super) async fn turn<'a>(
        &'a self,
        identity: &'a Identity,
    ) -> Result<Turn<'a, TenantId>, Refusal> {
        let turn = self.registry.turn(&identity.tenant.id, Some(By::Tenant)).await;
        let turn = turn.ok_or(Refusal::Overloaded("too many changes wait"))?;
        self.look_again(identity).await.map(|()| turn)
    }

    async fn look_again(&self, identity: &Identity) -> Result<(), Refusal> {
        let fingerprint = password_of(identity)?;
        let record = self.registry.record(identity.tenant.username.as_str()).await.map_err(away)?;
        let record = record.filter(|(id, _, _)| *id == identity.tenant.id);
        let (_, _, record) = record.ok_or(Refusal::GrantEnded(Cause::TenantDisabled))?;
        check_current(&record, fingerprint)
    }

    pub(super) fn publishing(&self) -> Publishing<'_> {
        let Self { registry, live, passwords, .. } = self;
        Publishing { registry, live, passwords }
    }
}

pub(super) fn owner(identity: &Identity) -> Owner {
    Owner::Tenant(identity.tenant.id)
}

/// A tenant's own changes need no revision: whoever else changes it is themselves.
fn whatever(_: u64) -> Result<(), Refusal> {
    Ok(())
}

/// What was changed as it is shown now, with how much that has closed.
pub(super) fn changed(view: impl Serialize, ended: usize) -> Answer {
    let mut said = json!(view);
    said["closed"] = json!(ended);
    Ok(Private(StatusCode::OK, said))
}

fn changed_consumer(consumer: &Changed<Consumer>) -> Answer {
    changed(ConsumerView::new(&consumer.present), consumer.ended)
}

/// `GET /profile/apis`
async fn list(State(desk): At, Extension(identity): Asker) -> Answer {
    desk.registry.know_apis().await.map_err(away)?;
    let mut apis = Vec::new();
    for api in desk.registry.directory().apis_of(owner(&identity)) {
        apis.push(desk.publishing().show(&api).await);
    }
    Ok(Private(StatusCode::OK, json!({ "apis": apis })))
}

/// `POST /profile/apis`, with `?publish=true` to publish it at once.
async fn create(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Asked(publish): Asked<Publish>,
    Input(definition): Input<Definition, DEFINITION_BYTES_MAX>,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let act = act(&identity, client, "create API", format!("api/{}", definition.name));
    let publishing = desk.publishing();
    let api = publishing.create(&act, owner(&identity), definition, publish).await?;
    // Removed by another replica in this moment, they would leave it to nobody.
    if let Err(gone @ Refusal::GrantEnded(Cause::TenantDisabled)) = desk.look_again(&identity).await
    {
        publishing.remove(&act, &api, whatever).await?;
        return Err(gone);
    }
    Ok(Private(StatusCode::CREATED, json!(publishing.show(&api).await)))
}

/// `GET /profile/apis/{id}`
async fn show(State(desk): At, Extension(identity): Asker, Id(id): Id) -> Answer {
    let api = desk.publishing().api(Some(owner(&identity)), &id).await?;
    Ok(Private(StatusCode::OK, json!(desk.publishing().show(&api).await)))
}

/// `PUT /profile/apis/{id}`
async fn define(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Id(id): Id,
    Input(definition): Input<Definition, DEFINITION_BYTES_MAX>,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let publishing = desk.publishing();
    let before = publishing.api(Some(owner(&identity)), &id).await?;
    let act = act(&identity, client, "change API", format!("api/{id}"));
    let Changed { present, ended } = publishing.define(&act, &before, definition, whatever).await?;
    changed(publishing.show(&present).await, ended)
}

/// `PUT /profile/apis/{id}/state`
async fn set_state(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Id(id): Id,
    Input(wanted): Input<NewState>,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let publishing = desk.publishing();
    let before = publishing.api(Some(owner(&identity)), &id).await?;
    let act = act(&identity, client, "move API", format!("api/{id}"));
    let Changed { present, ended } = publishing.set_state(&act, &before, wanted).await?;
    changed(publishing.show(&present).await, ended)
}

/// `DELETE /profile/apis/{id}`
async fn remove(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Id(id): Id,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let publishing = desk.publishing();
    let before = publishing.api(Some(owner(&identity)), &id).await?;
    let act = act(&identity, client, "remove API", format!("api/{id}"));
    let ended = publishing.remove(&act, &before, whatever).await?;
    Ok(Private(StatusCode::OK, json!({ "closed": ended })))
}

/// `GET /profile/consumers`
async fn consumers(State(desk): At, Extension(identity): Asker) -> Answer {
    desk.registry.know_apis().await.map_err(away)?;
    let consumers = desk.registry.directory().consumers_of(owner(&identity));
    let consumers: Vec<_> = consumers.iter().map(|it| ConsumerView::new(it)).collect();
    Ok(Private(StatusCode::OK, json!({ "consumers": consumers })))
}

/// `PUT /profile/consumers/{username}`
async fn add_consumer(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Id(username): Id,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let act = act(&identity, client, "create consumer", format!("consumer/{username}"));
    let publishing = desk.publishing();
    let (consumer, is_new) = publishing.add_consumer(&act, owner(&identity), &username).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(Private(status, json!(ConsumerView::new(&consumer))))
}

/// `DELETE /profile/consumers/{username}`
async fn remove_consumer(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Id(username): Id,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let consumer = desk.publishing().consumer(owner(&identity), &username).await?;
    let act = act(&identity, client, "remove consumer", format!("consumer/{username}"));
    let ended = desk.publishing().remove_consumer(&act, &consumer).await?;
    Ok(Private(StatusCode::OK, json!({ "closed": ended })))
}

/// `POST /profile/consumers/{username}/keys`
async fn add_key(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Id(username): Id,
    Input(wanted): Input<NewKey>,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let consumer = desk.publishing().consumer(owner(&identity), &username).await?;
    let act = act(&identity, client, "add consumer's key", format!("consumer/{username}"));
    let (consumer, id, key) = desk.publishing().add_key(&act, &consumer, wanted).await?;
    let mut said = json!({ "id": id.to_string(), "consumer": ConsumerView::new(&consumer) });
    if let Some(key) = key {
        said["key"] = json!(key.expose());
    }
    Ok(Private(StatusCode::CREATED, said))
}

/// `PUT /profile/consumers/{username}/basic`
async fn set_basic(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Id(username): Id,
    Input(wanted): Input<NewPassword>,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let consumer = desk.publishing().consumer(owner(&identity), &username).await?;
    let act = act(&identity, client, "set consumer's password", format!("consumer/{username}"));
    changed_consumer(&desk.publishing().set_basic(&act, &consumer, wanted, client).await?)
}

/// `PUT /profile/consumers/{username}/jwt`
async fn set_jwt(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Id(username): Id,
    Input(wanted): Input<NewTokens>,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let consumer = desk.publishing().consumer(owner(&identity), &username).await?;
    let act = act(&identity, client, "set consumer's tokens", format!("consumer/{username}"));
    changed_consumer(&desk.publishing().set_tokens(&act, &consumer, wanted).await?)
}

/// `DELETE /profile/consumers/{username}/credentials/{id}`
async fn remove_credential(
    State(desk): At,
    Extension(identity): Asker,
    Extension(client): From,
    Ids(username, id): Ids,
) -> Answer {
    let _turn = desk.turn(&identity).await?;
    let consumer = desk.publishing().consumer(owner(&identity), &username).await?;
    let act =
        act(&identity, client, "remove consumer's credential", format!("consumer/{username}"));
    changed_consumer(&desk.publishing().remove_credential(&act, &consumer, &id).await?)
}
