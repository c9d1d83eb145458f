//! Time as the stages see it: milliseconds since the process started, passed in as a value.
//!
//! Nothing below `journey` reads a clock of its own, so every deadline can be tested by passing a
//! later [`Millis`].

use std::time::{Duration, Instant};

/// A moment, in milliseconds since the [`Clock`] was started. Monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// This moment plus `span`; saturates at the far end of time.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(span_ms))
    }

    /// How long it is from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// The one source of [`Millis`] in a process. Copies share the same start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts counting now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the clock is where time comes from")]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// The present moment.
    #[must_use]
    pub fn now(self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}
