//! Three replicas that share one registry: a token of one opens on all, and ends on all.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::subscriptions::{NOTICE, counting, left, profiles};
use crate::support::admin::{ADMIN, call};
use crate::support::exposition::{Page, ask_for};
use crate::support::flowgate::{Flowgate, import};
use crate::support::oauth::{
    Application, Issuing, MIKE, PATH, ROBERTO, bearer, done, open, publish, publish_with_plans,
    status,
};
use crate::support::redis::Redis;
use crate::support::replicas::{Runtimes, assert_alive};
use crate::support::runtime::text_from_client;
use crate::support::wait_until;
use crate::support::websocket::{FIN, TEXT, WebSocket};

fn everywhere(replicas: &[Flowgate], token: &str) -> Vec<WebSocket> {
    for replica in replicas {
        wait_until("it has heard of all", || status(replica, PATH, &bearer(token)) == 101);
    }
    replicas.iter().map(|replica| open(replica, PATH, token)).collect()
}

fn all_end(websockets: &mut [WebSocket], reason: &str) {
    for websocket in websockets {
        assert_eq!(websocket.receive_close(), (1008, reason.to_owned()));
    }
}

#[test]
fn what_ends_a_token_ends_it_on_every_replica() {
    let server = Redis::start();
    let url = server.url();
    let _runtimes = Runtimes::in_registry(&url);
    let issuing = Issuing::new();
    let replicas: Vec<Flowgate> = (0..3).map(|_| issuing.start_on(&url)).collect();
    let [one, two, three] = &replicas[..] else { panic!("there are three") };
    let api = publish(one, "/echowebsocket");
    let know = |path: String, who| {
        for replica in &replicas {
            wait_until("it is known", || replica.profile(who, "GET", &path, &Value::Null).0 == 200);
        }
    };
    know(format!("/apis/{api}"), MIKE);
    let mut application = Application::create(one, "one", &[PATH]);
    let other = Application::create(two, "other", &[PATH]);
    for it in [&application, &other] {
        know(format!("/applications/{}", it.id), ROBERTO);
        for replica in &replicas {
            let form = "grant_type=client_credentials";
            wait_until("its secret is known", || {
                it.post(replica.data, "/oauth2/token", form).0 == 200
            });
        }
    }
    // Whoever issued it, all take it; nobody but these connections hears of what ends them.
    let mut beside = everywhere(&replicas, &other.token(three));
    let token = application.token(two);
    let mut opened = everywhere(&replicas, &token);
    application.revoke(three, &token);
    all_end(&mut opened, "token revoked");
    replicas.iter().for_each(|it| assert_eq!(status(it, PATH, &bearer(&token)), 401));

    let mut opened = everywhere(&replicas, &application.token(one));
    application.secret = application.generate(two, &Value::Null).0;
    all_end(&mut opened, "consumer secret regenerated");

    for replica in &replicas {
        let form = "grant_type=client_credentials";
        wait_until("the new secret is known", || {
            application.post(replica.data, "/oauth2/token", form).0 == 200
        });
    }
    let token = application.token(three);
    let mut opened = everywhere(&replicas, &token);
    let at = format!("/applications/{}", application.id);
    let shown = done(one, ROBERTO, "GET", &at, &Value::Null);
    let subscription = shown["subscriptions"][0]["id"].as_str().unwrap();
    let at = format!("{at}/subscriptions/{subscription}");
    done(one, ROBERTO, "DELETE", &at, &Value::Null);
    all_end(&mut opened, "subscription ended");
    replicas.iter().for_each(|it| assert_eq!(status(it, PATH, &bearer(&token)), 403));
    beside.iter_mut().for_each(assert_alive);

    let state = format!("/apis/{api}/state");
    done(two, MIKE, "PUT", &state, &json!({ "state": "blocked" }));
    all_end(&mut beside, "API blocked");
    done(two, MIKE, "PUT", &state, &json!({ "state": "published" }));

    let mut opened = everywhere(&replicas, &other.token(one));
    let rotate = json!({ "revoke": true });
    let (code, _, said) = call(three, ADMIN, "POST /admin/v1/signing-keys/rotate", "", &rotate);
    assert_eq!(code, 200, "{said}");
    all_end(&mut opened, "token revoked");

    let mut opened = everywhere(&replicas, &other.token(three));
    let line = "PUT /admin/v1/tenants/roberto/disabled";
    let (code, _, said) = call(one, ADMIN, line, "", &json!({ "disabled": true }));
    assert!((200..300).contains(&code), "{said}");
    all_end(&mut opened, "tenant disabled");
}

/// As tenants do: each replica has a part of the burst, and all follow a change.
#[test]
fn replicas_share_a_subscriptions_plan() {
    const BURST: usize = 30;
    let redis = Redis::start();
    let (runtime, taken) = counting();
    let plans = json!({
        "Gold": { "messages_per_minute": 5000, "over": "drop" },
        "Bronze": { "messages_per_day": { "limit": 20, "burst": BURST }, "over": "drop" },
    });
    import(&redis.url(), &profiles(&runtime, plans), &[]);
    let issuing = Issuing::new();
    let replicas: Vec<Flowgate> = (0..3).map(|_| issuing.start_on(&redis.url())).collect();
    let api = publish_with_plans(&replicas[0], "/echowebsocket", &["Gold", "Bronze"]);
    let (application, subscription) = Application::on_plan(&replicas[0], "one", "Bronze");
    let token = application.token(&replicas[0]);
    let token = bearer(&token);
    for replica in &replicas {
        wait_until("all replicas share", || {
            let metrics = Page::read(&ask_for(replica, "/metrics", &bearer(ADMIN)));
            metrics.value("flowgate_plan_replicas", &[]) == 3.0
        });
        wait_until("it has heard of all", || status(replica, PATH, &token) == 101);
    }
    let mut opened: Vec<_> =
        replicas.iter().map(|it| WebSocket::connect(it.data, PATH, &token)).collect();
    for websocket in &mut opened {
        websocket.send(&text_from_client("one of many").repeat(BURST));
        assert_eq!(websocket.receive_text(), NOTICE);
    }
    // Rounded up on each, and what comes back meanwhile is less than one.
    wait_until("all that passed has come", || taken.load(Ordering::SeqCst) >= BURST);
    for replica in &replicas {
        wait_until("it has heard what the others gave", || left(replica, &api, &subscription) == 0);
    }
    assert_eq!(taken.load(Ordering::SeqCst), BURST);
    // Another plan, on the replica that is asked, and on the others.
    let at = format!("/applications/{}/subscriptions/{subscription}/plan", application.id);
    done(&replicas[0], ROBERTO, "PUT", &at, &json!({ "plan": "Gold" }));
    for websocket in &mut opened {
        let before = taken.load(Ordering::SeqCst);
        wait_until("it passes again", || {
            websocket.send(&text_from_client("again"));
            taken.load(Ordering::SeqCst) > before
        });
    }
    // Blocked on one, ended on all.
    let at = format!("/apis/{api}/subscriptions/{subscription}/blocked");
    done(&replicas[1], MIKE, "PUT", &at, &json!({ "blocked": true }));
    for websocket in &mut opened {
        let told = loop {
            let frame = websocket.receive().expect("a Close frame comes");
            if frame.first_byte != FIN | TEXT {
                break frame.close();
            }
        };
        assert_eq!(told, (1008, "subscription blocked".to_owned()));
    }
    for replica in &replicas {
        wait_until("nothing new begins", || status(replica, PATH, &token) == 403);
    }
}
