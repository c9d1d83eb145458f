//! API keys: the default one, which is regenerated as a whole, and named ones.

use std::sync::Arc;

use axum::extract::{Extension, State};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, At, Desk, From, Id, Input, Owner, Private, TenantRecord, away, named};
use crate::authenticate::Identity;
use crate::client::Client;
use crate::clock::UnixMillis;
use crate::grant::KeyId;
use crate::refusal::Refusal;
use crate::registry::keys::{NewKey, Rotation, new_default};
use crate::secret::Secret;
use crate::tenant::{ApiKey, Tenant};

/// The default key as its owner sees it.
pub(super) async fn default_key(desk: &Desk, tenant: &Tenant) -> Result<Value, Refusal> {
    match tenant.key(KeyId::DEFAULT) {
        Some(key) => describe(desk, tenant, key).await,
        None => Ok(Value::Null),
    }
}

/// The named keys as their owner sees them.
pub(super) async fn named_keys(desk: &Desk, tenant: &Tenant) -> Result<Vec<Value>, Refusal> {
    let mut named = Vec::new();
    for key in tenant.keys.iter().filter(|key| key.id != KeyId::DEFAULT) {
        named.push(describe(desk, tenant, key).await?);
    }
    Ok(named)
}

async fn describe(desk: &Desk, tenant: &Tenant, key: &ApiKey) -> Result<Value, Refusal> {
    let last_used = desk.usage.last_used(&desk.registry, tenant.id, key.id).await.map_err(away)?;
    // What was used before the secret was made was another secret.
    let last_used = last_used.filter(|used| used.at >= key.created_at);
    let moment = |moment: Option<UnixMillis>| moment.map(|moment| moment.to_string());
    let now = desk.now();
    let previous = key.previous.filter(|previous| now < previous.until);
    let mut said = json!({
        "last_four": key.hint,
        "created": key.created_at.to_string(),
        "last_used": moment(last_used.map(|used| used.at)),
        "last_used_from": last_used.and_then(|used| used.from),
    });
    if key.id != KeyId::DEFAULT {
        said["id"] = json!(key.id.to_string());
        said["name"] = json!(key.name);
        said["expires"] = json!(moment(key.expires_at));
        said["scope"] = json!(key.scope);
        said["previous_works_until"] = json!(moment(previous.map(|previous| previous.until)));
    }
    Ok(said)
}

/// `GET /profile/keys`
pub(super) async fn list(State(desk): At, Extension(identity): Owner) -> Answer {
    let keys = named_keys(&desk, &identity.tenant).await?;
    Ok(Private(StatusCode::OK, json!({ "keys": keys })))
}

/// `POST /profile/api-key`
pub(super) async fn regenerate(
    State(desk): At,
    Extension(identity): Owner,
    Extension(client): From,
) -> Answer {
    let (secret, now, ended) = make_default(&desk, &identity, client, About::Any).await?;
    let said = json!({
        "api_key": secret.expose(),
        "created": now.to_string(),
        "closed": ended,
    });
    Ok(Private(StatusCode::OK, said))
}

/// Which secret of a key is to be replaced.
#[derive(Clone, Copy, Debug)]
pub(super) enum About {
    /// Whichever there is.
    Any,
    /// The one that was made then: a form that is sent twice must not replace what it has made.
    MadeAt(UnixMillis),
}

impl About {
    /// From a form.
    pub(super) fn made(at_unix_ms: Option<u64>) -> Self {
        at_unix_ms.map_or(Self::Any, |at| Self::MadeAt(UnixMillis(at)))
    }

    fn check(self, record: &TenantRecord, id: KeyId) -> Result<(), Refusal> {
        let Self::MadeAt(made) = self else { return Ok(()) };
        let key = record.keys.iter().find(|key| key.id == id.to_string());
        // Where there is none yet, its form says zero.
        match key.map_or(0, |key| key.created_unix_ms) == made.0 {
            true => Ok(()),
            false => Err(Refusal::Conflicting(
                "The key was changed meanwhile: what you see now is the present one.",
            )),
        }
    }
}

/// Regenerates the default key. Returns it, since when it is there, and how much that has ended.
pub(super) async fn make_default(
    desk: &Desk,
    identity: &Identity,
    client: Client,
    about: About,
) -> Result<(Secret, UnixMillis, usize), Refusal> {
    let now = desk.now();
    let (secret, fresh) = new_default(now)?;
    let (_, (), ended) = desk
        .change(identity, client, "regenerate API key", move |record| {
            about.check(record, KeyId::DEFAULT)?;
            record.regenerate(&fresh);
            Ok(())
        })
        .await?;
    Ok((secret, now, ended))
}

/// `POST /profile/keys`
pub(super) async fn create(
    State(desk): At,
    Extension(identity): Owner,
    Extension(client): From,
    Input(input): Input<NewKey>,
) -> Answer {
    let (secret, id, fresh) = input.make(desk.now())?;
    let (tenant, (), _) =
        desk.change(&identity, client, "add key", move |record| record.add_key(&fresh)).await?;
    let mut said = match tenant.key(id) {
        Some(key) => describe(&desk, &tenant, key).await?,
        None => json!({}),
    };
    said["key"] = json!(secret.expose());
    Ok(Private(StatusCode::CREATED, said))
}

/// `POST /profile/keys/{id}/rotate`
pub(super) async fn rotate(
    State(desk): At,
    Extension(identity): Owner,
    Extension(client): From,
    Id(id): Id,
    Input(input): Input<Rotation>,
) -> Answer {
    let id = named(&id)?;
    let which = (id, About::Any);
    let (tenant, secret, ended) = rotate_to(&desk, &identity, client, which, input).await?;
    let mut said = match tenant.key(id) {
        Some(key) => describe(&desk, &tenant, key).await?,
        None => json!({}),
    };
    said["key"] = json!(secret.expose());
    said["closed"] = json!(ended);
    Ok(Private(StatusCode::OK, said))
}

/// Rotates a named key. Returns its new secret, and how much that has ended.
pub(super) async fn rotate_to(
    desk: &Desk,
    identity: &Identity,
    client: Client,
    (id, about): (KeyId, About),
    rotation: Rotation,
) -> Result<(Arc<Tenant>, Secret, usize), Refusal> {
    let (secret, rotated) = rotation.make(desk.now())?;
    let change = move |record: &mut TenantRecord| {
        about.check(record, id)?;
        match record.rotate_key(id, &rotated) {
            true => Ok(()),
            false => Err(Refusal::NotFound("no such key")),
        }
    };
    let (tenant, (), ended) = desk.change(identity, client, "rotate key", change).await?;
    Ok((tenant, secret, ended))
}

/// `DELETE /profile/keys/{id}`
pub(super) async fn revoke_key(
    State(desk): At,
    Extension(identity): Owner,
    Extension(client): From,
    Id(id): Id,
) -> Answer {
    let ended = revoke_by_id(&desk, &identity, client, named(&id)?).await?;
    Ok(Private(StatusCode::OK, json!({ "closed": ended })))
}

/// Revokes a named key. Returns how much that has ended.
pub(super) async fn revoke_by_id(
    desk: &Desk,
    identity: &Identity,
    client: Client,
    id: KeyId,
) -> Result<usize, Refusal> {
    let now = desk.now();
    let change = move |record: &mut TenantRecord| match record.revoke_key(id, now) {
        true => Ok(()),
        false => Err(Refusal::NotFound("no such key")),
    };
    let (_, (), ended) = desk.change(identity, client, "revoke key", change).await?;
    Ok(ended)
}
