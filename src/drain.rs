//! The order of shutting down: nobody is cut who could have finished, and nobody waits for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval, sleep_until, timeout_at};

use crate::close::Cause;
use crate::live::{Entry, Kind, LiveTable};

/// How a shutdown is paced.
#[derive(Clone, Copy, Debug)]
pub struct DrainSettings {
    /// Between "not ready" and closing the listeners, for load balancers to notice.
    pub delay: Duration,
    /// From then on everything is over within this time.
    pub timeout: Duration,
}

/// How often some connections are told to leave.
const PACE: Duration = Duration::from_millis(50);
/// The part of the timeout over which connections are told; the rest is for them to leave.
const TELLING_PART: u32 = 2;
/// Connections told per pace at least: a handful need no pacing.
const TOLD_PER_PACE_MIN: usize = 10;

/// Closes all live connections with 1001, spread over half the time in random order so that clients
/// do not come back all at once, then waits for them to leave. Returns how many had to be cut.
///
/// Cancel safe: what was told stays told.
pub async fn drain_connections(live: &Arc<LiveTable>, timeout: Duration) -> u64 {
    let deadline = Instant::now() + timeout;
    let mut entries = connections(live);
    shuffle(&mut entries);
    let paces = (timeout / TELLING_PART).as_millis() / PACE.as_millis();
    let per_pace = entries.len().div_ceil(usize::try_from(paces).unwrap_or(1).max(1));
    let mut pace = interval(PACE);
    for some in entries.chunks(per_pace.max(TOLD_PER_PACE_MIN)) {
        if timeout_at(deadline, pace.tick()).await.is_err() {
            break;
        }
        for entry in some {
            entry.close(Cause::Drain);
        }
    }
    drop(entries);
    while !live.is_empty() && Instant::now() < deadline {
        // Handshakes that were under way may have become connections since.
        for entry in connections(live) {
            entry.close(Cause::Drain);
        }
        tokio::select! {
            _ = pace.tick() => {}
            () = sleep_until(deadline) => {}
        }
    }
    live.len()
}

/// Plain requests are let finish: they end by themselves.
fn connections(live: &LiveTable) -> Vec<Arc<Entry>> {
    let mut entries = live.entries();
    entries.retain(|entry| entry.kind == Kind::Connection);
    entries
}

/// Fisher and Yates; without randomness the order stays as it is.
fn shuffle<T>(items: &mut [T]) {
    for last in (1..items.len()).rev() {
        let random = getrandom::u64().unwrap_or(last as u64);
        items.swap(last, (random % (last as u64 + 1)) as usize);
    }
}
