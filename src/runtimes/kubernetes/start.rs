//! The start of a runtime, and what is said when it does not.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::api::{Fault, Kind};
use super::cluster::Shared;
use super::names::{GROUP, Mark, name, pod_name};
use super::objects;
use super::running::Running;
use super::seen::{Seen, Set, Trouble};
use crate::runtimes::contract::{Order, StartFault};
use crate::tenant::TenantId;

/// The controller writes as well: what was read may be of yesterday at once.
const TRIES_MAX: u32 = 20;
const TRY_EVERY: Duration = Duration::from_millis(50);
/// Between two looks whether a pod that is ready answers.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// If there is no pod after this time, events may say why.
const POD_MAX: Duration = Duration::from_secs(5);
/// No object has this version: whoever asks for it asks that there be none.
const VERSION_OF_NONE: &str = "1";

impl Shared {
    pub(super) async fn start(self: &Arc<Self>, order: &Order) -> Result<Running, StartFault> {
        let nonce = |error| StartFault::new(&format!("no order can be made: {error}"));
        let mark = Mark::new(order.fence).map_err(nonce)?;
        let begun =
            Begun { shared: Arc::clone(self), tenant: order.tenant, mark, is_settled: false };
        let limit = self.settings.start_timeout;
        let why = match timeout(limit, self.carry_out(order, mark)).await {
            Ok(Ok(())) => return Ok(begun.settled(order.clone())),
            Ok(Err(why)) => why,
            Err(_) => self.late(order, limit).await,
        };
        let log_tail = match self.watched.seen(order.tenant).pod {
            Some(_) => self.pod_log(order.tenant).await,
            None => Vec::new(),
        };
        begun.undo(&log_tail).await;
        Err(StartFault { why, log_tail })
    }

    /// # Errors
    /// Why it is not ready.
    async fn carry_out(&self, order: &Order, mark: Mark) -> Result<(), String> {
        // One that has run for long may have said so where the log does not reach any more.
        let was_ready = self.watched.seen(order.tenant).pod.is_some_and(|pod| pod.is_ready);
        let set = self.claim(order, mark).await?;
        let uid = set["metadata"]["uid"].as_str().unwrap_or_default();
        let service = objects::service(&self.template, &self.settings, order, uid);
        self.api.apply(Kind::Service, &service).await.map_err(|fault| refused(&fault, order))?;
        self.until_ready(order, mark, was_ready).await
    }

    /// Makes the StatefulSet what the order wants it to be, if no later one was carried out. What is read is
    /// what is replaced: each try asks for the version that was looked at, so that of two orders the later
    /// one stays, whichever comes first.
    async fn claim(&self, order: &Order, mark: Mark) -> Result<Value, String> {
        for _ in 0..TRIES_MAX {
            let there = self.api.get(Kind::StatefulSet, &name(order.tenant)).await;
            let there = there.map_err(|fault| refused(&fault, order))?;
            if let Some(there) = &there {
                if there["metadata"]["labels"][GROUP] != self.settings.group.as_str() {
                    return Err("another flowgate's runtime has its name".to_owned());
                }
                if Set::of(there).order.is_some_and(|last| last.fence > order.fence) {
                    return Err("another replica has started it since".to_owned());
                }
            }
            let mut object = objects::stateful_set(
                &self.template,
                &self.settings,
                (order, mark),
                there.as_ref(),
            );
            let version = there.map(|there| there["metadata"]["resourceVersion"].clone());
            object["metadata"]["resourceVersion"] = version.unwrap_or(json!(VERSION_OF_NONE));
            match self.api.apply(Kind::StatefulSet, &object).await {
                Ok(applied) => return Ok(applied),
                Err(fault) if fault.has_code(StatusCode::CONFLICT) => sleep(TRY_EVERY).await,
                Err(fault) => return Err(refused(&fault, order)),
            }
        }
        Err("others change its StatefulSet all the time".to_owned())
    }

    /// # Errors
    /// It will not be ready, or another order was carried out.
    async fn until_ready(&self, order: &Order, mark: Mark, was_ready: bool) -> Result<(), String> {
        let mut seen = self.watched.subscribe(order.tenant);
        let (mut is_ours, mut has_said_so) = (false, was_ready);
        loop {
            let now = seen.borrow_and_update().clone();
            is_ours |= now.set.as_ref().is_some_and(|set| set.order == Some(mark));
            // Until the watch tells of our order it tells of an earlier one.
            let (look, pod) = if is_ours { (now.is_ready(mark)?, now.pod) } else { (false, None) };
            if look && let Some(address) = pod.as_ref().and_then(|pod| pod.address) {
                if self.answers(order, address).await {
                    has_said_so = has_said_so || self.says_ready(order.tenant).await;
                    if has_said_so {
                        return Ok(());
                    }
                }
                sleep(LOOK_EVERY).await;
                continue;
            }
            // It fails only without a sender, and a StatefulSet that is gone is one that has changed.
            match timeout(POD_MAX, seen.changed()).await {
                Ok(_) => {}
                Err(_) if pod.is_none() => self.look_for_quota(order).await?,
                Err(_) => {}
            }
        }
    }

    async fn says_ready(&self, tenant: TenantId) -> bool {
        let line = self.settings.ready_line.as_bytes();
        if line.is_empty() {
            return true;
        }
        let log = self.api.log_beginning(&pod_name(tenant), &self.template.container).await;
        log.windows(line.len()).any(|part| part == line)
    }

    /// Why there is no pod.
    ///
    /// # Errors
    /// The cluster does not let it be made.
    async fn look_for_quota(&self, order: &Order) -> Result<(), String> {
        let name = name(order.tenant);
        let query = format!(
            "limit=50&fieldSelector=involvedObject.kind%3DStatefulSet%2CinvolvedObject.name%3D{name}%2C\
             reason%3DFailedCreate"
        );
        let events = match self.api.list(Kind::Event, &query).await {
            Ok(events) => events,
            Err(fault) => {
                tracing::debug!(name, %fault, "a runtime's events cannot be read");
                return Ok(());
            }
        };
        let when = |event: &Value| {
            let times = [&event["lastTimestamp"], &event["eventTime"]];
            times.into_iter().find_map(Value::as_str).unwrap_or_default().to_owned()
        };
        let events = events["items"].as_array().into_iter().flatten();
        let Some(message) =
            events.max_by_key(|event| when(event)).and_then(|event| event["message"].as_str())
        else {
            return Ok(());
        };
        tracing::warn!(tenant = %order.username, message, "a runtime's pod cannot be made");
        match message.contains("exceeded quota") {
            true => Err("a quota of the cluster is used up".to_owned()),
            false => Err("the cluster does not let its pod be made".to_owned()),
        }
    }

    async fn late(&self, order: &Order, limit: Duration) -> String {
        let Seen { pod, .. } = self.watched.seen(order.tenant);
        let within = format!("it was not ready within {} s", limit.as_secs());
        match pod.as_ref().map(|pod| (&pod.trouble, pod.is_ready)) {
            Some((Some(trouble), _)) => {
                tell(order.tenant, trouble);
                format!("{within}: {}", trouble.why)
            }
            Some((None, true)) => {
                format!("{within}: its pod is ready and its Service does not answer")
            }
            _ => within,
        }
    }
}

fn tell(tenant: TenantId, Trouble { why, detail, .. }: &Trouble) {
    tracing::warn!(%tenant, why, detail, "a runtime's pod is not ready");
}

/// In words for its tenant; operators find the API server's in the log.
fn refused(fault: &Fault, order: &Order) -> String {
    tracing::warn!(tenant = %order.username, %fault, "a runtime cannot be started in Kubernetes");
    match fault {
        Fault::Away(_) => "the cluster cannot be asked".to_owned(),
        Fault::Refused { message, .. } if message.contains("exceeded quota") => {
            "a quota of the cluster is used up".to_owned()
        }
        Fault::Refused { .. } => "the cluster refuses it".to_owned(),
    }
}

/// A start that was begun: dropped, it is undone.
struct Begun {
    shared: Arc<Shared>,
    tenant: TenantId,
    mark: Mark,
    is_settled: bool,
}

impl Begun {
    fn settled(mut self, order: Order) -> Running {
        self.is_settled = true;
        Running::new(Arc::clone(&self.shared), order, self.mark)
    }

    async fn undo(mut self, log_tail: &[u8]) {
        self.is_settled = true;
        let undone = self.shared.put_to_sleep(self.tenant, self.mark, log_tail).await;
        if let Err(fault) = undone {
            // It is among those that were left running then.
            tracing::warn!(tenant = %self.tenant, %fault, "a failed start cannot be undone");
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        let (shared, tenant, mark) = (Arc::clone(&self.shared), self.tenant, self.mark);
        if let Ok(handle) = Handle::try_current() {
            handle.spawn(async move {
                if let Err(fault) = shared.put_to_sleep(tenant, mark, &[]).await {
                    tracing::warn!(%tenant, %fault, "a start that was given up cannot be undone");
                }
            });
        }
    }
}
