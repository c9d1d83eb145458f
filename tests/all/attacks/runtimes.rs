//! A hostile runtime: what it could say to clients that is no answer to their own request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::sync_channel;

use super::{get, status};
use crate::support::PATIENCE;
use crate::support::flowgate::Flowgate;
use crate::support::profiles::mike_and_roberto;
use crate::support::runtime::{Runtime, header_value};
use crate::support::websocket::{WebSocket, handshake};

/// Says the same to everybody, whatever they ask, once their request has come.
fn saying(bytes: &'static [u8]) -> Runtime {
    Runtime::start(move |mut socket| {
        let length = header_value(&socket.head, "Content-Length");
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        socket.socket.read_exact(&mut body).unwrap();
        socket.send(bytes);
        // What it hears then is of no interest; closing at once could lose what it has said.
        socket.half_close();
        let _ = socket.socket.read_to_end(&mut body);
    })
}

/// Says one thing first, and then another without end.
fn flooding(first: &'static [u8], then: &'static [u8]) -> Runtime {
    Runtime::start(move |mut socket| {
        let flood = then.repeat(1 + 16_384 / then.len());
        socket.send(first);
        while socket.socket.write_all(&flood).is_ok() {}
    })
}

fn roberto() -> Runtime {
    saying(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nroberto")
}

fn start(mike: &Runtime, roberto: &Runtime, flags: &[&str]) -> Flowgate {
    Flowgate::start(&mike_and_roberto(mike.address, roberto.address), flags)
}

/// A request of each kind: what the front does itself, and what it hands over.
fn of_both_kinds(path: &str, headers: &str) -> [String; 2] {
    let post =
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n{headers}\r\nhi");
    [format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"), post]
}

const CLOSE: &str = "Connection: close\r\n";

#[test]
fn no_runtime_answers_for_the_next_request() {
    let robertos = roberto();
    let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
    for (answer, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmike", "mike"),
        ("HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 4\r\n\r\nmike", "mike"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmike\r\n0\r\n\r\n", "mike"),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", ""),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", ""),
    ] {
        let mikes = saying(format!("{answer}{forged}").leak().as_bytes());
        let flowgate = start(&mikes, &robertos, &[]);
        let head_only = "HEAD /public/mike/x HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned();
        for (request, body) in of_both_kinds("/public/mike/x", "")
            .map(|request| (request, body))
            .into_iter()
            .chain([(head_only, "")])
        {
            let mut socket = TcpStream::connect(flowgate.data).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.write_all(request.as_bytes()).unwrap();
            // Two in a row: both are answered, whatever the runtime of the first one says.
            socket.write_all(get("/public/roberto/x", "").as_bytes()).unwrap();
            let mut all = Vec::new();
            let _ = socket.read_to_end(&mut all);
            let all = String::from_utf8(all).unwrap();
            assert!(!all.contains("forged"), "{answer:?} {request:?}: {all}");
            let (first, second) = match all.match_indices("HTTP/1.1 ").nth(1) {
                Some((at, _)) => all.split_at(at),
                None => panic!("{answer:?} {request:?}: roberto was not asked: {all}"),
            };
            let (_, said) = first.split_once("\r\n\r\n").unwrap();
            let said = said.replace("4\r\nmike\r\n0\r\n\r\n", "mike");
            assert_eq!(said, body, "{answer:?} {request:?}: {first}");
            assert!(second.ends_with("\r\n\r\nroberto"), "{answer:?} {request:?}: {second}");
        }
    }
}

#[test]
fn interim_answers_stay_here() {
    let robertos = roberto();
    let mikes = saying(
        b"HTTP/1.1 103 Early Hints\r\nLink: </interim>; rel=preload\r\n\
          Set-Cookie: flowgate-session=interim\r\n\r\nHTTP/1.1 199 Odd\r\nX-Interim: 1\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let flowgate = start(&mikes, &robertos, &[]);
    let mut requests = of_both_kinds("/public/mike/x", CLOSE).to_vec();
    requests.push(handshake("/public/mike/x", "localhost", ""));
    for request in requests {
        let answer = flowgate.ask(&request);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
        assert!(!answer.to_lowercase().contains("interim"), "{answer}");
    }
}

#[test]
fn interim_answers_without_end_are_none() {
    let robertos = roberto();
    let mikes = flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n");
    let flags = ["--response-timeout", "1s", "--handshake-timeout", "1s"];
    let flowgate = start(&mikes, &robertos, &flags);
    let mut requests = of_both_kinds("/public/mike/x", CLOSE).to_vec();
    requests.push(handshake("/public/mike/x", "localhost", ""));
    for request in requests {
        let answer = flowgate.ask(&request);
        assert_eq!(status(&answer), "504", "{request:?}: {answer}");
        assert!(flowgate.ask(&get("/public/roberto/x", "")).ends_with("roberto"));
    }
}

#[test]
fn a_header_carries_no_other_header() {
    let robertos = roberto();
    for lines in [
        "X-A: a\rSet-Cookie: flowgate-session=stolen\r\n",
        "X-A: a\nSet-Cookie: flowgate-session=stolen\r\n",
        "X-A: a\r\n Set-Cookie: flowgate-session=stolen\r\n",
        "X-A: a\0\r\nSet-Cookie: flowgate-session=stolen\r\n",
        "Set-Cookie : flowgate-session=stolen\r\n",
        "Set-Cookie\t: flowgate-session=stolen\r\n",
        "set-COOKIE:flowgate-session=stolen\r\n",
        "Set-Cookie: =flowgate-session=stolen\r\n",
        "Set-Cookie: a=b; dOmAiN=localhost; c=stolen\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{lines}\r\nok");
        let mikes = saying(answer.leak().as_bytes());
        let flowgate = start(&mikes, &robertos, &[]);
        let own = "mike.flows.localhost";
        let mut requests: Vec<String> = of_both_kinds("/api/public/x", CLOSE)
            .map(|request| request.replace("Host: localhost", &format!("Host: {own}")))
            .to_vec();
        requests.push(handshake("/api/public/x", own, ""));
        for request in requests {
            let answer = flowgate.ask(&request);
            assert!(matches!(status(&answer), "200" | "502"), "{lines:?}: {answer}");
            let mut said = answer.split(['\r', '\n']);
            assert!(
                !said.any(|line| line.to_lowercase().starts_with("set-cookie")),
                "{lines:?}: {answer}"
            );
        }
    }
}

#[test]
fn a_body_that_is_all_framing_is_cut() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extension = [HEAD, b"1;"].concat().leak();
    let trailer = [HEAD, b"1\r\nx\r\n0\r\nX: "].concat().leak();
    let robertos = roberto();
    for first in [&*extension, &*trailer] {
        let mikes = flooding(first, b"x");
        let flowgate = start(&mikes, &robertos, &[]);
        for request in of_both_kinds("/public/mike/x", CLOSE) {
            // It ends: without end it would be read until patience is over, and that is a failure.
            let mut websocket = WebSocket::open(flowgate.data, &request);
            let mut rest = Vec::new();
            match websocket.socket.read_to_end(&mut rest) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("{request:?}: it goes on")
                }
                _ => assert!(rest.len() < 1 << 20, "{request:?}: {} bytes of it", rest.len()),
            }
        }
        flowgate.wait_until_idle();
    }
}

#[test]
fn a_runtime_that_declines_has_heard_nothing_of_what_was_to_come_behind() {
    let (tell, heard) = sync_channel(10);
    let mikes = Runtime::start(move |mut socket| {
        socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let mut behind = Vec::new();
        let _ = socket.socket.read_to_end(&mut behind);
        tell.send(behind).unwrap();
    });
    let robertos = roberto();
    let flowgate = start(&mikes, &robertos, &[]);
    let login = {
        use crate::support::profiles::MIKE_PASSWORD;
        use base64::Engine;
        base64::prelude::BASE64_STANDARD.encode(format!("mike:{MIKE_PASSWORD}"))
    };
    // The second one is handed over, since the password has to be checked first.
    for request in [
        handshake("/public/mike/x", "localhost", ""),
        handshake("/api/x", "localhost", &format!("Authorization: Basic {login}\r\n")),
    ] {
        let answer = flowgate.ask(&format!("{request}POST /api/red HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
        assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), b"");
    }
}

#[test]
fn a_handshake_answered_for_another_is_none() {
    let robertos = roberto();
    let ours = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    for (lines, code) in [
        (ours.to_owned(), "101"),
        (ours.replace("s3pP", "S3pP"), "502"),
        (ours.replace("Sec-WebSocket-Accept", "X-Accept"), "502"),
        (ours.replace("Upgrade: websocket", "Upgrade: h2c"), "502"),
    ] {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n");
        let mikes = saying(answer.leak().as_bytes());
        let flowgate = start(&mikes, &robertos, &[]);
        let head =
            WebSocket::open(flowgate.data, handshake("/public/mike/x", "localhost", "")).head;
        assert_eq!(status(&head), code, "{lines}");
        // Whoever has not asked for it is not switched.
        for request in of_both_kinds("/public/mike/x", CLOSE) {
            assert_eq!(status(&flowgate.ask(&request)), "502", "{lines}");
        }
    }
}
