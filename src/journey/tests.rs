//! Revocation against a handshake, in every order.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};

use super::front::FrontDesk;
use super::steps::{Gate, Step};
use super::*;
use crate::accept::{self, AcceptSettings};
use crate::clock::Wall;
use crate::connect::ConnectSettings;
use crate::front::FrontSettings;
use crate::front::plane::{self as front_plane, Plane as FrontPlane};
use crate::profile::{self, Desk};
use crate::registry::record::{InstanceRecord, KeyRecord, TenantRecord};
use crate::registry::store::{Expected, Store};
use crate::registry::{ChangeError, put, testing};
use crate::relay::pair::Patience;
use crate::revoke::{recheck, revoke};
use crate::secret::{Secret, SecretDigest};
use crate::tenant::TenantId;

const KEY: &str = "key-of-mike-0123456789";
const MIKE: TenantId = TenantId(77);
const WAIT_MAX: Duration = Duration::from_secs(60);
const HANDSHAKE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const HANDSHAKE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

struct World {
    journey: Arc<Journey>,
    wall: Wall,
    address: SocketAddr,
    runtime: Runtime,
    /// Connections that the front did not serve.
    handed_over: Arc<AtomicUsize>,
    front: Option<FrontPlane>,
    _drain: watch::Sender<bool>,
}

/// Who carries requests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// tokio and hyper, from the first byte on.
    Others,
    /// The front, as long as nothing has to wait.
    Front,
}

const WAYS: [Way; 2] = [Way::Others, Way::Front];

/// Switches protocols once it is allowed to, then tells what it received until its end.
struct Runtime {
    allowed: Arc<AtomicBool>,
    ends: std::sync::mpsc::Receiver<Vec<u8>>,
}

fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(socket.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn start_runtime() -> (Runtime, u16) {
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

fn mike(port: u16, wall: &Wall) -> TenantRecord {
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

fn key(secret: &str, wall: &Wall) -> KeyRecord {
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
    async fn start(way: Way) -> Self {
        let (runtime, port) = start_runtime();
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
        Self { journey, wall, address, runtime, handed_over, front, _drain: drain }
    }

    /// A client on a thread of its own: what it received until the end of its connection.
    fn client(&self) -> std::thread::JoinHandle<Vec<u8>> {
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

    async fn regenerate(&self) -> usize {
        let wall = &self.wall;
        let changed = self.journey.registry.change(MIKE, |record| {
            record.keys = vec![key("another-key-9876543210", wall)];
            Ok::<_, ()>(())
        });
        let (tenant, ()) = match changed.await {
            Ok(changed) => changed,
            Err(ChangeError::Store(error)) => panic!("{error}"),
            Err(_) => panic!("mike is gone"),
        };
        revoke(&self.journey.live, &tenant, wall.now())
    }

    async fn wait_until_idle(&self) {
        let wait = async {
            while !self.journey.live.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(WAIT_MAX, wait).await.expect("the live table is empty");
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

fn serve_with_front(
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

fn is_refused(received: &[u8]) -> bool {
    received.starts_with(b"HTTP/1.1 401")
}

/// A 101, then nothing but a Close frame with 1008 and the reason.
fn is_closed_with(received: &[u8], reason: &str) -> bool {
    let close = [&[0x88, 2 + reason.len() as u8, 0x03, 0xf0], reason.as_bytes()].concat();
    received.starts_with(b"HTTP/1.1 101") && received.ends_with(&[b"\r\n\r\n", &close[..]].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_regenerated_at_any_step_leaves_nothing_behind() {
    let steps = [Step::Admitted, Step::Entered, Step::Confirmed, Step::Answered, Step::Switched];
    for (way, step) in WAYS.into_iter().flat_map(|way| steps.map(|step| (way, step))) {
        let world = World::start(way).await;
        world.journey.gate.hold_at(step);
        let client = world.client();
        world.journey.gate.reached().await;
        let ended = world.regenerate().await;
        world.journey.gate.open();
        let received = tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
        // The table knows of it from `Entered` on; before, the handshake has to find out itself.
        assert_eq!(ended, usize::from(step != Step::Admitted), "{step:?}");
        let text = String::from_utf8_lossy(&received).into_owned();
        match step {
            Step::Admitted | Step::Entered | Step::Confirmed => {
                assert!(is_refused(&received), "{step:?}: {text}");
            }
            // The runtime has switched, so the client is told by a Close frame.
            Step::Answered | Step::Switched => {
                assert!(is_closed_with(&received, "API key regenerated"), "{step:?}: {text}");
                let frames = world.runtime.ends.recv_timeout(WAIT_MAX).unwrap();
                assert_eq!(frames[0], 0x88, "{step:?}: the runtime is told, too");
            }
        }
        world.wait_until_idle().await;
        assert_eq!(world.handed_over.load(Ordering::SeqCst), 0, "{step:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_regenerated_while_the_runtime_is_waited_for_ends_the_wait() {
    for way in WAYS {
        end_the_wait(World::start(way).await).await;
    }
}

async fn end_the_wait(world: World) {
    world.runtime.allowed.store(false, Ordering::SeqCst);
    let client = world.client();
    let waits = async {
        while world.journey.live.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT_MAX, waits).await.unwrap();
    assert_eq!(world.regenerate().await, 1);
    let received = tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
    assert!(is_refused(&received));
    world.wait_until_idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_expires_ends_what_rests_on_it() {
    for way in WAYS {
        end_by_expiry(World::start(way).await).await;
    }
}

async fn end_by_expiry(world: World) {
    let expires_at = world.wall.now().plus(Duration::from_secs(60));
    let changed = world.journey.registry.change(MIKE, |record| {
        record.keys[0].expires_unix_ms = Some(expires_at.0);
        Ok::<_, ()>(())
    });
    assert!(changed.await.is_ok());
    let watch = recheck(Arc::clone(&world.journey.live), Arc::clone(&world.journey.registry));
    let watch = tokio::spawn(watch);
    world.journey.gate.hold_at(Step::Switched);
    let client = world.client();
    world.journey.gate.reached().await;
    world.journey.gate.open();
    world.wall.advance(Duration::from_secs(60));
    let received = tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
    assert!(is_closed_with(&received, "API key expired"));
    let late = world.client();
    let received = tokio::task::spawn_blocking(|| late.join().unwrap()).await.unwrap();
    assert!(is_refused(&received));
    world.wait_until_idle().await;
    watch.abort();
}

/// Without a gate: whatever the order turns out to be, nothing survives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_race_between_handshakes_and_a_revocation_has_a_survivor() {
    for round in 0..20_u32 {
        let world = World::start(WAYS[round as usize % 2]).await;
        let clients: Vec<_> = (0..20).map(|_| world.client()).collect();
        for _ in 0..round * 50 {
            tokio::task::yield_now().await;
        }
        world.regenerate().await;
        for client in clients {
            let received = tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
            assert!(is_refused(&received) || is_closed_with(&received, "API key regenerated"));
        }
        world.wait_until_idle().await;
    }
}
