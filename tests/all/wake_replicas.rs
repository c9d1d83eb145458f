//! Replicas that share the runtimes of one machine.

use serde_json::{Value, json};

use crate::support::flowgate::{Flowgate, import};
use crate::support::own::{Own, mike, runs};
use crate::support::profiles::MIKE_KEY;
use crate::support::redis::Redis;
use crate::support::replicas::{MIKE, with_key};
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
    let own = Own::small("serves");
    let redis = Redis::start();
    let url = redis.url();
    import(&url, &mike(true, json!({})), &[]);
    let flags = own.flags(&["--wake-timeout=3m"]);
    let replicas = [Flowgate::start_on(&url, &flags), Flowgate::start_on(&url, &flags)];
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

/// Its lease has run out meanwhile, and another replica has started the runtime.
#[test]
fn an_owner_that_was_held_up_does_no_harm_to_the_next() {
    let own = Own::small("serves");
    let redis = Redis::start();
    let url = redis.url();
    import(&url, &mike(true, json!({})), &[]);
    let flags = own.flags(&["--wake-timeout=3m"]);
    let [owner, other] = [Flowgate::start_on(&url, &flags), Flowgate::start_on(&url, &flags)];
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
