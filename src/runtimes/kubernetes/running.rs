//! A runtime that was ready.

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::api::{Fault, Kind};
use super::claim::STARTED_SINCE;
use super::cluster::Shared;
use super::names::{Mark, name};
use super::seen::{Seen, Set};
use crate::runtimes::contract::{Order, RunningRuntime};
use crate::runtimes::place::Place;

/// Between two tries to put one to sleep.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// The same to mark one.
const MARK_EVERY: Duration = Duration::from_secs(5);
/// How long the end of one that has ended by itself may take to be told.
const LET_GO_MAX: Duration = Duration::from_secs(5);
/// How long the end of the log of one that is to end may take to be read.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// A runtime that was ready. It runs on when it is dropped.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    order: Order,
    mark: Mark,
    /// The order by which it ran before, if ours could not be written.
    was: Option<Mark>,
    is_marked: bool,
}

impl Running {
    pub(super) fn new(
        shared: Arc<Shared>,
        order: Order,
        (mark, was): (Mark, Option<Mark>),
    ) -> Self {
        Self { shared, order, mark, was, is_marked: was.is_none() }
    }

    /// The orders by which it is ours.
    fn marks(&self) -> Vec<Mark> {
        iter::once(self.mark).chain(self.was).collect()
    }

    /// Asks for its end. Returns whether it was ours to ask for that.
    async fn let_go(&self) -> Result<bool, Fault> {
        let tenant = self.order.tenant;
        // Its end does not wait for its last words.
        let log_tail = timeout(LAST_WORDS_MAX, self.shared.pod_log(tenant)).await;
        let log_tail = log_tail.unwrap_or_default();
        for mark in self.marks() {
            if self.shared.put_to_sleep(tenant, mark, &log_tail).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn put_to_sleep(&self) {
        let tenant = self.order.tenant;
        // Until the API server knows of it, what runs there is not what is to run.
        self.shared.unended.insert(tenant, self.marks());
        let is_ours = loop {
            match self.let_go().await {
                Ok(is_ours) => break is_ours,
                Err(fault) => {
                    tracing::warn!(%tenant, %fault, "a runtime cannot be put to sleep; tried again");
                    sleep(TRY_EVERY).await;
                }
            }
        };
        self.shared.unended.remove(&tenant);
        if !is_ours {
            // Another order was carried out since: it is not ours to end.
            return;
        }
        let marks = self.marks();
        let mut seen = self.shared.watched.subscribe(tenant);
        let is_over = |seen: &Seen| match &seen.set {
            Some(set) if set.order.is_some_and(|it| marks.contains(&it)) => {
                !set.is_up && seen.pod.is_none()
            }
            Some(_) => true,
            None => seen.pod.is_none(),
        };
        // It fails only without a sender: then nothing is known of it any more.
        let _ = seen.wait_for(is_over).await;
    }

    /// Waits until it does not run any more, and says why.
    async fn until_over(&self) -> String {
        let mut seen = self.shared.watched.subscribe(self.order.tenant);
        let marks = self.marks();
        let limit = self.shared.settings.start_timeout;
        loop {
            let is_ready = match seen.borrow_and_update().is_ready(&marks) {
                Ok(is_ready) => is_ready,
                Err(why) => return why,
            };
            // It fails only without a sender: then nothing is known of it any more.
            if is_ready {
                let _ = seen.changed().await;
                continue;
            }
            // Another pod comes in place of one that was removed, and what is busy has time again.
            let is_other = |seen: &Seen| !matches!(seen.is_ready(&marks), Ok(false));
            if timeout(limit, seen.wait_for(is_other)).await.is_err() {
                return format!("its pod was not ready for {} s", limit.as_secs());
            }
        }
    }

    /// Writes our order as soon as that can be done.
    ///
    /// # Errors
    /// It is not ours any more: why, for its tenant.
    async fn until_marked(&self) -> Result<(), String> {
        let tenant = self.order.tenant;
        loop {
            sleep(MARK_EVERY).await;
            let read = match self.shared.api.get(Kind::StatefulSet, &name(tenant)).await {
                Ok(Some(read)) => read,
                Ok(None) => return Err("its StatefulSet was removed".to_owned()),
                Err(fault) => {
                    tracing::debug!(%tenant, %fault, "a runtime cannot be marked");
                    continue;
                }
            };
            let set = Set::of(&read);
            let is_ours = set.order.is_some_and(|it| self.marks().contains(&it));
            if !is_ours {
                return Err(STARTED_SINCE.to_owned());
            }
            if set.order == Some(self.mark) {
                return Ok(());
            }
            match self.shared.mark(tenant, self.mark, &read, false).await {
                Ok(_) => return Ok(()),
                Err(fault) => tracing::debug!(%tenant, %fault, "a runtime cannot be marked"),
            }
        }
    }
}

impl RunningRuntime for Running {
    fn place(&self) -> Place {
        self.shared.place(self.order.tenant)
    }

    async fn log_tail(&self) -> Vec<u8> {
        self.shared.pod_log(self.order.tenant).await
    }

    async fn ended(&mut self) -> String {
        let why = loop {
            let marked = tokio::select! {
                why = self.until_over() => break why,
                marked = self.until_marked(), if !self.is_marked => marked,
            };
            match marked {
                Ok(()) => self.is_marked = true,
                Err(why) => break why,
            }
        };
        let Seen { set, .. } = self.shared.watched.seen(self.order.tenant);
        let marks = self.marks();
        let is_up = |set: Set| set.is_up && set.order.is_some_and(|it| marks.contains(&it));
        if !set.is_some_and(is_up) {
            return why;
        }
        // Whoever starts it again gets another pod, and nobody this one.
        let let_go = timeout(LET_GO_MAX, self.let_go()).await;
        if let Ok(Err(fault)) = let_go {
            let tenant = self.order.tenant;
            tracing::warn!(%tenant, %fault, "a runtime that has ended cannot be put to sleep");
        }
        why
    }

    async fn stop(self) {
        let limit = self.shared.settings.stop_timeout;
        if timeout(limit, self.put_to_sleep()).await.is_err() {
            let (tenant, seconds) = (self.order.tenant, limit.as_secs());
            tracing::warn!(%tenant, seconds, "a runtime's pod is not gone in time");
        }
    }

    async fn leave(self) {}
}
