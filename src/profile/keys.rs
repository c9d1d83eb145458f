//! API keys: the default one, which is regenerated as a whole, and named ones.

use std::time::Duration;

use axum::extract::{Extension, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, At, Desk, Id, Input, Owner, Private, away};
use crate::clock::{MOMENT_MAX, UnixMillis};
use crate::grant::KeyId;
use crate::refusal::Refusal;
use crate::registry::profiles::keys::{NAMED_KEYS_MAX, check_name, check_scope, read_moment};
use crate::registry::record::{KeyRecord, PreviousRecord};
use crate::secret::{Secret, SecretDigest};
use crate::tenant::{ApiKey, Tenant};

/// How long a rotated secret may go on working.
const OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

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
    let last_used = last_used.filter(|used| *used >= key.created_at);
    let moment = |moment: Option<UnixMillis>| moment.map(|moment| moment.to_string());
    let now = desk.now();
    let previous = key.previous.filter(|previous| now < previous.until);
    let mut said = json!({
        "last_four": key.hint,
        "created": key.created_at.to_string(),
        "last_used": moment(last_used),
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

/// A new secret, and what is stored of it.
fn generate() -> Result<(Secret, String), Refusal> {
    let secret = Secret::generate_key().map_err(|_| Refusal::Overloaded("no randomness"))?;
    let sha256 = SecretDigest::of(&secret).to_hex();
    Ok((secret, sha256))
}

/// `POST /profile/api-key`
pub(super) async fn regenerate(State(desk): At, Extension(identity): Owner) -> Answer {
    let (secret, sha256) = generate()?;
    let now = desk.now();
    let fresh = KeyRecord {
        id: KeyId::DEFAULT.to_string(),
        name: None,
        sha256,
        hint: Some(secret.hint()),
        created_unix_ms: now.0,
        expires_unix_ms: None,
        scope: Vec::new(),
        previous: None,
    };
    let (_, (), ended) = desk
        .change(&identity, move |record| {
            record.keys.retain(|key| key.name.is_some());
            record.keys.insert(0, fresh.clone());
            Ok(())
        })
        .await?;
    let said = json!({
        "api_key": secret.expose(),
        "created": now.to_string(),
        "closed": ended,
    });
    Ok(Private(StatusCode::OK, said))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    name: String,
    expires: Option<String>,
    expires_in_seconds: Option<u64>,
    #[serde(default)]
    scope: Vec<String>,
}

impl NewKey {
    fn expires_at(&self, now: UnixMillis) -> Result<Option<UnixMillis>, Refusal> {
        let bad = |what: &str| Err(Refusal::BadInput(what.to_owned()));
        let expires_at = match (&self.expires, self.expires_in_seconds) {
            (Some(_), Some(_)) => return bad("Give expires or expires_in_seconds, not both."),
            (None, None) => return Ok(None),
            (None, Some(seconds)) => now.plus(Duration::from_secs(seconds)),
            (Some(text), None) => match read_moment(text) {
                Some(moment) => moment,
                None => return bad("expires must be like \"2030-01-31T12:00:00Z\"."),
            },
        };
        match expires_at {
            _ if expires_at <= now => bad("The key would have expired already."),
            _ if expires_at > MOMENT_MAX => bad("The key would expire after the year 9999."),
            _ => Ok(Some(expires_at)),
        }
    }
}

/// `POST /profile/keys`
pub(super) async fn create(
    State(desk): At,
    Extension(identity): Owner,
    Input(input): Input<NewKey>,
) -> Answer {
    let bad = |field: &str, what: &str| Refusal::BadInput(format!("{field} {what}."));
    check_name(&input.name).map_err(|what| bad("name", what))?;
    check_scope(&input.scope).map_err(|what| bad("scope", what))?;
    let (secret, sha256) = generate()?;
    let now = desk.now();
    let random = getrandom::u64().map_err(|_| Refusal::Overloaded("no randomness"))?;
    let id = KeyId::named(random);
    let fresh = KeyRecord {
        id: id.to_string(),
        name: Some(input.name.clone()),
        sha256,
        hint: Some(secret.hint()),
        created_unix_ms: now.0,
        expires_unix_ms: input.expires_at(now)?.map(|expires_at| expires_at.0),
        scope: input.scope.clone(),
        previous: None,
    };
    let (tenant, (), _) = desk
        .change(&identity, move |record| {
            if record.keys.iter().any(|key| key.name == fresh.name) {
                return Err(Refusal::Conflicting("There is a key of that name."));
            }
            if record.keys.iter().filter(|key| key.name.is_some()).count() >= NAMED_KEYS_MAX {
                return Err(Refusal::Conflicting("There are 100 named keys; revoke one first."));
            }
            record.keys.push(fresh.clone());
            Ok(())
        })
        .await?;
    let mut said = match tenant.key(id) {
        Some(key) => describe(&desk, &tenant, key).await?,
        None => json!({}),
    };
    said["key"] = json!(secret.expose());
    Ok(Private(StatusCode::CREATED, said))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    #[serde(default)]
    overlap_seconds: u64,
}

/// `POST /profile/keys/{id}/rotate`
pub(super) async fn rotate(
    State(desk): At,
    Extension(identity): Owner,
    Id(id): Id,
    Input(input): Input<Rotation>,
) -> Answer {
    let overlap = Duration::from_secs(input.overlap_seconds);
    if overlap > OVERLAP_MAX {
        return Err(Refusal::BadInput("The overlap is 30 days at most.".to_owned()));
    }
    let id = named(&id)?;
    let (secret, sha256) = generate()?;
    let (hint, now) = (secret.hint(), desk.now());
    let (tenant, (), ended) = desk
        .change(&identity, move |record| {
            let key = record.keys.iter_mut().find(|key| key.id == id.to_string());
            let key = key.ok_or(Refusal::NotFound("no such key"))?;
            // Only the last secret goes on: two rotations in a row end the first one's.
            key.previous = (!overlap.is_zero()).then(|| PreviousRecord {
                sha256: key.sha256.clone(),
                until_unix_ms: now.plus(overlap).0,
            });
            key.sha256 = sha256.clone();
            key.hint = Some(hint.clone());
            key.created_unix_ms = now.0;
            Ok(())
        })
        .await?;
    let mut said = match tenant.key(id) {
        Some(key) => describe(&desk, &tenant, key).await?,
        None => json!({}),
    };
    said["key"] = json!(secret.expose());
    said["closed"] = json!(ended);
    Ok(Private(StatusCode::OK, said))
}

/// `DELETE /profile/keys/{id}`
pub(super) async fn revoke_key(State(desk): At, Extension(identity): Owner, Id(id): Id) -> Answer {
    let id = named(&id)?;
    let (_, (), ended) = desk
        .change(&identity, move |record| {
            let before = record.keys.len();
            record.keys.retain(|key| key.id != id.to_string());
            match record.keys.len() < before {
                true => Ok(()),
                false => Err(Refusal::NotFound("no such key")),
            }
        })
        .await?;
    Ok(Private(StatusCode::OK, json!({ "closed": ended })))
}

/// The id of a named key; the default one is regenerated, not rotated or revoked.
fn named(id: &str) -> Result<KeyId, Refusal> {
    KeyId::from_hex(id).filter(|id| *id != KeyId::DEFAULT).ok_or(Refusal::NotFound("no such key"))
}
