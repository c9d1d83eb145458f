//! A request fares the same whoever carries it on: random ones go both ways to one runtime, which
//! tells what it saw.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::sync::watch;

use crate::relay::plane::Plane;

use super::world::{
    KEY, PATIENCE, WAIT_MAX, WAYS, Way, World, read_head, serve_with_front, start_runtime,
};

/// What the runtime says, by the number in `X-Answer`.
const ANSWERS: [&str; 16] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 Fine By Me\r\nConnection: close\r\nX-oDD: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: __Host-flowgate=2\r\nSet-Cookie: b=3; Domain=x\r\n\r\nto the end",
    "HTTP/1.0 200 OK\r\nVary: Accept\r\n\r\nto the end",
    "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
    "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=5, s-maxage=9\r\nWWW-Authenticate: Basic\r\nWWW-Authenticate: Own\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nKeep-Alive: 5\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nContent-Length: 1\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n.",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "nothing like HTTP\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX-Bytes: \t\u{e4}\r\nContent-Length: 3\r\n\r\nabcdef",
    "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 4\r\nClear-Site-Data: \"*\"\r\nAlt-Svc: x\r\n\r\nbusy",
    "",
    "HTTP/1.1 200 OK\r\nContent-Security-Policy: default-src 'self'\r\nContent-Length: 2\r\n\r\nok",
];

/// Tells every head that it gets, and answers as it is asked to.
fn recording() -> (Receiver<String>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = sync_channel(1000);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (mut socket, tell) = (socket.unwrap(), tell.clone());
            std::thread::spawn(move || {
                socket.set_read_timeout(Some(WAIT_MAX)).unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && matches!(socket.read(&mut byte), Ok(1)) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let asked = head.lines().find_map(|line| line.strip_prefix("X-Answer: "));
                let answer = asked.and_then(|number| number.parse().ok()).unwrap_or(0);
                let _ = tell.send(head);
                let _ = socket.write_all(ANSWERS[answer].as_bytes());
            });
        }
    });
    (told, port)
}

fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(WAIT_MAX)).unwrap();
    let _ = socket.write_all(request);
    let mut answer = Vec::new();
    // A connection that is cut may be reset.
    let _ = socket.read_to_end(&mut answer);
    answer
}

/// First line, sorted headers without those that differ from request to request, and the body.
type Message = (String, Vec<(String, String)>, String);

fn read(message: &[u8]) -> Message {
    let text: String = message.iter().copied().map(char::from).collect();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return (text, Vec::new(), String::new());
    };
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let mut headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap_or((line, "")))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .filter(|(name, value)| {
            name != "x-request-id" && (name != "date" || value.contains("2024"))
        })
        .collect();
    headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    let is_chunked = headers.iter().any(|(name, _)| name == "transfer-encoding");
    let body = if is_chunked { joined(body) } else { body.to_owned() };
    let body = ["\"request_id\":\"", "&middot; request "].iter().fold(body, |body, before| {
        match body.split_once(before) {
            Some((left, id)) => format!("{left}{}", &id[24..]),
            None => body,
        }
    });
    (first, headers, body)
}

/// The data of chunks; with a mark if the last one is missing.
fn joined(mut body: &str) -> String {
    let mut data = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = size.split(';').next().unwrap_or_default();
        match usize::from_str_radix(size, 16) {
            Ok(0) => return data,
            Ok(size) if size + 2 <= rest.len() => {
                data.push_str(&rest[..size]);
                body = &rest[size + 2..];
            }
            _ => break,
        }
    }
    data + " [cut]"
}

const PATHS: [&str; 14] = [
    "/api/thing",
    "/api/thing?a=1&apikey=key-of-mike-0123456789&b=2",
    "/api/thing?access_token=wrong",
    "/api/%2e%2e/x",
    "/api//x?",
    "/public/mike/a%20b?x=%61pikey",
    "/public/nobody/x",
    "/public/mike/x?ticket=1",
    "/api/x?ticket=1",
    "/api/public/x",
    "/elsewhere",
    "/api/\u{e4}",
    "//api/x",
    "/healthz",
];

const HEADERS: [&str; 25] = [
    "x-oDD-cAse: One",
    "X-Odd-Case: two",
    "Cookie: a=1; __Host-flowgate=2; b=3",
    "cookie: __host-flowgate_x=1",
    "Connection: X-Hop",
    "X-Hop: 1",
    "TE: trailers",
    "X_Auth_User: roberto",
    "X-Forwarded-For: 6.6.6.6",
    "Forwarded: for=6.6.6.6",
    "Keep-Alive: 5",
    "Origin: http://evil.example",
    "Access-Control-Request-Method: GET",
    "Accept: text/html",
    "Service-Worker: script",
    "Sec-Fetch-Site: cross-site",
    "Sec-WebSocket-Protocol: flowgate, a",
    "Upgrade: h2c",
    "Upgrade: websocket",
    "User-Agent: \t x \t",
    "Range: bytes=0-",
    "Trailer: X-Auth-User, X-Sum",
    "Content-Length: 0",
    "Expect: 100-continue",
    "Broken : 1",
];

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_owned)
}

fn requests() -> impl Strategy<Value = String> {
    let methods = one_of(&["GET", "GET", "GET", "HEAD", "OPTIONS", "DELETE", "get", "TRACE"]);
    let hosts = one_of(&[
        "localhost",
        "localhost",
        "mike.flows.localhost",
        "MIKE.flows.localhost:80",
        "roberto.flows.localhost",
        "",
        "a b",
    ]);
    let key = format!("apikey: {KEY}");
    let bearer = format!("authorization: bearer {KEY}");
    let named = format!("X-Auth-User: mike\r\nx-auth-key: {KEY}");
    let credentials = prop::sample::select(vec![
        key.clone(),
        key,
        bearer,
        named,
        "X-None: 1".to_owned(),
        "apikey: wrong".to_owned(),
        "Authorization: Bearer of-the-runtimes-own".to_owned(),
        "Authorization: Basic !".to_owned(),
    ]);
    let others = prop::collection::vec(one_of(&HEADERS), 0..6);
    (methods, one_of(&PATHS), hosts, credentials, others, 0..ANSWERS.len()).prop_map(
        |(method, path, host, credential, others, answer)| {
            let others: String = others.iter().map(|line| format!("{line}\r\n")).collect();
            format!(
                "{method} {path} HTTP/1.1\r\nhOst: {host}\r\n{others}{credential}\r\n\
                 X-Answer: {answer}\r\nConnection: Close\r\n\r\n"
            )
        },
    )
}

#[test]
fn whoever_carries_it_on_a_request_fares_the_same() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (told, port) = recording();
    let world = runtime.block_on(World::reaching(start_runtime().0, port, Way::Others));
    let handed_over = Arc::new(AtomicUsize::new(0));
    let (_drain, drained) = watch::channel(false);
    let (_plane, prepared) = Plane::prepare(1, PATIENCE, world.journey.clock).unwrap();
    let (front_address, front) = {
        let _inside = runtime.enter();
        serve_with_front(&world.journey, prepared, &handed_over, drained)
    };
    let mut runner =
        TestRunner::new(Config { cases: 600, failure_persistence: None, ..Config::default() });
    let count = AtomicUsize::new(0);
    let outcome = runner.run(&requests(), |request| {
        count.fetch_add(1, Ordering::Relaxed);
        let [others, ours] = [world.address, front_address].map(|address| {
            let answer = read(&exchange(address, request.as_bytes()));
            let seen: Vec<Message> = told.try_iter().map(|head| read(head.as_bytes())).collect();
            (answer, seen)
        });
        prop_assert_eq!(ours, others, "{}", request);
        Ok(())
    });
    drop(front);
    outcome.unwrap();
    let (all, others) = (count.into_inner(), handed_over.load(Ordering::SeqCst));
    assert!(others < all / 3 * 2, "the front has left {others} of {all} requests to others");
}

/// Answers one request on its first connection and closes that when the next one has come; answers
/// all on later ones. Tells how many connections it got.
fn closing_its_first() -> (Arc<AtomicUsize>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let number = counted.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                socket.set_read_timeout(Some(WAIT_MAX)).unwrap();
                for request in 0.. {
                    if read_head(&mut socket).is_empty() || (number == 0 && request == 1) {
                        return;
                    }
                    let _ = socket.write_all(ANSWERS[0].as_bytes());
                }
            });
        }
    });
    (count, port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_kept_connection_is_closed_on_is_sent_again() {
    for way in WAYS {
        let (connections, port) = closing_its_first();
        let world = World::reaching(start_runtime().0, port, way).await;
        let address = world.address;
        for expected in [1, 2, 2] {
            let request = format!(
                "GET /api/thing HTTP/1.1\r\nHost: localhost\r\napikey: {KEY}\r\nConnection: close\r\n\r\n"
            );
            let asking = move || read(&exchange(address, request.as_bytes()));
            let (_, _, body) = tokio::task::spawn_blocking(asking).await.unwrap();
            assert_eq!(body, "hello", "{way:?}");
            assert_eq!(connections.load(Ordering::SeqCst), expected, "{way:?}");
            world.wait_until_idle().await;
        }
    }
}
