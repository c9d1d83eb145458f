//! What happens when Redis goes away, hangs, or is cut off from one replica.

use serde_json::{Value, json};

use crate::support::flowgate::Flowgate;
use crate::support::link::Link;
use crate::support::profiles::{MIKE_KEY, ROBERTO_KEY};
use crate::support::redis::{self, Redis};
use crate::support::replicas::{
    MIKE, Runtimes, acquaint, assert_alive, open, regenerate, regenerated, status, undisturbed,
    wait_for_standing,
};
use crate::support::wait_until;
use crate::support::websocket::WebSocket;

/// While the registry is away: who is known goes on, nobody else is let in or told "wrong", and
/// nothing is changed.
fn assert_known_only(flowgate: &Flowgate) {
    for key in [MIKE_KEY, ROBERTO_KEY] {
        assert_alive(&mut open(flowgate, key));
    }
    assert_eq!(status(flowgate, "a-key-that-nobody-knows-0123"), 503);
    let (code, said) = regenerate(flowgate);
    assert_eq!(code, 503, "{said}");
    assert_alive(&mut open(flowgate, MIKE_KEY));
}

/// With the registry there, a key is regenerated on one replica and dies on all.
fn assert_one_again(replicas: &[Flowgate]) {
    let mut live: Vec<WebSocket> = replicas.iter().map(|one| open(one, MIKE_KEY)).collect();
    let mut key = None;
    wait_until("a key can be regenerated again", || {
        let (code, said) = regenerate(&replicas[0]);
        key = said["api_key"].as_str().map(str::to_owned);
        code == 200
    });
    for websocket in &mut live {
        assert_eq!(websocket.receive_close(), (1008, "API key regenerated".to_owned()));
    }
    for replica in replicas {
        wait_until("the old key is refused", || status(replica, MIKE_KEY) == 401);
        wait_until("the new key is good", || status(replica, key.as_ref().unwrap()) == 101);
    }
}

#[test]
fn a_redis_that_was_killed_is_missed_by_strangers_only() {
    let mut redis = Redis::start();
    let _runtimes = Runtimes::in_registry(&redis.url());
    let replicas: Vec<Flowgate> = (0..2).map(|_| Flowgate::start_on(&redis.url(), &[])).collect();
    let traffic = undisturbed(&replicas.iter().collect::<Vec<_>>());
    replicas.iter().for_each(acquaint);
    redis.kill();
    for replica in &replicas {
        wait_for_standing(replica, "away");
        assert_known_only(replica);
    }
    traffic.goes_on("without Redis");
    redis.restart();
    for replica in &replicas {
        wait_for_standing(replica, "current");
    }
    assert_one_again(&replicas);
    traffic.finish();
}

#[test]
fn a_change_that_was_refused_while_redis_hung_is_not_made_later() {
    let redis = Redis::start();
    let _runtimes = Runtimes::in_registry(&redis.url());
    let replicas: Vec<Flowgate> = (0..2).map(|_| Flowgate::start_on(&redis.url(), &[])).collect();
    let traffic = undisturbed(&replicas.iter().collect::<Vec<_>>());
    replicas.iter().for_each(acquaint);
    let before = redis.command(&["HGET", "flowgate:meta", "revision"]);
    redis.signal("-STOP");
    // At first nobody knows that it hangs; then all do.
    let (code, said) = regenerate(&replicas[0]);
    assert_eq!(code, 503, "{said}");
    for replica in &replicas {
        wait_for_standing(replica, "away");
        assert_known_only(replica);
    }
    traffic.goes_on("while Redis hangs");
    redis.signal("-CONT");
    for replica in &replicas {
        wait_for_standing(replica, "current");
        assert_eq!(status(replica, MIKE_KEY), 101);
    }
    assert_eq!(redis.command(&["HGET", "flowgate:meta", "revision"]), before);
    assert_one_again(&replicas);
    traffic.finish();
}

/// A replica behind a link of its own and one with a straight way, on one Redis.
fn with_link(flags: &[&str]) -> (Redis, Runtimes, Link, [Flowgate; 2]) {
    let redis = Redis::start();
    let runtimes = Runtimes::in_registry(&redis.url());
    let link = Link::to(redis.address);
    let far = Flowgate::start_on(&redis::url(link.address), flags);
    let near = Flowgate::start_on(&redis.url(), flags);
    acquaint(&far);
    acquaint(&near);
    (redis, runtimes, link, [near, far])
}

#[test]
fn a_replica_that_was_cut_off_catches_up() {
    let (_redis, _runtimes, link, [near, far]) = with_link(&[]);
    let traffic = undisturbed(&[&near, &far]);
    let mut key = MIKE_KEY.to_owned();
    for round in ["cut", "silent"] {
        let mut live = open(&far, &key);
        match round {
            "cut" => link.cut(),
            _ => link.silence(),
        }
        let fresh = regenerated(&near);
        wait_for_standing(&far, "away");
        traffic.goes_on("while a replica is cut off");
        // It cannot know yet, and neither makes up nor refuses anything.
        assert_alive(&mut live);
        assert_eq!(status(&far, "a-key-that-nobody-knows-0123"), 503);
        link.heal();
        assert_eq!(live.receive_close(), (1008, "API key regenerated".to_owned()), "{round}");
        assert_eq!(status(&far, &key), 401, "{round}");
        assert_eq!(status(&far, &fresh), 101, "{round}");
        key = fresh;
    }
    traffic.finish();
}

#[test]
fn a_gap_in_the_feed_is_noticed() {
    let (redis, _runtimes, link, [near, far]) = with_link(&[]);
    let traffic = undisturbed(&[&near, &far]);
    let mut live = open(&far, MIKE_KEY);
    link.cut();
    wait_for_standing(&far, "away");
    let fresh = regenerated(&near);
    redis.command(&["XTRIM", "flowgate:feed", "MAXLEN", "0"]);
    link.heal();
    assert_eq!(live.receive_close(), (1008, "API key regenerated".to_owned()));
    assert_eq!(status(&far, MIKE_KEY), 401);
    assert_eq!(status(&far, &fresh), 101);
    far.wait_for_line("the gap is logged", |line| {
        line["message"].as_str().is_some_and(|message| message.contains("a gap"))
    });
    traffic.finish();
}

#[test]
fn nobody_is_served_from_memory_for_ever() {
    let (_redis, _runtimes, link, [near, far]) = with_link(&["--registry-stale-max", "1s"]);
    let traffic = undisturbed(&[&near, &far]);
    link.silence();
    wait_until("known tenants are refused, too", || status(&far, MIKE_KEY) == 503);
    assert_eq!(far.profile(MIKE, "GET", "", &Value::Null).0, 503);
    assert_eq!(far.status()["ready"], json!(true), "a restart would not help");
    traffic.goes_on("though the registry is away for long");
    link.heal();
    wait_until("known tenants are served again", || status(&far, MIKE_KEY) == 101);
    traffic.finish();
}
