//! Revocation against a handshake, in every order.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::steps::Step;
use crate::registry::ChangeError;
use crate::revoke::{recheck, revoke};

mod same;
mod world;

use world::{MIKE, WAIT_MAX, WAYS, World, key};

const HANDSHAKE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const HANDSHAKE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

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

impl World {
    /// A client on a thread of its own: what it received until the end of its connection.
    fn client(&self) -> std::thread::JoinHandle<Vec<u8>> {
        let address = self.address;
        std::thread::spawn(move || {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.set_read_timeout(Some(WAIT_MAX)).unwrap();
            let request = format!(
                "GET /api/thing HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {HANDSHAKE_KEY}\r\napikey: {}\r\n\r\n",
                world::KEY
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
        let (runtime, port) = start_runtime();
        let world = World::start(way, port).await;
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
                let frames = runtime.ends.recv_timeout(WAIT_MAX).unwrap();
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
        let (runtime, port) = start_runtime();
        end_the_wait(World::start(way, port).await, &runtime).await;
    }
}

async fn end_the_wait(world: World, runtime: &Runtime) {
    runtime.allowed.store(false, Ordering::SeqCst);
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
        let (_runtime, port) = start_runtime();
        end_by_expiry(World::start(way, port).await).await;
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
        let (_runtime, port) = start_runtime();
        let world = World::start(WAYS[round as usize % 2], port).await;
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
