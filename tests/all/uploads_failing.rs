//! Bodies of requests that come to no good end: whoever fails, the other side learns of it, and nothing is
//! taken for what it is not.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};

use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::flowgate::Flowgate;
use crate::support::front::{CLOSE, answer, connect, get, handed_over, start};
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD};
use crate::support::runtime::Runtime;
use crate::support::websocket::read_head;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn post(headers: &str, body: &str) -> String {
    format!("POST /public/mike/x HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}")
}

/// Tells what came behind the head before the connection ended.
fn reading() -> (Runtime, Receiver<Vec<u8>>) {
    let (tell, told) = sync_channel(1);
    let runtime = Runtime::start(move |mut socket| {
        let mut bytes = Vec::new();
        let _ = socket.socket.read_to_end(&mut bytes);
        let _ = tell.send(bytes);
    });
    (runtime, told)
}

/// Answers after the head, and gives the connection away.
fn giving(answer: &'static [u8]) -> (Runtime, Receiver<TcpStream>) {
    let (give, given) = sync_channel(1);
    let runtime = Runtime::start(move |mut socket| {
        socket.send(answer);
        let _ = give.send(socket.socket);
    });
    (runtime, given)
}

/// All that a connection says until it ends.
fn rest_of(mut socket: TcpStream) -> String {
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest);
    String::from_utf8_lossy(&rest).into_owned()
}

#[test]
fn chunks_that_are_none_are_400_and_make_no_request() {
    let (runtime, told) = reading();
    let flowgate = start(&runtime, &[]);
    let before = handed_over(&flowgate);
    let smuggled = get("/public/mike/smuggled", "");
    for chunks in [
        "zz\r\nhi\r\n0\r\n\r\n",
        "-1\r\nhi\r\n",
        "2\nhi\r\n0\r\n\r\n",
        "2;\nhi\r\n0\r\n\r\n",
        "2;a\0\r\nhi\r\n0\r\n\r\n",
        "2\r\nhi0\r\n\r\n",
        "2\r\nhi\n0\r\n\r\n",
        "0\r\n\n",
        "0x2\r\nhi\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhi",
    ] {
        let head = post("Transfer-Encoding: chunked\r\n", "");
        // With the head, and behind it.
        for is_later in [false, true] {
            let mut socket = connect(&flowgate);
            let first = if is_later { "4\r\ngood\r\n" } else { "" };
            socket.write_all(format!("{head}{first}").as_bytes()).unwrap();
            if is_later {
                crate::support::wait_until("it is under way", || flowgate.status()["live"] == 1);
            }
            socket.write_all(format!("{chunks}{smuggled}").as_bytes()).unwrap();
            let said = rest_of(socket);
            assert!(said.starts_with("HTTP/1.1 400") && said.contains("malformed"), "{said}");
            assert_eq!(said.matches("HTTP/1.1").count(), 1, "{said}");
            if is_later {
                let body = told.recv_timeout(PATIENCE).expect("the runtime is told");
                let body = String::from_utf8_lossy(&body).into_owned();
                assert!(!body.contains("0\r\n\r\n") && !body.contains("smuggled"), "{body}");
            }
            flowgate.wait_until_idle();
            while told.try_recv().is_ok() {}
        }
    }
    assert_eq!(handed_over(&flowgate), before);
}

#[test]
fn the_limit_of_a_body_is_exact_and_holds_while_it_comes() {
    let runtime = Runtime::start(|mut socket| {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"0\r\n\r\n") {
            let mut byte = [0];
            if !matches!(socket.socket.read(&mut byte), Ok(1)) {
                return;
            }
            bytes.push(byte[0]);
        }
        socket.send(OK);
    });
    let flowgate = start(&runtime, &["--body-bytes-max", "1000"]);
    let before = handed_over(&flowgate);
    let chunk =
        |length: usize| format!("{length:x};{}\r\n{}\r\n", "e".repeat(999), "x".repeat(length));
    let head = post(&format!("{CLOSE}Transfer-Encoding: chunked\r\n"), "");
    for (first, second, status) in [(600, 400, "200"), (600, 401, "413"), (1, 1000, "413")] {
        let said = flowgate.ask(&format!("{head}{}{}0\r\n\r\n", chunk(first), chunk(second)));
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{first} {second}: {said}");
        let mut socket = connect(&flowgate);
        socket.write_all(format!("{head}{}", chunk(first)).as_bytes()).unwrap();
        crate::support::wait_until("it is under way", || flowgate.status()["live"] == 1);
        socket.write_all(format!("{}0\r\n\r\n", chunk(second)).as_bytes()).unwrap();
        let said = rest_of(socket);
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{first} {second}: {said}");
    }
    let announced = flowgate.ask(&post("Content-Length: 1001\r\n", "begun"));
    assert!(announced.starts_with("HTTP/1.1 413"), "{announced}");
    assert_eq!(handed_over(&flowgate), before);
    // Once the answer has begun there is nothing more to say.
    let (runtime, given) = giving(b"HTTP/1.1 200 OK\r\n\r\nbegun");
    let flowgate = start(&runtime, &["--body-bytes-max", "1000"]);
    let mut socket = connect(&flowgate);
    socket.write_all(format!("{head}{}", chunk(600)).as_bytes()).unwrap();
    assert!(read_head(&mut socket).starts_with("HTTP/1.1 200"));
    let upstream = given.recv_timeout(PATIENCE).unwrap();
    socket.write_all(chunk(600).as_bytes()).unwrap();
    assert!(!rest_of(socket).contains("0\r\n\r\n"), "it is not whole");
    rest_of(upstream);
    flowgate.wait_until_idle();
}

#[test]
fn a_length_is_kept_whatever_is_said_of_it() {
    let (tell, told) = sync_channel(1);
    let runtime = Runtime::start(move |mut socket| {
        let mut body = [0; 4];
        socket.socket.read_exact(&mut body).unwrap();
        tell.send((socket.head.clone(), body)).unwrap();
        socket
            .send(b"HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nok");
    });
    let flowgate = start(&runtime, &[]);
    let mut socket = connect(&flowgate);
    for _ in 0..2 {
        let hidden = post("Connection: content-length\r\nContent-Length: 4\r\n", "four");
        socket.write_all(hidden.as_bytes()).unwrap();
        let (head, body) = told.recv_timeout(PATIENCE).unwrap();
        assert!(head.contains("Content-Length: 4\r\n") && &body == b"four", "{head}");
        assert_eq!(answer(&mut socket).1, "ok", "and so is the answer's");
    }
}

#[test]
fn what_a_runtime_says_unasked_answers_nobody() {
    let (give, given) = sync_channel(1);
    let runtime = Runtime::start(move |mut socket| {
        socket.send(OK);
        let _ = give.send(socket.socket);
    });
    let flowgate = start(&runtime, &[]);
    let mut socket = connect(&flowgate);
    socket.write_all(post("Content-Length: 5\r\n", "be").as_bytes()).unwrap();
    assert_eq!(answer(&mut socket).1, "ok");
    let mut upstream = given.recv_timeout(PATIENCE).unwrap();
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged").unwrap();
    // Its event is there before that of the body's end.
    crate::support::wait_until("it has arrived", || flowgate.status()["live"] == 1);
    socket.write_all(b"gun").unwrap();
    flowgate.wait_until_idle();
    socket.write_all(get("/public/mike/x", CLOSE).as_bytes()).unwrap();
    let said = rest_of(socket);
    assert!(said.ends_with("ok") && !said.contains("forged"), "{said}");
}

#[test]
fn half_a_request_is_none() {
    let (runtime, told) = reading();
    let flowgate = start(&runtime, &[]);
    for (headers, sent, passed) in [
        ("Content-Length: 10\r\n", "half", "half"),
        ("Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n", "4\r\nhalf\r\n"),
        ("Transfer-Encoding: chunked\r\n", "8\r\nhalf", "4\r\nhalf\r\n"),
    ] {
        for shut in [Shutdown::Write, Shutdown::Both] {
            let mut socket = connect(&flowgate);
            socket.write_all(post(headers, sent).as_bytes()).unwrap();
            crate::support::wait_until("it is under way", || flowgate.status()["live"] == 1);
            socket.shutdown(shut).unwrap();
            assert_eq!(told.recv_timeout(PATIENCE).unwrap(), passed.as_bytes(), "{headers}");
            assert_eq!(rest_of(socket), "");
            flowgate.wait_until_idle();
        }
    }
}

/// Sends until that fails or all was taken.
fn pour(socket: &TcpStream, bytes: usize) {
    let mut socket = socket;
    let mut left = bytes;
    while left > 0 {
        match socket.write(&[7; 1 << 16][..left.min(1 << 16)]) {
            Ok(length) => left -= length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[test]
fn a_runtime_that_goes_is_502_and_one_that_answers_first_is_heard() {
    const LENGTH: usize = 64 << 20;
    const NO: &[u8] = b"HTTP/1.1 413 Too Much\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
    for answers in [false, true] {
        let runtime = Runtime::start(move |mut socket| {
            socket.socket.read_exact(&mut [0; 1 << 16]).unwrap();
            if answers {
                socket.send(NO);
                // Whoever closes with bytes unread has its answer taken away by the system.
                let _ = socket.socket.shutdown(Shutdown::Write);
                let _ = std::io::copy(&mut socket.socket.take(4 << 20), &mut std::io::sink());
            }
        });
        let flowgate = start(&runtime, &[]);
        let mut socket = connect(&flowgate);
        let head = post(&format!("Content-Length: {LENGTH}\r\n"), "");
        socket.write_all(head.as_bytes()).unwrap();
        let writing = socket.try_clone().unwrap();
        let writer = std::thread::spawn(move || pour(&writing, LENGTH));
        let (head, body) = answer(&mut socket);
        match answers {
            false => assert!(head.starts_with("HTTP/1.1 502") && body.contains("runtime_broke")),
            true => assert!(head.starts_with("HTTP/1.1 413 Too Much") && body == "no", "{head}"),
        }
        // What the client goes on sending is nobody's: the connection ends.
        rest_of(socket);
        writer.join().unwrap();
        flowgate.wait_until_idle();
    }
}

#[test]
fn a_revoked_key_ends_an_upload_before_its_answer() {
    let (runtime, told) = reading();
    let flowgate = start(&runtime, &[]);
    let before = handed_over(&flowgate);
    let head = post(&format!("apikey: {MIKE_KEY}\r\nContent-Length: 99\r\n"), "begun");
    let mut socket = connect(&flowgate);
    socket.write_all(head.replace("/public/mike", "/api").as_bytes()).unwrap();
    crate::support::wait_until("it is under way", || flowgate.status()["live"] == 1);
    assert_eq!(handed_over(&flowgate), before);
    let (code, said) = flowgate.profile(("mike", MIKE_PASSWORD), "POST", "/api-key", &Value::Null);
    assert_eq!((code, &said["closed"]), (200, &1.into()));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), b"begun", "the runtime is told");
    let said = rest_of(socket);
    assert!(said.starts_with("HTTP/1.1 401"), "{said}");
    flowgate.wait_until_idle();
}

fn wait_for_end(flowgate: &Flowgate, socket: TcpStream, upstream: TcpStream) {
    rest_of(socket);
    rest_of(upstream);
    flowgate.wait_until_idle();
}

#[test]
fn nobody_is_waited_for_in_vain() {
    // A client that sends nothing more: before the answer, and after it.
    let (runtime, told) = reading();
    let flowgate = start(&runtime, &["--response-timeout", "1s"]);
    let said = flowgate.ask(&post("Content-Length: 9\r\n", "begun"));
    assert!(said.starts_with("HTTP/1.1 504") && said.contains("runtime_timeout"), "{said}");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), b"begun");
    let (runtime, given) = giving(OK);
    let flowgate = start(&runtime, &["--keep-alive-timeout", "1s"]);
    let mut socket = connect(&flowgate);
    socket.write_all(post("Content-Length: 9\r\n", "begun").as_bytes()).unwrap();
    assert_eq!(answer(&mut socket).1, "ok");
    wait_for_end(&flowgate, socket, given.recv_timeout(PATIENCE).unwrap());
    // A runtime that has answered and takes nothing more.
    let (runtime, given) = giving(b"HTTP/1.1 200 OK\r\n\r\nbegun");
    let flowgate = start(&runtime, &["--write-stall-max", "1s"]);
    let mut socket = connect(&flowgate);
    socket.write_all(post(&format!("Content-Length: {}\r\n", 1_u64 << 30), "").as_bytes()).unwrap();
    assert!(read_head(&mut socket).starts_with("HTTP/1.1 200"));
    let upstream = given.recv_timeout(PATIENCE).unwrap();
    pour(&socket, 1 << 30);
    wait_for_end(&flowgate, socket, upstream);
}
