//! What the system knows of the process: processor time by thread, memory, files. On Linux; elsewhere
//! it is left out.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::page::{Family, Page};

const THREADS_CPU: Family = Family::seconds(
    "flowgate_thread_cpu",
    "Processor time of the threads that stay: of the relay, of what has to wait and of the \
     password pool, and the log's.",
);
const CPU: Family = Family::seconds("process_cpu", "Processor time, user and system.");
const RESIDENT: Family = Family::bytes("process_resident_memory", "Resident memory.");
const VIRTUAL: Family = Family::bytes("process_virtual_memory", "Virtual memory.");
const FILES: Family = Family::new("process_open_fds", "Open files and sockets.");
const FILES_MAX: Family = Family::new("process_max_fds", "How many there may be.");
const THREADS: Family = Family::new("process_threads", "Threads.");
const STARTED: Family = Family::seconds("process_start_time", "When it was started, since 1970.");

/// Threads that live as long as the process, by the beginning of their names. Others come and go, and
/// their series would, too.
const LASTING: [&str; 4] = ["handshakes-", "relay-", "passwords-", "log"];

pub(super) fn put(page: &mut Page<'_>) -> fmt::Result {
    let Some(process) = read("/proc/self/stat") else { return Ok(()) };
    let threads = threads();
    page.counters(
        &THREADS_CPU,
        threads.iter().map(|(name, seconds)| ([("thread", name.as_str())], *seconds)),
    )?;
    page.counter(&CPU, process.cpu_seconds)?;
    page.gauge(&RESIDENT, process.resident_bytes)?;
    page.gauge(&VIRTUAL, process.virtual_bytes)?;
    page.gauge(&THREADS, process.threads)?;
    if let Some(files) = open_files() {
        page.gauge(&FILES, files)?;
    }
    if let Some(max) = getrlimit(Resource::Nofile).current {
        page.gauge(&FILES_MAX, max)?;
    }
    match started(process.start_ticks) {
        Some(started) => page.gauge(&STARTED, started),
        None => Ok(()),
    }
}

/// What is in a `stat` file below `/proc`.
struct Stat {
    name: String,
    cpu_seconds: f64,
    threads: u64,
    /// Since the machine was started.
    start_ticks: u64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

fn read(path: &str) -> Option<Stat> {
    parse(&fs::read_to_string(path).ok()?)
}

/// proc(5). The name is in parentheses and may hold some itself.
fn parse(text: &str) -> Option<Stat> {
    let (before, after) = text.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    // The first of these is field 3.
    let fields: Vec<&str> = after.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        name: name.to_owned(),
        cpu_seconds: ticks_as_seconds(field(14)? + field(15)?),
        threads: field(20)?,
        start_ticks: field(22)?,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * page_size() as u64,
    })
}

#[expect(clippy::cast_precision_loss, reason = "they fit for as long as any machine runs")]
fn ticks_as_seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

/// The threads that stay, each with its processor time in seconds.
fn threads() -> BTreeMap<String, f64> {
    let mut threads = BTreeMap::new();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return threads };
    let stats = tasks.flatten().filter_map(|task| read(task.path().join("stat").to_str()?));
    let lasting = stats.filter(|stat| LASTING.iter().any(|start| stat.name.starts_with(start)));
    for stat in lasting {
        // A thread that was just made has the name of its maker still.
        *threads.entry(stat.name).or_insert(0.0) += stat.cpu_seconds;
    }
    threads
}

/// Newer kernels say it at once; older ones have to be asked for each.
fn open_files() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok(),
        count => Some(count),
    }
}

/// Seconds since 1970.
fn started(start_ticks: u64) -> Option<f64> {
    let uptime = fs::read_to_string("/proc/stat").ok()?;
    let booted = uptime.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(booted.trim().parse::<f64>().ok()? + ticks_as_seconds(start_ticks))
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let text = "7 (a) (b c) S 1 2 3 4 5 6 7 8 9 10 300 200 0 0 20 0 9 0 500 4096 3 0";
        let stat = parse(text).unwrap();
        assert_eq!((stat.name.as_str(), stat.threads, stat.start_ticks), ("a) (b c", 9, 500));
        assert_eq!(stat.cpu_seconds, ticks_as_seconds(500));
        assert_eq!((stat.virtual_bytes, stat.resident_bytes), (4096, 3 * page_size() as u64));
        assert!(parse("7 (a) S 1").is_none() && parse("").is_none());
    }

    #[test]
    fn this_process_is_known() {
        let stat = read("/proc/self/stat").unwrap();
        assert!(stat.threads > 0 && stat.resident_bytes > 0 && open_files().unwrap() > 2);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let started = started(stat.start_ticks).unwrap();
        assert!(started < now + 2.0 && started > now - 24.0 * 3600.0, "{started} {now}");
    }
}
