//! What is counted on the way of requests, for whoever scrapes it.
//!
//! To count is to add to a number that is this thread's own, as far as there are enough of them: no
//! lock, no allocation, no text. Sums and labels are made when somebody asks.

use crate::clock::Micros;
use crate::grant::Grant;
use crate::refusal::{LABELS, Refusal};

mod histogram;
mod stopwatch;
mod tally;

pub use histogram::{Latencies, Lifetimes, Spans, seconds};
pub use stopwatch::{Phase, Stopwatch};
pub use tally::Tally;

/// What a refusal counts as whose label is none of [`LABELS`].
const OTHER: &str = "other";
/// What requests come by: the rows, flowgate's own pages, and nothing of these.
const ROWS: [&str; 12] = [
    "none",
    "own",
    "profile",
    "login",
    "oauth",
    "public",
    "api",
    "tenant_public",
    "tenant_api",
    "editor",
    "published",
    "published_open",
];
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const CREDENTIALS: [&str; 8] =
    ["unknown", "anonymous", "password", "key", "session", "open", "consumer", "token"];
const OUTCOMES: usize = 3;

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Both sides have switched protocols.
    Switched,
    /// The runtime answered something else.
    Declined,
    /// flowgate refused it.
    Refused,
}

impl Outcome {
    const ALL: [Self; OUTCOMES] = [Self::Switched, Self::Declined, Self::Refused];

    /// For metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Switched => "switched",
            Self::Declined => "declined",
            Self::Refused => "refused",
        }
    }
}

/// The counts of a process.
#[derive(Debug, Default)]
pub struct Metrics {
    handshakes: Tally<{ OUTCOMES * CREDENTIALS.len() }>,
    phases: [Latencies; 4],
    whole: Latencies,
    requests: Tally<{ ROWS.len() * STATUSES.len() }>,
    answers: Latencies,
    refusals: Tally<{ LABELS.len() + 1 }>,
    operators_refusals: Tally<{ LABELS.len() + 1 }>,
}

impl Metrics {
    /// A handshake has ended.
    pub fn handshake(
        &self,
        outcome: Outcome,
        grant: Option<Grant>,
        watch: &Stopwatch,
        now: Micros,
    ) {
        self.handshakes.add(outcome as usize * CREDENTIALS.len() + place_of_grant(grant));
        for (phase, span) in watch.phases(now) {
            self.phases[phase as usize].note(span);
        }
        if outcome == Outcome::Switched {
            self.whole.note(watch.elapsed(now));
        }
    }

    /// The head of an answer to a plain request is known.
    pub fn request(&self, row: &str, status: u16, watch: &Stopwatch, now: Micros) {
        let row = ROWS.iter().position(|known| *known == row).unwrap_or_default();
        let class = usize::from(status / 100).saturating_sub(1).min(STATUSES.len() - 1);
        self.requests.add(row * STATUSES.len() + class);
        self.answers.note(watch.elapsed(now));
    }

    /// A client was refused.
    pub fn refusal(&self, refusal: &Refusal) {
        self.refusals.add(place_of_label(refusal.label()));
    }

    /// An operator was refused.
    pub fn operators_refusal(&self, refusal: &Refusal) {
        self.operators_refusals.add(place_of_label(refusal.label()));
    }

    /// Handshakes that ended, by outcome and by the kind of credential.
    pub fn handshakes(&self) -> impl Iterator<Item = ([&'static str; 2], u64)> {
        let outcomes = Outcome::ALL.into_iter();
        let labels = outcomes
            .flat_map(|outcome| CREDENTIALS.map(|credential| [outcome.label(), credential]));
        labels.zip(self.handshakes.sums())
    }

    /// How long each phase of handshakes took.
    pub fn phases(&self) -> impl Iterator<Item = (Phase, Spans)> {
        Phase::ALL.into_iter().zip(&self.phases).map(|(phase, spans)| (phase, spans.spans()))
    }

    /// How long handshakes took that switched protocols.
    #[must_use]
    pub fn whole(&self) -> Spans {
        self.whole.spans()
    }

    /// Plain requests that were answered, by row and class of status.
    pub fn requests(&self) -> impl Iterator<Item = ([&'static str; 2], u64)> {
        let labels = ROWS.into_iter().flat_map(|row| STATUSES.map(|status| [row, status]));
        labels.zip(self.requests.sums())
    }

    /// How long they took up to the head of the answer.
    #[must_use]
    pub fn answers(&self) -> Spans {
        self.answers.spans()
    }

    /// Refusals of clients, by label.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        LABELS.into_iter().chain([OTHER]).zip(self.refusals.sums())
    }

    /// Refusals of operators, by label.
    pub fn operators_refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        LABELS.into_iter().chain([OTHER]).zip(self.operators_refusals.sums())
    }
}

fn place_of_grant(grant: Option<Grant>) -> usize {
    match grant {
        None => 0,
        Some(Grant::Anonymous) => 1,
        Some(Grant::Password { .. }) => 2,
        Some(Grant::Key { .. }) => 3,
        Some(Grant::Session { .. }) => 4,
        Some(Grant::Open { .. }) => 5,
        Some(Grant::Consumer { .. }) => 6,
        Some(Grant::Token { .. }) => 7,
    }
}

fn place_of_label(label: &str) -> usize {
    LABELS.binary_search(&label).unwrap_or(LABELS.len())
}

#[cfg(test)]
mod tests;
