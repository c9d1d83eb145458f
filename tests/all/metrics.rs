//! `/metrics`: what it says is what happened, and dashboard, alerts and docs name nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tempfile::TempDir;

use crate::support::admin::{READ, tokens_file};
use crate::support::exposition::{Page, ask_for};
use crate::support::flowgate::Flowgate;
use crate::support::node::root;
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, mike_and_roberto};
use crate::support::replicas::{regenerated, status, with_key};
use crate::support::runtime::{Runtime, accept, echo, text_from_client};
use crate::support::wait_until;
use crate::support::websocket::{CLOSE, FIN, WebSocket, handshake, masked};

mod expressions;
mod queries;

/// Echoes on most paths, ends at once on one, declines on one, and answers plain requests.
fn runtime() -> Runtime {
    Runtime::start(|mut websocket| {
        let head = websocket.head.clone();
        if !head.contains("Sec-WebSocket-Key") {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
            return websocket.send(answer.as_bytes());
        }
        if head.contains("/declined") {
            let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return websocket.send(answer.as_bytes());
        }
        accept(&mut websocket, "");
        if !head.contains("/vanish") {
            echo(&mut websocket);
        }
    })
}

fn basic(username: &str, password: &str) -> String {
    let login = BASE64_STANDARD.encode(format!("{username}:{password}"));
    format!("Authorization: Basic {login}\r\n")
}

/// What a handshake without a credential is answered.
fn public(flowgate: &Flowgate, path: &str) -> String {
    WebSocket::open(flowgate.data, handshake(path, "localhost", "")).head
}

fn get(flowgate: &Flowgate, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = flowgate.ask(&request);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// A flowgate with operators, mike's runtime, and none where roberto's is said to be.
struct World {
    flowgate: Flowgate,
    _runtime: Runtime,
    _folder: TempDir,
}

impl World {
    fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (runtime, tokens) = (runtime(), tokens_file(folder.path()));
        let profiles = mike_and_roberto(runtime.address, Runtime::nowhere());
        let mut all = vec!["--admin-tokens-file", tokens.to_str().unwrap()];
        all.extend(flags);
        let flowgate = Flowgate::start(&profiles, &all);
        Self { flowgate, _runtime: runtime, _folder: folder }
    }

    fn scrape(&self) -> Page {
        Page::scrape(&self.flowgate, "/metrics", READ)
    }

    /// Waits until a series has a value.
    fn wait_for(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        wait_until(&format!("{name} {labels:?} is {value}"), || {
            self.scrape().value(name, labels) == value
        });
    }

    fn connect(&self, path: &str, headers: &str) -> WebSocket {
        WebSocket::connect(self.flowgate.data, path, headers)
    }
}

const ENDED: &str = "flowgate_connections_ended_total";

#[test]
fn what_happened_is_what_is_counted() {
    let world = World::start(&["--workers", "1", "--relay-threads", "2"]);
    let flowgate = &world.flowgate;
    let before = world.scrape();
    assert_eq!(before.sum("flowgate_handshakes_total"), 0.0);
    assert_eq!(before.value("flowgate_registry_state", &[("state", "current")]), 1.0);
    assert_eq!(before.sum("flowgate_registry_state"), 1.0);

    let mut one = world.connect("/api/thing", &with_key(MIKE_KEY));
    let mut two = world.connect("/api/thing", &with_key(MIKE_KEY));
    let three = world.connect("/api/thing", &basic("mike", MIKE_PASSWORD));
    assert_eq!(world.connect("/public/mike/vanish", "").receive_close().0, 1014);
    world.wait_for("flowgate_connections", &[("row", "api")], 3.0);
    world.wait_for(ENDED, &[("ended_by", "runtime"), ("code", "1014")], 1.0);
    world.wait_for("flowgate_client_sockets", &[], 3.0);
    for _ in 0..3 {
        one.send(&text_from_client("hello"));
        assert_eq!(one.receive_text(), "hello");
    }
    one.send(&masked(FIN | CLOSE, &1000_u16.to_be_bytes()));
    assert_eq!(one.receive_close().0, 1000);
    world.wait_for(ENDED, &[("ended_by", "client"), ("code", "1000")], 1.0);
    assert_eq!(status(flowgate, "a-key-that-nobody-knows-0123"), 401);
    assert!(public(flowgate, "/nothing/here").starts_with("HTTP/1.1 404"));
    assert!(public(flowgate, "/public/mike/declined").starts_with("HTTP/1.1 404"));
    assert!(public(flowgate, "/public/roberto/x").starts_with("HTTP/1.1 502"));
    (0..3).for_each(|_| get(flowgate, "/public/mike/hello"));

    let page = world.scrape();
    assert_relayed(&page);
    assert_answered(&page);
    let tenants = Page::scrape(flowgate, "/metrics?tenants=5", READ);
    let from_mike = [("tenant", "mike"), ("direction", "from_client")];
    assert_eq!(tenants.value("flowgate_tenant_messages_total", &from_mike), 3.0);
    assert_eq!(tenants.value("flowgate_tenant_relayed_bytes_total", &from_mike), 41.0);
    assert_eq!(tenants.value("flowgate_tenant_connections", &[("tenant", "mike")]), 2.0);

    regenerated(flowgate);
    assert_eq!(two.receive_close().0, 1008);
    drop(three);
    world.wait_for(ENDED, &[("ended_by", "flowgate"), ("code", "1008")], 1.0);
    world.wait_for(ENDED, &[("ended_by", "client"), ("code", "1006")], 1.0);
    let page = world.scrape();
    assert_eq!(page.sum(ENDED), 4.0);
    assert_eq!(page.value("flowgate_connection_lifetime_seconds_count", &[]), 4.0);
    assert_eq!(page.sum("flowgate_connections"), 0.0);
    let checks = |verdict| page.value("flowgate_password_checks_total", &[("verdict", verdict)]);
    assert_eq!(["right", "wrong", "busy", "remembered"].map(checks), [1.0, 0.0, 0.0, 1.0]);
    assert_eq!(page.value("flowgate_password_check_duration_seconds_count", &[]), 1.0);
    assert_eq!(
        page.value("flowgate_requests_total", &[("row", "profile"), ("status", "2xx")]),
        1.0
    );
    let writes = [("operation", "write")];
    assert!(page.value("flowgate_registry_request_duration_seconds_count", &writes) >= 1.0);
    assert_eq!(page.sum("flowgate_registry_failures_total"), 0.0);
}

/// Three messages of five bytes there and back, and a Close frame.
fn assert_relayed(page: &Page) {
    let of = |name: &str| {
        ["from_client", "from_runtime"].map(|side| page.value(name, &[("direction", side)]))
    };
    assert_eq!(of("flowgate_relayed_messages_total"), [3.0, 3.0]);
    // The runtime that vanished was told nothing; its client was, but that is a frame of ours.
    assert_eq!(of("flowgate_relayed_bytes_total"), [41.0, 25.0]);
    let opened = |row| page.value("flowgate_connections_opened_total", &[("row", row)]);
    let rows = ["public", "api", "tenant_public", "tenant_api", "editor"];
    assert_eq!(rows.map(opened), [1.0, 3.0, 0.0, 0.0, 0.0]);
    assert_eq!(page.sum("flowgate_relay_thread_connections"), 2.0);
    let names = ["relay-0", "relay-1", "handshakes-0", "log"];
    for name in names {
        page.value("flowgate_thread_cpu_seconds_total", &[("thread", name)]);
    }
}

fn assert_answered(page: &Page) {
    let handshakes = |outcome, credential| {
        let labels = [("outcome", outcome), ("credential", credential)];
        page.value("flowgate_handshakes_total", &labels)
    };
    assert_eq!(handshakes("switched", "key"), 2.0);
    assert_eq!(handshakes("switched", "password"), 1.0);
    assert_eq!(handshakes("switched", "anonymous"), 1.0);
    assert_eq!(handshakes("declined", "anonymous"), 1.0);
    assert_eq!(handshakes("refused", "anonymous"), 1.0);
    assert_eq!(handshakes("refused", "unknown"), 2.0);
    assert_eq!(page.sum("flowgate_handshakes_total"), 8.0);
    assert_eq!(page.value("flowgate_handshake_duration_seconds_count", &[]), 4.0);
    let phase =
        |phase| page.value("flowgate_handshake_phase_duration_seconds_count", &[("phase", phase)]);
    assert_eq!(["auth", "resolve", "connect", "upstream"].map(phase), [8.0, 6.0, 6.0, 5.0]);
    let refusals = |label| page.value("flowgate_refusals_total", &[("refusal", label)]);
    assert_eq!(refusals("wrong_credential"), 1.0);
    assert_eq!(refusals("not_found"), 1.0);
    assert_eq!(refusals("runtime_unreachable"), 1.0);
    assert_eq!(page.sum("flowgate_refusals_total"), 3.0);
    let requests = [("row", "public"), ("status", "2xx")];
    assert_eq!(page.value("flowgate_requests_total", &requests), 3.0);
    assert_eq!(page.value("flowgate_request_duration_seconds_count", &[]), 3.0);
}

#[test]
fn who_may_scrape() {
    let world = World::start(&[]);
    let token = format!("Authorization: Bearer {READ}\r\n");
    let status = |flowgate: &Flowgate, path: &str, headers: &str| {
        let answer = ask_for(flowgate, path, headers);
        answer.split(' ').nth(1).expect(&answer).to_owned()
    };
    for (path, headers, expected) in [
        ("/metrics", "", "401"),
        ("/metrics", "Authorization: Bearer x\r\n", "401"),
        ("/metrics", &*format!("{token}Origin: http://evil.example\r\n"), "403"),
        ("/metrics", &*format!("{token}Host: localhost\r\n"), "400"),
        ("/metrics?tenants=101", &*token, "400"),
        ("/metrics?tenants=-1", &*token, "400"),
        ("/metrics?tenant=1", &*token, "400"),
        ("/metrics?tenants=100", &*token, "200"),
        ("/metrics", &*token, "200"),
    ] {
        assert_eq!(status(&world.flowgate, path, headers), expected, "{path} {headers}");
    }
    let page = world.scrape();
    let refused = |label| page.value("flowgate_admin_refusals_total", &[("refusal", label)]);
    assert_eq!(["wrong_admin_token", "foreign_origin", "bad_input"].map(refused), [2.0, 1.0, 3.0]);
    assert_eq!(page.sum("flowgate_refusals_total"), 0.0);

    let open = Flowgate::start(&json!({ "tenants": [] }), &["--metrics-open", "true"]);
    Page::read(&ask_for(&open, "/metrics", ""));
    assert_eq!(status(&open, "/metrics", "Origin: http://evil.example\r\n"), "403");
    assert_eq!(status(&open, "/admin/v1/status", ""), "403");
    assert_eq!(status(&open, "/metrics/", ""), "403");
    assert_eq!(status(&open, "/metrics?tenants=1", ""), "401", "names of tenants are not open");
    assert_eq!(status(&open, "/metrics?tenants=0", ""), "200");
    let both = World::start(&["--metrics-open", "true"]);
    assert_eq!(status(&both.flowgate, "/metrics?tenants=1", ""), "401");
    assert_eq!(status(&both.flowgate, "/metrics?tenants=1", &token), "200");
}

#[test]
fn a_server_that_was_told_to_stop_is_no_alarm() {
    let world = World::start(&["--drain-delay", "1m"]);
    world.wait_for("flowgate_ready", &[], 1.0);
    assert_eq!(world.scrape().value("flowgate_draining", &[]), 0.0);
    world.flowgate.signal("-TERM");
    world.wait_for("flowgate_ready", &[], 0.0);
    assert_eq!(world.scrape().value("flowgate_draining", &[]), 1.0);
}

#[test]
fn both_formats_say_the_same() {
    let world = World::start(&[]);
    assert!(public(&world.flowgate, "/public/mike/declined").starts_with("HTTP/1.1 404"));
    let token = format!("Authorization: Bearer {READ}\r\n");
    let scrape = || ask_for(&world.flowgate, "/metrics?tenants=9", &token);
    wait_until("nobody is connected any more", || !scrape().contains("tenant=\"mike\""));
    let answer = scrape();
    let (classic, open) = (Page::read(&answer), world.scrape());
    let names = |page: &Page| page.samples.iter().map(|(name, ..)| name.clone()).collect();
    let (old, new): (BTreeSet<String>, BTreeSet<String>) = (names(&classic), names(&open));
    assert_eq!(old, new, "nobody is connected, so no tenant has series");
    for (name, family) in &open.families {
        assert_eq!((&family.kind, &family.help), {
            let classic = &classic.families[name];
            (&classic.kind, &classic.help)
        });
    }
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool =
        promtool.spawn().expect("promtool is installed (apt-get install prometheus)");
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    promtool.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

/// The page with everything on it that can be.
fn full_page() -> Page {
    let world = World::start(&[]);
    let _one = world.connect("/public/mike/x", "");
    Page::scrape(&world.flowgate, "/metrics?tenants=1", READ)
}

#[test]
fn the_docs_list_every_series_and_no_other() {
    let page = full_page();
    let docs = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let mut listed = BTreeMap::new();
    for line in docs.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, kind, labels, meaning, _] = cells[..] else { continue };
        assert!(!meaning.is_empty(), "{line}");
        let labels: BTreeSet<String> =
            labels.split(", ").filter(|it| !it.is_empty()).map(|it| it.replace('`', "")).collect();
        let known = listed.insert(name.replace('`', ""), (kind.to_owned(), labels));
        assert!(known.is_none(), "twice: {line}");
    }
    let told: BTreeMap<_, _> = page
        .families
        .into_iter()
        .map(|(name, family)| {
            let end = match family.kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            (format!("{name}{end}"), (family.kind, family.labels))
        })
        .collect();
    assert_eq!(listed, told);
}
