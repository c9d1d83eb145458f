//! The operators' listener: health for probes, the admin API, and the console, which is a page that
//! asks that API.
//!
//! Whoever asks is looked at in this order: a Host of ours, no foreign Origin, a token, its role.
//! Only then does a handler see the request. Cookies are never read.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body as RouterBody;
use axum::extract::State;
use axum::middleware::{from_fn, from_fn_with_state};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::Notify;
use tower::ServiceExt;

use crate::accept::Peer;
use crate::analytics::Analytics;
use crate::client::forwarded::sender;
use crate::client::{Client, RequestIds};
use crate::clock::{Clock, UnixMillis};
use crate::config::Effective;
use crate::exchange::Body;
use crate::journey::Journey;
use crate::json::{Private, to_the_end};
use crate::live::LiveTable;
use crate::permits::Permits;
use crate::presence::Presence;
use crate::refusal::{OperatorRefusal, Refusal};
use crate::registry::{Registry, away};
use crate::tenant::{Tenant, Username};

mod analytics;
mod apis;
mod applications;
mod audit;
mod connections;
mod console;
mod consumers;
mod credentials;
mod docs;
pub mod feed;
mod guard;
mod instances;
mod keys;
mod metrics;
mod of_tenant;
mod openapi;
mod pages;
mod plans;
mod profiles;
mod replicas;
mod runtimes;
mod server;
mod sessions;
mod signing;
pub mod stats;
mod subscriptions;
mod tenants;
pub mod tokens;
mod views;

use feed::Feeds;
use tokens::TokensInUse;

type Tagged<T> = Result<([(HeaderName, HeaderValue); 1], Private<T>), Refusal>;
type Answer<T> = Result<Private<T>, Refusal>;
type At = State<Arc<Desk>>;

/// What the handlers work with.
#[derive(Debug)]
pub struct Desk {
    /// The server that they are about.
    pub journey: Arc<Journey>,
    /// This replica among all.
    pub presence: Arc<Presence>,
    /// Who may ask.
    pub tokens: Arc<TokensInUse>,
    /// Names under which the listener may be asked, in lower case, without ports.
    pub hosts: HashSet<String>,
    /// The places for clients' sockets.
    pub places: Arc<Permits>,
    /// Whether metrics are told without a token.
    pub metrics_open: bool,
    /// Every setting, as it holds.
    pub configuration: Vec<Effective>,
    /// What was counted last.
    pub sampler: stats::Sampler,
    /// What was counted by tenant, API and so on.
    pub analytics: Arc<Analytics>,
    /// Told when an operator wants the process to stop.
    pub stop: Notify,
    /// Whether one has.
    pub is_draining: AtomicBool,
    /// Operators who watch.
    pub feeds: Feeds,
}

impl Desk {
    fn registry(&self) -> &Registry {
        &self.journey.registry
    }

    fn live(&self) -> &LiveTable {
        &self.journey.live
    }

    fn clock(&self) -> Clock {
        self.journey.clock
    }

    fn now(&self) -> UnixMillis {
        self.registry().wall().now()
    }

    /// Whether the process stops, for an operator or for a signal.
    fn is_stopping(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed) || self.presence.is_draining()
    }

    /// The tenant of a path.
    async fn tenant(&self, username: &str) -> Result<Arc<Tenant>, Refusal> {
        let missing = Refusal::Operator(NO_TENANT);
        let username = Username::parse(username).map_err(|_| missing.clone())?;
        let tenant = self.registry().by_username(&username).await.map_err(away)?;
        tenant.ok_or(missing)
    }
}

const NO_TENANT: OperatorRefusal = OperatorRefusal::Missing("There is no such tenant.");

/// The names that a listener has by itself: its address and this machine's own.
pub fn own_hosts(listen: SocketAddr) -> impl Iterator<Item = String> {
    let address = match listen {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into_iter().chain([address])
}

/// The whole API, without health.
pub fn router(desk: &Arc<Desk>) -> Router {
    let (api, document) = openapi::api();
    let api = api
        .layer(from_fn(to_the_end))
        .layer(from_fn_with_state(Arc::clone(desk), guard::check_token));
    api.merge(docs::router(&document))
        .merge(metrics::router(desk))
        .merge(console::router())
        .merge(feed::router())
        .method_not_allowed_fallback(|| async { Refusal::MethodNotAllowed(String::new()) })
        .fallback(|| async { Refusal::NotFound("no such address of the admin API") })
        .layer(from_fn_with_state(Arc::clone(desk), guard::check_origin))
        .with_state(Arc::clone(desk))
}

/// What operators and their probes are told.
#[derive(Debug)]
pub struct Admin {
    desk: Arc<Desk>,
    router: Router,
    request_ids: RequestIds,
}

impl Admin {
    /// Connections of operators at once.
    pub const CONNECTIONS_MAX: usize = 64;

    /// What answers at this desk.
    #[must_use]
    pub fn new(desk: Arc<Desk>, request_ids: RequestIds) -> Self {
        Self { router: router(&desk), desk, request_ids }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        // Probes ask under whatever name they know.
        match request.uri().path() {
            "/healthz" => return health(StatusCode::OK, &serde_json::json!({ "status": "ok" })),
            "/readyz" => return self.readiness(),
            _ => {}
        }
        let request_id = self.request_ids.next();
        let trusted = &self.desk.journey.trusted_proxies;
        let (address, over_tls) = sender(peer.address, peer.over_tls, request.headers(), trusted);
        let client = Client { address, over_tls, request_id };
        let mut request = request.map(RouterBody::new);
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(Arc::clone(&peer.permit));
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let Ok(mut response) = self.router.clone().oneshot(request).await;
        let status = response.status();
        match response.extensions_mut().remove::<Refusal>() {
            Some(refusal) => {
                self.desk.journey.metrics.operators_refusal(&refusal);
                refuse(&response, refusal, client, &path)
            }
            None => {
                tracing::debug!(
                    request_id = %client.request_id,
                    client = %client.address,
                    %method,
                    path,
                    status = status.as_u16(),
                    "operator's request"
                );
                let (parts, body) = response.into_parts();
                // Its bodies are all in memory already.
                let body = body.collect().await.map(|body| body.to_bytes());
                Response::from_parts(parts, Body::from(body.unwrap_or_default()))
            }
        }
    }

    fn readiness(&self) -> Response<Body> {
        let journey = &self.desk.journey;
        let ready = journey.ready.load(Ordering::Relaxed);
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let freshness = journey.registry.freshness();
        let said = serde_json::json!({
            "ready": ready,
            "live": journey.live.len(),
            "registry": freshness.standing().as_str(),
            "registry_age_ms": u64::try_from(freshness.age().as_millis()).unwrap_or(u64::MAX),
        });
        health(status, &said)
    }
}

/// A refusal as it goes out; the log says why.
fn refuse<T>(
    response: &Response<T>,
    refusal: Refusal,
    client: Client,
    path: &str,
) -> Response<Body> {
    let allowed = response.headers().get(ALLOW).and_then(|allow| allow.to_str().ok());
    let refusal = match refusal {
        Refusal::MethodNotAllowed(_) => {
            Refusal::MethodNotAllowed(allowed.unwrap_or_default().to_owned())
        }
        refusal => refusal,
    };
    tracing::info!(
        request_id = %client.request_id,
        client = %client.address,
        path,
        status = refusal.status().as_u16(),
        refusal = refusal.label(),
        why = %refusal,
        "operator's request refused"
    );
    refusal.to_response(false, client.request_id).map(Body::from)
}

fn health(status: StatusCode, said: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(format!("{said}\n"))));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests;
