//! How a restart of all runtimes is gone about, and how far it has come.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::tenant::Username;

/// Failures that are told one by one.
const FAILURES_TOLD_MAX: usize = 20;

/// How to go about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// Runtimes that are restarted at once, 1 to 16.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 16)]
    pub at_once: u32,
    /// Seconds that each of these places rests after a runtime is back, at most 3600.
    #[serde(default)]
    #[schema(maximum = 3600)]
    pub pause_seconds: u32,
    /// Runtimes that may stay down; with one more it halts.
    #[serde(default)]
    #[schema(maximum = 1_000_000)]
    pub failures_max: u32,
}

fn one() -> u32 {
    1
}

impl Default for Pace {
    fn default() -> Self {
        Self { at_once: one(), pause_seconds: 0, failures_max: 0 }
    }
}

impl Pace {
    /// # Errors
    /// Which number is wrong.
    pub fn check(self) -> Result<Self, &'static str> {
        match self {
            Self { at_once: 0 | 17.., .. } => Err("at_once must be 1 to 16"),
            Self { pause_seconds: 3601.., .. } => Err("pause_seconds must be at most 3600"),
            Self { failures_max: 1_000_001.., .. } => Err("failures_max must be at most 1000000"),
            pace => Ok(pace),
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It goes on.
    Running,
    /// All that ran were restarted, or did not run any more.
    Done,
    /// Too many stayed down, or an operator has halted it.
    Halted,
    /// The replica that did it has ended.
    Interrupted,
}

/// A runtime that did not come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotBack {
    /// Whose.
    pub tenant: String,
    /// Why not.
    pub why: String,
}

/// A restart of all runtimes, as far as it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// How far it is.
    pub stage: Stage,
    /// The operator who began it.
    pub by: String,
    /// How it is gone about.
    pub pace: Pace,
    /// Milliseconds since 1970.
    pub begun_unix_ms: u64,
    /// When this was written.
    pub told_unix_ms: u64,
    /// Runtimes that ran when it began.
    pub total: usize,
    /// Those that are back.
    pub restarted: usize,
    /// Those that slept or failed by themselves when it was their turn: they start anew anyway.
    pub skipped: usize,
    /// Those that did not come back.
    pub failed: usize,
    /// The first of those.
    pub failures: Vec<NotBack>,
}

/// What became of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Back,
    Skipped,
    Down(String),
}

impl Progress {
    /// Notes what became of one.
    pub(super) fn note(&mut self, tenant: &Username, outcome: Outcome) {
        match outcome {
            Outcome::Back => self.restarted += 1,
            Outcome::Skipped => self.skipped += 1,
            Outcome::Down(why) => {
                tracing::warn!(%tenant, why, "a runtime did not come back from its restart");
                self.failed += 1;
                if self.failures.len() < FAILURES_TOLD_MAX {
                    self.failures.push(NotBack { tenant: tenant.to_string(), why });
                }
            }
        }
    }

    /// Whether more stayed down than may.
    pub(super) fn is_too_bad(&self) -> bool {
        self.failed > self.pace.failures_max as usize
    }
}
