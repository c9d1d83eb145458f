//! Tenants' API keys, as operators handle them. A secret is given out once, by what made it.

use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::guard::{Administrator, Anyone};
use super::pages::tag;
use super::tenants::{Changed, missing};
use super::views::KeyView;
use super::{Answer, At, Tagged};
use crate::grant::KeyId;
use crate::json::{Id, Ids, Input, Private};
use crate::refusal::Refusal;
use crate::registry::keys::{NewKey, Rotation, new_default};
use crate::registry::record::TenantRecord;

/// A key that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MadeKey {
    /// The key's id.
    id: String,
    /// The secret, which is told here and never again.
    key: String,
    #[serde(flatten)]
    changed: Changed,
}

/// All keys of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Keys {
    /// The default one has the id `0000000000000000` and no name.
    keys: Vec<KeyView>,
}

const NO_KEY: &str = "The tenant has no such key.";

/// A tenant's keys.
#[utoipa::path(get, path = "/admin/v1/tenants/{username}/keys", tag = "credentials",
    params(("username" = String, Path)),
    responses((status = 200, body = Keys, headers(("ETag" = String)))),
    security(("admin_token" = ["read"])))]
pub(super) async fn list(State(desk): At, Id(username): Id) -> Tagged<Keys> {
    let (id, revision, record) = desk.record(&username).await?;
    let keys = desk.describe_keys(id, &record).await;
    Ok((tag(revision), Private(StatusCode::OK, Keys { keys })))
}

/// Makes a new default key in the place of any there is; what rests on that ends.
#[utoipa::path(post, path = "/admin/v1/tenants/{username}/api-key", tag = "credentials",
    params(("username" = String, Path)),
    responses((status = 200, body = MadeKey)), security(("admin_token" = ["admin"])))]
pub(super) async fn regenerate(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(username): Id,
) -> Answer<MadeKey> {
    let (secret, fresh) = new_default(desk.now())?;
    let change = |record: &mut TenantRecord, _| {
        record.regenerate(&fresh);
        Ok(())
    };
    let changed = desk.change(&operator, "regenerate API key", &username, change).await?;
    let (id, key) = (fresh.id.clone(), secret.expose().to_owned());
    Ok(Private(StatusCode::OK, MadeKey { id, key, changed }))
}

/// Takes the default key away; what rests on it ends.
#[utoipa::path(delete, path = "/admin/v1/tenants/{username}/api-key", tag = "credentials",
    params(("username" = String, Path)),
    responses((status = 200, body = Changed)), security(("admin_token" = ["operate"])))]
pub(super) async fn remove_default(
    Extension(operator): Anyone,
    State(desk): At,
    Id(username): Id,
) -> Answer<Changed> {
    let now = desk.now();
    let change = |record: &mut TenantRecord, _| match record.revoke_key(KeyId::DEFAULT, now) {
        true => Ok(()),
        false => Err(missing("The tenant has no default key.")),
    };
    let changed = desk.change(&operator, "remove API key", &username, change).await?;
    Ok(Private(StatusCode::OK, changed))
}

/// Makes a named key.
#[utoipa::path(post, path = "/admin/v1/tenants/{username}/keys", tag = "credentials",
    params(("username" = String, Path)), request_body = NewKey,
    responses((status = 201, body = MadeKey)), security(("admin_token" = ["admin"])))]
pub(super) async fn create(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(username): Id,
    Input(input): Input<NewKey>,
) -> Answer<MadeKey> {
    let (secret, id, fresh) = input.make(desk.now())?;
    let change = |record: &mut TenantRecord, _| record.add_key(&fresh);
    let changed = desk.change(&operator, "add key", &username, change).await?;
    let (id, key) = (id.to_string(), secret.expose().to_owned());
    Ok(Private(StatusCode::CREATED, MadeKey { id, key, changed }))
}

/// Gives a named key another secret.
#[utoipa::path(post, path = "/admin/v1/tenants/{username}/keys/{id}/rotate", tag = "credentials",
    params(("username" = String, Path), ("id" = String, Path)),
    request_body = Option<Rotation>,
    responses((status = 200, body = MadeKey)), security(("admin_token" = ["admin"])))]
pub(super) async fn rotate(
    Administrator(operator): Administrator,
    State(desk): At,
    Ids(username, id): Ids,
    Input(input): Input<Rotation>,
) -> Answer<MadeKey> {
    let (secret, rotated) = input.make(desk.now())?;
    let id = named(&id)?;
    let change = |record: &mut TenantRecord, _| match record.rotate_key(id, &rotated) {
        true => Ok(()),
        false => Err(missing(NO_KEY)),
    };
    let changed = desk.change(&operator, "rotate key", &username, change).await?;
    let (id, key) = (id.to_string(), secret.expose().to_owned());
    Ok(Private(StatusCode::OK, MadeKey { id, key, changed }))
}

/// Revokes a named key; what rests on it ends.
#[utoipa::path(delete, path = "/admin/v1/tenants/{username}/keys/{id}", tag = "credentials",
    params(("username" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = Changed)), security(("admin_token" = ["operate"])))]
pub(super) async fn revoke(
    Extension(operator): Anyone,
    State(desk): At,
    Ids(username, id): Ids,
) -> Answer<Changed> {
    let id = named(&id)?;
    let now = desk.now();
    let change = |record: &mut TenantRecord, _| match record.revoke_key(id, now) {
        true => Ok(()),
        false => Err(missing(NO_KEY)),
    };
    let changed = desk.change(&operator, "revoke key", &username, change).await?;
    Ok(Private(StatusCode::OK, changed))
}

/// The id of a named key; the default one is regenerated, not rotated.
fn named(id: &str) -> Result<KeyId, Refusal> {
    KeyId::from_hex(id).filter(|id| *id != KeyId::DEFAULT).ok_or_else(|| missing(NO_KEY))
}
