//! Logs: text on a terminal, JSON lines elsewhere. Written by a thread of their own, so that a slow
//! reader of the log slows nothing else down.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Lines that may wait for the log's reader; beyond it lines are dropped rather than connections held.
const LINES_WAITING_MAX: usize = 65_536;

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// Levels per module.
    pub filter: Filter,
    /// Text or JSON.
    pub format: Format,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, else JSON.
    Auto,
    /// For people.
    Text,
    /// For programs, an object a line.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be auto, text or json".into()),
        }
    }
}

/// Levels, as in `info` or `warn,flowgate::relay=debug`.
#[derive(Clone, Debug)]
pub struct Filter(Targets);

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "must be like \"info\" or \"warn,flowgate::relay=debug\"";
        text.parse().map(Self).map_err(|_| expected.into())
    }
}

/// Starts logging to standard error. Lines are flushed when the guard is dropped.
pub fn start(settings: &LogSettings) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_WAITING_MAX)
        .lossy(true)
        .finish(std::io::stderr());
    let is_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match settings.format {
        Format::Json => lines.json().flatten_event(true).boxed(),
        Format::Auto if !is_terminal => lines.json().flatten_event(true).boxed(),
        Format::Auto | Format::Text => lines.with_ansi(is_terminal).with_target(false).boxed(),
    };
    // A second start, as in a test, keeps the first.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(settings.filter.0.clone()))
        .try_init();
    guard
}
