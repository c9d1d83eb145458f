//! Analytics, seen from outside: what was counted is what happened, whoever asks and wherever.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::admin::{READ, call, command, json, ok, start, tokens_file};
use crate::support::flowgate::Flowgate;
use crate::support::profiles::{
    MIKE_KEY, ROBERTO_KEY, ROBERTO_PASSWORD, mike_and_roberto, mike_on_plan,
};
use crate::support::redis::Redis;
use crate::support::replicas::{MIKE, Runtimes, open, status};
use crate::support::runtime::{Runtime, text_from_client};
use crate::support::wait_until;
use crate::support::websocket::WebSocket;

const ROBERTO: (&str, &str) = ("roberto", ROBERTO_PASSWORD);
/// What a consumer and an API may be called, and what a spreadsheet would make of it.
pub const CONSUMER: &str = "@SUM.A1";
const API: &str = "=HYPERLINK(\"http://x\",\"Echo, the \"\"first\"\"\")";

/// Sends so many messages and takes as many back.
pub fn talk(websocket: &mut WebSocket, messages: usize) {
    for _ in 0..messages {
        websocket.send(&text_from_client("hello"));
    }
    for _ in 0..messages {
        assert_eq!(websocket.receive_text(), "hello");
    }
}

pub fn report(flowgate: &Flowgate, who: (&str, &str), query: &str) -> Value {
    let (code, said) = flowgate.profile(who, "GET", &format!("/analytics?{query}"), &Value::Null);
    assert_eq!(code, 200, "{said}");
    assert_eq!(said["incomplete"], json!([]), "{said}");
    said
}

/// One number of all groups together.
pub fn sum(report: &Value, measure: &str) -> u64 {
    let groups = report["groups"].as_array().unwrap();
    groups.iter().map(|group| group["total"][measure].as_u64().unwrap()).sum()
}

/// A number of each group, by name.
pub fn by_name(report: &Value, measure: &str) -> Vec<(String, u64)> {
    let groups = report["groups"].as_array().unwrap();
    let number = |group: &Value| {
        let points = group["points"].as_array().unwrap();
        let total = group["total"][measure].as_u64().unwrap();
        let all: u64 = points.iter().map(|point| point[measure].as_u64().unwrap()).sum();
        assert_eq!(all, total, "{group}");
        (group["name"].as_str().unwrap().to_owned(), total)
    };
    let mut numbers: Vec<_> = groups.iter().map(number).collect();
    numbers.sort();
    numbers
}

/// Publishes mike's echo twice, for his consumer by this name and for everybody; returns the two ids and the
/// consumer's key.
pub fn publish(flowgate: &Flowgate, name: &str) -> (String, String, String) {
    let api = |name: &str, context: &str, security: &str| {
        let definition = json!({
            "name": name, "context": context, "version": "1", "security": [security],
            "endpoint": { "runtime_path": "/thing" },
        });
        let (code, said) = flowgate.profile(MIKE, "POST", "/apis?publish=true", &definition);
        assert_eq!(code, 201, "{said}");
        said["id"].as_str().unwrap().to_owned()
    };
    let id = api(name, "/echo", "key");
    let open = api("Open", "/open", "none");
    let path = format!("/consumers/{CONSUMER}");
    assert_eq!(flowgate.profile(MIKE, "PUT", &path, &Value::Null).0, 201);
    let (code, said) = flowgate.profile(MIKE, "POST", &format!("{path}/keys"), &json!({}));
    assert_eq!(code, 201, "{said}");
    (id, open, said["key"].as_str().unwrap().to_owned())
}

/// What mike's and roberto's clients do: see the numbers in the test.
pub fn live_through_it(flowgate: &Flowgate, key: &str) {
    let consumers = format!("apikey: {key}\r\n");
    let mut sockets: Vec<(WebSocket, usize)> = vec![
        (open(flowgate, MIKE_KEY), 3),
        (WebSocket::connect(flowgate.data, "/echo/1", &consumers), 4),
        (WebSocket::connect(flowgate.data, "/echo/1", &consumers), 5),
        (WebSocket::connect(flowgate.data, "/open/1", ""), 6),
        (open(flowgate, ROBERTO_KEY), 100),
    ];
    for (websocket, messages) in &mut sockets {
        talk(websocket, *messages);
    }
    for path in ["/api/x", "/echo/1/x"] {
        let wrong = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\napikey: wrong\r\nConnection: close\r\n\r\n"
        );
        assert!(flowgate.ask(&wrong).starts_with("HTTP/1.1 401"));
    }
    drop(sockets);
    flowgate.wait_until_idle();
}

#[test]
fn what_is_told_is_what_happened() {
    let runtimes = Runtimes::beside();
    let mut profiles = mike_and_roberto(runtimes.mike.address, runtimes.roberto.address);
    profiles["plans"]["gold"] = json!({});
    profiles["tenants"][0]["plan"] = json!("gold");
    let (flowgate, _folder) = start(&profiles);
    let (api, _, key) = publish(&flowgate, API);
    live_through_it(&flowgate, &key);

    let all = || report(&flowgate, MIKE, "last=1h");
    wait_until("all is counted", || sum(&all(), "messages_from_client") == 18);
    let all = all();
    assert_eq!((all["step"].as_str(), all["by"].as_str()), (Some("minute"), Some("tenant")));
    assert_eq!(by_name(&all, "handshakes"), [("mike".to_owned(), 4)]);
    assert_eq!(sum(&all, "messages_from_runtime"), 18);
    assert_eq!(sum(&all, "bytes_from_client"), 18 * 11);
    assert_eq!(sum(&all, "bytes_from_runtime"), 18 * 7);
    assert_eq!(sum(&all, "refusals"), 1, "the other one named nobody");

    let named = format!("{API} 1");
    let by_api = report(&flowgate, MIKE, "last=1h&by=api");
    let expected = [("(no published API)", 3), (named.as_str(), 9), ("Open 1", 6)];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(by_name(&by_api, "messages_from_client"), expected);
    let by_application = report(&flowgate, MIKE, "last=1h&by=application");
    let expected = [("(nobody in particular)".to_owned(), 9), (CONSUMER.to_owned(), 9)];
    assert_eq!(by_name(&by_application, "messages_from_client"), expected);
    let one = report(&flowgate, MIKE, &format!("last=1h&by=application&api={api}"));
    assert_eq!((sum(&one, "messages_from_client"), sum(&one, "handshakes")), (9, 2));
    assert_eq!(sum(&one, "refusals"), 1);
    let by_plan = report(&flowgate, MIKE, "last=1h&by=plan");
    assert_eq!(by_name(&by_plan, "handshakes"), [("gold".to_owned(), 4)]);

    // Nothing of it is anybody else's.
    for by in ["tenant", "api", "application", "plan"] {
        for query in [format!("by={by}"), format!("by={by}&api={api}")] {
            let his = report(&flowgate, ROBERTO, &query);
            assert!(matches!(sum(&his, "messages_from_client"), 0 | 100), "{his}");
            let text = his.to_string();
            for secret in [API, CONSUMER, "Open", "mike", "gold", &key] {
                assert!(!text.contains(secret), "{secret}: {text}");
            }
        }
    }
    operators_see_all(&flowgate, &api);
    assert_eq!(status(&flowgate, MIKE_KEY), 101);
}

fn operators_see_all(flowgate: &Flowgate, api: &str) {
    let ask = |query: &str| {
        let line = format!("GET /admin/v1/analytics?{query}");
        let (code, _, said) = call(flowgate, READ, &line, "", &Value::Null);
        (code, said)
    };
    let (_, all) = ask("last=1h");
    let messages = [("mike".to_owned(), 18), ("roberto".to_owned(), 100)];
    let known: Vec<_> = by_name(&all, "messages_from_client")
        .into_iter()
        .filter(|(name, _)| name != "(nobody known)")
        .collect();
    assert_eq!(known, messages);
    assert_eq!(sum(&all, "refusals"), 2, "{all}");
    let (_, his) = ask(&format!("tenant=mike&last=1h&by=application&api={api}"));
    let expected = [("(nobody in particular)".to_owned(), 0), (CONSUMER.to_owned(), 9)];
    assert_eq!(by_name(&his, "messages_from_client"), expected);
    assert_eq!(ask("tenant=nobody").0, 404);
    assert_eq!(ask("by=api").0, 400);
    assert_eq!(ask("tenant=mike&operators=true").0, 400);
    let shown = ok(&mut command(flowgate, &["analytics", "--last", "1h"]));
    assert!(shown.lines().any(|line| line.starts_with("roberto ")), "{shown}");
    let points = ["analytics", "--tenant", "mike", "--by", "plan", "--points"];
    let shown = ok(&mut command(flowgate, &points));
    assert!(shown.lines().nth(1).unwrap().contains("gold"), "{shown}");
    let shown = json(flowgate, &["analytics", "--tenant", "mike", "--by", "application"]);
    assert_eq!(sum(&shown, "messages_from_client"), 18);
    let shown = ok(&mut command(flowgate, &["analytics", "--tenant", "mike", "--csv"]));
    assert!(shown.starts_with("at,tenant,id,handshakes,"), "{shown}");
}

/// The one that Schemathesis is installed with; any does.
fn python() -> PathBuf {
    let folder = std::env::var_os("FLOWGATE_PYTHON_DIR").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("python");
    folder.unwrap_or_else(beside).join("bin/python")
}

/// What another program's parser makes of it.
pub fn parsed(text: &str) -> Vec<Vec<String>> {
    const SCRIPT: &str = "import csv, io, json, sys\n\
        text = io.TextIOWrapper(sys.stdin.buffer, encoding='utf-8', newline='')\n\
        json.dump(list(csv.reader(text, strict=True)), sys.stdout)";
    let mut python = Command::new(python());
    let python = python.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_file_is_read_by_others_and_holds_no_formula() {
    let runtimes = Runtimes::beside();
    let profiles = mike_and_roberto(runtimes.mike.address, runtimes.roberto.address);
    let (flowgate, _folder) = start(&profiles);
    let (_, _, key) = publish(&flowgate, API);
    live_through_it(&flowgate, &key);
    let counted = || sum(&report(&flowgate, MIKE, "last=1h"), "messages_from_client");
    wait_until("all is counted", || counted() == 18);
    let login = BASE64_STANDARD.encode(format!("mike:{}", MIKE.1));
    let file = |path: &str, headers: &str| {
        let answer = flowgate.ask(&format!(
            "GET /profile/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Basic {login}\r\n{headers}\r\n"
        ));
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(head.contains("content-type: text/csv; charset=utf-8"), "{head}");
        assert!(head.contains("content-disposition: attachment; filename="), "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        assert!(head.contains("cache-control: no-store"), "{head}");
        body.to_owned()
    };
    let by_api = file("analytics.csv?last=1h&by=api", "");
    assert_eq!(by_api, file("analytics?last=1h&by=api&format=csv", ""));
    assert_eq!(by_api, file("analytics?last=1h&by=api", "Accept: text/csv, */*;q=0.1\r\n"));
    let rows = parsed(&by_api);
    assert_eq!(rows[0][..4], ["at", "api", "id", "handshakes"]);
    assert_eq!(rows[0].len(), 12);
    let messages = rows[0].iter().position(|title| title == "messages_from_client").unwrap();
    let of = |name: &str| -> u64 {
        let rows = rows.iter().filter(|row| row[1] == name);
        rows.map(|row| row[messages].parse::<u64>().unwrap()).sum()
    };
    assert_eq!((of(&format!("'{API} 1")), of("Open 1"), of("(no published API)")), (9, 6, 3));
    let by_application = parsed(&file("analytics.csv?last=1h&by=application", ""));
    assert!(by_application.iter().any(|row| row[1] == format!("'{CONSUMER}")));
    for row in rows.iter().chain(&by_application) {
        assert!(!row.iter().any(|cell| cell.starts_with(['=', '+', '-', '@'])), "{row:?}");
    }
}

#[test]
fn what_a_plan_refuses_and_leaves_out_is_throttled() {
    let runtime = Runtime::accepting(|websocket| while websocket.receive().is_some() {});
    let plan = json!({
        "connections": 1, "over": "drop",
        "messages_per_day": { "limit": 10, "burst": 2 },
    });
    let flowgate = Flowgate::start(&mike_on_plan(runtime.address, plan), &[]);
    let mut websocket = open(&flowgate, MIKE_KEY);
    assert_eq!(status(&flowgate, MIKE_KEY), 429);
    websocket.send(&text_from_client("one of five").repeat(5));
    assert!(websocket.receive_text().contains("4008"));
    let told = || {
        let report = report(&flowgate, MIKE, "last=1h");
        ["messages_from_client", "throttled", "refusals"].map(|measure| sum(&report, measure))
    };
    wait_until("all is counted", || told() == [2, 4, 1]);
    drop(websocket);
    flowgate.wait_until_idle();
    assert_eq!(told(), [2, 4, 1]);
}

#[test]
fn nothing_is_counted_where_it_is_not_wanted() {
    let runtime = Runtime::echo();
    let profiles = mike_and_roberto(runtime.address, runtime.address);
    let flowgate = Flowgate::start(&profiles, &["--analytics-days", "0"]);
    talk(&mut open(&flowgate, MIKE_KEY), 3);
    let said = report(&flowgate, MIKE, "");
    assert_eq!((&said["kept_days"], &said["groups"]), (&json!(0), &json!([])));
}

/// A process that ends in order takes nothing along.
#[test]
fn a_restart_keeps_what_was_counted() {
    let runtimes = Runtimes::beside();
    let mut flowgate = Flowgate::start(&runtimes.profiles(), &["--drain-timeout", "1s"]);
    let mut websocket = open(&flowgate, MIKE_KEY);
    talk(&mut websocket, 7);
    flowgate.signal("-TERM");
    assert!(flowgate.wait().success());
    let flowgate = flowgate.kill_and_restart(&[]);
    let said = report(&flowgate, MIKE, "last=1h");
    assert_eq!((sum(&said, "messages_from_client"), sum(&said, "handshakes")), (7, 1));
}

#[test]
fn replicas_add_up_and_a_killed_one_takes_a_minute_along_at_most() {
    let redis = Redis::start();
    let _runtimes = Runtimes::in_registry(&redis.url());
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens_file(folder.path());
    let flags = ["--admin-tokens-file", tokens.to_str().unwrap()];
    let start = || Flowgate::start_on(&redis.url(), &flags);
    let (here, there, third) = (start(), start(), start());
    let mut sockets: Vec<WebSocket> =
        [&here, &there, &third].into_iter().map(|one| open(one, MIKE_KEY)).collect();
    for (place, websocket) in sockets.iter_mut().enumerate() {
        talk(websocket, 10 * (place + 1));
    }
    // Nobody asks the others: their minute goes out when it is over.
    let told = |measure| sum(&report(&here, MIKE, "last=1h"), measure);
    wait_until("all replicas have said what they counted", || told("messages_from_client") == 60);
    assert_eq!((told("handshakes"), told("messages_from_runtime")), (3, 60));
    talk(&mut sockets[2], 5);
    third.kill();
    let rest = told("messages_from_client") - 60;
    assert!(rest <= 5, "no more than the minute under way is lost: {rest}");
    // What ends in order is told to the message.
    talk(&mut sockets[1], 100);
    sockets.clear();
    there.wait_until_idle();
    let mut there = there;
    there.signal("-TERM");
    assert!(there.wait().success());
    wait_until("all is told", || told("messages_from_client") >= 160 + rest);
    let (_, _, all) =
        call(&here, READ, "GET /admin/v1/analytics?tenant=mike&last=1h", "", &Value::Null);
    assert_eq!(sum(&all, "messages_from_client"), 160 + rest);
    assert_eq!(sum(&all, "messages_from_runtime"), 160 + rest);
    assert_eq!(sum(&all, "handshakes"), 3);
}
