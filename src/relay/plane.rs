//! The relay plane as the handshake plane sees it: a few threads to hand connections to.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use mio::{Poll, Waker};

use super::counts::{Counts, Load};
use super::pair::{Patience, Rules};
use super::thread::WAKER;
use super::wire::Wire;
use crate::clock::Clock;
use crate::held::Held;
use crate::live::{Mailbox, Registered};
use crate::permits;
use crate::row::Row;
use crate::scheduling;

pub use super::thread::Relay;

/// Connections that may be on their way to one thread.
const ADOPTIONS_MAX: usize = 1024;

/// A connection on its way to a relay thread.
#[derive(Debug)]
pub struct Adoption {
    /// The row that it came by.
    pub row: Row,
    /// The sockets of client and runtime.
    pub sockets: [Wire; 2],
    /// Which of them the poll of the thread that adopts them has watched so far.
    pub is_watched: [bool; 2],
    /// What was read behind each handshake.
    pub read_ahead: [Vec<u8>; 2],
    /// What was agreed.
    pub rules: Rules,
    /// Its place in the live table.
    pub registered: Registered,
    /// What is to be released when the connection ends.
    pub permit: Permit,
}

/// The listener's permit, or whatever else is released by being dropped.
#[derive(Debug)]
pub enum Permit {
    /// Nobody else holds it: it needs no memory of its own.
    Own(permits::Permit),
    /// Somebody else may hold it, too.
    Shared(Arc<dyn std::fmt::Debug + Send + Sync>),
}

impl From<Arc<permits::Permit>> for Permit {
    fn from(permit: Arc<permits::Permit>) -> Self {
        match Arc::try_unwrap(permit) {
            Ok(permit) => Self::Own(permit),
            Err(permit) => Self::Shared(permit),
        }
    }
}

/// What a thread and its visitors share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) counts: Counts,
    /// By all threads, and others.
    pub(super) held: Arc<Held>,
    adoptions: Mutex<Vec<Adoption>>,
    reserved: AtomicUsize,
    stop: AtomicBool,
}

impl Shared {
    fn new(waker: impl Into<Arc<Waker>>, held: Arc<Held>) -> Self {
        Self {
            mailbox: Arc::new(Mailbox::new(waker)),
            counts: Counts::default(),
            held,
            adoptions: Mutex::default(),
            reserved: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        }
    }

    pub(super) fn take_adoptions(&self) -> Vec<Adoption> {
        let adoptions =
            std::mem::take(&mut *self.adoptions.lock().unwrap_or_else(PoisonError::into_inner));
        self.reserved.fetch_sub(adoptions.len(), Ordering::Relaxed);
        adoptions
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn put(&self, adoption: Adoption) {
        self.adoptions.lock().unwrap_or_else(PoisonError::into_inner).push(adoption);
        if self.is_stopping() {
            // The thread may have looked for the last time.
            drop(self.take_adoptions());
        }
    }

    fn wake(&self) {
        if let Err(error) = self.mailbox.wake() {
            tracing::error!(%error, "could not wake a relay thread");
        }
    }
}

/// A thread that is still to be joined.
type OwnedThread = Mutex<Option<JoinHandle<()>>>;

/// The relay threads.
#[derive(Debug)]
pub struct Plane {
    threads: Vec<(Arc<Shared>, OwnedThread)>,
    next: AtomicUsize,
    held: Arc<Held>,
}

/// One thread's part of a plane, to be started.
#[derive(Debug)]
pub struct Prepared {
    /// What the thread waits for.
    pub poll: Poll,
    /// Wakes it.
    pub waker: Arc<Waker>,
    /// What it relays.
    pub relay: Relay,
}

/// A promise that one more connection will be taken. Dropping it gives the place back.
#[derive(Debug)]
pub struct Reservation(Option<Arc<Shared>>);

impl Plane {
    /// A plane for `threads` threads that are yet to be started, by whoever has them do more than
    /// relay. All of them must be: what is to be adopted waits for them.
    ///
    /// # Errors
    /// The system gives no poll.
    pub fn prepare(
        threads: usize,
        patience: Patience,
        clock: Clock,
    ) -> io::Result<(Self, Vec<Prepared>)> {
        let held = Arc::<Held>::default();
        let mut plane = Self { threads: Vec::new(), next: AtomicUsize::new(0), held };
        let mut prepared = Vec::new();
        for _ in 0..threads.max(1) {
            let poll = Poll::new()?;
            let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
            let shared = Arc::new(Shared::new(Arc::clone(&waker), Arc::clone(&plane.held)));
            let registry = poll.registry().try_clone()?;
            let relay = Relay::new(registry, Arc::clone(&shared), patience, clock);
            plane.threads.push((shared, Mutex::default()));
            prepared.push(Prepared { poll, waker, relay });
        }
        Ok((plane, prepared))
    }

    /// Starts `threads` threads that only relay.
    ///
    /// # Errors
    /// The system gives no poll or no thread.
    pub fn start(threads: usize, patience: Patience, clock: Clock) -> io::Result<Self> {
        let (mut plane, prepared) = Self::prepare(threads, patience, clock)?;
        for (number, Prepared { poll, relay, .. }) in prepared.into_iter().enumerate() {
            let handle = std::thread::Builder::new()
                .name(format!("relay-{number}"))
                .spawn(move || run_or_abort(relay, poll))?;
            let (_, thread) = &mut plane.threads[number];
            *thread.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(handle);
        }
        Ok(plane)
    }

    /// Finds room for one more connection, before the client is told that there is. Threads take
    /// turns; `None` means that the next one has too many on their way already.
    pub fn reserve(&self) -> Option<Reservation> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let (shared, _) = &self.threads[turn % self.threads.len()];
        if shared.reserved.fetch_add(1, Ordering::Relaxed) >= ADOPTIONS_MAX {
            shared.reserved.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Reservation(Some(Arc::clone(shared))))
    }

    /// What each thread has relayed so far.
    pub fn loads(&self) -> impl Iterator<Item = Load> {
        self.threads.iter().map(|(shared, _)| shared.counts.load())
    }

    /// What waits in the buffers of all connections, and of whoever else adds to it.
    pub fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// Cuts what is left and waits for those threads to end that [`Plane::start`] has started. Blocks.
    pub fn stop(&self) {
        for (shared, _) in &self.threads {
            shared.stop.store(true, Ordering::Relaxed);
            // Without a wake-up the thread still sees it within a sweep.
            let _ = shared.mailbox.wake();
        }
        for (_, handle) in &self.threads {
            let handle = handle.lock().unwrap_or_else(PoisonError::into_inner).take();
            if handle.is_some_and(|handle| handle.join().is_err()) {
                tracing::error!("a relay thread had panicked");
            }
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A thread that panicked outside of any one connection would leave all of its connections hanging:
/// better that whatever watches over the process starts it anew. The panic itself was printed.
fn run_or_abort(relay: Relay, poll: Poll) {
    scheduling::react_quickly();
    if catch_unwind(AssertUnwindSafe(|| relay.run(poll, || false))).is_err() {
        std::process::abort();
    }
}

impl Reservation {
    /// Hands the connection over. The place is free again once the thread has taken it.
    pub fn adopt(mut self, adoption: Adoption) {
        let Some(shared) = self.0.take() else { return };
        shared.put(adoption);
        shared.wake();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.reserved.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
