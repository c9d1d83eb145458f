//! A journey with all that it needs, for tests: real sockets, a real registry, one tenant.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};

use super::super::front::FrontDesk;
use super::super::steps::Gate;
use super::super::*;
use crate::accept::{self, AcceptSettings};
use crate::clock::Wall;
use crate::connect::ConnectSettings;
use crate::front::FrontSettings;
use crate::front::plane::{self as front_plane, Plane as FrontPlane};
use crate::profile::{self, Desk};
use crate::registry::record::{InstanceRecord, KeyRecord, TenantRecord};
use crate::registry::store::{Expected, Store};
use crate::registry::{put, testing};
use crate::relay::pair::Patience;
use crate::secret::{Secret, SecretDigest};
use crate::tenant::TenantId;

pub const KEY: &str = "key-of-mike-0123456789";
pub const MIKE: TenantId = TenantId(77);
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// A journey of which a whole way is served.
pub struct World {
    pub journey: Arc<Journey>,
    pub wall: Wall,
    pub address: SocketAddr,
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

pub fn mike(port: u16, wall: &Wall) -> TenantRecord {
    TenantRecord {
        username: "mike".into(),
        password: None,
        keys: vec![key(KEY, wall)],
        plan: None,
        instance: InstanceRecord {
            host: "127.0.0.1".into(),
            port,
            node_root: "/api".into(),
            admin_root: None,
        },
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

impl World {
    /// One that reaches mike's runtime at this port.
    pub async fn start(way: Way, port: u16) -> Self {
        let (clock, wall) = (Clock::start(), Wall::stopped_at(1_900_000_000_000));
        let store = Store::open("memory:").await.unwrap();
        let record = mike(port, &wall);
        store.write(vec![put(MIKE, Expected::Absent, &record).unwrap()]).await.unwrap();
        let registry = Arc::new(Registry::new(store, testing::CACHING, clock, wall.clone()));
        let live = Arc::new(LiveTable::default());
        let (usage, passwords) =
            (Arc::<Usage>::default(), Arc::new(Passwords::start(clock).unwrap()));
        let patience = Patience {
            frame_stall_max: WAIT_MAX,
            write_stall_max: WAIT_MAX,
            half_open_max: WAIT_MAX,
            ping_after: None,
        };
        let desk = Desk {
            registry: Arc::clone(&registry),
            passwords: Arc::clone(&passwords),
            live: Arc::clone(&live),
            usage: Arc::clone(&usage),
            clock,
        };
        let connect = ConnectSettings {
            connect_timeout: WAIT_MAX,
            handshake_timeout: WAIT_MAX,
            response_timeout: WAIT_MAX,
            header_bytes_max: 8192,
        };
        let journey = Arc::new(Journey {
            base_domain: "flows.localhost".into(),
            clock,
            registry,
            usage,
            passwords,
            profile: profile::router(Arc::new(desk)),
            live,
            dialer: Dialer::new(connect, clock),
            plane: Plane::start(1, patience, clock).unwrap(),
            body_bytes_max: 1 << 20,
            request_ids: RequestIds::new().unwrap(),
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
                let (address, front) = serve_with_front(&journey, &handed_over, drained);
                (address, Some(front))
            }
        };
        Self { journey, wall, address, handed_over, front, _drain: drain }
    }
}

fn accept_settings() -> AcceptSettings {
    AcceptSettings {
        connections_max: 100,
        header_timeout: WAIT_MAX,
        write_stall_max: WAIT_MAX,
        header_bytes_max: 8192,
    }
}

fn serve_without_front(journey: &Arc<Journey>, drained: watch::Receiver<bool>) -> SocketAddr {
    let listener = accept::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let answering = Arc::clone(journey);
    tokio::spawn(accept::serve(
        listener,
        accept_settings(),
        Arc::new(Semaphore::new(100)),
        drained,
        move |request, peer| Arc::clone(&answering).answer(request, peer),
    ));
    address
}

/// Serves with a front of one thread.
pub fn serve_with_front(
    journey: &Arc<Journey>,
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
    };
    let (others, brought) = mpsc::channel(100);
    let desk = Arc::new(FrontDesk { journey: Arc::clone(journey), others });
    let handle = tokio::runtime::Handle::current();
    let permits = Arc::new(Semaphore::new(100));
    let listeners = vec![listeners];
    let front =
        FrontPlane::start(listeners, &settings, &permits, journey.clock, &handle, &desk).unwrap();
    let (answering, counted) = (Arc::clone(journey), Arc::clone(handed_over));
    let settings = accept_settings();
    tokio::spawn(accept::serve_handed_over(brought, settings, drained, move |request, peer| {
        counted.fetch_add(1, Ordering::SeqCst);
        Arc::clone(&answering).answer(request, peer)
    }));
    (address, front)
}

impl Drop for World {
    fn drop(&mut self) {
        // Its threads hold the journey.
        drop(self.front.take());
    }
}
