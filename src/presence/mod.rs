//! Presence: the replicas that share the registry, and what runs for a tenant on any of them.
//!
//! Nobody publishes what runs: it is asked for when somebody looks, so that counts are fresh and
//! nothing is written while nobody does. A list is asked of all at once and takes a round trip
//! through the registry; one that is silent is named instead of waited for. Alone, nobody is asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::clock::{Clock, UnixMillis};
use crate::live::{Kind, LiveTable};
use crate::registry::Registry;
use crate::registry::replicas::{
    About, Heartbeat, REPLICAS_MAX, Replica, ReplicaId, is_of_replicas,
};
use crate::registry::store::{Notice, StoreError};
use crate::registry::turns::Turns;
use crate::tenant::TenantId;

mod answer;
mod close;
mod list;

pub use answer::Shown;
pub use close::Ended;
pub use list::Connections;

use answer::Inbox;
use list::Flights;

/// Between two heartbeats.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// A replica whose heartbeat has been gone for so long is not known any more.
const SILENT_MAX: Duration = Duration::from_secs(60);
/// Closings on other replicas that this one waits for at once.
const CLOSINGS_MAX: usize = 64;

/// How replicas are asked.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether there can be others at all.
    pub is_shared: bool,
    /// How long their answers are waited for.
    pub answer_max: Duration,
    /// How long what they have answered about a tenant serves others who ask.
    pub kept_for: Duration,
    /// How long many connections on other replicas are closed one after another.
    pub closing_max: Duration,
}

impl Settings {
    /// A second for each question, ten for many closings.
    #[must_use]
    pub fn new(is_shared: bool) -> Self {
        let second = Duration::from_secs(1);
        Self { is_shared, answer_max: second, kept_for: second, closing_max: 10 * second }
    }
}

/// This process among those that share its registry.
#[derive(Debug)]
pub struct Presence {
    id: ReplicaId,
    about: OnceLock<About>,
    registry: Arc<Registry>,
    live: Arc<LiveTable>,
    clock: Clock,
    settings: Settings,
    is_draining: AtomicBool,
    others: Mutex<Others>,
    /// A replica came or went.
    moved: Notify,
    asked: AtomicU64,
    flights: Flights,
    closings: Turns<TenantId>,
    closing_permits: Semaphore,
    inbox: Inbox,
}

/// The other replicas, as they were when this one last looked.
#[derive(Debug, Default)]
struct Others {
    known: Vec<Replica>,
    /// Since when those without a heartbeat were seen without one.
    silent_since: HashMap<ReplicaId, UnixMillis>,
    /// The last look failed.
    is_stale: bool,
}

impl Others {
    fn find(&self, id: ReplicaId) -> Option<Replica> {
        self.known.iter().find(|replica| replica.id == id).cloned()
    }

    /// Takes in what was seen; returns those that are to be forgotten.
    fn take_in(&mut self, seen: Vec<Replica>, now: UnixMillis) -> Vec<Replica> {
        let before = std::mem::take(&mut self.silent_since);
        let (mut known, mut dead) = (Vec::with_capacity(seen.len()), Vec::new());
        for replica in seen {
            if replica.heartbeat.is_none() {
                let since = before.get(&replica.id).copied().unwrap_or(now);
                if now > since.plus(SILENT_MAX) {
                    dead.push(replica);
                    continue;
                }
                self.silent_since.insert(replica.id, since);
            }
            known.push(replica);
        }
        self.known = known;
        dead
    }
}

impl Presence {
    /// A replica that nobody knows of yet, with an id that no other has.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new(
        registry: Arc<Registry>,
        live: Arc<LiveTable>,
        clock: Clock,
        settings: Settings,
    ) -> Result<Self, getrandom::Error> {
        Ok(Self {
            id: ReplicaId(getrandom::u64()?),
            about: OnceLock::new(),
            registry,
            live,
            clock,
            settings,
            is_draining: AtomicBool::new(false),
            others: Mutex::default(),
            moved: Notify::new(),
            asked: AtomicU64::new(1),
            flights: Flights::default(),
            closings: Turns::default(),
            closing_permits: Semaphore::new(CLOSINGS_MAX),
            inbox: Inbox::default(),
        })
    }

    /// This replica's id; ids of connections begin with it.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        self.id
    }

    /// Makes this replica known and looks who else is there. If the registry is away, the next
    /// heartbeat does both.
    pub async fn enter(&self, about: About) {
        let _ = self.about.set(about);
        self.beat().await;
    }

    /// Keeps this replica known and answers the others. Runs until it is dropped, or returns at once
    /// where there can be no others.
    pub async fn attend(&self) {
        if !self.settings.is_shared {
            return;
        }
        let beat = async {
            let mut tick = interval(BEAT_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    () = self.moved.notified() => {}
                }
                self.beat().await;
            }
        };
        tokio::join!(beat, self.answer_others());
    }

    /// From now on the heartbeat says that this replica is stopping.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.moved.notify_one();
    }

    /// Whether [`Presence::drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Makes this replica unknown, once [`Presence::attend`] has ended.
    ///
    /// # Errors
    /// The store's. It is forgotten all the same, later.
    pub async fn leave(&self) -> Result<(), StoreError> {
        match self.settings.is_shared {
            true => self.registry.withdraw(self.id).await,
            false => Ok(()),
        }
    }

    /// Takes in a notice of the feed. Never waits.
    pub fn heed(&self, notice: &Notice) {
        if is_of_replicas(notice) {
            self.moved.notify_one();
        } else {
            self.hear(notice);
        }
    }

    /// The replicas that live, with this one, as they are now.
    ///
    /// # Errors
    /// The store's.
    pub async fn replicas(&self) -> Result<Vec<Replica>, StoreError> {
        let mut replicas = match self.settings.is_shared {
            true => self.registry.replicas().await?,
            false => Vec::new(),
        };
        let own = replicas.iter().find(|replica| replica.id == self.id);
        let revision = own.map_or(0, |own| own.revision);
        replicas.retain(|replica| replica.id != self.id && replica.heartbeat.is_some());
        let (about, heartbeat) = (self.about(), Some(self.heartbeat()));
        replicas.push(Replica { id: self.id, about, heartbeat, revision });
        replicas.sort_unstable_by_key(|replica| replica.id);
        Ok(replicas)
    }

    /// The other replicas that lived when this one last looked. Asks nobody.
    #[must_use]
    pub fn others_alive(&self) -> Vec<ReplicaId> {
        let others = self.others();
        others.known.iter().filter(|it| it.heartbeat.is_some()).map(|it| it.id).collect()
    }

    fn about(&self) -> About {
        self.about.get().cloned().unwrap_or_default()
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            connections: self.live.count(Kind::Connection) as u64,
            exchanges: self.live.count(Kind::Exchange) as u64,
            draining: self.is_draining.load(Ordering::Relaxed),
        }
    }

    fn others(&self) -> MutexGuard<'_, Others> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that this replica lives, and looks who else does.
    async fn beat(&self) {
        if !self.settings.is_shared {
            return;
        }
        let late = |_| Err(StoreError::Unavailable("it did not answer in time".to_owned()));
        let outcome = timeout(BEAT_EVERY, self.try_to_beat()).await.unwrap_or_else(late);
        let is_stale = outcome.is_err();
        let was_stale = std::mem::replace(&mut self.others().is_stale, is_stale);
        match outcome {
            // Once: it is tried again every few seconds.
            Err(error) if !was_stale => {
                tracing::warn!(%error, "the other replicas cannot be seen, nor see this one");
            }
            Ok(()) if was_stale => {
                tracing::info!(replica = %self.id, "known to the other replicas")
            }
            _ => {}
        }
    }

    async fn try_to_beat(&self) -> Result<(), StoreError> {
        // Before the document: whoever hears of that looks for the heartbeat.
        self.registry.beat(self.id, &self.heartbeat()).await?;
        let mut seen = self.registry.replicas().await?;
        let is_known = seen.iter().any(|replica| replica.id == self.id);
        if !is_known && seen.len() < REPLICAS_MAX {
            self.registry.announce(self.id, &self.about()).await?;
        }
        seen.retain(|replica| replica.id != self.id);
        let dead = self.others().take_in(seen, self.registry.wall().now());
        for replica in dead {
            if self.registry.bury(&replica).await? {
                tracing::warn!(replica = %replica.id, about = %replica.about, "a replica died");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
