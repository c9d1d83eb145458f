//! What runs for a tenant on all replicas.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::Presence;
use super::answer::{Listed, Shown};
use crate::live::traffic::Traffic;
use crate::registry::replicas::{Numbered, Question, Replica, ReplicaId, Wanted};
use crate::registry::store::StoreError;
use crate::tenant::TenantId;

/// Tenants of whom the other replicas are asked, or were within the last second. This bounds the
/// notices as well: a feed that forgets too early makes every replica look at everything.
const FLIGHTS_MAX: usize = 64;
/// Lists of one tenant that are made anew within that second, since something was closed.
const ANEW_MAX: usize = 16;
/// Between two looks for an answer: at first, and at last.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(2);
const LOOK_EVERY_MAX: Duration = Duration::from_millis(50);

const LATE: &str = "did not answer in time";
const SILENT: &str = "has not been heard of lately";
pub(super) const AWAY: &str = "other replicas: the registry cannot be asked";
const BUSY: &str = "other replicas: too many lists are being made";

/// What runs for a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// By age, the oldest first. Of another replica, as much of the newest as its answer held.
    pub shown: Vec<(Numbered, Shown)>,
    /// How much runs in all.
    pub total: u64,
    /// What was relayed lately, in all.
    pub traffic: Traffic,
    /// The replicas about which nothing is known, and why.
    pub incomplete: Vec<String>,
}

impl Connections {
    /// How much of what is shown are plain requests.
    #[must_use]
    pub fn exchanges(&self) -> u64 {
        self.shown.iter().filter(|(_, shown)| shown.is_exchange).count() as u64
    }

    /// How much runs that is not shown: a replica has more than its answer held.
    #[must_use]
    pub fn unlisted(&self) -> u64 {
        self.total.saturating_sub(self.shown.len() as u64)
    }
}

/// Lists that are being made, or were made a moment ago.
#[derive(Debug)]
pub(super) struct Flights {
    by_tenant: Mutex<HashMap<TenantId, Flight>>,
    permits: Arc<Semaphore>,
}

type Outcome = Option<Arc<Connections>>;

#[derive(Debug)]
struct Flight {
    number: u64,
    outcome: watch::Receiver<Outcome>,
    /// It serves nobody who asks from now on.
    is_old: bool,
    /// The tenant's, in all flights of theirs.
    permit: Arc<OwnedSemaphorePermit>,
}

impl Default for Flights {
    fn default() -> Self {
        Self { by_tenant: Mutex::default(), permits: Arc::new(Semaphore::new(FLIGHTS_MAX)) }
    }
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Flight>> {
        self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.permits.available_permits()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Takes this flight out, if it has not made way to a later one.
    pub(super) fn end(&self, tenant: TenantId, number: u64) {
        let mut flights = self.lock();
        if flights.get(&tenant).is_some_and(|flight| flight.number == number) {
            flights.remove(&tenant);
        }
    }

    /// The next list of this tenant is made anew.
    pub(super) fn forget(&self, tenant: TenantId) {
        if let Some(flight) = self.lock().get_mut(&tenant) {
            flight.is_old = true;
        }
    }
}

/// A flight's place in the table. Dropping it takes the flight out.
struct Place {
    presence: Arc<Presence>,
    tenant: TenantId,
    number: u64,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.presence.flights.end(self.tenant, self.number);
    }
}

impl Presence {
    /// What runs for a tenant, here and on all other replicas. What others have is up to a second
    /// old. Never fails: what is not known is named.
    pub async fn connections(self: &Arc<Self>, tenant: TenantId) -> Connections {
        let elsewhere = self.elsewhere(tenant).await;
        let own = self.own(tenant);
        let total = elsewhere.total.saturating_add(own.len() as u64);
        let own = own.into_iter().map(|it| (numbered(self.id, it.number), it));
        let mut shown: Vec<_> = own.collect();
        shown.extend_from_slice(&elsewhere.shown);
        shown.sort_by_key(|(id, it)| (it.since_unix_ms, *id));
        let traffic =
            self.live.traffic(tenant, self.registry.wall().now()).plus(&elsewhere.traffic);
        Connections { shown, total, traffic, incomplete: elsewhere.incomplete.clone() }
    }

    /// The same, and nothing of it older than this call.
    pub async fn connections_now(self: &Arc<Self>, tenant: TenantId) -> Connections {
        self.flights.forget(tenant);
        self.connections(tenant).await
    }

    /// What other replicas have; for all who ask at the same time, they are asked once.
    async fn elsewhere(self: &Arc<Self>, tenant: TenantId) -> Arc<Connections> {
        if let Some(nobody) = self.nobody_to_ask() {
            return Arc::new(nobody);
        }
        let failed = |why: &str| {
            Arc::new(Connections { incomplete: vec![why.to_owned()], ..Connections::default() })
        };
        let Some(mut outcome) = self.join_or_begin(tenant) else { return failed(BUSY) };
        match outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(elsewhere)) => Arc::clone(elsewhere),
            _ => failed(AWAY),
        }
    }

    /// The outcome of the flight that is under way for a tenant, or of a new one. `None` if there
    /// are too many.
    fn join_or_begin(self: &Arc<Self>, tenant: TenantId) -> Option<watch::Receiver<Outcome>> {
        let mut flights = self.flights.lock();
        let permit = match flights.get(&tenant) {
            Some(flight) if !flight.is_old => return Some(flight.outcome.clone()),
            // The table's own is one more.
            Some(flight) if Arc::strong_count(&flight.permit) > ANEW_MAX => return None,
            Some(flight) => Arc::clone(&flight.permit),
            None => Arc::new(Arc::clone(&self.flights.permits).try_acquire_owned().ok()?),
        };
        let (said, outcome) = watch::channel(None);
        let number = self.next_number();
        let (seen, own) = (outcome.clone(), Arc::clone(&permit));
        flights.insert(tenant, Flight { number, outcome: seen, is_old: false, permit: own });
        drop(flights);
        let place = Place { presence: Arc::clone(self), tenant, number, _permit: permit };
        // A task of its own: it serves others than the one who began it, who may go away.
        tokio::spawn(async move {
            let elsewhere = place.presence.ask_all(tenant).await;
            said.send_replace(Some(Arc::new(elsewhere)));
            sleep(place.presence.settings.kept_for).await;
        });
        Some(outcome)
    }

    /// What is known without asking, if there is nobody who could answer.
    fn nobody_to_ask(&self) -> Option<Connections> {
        let others = self.others();
        if others.known.iter().any(|replica| replica.heartbeat.is_some()) {
            return None;
        }
        let mut incomplete: Vec<_> = others.known.iter().map(|it| name(it, SILENT)).collect();
        incomplete.extend(others.is_stale.then(|| AWAY.to_owned()));
        Some(Connections { incomplete, ..Connections::default() })
    }

    async fn ask_all(&self, tenant: TenantId) -> Connections {
        let (living, silent): (Vec<_>, Vec<_>) =
            self.others().known.iter().cloned().partition(|it| it.heartbeat.is_some());
        let mut all = Connections::default();
        all.incomplete.extend(silent.iter().map(|it| name(it, SILENT)));
        match self.ask::<Listed>(Wanted::List(tenant), living).await {
            Ok(answers) => {
                for (replica, answer) in answers {
                    let Some(Listed { total, newest, traffic }) = answer else {
                        all.incomplete.push(name(&replica, LATE));
                        continue;
                    };
                    all.total = all.total.saturating_add(total);
                    all.traffic = all.traffic.plus(&traffic);
                    let newest = newest.into_iter();
                    all.shown.extend(newest.map(|it| (numbered(replica.id, it.number), it)));
                }
                // It could be asked, but when it could not, others may have come.
                all.incomplete.extend(self.others().is_stale.then(|| AWAY.to_owned()));
            }
            Err(_) => all.incomplete.push(AWAY.to_owned()),
        }
        all
    }

    /// Asks, and waits for the answers of these replicas. An answer that cannot be understood is
    /// none.
    ///
    /// # Errors
    /// It was not asked.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        wanted: Wanted,
        of: Vec<Replica>,
    ) -> Result<Vec<(Replica, Option<T>)>, StoreError> {
        let deadline = Instant::now() + self.settings.answer_max;
        let ask = numbered(self.id, self.next_number());
        let question = Question { ask, wanted };
        match timeout_at(deadline, self.registry.ask(&question)).await {
            // It may have been asked.
            Ok(Ok(()) | Err(StoreError::Unknown(_))) | Err(_) => {}
            Ok(Err(error)) => return Err(error),
        }
        let mut answers: Vec<_> = of.into_iter().map(|replica| (replica, None)).collect();
        let mut pause = LOOK_EVERY_MIN;
        while !self.look(ask, &mut answers, deadline).await && Instant::now() < deadline {
            sleep_until(deadline.min(Instant::now() + pause)).await;
            pause = (2 * pause).min(LOOK_EVERY_MAX);
        }
        Ok(answers)
    }

    /// Looks for the answers that are not there yet. Returns whether all are.
    async fn look<T: DeserializeOwned>(
        &self,
        ask: Numbered,
        answers: &mut [(Replica, Option<T>)],
        deadline: Instant,
    ) -> bool {
        let mut is_complete = true;
        for (replica, answer) in answers.iter_mut().filter(|(_, answer)| answer.is_none()) {
            let found = timeout_at(deadline, self.registry.answer_of(ask, replica.id)).await;
            if let Ok(Ok(Some(body))) = found {
                *answer = serde_json::from_slice(&body).ok();
            }
            is_complete &= answer.is_some();
        }
        is_complete
    }

    fn next_number(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::Relaxed)
    }
}

fn numbered(replica: ReplicaId, number: u64) -> Numbered {
    Numbered { replica, number }
}

fn name(replica: &Replica, why: &str) -> String {
    format!("{}: {why}", replica.about)
}
