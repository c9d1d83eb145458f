//! Whose a request is, where load balancers and proxies stand in front.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConnection, StreamOwned};

use crate::support::PATIENCE;
use crate::support::flowgate::{Flowgate, ask};
use crate::support::profiles::{MIKE_PASSWORD, mike};
use crate::support::runtime::{Runtime, accept, echo, header_value, text_from_client};
use crate::support::tls::Authority;
use crate::support::websocket::{WebSocket, handshake};

const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n";
/// The same client by version 2, with an extension behind the addresses.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\
    \xcb\x00\x71\x07\xc0\x00\x02\x01\xdc\x04\x01\xbb\xee\0\x01\x00";
/// A balancer's own look whether somebody is there.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const GET: &[u8] =
    b"GET /public/mike/thing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
/// With a body, so that the front hands it over.
const POST: &[u8] = b"POST /public/mike/thing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
    Content-Length: 2\r\n\r\nhi";

/// A runtime that answers with what it is told of the client; handshakes are accepted.
fn telling() -> Runtime {
    Runtime::start(|mut websocket| {
        let told = |name| header_value(&websocket.head, name).unwrap_or("nothing").to_owned();
        let body = format!("{} {}", told("X-Forwarded-For"), told("X-Forwarded-Proto"));
        if websocket.head.contains("Sec-WebSocket-Key") {
            accept(&mut websocket, &format!("X-Told: {body}\r\n"));
            return echo(&mut websocket);
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        websocket.send(format!("{head}{body}").as_bytes());
    })
}

fn all_of(mut stream: impl Read) -> String {
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends the pieces one after the other, each in a packet of its own; returns what comes.
fn send(flowgate: &Flowgate, pieces: &[&[u8]]) -> String {
    let mut socket = TcpStream::connect(flowgate.data).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    for piece in pieces {
        socket.write_all(piece).unwrap();
    }
    all_of(socket)
}

#[test]
fn a_balancer_says_whose_connection_it_passes_on() {
    let runtime = telling();
    let flags = ["--proxy-protocol-from", "127.0.0.0/8"];
    let flowgate = Flowgate::start(&mike(runtime.address), &flags);
    for header in [LINE, BINARY] {
        for request in [GET, POST] {
            let whole = [header, request].concat();
            let bytes: Vec<&[u8]> = whole.chunks(1).collect();
            for pieces in [&[header, request][..], &[&whole], &bytes] {
                let answer = send(&flowgate, pieces);
                assert!(answer.ends_with("203.0.113.7 http"), "{answer}");
            }
        }
        let hello = [header, handshake("/public/mike/data", "localhost", "").as_bytes()].concat();
        let hello = String::from_utf8_lossy(&hello).into_owned();
        if header == LINE {
            let mut websocket = WebSocket::open(flowgate.data, hello);
            assert!(websocket.head.contains("203.0.113.7 http"), "{}", websocket.head);
            websocket.send(&text_from_client("hello"));
            assert_eq!(websocket.receive_text(), "hello");
        }
    }
    let line = flowgate.wait_for_line("it is logged", |line| line["message"] == "handshake");
    assert_eq!(line["client"], "203.0.113.7:56324");
    assert!(send(&flowgate, &[LOCAL, GET]).ends_with("127.0.0.1 http"));
    assert!(send(&flowgate, &[b"PROXY UNKNOWN\r\n", GET]).ends_with("127.0.0.1 http"));
    // A second header is none: only the first one is the balancer's.
    let twice = [LINE, LINE, GET].concat();
    assert!(send(&flowgate, &[&twice]).starts_with("HTTP/1.1 400"));
    // Operators and their probes come without.
    assert_eq!(flowgate.status()["ready"], true);
}

#[test]
fn a_balancer_that_does_not_say_it_is_not_served() {
    let authority = Authority::new();
    let files = authority.issue("front", &["localhost"]);
    let flags = [
        "--proxy-protocol-from",
        "127.0.0.1",
        "--header-timeout",
        "1s",
        "--tls-listen",
        "127.0.0.1:0",
        "--tls-certificates",
        &files.pair(),
    ];
    let flowgate = Flowgate::start(&mike(Runtime::nowhere()), &flags);
    for first in [GET, b"PROXY TCP4 nonsense\r\n", b"\x16\x03\x01", b"PROXY TCP4", b""] {
        assert_eq!(send(&flowgate, &[first]), "", "{first:?}");
        let mut socket = TcpStream::connect(flowgate.tls()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(first).unwrap();
        assert_eq!(all_of(socket), "", "{first:?}");
    }
    let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 10_000]].concat();
    assert_eq!(send(&flowgate, &[&endless]), "");
    flowgate
        .wait_for_line("the front says why", |line| line["message"] == "closed: no PROXY header");
    flowgate.wait_for_line("so does the other", |line| line["message"] == "PROXY header failed");
    flowgate.wait_for_line("late", |line| line["message"] == "PROXY header not finished in time");
}

#[test]
fn the_header_comes_before_tls() {
    let authority = Authority::new();
    let files = authority.issue("front", &["localhost"]);
    let runtime = telling();
    let pair = files.pair();
    let flags = ["--tls-listen", "127.0.0.1:0", "--tls-certificates", &pair];
    let proxied = [&flags[..], &["--proxy-protocol-from", "127.0.0.1"]].concat();
    let flowgate = Flowgate::start(&mike(runtime.address), &proxied);
    let config = authority.client(&[&TLS13]);
    for header in [LINE, BINARY] {
        let mut socket = TcpStream::connect(flowgate.tls()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(header).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::clone(&config), name).unwrap();
        let mut stream = StreamOwned::new(session, socket);
        stream.write_all(GET).unwrap();
        let answer = all_of(stream);
        assert!(answer.ends_with("203.0.113.7 https"), "{answer}");
    }
    // By somebody else's program: it says its own address.
    let url = format!("https://localhost:{}/public/mike/thing", flowgate.tls().port());
    let curl = |arguments: &[&str]| {
        let output = Command::new("curl")
            .args(["-sS", "--ipv4", "--cacert"])
            .arg(authority.file())
            .args(arguments)
            .arg(&url)
            .output()
            .expect("curl is needed");
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(curl(&["--haproxy-protocol"]), (true, "127.0.0.1 https".to_owned()));
    assert!(!curl(&[]).0);
}

#[test]
fn of_others_the_header_is_no_header() {
    let runtime = telling();
    for flags in [&[][..], &["--proxy-protocol-from", "192.0.2.0/24"]] {
        let flowgate = Flowgate::start(&mike(runtime.address), flags);
        // In one piece: it is refused before the second one would be read.
        let answer = send(&flowgate, &[&[LINE, GET].concat()]);
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(!flowgate.raw_log().contains("203.0.113.7"));
        assert!(send(&flowgate, &[GET]).ends_with("127.0.0.1 http"));
    }
}

#[test]
fn a_trusted_proxy_is_believed_and_nobody_else() {
    let runtime = telling();
    let headers = "X-Forwarded-For: 127.0.0.1, 203.0.113.7\r\nX-Forwarded-For: 10.0.0.2\r\n\
                   X-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\n";
    let request = |method: &str, more: &str| {
        format!(
            "{method} /public/mike/thing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             {headers}{more}\r\n"
        )
    };
    for (flags, told) in [
        (&["--trusted-proxies", "127.0.0.1,10.0.0.0/8"][..], "203.0.113.7 https"),
        (&["--trusted-proxies", "127.0.0.1"], "10.0.0.2 https"),
        (&["--trusted-proxies", "10.0.0.0/8"], "127.0.0.1 http"),
        (&[], "127.0.0.1 http"),
    ] {
        let flags: Vec<&str> = flags
            .iter()
            .flat_map(|flag| match flag.split_once(',') {
                Some((one, other)) => vec![one, "--trusted-proxies", other],
                None => vec![*flag],
            })
            .collect();
        let flowgate = Flowgate::start(&mike(runtime.address), &flags);
        let client = told.split(' ').next().unwrap();
        for request in [request("GET", ""), request("POST", "Content-Length: 0\r\n")] {
            let answer = flowgate.ask(&request);
            assert!(answer.ends_with(told), "{flags:?}: {answer}");
        }
        let websocket =
            WebSocket::open(flowgate.data, handshake("/public/mike/data", "localhost", headers));
        assert!(websocket.head.contains(&format!("X-Told: {told}\r\n")), "{}", websocket.head);
        let line = flowgate.wait_for_line("it is logged", |line| line["message"] == "handshake");
        let logged = line["client"].as_str().unwrap();
        assert_eq!(logged.split(':').next(), Some(client), "{logged}");
    }
}

#[test]
fn where_a_trusted_proxy_does_the_tls_only_https_is_the_own_origin() {
    use base64::Engine;
    let runtime = telling();
    let login = base64::prelude::BASE64_STANDARD.encode(format!("mike:{MIKE_PASSWORD}"));
    let request = |scheme: &str| {
        format!(
            "GET /api/thing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Basic {login}\r\nOrigin: {scheme}://localhost\r\n\
             X-Forwarded-Proto: https\r\n\r\n"
        )
    };
    let trusting = Flowgate::start(&mike(runtime.address), &["--trusted-proxies", "127.0.0.1"]);
    assert!(ask(trusting.data, &request("https")).starts_with("HTTP/1.1 200"));
    assert!(ask(trusting.data, &request("http")).contains("foreign_origin"));
    // Of others it says nothing, and either may be right.
    let other = Flowgate::start(&mike(runtime.address), &[]);
    assert!(ask(other.data, &request("http")).starts_with("HTTP/1.1 200"));
}
