//! The replicas that share the registry.

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, At};
use crate::clock::UnixMillis;
use crate::json::Private;
use crate::registry::away;
use crate::registry::replicas::Replica;

/// A replica.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReplicaView {
    /// Ids of its connections begin with it.
    id: String,
    /// Whether it is the one that answers this.
    this: bool,
    /// The machine's name.
    host: String,
    /// The process there.
    pid: u32,
    version: String,
    since: String,
    /// Its listeners for clients.
    listen: Vec<String>,
    /// Connections and handshakes under way, as it said within the last 15 seconds.
    connections: u64,
    /// Plain requests under way, likewise.
    exchanges: u64,
    draining: bool,
}

/// All of them, by id.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Replicas {
    replicas: Vec<ReplicaView>,
}

/// The replicas that live: those that were heard of within the last 15 seconds.
#[utoipa::path(get, path = "/admin/v1/replicas", tag = "server",
    responses((status = 200, body = Replicas)), security(("admin_token" = ["read"])))]
pub(super) async fn list(State(desk): At) -> Answer<Replicas> {
    let replicas = desk.presence.replicas().await.map_err(away)?;
    let view = |replica: Replica| {
        let heartbeat = replica.heartbeat.unwrap_or_default();
        ReplicaView {
            id: replica.id.to_string(),
            this: replica.id == desk.presence.id(),
            host: replica.about.host,
            pid: replica.about.pid,
            version: replica.about.version,
            since: UnixMillis(replica.about.since_unix_ms).to_string(),
            listen: replica.about.listen,
            connections: heartbeat.connections,
            exchanges: heartbeat.exchanges,
            draining: heartbeat.draining,
        }
    };
    let replicas = replicas.into_iter().map(view).collect();
    Ok(Private(StatusCode::OK, Replicas { replicas }))
}
