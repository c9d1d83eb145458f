//! The life of runtimes that flowgate owns: they are woken by whoever calls them, and put to sleep when
//! nobody does.
//!
//! Each has a state in this process, which those who wait watch, and one task that carries it on: either
//! as its owner, which starts, watches and ends it, or after the words of the replica that owns it. Of
//! any number of callers on any number of replicas one starts it: here by the state, among replicas by a
//! lease.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::close::Cause;
use crate::live::{Entry, Kind, LiveTable};
use crate::refusal::Refusal;
use crate::registry::Registry;
use crate::tenant::{Instance, Tenant, TenantId};

mod activity;
mod alive;
mod answers;
mod carry;
pub mod contract;
pub mod counts;
mod follow;
mod idle;
mod kin;
pub mod kubernetes;
pub mod look;
mod operate;
pub mod place;
mod places;
pub mod process;
pub mod providers;
mod rest;
pub mod rollout;
mod shared;
pub mod state;
#[cfg(test)]
pub mod testing;
mod turns;

use counts::{Counts, Tallies};
use look::Look;
use place::Place;
use places::Places;
use providers::Providers;
use shared::Shared;
use state::{Caller, Slot, State};
use turns::{TURN_MAX, Turns};

/// Runtimes of which it is remembered how long they took to start.
const USUAL_MAX: usize = 100_000;

/// How runtimes are woken.
#[derive(Clone, Copy, Debug)]
pub struct WakeSettings {
    /// How long a request waits for its runtime.
    pub wake_timeout: Duration,
    /// Requests that wait at once; one tenant's may be a quarter of them, or less.
    pub waiting_max: usize,
    /// Runtimes that are run at once by this process.
    pub running_max: usize,
}

/// All runtimes that flowgate owns.
#[derive(Debug)]
pub struct Runtimes {
    settings: WakeSettings,
    providers: Providers,
    registry: Arc<Registry>,
    live: Arc<LiveTable>,
    clock: Clock,
    /// This replica, by which others know who owns what.
    holder: String,
    machine: OnceLock<String>,
    slots: DashMap<TenantId, Arc<Slot>>,
    /// How long the last start of each runtime took.
    usual: DashMap<TenantId, Duration>,
    places: Places,
    turns: Turns,
    running: Semaphore,
    /// A restart of all; there is one at a time.
    rollouts: Arc<Semaphore>,
    tallies: Tallies,
    stop: watch::Sender<bool>,
    /// Nothing is started that nobody waits for.
    drains: AtomicBool,
}

impl Runtimes {
    /// None of them runs yet. `replica` names this process among those that share the registry.
    #[must_use]
    pub fn new(
        settings: WakeSettings,
        providers: Providers,
        (registry, live): (Arc<Registry>, Arc<LiveTable>),
        clock: Clock,
        replica: &str,
    ) -> Self {
        // Whoever has a registry to themselves need not wait until their own lease from before is over.
        let holder = if registry.is_shared() { replica } else { "the only one" };
        Self {
            settings,
            providers,
            registry,
            live,
            clock,
            holder: holder.to_owned(),
            machine: OnceLock::new(),
            slots: DashMap::new(),
            usual: DashMap::new(),
            places: Places::new(settings.waiting_max),
            turns: Turns::new(TURN_MAX),
            rollouts: Arc::new(Semaphore::new(1)),
            running: Semaphore::new(settings.running_max.min(Semaphore::MAX_PERMITS)),
            tallies: Tallies::default(),
            stop: watch::Sender::new(false),
            drains: AtomicBool::new(false),
        }
    }

    /// Where a tenant's runtime is, if nothing has to be waited for. Counts as use, unless it is an editor
    /// that comes again.
    #[must_use]
    pub fn at_once(
        &self,
        tenant: TenantId,
        instance: &Arc<Instance>,
        entry: &Entry,
    ) -> Option<Arc<Instance>> {
        if !instance.provider.is_owned() {
            return Some(Arc::clone(instance));
        }
        let slot = Arc::clone(&*self.slots.get(&tenant)?);
        let is_use = !activity::is_editors(entry, instance);
        let place = slot.enter(self.clock.now(), is_use)?;
        let place = self.providers.where_now(instance.provider, tenant, place)?;
        Some(located(instance, place))
    }

    /// Where a tenant's runtime is; wakes it if need be, and waits for that. Cancel safe: what was begun
    /// goes on.
    ///
    /// # Errors
    /// It cannot be woken, not in time, or not by this entry.
    pub async fn reach(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        instance: &Arc<Instance>,
        entry: &Entry,
    ) -> Result<Arc<Instance>, Refusal> {
        if let Some(found) = self.at_once(tenant.id, instance, entry) {
            return Ok(found);
        }
        let slot = self.slot(tenant);
        let is_guest = entry.grant.is_guests();
        let place = self.places.take(is_guest, slot.crowd());
        let Some(_place) = place else { return Err(Refusal::Waking) };
        let guest = is_guest.then(|| slot.guest());
        // An editor whose window is open comes again by itself, for ever.
        let is_editors = activity::is_editors(entry, instance);
        let is_stranger = entry.grant.is_strangers();
        let may_wake = !is_editors && (!is_stranger || instance.provider.public_wake());
        let begin = self.clock.micros();
        let caller = if is_guest { Caller::Guest } else { Caller::Own };
        let wait = self.wait(&slot, (caller, may_wake), !is_editors);
        let reached = timeout(self.settings.wake_timeout, wait).await;
        let place = match reached.unwrap_or(Err(Refusal::Waking)) {
            Ok(place) => place,
            Err(refused) => {
                drop(guest);
                self.forget(slot);
                return Err(refused);
            }
        };
        self.tallies.waited(self.clock.micros().since(begin));
        let found = self.providers.where_soon(instance.provider, tenant.id, place).await;
        let replaced = || Refusal::RuntimeUnreachable("its pod is being replaced".to_owned());
        found.map(|place| located(instance, place)).ok_or_else(replaced)
    }

    /// Wakes a tenant's runtime if need be, and says how it is; `None` if nothing has to be waited for.
    /// For its owner.
    pub async fn rouse(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        instance: &Arc<Instance>,
        entry: &Entry,
    ) -> Option<Look> {
        if self.at_once(tenant.id, instance, entry).is_some() || *self.stop.borrow() {
            return None;
        }
        let slot = self.slot(tenant);
        slot.call(Caller::Own);
        self.begin(&slot);
        self.look(tenant).await
    }

    /// Has a runtime started, if nobody has and it may be tried.
    fn begin(self: &Arc<Self>, slot: &Arc<Slot>) {
        if slot.begin(self.clock.now()) {
            let (runtimes, slot) = (Arc::clone(self), Arc::clone(slot));
            tokio::spawn(async move {
                Arc::clone(&runtimes).carry(Arc::clone(&slot)).await;
                runtimes.forget(slot);
            });
        }
    }

    async fn wait(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        (caller, may_wake): (Caller, bool),
        is_use: bool,
    ) -> Result<Place, Refusal> {
        let mut states = slot.watch();
        loop {
            if *self.stop.borrow() {
                return Err(Refusal::Waking);
            }
            if let Some(place) = slot.enter(self.clock.now(), is_use) {
                return Ok(place);
            }
            let now = self.clock.now();
            match &*states.borrow_and_update() {
                State::Failing { until, failure, .. } if now < *until => {
                    let wait = until.since(now);
                    return Err(Refusal::RuntimeFailed {
                        why: failure.why.clone(),
                        retry_seconds: u32::try_from(wait.as_secs()).unwrap_or(u32::MAX) + 1,
                    });
                }
                State::Asleep | State::Failing { restarts: false, .. } if !may_wake => {
                    return Err(Refusal::RuntimeAsleep);
                }
                _ => {}
            }
            slot.call(caller);
            self.begin(slot);
            // It fails only without a sender, and that is the slot's.
            let _ = states.changed().await;
        }
    }

    /// Closes what of those kinds goes to a runtime that ends.
    fn close_all(&self, slot: &Slot, instance: &Instance, kinds: &[Kind]) {
        // The tenant may have another instance by now, and connections there.
        let is_there = |entry: &&Arc<Entry>| {
            kinds.contains(&entry.kind) && entry.is_seated() && entry.is_for(instance)
        };
        for entry in self.live.entries_of(slot.tenant).iter().filter(is_there) {
            entry.close(Cause::RuntimeMoved);
        }
    }

    fn slot(&self, tenant: &Tenant) -> Arc<Slot> {
        let new = || Arc::new(Slot::new(tenant.id, &tenant.username));
        Arc::clone(&*self.slots.entry(tenant.id).or_insert_with(new))
    }

    /// Remembers how long a start took.
    fn note_start(&self, tenant: TenantId, took: Duration) {
        if self.usual.len() < USUAL_MAX || self.usual.contains_key(&tenant) {
            self.usual.insert(tenant, took);
        }
    }

    /// What was counted, and how it is now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut states = ["starting", "ready", "failing", "stopping"].map(|state| (state, 0));
        for slot in &self.slots {
            let label = slot.state().label();
            states
                .iter_mut()
                .filter(|(state, _)| *state == label)
                .for_each(|(_, count)| *count += 1);
        }
        self.tallies.counts(states, self.places.counts())
    }

    /// Forgets a runtime of which nothing is to be known.
    fn forget(&self, slot: Arc<Slot>) {
        let tenant = slot.tenant;
        drop(slot);
        // The map's is the last one, and nobody gets another while it is looked at.
        self.slots.remove_if(&tenant, |_, slot| {
            slot.state() == State::Asleep && Arc::strong_count(slot) == 1
        });
    }

    fn shared(&self, tenant: TenantId) -> Shared<'_> {
        Shared { registry: &self.registry, holder: &self.holder, tenant }
    }

    fn machine(&self) -> &str {
        self.machine.get_or_init(alive::machine)
    }

    /// From now on none is started but for whoever calls it.
    pub fn drain(&self) {
        self.drains.store(true, Ordering::Relaxed);
    }

    /// Ends all runtimes that this process owns, and waits until they have ended. None starts any more.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        // Each owner holds one.
        let all = u32::try_from(self.settings.running_max.min(Semaphore::MAX_PERMITS));
        let _ = self.running.acquire_many(all.unwrap_or(u32::MAX)).await;
    }
}

/// The instance with the address that its runtime has at present.
fn located(instance: &Instance, place: Place) -> Arc<Instance> {
    let Place { host, port, network, is_local: _ } = place;
    let network = network.map(|(network, _)| network);
    Arc::new(Instance { host, port, network, ..instance.clone() })
}
