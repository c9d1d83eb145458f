//! Replicas that share the runtimes of one machine.

use serde_json::{Value, json};

use crate::support::admin::{command, ok};
use crate::support::flowgate::{Flowgate, import};
use crate::support::own::{Own, Two, get, mike, runs, runtime};
use crate::support::profiles::MIKE_KEY;
use crate::support::redis::Redis;
use crate::support::replicas::{MIKE, with_key};
use crate::support::runtime::text_from_client;
use crate::support::wait_until;
use crate::support::websocket::WebSocket;

fn connect(flowgate: &Flowgate) -> WebSocket {
    WebSocket::connect(flowgate.data, "/api/thing", &with_key(MIKE_KEY))
}

fn state(flowgate: &Flowgate) -> Value {
    flowgate.profile(MIKE, "GET", "/runtime", &Value::Null).1["state"].clone()
}

#[test]
fn two_replicas_start_it_once_and_one_of_them_takes_over() {
    let Two { own, redis: _redis, replicas } = Two::start();
    std::thread::scope(|scope| {
        for number in 0..20 {
            let flowgate = &replicas[number % 2];
            scope.spawn(move || drop(connect(flowgate)));
        }
    });
    let starts = own.starts();
    assert!(starts.len() == 1 && runs(starts[0]), "{starts:?}");
    assert_eq!(replicas.each_ref().map(state), ["ready", "ready"]);
    let owns = |flowgate: &Flowgate| {
        flowgate.log().iter().any(|line| line["message"] == "the runtime is ready")
    };
    let [first, second] = replicas;
    let (owner, other) = if owns(&first) { (first, second) } else { (second, first) };
    owner.kill();
    wait_until("it ends with its owner", || !runs(starts[0]));
    wait_until("the other knows", || state(&other) == "asleep");
    other.wait_for_line("and says so", |line| line["message"] == "a runtime's owner is gone");
    drop(connect(&other));
    assert_eq!(own.starts().len(), 2);
}

/// A whole second passes until the other looks again, and a restart takes less.
#[test]
fn a_restart_is_waited_for_on_every_replica() {
    let Two { own, redis: _redis, replicas: [owner, other] } = Two::start();
    drop(connect(&owner));
    let mut live = connect(&other);
    live.send(&text_from_client("there"));
    assert_eq!(live.receive_text(), "there");
    let call = get("/api/x", &with_key(MIKE_KEY));
    for restarts in 1..=2 {
        ok(&mut command(&owner, &["runtime", "restart", "mike"]));
        let mut answers = Vec::new();
        wait_until("it is restarted", || {
            answers.push(other.ask(&call));
            own.starts().len() == restarts + 1 && state(&owner) == "ready"
        });
        answers.push(other.ask(&call));
        for answer in answers {
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    }
    assert_eq!(live.receive_close().0, 1012);
}

/// Whoever looks sees when a lease ends, and under which number it is held.
fn lease(redis: &Redis) -> (u64, String) {
    let keys = redis.command(&["KEYS", "*lease:runtime:*"]);
    let key = keys.lines().find(|line| line.contains("lease:runtime:")).expect("there is one");
    let number = |field: &str| {
        redis.command(&["HGET", key, field]).lines().nth(1).expect("it has that").to_owned()
    };
    (number("end").parse().unwrap(), number("fence"))
}

/// So it is when the registry was away for longer than a lease lasts.
#[test]
fn an_owner_that_was_held_up_and_that_nobody_missed_goes_on() {
    let own = Own::small("serves");
    let redis = Redis::start();
    let url = redis.url();
    import(&url, &mike(true, json!({})), &[]);
    let owner = Flowgate::start_on(&url, &own.flags(&["--wake-timeout=3m"]));
    let mut live = connect(&owner);
    let now = || {
        let now = redis.command(&["TIME"]);
        now.lines().nth(2).unwrap().parse::<u64>().unwrap() * 1000
    };
    let (_, fence) = lease(&redis);
    owner.signal("-STOP");
    wait_until("its lease is over", || lease(&redis).0 < now());
    owner.signal("-CONT");
    wait_until("it is held again", || lease(&redis).0 > now());
    assert_eq!(lease(&redis).1, fence);
    live.send(&text_from_client("there"));
    assert_eq!(live.receive_text(), "there");
    let said = |line: &Value| line["message"] == "the runtime is ended";
    assert!(!owner.log().iter().any(said), "{:?}", owner.log());
    assert_eq!((state(&owner), own.starts().len()), (json!("ready"), 1));
}

/// What was asked of an owner that is held up is not for the next.
#[test]
fn a_stop_that_nobody_heard_does_not_stop_the_next() {
    let Two { own, redis, replicas: [owner, other] } = Two::start();
    drop(connect(&owner));
    owner.signal("-STOP");
    // It is remembered for a while, and asked for again in case that takes longer.
    wait_until("its lease is over", || {
        ok(&mut command(&other, &["runtime", "stop", "mike"]));
        state(&other) == "asleep"
    });
    let is_asked = || redis.command(&["KEYS", "*runtime-asked:*"]).contains("runtime-asked:");
    assert!(is_asked());
    let mut live = connect(&other);
    wait_until("it was forgotten", || !is_asked());
    for text in ["there", "and still there"] {
        live.send(&text_from_client(text));
        assert_eq!(live.receive_text(), text);
    }
    let call = get("/api/x", &with_key(MIKE_KEY));
    assert!(other.ask(&call).starts_with("HTTP/1.1 200"));
    let said = |line: &Value| line["message"] == "the runtime is ended";
    assert!(!other.log().iter().any(said) && own.starts().len() == 2, "{:?}", other.log());
}

/// After the third crash its owner rests for four seconds.
#[test]
fn a_crash_loop_is_stopped_through_any_replica() {
    let Two { own, redis: _redis, replicas: [owner, other] } = Two::start();
    let crash = get("/api/crash", &with_key(MIKE_KEY));
    drop(connect(&owner));
    for starts in 1..=3 {
        wait_until("it runs, and crashes", || {
            own.starts().len() == starts && owner.ask(&crash).starts_with("HTTP/1.1 502")
        });
    }
    ok(&mut command(&other, &["runtime", "stop", "mike"]));
    wait_until("it is left alone", || state(&owner) == "asleep");
    assert_eq!(own.starts().len(), 3);
}

/// It is flowgate's trouble: nobody counts it as the runtime's, and no tenant is told where the registry is.
#[test]
fn while_the_registry_is_away_no_failure_is_counted() {
    let own = Own::small("serves");
    let mut redis = Redis::start();
    let url = redis.url();
    import(&url, &mike(true, json!({ "sleep_after_seconds": 1 })), &[]);
    let flowgate = Flowgate::start_on(&url, &own.flags(&["--wake-timeout=3m"]));
    let call = get("/api/x", &with_key(MIKE_KEY));
    assert!(flowgate.ask(&call).starts_with("HTTP/1.1 200"));
    wait_until("it sleeps", || state(&flowgate) == "asleep");
    redis.kill();
    let tries = || {
        let lines = flowgate.log();
        let whys = lines.iter().filter(|line| line["message"] == "the runtime does not run");
        whys.map(|line| line["why"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    wait_until("it was tried again and again", || {
        let refused = flowgate.ask(&call);
        assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
        let after =
            refused.to_lowercase().find("retry-after: ").map(|at| at + "retry-after: ".len());
        let seconds = after.and_then(|at| refused[at..].lines().next()?.parse::<u32>().ok());
        assert!(seconds.is_some_and(|seconds| seconds <= 3), "{refused}");
        tries().len() >= 4
    });
    assert!(
        tries().iter().all(|why| why == "flowgate cannot start it at present"),
        "{:?}",
        tries()
    );
    redis.restart();
    wait_until("it serves again", || flowgate.ask(&call).starts_with("HTTP/1.1 200"));
    let said = runtime(&flowgate);
    assert_eq!((&said["failures"], &said["why"]), (&json!(0), &Value::Null), "{said}");
}

/// Its lease has run out meanwhile, and another replica has started the runtime.
#[test]
fn an_owner_that_was_held_up_does_no_harm_to_the_next() {
    let Two { own, redis: _redis, replicas: [owner, other] } = Two::start();
    drop(connect(&owner));
    assert_eq!(state(&other), "ready");
    owner.signal("-STOP");
    wait_until("its lease is over", || state(&other) == "asleep");
    drop(connect(&other));
    let starts = own.starts();
    assert!(starts.len() == 2 && !runs(starts[0]) && runs(starts[1]), "{starts:?}");
    owner.signal("-CONT");
    owner.wait_for_line("it knows", |line| {
        line["message"] == "the runtime is ended" || line["message"] == "the runtime does not run"
    });
    let call = format!(
        "GET /api/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}\r\n",
        with_key(MIKE_KEY)
    );
    wait_until("it follows the next", || owner.ask(&call).starts_with("HTTP/1.1 200"));
    assert!(other.ask(&call).starts_with("HTTP/1.1 200"));
    let starts = own.starts();
    assert!(starts.len() == 2 && runs(starts[1]), "{starts:?}");
}
