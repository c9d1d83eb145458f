//! Control groups (cgroups(7), version 2): bounds for the memory, the processor time and the processes of
//! all that a runtime has started together.
//!
//! Takes a group that flowgate may write to: systemd's `Delegate=yes`, a container's own, or one that an
//! operator has made. Where there is none, each process is bounded by itself, by resource limits.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

/// What is needed of the system.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
/// Where flowgate itself goes: a group that has groups below it may have no process.
const OURS: &str = "flowgate";
const ALL: &str = "runtimes";
/// The span over which processor time is counted, in microseconds.
const PERIOD_US: u64 = 100_000;
/// A group is gone once the last of its processes is reaped.
const GONE_LOOK_EVERY: Duration = Duration::from_millis(5);
const GONE_LOOKS_MAX: u32 = 200;

/// Bounds of one runtime; `None` for no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of memory, page cache and flowgate's keeper included. There is no swap beyond it.
    pub memory_bytes_max: Option<u64>,
    /// Hundredths of one processor.
    pub cpu_percent_max: Option<u64>,
}

/// What bounds runtimes.
#[derive(Debug)]
pub enum Limits {
    /// A control group for each.
    Groups(Groups),
    /// Resource limits for each of their processes.
    Rlimits {
        /// Why it is no more than that.
        why: String,
    },
}

/// Where runtimes' groups are.
#[derive(Debug)]
pub struct Groups(PathBuf);

/// One runtime's. Its directory stays when it is dropped.
#[derive(Debug)]
pub(super) struct Group {
    path: PathBuf,
    /// How often it had been out of memory before.
    ooms: u64,
}

impl Limits {
    /// What is to be had here: in `wanted`, or else in the group that flowgate was started in.
    ///
    /// # Errors
    /// The wanted one is of no use.
    pub(super) fn find(wanted: Option<&Path>) -> Result<Self, String> {
        if let Some(wanted) = wanted {
            let groups = Groups::prepare(wanted, &CONTROLLERS);
            return groups.map(Self::Groups).map_err(|why| format!("process_cgroup: {why}"));
        }
        match own_group().and_then(|root| Groups::prepare(&root, &CONTROLLERS)) {
            Ok(groups) => Ok(Self::Groups(groups)),
            Err(why) => Ok(Self::Rlimits { why }),
        }
    }
}

impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.display())
    }
}

impl Groups {
    fn prepare(root: &Path, controllers: &[&str]) -> Result<Self, String> {
        let at = |what: &str, error: io::Error| format!("{}: {what}: {error}", root.display());
        let read = |name: &str| std::fs::read_to_string(root.join(name));
        let there = read("cgroup.controllers").map_err(|error| at("cgroup.controllers", error))?;
        for controller in controllers {
            if !there.split_ascii_whitespace().any(|it| it == *controller) {
                return Err(format!("{} has no controller {controller}", root.display()));
            }
        }
        let delegated = read("cgroup.subtree_control").unwrap_or_default();
        let is_ready =
            controllers.iter().all(|it| delegated.split_whitespace().any(|is| is == *it));
        if !is_ready {
            // We may be in it ourselves; then nothing can be handed down.
            let ours = root.join(OURS);
            make(&ours).map_err(|error| at("no group can be made", error))?;
            let pids = read("cgroup.procs").unwrap_or_default();
            let is_in = pids.lines().any(|pid| pid == std::process::id().to_string());
            if is_in {
                let moved = write(&ours.join("cgroup.procs"), "0");
                moved.map_err(|error| at("flowgate cannot leave it", error))?;
            }
            hand_down(root, controllers).map_err(|error| at("nothing is handed down", error))?;
        }
        let all = root.join(ALL);
        make(&all).map_err(|error| at("no group can be made", error))?;
        hand_down(&all, controllers).map_err(|error| at("nothing is handed down", error))?;
        for entry in std::fs::read_dir(&all).into_iter().flatten().flatten() {
            // Fails where something runs: that is another replica's.
            let _ = std::fs::remove_dir(entry.path());
        }
        Ok(Self(all))
    }

    /// A group for a start under a lease of that fence, with nothing in it. Whatever the runtime of that
    /// name has left in groups of earlier ones is ended.
    pub(super) fn make(
        &self,
        (name, fence): (&str, u64),
        bounds: Bounds,
        threads_max: u64,
    ) -> io::Result<Group> {
        self.end_earlier(name, fence);
        // An owner who is one no more, and does not know it yet, ends its own group and no other's.
        let path = self.0.join(format!("{name}-{fence}"));
        make(&path)?;
        let or_max = |number: Option<u64>| number.map_or("max".to_owned(), |it| it.to_string());
        let quota = bounds.cpu_percent_max.map(|percent| percent * PERIOD_US / 100);
        for (file, value) in [
            ("memory.max", or_max(bounds.memory_bytes_max)),
            ("memory.oom.group", "1".to_owned()),
            ("cpu.max", format!("{} {PERIOD_US}", or_max(quota))),
            ("pids.max", threads_max.to_string()),
        ] {
            write(&path.join(file), &value)?;
        }
        if bounds.memory_bytes_max.is_some() {
            match write(&path.join("memory.swap.max"), "0") {
                // A system without swap.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                written => written?,
            }
        }
        let ooms = ooms(&path);
        Ok(Group { path, ooms })
    }

    fn end_earlier(&self, name: &str, fence: u64) {
        for entry in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let earlier = entry.file_name().to_str().and_then(|it| {
                let (of, fence) = it.rsplit_once('-')?;
                fence.parse::<u64>().ok().filter(|_| of == name)
            });
            if earlier.is_some_and(|earlier| earlier < fence) {
                let _ = write(&entry.path().join("cgroup.kill"), "1");
                // What has not ended yet is tried again at the next start.
                let _ = std::fs::remove_dir(entry.path());
            }
        }
    }
}

impl Group {
    /// Where it is, for [`join`].
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether something in it was ended as there was no memory left within its bound.
    pub(super) fn was_out_of_memory(&self) -> bool {
        ooms(&self.path) > self.ooms
    }

    /// Ends all that is left in it, and removes it.
    pub(super) async fn end(&self) {
        // Linux 5.14; without it the keeper alone has ended them.
        let _ = write(&self.path.join("cgroup.kill"), "1");
        for _ in 0..GONE_LOOKS_MAX {
            match std::fs::remove_dir(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    sleep(GONE_LOOK_EVERY).await
                }
                _ => return,
            }
        }
        tracing::warn!(group = %self.path.display(), "a runtime's group cannot be removed");
    }
}

/// Moves this process into a group; whatever it starts is in it.
pub(super) fn join(group: &Path) -> io::Result<()> {
    write(&group.join("cgroup.procs"), "0")
}

fn ooms(group: &Path) -> u64 {
    let events = std::fs::read_to_string(group.join("memory.events")).unwrap_or_default();
    let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    kills.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}

fn hand_down(group: &Path, controllers: &[&str]) -> io::Result<()> {
    for controller in controllers {
        write(&group.join("cgroup.subtree_control"), &format!("+{controller}"))?;
    }
    Ok(())
}

fn make(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// The kernel takes a value in one piece.
fn write(file: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}

/// The group of version 2 that this process is in.
fn own_group() -> Result<PathBuf, String> {
    let read = |path: &str| {
        std::fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"))
    };
    group_of(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?)
        .ok_or_else(|| "no cgroup v2 is mounted here that flowgate is in".to_owned())
}

/// From proc(5), `cgroup` and `mountinfo`.
fn group_of(groups: &str, mounts: &str) -> Option<PathBuf> {
    let ours = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let is_it = kind.split(' ').next() == Some("cgroup2");
        let below = Path::new(ours).strip_prefix(root).ok().filter(|_| is_it)?;
        Some(Path::new(point).join(below))
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const UNIFIED: &str = "24 1 0:22 / /sys rw - sysfs sysfs rw\n\
         30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const HYBRID: &str = "30 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
         31 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_own_group_is_found_where_it_is_mounted() {
        let found = |groups: &str, mounts: &str| group_of(groups, mounts);
        let service = "0::/system.slice/flowgate.service\n";
        let of = |path: &str| Some(PathBuf::from(path));
        assert_eq!(found(service, UNIFIED), of("/sys/fs/cgroup/system.slice/flowgate.service"));
        assert_eq!(found("4:memory:/a\n0::/\n", HYBRID), of("/sys/fs/cgroup/unified"));
        let container = "30 24 0:26 /docker/7 /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(found("0::/docker/7/x\n", container), of("/sys/fs/cgroup/x"));
        assert_eq!(found("0::/elsewhere\n", container), None);
        assert_eq!(found("4:memory:/a\n", UNIFIED), None);
    }

    /// On the system's own, without controllers, as those may be another version's. Takes root; who is
    /// not is refused for that and nothing else.
    #[tokio::test]
    async fn what_is_in_a_group_ends_with_it() {
        let Ok(root) = own_group() else {
            let Ok(Limits::Rlimits { why }) = Limits::find(None) else { panic!("where from?") };
            assert!(why.contains("no cgroup v2"), "{why}");
            return;
        };
        let root = root.join(format!("flowgate-test-{}", std::process::id()));
        if let Err(error) = std::fs::create_dir(&root) {
            assert!(Groups::prepare(&root, &[]).is_err(), "{error}");
            return;
        }
        let groups = Groups::prepare(&root, &[]).unwrap();
        let path = groups.0.join("mike-5-7");
        std::fs::create_dir(&path).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "echo 0 > \"$1/cgroup.procs\" && setsid sleep 1000 & wait", "sh"])
            .arg(&path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let is_in = || !std::fs::read_to_string(path.join("cgroup.procs")).unwrap().is_empty();
        let patience = Duration::from_secs(60);
        let comes_in = async {
            while !is_in() {
                sleep(GONE_LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(patience, comes_in).await.unwrap();
        // Another's, and an earlier one's of the same; neither ends what is there.
        for other in ["mike-5-6-1", "mike-6-1"] {
            std::fs::create_dir(groups.0.join(other)).unwrap();
        }
        Group { path: groups.0.join("mike-5-6"), ooms: 0 }.end().await;
        groups.end_earlier("mike-5", 7);
        assert!(is_in() && child.try_wait().unwrap().is_none());
        let group = Group { path: path.clone(), ooms: 0 };
        assert!(!group.was_out_of_memory());
        group.end().await;
        assert!(!path.exists(), "nothing is left in it, nor it itself");
        child.wait().unwrap();
        std::fs::create_dir(&path).unwrap();
        groups.end_earlier("mike-5", 8);
        assert!(!path.exists(), "whoever comes next ends what earlier ones have left");
        for other in ["mike-5-6-1", "mike-6-1"] {
            std::fs::remove_dir(groups.0.join(other)).unwrap();
        }
        for made in [groups.0.clone(), root] {
            std::fs::remove_dir(made).unwrap();
        }
    }
}
