//! What was counted of a tenant's own flows and of what they publish.

use axum::extract::{Extension, State};
use axum::response::Response;
use http::header::HeaderMap;

use super::{At, Owner as Asker};
use crate::analytics::Question;
use crate::analytics::answer::{answer, format};
use crate::analytics::question::Format;
use crate::analytics::report::Scope;
use crate::api::Owner;
use crate::authenticate::Identity;
use crate::grant::Grant;
use crate::json::Asked;
use crate::refusal::{Refusal, wants_page};

mod page;

/// Only ever their own.
fn scope(identity: &Identity) -> Scope {
    Scope::Owner(Owner::Tenant(identity.tenant.id))
}

/// `GET /profile/analytics`: the page for a browser's session, else JSON or CSV.
pub(super) async fn show(
    State(desk): At,
    Extension(identity): Asker,
    headers: HeaderMap,
    Asked(question): Asked<Question>,
) -> Result<Response, Refusal> {
    let report = desk.analytics.report(&scope(&identity), &question).await?;
    let is_session = matches!(identity.grant, Grant::Session { .. });
    if is_session && question.format.is_none() && wants_page(&headers) {
        let username = identity.tenant.username.as_str();
        return Ok(page::render(username, &report, &question, &headers));
    }
    Ok(answer(&report, format(&question, &headers)))
}

/// `GET /profile/analytics.csv`
pub(super) async fn file(
    State(desk): At,
    Extension(identity): Asker,
    Asked(question): Asked<Question>,
) -> Result<Response, Refusal> {
    let report = desk.analytics.report(&scope(&identity), &question).await?;
    Ok(answer(&report, Format::Csv))
}
