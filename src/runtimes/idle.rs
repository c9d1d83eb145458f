//! When a runtime may be put to sleep.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Runtimes;
use super::activity::Activity;
use super::shared::Shared;
use super::state::Slot;
use crate::clock::Millis;
use crate::tenant::Instance;

/// Between two looks at what a runtime is used for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Runtimes {
    /// Waits until it may be put to sleep, and has its state say that it stops.
    pub(super) async fn until_asleep(
        &self,
        shared: &Shared<'_>,
        slot: &Slot,
        instance: &Instance,
        since: Millis,
    ) {
        let mut activity = Activity::default();
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let tenant = match self.registry.by_id(slot.tenant).await {
                Ok(tenant) => tenant,
                // As long as nothing else is known.
                Err(_) => continue,
            };
            let tenant = tenant.filter(|tenant| !tenant.disabled);
            let is_ours = |present: &Instance| present.provider.is_like(instance.provider);
            let Some(tenant) = tenant.filter(|it| it.instance.as_deref().is_some_and(is_ours))
            else {
                return;
            };
            let looked_at = self.clock.now();
            let glance = activity.look(&self.live, slot.tenant, instance);
            slot.saw(glance);
            let Some(sleep_after) = tenant.plan.sleep_after() else { continue };
            let data_at = glance.last_data_at.unwrap_or_default().max(since);
            let is_idle = |now: Millis| {
                glance.requests == 0 && now.since(data_at.max(slot.used_at())) >= sleep_after
            };
            if !is_idle(looked_at) || self.is_used_elsewhere(shared, sleep_after).await {
                continue;
            }
            // Looked at again while nobody can enter: a request is in the live table before it enters.
            let stops = slot.stop_if(|| {
                let again = activity.look(&self.live, slot.tenant, instance);
                let data_at = again.last_data_at.unwrap_or_default().max(data_at);
                let now = self.clock.now();
                again.requests == 0 && now.since(data_at.max(slot.used_at())) >= sleep_after
            });
            if stops {
                return;
            }
        }
    }

    async fn is_used_elsewhere(&self, shared: &Shared<'_>, sleep_after: Duration) -> bool {
        if !self.registry.is_shared() {
            return false;
        }
        match shared.last_use().await {
            Ok(Some(at)) => at.plus(sleep_after) > self.registry.wall().now(),
            Ok(None) => false,
            // Then it is not known that nobody uses it.
            Err(_) => true,
        }
    }
}
