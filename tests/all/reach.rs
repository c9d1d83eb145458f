//! Where runtimes may be: what is never dialled, whoever names it.

use serde_json::{Value, json};

use crate::support::admin::{ADMIN, call, tokens_file};
use crate::support::flowgate::{Flowgate, program};
use crate::support::profiles::{MIKE_KEY, mike};
use crate::support::runtime::Runtime;
use crate::support::wait_until;
use crate::support::websocket::{WebSocket, handshake};

const GET: &str = "GET /public/mike/thing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// mike, whose runtime is said to be there.
fn mike_at(address: &str) -> Value {
    let mut profiles = mike(Runtime::nowhere());
    profiles["tenants"][0]["instance"]["address"] = json!(address);
    profiles
}

#[test]
fn what_is_never_dialled_is_refused_on_every_way() {
    // The second one is a name to us, and the same address to the system.
    for address in ["http://169.254.169.254", "http://2852039166:80", "https://169.254.169.254"] {
        let flowgate = Flowgate::start(&mike_at(address), &[]);
        // Once the name is known the front itself decides.
        for _ in 0..2 {
            let answer = flowgate.ask(GET);
            assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
            assert!(answer.contains("runtime_denied"), "{answer}");
            assert!(!answer.contains("169.254"), "{answer}");
            let hello = handshake("/public/mike/data", "localhost", "");
            let head = WebSocket::open(flowgate.data, hello).head;
            assert!(head.starts_with("HTTP/1.1 502"), "{head}");
        }
        let line = flowgate.wait_for_line("why", |line| line["refusal"] == "runtime_denied");
        let why = line["why"].as_str().unwrap();
        assert!(why.contains("169.254.169.254 is a cloud's metadata service"), "{why}");
        assert!(why.contains("allow_addresses"), "{why}");
    }
}

/// A flowgate with mike, whose operators have tokens.
fn start(flags: &[&str]) -> (Flowgate, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens_file(folder.path());
    let flags = [&["--admin-tokens-file", tokens.to_str().unwrap()], flags].concat();
    (Flowgate::start(&mike(Runtime::nowhere()), &flags), folder)
}

/// Says where mike's runtime is; returns status and body.
fn put(flowgate: &Flowgate, address: &str) -> (u16, Value) {
    let instance = json!({ "address": address, "node_root": "/api", "admin_root": "/red" });
    let line = "PUT /admin/v1/tenants/mike/instance";
    let (status, _, body) = call(flowgate, ADMIN, line, "If-Match: *\r\n", &instance);
    (status, body)
}

#[test]
fn operators_are_told_when_they_write_such_an_address() {
    let (flowgate, _folder) = start(&["--allow-addresses", "169.254.7.0/24"]);
    for (address, what) in [
        ("http://169.254.169.254", "metadata"),
        ("http://[::ffff:169.254.169.254]:80", "metadata"),
        ("http://[fe80::1]:1880", "link-local"),
        ("http://0.0.0.0:1880", "unspecified"),
        (&format!("http://{}", flowgate.data), "a listener of flowgate itself"),
        (&format!("https://{}", flowgate.admin), "a listener of flowgate itself"),
    ] {
        let (status, body) = put(&flowgate, address);
        assert_eq!((status, &body["code"]), (422, &json!("address_denied")), "{address}: {body}");
        assert!(body["detail"].as_str().unwrap().contains(what), "{address}: {body}");
        let tenants = json!({ "tenants": [mike_at(address)["tenants"][0].clone()] });
        let line = "POST /admin/v1/profiles?replace=true";
        let (status, _, body) = call(&flowgate, ADMIN, line, "", &tenants);
        assert_eq!((status, &body["code"]), (422, &json!("address_denied")), "{address}: {body}");
    }
    assert_eq!(put(&flowgate, "http://169.254.7.1:1880").0, 200);
    assert_eq!(put(&flowgate, "http://127.0.0.1:1880").0, 200);
    // Where a name leads is judged when it is dialled.
    let by_name = format!("http://localhost:{}", flowgate.admin.port());
    assert_eq!(put(&flowgate, &by_name).0, 200);
    wait_until("it is denied", || flowgate.ask(GET).contains("runtime_denied"));
    let asked = json!({ "method": "GET", "url": "http://localhost/public/mike/thing" });
    let (status, _, body) = call(&flowgate, ADMIN, "POST /admin/v1/explain", "", &asked);
    assert_eq!((status, &body["refused"]), (200, &json!(true)));
    assert!(body.to_string().contains("502 runtime_denied"), "{body}");
}

#[test]
fn a_listener_on_all_addresses_is_ours_on_each_of_this_machine() {
    let (flowgate, _folder) = start(&["--listen", "0.0.0.0:0"]);
    let line = flowgate.wait_for_line("it listens", |line| {
        line["address"].as_str().is_some_and(|address| address.starts_with("0.0.0.0:"))
    });
    let port = line["address"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    for host in ["127.0.0.1", "127.0.0.2", "[::ffff:127.0.0.1]"] {
        let (status, body) = put(&flowgate, &format!("http://{host}:{port}"));
        assert_eq!((status, &body["code"]), (422, &json!("address_denied")), "{host}: {body}");
    }
    // No machine has an address in a network for documents.
    assert_eq!(put(&flowgate, &format!("http://192.0.2.1:{port}")).0, 200);
}

#[test]
fn an_operator_may_allow_it() {
    let (flowgate, _folder) = start(&["--allow-addresses", "127.0.0.1"]);
    assert_eq!(put(&flowgate, &format!("http://{}", flowgate.data)).0, 200);
    // It asks itself for what is private there.
    wait_until("it reaches itself", || flowgate.ask(GET).contains("wrong_credential"));
}

#[test]
fn explain_tells_it_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("profiles.json");
    for (address, setting, code) in [
        ("http://169.254.1.1:1880", ("LOG", "info"), 1),
        ("http://169.254.1.1:1880", ("ALLOW_ADDRESSES", "192.0.2.1,169.254.0.0/16"), 0),
        ("http://127.0.0.1:7171", ("LOG", "info"), 0),
        ("http://127.0.0.1:7171", ("LISTEN", "0.0.0.0:7171"), 1),
    ] {
        std::fs::write(&file, mike_at(address).to_string()).unwrap();
        let output = program()
            .args(["explain", "GET", "http://localhost/api/x", "-H"])
            .arg(format!("apikey: {MIKE_KEY}"))
            .args(["--registry", "memory:", "--import"])
            .arg(&file)
            .env(format!("FLOWGATE_{}", setting.0), setting.1)
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{address} {setting:?}: {printed}");
        assert_eq!(printed.contains("502 runtime_denied"), code == 1, "{printed}");
    }
}
