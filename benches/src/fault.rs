//! What went wrong, as a line for whoever runs the benchmark.

use std::fmt;

/// A line that says what failed and, after a colon, why.
#[derive(Debug)]
pub struct Fault(pub String);

/// What everything here returns.
pub type Result<T> = std::result::Result<T, Fault>;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// Puts what was tried in front of why it failed.
pub trait During<T> {
    /// The same outcome, with `what` in front of the fault.
    fn during(self, what: &str) -> Result<T>;
}

impl<T, E: fmt::Display> During<T> for std::result::Result<T, E> {
    fn during(self, what: &str) -> Result<T> {
        self.map_err(|error| Fault(format!("{what}: {error}")))
    }
}

/// A fault with this text.
pub fn fault<T>(text: impl Into<String>) -> Result<T> {
    Err(Fault(text.into()))
}
