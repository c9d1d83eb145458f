//! What a tenant's record says of the instance. What a change does to live connections is tested
//! beside the code: one process holds the registry's file.

use serde_json::{Value, json};

use crate::support::flowgate::{Flowgate, program};
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, mike_and_roberto};
use crate::support::runtime::Runtime;
use crate::support::websocket::{WebSocket, handshake};

fn without_runtime(runtime: &Runtime) -> Value {
    let mut profiles = mike_and_roberto(runtime.address, runtime.address);
    profiles["tenants"][0]["instance"] = Value::Null;
    profiles
}

#[test]
fn a_tenant_without_a_runtime_is_told_so_and_nobody_else_is() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&without_runtime(&runtime), &[]);
    let key = format!("apikey: {MIKE_KEY}\r\n");
    let told = |answer: &str| {
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("\r\nretry-after: 60\r\n"), "{answer}");
        answer.contains("\"no_runtime\"") && answer.contains("No runtime is set up")
    };
    for path in ["/api/thing", "/public/mike/data"] {
        let request = handshake(path, "localhost", &key);
        assert!(told(&flowgate.ask(&request)), "{path}");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        assert!(told(&flowgate.ask(&format!("{request}{key}\r\n"))), "{path}");
        if path == "/api/thing" {
            let answer = flowgate.ask(&format!("{request}apikey: wrong\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        }
    }
    let editor = "GET /red/ HTTP/1.1\r\nHost: mike.flows.localhost\r\nConnection: close\r\n\r\n";
    assert!(flowgate.ask(editor).starts_with("HTTP/1.1 404 "));
    let (status, said) = flowgate.profile(("mike", MIKE_PASSWORD), "GET", "", &Value::Null);
    assert_eq!((status, &said["username"]), (200, &json!("mike")));
    let websocket = WebSocket::connect(flowgate.data, "/public/roberto/data", "");
    drop(websocket);
    flowgate.wait_until_idle();
}

#[test]
fn explain_says_so_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("profiles.json");
    std::fs::write(&file, without_runtime(&Runtime::echo()).to_string()).unwrap();
    let output = program()
        .args(["explain", "GET", "http://localhost/public/mike/x", "--registry", "memory:"])
        .arg("--import")
        .arg(&file)
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("503 no_runtime"), "{printed}");
}
