//! Bodies of requests that the front carries on by itself: what reaches the runtime, and what the
//! connection is good for afterwards.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use crate::support::front::{CLOSE, answer, connect, get, handed_over, start};
use crate::support::profiles::MIKE_KEY;
use crate::support::runtime::{Runtime, header_value};
use crate::support::websocket::{WebSocket, read_head};
use crate::support::{PATIENCE, wait_until};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn ask(method: &str, headers: &str, body: &str) -> String {
    format!("{method} /public/mike/x HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}")
}

fn counted(method: &str, body: &str) -> String {
    ask(method, &format!("Content-Length: {}\r\n", body.len()), body)
}

fn chunked(method: &str, chunks: &str) -> String {
    ask(method, "Transfer-Encoding: chunked\r\n", chunks)
}

/// The data of a body in chunks as flowgate writes them: sizes and nothing else.
fn read_chunks(socket: &mut impl Read) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).expect("a chunk");
            line.push(byte[0]);
        }
        let digits = std::str::from_utf8(&line[..line.len() - 2]).unwrap();
        let size = usize::from_str_radix(digits, 16).expect(digits);
        let mut rest = vec![0; size + 2];
        socket.read_exact(&mut rest).unwrap();
        assert!(rest.ends_with(b"\r\n"));
        if size == 0 {
            return data;
        }
        data.extend_from_slice(&rest[..size]);
    }
}

fn read_body(socket: &mut WebSocket) -> Vec<u8> {
    match header_value(&socket.head, "Transfer-Encoding") {
        Some(coding) => {
            assert_eq!((coding, header_value(&socket.head, "Content-Length")), ("chunked", None));
            read_chunks(&mut socket.socket)
        }
        None => {
            let length = header_value(&socket.head, "Content-Length");
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            socket.socket.read_exact(&mut body).unwrap();
            body
        }
    }
}

/// Answers every request with its method and its body.
fn telling() -> Runtime {
    Runtime::start(|mut socket| {
        while !socket.head.is_empty() {
            let body = read_body(&mut socket);
            let method = socket.head.split(' ').next().unwrap();
            let told = format!("[{method}|{}]", String::from_utf8(body).unwrap());
            let shown = if method == "HEAD" { "" } else { &told };
            let length = told.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{shown}");
            socket.send(answer.as_bytes());
            socket.head = read_head(&mut socket.socket);
        }
    })
}

#[test]
fn bodies_of_either_kind_need_nobody_else() {
    let runtime = telling();
    let flowgate = start(&runtime, &[]);
    let before = handed_over(&flowgate);
    let mut socket = connect(&flowgate);
    for (request, told) in [
        (counted("POST", "four"), "[POST|four]"),
        (chunked("PUT", "2;x=y\r\nfo\r\n2\r\nur\r\n0\r\n\r\n"), "[PUT|four]"),
        (chunked("PATCH", "4\r\nfour\r\n0\r\nX-Auth-User: roberto\r\n\r\n"), "[PATCH|four]"),
        (counted("DELETE", "four"), "[DELETE|four]"),
        (chunked("GET", "1\r\nf\r\n3\r\nour\r\n0\r\n\r\n"), "[GET|four]"),
        (counted("OPTIONS", "four"), "[OPTIONS|four]"),
        (chunked("POST", "0\r\n\r\n"), "[POST|]"),
        (counted("POST", ""), "[POST|]"),
        (ask("POST", "", ""), "[POST|]"),
        (ask("GET", "Expect: 100-continue\r\n", ""), "[GET|]"),
        (ask("GET", "", ""), "[GET|]"),
    ] {
        socket.write_all(request.as_bytes()).unwrap();
        assert_eq!(answer(&mut socket).1, told, "{request}");
    }
    // A refusal leaves a connection whose request was read as a whole.
    let nowhere = counted("POST", "four").replace("/public/mike/x", "/nowhere");
    socket.write_all(nowhere.as_bytes()).unwrap();
    let (head, _) = answer(&mut socket);
    assert!(head.starts_with("HTTP/1.1 404") && !head.contains("close"), "{head}");
    let head_with_body = chunked("HEAD", "4\r\nfour\r\n0\r\n\r\n");
    socket
        .write_all(head_with_body.replace("chunked", "chunked\r\nConnection: close").as_bytes())
        .unwrap();
    let mut rest = String::new();
    socket.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200") && rest.ends_with("\r\n\r\n"), "{rest}");
    assert_eq!(handed_over(&flowgate), before);
}

#[test]
fn a_body_may_come_in_any_pieces_and_with_a_request_behind_it() {
    let runtime = telling();
    let flowgate = start(&runtime, &[]);
    let behind = get("/public/mike/x", CLOSE);
    for (first, told) in [
        (counted("POST", "hello, world"), "[POST|hello, world]"),
        (
            chunked("POST", "005;a=b\r\nhello\r\n7\r\n, world\r\n00\r\nA: b\r\n\r\n"),
            "[POST|hello, world]",
        ),
    ] {
        let both = format!("{first}{behind}");
        // Cuts in the body, and behind it.
        let body = first.find("\r\n\r\n").unwrap();
        for cut in body..first.len() + 9 {
            let mut socket = connect(&flowgate);
            socket.set_nodelay(true).unwrap();
            let (begin, rest) = both.split_at(cut);
            socket.write_all(begin.as_bytes()).unwrap();
            if cut < first.len() {
                wait_until("it is under way, or its head is not whole", || {
                    cut < body + 4 || flowgate.status()["live"] == 1
                });
            }
            socket.write_all(rest.as_bytes()).unwrap();
            let mut all = String::new();
            socket.read_to_string(&mut all).unwrap();
            let expected = [told, "[GET|]"].map(|told| all.matches(told).count());
            assert_eq!(expected, [1, 1], "{cut}: {all}");
            assert_eq!(all.matches("HTTP/1.1 200").count(), 2, "{cut}: {all}");
        }
    }
    flowgate.wait_until_idle();
}

/// Bytes that tell where they are.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place / 4 * (place % 4 + 1) % 251) as u8).collect()
}

#[test]
fn large_bodies_arrive_whole_and_a_slow_runtime_slows_its_client_alone() {
    const LENGTH: usize = 24 << 20;
    let (go, wait) = sync_channel::<()>(0);
    let wait = std::sync::Mutex::new(wait);
    let runtime = Runtime::start(move |mut socket| {
        if socket.head.starts_with("GET") {
            socket.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
            return;
        }
        wait.lock().unwrap().recv().unwrap();
        let is_whole = read_body(&mut socket) == pattern(LENGTH);
        let answer: &[u8] =
            if is_whole { OK } else { b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" };
        socket.send(answer);
    });
    let flowgate = start(&runtime, &[]);
    let before = handed_over(&flowgate);
    let body = Arc::new(pattern(LENGTH));
    for is_chunked in [false, true] {
        let mut socket = connect(&flowgate);
        let head = match is_chunked {
            false => ask("POST", &format!("{CLOSE}Content-Length: {LENGTH}\r\n"), ""),
            true => ask("POST", &format!("{CLOSE}Transfer-Encoding: chunked\r\n"), ""),
        };
        socket.write_all(head.as_bytes()).unwrap();
        let (mut writing, bytes) = (socket.try_clone().unwrap(), Arc::clone(&body));
        let (blocked, is_blocked) = sync_channel(1);
        let writer = std::thread::spawn(move || {
            let mut wire = Vec::new();
            for (place, piece) in bytes.chunks(77_777).enumerate() {
                if is_chunked {
                    // Sizes of all kinds, many in one read and one over many reads.
                    for piece in piece.chunks([1 << 20, 1000, 7][place % 3]) {
                        wire.extend_from_slice(format!("{:X}\r\n", piece.len()).as_bytes());
                        wire.extend_from_slice(piece);
                        wire.extend_from_slice(b"\r\n");
                    }
                } else {
                    wire.extend_from_slice(piece);
                }
            }
            wire.extend_from_slice(if is_chunked { b"0\r\n\r\n" } else { b"" });
            send_and_say_when_blocked(&mut writing, &wire, || blocked.send(()).unwrap());
        });
        is_blocked.recv_timeout(PATIENCE).expect("nobody takes all of it");
        assert!(flowgate.ask(&get("/public/mike/quick", CLOSE)).ends_with("ok"));
        go.send(()).unwrap();
        writer.join().unwrap();
        assert_eq!(answer(&mut socket).1, "ok", "chunked: {is_chunked}");
    }
    assert_eq!(handed_over(&flowgate), before);
    flowgate.wait_until_idle();
}

fn send_and_say_when_blocked(socket: &mut TcpStream, bytes: &[u8], say: impl FnOnce()) {
    socket.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0;
    let mut say = Some(say);
    while sent < bytes.len() {
        match socket.write(&bytes[sent..]) {
            Ok(length) => sent += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                socket.set_write_timeout(Some(PATIENCE)).unwrap();
                say.take().expect("it takes bytes again")();
            }
            Err(error) => panic!("{error} after {sent} bytes"),
        }
    }
    assert!(say.is_none(), "it was never blocked");
}

#[test]
fn a_client_is_invited_once_the_runtime_is_there_and_never_in_vain() {
    let runtime = telling();
    let flowgate = start(&runtime, &["--body-bytes-max", "1000"]);
    let nowhere = start(&Runtime::start(|_| {}), &[]);
    let before = handed_over(&flowgate);
    let expecting = |more: &str| ask("POST", &format!("Expect: 100-Continue\r\n{more}"), "");
    for length in ["Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut socket = connect(&flowgate);
        socket.write_all(expecting(length).as_bytes()).unwrap();
        assert_eq!(read_head(&mut socket), "HTTP/1.1 100 Continue\r\n\r\n");
        let body = if length.contains("chunked") { "4\r\nfour\r\n0\r\n\r\n" } else { "four" };
        socket.write_all(body.as_bytes()).unwrap();
        assert_eq!(answer(&mut socket).1, "[POST|four]");
        // Whoever does not wait is not asked.
        socket.write_all(format!("{}{body}", expecting(length)).as_bytes()).unwrap();
        let (head, told) = answer(&mut socket);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(told, "[POST|four]");
    }
    let private = expecting("Content-Length: 4\r\n").replace("/public/mike", "/api");
    for (request, status) in [
        (expecting("Content-Length: 1001\r\n"), "413"),
        (private.clone(), "401"),
        (private.replace("Host", "apikey: wrong\r\nHost"), "401"),
    ] {
        // The end of the connection is waited for.
        let refused = flowgate.ask(&request);
        assert!(refused.starts_with(&format!("HTTP/1.1 {status}")), "{refused}");
    }
    assert_eq!(handed_over(&flowgate), before);
    drop(runtime);
    let refused = nowhere.ask(&expecting("Content-Length: 4\r\n"));
    assert!(refused.starts_with("HTTP/1.1 502"), "{refused}");
}

/// Answers after the head, and gives the connection away.
fn early(answer: &'static [u8]) -> (Runtime, Receiver<TcpStream>) {
    let (give, given) = sync_channel(1);
    let runtime = Runtime::start(move |mut socket| {
        socket.send(answer);
        let _ = give.send(socket.socket);
    });
    (runtime, given)
}

#[test]
fn an_early_answer_passes_at_once_and_the_body_goes_on() {
    let (runtime, given) = early(OK);
    let flowgate = start(&runtime, &[]);
    let before = handed_over(&flowgate);
    let mut socket = connect(&flowgate);
    for _ in 0..2 {
        socket.write_all(ask("POST", "Content-Length: 9\r\n", "one").as_bytes()).unwrap();
        assert_eq!(answer(&mut socket).1, "ok");
        let mut upstream = given.recv_timeout(PATIENCE).unwrap();
        let mut got = [0; 9];
        upstream.read_exact(&mut got[..3]).unwrap();
        assert_eq!(flowgate.status()["live"], 1, "its body is on its way yet");
        socket.write_all(b"twothr").unwrap();
        upstream.read_exact(&mut got[3..]).unwrap();
        assert_eq!(&got, b"onetwothr");
        flowgate.wait_until_idle();
    }
    assert_eq!(handed_over(&flowgate), before);
}

#[test]
fn a_client_may_send_everything_before_it_reads_anything() {
    const LENGTH: usize = 32 << 20;
    let runtime = Runtime::start(|mut socket| {
        let mut writing = socket.socket.try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
            writing.write_all(head.as_bytes()).unwrap();
            writing.write_all(&pattern(LENGTH)).unwrap();
        });
        assert!(read_body(&mut socket) == pattern(LENGTH));
        writer.join().unwrap();
    });
    let flowgate = start(&runtime, &[]);
    let mut socket = connect(&flowgate);
    let head = ask("POST", &format!("{CLOSE}Content-Length: {LENGTH}\r\n"), "");
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(&pattern(LENGTH)).unwrap();
    assert!(read_head(&mut socket).starts_with("HTTP/1.1 200"));
    let mut all = Vec::new();
    socket.read_to_end(&mut all).unwrap();
    assert!(all == pattern(LENGTH));
    flowgate.wait_until_idle();
}

#[test]
fn what_is_rare_goes_to_others_as_a_whole() {
    let runtime = telling();
    let flowgate = start(&runtime, &[]);
    let key = format!("apikey: {MIKE_KEY}\r\n");
    for (count, request) in [
        ask("PURGE", CLOSE, ""),
        ask(
            "POST",
            &format!("{CLOSE}Transfer-Encoding: chunked\r\nTrailer: A\r\n"),
            "0\r\nA: b\r\n\r\n",
        ),
        counted("POST", "four").replace("HTTP/1.1", "HTTP/1.0"),
        ask("POST", &format!("{CLOSE}Content-Length: 4\r\nExpect: more\r\n"), "four"),
        ask("POST", &format!("{CLOSE}Content-Length: 4\r\nContent-Length: 4\r\n"), "four"),
        counted("POST", "four")
            .replace("Host", &format!("{CLOSE}{key}Host"))
            .replace("/public/mike/x", "/profile"),
    ]
    .into_iter()
    .enumerate()
    {
        let before = handed_over(&flowgate);
        let answer = flowgate.ask(&request);
        assert!(answer.starts_with("HTTP/1."), "{count}: {answer}");
        assert_eq!(handed_over(&flowgate), before + 1, "{request}: {answer}");
    }
}
