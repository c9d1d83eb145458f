//! The store in a file of this machine: redb, one writing thread, readers beside it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableDatabase};
use tokio::sync::{Semaphore, watch};

use super::error::StoreError;
use super::limits::{FEED_KEPT, SERIES_KEPT_DAYS};
use super::types::{Bucket, Document, FeedPage, Kind, SeriesBatch, SeriesUpdate, Write};
use crate::clock::{Clock, Wall};
use handle::Handle;
use open::Known;
use pace::Pace;
pub use pace::never_wait_here;
use tables::{Space, Tables};
use writer::Writer;

mod check;
mod create;
mod documents;
mod expiring;
mod handle;
mod holder;
mod open;
mod pace;
mod series;
mod tables;
mod writer;

/// Reads at once; the threads that block are not theirs alone.
const READS_MAX: usize = 8;

/// What a store is opened with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The time of day.
    pub wall: Wall,
    /// Notices that the feed keeps.
    pub feed_kept: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { wall: Wall::system(), feed_kept: FEED_KEPT }
    }
}

/// Where a URL's registry is; `None` is memory.
fn path(url: &str) -> Result<Option<PathBuf>, String> {
    match url.split_once(':') {
        Some(("memory", "")) => Ok(None),
        Some(("file", path)) if !path.is_empty() => Ok(Some(PathBuf::from(path))),
        _ => Err(format!(
            "{:?} names no registry: write file:PATH, memory:, or the URL of a Redis",
            super::redacted(url)
        )),
    }
}

/// Whether a URL names an embedded registry.
pub(super) fn check_url(url: &str) -> Result<(), String> {
    path(url).map(|_| ())
}

/// An open registry file. Copies share it.
#[derive(Clone, Debug)]
pub struct Embedded {
    shared: Arc<Shared>,
}

/// Goes in this order: the writer ends, the holder's note goes, the file is closed.
#[derive(Debug)]
struct Shared {
    id: u128,
    writer: Writer,
    changes: watch::Receiver<u64>,
    wall: Wall,
    reads: Arc<Semaphore>,
    clock: Clock,
    pace: Pace,
    _note: Option<holder::Note>,
    handle: Arc<Handle>,
}

impl Embedded {
    /// Opens `file:PATH` or `memory:`.
    ///
    /// # Errors
    /// See [`super::Store::open`].
    pub async fn open(url: &str, settings: Settings) -> Result<Self, StoreError> {
        let path = path(url).map_err(StoreError::Invalid)?;
        let opened = move || {
            let registry = match path {
                Some(path) => open::file(&path)?,
                None => open::memory()?,
            };
            Self::start(registry, settings)
        };
        // redb panics over some damage: that, too, ends up here.
        tokio::task::spawn_blocking(opened).await.unwrap_or_else(|failure| {
            Err(StoreError::Corrupt(format!("opening it failed: {failure}")))
        })
    }

    fn start(opened: open::Opened, settings: Settings) -> Result<Self, StoreError> {
        let open::Opened { handle, known: Known { id, last_revision }, note } = opened;
        let handle = Arc::new(handle);
        let (sender, changes) = watch::channel(last_revision);
        let writer = Writer::start(Arc::clone(&handle), settings.clone(), sender)?;
        let reads = Arc::new(Semaphore::new(READS_MAX));
        let shared = Shared {
            id,
            writer,
            changes,
            wall: settings.wall,
            reads,
            clock: Clock::start(),
            pace: Pace::default(),
            _note: note,
            handle,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Looks at one document, which lies in a few pages. On the spot, as most are in memory: to hand it
    /// to another thread and back costs more than the look. While the disk is slow, and for threads that
    /// relay, on one that may block.
    async fn look<T: Send + 'static>(
        &self,
        work: impl Fn(&ReadTransaction) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // Who looks a thousand times in a row lets others have the thread now and then.
        tokio::task::coop::consume_budget().await;
        let Shared { handle, clock, pace, .. } = &*self.shared;
        if let Some(on_the_spot) = pace.begin(clock.micros()) {
            let look = || handle.try_with(|database| work(&database.begin_read()?));
            let looked = catch_unwind(AssertUnwindSafe(look));
            on_the_spot.end(clock.micros());
            match looked {
                Ok(Some(outcome)) => return outcome,
                Ok(None) => {}
                // redb panics over some damage.
                Err(_) => return Err(StoreError::Unavailable("reading it failed".to_owned())),
            }
        }
        // For who only takes what is there at once, nothing is begun.
        tokio::task::yield_now().await;
        self.read(work).await
    }

    /// Does `work` on a consistent view, off the async threads.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let away = |failure: &dyn std::fmt::Display| StoreError::Unavailable(failure.to_string());
        let permit = Arc::clone(&self.shared.reads).acquire_owned().await;
        let permit = permit.map_err(|closed| away(&closed))?;
        let shared = Arc::clone(&self.shared);
        let read = move || {
            let _permit = permit;
            shared.handle.with(|database| work(&database.begin_read()?))
        };
        tokio::task::spawn_blocking(read).await.map_err(|failure| away(&failure))?
    }

    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.shared.writer.change(work).await
    }

    pub(super) fn id(&self) -> u128 {
        self.shared.id
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.clone()
    }

    pub(super) async fn last_revision(&self) -> Result<u64, StoreError> {
        self.read(documents::last_revision).await
    }

    pub(super) async fn get(&self, kind: Kind, id: &str) -> Result<Option<Document>, StoreError> {
        let id = id.to_owned();
        self.look(move |view| documents::get(view, kind, &id)).await
    }

    pub(super) async fn find(
        &self,
        kind: Kind,
        index: &str,
    ) -> Result<Option<Document>, StoreError> {
        let index = index.to_owned();
        self.look(move |view| documents::find(view, kind, &index)).await
    }

    pub(super) async fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let after = after.map(str::to_owned);
        self.read(move |view| documents::list(view, kind, after.as_deref(), limit)).await
    }

    pub(super) async fn write(&self, writes: Vec<Write>) -> Result<Vec<u64>, StoreError> {
        self.change(move |tables| tables.write(&writes)).await
    }

    pub(super) async fn feed(&self, after: u64, limit: usize) -> Result<FeedPage, StoreError> {
        self.read(move |view| documents::feed(view, after, limit)).await
    }

    pub(super) async fn put_expiring(
        &self,
        key: &str,
        value: &[u8],
        ttl_ms: u64,
    ) -> Result<(), StoreError> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.change(move |tables| tables.put_value(&key, &value, ttl_ms)).await
    }

    pub(super) async fn get_expiring(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = key.to_owned();
        let now_ms = self.shared.wall.unix_ms();
        self.read(move |view| expiring::value(view, Space::Value, &key, now_ms)).await
    }

    pub(super) async fn take_expiring(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = key.to_owned();
        self.change(move |tables| tables.take_value(&key)).await
    }

    pub(super) async fn count(&self, key: &str, window_ms: u64) -> Result<u64, StoreError> {
        let key = key.to_owned();
        self.change(move |tables| tables.count(&key, window_ms)).await
    }

    pub(super) async fn acquire(
        &self,
        name: &str,
        holder: &str,
        ttl_ms: u64,
    ) -> Result<Option<u64>, StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.change(move |tables| tables.acquire(&name, &holder, ttl_ms)).await
    }

    pub(super) async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.change(move |tables| tables.release(&name, &holder)).await
    }

    pub(super) async fn merge(&self, updates: Vec<SeriesUpdate>) -> Result<(), StoreError> {
        self.change(move |tables| tables.merge(&updates, SERIES_KEPT_DAYS)).await
    }

    pub(super) async fn merge_once(&self, batch: SeriesBatch) -> Result<(), StoreError> {
        self.change(move |tables| tables.merge_once(&batch)).await
    }

    pub(super) async fn series(
        &self,
        name: &str,
        from_minute: u64,
        to_minute: u64,
    ) -> Result<Vec<Bucket>, StoreError> {
        let name = name.to_owned();
        let now_ms = self.shared.wall.unix_ms();
        self.read(move |view| series::read(view, &name, from_minute..=to_minute, now_ms)).await
    }

    pub(super) async fn check(&self, report: &mut dyn FnMut(String)) -> Result<u64, StoreError> {
        let findings = self.read(check::check).await?;
        findings.lines.into_iter().for_each(report);
        Ok(findings.documents)
    }
}

#[cfg(test)]
mod tests;
