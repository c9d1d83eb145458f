//! Sessions: what they open, what ends them, and that nobody else's page can use them.

use serde_json::Value;

use crate::support::flowgate::Flowgate;
use crate::support::profiles::{MIKE_PASSWORD, ROBERTO_PASSWORD, mike, mike_and_roberto};
use crate::support::redis::Redis;
use crate::support::replicas::Runtimes;
use crate::support::runtime::{Runtime, text_from_client};
use crate::support::session::{Session, post, send};
use crate::support::websocket::{WebSocket, handshake};

const MIKES: &str = "mike.flows.localhost";

fn start() -> (Runtime, Flowgate) {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike_and_roberto(runtime.address, Runtime::nowhere()), &[]);
    (runtime, flowgate)
}

fn code(flowgate: &Flowgate, host: &str, path: &str, headers: &str) -> u16 {
    let head = WebSocket::open(flowgate.data, handshake(path, host, headers)).head;
    head.split(' ').nth(1).expect(&head).parse().unwrap()
}

fn origin(flowgate: &Flowgate, host: &str) -> String {
    format!("http://{host}:{}", flowgate.data.port())
}

/// A WebSocket of mike's editor, as its page would open it.
fn comms(flowgate: &Flowgate, cookie: &str) -> WebSocket {
    let host = format!("{MIKES}:{}", flowgate.data.port());
    let origin = origin(flowgate, MIKES);
    let headers = format!("Cookie: {cookie}\r\nOrigin: {origin}\r\n");
    let websocket = WebSocket::open(flowgate.data, handshake("/red/comms", &host, &headers));
    assert!(websocket.head.starts_with("HTTP/1.1 101"), "{}", websocket.head);
    websocket
}

#[test]
fn what_rests_on_a_session_ends_with_it() {
    let (_runtime, flowgate) = start();
    let session = Session::begin(flowgate.data, "mike", MIKE_PASSWORD);
    let other = Session::begin(flowgate.data, "mike", MIKE_PASSWORD);
    let mut websocket = comms(&flowgate, &session.on_host("mike"));
    let mut others = comms(&flowgate, &other.on_host("mike"));
    websocket.send(&text_from_client("hello"));
    assert_eq!(websocket.receive_text(), "hello");

    let page = session.get("/logout");
    let without = session.post("/logout", "token=x");
    assert_eq!(without.status, 403, "{}", without.body);
    let gone = session.post("/logout", &format!("token={}", page.field("token")));
    assert_eq!((gone.status, gone.header("location")), (303, Some("/login")));
    assert_eq!(websocket.receive_close(), (1008, "logged out".to_owned()));
    assert_eq!(session.get("/profile").status, 303, "its cookie is worth nothing now");

    others.send(&text_from_client("still"));
    assert_eq!(others.receive_text(), "still");
    let new = serde_json::json!({ "old": MIKE_PASSWORD, "new": "another-horse" });
    assert_eq!(flowgate.profile(("mike", MIKE_PASSWORD), "PUT", "/password", &new).0, 200);
    assert_eq!(others.receive_close(), (1008, "password changed".to_owned()));
    assert_eq!(other.get("/profile").status, 303);
}

#[test]
fn a_session_survives_a_crash_and_ends_when_it_was_idle() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let session = Session::begin(flowgate.data, "mike", MIKE_PASSWORD);
    let host = session.on_host("mike");
    let flowgate = flowgate.kill_and_restart(&[]);
    let session = Session { at: flowgate.data, ..session };
    assert_eq!(session.get("/logout").status, 200);
    drop(comms(&flowgate, &host));
    let flowgate = flowgate.kill_and_restart(&["--session-idle-max", "1ms"]);
    let session = Session { at: flowgate.data, ..session };
    assert_eq!(session.get("/profile").status, 303);
}

#[test]
fn a_session_does_not_count_where_other_peoples_pages_are() {
    let (_runtime, flowgate) = start();
    let session = Session::begin(flowgate.data, "mike", MIKE_PASSWORD);
    let host = session.on_host("mike");
    let bare =
        format!("Cookie: {}\r\nOrigin: {}\r\n", session.cookie, origin(&flowgate, "localhost"));
    let named = format!("localhost:{}", flowgate.data.port());
    assert_eq!(code(&flowgate, &named, "/api/thing", &bare), 401);
    // On the tenant's own host it opens what is theirs.
    let mikes = format!("{MIKES}:{}", flowgate.data.port());
    let own = format!("Cookie: {host}\r\nOrigin: {}\r\n", origin(&flowgate, MIKES));
    assert_eq!(code(&flowgate, &mikes, "/api/thing", &own), 101);
    assert_eq!(code(&flowgate, &mikes, "/red/comms", &own), 101);
    // Neither cookie is worth anything in the other's place, nor on another tenant's host.
    let swapped = format!("Cookie: {}\r\nOrigin: {}\r\n", session.cookie, origin(&flowgate, MIKES));
    assert_eq!(code(&flowgate, &mikes, "/red/comms", &swapped), 401);
    let tenants = Session { at: flowgate.data, cookie: host.clone() };
    assert_eq!(tenants.get("/profile").status, 303);
    let robertos = "roberto.flows.localhost";
    let there = format!("{robertos}:{}", flowgate.data.port());
    let theirs = format!("Cookie: {host}\r\nOrigin: {}\r\n", origin(&flowgate, robertos));
    for path in ["/api/thing", "/red/comms"] {
        assert_eq!(code(&flowgate, &there, path, &theirs), 401, "{path}");
    }
}

#[test]
fn only_pages_of_the_very_host_use_a_session() {
    let (_runtime, flowgate) = start();
    let session = Session::begin(flowgate.data, "mike", MIKE_PASSWORD);
    let host = session.on_host("mike");
    let mikes = format!("{MIKES}:{}", flowgate.data.port());
    let robertos = origin(&flowgate, "roberto.flows.localhost");
    let bare = origin(&flowgate, "localhost");
    for foreign in ["null", "http://evil.example", &robertos, &bare, "http://mike.flows.localhost"]
    {
        let headers = format!("Cookie: {host}\r\nOrigin: {foreign}\r\n");
        assert_eq!(code(&flowgate, &mikes, "/red/comms", &headers), 403, "{foreign}");
        let said = post(flowgate.data, "/red/flows", MIKES, foreign, &host, "x=y");
        assert_eq!(said.status, 403, "{foreign}");
        let said = post(flowgate.data, "/logout", "localhost", foreign, &session.cookie, "token=x");
        assert_eq!(said.status, 403, "{foreign}");
    }
    // Without an Origin: a handshake, and what changes something.
    assert_eq!(code(&flowgate, &mikes, "/red/comms", &format!("Cookie: {host}\r\n")), 403);
    let cookie = format!("Cookie: {}", session.cookie);
    let key = "POST /profile/api-key";
    assert_eq!(send(flowgate.data, key, "localhost", &[&cookie], "").status, 403);
    // A sibling's page loads a script, or shows the editor in a frame.
    let hosts = format!("Cookie: {host}");
    for (mode, dest, expected) in
        [("no-cors", "script", 403), ("navigate", "iframe", 403), ("navigate", "document", 400)]
    {
        let mode = format!("Sec-Fetch-Mode: {mode}");
        let dest = format!("Sec-Fetch-Dest: {dest}");
        let headers = [hosts.as_str(), "Sec-Fetch-Site: same-site", &mode, &dest];
        let said = send(flowgate.data, "GET /red/", MIKES, &headers, "");
        // The sample runtime knows WebSockets only.
        assert_eq!(said.status == 403, expected == 403, "{dest}: {}", said.head);
    }
}

#[test]
fn a_code_is_good_once_for_one_browser_and_one_tenant() {
    let (_runtime, flowgate) = start();
    let session = Session::begin(flowgate.data, "mike", MIKE_PASSWORD);
    let take = |location: &str, host: &str, cookie: &str| {
        let path = &location[location.find("/login/session").unwrap()..];
        let cookie = format!("Cookie: {cookie}");
        send(flowgate.data, &format!("GET {path}"), host, &[&cookie], "").status
    };
    let (location, cookie) = session.code("mike");
    assert!(location.starts_with(&format!("//{MIKES}:{}/", flowgate.data.port())), "{location}");
    assert_eq!(take(&location, MIKES, &cookie), 303);
    assert_eq!(take(&location, MIKES, &cookie), 403, "twice");
    let (location, _) = session.code("mike");
    assert_eq!(take(&location, MIKES, "flowgate-handover=fgt_guessed"), 403, "another browser");
    let (location, cookie) = session.code("mike");
    assert_eq!(take(&location, "roberto.flows.localhost", &cookie), 403, "another tenant");
    let (location, cookie) = session.code("mike");
    let page = session.get("/logout");
    session.post("/logout", &format!("token={}", page.field("token")));
    assert_eq!(take(&location, MIKES, &cookie), 401, "the session is over");

    let roberto = Session::begin(flowgate.data, "roberto", ROBERTO_PASSWORD);
    let begun = send(flowgate.data, "GET /red/", MIKES, &[], "");
    let location = begun.header("location").unwrap();
    let path = &location[location.find("/login/editor").unwrap()..];
    assert_eq!(roberto.get(path).status, 403, "no way from roberto's session to mike's host");
    let there = path.replace("tenant=mike", "tenant=roberto");
    for to in ["https:%2F%2Fevil.example", "%2F%2Fevil.example", "%5C%5Cevil.example", "%2F%0D%0Ax"]
    {
        let (begin, _) = there.rsplit_once("to=").unwrap();
        assert_eq!(roberto.get(&format!("{begin}to={to}")).status, 403, "{to}");
    }
}

#[test]
fn several_windows_of_a_browser_come_to_the_editor_at_once() {
    let (_runtime, flowgate) = start();
    let session = Session::begin(flowgate.data, "mike", MIKE_PASSWORD);
    let (first, cookie) = session.code("mike");
    let again = |path: &str, host: &str, cookie: &str| {
        // A cookie of somebody else's that is no text hides none of ours.
        let cookie = format!("Cookie: tossed=\u{e9}; {cookie}");
        send(flowgate.data, &format!("GET {path}"), host, &[&cookie], "")
    };
    let begun = again("/red/", MIKES, &cookie);
    let location = begun.header("location").unwrap();
    let issued =
        again(&location[location.find("/login/").unwrap()..], "localhost", &session.cookie);
    let second = issued.header("location").unwrap().to_owned();
    for location in [first, second] {
        let taken = again(&location[location.find("/login/session").unwrap()..], MIKES, &cookie);
        assert_eq!(taken.status, 303, "{}", taken.head);
        drop(comms(&flowgate, &taken.cookie("flowgate-session")));
    }
}

#[test]
fn a_form_that_is_sent_again_replaces_no_second_key() {
    let (_runtime, flowgate) = start();
    let session = Session::begin(flowgate.data, "mike", MIKE_PASSWORD);
    let page = session.get("/profile");
    let form = format!("token={}&made={}", page.field("token"), page.field("made"));
    let done = session.post("/profile/do/regenerate", &form);
    assert_eq!(done.status, 200, "{}", done.body);
    assert!(done.body.contains("fgk_"));
    let again = session.post("/profile/do/regenerate", &form);
    assert_eq!(again.status, 409);
    assert!(!again.body.contains("fgk_") && again.body.contains("changed meanwhile"));
    let address = session.get("/profile/do/regenerate");
    assert_eq!((address.status, address.header("location")), (303, Some("/profile")));
}

#[test]
fn a_first_key_is_made_in_the_page_and_replaces_none() {
    let mut profiles = mike(Runtime::nowhere());
    profiles["tenants"][0].as_object_mut().unwrap().remove("api_key");
    let flowgate = Flowgate::start(&profiles, &[]);
    let session = Session::begin(flowgate.data, "mike", MIKE_PASSWORD);
    let page = session.get("/profile");
    assert!(page.body.contains("There is none.") && page.body.contains("Make the API key"));
    let form = format!("token={}&made={}", page.field("token"), page.field("made"));
    let done = session.post("/profile/do/regenerate", &form);
    assert!(done.body.contains("This is the API key.") && done.body.contains("fgk_"));
    assert!(!done.body.contains("The old one") && done.body.contains("Regenerate the API key"));
    assert_eq!(session.post("/profile/do/regenerate", &form).status, 409, "sent again");
}

#[test]
fn nobody_is_logged_in_by_another_page() {
    let (_runtime, flowgate) = start();
    let at = flowgate.data;
    let form = send(at, "GET /login", "localhost", &[], "");
    let (cookie, token) = (form.cookie("flowgate-login"), form.field("token"));
    let fields = format!("token={token}&username=mike&password={MIKE_PASSWORD}");
    let own = origin(&flowgate, "localhost");
    let log_in = |origin: &str, cookie: &str, fields: &str| {
        let answer = post(at, "/login", "localhost", origin, cookie, fields);
        assert!(
            answer.status == 303 || !answer.head.contains("flowgate-session"),
            "{}",
            answer.head
        );
        answer.status
    };
    assert_eq!(log_in("null", &cookie, &fields), 403);
    assert_eq!(log_in(&origin(&flowgate, "mike.flows.localhost"), &cookie, &fields), 403);
    assert_eq!(log_in(&own, "", &fields), 403, "without the form's cookie");
    assert_eq!(log_in(&own, "flowgate-login=other", &fields), 403);
    let wrong = fields.replace(MIKE_PASSWORD, "wrong");
    assert_eq!(log_in(&own, &cookie, &wrong), 401);
    let nobody = wrong.replace("mike", "nobody");
    assert_eq!(log_in(&own, &cookie, &nobody), 401);
    assert_eq!(log_in(&own, &cookie, &fields), 303);

    // A name that cookies could be set for by a tenant's page, and one that is not loopback.
    let answer = send(at, "GET /login", "flows.localhost", &[], "");
    let location = answer.header("location").unwrap();
    assert_eq!(location, format!("//localhost:{}/login", at.port()));
    let answer = send(at, "GET /login", "127.0.0.1", &[], "");
    assert_eq!(answer.header("location"), Some(location));
    for (host, scheme) in [("flows.example", "http"), ("flows.localhost", "http")] {
        let origin = format!("{scheme}://{host}:{}", at.port());
        let answer = post(at, "/login", host, &origin, &cookie, &fields);
        assert_eq!(answer.status, 403, "{host}");
        assert!(answer.body.contains("Logging in takes HTTPS"), "{}", answer.body);
    }
    let session = Session::begin(at, "mike", MIKE_PASSWORD);
    let tossed = format!("Cookie: {}", session.cookie);
    let answer = send(at, "GET /profile", "flows.localhost", &[&tossed], "");
    assert_eq!(answer.status, 303, "on the base domain anybody could have set it");
}

#[test]
fn where_tls_ends_before_us_the_cookies_are_those_of_tls() {
    let (_runtime, flowgate) = start();
    let at = flowgate.data;
    let form = send(at, "GET /login", "flows.example", &[], "");
    let (cookie, token) = (form.cookie("__Host-flowgate-login"), form.field("token"));
    let fields = format!("token={token}&username=mike&password={MIKE_PASSWORD}");
    let origin = format!("https://flows.example:{}", at.port());
    let answer = post(at, "/login", "flows.example", &origin, &cookie, &fields);
    assert_eq!(answer.status, 303, "{}", answer.body);
    let session = answer.cookie("__Host-flowgate-session");
    let set = answer.head.lines().find(|line| line.contains("__Host-flowgate-session")).unwrap();
    assert!(set.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax"), "{set}");
    let cookie = format!("Cookie: {session}");
    assert_eq!(send(at, "GET /logout", "flows.example", &[&cookie], "").status, 200);
    let plain = cookie.replace("__Host-flowgate-session", "flowgate-session");
    assert_eq!(send(at, "GET /logout", "flows.example", &[&plain], "").status, 303);
}

#[test]
fn a_login_leads_to_pages_of_ours_alone() {
    let (_runtime, flowgate) = start();
    for next in ["https://evil.example", "//evil.example", "/\\evil.example", "/api/x", "/profilex"]
    {
        let form = send(flowgate.data, &format!("GET /login?next={next}"), "localhost", &[], "");
        assert_eq!(form.field("next"), "/profile", "{next}");
    }
    let page = send(flowgate.data, "GET /profile", "localhost", &[], "");
    assert_eq!((page.status, page.header("location")), (303, Some("/login?next=%2Fprofile")));
    let program = "GET /profile HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = flowgate.ask(program);
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("Basic"), "{answer}");
    let script = program.replace("\r\n\r\n", "\r\nSec-Fetch-Site: same-origin\r\n\r\n");
    let answer = flowgate.ask(&script);
    assert!(answer.contains("no_session") && !answer.contains("Basic"), "{answer}");
}

#[test]
fn its_connections_are_in_the_list_and_can_be_closed() {
    let (_runtime, flowgate) = start();
    let session = Session::begin(flowgate.data, "mike", MIKE_PASSWORD);
    let mut websocket = comms(&flowgate, &session.on_host("mike"));
    let (status, said) =
        flowgate.profile(("mike", MIKE_PASSWORD), "GET", "/connections", &Value::Null);
    assert_eq!((status, &said["connections"][0]["grant"]), (200, &"session".into()), "{said}");
    let id = said["connections"][0]["id"].as_str().unwrap();
    let path = format!("/connections/{id}");
    assert_eq!(flowgate.profile(("mike", MIKE_PASSWORD), "DELETE", &path, &Value::Null).0, 200);
    assert_eq!(websocket.receive_close(), (1008, "closed by the tenant".to_owned()));
}

#[test]
fn a_session_is_known_to_every_replica_and_ends_on_all_of_them() {
    let redis = Redis::start();
    let _runtimes = Runtimes::in_registry(&redis.url());
    let [here, there] = [(); 2].map(|()| Flowgate::start_on(&redis.url(), &[]));
    let session = Session::begin(here.data, "mike", MIKE_PASSWORD);
    let elsewhere = Session { at: there.data, cookie: session.cookie.clone() };
    let mut websocket = comms(&there, &elsewhere.on_host("mike"));
    websocket.send(&text_from_client("hello"));
    assert_eq!(websocket.receive_text(), "hello");
    let page = session.get("/logout");
    assert_eq!(session.post("/logout", &format!("token={}", page.field("token"))).status, 303);
    assert_eq!(websocket.receive_close(), (1008, "logged out".to_owned()));
    assert_eq!(elsewhere.get("/profile").status, 303);
}
