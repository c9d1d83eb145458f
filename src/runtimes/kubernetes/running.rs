//! A runtime that was ready.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::cluster::Shared;
use super::names::Mark;
use super::seen::Seen;
use crate::runtimes::contract::{Order, RunningRuntime};
use crate::runtimes::place::Place;

/// Between two tries to put one to sleep.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// A runtime that was ready. It runs on when it is dropped.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    order: Order,
    mark: Mark,
}

impl Running {
    pub(super) fn new(shared: Arc<Shared>, order: Order, mark: Mark) -> Self {
        Self { shared, order, mark }
    }

    async fn put_to_sleep(&self) {
        let tenant = self.order.tenant;
        let log_tail = self.shared.pod_log(tenant).await;
        loop {
            match self.shared.put_to_sleep(tenant, self.mark, &log_tail).await {
                Ok(true) => break,
                // Another order was carried out since: it is not ours to end.
                Ok(false) => return,
                Err(fault) => {
                    tracing::warn!(%tenant, %fault, "a runtime cannot be put to sleep; tried again");
                    sleep(TRY_EVERY).await;
                }
            }
        }
        let mut seen = self.shared.watched.subscribe(tenant);
        let is_over = |seen: &Seen| match &seen.set {
            Some(set) if set.order == Some(self.mark) => !set.is_up && seen.pod.is_none(),
            Some(_) => true,
            None => seen.pod.is_none(),
        };
        // It fails only without a sender: then nothing is known of it any more.
        let _ = seen.wait_for(is_over).await;
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
        let mut seen = self.shared.watched.subscribe(self.order.tenant);
        let limit = self.shared.settings.start_timeout;
        loop {
            let is_ready = match seen.borrow_and_update().is_ready(self.mark) {
                Ok(is_ready) => is_ready,
                Err(why) => return why,
            };
            // It fails only without a sender: then nothing is known of it any more.
            if is_ready {
                let _ = seen.changed().await;
                continue;
            }
            // Another pod comes in place of one that was removed, and what is busy has time again.
            let is_other = |seen: &Seen| !matches!(seen.is_ready(self.mark), Ok(false));
            if timeout(limit, seen.wait_for(is_other)).await.is_err() {
                return format!("its pod was not ready for {} s", limit.as_secs());
            }
        }
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
