//! The one thread that writes. Whatever has queued up shares a transaction, and so one wait for the
//! disk; each call is still all or nothing by itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use redb::Database;
use tokio::sync::{mpsc, oneshot, watch};

use super::Settings;
use super::handle::Handle;
use super::tables::Tables;
use crate::registry::store::error::StoreError;

/// Calls that may wait to be carried out; further ones wait to be let in.
const QUEUE_MAX: usize = 256;
/// Calls that share a transaction.
pub(super) const BATCH_MAX: usize = 256;

/// The way to the thread. Dropping it waits until the thread has done what is queued.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Call>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread, which tells `changes` of each new last revision.
    pub(super) fn start(
        handle: Arc<Handle>,
        settings: Settings,
        changes: watch::Sender<u64>,
    ) -> Result<Self, StoreError> {
        let (queue, calls) = mpsc::channel(QUEUE_MAX);
        let thread = std::thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || carry_out_all(&handle, &settings, calls, &changes))
            .map_err(|error| StoreError::Unavailable(format!("no thread: {error}")))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Carries out `work` in a transaction and answers once that is durable. A refusal of `work`'s
    /// must leave the tables as they were.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let stopped = || StoreError::Unavailable("its writer has stopped".to_owned());
        let (answer, answered) = oneshot::channel();
        let call = Pending { work: Some(work), outcome: None, answer };
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(Box::new(call)).await.map_err(|_| stopped())?;
        // The thread ends within a transaction only if it panics there.
        answered.await.unwrap_or_else(|_| Err(StoreError::Unknown("its writer died".to_owned())))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

trait Call: Send {
    /// Fails when the transaction is of no use any more.
    fn carry_out(&mut self, tables: &mut Tables) -> Result<(), StoreError>;
    fn answer(self: Box<Self>, kept: Result<(), StoreError>);
}

struct Pending<W, T> {
    work: Option<W>,
    outcome: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<W, T> Call for Pending<W, T>
where
    W: FnOnce(&mut Tables) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn carry_out(&mut self, tables: &mut Tables) -> Result<(), StoreError> {
        let Some(work) = self.work.take().filter(|_| !self.answer.is_closed()) else {
            return Ok(());
        };
        match work(tables) {
            Err(error) if error.is_fault() => Err(error),
            outcome => {
                self.outcome = Some(outcome);
                Ok(())
            }
        }
    }

    fn answer(self: Box<Self>, kept: Result<(), StoreError>) {
        let Self { outcome, answer, .. } = *self;
        let outcome = match kept {
            Ok(()) => outcome,
            Err(error) => Some(Err(error)),
        };
        if let Some(outcome) = outcome {
            let _ = answer.send(outcome);
        }
    }
}

/// The life of the thread: until the queue's sender is dropped.
fn carry_out_all(
    handle: &Handle,
    settings: &Settings,
    mut calls: mpsc::Receiver<Box<dyn Call>>,
    changes: &watch::Sender<u64>,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut has_failed = false;
    while calls.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
        let reopened = if has_failed { handle.reopen() } else { Ok(()) };
        let kept = reopened.and_then(|()| {
            let work = || handle.with(|database| transact(database, settings, &mut batch));
            // Whatever it was, the next call finds the file opened anew.
            catch_unwind(AssertUnwindSafe(work))
                .unwrap_or_else(|_| Err(StoreError::Unknown("the store panicked".to_owned())))
        });
        // At once, since after a failed write the file cannot even be read; else with the next call.
        has_failed = kept.is_err() && handle.reopen().is_err();
        if let Ok(last_revision) = kept {
            changes
                .send_if_modified(|known| std::mem::replace(known, last_revision) != last_revision);
        }
        for call in batch.drain(..) {
            call.answer(kept.clone().map(|_| ()));
        }
    }
}

/// Returns the last revision once everything is durable.
fn transact(
    database: &Database,
    settings: &Settings,
    batch: &mut [Box<dyn Call>],
) -> Result<u64, StoreError> {
    let mut transaction = database.begin_write()?;
    // Two waits for the disk per commit, but tenants' data cannot be mistaken for pages of the file
    // after a crash, and opening it then takes no walk over all of it to find its free pages.
    transaction.set_quick_repair(true);
    let mut tables = Tables::open(&transaction, settings.wall.unix_ms())?;
    for call in batch {
        call.carry_out(&mut tables)?;
    }
    let last_revision = tables.last_revision;
    if !tables.is_changed {
        return Ok(last_revision);
    }
    tables.trim_feed(settings.feed_kept)?;
    tables.sweep_expiring()?;
    tables.sweep_series()?;
    tables.keep_counters()?;
    drop(tables);
    transaction.commit()?;
    Ok(last_revision)
}
