//! The tenants' pages and their editors, as a person uses them: in the real Chromium.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::flowgate::Flowgate;
use crate::support::node::{NodeRed, root, run_in_browser, wscat_until_disconnected};
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, ROBERTO_PASSWORD, mike, mike_and_roberto};
use crate::support::runtime::{Runtime, text_from_client};
use crate::support::session::Session;
use crate::support::websocket::WebSocket;

/// The folder for pictures of the documentation, if they are to be taken anew; a test run leaves the
/// tree as it is.
fn pictures() -> Option<String> {
    std::env::var_os("FLOWGATE_SCREENSHOTS")?;
    let folder = root().join("docs/images");
    Some(folder.to_str().unwrap().to_owned())
}

#[test]
fn the_editor_opens_with_a_session_deploys_and_closes_at_logout() {
    let runtime = NodeRed::start("mike");
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let port = flowgate.data.port().to_string();
    let script = include_str!("browser/editor.cjs");
    let said = run_in_browser(script, &[&port, MIKE_PASSWORD]);

    assert!(
        said["asked"].as_str().unwrap().starts_with(&format!("http://localhost:{port}/login?"))
    );
    assert_eq!(said["wrong"], "The username or the password is wrong.");
    let editor = format!("http://mike.flows.localhost:{port}/red/");
    assert!(said["editor"].as_str().unwrap().starts_with(&editor), "{said}");
    assert_eq!((&said["deploy"], &said["added"]), (&json!(200), &json!(1)), "{said}");
    let comms = &said["sockets"][0];
    assert!(comms["url"].as_str().unwrap().ends_with("/red/comms"), "{said}");
    assert!(comms["frames"].as_u64() > Some(0), "{said}");
    let sockets = said["sockets"].as_array().unwrap();
    assert!(sockets.iter().any(|socket| socket["closed"] == true), "{said}");
    assert_eq!(said["complaints"], json!([]), "{said}");
    assert_eq!((&said["serious"], &said["tooWide"]), (&json!([]), &json!(0)), "{said}");
    assert_eq!(said["visible"], "", "no script sees a cookie of ours");
    for cookie in said["cookies"].as_array().unwrap() {
        assert_eq!(cookie["httpOnly"], true, "{cookie}");
        assert_eq!((&cookie["sameSite"], &cookie["path"]), (&json!("Lax"), &json!("/")));
    }
    assert!(said["after"].as_str().unwrap().contains("/login?"), "{said}");
    let end = flowgate.wait_for_end();
    assert_eq!(end["grant"], "session", "{end}");
    let log = flowgate.log_by_now();
    assert!(!log.contains("fgs_") && !log.contains("fgt_"), "no secret of ours is logged");
}

#[test]
fn the_profile_shows_keys_and_connections_and_changes_them() {
    let runtime = NodeRed::start("mike");
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let port = flowgate.data.port().to_string();
    let script = include_str!("browser/profile.cjs");
    // For whoever wants to look at every part of it.
    let unfolded = std::env::var("FLOWGATE_PICTURES").unwrap_or_default();
    let mut said = Value::Null;
    let url = format!("ws://localhost:{port}/api/thing");
    let key = format!("apikey:{MIKE_KEY}");
    let printed = wscat_until_disconnected(&["-H", &key, "-c", &url], || {
        said = run_in_browser(script, &[&port, MIKE_PASSWORD, &unfolded]);
    });
    assert!(printed.contains("1008") && printed.contains("API key regenerated"), "{printed}");

    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert!(text(&said["at"]).starts_with(&format!("http://localhost:{port}/login")), "{said}");
    for part in ["/api/thing", "default key", "127.0.0.1"] {
        assert!(text(&said["live"]).contains(part), "{said}");
    }
    assert_eq!(said["warning"], "one live connection will close");
    assert!(text(&said["regenerated"]["said"]).contains("One connection was closed."), "{said}");
    assert_eq!(said["again"]["keys"], 0, "it is shown once");
    assert!(text(&said["again"]["url"]).ends_with("/profile"), "{said}");
    for part in ["<b>pump</b>", "in 30 days", "/thing /a/b"] {
        assert!(text(&said["created"]["row"]).contains(part), "{part}: {said}");
    }
    assert!(text(&said["rotated"]["row"]).contains("old secret until in 2 h"), "{said}");
    assert_eq!(said["left"], 0);
    let keys = ["regenerated", "created", "rotated"].map(|what| text(&said[what]["key"]));
    assert!(keys.iter().all(|key| key.starts_with("fgk_") && key.len() == 47), "{keys:?}");
    assert!(text(&said["tested"]).contains("session"), "{said}");
    let log = text(&said["log"]);
    assert!(log.contains("> hello") && log.contains("closed: 1008 closed by the tenant"), "{log}");
    assert_eq!((&said["serious"], &said["complaints"]), (&json!([]), &json!([])), "{said}");
    assert_eq!(said["overflows"], json!([0, 0, 0, 0, 0, 0]), "{said}");
    assert_eq!(said["bars"], 4, "{said}");
    assert!(text(&said["drawn"][0]).contains("Messages, last hour"), "{said}");
    assert!(text(&said["drawn"][0]).contains("in, "), "{said}");
    assert_eq!(said["refused"], "The old password is wrong.");
    assert_eq!(said["still"], "mike", "the window that changed it goes on");
    assert!(text(&said["back"]).contains("/login"), "no private page is kept: {said}");
    let written = flowgate.log_by_now();
    for secret in keys.iter().map(String::as_str).chain(["fgs_", "fgt_", "a better horse"]) {
        assert!(!written.contains(secret), "{secret}");
    }
}

#[test]
fn the_profile_is_used_by_keyboard_alone() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let port = flowgate.data.port().to_string();
    let said = run_in_browser(include_str!("browser/keyboard.cjs"), &[&port, MIKE_PASSWORD]);
    assert_eq!(said["skipped"], "#main", "{said}");
    assert!(said["regenerated"].as_str().unwrap().contains("This is the new API key."), "{said}");
    assert!(said["log"].as_str().unwrap().contains("closed: 1008 closed by the tenant"), "{said}");
    assert_eq!((&said["unseen"], &said["complaints"]), (&json!([]), &json!([])), "{said}");
}

/// Takes the documentation's pictures with `FLOWGATE_SCREENSHOTS=1`; else it sees that they are there.
#[test]
fn the_documentation_has_pictures() {
    const NAMES: [&str; 6] =
        ["login", "editor", "profile", "profile-dark", "profile-narrow-dark", "profile-narrow"];
    if let Some(folder) = pictures() {
        let runtime = NodeRed::start("mike");
        let flowgate = Flowgate::start(&mike(runtime.address), &[]);
        let owner = ("mike", MIKE_PASSWORD);
        for (name, days, scope) in [("pump", 90, json!(["/thing"])), ("dashboard", 365, json!([]))]
        {
            let key = json!({ "name": name, "expires_in_seconds": days * 86_400, "scope": scope });
            assert_eq!(flowgate.profile(owner, "POST", "/keys", &key).0, 201);
        }
        let key = format!("apikey: {MIKE_KEY}\r\n");
        let mut websocket = WebSocket::connect(flowgate.data, "/api/thing", &key);
        websocket.send(&text_from_client("hello"));
        websocket.receive_text();
        let port = flowgate.data.port().to_string();
        let script = include_str!("browser/pictures.cjs");
        let taken = run_in_browser(script, &[&port, MIKE_PASSWORD, &folder]);
        assert_eq!(taken, json!(NAMES));
    }
    for name in NAMES {
        assert!(root().join(format!("docs/images/{name}.png")).exists(), "{name}");
    }
}

#[test]
fn the_essentials_work_without_scripts() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let port = flowgate.data.port().to_string();
    let key = format!("apikey: {MIKE_KEY}\r\n");
    let mut websocket = WebSocket::connect(flowgate.data, "/api/thing", &key);
    let script = include_str!("browser/scriptless.cjs");
    let said = run_in_browser(script, &[&port, MIKE_PASSWORD]);
    assert_eq!((&said["isScriptless"], &said["tester"]), (&json!(true), &json!(false)), "{said}");
    assert_eq!(said["closed"], "The connection was closed.");
    assert!(said["key"].as_str().unwrap().starts_with("fgk_"), "{said}");
    assert_eq!(websocket.receive_close(), (1008, "closed by the tenant".to_owned()));
}

/// Answers every request with one page, and keeps the request lines.
fn pages_of(lines: &Arc<Mutex<Vec<String>>>) -> Runtime {
    let lines = Arc::clone(lines);
    Runtime::start(move |mut websocket: WebSocket| {
        let line = websocket.head.lines().next().unwrap_or_default().to_owned();
        lines.lock().unwrap().push(line);
        let page = "<!doctype html><title>p</title><body>a page of the runtime's</body>";
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{page}",
            page.len()
        );
        websocket.send(answer.as_bytes());
    })
}

#[test]
fn a_page_of_a_siblings_cannot_use_a_session() {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let (mikes, robertos) = (pages_of(&lines), pages_of(&Arc::default()));
    let flowgate = Flowgate::start(&mike_and_roberto(mikes.address, robertos.address), &[]);
    let port = flowgate.data.port().to_string();
    let roberto = Session::begin(flowgate.data, "roberto", ROBERTO_PASSWORD);
    let (_, value) = roberto.cookie.split_once('=').unwrap();
    let script = include_str!("browser/sibling.cjs");
    let said = run_in_browser(script, &[&port, MIKE_PASSWORD, value]);

    let page = json!("a page of the runtime's");
    assert_eq!((&said["own"], &said["after"]), (&page, &page), "{said}");
    for (what, result) in said["tries"].as_object().unwrap() {
        assert!(result.as_str().unwrap().starts_with("no: "), "{what}: {said}");
    }
    assert_eq!(said["tries"].as_object().unwrap().len(), 11, "{said}");
    assert!(said["inWindow"].as_str().unwrap().contains("another origin"), "{said}");
    // The cookies were there, as far as a browser lets a page set them; else this says nothing.
    assert!(said["tossed"].as_str().unwrap().contains("flowgate-session="), "{said}");
    assert_eq!((&said["profile"], &said["named"]), (&json!("mike"), &json!("mike")), "{said}");
    let lines = lines.lock().unwrap();
    assert!(lines.iter().any(|line| line.starts_with("GET /red/page ")), "{lines:?}");
    let hostile = ["hostile", "/comms", "/thing", "POST"];
    let is_hostile = |line: &&String| hostile.iter().any(|word| line.contains(word));
    assert_eq!(lines.iter().filter(is_hostile).count(), 0, "{lines:?}");
    let (status, said) = flowgate.profile(("mike", MIKE_PASSWORD), "GET", "", &Value::Null);
    assert_eq!(
        (status, &said["api_key"]["last_four"]),
        (200, &json!("cdef")),
        "the key is as it was"
    );
}
