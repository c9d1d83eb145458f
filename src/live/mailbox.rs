//! How a relay thread hears of closings.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Closings that may wait for a relay thread one by one; beyond it the thread looks at all.
pub(super) const MAILBOX_MAX: usize = 1024;

/// How other threads reach a relay thread about its connections.
#[derive(Debug)]
pub struct Mailbox {
    pub(super) slots: Mutex<Vec<usize>>,
    sweep_all: AtomicBool,
    waker: Arc<mio::Waker>,
}

/// What a relay thread finds in its mailbox.
#[derive(Debug, PartialEq, Eq)]
pub enum Mail {
    /// Look at these slots.
    Slots(Vec<usize>),
    /// Look at all: there were too many.
    All,
}

impl Mailbox {
    /// A mailbox whose mail wakes the poll that `waker` belongs to. There is one waker for a poll, but
    /// there may be several mailboxes.
    #[must_use]
    pub fn new(waker: impl Into<Arc<mio::Waker>>) -> Self {
        let waker = waker.into();
        Self { slots: Mutex::default(), sweep_all: AtomicBool::new(false), waker }
    }

    /// Has the thread look at a slot's closing level. Never blocks for long, never fails: a full
    /// mailbox becomes a look at all.
    pub fn look_at(&self, slot: usize) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() < MAILBOX_MAX {
            slots.push(slot);
        } else {
            self.sweep_all.store(true, Ordering::Relaxed);
        }
        drop(slots);
        // A failed wake-up is made good by the thread's own sweep.
        let _ = self.wake();
    }

    /// Wakes the thread.
    ///
    /// # Errors
    /// The system refused; the thread will look within a sweep.
    pub fn wake(&self) -> io::Result<()> {
        self.waker.wake()
    }

    /// Empties the mailbox.
    pub fn take(&self) -> Mail {
        let slots = std::mem::take(&mut *self.slots.lock().unwrap_or_else(PoisonError::into_inner));
        // Pairs with the fence in `Entry::close`: the look at all sees every level set before it.
        match self.sweep_all.swap(false, Ordering::Acquire) {
            true => Mail::All,
            false => Mail::Slots(slots),
        }
    }
}
