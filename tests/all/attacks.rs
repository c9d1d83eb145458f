//! What an attacker would try. Here with raw bytes, against plain HTTP; below, by whoever tries it.

use std::io::Read;
use std::sync::mpsc::{Receiver, sync_channel};

use crate::support::flowgate::Flowgate;
use crate::support::profiles::{MIKE_KEY, ROBERTO_KEY, mike, mike_and_roberto};
use crate::support::runtime::{Runtime, header_value};
use crate::support::{PATIENCE, wait_until};

mod browsers;
mod clients;
mod http2;
mod once;
mod runtimes;
mod tenants;

/// A runtime that tells each request's head and body as they came, for requests with a length, with
/// chunks, or without a body.
fn telling() -> (Runtime, Receiver<(String, String)>) {
    let (tell, told) = sync_channel(1000);
    let runtime = Runtime::start(move |mut socket| {
        let head = socket.head.clone();
        let mut body = Vec::new();
        if head.contains("Transfer-Encoding: chunked") {
            let mut byte = [0];
            while !body.ends_with(b"0\r\n\r\n") && matches!(socket.socket.read(&mut byte), Ok(1)) {
                body.push(byte[0]);
                // Trailers stand between the last chunk and the empty line.
                if body.ends_with(b"\r\n\r\n")
                    && String::from_utf8_lossy(&body).contains("\r\n0\r\n")
                {
                    break;
                }
            }
        } else if let Some(length) = header_value(&head, "Content-Length") {
            body = vec![0; length.parse().unwrap()];
            let _ = socket.socket.read_exact(&mut body);
        }
        let _ = tell.send((head, String::from_utf8_lossy(&body).into_owned()));
        socket.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    });
    (runtime, told)
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or("none")
}

#[test]
fn identity_cannot_be_spoofed() {
    let (runtime, told) = telling();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let spoofed = "X-Auth-User: roberto\r\nX_Auth_User: roberto\r\nx-auth-USER: roberto\r\n\
                   X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: roberto.flows.localhost\r\n\
                   X_Forwarded_Proto: https\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
                   X-Request-Id: mine\r\n";
    assert_eq!(status(&flowgate.ask(&get("/public/mike/x", spoofed))), "200");
    let (head, _) = told.recv_timeout(PATIENCE).unwrap();
    for wrong in ["roberto", "6.6.6.6", "mine", "https"] {
        assert!(!head.contains(wrong), "{wrong}: {head}");
    }
    assert!(!head.to_lowercase().contains("x-auth-user"), "a public row has no identity: {head}");
    // Named as hop-by-hop, ours must not be taken away.
    let named = format!(
        "apikey: {MIKE_KEY}\r\nConnection: close, X-Auth-User, X-Forwarded-For, X-Request-Id\r\n"
    );
    assert_eq!(status(&flowgate.ask(&get("/api/x", &named))), "200");
    let (head, _) = told.recv_timeout(PATIENCE).unwrap();
    assert!(head.to_lowercase().contains("x-auth-user: mike"), "{head}");
    assert!(head.to_lowercase().contains("x-forwarded-for: 127.0.0.1"), "{head}");
}

#[test]
fn identity_cannot_come_in_trailers() {
    let (runtime, told) = telling();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let request = "POST /public/mike/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                   Transfer-Encoding: chunked\r\nTrailer: X-Auth-User, X-Own\r\n\r\n\
                   2\r\nhi\r\n0\r\nX-Auth-User: roberto\r\nX_Auth_User: roberto\r\nX-Own: kept\r\n\r\n";
    assert_eq!(status(&flowgate.ask(request)), "200");
    let (head, body) = told.recv_timeout(PATIENCE).unwrap();
    assert!(!head.contains("roberto") && !body.contains("roberto"), "{head}{body}");
    assert!(body.starts_with("2\r\nhi\r\n"), "{body}");
    assert!(body.to_lowercase().contains("x-own: kept"), "other trailers pass: {body}");
}

#[test]
fn credentials_are_taken_out_of_plain_requests() {
    let (runtime, told) = telling();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let login = {
        use base64::Engine;
        base64::prelude::BASE64_STANDARD.encode("mike:whatever")
    };
    for (path, headers) in [
        (format!("/public/mike/x?apikey={MIKE_KEY}&a=1"), String::new()),
        ("/public/mike/x".to_owned(), format!("Authorization: Basic {login}\r\n")),
        ("/public/mike/x".to_owned(), format!("Authorization: Bearer {MIKE_KEY}\r\n")),
        ("/public/mike/x".to_owned(), format!("apikey: {MIKE_KEY}\r\nX-Auth-Key: {MIKE_KEY}\r\n")),
        (format!("/api/x?%61pikey={MIKE_KEY}"), String::new()),
        ("/api/x".to_owned(), format!("Authorization: Bearer {MIKE_KEY}\r\n")),
    ] {
        assert_eq!(status(&flowgate.ask(&get(&path, &headers))), "200", "{path} {headers}");
        let (head, _) = told.recv_timeout(PATIENCE).unwrap();
        assert!(!head.contains(MIKE_KEY) && !head.contains(&login), "{head}");
    }
}

#[test]
fn what_could_be_two_requests_is_one_or_none() {
    let (runtime, told) = telling();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let smuggled = "GET /public/mike/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let post = |headers: &str, body: &str| {
        format!("POST /public/mike/x HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}")
    };
    let length = smuggled.len();
    for (what, request) in [
        (
            "two lengths",
            post(&format!("Content-Length: 2\r\nContent-Length: {length}\r\n"), smuggled),
        ),
        ("a list of lengths", post(&format!("Content-Length: 2, {length}\r\n"), smuggled)),
        ("a signed length", post("Content-Length: +2\r\n", "hi")),
        ("obs-fold", post("X-Own: a\r\n b\r\nContent-Length: 2\r\n", "hi")),
        ("a space before the colon", post("Content-Length : 2\r\n", "hi")),
        ("two hosts", post("Host: other\r\nContent-Length: 2\r\n", "hi")),
        ("a NUL", post("X-Own: a\0b\r\nContent-Length: 2\r\n", "hi")),
        ("another coding", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")),
        ("an unknown coding", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
    ] {
        let answer = flowgate.ask(&request);
        assert_eq!(status(&answer), "400", "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer}");
    }
    assert!(told.try_recv().is_err(), "nothing of these may reach a runtime");
    // Lines that end in LF alone are understood by us, so the runtime must see CRLF.
    let bare = post("Content-Length: 2\r\n", "hi").replace("\r\n", "\n");
    let answer =
        flowgate.ask(&bare.replace("Host: localhost\n", "Host: localhost\nConnection: close\n"));
    assert_eq!(status(&answer), "200", "{answer}");
    let (head, body) = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!((head.matches('\n').count(), body.as_str()), (head.matches("\r\n").count(), "hi"));
    // CL and TE: by the chunks, once, and the connection ends.
    let both = post(
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        &format!("2\r\nhi\r\n0\r\n\r\n{smuggled}"),
    );
    let answer = flowgate.ask(&both);
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    for (head, _) in told.try_iter() {
        assert!(!head.contains("smuggled") && !head.contains("Content-Length"), "{head}");
    }
    // Chunks that are none break the exchange off.
    for chunk in [
        "zz\r\nhi\r\n0\r\n\r\n",
        "-1\r\nhi\r\n",
        "2;\nhi\r\n0\r\n\r\n\0",
        "fffffffffffffffff\r\nhi",
    ] {
        let answer = flowgate.ask(&post("Transfer-Encoding: chunked\r\n", chunk));
        assert!(answer.matches("HTTP/1.1 2").count() == 0, "{chunk:?}: {answer}");
    }
    wait_until("nothing runs", || flowgate.status()["live"] == 0);
}

#[test]
fn a_chunked_body_reaches_the_runtime_whatever_the_method() {
    let (runtime, told) = telling();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    for method in ["GET", "HEAD", "POST", "DELETE"] {
        flowgate.ask(&format!(
            "{method} /public/mike/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        ));
        let (head, body) = told.recv_timeout(PATIENCE).unwrap();
        assert!(body.contains("hi"), "{head}{body}");
    }
}

#[test]
fn nobody_digs_a_tunnel() {
    let (runtime, told) = telling();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    // What stands behind the head is the tunnel's to a runtime: here a request for the editor.
    let inner = "GET /red HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = flowgate.ask(&format!(
        "CONNECT /public/mike/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{inner}",
        inner.len()
    ));
    assert_eq!(status(&answer), "400", "{answer}");
    assert!(told.try_recv().is_err(), "it reached the runtime");
}

#[test]
fn paths_lead_to_no_other_tenant_and_no_editor() {
    let (mikes, _told) = telling();
    let (robertos, robertos_told) = telling();
    let flowgate = Flowgate::start(&mike_and_roberto(mikes.address, robertos.address), &[]);
    let key = format!("apikey: {MIKE_KEY}\r\n");
    for path in [
        "/public/mike/../roberto/x",
        "/public/mike/%2e%2e/roberto/x",
        "/public/mike/..;/roberto/x",
        "/public/mike/..%2froberto/x",
        "/public/mike/..%5croberto/x",
        "/public/mike\\..\\roberto/x",
        "/api/..%00/x",
        "/api/%2E./red",
    ] {
        let answer = flowgate.ask(&get(path, &key));
        assert_eq!(status(&answer), "400", "{path}: {answer}");
    }
    for path in
        ["//public/roberto/x", "/PUBLIC/roberto/x", "/public/Roberto/x", "/red", "/RED/flows"]
    {
        let answer = flowgate.ask(&get(path, &key));
        assert_eq!(status(&answer), "404", "{path}: {answer}");
    }
    for (host, code) in [
        ("ROBERTO.flows.localhost", "403"),
        ("roberto.flows.localhost.", "403"),
        ("roberto.flows.localhost:99", "403"),
    ] {
        let request =
            format!("GET /api/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{key}\r\n");
        assert_eq!(status(&flowgate.ask(&request)), code, "{host}");
    }
    let both = format!("{key}X-Auth-User: roberto\r\nX-Auth-Key: {ROBERTO_KEY}\r\n");
    assert_eq!(status(&flowgate.ask(&get("/api/x", &both))), "400");
    let twice = "Authorization: Basic bWlrZTp4\r\nAuthorization: Basic cm9iZXJ0bzp4\r\n";
    assert_eq!(status(&flowgate.ask(&get("/api/x", twice))), "400");
    assert!(robertos_told.try_recv().is_err());
}

#[test]
fn a_slow_body_holds_nobody_else_and_ends_with_the_client() {
    let (runtime, told) = telling();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let slow: Vec<std::net::TcpStream> = (0..50)
        .map(|_| {
            let mut socket = std::net::TcpStream::connect(flowgate.data).unwrap();
            let head = "POST /public/mike/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx";
            std::io::Write::write_all(&mut socket, head.as_bytes()).unwrap();
            socket
        })
        .collect();
    wait_until("all are under way", || flowgate.status()["live"] == 50);
    assert_eq!(status(&flowgate.ask(&get("/public/mike/quick", ""))), "200");
    assert!(told.recv_timeout(PATIENCE).unwrap().0.contains("/public/quick"));
    drop(slow);
    flowgate.wait_until_idle();
}

#[test]
fn logs_cannot_be_written_into() {
    let (runtime, _told) = telling();
    let flowgate = Flowgate::start(&mike(runtime.address), &["--log", "info"]);
    for path in ["/public/mike/%0a%7b%22level%22%3a%22FAKE%22%7d", "/public/mike/\u{1b}[31mred"] {
        flowgate.ask(&get(path, "X-Request-Id: {\"level\":\"FAKE\"}\r\nUser-Agent: \x1b[2J\r\n"));
    }
    // Every line is one JSON object, of our own making.
    let log = flowgate.log_by_now();
    for line in flowgate.log() {
        assert!(line["level"] == "INFO" || line["level"] == "WARN", "{line}");
    }
    assert!(!log.contains('\u{1b}'));
}
