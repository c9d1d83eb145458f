//! The settings of runtimes that flowgate owns.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::{BaseDomain, ConfigError, DAY, Reader};
use crate::runtimes::WakeSettings;
use crate::runtimes::kubernetes::{KubernetesSettings, Label};
use crate::runtimes::process::ProcessSettings;
use crate::runtimes::process::groups::Bounds;
use crate::runtimes::process::launch::OURSELVES;

/// A freed port rests for so much longer than anybody may believe an old address.
const PORT_REST_MARGIN: Duration = Duration::from_secs(60);

/// Behind the numbers that systems give to people and services by default.
const FIRST_USER_MIN: u32 = 65_536;

/// # Errors
/// A value that is not allowed.
pub(super) fn processes(reader: &Reader<'_>) -> Result<ProcessSettings, ConfigError> {
    let data_bytes_max = reader.number("process_data_bytes_max", 0, usize::MAX)? as u64;
    let number = |name, max| Ok(Some(reader.number(name, 0, max)? as u64).filter(|it| *it > 0));
    let bounds = Bounds {
        memory_bytes_max: number("process_memory_max_bytes", usize::MAX)?,
        cpu_percent_max: number("process_cpu_max_percent", 100_000)?,
    };
    Ok(ProcessSettings {
        bounds,
        cgroup: reader.all("process_cgroup")?.pop(),
        command: reader.all("process_command")?,
        users: reader.all::<UserRange>("process_users")?.pop().map(|range| range.0),
        uplink: reader.all("process_uplink")?,
        trusted_tenants: reader.one("trusted_tenants")?,
        launcher: OURSELVES.into(),
        folder: reader.one("process_folder")?,
        ports: reader.one::<PortRange>("process_ports")?.0,
        port_rest: reader.span("registry_stale_max")? + PORT_REST_MARGIN,
        ready_line: reader.all("process_ready_line")?.pop().unwrap_or_default(),
        environment: reader.all("process_environment")?,
        data_bytes_max: Some(data_bytes_max).filter(|bytes| *bytes > 0),
        files_max: reader.number("process_files_max", 16, 1 << 20)? as u64,
        threads_max: reader.number("process_threads_max", 16, 1 << 20)? as u64,
        start_timeout: reader.span("process_start_timeout")?,
        stop_timeout: reader.span("process_stop_timeout")?,
    })
}

/// # Errors
/// A value that is not allowed.
pub(super) fn kubernetes(reader: &Reader<'_>) -> Result<KubernetesSettings, ConfigError> {
    Ok(KubernetesSettings {
        template: reader.all("kubernetes_template")?.pop(),
        namespace: reader.all::<Label>("kubernetes_namespace")?.pop(),
        group: reader.one("kubernetes_group")?,
        labels: reader.all("kubernetes_labels")?,
        cluster_domain: reader.one::<BaseDomain>("kubernetes_cluster_domain")?.0,
        kubeconfig: reader.all("kubernetes_kubeconfig")?.pop(),
        ready_line: reader.all("kubernetes_ready_line")?.pop().unwrap_or_default(),
        start_timeout: reader.span("kubernetes_start_timeout")?,
        stop_timeout: reader.span("kubernetes_stop_timeout")?,
        remove_after: DAY
            * u32::try_from(reader.number("kubernetes_remove_after_days", 1, 3650)?).unwrap_or(1),
    })
}

/// # Errors
/// A value that is not allowed.
pub(super) fn wake(reader: &Reader<'_>) -> Result<WakeSettings, ConfigError> {
    Ok(WakeSettings {
        wake_timeout: reader.span("wake_timeout")?,
        waiting_max: reader.number("waiting_max", 1, 1_000_000)?,
        running_max: reader.number("process_running_max", 1, 1_000_000)?,
    })
}

/// Two numbers, the second not below the first.
fn range<T: FromStr + PartialOrd>(text: &str, min: T) -> Option<RangeInclusive<T>> {
    let (first, last) = text.split_once('-')?;
    let range = first.parse().ok()?..=last.parse().ok()?;
    (*range.start() >= min && !range.is_empty()).then_some(range)
}

struct PortRange(RangeInclusive<u16>);

impl FromStr for PortRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        range(text, 1).map(Self).ok_or("is no range of ports like 20000-29999")
    }
}

struct UserRange(RangeInclusive<u32>);

impl FromStr for UserRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        range(text, FIRST_USER_MIN)
            .map(Self)
            .ok_or("is no range of users like 2000000000-2000099999, from 65536 on")
    }
}
