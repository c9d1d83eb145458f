//! Several flowgates on one registry.

use serde_json::{Value, json};

use super::flowgate::{Flowgate, import};
use super::profiles::{MIKE_KEY, MIKE_PASSWORD, ROBERTO_KEY, mike_and_roberto};
use super::runtime::{Runtime, text_from_client};
use super::traffic::Traffic;
use super::wait_until;
use super::websocket::{WebSocket, handshake};

pub const MIKE: (&str, &str) = ("mike", MIKE_PASSWORD);

/// mike's and roberto's runtimes, in a registry.
pub struct Runtimes {
    pub mike: Runtime,
    pub roberto: Runtime,
}

impl Runtimes {
    /// Starts both; no registry knows of them.
    pub fn beside() -> Self {
        Self { mike: Runtime::echo(), roberto: Runtime::echo() }
    }

    /// Starts both and creates their tenants in the registry.
    pub fn in_registry(url: &str) -> Self {
        let runtimes = Self::beside();
        import(url, &runtimes.profiles(), &[]);
        runtimes
    }

    pub fn profiles(&self) -> Value {
        mike_and_roberto(self.mike.address, self.roberto.address)
    }
}

pub fn with_key(key: &str) -> String {
    format!("apikey: {key}\r\n")
}

pub fn open(flowgate: &Flowgate, key: &str) -> WebSocket {
    WebSocket::connect(flowgate.data, "/api/thing", &with_key(key))
}

pub fn assert_alive(websocket: &mut WebSocket) {
    websocket.send(&text_from_client("still here"));
    assert_eq!(websocket.receive_text(), "still here");
}

/// What a handshake with a key is answered.
pub fn status(flowgate: &Flowgate, key: &str) -> u16 {
    let handshake = handshake("/api/thing", "localhost", &with_key(key));
    let head = WebSocket::open(flowgate.data, handshake).head;
    head.split(' ').nth(1).expect(&head).parse().unwrap()
}

/// Gives mike a new default key; returns status and answer.
pub fn regenerate(flowgate: &Flowgate) -> (u16, Value) {
    flowgate.profile(MIKE, "POST", "/api-key", &Value::Null)
}

/// The same, which must succeed; returns the new key.
pub fn regenerated(flowgate: &Flowgate) -> String {
    let (code, said) = regenerate(flowgate);
    assert_eq!(code, 200, "{said}");
    said["api_key"].as_str().unwrap().to_owned()
}

/// roberto's conversations, which nothing that happens to mike or to the registry disturbs.
pub fn undisturbed(replicas: &[&Flowgate]) -> Traffic {
    let over = |flowgate: &&Flowgate| {
        [
            (flowgate.data, "/api/thing", with_key(ROBERTO_KEY)),
            (flowgate.data, "/public/roberto/data", String::new()),
        ]
    };
    Traffic::start(&replicas.iter().flat_map(over).collect::<Vec<_>>())
}

/// Makes a replica know mike and roberto.
pub fn acquaint(flowgate: &Flowgate) {
    for key in [MIKE_KEY, ROBERTO_KEY] {
        assert_eq!(status(flowgate, key), 101);
    }
    // The password, too, is checked without work from now on.
    assert_eq!(flowgate.profile(MIKE, "GET", "", &Value::Null).0, 200);
}

/// Waits until a replica stands with its registry like this.
pub fn wait_for_standing(flowgate: &Flowgate, standing: &str) {
    wait_until(&format!("the registry is {standing}"), || {
        flowgate.status()["registry"] == json!(standing)
    });
}
