//! A file that appears under its name when it is complete, and not before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Hashes are no secrets, but they are nobody else's business either.
const MODE: u32 = 0o600;

/// A file under another name beside its own; gone when it is dropped unfinished.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    draft: PathBuf,
    out: BufWriter<File>,
}

impl Draft {
    /// Begins a file.
    ///
    /// # Errors
    /// It exists, or the system refuses it.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        // Told now instead of when all the work is done. A link that leads nowhere is in the way, too.
        if fs::symlink_metadata(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it exists already"));
        }
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{:016x}.new", getrandom::u64()?));
        let draft = PathBuf::from(draft);
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&draft)?;
        Ok(Self { path: path.to_owned(), draft, out: BufWriter::new(file) })
    }

    /// Gives it its name, once the disk has all of it.
    ///
    /// # Errors
    /// A file of that name has appeared meanwhile and stays as it is; or the system's.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        // Renaming would overwrite.
        fs::hard_link(&self.draft, &self.path)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Nothing can be done about a draft that stays; its name tells what it is.
        let _ = fs::remove_file(&self.draft);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_is_not_finished_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut draft = Draft::begin(&path).unwrap();
        draft.write_all(b"half").unwrap();
        draft.flush().unwrap();
        assert!(!path.exists());
        drop(draft);
        assert_eq!(names(folder.path()), [""; 0]);
        let mut draft = Draft::begin(&path).unwrap();
        draft.write_all(b"whole").unwrap();
        draft.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let draft = Draft::begin(&path).unwrap();
        fs::write(&path, "somebody else's").unwrap();
        assert_eq!(draft.finish().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(Draft::begin(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"somebody else's");
        assert_eq!(names(folder.path()), ["out"]);
    }
}
