//! Peers that take nothing, say nothing, or are gone.

use std::io::Write;
use std::net::SocketAddr;

use serde_json::Value;

use crate::support::flowgate::{Flowgate, ask};
use crate::support::http2::{Http2, SETTINGS, WINDOW_UPDATE};
use crate::support::profiles::mike;
use crate::support::runtime::{Runtime, accept, echo, text_from_client};
use crate::support::tls::Authority;
use crate::support::websocket::{BINARY, FIN, PING, PONG, WebSocket, handshake, unmasked};
use crate::support::{PATIENCE, wait_until};

const DATA: &str = "/public/mike/data";
const FLOOD: &str = "/public/mike/flood";
const GET: &str = "GET /public/mike/thing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// A runtime that sends without end under one path, sends messages back under others, and answers
/// requests.
fn flooding() -> Runtime {
    Runtime::start(|mut websocket| {
        if !websocket.head.contains("Sec-WebSocket-Key") {
            return websocket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        accept(&mut websocket, "");
        if !websocket.head.contains("/flood ") {
            return echo(&mut websocket);
        }
        let frame = unmasked(FIN | BINARY, &[7; 60_000]);
        while websocket.socket.write_all(&frame).is_ok() {}
    })
}

/// The sum of a metric.
fn metric(flowgate: &Flowgate, name: &str) -> u64 {
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let page = ask(flowgate.admin, request);
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect("it is there").parse::<f64>().unwrap() as u64
}

#[test]
fn over_the_memory_for_buffers_new_handshakes_are_refused() {
    const MAX: u64 = 1 << 20;
    // One for each direction that is blocked, a little more than what is read at once.
    const BUFFER_BYTES: u64 = 66_000;
    let runtime = flooding();
    let max = MAX.to_string();
    let flags = ["--buffer-memory-max-bytes", &max, "--metrics-open", "true"];
    let flags = [&flags[..], &["--write-stall-max", "1h", "--ping-after", "0s"]].concat();
    let flowgate = Flowgate::start(&mike(runtime.address), &flags);
    let held = || metric(&flowgate, "flowgate_relay_buffers_bytes");
    assert_eq!((held(), metric(&flowgate, "flowgate_relay_buffers_max_bytes")), (0, MAX));
    let mut live = WebSocket::connect(flowgate.data, DATA, "");
    let mut stalled = Vec::new();
    let refused = loop {
        let before = held();
        let answer = WebSocket::open(flowgate.data, handshake(FLOOD, "localhost", ""));
        if !answer.head.starts_with("HTTP/1.1 101 ") {
            break answer.head;
        }
        stalled.push(answer);
        // Somebody's kernel may take some more meanwhile.
        if before <= MAX {
            wait_until("what it does not take waits", || held() > before);
        }
        assert!(stalled.len() < 100, "nothing is counted");
    };
    assert!(stalled.len() as u64 * BUFFER_BYTES > MAX, "refused too early: {}", stalled.len());
    wait_until("it is over the limit", || held() > MAX);
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("\r\nRetry-After: 2\r\n"), "{refused}");
    flowgate.wait_for_line("why is in the log", |line| {
        line["why"] == "buffer_memory_max_bytes is reached" && line["refusal"] == "overloaded"
    });
    // Who is connected stays so, and plain requests have nothing to do with it.
    live.send(&text_from_client("still here"));
    assert_eq!(live.receive_text(), "still here");
    assert!(ask(flowgate.data, GET).starts_with("HTTP/1.1 200 "));
    drop(stalled);
    wait_until("the memory is free again", || held() == 0);
    let mut again = WebSocket::connect(flowgate.data, DATA, "");
    again.send(&text_from_client("back"));
    assert_eq!(again.receive_text(), "back");
}

#[test]
fn what_waits_for_clients_with_http_2_counts_as_well() {
    const MAX: u64 = 1 << 20;
    const STREAMS: u32 = 60;
    /// Of one stream, and of all together.
    const WINDOW: u32 = (1 << 31) - 1;
    let runtime = Runtime::start(|mut socket| {
        socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        while socket.socket.write_all(&[7; 60_000]).is_ok() {}
    });
    let authority = Authority::new();
    let pair = authority.issue("front", &["localhost"]).pair();
    let max = MAX.to_string();
    let flags = [
        "--tls-listen",
        "127.0.0.1:0",
        "--tls-certificates",
        &pair,
        "--buffer-memory-max-bytes",
        &max,
        "--metrics-open",
        "true",
        "--write-stall-max",
        "1h",
    ];
    let flowgate = Flowgate::start(&mike(runtime.address), &flags);
    let held = || metric(&flowgate, "flowgate_relay_buffers_bytes");
    let mut client = Http2::connect(&flowgate, &authority);
    let window = [&[0, 4], &WINDOW.to_be_bytes()[..]].concat();
    client.send(SETTINGS, 0, 0, &window).unwrap();
    client.send(WINDOW_UPDATE, 0, 0, &(WINDOW - 65_535).to_be_bytes()).unwrap();
    for stream in 0..STREAMS {
        client.get(2 * stream + 1, "/public/mike/x", &[]);
    }
    // It may take all of it, and takes nothing.
    wait_until("it is over the limit", || held() > MAX);
    let refused = ask(flowgate.data, &handshake(DATA, "localhost", ""));
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    // One request on a connection is let in, as it would be by HTTP/1.1, and no other beside it.
    let mut other = Http2::connect(&flowgate, &authority);
    other.get(1, "/public/mike/x", &[]);
    assert_eq!(other.receive_of(1).status(), 200);
    other.get(3, "/public/mike/x", &[]);
    let refused = || {
        let log = flowgate.log();
        let why = |line: &&Value| line["why"] == "buffer_memory_max_bytes is reached";
        log.iter().filter(why).count()
    };
    wait_until("it is refused as well", || refused() == 2);
    drop((client, other));
    wait_until("the memory is free again", || held() == 0);
}

#[test]
fn a_silent_runtime_is_asked_and_then_given_up() {
    let (report, reports) = std::sync::mpsc::sync_channel(16);
    // It hears everything and says nothing.
    let runtime = Runtime::accepting(move |websocket| {
        while let Some(frame) = websocket.receive() {
            let _ = report.send(frame.first_byte);
        }
    });
    let flags = ["--ping-runtime-after", "1s", "--ping-after", "0s"];
    let flowgate = Flowgate::start(&mike(runtime.address), &flags);
    let mut websocket = WebSocket::connect(flowgate.data, DATA, "");
    assert_eq!(websocket.receive_close(), (1014, "runtime answered no ping".to_owned()));
    for _ in 0..2 {
        assert_eq!(reports.recv_timeout(PATIENCE).unwrap(), FIN | PING);
    }
    assert_ne!(reports.recv_timeout(PATIENCE).unwrap(), FIN | PING);
}

#[test]
fn a_runtime_that_answers_stays_and_the_client_sees_nothing_of_it() {
    let runtime = Runtime::accepting(|websocket| {
        let mut pings = 0;
        while let Some(frame) = websocket.receive() {
            if frame.first_byte != FIN | PING {
                return;
            }
            websocket.send(&unmasked(FIN | PONG, &frame.payload));
            pings += 1;
            if pings == 4 {
                websocket.send(&unmasked(FIN | 1, b"asked four times"));
            }
        }
    });
    let flags = ["--ping-runtime-after", "1s", "--ping-after", "0s"];
    let flowgate = Flowgate::start(&mike(runtime.address), &flags);
    let mut websocket = WebSocket::connect(flowgate.data, DATA, "");
    assert_eq!(websocket.receive_text(), "asked four times");
}

/// The timers of all established sockets with this port at their own end or the other: 2 is that of
/// keepalive (Linux, `Documentation/networking/proc_net_tcp.rst`).
fn timers(end: usize, address: SocketAddr) -> Vec<String> {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", address.port());
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[end].ends_with(&port) && row[3] == ESTABLISHED)
        .map(|row| row[5][..2].to_owned())
        .collect()
}

#[test]
fn clients_and_runtimes_are_asked_by_tcp() {
    const OWN: usize = 1;
    const OTHER: usize = 2;
    let runtime = Runtime::echo();
    let authority = Authority::new();
    let pair = authority.issue("front", &["localhost"]).pair();
    let tls = ["--tls-listen", "127.0.0.1:0", "--tls-certificates", &pair];
    for (setting, timer) in [("60s", "02"), ("0s", "00")] {
        let flags = [&tls[..], &["--tcp-keepalive", setting]].concat();
        let flowgate = Flowgate::start(&mike(runtime.address), &flags);
        let mut plain = WebSocket::connect(flowgate.data, DATA, "");
        let config = authority.client(&[&rustls::version::TLS13]);
        let mut sealed = crate::support::tls::open(&config, flowgate.tls(), DATA, "");
        plain.send(&text_from_client("hello"));
        assert_eq!(plain.receive_text(), "hello");
        sealed.send(&text_from_client("hello"));
        assert_eq!(sealed.receive_text(), "hello");
        // One that waits for an acknowledgement has another timer for that long.
        for (end, address, count) in
            [(OWN, flowgate.data, 1), (OWN, flowgate.tls(), 1), (OTHER, runtime.address, 2)]
        {
            wait_until("all of them have it", || {
                let timers = timers(end, address);
                timers.len() == count && timers.iter().all(|it| it == timer)
            });
        }
        drop((plain, sealed));
        flowgate.wait_until_idle();
        wait_until("the sockets are gone", || timers(OTHER, runtime.address).is_empty());
    }
}
