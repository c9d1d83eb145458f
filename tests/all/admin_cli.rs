//! The commands that ask a running server.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::admin::{
    ADMIN, READ, command, json, ok, run, start, tokens_file, write_secret,
};
use crate::support::flowgate::{Flowgate, program};
use crate::support::profiles::{MIKE_KEY, mike, mike_and_roberto};
use crate::support::runtime::Runtime;
use crate::support::wait_until;
use crate::support::websocket::{WebSocket, handshake};

fn connect(flowgate: &Flowgate, key: &str) -> WebSocket {
    let headers = format!("apikey: {key}\r\n");
    WebSocket::open(flowgate.data, handshake("/api/thing", "localhost", &headers))
}

#[test]
fn a_tenant_from_add_to_remove() {
    let runtime = Runtime::echo();
    let (flowgate, _folder) = start(&json!({ "tenants": [] }));
    let ask = |arguments: &[&str]| ok(&mut command(&flowgate, arguments));
    ask(&["plan", "set", "small", "--connections", "3", "--per-second", "10", "--burst", "20"]);
    assert!(ask(&["plan", "list"]).contains("small"));
    let address = format!("http://{}", runtime.address);
    let add = ["tenant", "add", "ana", "--address", &address, "--node-root", "/api"];
    let (code, _, error) = run(command(&flowgate, &add).arg("--admin-root"));
    assert_eq!(code, 64, "{error}");
    assert_eq!(run(&mut command(&flowgate, &add)).0, 64, "the editor must be thought of");
    let said =
        ok(command(&flowgate, &add).args(["--admin-root", "/red", "--plan", "small", "--api-key"]));
    let key = said.trim().lines().last().unwrap().to_owned();
    assert!(key.starts_with("fgk_"), "{said}");
    let mut socket = connect(&flowgate, &key);
    assert!(socket.head.starts_with("HTTP/1.1 101"), "{}", socket.head);
    let (code, _, error) = run(command(&flowgate, &add).args(["--admin-root", "/red"]));
    assert_eq!(code, 1);
    assert!(error.contains("412 stale_revision"), "{error}");
    assert!(
        ask(&["tenant", "list"])
            .lines()
            .any(|line| line.starts_with("ana ") && line.contains("small"))
    );
    assert!(ask(&["tenant", "list", "--disabled"]).lines().count() == 1);
    let shown = ask(&["tenant", "show", "ana"]);
    assert!(shown.contains(&address) && !shown.contains(&key), "{shown}");
    ask(&["tenant", "set", "ana", "--no-plan", "--origin", "https://a.example", "--no-admin-root"]);
    let tenant = json(&flowgate, &["tenant", "show", "ana"]);
    assert_eq!(tenant["settings"]["allowed_origins"], json!(["https://a.example"]));
    assert_eq!(tenant["settings"].get("plan"), None);
    assert_eq!(tenant["settings"]["instance"]["admin_root"], Value::Null);
    assert!(ask(&["tenant", "disable", "ana"]).contains("1 connections were closed"));
    assert_eq!(socket.receive_close().0, 1008);
    ask(&["tenant", "enable", "ana"]);
    assert_eq!(run(command(&flowgate, &["tenant", "remove", "ana"]).stdin(Stdio::null())).0, 64);
    ask(&["tenant", "remove", "ana", "--yes"]);
    let (code, _, error) = run(&mut command(&flowgate, &["tenant", "show", "ana"]));
    assert_eq!(code, 1);
    assert!(error.starts_with("flowgate: 404 missing: There is no such tenant."), "{error}");
    ask(&["plan", "remove", "small", "--yes"]);
    let audit = json(&flowgate, &["audit", "--object", "tenant/ana"]);
    let verbs: Vec<_> =
        audit.as_array().unwrap().iter().map(|entry| entry["verb"].clone()).collect();
    assert_eq!(
        verbs,
        [
            "remove tenant",
            "enable tenant",
            "disable tenant",
            "change tenant",
            "regenerate API key",
            "create tenant"
        ]
    );
    assert!(ask(&["audit", "--limit", "1"]).contains("ada"));
}

#[test]
fn keys_are_added_rotated_and_revoked() {
    let runtime = Runtime::echo();
    let (flowgate, _folder) = start(&mike(runtime.address));
    let made =
        json(&flowgate, &["key", "add", "mike", "pump", "--scope", "/thing", "--expires-in", "1h"]);
    let first = made["key"].as_str().unwrap();
    let mut socket = connect(&flowgate, first);
    assert!(socket.head.starts_with("HTTP/1.1 101"), "{}", socket.head);
    let rotated = json(&flowgate, &["key", "rotate", "mike", "pump", "--overlap", "1m"]);
    assert_eq!(rotated["closed"], 0);
    assert!(connect(&flowgate, first).head.starts_with("HTTP/1.1 101"), "both work");
    let said = ok(&mut command(&flowgate, &["key", "rotate", "mike", "pump"]));
    assert!(said.contains("connections were closed"), "{said}");
    assert_eq!(socket.receive_close().0, 1008);
    let table = ok(&mut command(&flowgate, &["key", "list", "mike"]));
    assert_eq!(table.lines().count(), 3, "{table}");
    let said = ok(&mut command(&flowgate, &["key", "rotate", "mike", "default"]));
    assert!(said.trim().lines().last().unwrap().starts_with("fgk_"), "{said}");
    assert!(connect(&flowgate, MIKE_KEY).head.starts_with("HTTP/1.1 401"));
    ok(&mut command(&flowgate, &["key", "revoke", "mike", "pump", "--yes"]));
    let (code, _, error) =
        run(&mut command(&flowgate, &["key", "revoke", "mike", "pump", "--yes"]));
    assert_eq!(code, 1, "{error}");
}

#[test]
fn connections_are_listed_and_closed() {
    let runtime = Runtime::echo();
    let (flowgate, _folder) = start(&mike(runtime.address));
    let mut one = connect(&flowgate, MIKE_KEY);
    let mut two = connect(&flowgate, MIKE_KEY);
    let list = json(&flowgate, &["connections", "list", "--tenant", "mike", "--key", "default"]);
    assert_eq!(list.as_array().unwrap().len(), 2);
    let id = list[0]["id"].as_str().unwrap();
    assert!(
        ok(&mut command(&flowgate, &["connections", "close", id])).starts_with("1 connections")
    );
    assert_eq!(one.receive_close().0, 1008);
    assert_eq!(run(&mut command(&flowgate, &["connections", "close"])).0, 64);
    ok(&mut command(&flowgate, &["connections", "close", "--tenant", "mike", "--path", "/api"]));
    assert_eq!(two.receive_close().0, 1008);
    for what in ["whoami", "status", "configuration", "cache", "refusals"] {
        assert!(ok(&mut command(&flowgate, &["server", what])).lines().count() > 0, "{what}");
    }
    let status = json(&flowgate, &["server", "status"]);
    assert_eq!(status["pid"], flowgate.pid());
    assert_eq!(json(&flowgate, &["session", "list"]), json!([]));
}

#[test]
fn a_registry_that_a_server_holds_is_read_and_written_through_it() {
    let runtime = Runtime::echo();
    let both = mike_and_roberto(runtime.address, runtime.address);
    let (flowgate, folder) = start(&both);
    let registry = flowgate.registry();
    let file = folder.path().join("exported.json");
    let export = ["export", file.to_str().unwrap(), "--registry", &registry];
    // Without a token, it is told what to do.
    let (code, _, error) = run(program().args(export));
    assert_eq!(code, 1);
    assert!(error.contains("FLOWGATE_ADMIN_TOKEN"), "{error}");
    // Held: so the server is asked.
    let mut asked = program();
    asked.args(export).env("FLOWGATE_ADMIN_TOKEN", ADMIN);
    asked.env("FLOWGATE_ADMIN_LISTEN", flowgate.admin.to_string());
    assert_eq!(ok(&mut asked), "2 tenants exported\n");
    let mut exported: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(exported["tenants"][0]["api_key_sha256"].is_string());
    // Who names a registry means that one.
    let elsewhere = folder.path().join("other.json");
    let mut other = command(&flowgate, &["export", elsewhere.to_str().unwrap()]);
    assert_eq!(ok(other.args(["--registry", "memory:"])), "0 tenants exported\n");
    exported["plans"] = json!({ "small": { "connections": 2 } });
    exported["tenants"][0]["plan"] = json!("small");
    let mut ana = exported["tenants"][1].clone();
    ana["username"] = json!("ana");
    ana["api_key_sha256"].take();
    ana.as_object_mut().unwrap().remove("api_key_sha256");
    exported["tenants"].as_array_mut().unwrap().push(ana);
    std::fs::write(&file, exported.to_string()).unwrap();
    let import = ["import", file.to_str().unwrap()];
    let said = ok(&mut command(&flowgate, &import));
    assert!(said.starts_with("1 tenants created, 0 replaced, 2 left as they were"), "{said}");
    let said = ok(command(&flowgate, &import).arg("--replace"));
    assert!(said.starts_with("0 tenants created, 1 replaced, 2 left as they were"), "{said}");
    exported["tenants"][2]["plan"] = json!("nobodys");
    std::fs::write(&file, exported.to_string()).unwrap();
    let (code, _, error) = run(&mut command(&flowgate, &import));
    assert_eq!(code, 78);
    assert!(error.contains("plan \"nobodys\" is not among the plans"), "{error}");
    let key = format!("apikey: {MIKE_KEY}");
    let explain = ["explain", "GET", "http://localhost:8080/api/thing", "-H", &key];
    let said = ok(&mut command(&flowgate, &explain));
    assert!(said.contains("the default API key") && !said.contains(MIKE_KEY), "{said}");
    let explain = ["explain", "GET", "http://localhost:8080/api/thing", "-H", "apikey: nobodys"];
    assert_eq!(run(&mut command(&flowgate, &explain)).0, 1);
}

#[test]
fn exit_codes_of_those_who_ask_in_vain() {
    let runtime = Runtime::echo();
    let (flowgate, folder) = start(&mike(runtime.address));
    let list = ["tenant", "list"];
    let (code, _, error) = run(command(&flowgate, &list).env_remove("FLOWGATE_ADMIN_TOKEN"));
    assert_eq!(code, 77, "{error}");
    let (code, _, error) = run(command(&flowgate, &list).env("FLOWGATE_ADMIN_TOKEN", "nobodys"));
    assert_eq!(code, 77, "{error}");
    let disable = ["tenant", "disable", "mike"];
    let (code, _, error) = run(command(&flowgate, &disable).env("FLOWGATE_ADMIN_TOKEN", READ));
    assert_eq!(code, 77);
    assert!(error.contains("403 wrong_role") && !error.contains(READ), "{error}");
    let nowhere = format!("http://{}", Runtime::nowhere());
    let (code, _, error) = run(command(&flowgate, &list).env("FLOWGATE_ADMIN_URL", nowhere));
    assert_eq!(code, 69, "{error}");
    let (code, ..) = run(command(&flowgate, &list).args(["--server", "ftp://x"]));
    assert_eq!(code, 64);
    let token = folder.path().join("token");
    write_secret(&token, &format!("{ADMIN}\n"));
    let mut by_file = command(&flowgate, &list);
    by_file.env_remove("FLOWGATE_ADMIN_TOKEN").arg("--token-file").arg(&token);
    assert!(ok(&mut by_file).contains("mike"));
}

#[test]
fn a_token_is_made_and_works() {
    let output = program().args(["admin-token", "otto", "operate"]).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (line, told) = (text(output.stdout), text(output.stderr));
    let token = told.trim().rsplit(' ').next().unwrap();
    assert!(token.starts_with("fga_") && !line.contains(token), "{line}{told}");
    assert!(line.starts_with("otto operate sha256:"), "{line}");
    assert_eq!(
        program().args(["admin-token", "otto", "root"]).output().unwrap().status.code(),
        Some(64)
    );
    let runtime = Runtime::echo();
    let folder = tempfile::tempdir().unwrap();
    let file = tokens_file(folder.path());
    std::fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .unwrap()
        .write_all(line.as_bytes())
        .unwrap();
    let flags = ["--admin-tokens-file", file.to_str().unwrap()];
    let flowgate = Flowgate::start(&mike(runtime.address), &flags);
    let mut disable = command(&flowgate, &["tenant", "disable", "mike"]);
    ok(disable.env("FLOWGATE_ADMIN_TOKEN", token));
    let audit = json(&flowgate, &["audit"]);
    assert_eq!(audit[0]["who"], "otto");
}

#[test]
fn a_password_comes_from_standard_input() {
    let runtime = Runtime::echo();
    let (flowgate, _folder) = start(&mike(runtime.address));
    let mut set = command(&flowgate, &["tenant", "set", "mike", "--password"]);
    let mut child = set.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"the-new-password\n").unwrap();
    assert!(child.wait().unwrap().success());
    let (status, _) = flowgate.profile(("mike", "the-new-password"), "GET", "", &Value::Null);
    assert_eq!(status, 200);
}

/// As an image's health check asks.
#[test]
fn health_needs_no_token_and_says_whether_clients_are_taken() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &["--drain-delay", "10m"]);
    let health = |flags: &[&str]| {
        let url = format!("http://{}", flowgate.admin);
        run(program().args(["health", "--server", &url]).args(flags))
    };
    assert_eq!(health(&[]), (0, "{\"status\":\"ok\"}\n".to_owned(), String::new()));
    let (code, said, _) = health(&["--ready"]);
    assert!(code == 0 && said.contains("\"ready\":true"), "{code} {said}");
    flowgate.signal("-TERM");
    wait_until("it takes no clients any more", || health(&["--ready"]).0 == 1);
    let (_, _, error) = health(&["--ready"]);
    assert!(error.contains("answers 503: {"), "{error}");
    assert_eq!(health(&[]).0, 0, "it is up until it has ended");
    drop(flowgate);
    let nobody = run(program().args(["health", "--server", "http://127.0.0.1:1"]));
    assert_eq!(nobody.0, 69, "{}", nobody.2);
}

#[test]
fn shells_get_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let said = ok(program().args(["completions", shell]));
        assert!(said.contains("tenant") && said.contains("connections"), "{shell}");
    }
    assert_eq!(run(program().args(["completions", "csh"])).0, 64);
}
