//! Runtimes for tests.

use std::sync::Arc;
use std::time::Duration;

use super::process::groups::Bounds;
use super::process::launch::OURSELVES;
use super::process::{ProcessSettings, Processes};
use super::providers::Providers;
use super::{Runtimes, WakeSettings};
use crate::clock::{Clock, Wall};
use crate::live::LiveTable;
use crate::registry::Registry;
use crate::registry::testing::registry;

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

const SETTINGS: WakeSettings =
    WakeSettings { wake_timeout: Duration::from_secs(10), waiting_max: 100, running_max: 10 };

impl Runtimes {
    /// None that flowgate owns.
    pub fn none(registry: &Arc<Registry>, live: &Arc<LiveTable>, clock: Clock) -> Arc<Self> {
        let providers = Providers::new(Processes::open(nothing(), clock).unwrap(), None);
        let shared = (Arc::clone(registry), Arc::clone(live));
        Arc::new(Self::new(SETTINGS, providers, shared, clock, "this replica"))
    }
}

/// A registry for several replicas, none of which can start anything.
pub struct Shared {
    /// Its time.
    pub wall: Wall,
    registry: Arc<Registry>,
}

impl Shared {
    /// An empty one.
    pub async fn new() -> Self {
        let registry = registry().await;
        Self { wall: registry.wall().clone(), registry: Arc::new(registry) }
    }

    /// A replica of that name.
    pub fn replica(&self, name: &str) -> Arc<Runtimes> {
        let clock = Clock::start();
        let providers = Providers::new(Processes::open(nothing(), clock).unwrap(), None);
        let shared = (Arc::clone(&self.registry), Arc::new(LiveTable::default()));
        let runtimes = Runtimes::new(SETTINGS, providers, shared, clock, name);
        Arc::new(Runtimes { holder: name.to_owned(), ..runtimes })
    }
}
