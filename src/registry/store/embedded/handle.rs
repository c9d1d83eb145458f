//! The open file, for as long as the store is.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use redb::Database;

use super::open;
use crate::clock::Clock;
use crate::registry::store::error::StoreError;

/// How often a file that could not be opened anew is tried by those who read.
const TRY_AGAIN_AFTER_MS: u64 = 1000;

/// An open registry file. Once redb failed to write, a full disk being enough, it reads on but
/// writes no more until the file is opened anew.
#[derive(Debug)]
pub(super) struct Handle {
    /// None is memory.
    path: Option<PathBuf>,
    id: u128,
    /// None between closing and opening, and for as long as the latter fails.
    database: RwLock<Option<Database>>,
    clock: Clock,
    tried_ms: AtomicU64,
}

impl Handle {
    pub(super) fn new(path: Option<&Path>, id: u128, database: Database) -> Self {
        let path = path.map(Path::to_owned);
        Self {
            path,
            id,
            database: RwLock::new(Some(database)),
            clock: Clock::start(),
            tried_ms: AtomicU64::new(0),
        }
    }

    /// Does `work` on the open file.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() && self.may_try_again() {
            drop(database);
            // What came of it is seen below.
            let _ = self.reopen();
            database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        }
        let closed = || StoreError::Unavailable("its file could not be opened anew".to_owned());
        work(database.as_ref().ok_or_else(closed)?)
    }

    /// The same, if nobody opens the file anew just now.
    pub(super) fn try_with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        let database = self.database.try_read().ok()?;
        database.as_ref().map(work)
    }

    /// As whoever opens the file anew.
    #[cfg(test)]
    pub(super) fn hold(&self) -> std::sync::RwLockWriteGuard<'_, Option<Database>> {
        self.database.write().unwrap()
    }

    /// Once a second; the others are told that the store is away.
    fn may_try_again(&self) -> bool {
        let now_ms = self.clock.now().0;
        let last_ms = self.tried_ms.load(Ordering::Relaxed);
        now_ms.saturating_sub(last_ms) >= TRY_AGAIN_AFTER_MS
            && self
                .tried_ms
                .compare_exchange(last_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Closes the file and opens it again. Whoever else took it meanwhile keeps it.
    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        let Some(path) = &self.path else { return Ok(()) };
        self.reopen_at(path).map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    fn reopen_at(&self, path: &Path) -> Result<(), StoreError> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        *database = None;
        let opened = open::builder().open(path).map_err(|error| open::fault(path, error))?;
        if open::recognise(path, &opened)?.id != self.id {
            let what = format!("{} is another registry than before", path.display());
            return Err(StoreError::Foreign(what));
        }
        tracing::warn!(file = %path.display(), "registry file opened anew after a failed write");
        *database = Some(opened);
        Ok(())
    }
}
