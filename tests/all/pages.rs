//! The tenants' pages and their editors, as a person uses them: in the real Chromium.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::flowgate::Flowgate;
use crate::support::node::{
    NodeRed, folder, pictures, root, run_in_browser, wscat_until_disconnected,
};
use crate::support::profiles::{
    MIKE_KEY, MIKE_PASSWORD, ROBERTO_PASSWORD, mike, mike_and_roberto, mike_on_plan,
};
use crate::support::runtime::{Runtime, text_from_client};
use crate::support::session::Session;
use crate::support::websocket::{WebSocket, handshake};

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
    let plan = json!({ "connections": 10, "message_bytes": 65536,
        "messages": { "per_second": 50, "burst": 200 } });
    let flowgate = Flowgate::start(&mike_on_plan(runtime.address, plan), &[]);
    let port = flowgate.data.port().to_string();
    let script = include_str!("browser/profile.cjs");
    // For whoever wants to look at every part of it.
    let unfolded = std::env::var("FLOWGATE_PICTURES").unwrap_or_default();
    let mut said = Value::Null;
    let url = format!("ws://localhost:{port}/api/thing");
    let key = format!("apikey:{MIKE_KEY}");
    let printed = wscat_until_disconnected(&["-H", &key, "-c", &url], || {
        said = run_in_browser(script, &[&port, MIKE_PASSWORD, MIKE_KEY, &unfolded]);
    });
    assert!(printed.contains("1008") && printed.contains("API key regenerated"), "{printed}");

    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert!(text(&said["at"]).starts_with(&format!("http://localhost:{port}/login")), "{said}");
    for part in ["/api/thing", "default key", "127.0.0.1"] {
        assert!(text(&said["live"]).contains(part), "{said}");
    }
    let limits = ["Messages a second\n50, 200 at once; ", "Messages over that\nthey wait"];
    for part in ["1 of 10", "tested", "64 KiB", "answers within"].into_iter().chain(limits) {
        assert!(text(&said["account"]).contains(part), "{part}: {said}");
    }
    for part in ["…cdef", "last used just now from 127.0.0.1"] {
        assert!(text(&said["used"]).contains(part), "{part}: {said}");
    }
    assert_eq!(
        (&said["warning"], &said["inUse"]),
        (&json!("One live connection will close."), &json!("2"))
    );
    assert!(text(&said["regenerated"]["said"]).contains("One connection was closed."), "{said}");
    assert_eq!(said["copied"], said["regenerated"]["key"], "what was copied is what was shown");
    assert_eq!(said["again"]["keys"], 0, "it is shown once");
    assert_eq!(said["refusal"]["status"], 401);
    for part in ["401 request of /api/echo", "API key regenerated just now"] {
        assert!(text(&said["refusal"]["said"]).contains(part), "{part}: {said}");
    }
    let foreign = format!("http://localhost:{port}/api/public/hello");
    assert_eq!(said["injected"], json!([[], ["inline", "data", foreign]]), "no such script ran");
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

/// What the profile offers to be pasted, in its order.
fn snippets(page: &str) -> Vec<String> {
    let parts = page.split("<pre id=\"snippet-").skip(1);
    let snippet = |part: &str| {
        let (_, rest) = part.split_once('>').unwrap();
        let text = rest.split("</pre>").next().unwrap();
        let plain =
            [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")];
        plain.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    };
    parts.map(snippet).collect()
}

/// The first line that a command prints which has mike's key. It is to end by itself once it has
/// nothing more to read.
fn first_line(command: &[&str]) -> String {
    let programs = folder().join("node_modules/.bin");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut child = Command::new("timeout")
        .arg("60")
        .args(command)
        .envs([("FLOWGATE_KEY", MIKE_KEY), ("PATH", &path)])
        .current_dir(folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = child.stdin.take();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    drop(input);
    child.wait().unwrap();
    line.trim().to_owned()
}

#[test]
fn what_is_ready_to_paste_works() {
    let runtimes = NodeRed::pair();
    let flowgate = Flowgate::start(&mike(runtimes[0].address), &[]);
    let page = Session::begin(flowgate.data, "mike", MIKE_PASSWORD).get("/profile");
    let [wscat, curl, node, python]: [String; 4] = snippets(&page.body).try_into().unwrap();
    let answer = r#"{"runtime":"mike","path":"/thing","payload":"hello"}"#;
    assert_eq!(first_line(&["sh", "-c", &format!("exec {wscat} -x hello -w 60")]), answer);
    let once = format!("{node}\nsocket.on(\"message\", () => socket.close());");
    assert_eq!(first_line(&["node", "--input-type=module", "-e", &once]), answer);
    let echo = first_line(&["sh", "-c", &curl.replacen("curl", "exec curl -s", 1)]);
    assert!(echo.contains(r#""runtime":"mike","path":"/echo""#), "{echo}");
    // Its library is not among what the tests install.
    let parse = ["-c", "import ast, sys; ast.parse(sys.argv[1])", &python];
    assert!(Command::new("python3").args(parse).status().unwrap().success(), "{python}");
}

/// An account for pictures: a plan, two keys, two clients that talk, and one with a key of old.
fn picture(folder: &str) -> Value {
    let runtime = NodeRed::start("mike");
    let plan = json!({ "connections": 100, "message_bytes": 16_777_216,
        "messages": { "per_second": 50, "burst": 200 } });
    let mut profiles = mike(runtime.address);
    profiles["plans"] = json!({ "standard": plan });
    profiles["tenants"][0]["plan"] = json!("standard");
    let flowgate = Flowgate::start(&profiles, &[]);
    let owner = ("mike", MIKE_PASSWORD);
    let make = |name: &str, days: u64, scope: &[&str]| {
        let key = json!({ "name": name, "expires_in_seconds": days * 86_400, "scope": scope });
        let (code, said) = flowgate.profile(owner, "POST", "/keys", &key);
        assert_eq!(code, 201, "{said}");
        ["id", "key"].map(|member| said[member].as_str().unwrap().to_owned())
    };
    let [old, stolen] = make("kitchen", 30, &[]);
    assert_eq!(flowgate.profile(owner, "DELETE", &format!("/keys/{old}"), &Value::Null).0, 200);
    let [_, pump] = make("pump", 90, &["/thing"]);
    make("dashboard", 365, &[]);
    let header = |key: &str| format!("apikey: {key}\r\n");
    let refused =
        WebSocket::open(flowgate.data, handshake("/api/thing", "localhost", &header(&stolen)));
    assert!(refused.head.starts_with("HTTP/1.1 401"), "{}", refused.head);
    let mut clients = [(MIKE_KEY, 12), (pump.as_str(), 7)].map(|(key, messages)| {
        (WebSocket::connect(flowgate.data, "/api/thing", &header(key)), messages)
    });
    for (client, messages) in &mut clients {
        for _ in 0..*messages {
            client.send(&text_from_client("hello"));
            client.receive_text();
        }
    }
    let port = flowgate.data.port().to_string();
    let script = include_str!("browser/pictures.cjs");
    run_in_browser(script, &[&port, MIKE_PASSWORD, folder])
}

/// Takes the documentation's pictures with `FLOWGATE_SCREENSHOTS=1`; else it sees that they are there.
#[test]
fn the_documentation_has_pictures() {
    const NAMES: [&str; 5] =
        ["login", "editor", "profile", "profile-tester", "profile-narrow-dark"];
    if let Some(folder) = pictures() {
        assert_eq!(picture(&folder), json!(NAMES));
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
