//! The life of a tenant's published API: who may call it, and what ends when it moves on.

use serde_json::{Value, json};

use crate::support::flowgate::Flowgate;
use crate::support::node::{NodeRed, wscat, wscat_until_disconnected};
use crate::support::profiles::{MIKE_PASSWORD, ROBERTO_PASSWORD, mike_and_roberto};
use crate::support::redis::Redis;
use crate::support::replicas::{Runtimes, assert_alive};
use crate::support::runtime::Runtime;
use crate::support::websocket::{WebSocket, handshake};

const MIKE: (&str, &str) = ("mike", MIKE_PASSWORD);
const PATH: &str = "/echowebsocket/1.0.0";

fn definition(security: &str) -> Value {
    json!({
        "name": "EchoWebSocket",
        "context": "/echowebsocket",
        "version": "1.0.0",
        "endpoint": { "runtime_path": "/thing" },
        "security": [security],
    })
}

/// Asks as mike; it must be done.
fn done(flowgate: &Flowgate, method: &str, path: &str, body: &Value) -> Value {
    let (status, said) = flowgate.profile(MIKE, method, path, body);
    assert!((200..300).contains(&status), "{method} {path}: {status} {said}");
    said
}

/// Creates mike's API; returns where it is in the profile.
fn create(flowgate: &Flowgate, security: &str, query: &str) -> String {
    let made = done(flowgate, "POST", &format!("/apis{query}"), &definition(security));
    format!("/apis/{}", made["id"].as_str().unwrap())
}

/// Makes a consumer of mike's; returns their key.
fn consumer(flowgate: &Flowgate, name: &str) -> String {
    done(flowgate, "PUT", &format!("/consumers/{name}"), &Value::Null);
    let made = done(flowgate, "POST", &format!("/consumers/{name}/keys"), &Value::Null);
    made["key"].as_str().unwrap().to_owned()
}

fn state(flowgate: &Flowgate, api: &str, state: &str) -> (u16, Value) {
    let mut body = json!({ "state": state });
    if state == "retired" {
        body["notice_seconds"] = json!(0);
    }
    flowgate.profile(MIKE, "PUT", &format!("{api}/state"), &body)
}

fn open(flowgate: &Flowgate, key: &str) -> WebSocket {
    WebSocket::connect(flowgate.data, PATH, &format!("apikey: {key}\r\n"))
}

fn status(flowgate: &Flowgate, path: &str, headers: &str) -> u16 {
    let head = WebSocket::open(flowgate.data, handshake(path, "localhost", headers)).head;
    head.split(' ').nth(1).expect(&head).parse().unwrap()
}

#[test]
fn a_flow_is_published_and_wscat_reaches_it() {
    let runtimes = NodeRed::pair();
    let flowgate =
        Flowgate::start(&mike_and_roberto(runtimes[0].address, runtimes[1].address), &[]);
    let api = create(&flowgate, "key", "?publish=true");
    let key = format!("apikey: {}", consumer(&flowgate, "jack"));
    let url = format!("ws://{}{PATH}", flowgate.data);
    let answer = wscat(&["-H", &key, "-c", &url]);
    assert!(answer.contains(r#""runtime":"mike""#) && answer.contains("hello"), "{answer}");
    assert_eq!(wscat(&["-c", &url]), "error: Unexpected server response: 401");
    let printed = wscat_until_disconnected(&["-H", &format!("'{key}'"), "-c", &url], || {
        assert_eq!(state(&flowgate, &api, "blocked").0, 200);
    });
    assert!(printed.contains("1008") && printed.contains("API blocked"), "{printed}");
    assert_eq!(wscat(&["-H", &key, "-c", &url]), "error: Unexpected server response: 503");
}

#[test]
fn an_api_moves_on_and_what_rests_on_it_ends_in_time() {
    let (mikes, robertos) = (Runtime::echo(), Runtime::echo());
    let flowgate = Flowgate::start(&mike_and_roberto(mikes.address, robertos.address), &[]);
    let api = create(&flowgate, "key", "");
    let key = consumer(&flowgate, "jack");
    let with_key = format!("apikey: {key}\r\n");
    let calls = || status(&flowgate, PATH, &with_key);
    assert_eq!(calls(), 404, "it is not published");
    assert_eq!(state(&flowgate, &api, "retired").0, 409, "there is no such move");
    assert_eq!(state(&flowgate, &api, "published").0, 200);
    let mut one = open(&flowgate, &key);
    assert_alive(&mut one);
    let mut other = WebSocket::connect(flowgate.data, "/public/mike/data", "");

    let (code, said) = state(&flowgate, &api, "blocked");
    assert_eq!((code, &said["closed"]), (200, &json!(1)), "{said}");
    assert_eq!(one.receive_close(), (1008, "API blocked".to_owned()));
    assert_eq!(calls(), 503);
    assert_eq!(state(&flowgate, &api, "published").0, 200);
    let mut one = open(&flowgate, &key);
    assert_eq!(state(&flowgate, &api, "deprecated").0, 200);
    assert_alive(&mut one);
    assert_eq!(calls(), 101);
    assert_eq!(state(&flowgate, &api, "retired").0, 200);
    assert_eq!(one.receive_close(), (1008, "API retired".to_owned()));
    assert_eq!(calls(), 404);
    done(&flowgate, "DELETE", &api, &Value::Null);
    assert_eq!(calls(), 404);
    assert_alive(&mut other);
}

#[test]
fn a_credential_that_goes_takes_along_what_rests_on_it_and_nothing_else() {
    let (mikes, robertos) = (Runtime::echo(), Runtime::echo());
    let flowgate = Flowgate::start(&mike_and_roberto(mikes.address, robertos.address), &[]);
    let api = create(&flowgate, "key", "?publish=true");
    let (jacks, jills) = (consumer(&flowgate, "jack"), consumer(&flowgate, "jill"));
    let second = done(&flowgate, "POST", "/consumers/jack/keys", &Value::Null);
    let second_key = second["key"].as_str().unwrap();
    let mut first = open(&flowgate, &jacks);
    let mut by_second = open(&flowgate, second_key);
    let mut by_jill = open(&flowgate, &jills);
    let revoked = (1008, "consumer's credential revoked".to_owned());

    let id = second["id"].as_str().unwrap();
    let path = format!("/consumers/jack/credentials/{id}");
    assert_eq!(done(&flowgate, "DELETE", &path, &Value::Null)["closed"], json!(1));
    assert_eq!(by_second.receive_close(), revoked);
    assert_alive(&mut first);
    assert_alive(&mut by_jill);
    let gone = done(&flowgate, "DELETE", "/consumers/jack", &Value::Null);
    assert_eq!(gone["closed"], json!(1));
    assert_eq!(first.receive_close(), revoked);
    assert_alive(&mut by_jill);
    assert_eq!(status(&flowgate, PATH, &format!("apikey: {jacks}\r\n")), 401);
    // Another kind of credential is asked for from now on.
    let said = done(&flowgate, "PUT", &api, &definition("basic"));
    assert_eq!(said["closed"], json!(1), "{said}");
    assert_eq!(by_jill.receive_close(), revoked);
}

#[test]
fn a_tenants_api_is_a_path_of_their_own_runtime_and_nobody_elses() {
    let (mikes, robertos) = (Runtime::echo(), Runtime::echo());
    let mut profiles = mike_and_roberto(mikes.address, robertos.address);
    profiles["tenants"][0]["instance"]["node_root"] = json!("");
    let flowgate = Flowgate::start(&profiles, &[]);
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut definition = definition("key");
        change(&mut definition);
        flowgate.profile(MIKE, "POST", "/apis", &definition).0
    };
    assert_eq!(refused(&|it| it["context"] = json!("/")), 400);
    assert_eq!(refused(&|it| it["context"] = json!("/api")), 400);
    assert_eq!(refused(&|it| it["version"] = Value::Null), 400);
    let nodes = json!({ "nodes": [{ "url": "http://169.254.169.254" }] });
    assert_eq!(refused(&|it| it["endpoint"] = nodes.clone()), 400);
    assert_eq!(refused(&|it| it["plans"] = json!(["no plan"])), 400);
    let api = create(&flowgate, "none", "?publish=true");
    assert_eq!(status(&flowgate, PATH, ""), 101);
    let roberto = ("roberto", ROBERTO_PASSWORD);
    for (method, path) in [("GET", api.clone()), ("DELETE", api.clone())] {
        assert_eq!(flowgate.profile(roberto, method, &path, &Value::Null).0, 404);
    }
    assert_eq!(flowgate.profile(roberto, "POST", "/apis", &definition("key")).0, 409);
    // However the rest of a path is written, it does not lead to the editor.
    let mut editor = definition("none");
    editor["endpoint"] = json!({ "runtime_path": "/" });
    done(&flowgate, "PUT", &api, &editor);
    assert_eq!(status(&flowgate, &format!("{PATH}/x"), ""), 101);
    for path in ["/red", "/RED/comms", "//red", "/%72ed", "/../red", "/x/%2e%2e/red"] {
        let found = status(&flowgate, &format!("{PATH}{path}"), "");
        assert!(matches!(found, 400 | 404), "{path}: {found}");
    }
}

#[test]
fn another_replica_knows_and_ends_the_same() {
    let server = Redis::start();
    let url = server.url();
    let _runtimes = Runtimes::in_registry(&url);
    let (here, there) = (Flowgate::start_on(&url, &[]), Flowgate::start_on(&url, &[]));
    assert_eq!(status(&there, PATH, ""), 404, "it knows all APIs that there are: none");
    let api = create(&here, "key", "?publish=true");
    let (jacks, jills) = (consumer(&here, "jack"), consumer(&here, "jill"));
    let knows = |key: &str| status(&there, PATH, &format!("apikey: {key}\r\n")) == 101;
    crate::support::wait_until("the other has heard of both", || knows(&jacks) && knows(&jills));
    let (mut one, mut other) = (open(&there, &jacks), open(&there, &jills));
    done(&here, "DELETE", "/consumers/jack", &Value::Null);
    assert_eq!(one.receive_close(), (1008, "consumer's credential revoked".to_owned()));
    assert_alive(&mut other);
    assert_eq!(state(&here, &api, "blocked").0, 200);
    assert_eq!(other.receive_close(), (1008, "API blocked".to_owned()));
    assert_eq!(status(&there, PATH, &format!("apikey: {jills}\r\n")), 503);
}
