//! What is known of a tenant's runtime in this process.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use super::activity::Glance;
use super::place::Place;
use crate::clock::Millis;
use crate::tenant::{TenantId, Username};

/// After a failure, and twice as long after each further one.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// The state of a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing runs.
    Asleep,
    /// It is being started, here or by another replica.
    Starting,
    /// It answers.
    Ready {
        /// There.
        place: Place,
        /// Since then, or since this replica knows of it.
        since: Millis,
    },
    /// It did not start, or crashed.
    Failing {
        /// What happened.
        failure: Arc<Failure>,
        /// Before that nobody tries again.
        until: Millis,
        /// Whether it is started again then without anybody asking.
        restarts: bool,
    },
    /// It is being ended.
    Stopping,
}

/// A runtime's misfortune, for its tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub why: String,
    /// How many in a row, with this one.
    pub count: u32,
}

impl State {
    /// Its name on the wire.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Asleep => "asleep",
            Self::Starting => "starting",
            Self::Ready { .. } => "ready",
            Self::Failing { .. } => "failing",
            Self::Stopping => "stopping",
        }
    }
}

/// One tenant's.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) tenant: TenantId,
    pub(super) username: Username,
    state: watch::Sender<State>,
    guests: AtomicUsize,
    /// When a request or handshake was last sent there.
    used_ms: AtomicU64,
    failures: AtomicU32,
    /// The last of those.
    failed: Mutex<Option<(Millis, Arc<Failure>)>>,
    /// Since when it is started; and when it had to wait for the start of others no more.
    began_ms: AtomicU64,
    turn_ms: AtomicU64,
    glance: Mutex<Glance>,
    is_owned: AtomicBool,
    /// Who wants it started, since it was ready or has failed.
    called: watch::Sender<Caller>,
    asked: Mutex<Option<Asked>>,
    bell: Notify,
}

/// Who wants a runtime started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Caller {
    /// It has to run all the same.
    Nobody,
    /// Somebody else than its tenant.
    Guest,
    /// Its tenant, or an operator.
    Own,
}

/// What an operator asks of whoever owns a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// That it is tried now, however long it would be left alone after a failure.
    Start,
    /// That it is ended.
    Stop,
    /// That it is ended and started again.
    Restart,
}

/// A guest who waits.
#[derive(Debug)]
pub(super) struct Guest<'a>(&'a AtomicUsize);

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slot {
    pub(super) fn new(tenant: TenantId, username: &Username) -> Self {
        Self {
            tenant,
            username: username.clone(),
            state: watch::Sender::new(State::Asleep),
            guests: AtomicUsize::new(0),
            used_ms: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            failed: Mutex::default(),
            began_ms: AtomicU64::new(0),
            turn_ms: AtomicU64::new(0),
            glance: Mutex::default(),
            is_owned: AtomicBool::new(false),
            called: watch::Sender::new(Caller::Nobody),
            asked: Mutex::default(),
            bell: Notify::new(),
        }
    }

    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// How many wait for it, and how many of those are guests.
    pub(super) fn crowd(&self) -> (usize, usize) {
        (self.state.receiver_count(), self.guests.load(Ordering::Relaxed))
    }

    /// A guest waits for it, until this is dropped.
    pub(super) fn guest(&self) -> Guest<'_> {
        self.guests.fetch_add(1, Ordering::Relaxed);
        Guest(&self.guests)
    }

    pub(super) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(super) fn set(&self, state: State) {
        tracing::debug!(tenant = %self.username, state = state.label(), "runtime");
        self.state.send_replace(state);
    }

    /// Where to go, if it answers. Use is said while the state is held: whoever puts it to sleep sees
    /// the use, or the caller sees that it stops.
    pub(super) fn enter(&self, now: Millis, is_use: bool) -> Option<Place> {
        let state = self.state.borrow();
        let State::Ready { place, .. } = &*state else { return None };
        if is_use {
            self.used_ms.fetch_max(now.0, Ordering::SeqCst);
        }
        Some(place.clone())
    }

    /// Somebody wants it started.
    pub(super) fn call(&self, caller: Caller) {
        self.called.send_if_modified(|called| {
            let is_more = *called < caller;
            *called = caller.max(*called);
            is_more
        });
    }

    /// Whoever has called is served, or refused.
    pub(super) fn answer(&self) {
        self.called.send_replace(Caller::Nobody);
    }

    /// Who wants it started.
    pub(super) fn caller(&self) -> Caller {
        *self.called.borrow()
    }

    /// Waits until somebody wants it started. Cancel safe.
    pub(super) async fn called(&self) {
        // It fails only without a sender, and that is ours.
        let _ = self.called.subscribe().wait_for(|called| *called != Caller::Nobody).await;
    }

    pub(super) fn used_at(&self) -> Millis {
        Millis(self.used_ms.load(Ordering::SeqCst))
    }

    /// Takes it upon the caller to start it, if nobody has done so and it may be tried.
    pub(super) fn begin(&self, now: Millis) -> bool {
        self.state.send_if_modified(|state| {
            let may_begin = match state {
                State::Asleep => true,
                State::Failing { until, restarts, .. } => !*restarts && now >= *until,
                _ => false,
            };
            if may_begin {
                self.began_ms.store(now.0, Ordering::Relaxed);
                *state = State::Starting;
            }
            may_begin
        })
    }

    /// It is started again, by whoever has carried it on so far.
    pub(super) fn begin_again(&self, now: Millis) {
        self.began_ms.store(now.0, Ordering::Relaxed);
        self.set(State::Starting);
    }

    /// Forgets failures, and that it is left alone for a while after them.
    pub(super) fn forgive(&self) {
        self.recovered();
        self.state.send_if_modified(|state| {
            let fails = matches!(state, State::Failing { restarts: false, .. });
            if fails {
                *state = State::Asleep;
            }
            fails
        });
    }

    /// Whether this replica owns it.
    pub(super) fn is_owned(&self) -> bool {
        self.is_owned.load(Ordering::SeqCst)
    }

    /// Says whether this replica owns it.
    pub(super) fn own(&self, is_owned: bool) {
        self.is_owned.store(is_owned, Ordering::SeqCst);
    }

    /// Asks its owner, which is here.
    pub(super) fn ask(&self, asked: Asked) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        self.bell.notify_one();
    }

    /// Waits until something is asked. Cancel safe; for the one task that carries it on.
    pub(super) async fn asked(&self) -> Asked {
        loop {
            if let Some(asked) = self.take_asked() {
                return asked;
            }
            self.bell.notified().await;
        }
    }

    /// What was asked last, if nobody has heard it.
    pub(super) fn take_asked(&self) -> Option<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// It is started now, and waits for others no more.
    pub(super) fn has_turn(&self, now: Millis) {
        self.turn_ms.store(now.0, Ordering::Relaxed);
    }

    /// Since when it is started, and whether that waits for others still.
    pub(super) fn began(&self) -> (Millis, bool) {
        let (began, turn) =
            (self.began_ms.load(Ordering::Relaxed), self.turn_ms.load(Ordering::Relaxed));
        (Millis(began), turn < began)
    }

    /// Has it stop if nobody used it meanwhile.
    pub(super) fn stop_if(&self, is_idle: impl FnOnce() -> bool) -> bool {
        self.state.send_if_modified(|state| {
            let stops = is_idle();
            if stops {
                *state = State::Stopping;
            }
            stops
        })
    }

    /// Notes a failure. It is tried again after a while, the longer the more there were in a row.
    pub(super) fn fail(&self, why: String, restarts_max: u32, now: Millis) -> State {
        let count = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let until = now.plus(backoff(count));
        let failure = Arc::new(Failure { why, count });
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((now, Arc::clone(&failure)));
        State::Failing { failure, until, restarts: count <= restarts_max }
    }

    /// A failure of another replica's, which counts them.
    pub(super) fn fail_until(&self, why: String, until: Millis) -> State {
        let failure = Arc::new(Failure { why, count: self.failures().max(1) });
        State::Failing { failure, until, restarts: false }
    }

    /// Something was in the way that is no fault of the runtime's: no failure is counted.
    pub(super) fn hindered(&self, why: &str, until: Millis, restarts: bool) -> State {
        let failure = Arc::new(Failure { why: why.to_owned(), count: self.failures() });
        State::Failing { failure, until, restarts }
    }

    /// How often it has failed in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// What its owner has seen of its use, for whoever asks why it is awake.
    pub(super) fn glance(&self) -> Glance {
        *self.glance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn saw(&self, glance: Glance) {
        *self.glance.lock().unwrap_or_else(PoisonError::into_inner) = glance;
    }

    /// It has run for long enough.
    pub(super) fn recovered(&self) {
        self.failures.store(0, Ordering::Relaxed);
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What went wrong last before it became ready, unless it has run for long enough since.
    pub(super) fn failure_before(&self, ready_at: Millis) -> Option<Arc<Failure>> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.as_ref().filter(|(at, _)| *at < ready_at).map(|(_, failure)| Arc::clone(failure))
    }
}

fn backoff(failures: u32) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests;
