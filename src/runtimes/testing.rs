//! Runtimes for tests.

use std::sync::Arc;
use std::time::Duration;

use super::process::groups::Bounds;
use super::process::launch::OURSELVES;
use super::process::{ProcessSettings, Processes};
use super::providers::Providers;
use super::{Runtimes, WakeSettings};
use crate::clock::Clock;
use crate::live::LiveTable;
use crate::registry::Registry;

/// Settings under which nothing can be started.
pub fn nothing() -> ProcessSettings {
    let second = Duration::from_secs(1);
    ProcessSettings {
        command: Vec::new(),
        trusted_tenants: false,
        users: None,
        uplink: Vec::new(),
        launcher: OURSELVES.into(),
        folder: "/nonexistent".into(),
        ports: 20_000..=29_999,
        port_rest: second,
        ready_line: String::new(),
        environment: Vec::new(),
        bounds: Bounds::default(),
        cgroup: None,
        data_bytes_max: None,
        files_max: 1024,
        threads_max: 512,
        start_timeout: second,
        stop_timeout: second,
    }
}

impl Runtimes {
    /// None that flowgate owns.
    pub fn none(registry: &Arc<Registry>, live: &Arc<LiveTable>, clock: Clock) -> Arc<Self> {
        let providers = Providers::new(Processes::open(nothing(), clock).unwrap(), None);
        let settings = WakeSettings {
            wake_timeout: Duration::from_secs(10),
            waiting_max: 100,
            running_max: 10,
        };
        let shared = (Arc::clone(registry), Arc::clone(live));
        Arc::new(Self::new(settings, providers, shared, clock, "this replica"))
    }
}
