//! Two tenants who are both logged in: whatever one of them has, it opens nothing of the other's.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{status, telling};
use crate::support::flowgate::Flowgate;
use crate::support::profiles::{
    MIKE_KEY, MIKE_PASSWORD, ROBERTO_KEY, ROBERTO_PASSWORD, mike_and_roberto,
};
use crate::support::runtime::Runtime;
use crate::support::session::Session;
use crate::support::websocket::{WebSocket, handshake};

const MIKE: (&str, &str) = ("mike", MIKE_PASSWORD);
const ROBERTO: (&str, &str) = ("roberto", ROBERTO_PASSWORD);

/// A way in: header lines, and what is added to the path.
type Way = (&'static str, String, String);

/// All that roberto has, as it would be used on mike's host.
fn all_of_robertos(flowgate: &Flowgate) -> Vec<Way> {
    let session = Session::begin(flowgate.data, "roberto", ROBERTO_PASSWORD);
    let host = session.on_host("roberto");
    let login = BASE64_STANDARD.encode(format!("roberto:{ROBERTO_PASSWORD}"));
    let origin = format!("Origin: http://mike.flows.localhost:{}\r\n", flowgate.data.port());
    let (code, named) =
        flowgate.profile(ROBERTO, "POST", "/keys", &json!({ "name": host[host.len() - 20..] }));
    assert_eq!(code, 201, "{named}");
    let body = json!({ "path": "/api/thing", "origin": null });
    let (_, ticket) = flowgate.profile(ROBERTO, "POST", "/tickets", &body);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let none = String::new;
    vec![
        ("password", format!("Authorization: Basic {login}\r\n"), none()),
        ("named key", format!("apikey: {}\r\n", text(&named["key"])), none()),
        ("key", format!("apikey: {ROBERTO_KEY}\r\n"), none()),
        ("key and name", format!("X-Auth-User: roberto\r\nX-Auth-Key: {ROBERTO_KEY}\r\n"), none()),
        (
            "key by mike's name",
            format!("X-Auth-User: mike\r\nX-Auth-Key: {ROBERTO_KEY}\r\n"),
            none(),
        ),
        ("key in the query", none(), format!("?apikey={ROBERTO_KEY}")),
        ("bearer", format!("Authorization: Bearer {ROBERTO_KEY}\r\n"), none()),
        ("bearer in the query", none(), format!("?access_token={ROBERTO_KEY}")),
        (
            "subprotocol",
            format!("Sec-WebSocket-Protocol: flowgate, flowgate.bearer.{ROBERTO_KEY}\r\n"),
            none(),
        ),
        ("session", format!("Cookie: {}\r\n{origin}", session.cookie), none()),
        ("session of the host", format!("Cookie: {host}\r\n{origin}"), none()),
        ("ticket", none(), format!("?ticket={}", text(&ticket["ticket"]))),
        ("identity", "X-Auth-User: mike\r\n".to_owned(), none()),
        ("nothing", none(), none()),
    ]
}

#[test]
fn nothing_of_one_opens_anything_of_the_others() {
    let (mikes, mike_told) = telling();
    let (robertos, roberto_told) = telling();
    let flowgate = Flowgate::start(&mike_and_roberto(mikes.address, robertos.address), &[]);
    let host = format!("mike.flows.localhost:{}", flowgate.data.port());
    for path in ["/api/thing", "/red/flows", "/red/comms"] {
        // Made anew each time: a ticket is good once.
        for (way, headers, query) in all_of_robertos(&flowgate) {
            let path = format!("{path}{query}");
            for method in ["GET", "POST"] {
                let answer = flowgate.ask(&format!(
                    "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
                     Content-Length: 0\r\n{headers}\r\n"
                ));
                assert!(matches!(status(&answer), "401" | "403"), "{way} {path}: {answer}");
            }
            let head = WebSocket::open(flowgate.data, handshake(&path, &host, &headers)).head;
            assert!(matches!(status(&head), "401" | "403"), "{way} {path}: {head}");
        }
    }
    assert!(mike_told.try_recv().is_err(), "mike's runtime was reached");
    assert!(roberto_told.try_recv().is_err(), "the host says whose it is to be");

    // By themselves they are good; else all this would say nothing.
    let host = format!("roberto.flows.localhost:{}", flowgate.data.port());
    for (way, headers, query) in all_of_robertos(&flowgate) {
        let headers = headers.replace("mike.flows", "roberto.flows");
        let answer = flowgate.ask(&format!(
            "GET /api/thing{query} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
        ));
        let is_good = !matches!(way, "session" | "key by mike's name" | "identity" | "nothing");
        assert_eq!(status(&answer) == "200", is_good, "{way}: {answer}");
    }
}

#[test]
fn what_has_an_id_is_its_owners_alone() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike_and_roberto(runtime.address, runtime.address), &[]);
    let key = format!("apikey: {MIKE_KEY}\r\n");
    let mut live = WebSocket::connect(flowgate.data, "/api/thing", &key);
    let (_, made) = flowgate.profile(MIKE, "POST", "/keys", &json!({ "name": "pump" }));
    let (_, listed) = flowgate.profile(MIKE, "GET", "/connections", &Value::Null);
    let connection = listed["connections"][0]["id"].as_str().unwrap().to_owned();
    let named = made["id"].as_str().unwrap();
    for (method, path) in [
        ("DELETE", format!("/connections/{connection}")),
        ("DELETE", format!("/keys/{named}")),
        ("POST", format!("/keys/{named}/rotate")),
        ("GET", "/keys/../../mike".to_owned()),
    ] {
        let (code, said) = flowgate.profile(ROBERTO, method, &path, &json!({}));
        assert!(matches!(code, 400 | 404 | 405), "{method} {path}: {code} {said}");
    }
    // The forms of his pages neither.
    let session = Session::begin(flowgate.data, "roberto", ROBERTO_PASSWORD);
    let page = session.get("/profile");
    for form in ["close", "revoke", "rotate"] {
        let fields = format!("token={}&id={connection}&key={named}&made=x", page.field("token"));
        let said = session.post(&format!("/profile/do/{form}"), &fields);
        assert_ne!(said.status, 200, "{form}: {}", said.body);
    }
    for path in ["", "/keys", "/connections", "/traffic"] {
        let (code, said) = flowgate.profile(ROBERTO, "GET", path, &Value::Null);
        assert_eq!(code, 200, "{path}: {said}");
        let said = said.to_string();
        assert!(!said.contains("mike") && !said.contains(&connection), "{path}: {said}");
        assert!(!said.contains(named), "{path}: {said}");
    }
    // mike's are as they were.
    live.send(&crate::support::runtime::text_from_client("still here"));
    assert_eq!(live.receive_text(), "still here");
    let header = format!("apikey: {}\r\n", made["key"].as_str().unwrap());
    drop(WebSocket::connect(flowgate.data, "/api/thing", &header));
}
