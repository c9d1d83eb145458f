//! Browser sessions.

use std::collections::HashMap;

use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::guard::Anyone;
use super::pages::page;
use super::tenants::missing;
use super::{Answer, At, Desk};
use crate::change::unwritten;
use crate::clock::UnixMillis;
use crate::json::{Asked, Id, Private};
use crate::refusal::Refusal;
use crate::registry::audit::Act;
use crate::registry::away;
use crate::registry::sessions::Session;
use crate::tenant::TenantId;

/// Of a session's id: enough to name it among all.
const SHOWN_CHARACTERS: usize = 16;
/// Sessions that one request looks through.
const SCANNED_MAX: usize = 10_000;
const SESSIONS_PER_READ: usize = 1000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SessionQuery {
    /// What the page before said as `next`.
    #[param(min_length = 1, max_length = 128)]
    after: Option<String>,
    /// How many, at most 1000; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only this tenant's.
    tenant: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OwnerQuery {
    /// Whose sessions.
    tenant: String,
}

/// A browser's session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionView {
    /// For `DELETE`; opens nothing.
    id: String,
    /// Whose it is; absent if there is no such tenant any more.
    tenant: Option<String>,
    created: String,
    /// When it was last used, roughly.
    seen: String,
}

/// Some sessions, by id.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionPage {
    sessions: Vec<SessionView>,
    /// `after` for the next page, which may have nothing that the filter wants; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// Sessions that were ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ended {
    ended: usize,
}

impl Desk {
    async fn find_sessions(
        &self,
        mut after: Option<String>,
        limit: usize,
        owner: Option<TenantId>,
    ) -> Result<(Vec<(String, Session)>, Option<String>), Refusal> {
        let mut found = Vec::new();
        for _ in 0..SCANNED_MAX / SESSIONS_PER_READ {
            let sessions = self.registry().sessions(after.as_deref(), SESSIONS_PER_READ).await;
            let sessions = sessions.map_err(away)?;
            let is_last = sessions.len() < SESSIONS_PER_READ;
            for (id, session) in sessions {
                after = Some(id.clone());
                if owner.is_none() || session.tenant() == owner {
                    found.push((id, session));
                }
                if found.len() == limit {
                    return Ok((found, after));
                }
            }
            if is_last {
                return Ok((found, None));
            }
        }
        Ok((found, after))
    }
}

impl Desk {
    /// Ends all sessions of a tenant. Returns how many those were.
    pub(super) async fn end_sessions_of(
        &self,
        act: &Act,
        owner: TenantId,
    ) -> Result<usize, Refusal> {
        let (mut after, mut ended) = (None, 0);
        loop {
            let (found, next) = self.find_sessions(after, SESSIONS_PER_READ, Some(owner)).await?;
            let ids: Vec<String> = found.into_iter().map(|(id, _)| id).collect();
            if !ids.is_empty() {
                ended += ids.len();
                let said = json!({ "ended": ids.len() });
                self.registry().end_sessions(act, ids, said).await.map_err(unwritten)?;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(ended),
            }
        }
    }
}

/// The sessions.
#[utoipa::path(get, path = "/admin/v1/sessions", tag = "sessions", params(SessionQuery),
    responses((status = 200, body = SessionPage)), security(("admin_token" = ["read"])))]
pub(super) async fn list(
    State(desk): At,
    Asked(query): Asked<SessionQuery>,
) -> Answer<SessionPage> {
    let (after, limit) = page(query.after, query.limit)?;
    let owner = match &query.tenant {
        Some(username) => Some(desk.tenant(username).await?.id),
        None => None,
    };
    let (found, next) = desk.find_sessions(after, limit, owner).await?;
    let mut names: HashMap<TenantId, Option<String>> = HashMap::new();
    let mut sessions = Vec::with_capacity(found.len());
    for (mut id, session) in found {
        let tenant = match session.tenant() {
            Some(owner) => match names.get(&owner) {
                Some(name) => name.clone(),
                None => {
                    let tenant = desk.registry().by_id(owner).await.map_err(away)?;
                    let name = tenant.map(|tenant| tenant.username.to_string());
                    names.entry(owner).or_insert(name).clone()
                }
            },
            None => None,
        };
        id.truncate(SHOWN_CHARACTERS);
        let created = UnixMillis(session.created_unix_ms).to_string();
        let seen = UnixMillis(session.seen_unix_ms).to_string();
        sessions.push(SessionView { id, tenant, created, seen });
    }
    Ok(Private(StatusCode::OK, SessionPage { sessions, next }))
}

/// Ends one session.
#[utoipa::path(delete, path = "/admin/v1/sessions/{id}", tag = "sessions",
    params(("id" = String, Path)),
    responses((status = 200, body = Ended)), security(("admin_token" = ["operate"])))]
pub(super) async fn end(Extension(operator): Anyone, State(desk): At, Id(id): Id) -> Answer<Ended> {
    let none = || missing("There is no such session.");
    let is_id = id.len() == SHOWN_CHARACTERS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id {
        return Err(none());
    }
    // Its whole id is longer, so it stands behind what is shown of it.
    let found = desk.registry().sessions(Some(&id), 1).await.map_err(away)?;
    let found = found.into_iter().find(|(whole, _)| whole.starts_with(&id));
    let (whole, _) = found.ok_or_else(none)?;
    let act = operator.act("end session", format!("session/{id}"));
    let after = json!({ "ended": 1 });
    desk.registry().end_sessions(&act, vec![whole], after).await.map_err(unwritten)?;
    Ok(Private(StatusCode::OK, Ended { ended: 1 }))
}

/// Ends all sessions of a tenant.
#[utoipa::path(delete, path = "/admin/v1/sessions", tag = "sessions", params(OwnerQuery),
    responses((status = 200, body = Ended)), security(("admin_token" = ["operate"])))]
pub(super) async fn end_all(
    Extension(operator): Anyone,
    State(desk): At,
    Asked(query): Asked<OwnerQuery>,
) -> Answer<Ended> {
    let owner = desk.tenant(&query.tenant).await?;
    let act = operator.act("end sessions", format!("tenant/{}", owner.username));
    let ended = desk.end_sessions_of(&act, owner.id).await?;
    Ok(Private(StatusCode::OK, Ended { ended }))
}
