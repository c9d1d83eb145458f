//! Applications of tenants, and their access tokens.

use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::admin::{tokens_file, write_secret};
use super::flowgate::{Flowgate, ask};
use super::profiles::{MIKE_PASSWORD, ROBERTO_PASSWORD};
use super::websocket::{WebSocket, handshake};

pub const MIKE: (&str, &str) = ("mike", MIKE_PASSWORD);
pub const ROBERTO: (&str, &str) = ("roberto", ROBERTO_PASSWORD);
pub const PATH: &str = "/echowebsocket/1.0.0";
const SEALING_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The flags of a server that issues tokens, and the folder of their files.
pub struct Issuing {
    folder: TempDir,
}

impl Issuing {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_secret(&folder.path().join("sealing"), SEALING_KEY);
        tokens_file(folder.path());
        Self { folder }
    }

    pub fn flags(&self) -> Vec<String> {
        let file = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        let flag = |name: &str| name.to_owned();
        vec![
            flag("--sealing-key-file"),
            file("sealing"),
            flag("--admin-tokens-file"),
            file("tokens"),
        ]
    }

    pub fn start(&self, profiles: &Value) -> Flowgate {
        let flags = self.flags();
        Flowgate::start(profiles, &flags.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub fn start_on(&self, registry: &str) -> Flowgate {
        let flags = self.flags();
        Flowgate::start_on(registry, &flags.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// Asks somebody's profile; it must be done.
pub fn done(
    flowgate: &Flowgate,
    who: (&str, &str),
    method: &str,
    path: &str,
    body: &Value,
) -> Value {
    let (status, said) = flowgate.profile(who, method, path, body);
    assert!((200..300).contains(&status), "{method} {path}: {status} {said}");
    said
}

/// mike's runtime as an API for applications; returns its id.
pub fn publish(flowgate: &Flowgate, context: &str) -> String {
    publish_with_plans(flowgate, context, &[])
}

/// The same, with plans to subscribe with.
pub fn publish_with_plans(flowgate: &Flowgate, context: &str, plans: &[&str]) -> String {
    let definition = json!({
        "plans": plans,
        "name": "EchoWebSocket",
        "context": context,
        "version": "1.0.0",
        "endpoint": { "runtime_path": "/thing" },
        "security": ["oauth2"],
    });
    let made = done(flowgate, MIKE, "POST", "/apis?publish=true", &definition);
    made["id"].as_str().unwrap().to_owned()
}

/// An application of roberto's.
#[derive(Clone, Debug)]
pub struct Application {
    pub id: String,
    pub secret: String,
}

impl Application {
    /// One that is subscribed to these APIs.
    pub fn create(flowgate: &Flowgate, name: &str, apis: &[&str]) -> Self {
        let of = |api: &&str| json!({ "api": api });
        Self::create_with(flowgate, name, &apis.iter().map(of).collect::<Vec<_>>()).0
    }

    /// One that is subscribed to an API with a plan, and the subscription's id.
    pub fn on_plan(flowgate: &Flowgate, name: &str, plan: &str) -> (Self, String) {
        let wanted = [json!({ "api": PATH, "plan": plan })];
        let (application, mut subscriptions) = Self::create_with(flowgate, name, &wanted);
        (application, subscriptions.remove(0))
    }

    fn create_with(flowgate: &Flowgate, name: &str, wanted: &[Value]) -> (Self, Vec<String>) {
        let made = done(flowgate, ROBERTO, "POST", "/applications", &json!({ "name": name }));
        let id = made["id"].as_str().unwrap().to_owned();
        let path = format!("/applications/{id}/subscriptions");
        let subscribe = |wanted| {
            let made = done(flowgate, ROBERTO, "POST", &path, wanted);
            made["id"].as_str().unwrap().to_owned()
        };
        let subscriptions = wanted.iter().map(subscribe).collect();
        let mut application = Self { id, secret: String::new() };
        application.secret = application.generate(flowgate, &Value::Null).0;
        (application, subscriptions)
    }

    /// Generates keys; returns the secret, and how much that has ended.
    pub fn generate(&self, flowgate: &Flowgate, body: &Value) -> (String, u64) {
        let path = format!("/applications/{}/keys", self.id);
        let keys = done(flowgate, ROBERTO, "POST", &path, body);
        assert_eq!(keys["consumer_key"], json!(self.id));
        (keys["consumer_secret"].as_str().unwrap().to_owned(), keys["closed"].as_u64().unwrap())
    }

    pub fn basic(&self) -> String {
        let pair = BASE64_STANDARD.encode(format!("{}:{}", self.id, self.secret));
        format!("Authorization: Basic {pair}\r\n")
    }

    /// A form for one of the endpoints; returns status, head and JSON.
    pub fn post(&self, at: SocketAddr, path: &str, form: &str) -> (u16, String, Value) {
        post(at, path, &self.basic(), form)
    }

    /// A token for all that it is subscribed to, with further parameters.
    pub fn token_with(&self, flowgate: &Flowgate, more: &str) -> String {
        let form = format!("grant_type=client_credentials{more}");
        let (status, _, said) = self.post(flowgate.data, "/oauth2/token", &form);
        assert_eq!(status, 200, "{said}");
        said["access_token"].as_str().unwrap().to_owned()
    }

    pub fn token(&self, flowgate: &Flowgate) -> String {
        self.token_with(flowgate, "")
    }

    pub fn revoke(&self, flowgate: &Flowgate, token: &str) {
        let (status, _, said) =
            self.post(flowgate.data, "/oauth2/revoke", &format!("token={token}"));
        assert_eq!(status, 200, "{said}");
    }
}

/// Posts a form with further header lines.
pub fn post(at: SocketAddr, path: &str, headers: &str, form: &str) -> (u16, String, Value) {
    let content_type = "Content-Type: application/x-www-form-urlencoded\r\n";
    post_raw(at, path, &format!("{content_type}{headers}"), form)
}

/// Posts whatever this is.
pub fn post_raw(at: SocketAddr, path: &str, headers: &str, body: &str) -> (u16, String, Value) {
    let answer = ask(
        at,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), serde_json::from_str(body).expect(&answer))
}

pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

pub fn open(flowgate: &Flowgate, path: &str, token: &str) -> WebSocket {
    WebSocket::connect(flowgate.data, path, &bearer(token))
}

/// What a handshake is answered.
pub fn status(flowgate: &Flowgate, path: &str, headers: &str) -> u16 {
    let head = WebSocket::open(flowgate.data, handshake(path, "localhost", headers)).head;
    head.split(' ').nth(1).expect(&head).parse().unwrap()
}

/// The value of a header, in whatever case its name is.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
