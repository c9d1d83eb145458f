//! Calls of published APIs: who calls, whether they may, and where it goes.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;

use super::admission::{Admission, Admitted};
use super::plain::is_preflight;
use super::trail::Trail;
use super::{Journey, too_many_of};
use crate::api::{Api, Owner, State, Way};
use crate::authenticate::consumer::Call;
use crate::authenticate::{Identity, origin};
use crate::client::Client;
use crate::connect::Dialer;
use crate::connect::pool::Reuse;
use crate::connect::upgrade::Answer;
use crate::exchange::headers::query_for_api;
use crate::grant::Grant;
use crate::live::{Entry, SubscriberId};
use crate::metrics::Stopwatch;
use crate::refusal::Refusal;
use crate::registry::apis::directory::Subscribed;
use crate::registry::away;
use crate::route::RuntimeTarget;
use crate::row::Row;
use crate::tenant::{Instance, Tenant};
use crate::upload::Upload;

/// What becomes of a call.
#[derive(Debug)]
pub enum Called {
    /// A browser's question whether it may ask.
    Preflight,
    /// It goes to the API's endpoint.
    Admitted(Box<Admitted>),
}

/// Where an admitted request goes.
#[derive(Debug)]
pub enum Destination {
    /// A tenant's runtime.
    Runtime(Arc<Instance>),
    /// One of the nodes of an operator's API.
    Nodes(Arc<Api>),
}

impl Destination {
    /// Sends a handshake there, and waits for the answer.
    pub(super) async fn switch(
        &self,
        dialer: &Dialer,
        request: Request<Empty<Bytes>>,
        watch: &mut Stopwatch,
    ) -> Result<Answer, Refusal> {
        match self {
            Self::Runtime(instance) => dialer.handshake(instance, request, watch).await,
            Self::Nodes(api) => dialer.handshake_at_a_node(api, request, watch).await,
        }
    }

    /// Sends a plain request there, and waits for the head of the answer.
    pub(super) async fn ask(
        &self,
        dialer: &Dialer,
        tenant: &Tenant,
        request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Reuse), Refusal> {
        match self {
            Self::Runtime(instance) => dialer.request(tenant, instance, request).await,
            Self::Nodes(api) => dialer.request_at_a_node(api, request).await,
        }
    }
}

impl Admission<'_> {
    /// Decides about a call of a published API.
    ///
    /// # Errors
    /// The refusal.
    pub async fn call(
        self,
        parts: &Parts,
        api: &Arc<Api>,
        client: Client,
        trail: &mut Trail,
    ) -> Result<Called, Refusal> {
        let row = if api.is_open() { Row::PublishedOpen } else { Row::Published };
        trail.row = row.label();
        trail.api = Some(api.id);
        check_state(api.state)?;
        let tenant = self.account(api).await?;
        trail.tenant = matches!(api.owner, Owner::Tenant(_)).then(|| tenant.username.clone());
        if !api.is_open() && is_preflight(parts) {
            return Ok(Called::Preflight);
        }
        let call = self.authority.check_call(parts, api, client).await?;
        let Call { grant, caller, mut authorization_consumed, is_ambient } = call;
        trail.grant = Some(grant);
        if is_ambient {
            origin::check(&parts.method, &parts.headers, &tenant, client.over_tls)?;
        }
        if !authorization_consumed {
            authorization_consumed = self.authority.is_bearer_of_ours(&parts.headers).await;
        }
        let rest = api.prefix.rest(parts.uri.path()).unwrap_or_default();
        if rest.starts_with("//") {
            // URL parsers take what follows for a host.
            return Err(Refusal::Malformed("The path begins with an empty segment."));
        }
        let query = query_for_api(parts.uri.query().unwrap_or_default(), caller.as_deref());
        let (instance, path, nodes) = match &api.way {
            Way::Nodes { nodes, .. } => {
                let first = nodes.first().ok_or(Refusal::NoRuntime)?;
                let path = at_least_a_slash(rest.to_owned());
                (Arc::clone(&first.instance), path, Some(Arc::clone(api)))
            }
            Way::Runtime { path } => {
                let instance = tenant.instance.clone().ok_or(Refusal::NoRuntime)?;
                let below_node_root = at_least_a_slash(format!("{path}{rest}"));
                let target = RuntimeTarget { row, username: None, below_node_root };
                let path = target.runtime_path(&instance)?;
                (instance, path, None)
            }
        };
        let path_and_query = match query.is_empty() {
            true => path,
            false => format!("{path}?{query}"),
        };
        let client = client.address.ip();
        let identity = Identity { tenant, grant, authorization_consumed, client, caller };
        let admitted = Admitted { identity, row, instance, path_and_query, nodes };
        Ok(Called::Admitted(Box::new(admitted)))
    }

    /// Under whose account it runs.
    async fn account(&self, api: &Api) -> Result<Arc<Tenant>, Refusal> {
        const GONE: Refusal = Refusal::NotFound("the API's owner is gone or disabled");
        if let Way::Nodes { account, .. } = &api.way {
            return Ok(Arc::clone(account));
        }
        let Owner::Tenant(id) = api.owner else { return Err(GONE) };
        let registry = self.authority.registry;
        let tenant = registry.by_id(id).await.map_err(away)?.ok_or(GONE)?;
        match tenant.allows(&Grant::Open { api: api.id }, registry.wall().now()) {
            Ok(()) => Ok(tenant),
            Err(_) => Err(GONE),
        }
    }
}

impl Journey {
    /// Has what rests on a subscription draw on that one's plan, too.
    pub(super) fn draw_on_subscription(&self, grant: &Grant, entry: &Entry) -> Result<(), Refusal> {
        let Grant::Token { subscription, .. } = grant else { return Ok(()) };
        let subscribed = self.registry.directory().subscribed(*subscription);
        let unknown = || Refusal::RegistryAway("nothing is known of a subscription's plan".into());
        let Subscribed { application, api, plan, .. } = subscribed.ok_or_else(unknown)?;
        let now = self.clock.now();
        let subscriber = self.live.subscriber(SubscriberId { application, api }, &plan, now);
        let drawn = entry.draw_on(subscriber, &plan, now);
        drawn.map_err(|too_many| too_many_of(entry.kind, too_many, now))
    }
}

/// Whoever begins anew needs an API that can be called, whatever goes on from before.
fn check_state(state: State) -> Result<(), Refusal> {
    match state {
        State::Blocked => Err(Refusal::ApiBlocked),
        State::Created => Err(Refusal::NotFound("the API is not published")),
        State::Retired => Err(Refusal::NotFound("the API is retired")),
        State::Prototyped | State::Published | State::Deprecated => Ok(()),
    }
}

fn at_least_a_slash(path: String) -> String {
    if path.is_empty() { "/".to_owned() } else { path }
}
