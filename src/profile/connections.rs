//! Live connections, to be seen and to be closed, whichever replica has them.

use axum::extract::{Extension, State};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, At, Id, Owner, Private};
use crate::clock::UnixMillis;
use crate::close::Cause;
use crate::grant::KeyId;
use crate::presence::Shown;
use crate::refusal::Refusal;
use crate::registry::replicas::Numbered;
use crate::tenant::Tenant;

/// `GET /profile/connections`
pub(super) async fn list(State(desk): At, Extension(identity): Owner) -> Answer {
    let running = desk.presence.connections(identity.tenant.id).await;
    let all = running.shown.iter().map(|(id, shown)| describe(&identity.tenant, *id, shown));
    let said = json!({
        "connections": all.collect::<Vec<_>>(),
        "total": running.total,
        "incomplete": running.incomplete,
    });
    Ok(Private(StatusCode::OK, said))
}

fn describe(tenant: &Tenant, id: Numbered, shown: &Shown) -> Value {
    let key = shown.key.as_deref().and_then(KeyId::from_hex);
    json!({
        "id": id.to_string(),
        "kind": if shown.is_exchange { "exchange" } else { "connection" },
        "path": shown.path,
        "grant": shown.grant,
        "key_name": key.and_then(|key| tenant.key(key)).and_then(|key| key.name.as_deref()),
        "client": shown.client,
        "request_id": shown.request_id,
        "since": UnixMillis(shown.since_unix_ms).to_string(),
        "messages_from_client": shown.messages_from_client,
        "messages_from_runtime": shown.messages_from_runtime,
        "bytes_from_client": shown.bytes_from_client,
        "bytes_from_runtime": shown.bytes_from_runtime,
        "closing": shown.closing,
    })
}

/// `DELETE /profile/connections/{id}`
pub(super) async fn close(State(desk): At, Extension(identity): Owner, Id(id): Id) -> Answer {
    let connection = Numbered::parse(&id).ok_or(Refusal::NotFound("no such connection"))?;
    let tenant = identity.tenant.id;
    let ended = desk.presence.close(tenant, connection, Cause::ClosedByOwner).await?;
    Ok(Private(StatusCode::OK, json!({ "closed": usize::from(ended) })))
}
