//! The real Chromium: tenants' pages cannot act for somebody else, and a dashboard works.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::flowgate::Flowgate;
use crate::support::node::{NodeRed, run_in_browser};
use crate::support::profiles::{
    MIKE_PASSWORD, ROBERTO_KEY, ROBERTO_PASSWORD, mike, mike_and_roberto,
};
use crate::support::runtime::{Runtime, header_value};
use crate::support::websocket::WebSocket;

const SECRET: &str = "roberto's secret";

type Heads = Arc<Mutex<Vec<String>>>;

/// Answers every request with what `answer` says of its method and target, and keeps all heads.
fn recording(answer: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> (Runtime, Heads) {
    let heads = Heads::default();
    let kept = Arc::clone(&heads);
    let runtime = Runtime::start(move |mut websocket: WebSocket| {
        let head = websocket.head.clone();
        let mut words = head.split(' ');
        let answer = answer(words.next().unwrap_or_default(), words.next().unwrap_or_default());
        kept.lock().unwrap().push(head);
        websocket.send(format!("HTTP/1.1 {answer}").as_bytes());
    });
    (runtime, heads)
}

fn with_body(headers: &str, body: &str) -> String {
    format!("200 OK\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// As careless as a flow can be: open to all origins, for any cache, with a cookie.
fn roberto_answers(_: &str, target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let (kind, body) = match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "js" => ("text/javascript", format!("window.robertos = \"{SECRET}\"")),
        "css" => ("text/css", format!("body {{ content: \"{SECRET}\" }}")),
        "svg" => {
            let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"7\" height=\"7\"/>";
            ("image/svg+xml", svg.to_owned())
        }
        _ => ("text/html", format!("<body>{SECRET}</body>")),
    };
    let careless = "Access-Control-Allow-Origin: *\r\nCache-Control: max-age=3600\r\n\
                    Set-Cookie: robertos=secret-cookie; Path=/\r\n";
    with_body(&format!("{careless}Content-Type: {kind}\r\n"), &body)
}

fn mike_answers(_: &str, target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let kind = "Content-Type: text/html\r\n";
    let powers = "Service-Worker-Allowed: /\r\nSet-Cookie: mikes=tossed; Path=/\r\n";
    if path.ends_with("/redirect") {
        return format!(
            "307 Away\r\nLocation: {query}\r\nAccess-Control-Allow-Origin: *\r\n\
             Connection: close\r\nContent-Length: 0\r\n\r\n"
        );
    }
    if path.ends_with("/worker.js") {
        return with_body("Content-Type: text/javascript\r\n", "");
    }
    with_body(&format!("{kind}{powers}"), include_str!("browser/evil.html"))
}

/// What of roberto's a page of mike's could read or use, said by the page itself.
fn successes(said: &Value) -> Vec<String> {
    let results = said.as_object().expect("results");
    assert!(results.len() > 60, "the page ended early: {said}");
    let of_its_own = ["cookies", "storage", "service worker"];
    results
        .iter()
        .filter(|(name, _)| !of_its_own.contains(&name.as_str()))
        .filter(|(_, what)| !what.as_str().unwrap().starts_with("no: "))
        .map(|(name, what)| format!("{name}: {what}"))
        .collect()
}

/// Nothing that mike's pages asked for came to roberto's runtime, but a page that was opened. On a
/// name that is not loopback browsers do not say whether that was in a window or in a frame.
fn assert_nothing_was_done(robertos: &Heads, is_loopback: bool) {
    for head in robertos
        .lock()
        .unwrap()
        .iter()
        .filter(|head| head.lines().next().unwrap_or_default().contains("hostile"))
    {
        let opened = if is_loopback {
            head.starts_with("GET /api/page/window") && head.contains("Sec-Fetch-Dest: document")
        } else {
            head.starts_with("GET /api/page")
        };
        assert!(opened, "{head}");
    }
}

#[test]
fn a_hostile_page_can_neither_read_nor_change_anything_of_anothers() {
    attack("flows.localhost");
}

#[test]
fn nor_can_it_where_the_browser_does_not_say_from_where_it_asks() {
    attack("flows.test");
}

fn attack(domain: &str) {
    let (mikes, mike_heads) = recording(mike_answers);
    let (robertos, roberto_heads) = recording(roberto_answers);
    let flowgate = Flowgate::start(
        &mike_and_roberto(mikes.address, robertos.address),
        &["--base-domain", domain],
    );
    let port = flowgate.data.port().to_string();
    let said =
        run_in_browser(include_str!("browser/hostile.cjs"), &[domain, &port, ROBERTO_PASSWORD]);

    // roberto can read and change what is his; else the rest would say nothing.
    for own in ["bare", "tenant", "fetched", "after"] {
        let all = said["own"][own].as_array().unwrap();
        assert!(all.iter().all(|it| it.as_str().unwrap().contains(SECRET)), "{}", said["own"]);
    }
    let changed = |head: &String| head.starts_with("POST /api/change?own");
    assert!(roberto_heads.lock().unwrap().iter().any(changed));

    for page in ["public", "tenant"] {
        let successes = successes(&said["evil"][page]);
        assert!(successes.is_empty(), "{page}: {successes:#?}");
    }
    let sandboxed = &said["evil"]["public"];
    for what in ["cookies", "storage", "service worker"] {
        assert!(sandboxed[what].as_str().unwrap().starts_with("no: "), "{sandboxed}");
    }
    assert!(!said["evil"].to_string().contains("secret"), "{}", said["evil"]);
    assert_nothing_was_done(&roberto_heads, domain == "flows.localhost");
    // The browser did send his password along; it was refused for where it came from.
    flowgate.wait_for_line("it is refused", |line| line["refusal"] == "foreign_origin");
    let key = format!("apikey: {ROBERTO_KEY}\r\n");
    let request = "GET /api/data HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let still = flowgate.ask(&format!("{request}{key}\r\n"));
    assert!(still.contains(SECRET), "his key is another one: {still}");
    for (heads, others) in [(&mike_heads, "secret-cookie"), (&roberto_heads, "tossed")] {
        for head in heads.lock().unwrap().iter() {
            let cookie = header_value(head, "Cookie").unwrap_or_default();
            assert!(!cookie.contains(others), "{head}");
        }
    }
}

#[test]
fn a_dashboard_works_on_a_tenant_host() {
    let runtime = NodeRed::start_with_palette("mike", include_str!("browser/dashboard-flows.json"));
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let port = flowgate.data.port().to_string();
    let said = run_in_browser(include_str!("browser/dashboard.cjs"), &[&port, MIKE_PASSWORD]);
    assert_eq!((&said["before"], &said["after"]), (&"still".into(), &"pressed by mike".into()));
    let polling = |transport: &Value| transport == "polling 200";
    assert!(said["transports"].as_array().unwrap().iter().any(polling), "{said}");
    let socket = said["socket"].as_str().unwrap();
    assert!(socket.contains("/api/ui/socket.io/?") && socket.contains("transport=websocket"));
    assert!(said["frames"].as_u64() > Some(0) && said["closed"] == false, "{said}");
}
