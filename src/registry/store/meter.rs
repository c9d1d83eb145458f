//! How long a store takes to answer, and how often it does not.

use super::StoreError;
use crate::clock::{Clock, Micros};
use crate::metrics::{Latencies, Spans, Tally};

/// What is asked of a store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Group {
    Read,
    Write,
    Expiring,
    Series,
    Lease,
    Feed,
}

const LABELS: [&str; 6] = ["read", "write", "expiring", "series", "lease", "feed"];

/// The calls of one process.
#[derive(Debug)]
pub(super) struct Meter {
    clock: Clock,
    durations: [Latencies; LABELS.len()],
    failures: Tally<{ LABELS.len() }>,
}

impl Default for Meter {
    fn default() -> Self {
        let (durations, failures) = (Default::default(), Tally::default());
        Self { clock: Clock::start(), durations, failures }
    }
}

/// One kind of calls.
#[derive(Clone, Debug)]
pub struct Use {
    /// For metrics.
    pub label: &'static str,
    /// How long they took, those that failed as well.
    pub durations: Spans,
    /// How many the store did not carry out, or perhaps did not.
    pub failures: u64,
}

impl Meter {
    pub(super) fn begin(&self) -> Micros {
        self.clock.micros()
    }

    pub(super) fn end<T>(&self, group: Group, began: Micros, outcome: &Result<T, StoreError>) {
        self.durations[group as usize].note(self.clock.micros().since(began));
        // To say no is an answer, too.
        let has_failed = match outcome {
            Ok(_)
            | Err(
                StoreError::Conflict { .. }
                | StoreError::IndexTaken { .. }
                | StoreError::Invalid(_),
            ) => false,
            Err(_) => true,
        };
        if has_failed {
            self.failures.add(group as usize);
        }
    }

    pub(super) fn uses(&self) -> impl Iterator<Item = Use> {
        let durations = self.durations.iter().map(Latencies::spans);
        let both = durations.zip(self.failures.sums());
        let uses = LABELS.into_iter().zip(both);
        uses.map(|(label, (durations, failures))| Use { label, durations, failures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_store_that_does_not_answer_has_failed() {
        let meter = Meter::default();
        let away = StoreError::Unavailable("gone".to_owned());
        let taken = StoreError::Conflict { place: 0 };
        for outcome in [Ok(()), Err(taken), Err(StoreError::Invalid("x".to_owned())), Err(away)] {
            meter.end(Group::Write, meter.begin(), &outcome);
        }
        let uses: Vec<_> = meter.uses().collect();
        let labels: Vec<_> = uses.iter().map(|it| it.label).collect();
        assert_eq!(labels, LABELS);
        let write = &uses[Group::Write as usize];
        assert_eq!((write.label, write.durations.count(), write.failures), ("write", 4, 1));
        assert_eq!(uses[Group::Feed as usize].durations.count(), 0);
    }
}
