//! Runtimes that wake when they are called and sleep when they are not, in the whole program.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::flowgate::{Flowgate, ask, program};
use crate::support::own::{Own, get, mike, runs, runtime};
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD};
use crate::support::registries::run;
use crate::support::replicas::{MIKE, with_key};
use crate::support::runtime::text_from_client;
use crate::support::session::Session;
use crate::support::websocket::{WebSocket, handshake};
use crate::support::{wait_for, wait_until};

fn called(flowgate: &Flowgate, path: &str) -> String {
    flowgate.ask(&get(path, &with_key(MIKE_KEY)))
}

fn echo_at(data: SocketAddr, path: &str, text: &str) -> String {
    let mut websocket = WebSocket::connect(data, path, &with_key(MIKE_KEY));
    websocket.send(&text_from_client(text));
    websocket.receive_text()
}

#[test]
fn a_handshake_wakes_a_real_node_red_and_many_at_once_start_it_once() {
    let own = Own::node_red();
    let flowgate = Flowgate::start(&mike(true, json!({})), &own.flags(&["--wake-timeout=3m"]));
    assert_eq!(runtime(&flowgate)["state"], "asleep");
    let data = flowgate.data;
    let clients: Vec<_> = (0..20)
        .map(|number| {
            let path = if number % 2 == 0 { "/public/mike/data" } else { "/api/thing" };
            std::thread::spawn(move || (path, echo_at(data, path, "hello")))
        })
        .collect();
    for client in clients {
        let (path, answer) = client.join().unwrap();
        let path = path.replace("/api", "").replace("/public/mike", "/public");
        let expected = format!(r#"{{"runtime":"mike","path":"{path}","payload":"hello"}}"#);
        assert_eq!(answer, expected);
    }
    let ready = |line: &&Value| line["message"] == "the runtime is ready";
    assert_eq!(flowgate.log().iter().filter(ready).count(), 1);
    let said = runtime(&flowgate);
    assert_eq!((&said["state"], &said["sleeps_in_seconds"]), (&json!("ready"), &Value::Null));
    assert!(said["log_tail"].as_str().unwrap().contains("Started flows"), "{said}");
}

#[test]
fn it_sleeps_when_only_idle_connections_are_left_and_wakes_again() {
    let own = Own::small("serves");
    let plan = json!({ "sleep_after_seconds": 2 });
    let flowgate = Flowgate::start(&mike(true, plan), &own.flags(&[]));
    let mut idle = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    assert_eq!(idle.receive_close().0, 1012);
    wait_until("it sleeps", || runtime(&flowgate)["state"] == "asleep");
    let starts = own.starts();
    assert!(starts.len() == 1 && !runs(starts[0]), "{starts:?}");
    assert!(called(&flowgate, "/api/x").ends_with("mike /api/x\n"));
    assert_eq!(own.starts().len(), 2);
}

#[test]
fn it_says_why_it_is_awake_and_when_it_will_sleep() {
    let own = Own::small("serves");
    let plan = json!({ "sleep_after_seconds": 86_400 });
    let flowgate = Flowgate::start(&mike(true, plan), &own.flags(&[]));
    assert!(called(&flowgate, "/api/x").starts_with("HTTP/1.1 200"));
    // Whoever has the answer may know it before flowgate has noted the end.
    wait_until("the request is over", || runtime(&flowgate)["sleeps_in_seconds"].is_u64());
    let said = runtime(&flowgate);
    assert_eq!(said["state"], "ready", "{said}");
    assert!((80_000..=86_400).contains(&said["sleeps_in_seconds"].as_u64().unwrap()), "{said}");
    let because = said["awake_because"][0].as_str().unwrap();
    assert!(because.starts_with("the last request or data frame was "), "{said}");
}

/// Its heartbeats, which come every 300 ms here, keep nothing awake; a window may be open for days.
#[test]
fn an_open_editor_does_not_keep_node_red_awake() {
    let own = Own::node_red_with("webSocketKeepAliveTime: 300");
    let plan = json!({ "sleep_after_seconds": 3 });
    let flowgate = Flowgate::start(&mike(true, plan), &own.flags(&["--wake-timeout=3m"]));
    let cookie = Session::begin(flowgate.data, "mike", MIKE_PASSWORD).on_host("mike");
    let host = format!("mike.flows.localhost:{}", flowgate.data.port());
    let headers = format!("Origin: http://{host}\r\nCookie: {cookie}\r\n");
    let handshake = handshake("/red/comms", &host, &headers);
    let page = format!(
        "GET /red/ HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    );
    // Whoever opens the editor wakes it, and its connection follows.
    let open = || {
        wait_for("the editor is there", || {
            let is_there = flowgate.ask(&page).starts_with("HTTP/1.1 200");
            let comms = is_there.then(|| WebSocket::open(flowgate.data, &handshake));
            comms.filter(|comms| comms.head.starts_with("HTTP/1.1 101"))
        })
    };
    let mut comms = open();
    let mut heartbeats = 0;
    let close = loop {
        let frame = comms.receive().unwrap();
        match frame.first_byte {
            0x81 if frame.payload.starts_with(br#"[{"topic":"hb""#) => heartbeats += 1,
            0x88 => break frame.close(),
            _ => {}
        }
    };
    assert_eq!(close.0, 1012);
    assert!(heartbeats > 0, "there were heartbeats until it slept");
    // It comes again by itself, for as long as its window is open.
    wait_until("it sleeps", || runtime(&flowgate)["state"] == "asleep");
    let refused = WebSocket::open(flowgate.data, &handshake).head;
    assert!(
        refused.starts_with("HTTP/1.1 503") && refused.contains("Retry-After: 60"),
        "{refused}"
    );
    assert_eq!(runtime(&flowgate)["state"], "asleep");
    open();
}

/// Nor does one that comes again and again keep it awake.
#[test]
fn an_editor_that_comes_again_and_again_is_no_use() {
    let own = Own::small("serves");
    let plan = json!({ "sleep_after_seconds": 5 });
    let flowgate = Flowgate::start(&mike(true, plan), &own.flags(&[]));
    let cookie = Session::begin(flowgate.data, "mike", MIKE_PASSWORD).on_host("mike");
    assert!(called(&flowgate, "/api/x").starts_with("HTTP/1.1 200"));
    let host = format!("mike.flows.localhost:{}", flowgate.data.port());
    let headers = format!("Origin: http://{host}\r\nCookie: {cookie}\r\n");
    let handshake = handshake("/red/comms", &host, &headers);
    let mut accepted = 0;
    wait_until("it sleeps all the same", || {
        let head = WebSocket::open(flowgate.data, &handshake).head;
        accepted += usize::from(head.starts_with("HTTP/1.1 101"));
        head.starts_with("HTTP/1.1 503") && head.contains("Retry-After: 60")
    });
    assert!(accepted > 0, "it was there before");
    assert_eq!((runtime(&flowgate)["state"].as_str(), own.starts().len()), (Some("asleep"), 1));
}

#[test]
fn what_is_always_on_does_not_sleep_while_another_does() {
    let (awake, idle) = (Own::small("serves"), Own::small("serves"));
    let plan = |always_on: bool| json!({ "sleep_after_seconds": 1, "always_on": always_on });
    let awake_flowgate = Flowgate::start(&mike(true, plan(true)), &awake.flags(&[]));
    let idle_flowgate = Flowgate::start(&mike(true, plan(false)), &idle.flags(&[]));
    for flowgate in [&awake_flowgate, &idle_flowgate] {
        assert!(called(flowgate, "/api/x").starts_with("HTTP/1.1 200"));
    }
    wait_until("the other sleeps", || runtime(&idle_flowgate)["state"] == "asleep");
    let said = runtime(&awake_flowgate);
    assert_eq!((&said["state"], &said["sleeps_in_seconds"]), (&json!("ready"), &Value::Null));
    assert_eq!(said["awake_because"], json!(["the plan keeps it always on"]));
}

#[test]
fn strangers_wake_it_only_where_that_is_allowed() {
    let own = Own::small("serves");
    let flowgate = Flowgate::start(&mike(false, json!({})), &own.flags(&[]));
    let refused = flowgate.ask(&get("/public/mike/x", ""));
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("\"asleep\""), "{refused}");
    assert!(
        refused.contains("retry-after: 60") || refused.contains("Retry-After: 60"),
        "{refused}"
    );
    let handshake = handshake("/public/mike/data", "localhost", "");
    assert!(WebSocket::open(flowgate.data, handshake).head.starts_with("HTTP/1.1 503"));
    // Wrong credentials wake nobody either.
    let wrong = flowgate.ask(&get("/api/x", &with_key("wrong-key-0123456789")));
    assert!(wrong.starts_with("HTTP/1.1 401"), "{wrong}");
    assert_eq!(runtime(&flowgate)["state"], "asleep");
    assert!(called(&flowgate, "/api/x").starts_with("HTTP/1.1 200"));
    let served = flowgate.ask(&get("/public/mike/x", ""));
    assert!(served.ends_with("mike /api/public/x\n"), "{served}");
}

#[test]
fn a_tenant_says_whether_strangers_wake_it() {
    let own = Own::small("serves");
    let flowgate = Flowgate::start(&mike(false, json!({})), &own.flags(&[]));
    assert!(flowgate.ask(&get("/public/mike/x", "")).starts_with("HTTP/1.1 503"));
    let allowed = json!({ "public_wake": true });
    let (status, said) = flowgate.profile(MIKE, "PUT", "/runtime", &allowed);
    assert_eq!((status, &said["public_wake"]), (200, &json!(true)), "{said}");
    assert!(flowgate.ask(&get("/public/mike/x", "")).starts_with("HTTP/1.1 200"));
    // The same on the page.
    let session = Session::begin(flowgate.data, "mike", MIKE_PASSWORD);
    let page = session.get("/profile");
    assert!(page.body.contains("requests without a credential wake it."), "{}", page.body);
    let form = format!("token={}&public_wake=false", page.field("token"));
    let changed = session.post("/profile/do/runtime", &form);
    assert!(changed.body.contains("requests without a credential are refused."));
    assert_eq!(runtime(&flowgate)["public_wake"], false);
}

#[test]
fn one_that_dies_is_told_to_its_tenant_and_started_again_only_after_a_while() {
    let own = Own::small("dies");
    let flowgate = Flowgate::start(&mike(true, json!({})), &own.flags(&[]));
    for _ in 0..20 {
        let refused = called(&flowgate, "/api/x");
        assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
        assert!(refused.contains("\"start_failed\"") && !refused.contains("flows"), "{refused}");
    }
    assert!(own.starts().len() < 10, "{:?}", own.starts());
    let said = runtime(&flowgate);
    assert_eq!(said["state"], "failing", "{said}");
    assert!(said["why"].as_str().unwrap().contains("exit status: 3"), "{said}");
    let tail = said["log_tail"].as_str().unwrap();
    assert!(tail.contains("\\u{1b}[31mno flows\\u{7}\n"), "{tail}");
}

#[test]
fn one_that_is_never_ready_is_waited_for_no_longer_than_is_set() {
    let own = Own::small("mute");
    let flags = ["--wake-timeout=500ms", "--process-start-timeout=24h"];
    let flowgate = Flowgate::start(&mike(true, json!({})), &own.flags(&flags));
    let refused = called(&flowgate, "/api/x");
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("\"waking\""), "{refused}");
    assert_eq!(runtime(&flowgate)["state"], "starting");
}

#[test]
fn a_grant_that_ends_ends_the_wait() {
    let own = Own::small("mute");
    let flags = ["--wake-timeout=24h", "--process-start-timeout=24h"];
    let flowgate = Flowgate::start(&mike(true, json!({})), &own.flags(&flags));
    let data = flowgate.data;
    let waiting = [
        get("/api/x", &with_key(MIKE_KEY)),
        handshake("/api/thing", "localhost", &with_key(MIKE_KEY)),
    ]
    .map(|request| std::thread::spawn(move || ask(data, &request)));
    wait_until("both wait", || flowgate.status()["live"] == 2);
    let (status, _) = flowgate.profile(MIKE, "POST", "/api-key", &Value::Null);
    assert_eq!(status, 200);
    for answer in waiting.map(|waiting| waiting.join().unwrap()) {
        assert!(
            answer.starts_with("HTTP/1.1 401") && answer.contains("\"grant_ended\""),
            "{answer}"
        );
    }
}

#[test]
fn no_more_wait_than_may() {
    let own = Own::small("mute");
    let flags = ["--wake-timeout=24h", "--process-start-timeout=24h", "--waiting-max=1"];
    let flowgate = Flowgate::start(&mike(true, json!({})), &own.flags(&flags));
    let _first = {
        let request = get("/api/x", &with_key(MIKE_KEY));
        let mut socket = std::net::TcpStream::connect(flowgate.data).unwrap();
        std::io::Write::write_all(&mut socket, request.as_bytes()).unwrap();
        socket
    };
    wait_until("one waits", || own.starts().len() == 1);
    let refused = called(&flowgate, "/api/x");
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("\"waking\""), "{refused}");
}

#[test]
fn one_that_crashes_is_started_again() {
    let own = Own::small("serves");
    let flowgate = Flowgate::start(&mike(true, json!({})), &own.flags(&[]));
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    assert!(called(&flowgate, "/api/crash").starts_with("HTTP/1.1 502"));
    assert_eq!(websocket.receive_close().0, 1014);
    // Nobody calls meanwhile.
    wait_until("it runs again", || own.starts().len() == 2);
    wait_until("it is ready", || runtime(&flowgate)["state"] == "ready");
    assert!(called(&flowgate, "/api/x").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_killed_flowgate_leaves_no_orphan_that_is_in_the_way() {
    let own = Own::small("breeds");
    let flags = own.flags(&[]);
    let flowgate = Flowgate::start(&mike(true, json!({})), &flags);
    assert!(called(&flowgate, "/api/x").starts_with("HTTP/1.1 200"));
    let first = own.starts()[0];
    let child: u32 =
        std::fs::read_to_string(own.mike().join("home/child")).unwrap().parse().unwrap();
    assert!(runs(first) && runs(child));
    let flowgate = flowgate.kill_and_restart(&flags);
    wait_until("what was left is ended", || !runs(first) && !runs(child));
    assert!(called(&flowgate, "/api/x").starts_with("HTTP/1.1 200"));
    let starts = own.starts();
    assert!(starts.len() == 2 && runs(starts[1]), "{starts:?}");
}

#[test]
fn a_stop_ends_the_runtimes() {
    let own = Own::small("breeds");
    let mut flowgate = Flowgate::start(&mike(true, json!({})), &own.flags(&[]));
    assert!(called(&flowgate, "/api/x").starts_with("HTTP/1.1 200"));
    let first = own.starts()[0];
    let child: u32 =
        std::fs::read_to_string(own.mike().join("home/child")).unwrap().parse().unwrap();
    flowgate.signal("-TERM");
    assert!(flowgate.wait().success());
    assert!(!runs(first), "the runtime has ended before flowgate");
    wait_until("its child ends", || !runs(child));
}

#[test]
fn without_a_word_that_tenants_trust_each_other_nothing_starts() {
    let (code, _, error) =
        run(program().args(["serve", "--registry", "memory:", "--process-command", "node"]));
    assert_eq!(code, 78, "{error}");
    assert!(error.contains("trusted_tenants = true"), "{error}");
}
