//! Real wscat reaches real Node-RED.

use crate::support::flowgate::Flowgate;
use crate::support::node::{NodeRed, wscat, wscat_until_disconnected};
use crate::support::profiles::{
    MIKE_KEY, MIKE_PASSWORD, ROBERTO_KEY, ROBERTO_PASSWORD, mike, mike_and_roberto,
};

fn start(runtimes: &[NodeRed; 2]) -> Flowgate {
    let [mike, roberto] = runtimes;
    Flowgate::start(&mike_and_roberto(mike.address, roberto.address), &[])
}

fn answer(runtime: &str, path: &str) -> String {
    format!(r#"{{"runtime":"{runtime}","path":"{path}","payload":"hello"}}"#)
}

#[test]
fn anybody_reaches_what_is_public() {
    let runtimes = NodeRed::pair();
    let flowgate = start(&runtimes);
    let data = flowgate.data;
    let received =
        r#"{"runtime":"mike","path":"/public/receive","payload":"hello","received":true}"#;
    assert_eq!(wscat(&["-c", &format!("http://{data}/public/mike/receive")]), received);
    let url = format!("ws://{data}/public/mike/data");
    assert_eq!(wscat(&["-c", &url]), answer("mike", "/public/data"));
    let url = format!("ws://{data}/public/roberto/data");
    assert_eq!(wscat(&["-c", &url]), answer("roberto", "/public/data"));
    // Node.js does not know that *.localhost is this machine everywhere.
    let host = format!("Host: mike.flows.localhost:{}", data.port());
    let url = format!("ws://{data}/api/public/data");
    assert_eq!(wscat(&["-H", &host, "-c", &url]), answer("mike", "/public/data"));
}

#[test]
fn a_credential_reaches_its_own_tenants_runtime() {
    let runtimes = NodeRed::pair();
    let flowgate = start(&runtimes);
    let url = format!("http://{}/api/thing", flowgate.data);
    for (name, password, key) in
        [("mike", MIKE_PASSWORD, MIKE_KEY), ("roberto", ROBERTO_PASSWORD, ROBERTO_KEY)]
    {
        let expected = answer(name, "/thing");
        let login = format!("{name}:{password}");
        assert_eq!(wscat(&["--auth", &login, "-c", &url]), expected);
        let (user, named_key) = (format!("x-auth-user:{name}"), format!("x-auth-key:{key}"));
        assert_eq!(wscat(&["-H", &user, "-H", &named_key, "-c", &url]), expected);
        let api_key = format!("apikey: {key}");
        assert_eq!(wscat(&["-H", &api_key, "-c", &url]), expected);
        let host = format!("Host: {name}.flows.localhost:{}", flowgate.data.port());
        assert_eq!(wscat(&["-H", &api_key, "-H", &host, "-c", &url]), expected);
        assert_eq!(wscat(&["-c", &format!("{url}?apikey={key}")]), expected);
    }
}

#[test]
fn a_wrong_credential_is_refused_before_the_upgrade() {
    let runtimes = NodeRed::pair();
    let flowgate = start(&runtimes);
    let url = format!("ws://{}/api/thing", flowgate.data);
    let refused = |status: u16| format!("error: Unexpected server response: {status}");
    let roberto_with_mikes = format!("roberto:{MIKE_PASSWORD}");
    let mikes_key = format!("x-auth-key:{MIKE_KEY}");
    let on_mikes_host = format!("Host: mike.flows.localhost:{}", flowgate.data.port());
    let robertos_key = format!("apikey: {ROBERTO_KEY}");
    for (status, arguments) in [
        (401, vec![]),
        (401, vec!["--auth", "mike:wrong"]),
        (401, vec!["--auth", "nobody:wrong"]),
        (401, vec!["--auth", &roberto_with_mikes]),
        (401, vec!["-H", "apikey: wrong"]),
        (401, vec!["-H", "x-auth-user:roberto", "-H", &mikes_key]),
        (401, vec!["-H", "authorization: Bearer something"]),
        (403, vec!["-H", &on_mikes_host, "-H", &robertos_key]),
    ] {
        assert_eq!(
            wscat(&[&arguments[..], &["-c", &url]].concat()),
            refused(status),
            "{arguments:?}"
        );
    }
    assert!(!flowgate.log_by_now().contains("connection ended"));
}

#[test]
fn wscat_shows_why_a_connection_ended() {
    let mut runtime = NodeRed::start("mike");
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let url = format!("ws://{}/public/mike/data", flowgate.data);
    let printed = wscat_until_disconnected(&["-c", &url], || runtime.kill());
    assert!(printed.contains(r#"(code: 1014, reason: "runtime vanished")"#), "{printed}");
    assert_eq!(wscat(&["-c", &url]), "error: Unexpected server response: 502");
}
