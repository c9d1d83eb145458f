//! What rests on a grant that ended is cut, and nothing else.

use serde_json::{Value, json};

use crate::support::flowgate::Flowgate;
use crate::support::node::{NodeRed, wscat_until_disconnected};
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, ROBERTO_KEY, mike, mike_and_roberto};
use crate::support::runtime::{Runtime, text_from_client};
use crate::support::websocket::{WebSocket, handshake};

const MIKE: (&str, &str) = ("mike", MIKE_PASSWORD);

fn with_key(key: &str) -> String {
    format!("apikey: {key}\r\n")
}

fn open(flowgate: &Flowgate, headers: &str) -> WebSocket {
    WebSocket::connect(flowgate.data, "/api/thing", headers)
}

fn basic(password: &str) -> String {
    use base64::Engine;
    let login = base64::prelude::BASE64_STANDARD.encode(format!("mike:{password}"));
    format!("Authorization: Basic {login}\r\n")
}

fn assert_alive(websocket: &mut WebSocket) {
    websocket.send(&text_from_client("still here"));
    assert_eq!(websocket.receive_text(), "still here");
}

fn status(flowgate: &Flowgate, headers: &str) -> u16 {
    let head = WebSocket::open(flowgate.data, handshake("/api/thing", "localhost", headers)).head;
    head.split(' ').nth(1).expect(&head).parse().unwrap()
}

#[test]
fn a_regenerated_key_cuts_exactly_its_own_connections() {
    let (mikes, robertos) = (Runtime::echo(), Runtime::echo());
    let flowgate = Flowgate::start(&mike_and_roberto(mikes.address, robertos.address), &[]);
    let mut old = open(&flowgate, &with_key(MIKE_KEY));
    let mut silent = open(&flowgate, &with_key(MIKE_KEY));
    let mut password = open(&flowgate, &basic(MIKE_PASSWORD));
    let mut public = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    let mut roberto = open(&flowgate, &with_key(ROBERTO_KEY));
    assert_alive(&mut old);
    let (code, said) = flowgate.profile(MIKE, "POST", "/api-key", &Value::Null);
    assert_eq!((code, &said["closed"]), (200, &json!(2)), "{said}");
    let expected = (1008, "API key regenerated".to_owned());
    assert_eq!(old.receive_close(), expected);
    assert_eq!(silent.receive_close(), expected);
    for untouched in [&mut password, &mut public, &mut roberto] {
        assert_alive(untouched);
    }
    assert_eq!(status(&flowgate, &with_key(MIKE_KEY)), 401);
    assert_alive(&mut open(&flowgate, &with_key(said["api_key"].as_str().unwrap())));
}

#[test]
fn both_sides_of_a_revoked_connection_are_told() {
    let (report, reports) = std::sync::mpsc::sync_channel(1);
    let runtime = Runtime::accepting(move |websocket| {
        let _ = report.send(websocket.receive().map(|frame| frame.close()));
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let mut websocket = open(&flowgate, &with_key(MIKE_KEY));
    flowgate.profile(MIKE, "POST", "/api-key", &Value::Null);
    let expected = (1008, "API key regenerated".to_owned());
    assert_eq!(reports.recv_timeout(crate::support::PATIENCE).unwrap(), Some(expected.clone()));
    assert_eq!(websocket.receive_close(), expected);
    flowgate.wait_until_idle();
}

#[test]
fn wscat_prints_why_and_the_one_with_the_password_goes_on() {
    let runtimes = NodeRed::pair();
    let flowgate = Flowgate::start(&mike(runtimes[0].address), &[]);
    let url = format!("ws://{}/api/thing", flowgate.data);
    let mut password = open(&flowgate, &basic(MIKE_PASSWORD));
    let key = format!("apikey:{MIKE_KEY}");
    let printed = wscat_until_disconnected(&["-H", &key, "-c", &url], || {
        let (code, _) = flowgate.profile(MIKE, "POST", "/api-key", &Value::Null);
        assert_eq!(code, 200);
    });
    assert!(printed.contains(r#"(code: 1008, reason: "API key regenerated")"#), "{printed}");
    password.send(&text_from_client("still here"));
    assert!(password.receive_text().contains("still here"));
}

#[test]
fn a_named_key_ends_by_expiry_rotation_and_revocation() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let create = |body: Value| {
        let (code, said) = flowgate.profile(MIKE, "POST", "/keys", &body);
        assert_eq!(code, 201, "{said}");
        (said["id"].as_str().unwrap().to_owned(), said["key"].as_str().unwrap().to_owned())
    };
    let (_, short) = create(json!({ "name": "short", "expires_in_seconds": 2 }));
    let (id, first) = create(json!({ "name": "pump" }));
    let mut expiring = open(&flowgate, &format!("Authorization: Bearer {short}\r\n"));
    let subprotocol = format!("Sec-WebSocket-Protocol: flowgate, flowgate.bearer.{first}\r\n");
    let mut rotated = open(&flowgate, &subprotocol);
    assert_eq!(expiring.receive_close(), (1008, "API key expired".to_owned()));
    assert_eq!(status(&flowgate, &format!("Authorization: Bearer {short}\r\n")), 401);

    // With an overlap both secrets work, and what rests on the old one goes on for that long.
    let rotate = |overlap: u64| {
        let path = format!("/keys/{id}/rotate");
        let (code, said) =
            flowgate.profile(MIKE, "POST", &path, &json!({ "overlap_seconds": overlap }));
        assert_eq!(code, 200, "{said}");
        said["key"].as_str().unwrap().to_owned()
    };
    let second = rotate(2);
    assert_alive(&mut rotated);
    assert_alive(&mut open(&flowgate, &with_key(&first)));
    let mut fresh = open(&flowgate, &with_key(&second));
    assert_eq!(rotated.receive_close(), (1008, "API key regenerated".to_owned()));
    assert_eq!(status(&flowgate, &with_key(&first)), 401);
    assert_alive(&mut fresh);

    let third = rotate(0);
    assert_eq!(fresh.receive_close(), (1008, "API key regenerated".to_owned()));
    let mut last = open(&flowgate, &with_key(&third));
    let (code, said) = flowgate.profile(MIKE, "DELETE", &format!("/keys/{id}"), &Value::Null);
    assert_eq!((code, &said["closed"]), (200, &json!(1)));
    assert_eq!(last.receive_close(), (1008, "API key revoked".to_owned()));
    assert_eq!(status(&flowgate, &with_key(&third)), 401);
}

#[test]
fn a_new_password_cuts_what_rests_on_the_old_one() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let mut with_password = open(&flowgate, &basic(MIKE_PASSWORD));
    let mut keyed = open(&flowgate, &with_key(MIKE_KEY));
    let change = json!({ "old": MIKE_PASSWORD, "new": "another-horse" });
    let (code, said) = flowgate.profile(MIKE, "PUT", "/password", &change);
    assert_eq!((code, &said["closed"]), (200, &json!(1)), "{said}");
    assert_eq!(with_password.receive_close(), (1008, "password changed".to_owned()));
    assert_alive(&mut keyed);
    assert_eq!(status(&flowgate, &basic(MIKE_PASSWORD)), 401);
    assert_eq!(status(&flowgate, &basic("another-horse")), 101);
}

#[test]
fn a_tenant_closes_one_connection_of_their_own() {
    let (mikes, robertos) = (Runtime::echo(), Runtime::echo());
    let flowgate = Flowgate::start(&mike_and_roberto(mikes.address, robertos.address), &[]);
    let mut one = open(&flowgate, &with_key(MIKE_KEY));
    let mut other = open(&flowgate, &with_key(MIKE_KEY));
    let mut roberto = open(&flowgate, &with_key(ROBERTO_KEY));
    assert_alive(&mut one);
    let (_, said) = flowgate.profile(MIKE, "GET", "/connections", &Value::Null);
    let connections = said["connections"].as_array().unwrap();
    assert_eq!(connections.len(), 2, "roberto's is not mike's to see: {said}");
    let first = &connections[0];
    assert_eq!((&first["path"], &first["grant"]), (&json!("/api/thing"), &json!("key:default")));
    let path = format!("/connections/{}", first["id"].as_str().unwrap());
    let (code, _) = flowgate.profile(MIKE, "DELETE", &path, &Value::Null);
    assert_eq!(code, 200);
    assert_eq!(one.receive_close(), (1008, "closed by the tenant".to_owned()));
    assert_alive(&mut other);
    // The ids are counted through, so roberto's is the next but one; it is not there for mike.
    let (replica, number) = first["id"].as_str().unwrap().split_once('-').unwrap();
    let ready = flowgate.wait_for_line("it is ready", |line| line["message"] == "ready");
    assert_eq!(ready["replica"], replica);
    let path = format!("/connections/{replica}-{}", number.parse::<u64>().unwrap() + 2);
    let (code, _) = flowgate.profile(MIKE, "DELETE", &path, &Value::Null);
    assert_eq!(code, 404);
    assert_alive(&mut roberto);
}

#[test]
fn kill_between_the_write_and_the_cut_leaves_the_old_key_dead() {
    let runtime = Runtime::echo();
    let mut flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let mut key = MIKE_KEY.to_owned();
    for _ in 0..5 {
        let _live: Vec<WebSocket> = (0..20).map(|_| open(&flowgate, &with_key(&key))).collect();
        // Killed as soon as the answer is there, while sockets are being cut.
        let (code, said) = flowgate.profile(MIKE, "POST", "/api-key", &Value::Null);
        assert_eq!(code, 200, "{said}");
        flowgate = flowgate.kill_and_restart(&[]);
        assert_eq!(status(&flowgate, &with_key(&key)), 401);
        said["api_key"].as_str().unwrap().clone_into(&mut key);
        assert_alive(&mut open(&flowgate, &with_key(&key)));
    }
}

#[test]
fn two_thousand_connections_are_cut_at_once() {
    const CONNECTIONS: usize = 2000;
    let runtime = Runtime::echo();
    let flowgate =
        Flowgate::start(&mike(runtime.address), &["--log", "warn,flowgate::commands=info"]);
    let mut live: Vec<WebSocket> =
        (0..CONNECTIONS).map(|_| open(&flowgate, &with_key(MIKE_KEY))).collect();
    let mut password = open(&flowgate, &basic(MIKE_PASSWORD));
    let (code, said) = flowgate.profile(MIKE, "POST", "/api-key", &Value::Null);
    assert_eq!((code, &said["closed"]), (200, &json!(CONNECTIONS)));
    for websocket in &mut live {
        assert_eq!(websocket.receive_close(), (1008, "API key regenerated".to_owned()));
    }
    assert_alive(&mut password);
}
