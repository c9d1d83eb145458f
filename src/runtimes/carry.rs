//! The owner's part: one task per runtime, from its start to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Runtimes;
use super::contract::{Order, RunningRuntime, RuntimeProvider, StartFault};
use super::counts::{End, Start};
use super::providers::Running;
use super::shared::{RENEW_EVERY, Shared, Told};
use super::state::{Asked, Slot, State};
use crate::close::Cause;
use crate::live::Entry;
use crate::tenant::Instance;

/// Between two looks whether another replica has asked for something.
const LISTEN_EVERY: Duration = Duration::from_secs(1);
/// One that has run for so long has not crashed at its start.
pub(super) const STEADY_AFTER: Duration = Duration::from_secs(60);
/// Crashes in a row after which it stays down until somebody calls.
const RESTARTS_MAX: u32 = 5;

/// Why an owner is one no more.
enum Over {
    /// It sleeps, or the tenant has none any more.
    Asleep,
    /// It was ended to be started again.
    Restarts,
    /// flowgate stops.
    Left,
    /// It did not start, or crashed.
    Failed { why: String, log_tail: Vec<u8>, may_restart: bool },
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
                    None => self.own(shared, slot, fence).await,
                },
                Ok(None) => {
                    self.follow(shared, slot).await;
                    return;
                }
                Err(error) => failed(format!("the registry cannot be asked: {error}")),
            };
            match over {
                Over::Asleep | Over::Lost | Over::Left => return slot.set(State::Asleep),
                Over::Restarts => slot.set(State::Starting),
                Over::Failed { why, log_tail, may_restart } => {
                    if !self.failed(shared, slot, (why, log_tail), may_restart).await {
                        return;
                    }
                }
            }
        }
    }

    /// Tells all of a failure; returns whether to try again now, after a while.
    async fn failed(
        &self,
        shared: &Shared<'_>,
        slot: &Slot,
        (why, log_tail): (String, Vec<u8>),
        may_restart: bool,
    ) -> bool {
        let now = self.clock.now();
        // What it wrote is its tenant's alone.
        tracing::warn!(tenant = %slot.username, why, "the runtime does not run");
        let restarts_max = if may_restart { RESTARTS_MAX } else { 0 };
        let state = slot.fail(why.clone(), log_tail, restarts_max, now);
        let State::Failing { until, restarts, .. } = state else { return false };
        slot.set(state);
        let wait = until.since(now);
        // Who is its owner no more has no say.
        if matches!(shared.own().await, Ok(Some(_))) {
            let until = self.registry.wall().now().plus(wait);
            shared.give_up(Some(&Told::Failing { why, until })).await;
        }
        if !restarts {
            return false;
        }
        let mut stop = self.stop.subscribe();
        tokio::select! {
            () = sleep(wait) => {}
            _ = stop.wait_for(|stops| *stops) => return false,
            asked = slot.asked() => if asked == Asked::Stop {
                slot.set(State::Asleep);
                return false;
            },
        }
        slot.set(State::Starting);
        true
    }

    /// Starts it and stays with it to its end.
    async fn own(&self, shared: &Shared<'_>, slot: &Slot, fence: u64) -> Over {
        let tenant = match self.registry.by_id(slot.tenant).await {
            Ok(tenant) => tenant.filter(|tenant| !tenant.disabled),
            Err(error) => return failed(format!("the registry cannot be asked: {error}")),
        };
        let instance = tenant.as_ref().and_then(|tenant| tenant.instance.clone());
        let instance = instance.filter(|instance| instance.provider.is_owned());
        let (Some(tenant), Some(instance)) = (tenant, instance) else { return Over::Asleep };
        match shared.may_start().await {
            Ok(true) => {}
            Ok(false) => return failed("it was started too often within an hour".to_owned()),
            Err(error) => return failed(format!("the registry cannot be asked: {error}")),
        }
        let Ok(_running) = self.running.try_acquire() else {
            return failed("too many runtimes run already".to_owned());
        };
        if *self.stop.borrow() {
            return Over::Left;
        }
        let order = Order::new(tenant.id, &tenant.username, &instance, fence);
        let over = self.run(shared, slot, &instance, &order).await;
        if matches!(over, Over::Asleep | Over::Left) {
            shared.give_up(None).await;
        }
        over
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
                let _turn = self.starting.acquire().await;
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
            Err(StartFault { why, log_tail }) => Over::Failed { why, log_tail, may_restart: false },
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
                // Nobody else can take it meanwhile, and who calls is served still.
                Err(error) => tracing::debug!(%error, "a runtime's lease could not be renewed"),
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
                let log_tail = running.log_tail().await;
                Over::Failed { why, log_tail, may_restart: true }
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
        tracing::info!(tenant = %slot.username, address = %running.place(), "the runtime is ended");
        // The tenant may have another instance by now, and connections there.
        let is_there = |entry: &&Arc<Entry>| entry.is_seated() && entry.is_for(instance);
        for entry in self.live.entries_of(slot.tenant).iter().filter(is_there) {
            entry.close(Cause::RuntimeMoved);
        }
        let stopping = async {
            match over {
                Over::Lost => std::future::pending().await,
                _ => self.renew(shared, fence, Told::Stopping).await,
            }
        };
        let ending = async {
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
}

fn failed(why: String) -> Over {
    Over::Failed { why, log_tail: Vec::new(), may_restart: false }
}
