//! What an operator reads afterwards.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::support::flowgate::Flowgate;
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, mike};
use crate::support::runtime::{Runtime, text_from_client};
use crate::support::websocket::{WebSocket, handshake, masked};

fn line(flowgate: &Flowgate, message: &str) -> Value {
    flowgate.wait_for_line(message, |line| line["message"] == message)
}

#[test]
fn one_line_per_handshake_and_one_per_connection() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &["--log", "info"]);
    let key = format!("apikey: {MIKE_KEY}\r\n");
    let mut websocket = WebSocket::connect(flowgate.data, "/api/thing?secret=of+theirs", &key);
    websocket.send(&text_from_client("hello"));
    assert_eq!(websocket.receive_text(), "hello");
    websocket.send(&masked(0x88, &4321_u16.to_be_bytes()));
    assert_eq!(websocket.receive_close().0, 4321);
    drop(websocket);
    let accepted = line(&flowgate, "handshake");
    let ended = line(&flowgate, "connection ended");
    for (name, expected) in [("tenant", "mike"), ("path", "/api/thing"), ("row", "api")] {
        assert_eq!(accepted[name], expected);
    }
    assert_eq!(accepted["status"], 101);
    assert!(accepted["grant"].as_str().unwrap().starts_with("key:"));
    assert_eq!(accepted["request_id"], ended["request_id"]);
    for (name, expected) in [
        ("messages_from_client", 1),
        ("messages_from_runtime", 1),
        ("bytes_from_client", 11 + 8),
        ("bytes_from_runtime", 7 + 4),
        ("code", 4321),
    ] {
        assert_eq!(ended[name], expected, "{name}: {ended}");
    }
    assert_eq!((&ended["ended_by"], &ended["tenant"]), (&"client".into(), &"mike".into()));
    assert!(ended["duration_ms"].is_u64());
}

#[test]
fn a_refusal_says_why_and_whom_it_was_said_to_be() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let wrong = BASE64_STANDARD.encode("mike:wrong");
    let basic = format!("Authorization: Basic {wrong}\r\n");
    let answer = flowgate.ask(&handshake("/api/thing", "localhost", &basic));
    let refused = line(&flowgate, "handshake refused");
    assert_eq!(refused["why"], "wrong password");
    assert_eq!((&refused["tenant"], &refused["status"]), (&"mike".into(), &401.into()));
    let id = refused["request_id"].as_str().unwrap();
    assert!(answer.contains(id) && !answer.contains("wrong password"), "{answer}");
    assert_eq!(flowgate.log_by_now().matches(id).count(), 1, "one line is enough");
}

#[test]
fn no_secret_is_ever_logged() {
    const TYPO: &str = "my-password-in-the-wrong-field";
    let runtime = Runtime::start(drop);
    let flowgate = Flowgate::start(&mike(runtime.address), &["--log", "trace"]);
    let login = |pair: &str| format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(pair));
    let good = login(&format!("mike:{MIKE_PASSWORD}"));
    for (path, headers) in [
        ("/api/thing".to_owned(), good.clone()),
        ("/api/thing".to_owned(), login(&format!("{TYPO}:x"))),
        ("/api/thing".to_owned(), login("mike:a-wrong-secret")),
        ("/api/thing".to_owned(), format!("X-Auth-User: mike\r\nX-Auth-Key: {MIKE_KEY}\r\n")),
        (format!("/api/thing?apikey={MIKE_KEY}"), String::new()),
        ("/api/thing?access_token=a-secret-token".to_owned(), String::new()),
        (format!("/public/mike/data?apikey={MIKE_KEY}"), good),
    ] {
        flowgate.ask(&handshake(&path, "localhost", &headers));
    }
    let log = flowgate.log_by_now();
    assert!(log.contains("handshake refused"), "{log}");
    let encoded = BASE64_STANDARD.encode(format!("mike:{MIKE_PASSWORD}"));
    for secret in [MIKE_PASSWORD, MIKE_KEY, TYPO, "a-wrong-secret", "a-secret-token", &encoded] {
        assert!(!log.contains(secret), "{secret} was logged");
    }
}

#[test]
fn text_is_for_people() {
    let runtime = Runtime::echo();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("profiles.json");
    std::fs::write(&file, mike(runtime.address).to_string()).unwrap();
    let mut child = crate::support::flowgate::program()
        .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .args(["--registry", "memory:", "--log-format", "text", "--import"])
        .arg(&file)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let ready = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("ready")));
    child.kill().unwrap();
    child.wait().unwrap();
    let ready = ready.unwrap().unwrap();
    assert!(ready.contains("INFO") && ready.contains("registry="), "{ready}");
}
