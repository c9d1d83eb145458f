//! The terminal while pictures are on it. Whatever ends this, the terminal is given back as it was.

use std::io::{self, Read, Write};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::picture::Size;

/// The other screen, no cursor, and long lines cut instead of wrapped.
const TAKE: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const GIVE_BACK: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const END_OF_LINE: &str = "\x1b[K";
const END_OF_SCREEN: &str = "\x1b[J";
const CTRL_C: u8 = 3;
/// Typed and not looked at yet.
const KEYS_MAX: usize = 64;

/// What the user, or the system, does to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It is to be given back.
    Leave,
    /// It has another size.
    Resized,
}

/// A terminal's own screen, taken for pictures; given back when dropped.
#[derive(Debug)]
pub struct Screen {
    keys: mpsc::Receiver<u8>,
    signals: [Signal; 3],
    resized: Signal,
    before: Termios,
}

/// The size of the terminal on standard output, if there is one.
pub fn size() -> Option<Size> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    let size = Size { columns: size.ws_col.into(), rows: size.ws_row.into() };
    (size.columns > 0 && size.rows > 0).then_some(size)
}

impl Screen {
    /// Takes the terminal on standard input and output.
    ///
    /// # Errors
    /// The system's: it is none.
    pub fn take() -> io::Result<Self> {
        let stop = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = stop.map(signal);
        let before = tcgetattr(io::stdin())?;
        let (typed, keys) = mpsc::channel(KEYS_MAX);
        let screen = Self {
            keys,
            signals: [interrupt?, terminate?, hangup?],
            resized: signal(SignalKind::window_change())?,
            before,
        };
        // From here on, dropping it puts things right.
        let mut modes = screen.before.clone();
        modes.local_modes -=
            LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Flush, &modes)?;
        write(TAKE)?;
        // A read of a terminal cannot be taken back: this thread ends with the process.
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || send_keys(&typed))?;
        Ok(screen)
    }

    /// Shows a picture of at most this size.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn show(&self, lines: &[String], size: Size) -> io::Result<()> {
        let mut text = String::from(HOME);
        for (number, line) in lines.iter().enumerate() {
            // A line feed behind the last one would scroll. What is left of the line before is wiped
            // first: behind a full line, the cursor would stand on its last character.
            text.push_str(if number == 0 { "" } else { "\r\n" });
            text.push_str(END_OF_LINE);
            text.push_str(line);
        }
        if lines.len() < size.rows {
            text.push_str("\r\n");
            text.push_str(END_OF_SCREEN);
        }
        write(&text)
    }

    /// Waits for the user. Cancel safe.
    ///
    /// # Errors
    /// The terminal is gone.
    pub async fn moved(&mut self) -> io::Result<Moved> {
        let [interrupt, terminate, hangup] = &mut self.signals;
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(Moved::Leave),
                _ = terminate.recv() => return Ok(Moved::Leave),
                _ = hangup.recv() => return Ok(Moved::Leave),
                _ = self.resized.recv() => return Ok(Moved::Resized),
                key = self.keys.recv() => match key {
                    Some(b'q' | b'Q' | CTRL_C) | None => return Ok(Moved::Leave),
                    Some(_) => {}
                },
            }
        }
    }
}

/// Sends what is typed, until the terminal or the screen is gone.
fn send_keys(typed: &mpsc::Sender<u8>) {
    let mut key = [0];
    while matches!(io::stdin().read(&mut key), Ok(1)) && typed.blocking_send(key[0]).is_ok() {}
}

impl Drop for Screen {
    fn drop(&mut self) {
        // If the terminal is gone there is nobody to tell.
        let _ = write(GIVE_BACK);
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
