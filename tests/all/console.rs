//! The operators' console, as a person uses it, in the real Chromium; and its feed as a program does.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::admin::{ADMIN, READ, call, start};
use crate::support::flowgate::{Flowgate, ask};
use crate::support::node::{NodeRed, pictures, run_in_browser};
use crate::support::profiles::{MIKE_KEY, mike, mike_and_roberto};
use crate::support::runtime::Runtime;
use crate::support::wait_until;
use crate::support::websocket::{FIN, Frame, PING, PONG, TEXT, WebSocket, handshake, masked};

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn an_operator_does_everything_in_the_console() {
    let runtime = NodeRed::start("mike");
    let (mut flowgate, _folder) = start(&mike_and_roberto(runtime.address, Runtime::nowhere()));
    let (admin, data) = (flowgate.admin.port().to_string(), flowgate.data.port().to_string());
    let script = include_str!("browser/console.cjs");
    // For the docs, or for whoever wants to look.
    let folder = pictures().or_else(|| std::env::var("FLOWGATE_PICTURES").ok()).unwrap_or_default();
    let said = run_in_browser(script, &[&admin, &data, ADMIN, READ, MIKE_KEY, &folder]);

    let text = |name: &str| said[name].as_str().unwrap_or_else(|| panic!("{name}: {said}"));
    assert_eq!(text("at"), format!("http://127.0.0.1:{admin}/console/"));
    assert_eq!((text("who"), &said["refused"]), ("ada (admin)", &json!(401)));
    assert!(text("replicas").contains("this server"), "{said}");
    assert_eq!(texts(&said["listed"]).len(), 1, "{said}");
    assert!(text("asked").contains("One connection will be closed."), "{said}");
    assert_eq!((text("safe"), text("back")), ("Cancel", "Close…"), "nothing ends by mistake");
    let by_operator = json!([1008, "closed by an operator"]);
    assert_eq!(said["closedOne"], by_operator);
    assert!(text("named").contains("<b>pump</b>"), "{said}");
    assert_eq!(said["told"], false, "a secret is shown once");
    assert!(text("warned").contains("This closes one connection"), "{said}");
    assert_eq!(said["closedByKey"][0], 1008, "{said}");
    assert!(text("settings").contains("https://dashboard.example.org"), "{said}");
    assert!(text("wrong").contains("instance"), "{said}");
    assert_eq!(texts(&said["disabled"]).len(), 1, "{said}");
    assert_eq!(text("mistaken"), "That is not zoe.");
    assert!(text("many").contains("2 connections and plain requests on this server"), "{said}");
    assert_eq!(said["closedByFilter"], json!([1008, 1008]));
    assert!(text("saidOfThem").contains("2 connections were closed"), "{said}");
    assert_eq!(said["exported"].as_array().unwrap().len(), 2, "{said}");
    assert!(text("imported").contains("2 left alone"), "{said}");
    for part in ["close connections", "rotate key", "remove tenant", "create plan"] {
        assert!(text("audit").contains(part), "{part}: {said}");
    }

    assert_eq!((&said["violations"], &said["overflow"]), (&json!([]), &json!({})));
    assert_eq!((&said["complaints"], &said["foreign"]), (&json!([]), &json!([])), "{said}");
    // A browser says of each refusal that a resource failed to load; only those were meant.
    assert_eq!(texts(&said["early"]).len() + texts(&said["expected"]).len(), 2, "{said}");
    assert_eq!(said["stored"], json!(["", 0, ["flowgate-admin-token"]]));
    assert_eq!((&said["cookies"], &said["left"]), (&json!([]), &json!(0)));
    let greyed = texts(&said["greyed"]);
    assert!(greyed.contains(&"Remove…: This needs a token with the role admin."), "{greyed:?}");
    assert!(greyed.contains(&"Disable…: This needs a token with the role operate."), "{greyed:?}");

    assert!(flowgate.wait().success(), "the console drained it");
    let log = flowgate.raw_log();
    for secret in [text("secret"), text("rotated"), text("zoes"), ADMIN, READ] {
        assert!(!log.contains(secret), "{secret}");
    }
    assert!(!log.contains("fgt_"), "no ticket is logged");
}

fn ticket_of(flowgate: &Flowgate, token: &str) -> String {
    let (status, _, body) = call(flowgate, token, "POST /admin/v1/feed-tickets", "", &Value::Null);
    assert_eq!((status, &body["expires_in_seconds"]), (200, &json!(30)));
    body["ticket"].as_str().unwrap().to_owned()
}

fn ticket(flowgate: &Flowgate) -> String {
    ticket_of(flowgate, READ)
}

fn watch(flowgate: &Flowgate, ticket: &str, headers: &str) -> WebSocket {
    let path = format!("/admin/v1/feed?ticket={ticket}");
    WebSocket::open(flowgate.admin, handshake(&path, "localhost", headers))
}

fn status(socket: &WebSocket) -> &str {
    socket.head.split(' ').nth(1).expect(&socket.head)
}

/// The next second that is told.
fn second(feed: &mut WebSocket) -> Value {
    serde_json::from_str(&feed.receive_text()).unwrap()
}

/// The next frame that tells no second; a feed that goes on and on has none.
fn other(feed: &mut WebSocket) -> Frame {
    const SECONDS_MAX: usize = 60;
    let mut frames = (0..SECONDS_MAX).map(|_| feed.receive().expect("a frame"));
    frames.find(|frame| frame.first_byte != FIN | TEXT).expect("something else than seconds")
}

#[test]
fn the_feed_tells_what_goes_on_and_ends_with_the_server() {
    let runtime = Runtime::echo();
    let (mut flowgate, _folder) = start(&mike(runtime.address));
    let mut feed = watch(&flowgate, &ticket(&flowgate), "");
    assert_eq!(status(&feed), "101", "{}", feed.head);
    let quiet = second(&mut feed);
    assert_eq!((&quiet["connections"], &quiet["refusals"]), (&json!(0), &json!({})));
    assert_eq!(
        (&quiet["ready"], &quiet["registry"]["standing"]),
        (&json!(true), &json!("current"))
    );

    let key = format!("apikey: {MIKE_KEY}\r\n");
    let mut socket = WebSocket::connect(flowgate.data, "/api/thing", &key);
    for _ in 0..3 {
        socket.send(&masked(FIN | TEXT, b"hello"));
        assert_eq!(socket.receive_text(), "hello");
    }
    let request = "GET /api/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(ask(flowgate.data, request).starts_with("HTTP/1.1 401"));
    let line = "PUT /admin/v1/plans/small";
    let (made, ..) = call(&flowgate, ADMIN, line, "", &json!({ "connections": 3 }));
    assert_eq!(made, 201);
    // What is told is told once, whenever: sums and lists over all seconds.
    let mut sums = [0; 3];
    let (mut refused, mut audit) = (Vec::new(), Vec::new());
    let is_all = |sums: &[u64; 3], refused: &[Value], audit: &[Value]| {
        *sums == [1, 3, 3] && refused.len() == 1 && audit.len() == 1
    };
    while !is_all(&sums, &refused, &audit) {
        let mut told = second(&mut feed);
        let members = ["handshakes", "messages_from_client", "messages_from_runtime"];
        for (sum, member) in sums.iter_mut().zip(members) {
            *sum += told["passed"][member].as_u64().unwrap();
        }
        assert!(sums <= [1, 3, 3], "{sums:?}");
        refused.append(told["refused"].as_array_mut().unwrap());
        audit.append(told["audit"].as_array_mut().unwrap());
        assert!(refused.len() <= 1 && audit.len() <= 1, "{refused:?} {audit:?}");
    }
    assert_eq!((&refused[0]["path"], &refused[0]["status"]), (&json!("/api/x"), &json!(401)));
    assert_eq!((&audit[0]["object"], &audit[0]["who"]), (&json!("plan/small"), &json!("ada")));
    let code = refused[0]["code"].as_str().unwrap().to_owned();
    let now = second(&mut feed);
    assert_eq!((&now["connections"], &now["refusals"][code]), (&json!(1), &json!(1)));

    // Nobody's traffic is counted twice once it has ended.
    drop(socket);
    let mut told = now;
    while told["connections"] != 0 {
        told = second(&mut feed);
        assert_eq!(told["passed"]["messages_from_client"], 0);
    }
    let (drained, ..) = call(&flowgate, ADMIN, "POST /admin/v1/drain", "", &Value::Null);
    assert_eq!(drained, 202);
    assert_eq!(other(&mut feed).close(), (1001, "flowgate stops".to_owned()));
    assert!(flowgate.wait().success());
}

#[test]
fn a_feed_opens_with_a_fresh_ticket_only_and_listens_to_nobody() {
    let runtime = Runtime::echo();
    let (flowgate, _folder) = start(&mike(runtime.address));
    let used = ticket(&flowgate);
    assert_eq!(status(&watch(&flowgate, &used, "")), "101");
    let own = format!("Authorization: Bearer {ADMIN}\r\n");
    for (ticket, headers) in [(used.as_str(), ""), ("", ""), ("fgt_nothing", ""), (ADMIN, &*own)] {
        let refused = watch(&flowgate, ticket, headers);
        assert_eq!(status(&refused), "401", "{ticket}");
    }
    let foreign = "Origin: http://evil.example\r\n";
    assert_eq!(status(&watch(&flowgate, &ticket(&flowgate), foreign)), "403");
    let path = format!("/admin/v1/feed?ticket={}", ticket(&flowgate));
    let rebound = WebSocket::open(flowgate.admin, handshake(&path, "evil.example", ""));
    assert_eq!(status(&rebound), "421");
    let plain = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(ask(flowgate.admin, &plain).starts_with("HTTP/1.1 400"));

    let mut feed = watch(&flowgate, &ticket(&flowgate), "");
    feed.send(&masked(FIN | PING, b"there?"));
    let pong = other(&mut feed);
    assert_eq!((pong.first_byte, pong.payload.as_slice()), (FIN | PONG, &b"there?"[..]));
    feed.send(&masked(FIN | TEXT, b"hello"));
    assert_eq!(other(&mut feed).close(), (1008, "nothing is to be sent here".to_owned()));
}

/// Puts other lines into a file that is never seen without them.
fn replace(file: &Path, from: &str, to: &str) {
    let fresh = file.with_extension("new");
    // With its permissions.
    std::fs::copy(file, &fresh).unwrap();
    let lines = std::fs::read_to_string(file).unwrap();
    assert!(lines.contains(from), "{lines}");
    std::fs::write(&fresh, lines.replace(from, to)).unwrap();
    std::fs::rename(fresh, file).unwrap();
}

#[test]
fn a_feed_ends_with_its_token_and_no_other_does() {
    let (flowgate, folder) = start(&mike(Runtime::nowhere()));
    let tokens = folder.path().join("tokens");
    let ended = (1008, "the token was removed or changed".to_owned());
    let mut robins = watch(&flowgate, &ticket(&flowgate), "");
    let mut adas = watch(&flowgate, &ticket_of(&flowgate, ADMIN), "");
    assert_eq!((status(&robins), status(&adas)), ("101", "101"));
    let unused = ticket(&flowgate);
    replace(&tokens, &format!("robin read {READ}\n"), "");
    assert_eq!(other(&mut robins).close(), ended);
    assert_eq!(status(&watch(&flowgate, &unused, "")), "401");
    adas.send(&masked(FIN | PING, b"still?"));
    assert_eq!(other(&mut adas).first_byte, FIN | PONG);
    replace(&tokens, "ada admin", "ada operate");
    assert_eq!(other(&mut adas).close(), ended);
    let again = watch(&flowgate, &ticket_of(&flowgate, ADMIN), "");
    assert_eq!(status(&again), "101", "with what the token may do now");
}

#[test]
fn there_are_at_most_32_feeds() {
    let runtime = Runtime::echo();
    let (flowgate, _folder) = start(&mike(runtime.address));
    let mut feeds: Vec<_> = (0..32).map(|_| watch(&flowgate, &ticket(&flowgate), "")).collect();
    assert!(feeds.iter().all(|feed| status(feed) == "101"));
    assert_eq!(status(&watch(&flowgate, &ticket(&flowgate), "")), "503");
    feeds.pop();
    wait_until("its place is free again", || {
        status(&watch(&flowgate, &ticket(&flowgate), "")) == "101"
    });
    for feed in &mut feeds {
        second(feed);
    }
}
