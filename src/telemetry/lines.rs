//! Log lines on their way out: collected in memory and written many at a time by a thread of their
//! own, so that neither a slow reader of the log nor the system call slows anything else down.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// What may wait for the log's reader; beyond it lines are dropped rather than connections held.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long lines wait for company. Warnings and errors do not.
const COMPANY_WAIT: Duration = Duration::from_millis(20);

/// Takes lines in.
#[derive(Clone, Debug)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    lost: u64,
    is_urgent: bool,
    is_over: bool,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropping it writes what waits.
#[derive(Debug)]
pub struct Flush {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Flush {
    fn drop(&mut self) {
        self.shared.waiting().is_over = true;
        self.shared.news.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Lines {
    /// Starts the thread, which writes to `out`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<(Self, Flush)> {
        let shared = Arc::<Shared>::default();
        let writing = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&writing, out))?;
        let flush = Flush { shared: Arc::clone(&shared), thread: Some(thread) };
        Ok((Self(shared), flush))
    }
}

fn write_all(shared: &Shared, mut out: impl Write) {
    let mut batch = Vec::new();
    loop {
        let mut waiting = shared.waiting();
        while waiting.bytes.is_empty() && !waiting.is_over {
            waiting = shared.news.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if !waiting.is_urgent && !waiting.is_over {
            let is_alone = |waiting: &mut Waiting| !waiting.is_urgent && !waiting.is_over;
            let waited = shared.news.wait_timeout_while(waiting, COMPANY_WAIT, is_alone);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut waiting.bytes, &mut batch);
        waiting.is_urgent = false;
        let (lost, is_over) = (std::mem::take(&mut waiting.lost), waiting.is_over);
        drop(waiting);
        // There is nobody to tell that the log cannot be written.
        let _ = out.write_all(&batch).and_then(|()| out.flush());
        if batch.capacity() > WAITING_BYTES_MAX / 8 {
            batch = Vec::new();
        }
        batch.clear();
        if lost > 0 {
            tracing::warn!(lost, "log lines were lost: whoever reads the log is too slow");
        }
        if is_over && shared.waiting().bytes.is_empty() {
            return;
        }
    }
}

impl Lines {
    /// Takes a line in.
    pub(super) fn put(&self, line: &[u8], level: Level) {
        let is_urgent = level <= Level::WARN;
        let mut waiting = self.0.waiting();
        if waiting.bytes.len() + line.len() > WAITING_BYTES_MAX {
            waiting.lost += 1;
            return;
        }
        let is_first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        waiting.is_urgent |= is_urgent;
        drop(waiting);
        if is_first || is_urgent {
            self.0.news.notify_one();
        }
    }
}

/// One line's way in.
pub(super) struct Line<'a> {
    lines: &'a Lines,
    level: Level,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.put(line, self.level);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, level: Level::INFO }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line<'a> {
        Line { lines: self, level: *event.level() }
    }
}

#[cfg(test)]
mod tests;
