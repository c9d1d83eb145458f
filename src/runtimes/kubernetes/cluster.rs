//! The provider: what it is asked for, and what it looks after of its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dashmap::DashMap;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::lookup_host;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::KubernetesSettings;
use super::api::{Api, Fault, Kind};
use super::election::Election;
use super::names::{GONE_SINCE, LAST_WORDS, Mark, ORDER, escaped, name, pod_name};
use super::running::Running;
use super::seen::{Seen, Set};
use super::template::Template;
use super::watched::Watched;
use crate::clock::{UnixMillis, Wall};
use crate::runtimes::answers::answers;
use crate::runtimes::contract::{Condition, Due, Order, RuntimeProvider, StartFault};
use crate::runtimes::place::Place;
use crate::tenant::TenantId;

/// How long a name may take to be looked up.
const LOOK_UP_MAX: Duration = Duration::from_secs(5);

/// Runs runtimes in a cluster.
#[derive(Debug)]
pub struct Cluster {
    pub(super) shared: Arc<Shared>,
    election: Election,
    watching: JoinHandle<()>,
}

/// What each of its runtimes needs.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: KubernetesSettings,
    pub(super) template: Template,
    pub(super) api: Arc<Api>,
    pub(super) watched: Arc<Watched>,
    /// Whose end was asked for and the API server not told of so far: the orders by which they run.
    pub(super) unended: DashMap<TenantId, Vec<Mark>>,
}

impl KubernetesSettings {
    /// What can be told without a cluster.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub fn check(&self) -> Result<(), String> {
        self.template().map(|_| ())
    }

    fn template(&self) -> Result<Option<Template>, String> {
        let Some(path) = &self.template else { return Ok(None) };
        let fault = |what| format!("kubernetes_template: {}: {what}", path.display());
        Template::read(path).map(Some).map_err(fault)
    }
}

impl Cluster {
    /// The provider, which watches from now on; `None` if nothing is run there. An API server that is
    /// away is waited for. `replica` names this process.
    ///
    /// # Errors
    /// As [`KubernetesSettings::check`]; or it is not said how the API server is reached.
    pub async fn open(settings: KubernetesSettings, replica: &str) -> Result<Option<Self>, String> {
        let Some(template) = settings.template()? else { return Ok(None) };
        let api = Arc::new(Api::new(&settings).await?);
        tracing::info!(namespace = api.namespace(), "runtimes are run in Kubernetes");
        let watched = Arc::new(Watched::new());
        let group = settings.group.to_string();
        let election = Election::new(Arc::clone(&api), &group, replica);
        let watching = tokio::spawn(Arc::clone(&watched).run(Arc::clone(&api), group));
        let shared = Arc::new(Shared { settings, template, api, watched, unended: DashMap::new() });
        Ok(Some(Self { shared, election, watching }))
    }

    fn remove_after_seconds(&self) -> u64 {
        self.shared.settings.remove_after.as_secs()
    }

    /// Carries out what is due for a tenant, as far as the StatefulSet is as it was seen.
    async fn carry_out(
        &self,
        tenant: TenantId,
        due: Due,
        (fence, now): (u64, UnixMillis),
    ) -> Result<(), Fault> {
        let (api, name) = (&self.shared.api, name(tenant));
        let Some(object) = api.get(Kind::StatefulSet, &name).await? else { return Ok(()) };
        let set = Set::of(&object);
        if set.order.is_some_and(|order| order.fence > fence) {
            return Ok(());
        }
        let now_seconds = now.0 / 1000;
        if let (Due::Goes, Some(since)) = (due, set.gone_since)
            && !set.is_up
            && now_seconds.saturating_sub(since) >= self.remove_after_seconds()
        {
            tracing::info!(name, "a runtime of a tenant who is gone is removed");
            return api.remove(Kind::StatefulSet, &name, &object).await;
        }
        let version = &object["metadata"]["resourceVersion"];
        let mut steps =
            vec![json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version })];
        // That nobody has it is believed the second time: the first one is only noted.
        let is_sure = match due {
            Due::Stays => false,
            Due::Sleeps => true,
            Due::Goes => set.gone_since.is_some(),
        };
        if set.is_up && is_sure {
            tracing::warn!(name, "a runtime that nobody may run is put to sleep");
            steps.push(json!({ "op": "replace", "path": "/spec/replicas", "value": 0 }));
        }
        let gone = format!("/metadata/annotations/{}", escaped(GONE_SINCE));
        match (due, set.gone_since) {
            (Due::Goes, None) => {
                tracing::warn!(name, "nobody has the tenant of a runtime: it will be removed");
                steps.push(json!({ "op": "add", "path": gone, "value": now_seconds.to_string() }));
            }
            (Due::Stays | Due::Sleeps, Some(_)) => {
                steps.push(json!({ "op": "remove", "path": gone }));
            }
            _ => {}
        }
        match steps.len() > 1 {
            true => api.patch(Kind::StatefulSet, &name, &json!(steps)).await.map(|_| ()),
            false => Ok(()),
        }
    }
}

impl Cluster {
    /// Where a tenant's runtime is by what the watch tells. A name may lead where it led before, from the
    /// caches of name servers, and meanwhile another tenant's pod may have that address. `None` if there is
    /// no pod. While nothing was listed yet it is the place by name.
    pub(in crate::runtimes) fn where_now(&self, tenant: TenantId, place: Place) -> Option<Place> {
        let watched = &self.shared.watched;
        if !watched.is_listed() {
            return Some(place);
        }
        watched.address(tenant).map(|address| at(address, &place))
    }

    /// The same; whoever heard of it before the watch did waits for that.
    pub(in crate::runtimes) async fn where_soon(
        &self,
        tenant: TenantId,
        place: Place,
    ) -> Option<Place> {
        if let Some(found) = self.where_now(tenant, place.clone()) {
            return Some(found);
        }
        self.shared.watched.address_soon(tenant).await.map(|address| at(address, &place))
    }
}

fn at(address: IpAddr, place: &Place) -> Place {
    Place::anywhere(address.to_string(), place.port)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Shared {
    /// Where a tenant's runtime is reached.
    pub(super) fn place(&self, tenant: TenantId) -> Place {
        let (name, namespace) = (name(tenant), self.api.namespace());
        let host = format!("{name}.{namespace}.svc.{}", self.settings.cluster_domain);
        Place::anywhere(host, self.template.port)
    }

    /// Whether the Service's name leads to that address by now, and somebody answers there. The name is
    /// what clients are led by, and whoever remembers where it led before would take them to another
    /// tenant's pod.
    pub(super) async fn answers(&self, order: &Order, address: IpAddr) -> bool {
        let place = self.place(order.tenant);
        let address = SocketAddr::new(address, place.port);
        let found = timeout(LOOK_UP_MAX, lookup_host((place.host, place.port))).await;
        let Ok(Ok(mut found)) = found else { return false };
        let leads_there = found.next() == Some(address) && found.all(|it| it == address);
        leads_there && answers(address, None, &order.probe_path).await
    }

    /// The end of what the pod has written.
    pub(super) async fn pod_log(&self, tenant: TenantId) -> Vec<u8> {
        self.api.log_tail(&pod_name(tenant), &self.template.container).await
    }

    /// Puts a runtime to sleep if that order is the last that was carried out, and keeps the end of what
    /// it wrote. Returns whether it was.
    pub(super) async fn put_to_sleep(
        &self,
        tenant: TenantId,
        mark: Mark,
        log_tail: &[u8],
    ) -> Result<bool, Fault> {
        let annotation = |name| format!("/metadata/annotations/{}", escaped(name));
        let mut steps = vec![
            json!({ "op": "test", "path": annotation(ORDER), "value": mark.to_string() }),
            json!({ "op": "replace", "path": "/spec/replicas", "value": 0 }),
        ];
        if !log_tail.is_empty() {
            let words = STANDARD.encode(log_tail);
            steps.push(json!({ "op": "add", "path": annotation(LAST_WORDS), "value": words }));
        }
        match self.api.patch(Kind::StatefulSet, &name(tenant), &json!(steps)).await {
            Ok(_) => Ok(true),
            // It was not the last; or there is nothing any more.
            Err(fault)
                if fault.has_code(StatusCode::UNPROCESSABLE_ENTITY)
                    || fault.has_code(StatusCode::NOT_FOUND) =>
            {
                Ok(false)
            }
            Err(fault) => Err(fault),
        }
    }
}

impl RuntimeProvider for Cluster {
    type Running = Running;

    async fn start(&self, order: &Order) -> Result<Running, StartFault> {
        self.shared.start(order).await
    }

    async fn condition(&self, order: &Order) -> Condition {
        self.shared.watched.is_known().await;
        match self.shared.watched.seen(order.tenant) {
            Seen { set: Some(Set { is_up: true, .. }), pod: Some(pod) } => match pod.address {
                Some(address) if pod.is_ready && self.shared.answers(order, address).await => {
                    Condition::Answers
                }
                _ => Condition::Silent,
            },
            Seen { pod: Some(_), .. } => Condition::Silent,
            Seen { pod: None, .. } => Condition::Down,
        }
    }

    async fn log_tail(&self, order: &Order) -> Vec<u8> {
        if self.shared.watched.seen(order.tenant).pod.is_some() {
            return self.shared.pod_log(order.tenant).await;
        }
        let object = self.shared.api.get(Kind::StatefulSet, &name(order.tenant)).await;
        let object = object.ok().flatten().unwrap_or(Value::Null);
        let words = object["metadata"]["annotations"][LAST_WORDS].as_str();
        words.and_then(|words| STANDARD.decode(words).ok()).unwrap_or_default()
    }

    async fn left_running(&self) -> Vec<TenantId> {
        self.shared.watched.is_known().await;
        let sets = self.shared.watched.sets().into_iter();
        sets.filter(|(_, set)| set.is_up).map(|(tenant, _)| tenant).collect()
    }

    async fn kept(&self) -> Vec<TenantId> {
        if !self.shared.watched.is_known().await || !self.election.holds().await {
            return Vec::new();
        }
        self.shared.watched.sets().into_iter().map(|(tenant, _)| tenant).collect()
    }

    async fn settle(&self, tenant: TenantId, due: Due, fence: u64, now: UnixMillis) {
        if let Err(fault) = self.carry_out(tenant, due, (fence, now)).await {
            tracing::warn!(%tenant, ?due, %fault, "what is left of a runtime stays as it is for now");
        }
    }

    fn needs_settling(&self, tenant: TenantId, due: Due) -> bool {
        match (self.shared.watched.seen(tenant).set, due) {
            (None, _) => false,
            (Some(set), Due::Stays) => set.gone_since.is_some(),
            (Some(set), Due::Sleeps) => set.is_up || set.gone_since.is_some(),
            (Some(set), Due::Goes) => {
                let now_seconds = Wall::system().unix_ms() / 1000;
                let is_kept_on =
                    |since| now_seconds.saturating_sub(since) < self.remove_after_seconds();
                set.is_up || !set.gone_since.is_some_and(is_kept_on)
            }
        }
    }
}
