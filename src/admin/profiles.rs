//! Profiles in and out, and what would become of a request: the commands `export`, `import` and
//! `explain`, for a registry that a server holds.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use utoipa::{IntoParams, ToSchema};

use super::guard::{Administrator, Anyone, Operator};
use super::pages::PageQuery;
use super::{Answer, At, Desk};
use crate::authenticate::Authority;
use crate::client::Client;
use crate::client::forwarded::sender;
use crate::journey::admission::Admission;
use crate::journey::explain::{self, Asked as Question, Explanation};
use crate::json::{Asked, Input, Private};
use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::registry::import::{Imported, import as import_into};
use crate::registry::profiles::Profile;
use crate::registry::profiles::instance::parse_address;
use crate::registry::usage::Usage;
use crate::registry::{away, view};
use crate::secret::Secret;

const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Tenants of one request: each may have a password to hash.
const TENANTS_MAX: usize = 200;
const PLANS_PER_READ: usize = 1000;

/// A part of a profiles file.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProfilePage {
    /// All plans; on the first page only.
    plans: BTreeMap<String, Plan>,
    /// With hashes and digests instead of secrets.
    #[schema(value_type = Vec<Profile>)]
    tenants: Vec<Value>,
    /// `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// Plans and tenants as a profiles file has them, with hashes.
#[utoipa::path(get, path = "/admin/v1/profiles", tag = "profiles", params(PageQuery),
    responses((status = 200, body = ProfilePage)), security(("admin_token" = ["admin"])))]
pub(super) async fn export(
    Administrator(_): Administrator,
    State(desk): At,
    Asked(query): Asked<PageQuery>,
) -> Answer<ProfilePage> {
    let (after, limit) = query.page()?;
    let mut plans = BTreeMap::new();
    if after.is_none() {
        let mut last: Option<String> = None;
        loop {
            let some = desk.registry().plans(last.as_deref(), PLANS_PER_READ).await;
            let some = some.map_err(away)?;
            let Some((name, _, _)) = some.last() else { break };
            last = Some(name.clone());
            plans.extend(some.into_iter().map(|(name, _, plan)| (name, plan)));
        }
    }
    let records = desk.registry().records(after.as_deref(), limit).await.map_err(away)?;
    let next = records.last().filter(|_| records.len() == limit);
    let next = next.map(|(id, _, _)| id.to_string());
    let tenants = records.iter().map(|(_, _, record)| view::profile(record)).collect();
    Ok(Private(StatusCode::OK, ProfilePage { plans, tenants, next }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ImportQuery {
    /// Overwrite the plans and tenants that are there already.
    #[serde(default)]
    #[param(required = false)]
    replace: bool,
}

/// A profiles file of at most 200 tenants.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Profiles {
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Plan>)]
    plans: Map<String, Value>,
    #[schema(value_type = Vec<Profile>, max_items = 200)]
    tenants: Vec<Map<String, Value>>,
}

/// What an import did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ImportView {
    created: usize,
    replaced: usize,
    left_alone: usize,
    plans: usize,
}

impl Desk {
    /// Puts a hash in the place of each password of a tenant who will be written.
    async fn hash_passwords(
        &self,
        operator: &Operator,
        tenants: &mut [Map<String, Value>],
        replace: bool,
    ) -> Result<(), Refusal> {
        for tenant in tenants {
            let Some(Value::String(username)) = tenant.get("username") else { continue };
            let before = self.registry().record(username).await.map_err(away)?;
            // Who stays as they are needs no hash.
            let is_written = replace || before.is_none();
            if tenant.contains_key("password_hash") || !is_written {
                continue;
            }
            let Some(Value::String(password)) = tenant.get("password") else { continue };
            let password = Secret::new(password.clone());
            let before = before.as_ref().map(|(_, _, before)| before);
            let hash = self.hash(operator, &password, before).await?;
            tenant.remove("password");
            tenant.insert("password_hash".to_owned(), hash.into());
        }
        Ok(())
    }
}

/// Creates the plans and tenants of a profiles file. All of the body is checked before anything of
/// it is written. What is there already stays as it is, unless `replace` is set.
#[utoipa::path(post, path = "/admin/v1/profiles", tag = "profiles", params(ImportQuery),
    request_body = Profiles,
    responses((status = 200, body = ImportView)), security(("admin_token" = ["admin"])))]
pub(super) async fn import(
    Administrator(operator): Administrator,
    State(desk): At,
    Asked(query): Asked<ImportQuery>,
    Input(mut profiles): Input<Profiles, BODY_BYTES_MAX>,
) -> Answer<ImportView> {
    if profiles.tenants.len() > TENANTS_MAX {
        return Err(Refusal::BadInput("At most 200 tenants at once.".to_owned()));
    }
    let has_file = |tenant: &Map<String, Value>| {
        tenant.get("instance").is_some_and(|it| it.pointer("/tls/ca_file").is_some())
    };
    if profiles.tenants.iter().any(has_file) {
        let what = "instance.tls.ca_file is for files: give ca_pem instead.";
        return Err(Refusal::BadInput(what.to_owned()));
    }
    for tenant in &profiles.tenants {
        let Some(instance) = tenant.get("instance") else { continue };
        let several = instance["addresses"].as_array().into_iter().flatten();
        for address in several.chain([&instance["address"]]).filter_map(Value::as_str) {
            // What cannot be read is told with the rest that is wrong.
            if let Ok((_, host, port)) = parse_address(address) {
                desk.judge_host(&host, port)?;
            }
        }
    }
    desk.hash_passwords(&operator, &mut profiles.tenants, query.replace).await?;
    let file = json!({ "plans": profiles.plans, "tenants": profiles.tenants }).to_string();
    let act = operator.act("import", "registry".to_owned());
    let (store, wall) = (desk.registry().store().clone(), desk.registry().wall().clone());
    let import = move || {
        let file = Cursor::new(file.into_bytes());
        import_into(&store, &wall, &Handle::current(), file, query.replace, Some(&act), |_, _| {})
    };
    let imported = tokio::task::spawn_blocking(import).await;
    let imported = imported.map_err(|_| Refusal::Overloaded("an import failed"))?;
    let Imported { created, replaced, left_alone, plans } =
        imported.map_err(|faults| Refusal::BadInput(faults.0.join("\n")))?;
    // The feed brings it to cache and live table.
    tracing::info!(created, replaced, left_alone, plans, by = operator.name, "profiles imported");
    Ok(Private(StatusCode::OK, ImportView { created, replaced, left_alone, plans }))
}

/// Says what would become of a request, without making it. A ticket in it is used up.
#[utoipa::path(post, path = "/admin/v1/explain", tag = "server", request_body = Question,
    responses((status = 200, body = Explanation)), security(("admin_token" = ["operate"])))]
pub(super) async fn explain(
    Extension(operator): Anyone,
    State(desk): At,
    Input(question): Input<Question>,
) -> Answer<Explanation> {
    let parts = question.parts().map_err(Refusal::BadInput)?;
    let journey = &desk.journey;
    // What is only asked about is no use of a key.
    let usage = Usage::default();
    let admission = Admission {
        base_domain: &journey.base_domain,
        authority: Authority { registry: &journey.registry, passwords: &journey.passwords },
        usage: &usage,
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (address, over_tls) =
        sender(address, question.over_tls(), &parts.headers, &journey.trusted_proxies);
    let client = Client { address, over_tls, ..operator.client };
    Ok(Private(StatusCode::OK, explain::explain(admission, &journey.dialer, parts, client).await))
}
