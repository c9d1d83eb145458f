//! What operators ask for, whichever replica owns the runtime; and what has to run without a caller.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::Runtimes;
use super::contract::{Due, RuntimeProvider};
use super::shared::Told;
use super::state::{Asked, Caller, State};
use crate::registry::store::StoreError;
use crate::tenant::{Tenant, TenantId};

/// Between two looks for runtimes that should run and do not.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// How long what is left running may take to be somebody's, and between two looks at that.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Looks at what is left of tenants who are gone: one of so many.
const SETTLE_ROUNDS: u32 = 5;
/// So many tenants may be gone at once, however few there are.
const GONE_BELIEVED: usize = 3;
/// Records that are read at once.
const RECORDS_PER_READ: usize = 200;

impl Runtimes {
    /// Asks for a start, a stop or a restart, and does not wait for it. A start forgets earlier failures;
    /// a stop or restart of one that does not run is none. What was asked of another replica is heard
    /// there within a second, or not at all if nobody is there.
    ///
    /// # Errors
    /// The registry's.
    pub async fn ask(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        asked: Asked,
    ) -> Result<(), StoreError> {
        let slot = self.slot(tenant);
        let shared = self.shared(tenant.id);
        if slot.is_owned() {
            slot.ask(asked);
            return Ok(());
        }
        match asked {
            Asked::Start => {
                shared.forgive().await?;
                slot.forgive();
                slot.call(Caller::Own);
                self.begin(&slot);
            }
            Asked::Stop | Asked::Restart => {
                let runs = match shared.told().await? {
                    Some(Told::Ready { .. } | Told::Starting) => true,
                    // Its owner may be about to start it again.
                    Some(Told::Failing { .. }) => asked == Asked::Stop,
                    Some(Told::Stopping) | None => false,
                };
                if runs {
                    shared.ask(asked).await?;
                }
            }
        }
        Ok(())
    }

    /// Has those run that are always on, and those owned by somebody that nobody owns any more, for as
    /// long as it is polled. One that has failed is left alone for as long as others would wait.
    pub async fn keep(self: Arc<Self>) {
        let mut tick = interval(KEEP_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for round in (0..SETTLE_ROUNDS).cycle() {
            tick.tick().await;
            for tenant in self.providers.left_running().await {
                self.keep_one(tenant, |_| true).await;
            }
            if let Err(error) = self.keep_always_on().await {
                tracing::warn!(%error, "it cannot be seen which runtimes are always on");
            }
            if round == 0
                && let Err(error) = self.settle_kept().await
            {
                tracing::warn!(%error, "it cannot be seen whose runtimes are kept for nobody");
            }
        }
    }

    /// Has what runs without an owner owned again, as far as that is done soon: what replicas have left
    /// that are gone.
    ///
    /// # Errors
    /// The registry's.
    pub(super) async fn take_over_left(self: &Arc<Self>) -> Result<(), StoreError> {
        let left = self.providers.left_running().await;
        for tenant in &left {
            self.keep_one(*tenant, |_| true).await;
        }
        let owned = async {
            for tenant in left {
                while self.shared(tenant).told().await?.is_none() {
                    sleep(LOOK_EVERY).await;
                }
            }
            Ok(())
        };
        timeout(TAKEN_OVER_WITHIN, owned).await.unwrap_or(Ok(()))
    }

    /// Has go what is kept for tenants who are gone, and sleep what is kept for those who may not use it.
    async fn settle_kept(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut kept = Vec::new();
        for id in self.providers.kept().await {
            kept.push((id, self.due(id).await?));
        }
        let (gone, all) = (kept.iter().filter(|(_, due)| *due == Due::Goes).count(), kept.len());
        let is_doubtful = gone > GONE_BELIEVED && gone * 2 > all;
        if is_doubtful {
            tracing::warn!(
                gone,
                all,
                "the registry does not know most of the tenants who have runtimes: it may be the wrong \
                 one, so that nothing of theirs is ended or removed"
            );
        }
        for (id, due) in kept {
            // Whoever owns it ends it.
            let is_ours = self.slots.get(&id).is_some_and(|slot| slot.state() != State::Asleep);
            let is_left_alone = is_ours || (is_doubtful && due == Due::Goes);
            if is_left_alone || *self.stop.borrow() || !self.providers.needs_settling(id, due) {
                continue;
            }
            let shared = self.shared(id);
            if let Some(fence) = shared.own().await? {
                self.providers.settle(id, due, fence, self.registry.wall().now()).await;
                shared.release().await;
            }
        }
        Ok(())
    }

    async fn due(&self, tenant: TenantId) -> Result<Due, StoreError> {
        let Some(tenant) = self.registry.by_id(tenant).await? else { return Ok(Due::Goes) };
        let provider = tenant.instance.as_ref().map(|it| it.provider).filter(|it| it.is_owned());
        Ok(match provider {
            None => Due::Goes,
            Some(provider) if !tenant.disabled && provider.outlives_flowgate() => Due::Stays,
            // If it is another's now, what is left of this one must not run beside that.
            Some(_) => Due::Sleeps,
        })
    }

    async fn keep_always_on(self: &Arc<Self>) -> Result<(), StoreError> {
        if !self.providers.is_any() {
            return Ok(());
        }
        let always_on = self.plans_always_on().await?;
        if always_on.is_empty() {
            return Ok(());
        }
        let mut after: Option<String> = None;
        loop {
            let records = self.registry.records(after.as_deref(), RECORDS_PER_READ).await?;
            let Some((last, ..)) = records.last() else { return Ok(()) };
            after = Some(last.to_string());
            for (id, _, record) in records {
                let is_owned = record.instance.is_some_and(|it| it.provider().is_owned());
                let is_kept = record.plan.is_some_and(|plan| always_on.contains(&plan));
                // Whoever else it is does not take the place of tenants who are in use.
                if is_owned && is_kept && !record.disabled {
                    self.keep_one(id, |tenant| tenant.plan.always_on).await;
                }
            }
        }
    }

    async fn plans_always_on(&self) -> Result<HashSet<String>, StoreError> {
        let (mut always_on, mut after) = (HashSet::new(), None::<String>);
        loop {
            let plans = self.registry.plans(after.as_deref(), RECORDS_PER_READ).await?;
            let Some((last, ..)) = plans.last() else { return Ok(always_on) };
            after = Some(last.clone());
            let kept = plans.into_iter().filter(|(_, _, plan)| plan.always_on);
            always_on.extend(kept.map(|(name, ..)| name));
        }
    }

    /// Begins a runtime that sleeps, if nobody else runs it.
    async fn keep_one(self: &Arc<Self>, id: TenantId, is_kept: impl Fn(&Tenant) -> bool) {
        // How long it is left alone after a failure `begin` knows.
        let is_down =
            |state| matches!(state, State::Asleep | State::Failing { restarts: false, .. });
        let sleeps = self.slots.get(&id).is_none_or(|slot| is_down(slot.state()));
        if !sleeps || self.drains.load(Ordering::Relaxed) || *self.stop.borrow() {
            return;
        }
        let Ok(Some(tenant)) = self.registry.by_id(id).await else { return };
        let has_one = tenant.instance.as_ref().is_some_and(|it| it.provider.is_owned());
        if has_one && is_kept(&tenant) && matches!(self.shared(id).told().await, Ok(None)) {
            tracing::info!(tenant = %tenant.username, "a runtime is started that has to run");
            self.begin(&self.slot(&tenant));
        }
    }
}
