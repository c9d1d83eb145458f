//! What a request and a connection may be like: each limit, and one past it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::flowgate::Flowgate;
use crate::support::http2::{DATA, GOAWAY, Http2};
use crate::support::profiles::mike;
use crate::support::runtime::{Runtime, accept, echo, text_from_client};
use crate::support::tls::Authority;
use crate::support::websocket::{WebSocket, handshake, read_head};

/// A runtime that answers requests and sends messages back.
fn both() -> Runtime {
    Runtime::start(|mut websocket| {
        if websocket.head.contains("Sec-WebSocket-Key") {
            accept(&mut websocket, "");
            return echo(&mut websocket);
        }
        websocket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    })
}

/// With plain HTTP and with TLS.
fn start(runtime: &Runtime, flags: &[&str]) -> (Flowgate, Authority) {
    let authority = Authority::new();
    let pair = authority.issue("front", &["localhost"]).pair();
    let tls = ["--tls-listen", "127.0.0.1:0", "--tls-certificates", &pair];
    (Flowgate::start(&mike(runtime.address), &[&tls[..], flags].concat()), authority)
}

/// A connection that is used for several requests.
struct Kept(TcpStream);

impl Kept {
    fn open(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// Head and body of the answer, whose length must be said.
    fn ask(&mut self, method: &str, path: &str, more: &str) -> String {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
        self.0.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        loop {
            let mut byte = [0];
            assert_eq!(self.0.read(&mut byte).unwrap(), 1, "it has ended");
            answer.push(byte[0]);
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() == length.expect("a length").parse::<usize>().unwrap() {
                return text.into_owned();
            }
        }
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }
}

/// One for the front, and one that it hands over.
const WAYS: [(&str, &str); 2] = [("GET", ""), ("POST", "Content-Length: 0\r\n")];
const THING: &str = "/public/mike/thing";

#[test]
fn a_head_has_so_many_lines_as_the_setting_says() {
    let runtime = both();
    for max in [20, 100, 150] {
        let (flowgate, authority) = start(&runtime, &["--headers-max", &max.to_string()]);
        for (method, more) in WAYS {
            let own = more.lines().count() + 1;
            for (lines, status) in [(max, "200"), (max + 1, "431")] {
                let more = format!("{more}{}", "X: y\r\n".repeat(lines - own));
                let request = format!("{method} {THING} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
                let mut socket = TcpStream::connect(flowgate.data).unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket.write_all(request.as_bytes()).unwrap();
                let mut start = [0; 12];
                socket.read_exact(&mut start).unwrap();
                assert_eq!(&start[9..], status.as_bytes(), "{method}, {lines} lines");
            }
        }
        let mut client = Http2::connect(&flowgate, &authority);
        client.get(1, THING, &vec![("x", "y"); max - 1]);
        assert_eq!(client.receive_of(1).status(), 200);
        client.get(3, THING, &vec![("x", "y"); max]);
        assert_ne!(client.receive_of(3).status(), 200);
        let problem: Value = serde_json::from_slice(&client.receive_of(3).payload).unwrap();
        assert_eq!(
            (&problem["status"], &problem["code"]),
            (&431.into(), &"headers_too_large".into())
        );
    }
}

#[test]
fn a_url_may_be_exactly_as_long() {
    let runtime = both();
    let (flowgate, authority) = start(&runtime, &["--url-bytes-max", "3000"]);
    let url = |length: usize| format!("{THING}?q={}", "x".repeat(length - THING.len() - 3));
    let mut kept = Kept::open(flowgate.data);
    for (method, more) in WAYS {
        assert!(kept.ask(method, &url(3000), more).starts_with("HTTP/1.1 200 "));
        let refused = kept.ask(method, &url(3001), more);
        assert!(refused.starts_with("HTTP/1.1 414 "), "{refused}");
        assert!(refused.contains("\"url_too_long\""), "{refused}");
    }
    let open = |length| WebSocket::open(flowgate.data, handshake(&url(length), "localhost", ""));
    assert!(open(3000).head.starts_with("HTTP/1.1 101 "));
    assert!(open(3001).head.starts_with("HTTP/1.1 414 "));
    let mut client = Http2::connect(&flowgate, &authority);
    client.get(1, &url(3000), &[]);
    assert_eq!(client.receive_of(1).status(), 200);
    client.get(3, &url(3001), &[]);
    assert_ne!(client.receive_of(3).status(), 200);
}

#[test]
fn a_long_head_may_come_in_pieces() {
    let runtime = both();
    let (flowgate, _) = start(&runtime, &["--relay-threads", "1"]);
    let head = format!("GET {THING} HTTP/1.1\r\nHost: localhost\r\nX-Long: ");
    for first in [500, 16_000, 16_384 - head.len()] {
        let mut socket = TcpStream::connect(flowgate.data).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(format!("{head}{}", "x".repeat(first)).as_bytes()).unwrap();
        // The same thread has read it before it answers somebody else.
        assert!(Kept::open(flowgate.data).ask("GET", THING, "").contains(" 200 "));
        let rest = format!("{}\r\nConnection: close\r\n\r\n", "x".repeat(25_000 - first));
        socket.write_all(rest.as_bytes()).unwrap();
        let answer = read_head(&mut socket);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{first}: {answer}");
    }
}

#[test]
fn a_kept_connection_has_its_own_patience() {
    let runtime = both();
    // Longer than for a head: who has said nothing yet goes first.
    let flags = ["--keep-alive-timeout", "10m", "--header-timeout", "1s"];
    let (flowgate, authority) = start(&runtime, &flags);
    for (method, more) in WAYS {
        let mut kept = Kept::open(flowgate.data);
        assert!(kept.ask(method, THING, more).contains(" 200 "));
        assert!(Kept::open(flowgate.data).has_ended());
        assert!(kept.ask(method, THING, more).contains(" 200 "));
    }
    let mut client = Http2::connect(&flowgate, &authority);
    client.get(1, THING, &[]);
    assert_eq!(client.receive_of(1).status(), 200);
    assert!(Http2::connect(&flowgate, &authority).ends());
    client.get(3, THING, &[]);
    assert_eq!(client.receive_of(3).status(), 200);

    // Shorter: who has had an answer goes first.
    let flags = ["--keep-alive-timeout", "1s", "--header-timeout", "10m"];
    let (flowgate, authority) = start(&runtime, &flags);
    for (method, more) in WAYS {
        let mut silent = Kept::open(flowgate.data);
        let mut kept = Kept::open(flowgate.data);
        assert!(kept.ask(method, THING, more).contains(" 200 "));
        assert!(kept.has_ended());
        assert!(silent.ask(method, THING, more).contains(" 200 "));
    }
    let mut client = Http2::connect(&flowgate, &authority);
    client.get(1, THING, &[]);
    assert_eq!(client.receive_of(1).status(), 200);
    client.receive_next(GOAWAY);
    assert!(client.ends());
}

#[test]
fn a_connection_brings_so_many_requests_and_not_one_more() {
    let runtime = both();
    let (flowgate, authority) = start(&runtime, &["--keep-alive-requests-max", "3"]);
    let [get, post] = WAYS;
    for ways in [[get, get, get], [post, post, post], [get, get, post], [get, post, get]] {
        for path in [THING, "/healthz", "/nowhere"] {
            let mut kept = Kept::open(flowgate.data);
            for (count, (method, more)) in ways.into_iter().enumerate() {
                let answer = kept.ask(method, path, more);
                let closes = answer.contains("Connection: close\r\n");
                assert_eq!(closes, count == 2, "{ways:?} {path}: {answer}");
            }
            assert!(kept.has_ended());
        }
    }
    // What switches protocols is no request that could be the last.
    let mut kept = Kept::open(flowgate.data);
    kept.ask("GET", THING, "");
    kept.ask("GET", THING, "");
    let mut websocket = WebSocket::ask(kept.0, handshake("/public/mike/data", "localhost", ""));
    assert!(websocket.head.contains("Connection: Upgrade\r\n"), "{}", websocket.head);
    websocket.send(&text_from_client("hello"));
    assert_eq!(websocket.receive_text(), "hello");

    let mut client = Http2::connect(&flowgate, &authority);
    for stream in [1, 3, 5] {
        client.get(stream, THING, &[]);
    }
    client.receive_next(GOAWAY);
    let mut bodies = 0;
    while let Some(frame) = client.receive() {
        bodies += usize::from(frame.kind == DATA && frame.payload == b"ok");
    }
    assert!(bodies <= 3);
}

#[test]
fn a_connection_lives_so_long() {
    let (report, reports) = std::sync::mpsc::sync_channel(1);
    let runtime = Runtime::accepting(move |websocket| {
        let _ = report.send(websocket.receive().map(|frame| frame.close()));
    });
    let expected = (1001, "connection is too old: connect again".to_owned());
    let (flowgate, authority) = start(&runtime, &["--connection-lifetime-max", "1s"]);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    assert_eq!(websocket.receive_close(), expected);
    assert_eq!(reports.recv_timeout(PATIENCE).unwrap(), Some(expected.clone()));
    let config = authority.client(&[&rustls::version::TLS13]);
    let mut websocket = crate::support::tls::open(&config, flowgate.tls(), "/public/mike/data", "");
    assert_eq!(websocket.receive_close(), expected);
    flowgate.wait_until_idle();
}

#[test]
fn operators_have_so_many_connections_and_the_next_one_waits() {
    const OPERATORS_MAX: usize = 64;
    const ASK: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let is_answered = |operator: &mut TcpStream| {
        let head = read_head(operator);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let length = head.to_lowercase().lines().find_map(|line| {
            line.strip_prefix("content-length: ").map(|length| length.parse().unwrap())
        });
        operator.read_exact(&mut vec![0; length.expect("a length")]).unwrap();
    };
    let runtime = both();
    let flags = ["--header-timeout", "10m", "--keep-alive-timeout", "10m"];
    let flowgate = Flowgate::start(&mike(runtime.address), &flags);
    let mut all: Vec<TcpStream> = Vec::new();
    for _ in 0..OPERATORS_MAX {
        let mut operator = TcpStream::connect(flowgate.admin).unwrap();
        operator.set_read_timeout(Some(PATIENCE)).unwrap();
        operator.write_all(ASK).unwrap();
        is_answered(&mut operator);
        all.push(operator);
    }
    let mut one_more = TcpStream::connect(flowgate.admin).unwrap();
    one_more.write_all(ASK).unwrap();
    flowgate.wait_for_line("it waits", |line| {
        line["message"] == "connections_max is reached: new connections wait"
    });
    // Everybody else is answered, and it is not.
    for operator in &mut all {
        operator.write_all(ASK).unwrap();
        is_answered(operator);
    }
    one_more.set_nonblocking(true).unwrap();
    let early = one_more.read(&mut [0; 1]).unwrap_err();
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    one_more.set_nonblocking(false).unwrap();
    one_more.set_read_timeout(Some(PATIENCE)).unwrap();
    all.pop();
    is_answered(&mut one_more);
}

/// A listener that takes no connection any more, and what fills it.
fn unreachable() -> (TcpListener, Vec<TcpStream>) {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&socket, 0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    // The system does not answer who does not fit.
    while let Ok(one) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
        filling.push(one);
        assert!(filling.len() < 100, "it takes all");
    }
    (listener, filling)
}

#[test]
fn a_runtime_has_so_much_time_to_take_a_connection() {
    let (listener, _filling) = unreachable();
    let address = listener.local_addr().unwrap();
    let flags =
        ["--connect-timeout", "1s", "--response-timeout", "1h", "--handshake-timeout", "1h"];
    let flowgate = Flowgate::start(&mike(address), &flags);
    let request = |method: &str| {
        format!(
            "{method} /public/mike/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: 0\r\n\r\n"
        )
    };
    for asked in [request("GET"), request("POST"), handshake("/public/mike/x", "localhost", "")] {
        let answer = flowgate.ask(&asked);
        assert!(answer.starts_with("HTTP/1.1 504 "), "{asked:?}: {answer}");
        assert!(answer.contains("runtime_timeout"), "{asked:?}: {answer}");
    }
}
