//! The runtimes that this process owns.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::config::Settings;
use crate::live::LiveTable;
use crate::presence::Presence;
use crate::registry::Registry;
use crate::runtimes::Runtimes;
use crate::runtimes::kubernetes::Cluster;
use crate::runtimes::process::groups::{Bounds, Limits};
use crate::runtimes::process::isolation::Isolation;
use crate::runtimes::process::{OpenFault, Processes};
use crate::runtimes::providers::Providers;

use super::super::{EXIT_CONFIG, Failure};

/// Opens them; what an earlier process left behind is ended first.
///
/// # Errors
/// The folder cannot be used.
pub(super) fn open(
    settings: &Settings,
    handle: &Handle,
    (registry, live): (&Arc<Registry>, &Arc<LiveTable>),
    presence: &Presence,
    clock: Clock,
) -> Result<Arc<Runtimes>, Failure> {
    let _entered = handle.enter();
    let checked = settings.processes.check();
    checked.map_err(|message| Failure { exit_code: EXIT_CONFIG, message: message.to_owned() })?;
    let folder = settings.processes.folder.display();
    let processes =
        Processes::open(settings.processes.clone(), clock).map_err(|fault| match fault {
            OpenFault::Settings(message) => Failure { exit_code: EXIT_CONFIG, message },
            OpenFault::Folder(error) => Failure::runtime(format!("runtimes in {folder}: {error}")),
        })?;
    if !settings.processes.command.is_empty() {
        tell(processes.isolation());
        tell_limits(processes.limits(), settings.processes.bounds);
    }
    let shared = (Arc::clone(registry), Arc::clone(live));
    let replica = presence.id().to_string();
    let cluster = handle.block_on(Cluster::open(settings.kubernetes.clone(), &replica));
    let cluster = cluster.map_err(|message| Failure { exit_code: EXIT_CONFIG, message })?;
    let providers = Providers::new(processes, cluster);
    Ok(Arc::new(Runtimes::new(settings.wake, providers, shared, clock, &replica)))
}

/// Says what keeps runtimes apart.
fn tell(isolation: &Isolation) {
    match isolation {
        Isolation::Full => {
            tracing::info!("runtimes are isolated: users, networks, process numbers")
        }
        Isolation::Users { why } => tracing::warn!(
            why,
            "runtimes reach each other's ports, the registry and the admin listener, as trusted_tenants \
             allows: they have users of their own and no networks"
        ),
        Isolation::Nothing => tracing::warn!(
            "runtimes are run without isolation from each other, from the registry and from the admin \
             listener, as trusted_tenants says"
        ),
    }
}

/// Says what bounds them.
fn tell_limits(limits: &Limits, bounds: Bounds) {
    match limits {
        Limits::Groups(groups) if bounds.memory_bytes_max.is_none() => tracing::warn!(
            %groups,
            "runtimes' memory is not bounded: one of them can take all of the machine's, until \
             process_memory_max_bytes is set; their processes are bounded by control groups"
        ),
        Limits::Groups(groups) => tracing::info!(
            %groups,
            cpu_percent_max = bounds.cpu_percent_max,
            "runtimes' memory and processes are bounded by control groups"
        ),
        Limits::Rlimits { why } if bounds == Bounds::default() => {
            tracing::info!(why, "runtimes' processes are bounded one by one, by resource limits");
        }
        Limits::Rlimits { why } => tracing::warn!(
            why,
            "runtimes' processes are bounded one by one, by resource limits: process_memory_max_bytes holds \
             for each, process_cpu_max_percent for none"
        ),
    }
}
