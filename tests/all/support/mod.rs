//! What the tests start and how they wait.

use std::time::{Duration, Instant};

pub mod admin;
pub mod contract;
pub mod exposition;
pub mod flowgate;
pub mod front;
pub mod http2;
pub mod link;
pub mod node;
pub mod oauth;
pub mod own;
pub mod profiles;
pub mod prometheus;
pub mod redis;
pub mod registries;
pub mod replicas;
pub mod runtime;
pub mod session;
#[cfg(feature = "kubernetes")]
pub mod space;
pub mod tls;
pub mod traffic;
pub mod websocket;

/// After this long a test that waits has failed. Long, since machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until `condition` holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()))
}

/// Waits until `find` finds something.
pub fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let begin = now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The present moment.
#[allow(clippy::disallowed_methods, reason = "a test's own deadline")]
pub fn now() -> Instant {
    Instant::now()
}
