//! The open file, for as long as the store is.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::Database;

use super::open;
use crate::registry::store::error::StoreError;

/// An open registry file. Once redb failed to write, a full disk being enough, it reads on but
/// writes no more until the file is opened anew.
#[derive(Debug)]
pub(super) struct Handle {
    /// None is memory.
    path: Option<PathBuf>,
    id: u128,
    /// None between closing and opening, and for as long as the latter fails.
    database: RwLock<Option<Database>>,
}

impl Handle {
    pub(super) fn new(path: Option<&Path>, id: u128, database: Database) -> Self {
        let path = path.map(Path::to_owned);
        Self { path, id, database: RwLock::new(Some(database)) }
    }

    /// Does `work` on the open file.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let closed = || StoreError::Unavailable("its file could not be opened anew".to_owned());
        work(database.as_ref().ok_or_else(closed)?)
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
