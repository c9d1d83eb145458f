//! What the kernel tells of processes and of the machine.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::fault::{During, Fault, Result};

/// A process and all below it.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let mut at = 0;
    while let Some(parent) = pids.get(at).copied() {
        for thread in threads(parent) {
            let children = fs::read_to_string(format!("{thread}/children")).unwrap_or_default();
            pids.extend(
                children.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
        at += 1;
    }
    pids
}

fn threads(pid: u32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path().display().to_string()).collect()
}

/// The CPU time that a process, its threads and its children have had, in nanoseconds. Threads that
/// have ended do not count any more.
pub fn cpu_ns(pid: u32) -> u64 {
    tree(pid).into_iter().flat_map(threads).filter_map(of_thread).sum()
}

/// The same of this process, without its children: they are what is measured.
pub fn own_cpu_ns() -> u64 {
    threads(std::process::id()).into_iter().filter_map(of_thread).sum()
}

fn of_thread(thread: String) -> Option<u64> {
    let text = fs::read_to_string(format!("{thread}/schedstat")).ok()?;
    text.split(' ').next()?.parse().ok()
}

/// The memory of a process and its children in KiB, pages that several share by halves (PSS).
pub fn pss_kib(pid: u32) -> Result<u64> {
    let of_process = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find(|line| line.starts_with("Pss:"))?;
        line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let parts: Vec<u64> = tree(pid).into_iter().filter_map(of_process).collect();
    match parts.is_empty() {
        true => Err(Fault(format!("the memory of process {pid} cannot be read"))),
        false => Ok(parts.iter().sum()),
    }
}

/// The first port that the kernel may give away by itself.
pub fn first_ephemeral_port() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_ascii_whitespace().next().and_then(|port| port.parse().ok()).unwrap_or(32768)
}

/// How many cores this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Keeps this process, and what it starts, to a core.
pub fn pin_to(core: usize) -> Result<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).during("keeping to a core")
}

/// The files that a process may have open at once.
pub fn files_max() -> u64 {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).maximum.unwrap_or(1 << 20)
}

/// Whether processes of somebody else's keep the machine busy, as seen in a second.
pub fn is_busy() -> bool {
    /// More than a machine needs that has nothing to do.
    const SHARE_MAX: f64 = 0.1;
    let Some(before) = ticks() else { return false };
    std::thread::sleep(Duration::from_secs(1));
    let Some(after) = ticks() else { return false };
    let (idle, all) = (after.0 - before.0, after.1 - before.1);
    (all - idle) as f64 > SHARE_MAX * all as f64
}

/// The ticks in which all cores together were idle, and all ticks, since the machine was started.
fn ticks() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let numbers = text.lines().next()?.split_ascii_whitespace().skip(1).take(8);
    let numbers: Vec<u64> = numbers.filter_map(|number| number.parse().ok()).collect();
    // The fourth is idle, the fifth is waiting for a disk.
    Some((numbers.get(3)? + numbers.get(4)?, numbers.iter().sum()))
}

/// What figures of this machine depend on.
pub fn description() -> BTreeMap<String, String> {
    let first_line = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
        line.split_once([':', '='])
            .map_or(line.clone(), |(_, value)| value.trim().trim_matches('"').to_owned())
    };
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let online = processors.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    BTreeMap::from([
        ("processor".to_owned(), first_line("/proc/cpuinfo", "model name")),
        ("cores".to_owned(), online.to_string()),
        ("memory".to_owned(), first_line("/proc/meminfo", "MemTotal")),
        ("kernel".to_owned(), kernel.trim().to_owned()),
        ("system".to_owned(), first_line("/etc/os-release", "PRETTY_NAME")),
        ("load before".to_owned(), load.split(' ').take(3).collect::<Vec<_>>().join(" ")),
        ("files per process".to_owned(), files_max().to_string()),
    ])
}

/// The first line that a program prints when asked for its version.
pub fn version(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    // A commit may begin with a digit, too.
    let digits = |word: &&str| {
        let word = word.trim_start_matches(['v', '(']);
        word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.')
    };
    let number = |line: &str| {
        line.split([' ', '/'])
            .find(digits)
            .map(|word| word.trim_matches(['v', '(', ')', ',']).to_owned())
    };
    text.lines().find_map(number)
}
