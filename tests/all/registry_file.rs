//! The registry's file and the commands for it.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::flowgate::{Flowgate, program};
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, mike, mike_and_roberto, tenant};
use crate::support::runtime::Runtime;
use crate::support::websocket::{WebSocket, handshake};

fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn write(folder: &Path, name: &str, content: &Value) -> String {
    let path = folder.join(name);
    std::fs::write(&path, serde_json::to_string_pretty(content).unwrap()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_a_tenant_changed_survives_a_restart_and_an_import() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let login = ("mike", MIKE_PASSWORD);
    let (_, said) = flowgate.profile(login, "POST", "/api-key", &Value::Null);
    // The same file is imported again at every start.
    let flowgate = flowgate.kill_and_restart(&[]);
    let status = |key: &str| {
        let request = handshake("/api/thing", "localhost", &format!("apikey: {key}\r\n"));
        WebSocket::open(flowgate.data, request).head[9..12].to_owned()
    };
    assert_eq!(status(MIKE_KEY), "401");
    assert_eq!(status(said["api_key"].as_str().unwrap()), "101");
    let imported =
        flowgate.wait_for_line("an import", |line| line["message"] == "profiles imported");
    assert_eq!((&imported["created"], &imported["left_alone"]), (&json!(0), &json!(1)));
}

#[test]
fn import_is_idempotent_and_export_gives_back_what_came_in() {
    let folder = tempfile::tempdir().unwrap();
    let address = Runtime::nowhere();
    let mut profiles = mike_and_roberto(address, address);
    profiles["plans"] = json!({ "small": { "connections": 5 } });
    profiles["tenants"][0]["plan"] = json!("small");
    profiles["tenants"][0]["allowed_origins"] = json!(["https://example.org"]);
    let file = write(folder.path(), "in.json", &profiles);
    let registry = format!("file:{}", folder.path().join("r.redb").display());
    let import = |file: &str, more: &[&str]| {
        run(program().args(["import", file, "--registry", &registry]).args(more))
    };
    let (code, out, error) = import(&file, &[]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert_eq!(out, "2 tenants created, 0 replaced, 0 left as they were; 1 plans written\n");
    let (_, out, _) = import(&file, &[]);
    let left =
        "0 tenants created, 0 replaced, 2 left as they were (--replace would overwrite them)";
    assert_eq!(out, format!("{left}; 0 plans written\n"));
    profiles["tenants"][0]["instance"]["address"] = json!("http://[::1]:4000");
    let changed = write(folder.path(), "changed.json", &profiles);
    let (_, out, _) = import(&changed, &["--replace"]);
    assert_eq!(out, "0 tenants created, 1 replaced, 1 left as they were; 0 plans written\n");

    let exported = folder.path().join("out.json").to_str().unwrap().to_owned();
    let export =
        |registry: &str, file: &str| run(program().args(["export", file, "--registry", registry]));
    assert_eq!(export(&registry, &exported).1, "2 tenants exported\n");
    let (code, _, error) = export(&registry, &exported);
    assert_eq!(code, 1, "an existing file is not overwritten: {error}");
    let text = std::fs::read_to_string(&exported).unwrap();
    assert!(text.contains("http://[::1]:4000") && !text.contains(MIKE_KEY), "{text}");
    let other = format!("file:{}", folder.path().join("other.redb").display());
    assert_eq!(run(program().args(["import", &exported, "--registry", &other])).0, 0);
    let (_, again, _) = export(&other, "-");
    let sorted = |text: &str| {
        let mut value: Value = serde_json::from_str(text).unwrap();
        let tenants = value["tenants"].as_array_mut().unwrap();
        tenants.sort_by_key(|tenant| tenant["username"].to_string());
        value
    };
    assert_eq!(sorted(&again), sorted(&text));
}

#[test]
fn a_bad_file_is_told_by_line_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let good = tenant("mike", MIKE_PASSWORD, MIKE_KEY, Runtime::nowhere());
    let mut bad = tenant("roberto", "secret-of-roberto", MIKE_KEY, Runtime::nowhere());
    bad["plan"] = json!("missing");
    let file = write(folder.path(), "bad.json", &json!({ "tenants": [good, bad] }));
    let registry = format!("file:{}", folder.path().join("r.redb").display());
    let (code, out, error) = run(program().args(["import", &file, "--registry", &registry]));
    assert_eq!((code, out.as_str()), (78, ""));
    let text = std::fs::read_to_string(&file).unwrap();
    let line = 1 + text[..text.rfind("\"api_key\"").unwrap()]
        .rfind("{\n")
        .map_or(0, |at| text[..at].matches('\n').count());
    let who = format!("flowgate: {file}: line {line}: tenant 2 (\"roberto\"): ");
    let expected = [
        format!("{who}api_key is in the file already"),
        format!("{who}plan \"missing\" is not among the plans"),
    ];
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);
    let (_, exported, _) = run(program().args(["export", "-", "--registry", &registry]));
    let exported: Value = serde_json::from_str(&exported).unwrap();
    assert_eq!(exported["tenants"], json!([]));
}

#[test]
fn a_registry_that_is_held_names_its_holder() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let (code, _, error) = run(program().args(["export", "-", "--registry", &flowgate.registry()]));
    assert_eq!(code, 1);
    assert!(error.contains(&flowgate.pid().to_string()), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_file_that_is_no_registry_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "my notes, which are no registry").unwrap();
    let registry = format!("file:{}", path.display());
    let (code, _, error) = run(program().args(["export", "-", "--registry", &registry]));
    assert_ne!(code, 0);
    assert!(error.contains("notes.txt"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "my notes, which are no registry");
}

#[test]
fn ten_thousand_tenants_are_imported_and_found() {
    const TENANTS: usize = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let hash = bcrypt::hash("same", 4).unwrap();
    let tenants: Vec<Value> = (0..TENANTS)
        .map(|number| {
            json!({
                "username": format!("tenant-{number}"),
                "password_hash": hash,
                "api_key": format!("key-of-tenant-number-{number}"),
                "instance": { "address": "http://127.0.0.1:9", "admin_root": null },
            })
        })
        .collect();
    let file = write(folder.path(), "many.json", &json!({ "tenants": tenants }));
    let registry = format!("file:{}", folder.path().join("r.redb").display());
    let (code, out, _) = run(program().args(["import", &file, "--registry", &registry]));
    assert_eq!(code, 0);
    assert!(out.starts_with("10000 tenants created"), "{out}");
    let flowgate = Flowgate::start(&json!({ "tenants": [] }), &["--registry", &registry]);
    for number in [0, 77, TENANTS - 1] {
        let headers = format!("apikey: key-of-tenant-number-{number}\r\n");
        let answer = flowgate.ask(&handshake("/api/x", "localhost", &headers));
        assert!(answer.starts_with("HTTP/1.1 502"), "the key is known, the runtime away: {answer}");
    }
}
