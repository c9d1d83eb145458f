//! The one place that reads the clock.

use std::time::{Duration, Instant};

/// The present moment.
#[allow(clippy::disallowed_methods, reason = "the clock is where time comes from")]
pub fn now() -> Instant {
    Instant::now()
}

/// Asks again and again until there is an answer; `None` when the time is over.
pub fn wait_for<T>(patience: Duration, mut find: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = now();
    loop {
        if let Some(found) = find() {
            return Some(found);
        }
        if begin.elapsed() > patience {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
