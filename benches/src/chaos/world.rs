//! All the processes: Redis, three replicas on it, one flowgate with a file, and runtimes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use flowgate_bench::clock::now;
use flowgate_bench::fault::{During, Result, fault};
use flowgate_bench::ports::Ports;
use serde_json::json;
use tokio::time::sleep;

use crate::accounts::{Home, Tenant};
use crate::http::{ask, request};
use crate::judge::STALE_MAX;
use crate::link::{Cuts, Link};
use crate::program::{Launch, Program};

/// The replicas on Redis; the flowgate with a file comes behind them.
pub const REPLICAS: usize = 3;
/// The flowgate with a file.
pub const SOLO: usize = REPLICAS;
/// The replica that is told another time of day.
pub const CLOCKED: usize = REPLICAS - 1;
/// Runtimes, each of several tenants.
pub const RUNTIMES: usize = 4;
const TENANTS: usize = 40;
const SOLO_TENANTS: usize = 4;
/// Tenants who are made and removed.
const COMING_AND_GOING: usize = 12;
/// Whose account is changed while the disk is full, and by nobody else.
const FOR_THE_DISK: &str = "disk";
/// The operator's token.
pub const TOKEN: &str = "chaos-operator-0123456789abcdefghijkl";
const START_PATIENCE: Duration = Duration::from_secs(60);
const DISK_MIB: usize = 48;

/// A flowgate.
pub struct Replica {
    /// The process.
    pub program: Program,
    /// Where clients come in.
    pub data: SocketAddr,
    /// Where operators come in.
    pub admin: SocketAddr,
    /// The link from clients.
    pub clients: Link,
    /// The link to Redis.
    pub registry: Option<Link>,
    /// What it is told of the time of day, where that can be changed.
    pub clock: Option<PathBuf>,
    /// Where its tenants live.
    pub home: Home,
}

/// A runtime.
pub struct Runtime {
    /// The process.
    pub program: Program,
    /// Where it listens.
    pub address: SocketAddr,
    /// The link from replicas.
    pub link: Link,
}

/// What to start.
pub struct Plan {
    /// flowgate's program.
    pub flowgate: PathBuf,
    /// For files and logs.
    pub folder: PathBuf,
}

/// Everything.
pub struct World {
    /// For files and logs.
    pub folder: PathBuf,
    /// flowgate's program.
    pub flowgate: PathBuf,
    /// Redis.
    pub redis: Program,
    /// Where it listens.
    pub redis_address: SocketAddr,
    /// The replicas, and behind them the flowgate with a file.
    pub replicas: Vec<Replica>,
    /// The runtimes.
    pub runtimes: Vec<Runtime>,
    /// The tenants.
    pub tenants: Vec<Arc<Tenant>>,
    /// A file system of a few MiB with the registry's file; `None` where none may be mounted.
    pub disk: Option<PathBuf>,
}

impl World {
    /// Starts everything and waits until it is ready.
    pub async fn start(plan: Plan, cuts: &Arc<Cuts>) -> Result<Self> {
        let Plan { flowgate, folder } = plan;
        let mut ports = Ports::of_this_process();
        let redis_address = ports.give()?;
        let redis = Program::new(redis_launch(redis_address, &folder)?, &folder);
        let runtimes = runtimes(&mut ports, &folder, cuts).await?;
        let disk = mount(&folder.join("disk"))?;
        let mut world = Self {
            folder,
            flowgate,
            redis,
            redis_address,
            replicas: Vec::new(),
            runtimes,
            tenants: tenants(),
            disk,
        };
        world.start_redis().await?;
        for index in 0..RUNTIMES {
            world.start_runtime(index).await?;
        }
        for home in [Home::Shared, Home::File] {
            world.import(home, &world.registry(home)).await?;
        }
        for index in 0..=SOLO {
            let replica = world.replica(index, &mut ports, cuts).await?;
            replica.program.start()?;
            world.replicas.push(replica);
        }
        for index in 0..world.replicas.len() {
            world.wait_until_ready(index).await?;
        }
        Ok(world)
    }

    /// The registry of a flowgate, as a setting, past all links.
    pub fn registry(&self, home: Home) -> String {
        match home {
            Home::Shared => format!("redis://{}", self.redis_address),
            Home::File => self.file_registry(),
        }
    }

    fn file_registry(&self) -> String {
        let folder = self.disk.as_deref().unwrap_or(&self.folder);
        format!("file:{}", folder.join("registry.redb").display())
    }

    async fn import(&self, home: Home, registry: &str) -> Result<()> {
        let of_home = self.tenants.iter().filter(|one| one.home == home && !one.comes_and_goes);
        let profiles: Vec<_> =
            of_home.map(|tenant| tenant.profile(&self.runtime_address(tenant))).collect();
        let file = self.folder.join("profiles.json");
        std::fs::write(&file, json!({ "tenants": profiles }).to_string())?;
        let file = file.display().to_string();
        self.command(&["import", &file, "--registry", registry]).await.map(drop)
    }

    /// Runs a command of flowgate's; returns what it printed. Beside everything else: links are tasks of
    /// this process, and whoever waits on their thread cuts them.
    pub async fn command(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.flowgate);
        command.args(arguments).env("FLOWGATE_ADMIN_TOKEN", TOKEN).stdin(Stdio::null());
        let running = tokio::task::spawn_blocking(move || command.output());
        let output = running.await.during("waiting for flowgate")?.during("flowgate")?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr);
                let printed = String::from_utf8_lossy(&output.stdout);
                fault(format!("flowgate {}: {said}{printed}", arguments.join(" ")))
            }
        }
    }

    /// Where a tenant's runtime is, for flowgate.
    pub fn runtime_address(&self, tenant: &Tenant) -> String {
        self.runtimes[tenant.runtime].link.address.to_string()
    }

    /// The replicas on Redis.
    pub fn shared_replicas(&self) -> std::ops::Range<usize> {
        0..REPLICAS
    }

    /// Whose account is changed while the disk is full.
    pub fn for_the_disk(&self) -> Vec<Arc<Tenant>> {
        self.tenants.iter().filter(|tenant| tenant.name == FOR_THE_DISK).cloned().collect()
    }

    /// Everybody else.
    pub fn for_operators(&self) -> Vec<Arc<Tenant>> {
        self.tenants.iter().filter(|tenant| tenant.name != FOR_THE_DISK).cloned().collect()
    }

    /// The replicas that a tenant can be reached through.
    pub fn replicas_of(&self, home: Home) -> Vec<usize> {
        match home {
            Home::Shared => (0..REPLICAS).collect(),
            Home::File => vec![SOLO],
        }
    }

    async fn replica(&self, index: usize, ports: &mut Ports, cuts: &Arc<Cuts>) -> Result<Replica> {
        let (data, admin) = (ports.give()?, ports.give()?);
        let home = if index == SOLO { Home::File } else { Home::Shared };
        let registry = match home {
            Home::Shared => Some(Link::to(self.redis_address, Arc::clone(cuts)).await?),
            Home::File => None,
        };
        let url = registry
            .as_ref()
            .map_or_else(|| self.file_registry(), |link| format!("redis://{}", link.address));
        let name = if index == SOLO { "solo".to_owned() } else { format!("replica-{index}") };
        let mut launch = flowgate_launch(&name, &self.flowgate, data, admin, &url);
        let clock = match (index == CLOCKED).then(faketime).flatten() {
            Some(library) => {
                let file = self.folder.join(format!("{name}.clock"));
                std::fs::write(&file, "+0\n")?;
                launch = with_clock(launch, &library, &file);
                Some(file)
            }
            None => None,
        };
        let program = Program::new(launch, &self.folder);
        let clients = Link::to(data, Arc::clone(cuts)).await?;
        Ok(Replica { program, data, admin, clients, registry, clock, home })
    }

    /// Waits until a replica takes requests.
    pub async fn wait_until_ready(&self, index: usize) -> Result<()> {
        let replica = &self.replicas[index];
        let begin = now();
        loop {
            let readiness = request("GET", "/readyz", "", None);
            let answer = ask(replica.admin, &readiness, Duration::from_secs(1)).await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if let Some(status) = replica.program.ended() {
                return fault(format!("{} ended while starting: {status}", replica.program.name()));
            }
            if begin.elapsed() > START_PATIENCE {
                return fault(format!("{} does not become ready", replica.program.name()));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts a runtime and waits until it listens.
    pub async fn start_runtime(&self, index: usize) -> Result<()> {
        let (begin, runtime) = (now(), &self.runtimes[index]);
        runtime.program.start()?;
        while tokio::net::TcpStream::connect(runtime.address).await.is_err() {
            if begin.elapsed() > START_PATIENCE {
                return fault(format!("{} does not listen", runtime.program.name()));
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Starts Redis and waits until it has loaded its data.
    pub async fn start_redis(&self) -> Result<()> {
        let begin = now();
        self.redis.start()?;
        while !redis_says(self.redis_address, "PING").await.starts_with("+PONG") {
            if let Some(status) = self.redis.ended() {
                return fault(format!("redis-server ended while starting: {status}"));
            }
            if begin.elapsed() > START_PATIENCE {
                return fault("redis-server does not answer");
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

/// What Redis answers; nothing if it does not.
pub async fn redis_says(address: SocketAddr, command: &str) -> String {
    let asking = async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match tokio::time::timeout(Duration::from_secs(1), asking).await {
        Ok(Ok(answer)) => answer,
        _ => String::new(),
    }
}

fn redis_launch(address: SocketAddr, folder: &Path) -> Result<Launch> {
    let data = folder.join("redis");
    std::fs::create_dir_all(&data).during("a folder for Redis")?;
    let (port, data) = (address.port().to_string(), data.display().to_string());
    let mut arguments = vec!["--bind", "127.0.0.1", "--port", &port, "--dir", &data];
    // What it acknowledges is on the disk, so that nothing acknowledged may be missing after a kill.
    arguments.extend(["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    Ok(Launch::new("redis", Path::new("redis-server"), arguments))
}

fn flowgate_launch(
    name: &str,
    program: &Path,
    data: SocketAddr,
    admin: SocketAddr,
    registry: &str,
) -> Launch {
    let (data, admin) = (data.to_string(), admin.to_string());
    let stale_max = format!("{}s", STALE_MAX.as_secs());
    let mut arguments = vec!["serve", "--listen", &data, "--admin-listen", &admin];
    arguments.extend(["--registry", registry, "--registry-stale-max", &stale_max]);
    // Whoever runs this need not be root to look into /proc.
    arguments.extend(["--drain-timeout", "4s", "--debuggable", "true", "--log-format", "json"]);
    Launch::new(name, program, arguments)
        .with("FLOWGATE_ADMIN_TOKENS", format!("chaos admin {TOKEN}"))
}

fn with_clock(launch: Launch, library: &Path, file: &Path) -> Launch {
    launch
        .with("LD_PRELOAD", library.display().to_string())
        .with("FAKETIME_TIMESTAMP_FILE", file.display().to_string())
        .with("FAKETIME_NO_CACHE", "1")
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

/// Where libfaketime is, if it is installed.
fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|file| file.exists())
}

/// A small file system in memory, where that is allowed: `scripts/chaos` sees to it, and to its end.
fn mount(folder: &Path) -> Result<Option<PathBuf>> {
    std::fs::create_dir_all(folder).during("a folder for the disk")?;
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={DISK_MIB}m"), "flowgate-chaos"])
        .arg(folder)
        .stderr(Stdio::null())
        .status();
    Ok(mounted.is_ok_and(|status| status.success()).then(|| folder.to_owned()))
}

async fn runtimes(ports: &mut Ports, folder: &Path, cuts: &Arc<Cuts>) -> Result<Vec<Runtime>> {
    let own = std::env::current_exe()?;
    let mut runtimes = Vec::new();
    for index in 0..RUNTIMES {
        let address = ports.give()?;
        let name = format!("runtime-{index}");
        let listen = address.to_string();
        let launch = Launch::new(&name, &own, ["runtime", "--listen", &listen, "--name", &name]);
        let link = Link::to(address, Arc::clone(cuts)).await?;
        runtimes.push(Runtime { program: Program::new(launch, folder), address, link });
    }
    Ok(runtimes)
}

fn tenants() -> Vec<Arc<Tenant>> {
    let tenant = |name: String, home, index: usize, comes_and_goes| {
        Arc::new(Tenant::new(name, home, index % RUNTIMES, comes_and_goes))
    };
    let shared = (0..TENANTS).map(|index| tenant(format!("t{index}"), Home::Shared, index, false));
    let solo = (0..SOLO_TENANTS).map(|index| tenant(format!("s{index}"), Home::File, index, false));
    let guests = (0..COMING_AND_GOING).map(|index| {
        let home = if index % 4 == 0 { Home::File } else { Home::Shared };
        tenant(format!("guest{index}"), home, index, true)
    });
    let for_the_disk = tenant(FOR_THE_DISK.to_owned(), Home::File, 0, false);
    shared.chain(solo).chain(guests).chain([for_the_disk]).collect()
}
