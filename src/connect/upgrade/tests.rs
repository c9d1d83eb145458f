use std::io::{Read, Write};
use std::net::TcpListener;

use http_body_util::BodyExt;

use super::super::*;
use super::*;
use crate::tenant::{OnChange, Provider};

/// RFC 6455 section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn dialer() -> Dialer {
    let settings = ConnectSettings {
        connect_timeout: Duration::from_secs(5),
        handshake_timeout: Duration::from_millis(300),
        response_timeout: Duration::from_secs(5),
        header_bytes_max: 8192,
        probes: Default::default(),
    };
    Dialer::new(settings, Arc::default(), Clock::start()).unwrap()
}

fn instance(host: &str, port: u16) -> Instance {
    Instance {
        host: host.into(),
        port,
        node_root: String::new(),
        admin_root: None,
        tls: None,
        on_change: OnChange::Keep,
        provider: Provider::Static,
        nodes: None,
        network: None,
    }
}

fn request() -> Request<Empty<Bytes>> {
    Request::get("/data?a=1")
        .header("Host", "mike.flows.localhost")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", KEY)
        .body(Empty::new())
        .unwrap()
}

/// A runtime that answers with these bytes and then holds the connection; what it was sent, and how
/// it ended.
async fn ask(bytes: &str) -> (Result<Answer, Refusal>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let bytes = bytes.to_owned();
    let runtime = tokio::task::spawn_blocking(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut asked = vec![0; 4096];
        let length = socket.read(&mut asked).unwrap();
        socket.write_all(bytes.as_bytes()).unwrap();
        asked.truncate(length);
        (String::from_utf8(asked).unwrap(), socket)
    });
    let answer = dialer()
        .handshake(&instance("127.0.0.1", port), request(), &mut Stopwatch::default())
        .await;
    let (asked, mut socket) = runtime.await.unwrap();
    if answer.is_err() {
        let end = tokio::task::spawn_blocking(move || {
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket.read_to_end(&mut Vec::new()).map_err(|error| error.kind())
        });
        let end = end.await.unwrap();
        assert!(matches!(end, Ok(0) | Err(io::ErrorKind::ConnectionReset)), "still open: {end:?}");
    }
    (answer, asked)
}

fn switching(lines: &str, read_ahead: &str) -> String {
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    format!("{head}{lines}\r\n{read_ahead}")
}

#[test]
fn accept_is_the_rfcs_example() {
    let mut headers = HeaderMap::new();
    headers.insert(SEC_WEBSOCKET_KEY, KEY.parse().unwrap());
    assert_eq!(expected_accept(&headers), ACCEPT);
}

#[tokio::test]
async fn a_right_answer_switches_and_keeps_what_came_behind_it() {
    let lines = format!("Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Protocol: mqtt\r\n");
    let (answer, asked) = ask(&switching(&lines, "\u{2}behind")).await;
    let Ok(Answer::Switched { response, upgraded }) = answer else { panic!("{answer:?}") };
    assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
    assert_eq!(detach_now(upgraded).unwrap().read_ahead, "\u{2}behind".as_bytes());
    assert!(asked.starts_with("GET /data?a=1 HTTP/1.1\r\n"), "{asked}");
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let lines = format!("Sec-WebSocket-Accept: {ACCEPT}\r\n");
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
    let (answer, _) = ask(&format!("{interim}{}", switching(&lines, ""))).await;
    assert!(matches!(answer, Ok(Answer::Switched { .. })), "{answer:?}");
}

#[tokio::test]
async fn what_is_no_right_handshake_is_refused() {
    let obsolete = format!("Sec-WebSocket-Accept:\r\n {ACCEPT}\r\n");
    let long = format!("Sec-WebSocket-Accept: {ACCEPT}\r\nX: {}\r\n", "x".repeat(9000));
    for bytes in [
        switching("", ""),
        switching("Sec-WebSocket-Accept: wrong\r\n", ""),
        switching(&format!("Sec-WebSocket-Accept: {}\r\n", ACCEPT.to_lowercase()), ""),
        switching(&obsolete, ""),
        switching(&long, ""),
        format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"),
        switching(&format!("Sec-WebSocket-Accept: {ACCEPT}\r\n"), "").replace("websocket", "h2c"),
        "SSH-2.0-OpenSSH\r\n".into(),
        "HTTP/2 200\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n".into(),
    ] {
        let (answer, _) = ask(&bytes).await;
        assert!(matches!(answer, Err(Refusal::RuntimeBroke(_))), "{bytes}: {answer:?}");
    }
}

#[tokio::test]
async fn another_answer_is_passed_on() {
    let (answer, _) = ask("HTTP/1.1 404 Not Here\r\nContent-Length: 4\r\n\r\ngone").await;
    let Ok(Answer::Declined(response)) = answer else { panic!("{answer:?}") };
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "gone");
}

#[tokio::test]
async fn silence_is_a_timeout() {
    for bytes in ["", "HTTP/1.1 101 Switch", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let (answer, _) = ask(bytes).await;
        assert!(matches!(answer, Err(Refusal::RuntimeTimedOut(_))), "{bytes}: {answer:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let answer = dialer()
        .handshake(&instance("127.0.0.1", port), request(), &mut Stopwatch::default())
        .await;
    let Err(Refusal::RuntimeUnreachable(why)) = answer else { panic!("{answer:?}") };
    assert!(why.starts_with(&format!("127.0.0.1:{port}: ")), "{why}");
}

fn ips(found: io::Result<Vec<SocketAddr>>) -> Vec<IpAddr> {
    found.unwrap().iter().map(SocketAddr::ip).collect()
}

#[tokio::test]
async fn names_are_believed_for_a_while() {
    let dialer = dialer();
    let localhost = instance("localhost", 80);
    let found = ips(dialer.addresses(&localhost).await);
    assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback));
    let other = IpAddr::from([192, 0, 2, 1]);
    let far = dialer.clock.now().plus(NAMES_FRESH_FOR);
    *dialer.name("localhost").lock().await = Some((far, Ok(vec![other])));
    assert_eq!(ips(dialer.addresses(&localhost).await), [other]);
    *dialer.name("localhost").lock().await = Some((Millis(0), Ok(vec![other])));
    assert_eq!(ips(dialer.addresses(&localhost).await), found, "looked up again");
    dialer.addresses(&instance("192.0.2.1", 80)).await.unwrap();
    assert_eq!(dialer.names.lock().unwrap().len(), 1, "an address is no name");
}

#[tokio::test]
async fn a_name_without_addresses_is_not_asked_for_at_once_again() {
    let dialer = dialer();
    let nowhere = instance("no-such-host.invalid", 80);
    let first = dialer.addresses(&nowhere).await.unwrap_err().to_string();
    let known = dialer.name("no-such-host.invalid").lock().await.clone();
    assert!(known.is_some_and(|(_, found)| found == Err(first)));
}

#[tokio::test]
async fn a_name_is_looked_up_once_at_a_time() {
    let dialer = dialer();
    let localhost = instance("localhost", 80);
    let looking = dialer.name("localhost").lock_owned().await;
    assert!(timeout(Duration::from_millis(50), dialer.addresses(&localhost)).await.is_err());
    drop(looking);
    assert!(dialer.addresses(&localhost).await.is_ok());
}

#[tokio::test]
async fn names_are_bounded_and_those_in_use_stay() {
    let dialer = dialer();
    let in_use = dialer.name("in-use").lock_owned().await;
    for number in 0..NAMES_MAX + 10 {
        dialer.name(&format!("name-{number}"));
    }
    let names = dialer.names.lock().unwrap();
    assert!(names.len() <= NAMES_MAX && names.contains_key("in-use"));
    drop((names, in_use));
}
