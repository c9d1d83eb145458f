//! Several who publish: none of them takes what is another's, and an operator has the last word.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::admin::{ADMIN, call, command, ok, tokens_file};
use crate::support::flowgate::Flowgate;
use crate::support::profiles::{MIKE_PASSWORD, ROBERTO_PASSWORD, mike_and_roberto};
use crate::support::runtime::Runtime;

const MIKE: (&str, &str) = ("mike", MIKE_PASSWORD);
const ROBERTO: (&str, &str) = ("roberto", ROBERTO_PASSWORD);

/// A tenant's runtime that says whose it is.
fn saying(name: &'static str) -> Runtime {
    Runtime::start(move |mut socket| {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        socket.send(answer.as_bytes());
    })
}

struct World {
    flowgate: Flowgate,
    _runtimes: [Runtime; 2],
    _folder: tempfile::TempDir,
}

fn start() -> World {
    let runtimes = [saying("mike"), saying("roberto")];
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens_file(folder.path());
    let profiles = mike_and_roberto(runtimes[0].address, runtimes[1].address);
    let flags = ["--admin-tokens-file", tokens.to_str().unwrap()];
    World { flowgate: Flowgate::start(&profiles, &flags), _runtimes: runtimes, _folder: folder }
}

fn definition(context: &str) -> Value {
    json!({
        "name": "thing",
        "context": context,
        "version": "1",
        "endpoint": { "runtime_path": "/thing" },
        "security": ["none"],
    })
}

impl World {
    /// The status, and where the API is in the profile.
    fn publish(&self, who: (&str, &str), context: &str) -> (u16, String) {
        let path = "/apis?publish=true";
        let (status, said) = self.flowgate.profile(who, "POST", path, &definition(context));
        (status, format!("/apis/{}", said["id"].as_str().unwrap_or_default()))
    }

    /// Whose runtime answers, or the status.
    fn answers(&self, path: &str) -> String {
        let answer = self
            .flowgate
            .ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        let status = &head[9..12];
        if status == "200" { body.to_owned() } else { status.to_owned() }
    }
}

#[test]
fn nobody_publishes_below_or_above_what_another_has_published() {
    let world = start();
    let (status, mikes) = world.publish(MIKE, "/shop");
    assert_eq!(status, 201);
    assert_eq!(world.publish(ROBERTO, "/shop/1/orders").0, 409);
    assert_eq!(world.answers("/shop/1/orders/1/pay"), "mike");
    assert_eq!(world.publish(MIKE, "/shop/1/orders").0, 201, "it is their own");
    let (status, robertos) = world.publish(ROBERTO, "/bank/1/deep");
    assert_eq!(status, 201);
    assert_eq!(world.publish(MIKE, "/bank").0, 409, "it would stand above another's");
    let moved = world.flowgate.profile(ROBERTO, "PUT", &robertos, &definition("/shop/1/x"));
    assert_eq!(moved.0, 409, "{}", moved.1);
    let add = ["api", "add", "--name", "all", "--context", "/shop", "--api-version", "1/x"];
    assert_ne!(command(&world.flowgate, &add).output().unwrap().status.code(), Some(0));
    // An operator's at the root of the host is behind all others.
    ok(&mut command(
        &world.flowgate,
        &[
            "api",
            "add",
            "--name",
            "rest",
            "--context",
            "/",
            "--publish",
            "--node",
            "http://127.0.0.1:9",
            "--security",
            "none",
        ],
    ));
    assert_eq!(world.answers("/bank/1/deep/1"), "roberto");
    assert_eq!(world.publish(ROBERTO, "/new").0, 201);
    let gone = world.flowgate.profile(MIKE, "DELETE", &mikes, &Value::Null);
    assert_eq!(gone.0, 200, "{}", gone.1);
}

#[test]
fn what_an_operator_has_blocked_no_owner_brings_back() {
    let world = start();
    let (_, api) = world.publish(MIKE, "/shop");
    assert_eq!(world.answers("/shop/1"), "mike");
    let by_operator = |state: &str| {
        let line = format!("PUT /admin/v1{api}/state");
        call(&world.flowgate, ADMIN, &line, "", &json!({ "state": state }))
    };
    let (status, _, said) = by_operator("blocked");
    assert_eq!((status, &said["blocked_by_operator"]), (200, &json!(true)), "{said}");
    for (method, path, body) in [
        ("PUT", format!("{api}/state"), json!({ "state": "published" })),
        ("PUT", format!("{api}/state"), json!({ "state": "blocked" })),
        ("PUT", api.clone(), definition("/shop2")),
        ("DELETE", api.clone(), Value::Null),
    ] {
        let (status, said) = world.flowgate.profile(MIKE, method, &path, &body);
        assert_eq!((status, &said["detail"]), (409, &json!("An operator has blocked this API.")));
        assert_eq!(world.answers("/shop/1"), "503");
    }
    assert_eq!(world.publish(MIKE, "/shop").0, 409);
    assert_eq!(by_operator("published").0, 200);
    assert_eq!(world.answers("/shop/1"), "mike");
    // The owner's own block is the owner's.
    let state = |state: &str| {
        let body = json!({ "state": state });
        world.flowgate.profile(MIKE, "PUT", &format!("{api}/state"), &body).0
    };
    assert_eq!((state("blocked"), state("published")), (200, 200));
}

/// A request of mike's whose last byte is still to come.
fn all_but_the_end(flowgate: &Flowgate, line: &str, body: &str) -> TcpStream {
    let login = BASE64_STANDARD.encode(format!("{}:{}", MIKE.0, MIKE.1));
    let mut socket = TcpStream::connect(flowgate.data).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Basic {login}\r\n\
         Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    // Who is asked for the body has been let in.
    let mut invited = [0; 25];
    socket.read_exact(&mut invited).unwrap();
    assert_eq!(&invited, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(&body.as_bytes()[..body.len() - 1]).unwrap();
    socket
}

#[test]
fn who_is_not_whom_they_were_when_they_asked_changes_nothing() {
    for removes in [false, true] {
        let world = start();
        let flowgate = &world.flowgate;
        let body = definition("/late").to_string();
        let mut api = all_but_the_end(flowgate, "POST /profile/apis?publish=true", &body);
        if removes {
            let line = "DELETE /admin/v1/tenants/mike";
            let (status, _, said) = call(flowgate, ADMIN, line, "If-Match: *\r\n", &Value::Null);
            assert_eq!(status, 200, "{said}");
        } else {
            let new = json!({ "old": MIKE_PASSWORD, "new": "another-password-2026" });
            let (status, said) = flowgate.profile(MIKE, "PUT", "/password", &new);
            assert_eq!(status, 200, "{said}");
        }
        api.write_all(b"}").unwrap();
        let mut answer = String::new();
        api.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert_eq!(world.answers("/late/1"), "404");
        assert_eq!(world.publish(ROBERTO, "/late").0, 201, "its context is free");
    }
}

#[test]
fn a_tenant_has_so_many_apis_and_not_one_more_however_many_come_at_once() {
    const MAX: usize = 50;
    let world = start();
    let requests: Vec<TcpStream> = (0..MAX + 10)
        .map(|number| {
            let body = definition(&format!("/number-{number}")).to_string();
            all_but_the_end(&world.flowgate, "POST /profile/apis", &body)
        })
        .collect();
    for mut request in &requests {
        request.write_all(b"}").unwrap();
    }
    let statuses = requests.into_iter().map(|mut request| {
        let mut answer = String::new();
        request.read_to_string(&mut answer).unwrap();
        answer[9..12].to_owned()
    });
    let mut statuses: Vec<String> = statuses.collect();
    statuses.sort();
    assert_eq!(statuses[..MAX], vec!["201"; MAX]);
    assert_eq!(statuses[MAX..], vec!["409"; 10]);
}
