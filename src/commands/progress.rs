//! How far a long command is, for whoever waits: a bar on a terminal, else a line now and then.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crate::clock::{Clock, Millis};

const REDRAW_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows progress on standard error.
#[derive(Debug)]
pub(super) struct Progress {
    clock: Clock,
    is_terminal: bool,
    shown: Millis,
    /// A bar is on the terminal's present line.
    is_drawn: bool,
}

impl Progress {
    /// Nothing is shown yet.
    pub(super) fn start() -> Self {
        let clock = Clock::start();
        let is_terminal = std::io::stderr().is_terminal();
        Self { clock, is_terminal, shown: clock.now(), is_drawn: false }
    }

    /// Shows how many are done of how many; of 0, if that is not known.
    pub(super) fn show(&mut self, what: &str, done: u64, of: u64) {
        if let Some(text) = self.text(self.clock.now(), what, done, of) {
            let _ = write!(std::io::stderr(), "{text}");
        }
    }

    fn text(&mut self, now: Millis, what: &str, done: u64, of: u64) -> Option<String> {
        let pause = if self.is_terminal { REDRAW_EVERY } else { LINE_EVERY };
        if now.since(self.shown) < pause {
            return None;
        }
        self.shown = now;
        self.is_drawn = self.is_terminal;
        Some(match (self.is_terminal, of) {
            (true, 0) => format!("\r\x1b[K{what}: {done} documents"),
            (true, of) => format!("\r\x1b[K{what}: {}", bar(done, of, "documents")),
            (false, 0) => format!("flowgate: {what}: {done} documents\n"),
            (false, of) => format!("flowgate: {what}: {done} of {of} documents\n"),
        })
    }

    /// Takes the bar away, so that a line can follow.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// As in `[####    ] 4 of 8 tenants`.
pub(super) fn bar(done: u64, of: u64, unit: &str) -> String {
    const WIDTH: usize = 40;
    let full = done.min(of) * WIDTH as u64 / of.max(1);
    let full = usize::try_from(full).unwrap_or(WIDTH);
    format!("[{}{}] {done} of {of} {unit}", "#".repeat(full), " ".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(is_terminal: bool) -> Progress {
        Progress { clock: Clock::start(), is_terminal, shown: Millis(0), is_drawn: false }
    }

    #[test]
    fn a_line_comes_every_five_seconds() {
        let mut progress = progress(false);
        let mut at = |ms, of| progress.text(Millis(ms), "copying", 7, of);
        assert_eq!(at(4_999, 9), None);
        assert_eq!(at(5_000, 9).unwrap(), "flowgate: copying: 7 of 9 documents\n");
        assert_eq!(at(9_999, 9), None);
        assert_eq!(at(10_000, 0).unwrap(), "flowgate: copying: 7 documents\n");
    }

    #[test]
    fn a_terminal_has_a_bar() {
        let mut progress = progress(true);
        assert_eq!(progress.text(Millis(99), "copying", 1, 2), None);
        let half = format!("{}{}", "#".repeat(20), " ".repeat(20));
        assert_eq!(
            progress.text(Millis(100), "copying", 1, 2).unwrap(),
            format!("\r\x1b[Kcopying: [{half}] 1 of 2 documents")
        );
        assert!(progress.text(Millis(200), "copying", 3, 2).unwrap().contains(&"#".repeat(40)));
        assert!(progress.is_drawn);
    }
}
