//! Analytics: what was counted goes to the registry once a minute, and is read there for reports.
//!
//! Each replica writes its own part, in batches that the registry merges once even if they are sent
//! again, as they are when an answer was lost. What cannot be written waits, for an hour at most. A
//! process that is killed takes along what it has not written: the minute under way, and what waits.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::clock::{Millis, UnixMillis};
use crate::ledger::{Key, Sums, What};
use crate::live::LiveTable;
use crate::registry::Registry;
use crate::registry::analytics::{KEPT_DAYS_MAX, batches};
use crate::registry::replicas::ReplicaId;
use crate::registry::store::{SeriesBatch, StoreError};
use crate::tenant::TenantId;

pub mod answer;
pub mod csv;
pub mod question;
pub mod report;

pub use question::{By, Question, Span, Step};
pub use report::{Group, Report};

/// Minutes that wait to be written. What is known of a batch lasts longer than that.
const WAITING_MAX: usize = 60;
/// Between two tries while something waits.
const TRY_EVERY: Duration = Duration::from_secs(5);
/// How long whoever asks waits for what this replica has not written yet.
const FRESH_MAX: Duration = Duration::from_secs(2);
/// Questions within this time find the same.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// Keys that are known to be on their day's list, or not to be; more are asked for anew.
const PLACED_MAX: usize = 65_536;
/// Tenants whose lists are written at once.
const LISTS_MAX: usize = 32;
const MINUTE_MS: u64 = 60_000;
const MINUTES_PER_DAY: u64 = 24 * 60;

/// Counts, writes and reads for one replica.
#[derive(Debug)]
pub struct Analytics {
    live: Arc<LiveTable>,
    registry: Arc<Registry>,
    replica: ReplicaId,
    kept_days: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The minute under way, once it is known.
    minute: Option<u64>,
    /// Numbers batches.
    sequence: u64,
    waiting: VecDeque<Waiting>,
    /// Whether keys are on the list of this day.
    placed: HashMap<Key, bool>,
    placed_day: u64,
    fresh_at: Option<Millis>,
}

/// A minute, or a part of one, on its way to the registry.
#[derive(Debug)]
enum Waiting {
    /// As it was counted.
    Counted { minute: u64, sums: Vec<(Key, Sums)> },
    /// What is left to be written: it stays the same, however often it is sent.
    Ready(VecDeque<SeriesBatch>),
}

impl Analytics {
    /// What counts in `live` goes to `registry`, to be kept for so many days; 0 for not at all.
    #[must_use]
    pub fn new(
        live: Arc<LiveTable>,
        registry: Arc<Registry>,
        replica: ReplicaId,
        kept_days: u32,
    ) -> Self {
        let (kept_days, state) = (kept_days.min(KEPT_DAYS_MAX), Mutex::default());
        Self { live, registry, replica, kept_days, state }
    }

    /// For how many days anything is kept.
    #[must_use]
    pub fn kept_days(&self) -> u32 {
        self.kept_days
    }

    /// Writes each minute when it is over, until it is dropped.
    pub async fn attend(&self) {
        if self.kept_days == 0 {
            return std::future::pending().await;
        }
        loop {
            let now_ms = self.registry.wall().unix_ms();
            let left = Duration::from_millis(MINUTE_MS - now_ms % MINUTE_MS);
            sleep(left.min(TRY_EVERY)).await;
            let mut state = self.state.lock().await;
            self.pass_minute(&mut state);
            if let Err(error) = self.write(&mut state).await {
                let minutes = state.waiting.len();
                tracing::warn!(%error, minutes, "analytics wait to be written");
            }
        }
    }

    /// Writes all there is, the minute under way included.
    ///
    /// # Errors
    /// The store's; what was not written waits.
    pub async fn flush(&self) -> Result<(), StoreError> {
        if self.kept_days == 0 {
            return Ok(());
        }
        let mut state = self.state.lock().await;
        self.collect(&mut state);
        self.write(&mut state).await
    }

    /// The same for somebody who asks and will not wait for long. Returns why it is not all there, if
    /// it is not.
    async fn freshen(&self) -> Option<String> {
        let fresh = async {
            let mut state = self.state.lock().await;
            let now = self.registry.clock().now();
            let is_fresh = |at: Millis| now.since(at) < FRESH_FOR;
            if !state.fresh_at.is_some_and(is_fresh) {
                state.fresh_at = Some(now);
                self.collect(&mut state);
                self.write(&mut state).await?;
            }
            // While the registry is away, those who ask one after another do not all try.
            Ok::<_, StoreError>(state.waiting.is_empty())
        };
        match timeout(FRESH_MAX, fresh).await {
            Ok(Ok(true)) => None,
            Ok(Err(error)) => Some(format!("what was counted last is not written yet: {error}")),
            Ok(Ok(false)) | Err(_) => Some("what was counted last is not written yet".to_owned()),
        }
    }

    /// Takes in what was counted, if the minute is over.
    fn pass_minute(&self, state: &mut State) {
        let minute = minute_of(self.registry.wall().now());
        if state.minute != Some(minute) {
            self.collect(state);
        }
    }

    /// Takes in what was counted, as the minute's that was under way until now.
    fn collect(&self, state: &mut State) {
        let present = minute_of(self.registry.wall().now());
        let minute = state.minute.replace(present).unwrap_or(present);
        let sums = self.live.news(self.registry.clock().now());
        if sums.is_empty() {
            return;
        }
        // Whoever asks has it collected as well: that must not push out other minutes.
        if let Some(Waiting::Counted { minute: last, sums: known }) = state.waiting.back_mut()
            && *last == minute
        {
            return add_up(known, sums);
        }
        if state.waiting.len() >= WAITING_MAX {
            state.waiting.pop_front();
            tracing::error!("analytics of a minute are lost: the registry was away for too long");
        }
        state.waiting.push_back(Waiting::Counted { minute, sums });
    }

    async fn write(&self, state: &mut State) -> Result<(), StoreError> {
        while let Some(next) = state.waiting.front() {
            if let Waiting::Counted { minute, sums } = next {
                let (minute, sums) = (*minute, sums.clone());
                let sums = self.place(state, minute, sums).await?;
                state.sequence += 1;
                let id = format!("analytics:{}:{}", self.replica, state.sequence);
                let batches = batches(&id, minute, &sums, self.kept_days);
                if let Some(next) = state.waiting.front_mut() {
                    *next = Waiting::Ready(batches.into());
                }
            }
            while let Some(batch) = state.next_batch() {
                match self.registry.store().merge_once(batch).await {
                    // It would be as wrong the next time.
                    Err(error @ StoreError::Invalid(_)) => {
                        tracing::error!(%error, "analytics cannot be written");
                    }
                    outcome => outcome?,
                }
                state.batch_is_written();
            }
            state.waiting.pop_front();
        }
        Ok(())
    }

    /// Sees to it that each key is on its tenant's list of the day, or is summed up with the rest.
    async fn place(
        &self,
        state: &mut State,
        minute: u64,
        sums: Vec<(Key, Sums)>,
    ) -> Result<Vec<(Key, Sums)>, StoreError> {
        let day = minute - minute % MINUTES_PER_DAY;
        if state.placed_day != day || state.placed.len() > PLACED_MAX {
            state.placed_day = day;
            state.placed.clear();
        }
        let mut new: HashMap<Option<TenantId>, Vec<What>> = HashMap::new();
        for (key, _) in sums.iter().filter(|(key, _)| !state.placed.contains_key(key)) {
            new.entry(key.tenant).or_default().push(key.what.clone());
        }
        let new: Vec<_> = new.into_iter().collect();
        for some in new.chunks(LISTS_MAX) {
            let mut lists = JoinSet::new();
            for (tenant, keys) in some.iter().cloned() {
                state.sequence += 1;
                let id = format!("analytics:{}:{}:k", self.replica, state.sequence);
                let (registry, kept_days) = (Arc::clone(&self.registry), self.kept_days);
                lists.spawn(async move {
                    let listed = registry.list_keys(&id, minute, tenant, &keys, kept_days).await;
                    listed.map(|listed| (tenant, keys, listed))
                });
            }
            while let Some(list) = lists.join_next().await {
                let died =
                    |failure: tokio::task::JoinError| StoreError::Unknown(failure.to_string());
                let (tenant, keys, listed) = list.map_err(died)??;
                for what in keys {
                    let is_listed = listed.contains(&what);
                    state.placed.insert(Key { tenant, what }, is_listed);
                }
            }
        }
        let mut placed: HashMap<Key, Sums> = HashMap::with_capacity(sums.len());
        for (key, sums) in sums {
            let key = match state.placed.get(&key) {
                Some(false) => Key { what: What::Other, ..key },
                _ => key,
            };
            placed.entry(key).or_default().add_all(&sums);
        }
        Ok(placed.into_iter().collect())
    }
}

impl State {
    fn next_batch(&self) -> Option<SeriesBatch> {
        match self.waiting.front() {
            Some(Waiting::Ready(batches)) => batches.front().cloned(),
            _ => None,
        }
    }

    fn batch_is_written(&mut self) {
        if let Some(Waiting::Ready(batches)) = self.waiting.front_mut() {
            batches.pop_front();
        }
    }
}

fn add_up(known: &mut Vec<(Key, Sums)>, more: Vec<(Key, Sums)>) {
    let mut all: HashMap<Key, Sums> = std::mem::take(known).into_iter().collect();
    for (key, sums) in more {
        all.entry(key).or_default().add_all(&sums);
    }
    known.extend(all);
}

/// The minute of a moment, counted from 1970.
fn minute_of(at: UnixMillis) -> u64 {
    at.0 / MINUTE_MS
}

#[cfg(test)]
mod tests;
