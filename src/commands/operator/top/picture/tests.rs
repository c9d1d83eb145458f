use expect_test::expect;
use serde_json::json;

use super::*;

fn rates(messages: f64, bytes: f64) -> Value {
    json!({ "messages_per_second": messages, "bytes_per_second": bytes })
}

fn seen() -> Value {
    let tenant = |name: &str, bytes: f64| {
        json!({
            "tenant": name, "connections": 12, "exchanges": 0,
            "from_client": rates(10.5, bytes), "from_runtime": rates(0.0, 0.0),
        })
    };
    let refusal = |at: &str| {
        json!({
            "at": at, "status": 401, "code": "wrong_credential", "tenant": null,
            "client": "10.0.0.9", "path": "/api/\u{1b}[2Jthing",
        })
    };
    json!({
        "status": {
            "version": "0.1.0", "ready": true, "draining": false, "uptime_seconds": 93_784,
            "registry": { "standing": "current", "age_ms": 12 },
        },
        "stats": {
            "at": "2026-11-20T10:00:00Z", "connections": 24, "exchanges": 1,
            "handshakes_per_second": 2.0, "exchanges_per_second": 999.5, "refusals_per_second": 0.1,
            "from_client": rates(21.0, 1_234_567.0), "from_runtime": rates(0.0, 0.0),
            "tenants": [tenant("mike", 1_234_000.0), tenant("roberto", 567.0)],
            "busiest": [{
                "id": "8be3a6f27d0e4c15-42", "tenant": "mike", "client": "10.0.0.7",
                "path": "/api/a/rather/long/path/of/a/flow",
                "from_client": rates(10.5, 1_234_000.0), "from_runtime": rates(0.0, 0.0),
            }],
        },
        "replicas": [
            { "host": "a", "pid": 1, "connections": 24, "exchanges": 1, "version": "0.1.0",
              "listen": ["10.0.0.1:80", "10.0.0.1:443"], "this": true, "draining": false },
            { "host": "b", "pid": 2, "connections": 0, "exchanges": 0, "version": "0.1.0",
              "listen": ["10.0.0.2:80"], "this": false, "draining": true },
        ],
        "refusals": [refusal("2026-11-20T09:59:59Z"), refusal("2026-11-20T09:59:58Z")],
    })
}

fn drawn(trouble: Option<&str>, columns: usize, rows: usize) -> String {
    let lines = picture("http://127.0.0.1:9180", &seen(), trouble, Size { columns, rows });
    lines.join("\n") + "\n"
}

#[test]
fn a_picture_on_a_usual_screen() {
    expect![[r#"
        10:00:00Z  http://127.0.0.1:9180, ready, up 1d02h, registry current (12 ms)
        24 connections, 1 requests; handshakes/s 2, requests/s 1.0k, refusals/s 0.1
        messages/s 21 in, 0 out; bytes/s 1.2M in, 0 out

        SERVER  PID  CONNECTIONS  REQUESTS  VERSION  LISTEN
        a         1           24         1  0.1.0    10.0.0.1:80,10.0.0.1:443  this one
        b         2            0         0  0.1.0    10.0.0.2:80               drains

        TENANT   CONNECTIONS  REQUESTS  MSG/S IN  OUT  BYTES/S IN  OUT
        mike              12         0      10.5    0        1.2M    0
        roberto           12         0      10.5    0         567    0

        CONNECTION           TENANT  MSG/S IN  OUT  BYTES/S IN  OUT  CLIENT    PATH
        8be3a6f27d0e4c15-42  mike        10.5    0        1.2M    0  10.0.0.7  /api/a/r…

        REFUSED    STATUS  CODE              TENANT  CLIENT    PATH
        09:59:59Z     401  wrong_credential  -       10.0.0.9  /api/�[2Jthing
        09:59:58Z     401  wrong_credential  -       10.0.0.9  /api/�[2Jthing
    "#]]
    .assert_eq(&drawn(None, 80, 24));
}

#[test]
fn a_picture_on_a_narrow_screen_begins_with_what_matters() {
    expect![[r#"
        NOT OF NOW: cannot ask
        http://127.0.0.1:9180: no answer in time
        10:00:00Z  http://127.0.0.1:9180, ready,
        up 1d02h, registry current (12 ms)
        24 connections, 1 requests; handshakes/s
        2, requests/s 1.0k, refusals/s 0.1
        messages/s 21 in, 0 out; bytes/s 1.2M
        in, 0 out

        SERVER  PID  CONNECTIONS  REQUESTS  VER…
        a         1           24         1  0.1…
        b         2            0         0  0.1…

        TENANT   CONNECTIONS  REQUESTS  MSG/S I…
        mike              12         0      10.…
        roberto           12         0      10.…

        CONNECTION           TENANT  MSG/S IN  …
        8be3a6f27d0e4c15-42  mike        10.5  …

        REFUSED    STATUS  CODE              TE…
        09:59:59Z     401  wrong_credential  - …
    "#]]
    .assert_eq(&drawn(Some("cannot ask http://127.0.0.1:9180: no answer in time"), 40, 22));
}

#[test]
fn a_picture_never_exceeds_the_screen_nor_commands_it() {
    for columns in [0, 1, 2, 7, 80, 500] {
        for rows in 0..40 {
            let lines = picture("x", &seen(), Some("\u{1b}[2J"), Size { columns, rows });
            assert!(lines.len() <= rows, "{columns} x {rows}");
            for line in &lines {
                let length = line.chars().count();
                assert!(length <= columns.max(1), "{columns}: {line}");
                assert!(!line.contains(char::is_control), "{line:?}");
            }
        }
    }
    // From a server of another version, anything may be missing.
    assert!(!picture("x", &json!({}), None, Size { columns: 80, rows: 24 }).is_empty());
}

#[test]
fn numbers_and_spans_in_few_characters() {
    let number = |number: f64| rate(&json!(number), "");
    for (value, text) in [
        (0.0, "0"),
        (0.1, "0.1"),
        (12.0, "12"),
        (999.4, "999.4"),
        (999.9, "1.0k"),
        (12_345.0, "12.3k"),
        (999_950.0, "1.0M"),
        (1.5e9, "1.5G"),
    ] {
        assert_eq!(number(value), text);
    }
    for (seconds, text) in
        [(0, "0s"), (59, "59s"), (61, "1m01s"), (3_661, "1h01m"), (90_000, "1d01h")]
    {
        assert_eq!(span(seconds), text);
    }
}
