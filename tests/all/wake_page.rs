//! What a browser sees of a runtime that wakes.

use serde_json::json;

use crate::support::flowgate::Flowgate;
use crate::support::node::run_in_browser;
use crate::support::own::{Own, mike};
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD};
use crate::support::replicas::with_key;
use crate::support::session::Session;
use crate::support::wait_until;

#[test]
fn a_browser_sees_a_real_node_red_wake_and_turn_into_the_editor() {
    let own = Own::node_red();
    let flowgate = Flowgate::start(&mike(false, json!({})), &own.flags(&[]));
    let port = flowgate.data.port().to_string();
    let said = run_in_browser(include_str!("browser/waking.cjs"), &[&port, MIKE_PASSWORD]);
    let text = said["text"].as_str().unwrap();
    assert!(text.contains("Start, until it answers") && text.contains("s so far"), "{said}");
    let statuses = said["statuses"].as_array().unwrap();
    assert!(statuses.contains(&json!(503)) && statuses.last() == Some(&json!(200)), "{said}");
    assert_eq!(said["serious"], json!([]), "{said}");
    let ready = |line: &&serde_json::Value| line["message"] == "the runtime is ready";
    assert_eq!(flowgate.log().iter().filter(ready).count(), 1);
}

/// With a session as with the browser above, but read word for word.
#[test]
fn its_owner_is_told_why_it_does_not_start_and_a_program_gets_no_page() {
    let own = Own::small("dies");
    let flowgate = Flowgate::start(&mike(false, json!({})), &own.flags(&[]));
    let cookie = Session::begin(flowgate.data, "mike", MIKE_PASSWORD).on_host("mike");
    let host = format!("mike.flows.localhost:{}", flowgate.data.port());
    let open = |accept: &str| {
        flowgate.ask(&format!(
            "GET /red/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nCookie: {cookie}\r\n\
             Accept: {accept}\r\n\r\n"
        ))
    };
    wait_until("it is told", || {
        let page = open("text/html");
        assert!(page.starts_with("HTTP/1.1 503"), "{page}");
        page.contains("Your runtime does not start")
            && page.contains("exit status: 3")
            && page.contains("\\u{1b}[31mno flows\\u{7}")
    });
    assert!(open("application/json").contains("\"start_failed\""));
    let key = with_key(MIKE_KEY);
    let stranger = flowgate.ask(
        "GET /public/mike/x HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nConnection: close\r\n\r\n",
    );
    let client = flowgate.ask(&format!(
        "GET /api/x HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nConnection: close\r\n{key}\r\n"
    ));
    for answer in [stranger, client] {
        assert!(answer.starts_with("HTTP/1.1 503") && !answer.contains("no flows"), "{answer}");
    }
}
