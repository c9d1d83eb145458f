//! The provider `process`: each runtime is a process of its own on this machine.
//!
//! A runtime has a folder with its working folder, its log and a note of what runs there. It is started
//! by way of a keeper, a process whose end is the end of all that the runtime has started. The keeper ends
//! with flowgate, `kill -9` included; one that did not is found by the note by whoever starts next.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::getpid;
use tokio::net::unix::pipe;
use tokio::time::timeout;

use super::answers;
use super::contract::{Condition, Order, RuntimeProvider, StartFault};
use crate::clock::Clock;
use crate::own_network::Network;
use crate::tenant::TenantId;

mod folder;
pub mod groups;
mod isolate;
pub mod isolation;
mod keep;
pub mod launch;
mod log;
mod ports;
mod running;
mod spawner;
mod users;

use folder::{Folder, Note};
use groups::{Bounds, Group, Limits};
use isolation::Isolation;
use launch::Orders;
use log::Log;
use ports::{Port, Ports};
pub use running::Running;
use spawner::{Launch, Spawner};

/// Variables that every program needs.
const ENVIRONMENT: [&str; 4] = ["PATH", "LANG", "LC_ALL", "TZ"];

/// How runtimes are run.
#[derive(Clone, Debug)]
pub struct ProcessSettings {
    /// Program and arguments; `{port}`, `{folder}` and `{username}` are replaced. Empty: no runtime can
    /// be run here.
    pub command: Vec<String>,
    /// Whether tenants may reach each other's runtimes, the registry and the admin listener, where nothing
    /// keeps a process from that.
    pub trusted_tenants: bool,
    /// Users by number, of which each tenant gets one, and a network of its own; `None` to run all as
    /// flowgate's own.
    pub users: Option<RangeInclusive<u32>>,
    /// A command that gives such a network a way out, run as flowgate's user; empty for none. The program
    /// is an absolute path.
    pub uplink: Vec<String>,
    /// The program that becomes a runtime by [`launch::launch`]: flowgate.
    pub launcher: PathBuf,
    /// Where the runtimes' folders are.
    pub folder: PathBuf,
    /// The ports that they get, on loopback.
    pub ports: RangeInclusive<u16>,
    /// How long a port that was freed is given to nobody.
    pub port_rest: Duration,
    /// What a line of the log contains once the runtime is ready; empty if that it answers is enough.
    pub ready_line: String,
    /// Variables of our own environment that they get; never one of our settings.
    pub environment: Vec<String>,
    /// What all processes of a runtime may have together.
    pub bounds: Bounds,
    /// The control group below which each gets one; `None` for flowgate's own.
    pub cgroup: Option<PathBuf>,
    /// Bytes of data that each of their processes may have; `None` for no limit.
    pub data_bytes_max: Option<u64>,
    /// Files and sockets that each of their processes may have open.
    pub files_max: u64,
    /// Processes and threads that a tenant's user may have.
    pub threads_max: u64,
    /// How long one may take to be ready.
    pub start_timeout: Duration,
    /// How long one may take to end when it is told to.
    pub stop_timeout: Duration,
}

/// Starts runtimes as processes.
#[derive(Debug)]
pub struct Processes {
    settings: ProcessSettings,
    isolation: Isolation,
    limits: Limits,
    /// `None` where nothing can be started.
    spawner: Option<Spawner>,
    ports: Arc<Mutex<Ports>>,
}

/// Why there is no provider.
#[derive(Debug)]
pub enum OpenFault {
    /// What the settings say is not to be had here.
    Settings(String),
    /// The folder cannot be used.
    Folder(io::Error),
}

impl From<io::Error> for OpenFault {
    fn from(error: io::Error) -> Self {
        Self::Folder(error)
    }
}

impl fmt::Display for OpenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(message) => f.write_str(message),
            Self::Folder(error) => error.fmt(f),
        }
    }
}

impl Processes {
    /// A provider that has ended what an earlier one left behind in the folder. Must be called within
    /// a tokio runtime.
    ///
    /// # Errors
    /// See [`OpenFault`].
    pub fn open(settings: ProcessSettings, clock: Clock) -> Result<Self, OpenFault> {
        let isolation = Isolation::of(&settings).map_err(OpenFault::Settings)?;
        let limits = match settings.command.is_empty() {
            true => Limits::Rlimits { why: "nothing is run here".to_owned() },
            false => Limits::find(settings.cgroup.as_deref()).map_err(OpenFault::Settings)?,
        };
        let mut ports = Ports::new(settings.ports.clone(), settings.port_rest, clock);
        let mut spawner = None;
        if !settings.command.is_empty() {
            spawner = Some(Spawner::start()?);
            if let Some(users) = &settings.users {
                users::note_owners(&settings.folder, users)?;
            }
            for (note, ended) in folder::end_orphans(&settings.folder)? {
                if ended {
                    tracing::warn!(pid = note.pid, "a runtime that was left behind was ended");
                }
                ports.rest(note.port);
            }
        }
        Ok(Self { settings, isolation, limits, spawner, ports: Arc::new(Mutex::new(ports)) })
    }

    /// Whether there is a command.
    #[must_use]
    pub fn can_start(&self) -> bool {
        self.spawner.is_some()
    }

    /// What keeps runtimes apart.
    #[must_use]
    pub fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// What bounds their memory and processor time.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn group(&self, order: &Order) -> io::Result<Option<Group>> {
        let Limits::Groups(groups) = &self.limits else { return Ok(None) };
        let name = format!("{}-{}", order.username, order.tenant);
        let ProcessSettings { bounds, threads_max, .. } = self.settings;
        groups.make((&name, order.fence), bounds, threads_max).map(Some)
    }

    async fn start_one(&self, order: &Order) -> Result<Running, StartFault> {
        let nothing = || StartFault::new("process_command is not set: nothing can be started here");
        let spawner = self.spawner.as_ref().ok_or_else(nothing)?;
        let failed = |what: &str, error: &io::Error| StartFault::new(&format!("{what}: {error}"));
        let folder = Folder::make(&self.settings.folder, order)
            .map_err(|error| failed("the folder cannot be made", &error))?;
        // Until it is noted down what runs here.
        let (lock, held) = clear(folder.clone(), order.fence)
            .await
            .map_err(|error| failed("the folder is in use", &error))?;
        let port = Port::take(&self.ports).ok_or_else(|| StartFault::new("no port is free"))?;
        let log = Log::open(&folder.log_file(), &self.settings.ready_line)
            .map_err(|error| failed("the log cannot be written", &error))?;
        let (lines, output) = io::pipe().map_err(|error| failed("no pipe can be made", &error))?;
        let lines = pipe::Receiver::from_owned_fd(lines.into())
            .map_err(|error| failed("the pipe is of no use", &error))?;
        let user = self.settings.users.as_ref();
        let user = user.map(|range| users::user_of(&self.settings.folder, &folder.home(), range));
        let user = user.transpose().map_err(|error| failed("it gets no user", &error))?;
        if let Some(user) = user {
            folder
                .give_to(user)
                .map_err(|error| failed("its folder cannot be given to it", &error))?;
        }
        let group = self.group(order).map_err(|error| failed("it gets no group", &error))?;
        let mut launch = self.launch(order, &folder, port.number, user);
        launch.orders.group = group.as_ref().map(|group| group.path().to_owned());
        let keeper = spawner.spawn(launch, output).await;
        let keeper = keeper.map_err(|error| failed("it cannot be started", &error))?;
        let log = Arc::new(log);
        tokio::spawn(Arc::clone(&log).take_in(lines));
        let pid = keeper.pid().ok_or_else(|| StartFault::new("it ended at once"))?;
        let note = Note::of(pid, port.number, order.fence);
        let note = note.and_then(|note| folder.note(&note).map(|()| note));
        let mut running = Running {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port.number)),
            network: None,
            keeper,
            folder,
            note: note.map_err(|error| failed("it cannot be noted down", &error))?,
            log,
            group,
            memory_bytes_max: self.settings.bounds.memory_bytes_max,
            stop_timeout: self.settings.stop_timeout,
            _port: port,
            _held: held,
        };
        drop(lock);
        let is_isolated = self.isolation.is_full();
        match timeout(self.settings.start_timeout, running.until_ready(order, is_isolated)).await {
            Ok(Ok(())) => Ok(running),
            Ok(Err(why)) => Err(StartFault { why, log_tail: running.log.tail() }),
            Err(_) => {
                let seconds = self.settings.start_timeout.as_secs();
                let why = format!("it was not ready within {seconds} s");
                Err(StartFault { why, log_tail: running.log.tail() })
            }
        }
    }

    fn launch(&self, order: &Order, folder: &Folder, port: u16, user: Option<u32>) -> Launch {
        let home = folder.home();
        let fill = |text: &String| {
            text.replace("{port}", &port.to_string())
                .replace("{folder}", &home.display().to_string())
                .replace("{username}", order.username.as_str())
        };
        let named = self.settings.environment.iter().map(String::as_str);
        let allowed = ENVIRONMENT.into_iter().chain(named);
        let allowed = allowed.filter(|name| !name.starts_with("FLOWGATE_"));
        let mut environment: Vec<(String, String)> =
            allowed.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))).collect();
        environment.extend([
            ("HOME".to_owned(), home.display().to_string()),
            // Not where others may lay traps.
            ("TMPDIR".to_owned(), home.display().to_string()),
            ("PORT".to_owned(), port.to_string()),
            ("RUNTIME_NAME".to_owned(), order.username.to_string()),
        ]);
        Launch {
            launcher: self.settings.launcher.clone(),
            command: self.settings.command.iter().map(fill).collect(),
            environment,
            folder: home,
            orders: Orders {
                data_bytes_max: self.data_bytes_max(),
                ..self.settings.orders(user, self.isolation.is_full())
            },
        }
    }

    /// Where nothing bounds the memory of all processes together it bounds each.
    fn data_bytes_max(&self) -> Option<u64> {
        let ProcessSettings { data_bytes_max, bounds, .. } = &self.settings;
        match (&self.limits, data_bytes_max, bounds.memory_bytes_max) {
            (Limits::Rlimits { .. }, Some(data), Some(memory)) => Some(memory.min(*data)),
            (Limits::Rlimits { .. }, None, memory) => memory,
            (_, data, _) => *data,
        }
    }
}

impl RuntimeProvider for Processes {
    type Running = Running;

    async fn start(&self, order: &Order) -> Result<Running, StartFault> {
        self.start_one(order).await
    }

    async fn condition(&self, order: &Order) -> Condition {
        let Some(note) = Folder::of(&self.settings.folder, order).running() else {
            return Condition::Down;
        };
        let network = match self.isolation.is_full() {
            // Until it has left ours anybody may be at that port.
            true => match Network::of(note.pid.unsigned_abs()) {
                Ok(Some(network)) => Some(network),
                _ => return Condition::Silent,
            },
            false => None,
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, note.port));
        match answers::answers(address, network.as_ref(), &order.probe_path).await {
            true => Condition::Answers,
            false => Condition::Silent,
        }
    }

    async fn log_tail(&self, order: &Order) -> Vec<u8> {
        log::tail_of(&Folder::of(&self.settings.folder, order).log_file())
    }

    /// None: they end with flowgate.
    async fn left_running(&self) -> Vec<TenantId> {
        Vec::new()
    }
}

impl ProcessSettings {
    fn orders(&self, user: Option<u32>, is_isolated: bool) -> Orders {
        Orders {
            parent: getpid().as_raw_nonzero().get(),
            user,
            is_isolated,
            group: None,
            uplink: self.uplink.clone(),
            data_bytes_max: self.data_bytes_max,
            files_max: self.files_max,
            threads_max: self.threads_max,
        }
    }
}

/// Takes a folder for a start, which is the first file's, and for as long as it runs; ends what was left
/// running there.
async fn clear(folder: Folder, fence: u64) -> io::Result<(File, File)> {
    let cleared = tokio::task::spawn_blocking(move || {
        let lock = folder.lock()?;
        folder.end_orphan(fence)?;
        Ok((lock, folder.hold()?))
    });
    cleared.await.map_err(io::Error::other)?
}
