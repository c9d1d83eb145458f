//! The way to a runtime: names to addresses, dialling, handshakes and plain requests.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::clock::{Clock, Millis};
use crate::descriptors::{Descriptors, Use, dial_refusal};
use crate::keepalive::Probes;
use crate::metrics::{Phase, Stopwatch};
use crate::own_network::Network;
use crate::refusal::Refusal;
use crate::tenant::Instance;
use crate::tls::Stream;
use crate::tls::runtimes::{Connector, RuntimeTlsFault};

pub mod nodes;
pub mod pool;
pub mod reach;
mod several;
pub mod statics;
pub mod upgrade;

use nodes::Shares;
use pool::Pool;
use reach::Reach;
use several::Watched;

/// How long a name's addresses are believed.
const NAMES_FRESH_FOR: Duration = Duration::from_secs(10);
/// The same where flowgate starts and stops what is behind it: the next time it is elsewhere.
const NAMES_FLEETING_FOR: Duration = Duration::from_secs(1);
/// How long it is believed that a name has none.
const NAMES_FAILED_FOR: Duration = Duration::from_secs(1);
const NAMES_MAX: usize = 4096;
const ADDRESSES_PER_NAME_MAX: usize = 8;

/// How long a look at a runtime may take.
const PROBE_MAX: Duration = Duration::from_secs(1);

/// How long a runtime may take.
#[derive(Clone, Copy, Debug)]
pub struct ConnectSettings {
    /// To accept a TCP connection, and to have done the handshake of TLS if it speaks that.
    pub connect_timeout: Duration,
    /// To answer a handshake. Node-RED leaves an upgrade to an unknown path without an answer.
    pub handshake_timeout: Duration,
    /// To answer a plain request; its body may take longer.
    pub response_timeout: Duration,
    /// The most header bytes of an answer.
    pub header_bytes_max: usize,
    /// When runtimes are asked by TCP whether they are there.
    pub probes: Probes,
}

/// Dials runtimes.
#[derive(Debug)]
pub struct Dialer {
    settings: ConnectSettings,
    reach: Arc<Reach>,
    clock: Clock,
    names: Mutex<HashMap<String, Name>>,
    tls: Connector,
    pool: Arc<Pool>,
    shares: Shares,
    watched: Watched,
}

/// What was found of a name last, and until when that is believed.
type Known = Option<(Millis, Result<Vec<IpAddr>, String>)>;
/// Locked while it is looked up: many handshakes ask once.
type Name = Arc<tokio::sync::Mutex<Known>>;

impl Dialer {
    /// A dialer with an empty name cache, which dials what `reach` allows.
    ///
    /// # Errors
    /// The cryptography for TLS is of no use.
    pub fn new(
        settings: ConnectSettings,
        reach: Arc<Reach>,
        clock: Clock,
    ) -> Result<Self, rustls::Error> {
        let tls = Connector::new()?;
        let (names, pool, shares) = (Mutex::default(), Arc::default(), Shares::default());
        Ok(Self { settings, reach, clock, names, tls, pool, shares, watched: Watched::default() })
    }

    pub(in crate::connect) async fn dial(
        &self,
        instance: &Instance,
        watch: &mut Stopwatch,
    ) -> Result<Stream, Refusal> {
        match &instance.nodes {
            Some(nodes) => self.dial_one_of(instance, nodes, watch).await,
            None => self.dial_there(instance, watch).await,
        }
    }

    async fn dial_there(
        &self,
        instance: &Instance,
        watch: &mut Stopwatch,
    ) -> Result<Stream, Refusal> {
        let attempt = async {
            let unreachable = |error| dial_refusal(&error, format!("{instance}: {error}"));
            let addresses = self.addresses(instance).await.map_err(unreachable)?;
            let addresses = self.reach.filter(instance, addresses)?;
            watch.pass(Phase::Resolve, self.clock.micros());
            let network = instance.network.as_ref();
            let connected = connect(addresses, network, self.settings.probes).await;
            let socket = connected.map_err(unreachable)?;
            let Some(tls) = &instance.tls else { return Ok(Stream::Plain(socket)) };
            self.tls.connect(socket, instance, tls).await.map_err(|fault| match fault {
                RuntimeTlsFault::Certificate(why) => {
                    Refusal::RuntimeCertificate(format!("{instance}: {why}"))
                }
                RuntimeTlsFault::Handshake(why) => {
                    Refusal::RuntimeUnreachable(format!("{instance}: {why}"))
                }
            })
        };
        match timeout(self.settings.connect_timeout, attempt).await {
            Ok(stream) => stream,
            Err(_) => Err(Refusal::RuntimeTimedOut("the runtime did not accept the connection")),
        }
    }

    /// Whether a runtime takes a connection just now, and how long it took for that.
    ///
    /// # Errors
    /// Why not; what takes longer than a second is not waited for.
    pub async fn probe(&self, instance: &Instance) -> Result<Duration, Refusal> {
        let begin = self.clock.now();
        match timeout(PROBE_MAX, self.dial(instance, &mut Stopwatch::default())).await {
            Ok(dialled) => dialled.map(|_| self.clock.now().since(begin)),
            Err(_) => Err(Refusal::RuntimeTimedOut("it took no connection within a second")),
        }
    }

    /// What is dialled, and what is not.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Whether there is an address of the instance's that may be dialled, as far as its name resolves
    /// now.
    ///
    /// # Errors
    /// Each of them is denied.
    pub async fn judge(&self, instance: &Instance) -> Result<(), Refusal> {
        match timeout(self.settings.connect_timeout, self.addresses(instance)).await {
            Ok(Ok(addresses)) => self.reach.filter(instance, addresses).map(|_| ()),
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    /// Where a runtime may be reached and dialled without TLS, if no name has to be looked up for that.
    ///
    /// # Errors
    /// It is denied to dial any of its addresses.
    pub fn known_addresses(&self, instance: &Instance) -> Result<Option<Vec<SocketAddr>>, Refusal> {
        let known = self.known(instance);
        known.map(|addresses| self.reach.filter(instance, addresses)).transpose()
    }

    fn known(&self, instance: &Instance) -> Option<Vec<SocketAddr>> {
        if instance.tls.is_some() || instance.nodes.is_some() {
            return None;
        }
        if let Ok(ip) = instance.host.parse() {
            return Some(vec![SocketAddr::new(ip, instance.port)]);
        }
        let name = self.name(&instance.host);
        let known = name.try_lock().ok()?;
        match &*known {
            Some((until, Ok(ips))) if self.clock.now() < *until => {
                Some(ips.iter().map(|ip| SocketAddr::new(*ip, instance.port)).collect())
            }
            _ => None,
        }
    }

    async fn addresses(&self, instance: &Instance) -> io::Result<Vec<SocketAddr>> {
        let to_socket = |ip: &IpAddr| SocketAddr::new(*ip, instance.port);
        if let Ok(ip) = instance.host.parse() {
            return Ok(vec![to_socket(&ip)]);
        }
        let mut known = self.name(&instance.host).lock_owned().await;
        if let Some((until, found)) = &*known
            && self.clock.now() < *until
        {
            let ips = found.as_ref().map_err(|why| io::Error::other(why.clone()))?;
            return Ok(ips.iter().map(to_socket).collect());
        }
        // In a task of its own: a handshake that gives up leaves the name locked until the answer is
        // there, so that a name which hangs takes one thread and not all.
        let (host, clock) = (instance.host.clone(), self.clock);
        let is_fleeting = instance.provider.is_owned();
        let look_up = tokio::spawn(async move {
            let found = tokio::net::lookup_host((host, 0)).await;
            let found = found.map_err(|error| error.to_string()).map(|found| {
                found.map(|found| found.ip()).take(ADDRESSES_PER_NAME_MAX).collect::<Vec<_>>()
            });
            let fresh_for = match found {
                Ok(_) if is_fleeting => NAMES_FLEETING_FOR,
                Ok(_) => NAMES_FRESH_FOR,
                Err(_) => NAMES_FAILED_FOR,
            };
            *known = Some((clock.now().plus(fresh_for), found.clone()));
            found
        });
        let ips = look_up.await?.map_err(io::Error::other)?;
        Ok(ips.iter().map(to_socket).collect())
    }

    fn name(&self, host: &str) -> Name {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get(host) {
            return Arc::clone(name);
        }
        if names.len() >= NAMES_MAX {
            let now = self.clock.now();
            let is_fresh = |known: &Known| known.as_ref().is_some_and(|(until, _)| now < *until);
            names.retain(|_, name| name.try_lock().map_or(true, |known| is_fresh(&known)));
        }
        let name = Name::default();
        if names.len() < NAMES_MAX {
            names.insert(host.to_owned(), Arc::clone(&name));
        }
        name
    }
}

/// TCP, at the first address that answers.
async fn connect(
    addresses: Vec<SocketAddr>,
    network: Option<&Network>,
    probes: Probes,
) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match dial(address, network).await {
            Ok(socket) => {
                if !Descriptors::of_process().has_room(Use::Runtime, socket.as_raw_fd()) {
                    return Err(Errno::MFILE.into());
                }
                socket.set_nodelay(true)?;
                probes.watch(&socket)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn dial(address: SocketAddr, network: Option<&Network>) -> io::Result<TcpStream> {
    match network {
        Some(network) => {
            TcpSocket::from_std_stream(network.socket(&address)?).connect(address).await
        }
        None => TcpStream::connect(address).await,
    }
}
