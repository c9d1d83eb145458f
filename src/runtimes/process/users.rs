//! A system user for each tenant, by number: nobody's files and processes but their own.

use std::fs::OpenOptions;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, lchown};
use std::path::Path;

use super::folder::make;

/// Where it is noted which numbers are given away. A folder of no tenant's: no username begins so.
const GIVEN: &str = ".users";

/// The number that owns a working folder; it is given one if it has none, with all that is in it.
///
/// # Errors
/// None is left, or the system refuses it.
pub(super) fn user_of(all: &Path, home: &Path, range: &RangeInclusive<u32>) -> io::Result<u32> {
    let owner = std::fs::symlink_metadata(home)?.uid();
    if range.contains(&owner) {
        return Ok(owner);
    }
    let user = give(&all.join(GIVEN), range)?;
    hand_over(home, user)?;
    Ok(user)
}

/// Takes one that nobody has had; other replicas on this machine take others.
fn give(given: &Path, range: &RangeInclusive<u32>) -> io::Result<u32> {
    make(given, 0o700)?;
    for user in range.clone() {
        let mut options = OpenOptions::new();
        let taken =
            options.write(true).create_new(true).mode(0o600).open(given.join(user.to_string()));
        match taken {
            Ok(_) => return Ok(user),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("no number of process_users is left"))
}

/// The folder itself comes last: as long as it is not handed over, this is begun anew.
fn hand_over(path: &Path, user: u32) -> io::Result<()> {
    if std::fs::symlink_metadata(path)?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            hand_over(&entry?.path(), user)?;
        }
    }
    // Never through a link: it may point anywhere.
    lchown(path, Some(user), Some(user))
}
