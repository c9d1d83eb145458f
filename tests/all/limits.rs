//! What one client, one address and a shortage of descriptors can and cannot do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustls::version::TLS13;

use crate::support::flowgate::{Flowgate, ask};
use crate::support::profiles::{MIKE_KEY, mike};
use crate::support::runtime::{Runtime, echo, text_from_client};
use crate::support::tls::{self, Authority};
use crate::support::websocket::{WebSocket, handshake};
use crate::support::{PATIENCE, wait_until};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const FULL: &str = "its address has as many connections as one may have";
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
    let flags = ["--connections-per-address-max", "3", "--relay-threads", "2"];
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
    flowgate.wait_for_line("why is in the log", |line| line["why"] == FULL);
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

/// Behind a balancer it is the client's address that counts, with and without TLS; the balancer's own
/// looks, and proxies that are believed, are not counted.
#[test]
fn behind_a_balancer_the_clients_address_is_counted() {
    let runtime = Runtime::echo();
    let authority = Authority::new();
    let pair = authority.issue("front", &["localhost"]).pair();
    let flags = ["--connections-per-address-max", "2", "--proxy-protocol-from", "127.0.0.0/8"];
    let tls = ["--tls-listen", "127.0.0.1:0", "--tls-certificates", &pair];
    let flowgate = Flowgate::start(&mike(runtime.address), &[&flags[..], &tls].concat());
    let from = |address: &str| format!("PROXY TCP4 {address} 192.0.2.1 5 80\r\n");
    let request = |before: &str| told(silent(flowgate.data), &format!("{before}{HEALTH}"));
    let connect = |before: &str| {
        let handshake = handshake(DATA, "localhost", "");
        let websocket = WebSocket::open(flowgate.data, format!("{before}{handshake}"));
        assert!(websocket.head.starts_with("HTTP/1.1 101 "), "{}", websocket.head);
        websocket
    };
    let [one, other] = ["203.0.113.7", "203.0.113.8"].map(from);
    let mut held = vec![connect(&one), connect(&one)];
    let refused = request(&one);
    assert!(
        refused.starts_with("HTTP/1.1 503 ") && refused.contains("\"overloaded\""),
        "{refused}"
    );
    flowgate.wait_for_line("whose it is is in the log", |line| {
        line["why"] == FULL && line["client"] == "203.0.113.7:5"
    });
    // Nor by the other listener: the end comes before the handshake of TLS.
    assert_eq!(told(silent(flowgate.tls()), &one), "");
    flowgate.wait_for_line("so does the other say", |line| {
        line["error"] == FULL && line["message"] == "taking a place failed"
    });
    for before in [&other, "PROXY UNKNOWN\r\n"] {
        assert!(request(before).starts_with("HTTP/1.1 200 "), "{before}");
    }
    let unknown: Vec<WebSocket> = (0..5).map(|_| connect("PROXY UNKNOWN\r\n")).collect();
    held.pop();
    wait_until("the place is free again", || request(&one).contains(" 200 "));
    drop((held, unknown));
}

#[test]
fn a_believed_proxy_is_many_clients() {
    let runtime = Runtime::echo();
    let flags = ["--connections-per-address-max", "1", "--trusted-proxies", "127.0.0.1"];
    let flowgate = Flowgate::start(&mike(runtime.address), &flags);
    let held: Vec<WebSocket> =
        (0..5).map(|_| WebSocket::connect(flowgate.data, DATA, "")).collect();
    assert!(ask(flowgate.data, HEALTH).starts_with("HTTP/1.1 200 "));
    drop(held);
}

/// Whoever opens connections faster than they are refused takes no places from others by it.
#[test]
fn who_is_turned_away_holds_no_place() {
    let runtime = Runtime::echo();
    let flags =
        ["--relay-threads", "1", "--connections-per-address-max", "1", "--connections-max", "2"];
    let flowgate = Flowgate::start(&mike(runtime.address), &flags);
    let _held = WebSocket::connect(flowgate.data, DATA, "");
    let turned_away: Vec<TcpStream> = (0..50).map(|_| silent(flowgate.data)).collect();
    for socket in turned_away {
        assert!(told(socket, "").starts_with("HTTP/1.1 503 "));
    }
    let lines = || flowgate.log().iter().filter(|line| line["why"] == FULL).count();
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
fn short_of_descriptors_who_has_a_credential_gets_in_and_everyone_else_goes_on() {
    const MAX: u64 = 136;
    /// With so many open, a few clients get in before descriptors run short.
    const OPERATORS_IN: usize = 80;
    const SHORT: &str = "file descriptors run short: new clients are refused";
    let runtime = Runtime::accepting(echo);
    let authority = Authority::new();
    let pair = authority.issue("front", &["localhost"]).pair();
    let flags = ["--workers", "1", "--relay-threads", "1", "--header-timeout", "10m"];
    let tls = ["--tls-listen", "127.0.0.1:0", "--tls-certificates", &pair];
    let flags = [&flags[..], &tls].concat();
    let flowgate = Flowgate::start_with_descriptors(&mike(runtime.address), MAX, &flags);
    let key = format!("apikey: {MIKE_KEY}\r\n");
    let mut live = WebSocket::connect(flowgate.data, "/api/data", &key);
    // They take what is kept for operators, so that less is left than the clients' limit counts on. What
    // the program began with, its parent's open files among it, differs from place to place.
    let before = flowgate.descriptors();
    // The shortage is over once half of them are free.
    assert!(before < 60, "the program began with {before} descriptors");
    let operators: Vec<TcpStream> =
        (before..OPERATORS_IN).map(|_| silent(flowgate.admin)).collect();
    wait_until("they are in", || flowgate.descriptors() >= OPERATORS_IN);
    let count = || flowgate.log().iter().filter(|line| line["message"] == SHORT).count();
    let mut clients = vec![silent(flowgate.data), silent(flowgate.tls())];
    wait_until("descriptors run short", || {
        clients.extend([silent(flowgate.data), silent(flowgate.tls())]);
        count() > 0
    });
    // Whoever comes takes the place of somebody who has asked for nothing yet, the first first.
    let config = authority.client(&[&TLS13]);
    let mut early = Vec::new();
    let mut early_by_tls = Vec::new();
    for _ in 0..2 {
        clients.extend((0..MAX).map(|_| silent(flowgate.data)));
        early.push(WebSocket::connect(flowgate.data, "/api/data", &key));
        clients.extend((0..MAX).map(|_| silent(flowgate.tls())));
        early_by_tls.push(tls::open(&config, flowgate.tls(), "/api/data", &key));
    }
    for first in clients.drain(..2) {
        assert_eq!(told(first, ""), "");
    }
    assert!(flowgate.descriptors() <= MAX as usize - 17, "{}", flowgate.descriptors());
    assert_eq!(count(), 1, "it is said once");
    assert!(ask(flowgate.admin, HEALTH).starts_with("HTTP/1.1 200 "));
    // Who has asked for something stays.
    for websocket in early.iter_mut().chain([&mut live]) {
        websocket.send(&text_from_client("still here"));
        assert_eq!(websocket.receive_text(), "still here");
    }
    for websocket in &mut early_by_tls {
        websocket.send(&text_from_client("me too"));
        assert_eq!(websocket.receive_text(), "me too");
    }
    drop((clients, operators));
    // Said when somebody comes while there are plenty, not as soon as one is free.
    wait_until("it is over", || {
        told(silent(flowgate.data), HEALTH);
        flowgate.log().iter().any(|line| line["message"] == "there are file descriptors again")
    });
    assert!(told(silent(flowgate.data), HEALTH).starts_with("HTTP/1.1 200 "));
    assert_eq!(count(), 1);
}
