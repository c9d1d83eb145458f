//! The start of a runtime, and what is said when it does not.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::api::{Fault, Kind};
use super::claim::{Claimed, STARTED_SINCE, Unclaimed};
use super::cluster::Shared;
use super::names::{Mark, name};
use super::objects;
use super::ready_line::ReadyLine;
use super::running::Running;
use super::seen::{Pod, Seen, Trouble};
use crate::runtimes::contract::{Order, StartFault};
use crate::tenant::TenantId;

/// Between two looks whether a pod that is ready answers.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// If there is no pod after this time, events may say why.
const POD_MAX: Duration = Duration::from_secs(5);

impl Shared {
    pub(super) async fn start(self: &Arc<Self>, order: &Order) -> Result<Running, StartFault> {
        let nonce = |error| StartFault::new(&format!("no order can be made: {error}"));
        let mark = Mark::new(order.fence).map_err(nonce)?;
        let mut begun = Begun {
            shared: Arc::clone(self),
            tenant: order.tenant,
            mark,
            has_woken: false,
            is_settled: false,
        };
        let limit = self.settings.start_timeout;
        let mut hindrance = None;
        let carried_out = self.carry_out((order, mark), &mut begun, &mut hindrance);
        let why = match timeout(limit, carried_out).await {
            Ok(Ok(was)) => return Ok(begun.settled(order.clone(), was)),
            Ok(Err(why)) => why,
            Err(_) => self.late(order, limit, hindrance),
        };
        let log_tail = match self.watched.seen(order.tenant).pod {
            Some(_) => self.pod_log(order.tenant).await,
            None => Vec::new(),
        };
        begun.undo(&log_tail).await;
        Err(StartFault { why, log_tail })
    }

    /// Returns the order by which it runs still, if it could not be marked.
    ///
    /// # Errors
    /// Why it is not ready.
    async fn carry_out(
        &self,
        (order, mark): (&Order, Mark),
        begun: &mut Begun,
        hindrance: &mut Option<String>,
    ) -> Result<Option<Mark>, String> {
        // What is not known yet would be taken for what is not ready.
        self.watched.is_known().await;
        let claimed = match self.claim((order, mark), begun).await {
            Ok(claimed) => claimed,
            Err(Unclaimed { why, may_run }) => {
                let was = if may_run { self.as_it_runs(order).await } else { None };
                return was.map(Some).ok_or(why);
            }
        };
        if !claimed.is_taken_over {
            self.apply_service(order, &claimed).await.map_err(|fault| refused(&fault, order))?;
        }
        self.until_ready((order, mark), &claimed, hindrance).await.map(|()| None)
    }

    async fn apply_service(&self, order: &Order, claimed: &Claimed) -> Result<(), Fault> {
        let service = objects::service(&self.template, &self.settings, order, &claimed.uid);
        self.api.apply(Kind::Service, &service).await.map(|_| ())
    }

    /// # Errors
    /// It will not be ready, or another order was carried out.
    async fn until_ready(
        &self,
        (order, mark): (&Order, Mark),
        claimed: &Claimed,
        hindrance: &mut Option<String>,
    ) -> Result<(), String> {
        let mut seen = self.watched.subscribe(order.tenant);
        // One that has run for long may have said so where the log does not reach any more.
        let has_run = |pod: &Pod| pod.is_ready || pod.has_run_for(self.settings.start_timeout);
        let was_ready = claimed.is_taken_over && seen.borrow().pod.as_ref().is_some_and(has_run);
        let mut line = ReadyLine::new(was_ready);
        let (mut is_ours, mut has_service) = (false, !claimed.is_taken_over);
        loop {
            let now = seen.borrow_and_update().clone();
            // Ours may have been the last one for so short that the watch does not tell of it.
            let last = now.set.as_ref().and_then(|set| set.order);
            if last.is_some_and(|last| last.fence > mark.fence) {
                return Err(STARTED_SINCE.to_owned());
            }
            // What was ended for it to be made anew had our mark while it was down.
            is_ours |= now.set.as_ref().is_some_and(|set| set.order == Some(mark) && set.is_up);
            // Until the watch tells of our order it tells of an earlier one.
            let (look, pod) =
                if is_ours { (now.is_ready(&[mark])?, now.pod) } else { (false, None) };
            if look && let Some(address) = pod.as_ref().and_then(|pod| pod.address) {
                if self.answers(order, address).await {
                    if line.is_said(self, order.tenant).await {
                        return Ok(());
                    }
                } else if !std::mem::replace(&mut has_service, true)
                    && let Err(fault) = self.apply_service(order, claimed).await
                {
                    // Its first owner may have ended before it had one.
                    refused(&fault, order);
                }
                sleep(LOOK_EVERY).await;
                continue;
            }
            // It fails only without a sender, and a StatefulSet that is gone is one that has changed.
            match timeout(POD_MAX, seen.changed()).await {
                Ok(_) => {}
                Err(_) if pod.is_none() => {
                    *hindrance = self.look_for_quota(order, claimed).await?.or(hindrance.take());
                }
                Err(_) => {}
            }
        }
    }

    /// Why there is no pod, as far as somebody has said so since it was to be made.
    ///
    /// # Errors
    /// A quota is used up: that is not waited for.
    async fn look_for_quota(
        &self,
        order: &Order,
        claimed: &Claimed,
    ) -> Result<Option<String>, String> {
        let (name, uid) = (name(order.tenant), &claimed.uid);
        let query = format!(
            "limit=50&fieldSelector=involvedObject.kind%3DStatefulSet%2CinvolvedObject.name%3D{name}%2C\
             involvedObject.uid%3D{uid}%2Creason%3DFailedCreate"
        );
        let events = match self.api.list(Kind::Event, &query).await {
            Ok(events) => events,
            Err(fault) => {
                tracing::debug!(name, %fault, "a runtime's events cannot be read");
                return Ok(None);
            }
        };
        let Some(message) = newest_since(&events, &claimed.at) else { return Ok(None) };
        tracing::warn!(tenant = %order.username, message, "a runtime's pod cannot be made");
        match message.contains("exceeded quota") {
            true => Err("a quota of the cluster is used up".to_owned()),
            false => Ok(Some("the cluster does not let its pod be made".to_owned())),
        }
    }

    fn late(&self, order: &Order, limit: Duration, hindrance: Option<String>) -> String {
        let Seen { pod, .. } = self.watched.seen(order.tenant);
        let within = format!("it was not ready within {} s", limit.as_secs());
        match (pod, hindrance) {
            (Some(Pod { trouble: Some(trouble), .. }), _) => {
                tell(order.tenant, &trouble);
                format!("{within}: {}", trouble.why)
            }
            (Some(Pod { is_ready: true, .. }), _) => {
                format!("{within}: its pod is ready and its Service does not answer")
            }
            (Some(Pod { is_going: true, .. }), _) => {
                format!("{within}: its last pod has not ended")
            }
            (None, Some(hindrance)) => format!("{within}: {hindrance}"),
            _ => within,
        }
    }
}

/// What the newest of these events says, if it is not from before that time (RFC 3339): events are kept
/// for an hour.
pub(super) fn newest_since<'a>(events: &'a Value, since: &str) -> Option<&'a str> {
    // Some have fractions of a second.
    const TO_SECONDS: usize = "2000-01-01T00:00:00".len();
    let seconds = |time: &str| time.get(..TO_SECONDS).unwrap_or_default().to_owned();
    let when = |event: &Value| {
        let times =
            [&event["series"]["lastObservedTime"], &event["lastTimestamp"], &event["eventTime"]];
        times.into_iter().find_map(Value::as_str).map(seconds).unwrap_or_default()
    };
    let since = seconds(since);
    let events = events["items"].as_array().into_iter().flatten();
    let newest = events.filter(|event| when(event) >= since).max_by_key(|event| when(event))?;
    newest["message"].as_str()
}

fn tell(tenant: TenantId, Trouble { why, detail, .. }: &Trouble) {
    tracing::warn!(%tenant, why, detail, "a runtime's pod is not ready");
}

/// In words for its tenant; operators find the API server's in the log.
pub(super) fn refused(fault: &Fault, order: &Order) -> String {
    tracing::warn!(tenant = %order.username, %fault, "a runtime cannot be started in Kubernetes");
    match fault {
        Fault::Away(_) => "the cluster cannot be asked".to_owned(),
        Fault::Refused { message, .. } if message.contains("exceeded quota") => {
            "a quota of the cluster is used up".to_owned()
        }
        Fault::Refused { .. } => "the cluster refuses it".to_owned(),
    }
}

/// A start that was begun: dropped, it is undone. What ran before it runs on.
pub(super) struct Begun {
    shared: Arc<Shared>,
    tenant: TenantId,
    mark: Mark,
    /// Whether it has brought up what was down.
    pub(super) has_woken: bool,
    is_settled: bool,
}

impl Begun {
    fn settled(mut self, order: Order, was: Option<Mark>) -> Running {
        self.is_settled = true;
        Running::new(Arc::clone(&self.shared), order, (self.mark, was))
    }

    /// Of one that ran before nothing is left to be used if its pod is not ready.
    async fn undo(mut self, log_tail: &[u8]) {
        self.is_settled = true;
        let is_of_use = self.shared.watched.seen(self.tenant).pod.is_some_and(|pod| pod.is_ready);
        if is_of_use && !self.has_woken {
            return;
        }
        let undone = self.shared.put_to_sleep(self.tenant, self.mark, log_tail).await;
        if let Err(fault) = undone {
            // It is among those that were left running then.
            tracing::warn!(tenant = %self.tenant, %fault, "a failed start cannot be undone");
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.is_settled || !self.has_woken {
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
