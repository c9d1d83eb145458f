//! The admin API of the running program.

use serde_json::{Value, json};

use crate::support::admin::{ADMIN, READ, call, tokens_file};
use crate::support::flowgate::{Flowgate, ask, program};
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, mike};
use crate::support::runtime::{Runtime, text_from_client};
use crate::support::wait_until;
use crate::support::websocket::{WebSocket, handshake};

/// A flowgate with mike, whose operators have tokens.
fn start(runtime: &Runtime) -> (Flowgate, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens_file(folder.path());
    let flags = ["--admin-tokens-file", tokens.to_str().unwrap()];
    (Flowgate::start(&mike(runtime.address), &flags), folder)
}

fn connect(flowgate: &Flowgate, headers: &str) -> WebSocket {
    let socket = WebSocket::open(flowgate.data, handshake("/api/thing", "localhost", headers));
    assert!(socket.head.starts_with("HTTP/1.1 101"), "{}", socket.head);
    socket
}

#[test]
fn without_tokens_health_alone_is_told() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let (status, _, body) = call(&flowgate, ADMIN, "GET /admin/v1/status", "", &Value::Null);
    assert_eq!((status, &body["code"]), (403, &json!("no_admin_tokens")));
    assert_eq!(flowgate.status()["ready"], true);
    flowgate.wait_for_line("it says so", |line| {
        line["message"].as_str().unwrap_or_default().starts_with("no admin token is configured")
    });
}

#[test]
fn a_tenant_made_by_an_operator_is_served_at_once_and_cut_at_once() {
    let runtime = Runtime::echo();
    let (flowgate, _folder) = start(&runtime);
    let settings = json!({
        "instance": {
            "address": format!("http://{}", runtime.address),
            "node_root": "/api",
            "admin_root": null,
        },
    });
    // Asked for in vain before.
    let nobody = handshake("/public/ana/x", "localhost", "");
    assert!(WebSocket::open(flowgate.data, nobody).head.starts_with("HTTP/1.1 404"));
    let (status, head, _) = call(&flowgate, ADMIN, "PUT /admin/v1/tenants/ana", "", &settings);
    assert_eq!(status, 201, "{head}");
    assert!(head.to_ascii_lowercase().contains("etag: \""), "{head}");
    let line = "POST /admin/v1/tenants/ana/api-key";
    let (status, _, made) = call(&flowgate, ADMIN, line, "", &Value::Null);
    assert_eq!(status, 200);
    let key = made["key"].as_str().unwrap();
    let mut socket = connect(&flowgate, &format!("apikey: {key}\r\n"));
    socket.send(&text_from_client("hello"));
    assert!(socket.receive_text().contains("hello"));
    let line = "PUT /admin/v1/tenants/ana/disabled";
    let (status, _, body) = call(&flowgate, ADMIN, line, "", &json!({ "disabled": true }));
    assert_eq!((status, &body["closed"]), (200, &json!(1)));
    assert_eq!(socket.receive_close().0, 1008);
    assert!(!flowgate.raw_log().contains(key), "the key is in no log");
}

#[test]
fn connections_are_closed_by_an_operator_with_1008() {
    let runtime = Runtime::echo();
    let (flowgate, _folder) = start(&runtime);
    let mut socket = connect(&flowgate, &format!("apikey: {MIKE_KEY}\r\n"));
    let line = "GET /admin/v1/connections?tenant=mike&key=default";
    let (_, _, page) = call(&flowgate, READ, line, "", &Value::Null);
    assert_eq!(page["total"], 1, "{page}");
    let line = "POST /admin/v1/connections/close";
    let wanted = json!({ "tenant": "mike", "path": "/api" });
    let (status, _, body) = call(&flowgate, READ, line, "", &wanted);
    assert_eq!((status, &body["code"]), (403, &json!("wrong_role")));
    let (status, _, body) = call(&flowgate, ADMIN, line, "", &wanted);
    assert_eq!((status, &body["closed"]), (200, &json!(1)));
    assert_eq!(socket.receive_close().0, 1008);
    flowgate.wait_until_idle();
}

#[test]
fn tenants_own_changes_and_refusals_are_there_to_be_seen() {
    let runtime = Runtime::echo();
    let (flowgate, _folder) = start(&runtime);
    let login = ("mike", MIKE_PASSWORD);
    let (status, made) = flowgate.profile(login, "POST", "/keys", &json!({ "name": "pump" }));
    assert_eq!(status, 201);
    let (_, _, audit) = call(&flowgate, READ, "GET /admin/v1/audit", "", &Value::Null);
    let entry = &audit["entries"][0];
    assert_eq!(
        (&entry["by"], &entry["who"], &entry["verb"], &entry["object"]),
        (&json!("tenant"), &json!("mike"), &json!("add key"), &json!("tenant/mike"))
    );
    assert!(!audit.to_string().contains(made["key"].as_str().unwrap()));
    flowgate.ask(
        "GET /api/x HTTP/1.1\r\nHost: localhost\r\napikey: nobodys\r\nConnection: close\r\n\r\n",
    );
    let line = "GET /admin/v1/refusals?code=wrong_credential";
    let (_, _, page) = call(&flowgate, READ, line, "", &Value::Null);
    assert_eq!(page["refusals"][0]["path"], "/api/x", "{page}");
    assert!(!page.to_string().contains("nobodys"));
}

#[test]
fn the_configuration_is_told_with_sources_and_without_secrets() {
    let runtime = Runtime::echo();
    let (flowgate, folder) = start(&runtime);
    let line = "GET /admin/v1/configuration";
    let (status, _, body) = call(&flowgate, READ, line, "", &Value::Null);
    assert_eq!(status, 200);
    let of = |name: &str| {
        let mut settings = body["settings"].as_array().unwrap().iter();
        settings.find(|setting| setting["name"] == name).unwrap().clone()
    };
    assert_eq!(of("listen")["source"], "--listen");
    assert_eq!(of("workers")["source"], "default");
    assert_eq!(
        of("admin_tokens_file")["values"][0],
        folder.path().join("tokens").to_str().unwrap()
    );
    assert!(!body.to_string().contains(ADMIN));
}

#[test]
fn a_drain_ends_the_process_in_order() {
    let runtime = Runtime::echo();
    let (mut flowgate, _folder) = start(&runtime);
    let mut socket = connect(&flowgate, &format!("apikey: {MIKE_KEY}\r\n"));
    let (status, ..) = call(&flowgate, ADMIN, "POST /admin/v1/drain", "", &Value::Null);
    assert_eq!(status, 202);
    assert_eq!(socket.receive_close().0, 1001);
    assert!(flowgate.wait().success());
}

#[test]
fn what_was_answered_survives_kill_9_together_with_its_audit_entry() {
    let runtime = Runtime::echo();
    let (flowgate, folder) = start(&runtime);
    let line = "PUT /admin/v1/plans/small";
    let (status, ..) = call(&flowgate, ADMIN, line, "", &json!({ "connections": 3 }));
    assert_eq!(status, 201);
    let tokens = folder.path().join("tokens");
    let flowgate = flowgate.kill_and_restart(&["--admin-tokens-file", tokens.to_str().unwrap()]);
    let (status, _, plan) = call(&flowgate, READ, "GET /admin/v1/plans/small", "", &Value::Null);
    assert_eq!((status, &plan["limits"]), (200, &json!({ "connections": 3 })));
    let (_, _, audit) = call(&flowgate, READ, "GET /admin/v1/audit", "", &Value::Null);
    assert_eq!(audit["entries"][0]["object"], "plan/small");
}

#[test]
fn pages_under_other_names_get_nothing() {
    let runtime = Runtime::echo();
    let (flowgate, _folder) = start(&runtime);
    let asked = |host: &str, origin: &str| {
        ask(
            flowgate.admin,
            &format!(
                "GET /admin/v1/status HTTP/1.1\r\nHost: {host}\r\n{origin}Connection: close\r\n\
                 Authorization: Bearer {READ}\r\n\r\n"
            ),
        )
    };
    assert!(asked("rebound.example", "").starts_with("HTTP/1.1 421"));
    assert!(asked("localhost", "Origin: http://evil.example\r\n").starts_with("HTTP/1.1 403"));
    assert!(asked("localhost", "Origin: http://localhost\r\n").starts_with("HTTP/1.1 200"));
    // Probes ask by address.
    let health =
        ask(flowgate.admin, "GET /healthz HTTP/1.1\r\nHost: 10.9.8.7\r\nConnection: close\r\n\r\n");
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    wait_until("refusals are logged", || flowgate.raw_log().contains("wrong_host"));
}

#[test]
fn a_tokens_file_that_others_can_read_stops_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = tokens_file(folder.path());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    for command in ["check", "serve"] {
        let output = program()
            .args([command, "--registry", "memory:", "--listen", "127.0.0.1:0"])
            .args(["--admin-listen", "127.0.0.1:0", "--admin-tokens-file"])
            .arg(&file)
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{error}");
        assert!(error.contains("others can read or change it (mode 0644)"), "{error}");
        assert!(!error.contains(ADMIN));
    }
}
