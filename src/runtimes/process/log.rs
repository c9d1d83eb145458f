//! A runtime's log: bounded on disk, and its end in memory.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Bytes of a log file. The one before it is kept, too.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes that are shown.
pub(super) const TAIL_BYTES_MAX: usize = 8 * 1024;
const READ_BYTES: usize = 16 * 1024;
/// So much is taken in of a runtime within each such time.
const PACE_BYTES: usize = 256 * 1024;
const PACE_EVERY: Duration = Duration::from_millis(250);
/// Read at a time before others have their turn.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// A log that is being written.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    ready_line: Vec<u8>,
    said_ready: AtomicBool,
    finished: watch::Sender<bool>,
    end: Mutex<End>,
}

#[derive(Debug)]
struct End {
    file: File,
    length: u64,
    tail: VecDeque<u8>,
    /// The line that is being written, as far as it is looked at.
    line: Vec<u8>,
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

impl Log {
    /// Goes on with a file. It is ready once it contains `ready_line`, or at once if that is empty.
    pub(super) fn open(path: &Path, ready_line: &str) -> io::Result<Self> {
        let file = open(path)?;
        let length = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            said_ready: AtomicBool::new(ready_line.is_empty()),
            ready_line: ready_line.as_bytes().to_vec(),
            finished: watch::Sender::new(false),
            end: Mutex::new(End { file, length, tail: VecDeque::new(), line: Vec::new() }),
        })
    }

    /// Whether the line was there.
    pub(super) fn said_ready(&self) -> bool {
        self.said_ready.load(Ordering::Relaxed)
    }

    /// Waits until nobody can write any more.
    pub(super) async fn finished(&self) {
        // It fails only without a sender, and that is ours.
        let _ = self.finished.subscribe().wait_for(|is_finished| *is_finished).await;
    }

    /// The end of what was written since it was opened.
    pub(super) fn tail(&self) -> Vec<u8> {
        self.end().tail.iter().copied().collect()
    }

    /// Writes down what comes until nobody can write any more.
    pub(super) async fn take_in(self: Arc<Self>, lines: pipe::Receiver) {
        let mut bytes = vec![0; READ_BYTES];
        let mut pace = interval(PACE_EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut left = 0;
        while lines.readable().await.is_ok() {
            if left == 0 {
                // Who writes more waits: it is flowgate's processor and disk.
                pace.tick().await;
                left = PACE_BYTES;
            }
            match lines.try_read(&mut bytes) {
                Ok(0) => break,
                // Into the page cache; a disk that hangs would hang the registry as well.
                Ok(length) => {
                    self.write(&bytes[..length]);
                    left = left.saturating_sub(length);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        self.finished.send_replace(true);
    }

    fn write(&self, bytes: &[u8]) {
        let mut end = self.end();
        if end.length.saturating_add(bytes.len() as u64) > FILE_BYTES_MAX {
            // If that fails the old one is written over: the bound counts more than what is in it.
            let _ = std::fs::rename(&self.path, self.path.with_extension("log.1"));
            if let Ok(file) = open(&self.path) {
                (end.file, end.length) = (file, 0);
            }
        }
        if end.length.saturating_add(bytes.len() as u64) <= FILE_BYTES_MAX
            && end.file.write_all(bytes).is_ok()
        {
            end.length += bytes.len() as u64;
        }
        end.tail.extend(bytes);
        let excess = end.tail.len().saturating_sub(TAIL_BYTES_MAX);
        end.tail.drain(..excess);
        if !self.said_ready() {
            self.look_for_ready(&mut end.line, bytes);
        }
    }

    fn look_for_ready(&self, line: &mut Vec<u8>, bytes: &[u8]) {
        line.extend(bytes);
        let wanted = self.ready_line.as_slice();
        if line.windows(wanted.len()).any(|part| part == wanted) {
            self.said_ready.store(true, Ordering::Relaxed);
            line.clear();
        }
        let excess = line.len().saturating_sub(LINE_BYTES_MAX);
        line.drain(..excess);
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a log file; nothing of one that is not there.
pub(super) fn tail_of(path: &Path) -> Vec<u8> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES_MAX as u64)))?;
        let mut tail = Vec::new();
        file.take(TAIL_BYTES_MAX as u64).read_to_end(&mut tail)?;
        Ok(tail)
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded_and_its_end_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runtime.log");
        let log = Log::open(&path, "").unwrap();
        for number in 0..40_000 {
            log.write(
                format!("line {number:06} of a runtime that says the same for ever\n").as_bytes(),
            );
        }
        let sizes = ["runtime.log", "runtime.log.1"]
            .map(|name| std::fs::metadata(folder.path().join(name)).unwrap().len());
        assert!(sizes.iter().all(|size| *size <= FILE_BYTES_MAX), "{sizes:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        for tail in [log.tail(), tail_of(&path)] {
            assert_eq!(tail.len(), TAIL_BYTES_MAX);
            assert!(tail.ends_with(b"line 039999 of a runtime that says the same for ever\n"));
        }
    }

    #[test]
    fn the_ready_line_may_come_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(&folder.path().join("runtime.log"), "Started flows").unwrap();
        for piece in ["[info] Start", "ing flows\n[info] Star"] {
            log.write(piece.as_bytes());
            assert!(!log.said_ready());
        }
        log.write(b"ted flows\n");
        assert!(log.said_ready());
    }
}
