//! The profile as a program uses it.

use serde_json::{Value, json};

use crate::support::flowgate::Flowgate;
use crate::support::node::run_script;
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, mike, mike_on_plan};
use crate::support::runtime::{Runtime, text_from_client};
use crate::support::wait_for;
use crate::support::websocket::{WebSocket, handshake};

const MIKE: (&str, &str) = ("mike", MIKE_PASSWORD);

fn status(flowgate: &Flowgate, path: &str, headers: &str) -> u16 {
    let head = WebSocket::open(flowgate.data, handshake(path, "localhost", headers)).head;
    head.split(' ').nth(1).expect(&head).parse().unwrap()
}

#[test]
fn it_shows_the_account_and_no_secret() {
    let runtime = Runtime::echo();
    let plan = json!({ "connections": 7, "message_bytes": 1000 });
    let flowgate = Flowgate::start(&mike_on_plan(runtime.address, plan), &[]);
    let (code, created) =
        flowgate.profile(MIKE, "POST", "/keys", &json!({ "name": "pump", "scope": ["/thing"] }));
    assert_eq!(code, 201, "{created}");
    let (code, said) = flowgate.profile(MIKE, "GET", "", &Value::Null);
    assert_eq!(code, 200);
    assert_eq!(said["username"], "mike");
    assert_eq!(said["plan"]["name"], "tested");
    assert_eq!(said["plan"]["limits"], json!({ "connections": 7, "message_bytes": 1000 }));
    assert_eq!(said["api_key"]["last_four"], "cdef");
    assert_eq!(said["keys"][0]["name"], "pump");
    let text = said.to_string();
    let secret = created["key"].as_str().unwrap();
    assert!(secret.starts_with("fgk_") && secret.len() == 47, "{secret}");
    for secret in [secret, MIKE_KEY, MIKE_PASSWORD, "$2b$"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(!flowgate.log_by_now().contains(secret));
}

#[test]
fn a_key_does_not_open_it_and_a_wrong_password_neither() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let by_key = |method: &str, path: &str| {
        let answer = flowgate.ask(&format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\napikey: {MIKE_KEY}\r\n\r\n"
        ));
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("password_only"), "{answer}");
    };
    by_key("GET", "/profile");
    by_key("POST", "/profile/api-key");
    let (code, said) = flowgate.profile(("mike", "wrong"), "GET", "", &Value::Null);
    assert_eq!((code, &said["code"]), (401, &json!("wrong_credential")));
    let foreign =
        "GET /profile HTTP/1.1\r\nHost: mike.flows.localhost\r\nConnection: close\r\n\r\n";
    assert!(flowgate.ask(foreign).starts_with("HTTP/1.1 404"), "only the bare host has it");
    let (code, said) = flowgate.profile(MIKE, "PATCH", "/api-key", &Value::Null);
    assert_eq!((code, &said["code"]), (405, &json!("method_not_allowed")));
    let login = {
        use base64::Engine;
        base64::prelude::BASE64_STANDARD.encode(format!("mike:{MIKE_PASSWORD}"))
    };
    let answer = flowgate.ask(&format!(
        "PATCH /profile/keys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Basic {login}\r\n\r\n"
    ));
    let allow = answer.lines().find(|line| line.starts_with("Allow: ")).expect(&answer);
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    let (code, said) = flowgate.profile(MIKE, "POST", "/keys", &json!({ "nmae": "x" }));
    assert_eq!((code, &said["code"]), (400, &json!("bad_input")));
}

#[test]
fn a_scoped_key_opens_its_paths_alone() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let body = json!({ "name": "pump", "scope": ["/thing", "/a/b"] });
    let (_, said) = flowgate.profile(MIKE, "POST", "/keys", &body);
    let key = format!("apikey: {}\r\n", said["key"].as_str().unwrap());
    for path in ["/api/thing", "/api/thing/more", "/api/a/b"] {
        assert_eq!(status(&flowgate, path, &key), 101, "{path}");
    }
    for path in ["/api/things", "/api/a", "/api/other", "/api/public/data"] {
        assert_eq!(status(&flowgate, path, &key), 403, "{path}");
    }
}

#[test]
fn a_ticket_opens_one_path_once_for_one_origin() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let ticket = |origin: Option<&str>| {
        let body = json!({ "path": "/api/thing", "origin": origin });
        let (code, said) = flowgate.profile(MIKE, "POST", "/tickets", &body);
        assert_eq!((code, &said["expires_in_seconds"]), (201, &json!(30)), "{said}");
        said["ticket"].as_str().unwrap().to_owned()
    };
    let page = "http://dashboard.example";
    let at = |path: &str, ticket: &str| format!("{path}?ticket={ticket}");
    let origin = format!("Origin: {page}\r\n");

    let good = at("/api/thing", &ticket(Some(page)));
    let mut websocket = WebSocket::connect(flowgate.data, &good, &origin);
    websocket.send(&text_from_client("hello"));
    assert_eq!(websocket.receive_text(), "hello");
    assert_eq!(status(&flowgate, &good, &origin), 401, "it is used up");

    assert_eq!(status(&flowgate, &at("/api/other", &ticket(Some(page))), &origin), 401);
    assert_eq!(status(&flowgate, &at("/api/thing", &ticket(Some(page))), ""), 401);
    assert_eq!(status(&flowgate, &at("/api/thing", &ticket(None)), &origin), 401);
    assert_eq!(status(&flowgate, &at("/api/thing", &ticket(None)), ""), 101);

    // It rests on what issued it.
    let change = json!({ "old": MIKE_PASSWORD, "new": "another-horse" });
    flowgate.profile(MIKE, "PUT", "/password", &change);
    assert_eq!(websocket.receive_close(), (1008, "password changed".to_owned()));
}

#[test]
fn a_browsers_websocket_comes_in_by_subprotocol() {
    const SCRIPT: &str = r#"
        const { WebSocket } = require("ws");
        const [url, key] = process.argv.slice(1);
        // As in a browser: no headers, only subprotocols.
        const socket = new WebSocket(url, ["flowgate", `flowgate.bearer.${key}`]);
        socket.on("open", () => { console.log(socket.protocol); socket.send("hello"); });
        socket.on("message", (data) => { console.log(data.toString()); socket.close(1000); });
        socket.on("close", (code) => { console.log(code); process.exit(0); });
        socket.on("error", (error) => { console.log(error.message); process.exit(1); });
    "#;
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let (_, said) = flowgate.profile(MIKE, "POST", "/keys", &json!({ "name": "page" }));
    let url = format!("ws://{}/api/thing", flowgate.data);
    let printed = run_script(SCRIPT, &[&url, said["key"].as_str().unwrap()]);
    assert_eq!(printed, "flowgate\nhello\n1000\n");
}

#[test]
fn when_a_key_was_last_used_is_remembered() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let last_used = |flowgate: &Flowgate| {
        let (_, said) = flowgate.profile(MIKE, "GET", "", &Value::Null);
        said["api_key"]["last_used"].clone()
    };
    assert_eq!(last_used(&flowgate), Value::Null);
    let revision =
        |flowgate: &Flowgate| flowgate.profile(MIKE, "GET", "", &Value::Null).1["revision"].clone();
    let before = revision(&flowgate);
    assert_eq!(status(&flowgate, "/api/thing", &format!("apikey: {MIKE_KEY}\r\n")), 101);
    let used = last_used(&flowgate);
    assert!(used.as_str().unwrap().ends_with('Z'), "{used}");
    assert_eq!(revision(&flowgate), before, "use is no change");
    let mut stopping = flowgate;
    stopping.signal("-TERM");
    assert!(stopping.wait().success());
    let again = stopping.kill_and_restart(&[]);
    assert_eq!(last_used(&again), used);
}

#[test]
fn a_key_that_was_refused_for_its_scope_was_not_used() {
    let flowgate = Flowgate::start(&mike(Runtime::nowhere()), &[]);
    let pump = json!({ "name": "pump", "scope": ["/thing"] });
    let (_, made) = flowgate.profile(MIKE, "POST", "/keys", &pump);
    let header = format!("apikey: {}\r\n", made["key"].as_str().unwrap());
    let last_used = || {
        let (_, said) = flowgate.profile(MIKE, "GET", "/keys", &Value::Null);
        said["keys"][0]["last_used"].clone()
    };
    assert_eq!(status(&flowgate, "/api/other", &header), 403);
    assert_eq!(last_used(), Value::Null);
    assert_eq!(status(&flowgate, "/api/thing", &header), 502);
    assert!(last_used().is_string());
}

#[test]
fn a_refusal_tells_the_tenant_why_and_since_when() {
    let runtime = Runtime::nowhere();
    let flowgate = Flowgate::start(&mike(runtime), &[]);
    let refusals =
        || flowgate.profile(MIKE, "GET", "/refusals", &Value::Null).1["refusals"].clone();
    let by = |key: &str| format!("apikey: {key}\r\n");
    let made = flowgate.profile(MIKE, "POST", "/keys", &json!({ "name": "pump" })).1;
    let named = made["key"].as_str().unwrap();
    let id = made["id"].as_str().unwrap();
    assert_eq!(flowgate.profile(MIKE, "POST", "/api-key", &Value::Null).0, 200);
    assert_eq!(flowgate.profile(MIKE, "DELETE", &format!("/keys/{id}"), &Value::Null).0, 200);
    for (key, why) in [(MIKE_KEY, "API key regenerated"), (named, "API key revoked")] {
        assert_eq!(status(&flowgate, "/api/thing", &by(key)), 401);
        let last = &refusals()[0];
        assert_eq!((&last["status"], &last["why"]), (&json!(401), &json!(why)), "{last}");
        assert!(last["since"].as_str().unwrap().ends_with('Z'), "{last}");
    }
    assert_eq!(status(&flowgate, "/api/thing", &by("nobodys-key")), 401);
    assert_eq!(refusals()[0]["why"], "API key revoked", "nobody's key is nobody's");
    // Where the runtime is, is for operators.
    let key = flowgate.profile(MIKE, "POST", "/api-key", &Value::Null).1["api_key"].clone();
    assert_eq!(status(&flowgate, "/api/thing", &by(key.as_str().unwrap())), 502);
    let said = flowgate.profile(MIKE, "GET", "", &Value::Null).1;
    assert_eq!(said["runtime"]["code"], "runtime_unreachable", "{said}");
    for told in [refusals(), said] {
        assert!(!told.to_string().contains(&runtime.to_string()), "{told}");
    }
}

#[test]
fn it_tells_what_was_relayed_and_how_the_runtime_is() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let said = flowgate.profile(MIKE, "GET", "", &Value::Null).1;
    assert_eq!(said["runtime"]["reachable"], true, "{said}");
    let mut websocket =
        WebSocket::connect(flowgate.data, "/api/thing", &format!("apikey: {MIKE_KEY}\r\n"));
    for _ in 0..3 {
        websocket.send(&text_from_client("hello"));
        assert_eq!(websocket.receive_text(), "hello");
    }
    let sum = |traffic: &Value, spans: &str, field: &str| -> u64 {
        let spans = traffic[spans].as_array().unwrap().iter();
        spans.map(|span| span[field].as_u64().unwrap()).sum()
    };
    let traffic = wait_for("the messages were counted", || {
        let traffic = flowgate.profile(MIKE, "GET", "/traffic", &Value::Null).1;
        (sum(&traffic, "minutes", "messages_from_runtime") == 3).then_some(traffic)
    });
    for spans in ["minutes", "hours"] {
        assert_eq!(sum(&traffic, spans, "messages_from_client"), 3, "{traffic}");
        // A header of 6 bytes from a client, of 2 from a runtime.
        assert_eq!(sum(&traffic, spans, "bytes_from_client"), 3 * 11, "{traffic}");
        assert_eq!(sum(&traffic, spans, "bytes_from_runtime"), 3 * 7, "{traffic}");
    }
    // It is written down from time to time.
    wait_for("the use of the key was written down", || {
        let said = flowgate.profile(MIKE, "GET", "", &Value::Null).1;
        (said["api_key"]["last_used_from"] == "127.0.0.1").then_some(())
    });
}
