//! `flowgate registry …` on files.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::flowgate::{Flowgate, program};
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, mike, mike_and_roberto};
use crate::support::registries::{Place, check, copy, export, many, registry, write};
use crate::support::runtime::Runtime;
use crate::support::wait_until;
use crate::support::websocket::{WebSocket, handshake};

const CONFIG: i32 = 78;
const INTERRUPTED: i32 = 130;
/// Something is wrong with the registry.
const FOUND: i32 = 1;
/// What could not be checked to the end.
const UNCHECKED: i32 = 2;

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn a_registry_is_made_once() {
    let place = Place::new();
    let url = place.url("r.redb");
    let (code, out, error) = registry(&["create", "--registry", &url]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.ends_with(&format!("made at {url}\n")), "{out}");
    let before = bytes(&place.path("r.redb"));
    let (code, out, error) = registry(&["create", "--registry", &url]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(bytes(&place.path("r.redb")), before);
    assert_eq!(check(&url), (0, "0 documents checked, nothing found\n".into(), String::new()));
}

#[test]
fn what_is_gone_with_the_command_is_refused() {
    let place = Place::new();
    let url = place.filled("r.redb", &json!({ "tenants": [] }));
    for arguments in [
        vec!["create", "--registry", "memory:"],
        vec!["copy", "--from", "memory:", "--to", &url],
        vec!["copy", "--from", &url, "--to", "memory:"],
        vec!["copy", "--from", &url, "--to", &url],
        vec!["copy", "--from", &url, "--to", "nowhere"],
    ] {
        let (code, out, error) = registry(&arguments);
        assert_eq!((code, out.as_str()), (CONFIG, ""), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn what_is_looked_at_is_not_made() {
    let place = Place::new();
    let missing = place.url("missing.redb");
    assert_eq!(check(&missing).0, UNCHECKED);
    assert_eq!(copy(&missing, &place.url("target.redb")).0, 1);
    assert_eq!(std::fs::read_dir(place.0.path()).unwrap().count(), 0);
}

#[test]
fn a_copy_serves_as_the_original_did() {
    let runtime = Runtime::echo();
    let place = Place::new();
    let mut flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let login = ("mike", MIKE_PASSWORD);
    let named = json!({ "name": "kitchen" });
    let (status, key) = flowgate.profile(login, "POST", "/keys", &named);
    assert_eq!(status, 201, "{key}");
    let secret = key["key"].as_str().unwrap_or_default().to_owned();
    let from = flowgate.registry();
    let (code, _, error) = copy(&from, &place.url("held.redb"));
    assert_eq!(code, 1);
    assert!(error.contains(&flowgate.pid().to_string()), "{error}");

    let request = |key: &str| handshake("/api/thing", "localhost", &format!("apikey: {key}\r\n"));
    let status_of = |flowgate: &Flowgate, key: &str| {
        WebSocket::open(flowgate.data, request(key)).head[9..12].to_owned()
    };
    assert_eq!(status_of(&flowgate, &secret), "101");
    flowgate.signal("-TERM");
    assert!(flowgate.wait().success());
    let to = place.url("copy.redb");
    let (code, out, error) = copy(&from, &to);
    assert_eq!((code, error.as_str()), (0, ""));
    assert_eq!(
        out,
        "2 documents compared, all equal; 2 written now, and 6 numbers about the use of keys\n"
    );
    assert_eq!(check(&to).0, 0);
    let profiles = json!({ "tenants": [] });
    let flowgate = Flowgate::start(&profiles, &["--registry", &to]);
    assert_eq!(status_of(&flowgate, MIKE_KEY), "101");
    assert_eq!(status_of(&flowgate, &secret), "101");
    let (_, keys) = flowgate.profile(login, "GET", "/keys", &Value::Null);
    assert!(keys.to_string().contains("last_used"), "{keys}");
}

#[test]
fn a_copy_again_compares_and_a_changed_one_is_told() {
    let place = Place::new();
    let nowhere = Runtime::nowhere();
    let from = place.filled("a.redb", &mike_and_roberto(nowhere, nowhere));
    let to = place.url("b.redb");
    assert_eq!(copy(&from, &to).0, 0);
    assert_eq!(export(&to), export(&from));
    let (code, out, _) = copy(&from, &to);
    let nothing =
        "2 documents compared, all equal; 0 written now, and 0 numbers about the use of keys\n";
    assert_eq!((code, out.as_str()), (0, nothing));
    place.filled("b.redb", &json!({ "plans": { "new": {} }, "tenants": [] }));
    let (code, out, error) = copy(&from, &to);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.contains("1 documents have come to differ"), "{error}");
    let other = place.filled("c.redb", &mike(nowhere));
    let (code, _, error) = copy(&from, &other);
    assert_eq!(code, 1);
    assert!(error.contains("not empty"), "{error}");
    assert_eq!(check(&other).0, 0, "it is as it was");
}

/// Starts a copy and sends it a signal once its target has changed so often. Returns its exit code,
/// if it had one, and what it said.
fn stopped_copy(place: &Place, from: &str, signal: &str, changes: usize) -> (Option<i32>, String) {
    let path = place.path("b.redb");
    let mut copying = program();
    copying.args(["registry", "copy", "--from", from, "--to", &place.url("b.redb")]);
    let copying = copying.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let modified = || path.metadata().and_then(|file| file.modified()).ok();
    let (mut seen, before) = (HashSet::new(), modified());
    let mut copying = Some(copying);
    wait_until("the copy gets on", || {
        seen.extend(modified().filter(|now| Some(*now) != before));
        let is_over = copying.as_mut().unwrap().try_wait().unwrap().is_some();
        is_over || seen.len() >= changes
    });
    let copying = copying.take().unwrap();
    // One that has ended just now gets no signal any more, and is told by its exit code.
    let _ = Command::new("kill").args([signal, &copying.id().to_string()]).status();
    let output = copying.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_copy_that_is_killed_or_interrupted_is_gone_on_with() {
    const TENANTS: usize = 6000;
    let place = Place::new();
    let from = place.filled("a.redb", &many(TENANTS));
    let to = place.url("b.redb");
    for changes in 1.. {
        let (code, _) = stopped_copy(&place, &from, "-KILL", changes);
        assert_eq!(code, None, "it came to its end before it was killed");
        let (code, _, error) = export(&to);
        if error.contains("unfinished copy") {
            assert_eq!(code, 1);
            break;
        }
    }
    for changes in 1.. {
        let (code, error) = stopped_copy(&place, &from, "-INT", changes);
        assert_ne!(code, Some(0), "it came to its end before it was interrupted");
        // None: before it listened for signals.
        if code == Some(INTERRUPTED) {
            assert!(error.contains("the same command goes on"), "{error}");
            break;
        }
    }
    let (code, out, error) = copy(&from, &to);
    assert_eq!(code, 0, "{error}");
    assert!(out.starts_with(&format!("{TENANTS} documents compared, all equal; ")), "{out}");
    assert_eq!(export(&to), export(&from));
    assert_eq!(check(&to).1, format!("{TENANTS} documents checked, nothing found\n"));
}

#[test]
fn nothing_starts_on_an_unfinished_copy() {
    let place = Place::new();
    let url = place.filled("r.redb", &json!({ "tenants": [] }));
    let source = "5".repeat(32);
    let mark = json!({ "source": source, "revision": 1, "is_finished": false });
    write(&place.url("r.redb"), "copy", "mark", &mark);
    let profiles = place.path("profiles.json");
    let profiles = profiles.to_str().unwrap();
    let data = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    for command in [
        &data[..],
        &["import", profiles],
        &["export", "-"],
        &["explain", "GET", "http://127.0.0.1:8080/api/x"],
    ] {
        let mut child = program();
        child.args(command).args(["--registry", &url]);
        let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut child = Some(child);
        wait_until("it ends", || child.as_mut().unwrap().try_wait().unwrap().is_some());
        let output = child.take().unwrap().wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {error}");
        let expected = format!("the registry is an unfinished copy of the registry {source}");
        assert!(error.contains(&expected), "{error}");
    }
    let (code, out, _) = check(&url);
    assert_eq!(code, FOUND);
    assert!(out.starts_with("the registry: it is an unfinished copy"), "{out}");
}

#[test]
fn what_is_wrong_is_told_for_people_and_for_scripts() {
    let place = Place::new();
    let url = place.filled("r.redb", &mike(Runtime::nowhere()));
    write(&place.url("r.redb"), "plan", "none", &json!({ "connections": 0 }));
    write(&place.url("r.redb"), "session", &"0".repeat(64), &json!({}));
    let (code, out, error) = check(&url);
    assert_eq!(code, FOUND, "{out}{error}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    let plan = "plan \"none\": connections must be at least 1; import a profiles file that has \
                the plan, with --replace";
    assert_eq!(lines[0], plan);
    assert_eq!(error, "flowgate: 2 findings; 3 documents checked\n");

    let (code, out, _) = registry(&["check", "--json", "--registry", &url]);
    assert_eq!(code, FOUND);
    let lines: Vec<Value> =
        out.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(lines.len(), 3, "{out}");
    assert_eq!(lines[0]["type"], "finding");
    assert_eq!(
        (&lines[0]["about"], &lines[2]["type"]),
        (&json!("plan \"none\""), &json!("summary"))
    );
    assert_eq!((&lines[2]["findings"], &lines[2]["documents"]), (&json!(2), &json!(3)));
    let id = lines[2]["registry"].as_str().unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
}
