//! The owner's part: one task per runtime, from its start to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Runtimes;
use super::contract::{Order, RunningRuntime, RuntimeProvider, StartFault};
use super::counts::{End, Start};
use super::follow::HEARD_WITHIN;
use super::providers::Running;
use super::rest::Hindrance;
use super::shared::{RENEW_EVERY, Shared, Told};
use super::state::{Asked, Slot, State};
use super::turns::{Standing, TURN_MAX};
use crate::live::Kind;
use crate::registry::store::StoreError;
use crate::tenant::Instance;

/// Between two looks whether another replica has asked for something.
const LISTEN_EVERY: Duration = Duration::from_secs(1);
/// Between two tries to stay its owner while the registry is away.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// One that has run for so long has not crashed at its start.
pub(super) const STEADY_AFTER: Duration = Duration::from_secs(60);

/// Why an owner is one no more.
enum Over {
    /// It sleeps, or the tenant has none any more.
    Asleep,
    /// It was ended to be started again.
    Restarts,
    /// flowgate stops.
    Left,
    /// It did not start, or crashed.
    Failed { why: String, may_restart: bool },
    /// Something was in the way.
    Hindered(Hindrance),
    /// Another replica owns it.
    Lost,
}

impl Runtimes {
    /// Carries a runtime on until nothing of it runs. The state is `Starting`.
    pub(super) async fn carry(self: Arc<Self>, slot: Arc<Slot>) {
        let shared = self.shared(slot.tenant);
        // What was asked of one that had ended by then.
        let _ = slot.take_asked();
        loop {
            self.carry_on(&shared, &slot).await;
            slot.own(false);
            // Asked for while it was on its way down.
            let is_asked = matches!(slot.take_asked(), Some(Asked::Start | Asked::Restart));
            let is_wanted = is_asked || self.is_left_in_use(&slot).await;
            if !is_wanted || *self.stop.borrow() {
                return;
            }
            if let Err(error) = shared.forgive().await {
                tracing::debug!(%error, "a failure could not be forgotten");
            }
            slot.forgive();
            if !slot.begin(self.clock.now()) {
                return;
            }
        }
    }

    /// Whether it runs on without an owner, and connections of this replica with it: somebody has to tell
    /// when it is used, and to put it to sleep when it is not.
    async fn is_left_in_use(&self, slot: &Slot) -> bool {
        slot.state() == State::Asleep
            && !self.live.entries_of(slot.tenant).is_empty()
            && self.providers.left_running().await.contains(&slot.tenant)
    }

    async fn carry_on(&self, shared: &Shared<'_>, slot: &Slot) {
        // Whether it is to run although nobody calls.
        let mut restarts = false;
        loop {
            let owned = shared.own().await;
            slot.own(matches!(owned, Ok(Some(_))));
            let over = match owned {
                Ok(Some(fence)) => match shared.others_failure().await {
                    Some((why, wait)) => {
                        shared.release().await;
                        let until = self.clock.now().plus(wait);
                        return slot.set(slot.fail_until(why, until));
                    }
                    None => {
                        if !restarts {
                            shared.forget_asked().await;
                        }
                        let over = self.own(shared, slot, fence).await;
                        if matches!(over, Over::Asleep | Over::Left | Over::Hindered(_)) {
                            shared.leave(fence).await;
                        }
                        over
                    }
                },
                Ok(None) => {
                    self.follow(shared, slot).await;
                    return;
                }
                Err(error) => away(&error),
            };
            let goes_on = match over {
                Over::Asleep | Over::Left => {
                    slot.set(State::Asleep);
                    false
                }
                Over::Lost => {
                    // It may have become ours anew.
                    shared.release().await;
                    slot.set(State::Asleep);
                    false
                }
                Over::Restarts => {
                    slot.begin_again(self.clock.now());
                    true
                }
                Over::Failed { why, may_restart } => {
                    self.failed(shared, slot, why, may_restart).await
                }
                Over::Hindered(hindrance) => self.hindered(slot, hindrance, restarts).await,
            };
            if !goes_on {
                return;
            }
            restarts = true;
        }
    }

    /// Starts it and stays with it to its end.
    async fn own(&self, shared: &Shared<'_>, slot: &Slot, fence: u64) -> Over {
        let tenant = match self.registry.by_id(slot.tenant).await {
            Ok(tenant) => tenant.filter(|tenant| !tenant.disabled),
            Err(error) => return away(&error),
        };
        let instance = tenant.as_ref().and_then(|tenant| tenant.instance.clone());
        let instance = instance.filter(|instance| instance.provider.is_owned());
        let (Some(tenant), Some(instance)) = (tenant, instance) else { return Over::Asleep };
        let Ok(_running) = self.running.try_acquire() else {
            return Over::Hindered(Hindrance::Full);
        };
        if *self.stop.borrow() {
            return Over::Left;
        }
        match shared.may_start(slot.caller()).await {
            Ok(true) => {}
            Ok(false) => return Over::Hindered(Hindrance::TooOften),
            Err(error) => return away(&error),
        }
        let order = Order::new(tenant.id, &tenant.username, &instance, fence);
        self.run(shared, slot, &instance, &order).await
    }

    async fn run(
        &self,
        shared: &Shared<'_>,
        slot: &Slot,
        instance: &Instance,
        order: &Order,
    ) -> Over {
        let started = {
            let start = async {
                slot.has_turn(self.clock.now());
                let begin = self.clock.micros();
                let started = self.providers.start(order).await;
                let outcome = if started.is_ok() { Start::Ready } else { Start::Failed };
                let took_us = self.clock.micros().since(begin);
                self.tallies.started(outcome, took_us);
                if outcome == Start::Ready {
                    self.note_start(slot.tenant, Duration::from_micros(took_us));
                }
                started
            };
            let standing = match self.usual.get(&slot.tenant).is_some_and(|it| *it > TURN_MAX) {
                false if slot.failures() == 0 => Standing::Good,
                _ => Standing::Doubtful,
            };
            let start = self.turns.start(standing, slot.called(), start);
            let mut stop = self.stop.subscribe();
            tokio::select! {
                started = start => started,
                over = self.renew(shared, order.fence, Told::Starting) => return over,
                _ = stop.wait_for(|stops| *stops) => return Over::Left,
                _ = self.asked(shared, slot, &[Asked::Stop]) => return Over::Asleep,
            }
        };
        match started {
            Ok(running) => self.watch_over(shared, slot, instance, (order.fence, running)).await,
            Err(StartFault { why, .. }) => Over::Failed { why, may_restart: false },
        }
    }

    /// Says how it is until somebody else owns it.
    async fn renew(&self, shared: &Shared<'_>, fence: u64, told: Told) -> Over {
        let mut tick = interval(RENEW_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match shared.keep(fence).await {
                Ok(false) => return Over::Lost,
                Ok(true) => {
                    if let Err(error) = shared.tell(&told).await {
                        tracing::debug!(%error, "other replicas could not be told of a runtime");
                    }
                }
                // Nobody else can take it meanwhile, and who calls is served still. Whoever comes first
                // when the registry is back has it.
                Err(error) => {
                    tracing::debug!(%error, "a runtime's lease could not be renewed");
                    tick.reset_after(RETRY_EVERY);
                }
            }
        }
    }

    async fn watch_over(
        &self,
        shared: &Shared<'_>,
        slot: &Slot,
        instance: &Instance,
        (fence, mut running): (u64, Running),
    ) -> Over {
        let (place, since) = (running.place(), self.clock.now());
        tracing::info!(tenant = %slot.username, address = %place, "the runtime is ready");
        let told = Told::Ready {
            machine: place.is_local.then(|| self.machine().to_owned()),
            host: place.host.clone(),
            port: place.port,
            network: place.network.as_ref().map(|(network, pid)| (*pid, network.number())),
            since: self.registry.wall().now(),
        };
        slot.set(State::Ready { place, since });
        slot.answer();
        let mut stop = self.stop.subscribe();
        let over = tokio::select! {
            ended = running.ended() => Err(ended),
            over = self.renew(shared, fence, told) => Ok(over),
            () = self.until_asleep(shared, slot, instance, since) => Ok(Over::Asleep),
            _ = stop.wait_for(|stops| *stops) => Ok(Over::Left),
            asked = self.asked(shared, slot, &[Asked::Stop, Asked::Restart]) => Ok(match asked {
                Asked::Restart => Over::Restarts,
                Asked::Start | Asked::Stop => Over::Asleep,
            }),
        };
        match over {
            Ok(over) => {
                let how = if matches!(over, Over::Lost) { End::Lost } else { End::Stopped };
                self.tallies.ended(how);
                slot.set(State::Stopping);
                self.end(shared, slot, instance, (fence, running, &over)).await;
                over
            }
            Err(ended) => {
                self.tallies.ended(End::Crashed);
                if self.clock.now().since(since) >= STEADY_AFTER {
                    slot.recovered();
                }
                let why = format!("it ended by itself: {ended}");
                Over::Failed { why, may_restart: true }
            }
        }
    }

    /// Waits until an operator asks for one of these, here or on another replica. Whatever else is asked
    /// has happened already.
    async fn asked(&self, shared: &Shared<'_>, slot: &Slot, wanted: &[Asked]) -> Asked {
        loop {
            let asked = tokio::select! {
                asked = slot.asked() => asked,
                asked = self.asked_elsewhere(shared) => asked,
            };
            if wanted.contains(&asked) {
                return asked;
            }
        }
    }

    async fn asked_elsewhere(&self, shared: &Shared<'_>) -> Asked {
        if !self.registry.is_shared() {
            return std::future::pending().await;
        }
        loop {
            sleep(LISTEN_EVERY).await;
            if let Ok(Some(asked)) = shared.asked().await {
                return asked;
            }
        }
    }

    /// Ends it; what is connected is told before.
    async fn end(
        &self,
        shared: &Shared<'_>,
        slot: &Slot,
        instance: &Instance,
        (fence, running, over): (u64, Running, &Over),
    ) {
        slot.recovered();
        if matches!(over, Over::Left | Over::Lost) && instance.provider.outlives_flowgate() {
            // Whoever has it next takes it over as it runs, with what is connected to it elsewhere.
            return running.leave().await;
        }
        tracing::info!(tenant = %slot.username, address = %running.place(), "the runtime is ended");
        self.close_all(slot, instance, &[Kind::Connection, Kind::Exchange]);
        let stopping = async {
            match over {
                Over::Lost => std::future::pending().await,
                _ => self.renew(shared, fence, Told::Stopping).await,
            }
        };
        let ending = async {
            if !matches!(over, Over::Lost) {
                self.let_others_leave(shared, fence).await;
            }
            match over {
                Over::Left => running.leave().await,
                _ => running.stop().await,
            }
        };
        tokio::select! {
            () = ending => {}
            // Whoever owns it now ends what is left by the note in its folder.
            _ = stopping => {}
        }
    }

    /// Has those who follow it on other replicas know that it ends, before it does: they send nobody there
    /// any more, and close what is there.
    async fn let_others_leave(&self, shared: &Shared<'_>, fence: u64) {
        if !self.registry.is_shared() {
            return;
        }
        let told = match shared.keep(fence).await {
            Ok(true) => shared.tell(&Told::Stopping).await,
            // Others say how it is.
            Ok(false) => return,
            Err(error) => Err(error),
        };
        // Who begins to follow it from here on hears that it stops.
        if told.is_ok() && matches!(shared.is_followed().await, Ok(true)) {
            sleep(HEARD_WITHIN).await;
        }
    }
}

/// The registry does not answer. Why is for the log.
fn away(error: &StoreError) -> Over {
    tracing::warn!(%error, "it cannot be asked who runs a runtime");
    Over::Hindered(Hindrance::Away)
}
