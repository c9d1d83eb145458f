//! A journey with all that it needs, for tests: real sockets, a real registry, one tenant.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::super::front::FrontDesk;
use super::super::steps::Gate;
use super::super::*;
use crate::accept::{self, AcceptSettings};
use crate::analytics::Analytics;
use crate::clock::Wall;
use crate::connect::ConnectSettings;
use crate::front::FrontSettings;
use crate::front::plane::{self as front_plane, Begun, Plane as FrontPlane};
use crate::keepalive::{KeepAlive, Probes};
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::oauth::OAuthSettings;
use crate::permits::Permits;
use crate::presence::{self, Presence};
use crate::profile::{self, Desk};
use crate::registry::record::{InstanceRecord, KeyRecord, TenantRecord};
use crate::registry::store::{Expected, Store};
use crate::registry::{ChangeError, put, testing};
use crate::relay::pair::Patience;
use crate::relay::plane::Prepared;
use crate::revoke::revoke;
use crate::runtimes::Runtimes;
use crate::secret::{Secret, SecretDigest};
use crate::tenant::{OnChange, TenantId};

pub const KEY: &str = "key-of-mike-0123456789";
pub const MIKE: TenantId = TenantId(77);
pub const WAIT_MAX: Duration = Duration::from_secs(60);
pub const PATIENCE: Patience = Patience {
    frame_stall_max: WAIT_MAX,
    write_stall_max: WAIT_MAX,
    half_open_max: WAIT_MAX,
    ping_after: None,
    ping_runtime_after: None,
    lifetime_max: None,
};
const HANDSHAKE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const HANDSHAKE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A journey of which a whole way is served.
pub struct World {
    pub journey: Arc<Journey>,
    pub wall: Wall,
    pub address: SocketAddr,
    pub runtime: Runtime,
    /// Connections that the front did not serve.
    pub handed_over: Arc<AtomicUsize>,
    front: Option<FrontPlane>,
    _drain: watch::Sender<bool>,
}

/// Who carries requests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// tokio and hyper, from the first byte on.
    Others,
    /// The front, as long as nothing has to wait.
    Front,
}

/// Both.
pub const WAYS: [Way; 2] = [Way::Others, Way::Front];

/// Switches protocols once it is allowed to, then tells what it received until its end.
pub struct Runtime {
    pub allowed: Arc<AtomicBool>,
    pub ends: std::sync::mpsc::Receiver<Vec<u8>>,
}

pub fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(socket.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

pub fn start_runtime() -> (Runtime, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let allowed = Arc::new(AtomicBool::new(true));
    let (end, ends) = std::sync::mpsc::sync_channel(16);
    let may_answer = Arc::clone(&allowed);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (mut socket, end, may_answer) =
                (socket.unwrap(), end.clone(), Arc::clone(&may_answer));
            std::thread::spawn(move || {
                socket.set_read_timeout(Some(WAIT_MAX)).unwrap();
                read_head(&mut socket);
                if may_answer.load(Ordering::SeqCst) {
                    let answer = format!(
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: {HANDSHAKE_ACCEPT}\r\n\r\n"
                    );
                    let _ = socket.write_all(answer.as_bytes());
                }
                let mut received = Vec::new();
                let _ = socket.read_to_end(&mut received);
                let _ = end.send(received);
            });
        }
    });
    (Runtime { allowed, ends }, port)
}

pub fn mike(port: u16, wall: &Wall) -> TenantRecord {
    TenantRecord {
        username: "mike".into(),
        password: None,
        keys: vec![key(KEY, wall)],
        retired: Vec::new(),
        plan: None,
        instance: Some(InstanceRecord {
            host: "127.0.0.1".into(),
            port,
            node_root: "/api".into(),
            admin_root: None,
            tls: None,
            on_change: OnChange::Keep,
            process: None,
            kubernetes: None,
            others: Vec::new(),
            probe: None,
        }),
        allowed_origins: Vec::new(),
        disabled: false,
    }
}

pub fn key(secret: &str, wall: &Wall) -> KeyRecord {
    KeyRecord {
        id: "0000000000000000".into(),
        name: None,
        sha256: SecretDigest::of(&Secret::new(secret.into())).to_hex(),
        hint: None,
        created_unix_ms: wall.unix_ms(),
        expires_unix_ms: None,
        scope: Vec::new(),
        previous: None,
    }
}

const CONNECT: ConnectSettings = ConnectSettings {
    connect_timeout: WAIT_MAX,
    handshake_timeout: WAIT_MAX,
    response_timeout: WAIT_MAX,
    header_bytes_max: 8192,
    probes: Probes::NONE,
};

impl World {
    /// One with a runtime of mike's.
    pub async fn start(way: Way) -> Self {
        let (runtime, port) = start_runtime();
        Self::reaching(runtime, port, way).await
    }

    /// One that takes what listens at this port for mike's runtime.
    pub async fn reaching(runtime: Runtime, port: u16, way: Way) -> Self {
        let (clock, wall) = (Clock::start(), Wall::stopped_at(1_900_000_000_000));
        let store = Store::open("memory:").await.unwrap();
        let record = mike(port, &wall);
        store.write(vec![put(MIKE, Expected::Absent, &record).unwrap()]).await.unwrap();
        let registry = Arc::new(Registry::new(store, testing::CACHING, clock, wall.clone()));
        let live = Arc::new(LiveTable::counting(Ledger::default()));
        let usage = Arc::<Usage>::default();
        let passwords = Arc::new(Passwords::start(clock).unwrap());
        let alone = presence::Settings::new(false);
        let presence = Presence::new(registry.clone(), live.clone(), clock, alone).unwrap();
        let dialer = Arc::new(Dialer::new(CONNECT, Arc::default(), clock).unwrap());
        let runtimes = Runtimes::none(&registry, &live, clock);
        let analytics = Analytics::new(live.clone(), registry.clone(), presence.id(), 30);
        let desk = Desk {
            registry: Arc::clone(&registry),
            passwords: Arc::clone(&passwords),
            live: Arc::clone(&live),
            presence: Arc::new(presence),
            analytics: Arc::new(analytics),
            usage: Arc::clone(&usage),
            dialer: Arc::clone(&dialer),
            runtimes: Arc::clone(&runtimes),
            refused: Arc::default(),
            base_domain: "flows.localhost".to_owned(),
            oauth: OAuthSettings::default(),
        };
        let (plane, prepared) = match way {
            Way::Others => (Plane::start(1, PATIENCE, clock).unwrap(), Vec::new()),
            Way::Front => Plane::prepare(1, PATIENCE, clock).unwrap(),
        };
        let journey = Arc::new(Journey {
            base_domain: "flows.localhost".into(),
            trusted_proxies: Default::default(),
            clock,
            registry,
            usage,
            passwords,
            pages: profile::router(Arc::new(desk)),
            tenant_pages: Default::default(),
            live,
            dialer,
            runtimes,
            plane,
            limits: LIMITS,
            request_ids: RequestIds::new().unwrap(),
            metrics: Default::default(),
            refused: Default::default(),
            ready: AtomicBool::new(true),
            switch_timeout: WAIT_MAX,
            gate: Arc::new(Gate::default()),
        });
        // What is not in memory would have to wait.
        let digest = SecretDigest::of(&Secret::new(KEY.into()));
        assert!(journey.registry.by_key(digest).await.unwrap().is_some());
        let (drain, drained) = watch::channel(false);
        let handed_over = Arc::new(AtomicUsize::new(0));
        let (address, front) = match way {
            Way::Others => (serve_without_front(&journey, drained), None),
            Way::Front => {
                let (address, front) = serve_with_front(&journey, prepared, &handed_over, drained);
                (address, Some(front))
            }
        };
        Self { journey, wall, address, runtime, handed_over, front, _drain: drain }
    }

    /// A client on a thread of its own: what it received until the end of its connection.
    pub fn client(&self) -> std::thread::JoinHandle<Vec<u8>> {
        let address = self.address;
        std::thread::spawn(move || {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.set_read_timeout(Some(WAIT_MAX)).unwrap();
            let request = format!(
                "GET /api/thing HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {HANDSHAKE_KEY}\r\napikey: {KEY}\r\n\r\n"
            );
            socket.write_all(request.as_bytes()).unwrap();
            let mut received = Vec::new();
            // A timeout here is an immortal socket.
            socket.read_to_end(&mut received).expect("the connection ends");
            received
        })
    }

    pub async fn regenerate(&self) -> usize {
        let keys = vec![key("another-key-9876543210", &self.wall)];
        self.change(move |record| record.keys.clone_from(&keys)).await
    }

    /// Changes mike; returns how much that ended.
    pub async fn change(&self, change: impl Fn(&mut TenantRecord)) -> usize {
        let changed = self.journey.registry.change(MIKE, |record| {
            change(record);
            Ok::<_, ()>(())
        });
        let (tenant, ()) = match changed.await {
            Ok(changed) => changed,
            Err(ChangeError::Store(error)) => panic!("{error}"),
            Err(_) => panic!("mike is gone"),
        };
        revoke(&self.journey.live, &self.journey.registry, &tenant).await
    }

    pub async fn wait_until_idle(&self) {
        let wait = async {
            while !self.journey.live.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(WAIT_MAX, wait).await.expect("the live table is empty");
    }
}

pub fn is_refused(received: &[u8]) -> bool {
    received.starts_with(b"HTTP/1.1 401")
}

/// A 101, then nothing but a Close frame with 1008 and the reason.
pub fn is_closed_with(received: &[u8], reason: &str) -> bool {
    let close = [&[0x88, 2 + reason.len() as u8, 0x03, 0xf0], reason.as_bytes()].concat();
    received.starts_with(b"HTTP/1.1 101") && received.ends_with(&[b"\r\n\r\n", &close[..]].concat())
}

fn accept_settings() -> AcceptSettings {
    AcceptSettings {
        connections_max: 100,
        connections_per_address_max: 0,
        header_timeout: WAIT_MAX,
        write_stall_max: WAIT_MAX,
        header_bytes_max: 8192,
        headers_max: 100,
        keep_alive: KEEP_ALIVE,
        proxy_protocol_from: Default::default(),
    }
}

const LIMITS: Limits = Limits {
    headers_max: 100,
    url_bytes_max: 8192,
    body_bytes_max: 1 << 20,
    buffer_bytes_max: u64::MAX,
};
const KEEP_ALIVE: KeepAlive = KeepAlive { idle_max: WAIT_MAX, requests_max: None };

fn serve_without_front(journey: &Arc<Journey>, drained: watch::Receiver<bool>) -> SocketAddr {
    let listener = accept::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let answering = Arc::clone(journey);
    tokio::spawn(accept::serve(
        listener,
        None,
        accept_settings(),
        Arc::new(Permits::for_operators(100)),
        drained,
        move |request, peer| Arc::clone(&answering).answer(request, peer),
    ));
    address
}

/// Serves with a front of one thread.
pub fn serve_with_front(
    journey: &Arc<Journey>,
    prepared: Vec<Prepared>,
    handed_over: &Arc<AtomicUsize>,
    drained: watch::Receiver<bool>,
) -> (SocketAddr, FrontPlane) {
    let listeners = front_plane::bind(([127, 0, 0, 1], 0).into(), 1).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let settings = FrontSettings {
        header_timeout: WAIT_MAX,
        write_stall_max: WAIT_MAX,
        connect_timeout: WAIT_MAX,
        handshake_timeout: WAIT_MAX,
        response_timeout: WAIT_MAX,
        header_bytes_max: 8192,
        headers_max: 100,
        body_bytes_max: LIMITS.body_bytes_max,
        keep_alive: KEEP_ALIVE,
        probes: Default::default(),
        proxy_protocol_from: Default::default(),
    };
    let (others, brought) = mpsc::channel(100);
    let desk = Arc::new(FrontDesk { journey: Arc::clone(journey), others });
    let handle = tokio::runtime::Handle::current();
    let permits = Arc::new(Permits::for_operators(100));
    let begun = prepared.into_iter().zip(vec![listeners]).map(|(prepared, listeners)| {
        let Prepared { poll, waker, relay } = prepared;
        Begun { poll, waker, listeners, companion: relay }
    });
    let front =
        FrontPlane::start(begun.collect(), &settings, &permits, journey.clock, &handle, &desk)
            .unwrap();
    let (answering, counted) = (Arc::clone(journey), Arc::clone(handed_over));
    let settings = accept_settings();
    let held = Arc::clone(permits.held());
    tokio::spawn(accept::serve_handed_over(
        brought,
        held,
        settings,
        drained,
        move |request, peer| {
            counted.fetch_add(1, Ordering::SeqCst);
            Arc::clone(&answering).answer(request, peer)
        },
    ));
    (address, front)
}

impl Drop for World {
    fn drop(&mut self) {
        // Its threads hold the journey.
        drop(self.front.take());
    }
}
