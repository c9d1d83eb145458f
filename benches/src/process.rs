//! Programs that are measured, each on its core.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::clock::wait_for;
use crate::fault::{During, Result, fault};
use crate::machine;

/// How long a program may take to answer its first request; the largest registry takes a while.
const START_PATIENCE: Duration = Duration::from_secs(120);
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The core of the program that is measured.
pub const PROXY_CORE: usize = 0;
/// The core of generator and runtime.
pub const LOAD_CORE: usize = 1;

/// What to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables beside the few that every program gets.
    pub environment: Vec<(String, String)>,
}

impl Launch {
    /// A program with arguments.
    pub fn new<const N: usize>(program: &Path, arguments: [&str; N]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { program: program.to_owned(), arguments, environment: Vec::new() }
    }

    /// The same with a variable.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The command, on a core; it ends with this process, whatever ends that.
    fn command(&self, core: usize, folder: &Path) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string(), "setpriv", "--pdeathsig", "TERM"]);
        command.arg(&self.program).args(&self.arguments);
        command
            .env_clear()
            .env("HOME", folder)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A program that runs; ended when dropped.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts it on a core, in a process group of its own. What it prints goes to `folder/log`.
    pub fn start(name: &str, launch: &Launch, core: usize, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).during("a log file")?;
        let child = launch
            .command(core, folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .during(&format!("starting {name}"))?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    /// Waits until a request through it is answered with 200.
    pub fn wait_until_it_answers(&mut self, address: SocketAddr, path: &str) -> Result<()> {
        let answers = || match self.child.try_wait() {
            Ok(None) => answers(address, path).then_some(true),
            _ => Some(false),
        };
        match wait_for(START_PATIENCE, answers) {
            Some(true) => Ok(()),
            Some(false) => {
                fault(format!("{} ended while starting\n{}", self.name, self.last_lines()))
            }
            None => fault(format!("{} does not answer\n{}", self.name, self.last_lines())),
        }
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The CPU time it has had so far, with its children.
    pub fn cpu_ns(&self) -> u64 {
        machine::cpu_ns(self.pid())
    }

    /// Whether it still runs.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                fault(format!("{} has ended: {status}\n{}", self.name, self.last_lines()))
            }
        }
    }

    fn last_lines(&self) -> String {
        let text = self.printed();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    fn signal_group(&self, signal: Signal) {
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            // It may be gone, which is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal_group(Signal::TERM);
        wait_for(STOP_PATIENCE, || self.child.try_wait().ok().flatten());
        // The children of one that did not clean up, too.
        self.signal_group(Signal::KILL);
        let _ = self.child.wait();
    }
}

fn answers(address: SocketAddr, path: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
}
