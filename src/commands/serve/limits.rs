//! What the system lets this process have.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;

use crate::config::Settings;
use crate::descriptors::Descriptors;
use crate::held::Held;
use crate::permits::Permits;

/// As many places as configured, or as this process may have sockets for; `held` is what waits for whoever
/// has one.
pub(super) fn permits(settings: &Settings, held: &Arc<Held>) -> Permits {
    let Settings { accept: settings, trusted_proxies, .. } = settings;
    let limit = getrlimit(Resource::Nofile);
    // Raising our own soft limit to the hard one cannot fail; if it does, the soft one counts.
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = setrlimit(Resource::Nofile, raised);
    let descriptors = Descriptors::of_process();
    let possible = descriptors.clients_max();
    if possible < settings.connections_max {
        tracing::info!(
            connections_max = possible,
            configured = settings.connections_max,
            "the process may open too few files for the configured connections"
        );
    }
    let max = settings.connections_max.min(possible).min(Semaphore::MAX_PERMITS);
    let proxies = settings.proxy_protocol_from.and(trusted_proxies);
    Permits::for_clients(max, descriptors)
        .with_limit_per_address(settings.connections_per_address_max, proxies)
        .with_held(Arc::clone(held))
}
