//! Opening a registry file: locked, recognised, and never overwritten.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::Duration;

use redb::backends::InMemoryBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageError, TableError};

use super::create;
use super::handle::Handle;
use super::holder::{self, Note};
use super::tables::{FORMAT, META, META_FORMAT, META_ID, META_REVISION, Tables, counter};
use crate::registry::store::error::StoreError;

/// Memory for pages of the file.
const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// How long a file that another process is just making is waited for, and how often it is looked at.
const MAKING_LOOKS: u32 = 100;
const MAKING_PAUSE: Duration = Duration::from_millis(50);

/// A registry that was found or made.
pub(super) struct Opened {
    pub(super) handle: Handle,
    pub(super) known: Known,
    pub(super) note: Option<Note>,
}

pub(super) fn memory() -> Result<Opened, StoreError> {
    let database = builder().create_with_backend(InMemoryBackend::new());
    let database = database.map_err(|error| fault(Path::new("memory:"), error))?;
    found(&database)?;
    let known = recognise(Path::new("memory:"), &database)?;
    Ok(Opened { handle: Handle::new(None, known.id, database), known, note: None })
}

pub(super) fn file(path: &Path) -> Result<Opened, StoreError> {
    for _ in 0..MAKING_LOOKS {
        let database = match builder().open(path) {
            Err(DatabaseError::Storage(StorageError::Io(error)))
                if error.kind() == io::ErrorKind::NotFound =>
            {
                create::create(path)?
            }
            result => Some(result.map_err(|error| fault(path, error))?),
        };
        if let Some(mut database) = database {
            let note = Note::write(path).map_err(|error| {
                StoreError::Unavailable(format!("cannot write beside {}: {error}", path.display()))
            })?;
            let known = recognise(path, &database)?;
            check(path, &mut database)?;
            let handle = Handle::new(Some(path), known.id, database);
            return Ok(Opened { handle, known, note: Some(note) });
        }
        std::thread::sleep(MAKING_PAUSE);
    }
    Err(StoreError::Held(format!(
        "registry file {} is being made by another process: try again",
        path.display()
    )))
}

pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Makes an empty database a registry with an id of its own.
pub(super) fn found(database: &Database) -> Result<(), StoreError> {
    let random = || {
        getrandom::u64().map(u128::from).map_err(|error| StoreError::Unavailable(error.to_string()))
    };
    let id = random()? << 64 | random()?;
    let transaction = database.begin_write()?;
    Tables::open(&transaction, 0)?.found(id)?;
    transaction.commit()?;
    Ok(())
}

/// What a registry says of itself.
pub(super) struct Known {
    pub(super) id: u128,
    pub(super) last_revision: u64,
}

pub(super) fn recognise(path: &Path, database: &Database) -> Result<Known, StoreError> {
    let foreign = |what: &dyn Display| {
        StoreError::Foreign(format!("{} is no flowgate registry: {what}", path.display()))
    };
    let view = database.begin_read()?;
    let meta = match view.open_table(META) {
        Err(TableError::Storage(error)) => return Err(error.into()),
        result => result.map_err(|error| foreign(&error))?,
    };
    let number = |name| Ok::<_, StoreError>(meta.get(name)?.map(|number| number.value()));
    let format = number(META_FORMAT)?.ok_or_else(|| foreign(&"it has no format version"))?;
    if format != FORMAT {
        return Err(StoreError::Foreign(format!(
            "registry file {} has format version {format}; this flowgate reads version {FORMAT}",
            path.display()
        )));
    }
    let id = number(META_ID)?.ok_or_else(|| foreign(&"it has no id"))?;
    Ok(Known { id, last_revision: counter(&meta, META_REVISION)? })
}

/// Reads the whole file, since redb itself would come upon damage only when it gets there.
fn check(path: &Path, database: &mut Database) -> Result<(), StoreError> {
    let is_whole = database.check_integrity().map_err(|error| fault(path, error))?;
    if !is_whole {
        tracing::warn!(file = %path.display(), "registry file mended after a crash");
    }
    Ok(())
}

pub(super) fn fault(path: &Path, error: DatabaseError) -> StoreError {
    let path_text = path.display();
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Held(format!(
            "registry file {path_text} is held by {}: stop it, or use its API",
            holder::read(path)
        )),
        DatabaseError::Storage(StorageError::Corrupted(what)) => {
            StoreError::Corrupt(format!("{path_text}: {what}"))
        }
        DatabaseError::Storage(StorageError::Io(error))
            if error.kind() == io::ErrorKind::InvalidData =>
        {
            StoreError::Foreign(format!("{path_text} is no flowgate registry: {error}"))
        }
        DatabaseError::UpgradeRequired(version) => StoreError::Foreign(format!(
            "{path_text} is in version {version} of redb's file format, which this flowgate does not read"
        )),
        error => StoreError::Unavailable(format!("{path_text}: {error}")),
    }
}
