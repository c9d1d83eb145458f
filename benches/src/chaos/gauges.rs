//! What the processes hold: memory, files, and how much is in their tables.

use std::collections::BTreeMap;
use std::time::Duration;

use flowgate_bench::machine;

use crate::http::{ask, request};
use crate::world::{TOKEN, World, redis_says};

const PATIENCE: Duration = Duration::from_secs(5);

/// What a flowgate's `/metrics` says of its tables, and how we call it.
const TABLES: [(&str, &str); 8] = [
    ("flowgate_client_sockets", "client sockets"),
    ("flowgate_connections", "connections"),
    ("flowgate_relay_buffers_bytes", "bytes in buffers"),
    ("flowgate_cache_tenants", "tenants in memory"),
    ("flowgate_tenants_active", "tenants active"),
    ("flowgate_handshakes_in_progress", "handshakes under way"),
    ("flowgate_password_queue_length", "passwords waiting"),
    ("process_threads", "threads"),
];

/// Figures by name.
pub type Figures = BTreeMap<String, f64>;

/// What a process holds at a moment; nothing if it does not run or answer.
pub async fn of_replica(world: &World, index: usize) -> Option<Figures> {
    let replica = &world.replicas[index];
    let pid = replica.program.pid()?;
    let mut figures = of_process(pid)?;
    let headers = format!("Authorization: Bearer {TOKEN}\r\n");
    let metrics = request("GET", "/metrics", &headers, None);
    let answer = ask(replica.admin, &metrics, PATIENCE).await.ok()?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    for (series, name) in TABLES {
        figures.insert(name.to_owned(), sum_of(&text, series));
    }
    let readiness = request("GET", "/readyz", "", None);
    let answer = ask(replica.admin, &readiness, PATIENCE).await.ok()?;
    figures.insert("live table".to_owned(), answer.json()["live"].as_f64()?);
    Some(figures)
}

/// Memory and files of a process.
pub fn of_process(pid: u32) -> Option<Figures> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident: f64 = resident.split_ascii_whitespace().next()?.parse().ok()?;
    let shared = machine::pss_kib(pid).ok()? as f64;
    Some(Figures::from([
        ("files".to_owned(), files as f64),
        ("RSS KiB".to_owned(), resident),
        ("PSS KiB".to_owned(), shared),
    ]))
}

/// What Redis holds.
pub async fn of_redis(world: &World) -> Figures {
    let memory = redis_says(world.redis_address, "INFO memory").await;
    let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:"));
    let keys = redis_says(world.redis_address, "DBSIZE").await;
    let keys = keys.lines().find_map(|line| line.strip_prefix(':'));
    let number = |text: Option<&str>| text.and_then(|text| text.trim().parse().ok()).unwrap_or(0.0);
    Figures::from([
        ("used memory KiB".to_owned(), number(used) / 1024.0),
        ("keys".to_owned(), number(keys)),
    ])
}

/// The sum of a series over its labels.
fn sum_of(text: &str, series: &str) -> f64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(series)?;
        let rest = match rest.strip_prefix('{') {
            Some(labels) => labels.split_once('}')?.1,
            None => rest,
        };
        rest.strip_prefix(' ')?.trim().parse::<f64>().ok()
    });
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_summed_over_its_labels_and_no_other() {
        let text = "# TYPE a gauge\na{row=\"x\"} 2\na{row=\"y\"} 3\na_max 100\nb 7\n";
        assert_eq!((sum_of(text, "a"), sum_of(text, "b"), sum_of(text, "c")), (5.0, 7.0, 0.0));
    }
}
