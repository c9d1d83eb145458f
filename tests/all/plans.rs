//! Plans, seen from outside: what passes, what is left out, what is refused, alone and on replicas.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::exposition::{Page, ask_for};
use crate::support::flowgate::{Flowgate, import};
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, mike_and_roberto, mike_on_plan};
use crate::support::redis::Redis;
use crate::support::replicas::{MIKE, undisturbed, with_key};
use crate::support::runtime::{Runtime, accept, echo, text_from_client};
use crate::support::websocket::{FIN, PING, PONG, TEXT, WebSocket, handshake, masked, unmasked};
use crate::support::{PATIENCE, now, wait_until};

const NOTICE: &str = "Error code: 4008 reason: Websocket frame throttled out";

fn open(flowgate: &Flowgate) -> WebSocket {
    WebSocket::connect(flowgate.data, "/public/mike/data", "")
}

fn metrics(flowgate: &Flowgate) -> Page {
    Page::read(&ask_for(flowgate, "/metrics", ""))
}

/// A runtime that takes messages and says nothing.
fn listening() -> Runtime {
    Runtime::accepting(|websocket| while websocket.receive().is_some() {})
}

fn basic() -> String {
    let login = BASE64_STANDARD.encode(format!("mike:{MIKE_PASSWORD}"));
    format!("Authorization: Basic {login}\r\n")
}

#[test]
fn a_message_too_many_is_left_out_and_the_connection_stays() {
    let (texts, taken) = mpsc::sync_channel(64);
    // Answers would cost as much as what they answer, so that there are none but Pongs.
    let runtime = Runtime::accepting(move |websocket| {
        while let Some(frame) = websocket.receive() {
            match frame.first_byte & 0x0f {
                PING => websocket.send(&unmasked(FIN | PONG, &frame.payload)),
                _ => drop(texts.send(frame.payload)),
            }
        }
    });
    let plan = json!({ "messages_per_minute": { "limit": 1200, "burst": 2 }, "over": "drop" });
    let flowgate =
        Flowgate::start(&mike_on_plan(runtime.address, plan), &["--metrics-open", "true"]);
    let mut websocket = open(&flowgate);
    websocket.send(&text_from_client("one of many").repeat(50));
    assert_eq!(websocket.receive_text(), NOTICE);
    for _ in 0..2 {
        assert_eq!(taken.recv_timeout(PATIENCE).unwrap(), b"one of many");
    }
    // Control frames are free, and after a while messages pass again.
    wait_until("a message passes again", || {
        websocket.send(&[text_from_client("again"), masked(FIN | PING, b"behind it")].concat());
        loop {
            let frame = websocket.receive().expect("the connection stays");
            if frame.first_byte == FIN | PONG {
                assert_eq!(frame.payload, b"behind it");
                return taken.try_iter().any(|text| text == b"again");
            }
            assert_eq!((frame.first_byte, &*frame.payload), (FIN | TEXT, NOTICE.as_bytes()));
        }
    });
    assert!(metrics(&flowgate).value("flowgate_throttled_total", &[("action", "drop")]) >= 40.0);
    let (code, said) = flowgate.profile(MIKE, "GET", "", &Value::Null);
    assert_eq!(code, 200, "{said}");
    assert_eq!(said["plan"]["limits"]["over"], "drop");
    let plan_use = &said["plan"]["use"];
    assert_eq!(plan_use["limits"][0]["limit"], "messages_per_minute");
    assert_eq!(plan_use["limits"][0]["burst"], 2);
    assert!(plan_use["dropped"].as_u64().unwrap() >= 40, "{said}");
}

/// By the front, and by the other path, which a password takes that was not checked yet.
#[test]
fn a_plan_that_drops_has_each_message_compressed_by_itself() {
    let (heads, asked) = mpsc::sync_channel(64);
    let runtime = Runtime::start(move |mut websocket| {
        heads.send(websocket.head.clone()).unwrap();
        let agreed = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
        accept(&mut websocket, agreed);
        echo(&mut websocket);
    });
    for (over, drops) in [("drop", true), ("pace", false)] {
        let plan = json!({ "messages_per_day": 1000, "over": over });
        let flowgate = Flowgate::start(&mike_on_plan(runtime.address, plan), &[]);
        for credential in [basic(), with_key(MIKE_KEY)] {
            let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
            let headers = format!("{credential}{offer}");
            let websocket = WebSocket::connect(flowgate.data, "/api/thing", &headers);
            let head = asked.recv_timeout(PATIENCE).unwrap();
            let offered = "permessage-deflate; client_max_window_bits; server_no_context_takeover";
            assert_eq!(head.contains(offered), drops, "{head}");
            let agreed =
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
            assert_eq!(websocket.head.contains(agreed), drops, "{}", websocket.head);
        }
    }
}

#[test]
fn handshakes_over_the_limit_are_429() {
    let runtime = Runtime::echo();
    let plan = json!({ "handshakes_per_minute": { "limit": 1, "burst": 3 } });
    let flowgate = Flowgate::start(&mike_on_plan(runtime.address, plan), &[]);
    // One that goes by both paths costs one all the same.
    for credential in [basic(), with_key(MIKE_KEY), basic()] {
        WebSocket::connect(flowgate.data, "/api/thing", &credential);
    }
    for credential in [with_key(MIKE_KEY), basic()] {
        let answer = flowgate.ask(&handshake("/api/thing", "localhost", &credential));
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        let policy = "\r\nRatelimit-Policy: \"handshakes_per_minute\";q=1;w=60\r\n";
        let (answer, policy) = (answer.to_ascii_lowercase(), policy.to_ascii_lowercase());
        assert!(answer.contains(&policy), "{answer}");
        let seconds = answer.split_once("\r\nretry-after: ").expect(&answer).1;
        let seconds: u32 = seconds.split_once('\r').unwrap().0.parse().unwrap();
        assert!((1..=60).contains(&seconds), "{answer}");
        let left = format!("\r\nratelimit: \"handshakes_per_minute\";r=0;t={seconds}\r\n");
        assert!(answer.contains(&left) && answer.contains("plan_handshakes"), "{answer}");
    }
    let stranger = flowgate.ask(&handshake("/api/thing", "localhost", &with_key("wrong")));
    assert!(stranger.starts_with("HTTP/1.1 401 "), "the limit is nobody else's business");
}

#[test]
fn requests_over_the_limit_are_429() {
    let runtime = Runtime::start(|mut websocket| {
        websocket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    });
    let plan = json!({ "requests_per_second": { "limit": 1, "burst": 4 } });
    let flowgate = Flowgate::start(&mike_on_plan(runtime.address, plan), &[]);
    let get = |path: &str| {
        let answer = flowgate
            .ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    // The runtime's answers take no time to speak of: far fewer come back than are asked for.
    wait_until("the budget is used up", || get("/public/mike/data") == 429);
    wait_until("one came back", || get("/public/mike/data") == 200);
    assert_eq!(get("/public/nobody/data"), 404);
}

/// A tenant at the limit, with more waiting than is ever read, beside one who talks.
#[test]
fn a_noisy_tenant_leaves_others_alone() {
    for over in ["pace", "drop"] {
        let (noisy, runtime) = (listening(), Runtime::echo());
        let mut profiles = mike_and_roberto(noisy.address, runtime.address);
        profiles["plans"] = json!({ "noisy": { "messages_per_second": 100, "over": over } });
        profiles["tenants"][0]["plan"] = json!("noisy");
        let flowgate = Flowgate::start(&profiles, &["--metrics-open", "true"]);
        let traffic = undisturbed(&[&flowgate]);
        let flood = Flood::start(&[&flowgate], 3);
        let action = [("action", over)];
        wait_until("the plan throttles", || {
            metrics(&flowgate).value("flowgate_throttled_total", &action) > 10.0
        });
        traffic.goes_on("beside a tenant at the limit");
        drop(flood);
        traffic.finish();
    }
}

/// Clients of mike's that send all the time, and read what they are told.
struct Flood {
    stop: Arc<AtomicBool>,
    sockets: Vec<std::net::TcpStream>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Flood {
    fn start(replicas: &[&Flowgate], each: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut flood = Self { stop, sockets: Vec::new(), threads: Vec::new() };
        for replica in replicas.iter().flat_map(|it| vec![*it; each]) {
            let websocket = open(replica);
            let mut writer = websocket.socket.try_clone().unwrap();
            flood.sockets.push(websocket.socket.try_clone().unwrap());
            let mut reader = websocket;
            flood.threads.push(std::thread::spawn(move || {
                let mut sink = [0; 4096];
                while std::io::Read::read(&mut reader.socket, &mut sink).is_ok_and(|read| read > 0)
                {
                }
            }));
            let stop = Arc::clone(&flood.stop);
            flood.threads.push(std::thread::spawn(move || {
                let message = text_from_client("noise");
                while !stop.load(Ordering::SeqCst)
                    && std::io::Write::write_all(&mut writer, &message).is_ok()
                {}
            }));
        }
        flood
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for socket in &self.sockets {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The bound of docs/plans.md, with each of three replicas flooded all the time: without sharing they
/// would give three times the rate.
#[test]
fn three_replicas_keep_the_bound_together() {
    const RATE: f64 = 300.0;
    const BURST: f64 = 300.0;
    // Two rounds of half a second, and a good deal of patience with this machine.
    const DELAY_SECONDS: f64 = 3.0;
    let redis = Redis::start();
    let runtime = listening();
    let plan = json!({ "messages_per_second": RATE as u64, "over": "drop" });
    import(&redis.url(), &mike_on_plan(runtime.address, plan), &[]);
    let replicas: Vec<Flowgate> =
        (0..3).map(|_| Flowgate::start_on(&redis.url(), &["--metrics-open", "true"])).collect();
    for replica in &replicas {
        wait_until("all replicas share", || {
            metrics(replica).value("flowgate_plan_replicas", &[]) == 3.0
        });
    }
    let relayed = || -> f64 {
        let from_client = [("direction", "from_client")];
        let of = |it| metrics(it).value("flowgate_relayed_messages_total", &from_client);
        replicas.iter().map(of).sum()
    };
    let began = now();
    let flood = Flood::start(&replicas.iter().collect::<Vec<_>>(), 2);
    wait_until("much more was relayed than the bound allows at once", || {
        let passed = relayed();
        let seconds = began.elapsed().as_secs_f64();
        let bound =
            BURST + RATE * seconds + 2.0 * RATE * DELAY_SECONDS + 3.0 * (1.0 + RATE / 100.0);
        assert!(passed <= bound, "{passed} messages in {seconds} s: the bound is {bound}");
        // Three that do not share would be over the bound long before.
        passed >= 15.0 * RATE
    });
    drop(flood);
}
