//! Runtimes that flowgate owns: how they are, and what an operator does to them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::guard::{Administrator, Anyone, Operating, Operator};
use super::pages::page;
use super::tenants::missing;
use super::{Answer, At, Desk};
use crate::connect::statics::Statics;
use crate::json::{Asked as Query, Id, Input, Private};
use crate::refusal::Refusal;
use crate::registry::away;
use crate::runtimes::contract::{Condition, Order, RuntimeProvider};
use crate::runtimes::look::Look;
use crate::runtimes::rollout::{Pace, Progress};
use crate::runtimes::state::Asked;
use crate::tenant::{Instance, Tenant};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RuntimeQuery {
    /// What the page before said as `next`.
    #[param(min_length = 1, max_length = 128)]
    after: Option<String>,
    /// How many, at most 1000; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only those in this state: `asleep`, `starting`, `ready`, `failing` or `stopping`.
    state: Option<String>,
}

/// How a runtime is, without what it wrote.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RuntimeView {
    tenant: String,
    /// `asleep`, `starting`, `ready`, `failing` or `stopping`.
    state: &'static str,
    /// What keeps it awake.
    awake_because: Vec<String>,
    /// In how many seconds it is put to sleep if nobody uses it; `null` for never, while it does not
    /// run, and where another replica runs it.
    sleeps_in_seconds: Option<u64>,
    sleep_after_seconds: Option<u64>,
    /// Whether the plan keeps it awake.
    always_on: bool,
    /// Whether requests without a credential wake it.
    public_wake: bool,
    /// What went wrong; of one that is ready, what did before it was started again, for a minute.
    why: Option<String>,
    /// How many times in a row, on the replica that answers.
    failures: u32,
    /// In how many seconds it may be started again.
    retry_in_seconds: Option<u64>,
    /// For how many seconds it has been starting.
    starting_for_seconds: Option<u64>,
    /// How long its last start took, if the replica that answers saw one.
    usual_start_seconds: Option<u64>,
}

impl RuntimeView {
    fn new(tenant: &Tenant, look: Look) -> Self {
        Self {
            tenant: tenant.username.to_string(),
            state: look.state,
            awake_because: look.awake_because,
            sleeps_in_seconds: look.sleeps_in_seconds,
            sleep_after_seconds: look.sleep_after_seconds,
            always_on: look.always_on,
            public_wake: look.public_wake,
            why: look.why,
            failures: look.failures,
            retry_in_seconds: look.retry_in_seconds,
            starting_for_seconds: look.starting_for_seconds,
            usual_start_seconds: look.usual_start_seconds,
        }
    }
}

/// Some runtimes, by tenant's id.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RuntimePage {
    runtimes: Vec<RuntimeView>,
    /// `after` for the next page, which may have nothing that the filter wants; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// The end of what a runtime wrote.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogTail {
    /// At most 8 KiB of it, with control bytes spelt out.
    log_tail: String,
}

impl Desk {
    /// A path's tenant, and the instance whose life flowgate owns.
    async fn owned(&self, username: &str) -> Result<(Arc<Tenant>, Arc<Instance>), Refusal> {
        let tenant = self.tenant(username).await?;
        let instance = tenant.instance.clone().filter(|instance| instance.provider.is_owned());
        let instance = instance.ok_or(missing("flowgate does not run this tenant's runtime."))?;
        Ok((tenant, instance))
    }

    async fn look_at_static(&self, tenant: &Tenant, instance: Arc<Instance>) -> Look {
        let order = Order::new(tenant.id, &tenant.username, &instance, 0);
        let there = Statics::new(Arc::clone(&self.journey.dialer), instance);
        let (state, why) = match there.condition(&order).await {
            Condition::Answers => ("ready", None),
            Condition::Silent => ("failing", Some("it does not answer")),
            Condition::Down => ("failing", Some("it takes no connection")),
        };
        Look { state, why: why.map(str::to_owned), ..Look::default() }
    }

    async fn ask_runtime(
        &self,
        operator: &Operator,
        username: &str,
        (verb, asked): (&'static str, Asked),
    ) -> Answer<RuntimeView> {
        let (tenant, instance) = self.owned(username).await?;
        if asked != Asked::Stop && tenant.disabled {
            return Err(Refusal::Conflicting("The tenant is disabled."));
        }
        let act = operator.act(verb, format!("tenant/{}", tenant.username));
        self.registry().note(&act, None, None).await.map_err(away)?;
        tracing::info!(tenant = %tenant.username, verb, by = operator.name, "asked by an operator");
        let runtimes = &self.journey.runtimes;
        runtimes.ask(&tenant, asked).await.map_err(away)?;
        let look = runtimes.brief(&tenant, &instance).await;
        Ok(Private(StatusCode::ACCEPTED, RuntimeView::new(&tenant, look)))
    }
}

/// The runtimes that flowgate owns.
#[utoipa::path(get, path = "/admin/v1/runtimes", tag = "runtimes", params(RuntimeQuery),
    responses((status = 200, body = RuntimePage)), security(("admin_token" = ["read"])))]
pub(super) async fn list(
    State(desk): At,
    Query(query): Query<RuntimeQuery>,
) -> Answer<RuntimePage> {
    let (after, limit) = page(query.after, query.limit)?;
    let is_owned = |record: &crate::registry::record::TenantRecord| {
        record.instance.as_ref().is_some_and(|instance| instance.provider().is_owned())
    };
    let (found, next) = desk.find(after, limit, is_owned).await?;
    let mut runtimes = Vec::new();
    for (id, ..) in found {
        let Some(tenant) = desk.registry().by_id(id).await.map_err(away)? else { continue };
        let Some(instance) = tenant.instance.clone().filter(|it| it.provider.is_owned()) else {
            continue;
        };
        let look = desk.journey.runtimes.brief(&tenant, &instance).await;
        if query.state.as_deref().is_none_or(|state| state == look.state) {
            runtimes.push(RuntimeView::new(&tenant, look));
        }
    }
    Ok(Private(StatusCode::OK, RuntimePage { runtimes, next }))
}

/// How a tenant's runtime is. Looking wakes nothing. One at an address is `ready` if it answers, else
/// `failing`.
#[utoipa::path(get, path = "/admin/v1/tenants/{username}/runtime", tag = "runtimes",
    params(("username" = String, Path)),
    responses((status = 200, body = RuntimeView)), security(("admin_token" = ["read"])))]
pub(super) async fn show(State(desk): At, Id(username): Id) -> Answer<RuntimeView> {
    let tenant = desk.tenant(&username).await?;
    let instance = tenant.instance.clone().ok_or(missing("The tenant has no runtime."))?;
    let look = match instance.provider.is_owned() {
        true => desk.journey.runtimes.brief(&tenant, &instance).await,
        false => desk.look_at_static(&tenant, instance).await,
    };
    Ok(Private(StatusCode::OK, RuntimeView::new(&tenant, look)))
}

/// The end of what a tenant's runtime wrote, whether it runs or not.
#[utoipa::path(get, path = "/admin/v1/tenants/{username}/runtime/log", tag = "runtimes",
    params(("username" = String, Path)),
    responses((status = 200, body = LogTail)), security(("admin_token" = ["operate"])))]
pub(super) async fn log(_: Operating, State(desk): At, Id(username): Id) -> Answer<LogTail> {
    let (tenant, _) = desk.owned(&username).await?;
    let look = desk.journey.runtimes.look(&tenant).await;
    let log_tail = look.map(|look| look.log_tail).unwrap_or_default();
    Ok(Private(StatusCode::OK, LogTail { log_tail }))
}

/// Starts a tenant's runtime if it does not run, without waiting until it is ready. Earlier failures
/// are forgotten.
#[utoipa::path(post, path = "/admin/v1/tenants/{username}/runtime/start", tag = "runtimes",
    params(("username" = String, Path)),
    responses((status = 202, body = RuntimeView)), security(("admin_token" = ["operate"])))]
pub(super) async fn start(
    Extension(operator): Anyone,
    State(desk): At,
    Id(username): Id,
) -> Answer<RuntimeView> {
    desk.ask_runtime(&operator, &username, ("start runtime", Asked::Start)).await
}

/// Ends a tenant's runtime if it runs. Its next caller wakes it again, and one that is always on is
/// started again within a minute; disable the tenant to keep it down.
#[utoipa::path(post, path = "/admin/v1/tenants/{username}/runtime/stop", tag = "runtimes",
    params(("username" = String, Path)),
    responses((status = 202, body = RuntimeView)), security(("admin_token" = ["operate"])))]
pub(super) async fn stop(
    Extension(operator): Anyone,
    State(desk): At,
    Id(username): Id,
) -> Answer<RuntimeView> {
    desk.ask_runtime(&operator, &username, ("stop runtime", Asked::Stop)).await
}

/// Ends a tenant's runtime if it runs, and starts it again.
#[utoipa::path(post, path = "/admin/v1/tenants/{username}/runtime/restart", tag = "runtimes",
    params(("username" = String, Path)),
    responses((status = 202, body = RuntimeView)), security(("admin_token" = ["operate"])))]
pub(super) async fn restart(
    Extension(operator): Anyone,
    State(desk): At,
    Id(username): Id,
) -> Answer<RuntimeView> {
    desk.ask_runtime(&operator, &username, ("restart runtime", Asked::Restart)).await
}

fn none() -> Refusal {
    missing("There was no restart of all runtimes within a week.")
}

/// Restarts all runtimes that run, on all replicas, a few at a time; no further once more than
/// `failures_max` did not come back. Those that sleep start anew when they wake.
#[utoipa::path(post, path = "/admin/v1/runtimes/restart", tag = "runtimes", request_body = Option<Pace>,
    responses((status = 202, body = Progress)), security(("admin_token" = ["admin"])))]
pub(super) async fn restart_all(
    Administrator(operator): Administrator,
    State(desk): At,
    Input(pace): Input<Option<Pace>>,
) -> Answer<Progress> {
    let pace =
        pace.unwrap_or_default().check().map_err(|what| Refusal::BadInput(format!("{what}.")))?;
    let begun = desk.journey.runtimes.begin_rollout(&operator.name, pace).await.map_err(away)?;
    let begun = begun.ok_or(Refusal::Conflicting("All runtimes are being restarted already."))?;
    let act = operator.act("restart all runtimes", "runtimes".to_owned());
    let after = serde_json::json!({ "pace": pace, "runtimes": begun.total });
    desk.registry().note(&act, None, Some(after)).await.map_err(away)?;
    Ok(Private(StatusCode::ACCEPTED, begun))
}

/// How far the last restart of all runtimes has come, whichever replica does it.
#[utoipa::path(get, path = "/admin/v1/runtimes/restart", tag = "runtimes",
    responses((status = 200, body = Progress)), security(("admin_token" = ["read"])))]
pub(super) async fn progress(State(desk): At) -> Answer<Progress> {
    let progress = desk.journey.runtimes.rollout().await.map_err(away)?.ok_or_else(none)?;
    Ok(Private(StatusCode::OK, progress))
}

/// Halts a restart of all runtimes: those that are under way are finished, no other is begun.
#[utoipa::path(delete, path = "/admin/v1/runtimes/restart", tag = "runtimes",
    responses((status = 202, body = Progress)), security(("admin_token" = ["operate"])))]
pub(super) async fn halt(Extension(operator): Anyone, State(desk): At) -> Answer<Progress> {
    let runtimes = &desk.journey.runtimes;
    let progress = runtimes.rollout().await.map_err(away)?.ok_or_else(none)?;
    let act = operator.act("halt restart of all runtimes", "runtimes".to_owned());
    desk.registry().note(&act, None, None).await.map_err(away)?;
    runtimes.halt_rollout().await.map_err(away)?;
    Ok(Private(StatusCode::ACCEPTED, progress))
}
