//! Whether what is cached may be believed: how long ago the feed was last read to its end.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Millis};

/// How this process stands with its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The feed is read as it comes.
    Current,
    /// The registry does not answer. What is cached is believed for a while.
    Away,
    /// The registry is older than what this process has seen of it, so that what is cached is newer
    /// than what is stored. An operator decides.
    Held,
}

impl Standing {
    /// A word for operators.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Away => "away",
            Self::Held => "held",
        }
    }
}

/// Kept by the one who reads the feed, asked by everybody who uses the cache.
#[derive(Debug)]
pub struct Freshness {
    clock: Clock,
    stale_max: Duration,
    caught_up_ms: AtomicU64,
    standing: AtomicU8,
}

impl Freshness {
    /// Fresh from now on: nothing has been cached yet.
    #[must_use]
    pub fn new(stale_max: Duration, clock: Clock) -> Self {
        Self {
            clock,
            stale_max,
            caught_up_ms: AtomicU64::new(clock.now().0),
            standing: AtomicU8::new(0),
        }
    }

    /// For how long what is cached is believed while the registry is away.
    #[must_use]
    pub fn stale_max(&self) -> Duration {
        self.stale_max
    }

    /// The present moment, to be taken before the feed is read.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// The feed was read to its end, by a call that began at `asked_at`.
    pub fn caught_up(&self, asked_at: Millis) {
        self.caught_up_ms.fetch_max(asked_at.0, Ordering::SeqCst);
        self.standing.store(0, Ordering::Relaxed);
    }

    /// The registry does not answer.
    pub fn note_away(&self) {
        self.standing.store(1, Ordering::Relaxed);
    }

    /// The registry is older than what was seen of it. What is cached is newer, but somebody who has
    /// seen less may write to it, so that it gets old all the same.
    pub fn note_held(&self) {
        self.standing.store(2, Ordering::Relaxed);
    }

    /// How this process stands with its registry.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.standing.load(Ordering::Relaxed) {
            0 => Standing::Current,
            1 => Standing::Away,
            _ => Standing::Held,
        }
    }

    /// How old what is cached may be.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.clock.now().since(Millis(self.caught_up_ms.load(Ordering::SeqCst)))
    }

    /// Whether what is cached may be used.
    #[must_use]
    pub fn is_believed(&self) -> bool {
        self.age() <= self.stale_max
    }
}
