//! HTTP/2 for plain requests, by curl.

use std::io::Write;
use std::process::{Command, Output};
use std::sync::mpsc;

use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::flowgate::Flowgate;
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, mike};
use crate::support::runtime::{Runtime, accept, echo, text_from_client};
use crate::support::tls::{Authority, open};
use crate::support::wait_until;

/// A flowgate with TLS and mike, and the authority behind its certificate.
fn start(profiles: &Value, flags: &[&str]) -> (Flowgate, Authority) {
    let authority = Authority::new();
    let pair = authority.issue("front", &["localhost", "*.flows.localhost"]).pair();
    let tls = ["--tls-listen", "127.0.0.1:0", "--tls-certificates", &pair];
    (Flowgate::start(profiles, &[&tls[..], flags].concat()), authority)
}

/// curl, asking for HTTP/2 by ALPN.
fn curl(authority: &Authority) -> Command {
    let mut command = Command::new("curl");
    let patience = PATIENCE.as_secs().to_string();
    command.args(["-sS", "--http2", "--max-time", &patience, "--cacert"]).arg(authority.file());
    command
}

/// Standard output of what must succeed.
fn said(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("curl is needed");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8_lossy(&stdout).into_owned()
}

/// A runtime that answers with the request's head as it came, and then with its body.
fn mirror() -> Runtime {
    Runtime::start(|mut websocket| {
        if websocket.head.contains("Sec-WebSocket-Key") {
            accept(&mut websocket, "");
            return echo(&mut websocket);
        }
        let mut body = websocket.head.clone().into_bytes();
        if let Some(length) = websocket.head.lines().find_map(|line| {
            line.strip_prefix("Content-Length: ").and_then(|length| length.parse::<usize>().ok())
        }) {
            let mut sent = vec![0; length];
            std::io::Read::read_exact(&mut websocket.socket, &mut sent).unwrap();
            body.extend(sent);
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        websocket.send(&[head.as_bytes(), &body].concat());
    })
}

#[test]
fn a_runtime_sees_the_same_request_as_by_http_1() {
    let runtime = mirror();
    let (flowgate, authority) = start(&mike(runtime.address), &[]);
    let base = format!("https://localhost:{}", flowgate.tls().port());
    let ask = |version: &str| {
        let mut curl = curl(&authority);
        let key = format!("apikey: {MIKE_KEY}");
        curl.args([version, "-w", "%{http_version}", "-H", &key, "-b", "a=1; b=2"]);
        curl.args(["-H", "X-Small-Device: yes", "-d", "hello", &format!("{base}/api/thing?x=1")]);
        said(&mut curl)
    };
    let (old, new) = (ask("--http1.1"), ask("--http2"));
    let new = new.strip_suffix('2').unwrap();
    // The order differs, and so do request ids.
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text
            .split("\r\n")
            .filter(|line| !line.starts_with("X-Request-Id"))
            .map(|line| line.replace("X-small-device", "X-Small-Device"))
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(new), sorted(old.strip_suffix("1.1").unwrap()));
    assert!(new.starts_with("POST /api/thing?x=1 HTTP/1.1\r\n"), "{new}");
    assert!(new.contains(&format!("Host: localhost:{}\r\n", flowgate.tls().port())), "{new}");
    assert!(new.contains("X-Auth-User: mike\r\n") && new.contains("Cookie: a=1; b=2\r\n"), "{new}");
    assert!(!new.contains(MIKE_KEY));
}

#[test]
fn bodies_of_any_size_pass_both_ways() {
    let runtime = mirror();
    let (flowgate, authority) = start(&mike(runtime.address), &[]);
    let url = format!("https://localhost:{}/public/mike/thing", flowgate.tls().port());
    let folder = tempfile::tempdir().unwrap();
    let (sent, got) = (folder.path().join("sent"), folder.path().join("got"));
    let bytes: Vec<u8> = (0..8_u32 << 20).map(|place| (place % 251) as u8).collect();
    std::fs::File::create(&sent).unwrap().write_all(&bytes).unwrap();
    let mut curl = curl(&authority);
    curl.arg("--data-binary").arg(format!("@{}", sent.display())).arg("-o").arg(&got).arg(&url);
    said(&mut curl);
    let got = std::fs::read(&got).unwrap();
    assert!(got.ends_with(&bytes), "{} bytes came", got.len());
    flowgate.wait_until_idle();
}

#[test]
fn refusals_and_own_pages_are_the_same() {
    let runtime = mirror();
    let (flowgate, authority) = start(&mike(runtime.address), &["--header-bytes-max", "8192"]);
    let base = format!("https://localhost:{}", flowgate.tls().port());
    let status = |arguments: &[&str]| {
        let mut curl = curl(&authority);
        said(curl.args(["-o", "/dev/null", "-w", "%{http_version} %{http_code}"]).args(arguments))
    };
    let long = format!("X-Long: {}", "x".repeat(10_000));
    let login = format!("mike:{MIKE_PASSWORD}");
    let at = |path: &str| format!("{base}{path}");
    for (arguments, expected) in [
        (vec![at("/healthz")], "2 200"),
        (vec![at("/api/x")], "2 401"),
        (vec!["-u".into(), "mike:wrong".into(), at("/api/x")], "2 401"),
        (vec!["-u".into(), login.clone(), at("/api/x")], "2 200"),
        (vec!["-u".into(), login.clone(), at("/profile")], "2 200"),
        (vec![at("/login")], "2 200"),
        (vec!["--path-as-is".into(), at("/api/../red")], "2 400"),
        (vec!["-H".into(), "Host: elsewhere.test".into(), at("/nothing")], "2 404"),
        (vec!["-H".into(), long, at("/public/mike/x")], "2 431"),
        (vec!["-I".into(), at("/public/mike/x")], "2 200"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        assert_eq!(status(&arguments), expected, "{arguments:?}");
    }
    let problem = said(curl(&authority).arg(at("/api/x")));
    let problem: Value = serde_json::from_str(&problem).unwrap();
    assert_eq!(problem["code"], "wrong_credential");
}

#[test]
fn requests_on_one_connection_do_not_wait_for_each_other() {
    // The first one is answered once the others are.
    let (others, all) = mpsc::sync_channel(16);
    let all = std::sync::Mutex::new(all);
    let others = std::sync::Mutex::new(others);
    let runtime = Runtime::start(move |mut websocket| {
        if websocket.head.starts_with("GET /api/public/slow ") {
            let all = all.lock().unwrap();
            for _ in 0..5 {
                all.recv_timeout(PATIENCE).unwrap();
            }
        } else {
            others.lock().unwrap().send(()).unwrap();
        }
        websocket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n");
    });
    let (flowgate, authority) = start(&mike(runtime.address), &[]);
    let base = format!("https://localhost:{}/public/mike", flowgate.tls().port());
    let mut curl = curl(&authority);
    curl.args(["--parallel", "-w", "%{num_connects}\n", &format!("{base}/slow")]);
    curl.args((0..5).map(|number| format!("{base}/fast{number}")));
    let printed = said(&mut curl);
    assert_eq!(printed.matches("done").count(), 6, "{printed}");
    flowgate.wait_until_idle();
}

#[test]
fn websocket_stays_on_http_1_beside_it() {
    let runtime = mirror();
    let (flowgate, authority) = start(&mike(runtime.address), &[]);
    let config = authority.client(&[&rustls::version::TLS13]);
    let mut websocket = open(&config, flowgate.tls(), "/public/mike/data", "");
    websocket.send(&text_from_client("hello"));
    assert_eq!(websocket.receive_text(), "hello");
}

#[test]
fn it_can_be_turned_off() {
    let runtime = mirror();
    let (flowgate, authority) = start(&mike(runtime.address), &["--http2", "false"]);
    let url = format!("https://localhost:{}/healthz", flowgate.tls().port());
    let mut asking = curl(&authority);
    assert_eq!(said(asking.args(["-w", "%{http_version}", "-o", "/dev/null", &url])), "1.1");
}

#[test]
fn a_drain_lets_a_request_finish_and_then_ends() {
    let (go, gate) = mpsc::sync_channel(16);
    let gate = std::sync::Mutex::new(gate);
    let runtime = Runtime::start(move |mut websocket| {
        gate.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        websocket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n");
    });
    let (mut flowgate, authority) = start(&mike(runtime.address), &[]);
    let url = format!("https://localhost:{}/public/mike/x", flowgate.tls().port());
    let mut asking = curl(&authority);
    asking.arg(url).stdout(std::process::Stdio::piped());
    let asking = asking.spawn().unwrap();
    wait_until("it is under way", || flowgate.status()["live"] == 1);
    flowgate.signal("-TERM");
    flowgate.wait_for_line("it stops", |line| line["signal"] == "SIGTERM");
    go.send(()).unwrap();
    let output = asking.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");
    assert!(flowgate.wait().success());
}
