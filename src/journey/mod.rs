//! One request, top to bottom: the only place that knows every stage.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};

use crate::accept::Peer;
use crate::authenticate::Authority;
use crate::client::forwarded::sender;
use crate::client::{Client, RequestIds};
use crate::clock::{Clock, Millis};
use crate::close::Cause;
use crate::connect::Dialer;
use crate::exchange::Body;
use crate::grant::Grant;
use crate::limits::Limits;
use crate::live::{Entry, Kind, LiveTable, Registered, TooMany};
use crate::metrics::{Metrics, Outcome, Phase};
use crate::networks::Networks;
use crate::own_network::Network;
use crate::passwords::Passwords;
use crate::refusal::{ConsumerRefusal, Refusal, wants_page};
use crate::registry::usage::Usage;
use crate::registry::{Registry, away};
use crate::relay::plane::Plane;
use crate::route::Own;
use crate::row::Row;
use crate::runtimes::Runtimes;
use crate::tenant::{Instance, Tenant};

pub mod admission;
mod counting;
pub mod explain;
pub mod front;
pub mod handshake;
mod pages;
mod plain;
mod published;
pub mod recent;
mod steps;
pub mod totals;
pub mod trail;
mod waiting;
mod websocket;

use admission::{Admission, Admitted, Decision};
use published::{Called, Destination};
use trail::Trail;

/// How often a request is turned to another instance before its client is told to come again.
const CONFIRMATIONS_MAX: usize = 4;

/// Everything a request meets on its way.
#[derive(Debug)]
pub struct Journey {
    /// The registrable domain of the tenant hosts.
    pub base_domain: String,
    /// The proxies in front that are believed when they say whose a request is.
    pub trusted_proxies: Networks,
    /// Time.
    pub clock: Clock,
    /// Where tenants are found.
    pub registry: Arc<Registry>,
    /// When keys were used.
    pub usage: Arc<Usage>,
    /// Where passwords are checked.
    pub passwords: Arc<Passwords>,
    /// flowgate's own pages on the bare host.
    pub pages: axum::Router,
    /// Those on tenant hosts.
    pub tenant_pages: axum::Router,
    /// What runs.
    pub live: Arc<LiveTable>,
    /// The way to runtimes.
    pub dialer: Arc<Dialer>,
    /// Those that are woken and put to sleep.
    pub runtimes: Arc<Runtimes>,
    /// Where frames travel.
    pub plane: Plane,
    /// What requests may be like.
    pub limits: Limits,
    /// Names for requests.
    pub request_ids: RequestIds,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What was refused lately.
    pub refused: Arc<recent::Recent>,
    /// Whether `/readyz` says yes.
    pub ready: AtomicBool,
    /// How long a client may take to switch protocols, in line with the header timeout.
    pub switch_timeout: std::time::Duration,
    /// Where tests hold a handshake.
    #[cfg(test)]
    pub gate: Arc<steps::Gate>,
}

/// Addresses of a runtime, and in which network they are, if not in ours.
type KnownWay = (Vec<SocketAddr>, Option<Network>);

impl Journey {
    /// Who has sent a request that came from this peer.
    fn client(&self, peer: SocketAddr, over_tls: bool, headers: &HeaderMap) -> Client {
        let (address, over_tls) = sender(peer, over_tls, headers, &self.trusted_proxies);
        Client { address, over_tls, request_id: self.request_ids.next() }
    }

    /// Answers one request of the data plane.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let client = self.client(peer.address, peer.over_tls, request.headers());
        let mut trail = Trail::start(self.clock.micros());
        let (parts, body) = request.into_parts();
        let wants_page = wants_page(&parts.headers);
        let is_handshake = handshake::is_upgrade(&parts);
        match self.travel(parts, body, client, peer, &mut trail).await {
            Ok(response) => {
                self.log_answer(&trail, client, is_handshake, response.status());
                response
            }
            Err(refusal) => {
                self.log_refusal(&trail, client, is_handshake, &refusal);
                refusal_for(&refusal, client, is_handshake, wants_page).map(Body::from)
            }
        }
    }

    /// Tells the log, and counts it.
    fn log_answer(&self, trail: &Trail, client: Client, is_handshake: bool, status: StatusCode) {
        trail.log_answer(client, is_handshake, status);
        let now = self.clock.micros();
        match (is_handshake, status) {
            (false, _) => self.metrics.request(trail.row, status.as_u16(), &trail.watch, now),
            (true, StatusCode::SWITCHING_PROTOCOLS) => {
                self.metrics.handshake(Outcome::Switched, trail.grant, &trail.watch, now);
            }
            (true, _) => {
                self.metrics.handshake(Outcome::Declined, trail.grant, &trail.watch, now);
            }
        }
    }

    /// Tells the log, counts it, and keeps it for whoever asks what was refused.
    fn log_refusal(&self, trail: &Trail, client: Client, is_handshake: bool, refusal: &Refusal) {
        trail.log_refusal(client, is_handshake, refusal);
        self.metrics.refusal(refusal);
        self.count_refusal(trail, refusal);
        if is_handshake {
            let now = self.clock.micros();
            self.metrics.handshake(Outcome::Refused, trail.grant, &trail.watch, now);
        }
        let now = self.registry.wall().now();
        self.refused.note(trail, client, is_handshake, refusal, now);
    }

    async fn travel(
        self: &Arc<Self>,
        parts: Parts,
        body: Incoming,
        client: Client,
        peer: Peer,
        trail: &mut Trail,
    ) -> Result<Response<Body>, Refusal> {
        if let Some(why) = peer.no_place {
            return Err(why.refusal());
        }
        self.limits.judge(&parts)?;
        let admitted = match self.admission().decide(&parts, client, trail).await? {
            Decision::Own(own @ (Own::Health | Own::Ready)) => return Ok(self.answer_probe(own)),
            Decision::Own(own) => return self.page(own, parts, body, client, trail).await,
            Decision::TenantPage(username) | Decision::Handover(username) => {
                return self.tenant_page(username, parts, body, client, trail).await;
            }
            Decision::Preflight => return Ok(plain::answer_preflight(&parts)),
            Decision::Runtime(admitted) => admitted,
            Decision::Api(api) => match self.admission().call(&parts, &api, client, trail).await? {
                Called::Preflight => return Ok(plain::answer_preflight(&parts)),
                Called::Admitted(admitted) => *admitted,
            },
        };
        trail.watch.pass(Phase::Auth, self.clock.micros());
        if !handshake::is_upgrade(&parts) {
            return self.plain(parts, body, admitted, client).await;
        }
        handshake::check(&parts, !body.is_end_stream())?;
        self.websocket(parts, admitted, client, peer.permit, &mut trail.watch).await
    }

    fn authority(&self) -> Authority<'_> {
        Authority { registry: &self.registry, passwords: &self.passwords }
    }

    /// Into the live table, where whoever ends the grant will find it.
    fn enter(
        &self,
        kind: Kind,
        admitted: &Admitted,
        client: Client,
    ) -> Result<Registered, Refusal> {
        if kind == Kind::Connection && self.plane.held().is_full() {
            return Err(Refusal::Overloaded("buffer_memory_max_bytes is reached"));
        }
        let Admitted { identity, path_and_query, .. } = admitted;
        let path = path_and_query.split_once('?').map_or(&**path_and_query, |(path, _)| path);
        let (tenant, now) = (&identity.tenant, self.clock.now());
        let entered = self.live.enter(tenant, kind, identity.grant, client, path, now);
        let registered = entered.map_err(|too_many| too_many_of(kind, too_many, now))?;
        if let Some(cell) = self.cell(tenant, &identity.grant) {
            registered.entry().count_as(cell);
        }
        Ok(registered)
    }

    /// Looks at everything again, now that whoever ends the grant or changes the instance would find the
    /// request, and has the present plans count. Returns the tenant and where to go.
    async fn confirm(
        &self,
        admitted: &Admitted,
        entry: &Entry,
    ) -> Result<(Arc<Tenant>, Destination), Refusal> {
        let confirmed = self.confirm_place(admitted, entry).await?;
        self.draw_on_subscription(&admitted.identity.grant, entry)?;
        Ok(confirmed)
    }

    async fn confirm_place(
        &self,
        admitted: &Admitted,
        entry: &Entry,
    ) -> Result<(Arc<Tenant>, Destination), Refusal> {
        let Admitted { identity, row, instance, .. } = admitted;
        let ended = |cause| ended(*row, cause);
        for _ in 0..CONFIRMATIONS_MAX {
            let current = self.registry.by_id(identity.tenant.id).await.map_err(away)?;
            let current = current.ok_or(ended(Cause::TenantDisabled))?;
            let now = self.registry.wall().now();
            let verdict = self.registry.allows(&current, &identity.grant, now);
            verdict.ok_or_else(apis_unknown)?.map_err(ended)?;
            if let Grant::Session { id, .. } = identity.grant
                && self.registry.session(id).await.map_err(away)?.is_none()
            {
                return Err(ended(Cause::SessionEnded));
            }
            entry.follow_plan(&current.plan, self.clock.now());
            if let Some(api) = &admitted.nodes {
                let present = self.registry.directory().api(api.id);
                let present = present.ok_or(ended(Cause::ApiUnpublished))?;
                return Ok((current, Destination::Nodes(present)));
            }
            let present = current.instance.clone().ok_or(Refusal::NoRuntime)?;
            if entry.is_for(&present) {
                return Ok((current, Destination::Runtime(present)));
            }
            if !present.has_roots_of(instance) {
                // Its path was made for the old ones, and could be the editor's now.
                break;
            }
            entry.head_for(&present);
        }
        Err(ended(Cause::RuntimeMoved))
    }

    /// Waits for the tenant's runtime, if it has to be woken; for no longer than the grant holds.
    async fn wake(
        &self,
        admitted: &Admitted,
        (tenant, destination): (&Arc<Tenant>, Destination),
        entry: &Entry,
    ) -> Result<Destination, Refusal> {
        let Destination::Runtime(instance) = &destination else { return Ok(destination) };
        if let Some(found) = self.runtimes.at_once(tenant.id, instance, entry) {
            return Ok(Destination::Runtime(found));
        }
        let found = tokio::select! {
            biased;
            cause = entry.closed() => return Err(ended(admitted.row, cause)),
            woken = self.runtimes.reach(tenant, instance, entry) => woken,
        };
        found.map(Destination::Runtime)
    }

    /// Where a runtime is reached, if nothing has to be waited for: neither it nor its name.
    fn known_way(
        &self,
        tenant: &Tenant,
        instance: &Arc<Instance>,
        entry: &Entry,
    ) -> Result<Option<KnownWay>, Refusal> {
        let Some(instance) = self.runtimes.at_once(tenant.id, instance, entry) else {
            return Ok(None);
        };
        let addresses = self.dialer.known_addresses(&instance)?;
        Ok(addresses.map(|addresses| (addresses, instance.network.clone())))
    }

    fn admission(&self) -> Admission<'_> {
        let authority = self.authority();
        Admission { base_domain: &self.base_domain, authority, usage: &self.usage }
    }

    fn answer_probe(&self, own: Own) -> Response<Body> {
        let (status, text) = match own {
            Own::Health => (StatusCode::OK, "ok\n"),
            Own::Ready if self.ready.load(Ordering::Relaxed) => (StatusCode::OK, "ready\n"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        };
        let mut response = Response::new(Body::from(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        response
    }
}

/// What a limit means to the client.
fn too_many_of(kind: Kind, too_many: TooMany, now: Millis) -> Refusal {
    match (too_many, kind) {
        (TooMany::AtOnce { max }, Kind::Connection) => {
            Refusal::PlanConnections { connections_max: max }
        }
        (TooMany::AtOnce { .. }, Kind::Exchange) => {
            Refusal::Overloaded("the tenant has too many requests")
        }
        (TooMany::Lately { limit, quota, from }, _) => {
            let wait_ms = from.since(now).as_millis();
            let retry_seconds = u32::try_from(wait_ms.div_ceil(1000)).unwrap_or(u32::MAX).max(1);
            Refusal::PlanRate { limit, quota, retry_seconds }
        }
    }
}

/// A refusal as the client gets it.
fn refusal_for(
    refusal: &Refusal,
    client: Client,
    is_handshake: bool,
    wants_page: bool,
) -> Response<Bytes> {
    let mut response = refusal.to_response(wants_page, client.request_id);
    if is_handshake || refusal.status() == StatusCode::BAD_REQUEST {
        // What the client may have sent behind it is no HTTP, or not understood.
        let close = HeaderValue::from_static("close");
        response.headers_mut().entry(CONNECTION).or_insert(close);
    }
    response
}

fn apis_unknown() -> Refusal {
    Refusal::RegistryAway("what is known of published APIs is being read anew".to_owned())
}

/// A public row knows no credentials: a tenant who went is one who is not there.
fn ended(row: Row, cause: Cause) -> Refusal {
    match cause {
        Cause::TenantDisabled if row.is_public() => Refusal::NotFound("the tenant is disabled"),
        Cause::ApiUnpublished | Cause::ApiRetired => Refusal::NotFound(cause.reason()),
        Cause::ApiBlocked => Refusal::ApiBlocked,
        Cause::SubscriptionBlocked => Refusal::Consumer(ConsumerRefusal::SubscriptionBlocked),
        cause => Refusal::GrantEnded(cause),
    }
}

#[cfg(test)]
mod tests;
