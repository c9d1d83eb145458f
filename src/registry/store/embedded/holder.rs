//! The note beside a registry file that says who holds it. The lock is on the file itself: a note
//! without it, as a killed process leaves one, means nothing.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::clock::Wall;

/// What a note may take up.
const NOTE_BYTES_MAX: usize = 512;

/// This process's note; goes with it.
#[derive(Debug)]
pub(super) struct Note {
    path: PathBuf,
}

impl Note {
    /// Writes the note. The lock must have been taken.
    pub(super) fn write(file: &Path) -> io::Result<Self> {
        let path = path(file);
        let program = std::env::current_exe().ok();
        let name = program.as_deref().and_then(Path::file_name).unwrap_or_default();
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(Wall::system().unix_ms());
        let text = format!(
            "pid {} ({}, since {})\n",
            std::process::id(),
            name.display(),
            humantime::format_rfc3339_seconds(since)
        );
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(super::create::MODE);
        options.open(&path)?.write_all(text.as_bytes())?;
        Ok(Self { path })
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Who holds the file, in words.
pub(super) fn read(file: &Path) -> String {
    let text = std::fs::read_to_string(path(file)).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let is_note = line.starts_with("pid ") && line.len() <= NOTE_BYTES_MAX;
    let is_plain = !line.contains(char::is_control);
    if is_note && is_plain { line.to_owned() } else { "another process".to_owned() }
}

fn path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".holder");
    path.into()
}
