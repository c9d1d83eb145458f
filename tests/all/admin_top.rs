//! `flowgate top`, and the counts behind it.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::admin::{ADMIN, READ, call, command, ok, run, start, write_secret};
use crate::support::flowgate::{Flowgate, program};
use crate::support::profiles::{MIKE_KEY, mike};
use crate::support::runtime::{Runtime, text_from_client};
use crate::support::websocket::{WebSocket, handshake};
use crate::support::{wait_for, wait_until};

fn connect(flowgate: &Flowgate) -> WebSocket {
    let headers = format!("apikey: {MIKE_KEY}\r\n");
    WebSocket::open(flowgate.data, handshake("/api/thing", "localhost", &headers))
}

fn refused(flowgate: &Flowgate) {
    let request = "GET /api/x HTTP/1.1\r\nHost: localhost\r\napikey: nobodys\r\n";
    flowgate.ask(&format!("{request}Connection: close\r\n\r\n"));
}

fn stats(flowgate: &Flowgate, query: &str) -> (u16, Value) {
    let line = format!("GET /admin/v1/stats{query}");
    let (status, _, body) = call(flowgate, READ, &line, "", &Value::Null);
    (status, body)
}

/// One round trip; its counts are in the live table before it is answered.
fn echo(socket: &mut WebSocket) {
    socket.send(&text_from_client("hello"));
    assert!(socket.receive_text().contains("hello"));
}

#[test]
fn rates_are_of_what_passed_meanwhile() {
    let runtime = Runtime::echo();
    let (flowgate, _folder) = start(&mike(runtime.address));
    let (mut busy, _silent) = (connect(&flowgate), connect(&flowgate));
    echo(&mut busy);
    let (status, first) = stats(&flowgate, "");
    assert_eq!((status, &first["connections"]), (200, &json!(2)), "{first}");
    assert!(first["over_ms"].as_u64().unwrap() >= 500, "{first}");
    let [mut messages, mut refusals, mut handshakes] = [0.0; 3];
    for _ in 0..10 {
        echo(&mut busy);
    }
    let third = connect(&flowgate);
    refused(&flowgate);
    // Whatever the spans are, the rates of all together say what passed, but for what was rounded.
    let rate = |stats: &Value, place: &str| {
        let seconds = stats["over_ms"].as_f64().unwrap() / 1000.0;
        stats.pointer(place).unwrap().as_f64().unwrap() * seconds
    };
    let mut seen = first["at_unix_ms"].clone();
    let last = wait_for("all of it is told", || {
        let (_, now) = stats(&flowgate, "");
        if std::mem::replace(&mut seen, now["at_unix_ms"].clone()) != now["at_unix_ms"] {
            messages += rate(&now, "/from_client/messages_per_second");
            refusals += rate(&now, "/refusals_per_second");
            handshakes += rate(&now, "/handshakes_per_second");
        }
        let is_all = messages > 9.0 && refusals > 0.5 && handshakes > 0.5;
        is_all.then_some(now)
    });
    assert!(messages < 11.0 && refusals < 1.5 && handshakes < 1.5, "{last}");
    assert_eq!(last["connections"], 3);
    assert_eq!(last["tenants"][0]["tenant"], "mike");
    assert_eq!(last["tenants"][0]["connections"], 3);
    drop(third);
    for (query, status) in
        [("?limit=1", 200), ("?limit=0", 400), ("?limit=101", 400), ("?x=1", 400)]
    {
        assert_eq!(stats(&flowgate, query).0, status, "{query}");
    }
}

#[test]
fn the_busiest_connection_is_named_and_no_silent_one() {
    let runtime = Runtime::echo();
    let (flowgate, _folder) = start(&mike(runtime.address));
    let (mut busy, _silent) = (connect(&flowgate), connect(&flowgate));
    let found = wait_for("it is busy while it is counted", || {
        echo(&mut busy);
        let (_, now) = stats(&flowgate, "");
        now["busiest"].get(0).is_some().then_some(now)
    });
    let named = &found["busiest"][0];
    assert_eq!(found["busiest"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!((&named["tenant"], &named["path"]), (&json!("mike"), &json!("/api/thing")));
    let line = format!("GET /admin/v1/connections/{}", named["id"].as_str().unwrap());
    let (status, _, shown) = call(&flowgate, READ, &line, "", &Value::Null);
    assert_eq!((status, &shown["client"]), (200, &named["client"]), "{shown}");
}

#[test]
fn a_picture_for_paper_and_lines_for_scripts() {
    let runtime = Runtime::echo();
    let (mut flowgate, _folder) = start(&mike(runtime.address));
    let _open = connect(&flowgate);
    refused(&flowgate);
    let picture = ok(&mut command(&flowgate, &["top", "--once"]));
    for part in ["1 connections, 0 requests", "mike", "wrong_credential", "this one"] {
        assert!(picture.contains(part), "{part}: {picture}");
    }
    assert!(!picture.contains('\u{1b}') && !picture.contains("nobodys"), "{picture}");
    let line = ok(&mut command(&flowgate, &["top", "--once", "--json"]));
    assert_eq!(line.lines().count(), 1);
    let seen: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(seen["stats"]["connections"], 1);
    assert_eq!(seen["status"]["pid"], flowgate.pid());

    let mut lines = command(&flowgate, &["top", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = std::io::BufReader::new(lines.stdout.take().unwrap());
    for _ in 0..2 {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
        let seen: Value = serde_json::from_str(&line).expect(&line);
        assert_eq!(seen["stats"]["connections"], 1);
    }
    // Nobody reads any more.
    drop(reader);
    assert!(lines.wait().unwrap().success());

    let mut without = command(&flowgate, &["top"]);
    let (code, _, error) = run(without.stdin(Stdio::null()));
    assert_eq!(code, 64);
    assert!(error.contains("--once and --json"), "{error}");
    let (code, ..) = run(command(&flowgate, &["top", "--once"]).env("FLOWGATE_ADMIN_TOKEN", "x"));
    assert_eq!(code, 77);
    flowgate.signal("-TERM");
    flowgate.wait();
    assert_eq!(run(&mut command(&flowgate, &["top", "--once"])).0, 69);
}

#[test]
fn what_strangers_call_commands_no_terminal() {
    let runtime = Runtime::echo();
    let (flowgate, _folder) = start(&mike(runtime.address));
    // "Erase the screen" in one character, and one that turns the rest of the line around: as UTF-8
    // both may stand in a path, and are relayed.
    let (path, shown) = ("/api/\u{9b}2J\u{202e}x", "/api/%C2%9B2J%E2%80%AEx");
    let headers = format!("apikey: {MIKE_KEY}\r\n");
    let mut open = WebSocket::connect(flowgate.data, path, &headers);
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(flowgate.ask(&request).starts_with("HTTP/1.1 401"));
    echo(&mut open);
    for arguments in [
        &["connections", "list"][..],
        &["connections", "list", "--tenant", "mike", "--path", path],
        &["server", "refusals"],
        &["top", "--once"],
    ] {
        for json in [&[][..], &["--json"]] {
            let said = ok(command(&flowgate, arguments).args(json));
            assert!(said.contains(shown), "{arguments:?}: {said}");
            let is_plain = |it: char| it.is_ascii_graphic() || matches!(it, ' ' | '\n' | '…');
            assert!(said.chars().all(is_plain), "{arguments:?}: {said:?}");
        }
    }
}

/// `flowgate top` on a terminal of its own.
struct Watched {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Watched {
    fn start(flowgate: &Flowgate, token: &str, columns: u16, rows: u16) -> Self {
        let program = program();
        let path = program.get_program().to_str().unwrap();
        // The last word of the terminal's modes tells whether they are as they were.
        let command = format!(
            "stty cols {columns} rows {rows}; before=$(stty -g); \
             {path} top --server http://{} --token-file {token}; code=$?; \
             [ \"$before\" = \"$(stty -g)\" ] && echo same-modes code=$code",
            flowgate.admin
        );
        let mut terminal = Command::new("script");
        terminal.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
        for (name, _) in program.get_envs() {
            terminal.env_remove(name);
        }
        terminal.env("SHELL", "/bin/sh").env("TERM", "xterm");
        let mut child =
            terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script is there");
        let (keys, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let shown = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = out.read(&mut bytes) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        Self { child, keys, shown }
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    fn wait_for(&self, text: &str) {
        wait_until(&format!("it shows {text}: {}", self.shown()), || self.shown().contains(text));
    }

    /// It has ended, and the terminal is as it was.
    fn assert_given_back(mut self, code: i32) {
        self.wait_for(&format!("same-modes code={code}"));
        let shown = self.shown();
        let (_, end) = shown.rsplit_once("\u{1b}[H").unwrap();
        assert!(end.contains("\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l"), "{end:?}");
        self.child.wait().unwrap();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_screen_is_refreshed_until_the_user_leaves_and_then_as_it_was() {
    let runtime = Runtime::echo();
    let (flowgate, folder) = start(&mike(runtime.address));
    let token = folder.path().join("token");
    write_secret(&token, ADMIN);
    let token = token.to_str().unwrap();
    for key in [b'q', 3] {
        let mut watched = Watched::start(&flowgate, token, 100, 30);
        watched.wait_for("0 connections");
        let socket = connect(&flowgate);
        watched.wait_for("1 connections");
        // What is no command of its own does nothing.
        watched.keys.write_all(b"xyz").unwrap();
        drop(socket);
        flowgate.wait_until_idle();
        watched.keys.write_all(&[key]).unwrap();
        watched.assert_given_back(0);
    }
}

#[test]
fn a_server_that_goes_is_marked_and_one_that_refuses_ends_it() {
    let (mut flowgate, folder) = start(&mike(Runtime::nowhere()));
    let token = folder.path().join("token");
    write_secret(&token, READ);
    let refusing = Watched::start(&flowgate, token.to_str().unwrap(), 80, 24);
    refusing.wait_for("ready");
    // The token is taken away: who may not look any more is told so, on a terminal that is as it was.
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, format!("ada admin {ADMIN}\n")).unwrap();
    refusing.assert_given_back(77);
    write_secret(&token, ADMIN);
    let mut watched = Watched::start(&flowgate, token.to_str().unwrap(), 80, 24);
    watched.wait_for("ready");
    flowgate.signal("-KILL");
    flowgate.wait();
    watched.wait_for("NOT OF NOW: cannot ask");
    watched.keys.write_all(b"q").unwrap();
    watched.assert_given_back(0);
}
