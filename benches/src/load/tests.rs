//! The generator against the echo runtime, through the yardsticks and through proxies that lie.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::thread::spawn;
use std::time::Duration;

use super::churn::Churn;
use super::fleet::{Fleet, Traffic};
use super::http::{Answer, Exchange, Http};
use super::pace::Pace;
use super::{Load, PATIENCE, Tally};
use crate::clock::{now, wait_for};
use crate::fault::Result;
use crate::websocket::{Message, handshake};
use crate::{echo, yardsticks};

const WHILE: Duration = Duration::from_millis(50);

/// Serves in a thread that ends with the test's process.
pub fn start(serve: impl FnOnce(SocketAddr) -> Result<()> + Send + 'static) -> SocketAddr {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    spawn(move || serve(address).unwrap());
    wait_for(PATIENCE, || TcpStream::connect(address).ok()).unwrap();
    address
}

/// The runtime, and a proxy of each kind before it.
fn addresses() -> [SocketAddr; 3] {
    let runtime = start(echo::serve);
    let floor = start(move |listen| yardsticks::floor::serve(listen, runtime));
    let copy = start(move |listen| yardsticks::copy::serve(listen, runtime));
    [runtime, floor, copy]
}

/// Relays to a runtime and changes each stretch that comes back.
fn start_liar(lie: fn(&mut Vec<u8>)) -> SocketAddr {
    let runtime = start(echo::serve);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    spawn(move || {
        for client in listener.incoming() {
            let (client, to) = (client.unwrap(), TcpStream::connect(runtime).unwrap());
            spawn(move || tell_lies(client, to, lie));
        }
    });
    address
}

fn tell_lies(mut client: TcpStream, mut to: TcpStream, lie: fn(&mut Vec<u8>)) {
    let (mut from, mut runtime) = (client.try_clone().unwrap(), to.try_clone().unwrap());
    spawn(move || std::io::copy(&mut from, &mut runtime));
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = to.read(&mut buffer) {
        let mut bytes = buffer[..count].to_vec();
        if !bytes.starts_with(b"HTTP/1.1 101") {
            lie(&mut bytes);
        }
        if client.write_all(&bytes).is_err() {
            return;
        }
    }
}

pub fn requests(count: usize) -> impl Iterator<Item = Vec<u8>> {
    std::iter::repeat_n(handshake("bench.test", "/data", ""), count)
}

pub fn drive(load: &mut dyn Load) -> Tally {
    let mut all = Tally::default();
    while all.operations == 0 {
        all.add(&load.drive(WHILE).unwrap());
    }
    all
}

#[test]
fn every_message_comes_back_through_every_yardstick() {
    for address in addresses() {
        let mut fleet = Fleet::open(address, requests(20)).unwrap();
        for (bytes, in_flight) in [(0, 1), (64, 50), (4096, 3), (1 << 20, 2)] {
            let message = Rc::new(Message::new(bytes, in_flight));
            let traffic = Traffic { message, in_flight, active: 20, per_second: None };
            fleet.begin(traffic).unwrap();
            let tally = drive(&mut fleet);
            assert!(tally.latency.quantile_us(0.5).is_some());
            fleet.finish().unwrap();
        }
    }
}

#[test]
fn a_fixed_rate_is_kept_and_not_exceeded() {
    let [address, ..] = addresses();
    let mut fleet = Fleet::open(address, requests(5)).unwrap();
    let message = Rc::new(Message::new(64, 1));
    let traffic = Traffic { message, in_flight: 1, active: 5, per_second: Some(1000) };
    let begin = now();
    fleet.begin(traffic).unwrap();
    let mut all = Tally::default();
    while all.operations < 100 {
        all.add(&fleet.drive(WHILE).unwrap());
    }
    fleet.finish().unwrap();
    assert!(all.operations as f64 <= 1.0 + begin.elapsed().as_secs_f64() * 1000.0);
}

#[test]
fn messages_are_due_one_after_the_other_and_never_early() {
    let mut pace = Pace::start(1_000_000).unwrap();
    let mut next = 0;
    wait_for(PATIENCE, || {
        for (number, at) in pace.due().unwrap() {
            assert_eq!(number, next);
            assert!(at <= now());
            next += 1;
        }
        (next > 1000).then_some(())
    })
    .unwrap();
}

#[test]
fn clients_come_and_go_through_every_yardstick() {
    for address in addresses() {
        let next = |request: &mut Vec<u8>| request.extend(handshake("bench.test", "/data", ""));
        let mut churn = Churn::begin(address, 8, Box::new(next)).unwrap();
        assert!(drive(&mut churn).operations > 0);
    }
}

#[test]
fn bodies_pass_both_ways_through_every_yardstick() {
    let upload_bytes = 3_000_001;
    let exchange = |head: String, upload_bytes, answer| Exchange {
        head: head.into_bytes(),
        upload_bytes,
        status: 200,
        answer,
    };
    for address in addresses() {
        let get = "GET /bytes/3000001 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
        let post = format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {upload_bytes}\r\n\r\n");
        for exchange in [
            exchange(get, 0, Answer::Pattern(3_000_001)),
            exchange(post, upload_bytes, Answer::Text(upload_bytes.to_string())),
        ] {
            let mut http = Http::begin(address, 2, exchange, None).unwrap();
            let tally = drive(&mut http);
            assert!(tally.bytes >= tally.operations * upload_bytes);
        }
    }
}

#[test]
fn a_changed_byte_is_noticed() {
    let address = start_liar(|bytes| *bytes.last_mut().unwrap() ^= 1);
    let outcome = Fleet::open(address, requests(1)).err().unwrap();
    assert_eq!(outcome.0, "what came back is not what was sent");
    // The head stays as it is, should it come alone: a broken one would only be waited for.
    let address = start_liar(|bytes| {
        if bytes.len() > 1000 {
            *bytes.last_mut().unwrap() ^= 1;
        }
    });
    let head = b"GET /bytes/100000 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let answer = Answer::Pattern(100_000);
    let exchange = Exchange { head, upload_bytes: 0, status: 200, answer };
    let mut http = Http::begin(address, 1, exchange, None).unwrap();
    assert_eq!(http.drive(PATIENCE).err().unwrap().0, "what was downloaded is not what was sent");
}

#[test]
fn a_message_that_came_twice_is_noticed() {
    let address = start_liar(|bytes| bytes.extend_from_within(..));
    let outcome = Fleet::open(address, requests(1)).err().unwrap();
    assert_eq!(outcome.0, "more messages came back than were sent");
}

#[test]
fn a_wrong_status_is_told() {
    let [address, ..] = addresses();
    let head = b"GET /bytes/1 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let exchange = Exchange { head, upload_bytes: 0, status: 401, answer: Answer::Anything };
    let mut http = Http::begin(address, 1, exchange, None).unwrap();
    let outcome = http.drive(PATIENCE).err().unwrap();
    assert_eq!(outcome.0, "a request was answered with HTTP/1.1 200 OK");
}
