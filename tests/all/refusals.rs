//! Each "no", as `docs/wire.md` has it.

use std::io::{Read, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::support::flowgate::Flowgate;
use crate::support::profiles::{
    MIKE_KEY, MIKE_PASSWORD, ROBERTO_KEY, ROBERTO_PASSWORD, mike, mike_and_roberto, mike_on_plan,
    tenant,
};
use crate::support::runtime::{Runtime, accept, echo, text_from_client};
use crate::support::websocket::{KEY, WebSocket, handshake};

fn basic(username: &str, password: &str) -> String {
    let encoded = BASE64_STANDARD.encode(format!("{username}:{password}"));
    format!("Authorization: Basic {encoded}\r\n")
}

/// Status and code of the refusal that a request gets.
fn refusal(flowgate: &Flowgate, request: &str) -> (u16, String) {
    let answer = flowgate.ask(request);
    let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
    let status = head.split(' ').nth(1).expect(head).parse().unwrap();
    if !head.contains("application/problem+json") {
        return (status, String::new());
    }
    let problem: Value = serde_json::from_str(body).expect(&answer);
    assert_eq!(problem["status"], status, "{answer}");
    (status, problem["code"].as_str().unwrap().to_owned())
}

#[track_caller]
fn assert_refused(flowgate: &Flowgate, request: &str, status: u16, code: &str) {
    assert_eq!(refusal(flowgate, request), (status, code.to_owned()), "{request}");
}

#[test]
fn credentials_open_what_is_theirs_and_nothing_else() {
    let (mikes, robertos) = (Runtime::echo(), Runtime::echo());
    let flowgate = Flowgate::start(&mike_and_roberto(mikes.address, robertos.address), &[]);
    let mikes_key = format!("apikey: {MIKE_KEY}\r\n");
    let robertos_key = format!("X-Auth-User: roberto\r\nX-Auth-Key: {ROBERTO_KEY}\r\n");
    let two = format!("{}{mikes_key}", basic("roberto", ROBERTO_PASSWORD));
    let two_names = format!("{}{robertos_key}", basic("mike", MIKE_PASSWORD));
    let right_and_wrong = format!("{}apikey: wrong\r\n", basic("mike", MIKE_PASSWORD));
    let twice = format!("{mikes_key}{mikes_key}");
    let mixed = format!("X-Auth-User: roberto\r\nX-Auth-Key: {MIKE_KEY}\r\n");
    let lone_name = "X-Auth-User: mike\r\n".to_owned();
    let foreign = format!("{}Origin: http://evil.example\r\n", basic("mike", MIKE_PASSWORD));
    let sibling =
        format!("{}Origin: http://roberto.flows.localhost\r\n", basic("mike", MIKE_PASSWORD));
    let cross_site = format!("{}Sec-Fetch-Site: cross-site\r\n", basic("mike", MIKE_PASSWORD));
    let token = "Sec-WebSocket-Protocol: flowgate, flowgate.bearer.abc\r\n".to_owned();
    for (host, headers, status, code) in [
        ("localhost", String::new(), 401, "wrong_credential"),
        ("localhost", basic("mike", "wrong"), 401, "wrong_credential"),
        ("localhost", basic("nobody", "wrong"), 401, "wrong_credential"),
        ("localhost", basic("MIKE", MIKE_PASSWORD), 401, "wrong_credential"),
        ("localhost", lone_name, 401, "wrong_credential"),
        ("localhost", mixed, 401, "wrong_credential"),
        ("localhost", right_and_wrong, 401, "wrong_credential"),
        ("localhost", token, 401, "wrong_credential"),
        ("localhost", "Cookie: __Host-flowgate=x\r\n".to_owned(), 401, "wrong_credential"),
        ("localhost", two, 400, "two_identities"),
        ("localhost", two_names, 400, "two_identities"),
        ("localhost", twice, 400, "malformed"),
        ("localhost", "Authorization: Basic ???\r\n".to_owned(), 400, "malformed"),
        ("localhost", foreign, 403, "foreign_origin"),
        ("localhost", sibling, 403, "foreign_origin"),
        ("localhost", cross_site, 403, "foreign_origin"),
        ("mike.flows.localhost", robertos_key, 403, "wrong_tenant"),
        ("ghost.flows.localhost", mikes_key, 403, "wrong_tenant"),
    ] {
        assert_refused(&flowgate, &handshake("/api/thing", host, &headers), status, code);
    }
    for ticket in ["access_token=x", "ticket=x"] {
        let path = format!("/api/thing?{ticket}");
        assert_refused(&flowgate, &handshake(&path, "localhost", ""), 401, "wrong_credential");
    }
    flowgate.wait_until_idle();
}

#[test]
fn unknown_wrong_and_disabled_look_the_same() {
    let runtime = Runtime::echo();
    let mut profiles = mike(runtime.address);
    let mut disabled =
        tenant("gone", "password-of-gone", "key-of-gone-0123456789", runtime.address);
    disabled["disabled"] = true.into();
    profiles["tenants"].as_array_mut().unwrap().push(disabled);
    let flowgate = Flowgate::start(&profiles, &[]);
    let answers: Vec<String> =
        [("mike", "wrong"), ("nobody", "wrong"), ("gone", "password-of-gone")]
            .iter()
            .map(|(username, password)| {
                let headers = basic(username, password);
                let answer = flowgate.ask(&handshake("/api/thing", "localhost", &headers));
                let (before, id) = answer.split_once("\"request_id\":\"").unwrap();
                let date = before.lines().find(|line| line.starts_with("Date")).unwrap_or_default();
                format!("{}{}", before.replace(date, ""), &id[24..])
            })
            .collect();
    assert!(answers[0].contains(": Basic realm=\"flowgate\""), "{}", answers[0]);
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    let public = handshake("/public/gone/data", "localhost", "");
    assert_refused(&flowgate, &public, 404, "not_found");
}

#[test]
fn paths_and_hosts_that_could_mean_two_things_are_refused() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let key = format!("apikey: {MIKE_KEY}\r\n");
    for path in [
        "/api/../red",
        "/api/%2e%2e/red",
        "/api/.%2E/x",
        "/api/..;/red",
        "/api/..;x=y/red",
        "/api/a%2fb",
        "/api/a%5cb",
        "/api/a%00b",
        "/api/a%0ab",
        "/public/mike/../roberto/data",
        "/public/mike/%2e%2e/x",
        "/./api/thing",
    ] {
        assert_refused(&flowgate, &handshake(path, "localhost", &key), 400, "malformed");
    }
    for path in ["/", "/thing", "/api", "/API/thing", "/public/mike", "/public//data", "/red/comms"]
    {
        assert_refused(&flowgate, &handshake(path, "localhost", &key), 404, "not_found");
    }
    for path in ["/public/nobody/data", "/public/Mike/data", "/public/www/data"] {
        assert_refused(&flowgate, &handshake(path, "localhost", ""), 404, "not_found");
    }
    for (path, host) in
        [("/red/comms", "mike.flows.localhost"), ("//RED/x", "mike.flows.localhost")]
    {
        assert_refused(&flowgate, &handshake(path, host, &key), 401, "no_session");
    }
    for host in ["", "a b", "user@localhost", "localhost:x", "localhost:123456", "[::1", "a/b"] {
        let (status, _) = refusal(&flowgate, &handshake("/api/thing", host, &key));
        assert_eq!(status, 400, "{host}");
    }
    let two_hosts = handshake("/api/thing", "localhost", &format!("Host: localhost\r\n{key}"));
    assert_refused(&flowgate, &two_hosts, 400, "malformed");
    let absolute = handshake("http://mike.flows.localhost/api/thing", "localhost", &key);
    assert_refused(&flowgate, &absolute, 400, "malformed");
    let userinfo = handshake("http://mike@localhost/api/thing", "localhost", &key);
    assert_refused(&flowgate, &userinfo, 400, "malformed");
}

#[test]
fn under_admin_root_nothing_is_found_but_by_the_editors_row() {
    let runtime = Runtime::echo();
    let mut profiles = mike(runtime.address);
    // Here the flows' root contains the editor's: every path below must be looked at.
    profiles["tenants"][0]["instance"]["node_root"] = "".into();
    let flowgate = Flowgate::start(&profiles, &[]);
    let key = format!("apikey: {MIKE_KEY}\r\n");
    for path in ["/api/red", "/api/red/flows", "/api/RED/comms", "/api//red", "/api/%72ed/comms"] {
        assert_refused(&flowgate, &handshake(path, "localhost", &key), 404, "not_found");
    }
    WebSocket::connect(flowgate.data, "/api/redder", &key);
}

#[test]
fn what_only_looks_like_a_handshake_is_refused() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let path = "/public/mike/data";
    let good = handshake(path, "localhost", "");
    let body = handshake(path, "localhost", "Content-Length: 5\r\n") + "hello";
    let chunked = handshake(path, "localhost", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n";
    for (request, status, code) in [
        (good.replace("Connection: Upgrade", "Connection: close"), 400, "bad_handshake"),
        (good.replace("GET", "POST"), 400, "bad_handshake"),
        (good.replace(KEY, "short"), 400, "bad_handshake"),
        (good.replace(KEY, ""), 400, "bad_handshake"),
        (good.replace("Version: 13", "Version: 8"), 426, "websocket_version"),
        (body, 400, "bad_handshake"),
        (chunked, 400, "bad_handshake"),
    ] {
        assert_refused(&flowgate, &request, status, code);
    }
}

#[test]
fn what_follows_a_refused_handshake_is_no_request() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let smuggled = handshake("/api/thing", "localhost", "")
        + "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = flowgate.ask(&smuggled);
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

#[test]
fn a_runtime_that_fails_is_502_or_504_and_never_401() {
    let key = format!("apikey: {MIKE_KEY}\r\n");
    let request = handshake("/api/thing", "localhost", &key);
    let flowgate = Flowgate::start(&mike(Runtime::nowhere()), &[]);
    assert_refused(&flowgate, &request, 502, "runtime_unreachable");
    type Conduct = fn(WebSocket);
    let cases: [(Conduct, u16, &str); 4] = [
        (drop, 502, "runtime_broke"),
        (|mut runtime| runtime.send(b"SSH-2.0-OpenSSH\r\n"), 502, "runtime_broke"),
        (
            |mut runtime| {
                runtime.send(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                      Connection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
                );
                runtime.receive();
            },
            502,
            "runtime_broke",
        ),
        (
            |mut runtime| {
                runtime.receive();
            },
            504,
            "runtime_timeout",
        ),
    ];
    for (conduct, status, code) in cases {
        let runtime = Runtime::start(conduct);
        let flowgate = Flowgate::start(&mike(runtime.address), &["--handshake-timeout", "1s"]);
        assert_refused(&flowgate, &request, status, code);
        flowgate.wait_until_idle();
    }
}

#[test]
fn what_a_runtime_answers_instead_of_101_passes_through() {
    let runtime = Runtime::start(|mut runtime| {
        runtime.send(
            b"HTTP/1.1 418 Teapot\r\nX-Own: yes\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\
              Set-Cookie: __Host-flowgate=stolen\r\nSet-Cookie: own=1\r\n\
              Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n\r\n",
        );
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    for (host, path) in
        [("localhost", "/public/mike/data"), ("mike.flows.localhost", "/api/public/data")]
    {
        let mut request = handshake(path, host, "");
        request += "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let answer = flowgate.ask(&request);
        assert!(answer.starts_with("HTTP/1.1 418 "), "{answer}");
        assert!(answer.contains("X-Own: yes") && answer.contains("short"), "{answer}");
        // All tenants' runtimes share the bare host, and its cookies.
        let own = host != "localhost";
        assert_eq!(answer.contains("Set-Cookie: own=1"), own, "{answer}");
        assert_eq!(answer.contains("WWW-Authenticate"), own, "{answer}");
        assert!(!answer.contains("stolen") && !answer.contains("ok\n"), "{answer}");
    }
    flowgate.wait_until_idle();
}

#[test]
fn a_plans_connections_are_counted() {
    let runtime = Runtime::start(|mut runtime| {
        accept(&mut runtime, "");
        echo(&mut runtime);
    });
    let plan = serde_json::json!({ "connections": 2 });
    let flowgate = Flowgate::start(&mike_on_plan(runtime.address, plan), &[]);
    let first = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    let mut second = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    let request = handshake("/public/mike/data", "localhost", "");
    let answer = flowgate.ask(&request);
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    assert!(answer.contains("Retry-After: ") && answer.contains("plan_connections"), "{answer}");
    second.send(&text_from_client("not disturbed"));
    assert_eq!(second.receive_text(), "not disturbed");
    drop(first);
    flowgate.wait_for_end();
    WebSocket::connect(flowgate.data, "/public/mike/data", "");
}

#[test]
fn strangers_cannot_use_up_the_owners_connections() {
    let runtime = Runtime::echo();
    let plan = serde_json::json!({ "connections": 4 });
    let flowgate = Flowgate::start(&mike_on_plan(runtime.address, plan), &[]);
    let open = || WebSocket::connect(flowgate.data, "/public/mike/data", "");
    let _strangers = [open(), open(), open()];
    let stranger = handshake("/public/mike/data", "localhost", "");
    assert_refused(&flowgate, &stranger, 429, "plan_connections");
    let key = format!("apikey: {MIKE_KEY}\r\n");
    let _owner = WebSocket::connect(flowgate.data, "/api/thing", &key);
    assert_refused(&flowgate, &handshake("/api/thing", "localhost", &key), 429, "plan_connections");
}

#[test]
fn a_path_over_the_limit_is_414() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let path = |length: usize| format!("/public/mike/{}", "x".repeat(length - 13));
    let longest = handshake(&path(2048), "localhost", "");
    assert!(WebSocket::open(flowgate.data, longest).head.starts_with("HTTP/1.1 101"));
    assert_refused(&flowgate, &handshake(&path(2049), "localhost", ""), 414, "path_too_long");
}

#[test]
fn too_many_header_bytes_are_431() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &["--header-bytes-max", "8192"]);
    let fits = handshake("/public/mike/data", "localhost", &format!("X: {}\r\n", "x".repeat(7000)));
    assert!(WebSocket::open(flowgate.data, fits).head.starts_with("HTTP/1.1 101"));
    let over = handshake("/public/mike/data", "localhost", &format!("X: {}\r\n", "x".repeat(9000)));
    assert!(flowgate.ask(&over).starts_with("HTTP/1.1 431"));
}

#[test]
fn a_client_that_sends_no_headers_is_let_go() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &["--header-timeout", "1s"]);
    let mut socket = std::net::TcpStream::connect(flowgate.data).unwrap();
    socket.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    socket.write_all(b"GET /healthz HT").unwrap();
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut socket, &mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[test]
fn a_line_now_and_then_gives_a_head_no_more_time() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &["--header-timeout", "1s"]);
    for (first, line) in [("\r\n", "\r\n"), ("GET /healthz HTTP/1.1\r\n", "X: y\r\n")] {
        let mut socket = std::net::TcpStream::connect(flowgate.data).unwrap();
        socket.write_all(first.as_bytes()).unwrap();
        // Every third of the time that there is; far more often than there are lines in a head.
        socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        let ended = (0..90).any(|_| match socket.read(&mut [0]) {
            Ok(read) => {
                assert_eq!(read, 0, "there was nothing to answer");
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let _ = socket.write_all(line.as_bytes());
                false
            }
            Err(_) => true,
        });
        assert!(ended, "{first:?} goes on for ever");
    }
}
