//! Tenants: looking at them, making, changing, disabling and removing them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::guard::{Administrator, Anyone, Operator};
use super::pages::{Condition, page, tag};
use super::views::{TenantLine, TenantView};
use super::{Answer, At, Desk, NO_TENANT, Tagged};
use crate::change::{Changing, unwritten};
use crate::guessing::Claim;
use crate::json::{Asked, Id, Input, Private};
use crate::passwords::{self, Verdict};
use crate::refusal::{OperatorRefusal, Refusal};
use crate::registry::away;
use crate::registry::import::single::Wanted;
use crate::registry::profiles::Profile;
use crate::registry::record::TenantRecord;
use crate::secret::Secret;
use crate::tenant::{Password, Tenant, TenantId, Username};

/// A tenant with many keys and origins.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Records that one request looks through for what its filter wants.
const SCANNED_MAX: usize = 10_000;
const RECORDS_PER_READ: usize = 1000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TenantQuery {
    /// What the page before said as `next`.
    #[param(min_length = 1, max_length = 128)]
    after: Option<String>,
    /// How many, at most 1000; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only usernames that begin so.
    prefix: Option<String>,
    /// Only tenants with this plan.
    plan: Option<String>,
    /// Only disabled ones, or only others.
    disabled: Option<bool>,
}

/// Some tenants, by id.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TenantPage {
    tenants: Vec<TenantLine>,
    /// `after` for the next page, which may have nothing that the filter wants; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// A tenant as they are after a change.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Changed {
    pub tenant: TenantView,
    /// Connections and plain requests that the change ended on this replica; others end theirs.
    pub closed: usize,
}

/// What was ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Closed {
    /// Connections and plain requests, on this replica.
    pub closed: usize,
}

impl Desk {
    /// The records behind `after` that are wanted, and where the next page begins.
    pub(super) async fn find(
        &self,
        mut after: Option<String>,
        limit: usize,
        is_wanted: impl Fn(&TenantRecord) -> bool,
    ) -> Result<(Vec<(TenantId, u64, TenantRecord)>, Option<String>), Refusal> {
        let mut found = Vec::new();
        for _ in 0..SCANNED_MAX / RECORDS_PER_READ {
            let records = self.registry().records(after.as_deref(), RECORDS_PER_READ).await;
            let records = records.map_err(away)?;
            let is_last = records.len() < RECORDS_PER_READ;
            for (id, revision, record) in records {
                after = Some(id.to_string());
                if is_wanted(&record) {
                    found.push((id, revision, record));
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

    /// The record of a path's tenant.
    pub(super) async fn record(
        &self,
        username: &str,
    ) -> Result<(TenantId, u64, TenantRecord), Refusal> {
        let missing = Refusal::Operator(NO_TENANT);
        let username = Username::parse(username).map_err(|_| missing.clone())?;
        self.registry().record(username.as_str()).await.map_err(away)?.ok_or(missing)
    }

    /// A path's tenant as the store has them now: another replica may have made them just now.
    async fn present(&self, username: &str) -> Result<Arc<Tenant>, Refusal> {
        let (id, ..) = self.record(username).await?;
        let tenant = self.registry().by_id(id).await.map_err(away)?;
        tenant.ok_or(Refusal::Operator(NO_TENANT))
    }

    /// Changes a path's tenant and describes them. `change` is told the revision, too.
    pub(super) async fn change(
        &self,
        operator: &Operator,
        verb: &'static str,
        username: &str,
        mut change: impl FnMut(&mut TenantRecord, u64) -> Result<(), Refusal>,
    ) -> Result<Changed, Refusal> {
        let before = self.present(username).await?;
        let act = operator.act(verb, format!("tenant/{username}"));
        let changing = Changing { registry: self.registry(), live: self.live() };
        let gone = Refusal::Operator(NO_TENANT);
        let change = |record: &mut TenantRecord, revision| {
            change(record, revision)?;
            Ok(record.clone())
        };
        let changed = changing.change(&before, &act, gone, change).await?;
        let (tenant, record) = (changed.tenant, changed.answer);
        let view = self.describe(tenant.id, tenant.revision, &record).await;
        Ok(Changed { tenant: view, closed: changed.ended })
    }

    /// Reads the settings in a body; a password in it becomes a hash.
    pub(super) async fn wanted(
        &self,
        operator: &Operator,
        username: &str,
        mut body: Map<String, Value>,
        before: Option<&TenantRecord>,
    ) -> Result<Wanted, Refusal> {
        let bad = |what: &str| Refusal::BadInput(what.to_owned());
        let named = body.entry("username").or_insert_with(|| username.into());
        if named.as_str() != Some(username) {
            return Err(bad("username must be the one in the path."));
        }
        let has_hash = body.get("password_hash").is_some_and(|hash| !hash.is_null());
        if !has_hash && let Some(password) = body.remove("password").filter(|it| !it.is_null()) {
            let Value::String(password) = password else {
                return Err(bad("password must be a string."));
            };
            let hash = self.hash(operator, &Secret::new(password), before).await?;
            body.insert("password_hash".to_owned(), hash.into());
        }
        if body.get("instance").is_some_and(|it| it.pointer("/tls/ca_file").is_some()) {
            // It would be a file of the server's, and whoever asks could see what is in it.
            return Err(bad("instance.tls.ca_file is for files: give ca_pem instead."));
        }
        let wanted = Wanted::read(body, before, self.now())
            .map_err(|faults| Refusal::BadInput(faults.join(" ")))?;
        if let Some(plan) = wanted.plan()
            && self.registry().plan_named(plan).await.map_err(away)?.is_none()
        {
            return Err(bad("plan is the name of no plan."));
        }
        if let Some(instance) = wanted.instance()
            && before.and_then(|before| before.instance.as_ref()) != Some(instance)
        {
            self.judge_host(&instance.host, instance.port)?;
            for node in &instance.others {
                self.judge_host(&node.host, node.port)?;
            }
        }
        Ok(wanted)
    }

    /// The hash of a password: the present one, if it is of this very password.
    pub(super) async fn hash(
        &self,
        operator: &Operator,
        password: &Secret,
        before: Option<&TenantRecord>,
    ) -> Result<String, Refusal> {
        passwords::check(password)
            .map_err(|what| Refusal::BadInput(format!("password {what}.")))?;
        let client = operator.client.address.ip();
        let busy = || Refusal::Overloaded("too many passwords wait to be hashed");
        if let Some(present) = before.and_then(|before| before.password.as_ref()) {
            let stored = Password::from_hash(&present.hash, present.fingerprint);
            let claim = Claim { name: operator.name.as_str(), client };
            match self.journey.passwords.compare(&stored, password, claim).await {
                Verdict::Right | Verdict::Remembered => return Ok(present.hash.clone()),
                Verdict::Wrong => {}
                Verdict::Busy | Verdict::Later(_) => return Err(busy()),
            }
        }
        self.journey.passwords.hash(password, client).await.map_err(|why| match why {
            Some(what) => Refusal::BadInput(format!("password {what}.")),
            None => busy(),
        })
    }
}

/// The tenants, in the order of their ids.
#[utoipa::path(get, path = "/admin/v1/tenants", tag = "tenants", params(TenantQuery),
    responses((status = 200, body = TenantPage)), security(("admin_token" = ["read"])))]
pub(super) async fn list(State(desk): At, Asked(query): Asked<TenantQuery>) -> Answer<TenantPage> {
    let (after, limit) = page(query.after, query.limit)?;
    let is_wanted = |record: &TenantRecord| {
        query.prefix.as_ref().is_none_or(|prefix| record.username.starts_with(prefix))
            && query.plan.as_ref().is_none_or(|plan| record.plan.as_ref() == Some(plan))
            && query.disabled.is_none_or(|disabled| record.disabled == disabled)
    };
    let (found, next) = desk.find(after, limit, is_wanted).await?;
    let tenants = found.into_iter();
    let tenants = tenants.map(|(id, revision, record)| desk.outline(id, revision, record));
    Ok(Private(StatusCode::OK, TenantPage { tenants: tenants.collect(), next }))
}

/// One tenant.
#[utoipa::path(get, path = "/admin/v1/tenants/{username}", tag = "tenants",
    params(("username" = String, Path)),
    responses((status = 200, body = TenantView, headers(("ETag" = String)))),
    security(("admin_token" = ["read"])))]
pub(super) async fn show(State(desk): At, Id(username): Id) -> Tagged<TenantView> {
    let (id, revision, record) = desk.record(&username).await?;
    let tenant = desk.describe(id, revision, &record).await;
    Ok((tag(revision), Private(StatusCode::OK, tenant)))
}

/// Creates a tenant, or replaces the settings of one. Credentials that are not in the body stay as
/// they are; the same again changes nothing.
#[utoipa::path(put, path = "/admin/v1/tenants/{username}", tag = "tenants",
    params(("username" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The ETag that is replaced, or `*`; needed where there is one", pattern = r#"^(\*|"[0-9]{1,19}")$"#),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only create", pattern = r"^\*$")),
    request_body = Profile,
    responses((status = 200, body = Changed, headers(("ETag" = String))),
        (status = 201, body = Changed, headers(("ETag" = String)))),
    security(("admin_token" = ["admin"])))]
pub(super) async fn put(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(username): Id,
    condition: Condition,
    Input(body): Input<Map<String, Value>, BODY_BYTES_MAX>,
) -> Tagged<Changed> {
    let name = Username::parse(&username)
        .map_err(|what| Refusal::BadInput(format!("username {what}.")))?;
    let existing = desk.registry().record(name.as_str()).await.map_err(away)?;
    let Some((_, revision, before)) = existing else {
        condition.allows_creation()?;
        let record = desk.wanted(&operator, &username, body, None).await?.into_record();
        let act = operator.act("create tenant", format!("tenant/{username}"));
        let tenant = desk.registry().create(&act, &record).await.map_err(unwritten)?;
        tracing::info!(tenant = %tenant.username, by = operator.name, "tenant created");
        let view = desk.describe(tenant.id, tenant.revision, &record).await;
        let changed = Changed { tenant: view, closed: 0 };
        return Ok((tag(tenant.revision), Private(StatusCode::CREATED, changed)));
    };
    condition.meets(revision)?;
    let wanted = desk.wanted(&operator, &username, body, Some(&before)).await?;
    let change = |record: &mut TenantRecord, revision| {
        condition.meets(revision)?;
        wanted.replace(record);
        Ok(())
    };
    let changed = desk.change(&operator, "change tenant", &username, change).await?;
    Ok((tag(changed.tenant.revision()), Private(StatusCode::OK, changed)))
}

/// Removes a tenant and ends all that runs for them.
#[utoipa::path(delete, path = "/admin/v1/tenants/{username}", tag = "tenants",
    params(("username" = String, Path),
        ("If-Match" = String, Header, description = "The ETag that is removed, or `*`", pattern = r#"^(\*|"[0-9]{1,19}")$"#)),
    responses((status = 200, body = Closed)), security(("admin_token" = ["admin"])))]
pub(super) async fn remove(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(username): Id,
    condition: Condition,
) -> Answer<Closed> {
    let before = desk.present(&username).await?;
    let act = operator.act("remove tenant", format!("tenant/{username}"));
    let changing = Changing { registry: desk.registry(), live: desk.live() };
    let gone = Refusal::Operator(NO_TENANT);
    let check = |_: &TenantRecord, revision| condition.meets(revision);
    let closed = changing.remove(&before, &act, gone, check).await?;
    // They open nothing any more; only so that nothing is left lying about.
    if let Err(refusal) = desk.end_sessions_of(&act, before.id).await {
        tracing::warn!(why = %refusal, "the sessions of a removed tenant are left");
    }
    Ok(Private(StatusCode::OK, Closed { closed }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Disabled {
    disabled: bool,
}

/// Disables a tenant, who is then answered as if they did not exist, or enables them again. Needs no
/// revision: it may have to be quick.
#[utoipa::path(put, path = "/admin/v1/tenants/{username}/disabled", tag = "tenants",
    params(("username" = String, Path)), request_body = Disabled,
    responses((status = 200, body = Changed, headers(("ETag" = String)))),
    security(("admin_token" = ["operate"])))]
pub(super) async fn set_disabled(
    Extension(operator): Anyone,
    State(desk): At,
    Id(username): Id,
    Input(Disabled { disabled }): Input<Disabled>,
) -> Tagged<Changed> {
    let verb = if disabled { "disable tenant" } else { "enable tenant" };
    let change = |record: &mut TenantRecord, _| {
        record.disabled = disabled;
        Ok(())
    };
    let changed = desk.change(&operator, verb, &username, change).await?;
    Ok((tag(changed.tenant.revision()), Private(StatusCode::OK, changed)))
}

/// What is not there.
pub(super) fn missing(what: &'static str) -> Refusal {
    Refusal::Operator(OperatorRefusal::Missing(what))
}
