//! What operators see and do of the runtimes that flowgate owns.

use std::collections::HashSet;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::admin::{ADMIN, READ, call, command, json, ok, run, tokens_file};
use crate::support::flowgate::Flowgate;
use crate::support::own::{Own, Two, in_folder, mike, mike_and_roberto, runs};
use crate::support::profiles::{MIKE_KEY, ROBERTO_KEY};
use crate::support::replicas::with_key;
use crate::support::wait_until;
use crate::support::websocket::WebSocket;

fn start(own: &Own, profiles: &Value) -> (Flowgate, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens_file(folder.path());
    let tokens = format!("--admin-tokens-file={}", tokens.display());
    (Flowgate::start(profiles, &own.flags(&[&tokens])), folder)
}

fn get(flowgate: &Flowgate, key: &str) -> String {
    let headers = with_key(key);
    flowgate.ask(&format!(
        "GET /api/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
    ))
}

fn state(flowgate: &Flowgate, username: &str) -> Value {
    let line = format!("GET /admin/v1/tenants/{username}/runtime");
    call(flowgate, ADMIN, &line, "", &Value::Null).2["state"].clone()
}

#[test]
fn one_is_started_restarted_read_and_stopped() {
    let own = Own::small("serves");
    let (flowgate, _folder) = start(&own, &mike(true, json!({})));
    let ask = |arguments: &[&str]| ok(&mut command(&flowgate, arguments));
    assert!(ask(&["runtime", "list"]).contains("asleep"));
    ask(&["runtime", "start", "mike"]);
    wait_until("it is ready", || state(&flowgate, "mike") == "ready");
    assert!(ask(&["runtime", "log", "mike"]).contains("listening"));
    let mut live = WebSocket::connect(flowgate.data, "/api/thing", &with_key(MIKE_KEY));
    ask(&["runtime", "restart", "mike"]);
    assert_eq!(live.receive_close().0, 1012);
    wait_until("it was started again", || own.starts().len() == 2);
    assert!(get(&flowgate, MIKE_KEY).starts_with("HTTP/1.1 200"));
    ask(&["runtime", "stop", "mike"]);
    wait_until("it sleeps", || state(&flowgate, "mike") == "asleep");
    let starts = own.starts();
    assert!(starts.iter().all(|pid| !runs(*pid)), "{starts:?}");
    // What does not run is neither stopped nor restarted.
    for verb in ["stop", "restart"] {
        ask(&["runtime", verb, "mike"]);
    }
    assert_eq!(json(&flowgate, &["runtime", "list"])[0]["state"], "asleep");
    assert!(get(&flowgate, MIKE_KEY).starts_with("HTTP/1.1 200"), "who calls wakes it");
    assert_eq!(own.starts().len(), 3);
    let audit = json(&flowgate, &["audit", "--object", "tenant/mike"]);
    let verbs: HashSet<&str> =
        audit.as_array().unwrap().iter().map(|entry| entry["verb"].as_str().unwrap()).collect();
    assert!(verbs.is_superset(&["start runtime", "stop runtime", "restart runtime"].into()));
    let log = "GET /admin/v1/tenants/mike/runtime/log";
    assert_eq!(call(&flowgate, READ, log, "", &Value::Null).0, 403);
}

/// Its tenant waits up to five minutes after failures, and an operator does not.
#[test]
fn a_start_forgets_failures() {
    let own = Own::small("dies");
    let (flowgate, _folder) = start(&own, &mike(true, json!({})));
    let count = || own.starts().len();
    get(&flowgate, MIKE_KEY);
    for begun in 1..=4 {
        wait_until("it has failed", || state(&flowgate, "mike") == "failing");
        assert!(count() >= begun);
        let before = count();
        ok(&mut command(&flowgate, &["runtime", "start", "mike"]));
        wait_until("it is tried at once", || count() > before);
    }
    wait_until("it has failed", || state(&flowgate, "mike") == "failing");
    let shown = json(&flowgate, &["runtime", "show", "mike"]);
    assert_eq!(shown["failures"], 1, "{shown}");
}

#[test]
fn what_is_always_on_runs_without_a_caller() {
    let own = Own::small("serves");
    let (flowgate, _folder) = start(&own, &mike(true, json!({ "always_on": true })));
    wait_until("it is ready", || state(&flowgate, "mike") == "ready");
    assert_eq!(own.starts().len(), 1);
}

#[test]
fn all_that_run_are_restarted_and_those_that_sleep_are_not() {
    let own = Own::small("serves");
    let (flowgate, _folder) = start(&own, &mike_and_roberto());
    let progress = |flowgate: &Flowgate| run(&mut command(flowgate, &["runtime", "progress"]));
    assert_eq!(progress(&flowgate).0, 1, "there was none");
    assert!(get(&flowgate, MIKE_KEY).starts_with("HTTP/1.1 200"));
    let said = ok(&mut command(&flowgate, &["runtime", "restart-all", "--yes"]));
    assert!(said.trim().ends_with("done: 1 of 1 restarted, 0 skipped, 0 failed"), "{said}");
    assert_eq!(own.starts().len(), 2);
    assert_eq!(state(&flowgate, "roberto"), "asleep");
    assert!(get(&flowgate, ROBERTO_KEY).starts_with("HTTP/1.1 200"));
    let all = ["runtime", "restart-all", "--yes", "--at-once", "2", "--json"];
    let done = json(&flowgate, &all[..5]);
    assert_eq!((&done["stage"], &done["restarted"]), (&json!("done"), &json!(2)), "{done}");
    assert_eq!(progress(&flowgate).0, 0);
}

/// What they run was broken meanwhile: the first that does not come back is the last that is tried.
#[test]
fn it_halts_when_one_does_not_come_back() {
    let own = Own::breakable();
    let (flowgate, _folder) = start(&own, &mike_and_roberto());
    for key in [MIKE_KEY, ROBERTO_KEY] {
        assert!(get(&flowgate, key).starts_with("HTTP/1.1 200"));
    }
    own.break_it();
    let (code, out, error) = run(&mut command(&flowgate, &["runtime", "restart-all", "--yes"]));
    assert_eq!(code, 1, "{out}{error}");
    assert!(out.contains("halted: 0 of 2 restarted, 0 skipped, 1 failed"), "{out}");
    assert!(error.contains("it ended before it was ready"), "{error}");
    let states: Vec<Value> = ["mike", "roberto"].map(|username| state(&flowgate, username)).into();
    assert!(states.contains(&json!("ready")) && states.contains(&json!("failing")), "{states:?}");
}

#[test]
fn an_operator_halts_it() {
    let own = Own::small("serves");
    let (flowgate, _folder) = start(&own, &mike_and_roberto());
    for key in [MIKE_KEY, ROBERTO_KEY] {
        assert!(get(&flowgate, key).starts_with("HTTP/1.1 200"));
    }
    let slowly = ["runtime", "restart-all", "--yes", "--pause", "1h", "--no-wait"];
    ok(&mut command(&flowgate, &slowly));
    assert_eq!(run(&mut command(&flowgate, &slowly)).0, 1, "one at a time");
    let progress = || json(&flowgate, &["runtime", "progress"]);
    wait_until("one is back", || progress()["restarted"] == 1);
    assert_eq!(progress()["stage"], "running", "the next one has to wait for an hour");
    ok(&mut command(&flowgate, &["runtime", "halt"]));
    wait_until("it is halted", || progress()["stage"] == "halted");
    assert_eq!((&progress()["restarted"], &progress()["total"]), (&json!(1), &json!(2)));
}

/// Whichever replica is asked.
#[test]
fn another_replica_hears_of_it() {
    let Two { own, redis: _redis, replicas: [owner, other] } = Two::start();
    assert!(get(&owner, MIKE_KEY).starts_with("HTTP/1.1 200"));
    let said = ok(&mut command(&other, &["runtime", "restart-all", "--yes"]));
    assert!(said.contains("done: 1 of 1 restarted"), "{said}");
    assert_eq!(own.starts().len(), 2);
    assert_eq!(json(&owner, &["runtime", "progress"])["restarted"], 1, "all see it");
    ok(&mut command(&other, &["runtime", "stop", "mike"]));
    wait_until("it sleeps", || state(&owner, "mike") == "asleep");
    assert!(in_folder(&own.mike().join("home")).is_empty());
}
