//! Several replicas on one Redis act as one.

use serde_json::{Value, json};

use crate::support::flowgate::{Flowgate, import};
use crate::support::profiles::{MIKE_KEY, ROBERTO_KEY, mike, mike_on_plan};
use crate::support::redis::Redis;
use crate::support::replicas::{
    MIKE, Runtimes, acquaint, assert_alive, open, regenerated, status, undisturbed,
};
use crate::support::runtime::{Runtime, text_from_client};
use crate::support::wait_until;
use crate::support::websocket::WebSocket;

fn three(redis: &Redis) -> Vec<Flowgate> {
    (0..3).map(|_| Flowgate::start_on(&redis.url(), &[])).collect()
}

#[test]
fn a_regenerated_key_dies_on_every_replica() {
    let redis = Redis::start();
    let _runtimes = Runtimes::in_registry(&redis.url());
    let replicas = three(&redis);
    let traffic = undisturbed(&replicas.iter().collect::<Vec<_>>());
    let mut live: Vec<WebSocket> =
        replicas.iter().flat_map(|one| [open(one, MIKE_KEY), open(one, MIKE_KEY)]).collect();
    let mut public = WebSocket::connect(replicas[2].data, "/public/mike/data", "");
    let key = regenerated(&replicas[0]);
    for websocket in &mut live {
        assert_eq!(websocket.receive_close(), (1008, "API key regenerated".to_owned()));
    }
    for replica in &replicas {
        wait_until("the old key is refused", || status(replica, MIKE_KEY) == 401);
        assert_alive(&mut open(replica, &key));
    }
    assert_alive(&mut public);
    traffic.finish();
}

#[test]
fn every_change_reaches_the_other_replica() {
    let redis = Redis::start();
    let runtimes = Runtimes::in_registry(&redis.url());
    let replicas = three(&redis);
    let [here, there] = [&replicas[0], &replicas[1]];
    let traffic = undisturbed(&[here, there]);

    let (code, said) = here.profile(MIKE, "POST", "/keys", &json!({ "name": "pump" }));
    assert_eq!(code, 201, "{said}");
    let pump = said["key"].as_str().unwrap();
    let mut pumping = open(there, pump);
    let path = format!("/keys/{}", said["id"].as_str().unwrap());
    assert_eq!(here.profile(MIKE, "DELETE", &path, &Value::Null).0, 200);
    assert_eq!(pumping.receive_close(), (1008, "API key revoked".to_owned()));

    let mut keyed = open(there, MIKE_KEY);
    let change = json!({ "old": MIKE.1, "new": "another-horse" });
    assert_eq!(here.profile(MIKE, "PUT", "/password", &change).0, 200);
    let renamed = ("mike", "another-horse");
    wait_until("the new password is known", || {
        there.profile(renamed, "GET", "", &Value::Null).0 == 200
    });
    assert_eq!(there.profile(MIKE, "GET", "", &Value::Null).0, 401);
    assert_alive(&mut keyed);

    // An operator disables the tenant beside the running replicas.
    let mut profiles = runtimes.profiles();
    profiles["tenants"][0]["disabled"] = json!(true);
    import(&redis.url(), &profiles, &["--replace"]);
    assert_eq!(keyed.receive_close(), (1008, "tenant disabled".to_owned()));
    for replica in [here, there] {
        wait_until("the tenant is refused", || status(replica, MIKE_KEY) == 401);
    }
    traffic.finish();
}

#[test]
fn a_ticket_is_good_once_on_any_replica() {
    let redis = Redis::start();
    let _runtimes = Runtimes::in_registry(&redis.url());
    let replicas = three(&redis);
    let (code, said) =
        replicas[0].profile(MIKE, "POST", "/tickets", &json!({ "path": "/api/thing" }));
    assert_eq!(code, 201, "{said}");
    let path = format!("/api/thing?ticket={}", said["ticket"].as_str().unwrap());
    assert_alive(&mut WebSocket::connect(replicas[1].data, &path, ""));
    for replica in &replicas {
        let again = crate::support::websocket::handshake(&path, "localhost", "");
        let head = WebSocket::open(replica.data, again).head;
        assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    }
}

#[test]
fn an_instance_that_moves_takes_its_connections_along() {
    let redis = Redis::start();
    let (old, new) = (
        Runtime::echo(),
        Runtime::accepting(|websocket| {
            websocket.send(&crate::support::websocket::unmasked(0x81, b"new"));
            crate::support::runtime::echo(websocket);
        }),
    );
    let moving = |address| {
        let mut profiles = mike(address);
        profiles["tenants"][0]["instance"]["on_change"] = json!("move");
        profiles
    };
    import(&redis.url(), &moving(old.address), &[]);
    let replicas = three(&redis);
    let mut live: Vec<WebSocket> = replicas.iter().map(|one| open(one, MIKE_KEY)).collect();
    import(&redis.url(), &moving(new.address), &["--replace"]);
    for websocket in &mut live {
        assert_eq!(websocket.receive_close().0, 1012);
    }
    for replica in &replicas {
        let mut moved = open(replica, MIKE_KEY);
        assert_eq!(moved.receive_text(), "new");
        // To be left alone, as by default, takes back what was said before.
        assert_alive(&mut moved);
    }
    let mut kept: Vec<WebSocket> = replicas.iter().map(|one| open(one, MIKE_KEY)).collect();
    import(&redis.url(), &mike(old.address), &["--replace"]);
    for (websocket, replica) in kept.iter_mut().zip(&replicas) {
        assert_eq!(websocket.receive_text(), "new");
        wait_until("handshakes go to the old address", || {
            let mut again = open(replica, MIKE_KEY);
            again.send(&text_from_client("where am I"));
            again.receive_text() == "where am I"
        });
        assert_alive(websocket);
    }
}

#[test]
fn a_plan_that_changes_reaches_live_connections() {
    let redis = Redis::start();
    let runtime = Runtime::echo();
    import(&redis.url(), &mike_on_plan(runtime.address, json!({ "message_bytes": 1000 })), &[]);
    let replicas = three(&redis);
    let mut live: Vec<WebSocket> = replicas.iter().map(|one| open(one, MIKE_KEY)).collect();
    let long = "x".repeat(100);
    for websocket in &mut live {
        websocket.send(&text_from_client(&long));
        assert_eq!(websocket.receive_text(), long);
    }
    let smaller = mike_on_plan(runtime.address, json!({ "message_bytes": 50 }));
    import(&redis.url(), &smaller, &["--replace"]);
    for websocket in &mut live {
        // Goes through until the plan has arrived.
        let close = loop {
            websocket.send(&text_from_client(&long));
            let frame = websocket.receive().expect("an echo or a Close frame");
            if frame.first_byte != 0x81 {
                break frame.close();
            }
        };
        assert_eq!(close.0, 1009);
    }
}

#[test]
fn connections_are_seen_and_closed_from_any_replica() {
    let redis = Redis::start();
    let _runtimes = Runtimes::in_registry(&redis.url());
    let mut replicas = three(&redis);
    let mut live: Vec<WebSocket> = replicas.iter().map(|one| open(one, MIKE_KEY)).collect();
    let _robertos = open(&replicas[1], ROBERTO_KEY);
    let listed = |replica: &Flowgate| {
        let (code, said) = replica.profile(MIKE, "GET", "/connections", &Value::Null);
        assert_eq!(code, 200, "{said}");
        let ids = said["connections"].as_array().unwrap().iter();
        let mut ids: Vec<_> = ids.map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        ids.sort_unstable();
        ids
    };
    wait_until("all replicas know each other", || listed(&replicas[0]).len() == 3);
    let all = listed(&replicas[0]);
    for replica in &replicas {
        assert_eq!(listed(replica), all);
    }
    for id in &all {
        let path = format!("/connections/{id}");
        let (code, said) = replicas[2].profile(MIKE, "DELETE", &path, &Value::Null);
        assert_eq!((code, &said["closed"]), (200, &json!(1)), "{said}");
    }
    for websocket in &mut live {
        assert_eq!(websocket.receive_close(), (1008, "closed by the tenant".to_owned()));
    }
    // A replica that was killed is named for a while: it could be merely cut off, and have some.
    let survivor = open(&replicas[0], MIKE_KEY);
    let killed = replicas.pop().unwrap();
    let pid = format!("(pid {})", killed.pid());
    killed.kill();
    wait_until("the killed replica is missed", || {
        let (code, said) = replicas[0].profile(MIKE, "GET", "/connections", &Value::Null);
        assert_eq!(code, 200, "{said}");
        let missed = said["incomplete"].to_string();
        said["total"] == json!(1) && missed.contains(&pid)
    });
    drop(survivor);
}

#[test]
fn a_killed_replica_takes_nothing_of_the_others_along() {
    let redis = Redis::start();
    let _runtimes = Runtimes::in_registry(&redis.url());
    let mut replicas = three(&redis);
    let victim = replicas.pop().unwrap();
    let traffic = undisturbed(&replicas.iter().collect::<Vec<_>>());
    acquaint(&victim);
    let key = regenerated(&victim);
    victim.kill();
    traffic.goes_on("after a replica was killed");
    for replica in &replicas {
        wait_until("the old key is refused", || status(replica, MIKE_KEY) == 401);
        assert_alive(&mut open(replica, &key));
    }
    traffic.finish();
}
