//! A request that is looked at again once something is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinHandle;

use super::Wait;
use crate::clock::Millis;
use crate::live::Mailbox;

/// The bytes of a request, and what they wait for.
pub(super) struct Parked {
    read: Vec<u8>,
    is_done: Arc<AtomicBool>,
    since: Millis,
    deadline: Millis,
    _task: Task,
}

/// Ends with the one who waits for it, so that there are no more of them than connections.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Parked {
    /// Begins to wait now; its end is told to this slot. Not for longer than up to `deadline`.
    pub(super) fn new(
        read: Vec<u8>,
        wait: Wait,
        (since, deadline): (Millis, Millis),
        mailbox: &Arc<Mailbox>,
        slot: usize,
    ) -> Self {
        let is_done = Arc::<AtomicBool>::default();
        let (done, mailbox) = (Arc::clone(&is_done), Arc::clone(mailbox));
        let task = Task(tokio::spawn(async move {
            wait.await;
            done.store(true, Ordering::Release);
            mailbox.look_at(slot);
        }));
        Self { read, is_done, since, deadline, _task: task }
    }

    /// Since when it waits.
    pub(super) fn since(&self) -> Millis {
        self.since
    }

    /// The bytes, if the waiting is over.
    pub(super) fn take(&mut self, now: Millis) -> Option<Vec<u8>> {
        let is_over = self.is_done.load(Ordering::Acquire) || now >= self.deadline;
        is_over.then(|| std::mem::take(&mut self.read))
    }
}
