//! Guessing passwords, as whoever tries it finds out.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use serde_json::{Value, json};

use crate::support::flowgate::Flowgate;
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, ROBERTO_PASSWORD};
use crate::support::redis::Redis;
use crate::support::replicas::{MIKE, Runtimes, status, undisturbed};
use crate::support::session::{Answer, Session, post, send};
use crate::support::{PATIENCE, now, wait_for};

/// Seconds: long enough that none of these tests takes so long between two lines.
const LONG: u64 = 8;

fn host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, number)
}

fn ask_from(from: Ipv4Addr, at: SocketAddr, request: &str) -> Answer {
    let outgoing = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&outgoing, &SocketAddr::from((from, 0))).unwrap();
    connect(&outgoing, &at).unwrap();
    let mut outgoing = TcpStream::from(outgoing);
    outgoing.set_read_timeout(Some(PATIENCE)).unwrap();
    outgoing.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    outgoing.read_to_string(&mut answer).unwrap();
    Answer::read(&answer)
}

/// Logs in with Basic.
fn try_from(from: Ipv4Addr, at: SocketAddr, username: &str, password: &str) -> Answer {
    let login = BASE64_STANDARD.encode(format!("{username}:{password}"));
    let request = format!(
        "GET /profile HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Basic {login}\r\n\r\n"
    );
    ask_from(from, at, &request)
}

fn wait_seconds(answer: &Answer) -> u64 {
    answer.header("retry-after").map_or(0, |seconds| seconds.parse().unwrap())
}

/// A password that nobody has tried.
fn wrong() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("wrong-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Guesses as fast as it may until it is told to wait for long. Returns what it was answered until it
/// was first told to wait, and the last answer.
fn guess(from: Ipv4Addr, at: SocketAddr, username: &str) -> (Vec<u16>, Answer) {
    let (mut first, mut waits, mut next_at) = (Vec::new(), false, now());
    let last = wait_for("a long wait", || {
        if now() < next_at {
            return None;
        }
        let answer = try_from(from, at, username, &wrong());
        next_at = now() + Duration::from_secs(wait_seconds(&answer));
        waits |= answer.status == 429;
        if !waits {
            first.push(answer.status);
        }
        (wait_seconds(&answer) >= LONG).then_some(answer)
    });
    (first, last)
}

#[test]
fn a_guesser_waits_and_nobody_else_does() {
    let runtimes = Runtimes::beside();
    let flowgate = Flowgate::start(&runtimes.profiles(), &[]);
    let at = flowgate.data;
    assert_eq!(try_from(host(1), at, "mike", MIKE_PASSWORD).status, 200);

    let faces = ["mike", "nobody", "roberto"].map(|username| {
        let (first, last) = guess(host(1), at, username);
        assert!(first.len() >= 5 && first.iter().all(|code| *code == 401), "{username}: {first:?}");
        let said: Value = serde_json::from_str(&last.body).unwrap();
        assert_eq!((last.status, &said["code"]), (429, &json!("too_many_attempts")));
        let names = last.head.lines().map(|line| line.split(':').next().unwrap().to_owned());
        (said["detail"].clone(), said["title"].clone(), names.collect::<Vec<_>>())
    });
    assert_eq!(faces[0], faces[2]);
    assert_eq!(faces[1], faces[2]);

    // Not even the right password, but where its owner was before, and from everywhere else.
    assert_eq!(try_from(host(1), at, "roberto", ROBERTO_PASSWORD).status, 429);
    assert_eq!(try_from(host(1), at, "mike", MIKE_PASSWORD).status, 200);
    assert_eq!(status(&flowgate, MIKE_KEY), 101);
    assert_eq!(try_from(host(2), at, "roberto", ROBERTO_PASSWORD).status, 200);
    let told = try_from(host(1), at, "roberto", ROBERTO_PASSWORD).status;
    assert_eq!(told, 429, "a guesser would be told that it is right");
}

#[test]
fn all_ways_in_count_together() {
    let runtimes = Runtimes::beside();
    let flowgate = Flowgate::start(&runtimes.profiles(), &[]);
    let at = flowgate.data;
    let _session = Session::begin(at, "mike", MIKE_PASSWORD);
    let (_, last) = guess(host(1), at, "mike");
    assert_eq!(last.status, 429);

    let form = send(at, "GET /login", "localhost", &[], "");
    let (cookie, token) = (form.cookie("flowgate-login"), form.field("token"));
    let origin = format!("http://localhost:{}", at.port());
    let fields = format!("token={token}&username=mike&password={}", wrong());
    let answer = post(at, "/login", "localhost", &origin, &cookie, &fields);
    assert_eq!(answer.status, 429, "{}", answer.head);
    assert!(wait_seconds(&answer) > 0, "{}", answer.head);
    assert!(answer.body.contains("too many wrong passwords"), "{}", answer.body);

    // Whoever is in, with the right password, does not get at another one by asking.
    let change = json!({ "old": wrong(), "new": "another-horse" });
    let (code, said) = flowgate.profile(MIKE, "PUT", "/password", &change);
    assert_eq!((code, &said["code"]), (429, &json!("too_many_attempts")), "{said}");
    let change = json!({ "old": MIKE_PASSWORD, "new": "another-horse" });
    assert_eq!(flowgate.profile(MIKE, "PUT", "/password", &change).0, 200);
}

#[test]
fn a_device_with_an_old_password_does_not_keep_its_owner_out() {
    let runtimes = Runtimes::beside();
    let flowgate = Flowgate::start(&runtimes.profiles(), &[]);
    let at = flowgate.data;
    wait_for("the device has to wait for long", || {
        let answer = try_from(host(1), at, "mike", "an-old-password");
        (wait_seconds(&answer) >= LONG).then_some(())
    });
    assert_eq!(try_from(host(1), at, "mike", MIKE_PASSWORD).status, 200);
}

#[test]
fn another_replica_knows_after_one_more() {
    let redis = Redis::start();
    let _runtimes = Runtimes::in_registry(&redis.url());
    let [here, there] = [(); 2].map(|()| Flowgate::start_on(&redis.url(), &[]));
    guess(host(1), here.data, "mike");
    let mut looked_at = 0;
    let last = wait_for("the other replica knows", || {
        let answer = try_from(host(1), there.data, "mike", &wrong());
        looked_at += u32::from(answer.status == 401);
        (answer.status == 429).then_some(answer)
    });
    // By itself it would have let five through, and then said 1 s.
    assert!(looked_at <= 2, "{looked_at}");
    assert!(wait_seconds(&last) > 1, "{}", last.head);
    assert_eq!(try_from(host(2), there.data, "mike", MIKE_PASSWORD).status, 200);
}

#[test]
fn right_logins_and_traffic_go_on_beside_a_flood_of_guesses() {
    let runtimes = Runtimes::beside();
    let flowgate = Flowgate::start(&runtimes.profiles(), &[]);
    let at = flowgate.data;
    let traffic = undisturbed(&[&flowgate]);
    let (over, turned_away) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (over, turned_away) = (&over, &turned_away);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // Half of them want to be mike, the others anybody.
                    let name = if number % 2 == 0 { "mike".to_owned() } else { wrong() };
                    let answer = try_from(host(10 + number), at, &name, &wrong());
                    assert!(matches!(answer.status, 401 | 429 | 503), "{}", answer.head);
                    turned_away.fetch_add(u64::from(answer.status == 429), Ordering::Relaxed);
                }
            });
        }
        let guard = Stop(&over);
        wait_for("the flood is turned away", || {
            (turned_away.load(Ordering::Relaxed) > 500).then_some(())
        });
        assert_eq!(try_from(host(2), at, "roberto", ROBERTO_PASSWORD).status, 200);
        assert_eq!(try_from(host(3), at, "mike", MIKE_PASSWORD).status, 200);
        drop(guard);
    });
    traffic.finish();
}

/// Ends the flood, also when an assertion fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
