//! The process itself: how it is, how it is set, what it refused, and its end.

use std::sync::atomic::Ordering;

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::guard::Administrator;
use super::pages::page;
use super::{Answer, At, Desk};
use crate::config::Effective;
use crate::journey::recent::Refused;
use crate::json::{Asked, Private};
use crate::refusal::Refusal;
use crate::registry::away;

/// How the process is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    version: &'static str,
    pid: u32,
    uptime_seconds: u64,
    ready: bool,
    draining: bool,
    /// Connections and plain requests.
    live: u64,
    registry: RegistryStatus,
    /// Admin tokens that are known.
    admin_tokens: usize,
}

/// What is known of the registry.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct RegistryStatus {
    /// Its random id.
    id: String,
    /// As in `/readyz`.
    standing: &'static str,
    /// How old what is cached may be, in milliseconds.
    age_ms: u64,
}

impl RegistryStatus {
    pub fn of(desk: &Desk) -> Self {
        let freshness = desk.registry().freshness();
        Self {
            id: format!("{:032x}", desk.registry().store().id()),
            standing: freshness.standing().as_str(),
            age_ms: u64::try_from(freshness.age().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// How this process is.
#[utoipa::path(get, path = "/admin/v1/status", tag = "server",
    responses((status = 200, body = Status)), security(("admin_token" = ["read"])))]
pub(super) async fn status(State(desk): At) -> Answer<Status> {
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        uptime_seconds: desk.clock().now().0 / 1000,
        ready: desk.journey.ready.load(Ordering::Relaxed),
        draining: desk.is_stopping(),
        live: desk.live().len(),
        registry: RegistryStatus::of(&desk),
        admin_tokens: desk.tokens.len(),
    };
    Ok(Private(StatusCode::OK, status))
}

/// Every setting.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Configuration {
    settings: Vec<Effective>,
}

/// Every setting as it holds, with its source. Secrets are not told.
#[utoipa::path(get, path = "/admin/v1/configuration", tag = "server",
    responses((status = 200, body = Configuration)), security(("admin_token" = ["read"])))]
pub(super) async fn configuration(State(desk): At) -> Answer<Configuration> {
    Ok(Private(StatusCode::OK, Configuration { settings: desk.configuration.clone() }))
}

/// What the near cache of tenants was asked since the start, and what it holds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CacheView {
    tenants: usize,
    tenants_max: usize,
    /// Names and keys of which it knows that they are nobody's.
    absent: usize,
    /// Look-ups that it answered with a tenant.
    hits: u64,
    /// Look-ups that it answered with "there is none".
    absent_hits: u64,
    /// Look-ups that it could not answer.
    misses: u64,
    /// Reads of the registry for those.
    fetches: u64,
    /// Tenants who had to go for others.
    evictions: u64,
    /// Notices and changes of tenants.
    invalidations: u64,
}

/// The near cache of this replica.
#[utoipa::path(get, path = "/admin/v1/cache", tag = "server",
    responses((status = 200, body = CacheView)), security(("admin_token" = ["read"])))]
pub(super) async fn cache(State(desk): At) -> Answer<CacheView> {
    let counts = desk.registry().cache_counts();
    let view = CacheView {
        tenants: counts.tenants,
        tenants_max: counts.tenants_max,
        absent: counts.absent,
        hits: counts.hits,
        absent_hits: counts.absent_hits,
        misses: counts.misses,
        fetches: counts.fetches,
        evictions: counts.evictions,
        invalidations: counts.invalidations,
    };
    Ok(Private(StatusCode::OK, view))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RefusalQuery {
    /// What the page before said as `next`: older ones.
    #[param(pattern = "^[0-9]{1,19}$")]
    after: Option<String>,
    /// How many, at most 1000; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only this tenant's.
    tenant: Option<String>,
    /// Only those with this code.
    code: Option<String>,
}

/// A request that was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct RefusalView {
    /// Counts up from the start of the process.
    number: u64,
    at: String,
    request_id: String,
    client: String,
    /// Whose runtime it was for, or whose credential it was said to be, where that is known.
    tenant: Option<String>,
    /// Empty where none was found.
    row: &'static str,
    path: String,
    handshake: bool,
    status: u16,
    code: &'static str,
    /// As the log has it; the client was told less.
    why: String,
}

impl From<Refused> for RefusalView {
    fn from(refused: Refused) -> Self {
        Self {
            number: refused.number,
            at: refused.at.to_string(),
            request_id: refused.request_id.to_string(),
            client: refused.client,
            tenant: refused.tenant.map(|tenant| tenant.to_string()),
            row: refused.row,
            path: refused.path,
            handshake: refused.is_handshake,
            status: refused.status,
            code: refused.label,
            why: refused.why,
        }
    }
}

/// Some refusals, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RefusalPage {
    refusals: Vec<RefusalView>,
    /// How many there were since the start; the last 1000 are kept.
    total: u64,
    /// `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// The last refusals of this replica.
#[utoipa::path(get, path = "/admin/v1/refusals", tag = "server", params(RefusalQuery),
    responses((status = 200, body = RefusalPage)), security(("admin_token" = ["read"])))]
pub(super) async fn refusals(
    State(desk): At,
    Asked(query): Asked<RefusalQuery>,
) -> Answer<RefusalPage> {
    let (after, limit) = page(query.after, query.limit)?;
    let bad = |_| Refusal::BadInput("after must be what a page said as next.".to_owned());
    let before = after.map(|after| after.parse().map_err(bad)).transpose()?.unwrap_or(u64::MAX);
    let is_wanted = |refused: &Refused| {
        let tenant = refused.tenant.as_ref().map(|tenant| tenant.as_str());
        query.tenant.as_deref().is_none_or(|wanted| tenant == Some(wanted))
            && query.code.as_deref().is_none_or(|code| refused.label == code)
    };
    let (found, total) = desk.journey.refused.list(before, limit, is_wanted);
    let next = found.last().filter(|_| found.len() == limit).map(|last| last.number.to_string());
    let refusals = found.into_iter().map(RefusalView::from).collect();
    Ok(Private(StatusCode::OK, RefusalPage { refusals, total, next }))
}

/// That it begins.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Draining {
    draining: bool,
}

/// Stops this process as SIGTERM does: not ready, no new connections, paced closes, then the end.
#[utoipa::path(post, path = "/admin/v1/drain", tag = "server",
    responses((status = 202, body = Draining)), security(("admin_token" = ["admin"])))]
pub(super) async fn drain(
    Administrator(operator): Administrator,
    State(desk): At,
) -> Answer<Draining> {
    if !desk.is_draining.load(Ordering::SeqCst) {
        let act = operator.act("drain", "server".to_owned());
        desk.registry().note(&act, None, None).await.map_err(away)?;
    }
    // The second time would cut, as a second signal does: that is for signals.
    if !desk.is_draining.swap(true, Ordering::SeqCst) {
        tracing::info!(by = operator.name, "an operator asks for a drain");
        desk.stop.notify_one();
    }
    Ok(Private(StatusCode::ACCEPTED, Draining { draining: true }))
}
