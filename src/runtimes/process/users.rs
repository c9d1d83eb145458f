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

/// Notes down who owns a working folder: the notes may have been lost as all was put back from a copy,
/// and who comes next must not get a number that somebody has.
pub(super) fn note_owners(all: &Path, range: &RangeInclusive<u32>) -> io::Result<()> {
    let given = all.join(GIVEN);
    for entry in std::fs::read_dir(all).into_iter().flatten() {
        let Ok(home) = std::fs::symlink_metadata(entry?.path().join("home")) else { continue };
        if range.contains(&home.uid()) {
            make(&given, 0o700)?;
            take(&given, home.uid())?;
        }
    }
    Ok(())
}

/// Takes one that nobody has had; other replicas on this machine take others.
fn give(given: &Path, range: &RangeInclusive<u32>) -> io::Result<u32> {
    make(given, 0o700)?;
    for user in range.clone() {
        if take(given, user)? {
            return Ok(user);
        }
    }
    Err(io::Error::other("no number of process_users is left"))
}

/// Returns whether nobody had it.
fn take(given: &Path, user: u32) -> io::Result<bool> {
    let mut options = OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(given.join(user.to_string())) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// All was put back from a copy, but for the notes.
    #[test]
    fn whoever_has_a_number_keeps_it_alone_without_the_notes() {
        let all = tempfile::tempdir().unwrap();
        let given = all.path().join(GIVEN);
        let home = all.path().join("mike-1/home");
        std::fs::create_dir_all(&home).unwrap();
        // The range is about whoever we are ourselves: no other owner takes no right.
        let ours = std::fs::symlink_metadata(&home).unwrap().uid();
        let range = ours..=ours + 1;
        note_owners(all.path(), &range).unwrap();
        assert_eq!(give(&given, &range).unwrap(), ours + 1);
        note_owners(all.path(), &range).unwrap();
        assert!(give(&given, &range).is_err());
        let nobody = ours + 10..=ours + 11;
        note_owners(all.path(), &nobody).unwrap();
        assert_eq!(give(&given, &nobody).unwrap(), ours + 10);
    }
}
