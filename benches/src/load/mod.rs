//! The generator: one thread, one readiness loop, prepared bytes. Every byte that comes back is
//! compared with what was sent, so that a proxy that loses or mixes up anything fails.

use std::cell::Cell;
use std::time::Duration;

use crate::clock::now;
use crate::fault::Result;
use crate::histogram::Histogram;

pub mod churn;
mod client;
pub mod fleet;
pub mod http;
mod pace;
mod socket;

pub use socket::Entrance;

/// How long anything may take that is not measured: opening, draining.
pub const PATIENCE: Duration = Duration::from_secs(60);

thread_local! {
    static IS_POLITE: Cell<bool> = const { Cell::new(false) };
}

/// From now on this thread lets others have the core after everything that it does to load a proxy. To be
/// of less importance is not enough: the system's scheduler lets it finish its slice, up to a tick of its
/// clock, when it has its turn after all.
pub fn be_polite() {
    IS_POLITE.set(true);
}

fn after_you() {
    if IS_POLITE.get() {
        rustix::thread::sched_yield();
    }
}

/// What a stretch of load has done.
#[derive(Clone, Default)]
pub struct Tally {
    /// Messages that came back, handshakes or requests that were answered.
    pub operations: u64,
    /// Bytes of bodies that passed, for what is too large to be counted by operations.
    pub bytes: u64,
    /// How long each took.
    pub latency: Histogram,
    /// How long the stretch was.
    pub time: Duration,
}

impl Tally {
    /// Takes over another stretch.
    pub fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.bytes += other.bytes;
        self.latency.add(&other.latency);
        self.time += other.time;
    }
}

/// Something that loads a proxy for as long as it is told to.
pub trait Load {
    /// What was done so far.
    fn tally(&mut self) -> &mut Tally;

    /// Waits for something to happen, up to `patience`, and deals with it.
    fn step(&mut self, patience: Duration) -> Result<()>;

    /// Whether what was done until `elapsed` is enough for a stretch of `time`.
    fn is_over(&self, elapsed: Duration, time: Duration) -> bool {
        elapsed >= time
    }

    /// Goes on for `time` and tells what was done in it.
    fn drive(&mut self, time: Duration) -> Result<Tally> {
        *self.tally() = Tally::default();
        let begin = now();
        loop {
            let elapsed = begin.elapsed();
            if self.is_over(elapsed, time) {
                self.tally().time = elapsed;
                return Ok(std::mem::take(self.tally()));
            }
            let left = time.saturating_sub(elapsed);
            self.step(left.clamp(Duration::from_millis(1), PATIENCE))?;
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
