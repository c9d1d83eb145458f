//! Three replicas that share one registry: a token of one opens on all, and ends on all.

use serde_json::{Value, json};

use crate::support::admin::{ADMIN, call};
use crate::support::flowgate::Flowgate;
use crate::support::oauth::{
    Application, Issuing, MIKE, PATH, ROBERTO, bearer, done, open, publish, status,
};
use crate::support::redis::Redis;
use crate::support::replicas::{Runtimes, assert_alive};
use crate::support::wait_until;
use crate::support::websocket::WebSocket;

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
