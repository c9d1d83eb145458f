//! What counts as use of a runtime that flowgate owns, and who waits for one.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::flowgate::{Flowgate, ask};
use crate::support::own::{Own, get, mike, mike_and_roberto, runtime};
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, ROBERTO_KEY};
use crate::support::replicas::{MIKE, with_key};
use crate::support::runtime::text_from_client;
use crate::support::session::Session;
use crate::support::wait_until;
use crate::support::websocket::{FIN, PING, PONG, WebSocket, masked};

fn connect(flowgate: &Flowgate) -> WebSocket {
    WebSocket::connect(flowgate.data, "/api/thing", &with_key(MIKE_KEY))
}

fn state(flowgate: &Flowgate) -> Value {
    runtime(flowgate)["state"].clone()
}

#[test]
fn messages_keep_it_awake_and_pings_do_not() {
    let (busy_own, pinging_own) = (Own::small("serves"), Own::small("serves"));
    let plan = json!({ "sleep_after_seconds": 5 });
    let start = |own: &Own| Flowgate::start(&mike(true, plan.clone()), &own.flags(&[]));
    let (busy_flowgate, pinging_flowgate) = (start(&busy_own), start(&pinging_own));
    let (mut busy, mut pinging) = (connect(&busy_flowgate), connect(&pinging_flowgate));
    let mut echo = || {
        busy.send(&text_from_client("again"));
        assert_eq!(busy.receive_text(), "again");
    };
    wait_until("the one that is but pinged sleeps", || {
        echo();
        pinging.send(&masked(FIN | PING, b"again"));
        let frame = pinging.receive().unwrap();
        if frame.first_byte == FIN | PONG {
            return false;
        }
        assert_eq!(frame.close().0, 1012);
        true
    });
    // Not by its profile: who hashes passwords has to wait on a busy machine, and it would sleep.
    echo();
    assert_eq!(busy_own.starts().len(), 1);
    wait_until("the other has ended", || state(&pinging_flowgate) == "asleep");
}

#[test]
fn a_request_under_way_keeps_it_awake() {
    let (busy_own, idle_own) = (Own::small("serves"), Own::small("serves"));
    let plan = json!({ "sleep_after_seconds": 1 });
    let start = |own: &Own| Flowgate::start(&mike(true, plan.clone()), &own.flags(&[]));
    let (busy, idle) = (start(&busy_own), start(&idle_own));
    let mut held = TcpStream::connect(busy.data).unwrap();
    held.write_all(get("/api/hold", &with_key(MIKE_KEY)).as_bytes()).unwrap();
    wait_until("it is asked", || state(&busy) == "ready");
    assert!(idle.ask(&get("/api/x", &with_key(MIKE_KEY))).starts_with("HTTP/1.1 200"));
    wait_until("the idle one sleeps", || state(&idle) == "asleep");
    let because = json!(["one request or handshake is under way"]);
    wait_until("it is awake for that", || runtime(&busy)["awake_because"] == because);
    let said = runtime(&busy);
    assert_eq!((&said["state"], &said["sleeps_in_seconds"]), (&json!("ready"), &Value::Null));
    drop(held);
    wait_until("it sleeps as well", || state(&busy) == "asleep");
}

#[test]
fn the_profile_names_who_keeps_it_awake() {
    let own = Own::small("serves");
    let plan = json!({ "sleep_after_seconds": 86_400 });
    let flowgate = Flowgate::start(&mike(true, plan), &own.flags(&[]));
    let (status, made) = flowgate.profile(MIKE, "POST", "/keys", &json!({ "name": "pump-3" }));
    assert!((200..300).contains(&status), "{made}");
    let headers = with_key(made["key"].as_str().unwrap());
    let mut pump = WebSocket::connect(flowgate.data, "/api/thing", &headers);
    for _ in 0..7 {
        pump.send(&text_from_client("on"));
        assert_eq!(pump.receive_text(), "on");
    }
    let told = "key pump-3, 14 messages on /api/thing, last ";
    wait_until("it is named", || {
        let said = runtime(&flowgate);
        said["awake_because"][1].as_str().is_some_and(|because| because.starts_with(told))
    });
    let page = Session::begin(flowgate.data, "mike", MIKE_PASSWORD).get("/profile").body;
    assert!(page.contains("ready: the last request or data frame was "), "{page}");
    assert!(page.contains(told) && page.contains("; it sleeps in 86"), "{page}");
}

#[test]
fn a_crash_loop_is_told_to_the_tenant_although_it_runs() {
    let own = Own::small("serves");
    let flowgate = Flowgate::start(&mike(true, json!({})), &own.flags(&[]));
    for crashes in 1..=2 {
        let crashed = flowgate.ask(&get("/api/crash", &with_key(MIKE_KEY)));
        assert!(crashed.starts_with("HTTP/1.1 502"), "{crashed}");
        wait_until("it is ready again", || {
            let said = runtime(&flowgate);
            said["state"] == "ready" && said["failures"] == crashes
        });
    }
    let why = "it ended by itself: exit status: 7";
    assert_eq!(runtime(&flowgate)["why"], why);
    let page = Session::begin(flowgate.data, "mike", MIKE_PASSWORD).get("/profile").body;
    let told = format!("ready again; before that {why}, 2 times in a row");
    assert!(page.contains(&told), "{page}");
}

/// Each of them would have its turn for a day.
#[test]
fn those_that_are_never_ready_do_not_keep_others_asleep() {
    let own = Own::small("as-named");
    let mut profiles = mike(true, json!({}));
    let tenants = profiles["tenants"].as_array_mut().unwrap();
    let mike = tenants.remove(0);
    let names = ["mute-1", "mute-2", "mute-3", "mute-4", "serves-1"];
    let keys = names.map(|name| format!("{name}-key-0123456789abcdef"));
    for (name, key) in names.iter().zip(&keys) {
        let mut tenant = mike.clone();
        (tenant["username"], tenant["api_key"]) = (json!(name), json!(key));
        tenants.push(tenant);
    }
    let flags = ["--wake-timeout=60s", "--process-start-timeout=24h"];
    let flowgate = Flowgate::start(&profiles, &own.flags(&flags));
    let data = flowgate.data;
    let _waiting: Vec<TcpStream> = keys[..4]
        .iter()
        .map(|key| {
            let mut socket = TcpStream::connect(data).unwrap();
            socket.write_all(get("/api/x", &with_key(key)).as_bytes()).unwrap();
            socket
        })
        .collect();
    for name in &names[..4] {
        let starts = own.folder_of(name).join("home/starts");
        wait_until("it has its turn", || starts.exists());
    }
    let answer = flowgate.ask(&get("/api/x", &with_key(&keys[4])));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// An eighth of the places is for those whom nobody knows, a quarter for all who call one runtime.
#[test]
fn strangers_who_wait_leave_room_for_the_tenant() {
    let own = Own::small("gated");
    let flags = ["--wake-timeout=24h", "--process-start-timeout=24h", "--waiting-max=8"];
    let flowgate = Flowgate::start(&mike(true, json!({})), &own.flags(&flags));
    let data = flowgate.data;
    let wait = |request: String| std::thread::spawn(move || ask(data, &request));
    let stranger = wait(get("/public/mike/x", ""));
    wait_until("a stranger waits", || own.starts().len() == 1);
    let refused = flowgate.ask(&get("/public/mike/x", ""));
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("\"waking\""), "{refused}");
    let owner = wait(get("/api/x", &with_key(MIKE_KEY)));
    wait_until("the tenant waits as well", || flowgate.status()["live"] == 2);
    std::fs::write(own.mike().join("home/go"), "").unwrap();
    for waiting in [stranger, owner] {
        let answer = waiting.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[test]
fn no_more_run_than_may() {
    let own = Own::small("serves");
    let flags = own.flags(&["--process-running-max=1"]);
    let flowgate = Flowgate::start(&mike_and_roberto(), &flags);
    let ask = |key: &str| flowgate.ask(&get("/api/x", &with_key(key)));
    assert!(ask(MIKE_KEY).starts_with("HTTP/1.1 200"));
    let refused = ask(ROBERTO_KEY);
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("\"start_failed\""), "{refused}");
    flowgate.wait_for_line("why is told", |line| line["why"] == "too many runtimes run already");
    assert!(ask(MIKE_KEY).starts_with("HTTP/1.1 200"), "who is there stays");
}
