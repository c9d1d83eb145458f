//! Plans.

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::guard::Administrator;
use super::pages::{Condition, PageQuery, tag};
use super::tenants::missing;
use super::{Answer, At, Desk, Tagged};
use crate::api::{Api, Application};
use crate::change::unwritten;
use crate::json::{Asked, Id, Input, Private};
use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::registry::away;
use crate::registry::profiles::check_plan;
use crate::registry::store::{Expected, StoreError};

const RECORDS_PER_READ: usize = 1000;
const NO_PLAN: &str = "There is no such plan.";

/// A plan with its name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlanView {
    name: String,
    /// As in the plan's `ETag`.
    revision: u64,
    limits: Plan,
}

/// Some plans, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlanPage {
    plans: Vec<PlanView>,
    /// `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// A plan that was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Removed {
    removed: bool,
}

impl Desk {
    async fn is_in_use(&self, plan: &str) -> Result<bool, StoreError> {
        self.registry().know_apis().await?;
        let offers = |api: &Api| api.definition.plans.iter().any(|offered| offered == plan);
        let has =
            |it: &Application| it.subscriptions.iter().any(|it| it.plan.as_deref() == Some(plan));
        let directory = self.registry().directory();
        if !directory.apis(offers).is_empty() || !directory.applications(has).is_empty() {
            return Ok(true);
        }
        let mut after: Option<String> = None;
        loop {
            let records = self.registry().records(after.as_deref(), RECORDS_PER_READ).await?;
            let Some((last, _, _)) = records.last() else { return Ok(false) };
            after = Some(last.to_string());
            if records.iter().any(|(_, _, record)| record.plan.as_deref() == Some(plan)) {
                return Ok(true);
            }
        }
    }
}

/// The plans.
#[utoipa::path(get, path = "/admin/v1/plans", tag = "plans", params(PageQuery),
    responses((status = 200, body = PlanPage)), security(("admin_token" = ["read"])))]
pub(super) async fn list(State(desk): At, Asked(query): Asked<PageQuery>) -> Answer<PlanPage> {
    let (after, limit) = query.page()?;
    let found = desk.registry().plans(after.as_deref(), limit).await.map_err(away)?;
    let next = (found.len() == limit).then(|| found.last().map(|(name, _, _)| name.clone()));
    let view = |(name, revision, limits)| PlanView { name, revision, limits };
    let plans = found.into_iter().map(view).collect();
    Ok(Private(StatusCode::OK, PlanPage { plans, next: next.flatten() }))
}

/// One plan.
#[utoipa::path(get, path = "/admin/v1/plans/{name}", tag = "plans", params(("name" = String, Path)),
    responses((status = 200, body = PlanView, headers(("ETag" = String)))),
    security(("admin_token" = ["read"])))]
pub(super) async fn show(State(desk): At, Id(name): Id) -> Tagged<PlanView> {
    let (revision, limits) = desk.plan(&name).await?.ok_or_else(|| missing(NO_PLAN))?;
    Ok((tag(revision), Private(StatusCode::OK, PlanView { name, revision, limits })))
}

impl Desk {
    /// The plan of a path; no plan has a name that can be none.
    async fn plan(&self, name: &str) -> Result<Option<(u64, Plan)>, Refusal> {
        match check_plan(name, &Plan::default()) {
            Ok(()) => self.registry().plan_named(name).await.map_err(away),
            Err(_) => Ok(None),
        }
    }
}

/// Creates a plan, or replaces its limits.
#[utoipa::path(put, path = "/admin/v1/plans/{name}", tag = "plans",
    params(("name" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The ETag that is replaced, or `*`; needed where there is one", pattern = r#"^(\*|"[0-9]{1,19}")$"#),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only create", pattern = r"^\*$")),
    request_body = Plan,
    responses((status = 200, body = PlanView, headers(("ETag" = String))),
        (status = 201, body = PlanView, headers(("ETag" = String)))),
    security(("admin_token" = ["admin"])))]
pub(super) async fn put(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(name): Id,
    condition: Condition,
    Input(limits): Input<Plan>,
) -> Tagged<PlanView> {
    check_plan(&name, &limits).map_err(|what| Refusal::BadInput(format!("The plan: {what}.")))?;
    let (verb, expected, status) = match desk.plan(&name).await? {
        None => {
            condition.allows_creation()?;
            ("create plan", Expected::Absent, StatusCode::CREATED)
        }
        Some((revision, present)) => {
            condition.meets(revision)?;
            if present == limits {
                let view = PlanView { name, revision, limits };
                return Ok((tag(revision), Private(StatusCode::OK, view)));
            }
            ("change plan", Expected::Revision(revision), StatusCode::OK)
        }
    };
    let act = operator.act(verb, format!("plan/{name}"));
    let written = desk.registry().write_plan(&act, &name, expected, Some(&limits)).await;
    let revision = written.map_err(overtaken)?;
    tracing::info!(plan = name, what = verb, by = operator.name, "plan changed");
    Ok((tag(revision), Private(status, PlanView { name, revision, limits })))
}

fn overtaken(error: StoreError) -> Refusal {
    match error {
        StoreError::Conflict { .. } => {
            Refusal::Conflicting("Somebody else changed the plan just now. Look, and try again.")
        }
        error => unwritten(error),
    }
}

/// Removes a plan that no tenant and no subscription has, and no published API offers.
#[utoipa::path(delete, path = "/admin/v1/plans/{name}", tag = "plans",
    params(("name" = String, Path),
        ("If-Match" = String, Header, description = "The ETag that is removed, or `*`", pattern = r#"^(\*|"[0-9]{1,19}")$"#)),
    responses((status = 200, body = Removed)), security(("admin_token" = ["admin"])))]
pub(super) async fn remove(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(name): Id,
    condition: Condition,
) -> Answer<Removed> {
    const IN_USE: Refusal = Refusal::Conflicting(
        "Tenants or subscriptions have this plan, or published APIs offer it.",
    );
    let (revision, limits) = desk.plan(&name).await?.ok_or_else(|| missing(NO_PLAN))?;
    condition.meets(revision)?;
    if desk.is_in_use(&name).await.map_err(away)? {
        return Err(IN_USE);
    }
    let act = operator.act("remove plan", format!("plan/{name}"));
    let expected = Expected::Revision(revision);
    desk.registry().write_plan(&act, &name, expected, None).await.map_err(overtaken)?;
    // Somebody may have got it between the look and the removal.
    if desk.is_in_use(&name).await.map_err(away)? {
        let act = operator.act("put plan back", format!("plan/{name}"));
        let expected = Expected::Absent;
        desk.registry()
            .write_plan(&act, &name, expected, Some(&limits))
            .await
            .map_err(overtaken)?;
        return Err(IN_USE);
    }
    tracing::info!(plan = name, by = operator.name, "plan removed");
    Ok(Private(StatusCode::OK, Removed { removed: true }))
}
