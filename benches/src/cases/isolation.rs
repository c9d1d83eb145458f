//! What one tenant notices of the others. They load the proxy from a process of their own, which
//! yields to the generator.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::handshakes::{AT_ONCE, Visitors, requests};
use super::http::request;
use super::{echo, logins};
use crate::bench::{Bench, Visit};
use crate::clock::wait_for;
use crate::fault::{Fault, Result};
use crate::load::churn::Churn;
use crate::load::fleet::{Fleet, Traffic};
use crate::load::http::{Answer, Http};
use crate::load::{Entrance, Load, PATIENCE, Tally, be_polite};
use crate::process::{LOAD_CORE, Launch, Process};
use crate::rivals::{self, Door, Rival};
use crate::tenants;
use crate::tls::{Handshakes, Speech};
use crate::websocket::{Message, handshake};

/// Of the tenant that is measured.
const CONNECTIONS: usize = 20;
/// Their messages, all together, where they do not come as fast as they pass: a tenth of that.
const PACED_PER_SECOND: u32 = 10_000;
const REFUSED_PER_SECOND: u32 = 10_000;
/// How often a disturbance says how it does.
const SAYS_EACH: Duration = Duration::from_millis(100);
/// Beside tenant `t0`, which is measured.
const OTHER: usize = 1;

/// What somebody else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// One client logs in with wrong passwords without pause.
    Login,
    /// Four do.
    Logins,
    /// Another tenant sends as much as passes.
    Flood,
    /// Handshakes with a wrong key.
    Refusals,
    /// Full TLS handshakes, as many as pass.
    Tls,
    /// Another tenant's key is made anew each second.
    Regenerate,
}

use Disturbance::{Flood, Login, Logins, Refusals, Regenerate, Tls};

impl Disturbance {
    /// All.
    pub const ALL: [Self; 6] = [Login, Logins, Flood, Refusals, Tls, Regenerate];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Login => "login",
            Logins => "logins",
            Flood => "flood",
            Refusals => "refusals",
            Tls => "tls",
            Regenerate => "regenerate",
        }
    }

    fn variant(self) -> String {
        match self {
            Login => "1 client logs in with bcrypt".to_owned(),
            Logins => "4 clients log in with bcrypt".to_owned(),
            Flood => "another tenant floods".to_owned(),
            Refusals => format!("{REFUSED_PER_SECOND} handshakes/s are refused"),
            Tls => "TLS handshakes storm".to_owned(),
            Regenerate => "a key is regenerated each second".to_owned(),
        }
    }
}

/// Who checks credentials and passwords; and, for what the flood does to the runtime and the generator
/// alone, no proxy and one that only copies.
pub fn suits(rival: Rival) -> bool {
    is_yardstick(rival) || matches!(rival, Rival::Flowgate | Rival::Nginx | Rival::Haproxy)
}

fn is_yardstick(rival: Rival) -> bool {
    matches!(rival, Rival::Direct | Rival::Floor)
}

pub fn visit(bench: &mut Bench, visit: &mut Visit) -> Result<()> {
    let mut fleet = echo::fleet(visit, CONNECTIONS)?;
    measure(bench, visit, &mut fleet, "nothing else happens", None)?;
    for disturbance in Disturbance::ALL {
        let is_known = match disturbance {
            Flood => true,
            Regenerate => visit.rival.is_flowgate(),
            Login | Logins | Refusals | Tls => !is_yardstick(visit.rival),
        };
        if !is_known {
            continue;
        }
        let address = match (disturbance, visit.running.secure_address) {
            (Tls, Some(secure)) => secure,
            _ => visit.running.address,
        };
        let address = address.to_string();
        // It runs when the generator and the runtime have nothing to do.
        let mut launch = Launch::new(Path::new("/usr/bin/chrt"), ["--idle", "0"]);
        launch.arguments.push(bench.tools.own.display().to_string());
        let arguments =
            ["disturb", disturbance.name(), "--address", &address, "--target", visit.rival.name()];
        launch.arguments.extend(arguments.map(str::to_owned));
        let chain = bench.certificate.chain.display().to_string();
        launch.arguments.extend(["--certificate".to_owned(), chain]);
        let process = Process::start("disturbance", &launch, LOAD_CORE, &bench.folder)?;
        measure(bench, visit, &mut fleet, &disturbance.variant(), Some(process))?;
    }
    Ok(())
}

fn measure(
    bench: &mut Bench,
    visit: &Visit,
    fleet: &mut Fleet,
    variant: &str,
    disturbance: Option<Process>,
) -> Result<()> {
    if let Some(process) = &disturbance {
        let begun = wait_for(PATIENCE, || So::far(process).filter(|so| so.operations > 0.0));
        begun.ok_or_else(|| Fault(format!("no disturbance\n{}", process.printed())))?;
    }
    let message = Rc::new(Message::new(64, 1));
    let traffic = echo::closed_loop(&message, 1, CONNECTIONS);
    let sample = echo::sample_for(bench.scale.long_time, bench, visit, fleet, traffic)?;
    let rate_of = |tally: &Tally| tally.operations as f64 / tally.time.as_secs_f64();
    bench.keep(visit, variant, "messages/s", rate_of(&sample.tally));
    // With what the messages cost when nothing else happens, this tells what the others took.
    if let Some(cpu) = sample.proxy_cpu {
        let share = cpu.as_secs_f64() / sample.tally.time.as_secs_f64();
        bench.keep(visit, variant, "proxy busy %", 100.0 * share);
    }
    let between = disturbance.as_ref().and_then(So::far);
    if let Some(rate) = between.and_then(|so| so.rate_since(So::default())) {
        bench.keep(visit, variant, "disturbances/s", rate);
    }
    // On a core that is busy throughout, whoever else gets a share of it adds that to all waits. What a
    // tenant notices is told by the waits at a rate that leaves room.
    let paced =
        Traffic { message, in_flight: 1, active: CONNECTIONS, per_second: Some(PACED_PER_SECOND) };
    let sample = echo::sample_for(bench.scale.long_time, bench, visit, fleet, paced)?;
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        if let Some(latency) = sample.tally.latency.quantile_us(share) {
            bench.keep(visit, variant, &format!("paced {name} ms"), latency / 1000.0);
        }
    }
    if let Some(mut process) = disturbance {
        let rate = So::far(&process).and_then(|so| so.rate_since(between.unwrap_or_default()));
        if let Some(rate) = rate {
            bench.keep(visit, variant, "paced disturbances/s", rate);
        }
        process.check()?;
    }
    Ok(())
}

/// What a disturbance has done so far.
#[derive(Clone, Copy, Debug, Default)]
struct So {
    operations: f64,
    seconds: f64,
}

impl So {
    /// What it has said last.
    fn far(process: &Process) -> Option<Self> {
        let printed = process.printed();
        let (operations, seconds) = printed.lines().last()?.split_once(' ')?;
        Some(Self { operations: operations.parse().ok()?, seconds: seconds.parse().ok()? })
    }

    /// Operations in a second since a moment; `None` if there was none.
    fn rate_since(self, before: Self) -> Option<f64> {
        let operations = self.operations - before.operations;
        (operations > 0.0).then(|| operations / (self.seconds - before.seconds))
    }
}

/// Disturbs until the process is ended; says how often so far, and in how many seconds.
pub fn disturb(
    disturbance: Disturbance,
    rival: Rival,
    address: SocketAddr,
    certificate: &Path,
    mut say: impl FnMut(u64, Duration),
) -> Result<()> {
    be_polite();
    let http = |connections, path: &str, headers: &str, method, status, rate| {
        let exchange = request(method, path, headers, 0, status, Answer::Anything);
        Http::begin(address, connections, exchange, rate)
            .map(|load| Box::new(load) as Box<dyn Load>)
    };
    let mut load = match disturbance {
        Login => return logins::go_on(rival, address, 1, SAYS_EACH, say),
        Logins => return logins::go_on(rival, address, 4, SAYS_EACH, say),
        Flood => flood(rival, address)?,
        Refusals => {
            let request =
                handshake("bench.test", "/api/data", "apikey: no-key-of-anybody-0123456789\r\n");
            let exchange = crate::load::http::Exchange {
                head: request,
                upload_bytes: 0,
                status: 401,
                answer: Answer::Anything,
            };
            Box::new(Http::begin(address, 50, exchange, Some(REFUSED_PER_SECOND))?)
        }
        Tls => {
            let tls = Some(Speech::with(certificate, Handshakes::Full)?);
            let next = requests(rival, Door::Public, 1, Visitors::Known);
            Box::new(Churn::begin(Entrance { address, tls }, AT_ONCE, next)?)
        }
        Regenerate => {
            let login = format!("Authorization: {}\r\n", rivals::basic(OTHER, tenants::PASSWORD));
            http(1, "/profile/api-key", &login, "POST", 200, Some(1))?
        }
    };
    let mut all = Tally::default();
    loop {
        all.add(&load.drive(SAYS_EACH)?);
        say(all.operations, all.time);
    }
}

fn flood(rival: Rival, address: SocketAddr) -> Result<Box<dyn Load>> {
    let request = rival.handshake(Door::Key, OTHER);
    let mut fleet = Fleet::open(address, std::iter::repeat_n(request, 20))?;
    let message = Rc::new(Message::new(64, 50));
    fleet.begin(Traffic { message, in_flight: 50, active: 20, per_second: None })?;
    Ok(Box::new(fleet))
}
