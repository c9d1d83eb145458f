//! What flowgate does between itself and a runtime, in processes of its own, since only there it can be
//! done without `unsafe`.
//!
//! A runtime has a keeper: a process of flowgate's program whose end is the end of all that the runtime
//! has started. Where runtimes are isolated the keeper leaves flowgate's network, and a second one is the
//! first process of process numbers of their own. The last step becomes the runtime.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::process::{
    Resource, Rlimit, Signal, getpid, getppid, set_child_subreaper,
    set_parent_process_death_signal, setrlimit, setsid,
};
use rustix::thread::set_no_new_privs;
use serde::{Deserialize, Serialize};

use super::{groups, isolate, keep};

/// The program itself, also after its file was replaced.
pub const OURSELVES: &str = "/proc/self/exe";
/// The first arguments of such processes; no commands for people.
pub const LAUNCH: &str = "launch-runtime";
const HOLD: &str = "hold-runtime";
const BECOME: &str = "become-runtime";
const TRY: &str = "try-runtime";
pub(super) const UPLINK: &str = "uplink-runtime";
/// Of a command that cannot be run, as a shell has it.
const EXIT_NOT_RUN: u8 = 127;
/// How gladly the system ends it, from -1000 to 1000, where no memory is left: proc(5).
const OOM_SCORE: &str = "500";
/// The first descriptor behind input, output and errors.
const FIRST_UNNAMED: i32 = 3;

/// What is to be done before a process is the runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Orders {
    /// Whose end ends this.
    pub(super) parent: i32,
    /// As which user, if not our own.
    pub(super) user: Option<u32>,
    /// The control group that it is in with all that it starts, if any.
    #[serde(default)]
    pub(super) group: Option<PathBuf>,
    /// Whether it gets a network, process numbers and shared memory of its own.
    pub(super) is_isolated: bool,
    /// What gives that network a way out; empty for none.
    pub(super) uplink: Vec<String>,
    pub(super) data_bytes_max: Option<u64>,
    pub(super) files_max: u64,
    /// Of that user; without one they would be all of ours.
    pub(super) threads_max: u64,
}

/// The arguments before the runtime's command.
pub(super) fn arguments(orders: &Orders) -> io::Result<[String; 2]> {
    arguments_for(LAUNCH, orders)
}

fn arguments_for(step: &str, orders: &Orders) -> io::Result<[String; 2]> {
    Ok([step.to_owned(), serde_json::to_string(orders)?])
}

/// Does such a step, if the process was started for one: the exit code, or `None` if it was not. What is
/// wrong goes to the runtime's log.
#[must_use]
pub fn launch(arguments: &[String]) -> Option<u8> {
    let [step, orders, command @ ..] = arguments else { return None };
    let step = match step.as_str() {
        LAUNCH => launch_runtime,
        HOLD => hold,
        BECOME => become_runtime,
        UPLINK => become_uplink,
        TRY => |_: &Orders, _: &[String]| Ok(0),
        _ => return None,
    };
    // Whoever started flowgate may have left it more than it knows of, a lock or a listener; none of that is
    // a tenant's.
    close_fds::set_fds_cloexec(FIRST_UNNAMED, &[]);
    let orders = serde_json::from_str(orders).map_err(io::Error::from);
    let done = orders.and_then(|orders: Orders| step(&orders, command));
    Some(done.unwrap_or_else(|error| {
        let program = command.first().map_or("", String::as_str);
        let _ = writeln!(io::stderr(), "flowgate: cannot run {program:?}: {error}");
        EXIT_NOT_RUN
    }))
}

/// Whether a runtime can be isolated here, as far as a process that does nothing can tell.
pub(super) fn try_isolation(launcher: &Path, orders: &Orders) -> Result<(), String> {
    let arguments = arguments(orders).map_err(|error| error.to_string())?;
    let [_, orders] = arguments.clone();
    let tried = Command::new(launcher)
        .args(arguments)
        .args([OURSELVES, TRY, &orders])
        .env_clear()
        .current_dir("/")
        .output()
        .map_err(|error| error.to_string())?;
    match tried.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned()),
    }
}

/// The keeper.
fn launch_runtime(orders: &Orders, command: &[String]) -> io::Result<u8> {
    // A signal that it hears: it has to end others before itself.
    set_parent_process_death_signal(Some(Signal::QUIT))?;
    check_parent(orders)?;
    // Not the terminal's that flowgate may have been started from: a runtime could type there.
    setsid()?;
    if let Some(group) = &orders.group {
        groups::join(group)?;
    }
    set_child_subreaper(Some(getpid()))?;
    let start = || {
        let mut orders = orders.clone();
        orders.parent = getpid().as_raw_nonzero().get();
        match orders.is_isolated {
            true => {
                isolate::leave(|words| ourselves(UPLINK, &orders, words), &orders.uplink)?;
                // Whatever is within can read what the first process there was told.
                orders.uplink = Vec::new();
                ourselves(HOLD, &orders, command)?.spawn()
            }
            false => runtime(&orders, command),
        }
    };
    keep::keep(start, keep::Rest::End)
}

/// The first process within; all others there end with it.
fn hold(orders: &Orders, command: &[String]) -> io::Result<u8> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent is not seen from within, but by the processes that are still shown here.
    if !Path::new(&format!("/proc/{}", orders.parent)).exists() {
        return Err(gone());
    }
    isolate::settle()?;
    let within = Orders { parent: getpid().as_raw_nonzero().get(), ..orders.clone() };
    keep::keep(|| runtime(&within, command), keep::Rest::EndsWithUs)
}

fn ourselves(step: &str, orders: &Orders, command: &[String]) -> io::Result<Command> {
    let mut ourselves = Command::new(OURSELVES);
    ourselves.args(arguments_for(step, orders)?).args(command);
    Ok(ourselves)
}

fn runtime(orders: &Orders, command: &[String]) -> io::Result<Child> {
    let mut runtime = ourselves(BECOME, orders, command)?;
    // What it sends to its own group does not reach its keeper.
    runtime.process_group(0);
    if let Some(user) = orders.user {
        // Without any further group.
        runtime.uid(user).gid(user);
    }
    runtime.spawn()
}

/// The uplink's command ends with the keeper that waits for it.
fn become_uplink(orders: &Orders, command: &[String]) -> io::Result<u8> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    check_parent(orders)?;
    exec(command)
}

fn become_runtime(orders: &Orders, command: &[String]) -> io::Result<u8> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    check_parent(orders)?;
    // Before flowgate, whose own it may be never to be chosen. To raise it takes no right; where there is
    // no such file nobody is chosen.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    if orders.is_isolated {
        set_no_new_privs(true)?;
    }
    if orders.user.is_some() {
        limit(Resource::Nproc, orders.threads_max)?;
    }
    // No address space limit: V8 reserves far more than it uses.
    if let Some(bytes) = orders.data_bytes_max {
        limit(Resource::Data, bytes)?;
    }
    limit(Resource::Nofile, orders.files_max)?;
    limit(Resource::Core, 0)?;
    exec(command)
}

fn exec(command: &[String]) -> io::Result<u8> {
    let [program, arguments @ ..] = command else { return Err(io::Error::other("no command")) };
    Err(Command::new(program).args(arguments).exec())
}

/// It may have died before it was said what its death means.
fn check_parent(orders: &Orders) -> io::Result<()> {
    match getppid().map(|pid| pid.as_raw_nonzero().get()) == Some(orders.parent) {
        true => Ok(()),
        false => Err(gone()),
    }
}

fn gone() -> io::Error {
    io::Error::other("flowgate is gone")
}

/// Not more than there may be already.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let most = rustix::process::getrlimit(resource).maximum.map_or(most, |max| max.min(most));
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    Ok(())
}
