//! Plain HTTP: relayed as WebSocket is, streamed both ways.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::flowgate::Flowgate;
use crate::support::node::NodeRed;
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, ROBERTO_PASSWORD, mike, mike_and_roberto};
use crate::support::runtime::{Runtime, header_value};
use crate::support::websocket::{WebSocket, read_head};
use crate::support::{PATIENCE, wait_until};

fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "60", "--noproxy", "*"])
        .args(arguments)
        .output()
        .expect("curl is needed");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// A request in HTTP/1.1 whose connection closes behind the answer.
fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length =
        if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}{length}\r\n{body}"
    )
}

fn with_key() -> String {
    format!("apikey: {MIKE_KEY}\r\n")
}

#[test]
fn curl_reaches_real_node_red() {
    let runtimes = NodeRed::pair();
    let [mikes, robertos] = &*runtimes;
    let flowgate = Flowgate::start(&mike_and_roberto(mikes.address, robertos.address), &[]);
    let base = format!("http://{}", flowgate.data);
    let hello = curl(&[&format!("{base}/public/mike/hello")]);
    assert!(hello.contains(r#""runtime":"mike""#), "{hello}");
    let echo =
        |arguments: &[&str]| -> Value { serde_json::from_str(&curl(arguments)).expect("JSON") };
    let url = format!("{base}/api/echo");
    let json_type = ["-H", "Content-Type: application/json", "-d", r#"{"a":1}"#];
    for (name, password) in [("mike", MIKE_PASSWORD), ("roberto", ROBERTO_PASSWORD)] {
        let login = format!("{name}:{password}");
        let said = echo(&[&["-u", &login, &url][..], &json_type].concat());
        assert_eq!(
            (&said["runtime"], &said["payload"]),
            (&json!(name), &json!({ "a": 1 })),
            "{said}"
        );
        assert_eq!(said["headers"]["x-auth-user"], name);
        assert!(said["headers"].get("authorization").is_none(), "{said}");
    }
    let key = format!("X-Auth-Key: {MIKE_KEY}");
    let host = format!("http://mike.flows.localhost:{}/api/echo", flowgate.data.port());
    let said = echo(&["-H", "X-Auth-User: mike", "-H", &key, &host]);
    assert_eq!(said["runtime"], "mike");
    assert!(said["headers"].get("x-auth-key").is_none(), "{said}");
    let refused = curl(&["-o", "/dev/null", "-w", "%{http_code}", &url]);
    assert_eq!(refused, "401");
    let missing =
        curl(&["-o", "/dev/null", "-w", "%{http_code}", &format!("{base}/public/mike/nothing")]);
    assert_eq!(missing, "404");
}

#[test]
fn what_a_runtime_streams_arrives_at_once() {
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(0);
    let wait = std::sync::Mutex::new(wait);
    let runtime = Runtime::start(move |mut socket| {
        socket.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: first\n\n");
        let _ = wait.lock().unwrap().recv();
        socket.send(b"data: second\n\n");
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let mut client = WebSocket::open(flowgate.data, request("GET", "/public/mike/events", "", ""));
    assert!(client.head.starts_with("HTTP/1.1 200"), "{}", client.head);
    let mut first = vec![0; 100];
    let length = client.socket.read(&mut first).unwrap();
    // Before the runtime has said more, so nothing waits for the end.
    assert!(String::from_utf8_lossy(&first[..length]).contains("data: first"));
    go.send(()).unwrap();
    let mut rest = String::new();
    client.socket.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("data: second"), "{rest}");
    flowgate.wait_until_idle();
}

#[test]
fn what_a_client_streams_arrives_at_once() {
    let (seen, sees) = std::sync::mpsc::sync_channel(1);
    let runtime = Runtime::start(move |mut socket| {
        assert!(socket.head.contains("Transfer-Encoding: chunked"), "{}", socket.head);
        let mut bytes = vec![0; 100];
        let length = socket.socket.read(&mut bytes).unwrap();
        let _ = seen.send(String::from_utf8_lossy(&bytes[..length]).into_owned());
        let mut rest = [0; 100];
        let _ = socket.socket.read(&mut rest);
        socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let mut client = TcpStream::connect(flowgate.data).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = request(
        "POST",
        "/public/mike/x",
        "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
        "",
    );
    client.write_all(head.as_bytes()).unwrap();
    // The runtime's reading of the body is what invites it.
    assert!(read_head(&mut client).starts_with("HTTP/1.1 100 Continue"));
    client.write_all(b"5\r\nfirst\r\n").unwrap();
    assert!(sees.recv_timeout(PATIENCE).unwrap().contains("first"));
    client.write_all(b"0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
}

#[test]
fn heads_trailers_and_long_polls_pass() {
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(0);
    let wait = std::sync::Mutex::new(wait);
    let runtime = Runtime::start(move |mut socket| {
        if socket.head.starts_with("HEAD") {
            socket.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12345\r\n\r\n");
        } else if socket.head.contains("/poll") {
            let _ = wait.lock().unwrap().recv();
            socket.send(b"HTTP/1.1 204 No Content\r\n\r\n");
        } else {
            socket.send(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                  2\r\nhi\r\n0\r\nX-Sum: 42\r\n\r\n",
            );
        }
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let head = flowgate.ask(&request("HEAD", "/public/mike/x", "", ""));
    assert!(head.contains("Content-Length: 12345") && head.ends_with("\r\n\r\n"), "{head}");
    let trailers = flowgate.ask(&request("GET", "/public/mike/x", "TE: trailers\r\n", ""));
    assert!(trailers.to_lowercase().contains("x-sum: 42"), "{trailers}");
    let data = flowgate.data;
    let poll = std::thread::spawn(move || {
        crate::support::flowgate::ask(data, &request("GET", "/public/mike/poll", "", ""))
    });
    wait_until("it polls", || flowgate.status()["live"] == 1);
    go.send(()).unwrap();
    assert!(poll.join().unwrap().starts_with("HTTP/1.1 204"));
}

#[test]
fn a_body_over_the_limit_is_413_and_early() {
    let runtime = Runtime::start(|mut socket| {
        let (mut data, mut read) = (0, [0; 4096]);
        while data < 1000 {
            match socket.socket.read(&mut read) {
                Ok(0) | Err(_) => return,
                Ok(length) => data += read[..length].iter().filter(|byte| **byte == b'x').count(),
            }
        }
        socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let _ = socket.socket.read_to_end(&mut Vec::new());
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &["--body-bytes-max", "1000"]);
    let post = "POST /public/mike/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let whole = |length: usize| format!("{post}Content-Length: {length}\r\n\r\n{}", x(length));
    let chunk = |length: usize| format!("{length:x}\r\n{}\r\n", x(length));
    let chunked = |last: usize| {
        format!("{post}Transfer-Encoding: chunked\r\n\r\n{}{}0\r\n\r\n", chunk(600), chunk(last))
    };
    for fits in [whole(1000), chunked(400)] {
        let answer = flowgate.ask(&fits);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // Nothing of it is waited for.
    let announced = format!("{post}Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n");
    for over in [announced, chunked(401)] {
        let answer = flowgate.ask(&over);
        assert!(
            answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"),
            "{answer}"
        );
    }
    flowgate.wait_until_idle();
}

fn x(length: usize) -> String {
    "x".repeat(length)
}

#[test]
fn connections_to_a_runtime_are_kept_for_what_changes_nothing() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let runtime = Runtime::start(move |mut socket| {
        counted.fetch_add(1, Ordering::SeqCst);
        while !socket.head.is_empty() {
            let length =
                header_value(&socket.head, "Content-Length").map_or(0, |it| it.parse().unwrap());
            let mut body = vec![0; length];
            socket.socket.read_exact(&mut body).unwrap();
            let body = if socket.head.starts_with("HEAD") { "" } else { "ok" };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}");
            socket.send(answer.as_bytes());
            socket.head = read_head(&mut socket.socket);
        }
    });
    // Each thread keeps its own.
    let flowgate = Flowgate::start(&mike(runtime.address), &["--relay-threads", "1"]);
    let ask = |method: &str, body: &str| {
        let answer = flowgate.ask(&request(method, "/public/mike/x", "", body));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        // It is kept once the answer's end has been seen.
        flowgate.wait_until_idle();
        connections.load(Ordering::SeqCst)
    };
    let first = ask("GET", "");
    assert_eq!((first, ask("GET", ""), ask("HEAD", ""), ask("GET", "")), (1, 1, 1, 1));
    assert_eq!(ask("POST", "data"), 2, "a POST could meet a connection that has just been closed");
}

#[test]
fn a_revoked_key_cuts_a_download() {
    let runtime = Runtime::start(|mut socket| {
        socket.send(b"HTTP/1.1 200 OK\r\n\r\n");
        while socket.socket.write_all(&[b'x'; 1000]).is_ok() {}
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let mut download = WebSocket::open(flowgate.data, request("GET", "/api/big", &with_key(), ""));
    assert!(download.head.starts_with("HTTP/1.1 200"), "{}", download.head);
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = download.socket.read_to_end(&mut all);
    });
    let (code, said) = flowgate.profile(("mike", MIKE_PASSWORD), "POST", "/api-key", &Value::Null);
    assert_eq!((code, &said["closed"]), (200, &json!(1)));
    reading.join().unwrap();
    flowgate.wait_until_idle();
}

#[test]
fn a_revoked_key_cuts_an_upload_that_was_answered_early() {
    let (cut, was_cut) = std::sync::mpsc::sync_channel(1);
    let runtime = Runtime::start(move |mut socket| {
        socket.socket.read_exact(&mut [0; 7]).unwrap();
        socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let _ = socket.socket.read_to_end(&mut Vec::new());
        let _ = cut.send(());
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let head = format!(
        "POST /api/x HTTP/1.1\r\nHost: localhost\r\n{}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        with_key()
    );
    let mut upload = WebSocket::open(flowgate.data, head);
    let mut ok = [0; 2];
    upload.socket.read_exact(&mut ok).unwrap();
    assert_eq!((&ok, &flowgate.status()["live"]), (b"ok", &json!(1)), "its body is on its way yet");
    let (code, said) = flowgate.profile(("mike", MIKE_PASSWORD), "POST", "/api-key", &Value::Null);
    assert_eq!(code, 200, "{said}");
    was_cut.recv_timeout(PATIENCE).expect("the upload went on");
    flowgate.wait_until_idle();
}

#[test]
fn private_answers_are_kept_out_of_shared_caches() {
    let runtime = Runtime::start(|mut socket| {
        socket.send(
            b"HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60, s-maxage=900\r\nVary: Accept\r\n\
              Strict-Transport-Security: max-age=1\r\nConnection: close\r\n\
              Content-Length: 2\r\n\r\nok",
        );
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let private = flowgate.ask(&request("GET", "/api/x", &with_key(), "")).to_lowercase();
    assert!(private.contains("cache-control: private, max-age=60\r\n"), "{private}");
    assert!(
        private.contains(
            "vary: authorization, x-auth-user, x-auth-key, apikey, cookie, origin, sec-fetch-site\r\n"
        ),
        "{private}"
    );
    assert!(
        private.contains("content-security-policy: sandbox allow-scripts allow-forms"),
        "{private}"
    );
    // A browser that has added the password, but does not say for whose page.
    let login = BASE64_STANDARD.encode(format!("mike:{MIKE_PASSWORD}"));
    let ambient = format!("Authorization: Basic {login}\r\n");
    let unsaid = flowgate.ask(&request("GET", "/api/x", &ambient, "")).to_lowercase();
    assert!(unsaid.contains("cache-control: private, no-store, max-age=60\r\n"), "{unsaid}");
    let ambient = format!("{ambient}Sec-Fetch-Site: none\r\n");
    let said = flowgate.ask(&request("GET", "/api/x", &ambient, "")).to_lowercase();
    assert!(said.contains("cache-control: private, max-age=60\r\n"), "{said}");
    let public = flowgate.ask(&request("GET", "/public/mike/x", "", "")).to_lowercase();
    assert!(public.contains("cache-control: public, max-age=60, s-maxage=900\r\n"), "{public}");
    assert!(!public.contains("strict-transport-security"), "{public}");
}

#[test]
fn pages_of_others_use_only_what_they_were_given() {
    let runtime = Runtime::start(|mut socket| {
        socket.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let preflight = "Origin: http://evil.example\r\nAccess-Control-Request-Method: PUT\r\n\
                     Access-Control-Request-Headers: authorization, x-own\r\n";
    let answer = flowgate.ask(&request("OPTIONS", "/api/x", preflight, ""));
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert!(answer.contains("Access-Control-Allow-Origin: *"), "{answer}");
    assert!(answer.contains("Access-Control-Allow-Headers: authorization, x-own"), "{answer}");
    assert!(!answer.contains("Allow-Credentials"), "{answer}");
    assert!(flowgate.ask(&request("OPTIONS", "/public/mike/x", preflight, "")).ends_with("ok"));
    let login = BASE64_STANDARD.encode(format!("mike:{MIKE_PASSWORD}"));
    let ambient = |method: &str, more: &str| {
        let headers = format!("Authorization: Basic {login}\r\n{more}");
        flowgate.ask(&request(method, "/api/x", &headers, ""))[9..12].to_owned()
    };
    assert_eq!(ambient("POST", "Origin: http://evil.example\r\n"), "403");
    assert_eq!(ambient("POST", "Origin: null\r\n"), "403");
    assert_eq!(ambient("GET", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n"), "403");
    let link =
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    assert_eq!((ambient("GET", link), ambient("POST", link)), ("200".into(), "403".into()));
    assert_eq!(ambient("POST", "Origin: http://localhost\r\n"), "200");
    let worker =
        flowgate.ask(&request("GET", "/public/mike/sw.js", "Service-Worker: script\r\n", ""));
    assert!(worker.starts_with("HTTP/1.1 403") && worker.contains("service_worker"), "{worker}");
}

#[test]
fn one_gibibyte_passes_both_ways_in_flat_memory() {
    const LENGTH: u64 = 1 << 30;
    let runtime = Runtime::start(|mut socket| {
        let upload = socket.head.starts_with("POST");
        if upload {
            let mut left = LENGTH;
            let mut bytes = vec![0; 1 << 20];
            while left > 0 {
                left -= socket.socket.read(&mut bytes).unwrap() as u64;
            }
            socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            return;
        }
        socket.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").as_bytes());
        for _ in 0..LENGTH >> 20 {
            socket.send(&[7; 1 << 20]);
        }
    });
    let flowgate =
        Flowgate::start(&mike(runtime.address), &["--log", "warn,flowgate::commands=info"]);
    let peak_kib = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", flowgate.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before_kib = peak_kib();
    let mut download = WebSocket::open(flowgate.data, request("GET", "/public/mike/big", "", ""));
    let mut bytes = vec![0; 1 << 20];
    let mut received = 0;
    while received < LENGTH {
        received += download.socket.read(&mut bytes).unwrap() as u64;
    }
    let mut upload = TcpStream::connect(flowgate.data).unwrap();
    upload.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST /public/mike/big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {LENGTH}\r\n\r\n"
    );
    upload.write_all(head.as_bytes()).unwrap();
    for _ in 0..LENGTH >> 20 {
        upload.write_all(&bytes).unwrap();
    }
    assert!(read_head(&mut upload).starts_with("HTTP/1.1 200"));
    let grown_kib = peak_kib() - before_kib;
    assert!(grown_kib < 16 * 1024, "{grown_kib} KiB more");
    wait_until("nothing runs", || flowgate.status()["live"] == 0);
}
