//! A change of a tenant's instance or plan against handshakes and plain requests, in every order.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::super::*;
use super::world::*;
use super::*;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};

use crate::registry::record::TenantRecord;
use crate::registry::store::Expected;
use crate::tenant::OnChange;

const STEPS: [Step; 5] =
    [Step::Admitted, Step::Entered, Step::Confirmed, Step::Answered, Step::Switched];

/// What becomes of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Old,
    New,
    /// A 101, then nothing but 1012.
    Told1012,
    /// The refusal of this code.
    Refused(&'static str),
}

fn move_to(record: &mut TenantRecord, port: u16, on_change: OnChange) {
    let instance = record.instance.as_mut().unwrap();
    (instance.port, instance.on_change) = (port, on_change);
}

fn is_told_1012(received: &[u8]) -> bool {
    let reason = Cause::RuntimeMoved.reason();
    let close = [&[0x88, 2 + reason.len() as u8, 0x03, 0xf4], reason.as_bytes()].concat();
    received.starts_with(b"HTTP/1.1 101") && received.ends_with(&[b"\r\n\r\n", &close[..]].concat())
}

async fn received(client: std::thread::JoinHandle<Vec<u8>>) -> Vec<u8> {
    tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap()
}

/// Holds a handshake at a step, makes the change, lets it go on, and sees where it comes to; at the
/// end it is ended by another key, so that each runtime tells whether it had it.
async fn fate(
    world: &World,
    new: &Runtime,
    step: Step,
    change: impl Fn(&mut TenantRecord),
) -> Fate {
    world.journey.gate.hold_at(step);
    let client = world.client();
    world.journey.gate.reached().await;
    world.change(change).await;
    if step != Step::Switched {
        world.journey.gate.hold_at(Step::Switched);
    }
    world.journey.gate.open();
    if step != Step::Switched {
        let refused = async {
            while !client.is_finished() {
                tokio::task::yield_now().await;
            }
        };
        let either = async {
            tokio::select! {
                () = world.journey.gate.reached() => {}
                () = refused => {}
            }
        };
        tokio::time::timeout(WAIT_MAX, either).await.expect("the handshake goes on, or is refused");
    }
    world.regenerate().await;
    world.journey.gate.open();
    let received = received(client).await;
    world.wait_until_idle().await;
    let text = String::from_utf8_lossy(&received).into_owned();
    if text.starts_with("HTTP/1.1 503") {
        assert!(text.to_ascii_lowercase().contains("retry-after: "), "{text}");
        assert!(new.ends.try_recv().is_err(), "{step:?}: it has got nothing");
        let codes = ["runtime_moved", "no_runtime"];
        let code = codes.into_iter().find(|code| text.contains(&format!("\"{code}\"")));
        return Fate::Refused(code.unwrap_or_else(|| panic!("{text}")));
    }
    if is_told_1012(&received) {
        let frames = world.runtime.ends.recv_timeout(WAIT_MAX).unwrap();
        assert_eq!(frames[0], 0x88, "{step:?}: the old runtime is told, too");
        return Fate::Told1012;
    }
    assert!(is_closed_with(&received, "API key regenerated"), "{step:?}: {text}");
    let whose = async {
        loop {
            if new.ends.try_recv().is_ok() {
                return Fate::New;
            }
            if world.runtime.ends.try_recv().is_ok() {
                return Fate::Old;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT_MAX, whose).await.expect("one of the runtimes had it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_handshake_comes_to_where_the_runtime_has_moved_away_from() {
    for step in STEPS {
        let world = World::start(Way::Front).await;
        let (new, port) = start_runtime();
        let fate = fate(&world, &new, step, |record| move_to(record, port, OnChange::Move)).await;
        let expected = match step {
            Step::Admitted => Fate::New,
            Step::Entered | Step::Confirmed => Fate::Refused("runtime_moved"),
            Step::Answered | Step::Switched => Fate::Told1012,
        };
        assert_eq!(fate, expected, "{step:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_stays_and_what_has_not_been_dialled_goes_to_the_new_runtime() {
    for step in STEPS {
        let world = World::start(Way::Front).await;
        let (new, port) = start_runtime();
        let fate = fate(&world, &new, step, |record| move_to(record, port, OnChange::Keep)).await;
        let expected = match step {
            Step::Admitted | Step::Entered => Fate::New,
            Step::Confirmed | Step::Answered | Step::Switched => Fate::Old,
        };
        assert_eq!(fate, expected, "{step:?}");
    }
}

/// Its path was made for the old roots; under the new ones it could be the editor's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_roots_want_a_new_request() {
    for step in [Step::Admitted, Step::Entered] {
        let world = World::start(Way::Front).await;
        let (new, port) = start_runtime();
        let change = |record: &mut TenantRecord| {
            move_to(record, port, OnChange::Keep);
            record.instance.as_mut().unwrap().admin_root = Some("/api/thing".into());
        };
        let fate = fate(&world, &new, step, change).await;
        assert_eq!(fate, Fate::Refused("runtime_moved"), "{step:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_that_is_taken_away_ends_what_its_setting_does_not_keep() {
    for (step, on_change) in
        STEPS.into_iter().flat_map(|step| [(step, OnChange::Keep), (step, OnChange::Move)])
    {
        let world = World::start(Way::Front).await;
        let set = |record: &mut TenantRecord| {
            record.instance.as_mut().unwrap().on_change = on_change;
        };
        world.change(set).await;
        let (new, _) = start_runtime();
        let fate = fate(&world, &new, step, |record| record.instance = None).await;
        let expected = match (step, on_change) {
            (Step::Admitted | Step::Entered, _) => Fate::Refused("no_runtime"),
            (_, OnChange::Keep) => Fate::Old,
            (Step::Confirmed, OnChange::Move) => Fate::Refused("runtime_moved"),
            (_, OnChange::Move) => Fate::Told1012,
        };
        assert_eq!(fate, expected, "{step:?} {on_change:?}");
        let late = received(world.client()).await;
        assert!(is_refused(&late), "a wrong key is told before that");
    }
}

/// Without a gate: whatever the order turns out to be, nothing stays on the old runtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_race_between_handshakes_and_a_move_has_a_survivor() {
    for round in 0..10_u32 {
        let world = World::start(Way::Front).await;
        let (new, port) = start_runtime();
        let clients: Vec<_> = (0..20).map(|_| world.client()).collect();
        for _ in 0..round * 100 {
            tokio::task::yield_now().await;
        }
        world.change(|record| move_to(record, port, OnChange::Move)).await;
        // What is still open when nothing is on the old one any more is on the new one.
        let handled = |client: &std::thread::JoinHandle<_>| client.is_finished();
        let settled = async {
            loop {
                let ended = clients.iter().filter(|client| handled(client)).count();
                let live = usize::try_from(world.journey.live.len()).unwrap();
                let is_seated = world.journey.live.entries().iter().all(|entry| entry.is_seated());
                if ended + live == clients.len() && is_seated {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(WAIT_MAX, settled).await.expect("every handshake has come somewhere");
        world.regenerate().await;
        let (mut old_ones, mut new_ones) = (0, 0);
        for client in clients {
            let received = received(client).await;
            let text = String::from_utf8_lossy(&received).into_owned();
            match () {
                () if is_closed_with(&received, "API key regenerated") => new_ones += 1,
                () if is_told_1012(&received) => old_ones += 1,
                () => assert!(text.starts_with("HTTP/1.1 503") || is_refused(&received), "{text}"),
            }
        }
        world.wait_until_idle().await;
        for _ in 0..new_ones {
            new.ends.recv_timeout(WAIT_MAX).unwrap();
        }
        for _ in 0..old_ones {
            world.runtime.ends.recv_timeout(WAIT_MAX).unwrap();
        }
    }
}

/// Answers plain requests on kept connections: a letter at once, or four of ten and the others
/// when it is told to.
struct Plain {
    port: u16,
    finish: SyncSender<()>,
    begun: Receiver<()>,
}

fn start_plain(letter: char) -> Plain {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (finish, finished) = sync_channel(1);
    let (begin, begun) = sync_channel(1);
    let finished = Arc::new(std::sync::Mutex::new(finished));
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (mut socket, begin, finished) =
                (socket.unwrap(), begin.clone(), Arc::clone(&finished));
            std::thread::spawn(move || {
                socket.set_read_timeout(Some(WAIT_MAX)).unwrap();
                let answer = |length: usize, now: usize| {
                    let text = letter.to_string().repeat(now);
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}")
                };
                loop {
                    let head = read_head(&mut socket);
                    if head.starts_with("GET /api/slow") {
                        socket.write_all(answer(10, 4).as_bytes()).unwrap();
                        begin.send(()).unwrap();
                        let _ = finished.lock().unwrap().recv();
                        let _ = socket.write_all(letter.to_string().repeat(6).as_bytes());
                    } else if head.is_empty() || socket.write_all(answer(1, 1).as_bytes()).is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    Plain { port, finish, begun }
}

impl World {
    /// The body of the answer to a plain request, as far as it came.
    fn get(&self, path: &str) -> std::thread::JoinHandle<String> {
        let (address, path) = (self.address, path.to_owned());
        std::thread::spawn(move || {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.set_read_timeout(Some(WAIT_MAX)).unwrap();
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\napikey: {KEY}\r\n\r\n"
            );
            socket.write_all(request.as_bytes()).unwrap();
            let mut received = Vec::new();
            let _ = socket.read_to_end(&mut received);
            let received = String::from_utf8(received).unwrap();
            received.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
        })
    }

    async fn body(&self, path: &str) -> String {
        let asking = self.get(path);
        let body = tokio::task::spawn_blocking(|| asking.join().unwrap()).await.unwrap();
        self.wait_until_idle().await;
        body
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_is_not_used_for_the_new_address() {
    let world = World::start(Way::Front).await;
    let (a, b) = (start_plain('a'), start_plain('b'));
    for on_change in [OnChange::Keep, OnChange::Move] {
        for (port, body) in [(a.port, "a"), (b.port, "b"), (a.port, "a"), (b.port, "b")] {
            world.change(|record| move_to(record, port, on_change)).await;
            assert_eq!([world.body("/api/x").await, world.body("/api/x").await], [body; 2]);
        }
    }
    world.change(|record| record.instance = None).await;
    assert!(world.body("/api/x").await.contains("\"no_runtime\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_under_way_is_kept_or_cut() {
    for (on_change, expected) in [(OnChange::Keep, "aaaaaaaaaa"), (OnChange::Move, "aaaa")] {
        let world = World::start(Way::Front).await;
        let (a, b) = (start_plain('a'), start_plain('b'));
        world.change(|record| move_to(record, a.port, on_change)).await;
        let asking = world.get("/api/slow");
        a.begun.recv_timeout(WAIT_MAX).unwrap();
        // The head is here; the body's beginning too, once the entry is that of an answer.
        world.change(|record| move_to(record, b.port, on_change)).await;
        if on_change == OnChange::Keep {
            a.finish.send(()).unwrap();
        }
        let body = tokio::task::spawn_blocking(|| asking.join().unwrap()).await.unwrap();
        if on_change == OnChange::Keep {
            assert_eq!(body, expected);
        } else {
            // Refused if the answer had not begun for flowgate, else cut.
            assert!(expected.starts_with(&body) || body.contains("\"runtime_moved\""), "{body}");
            a.finish.send(()).unwrap();
        }
        world.wait_until_idle().await;
        assert_eq!(world.body("/api/x").await, "b");
    }
}

/// The tenant's plan is changed while the handshake is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plan_of_the_last_look_counts() {
    use crate::registry::record::PLAN;
    use crate::registry::store::{Change, Write};
    for step in STEPS {
        let world = World::start(Way::Front).await;
        let change = Change::Put { indexes: Vec::new(), body: br#"{"message_bytes":5}"#.to_vec() };
        let write = Write { kind: PLAN, id: "five".into(), expected: Expected::Absent, change };
        world.journey.registry.store().write(vec![write]).await.unwrap();
        world.journey.gate.hold_at(step);
        let client = world.client();
        world.journey.gate.reached().await;
        world.change(|record| record.plan = Some("five".into())).await;
        world.journey.gate.hold_at(Step::Switched);
        if step != Step::Switched {
            world.journey.gate.open();
            world.journey.gate.reached().await;
        }
        let entries = world.journey.live.entries();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].message_bytes_max(), 5, "{step:?}");
        world.regenerate().await;
        world.journey.gate.open();
        assert!(is_closed_with(&received(client).await, "API key regenerated"), "{step:?}");
    }
}
