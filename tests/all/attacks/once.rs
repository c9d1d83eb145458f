//! What is good once, taken by many at the same moment.

use std::net::SocketAddr;
use std::sync::Barrier;

use serde_json::json;

use crate::support::flowgate::Flowgate;
use crate::support::profiles::{MIKE_PASSWORD, mike};
use crate::support::redis::Redis;
use crate::support::replicas::{MIKE, Runtimes};
use crate::support::runtime::Runtime;
use crate::support::session::{Session, send};
use crate::support::websocket::{WebSocket, handshake};

const AT_ONCE: usize = 16;

/// What as many at once are answered, each by one of these.
fn all_at_once(at: &[SocketAddr], ask: impl Fn(SocketAddr) -> u16 + Sync) -> Vec<u16> {
    let begin = Barrier::new(AT_ONCE);
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..AT_ONCE)
            .map(|number| {
                let (begin, ask, at) = (&begin, &ask, at[number % at.len()]);
                scope.spawn(move || {
                    begin.wait();
                    ask(at)
                })
            })
            .collect();
        askers.into_iter().map(|asker| asker.join().unwrap()).collect()
    })
}

fn assert_one(answers: &[u16], good: u16, bad: u16) {
    assert_eq!(answers.iter().filter(|code| **code == good).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|code| [good, bad].contains(code)), "{answers:?}");
}

fn ticket(flowgate: &Flowgate) -> String {
    let (code, said) = flowgate.profile(MIKE, "POST", "/tickets", &json!({ "path": "/api/thing" }));
    assert_eq!(code, 201, "{said}");
    format!("/api/thing?ticket={}", said["ticket"].as_str().unwrap())
}

fn try_ticket(at: SocketAddr, path: &str) -> u16 {
    let head = WebSocket::open(at, handshake(path, "localhost", "")).head;
    head.split(' ').nth(1).expect(&head).parse().unwrap()
}

#[test]
fn a_ticket_is_taken_once_by_however_many() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    for _ in 0..5 {
        let path = ticket(&flowgate);
        assert_one(&all_at_once(&[flowgate.data], |at| try_ticket(at, &path)), 101, 401);
    }
}

#[test]
fn nor_is_it_taken_twice_on_two_replicas() {
    let redis = Redis::start();
    let _runtimes = Runtimes::in_registry(&redis.url());
    let replicas = [(); 2].map(|()| Flowgate::start_on(&redis.url(), &[]));
    let at = replicas.each_ref().map(|replica| replica.data);
    for _ in 0..5 {
        let path = ticket(&replicas[0]);
        assert_one(&all_at_once(&at, |at| try_ticket(at, &path)), 101, 401);
    }
}

#[test]
fn a_code_for_a_tenants_host_is_taken_once() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let session = Session::begin(flowgate.data, "mike", MIKE_PASSWORD);
    for _ in 0..5 {
        let (location, cookie) = session.code("mike");
        let line = format!("GET {}", &location[location.find("/login/session").unwrap()..]);
        let cookie = format!("Cookie: {cookie}");
        let answers = all_at_once(&[flowgate.data], |at| {
            send(at, &line, "mike.flows.localhost", &[&cookie], "").status
        });
        assert_one(&answers, 303, 403);
    }
}
