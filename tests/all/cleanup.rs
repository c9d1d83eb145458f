//! Nothing stays behind.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde_json::json;

use crate::support::flowgate::Flowgate;
use crate::support::profiles::tenant;
use crate::support::runtime::Runtime;
use crate::support::websocket::{WebSocket, handshake};
use crate::support::{PATIENCE, wait_until};

const HANDSHAKES: usize = 10_000;
const AT_ONCE: usize = 200;

#[test]
fn ten_thousand_handshakes_to_bad_runtimes_leave_nothing_behind() {
    let refusing = Runtime::nowhere();
    let hanging = Runtime::start(|mut websocket| {
        websocket.receive();
    });
    let dying = Runtime::start(drop);
    let declining = Runtime::start(|mut websocket| {
        websocket.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n");
    });
    let profile =
        |name, address| tenant(name, "password", &format!("key-of-{name}-0123456789"), address);
    let profiles = json!({ "tenants": [
        profile("refusing", refusing),
        profile("hanging", hanging.address),
        profile("dying", dying.address),
        profile("declining", declining.address),
    ] });
    let flags = ["--handshake-timeout", "1s", "--log", "warn,flowgate::commands=info"];
    let flowgate = Flowgate::start(&profiles, &flags);
    flowgate.status();
    let before = flowgate.descriptors();
    let expected =
        [("refusing", "502"), ("hanging", "504"), ("dying", "502"), ("declining", "404")];
    let told = [const { AtomicUsize::new(0) }; 4];
    std::thread::scope(|scope| {
        for worker in 0..AT_ONCE {
            let (flowgate, told) = (&flowgate, &told);
            scope.spawn(move || {
                for number in (worker..HANDSHAKES).step_by(AT_ONCE) {
                    // Another order for each worker, so that all kinds are under way at once.
                    let kind = (number / AT_ONCE + worker) % expected.len();
                    let (name, status) = expected[kind];
                    let path = format!("/public/{name}/data");
                    // Every eighth client does not wait for the answer.
                    if number % 8 == 7 {
                        abandon(flowgate, &path);
                    } else {
                        let head = flowgate.ask(&handshake(&path, "localhost", ""));
                        let as_told = head.starts_with(&format!("HTTP/1.1 {status}"));
                        // A busy machine may be too slow for a runtime that does answer.
                        let late = matches!(name, "dying" | "declining") && head.contains(" 504 ");
                        assert!(as_told || late, "{name}: {head}");
                        told[kind].fetch_add(usize::from(as_told), Relaxed);
                    }
                }
            });
        }
    });
    for (told, (name, _)) in told.iter().zip(expected) {
        assert!(told.load(Relaxed) > 0, "{name}");
    }
    flowgate.wait_until_idle();
    // The connection that asks is one itself, as it was before.
    wait_until("all sockets are closed", || {
        flowgate.status();
        flowgate.descriptors() <= before
    });
}

fn abandon(flowgate: &Flowgate, path: &str) {
    let mut socket = TcpStream::connect(flowgate.data).unwrap();
    socket.write_all(handshake(path, "localhost", "").as_bytes()).unwrap();
}

#[test]
fn a_thousand_connections_leave_nothing_behind() {
    const CONNECTIONS: usize = 1000;
    let runtime = Runtime::echo();
    let profiles = crate::support::profiles::mike(runtime.address);
    let flowgate = Flowgate::start(&profiles, &["--log", "warn,flowgate::commands=info"]);
    flowgate.status();
    let before = flowgate.descriptors();
    let open = || WebSocket::connect(flowgate.data, "/public/mike/data", "");
    let mut websockets: Vec<WebSocket> = (0..CONNECTIONS).map(|_| open()).collect();
    wait_until("all are live", || flowgate.status()["live"] == CONNECTIONS);
    for websocket in &mut websockets {
        websocket.send(&crate::support::runtime::text_from_client("hello"));
    }
    for websocket in &mut websockets {
        assert_eq!(websocket.receive_text(), "hello");
    }
    drop(websockets);
    flowgate.wait_until_idle();
    wait_until("all sockets are closed", || flowgate.descriptors() <= before);
}

#[test]
fn a_client_that_never_reads_its_answers_is_let_go() {
    let runtime = Runtime::echo();
    let profiles = crate::support::profiles::mike(runtime.address);
    let flags = ["--connections-max", "1", "--write-stall-max", "1s"];
    let flowgate = Flowgate::start(&profiles, &flags);
    let mut greedy = TcpStream::connect(flowgate.data).unwrap();
    greedy.set_write_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
    let requests = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    // Until the answers that nobody reads keep flowgate from reading more.
    while greedy.write_all(requests.as_bytes()).is_ok() {}
    let mut next = TcpStream::connect(flowgate.data).unwrap();
    next.set_read_timeout(Some(PATIENCE)).unwrap();
    next.write_all(handshake("/public/mike/data", "localhost", "").as_bytes()).unwrap();
    let mut answer = [0; 12];
    next.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    drop(greedy);
}

#[test]
fn connections_max_holds_clients_back_without_losing_them() {
    let runtime = Runtime::echo();
    let profiles = crate::support::profiles::mike(runtime.address);
    let flowgate = Flowgate::start(&profiles, &["--connections-max", "2"]);
    let first = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    let _second = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    let mut third = TcpStream::connect(flowgate.data).unwrap();
    third.set_read_timeout(Some(PATIENCE)).unwrap();
    third.write_all(handshake("/public/mike/data", "localhost", "").as_bytes()).unwrap();
    flowgate.wait_for_line("the limit is reached", |line| {
        line["message"] == "connections_max is reached: new connections wait"
    });
    drop(first);
    let mut answer = [0; 12];
    third.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
}
