//! What the system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;

use crate::accept::AcceptSettings;

/// Descriptors for everything but clients' connections and their runtimes'.
const DESCRIPTORS_RESERVED: u64 = 128;

/// As many connections as configured, or as this process may have sockets for.
pub(super) fn connections_max(settings: &AcceptSettings) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Raising our own soft limit to the hard one cannot fail; if it does, the soft one counts.
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let descriptors = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let possible = descriptors.unwrap_or(u64::MAX).saturating_sub(DESCRIPTORS_RESERVED) / 2;
    let possible = usize::try_from(possible).unwrap_or(usize::MAX).max(1);
    if possible < settings.connections_max {
        tracing::info!(
            connections_max = possible,
            configured = settings.connections_max,
            "the process may open too few files for the configured connections"
        );
    }
    settings.connections_max.min(possible).min(Semaphore::MAX_PERMITS)
}
