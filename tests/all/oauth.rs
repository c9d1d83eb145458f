//! An API that applications call with access tokens, step by step as WSO2 API Manager documents it for
//! WebSocket APIs; and what such a token opens, and for how long.

use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::admin::{ADMIN, call, command, ok};
use crate::support::node::{NodeRed, wscat, wscat_until_disconnected};
use crate::support::oauth::{
    Application, Issuing, MIKE, PATH, ROBERTO, bearer, done, open, post_raw, publish, status,
};
use crate::support::profiles::{MIKE_KEY, mike_and_roberto};
use crate::support::replicas::{Runtimes, assert_alive};
use crate::support::runtime::{Runtime, accept, echo, header_value};
use crate::support::wait_until;
use crate::support::websocket::{WebSocket, handshake};

fn curl(arguments: &[&str]) -> Value {
    let output = Command::new("curl").args(["--silent", "--show-error"]).args(arguments).output();
    let output = output.expect("curl is needed");
    let said = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(&said).expect(&said)
}

#[test]
fn the_tutorial_about_websocket_apis_word_by_word() {
    let runtimes = NodeRed::pair();
    let issuing = Issuing::new();
    let mut profiles = mike_and_roberto(runtimes[0].address, runtimes[1].address);
    let plans = |limit: u64| json!({ "messages_per_minute": limit, "over": "drop" });
    profiles["plans"] = json!({ "Gold": plans(5000), "Silver": plans(2000) });
    let flowgate = issuing.start(&profiles);
    let url = |path: &str| format!("http://{}{path}", flowgate.data);
    let as_ = |(name, password): (&str, &str)| format!("{name}:{password}");
    let json_body = ["-H", "Content-Type: application/json", "-d"];
    // Create the API, and publish it.
    let definition = r#"{"name": "EchoWebSocket", "context": "/echowebsocket", "version": "1.0.0",
        "endpoint": {"runtime_path": "/thing"}, "security": ["oauth2"],
        "plans": ["Gold", "Silver"]}"#;
    let user = as_(MIKE);
    let apis = url("/profile/apis");
    let api = curl(&[&["-u", &user][..], &json_body, &[definition, &apis]].concat());
    assert_eq!((&api["state"], &api["path"]), (&json!("created"), &json!(PATH)), "{api}");
    let state = url(&format!("/profile/apis/{}/state", api["id"].as_str().unwrap()));
    let publish = r#"{"state": "published"}"#;
    let publish = [&["-u", &user, "-X", "PUT"][..], &json_body, &[publish, &state]].concat();
    assert_eq!(curl(&publish)["state"], json!("published"));
    // Find it, sign up an application, subscribe, and generate keys.
    let user = as_(ROBERTO);
    let catalog = curl(&["-u", &user, &url("/profile/catalog")]);
    assert_eq!(catalog["apis"][0]["name"], json!("EchoWebSocket"), "{catalog}");
    assert_eq!(catalog["apis"][0]["owner"], json!("mike"), "{catalog}");
    assert_eq!(catalog["apis"][0]["plans"], json!(["Gold", "Silver"]), "{catalog}");
    let post = |path: &str, body: &str| {
        curl(&[&["-u", &user][..], &json_body, &[body, &url(path)]].concat())
    };
    let application = post("/profile/applications", r#"{"name": "Echo Client"}"#);
    let at = format!("/profile/applications/{}", application["id"].as_str().unwrap());
    let subscribed = json!({ "api": api["path"], "plan": "Gold" }).to_string();
    let subscribed = post(&format!("{at}/subscriptions"), &subscribed);
    let subscription = &subscribed["application"]["subscriptions"][0];
    assert_eq!(subscription["path"], json!(PATH), "{subscribed}");
    assert_eq!(subscription["plan_use"]["limits"][0]["left"], json!(5000), "{subscribed}");
    let keys = post(&format!("{at}/keys"), "{}");
    let (key, secret) = (keys["consumer_key"].as_str().unwrap(), &keys["consumer_secret"]);
    let pair = format!("{key}:{}", secret.as_str().unwrap());
    // Get a token, and connect.
    let token = curl(&["-u", &pair, "-d", "grant_type=client_credentials", &url("/oauth2/token")]);
    assert_eq!(token["token_type"], json!("Bearer"), "{token}");
    assert_eq!((&token["expires_in"], &token["scope"]), (&json!(3600), &json!("default")));
    let token = token["access_token"].as_str().unwrap();
    let with_token = format!("Authorization: Bearer {token}");
    let ws = format!("ws://{}{PATH}", flowgate.data);
    let answer = wscat(&["-c", &ws, "-H", &with_token]);
    assert!(answer.contains(r#""runtime":"mike""#) && answer.contains("hello"), "{answer}");
    let answer = wscat(&["-c", &format!("{ws}?access_token={token}")]);
    assert!(answer.contains("hello") && !answer.contains(token), "{answer}");
    let subprotocol = format!("flowgate.bearer.{token}");
    let answer = wscat(&["-c", &ws, "-s", "flowgate", "-s", &subprotocol]);
    assert!(answer.contains("hello"), "{answer}");
    assert_eq!(wscat(&["-c", &ws]), "error: Unexpected server response: 401");
    let header = format!("'{with_token}'");
    let printed = wscat_until_disconnected(&["-c", &ws, "-H", &header], || {
        curl(&["-u", &pair, "-d", &format!("token={token}"), &url("/oauth2/revoke")]);
    });
    assert!(printed.contains("1008") && printed.contains("token revoked"), "{printed}");
    assert_eq!(wscat(&["-c", &ws, "-H", &with_token]), "error: Unexpected server response: 401");
    let log = flowgate.log_by_now();
    assert!(![token, secret.as_str().unwrap()].iter().any(|secret| log.contains(secret)));
}

/// mike and roberto, whose runtimes send everything back.
fn start(issuing: &Issuing) -> (crate::support::flowgate::Flowgate, Runtimes) {
    let runtimes = Runtimes::beside();
    (issuing.start(&runtimes.profiles()), runtimes)
}

#[test]
fn an_operator_does_the_same_by_commands() {
    let node = Runtime::echo();
    let issuing = Issuing::new();
    let (flowgate, _runtimes) = start(&issuing);
    let run = |arguments: &[&str]| ok(&mut command(&flowgate, arguments));
    let endpoint = format!("ws://{}", node.address);
    let add = ["api", "add", "--name", "EchoWebSocket", "--context", "/echowebsocket"];
    let more = ["--api-version", "1.0.0", "--node", &endpoint, "--security", "oauth2", "--publish"];
    run(&[&add[..], &more[..]].concat());
    run(&["application", "add", "Echo Client"]);
    run(&["application", "subscribe", "Echo Client", PATH]);
    let told = run(&["application", "keys", "Echo Client"]);
    let told = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name)).expect(&told);
        line.trim().to_owned()
    };
    let (id, secret) = (told("consumer key:"), told("consumer secret:"));
    let application = Application { id, secret };
    let token = application.token(&flowgate);
    let mut one = open(&flowgate, PATH, &token);
    assert_alive(&mut one);
    assert!(run(&["application", "list"]).contains("Echo Client"));
    // A rotation leaves tokens as they are; dropping the keys ends them.
    run(&["signing-key", "rotate"]);
    assert_alive(&mut one);
    assert_eq!(status(&flowgate, PATH, &bearer(&token)), 101);
    let younger = application.token(&flowgate);
    assert_eq!(status(&flowgate, PATH, &bearer(&younger)), 101);
    let keys = run(&["signing-key", "rotate", "--revoke", "--yes"]);
    assert!(keys.contains("current") && keys.contains("next") && !keys.contains("previous"));
    assert_eq!(one.receive_close(), (1008, "token revoked".to_owned()));
    assert_eq!(status(&flowgate, PATH, &bearer(&younger)), 401);
    let mut one = open(&flowgate, PATH, &application.token(&flowgate));
    let shown = crate::support::admin::json(&flowgate, &["application", "show", "Echo Client"]);
    let subscription = shown["subscriptions"][0]["id"].as_str().unwrap();
    run(&["application", "unsubscribe", "Echo Client", subscription, "--yes"]);
    assert_eq!(one.receive_close(), (1008, "subscription ended".to_owned()));
    run(&["application", "remove", "Echo Client", "--yes"]);
    let form = "grant_type=client_credentials";
    let (code, _, said) = application.post(flowgate.data, "/oauth2/token", form);
    assert_eq!((code, &said["error"]), (401, &json!("invalid_client")));
}

#[test]
fn a_token_is_carried_in_four_ways_and_the_endpoint_sees_none_of_them() {
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&heads);
    let mikes = Runtime::start(move |mut websocket| {
        seen.lock().unwrap().push(websocket.head.clone());
        accept(&mut websocket, "");
        echo(&mut websocket);
    });
    let issuing = Issuing::new();
    let flowgate = issuing.start(&mike_and_roberto(mikes.address, Runtime::nowhere()));
    publish(&flowgate, "/echowebsocket");
    let application = Application::create(&flowgate, "four ways", &[PATH]);
    let token = application.token(&flowgate);
    let ticket = |origin: Option<&str>| {
        let body = json!({ "path": PATH, "origin": origin }).to_string();
        let headers = format!("Content-Type: application/json\r\n{}", bearer(&token));
        let (code, _, said) = post_raw(flowgate.data, "/oauth2/tickets", &headers, &body);
        assert_eq!(code, 201, "{said}");
        said["ticket"].as_str().unwrap().to_owned()
    };
    let ours = format!("Sec-WebSocket-Protocol: flowgate, flowgate.bearer.{token}, real\r\n");
    let (plain, bound) = (ticket(None), ticket(Some("https://shop.example")));
    let page = "Origin: https://shop.example\r\n";
    let forged = "X-Consumer-Username: jack\r\nX-Credential-Identifier: jack\r\n";
    for (path, headers) in [
        (format!("{PATH}?x=1"), bearer(&token)),
        (format!("{PATH}?access_token={token}&x=1"), String::new()),
        (format!("{PATH}?x=1"), ours),
        (format!("{PATH}?x=1&ticket={plain}"), String::new()),
        (format!("{PATH}?ticket={bound}&x=1"), page.to_owned()),
    ] {
        let headers = format!("{headers}{forged}");
        let mut websocket = WebSocket::connect(flowgate.data, &path, &headers);
        assert_alive(&mut websocket);
        let head = heads.lock().unwrap().last().unwrap().clone();
        assert!(head.starts_with("GET /api/thing?x=1 HTTP/1.1\r\n"), "{head}");
        for absent in [&*token, &*plain, &*bound, "jack", "flowgate", "uthorization"] {
            assert!(!head.contains(absent), "{absent}: {head}");
        }
        let caller = format!("application:{}", application.id);
        assert_eq!(header_value(&head, "X-Consumer-Username"), Some(&*caller));
        assert_eq!(header_value(&head, "X-Credential-Identifier"), Some(&*application.id));
    }
    // Tickets are good once, for one path and one page; two tokens are one too many.
    for (path, headers, expected) in [
        (format!("{PATH}?ticket={plain}"), String::new(), 401),
        (format!("{PATH}/x?ticket={}", ticket(None)), String::new(), 401),
        (format!("{PATH}?ticket={}", ticket(Some("https://shop.example"))), String::new(), 401),
        (format!("{PATH}?access_token={token}"), bearer(&token), 400),
        (PATH.to_owned(), bearer("geheim"), 401),
        (PATH.to_owned(), String::new(), 401),
        (PATH.to_owned(), format!("apikey: {MIKE_KEY}\r\n"), 401),
    ] {
        assert_eq!(status(&flowgate, &path, &headers), expected, "{path} {headers}");
    }
    // Where it is no credential, it is nobody else's to see, either.
    for (path, headers) in
        [("/public/mike/thing", String::new()), ("/api/thing", format!("apikey: {MIKE_KEY}\r\n"))]
    {
        let headers = format!("{headers}{}", bearer(&token));
        WebSocket::connect(flowgate.data, path, &headers);
        let head = heads.lock().unwrap().last().unwrap().clone();
        assert!(!head.contains(&token), "{head}");
    }
}

#[test]
fn a_token_opens_the_subscribed_apis_and_nothing_else() {
    let issuing = Issuing::new();
    let (flowgate, _runtimes) = start(&issuing);
    publish(&flowgate, "/echowebsocket");
    publish(&flowgate, "/other");
    let other = "/other/1.0.0";
    let both = Application::create(&flowgate, "both", &[PATH, other]);
    let one = Application::create(&flowgate, "one", &[PATH]);
    let token = one.token(&flowgate);
    assert_eq!(status(&flowgate, PATH, &bearer(&token)), 101);
    assert_eq!(status(&flowgate, other, &bearer(&token)), 403);
    for path in ["/api/thing", "/profile", "/profile/applications"] {
        let found = status(&flowgate, path, &bearer(&token));
        assert!(matches!(found, 401 | 404), "{path}: {found}");
        let query = format!("{path}?access_token={token}");
        let found = status(&flowgate, &query, "");
        assert!(matches!(found, 401 | 404), "{query}: {found}");
    }
    // Neither key nor secret opens anything by itself.
    for secret in [&one.secret, &one.id] {
        assert_eq!(status(&flowgate, PATH, &bearer(secret)), 401);
        assert_eq!(status(&flowgate, "/api/thing", &bearer(secret)), 401);
    }
    assert_eq!(status(&flowgate, "/api/thing", &one.basic()), 401);
    // A scope leaves out what it does not name; what was subscribed to later is not in a token.
    let narrow = both.token_with(&flowgate, "&scope=/other/1.0.0");
    assert_eq!(status(&flowgate, other, &bearer(&narrow)), 101);
    assert_eq!(status(&flowgate, PATH, &bearer(&narrow)), 403);
    let subscriptions = format!("/applications/{}/subscriptions", one.id);
    done(&flowgate, ROBERTO, "POST", &subscriptions, &json!({ "api": other }));
    assert_eq!(status(&flowgate, other, &bearer(&token)), 403);
    assert_eq!(status(&flowgate, other, &bearer(&one.token(&flowgate))), 101);
    // What is not somebody's own is not there for them.
    for (method, path) in [
        ("GET", format!("/applications/{}", one.id)),
        ("DELETE", format!("/applications/{}", one.id)),
        ("POST", format!("/applications/{}/keys", one.id)),
        ("POST", format!("/applications/{}/token", one.id)),
    ] {
        assert_eq!(flowgate.profile(MIKE, method, &path, &Value::Null).0, 404, "{method} {path}");
    }
    // A token without a secret at hand, in the page.
    let path = format!("/applications/{}/token", both.id);
    let made = done(&flowgate, ROBERTO, "POST", &path, &json!({ "validity_period": 60 }));
    assert_eq!(made["expires_in"], json!(60));
    let made = made["access_token"].as_str().unwrap();
    assert_eq!(status(&flowgate, PATH, &bearer(made)), 101);
}

#[test]
fn what_a_token_rests_on_takes_along_exactly_what_depends_on_it() {
    let issuing = Issuing::new();
    let (flowgate, _runtimes) = start(&issuing);
    let api = publish(&flowgate, "/echowebsocket");
    publish(&flowgate, "/other");
    let other = "/other/1.0.0";
    let one = Application::create(&flowgate, "one", &[PATH, other]);
    let two = Application::create(&flowgate, "two", &[PATH]);
    let (first, second) = (one.token(&flowgate), one.token(&flowgate));
    let mut of_two = open(&flowgate, PATH, &two.token(&flowgate));
    let mut beside = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    // A token.
    let mut by_first = open(&flowgate, PATH, &first);
    let mut elsewhere = open(&flowgate, other, &first);
    let mut by_second = open(&flowgate, PATH, &second);
    one.revoke(&flowgate, &first);
    let revoked = (1008, "token revoked".to_owned());
    assert_eq!(by_first.receive_close(), revoked);
    assert_eq!(elsewhere.receive_close(), revoked);
    assert_alive(&mut by_second);
    assert_eq!(status(&flowgate, PATH, &bearer(&first)), 401);
    // A subscription, by the application's owner and by the API's.
    let mut on_other = open(&flowgate, other, &second);
    let shown = done(&flowgate, ROBERTO, "GET", &format!("/applications/{}", one.id), &Value::Null);
    let of_api = |path: &str| {
        let all = shown["subscriptions"].as_array().unwrap();
        let found = all.iter().find(|it| it["path"] == json!(path)).unwrap();
        found["id"].as_str().unwrap().to_owned()
    };
    let at = format!("/applications/{}/subscriptions/{}", one.id, of_api(other));
    let ended = done(&flowgate, ROBERTO, "DELETE", &at, &Value::Null);
    assert_eq!(ended["closed"], json!(1), "{ended}");
    let over = (1008, "subscription ended".to_owned());
    assert_eq!(on_other.receive_close(), over);
    assert_alive(&mut by_second);
    let at = format!("/apis/{api}/subscriptions");
    let subscribers = done(&flowgate, MIKE, "GET", &at, &Value::Null);
    assert_eq!(subscribers["subscriptions"].as_array().unwrap().len(), 2, "{subscribers}");
    let at = format!("{at}/{}", of_api(PATH));
    assert_eq!(done(&flowgate, MIKE, "DELETE", &at, &Value::Null)["closed"], json!(1));
    assert_eq!(by_second.receive_close(), over);
    assert_alive(&mut of_two);
    assert_eq!(status(&flowgate, PATH, &bearer(&second)), 403);
    assert_alive(&mut beside);
}

#[test]
fn secrets_time_the_api_and_the_application_end_tokens_as_well() {
    let issuing = Issuing::new();
    let (flowgate, _runtimes) = start(&issuing);
    let api = publish(&flowgate, "/echowebsocket");
    let two = Application::create(&flowgate, "two", &[PATH]);
    let mut of_two = open(&flowgate, PATH, &two.token(&flowgate));
    let mut beside = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    // A secret; with an overlap, both work.
    let before = two.clone();
    let (fresh, ended) = two.generate(&flowgate, &json!({ "overlap_seconds": 600 }));
    assert_eq!(ended, 0);
    assert_alive(&mut of_two);
    let mut by_old = open(&flowgate, PATH, &before.token(&flowgate));
    let two = Application { secret: fresh, ..two };
    let mut by_new = open(&flowgate, PATH, &two.token(&flowgate));
    let (fresh, ended) = two.generate(&flowgate, &Value::Null);
    assert_eq!(ended, 3);
    for websocket in [&mut of_two, &mut by_old, &mut by_new] {
        let replaced = (1008, "consumer secret regenerated".to_owned());
        assert_eq!(websocket.receive_close(), replaced);
    }
    let two = Application { secret: fresh, ..two };
    // Time.
    let short = two.token_with(&flowgate, "&validity_period=1");
    let handshake = handshake(PATH, "localhost", &bearer(&short));
    let mut answer = WebSocket::open(flowgate.data, handshake);
    if answer.head.starts_with("HTTP/1.1 101") {
        assert_eq!(answer.receive_close(), (1008, "token expired".to_owned()));
    }
    wait_until("it is over", || status(&flowgate, PATH, &bearer(&short)) == 401);
    // The API, and the application.
    let token = two.token(&flowgate);
    let mut last = open(&flowgate, PATH, &token);
    let state = format!("/apis/{api}/state");
    done(&flowgate, MIKE, "PUT", &state, &json!({ "state": "blocked" }));
    assert_eq!(last.receive_close(), (1008, "API blocked".to_owned()));
    assert_eq!(status(&flowgate, PATH, &bearer(&token)), 503);
    done(&flowgate, MIKE, "PUT", &state, &json!({ "state": "published" }));
    let mut last = open(&flowgate, PATH, &token);
    let at = format!("/applications/{}", two.id);
    assert_eq!(done(&flowgate, ROBERTO, "DELETE", &at, &Value::Null)["closed"], json!(1));
    assert_eq!(last.receive_close(), (1008, "subscription ended".to_owned()));
    assert_alive(&mut beside);
}

#[test]
fn what_was_revoked_stays_so_after_a_crash() {
    let issuing = Issuing::new();
    let (flowgate, _runtimes) = start(&issuing);
    publish(&flowgate, "/echowebsocket");
    let application = Application::create(&flowgate, "one", &[PATH]);
    let (gone, kept) = (application.token(&flowgate), application.token(&flowgate));
    application.revoke(&flowgate, &gone);
    let flags = issuing.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let flowgate = flowgate.kill_and_restart(&flags);
    assert_eq!(status(&flowgate, PATH, &bearer(&kept)), 101);
    assert_eq!(status(&flowgate, PATH, &bearer(&gone)), 401);
    // An owner who is disabled, and one who comes back.
    let mut open = open(&flowgate, PATH, &kept);
    let set = |disabled: bool| {
        let line = "PUT /admin/v1/tenants/roberto/disabled";
        let body = json!({ "disabled": disabled });
        let (code, _, said) = call(&flowgate, ADMIN, line, "", &body);
        assert!((200..300).contains(&code), "{said}");
    };
    set(true);
    assert_eq!(open.receive_close(), (1008, "tenant disabled".to_owned()));
    assert_eq!(status(&flowgate, PATH, &bearer(&kept)), 401);
    let form = "grant_type=client_credentials";
    assert_eq!(application.post(flowgate.data, "/oauth2/token", form).0, 401);
    set(false);
    assert_eq!(status(&flowgate, PATH, &bearer(&kept)), 101);
}
