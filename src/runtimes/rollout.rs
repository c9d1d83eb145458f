//! A restart of all runtimes that run, by an operator: a few at a time, and no further once too many
//! did not come back.
//!
//! One replica does it, under a lease; what has become of it is written where all see it. Should that
//! replica end, so does the restart, and it is said so.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use utoipa::ToSchema;

use super::Runtimes;
use super::shared::Told;
use super::state::Asked;
use crate::clock::UnixMillis;
use crate::registry::store::StoreError;
use crate::tenant::{TenantId, Username};

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
/// Failures that are told one by one.
const FAILURES_TOLD_MAX: usize = 20;
const RECORDS_PER_READ: usize = 200;

/// How to go about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// Runtimes that are restarted at once, 1 to 16.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 16)]
    pub at_once: u32,
    /// Seconds that each of these places rests after a runtime is back, at most 3600.
    #[serde(default)]
    #[schema(maximum = 3600)]
    pub pause_seconds: u32,
    /// Runtimes that may stay down; with one more it halts.
    #[serde(default)]
    #[schema(maximum = 1_000_000)]
    pub failures_max: u32,
}

fn one() -> u32 {
    1
}

impl Default for Pace {
    fn default() -> Self {
        Self { at_once: one(), pause_seconds: 0, failures_max: 0 }
    }
}

impl Pace {
    /// # Errors
    /// Which number is wrong.
    pub fn check(self) -> Result<Self, &'static str> {
        match self {
            Self { at_once: 0 | 17.., .. } => Err("at_once must be 1 to 16"),
            Self { pause_seconds: 3601.., .. } => Err("pause_seconds must be at most 3600"),
            Self { failures_max: 1_000_001.., .. } => Err("failures_max must be at most 1000000"),
            pace => Ok(pace),
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It goes on.
    Running,
    /// All that ran were restarted, or did not run any more.
    Done,
    /// Too many stayed down, or an operator has halted it.
    Halted,
    /// The replica that did it has ended.
    Interrupted,
}

/// A runtime that did not come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotBack {
    /// Whose.
    pub tenant: String,
    /// Why not.
    pub why: String,
}

/// A restart of all runtimes, as far as it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// How far it is.
    pub stage: Stage,
    /// The operator who began it.
    pub by: String,
    /// How it is gone about.
    pub pace: Pace,
    /// Milliseconds since 1970.
    pub begun_unix_ms: u64,
    /// When this was written.
    pub told_unix_ms: u64,
    /// Runtimes that ran when it began.
    pub total: usize,
    /// Those that are back.
    pub restarted: usize,
    /// Those that slept or failed by themselves when it was their turn: they start anew anyway.
    pub skipped: usize,
    /// Those that did not come back.
    pub failed: usize,
    /// The first of those.
    pub failures: Vec<NotBack>,
}

/// What became of one.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Back,
    Skipped,
    Down(String),
}

impl Progress {
    fn note(&mut self, tenant: &Username, outcome: Outcome) {
        match outcome {
            Outcome::Back => self.restarted += 1,
            Outcome::Skipped => self.skipped += 1,
            Outcome::Down(why) => {
                tracing::warn!(%tenant, why, "a runtime did not come back from its restart");
                self.failed += 1;
                if self.failures.len() < FAILURES_TOLD_MAX {
                    self.failures.push(NotBack { tenant: tenant.to_string(), why });
                }
            }
        }
    }

    fn is_too_bad(&self) -> bool {
        self.failed > self.pace.failures_max as usize
    }
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

    /// Begins to restart all that run; `None` if that is done already.
    ///
    /// # Errors
    /// The registry's.
    pub async fn begin_rollout(
        self: &Arc<Self>,
        by: &str,
        pace: Pace,
    ) -> Result<Option<Progress>, StoreError> {
        let store = self.registry.store();
        let is_ours = self.rollout().await?.is_some_and(|it| it.stage == Stage::Running);
        if is_ours || store.acquire(NAME, &self.holder, LEASE_TTL).await?.is_none() {
            return Ok(None);
        }
        store.take_expiring(HALT).await?;
        let left = self.awake().await?;
        let now = self.registry.wall().now().0;
        let progress = Progress {
            stage: Stage::Running,
            by: by.to_owned(),
            pace,
            begun_unix_ms: now,
            told_unix_ms: now,
            total: left.len(),
            restarted: 0,
            skipped: 0,
            failed: 0,
            failures: Vec::new(),
        };
        self.tell_rollout(&progress).await?;
        tracing::info!(by, runtimes = left.len(), "all runtimes are restarted");
        tokio::spawn(Arc::clone(self).roll_out(progress.clone(), left));
        Ok(Some(progress))
    }

    /// Has no further runtime restarted; what has begun is finished.
    ///
    /// # Errors
    /// The registry's.
    pub async fn halt_rollout(&self) -> Result<(), StoreError> {
        self.registry.store().put_expiring(HALT, b"halt", LEASE_TTL * 6).await
    }

    /// All that run, on whichever replica.
    async fn awake(&self) -> Result<Vec<(TenantId, Username)>, StoreError> {
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
        let (mut goes_on, pause) = (true, Duration::from_secs(progress.pace.pause_seconds.into()));
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
            goes_on &= !progress.is_too_bad() && self.may_go_on(&mut progress).await;
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
    /// this replica can be restarted without the registry.
    async fn may_go_on(&self, progress: &mut Progress) -> bool {
        let store = self.registry.store();
        progress.told_unix_ms = self.registry.wall().now().0;
        let told = self.tell_rollout(progress).await;
        let kept = store.acquire(NAME, &self.holder, LEASE_TTL).await;
        let halts = store.take_expiring(HALT).await;
        if let Err(error) = told {
            tracing::debug!(%error, "it could not be told how far a restart is");
        }
        !matches!(kept, Ok(None)) && !matches!(halts, Ok(Some(_)))
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
mod tests {
    use super::*;

    #[test]
    fn a_pace_has_bounds() {
        assert_eq!(serde_json::from_str::<Pace>("{}").unwrap(), Pace::default());
        for (wrong, is_good) in [
            (Pace { at_once: 0, ..Pace::default() }, false),
            (Pace { at_once: 16, ..Pace::default() }, true),
            (Pace { at_once: 17, ..Pace::default() }, false),
            (Pace { pause_seconds: 3601, ..Pace::default() }, false),
            (Pace { failures_max: 1_000_001, ..Pace::default() }, false),
        ] {
            assert_eq!(wrong.check().is_ok(), is_good, "{wrong:?}");
        }
    }
}
