//! After a failure: who is told of it, and how long a runtime is left alone.

use std::time::Duration;

use tokio::time::sleep;

use super::Runtimes;
use super::shared::{Shared, Told};
use super::state::{Asked, Slot, State};

/// Crashes in a row after which it stays down until somebody calls.
const RESTARTS_MAX: u32 = 5;
/// Between two looks whether somebody else has ended the rest.
const LISTEN_EVERY: Duration = Duration::from_secs(1);

/// What was in the way of a start that is no fault of the runtime's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// The registry cannot be asked.
    Away,
    /// This replica runs as many as it may.
    Full,
    /// It was started too often within an hour.
    TooOften,
}

impl Hindrance {
    /// For its tenant: nothing of flowgate's own troubles.
    fn why(self) -> &'static str {
        match self {
            Self::Away => "flowgate cannot start it at present",
            Self::Full => "too many runtimes run already",
            Self::TooOften => "it was started too often within an hour",
        }
    }

    /// How long nobody tries; however often it was in the way before.
    fn rest(self) -> Duration {
        match self {
            Self::Away | Self::Full => Duration::from_secs(2),
            Self::TooOften => Duration::from_secs(60),
        }
    }
}

impl Runtimes {
    /// Tells all of a failure; returns whether to try again now, after a while.
    pub(super) async fn failed(
        &self,
        shared: &Shared<'_>,
        slot: &Slot,
        why: String,
        may_restart: bool,
    ) -> bool {
        let now = self.clock.now();
        // What it wrote is its tenant's alone.
        tracing::warn!(tenant = %slot.username, why, "the runtime does not run");
        let restarts_max = if may_restart { RESTARTS_MAX } else { 0 };
        let state = slot.fail(why.clone(), restarts_max, now);
        let State::Failing { until, restarts, .. } = state else { return false };
        slot.answer();
        slot.set(state);
        let wait = until.since(now);
        // Who is its owner no more has no say.
        if matches!(shared.own().await, Ok(Some(_))) {
            let until = self.registry.wall().now().plus(wait);
            shared.give_up(&Told::Failing { why, until }).await;
        }
        restarts && self.rest(slot, wait, self.asked_at_rest(shared)).await
    }

    /// The same of what is no fault of the runtime's. It is no business of the other replicas, who may
    /// have better luck.
    pub(super) async fn hindered(&self, slot: &Slot, hindrance: Hindrance, restarts: bool) -> bool {
        let (why, wait) = (hindrance.why(), hindrance.rest());
        tracing::warn!(tenant = %slot.username, why, "the runtime does not run");
        slot.answer();
        slot.set(slot.hindered(why, self.clock.now().plus(wait), restarts));
        restarts && self.rest(slot, wait, std::future::pending()).await
    }

    /// Leaves it alone for a while; returns whether to try again then, or before if somebody asks for it.
    async fn rest(
        &self,
        slot: &Slot,
        wait: Duration,
        asked_elsewhere: impl Future<Output = Asked>,
    ) -> bool {
        let mut stop = self.stop.subscribe();
        let asked = tokio::select! {
            () = sleep(wait) => None,
            _ = stop.wait_for(|stops| *stops) => return false,
            asked = slot.asked() => Some(asked),
            asked = asked_elsewhere => Some(asked),
        };
        if asked == Some(Asked::Stop) {
            slot.set(State::Asleep);
            return false;
        }
        slot.begin_again(self.clock.now());
        true
    }

    /// What is asked on another replica meanwhile: a stop that it was told, or a start that it has begun
    /// itself.
    async fn asked_at_rest(&self, shared: &Shared<'_>) -> Asked {
        if !self.registry.is_shared() {
            return std::future::pending().await;
        }
        loop {
            sleep(LISTEN_EVERY).await;
            match shared.told().await {
                Ok(Some(Told::Failing { .. })) => {
                    if let Ok(Some(asked)) = shared.asked().await {
                        return asked;
                    }
                }
                Ok(_) => return Asked::Start,
                Err(_) => {}
            }
        }
    }
}
