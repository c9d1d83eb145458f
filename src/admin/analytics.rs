//! What was counted: of all tenants, of one, or of the operators' own APIs.

use axum::extract::State;
use axum::response::Response;
use http::header::HeaderMap;
use serde::Deserialize;
use utoipa::IntoParams;

use super::At;
use super::pages::page;
use crate::analytics::answer::{answer, format};
use crate::analytics::question::{By, Format, Step};
use crate::analytics::report::Scope;
use crate::analytics::{Question, Report};
use crate::api::Owner;
use crate::json::Asked;
use crate::refusal::Refusal;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AnalyticsQuery {
    /// Of this tenant alone.
    tenant: Option<String>,
    /// Of the operators' own APIs alone.
    operators: Option<bool>,
    /// From when on, as in `2026-11-20T12:00:00Z`.
    #[param(example = "2026-11-20T12:00:00Z")]
    from: Option<String>,
    /// Up to when; up to now if nothing is said.
    #[param(example = "2026-11-20T13:00:00Z")]
    to: Option<String>,
    /// In place of `from`: so much before `to`, as in `1h` or `30days`; a day if nothing is said.
    #[param(example = "24h")]
    last: Option<String>,
    /// What suits the time if nothing is said. Minutes are kept for a week.
    step: Option<Step>,
    /// What the numbers are grouped by; by tenant if nothing is said. For all tenants there is nothing
    /// else.
    by: Option<By>,
    /// Only this published API, by its id.
    #[param(min_length = 16, max_length = 16)]
    api: Option<String>,
    /// What `Accept` says if nothing is said.
    #[param(inline)]
    format: Option<Format>,
    /// For all tenants: what the page before said as `next`.
    #[param(min_length = 1, max_length = 128)]
    after: Option<String>,
    /// For all tenants: how many are looked at, at most 1000; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// What was counted, by time. Of all tenants, those are told of whom there is anything.
#[utoipa::path(get, path = "/admin/v1/analytics", tag = "analytics", params(AnalyticsQuery),
    responses((status = 200, content((Report = "application/json"), (String = "text/csv")))),
    security(("admin_token" = ["read"])))]
pub(super) async fn show(
    State(desk): At,
    headers: HeaderMap,
    Asked(query): Asked<AnalyticsQuery>,
) -> Result<Response, Refusal> {
    let (after, limit) = page(query.after, query.limit)?;
    let scope = match (&query.tenant, query.operators.unwrap_or(false)) {
        (Some(_), true) => {
            return Err(Refusal::BadInput("Give tenant or operators.".to_owned()));
        }
        (Some(username), false) => Scope::Owner(Owner::Tenant(desk.tenant(username).await?.id)),
        (None, true) => Scope::Owner(Owner::Operator),
        (None, false) => Scope::All { after, limit },
    };
    let AnalyticsQuery { from, to, last, step, by, api, format: wanted, .. } = query;
    let question = Question { from, to, last, step, by, api, format: wanted };
    let report = desk.analytics.report(&scope, &question).await?;
    Ok(answer(&report, format(&question, &headers)))
}
