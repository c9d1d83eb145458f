//! Whose request it is, whether they may make it, and where it goes: everything that is decided before
//! anything is dialled. A dry run ends here.

use std::sync::Arc;

use http::Method;
use http::header::HOST;
use http::request::Parts;

use super::plain;
use super::trail::Trail;
use crate::authenticate::{Authority, Identity};
use crate::client::Client;
use crate::exchange::headers::{Towards, without_credentials};
use crate::grant::Grant;
use crate::path::is_under;
use crate::refusal::Refusal;
use crate::registry::away;
use crate::registry::usage::Usage;
use crate::route::{Own, PATH_BYTES_MAX, RuntimeTarget, Target, route};
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
    /// It goes to a runtime.
    Runtime(Admitted),
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
    /// Path and query at the runtime.
    pub path_and_query: String,
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
        trail.path = parts.uri.path().chars().take(PATH_BYTES_MAX).collect();
        if parts.method == Method::CONNECT {
            return Err(Refusal::Malformed("There are no tunnels here."));
        }
        let target = match route(host, parts.uri.path(), self.base_domain)? {
            Target::Own(own) => {
                trail.row = "own";
                return Ok(Decision::Own(own));
            }
            Target::TenantHost { username } => {
                return Err(self.refuse_editor(&username, trail).await?);
            }
            Target::Runtime(target) => target,
        };
        if !target.row.is_public() && plain::is_preflight(parts) {
            trail.row = target.row.label();
            return Ok(Decision::Preflight);
        }
        self.admit(parts, target, client, trail).await.map(Decision::Runtime)
    }

    /// The editor's row opens with a session, and nobody issues those yet.
    async fn refuse_editor(
        &self,
        username: &Username,
        trail: &mut Trail,
    ) -> Result<Refusal, Refusal> {
        trail.row = "editor";
        let tenant = self.authority.registry.by_username(username).await.map_err(away)?;
        let tenant = tenant.filter(|tenant| !tenant.disabled);
        let instance = tenant.as_ref().and_then(|tenant| tenant.instance.as_ref());
        let admin_root = instance.and_then(|instance| instance.admin_root.as_ref());
        match admin_root {
            Some(admin_root) if is_under(&trail.path, admin_root) => {
                trail.tenant = Some(username.clone());
                Ok(Refusal::NoSession)
            }
            _ => Ok(Refusal::NotFound("no row for this path")),
        }
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
        let mut path_and_query = target.runtime_path(&instance)?;
        if let Some(query) = parts.uri.query() {
            let query = without_credentials(query);
            if !query.is_empty() {
                path_and_query.push('?');
                path_and_query.push_str(&query);
            }
        }
        Ok(Admitted { identity, row: target.row, instance, path_and_query })
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
        let identity = self.authority.authenticate(parts, client).await?;
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
                self.usage.note(identity.tenant.id, &identity.grant, now);
                Ok(identity)
            }
            _ => Err(Refusal::OutOfScope),
        }
    }
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
