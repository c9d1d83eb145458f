//! Making a registry file: under another name until it is complete, so that a process that is killed
//! while it makes one leaves nothing that has to be refused later.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::Database;

use super::open::{builder, fault, found};
use crate::registry::store::error::StoreError;

/// The registry has hashes and private data: for its owner's eyes only.
pub(super) const MODE: u32 = 0o600;

/// Makes a registry file. `None` if another process is making it or has just made it.
pub(super) fn create(path: &Path) -> Result<Option<Database>, StoreError> {
    let away = |error: io::Error| {
        StoreError::Unavailable(format!("cannot make {}: {error}", path.display()))
    };
    let draft = draft(path);
    let Some(file) = lock(path, &draft).map_err(away)? else { return Ok(None) };
    // What is there was left by a process that did not come to its end.
    file.set_len(0).map_err(away)?;
    let database = builder().create_file(file).map_err(|error| fault(path, error))?;
    found(&database)?;
    fs::rename(&draft, path).map_err(away)?;
    sync_folder(path).map_err(away)?;
    Ok(Some(database))
}

/// The draft, locked; the lock stays with the file when it gets its name.
fn lock(path: &Path, draft: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(MODE);
    let file = options.open(draft)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Between opening and locking, another process may have finished it and given it its name.
    let is_still_draft = match fs::metadata(draft) {
        Ok(named) => named.ino() == file.metadata()?.ino(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    Ok((is_still_draft && !path.try_exists()?).then_some(file))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn draft(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    draft.into()
}
