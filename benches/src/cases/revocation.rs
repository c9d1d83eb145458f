//! How long a dead key's connections live on: idle ones, and ones under load; through one replica or
//! several.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::bench::{Bench, Visit};
use crate::clock::now;
use crate::fault::{During, Result, fault};
use crate::histogram::Histogram;
use crate::load::fleet::{Fleet, Traffic};
use crate::load::{Load, PATIENCE};
use crate::rivals;
use crate::tenants;
use crate::websocket::{Message, READ_BYTES_MAX, handshake};

/// The close code of a grant that has ended.
const GRANT_ENDED: u16 = 1008;
/// Messages per second of all connections together, under load.
const LOAD_PER_SECOND: u32 = 5_000;

/// Whose key, and where.
pub struct Plan {
    /// The addresses over which the connections are spread; the key is regenerated through the first.
    pub targets: Vec<SocketAddr>,
    /// How many connections.
    pub connections: usize,
    /// Path of the handshakes.
    pub path: String,
    /// The key.
    pub key: String,
    /// The value of `Authorization` of the profile's owner.
    pub login: String,
    /// Whether messages are on their way meanwhile.
    pub is_loaded: bool,
}

/// From the answer to the regeneration until the Close frames. A Close frame before the answer took
/// no time.
pub struct Outcome {
    /// From the request for the regeneration to its answer.
    pub answer: Duration,
    /// How long each connection had to wait.
    pub latency: Histogram,
    /// The longest.
    pub last: Duration,
}

/// Opens, regenerates, waits.
pub fn measure(plan: &Plan) -> Result<Outcome> {
    let headers = format!("apikey: {}\r\n", plan.key);
    let request = handshake("bench.test", &plan.path, &headers);
    let targets = plan.targets.iter().cycle().take(plan.connections);
    let mut fleet = Fleet::open_many(targets.map(|target| (*target, request.clone())))?;
    let per_second = plan.is_loaded.then_some(LOAD_PER_SECOND);
    let active = if plan.is_loaded { plan.connections } else { 0 };
    let message = Rc::new(Message::new(64, 1));
    fleet.begin(Traffic { message, in_flight: 1, active, per_second })?;
    fleet.drive(Duration::from_millis(300))?;

    // So that the password is remembered, and what is measured is no bcrypt.
    ask("GET", plan.targets[0], &plan.login)?;
    // Beside the load, which has to be read meanwhile.
    let (first, login) = (plan.targets[0], plan.login.clone());
    let regenerating = std::thread::spawn(move || ask("POST", first, &login));
    let closed = fleet.drive_until_closed(plan.connections)?;
    let Ok(regenerated) = regenerating.join() else { return fault("the regeneration failed") };
    let (asked, answered) = regenerated?;

    let mut latency = Histogram::default();
    let mut last = Duration::ZERO;
    for close in closed {
        if close.code != GRANT_ENDED {
            return fault(format!("a connection was closed with {}", close.code));
        }
        let took = close.at.saturating_duration_since(answered);
        latency.record(took.as_nanos() as u64);
        last = last.max(took);
    }
    Ok(Outcome { answer: answered - asked, latency, last })
}

/// Asks for the profile, or for a new key; tells when it was asked and when answered.
fn ask(method: &str, address: SocketAddr, login: &str) -> Result<(Instant, Instant)> {
    let mut stream = TcpStream::connect(address).during("connecting")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let path = if method == "POST" { "/api-key" } else { "" };
    let request = format!(
        "{method} /profile{path} HTTP/1.1\r\nHost: bench.test\r\nAuthorization: {login}\r\nContent-Length: 0\r\n\r\n"
    );
    let asked = now();
    stream.write_all(request.as_bytes())?;
    let mut answer = vec![0; READ_BYTES_MAX];
    let count = stream.read(&mut answer).during("the profile's answer")?;
    let answered = now();
    let first =
        String::from_utf8_lossy(&answer[..count]).lines().next().unwrap_or_default().to_owned();
    match first.starts_with("HTTP/1.1 200 ") {
        true => Ok((asked, answered)),
        false => fault(format!("the profile answered with {first}")),
    }
}

/// The case: one replica.
pub fn visit(bench: &mut Bench, visit: &mut Visit) -> Result<()> {
    let connections = bench.scale.many / 3;
    // A key works once; a visit has its own registry.
    for (tenant, is_loaded) in [(1, false), (2, true)] {
        let plan = Plan {
            targets: vec![visit.running.address],
            connections,
            path: "/api/data".to_owned(),
            key: tenants::key(tenant),
            login: rivals::basic(tenant, tenants::PASSWORD),
            is_loaded,
        };
        let outcome = measure(&plan)?;
        let variant =
            format!("{connections} connections, {}", if is_loaded { "under load" } else { "idle" });
        for (name, share) in [("p50 ms", 0.5), ("p99 ms", 0.99)] {
            let latency = outcome.latency.quantile_us(share).unwrap_or_default();
            bench.keep(visit, &variant, name, latency / 1000.0);
        }
        bench.keep(visit, &variant, "last ms", outcome.last.as_secs_f64() * 1000.0);
        bench.keep(visit, &variant, "answer ms", outcome.answer.as_secs_f64() * 1000.0);
    }
    Ok(())
}
