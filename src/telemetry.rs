//! Logs: text on a terminal, JSON lines elsewhere.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

mod json;
mod lines;

use json::JsonLines;
pub use lines::Flush;
use lines::Lines;

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

/// Starts logging to standard error. What waits is written when the guard is dropped.
///
/// # Errors
/// The system gives no thread.
pub fn start(settings: &LogSettings) -> std::io::Result<Flush> {
    let (writer, guard) = Lines::start(std::io::stderr())?;
    let is_terminal = std::io::stderr().is_terminal();
    let is_json = match settings.format {
        Format::Json => true,
        Format::Auto => !is_terminal,
        Format::Text => false,
    };
    let lines = match is_json {
        true => JsonLines(writer).boxed(),
        false => {
            let text = tracing_subscriber::fmt::layer().with_writer(writer);
            text.with_ansi(is_terminal).with_target(false).boxed()
        }
    };
    // A second start, as in a test, keeps the first.
    let _ = tracing_subscriber::registry().with(settings.filter.0.clone()).with(lines).try_init();
    Ok(guard)
}
