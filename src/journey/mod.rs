//! One request, top to bottom: the only place that knows every stage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::accept::Peer;
use crate::authenticate::{Authority, Identity};
use crate::client::{Client, RequestIds};
use crate::clock::Clock;
use crate::connect::Dialer;
use crate::exchange::Body;
use crate::grant::Grant;
use crate::live::LiveTable;
use crate::passwords::Passwords;
use crate::path::is_under;
use crate::refusal::{Refusal, wants_page};
use crate::registry::Registry;
use crate::registry::store::StoreError;
use crate::registry::usage::Usage;
use crate::relay::plane::Plane;
use crate::route::{Own, PATH_BYTES_MAX, RuntimeTarget, Target, route};
use crate::row::Row;
use crate::tenant::Username;

mod handshake;
mod profile;
mod steps;
mod websocket;

/// Everything a request meets on its way.
#[derive(Debug)]
pub struct Journey {
    /// The registrable domain of the tenant hosts.
    pub base_domain: String,
    /// Time.
    pub clock: Clock,
    /// Where tenants are found.
    pub registry: Arc<Registry>,
    /// When keys were used.
    pub usage: Arc<Usage>,
    /// Where passwords are checked.
    pub passwords: Arc<Passwords>,
    /// The tenants' own pages.
    pub profile: axum::Router,
    /// What runs.
    pub live: Arc<LiveTable>,
    /// The way to runtimes.
    pub dialer: Dialer,
    /// Where frames travel.
    pub plane: Plane,
    /// Names for requests.
    pub request_ids: RequestIds,
    /// Whether `/readyz` says yes.
    pub ready: AtomicBool,
    /// How long a client may take to switch protocols, in line with the header timeout.
    pub switch_timeout: std::time::Duration,
    /// Where tests hold a handshake.
    #[cfg(test)]
    pub gate: Arc<steps::Gate>,
}

/// What the log line of a request tells, filled in on the way.
#[derive(Debug, Default)]
struct Trail {
    row: &'static str,
    tenant: Option<Username>,
    grant: Option<Grant>,
    path: String,
}

/// A request for a runtime whose sender may make it.
#[derive(Debug)]
struct Admitted {
    identity: Identity,
    row: Row,
    /// Path and query at the runtime.
    path_and_query: String,
}

impl Journey {
    /// Answers one request of the data plane.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let client = Client { address: peer.address, request_id: self.request_ids.next() };
        let mut trail = Trail::default();
        let (parts, body) = request.into_parts();
        let wants_page = wants_page(&parts.headers);
        let is_handshake = handshake::is_upgrade(&parts);
        match self.travel(parts, body, client, peer, &mut trail).await {
            Ok(response) => {
                trail.log_answer(client, is_handshake, response.status());
                response
            }
            Err(refusal) => {
                trail.log_refusal(client, is_handshake, &refusal);
                let mut response = refusal.to_response(wants_page, client.request_id);
                if is_handshake || refusal.status() == StatusCode::BAD_REQUEST {
                    // What the client may have sent behind it is no HTTP, or not understood.
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().entry(CONNECTION).or_insert(close);
                }
                response.map(Body::from)
            }
        }
    }

    async fn travel(
        self: &Arc<Self>,
        parts: Parts,
        body: Incoming,
        client: Client,
        peer: Peer,
        trail: &mut Trail,
    ) -> Result<Response<Body>, Refusal> {
        let host = single_host(&parts)?;
        trail.path = parts.uri.path().chars().take(PATH_BYTES_MAX).collect();
        let target = match route(host, parts.uri.path(), &self.base_domain)? {
            Target::Own(Own::Profile) => return self.profile(parts, body, client, trail).await,
            Target::Own(own) => return Ok(self.answer_own(own, trail)),
            Target::TenantHost { username } => {
                return Err(self.refuse_editor(&username, trail).await?);
            }
            Target::Runtime(target) => target,
        };
        let admitted = self.admit(&parts, target, client, trail).await?;
        if !handshake::is_upgrade(&parts) {
            return Err(Refusal::WebSocketOnly);
        }
        handshake::check(&parts, &body)?;
        self.websocket(parts, admitted, client, peer.permit).await
    }

    fn authority(&self) -> Authority<'_> {
        Authority { registry: &self.registry, passwords: &self.passwords }
    }

    fn answer_own(&self, own: Own, trail: &mut Trail) -> Response<Body> {
        trail.row = "own";
        let (status, text) = match own {
            Own::Health => (StatusCode::OK, "ok\n"),
            Own::Ready if self.ready.load(Ordering::Relaxed) => (StatusCode::OK, "ready\n"),
            Own::Ready | Own::Profile => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        };
        let mut response = Response::new(Body::from(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        response
    }

    /// The editor's row opens with a session, and nobody issues those yet.
    async fn refuse_editor(
        &self,
        username: &Username,
        trail: &mut Trail,
    ) -> Result<Refusal, Refusal> {
        trail.row = "editor";
        let tenant = self.registry.by_username(username).await.map_err(away)?;
        let tenant = tenant.filter(|tenant| !tenant.disabled);
        let admin_root = tenant.as_ref().and_then(|tenant| tenant.instance.admin_root.as_ref());
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
        let mut path_and_query = target.runtime_path(&identity.tenant.instance)?;
        if let Some(query) = parts.uri.query() {
            let query = crate::exchange::headers::without_credentials(query);
            if !query.is_empty() {
                path_and_query.push('?');
                path_and_query.push_str(&query);
            }
        }
        Ok(Admitted { identity, row: target.row, path_and_query })
    }

    async fn public_identity(
        &self,
        parts: &Parts,
        target: &RuntimeTarget,
        client: Client,
    ) -> Result<Identity, Refusal> {
        let tenant = match &target.username {
            Some(username) => self.registry.by_username(username).await.map_err(away)?,
            None => None,
        };
        let tenant = tenant.ok_or(Refusal::NotFound("no such tenant"))?;
        let authorization_consumed = self.authority().is_bearer_of_ours(parts).await?;
        match tenant.allows(&Grant::Anonymous, self.registry.wall().now()) {
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
        let identity = self.authority().authenticate(parts, client.address.ip()).await?;
        match &target.username {
            Some(username) if *username != identity.tenant.username => {
                return Err(Refusal::WrongTenant);
            }
            _ => {}
        }
        let Grant::Key { id, .. } = identity.grant else { return Ok(identity) };
        match identity.tenant.key(id) {
            Some(key) if key.opens(&target.below_node_root) => {
                let now = self.registry.wall().now();
                self.usage.note(identity.tenant.id, &identity.grant, now);
                Ok(identity)
            }
            _ => Err(Refusal::OutOfScope),
        }
    }
}

fn away(error: StoreError) -> Refusal {
    Refusal::RegistryAway(error.to_string())
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

impl Trail {
    fn log_answer(&self, client: Client, is_handshake: bool, status: StatusCode) {
        // Probes come every few seconds.
        if self.row == "own" {
            tracing::debug!(client = %client.address, path = self.path, %status, "answered");
            return;
        }
        tracing::info!(
            request_id = %client.request_id,
            client = %client.address,
            tenant = self.tenant.as_ref().map(tracing::field::display),
            grant = self.grant.as_ref().map(tracing::field::display),
            row = self.row,
            path = self.path,
            status = status.as_u16(),
            "{}", if is_handshake { "handshake" } else { "request" }
        );
    }

    fn log_refusal(&self, client: Client, is_handshake: bool, refusal: &Refusal) {
        let claimed = match refusal {
            Refusal::WrongCredential { claimed, .. } => claimed.as_ref(),
            _ => None,
        };
        tracing::info!(
            request_id = %client.request_id,
            client = %client.address,
            tenant = self.tenant.as_ref().or(claimed).map(tracing::field::display),
            grant = self.grant.as_ref().map(tracing::field::display),
            row = self.row,
            path = self.path,
            status = refusal.status().as_u16(),
            refusal = refusal.label(),
            why = %refusal,
            "{} refused", if is_handshake { "handshake" } else { "request" }
        );
    }
}

#[cfg(test)]
mod tests;
