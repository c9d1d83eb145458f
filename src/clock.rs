//! Time as the stages see it: milliseconds since the process started, passed in as a value.
//!
//! Nothing below `journey` reads a clock of its own, so every deadline can be tested by passing a
//! later [`Millis`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

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

/// A moment as [`Millis`] has it, in microseconds: for measuring, not for deadlines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub u64);

impl Micros {
    /// The same moment, less finely.
    #[must_use]
    pub fn millis(self) -> Millis {
        Millis(self.0 / 1000)
    }

    /// How long it is from `earlier` to this moment, in microseconds; 0 if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<Millis> for Micros {
    fn from(millis: Millis) -> Self {
        Self(millis.0.saturating_mul(1000))
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

    /// The present moment, finer.
    #[must_use]
    pub fn micros(self) -> Micros {
        Micros(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

/// A moment of the day, in milliseconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Later than every moment.
    pub const NEVER: Self = Self(u64::MAX);

    /// This moment plus `span`; saturates at the far end of time.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(Millis(self.0).plus(span).0)
    }

    /// How long it is from `earlier` to this moment; nothing if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Millis(self.0).since(Millis(earlier.0))
    }

    /// The moment that lies `span` before this one.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The end of the year 9999, behind which RFC 3339 has no moment.
pub const MOMENT_MAX: UnixMillis = UnixMillis(253_402_300_799_999);

/// As RFC 3339 has it, to the second; [`MOMENT_MAX`] for what is later.
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = UNIX_EPOCH + Duration::from_secs(self.0.min(MOMENT_MAX.0) / 1000);
        humantime::format_rfc3339_seconds(moment).fmt(f)
    }
}

/// The time of day, for what must outlive the process. Copies of a set one move together.
#[derive(Clone, Debug)]
pub struct Wall(Option<Arc<AtomicU64>>);

impl Wall {
    /// The system's.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// One that stands still until it is moved.
    #[must_use]
    pub fn stopped_at(unix_ms: u64) -> Self {
        Self(Some(Arc::new(AtomicU64::new(unix_ms))))
    }

    /// Moves a stopped one on. The system's stays as it is.
    pub fn advance(&self, span: Duration) {
        if let Some(set) = &self.0 {
            let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            set.fetch_add(span_ms, Ordering::SeqCst);
        }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        match &self.0 {
            Some(set) => set.load(Ordering::SeqCst),
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// The present moment of the day.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        UnixMillis(self.unix_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_prints() {
        assert_eq!(UnixMillis(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(UnixMillis(1_790_000_000_999).to_string(), "2026-09-21T14:13:20Z");
        for late in [MOMENT_MAX, MOMENT_MAX.plus(Duration::from_millis(1)), UnixMillis(u64::MAX)] {
            assert_eq!(late.to_string(), "9999-12-31T23:59:59Z");
        }
    }
}
