//! A stop is graceful, and a second signal is not.

use crate::support::flowgate::{Flowgate, ask};
use crate::support::profiles::mike;
use crate::support::runtime::{Runtime, text_from_client};
use crate::support::wait_until;
use crate::support::websocket::{WebSocket, handshake, masked};

const PROBE: &str = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
fn a_stop_says_so_waits_closes_with_1001_and_ends() {
    let runtime = Runtime::echo();
    let mut flowgate = Flowgate::start(&mike(runtime.address), &["--drain-delay", "2s"]);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    assert!(ask(flowgate.data, PROBE).starts_with("HTTP/1.1 200"));
    flowgate.signal("-TERM");
    wait_until("it is not ready", || ask(flowgate.admin, PROBE).starts_with("HTTP/1.1 503"));
    // Within drain_delay it still serves whoever has not noticed yet.
    assert!(ask(flowgate.data, PROBE).starts_with("HTTP/1.1 503"));
    let mut late = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    websocket.send(&text_from_client("still relayed"));
    assert_eq!(websocket.receive_text(), "still relayed");
    let expected = (1001, "flowgate is shutting down".to_owned());
    assert_eq!(websocket.receive_close(), expected);
    assert_eq!(late.receive_close(), expected);
    assert!(flowgate.wait().success());
    let said: Vec<String> =
        flowgate.log().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(said.last().map(String::as_str), Some("stopped"));
    assert_eq!(said.iter().filter(|message| *message == "connection ended").count(), 2);
}

#[test]
fn a_stop_lets_handshakes_finish_and_then_closes_them() {
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(0);
    let wait = std::sync::Mutex::new(wait);
    let runtime = Runtime::start(move |mut websocket| {
        let _ = wait.lock().unwrap().recv();
        crate::support::runtime::accept(&mut websocket, "");
        crate::support::runtime::echo(&mut websocket);
    });
    let mut flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let data = flowgate.data;
    let client = std::thread::spawn(move || {
        WebSocket::open(data, handshake("/public/mike/data", "localhost", ""))
    });
    wait_until("the handshake is under way", || flowgate.status()["live"] == 1);
    flowgate.signal("-TERM");
    let websocket = client.join().unwrap();
    assert!(websocket.head.starts_with("HTTP/1.1 503"), "{}", websocket.head);
    drop(go);
    assert!(flowgate.wait().success());
}

#[test]
fn drain_timeout_cuts_who_does_not_leave() {
    let runtime = Runtime::echo();
    let mut flowgate = Flowgate::start(&mike(runtime.address), &["--drain-timeout", "0s"]);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    flowgate.signal("-INT");
    assert!(flowgate.wait().success());
    assert!(websocket.receive().is_none_or(|frame| frame.close().0 == 1001));
}

#[test]
fn a_second_signal_cuts() {
    let runtime = Runtime::echo();
    let flags = ["--drain-delay", "1h", "--drain-timeout", "1h"];
    let mut flowgate = Flowgate::start(&mike(runtime.address), &flags);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    flowgate.signal("-TERM");
    flowgate.wait_for_line("it stops", |line| line["signal"] == "SIGTERM");
    assert!(flowgate.runs());
    websocket.send(&masked(0x81, b"x"));
    assert_eq!(websocket.receive_text(), "x");
    flowgate.signal("-TERM");
    assert!(flowgate.wait().success());
    assert_eq!(websocket.receive(), None);
}

#[test]
fn many_connections_are_told_in_paces() {
    const CONNECTIONS: usize = 300;
    let runtime = Runtime::echo();
    let mut flowgate = Flowgate::start(&mike(runtime.address), &["--drain-timeout", "10s"]);
    let mut websockets: Vec<WebSocket> = (0..CONNECTIONS)
        .map(|_| WebSocket::connect(flowgate.data, "/public/mike/data", ""))
        .collect();
    wait_until("all are live", || flowgate.status()["live"] == CONNECTIONS);
    flowgate.signal("-TERM");
    for websocket in &mut websockets {
        assert_eq!(websocket.receive_close().0, 1001);
    }
    assert!(flowgate.wait().success());
    let ends = flowgate.log();
    let ends = ends.iter().filter(|line| line["message"] == "connection ended");
    let mut durations: Vec<u64> = ends.map(|line| line["duration_ms"].as_u64().unwrap()).collect();
    durations.sort_unstable();
    assert_eq!(durations.len(), CONNECTIONS);
}

#[test]
fn a_stop_lets_a_download_finish() {
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(0);
    let wait = std::sync::Mutex::new(wait);
    let runtime = Runtime::start(move |mut socket| {
        socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
        let _ = wait.lock().unwrap().recv();
        socket.send(b" half");
    });
    let mut flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let request = "GET /public/mike/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut download = WebSocket::open(flowgate.data, request);
    assert!(download.head.starts_with("HTTP/1.1 200"), "{}", download.head);
    flowgate.signal("-TERM");
    flowgate.wait_for_line("it stops", |line| line["signal"] == "SIGTERM");
    go.send(()).unwrap();
    let mut body = String::new();
    std::io::Read::read_to_string(&mut download.socket, &mut body).unwrap();
    assert_eq!(body, "first half");
    assert!(flowgate.wait().success());
}
