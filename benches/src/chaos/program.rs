//! Processes that are started, stopped, killed and started again.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowgate_bench::fault::{During, Fault, Result};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

/// What to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// For the log's name, and for whoever reads the report.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables beside `PATH`.
    pub environment: Vec<(String, String)>,
}

impl Launch {
    /// A program with arguments.
    pub fn new<'a>(
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments: arguments.into_iter().map(str::to_owned).collect(),
            environment: Vec::new(),
        }
    }

    /// The same with a variable.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }
}

/// A program that can be started again and again; killed when dropped.
pub struct Program {
    launch: Launch,
    folder: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Program {
    /// Not running yet. What it will print goes to `folder/NAME.log`.
    pub fn new(launch: Launch, folder: &Path) -> Self {
        Self { launch, folder: folder.to_owned(), child: Mutex::default() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.launch.name
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it. It ends with the thread that calls this, so that nothing stays behind.
    pub fn start(&self) -> Result<()> {
        let log = self.folder.join(format!("{}.log", self.launch.name));
        let log = OpenOptions::new().create(true).append(true).open(log).during("a log file")?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(&self.launch.program)
            .args(&self.launch.arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.launch.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for us; we end it.
            .process_group(0)
            .spawn()
            .during(&format!("starting {}", self.launch.name))?;
        *self.child() = Some(child);
        Ok(())
    }

    /// Its id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// Sends a signal; it may be gone.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process(pid, signal);
        }
    }

    /// How it has ended, if it has.
    pub fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.child();
        let status = child.as_mut()?.try_wait().ok().flatten()?;
        *child = None;
        Some(status)
    }

    /// `kill -9`, and waits for the end, which takes no time.
    pub fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Limits the files that it may have open from now on; returns the limit that it had.
    pub fn limit_files(&self, most: Option<u64>) -> Result<Option<u64>> {
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let pid = pid.ok_or_else(|| Fault(format!("{} does not run", self.launch.name)))?;
        let before = rustix::process::getrlimit(Resource::Nofile);
        // Only the soft limit: the hard one cannot be raised again by everybody.
        let limit = Rlimit { current: most, maximum: before.maximum };
        let old = prlimit(Some(pid), Resource::Nofile, limit).during("limiting files")?;
        Ok(old.current)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
