//! What all runtimes' objects are like at present, by one watch for each kind: listed once, then told of
//! each change, resumed where it broke off, and listed anew only if that is too long ago.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::api::{Api, Fault, Kind};
use super::names::GROUP;
use super::seen::{Pod, Seen, Set, tenant_of};
use crate::tenant::TenantId;

/// Objects that are listed at once.
const PAGE: usize = 250;
/// After this time the API server ends a watch, for it to be resumed.
const WATCH_SECONDS: u64 = 290;
/// Bookmarks come each minute; without a word for so long nobody is there.
const SILENCE_MAX: Duration = Duration::from_secs(150);
const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// What was watched for longer than any question takes was no failure.
const STEADY_AFTER: Duration = Duration::from_secs(35);
/// How long is waited for the first list.
const SYNC_MAX: Duration = Duration::from_secs(15);
/// The HTTP status by which the API server says that a version is too old to go on from.
const GONE: u64 = 410;

/// How long whoever calls waits until the watch tells where a pod is that is ready.
const ADDRESS_MAX: Duration = Duration::from_secs(5);

const KINDS: [Kind; 2] = [Kind::StatefulSet, Kind::Pod];

/// What is known, by tenant. As much as there are objects, and no more than a few hundred bytes each.
#[derive(Debug)]
pub(super) struct Watched {
    by_tenant: DashMap<TenantId, watch::Sender<Seen>>,
    /// How many kinds were listed.
    listed: watch::Sender<usize>,
}

impl Watched {
    pub(super) fn new() -> Self {
        Self { by_tenant: DashMap::new(), listed: watch::Sender::new(0) }
    }

    pub(super) fn subscribe(&self, tenant: TenantId) -> watch::Receiver<Seen> {
        self.by_tenant.entry(tenant).or_default().subscribe()
    }

    pub(super) fn seen(&self, tenant: TenantId) -> Seen {
        self.by_tenant.get(&tenant).map(|seen| seen.borrow().clone()).unwrap_or_default()
    }

    /// Whether all is known that there was at the beginning.
    pub(super) fn is_listed(&self) -> bool {
        *self.listed.borrow() >= KINDS.len()
    }

    /// Where the tenant's pod is, if it has one that is to stay.
    pub(super) fn address(&self, tenant: TenantId) -> Option<IpAddr> {
        self.by_tenant.get(&tenant).and_then(|seen| seen.borrow().address())
    }

    /// The same, once it has one.
    pub(super) async fn address_soon(&self, tenant: TenantId) -> Option<IpAddr> {
        let mut seen = self.subscribe(tenant);
        let found = timeout(ADDRESS_MAX, seen.wait_for(|seen| seen.address().is_some())).await;
        found.ok()?.ok()?.address()
    }

    /// All that have a StatefulSet.
    pub(super) fn sets(&self) -> Vec<(TenantId, Set)> {
        let sets = self.by_tenant.iter().filter_map(|entry| {
            let set = entry.value().borrow().set.clone()?;
            Some((*entry.key(), set))
        });
        sets.collect()
    }

    /// Waits until all is known, or it takes too long. Returns which.
    pub(super) async fn is_known(&self) -> bool {
        let mut listed = self.listed.subscribe();
        let all = listed.wait_for(|listed| *listed >= KINDS.len());
        matches!(timeout(SYNC_MAX, all).await, Ok(Ok(_)))
    }

    /// Watches for as long as it is polled.
    pub(super) async fn run(self: Arc<Self>, api: Arc<Api>, group: String) {
        let [sets, pods] = KINDS.map(|kind| self.follow(&api, kind, &group));
        tokio::join!(sets, pods);
    }

    async fn follow(&self, api: &Api, kind: Kind, group: &str) {
        let label = format!("{GROUP}={group}");
        let label = utf8_percent_encode(&label, NON_ALPHANUMERIC);
        let selector = format!("labelSelector={label}");
        let (mut version, mut backoff, mut is_first) = (None, BACKOFF_MIN, true);
        loop {
            let begin = Instant::now();
            match self.go_on(api, kind, &selector, &mut version, &mut is_first).await {
                Ok(()) => backoff = BACKOFF_MIN,
                Err(fault) => {
                    // Something on the way may cut what is silent, each time.
                    if begin.elapsed() >= STEADY_AFTER {
                        backoff = BACKOFF_MIN;
                    }
                    tracing::warn!(?kind, %fault, "runtimes in Kubernetes are not watched; tried again");
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
            sleep(backoff).await;
        }
    }

    /// Lists if need be, and watches until the watch ends.
    async fn go_on(
        &self,
        api: &Api,
        kind: Kind,
        selector: &str,
        version: &mut Option<String>,
        is_first: &mut bool,
    ) -> Result<(), Fault> {
        let from = match version {
            Some(version) => version.clone(),
            None => {
                let listed = self.list(api, kind, selector).await?;
                *version = Some(listed.clone());
                if std::mem::take(is_first) {
                    self.listed.send_modify(|listed| *listed += 1);
                }
                listed
            }
        };
        let query = format!(
            "{selector}&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={from}"
        );
        let mut events = match api.watch(kind, &query).await {
            Err(Fault::Refused { code, .. }) if u64::from(code) == GONE => {
                *version = None;
                return Ok(());
            }
            events => events?,
        };
        loop {
            let event = timeout(SILENCE_MAX, events.next()).await;
            let event = event.map_err(|_| Fault::Away("nothing is told".to_owned()))??;
            let Some(event) = event else { return Ok(()) };
            let object = &event["object"];
            match event["type"].as_str() {
                Some("ADDED" | "MODIFIED") => self.take(kind, object),
                Some("DELETED") => self.lose(kind, object),
                Some("BOOKMARK") => {}
                _ => {
                    let code = object["code"].as_u64().unwrap_or_default();
                    if code == GONE {
                        *version = None;
                        return Ok(());
                    }
                    let message = object["message"].as_str().unwrap_or_default().to_owned();
                    return Err(Fault::Away(format!("{code}: {message}")));
                }
            }
            if let Some(at) = object["metadata"]["resourceVersion"].as_str() {
                *version = Some(at.to_owned());
            }
        }
    }

    /// All of them, a page at a time; what is known and not among them is gone. Returns the version from
    /// which to watch.
    async fn list(&self, api: &Api, kind: Kind, selector: &str) -> Result<String, Fault> {
        let mut found = HashSet::new();
        let mut next = String::new();
        loop {
            let query = format!("{selector}&limit={PAGE}&continue={next}");
            let page = api.list(kind, &query).await?;
            for object in page["items"].as_array().into_iter().flatten() {
                found.extend(tenant_of(object));
                self.take(kind, object);
            }
            let metadata = &page["metadata"];
            match metadata["continue"].as_str().filter(|next| !next.is_empty()) {
                Some(more) => next = utf8_percent_encode(more, NON_ALPHANUMERIC).to_string(),
                None => {
                    let known: Vec<TenantId> =
                        self.by_tenant.iter().map(|entry| *entry.key()).collect();
                    for gone in known.into_iter().filter(|tenant| !found.contains(tenant)) {
                        self.forget(kind, gone);
                    }
                    return Ok(metadata["resourceVersion"].as_str().unwrap_or("0").to_owned());
                }
            }
        }
    }

    fn take(&self, kind: Kind, object: &Value) {
        let Some(tenant) = tenant_of(object) else { return };
        self.by_tenant.entry(tenant).or_default().send_if_modified(|seen| match kind {
            Kind::Pod => replaced(&mut seen.pod, Some(Pod::of(object))),
            _ => replaced(&mut seen.set, Some(Set::of(object))),
        });
    }

    fn lose(&self, kind: Kind, object: &Value) {
        if let Some(tenant) = tenant_of(object) {
            self.forget(kind, tenant);
        }
    }

    fn forget(&self, kind: Kind, tenant: TenantId) {
        if let Some(seen) = self.by_tenant.get(&tenant) {
            seen.send_if_modified(|seen| match kind {
                Kind::Pod => replaced(&mut seen.pod, None),
                _ => replaced(&mut seen.set, None),
            });
        }
        let nothing = Seen::default();
        self.by_tenant
            .remove_if(&tenant, |_, seen| seen.receiver_count() == 0 && *seen.borrow() == nothing);
    }
}

/// Whether it is another one.
fn replaced<T: PartialEq>(known: &mut Option<T>, told: Option<T>) -> bool {
    let is_new = *known != told;
    *known = told;
    is_new
}

#[cfg(test)]
mod tests;
