//! What was done to whom, and when.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flowgate_bench::clock::now;

/// Something that can be disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// A flowgate process.
    Replica(usize),
    /// A process that is told to stop and started again.
    Drain(usize),
    /// The link from clients to a replica.
    Clients(usize),
    /// The link from a replica to Redis.
    RegistryLink(usize),
    /// The Redis process.
    Redis,
    /// A runtime's process.
    Runtime(usize),
    /// The link from replicas to a runtime.
    RuntimeLink(usize),
    /// The disk below a replica's registry file.
    Disk(usize),
    /// The time of day that a replica is told.
    Clock(usize),
    /// The files that a replica may open.
    Files(usize),
}

/// A disturbance.
#[derive(Clone, Debug)]
pub struct Incident {
    /// What was disturbed.
    pub part: Part,
    /// How.
    pub what: &'static str,
    /// Since when.
    pub begun: Instant,
    /// Until when; `None` while it goes on.
    pub ended: Option<Instant>,
}

/// Names an incident.
#[derive(Clone, Copy, Debug)]
pub struct Number(usize);

/// All of them.
#[derive(Default)]
pub struct Incidents(Mutex<Vec<Incident>>);

impl Incidents {
    fn lock(&self) -> MutexGuard<'_, Vec<Incident>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A disturbance is about to begin.
    pub fn begin(&self, part: Part, what: &'static str) -> Number {
        let mut all = self.lock();
        all.push(Incident { part, what, begun: now(), ended: None });
        Number(all.len() - 1)
    }

    /// It is over.
    pub fn end(&self, number: Number) {
        if let Some(incident) = self.lock().get_mut(number.0) {
            incident.ended = Some(now());
        }
    }

    /// Whether any of these was disturbed at a moment between `from` and `to`, or can have felt it
    /// still, `grace` after the end.
    pub fn touched(
        &self,
        is_it: impl Fn(Part) -> bool,
        from: Instant,
        to: Instant,
        grace: Duration,
    ) -> bool {
        self.lock().iter().rev().any(|incident| {
            let is_over = incident.ended.is_some_and(|ended| ended + grace < from);
            is_it(incident.part) && incident.begun <= to && !is_over
        })
    }

    /// Whether a disturbance of this kind has begun between `from` and `to`.
    pub fn has(&self, part: Part, what: &str, from: Instant, to: Instant) -> bool {
        let is_it = |incident: &Incident| {
            let overlaps = incident.begun <= to && incident.ended.is_none_or(|ended| ended >= from);
            incident.part == part && incident.what == what && overlaps
        };
        self.lock().iter().any(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disturbance_counts_from_its_begin_to_a_while_after_its_end() {
        let incidents = Incidents::default();
        let (before, second) = (now(), Duration::from_secs(1));
        let redis = |part| part == Part::Redis;
        let number = incidents.begin(Part::Redis, "killed");
        let begun = incidents.lock()[0].begun;
        assert!(!incidents.touched(redis, before, begun - Duration::from_nanos(1), second));
        assert!(incidents.touched(redis, begun + 100 * second, begun + 100 * second, second));
        assert!(!incidents.touched(|part| part == Part::Files(0), before, begun, second));
        incidents.end(number);
        let ended = incidents.lock()[0].ended.unwrap();
        assert!(incidents.touched(redis, ended + second, ended + second, second));
        assert!(!incidents.touched(redis, ended + 2 * second, ended + 3 * second, second));
    }
}
