//! What one client, one address and a shortage of descriptors can and cannot do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::support::flowgate::{Flowgate, ask, program};
use crate::support::profiles::{MIKE_KEY, mike};
use crate::support::runtime::{Runtime, echo, text_from_client};
use crate::support::websocket::{WebSocket, handshake};
use crate::support::{PATIENCE, wait_until};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const DATA: &str = "/public/mike/data";

/// A client that says nothing.
fn silent(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// What a client gets to read, if anything.
fn told(mut socket: TcpStream, request: &str) -> String {
    let mut answer = Vec::new();
    // A refusal may come before the request, and the end with it.
    let _ = socket.write_all(request.as_bytes());
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn an_address_has_so_many_connections_and_not_one_more() {
    let runtime = Runtime::echo();
    let flags = ["--connections-per-address-max", "3", "--workers", "2"];
    let flowgate = Flowgate::start(&mike(runtime.address), &flags);
    let mut held: Vec<WebSocket> =
        (0..3).map(|_| WebSocket::connect(flowgate.data, DATA, "")).collect();
    // Without a request in its hands nothing can make the refusal be lost.
    let refused = told(silent(flowgate.data), "");
    assert!(
        refused.starts_with("HTTP/1.1 503 ") && refused.contains("\"overloaded\""),
        "{refused}"
    );
    assert!(refused.contains("\r\nRetry-After: 2\r\n"), "{refused}");
    flowgate.wait_for_line("why is in the log", |line| {
        line["why"] == "its address has as many connections as one may have"
    });
    // Operators have places of their own, and who is connected stays so.
    assert!(ask(flowgate.admin, HEALTH).starts_with("HTTP/1.1 200 "));
    for websocket in &mut held {
        websocket.send(&text_from_client("still here"));
        assert_eq!(websocket.receive_text(), "still here");
    }
    held.pop();
    wait_until("the place is free again", || told(silent(flowgate.data), HEALTH).contains(" 200 "));
    drop(held);
}

/// Whoever opens connections faster than they are refused takes no places from others by it.
#[test]
fn who_is_turned_away_holds_no_place() {
    let runtime = Runtime::echo();
    let flags = ["--workers", "1", "--connections-per-address-max", "1", "--connections-max", "2"];
    let flowgate = Flowgate::start(&mike(runtime.address), &flags);
    let _held = WebSocket::connect(flowgate.data, DATA, "");
    let turned_away: Vec<TcpStream> = (0..50).map(|_| silent(flowgate.data)).collect();
    for socket in turned_away {
        assert!(told(socket, "").starts_with("HTTP/1.1 503 "));
    }
    let why = "its address has as many connections as one may have";
    let lines = || flowgate.log().iter().filter(|line| line["why"] == why).count();
    wait_until("all of that is in the log", || lines() == 50);
    let full = "connections_max is reached: new connections wait";
    assert!(!flowgate.raw_log().contains(full));
}

#[test]
fn a_head_has_so_many_lines_and_not_one_more() {
    let runtime = Runtime::start(|mut socket| {
        socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    for (lines, status) in [(100, "200"), (101, "431")] {
        let own = "GET /public/mike/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        let answer = flowgate.ask(&format!("{own}{}\r\n", "X: y\r\n".repeat(lines - 2)));
        assert_eq!(&answer[9..12], status, "{lines} lines");
    }
}

#[test]
fn short_of_descriptors_clients_are_refused_and_everyone_else_goes_on() {
    const MAX: u64 = 152;
    const SHORT: &str = "file descriptors run short: new clients are refused";
    let runtime = Runtime::accepting(echo);
    let flags = ["--workers", "1", "--relay-threads", "1", "--header-timeout", "10m"];
    let flowgate = Flowgate::start_with_descriptors(&mike(runtime.address), MAX, &flags);
    let key = format!("apikey: {MIKE_KEY}\r\n");
    let mut live = WebSocket::connect(flowgate.data, "/api/data", &key);
    let early = silent(flowgate.data);
    // They take what is kept for operators, so that less is left than the clients' limit counts on.
    let operators: Vec<TcpStream> = (0..61).map(|_| silent(flowgate.admin)).collect();
    wait_until("they are in", || flowgate.descriptors() > 60);
    let count = || flowgate.log().iter().filter(|line| line["message"] == SHORT).count();
    let mut clients = Vec::new();
    wait_until("descriptors run short", || {
        clients.push(silent(flowgate.data));
        count() > 0
    });
    assert!(flowgate.descriptors() < MAX as usize - 30, "{}", flowgate.descriptors());
    // Who came late is refused, again and again, and that is said once.
    assert_eq!(told(silent(flowgate.data), ""), "");
    assert_eq!(told(silent(flowgate.data), ""), "");
    assert_eq!(count(), 1);
    assert!(ask(flowgate.admin, HEALTH).starts_with("HTTP/1.1 200 "));
    live.send(&text_from_client("still here"));
    assert_eq!(live.receive_text(), "still here");
    // Who was let in and has a credential gets a connection to the runtime.
    let mut early = WebSocket::ask(early, handshake("/api/data", "localhost", &key));
    early.send(&text_from_client("me too"));
    assert_eq!(early.receive_text(), "me too");
    drop((clients, operators));
    wait_until("clients are served again", || {
        told(silent(flowgate.data), HEALTH).starts_with("HTTP/1.1 200 ")
    });
    flowgate
        .wait_for_line("it is over", |line| line["message"] == "there are file descriptors again");
    assert_eq!(count(), 1);
}

/// The program as a user starts it, without the tests' own flags.
#[test]
fn there_are_no_core_dumps() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = program()
        .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .args(["--registry", "memory:"])
        .current_dir(folder.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("\"ready\"")), "it ended");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let words: Vec<&str> = core.split_whitespace().collect();
    assert!(words[4..6].iter().all(|limit| ["0", "1"].contains(limit)), "{core}");
    // What belongs to root then is nobody else's to look into.
    let memory = std::fs::metadata(format!("/proc/{}/environ", child.id())).unwrap();
    assert_eq!(memory.uid(), 0);
    assert!(
        Command::new("kill").args(["-ABRT", &child.id().to_string()]).status().unwrap().success()
    );
    let status = child.wait().unwrap();
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
}
