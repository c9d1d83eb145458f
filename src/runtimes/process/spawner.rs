//! The thread that starts processes.
//!
//! A keeper ends when the thread that started it does, so that has to be one that stays: a worker
//! thread may go at any time.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::launch::{self, Orders};

/// Starts that wait for the thread.
const WAITING_MAX: usize = 64;

/// What is to be started.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) launcher: PathBuf,
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) folder: PathBuf,
    pub(super) orders: Orders,
}

#[derive(Debug)]
struct Job {
    launch: Launch,
    output: io::PipeWriter,
    started: oneshot::Sender<io::Result<Keeper>>,
}

/// The thread.
#[derive(Debug)]
pub(super) struct Spawner(SyncSender<Job>);

impl Spawner {
    /// Must be called within a tokio runtime, which reaps what is started.
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, waiting) = sync_channel::<Job>(WAITING_MAX);
        let runtime = Handle::current();
        std::thread::Builder::new().name("runtimes".to_owned()).spawn(move || {
            let _within = runtime.enter();
            for Job { launch, output, started } in waiting {
                let child = spawn(&launch, output).map(Keeper::of);
                // Nobody waits any more: what was started is ended where it is dropped.
                let _ = started.send(child);
            }
        })?;
        Ok(Self(jobs))
    }

    /// Starts a keeper; the runtime's output goes there.
    pub(super) async fn spawn(&self, launch: Launch, output: io::PipeWriter) -> io::Result<Keeper> {
        let (started, child) = oneshot::channel();
        self.0.try_send(Job { launch, output, started }).map_err(|error| match error {
            TrySendError::Full(_) => io::Error::other("too many starts wait"),
            TrySendError::Disconnected(_) => io::Error::other("nothing is started any more"),
        })?;
        child.await.map_err(|_| io::Error::other("nothing is started any more"))?
    }
}

fn spawn(launch: &Launch, output: io::PipeWriter) -> io::Result<Child> {
    let mut command = std::process::Command::new(&launch.launcher);
    command
        .args(launch::arguments(&launch.orders)?)
        .args(&launch.command)
        .env_clear()
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&launch.folder)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    // Not killed when it is dropped: a keeper has others to end before itself.
    Command::from(command).spawn()
}

/// A runtime's keeper, and with it all of the runtime's processes. Whoever drops it ends them.
#[derive(Debug)]
pub(super) struct Keeper(Child);

impl Keeper {
    fn of(child: Child) -> Self {
        Self(child)
    }

    /// Its number, for as long as its end was not taken note of: then somebody else may get it.
    pub(super) fn pid(&self) -> Option<u32> {
        self.0.id()
    }

    /// Waits for its end, which is its runtime's. Cancel safe.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }

    /// TERM is for the runtime, QUIT ends everything at once.
    pub(super) fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            // It may just have ended.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.signal(Signal::QUIT);
    }
}
