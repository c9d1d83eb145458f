//! The audit log, to be read.

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::pages::page;
use super::{Answer, At};
use crate::json::{Asked, Private};
use crate::registry::audit::Entry;
use crate::registry::away;

/// Entries that one request looks through for what its filter wants.
const SCANNED_MAX: usize = 10_000;
const ENTRIES_PER_READ: usize = 1000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// What the page before said as `next`.
    #[param(min_length = 1, max_length = 128)]
    after: Option<String>,
    /// How many, at most 1000; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only what this operator's token, or this tenant, did.
    who: Option<String>,
    /// Only what was done to this, as in `tenant/mike`.
    object: Option<String>,
}

/// An entry with its id.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EntryView {
    id: String,
    /// When.
    at: String,
    #[serde(flatten)]
    entry: Entry,
}

/// Some entries, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditPage {
    entries: Vec<EntryView>,
    /// `after` for the next page, which may have nothing that the filter wants; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// Who changed what.
#[utoipa::path(get, path = "/admin/v1/audit", tag = "audit", params(AuditQuery),
    responses((status = 200, body = AuditPage)), security(("admin_token" = ["read"])))]
pub(super) async fn list(State(desk): At, Asked(query): Asked<AuditQuery>) -> Answer<AuditPage> {
    let (mut after, limit) = page(query.after, query.limit)?;
    let is_wanted = |entry: &Entry| {
        query.who.as_ref().is_none_or(|who| entry.who == *who)
            && query.object.as_ref().is_none_or(|object| entry.object == *object)
    };
    let mut entries = Vec::new();
    for _ in 0..SCANNED_MAX / ENTRIES_PER_READ {
        let read = desk.registry().audit(after.as_deref(), ENTRIES_PER_READ).await;
        let read = read.map_err(away)?;
        let is_last = read.len() < ENTRIES_PER_READ;
        for (id, entry) in read {
            after = Some(id.clone());
            if is_wanted(&entry) {
                let at = crate::clock::UnixMillis(entry.at_unix_ms).to_string();
                entries.push(EntryView { id, at, entry });
            }
            if entries.len() == limit {
                return Ok(Private(StatusCode::OK, AuditPage { entries, next: after }));
            }
        }
        if is_last {
            return Ok(Private(StatusCode::OK, AuditPage { entries, next: None }));
        }
    }
    Ok(Private(StatusCode::OK, AuditPage { entries, next: after }))
}
