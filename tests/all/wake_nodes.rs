//! Runtimes at several addresses, which somebody else runs.

use std::net::SocketAddr;
use std::sync::Arc;

use flowgate::clock::Clock;
use flowgate::connect::reach::Reach;
use flowgate::connect::statics::Statics;
use flowgate::connect::{ConnectSettings, Dialer};
use flowgate::keepalive::Probes;
use flowgate::networks::Networks;
use flowgate::runtimes::contract::{Condition, Order, RunningRuntime, RuntimeProvider};
use flowgate::tenant::{Instance, OnChange, Provider, TenantId, Username};
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::admin::{ADMIN, call, command, ok, run, start, tokens_file};
use crate::support::contract::{Life, keeps_the_contract};
use crate::support::flowgate::Flowgate;
use crate::support::own::Own;
use crate::support::profiles::MIKE_KEY;
use crate::support::runtime::Runtime;
use crate::support::wait_until;
use crate::support::websocket::{WebSocket, read_head};

/// Answers every request with its name, until it is dropped.
fn named(name: &'static str) -> Runtime {
    Runtime::start(move |mut client| {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{name}",
            name.len()
        );
        client.send(answer.as_bytes());
    })
}

fn mike(addresses: &[SocketAddr], admin_root: &Value, more: &Value) -> Value {
    let addresses: Vec<String> = addresses.iter().map(|it| format!("http://{it}")).collect();
    let mut instance =
        json!({ "addresses": addresses, "node_root": "/api", "admin_root": admin_root });
    if !more.is_null() {
        instance["probe"] = more.clone();
    }
    json!({ "tenants": [{ "username": "mike", "api_key": MIKE_KEY, "instance": instance }] })
}

fn get(flowgate: &Flowgate) -> String {
    let answer = flowgate.ask(&format!(
        "GET /api/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\napikey: {MIKE_KEY}\r\n\r\n"
    ));
    answer.rsplit("\r\n\r\n").next().unwrap().to_owned()
}

#[test]
fn without_an_editor_they_take_turns_and_with_one_the_first_has_all() {
    let (one, two) = (named("one"), named("two"));
    let addresses = [one.address, two.address];
    let by_turns = Flowgate::start(&mike(&addresses, &Value::Null, &Value::Null), &[]);
    let mut found: Vec<String> = (0..4).map(|_| get(&by_turns)).collect();
    found.sort();
    assert_eq!(found, ["one", "one", "two", "two"]);
    let with_editor = Flowgate::start(&mike(&addresses, &json!("/red"), &Value::Null), &[]);
    let found: Vec<String> = (0..4).map(|_| get(&with_editor)).collect();
    assert_eq!(found, ["one"; 4]);
}

/// A connection that is kept would go on to one of them.
#[test]
fn each_request_chooses_anew() {
    let keeping = |name: &'static str| {
        Runtime::start(move |mut client| {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
            while !client.head.is_empty() {
                client.send(answer.as_bytes());
                client.head = read_head(&mut client.socket);
            }
        })
    };
    let (one, two) = (keeping("one"), keeping("two"));
    let addresses = [one.address, two.address];
    let flowgate = Flowgate::start(&mike(&addresses, &Value::Null, &Value::Null), &[]);
    let mut found: Vec<String> = (0..4).map(|_| get(&flowgate)).collect();
    found.sort();
    assert_eq!(found, ["one", "one", "two", "two"]);
}

#[test]
fn one_that_cannot_be_reached_costs_nobody_an_answer() {
    let two = named("two");
    let nowhere = Runtime::nowhere();
    let profiles = mike(&[nowhere, two.address], &json!("/red"), &Value::Null);
    let flowgate = Flowgate::start(&profiles, &[]);
    for _ in 0..4 {
        assert_eq!(get(&flowgate), "two");
    }
    let aside = |line: &&Value| line["message"] == "a runtime's node is set aside";
    assert!(flowgate.log().iter().any(|line| aside(&line)));
    // Handshakes, too.
    let echo = Runtime::echo();
    let profiles = mike(&[nowhere, echo.address], &Value::Null, &Value::Null);
    let flowgate = Flowgate::start(&profiles, &[]);
    for _ in 0..3 {
        WebSocket::connect(flowgate.data, "/api/x", &format!("apikey: {MIKE_KEY}\r\n"));
    }
}

#[test]
fn none_that_can_be_reached_is_told_as_ever() {
    let nowhere = [Runtime::nowhere(), Runtime::nowhere()];
    let flowgate = Flowgate::start(&mike(&nowhere, &Value::Null, &Value::Null), &[]);
    for _ in 0..2 {
        assert!(get(&flowgate).contains("runtime_unreachable"));
    }
}

/// It takes connections, and answers 500.
#[test]
fn a_probe_finds_one_that_is_unwell_and_finds_it_well_again() {
    let is_well = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let state = Arc::clone(&is_well);
    let first = Runtime::start(move |mut client| {
        let status = match state.load(std::sync::atomic::Ordering::SeqCst) {
            true => "200 OK",
            false => "500 Unwell",
        };
        let answer =
            format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfirst");
        client.send(answer.as_bytes());
    });
    let second = named("second");
    let probe = json!({ "path": "/api/well", "every_seconds": 1 });
    let profiles = mike(&[first.address, second.address], &json!("/red"), &probe);
    let flowgate = Flowgate::start(&profiles, &[]);
    wait_until("its probe fails", || get(&flowgate) == "second");
    is_well.store(true, std::sync::atomic::Ordering::SeqCst);
    wait_until("its probe is answered", || get(&flowgate) == "first");
}

#[test]
fn an_operator_gives_several_and_sees_whether_they_answer() {
    let (one, two) = (named("one"), named("two"));
    let (flowgate, _folder) = start(&json!({ "tenants": [] }));
    let addresses = [one.address, two.address].map(|it| format!("http://{it}"));
    let add = ["tenant", "add", "ana", "--no-admin-root"];
    let add = |more: &[&str]| run(command(&flowgate, &add).args(more));
    let (code, _, error) = add(&["--address", &addresses[0], "--address", &addresses[0]]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("instance.addresses has one twice"), "{error}");
    let (code, _, error) = add(&["--address", &addresses[0], "--address", &addresses[1]]);
    assert_eq!(code, 0, "{error}");
    let instance = "GET /admin/v1/tenants/ana/instance";
    let (_, _, shown) = call(&flowgate, ADMIN, instance, "", &Value::Null);
    assert_eq!(shown["addresses"], json!(addresses));
    assert_eq!(shown.get("address"), None);
    let runtime = "GET /admin/v1/tenants/ana/runtime";
    assert_eq!(call(&flowgate, ADMIN, runtime, "", &Value::Null).2["state"], "ready");
    ok(&mut command(&flowgate, &["tenant", "set", "ana", "--address", &addresses[1]]));
    let (_, _, shown) = call(&flowgate, ADMIN, instance, "", &Value::Null);
    assert_eq!(shown["address"], addresses[1]);
    drop(two);
    let said = || call(&flowgate, ADMIN, runtime, "", &Value::Null).2;
    wait_until("it does not answer", || said()["state"] == "failing");
}

#[test]
fn an_operator_says_who_runs_a_runtime() {
    let own = Own::small("serves");
    let tokens = tokens_file(own.folder.path());
    let flags = own.flags(&["--admin-tokens-file", tokens.to_str().unwrap()]);
    let flowgate = Flowgate::start(&json!({ "tenants": [] }), &flags);
    let tenant = |words: &[&str]| ok(command(&flowgate, &["tenant"]).args(words));
    let shown = || {
        let instance = "GET /admin/v1/tenants/ana/instance";
        call(&flowgate, ADMIN, instance, "", &Value::Null).2
    };
    tenant(&["add", "ana", "--provider", "process", "--public-wake", "--admin-root", "/red"]);
    let said = shown();
    assert_eq!((&said["provider"], &said["public_wake"]), (&json!("process"), &json!(true)));
    tenant(&["set", "ana", "--address", "http://127.0.0.1:1880"]);
    let said = shown();
    assert_eq!(said["address"], "http://127.0.0.1:1880");
    assert!(said.get("public_wake").is_none_or(|it| it != true), "{said}");
    assert_ne!(said["provider"], "process");
    tenant(&["set", "ana", "--provider", "process"]);
    assert_eq!(shown()["provider"], "process");
    let both = ["tenant", "set", "ana", "--provider", "process", "--address", "http://127.0.0.1:1"];
    let (code, _, error) = run(&mut command(&flowgate, &both));
    assert_eq!(code, 64, "{error}");
}

fn instance(address: SocketAddr) -> Arc<Instance> {
    Arc::new(Instance {
        host: address.ip().to_string(),
        port: address.port(),
        node_root: "/api".to_owned(),
        admin_root: None,
        tls: None,
        on_change: OnChange::Keep,
        provider: Provider::Static,
        nodes: None,
        network: None,
    })
}

#[test]
fn the_provider_of_registered_addresses_keeps_the_contract() {
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let settings = ConnectSettings {
        connect_timeout: PATIENCE,
        handshake_timeout: PATIENCE,
        response_timeout: PATIENCE,
        header_bytes_max: 1 << 16,
        probes: Probes::NONE,
    };
    let reach = Arc::new(Reach::new(Networks::default()));
    let dialer = Arc::new(Dialer::new(settings, reach, Clock::start()).unwrap());
    let runtime = named("one");
    let there = instance(runtime.address);
    let username = Username::parse("mike").unwrap();
    let order = Order::new(TenantId(7), &username, &there, 1);
    let provider = Statics::new(dialer, there);
    threads.block_on(async {
        keeps_the_contract(&provider, &order, Life::OfOthers).await;
        let mut running = provider.start(&order).await.unwrap();
        drop(runtime);
        assert_eq!(running.ended().await, "it does not answer any more");
        assert_eq!(provider.condition(&order).await, Condition::Down);
    });
}
