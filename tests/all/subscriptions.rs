//! Subscriptions: what their plans give, alone and on replicas; and what an API's owner does about them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use serde_json::{Value, json};

use crate::support::admin::{ADMIN, call, command, ok};
use crate::support::flowgate::Flowgate;
use crate::support::oauth::{
    Application, Issuing, MIKE, PATH, ROBERTO, bearer, done, open, publish_with_plans, status,
};
use crate::support::profiles::mike_and_roberto;
use crate::support::replicas::assert_alive;
use crate::support::runtime::{Runtime, text_from_client};
use crate::support::websocket::{FIN, PING, TEXT, WebSocket, handshake, masked};
use crate::support::{PATIENCE, wait_until};

pub const NOTICE: &str = "Error code: 4008 reason: Websocket frame throttled out";
const EXHAUSTED: &str = "plan's message budget exhausted";

/// A runtime that says nothing and tells how many messages it got.
pub fn counting() -> (Runtime, Arc<AtomicUsize>) {
    let taken = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&taken);
    let runtime = Runtime::accepting(move |websocket| {
        while let Some(frame) = websocket.receive() {
            if frame.first_byte == FIN | TEXT {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (runtime, taken)
}

pub fn profiles(mike: &Runtime, plans: Value) -> Value {
    let mut profiles = mike_and_roberto(mike.address, Runtime::nowhere());
    profiles["plans"] = plans;
    profiles
}

/// mike's API, with these plans, and the server.
fn start(issuing: &Issuing, mike: &Runtime, plans: Value) -> (Flowgate, String) {
    let names: Vec<String> = plans.as_object().unwrap().keys().cloned().collect();
    let flowgate = issuing.start(&profiles(mike, plans));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let api = publish_with_plans(&flowgate, "/echowebsocket", &names);
    (flowgate, api)
}

/// What is left of a subscription's first limit, as the API's owner sees it.
pub fn left(flowgate: &Flowgate, api: &str, subscription: &str) -> u64 {
    let at = format!("/apis/{api}/subscriptions");
    let shown = done(flowgate, MIKE, "GET", &at, &Value::Null);
    let all = shown["subscriptions"].as_array().unwrap();
    let found = all.iter().find(|it| it["id"] == *subscription).expect("it is there");
    found["plan_use"]["limits"][0]["left"].as_u64().unwrap()
}

#[test]
fn a_subscription_gives_what_its_plan_gives_to_the_message() {
    let issuing = Issuing::new();
    let (runtime, taken) = counting();
    // What comes back takes more than an hour for one message.
    let plans = json!({
        "Gold": { "messages_per_day": { "limit": 20, "burst": 50 }, "over": "close" },
        "Bronze": { "messages_per_day": { "limit": 20, "burst": 10 }, "over": "close" },
    });
    let (flowgate, api) = start(&issuing, &runtime, plans);
    let (bronze, subscription) = Application::on_plan(&flowgate, "bronze", "Bronze");
    let (gold, _) = Application::on_plan(&flowgate, "gold", "Gold");
    let spend = |application: &Application, expected: usize| {
        let before = taken.load(Ordering::SeqCst);
        let mut websocket = open(&flowgate, PATH, &application.token(&flowgate));
        websocket.send(&text_from_client("one of many").repeat(80));
        assert_eq!(websocket.receive_close(), (4008, EXHAUSTED.to_owned()));
        wait_until("all that passed has come", || {
            taken.load(Ordering::SeqCst) == before + expected
        });
    };
    spend(&bronze, 10);
    assert_eq!(left(&flowgate, &api, &subscription), 0);
    // A connection more, a token more, a subscription more: none of them gives more.
    spend(&bronze, 0);
    let at = format!("/applications/{}/subscriptions", bronze.id);
    done(&flowgate, ROBERTO, "DELETE", &format!("{at}/{subscription}"), &Value::Null);
    let again = json!({ "api": PATH, "plan": "Bronze" });
    let again = done(&flowgate, ROBERTO, "POST", &at, &again);
    spend(&bronze, 0);
    assert_eq!(left(&flowgate, &api, again["id"].as_str().unwrap()), 0);
    spend(&gold, 50);
    // What the API's owner calls by another way is none of a subscriber's business.
    let mut owner = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    owner.send(&text_from_client("mine").repeat(80));
    let before = 60;
    wait_until("the owner's messages pass", || taken.load(Ordering::SeqCst) == before + 80);
    // A plan must be one of the API's, and stays while somebody has it.
    for (plan, code) in [(json!("Platinum"), 400), (Value::Null, 400), (json!("Gold"), 409)] {
        let wanted = json!({ "api": PATH, "plan": plan });
        let (found, said) = flowgate.profile(ROBERTO, "POST", &at, &wanted);
        assert_eq!(found, code, "{plan}: {said}");
    }
}

#[test]
fn another_plan_reaches_live_connections() {
    let issuing = Issuing::new();
    let (texts, came) = mpsc::sync_channel(256);
    let runtime = Runtime::accepting(move |websocket| {
        while let Some(frame) = websocket.receive() {
            drop(texts.send(frame.payload));
        }
    });
    let plans = json!({
        "Gold": { "messages_per_minute": 5000, "over": "drop" },
        "Bronze": { "messages_per_day": { "limit": 20, "burst": 3 }, "over": "drop" },
    });
    let (flowgate, api) = start(&issuing, &runtime, plans);
    let (one, subscription) = Application::on_plan(&flowgate, "one", "Bronze");
    let (two, _) = Application::on_plan(&flowgate, "two", "Bronze");
    let [mut first, mut second] =
        [&one, &two].map(|it| open(&flowgate, PATH, &it.token(&flowgate)));
    for websocket in [&mut first, &mut second] {
        websocket.send(&text_from_client("early").repeat(9));
        assert_eq!(websocket.receive_text(), NOTICE);
    }
    for _ in 0..6 {
        assert_eq!(came.recv_timeout(PATIENCE).unwrap(), b"early");
    }
    // By the application's owner, by the API's, and by an operator.
    let of_application = format!("/applications/{}/subscriptions/{subscription}/plan", one.id);
    let of_api = format!("/apis/{api}/subscriptions/{subscription}/plan");
    let said = done(&flowgate, ROBERTO, "PUT", &of_application, &json!({ "plan": "Gold" }));
    assert_eq!((&said["subscriptions"][0]["plan"], &said["closed"]), (&json!("Gold"), &json!(0)));
    first.send(&text_from_client("on gold").repeat(100));
    for _ in 0..100 {
        assert_eq!(came.recv_timeout(PATIENCE).unwrap(), b"on gold");
    }
    let said = done(&flowgate, MIKE, "PUT", &of_api, &json!({ "plan": "Bronze" }));
    assert_eq!(said["plan"], json!("Bronze"), "{said}");
    // What Bronze gave is spent still; control frames are free.
    first.send(&[text_from_client("on bronze").repeat(9), masked(FIN | PING, b"behind")].concat());
    assert_eq!(came.recv_timeout(PATIENCE).unwrap(), b"behind");
    ok(&mut command(&flowgate, &["application", "plan", &one.id, &subscription, "Gold"]));
    first.send(&text_from_client("again").repeat(100));
    for _ in 0..100 {
        assert_eq!(came.recv_timeout(PATIENCE).unwrap(), b"again");
    }
    // The plan itself: for all who have it.
    let wider = json!({ "messages_per_minute": 1000, "over": "drop" });
    let line = "PUT /admin/v1/plans/Bronze";
    assert_eq!(call(&flowgate, ADMIN, line, "If-Match: *\r\n", &wider).0, 200);
    wait_until("the plan that was changed counts", || {
        second.send(&text_from_client("later"));
        came.try_iter().any(|text| text == b"later")
    });
    let line = "DELETE /admin/v1/plans/Gold";
    assert_eq!(call(&flowgate, ADMIN, line, "If-Match: *\r\n", &Value::Null).0, 409);
    for (who, at) in [(ROBERTO, &of_api), (MIKE, &of_application)] {
        let body = json!({ "plan": "Gold" });
        assert_eq!(flowgate.profile(who, "PUT", at, &body).0, 404, "not theirs: {at}");
    }
}

#[test]
fn requests_handshakes_connections_and_sizes_over_a_subscriptions_plan_are_refused() {
    let issuing = Issuing::new();
    let runtime = Runtime::start(|mut websocket| {
        if websocket.head.contains("Sec-WebSocket-Key") {
            crate::support::runtime::accept(&mut websocket, "");
            return crate::support::runtime::echo(&mut websocket);
        }
        websocket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    });
    let plans = json!({
        "requests": { "requests_per_second": { "limit": 1, "burst": 4 } },
        "handshakes": { "handshakes_per_minute": { "limit": 1, "burst": 2 } },
        "connections": { "connections": 2 },
        "sizes": { "message_bytes": 16 },
    });
    let (flowgate, _) = start(&issuing, &runtime, plans);
    let token = |plan| Application::on_plan(&flowgate, plan, plan).0.token(&flowgate);
    let (requests, handshakes, connections) =
        (token("requests"), token("handshakes"), token("connections"));
    let get = |token: &str| {
        let headers = format!("Host: localhost\r\nConnection: close\r\n{}", bearer(token));
        flowgate.ask(&format!("GET {PATH} HTTP/1.1\r\n{headers}\r\n"))
    };
    let mut last = String::new();
    wait_until("the budget is used up", || {
        last = get(&requests);
        !last.starts_with("HTTP/1.1 200 ")
    });
    assert!(last.starts_with("HTTP/1.1 429 ") && last.contains("plan_requests"), "{last}");
    let policy = "ratelimit-policy: \"requests_per_second\";q=1;w=1\r\n";
    assert!(last.to_ascii_lowercase().contains(policy), "{last}");
    wait_until("one came back", || get(&requests).starts_with("HTTP/1.1 200 "));
    assert_eq!(status(&flowgate, PATH, &bearer(&requests)), 101, "no handshakes are counted");
    for expected in [101, 101, 429, 429] {
        assert_eq!(status(&flowgate, PATH, &bearer(&handshakes)), expected);
    }
    assert!(get(&handshakes).starts_with("HTTP/1.1 200 "), "no requests are counted");
    let mut kept = [(); 2].map(|()| open(&flowgate, PATH, &connections));
    let answer = flowgate.ask(&handshake(PATH, "localhost", &bearer(&connections)));
    assert!(answer.contains(" 429 ") && answer.contains("plan_connections"), "{answer}");
    kept.iter_mut().for_each(assert_alive);
    let [one, _other] = kept;
    drop(one);
    wait_until("there is room again", || status(&flowgate, PATH, &bearer(&connections)) == 101);
    let mut sized = open(&flowgate, PATH, &token("sizes"));
    sized.send(&text_from_client("sixteen bytes it"));
    assert_eq!(sized.receive_text(), "sixteen bytes it");
    sized.send(&text_from_client("seventeen bytes it"));
    assert_eq!(sized.receive_close(), (1009, "message over the plan's size".to_owned()));
}

#[test]
fn a_blocked_subscription_ends_its_connections_and_nothing_else() {
    let issuing = Issuing::new();
    let runtime = Runtime::echo();
    let (flowgate, api) = start(&issuing, &runtime, json!({ "Gold": {} }));
    let (one, subscription) = Application::on_plan(&flowgate, "Echo Client", "Gold");
    let (two, _) = Application::on_plan(&flowgate, "two", "Gold");
    let token = one.token(&flowgate);
    let mut beside = open(&flowgate, PATH, &two.token(&flowgate));
    let mut all = [(); 2].map(|()| open(&flowgate, PATH, &token));
    let subscriptions = format!("/apis/{api}/subscriptions");
    let shown = done(&flowgate, MIKE, "GET", &subscriptions, &Value::Null);
    let all_shown = shown["subscriptions"].as_array().unwrap();
    let found = all_shown.iter().find(|it| it["id"] == *subscription).unwrap();
    assert_eq!((&found["name"], &found["plan"]), (&json!("Echo Client"), &json!("Gold")));
    assert_eq!((&found["connections"], &found["application"]), (&json!(2), &json!(one.id)));
    assert!(found["created"].is_string() && found["blocked_since"].is_null(), "{found}");
    let at = format!("{subscriptions}/{subscription}/blocked");
    let said = done(&flowgate, MIKE, "PUT", &at, &json!({ "blocked": true }));
    assert_eq!(said["closed"], json!(2), "{said}");
    let blocked = (1008, "subscription blocked".to_owned());
    all.iter_mut().for_each(|websocket| assert_eq!(websocket.receive_close(), blocked));
    let refused = || flowgate.ask(&handshake(PATH, "localhost", &bearer(&token)));
    let answer = refused();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let message = "\"message\":\"The API's owner has blocked the subscription\"";
    assert!(answer.contains("subscription_blocked") && answer.contains(message), "{answer}");
    assert_eq!(status(&flowgate, PATH, &bearer(&one.token(&flowgate))), 403);
    let (_, _, said) = one.post(flowgate.data, "/oauth2/introspect", &format!("token={token}"));
    assert_eq!(said, json!({ "active": false }));
    assert_alive(&mut beside);
    // Who is blocked sees it, and cannot end the subscription to make another one.
    let application = format!("/applications/{}", one.id);
    let shown = done(&flowgate, ROBERTO, "GET", &application, &Value::Null);
    let since = shown["subscriptions"][0]["blocked_since"].clone();
    assert!(since.is_string(), "{shown}");
    let own = format!("{application}/subscriptions/{subscription}");
    assert_eq!(flowgate.profile(ROBERTO, "DELETE", &own, &Value::Null).0, 409);
    let wanted = json!({ "api": PATH, "plan": "Gold" });
    let (code, _) =
        flowgate.profile(ROBERTO, "POST", &format!("{application}/subscriptions"), &wanted);
    assert_eq!(code, 409);
    let body = json!({ "blocked": false });
    for at in [&at, &format!("{own}/blocked")] {
        assert_eq!(flowgate.profile(ROBERTO, "PUT", at, &body).0, 404, "not theirs: {at}");
    }
    // Again changes nothing; and back.
    done(&flowgate, MIKE, "PUT", &at, &json!({ "blocked": true }));
    let shown = done(&flowgate, ROBERTO, "GET", &application, &Value::Null);
    assert_eq!(shown["subscriptions"][0]["blocked_since"], since);
    done(&flowgate, MIKE, "PUT", &at, &json!({ "blocked": false }));
    let mut again = open(&flowgate, PATH, &token);
    assert_alive(&mut again);
    // An operator does the same.
    let listed = ok(&mut command(&flowgate, &["api", "subscribers", PATH]));
    assert!(listed.contains("Echo Client") && listed.contains(&one.id), "{listed}");
    let told = ok(&mut command(&flowgate, &["api", "block", PATH, &subscription, "--yes"]));
    assert!(told.contains("1 connections were closed"), "{told}");
    assert_eq!(again.receive_close(), blocked);
    ok(&mut command(&flowgate, &["api", "unblock", PATH, &subscription]));
    assert_alive(&mut open(&flowgate, PATH, &token));
    assert_alive(&mut beside);
    // The API's owner can end what they have blocked.
    done(&flowgate, MIKE, "PUT", &at, &json!({ "blocked": true }));
    done(&flowgate, MIKE, "DELETE", &format!("{subscriptions}/{subscription}"), &Value::Null);
    let answer = refused();
    assert!(answer.contains("not_subscribed"), "{answer}");
}

/// Stops whoever looks at it, also when the test has failed.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// An application at its limit, and a tenant at theirs, beside one who talks by each way.
#[test]
fn who_is_noisy_leaves_others_alone() {
    const TALKS: usize = 400;
    let issuing = Issuing::new();
    let (mike, roberto) = (Runtime::echo(), Runtime::echo());
    let mut profiles = mike_and_roberto(mike.address, roberto.address);
    let few = json!({ "messages_per_day": { "limit": 20, "burst": 5 }, "over": "close" });
    let (per_minute, over) = (json!(1_000_000), json!("close"));
    profiles["plans"] = json!({
        "Bronze": few, "Gold": { "messages_per_minute": per_minute, "over": over },
    });
    profiles["tenants"][1]["plan"] = json!("Bronze");
    let flowgate = issuing.start(&profiles);
    publish_with_plans(&flowgate, "/echowebsocket", &["Gold", "Bronze"]);
    let token = |plan| Application::on_plan(&flowgate, plan, plan).0.token(&flowgate);
    let (noisy, quiet) = (token("Bronze"), token("Gold"));
    let stop = AtomicBool::new(false);
    let closed = [AtomicUsize::new(0), AtomicUsize::new(0)];
    std::thread::scope(|scope| {
        let stopping = Stop(&stop);
        let flood = |path: &'static str, headers: String, closed| {
            let (flowgate, stop): (_, &AtomicBool) = (&flowgate, &stop);
            scope.spawn(move || {
                let closed: &AtomicUsize = closed;
                while !stop.load(Ordering::SeqCst) {
                    let mut websocket = WebSocket::connect(flowgate.data, path, &headers);
                    websocket.send(&text_from_client("noise").repeat(20));
                    let told = loop {
                        let frame = websocket.receive().expect("a Close frame comes");
                        if frame.first_byte != FIN | TEXT {
                            break frame.close();
                        }
                    };
                    assert_eq!(told, (4008, EXHAUSTED.to_owned()));
                    closed.fetch_add(1, Ordering::SeqCst);
                }
            });
        };
        flood(PATH, bearer(&noisy), &closed[0]);
        flood("/public/roberto/data", String::new(), &closed[1]);
        let mut others = [
            open(&flowgate, PATH, &quiet),
            WebSocket::connect(flowgate.data, "/public/mike/data", ""),
        ];
        let is_noisy = || closed.iter().all(|count| count.load(Ordering::SeqCst) >= 3);
        wait_until("both are at their limits", is_noisy);
        for number in 0..TALKS {
            for websocket in &mut others {
                let text = format!("message {number}");
                websocket.send(&text_from_client(&text));
                assert_eq!(websocket.receive_text(), text, "in order, and nothing in between");
            }
        }
        // Many at once, too: nothing is lost and nothing is told but what was said.
        for websocket in &mut others {
            websocket.send(&text_from_client("burst").repeat(TALKS));
            for _ in 0..TALKS {
                assert_eq!(websocket.receive_text(), "burst");
            }
        }
        drop(stopping);
    });
}
