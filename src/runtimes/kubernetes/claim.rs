//! How a StatefulSet becomes that of a later order: what runs is marked and stays as it is, what sleeps is
//! made what the template wants.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::api::{Fault, Kind, MANAGER};
use super::cluster::Shared;
use super::names::{GONE_SINCE, GROUP, Mark, ORDER, escaped, name};
use super::objects;
use super::seen::{Seen, Set};
use super::start::{Begun, refused};
use crate::runtimes::contract::Order;
use crate::tenant::TenantId;

/// The controller writes as well: what was read may be of yesterday at once.
const TRIES_MAX: u32 = 20;
const TRY_EVERY: Duration = Duration::from_millis(50);
/// No object has this version: whoever asks for it asks that there be none.
const VERSION_OF_NONE: &str = "1";

pub(super) const STARTED_SINCE: &str = "another replica has started it since";

/// A StatefulSet that is ours now.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) uid: String,
    /// When that was, by the API server's clock, in RFC 3339.
    pub(super) at: String,
    /// Whether it was up before, and nothing of it was changed.
    pub(super) is_taken_over: bool,
}

/// It is not ours.
#[derive(Debug)]
pub(super) struct Unclaimed {
    pub(super) why: String,
    /// Whether what runs there may be used as it is.
    pub(super) may_run: bool,
}

fn lost(why: &str) -> Unclaimed {
    Unclaimed { why: why.to_owned(), may_run: false }
}

impl Claimed {
    fn of(object: &Value, is_taken_over: bool) -> Self {
        let metadata = &object["metadata"];
        let writes = metadata["managedFields"].as_array().into_iter().flatten();
        let own = writes.filter(|write| write["manager"] == MANAGER);
        let at = own.filter_map(|write| write["time"].as_str()).max().unwrap_or_default();
        let uid = metadata["uid"].as_str().unwrap_or_default();
        Self { uid: uid.to_owned(), at: at.to_owned(), is_taken_over }
    }
}

impl Shared {
    /// Makes the StatefulSet the order's, if no later one was carried out. What is read is what is
    /// changed: each try asks for the version that was looked at, so that of two orders the later one
    /// stays, whichever comes first.
    pub(super) async fn claim(
        &self,
        (order, mark): (&Order, Mark),
        begun: &mut Begun,
    ) -> Result<Claimed, Unclaimed> {
        let hindered = |fault| Unclaimed { why: refused(&fault, order), may_run: true };
        for _ in 0..TRIES_MAX {
            let there = self.api.get(Kind::StatefulSet, &name(order.tenant)).await;
            let there = there.map_err(hindered)?;
            if let Some(there) = &there {
                if there["metadata"]["labels"][GROUP] != self.settings.group.as_str() {
                    return Err(lost("another flowgate's runtime has its name"));
                }
                if Set::of(there).order.is_some_and(|last| last.fence > order.fence) {
                    return Err(lost(STARTED_SINCE));
                }
            }
            let up = there.as_ref().filter(|there| Set::of(there).is_up);
            let was_gone = there.as_ref().filter(|there| Set::of(there).gone_since.is_some());
            let claimed = match (up, was_gone) {
                (Some(up), _) if self.has_to_end(order.tenant, up) => {
                    self.mark(order.tenant, mark, up, true).await.map(|_| None)
                }
                (Some(up), _) => {
                    let marked = self.mark(order.tenant, mark, up, false).await;
                    marked.map(|object| Some(Claimed::of(&object, true)))
                }
                // What is made takes the place of the last one's pod, lest that be taken for the new one.
                (None, _) if self.watched.seen(order.tenant).pod.is_some() => {
                    self.until_no_pod(order.tenant).await;
                    continue;
                }
                (None, Some(there)) => {
                    self.mark(order.tenant, mark, there, false).await.map(|_| None)
                }
                (None, None) => {
                    begun.has_woken = true;
                    let made = self.make(order, mark, there.as_ref()).await;
                    made.map(|object| Some(Claimed::of(&object, false)))
                }
            };
            match claimed {
                Ok(Some(claimed)) => return Ok(claimed),
                // It is to be made anew; the end of its pod is waited for.
                Ok(None) => self.until_no_pod(order.tenant).await,
                Err(fault) if has_changed(&fault, up.or(was_gone).is_some()) => {
                    begun.has_woken = false;
                    sleep(TRY_EVERY).await;
                }
                Err(fault) => {
                    let why = refused(&fault, order);
                    return Err(Unclaimed { why, may_run: up.is_some() });
                }
            }
        }
        let why = "others change its StatefulSet all the time".to_owned();
        Err(Unclaimed { why, may_run: true })
    }

    async fn make(&self, order: &Order, mark: Mark, there: Option<&Value>) -> Result<Value, Fault> {
        let mut object =
            objects::stateful_set(&self.template, &self.settings, (order, mark), there);
        let version = there.map(|there| there["metadata"]["resourceVersion"].clone());
        object["metadata"]["resourceVersion"] = version.unwrap_or(json!(VERSION_OF_NONE));
        self.api.apply(Kind::StatefulSet, &object).await
    }

    /// Writes a mark on what was read, whose tenant is not gone, and changes nothing else but that it
    /// `ends`, if it does.
    pub(super) async fn mark(
        &self,
        tenant: TenantId,
        mark: Mark,
        read: &Value,
        ends: bool,
    ) -> Result<Value, Fault> {
        let metadata = &read["metadata"];
        let version = json!({
            "op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"],
        });
        let mut steps = vec![version];
        if !metadata["annotations"].is_object() {
            steps.push(json!({ "op": "add", "path": "/metadata/annotations", "value": {} }));
        }
        let path = format!("/metadata/annotations/{}", escaped(ORDER));
        steps.push(json!({ "op": "add", "path": path, "value": mark.to_string() }));
        if !metadata["annotations"][GONE_SINCE].is_null() {
            let path = format!("/metadata/annotations/{}", escaped(GONE_SINCE));
            steps.push(json!({ "op": "remove", "path": path }));
        }
        if ends {
            steps.push(json!({ "op": "replace", "path": "/spec/replicas", "value": 0 }));
        }
        self.api.patch(Kind::StatefulSet, &name(tenant), &json!(steps)).await
    }

    /// Whether what is up is not to be taken over: its end was asked for and could not be told the API
    /// server, or its pod will not be ready.
    fn has_to_end(&self, tenant: TenantId, up: &Value) -> bool {
        let was_ended = self.is_unended(tenant, Set::of(up).order);
        was_ended || self.watched.seen(tenant).pod.is_some_and(|pod| pod.is_hopeless())
    }

    fn is_unended(&self, tenant: TenantId, order: Option<Mark>) -> bool {
        self.unended.get(&tenant).is_some_and(|marks| order.is_some_and(|it| marks.contains(&it)))
    }

    async fn until_no_pod(&self, tenant: TenantId) {
        let mut seen = self.watched.subscribe(tenant);
        // It fails only without a sender: then there is none.
        let _ = seen.wait_for(|seen| seen.pod.is_none()).await;
    }

    /// The order by which a runtime runs that answers, although it could not be marked: who calls it is
    /// served, whatever the API server says.
    pub(super) async fn as_it_runs(&self, order: &Order) -> Option<Mark> {
        let Seen { set: Some(set), pod: Some(pod) } = self.watched.seen(order.tenant) else {
            return None;
        };
        let was = set.order.filter(|was| set.is_up && was.fence <= order.fence)?;
        let address = pod.address.filter(|_| pod.is_ready)?;
        let is_good =
            !self.is_unended(order.tenant, Some(was)) && self.answers(order, address).await;
        is_good.then_some(was)
    }
}

/// Whether it is not as it was read any more. A JSON Patch whose test fails is answered with 422.
pub(super) fn has_changed(fault: &Fault, is_patch: bool) -> bool {
    let of_patches = [StatusCode::UNPROCESSABLE_ENTITY, StatusCode::NOT_FOUND];
    fault.has_code(StatusCode::CONFLICT)
        || (is_patch && of_patches.into_iter().any(|code| fault.has_code(code)))
}
