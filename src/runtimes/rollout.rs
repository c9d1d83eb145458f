//! A restart of all runtimes that run, by an operator: a few at a time, and no further once too many
//! did not come back.
//!
//! One replica does it, under a lease; what has become of it is written where all see it. Should that
//! replica end, so does the restart, and it is said so.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::Runtimes;
use super::shared::Told;
use super::state::Asked;
use crate::clock::UnixMillis;
use crate::registry::store::StoreError;
use crate::tenant::{TenantId, Username};

mod progress;

use progress::Outcome;
pub use progress::{NotBack, Pace, Progress, Stage};

const NAME: &str = "runtime-rollout";
const HALT: &str = "runtime-rollout-halt";
/// How long it is remembered what became of one.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const LEASE_TTL: Duration = Duration::from_secs(10);
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at a runtime that is restarted.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long its owner has to hear of it, and then the runtime to be ready again.
const HEARD_WITHIN: Duration = Duration::from_secs(20);
const BACK_WITHIN: Duration = Duration::from_secs(30 * 60);
const RECORDS_PER_READ: usize = 200;

/// Whether no more than what has begun is to be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Leave {
    /// All are.
    GoesOn,
    /// An operator has halted it.
    Halted,
    /// Another replica does it now.
    Lost,
}

impl Runtimes {
    /// How far the last restart of all runtimes is; `None` if there was none within a week.
    ///
    /// # Errors
    /// The registry's.
    pub async fn rollout(&self) -> Result<Option<Progress>, StoreError> {
        let value = self.registry.store().get_expiring(NAME).await?;
        let progress: Option<Progress> = value.and_then(|it| serde_json::from_slice(&it).ok());
        Ok(progress.map(|progress| {
            let told = UnixMillis(progress.told_unix_ms);
            let is_silent = told.plus(LEASE_TTL) < self.registry.wall().now();
            match progress.stage {
                Stage::Running if is_silent => Progress { stage: Stage::Interrupted, ..progress },
                _ => progress,
            }
        }))
    }

    /// Begins to restart all that run; `None` if that is done already. Not cancelled with its caller.
    ///
    /// # Errors
    /// The registry's.
    pub async fn begin_rollout(
        self: &Arc<Self>,
        by: &str,
        pace: Pace,
    ) -> Result<Option<Progress>, StoreError> {
        // Others are kept from it by the lease, which is the same for all that this replica does.
        let Ok(only) = Arc::clone(&self.rollouts).try_acquire_owned() else { return Ok(None) };
        let (begun, told) = oneshot::channel();
        let (runtimes, by) = (Arc::clone(self), by.to_owned());
        tokio::spawn(async move {
            let _only = only;
            match runtimes.prepare_rollout(by, pace).await {
                Ok(Some((progress, left))) => {
                    let _ = begun.send(Ok(Some(progress.clone())));
                    runtimes.roll_out(progress, left).await;
                }
                Ok(None) => drop(begun.send(Ok(None))),
                Err(error) => drop(begun.send(Err(error))),
            }
        });
        told.await.unwrap_or(Ok(None))
    }

    /// Takes the lease, says that it has begun, and finds all that run.
    async fn prepare_rollout(
        self: &Arc<Self>,
        by: String,
        pace: Pace,
    ) -> Result<Option<(Progress, Vec<(TenantId, Username)>)>, StoreError> {
        let store = self.registry.store();
        let is_others = self.rollout().await?.is_some_and(|it| it.stage == Stage::Running);
        if is_others || store.acquire(NAME, &self.holder, LEASE_TTL).await?.is_none() {
            return Ok(None);
        }
        store.take_expiring(HALT).await?;
        let now = self.registry.wall().now().0;
        let mut progress = Progress {
            stage: Stage::Running,
            by,
            pace,
            begun_unix_ms: now,
            told_unix_ms: now,
            total: 0,
            restarted: 0,
            skipped: 0,
            failed: 0,
            failures: Vec::new(),
        };
        self.tell_rollout(&progress).await?;
        let counted = self.count_rollout(&mut progress).await;
        let failed = match counted {
            Ok(None) => return Ok(None),
            Ok(Some(left)) => match self.tell_rollout(&progress).await {
                Ok(()) => return Ok(Some((progress, left))),
                Err(error) => error,
            },
            Err(error) => error,
        };
        // What cannot be said now is seen from nothing being said.
        progress.stage = Stage::Interrupted;
        let _ = self.tell_rollout(&progress).await;
        let _ = store.release(NAME, &self.holder).await;
        Err(failed)
    }

    /// Finds all that run, which takes a while where there are many. `None` if another replica has begun
    /// meanwhile.
    async fn count_rollout(
        self: &Arc<Self>,
        progress: &mut Progress,
    ) -> Result<Option<Vec<(TenantId, Username)>>, StoreError> {
        let mut awake = pin!(self.awake());
        loop {
            if let Ok(awake) = timeout(TELL_EVERY, awake.as_mut()).await {
                let awake = awake?;
                progress.total = awake.len();
                tracing::info!(
                    by = progress.by,
                    runtimes = awake.len(),
                    "all runtimes are restarted"
                );
                return Ok(Some(awake));
            }
            match self.may_go_on(progress).await {
                Leave::GoesOn => {}
                Leave::Halted => progress.stage = Stage::Halted,
                Leave::Lost => return Ok(None),
            }
        }
    }

    /// Has no further runtime restarted; what has begun is finished.
    ///
    /// # Errors
    /// The registry's.
    pub async fn halt_rollout(&self) -> Result<(), StoreError> {
        self.registry.store().put_expiring(HALT, b"halt", LEASE_TTL * 6).await
    }

    /// All that run, on whichever replica.
    async fn awake(self: &Arc<Self>) -> Result<Vec<(TenantId, Username)>, StoreError> {
        // After an update of flowgate, say: whoever has started them is gone, and nobody speaks for them.
        self.take_over_left().await?;
        let (mut awake, mut after) = (Vec::new(), None::<String>);
        loop {
            let records = self.registry.records(after.as_deref(), RECORDS_PER_READ).await?;
            let Some((last, ..)) = records.last() else { return Ok(awake) };
            after = Some(last.to_string());
            for (id, _, record) in records {
                let is_owned = record.instance.is_some_and(|it| it.provider().is_owned());
                let Ok(username) = Username::parse(&record.username) else { continue };
                if is_owned
                    && let Some(Told::Ready { .. } | Told::Starting) =
                        self.shared(id).told().await?
                {
                    awake.push((id, username));
                }
            }
        }
    }

    async fn tell_rollout(&self, progress: &Progress) -> Result<(), StoreError> {
        let value = serde_json::to_vec(progress);
        let value = value.map_err(|error| StoreError::Invalid(error.to_string()))?;
        self.registry.store().put_expiring(NAME, &value, KEPT_FOR).await
    }

    async fn roll_out(self: Arc<Self>, mut progress: Progress, left: Vec<(TenantId, Username)>) {
        let mut left = left.into_iter();
        let (mut under_way, mut resting) = (JoinSet::new(), JoinSet::new());
        let mut tick = interval(TELL_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = self.stop.subscribe();
        let pause = Duration::from_secs(progress.pace.pause_seconds.into());
        let mut leave = match progress.stage {
            Stage::Running => Leave::GoesOn,
            _ => Leave::Halted,
        };
        let mut goes_on = leave == Leave::GoesOn;
        loop {
            while goes_on && under_way.len() + resting.len() < progress.pace.at_once as usize {
                let Some((id, username)) = left.next() else { break };
                let runtimes = Arc::clone(&self);
                under_way.spawn(async move { (username, runtimes.restart_one(id).await) });
            }
            if under_way.is_empty() && (!goes_on || left.len() == 0) {
                break;
            }
            tokio::select! {
                Some(ended) = under_way.join_next() => match ended {
                    Ok((username, outcome)) => {
                        if outcome == Outcome::Back && !pause.is_zero() {
                            resting.spawn(sleep(pause));
                        }
                        progress.note(&username, outcome);
                    }
                    Err(error) => tracing::error!(%error, "a restart has failed in itself"),
                },
                Some(_) = resting.join_next() => {}
                _ = tick.tick() => {}
                // What is said of it from now on is that nobody says anything.
                _ = stop.wait_for(|stops| *stops) => return,
            }
            if leave != Leave::Lost {
                leave = leave.max(self.may_go_on(&mut progress).await);
            }
            goes_on &= leave == Leave::GoesOn && !progress.is_too_bad();
        }
        if leave == Leave::Lost {
            tracing::warn!("the restart has ended here: another replica is at it");
            return;
        }
        let is_done = left.len() == 0 && !progress.is_too_bad();
        progress.stage = if is_done { Stage::Done } else { Stage::Halted };
        self.may_go_on(&mut progress).await;
        let Progress { restarted, skipped, failed, .. } = progress;
        tracing::info!(restarted, skipped, failed, stage = ?progress.stage, "the restart has ended");
        if let Err(error) = self.registry.store().release(NAME, &self.holder).await {
            tracing::debug!(%error, "a lease ends by itself");
        }
    }

    /// Says how far it is, and asks whether it may go on. What cannot be asked goes on: the runtimes of
    /// this replica can be restarted without the registry. Who has lost the lease says nothing, and hears
    /// nothing that is meant for whoever has it.
    async fn may_go_on(&self, progress: &mut Progress) -> Leave {
        let store = self.registry.store();
        match store.acquire(NAME, &self.holder, LEASE_TTL).await {
            Ok(Some(_)) => {}
            Ok(None) => return Leave::Lost,
            Err(error) => {
                tracing::debug!(%error, "it is not known whether a restart may go on");
                return Leave::GoesOn;
            }
        }
        progress.told_unix_ms = self.registry.wall().now().0;
        if let Err(error) = self.tell_rollout(progress).await {
            tracing::debug!(%error, "it could not be told how far a restart is");
        }
        match store.take_expiring(HALT).await {
            Ok(Some(_)) => Leave::Halted,
            _ => Leave::GoesOn,
        }
    }

    /// Restarts one and waits until it is back.
    async fn restart_one(self: &Arc<Self>, id: TenantId) -> Outcome {
        match timeout(BACK_WITHIN, self.try_restart(id)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::Down(format!("the registry cannot be asked: {error}")),
            Err(_) => Outcome::Down("it is not back within 30 min".to_owned()),
        }
    }

    async fn try_restart(self: &Arc<Self>, id: TenantId) -> Result<Outcome, StoreError> {
        let Some(tenant) = self.registry.by_id(id).await? else { return Ok(Outcome::Skipped) };
        let shared = self.shared(id);
        let before = loop {
            match shared.told().await? {
                Some(Told::Ready { since, .. }) => break since,
                // What starts now may have begun with what was there before.
                Some(Told::Starting) => sleep(LOOK_EVERY).await,
                Some(Told::Failing { .. } | Told::Stopping) | None => return Ok(Outcome::Skipped),
            }
        };
        self.ask(&tenant, Asked::Restart).await?;
        let begin = self.clock.now();
        let (mut was_heard, mut silences) = (false, 0);
        loop {
            sleep(LOOK_EVERY).await;
            match shared.told().await? {
                Some(Told::Ready { since, .. }) if since != before => return Ok(Outcome::Back),
                Some(Told::Ready { .. }) if was_heard => {}
                Some(Told::Ready { .. }) => {
                    if self.clock.now().since(begin) > HEARD_WITHIN {
                        return Ok(Outcome::Down("its owner does not hear".to_owned()));
                    }
                }
                Some(Told::Failing { why, .. }) => return Ok(Outcome::Down(why)),
                Some(Told::Starting | Told::Stopping) => was_heard = true,
                // Put to sleep meanwhile, or its owner is gone: it starts anew with its next caller.
                None if silences > 5 => return Ok(Outcome::Skipped),
                None => silences += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests;
