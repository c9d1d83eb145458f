//! Live connections, to be seen and to be closed.

use axum::extract::{Extension, State};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, At, Desk, Id, Owner, Private};
use crate::close::Cause;
use crate::grant::Grant;
use crate::live::Entry;
use crate::refusal::Refusal;
use crate::tenant::Tenant;

/// `GET /profile/connections`
pub(super) async fn list(State(desk): At, Extension(identity): Owner) -> Answer {
    let mut entries = desk.live.entries_of(identity.tenant.id);
    entries.sort_unstable_by_key(|entry| entry.id);
    let all = entries.iter().map(|entry| describe(&desk, &identity.tenant, entry));
    Ok(Private(StatusCode::OK, json!({ "connections": all.collect::<Vec<_>>() })))
}

fn describe(desk: &Desk, tenant: &Tenant, entry: &Entry) -> Value {
    let age = desk.clock.now().since(entry.since);
    let key = match entry.grant {
        Grant::Key { id, .. } => tenant.key(id).and_then(|key| key.name.clone()),
        Grant::Anonymous | Grant::Password { .. } => None,
    };
    json!({
        "id": entry.id.to_string(),
        "path": &*entry.path,
        "grant": entry.grant.to_string(),
        "key_name": key,
        "client": entry.client.address.to_string(),
        "request_id": entry.client.request_id.to_string(),
        "since": desk.now().minus(age).to_string(),
        "messages_from_client": entry.from_client.messages(),
        "messages_from_runtime": entry.from_runtime.messages(),
        "bytes_from_client": entry.from_client.bytes(),
        "bytes_from_runtime": entry.from_runtime.bytes(),
        "closing": entry.closing().map(Cause::reason),
    })
}

/// `DELETE /profile/connections/{id}`
pub(super) async fn close(State(desk): At, Extension(identity): Owner, Id(id): Id) -> Answer {
    let entries = desk.live.entries_of(identity.tenant.id);
    let entry = entries.iter().find(|entry| entry.id.to_string() == id);
    let entry = entry.ok_or(Refusal::NotFound("no such connection"))?;
    let ended = entry.close(Cause::ClosedByOwner);
    Ok(Private(StatusCode::OK, json!({ "closed": usize::from(ended) })))
}
