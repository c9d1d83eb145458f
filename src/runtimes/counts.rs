//! What is counted of the runtimes that this process wakes.

use crate::metrics::{Latencies, Spans, Tally};

/// How a start ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// It answers.
    Ready,
    /// It does not.
    Failed,
}

/// How the run of one that was ready ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was put to sleep, or the tenant has none any more, or flowgate stops.
    Stopped,
    /// By itself.
    Crashed,
    /// Another replica owns it.
    Lost,
}

/// Counts that only rise.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    starts: Tally<2>,
    ends: Tally<3>,
    start_durations: Latencies,
    waits: Latencies,
}

/// What was counted, and how it is now.
#[derive(Debug)]
pub struct Counts {
    /// Runtimes of which this process knows something, by state.
    pub states: [(&'static str, u64); 4],
    /// Starts by outcome.
    pub starts: [(&'static str, u64); 2],
    /// How long those took that ended well.
    pub start_durations: Spans,
    /// Runs by how they ended.
    pub ends: [(&'static str, u64); 3],
    /// Requests and handshakes that wait now.
    pub waiting: u64,
    /// How many may.
    pub waiting_max: u64,
    /// How long those waited that went on.
    pub waits: Spans,
}

impl Tallies {
    pub(super) fn started(&self, outcome: Start, took_us: u64) {
        self.starts.add(outcome as usize);
        if outcome == Start::Ready {
            self.start_durations.note(took_us);
        }
    }

    pub(super) fn ended(&self, how: End) {
        self.ends.add(how as usize);
    }

    pub(super) fn waited(&self, took_us: u64) {
        self.waits.note(took_us);
    }

    pub(super) fn counts(
        &self,
        states: [(&'static str, u64); 4],
        (waiting, waiting_max): (u64, u64),
    ) -> Counts {
        let ([ready, failed], [stopped, crashed, lost]) = (self.starts.sums(), self.ends.sums());
        Counts {
            states,
            starts: [("ready", ready), ("failed", failed)],
            start_durations: self.start_durations.spans(),
            ends: [("stopped", stopped), ("crashed", crashed), ("lost", lost)],
            waiting,
            waiting_max,
            waits: self.waits.spans(),
        }
    }
}
