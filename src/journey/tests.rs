//! Revocation against a handshake, in every order.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::steps::{Gate, Step};
use super::*;
use crate::accept::{self, AcceptSettings};
use crate::clock::Wall;
use crate::connect::ConnectSettings;
use crate::presence::{self, Presence};
use crate::profile::{self, Desk};
use crate::registry::record::{InstanceRecord, KeyRecord, TenantRecord};
use crate::registry::store::{Expected, Store};
use crate::registry::{ChangeError, put, testing};
use crate::relay::pair::Patience;
use crate::revoke::{recheck, revoke};
use crate::secret::{Secret, SecretDigest};
use crate::tenant::{OnChange, TenantId};

mod changes;

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
    _drain: watch::Sender<bool>,
}

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
        instance: Some(InstanceRecord {
            host: "127.0.0.1".into(),
            port,
            node_root: "/api".into(),
            admin_root: None,
            tls: None,
            on_change: OnChange::Keep,
        }),
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
    async fn start() -> Self {
        let (runtime, port) = start_runtime();
        let (clock, wall) = (Clock::start(), Wall::stopped_at(1_900_000_000_000));
        let store = Store::open("memory:").await.unwrap();
        store.write(vec![put(MIKE, Expected::Absent, &mike(port, &wall)).unwrap()]).await.unwrap();
        let registry = Arc::new(Registry::new(store, testing::CACHING, clock, wall.clone()));
        let live = Arc::<LiveTable>::default();
        let passwords = Arc::new(Passwords::start(clock).unwrap());
        let usage = Arc::<Usage>::default();
        let patience = Patience {
            frame_stall_max: WAIT_MAX,
            write_stall_max: WAIT_MAX,
            half_open_max: WAIT_MAX,
            ping_after: None,
        };
        let alone = presence::Settings::new(false);
        let presence = Presence::new(Arc::clone(&registry), Arc::clone(&live), clock, alone);
        let desk = Desk {
            registry: Arc::clone(&registry),
            passwords: Arc::clone(&passwords),
            live: Arc::clone(&live),
            presence: Arc::new(presence.unwrap()),
            usage: Arc::clone(&usage),
            refused: Arc::default(),
            base_domain: "flows.localhost".to_owned(),
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
            pages: profile::router(Arc::new(desk)),
            tenant_pages: Default::default(),
            live,
            dialer: Dialer::new(connect, clock).unwrap(),
            plane: Plane::start(1, patience, clock).unwrap(),
            body_bytes_max: 1 << 20,
            request_ids: RequestIds::new().unwrap(),
            refused: Default::default(),
            ready: AtomicBool::new(true),
            switch_timeout: WAIT_MAX,
            gate: Arc::new(Gate::default()),
        });
        let listener = accept::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let settings = AcceptSettings {
            connections_max: 100,
            header_timeout: WAIT_MAX,
            write_stall_max: WAIT_MAX,
            header_bytes_max: 8192,
        };
        let (drain, drained) = watch::channel(false);
        let answering = Arc::clone(&journey);
        tokio::spawn(accept::serve(
            listener,
            None,
            settings,
            Arc::new(Semaphore::new(100)),
            drained,
            move |request, peer| Arc::clone(&answering).answer(request, peer),
        ));
        Self { journey, wall, address, runtime, _drain: drain }
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
        let keys = vec![key("another-key-9876543210", &self.wall)];
        self.change(move |record| record.keys.clone_from(&keys)).await
    }

    /// Changes mike; returns how much that ended.
    async fn change(&self, change: impl Fn(&mut TenantRecord)) -> usize {
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

    async fn wait_until_idle(&self) {
        let wait = async {
            while !self.journey.live.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(WAIT_MAX, wait).await.expect("the live table is empty");
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
    for step in [Step::Admitted, Step::Entered, Step::Confirmed, Step::Answered, Step::Switched] {
        let world = World::start().await;
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
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_regenerated_while_the_runtime_is_waited_for_ends_the_wait() {
    let world = World::start().await;
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
    let world = World::start().await;
    let expires_at = world.wall.now().plus(Duration::from_secs(60));
    let changed = world.journey.registry.change(MIKE, |record| {
        record.keys[0].expires_unix_ms = Some(expires_at.0);
        Ok::<_, ()>(())
    });
    assert!(changed.await.is_ok());
    let watch = recheck(Arc::clone(&world.journey.live), Arc::clone(&world.journey.registry));
    tokio::spawn(watch);
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
}

/// Without a gate: whatever the order turns out to be, nothing survives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_race_between_handshakes_and_a_revocation_has_a_survivor() {
    for round in 0..20_u32 {
        let world = World::start().await;
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
