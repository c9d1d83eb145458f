//! One-time tickets for browsers, which cannot send a header with a WebSocket handshake: whoever has an
//! access token gets one for one path and one page's origin.

use axum::extract::State;
use http::StatusCode;
use http::header::HeaderMap;
use serde::Deserialize;
use serde_json::json;

use super::{At, unkept};
use crate::api::context::is_reserved;
use crate::authenticate::Authority;
use crate::json::Input;
use crate::refusal::Refusal;
use crate::registry::away;
use crate::registry::tickets::{TICKET_TTL, Ticket};
use crate::route::PATH_BYTES_MAX;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTicket {
    path: String,
    origin: Option<String>,
}

/// `POST /oauth2/tickets`
pub(super) async fn issue(
    State(desk): At,
    headers: HeaderMap,
    Input(wanted): Input<NewTicket>,
) -> Result<axum::response::Response, Refusal> {
    const BAD: &str = "The path must be the handshake's, that of a published API, without query.";
    let NewTicket { path, origin } = wanted;
    let is_path = path.starts_with('/')
        && path.len() <= PATH_BYTES_MAX
        && !path.contains('?')
        && !is_reserved(&path);
    let api = match is_path {
        true => desk.registry.api_at(&path).await.map_err(away)?,
        false => None,
    };
    let api = api.ok_or_else(|| Refusal::BadInput(BAD.to_owned()))?;
    let authority = Authority { registry: &desk.registry, passwords: &desk.passwords };
    let grant = authority.check_bearer(&headers, &api)?;
    let ticket = Ticket::new(api.account_id(), path, origin, grant);
    let secret = desk.registry.issue_ticket(&ticket).await.map_err(away)?;
    let said = json!({
        "ticket": secret.expose(),
        "path": ticket.path,
        "origin": ticket.origin,
        "expires_in_seconds": TICKET_TTL.as_secs(),
    });
    Ok(unkept(StatusCode::CREATED, &said))
}
