//! The relay plane as the handshake plane sees it: a few threads to hand connections to.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use mio::{Poll, Waker};
use tokio::sync::OwnedSemaphorePermit;

use super::counts::{Counts, Load};
use super::pair::{Patience, Rules};
use super::thread::{Relay, WAKER};
use super::wire::Wire;
use crate::clock::Clock;
use crate::live::{Mailbox, Registered};
use crate::row::Row;

/// Connections that may be on their way to one thread.
const ADOPTIONS_MAX: usize = 1024;

/// A connection on its way to a relay thread.
#[derive(Debug)]
pub struct Adoption {
    /// The row that it came by.
    pub row: Row,
    /// The sockets of client and runtime.
    pub sockets: [Wire; 2],
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
    Own(OwnedSemaphorePermit),
    /// Somebody else may hold it, too.
    Shared(Arc<dyn std::fmt::Debug + Send + Sync>),
}

impl From<Arc<OwnedSemaphorePermit>> for Permit {
    fn from(permit: Arc<OwnedSemaphorePermit>) -> Self {
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
    adoptions: Mutex<Vec<Adoption>>,
    reserved: AtomicUsize,
    /// Something was left here, and nobody has woken the thread for it.
    is_owed_a_wake: AtomicBool,
    stop: AtomicBool,
}

impl Shared {
    fn new(waker: Waker) -> Self {
        Self {
            mailbox: Arc::new(Mailbox::new(waker)),
            counts: Counts::default(),
            adoptions: Mutex::default(),
            reserved: AtomicUsize::new(0),
            is_owed_a_wake: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        }
    }

    pub(super) fn take_adoptions(&self) -> Vec<Adoption> {
        // Before they are taken: what is left after that is owed a wake-up anew.
        self.is_owed_a_wake.store(false, Ordering::Relaxed);
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
}

/// A promise that one more connection will be taken. Dropping it gives the place back.
#[derive(Debug)]
pub struct Reservation(Option<Arc<Shared>>);

impl Plane {
    /// Starts `threads` relay threads.
    ///
    /// # Errors
    /// The system gives no poll or no thread.
    pub fn start(threads: usize, patience: Patience, clock: Clock) -> io::Result<Self> {
        let threads = (0..threads.max(1)).map(|number| {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKER)?;
            let shared = Arc::new(Shared::new(waker));
            let relay = Relay::new(poll, Arc::clone(&shared), patience, clock);
            let handle = std::thread::Builder::new()
                .name(format!("relay-{number}"))
                .spawn(move || run_or_abort(relay))?;
            Ok((shared, Mutex::new(Some(handle))))
        });
        Ok(Self { threads: threads.collect::<io::Result<_>>()?, next: AtomicUsize::new(0) })
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

    /// Wakes the threads for whom something was left; see [`Reservation::leave`].
    pub fn wake_owed(&self) {
        for (shared, _) in &self.threads {
            let is_owed = &shared.is_owed_a_wake;
            if is_owed.load(Ordering::Relaxed) && is_owed.swap(false, Ordering::Acquire) {
                shared.wake();
            }
        }
    }

    /// What each thread has relayed so far.
    pub fn loads(&self) -> impl Iterator<Item = Load> {
        self.threads.iter().map(|(shared, _)| shared.counts.load())
    }

    /// Bytes of what waits in the buffers of all connections.
    pub fn buffer_bytes(&self) -> u64 {
        self.threads.iter().map(|(shared, _)| shared.counts.buffer_bytes()).sum()
    }

    /// Cuts what is left and waits for the threads to end. Blocks.
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
fn run_or_abort(relay: Relay) {
    if catch_unwind(AssertUnwindSafe(|| relay.run())).is_err() {
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

    /// The same for one of several: whoever hands them over calls [`Plane::wake_owed`] soon, which
    /// wakes the thread once for all of them.
    pub fn leave(mut self, adoption: Adoption) {
        let Some(shared) = self.0.take() else { return };
        shared.put(adoption);
        shared.is_owed_a_wake.store(true, Ordering::Release);
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
