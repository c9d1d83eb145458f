//! Whose request it is, whether they may make it, and where it goes: everything that is decided before
//! anything is dialled. A dry run ends here.

use std::sync::Arc;

use http::Method;
use http::header::{HOST, UPGRADE};
use http::request::Parts;

use super::plain;
use super::trail::Trail;
use crate::api::Api;
use crate::authenticate::{Authority, Identity, Sessions};
use crate::client::Client;
use crate::exchange::headers::{Towards, without_credentials};
use crate::grant::Grant;
use crate::path::is_under;
use crate::refusal::{Refusal, wants_page};
use crate::registry::away;
use crate::registry::usage::Usage;
use crate::route::{NO_ROW, Own, PATH_BYTES_MAX, RuntimeTarget, Target, route};
use crate::row::Row;
use crate::tenant::{Instance, Username};

/// What decides.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    /// The registrable domain of the tenant hosts.
    pub base_domain: &'a str,
    /// What credentials are checked against.
    pub authority: Authority<'a>,
    /// Where the use of keys is noted.
    pub usage: &'a Usage,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision {
    /// flowgate answers it itself.
    Own(Own),
    /// A browser's question whether it may ask, on a private row.
    Preflight,
    /// flowgate answers it itself, on this tenant's host.
    TenantPage(Username),
    /// A browser opens this tenant's editor and has no session there yet: it is sent for one.
    Handover(Username),
    /// It goes to a runtime.
    Runtime(Admitted),
    /// It calls this published API; [`Admission::call`] decides the rest.
    Api(Arc<Api>),
}

/// A request for a runtime whose sender may make it.
#[derive(Debug)]
pub struct Admitted {
    /// Who asks, and on what ground.
    pub identity: Identity,
    /// The row it came by.
    pub row: Row,
    /// The instance that it is for.
    pub instance: Arc<Instance>,
    /// Path and query at the runtime; behind its base at a node.
    pub path_and_query: String,
    /// The operator's API to one of whose nodes it goes, in place of an instance.
    pub nodes: Option<Arc<Api>>,
}

impl Admission<'_> {
    /// Decides about a request; what is known of it by then is in `trail`, also after a refusal.
    ///
    /// # Errors
    /// The refusal.
    pub async fn decide(
        self,
        parts: &Parts,
        client: Client,
        trail: &mut Trail,
    ) -> Result<Decision, Refusal> {
        let host = single_host(parts)?;
        trail.path = beginning(parts.uri.path());
        if parts.method == Method::CONNECT {
            return Err(Refusal::Malformed("There are no tunnels here."));
        }
        let target = match route(host, parts.uri.path(), self.base_domain)? {
            Target::Own(own) => {
                trail.row = "own";
                return Ok(Decision::Own(own));
            }
            Target::TenantHost { username } => {
                return self.editor(parts, &username, client, trail).await;
            }
            Target::TenantPage { username } => {
                trail.row = "own";
                return Ok(Decision::TenantPage(username));
            }
            Target::Context => {
                let api = self.authority.registry.api_at(parts.uri.path()).await.map_err(away)?;
                return api.map(Decision::Api).ok_or(NO_ROW);
            }
            Target::Runtime(target) => target,
        };
        if !target.row.is_public() && plain::is_preflight(parts) {
            trail.row = target.row.label();
            return Ok(Decision::Preflight);
        }
        self.admit(parts, target, client, trail).await.map(Decision::Runtime)
    }

    /// The editor's row: only a session of that tenant opens it.
    async fn editor(
        &self,
        parts: &Parts,
        username: &Username,
        client: Client,
        trail: &mut Trail,
    ) -> Result<Decision, Refusal> {
        trail.row = Row::Editor.label();
        let tenant = self.authority.registry.by_username(username).await.map_err(away)?;
        let tenant = tenant.filter(|tenant| !tenant.disabled).ok_or(NO_ROW)?;
        let instance = tenant.instance.clone().ok_or(NO_ROW)?;
        match &instance.admin_root {
            Some(admin_root) if is_under(&trail.path, admin_root) => {}
            _ => return Err(NO_ROW),
        }
        trail.tenant = Some(username.clone());
        let sessions = Sessions::InEditor(username);
        let proof = self.authority.check_session(parts, client, sessions).await?;
        let Some((tenant, grant)) = proof else {
            return match opens_a_page(parts) {
                true => Ok(Decision::Handover(username.clone())),
                false => Err(Refusal::NoSession),
            };
        };
        if trail.path.starts_with("//") {
            return Err(Refusal::Malformed("The path begins with an empty segment."));
        }
        trail.grant = Some(grant);
        let authorization_consumed = self.authority.is_bearer_of_ours(&parts.headers).await;
        let client = client.address.ip();
        let path_and_query = with_query(parts.uri.path().to_owned(), parts);
        let identity = Identity { tenant, grant, authorization_consumed, client, caller: None };
        let row = Row::Editor;
        Ok(Decision::Runtime(Admitted { identity, row, instance, path_and_query, nodes: None }))
    }

    /// Who asks, whether they may, and where it goes.
    async fn admit(
        &self,
        parts: &Parts,
        target: RuntimeTarget,
        client: Client,
        trail: &mut Trail,
    ) -> Result<Admitted, Refusal> {
        trail.row = target.row.label();
        trail.tenant.clone_from(&target.username);
        let identity = if target.row.is_public() {
            self.public_identity(parts, &target, client).await?
        } else {
            self.private_identity(parts, &target, client).await?
        };
        trail.tenant = Some(identity.tenant.username.clone());
        trail.grant = Some(identity.grant);
        let instance = identity.tenant.instance.clone().ok_or(Refusal::NoRuntime)?;
        let path_and_query = with_query(target.runtime_path(&instance)?, parts);
        Ok(Admitted { identity, row: target.row, instance, path_and_query, nodes: None })
    }

    async fn public_identity(
        &self,
        parts: &Parts,
        target: &RuntimeTarget,
        client: Client,
    ) -> Result<Identity, Refusal> {
        let tenant = match &target.username {
            Some(username) => self.authority.registry.by_username(username).await.map_err(away)?,
            None => None,
        };
        let tenant = tenant.ok_or(Refusal::NotFound("no such tenant"))?;
        let authorization_consumed = self.authority.is_bearer_of_ours(&parts.headers).await;
        match tenant.allows(&Grant::Anonymous, self.authority.registry.wall().now()) {
            Ok(()) => Ok(Identity {
                tenant,
                grant: Grant::Anonymous,
                authorization_consumed,
                client: client.address.ip(),
                caller: None,
            }),
            Err(_) => Err(Refusal::NotFound("the tenant is disabled")),
        }
    }

    async fn private_identity(
        &self,
        parts: &Parts,
        target: &RuntimeTarget,
        client: Client,
    ) -> Result<Identity, Refusal> {
        let sessions = match (target.row, &target.username) {
            (Row::TenantApi, Some(username)) => Sessions::OnTenantHost(username),
            _ => Sessions::Ignored,
        };
        let identity = self.authority.authenticate(parts, client, sessions).await?;
        match &target.username {
            Some(username) if *username != identity.tenant.username => {
                return Err(Refusal::WrongTenant);
            }
            _ => {}
        }
        let Grant::Key { id, .. } = identity.grant else { return Ok(identity) };
        match identity.tenant.key(id) {
            Some(key) if key.opens(&target.below_node_root) => {
                let now = self.authority.registry.wall().now();
                self.usage.note(identity.tenant.id, &identity.grant, identity.client, now);
                Ok(identity)
            }
            _ => Err(Refusal::OutOfScope),
        }
    }
}

/// As much of a path as is logged.
fn beginning(path: &str) -> String {
    match path.len() <= PATH_BYTES_MAX {
        true => path.to_owned(),
        false => path.chars().take(PATH_BYTES_MAX).collect(),
    }
}

/// A path at the runtime with what the runtime may see of the query.
fn with_query(mut path: String, parts: &Parts) -> String {
    let query = parts.uri.query().map(without_credentials).filter(|query| !query.is_empty());
    if let Some(query) = query {
        path.push('?');
        path.push_str(&query);
    }
    path
}

/// Whether a browser's window asks, so that it can be sent to where it logs in.
#[must_use]
pub fn opens_a_page(parts: &Parts) -> bool {
    let is = |name: &str, wanted: &str| parts.headers.get(name).is_none_or(|it| it == wanted);
    parts.method == Method::GET
        && wants_page(&parts.headers)
        && !parts.headers.contains_key(UPGRADE)
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document")
}

/// What the runtime is told of an admitted request.
#[must_use]
pub fn towards(row: Row, identity: &Identity, client: Client) -> Towards<'_> {
    Towards {
        row,
        tenant: &identity.tenant.username,
        authorization_consumed: identity.authorization_consumed,
        client: client.address.ip(),
        over_tls: client.over_tls,
        request_id: client.request_id,
        caller: identity.caller.as_deref(),
    }
}

/// The one host that a request names.
fn single_host(parts: &Parts) -> Result<&str, Refusal> {
    const BAD: Refusal = Refusal::Malformed("There must be exactly one Host header.");
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(BAD);
    };
    let host = host.to_str().map_err(|_| BAD)?;
    match parts.uri.authority() {
        Some(authority) if !authority.as_str().eq_ignore_ascii_case(host) => {
            Err(Refusal::Malformed("The request line and the Host header name different hosts."))
        }
        _ => Ok(host),
    }
}
