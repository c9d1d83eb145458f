//! Processes as the system shows them: when they began, who descends from whom, and who listens where.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Of a process: proc(5), `stat`.
struct Stat {
    parent: i32,
    began: u64,
    /// It has not ended; else it waits to be reaped.
    runs: bool,
}

fn stat(pid: i32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // Where only the main thread has ended, the others run on.
    let threads: u32 = fields.get(17)?.parse().ok()?;
    let runs = threads > 1 || !matches!(*fields.first()?, "Z" | "X");
    Some(Stat { parent: fields.get(1)?.parse().ok()?, began: fields.get(19)?.parse().ok()?, runs })
}

/// When a child of ours began, in ticks since the boot; also one that has ended and is not reaped.
pub(super) fn born(pid: i32) -> Option<u64> {
    stat(pid).map(|stat| stat.began)
}

/// When a process that runs began, in ticks since the boot; `None` if there is none.
pub(super) fn began(pid: i32) -> Option<u64> {
    stat(pid).filter(|stat| stat.runs).map(|stat| stat.began)
}

/// All that descend from a process and run.
pub(super) fn descendants(of: u32) -> Vec<i32> {
    let Ok(of) = i32::try_from(of) else { return Vec::new() };
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let found = pid.and_then(|pid| Some((pid, stat(pid).filter(|stat| stat.runs)?)));
        if let Some((pid, stat)) = found {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = children.remove(&of).unwrap_or_default();
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// Whether who listens at a port on loopback descends from a process: somebody else may have been there
/// first. Of our own network.
pub(super) fn listens(of: u32, port: u16) -> bool {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .flat_map(|table| listeners(Path::new(table), port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let has_one = |pid: &i32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut links = files.filter_map(|file| fs::read_link(file.path()).ok());
        links.any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
    };
    descendants(of).iter().any(has_one)
}

/// The sockets that listen at a port, by number: proc(5), `net/tcp`.
fn listeners(table: &Path, port: u16) -> Vec<String> {
    const LISTENS: &str = "0A";
    let table = fs::read_to_string(table).unwrap_or_default();
    let lines = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, at) = fields.get(1)?.rsplit_once(':')?;
        let is_it = *fields.get(3)? == LISTENS && u16::from_str_radix(at, 16) == Ok(port);
        is_it.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_descends_and_who_listens_is_found() {
        let ours = std::process::id();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(descendants(ours).contains(&pid));
        assert!(began(pid).is_some());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(listeners(Path::new("/proc/net/tcp"), port).len(), 1);
        assert!(!listens(ours, port), "who listens is no descendant of itself");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(began(pid), None);
    }
}
