//! What a client can do with HTTP/2 that none should.

use std::sync::{Mutex, mpsc};

use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::flowgate::Flowgate;
use crate::support::http2::{
    CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, PROTOCOL_ERROR,
    REFUSED_STREAM, RST_STREAM, SETTINGS, block,
};
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, mike};
use crate::support::runtime::Runtime;
use crate::support::tls::Authority;
use crate::support::wait_until;

fn start(runtime: &Runtime, flags: &[&str]) -> (Flowgate, Authority) {
    let authority = Authority::new();
    let pair = authority.issue("front", &["localhost"]).pair();
    let tls = ["--tls-listen", "127.0.0.1:0", "--tls-certificates", &pair];
    (Flowgate::start(&mike(runtime.address), &[&tls[..], flags].concat()), authority)
}

fn answering() -> Runtime {
    Runtime::start(|mut websocket| {
        websocket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    })
}

/// A runtime that sends the head of an answer at once, and the body once it is told to.
fn waiting() -> (Runtime, mpsc::SyncSender<()>) {
    let (go, gate) = mpsc::sync_channel(1024);
    let gate = Mutex::new(gate);
    let runtime = Runtime::start(move |mut websocket| {
        websocket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
        if gate.lock().unwrap().recv_timeout(PATIENCE).is_ok() {
            websocket.send(b"ok");
        }
    });
    (runtime, go)
}

#[test]
fn what_is_offered_has_limits_and_no_websocket() {
    let runtime = answering();
    let (flowgate, authority) = start(&runtime, &["--header-bytes-max", "9000"]);
    let mut client = Http2::connect(&flowgate, &authority);
    let settings = client.receive_next(SETTINGS).payload;
    let settings: Vec<(u16, u32)> = settings
        .chunks(6)
        .map(|one| {
            let number = u16::from_be_bytes([one[0], one[1]]);
            (number, u32::from_be_bytes([one[2], one[3], one[4], one[5]]))
        })
        .collect();
    let (streams_max, header_list_bytes_max, extended_connect) = (3, 6, 8);
    assert!(settings.contains(&(streams_max, 100)), "{settings:?}");
    assert!(settings.contains(&(header_list_bytes_max, 9000)), "{settings:?}");
    assert!(!settings.iter().any(|(number, _)| *number == extended_connect), "{settings:?}");

    // Asking for it all the same is an error of that stream alone, as are headers of HTTP/1.1.
    let own = [(":scheme", "https"), (":authority", "localhost"), (":path", "/public/mike/data")];
    let websocket = [(":method", "CONNECT"), (":protocol", "websocket")];
    client.ask(1, &[&websocket[..], &own, &[("sec-websocket-version", "13")]].concat());
    assert_eq!(client.receive_of(1).code(), PROTOCOL_ERROR);
    for (stream, header) in [
        (3, ("connection", "upgrade")),
        (5, ("upgrade", "websocket")),
        (7, ("transfer-encoding", "chunked")),
        (9, ("keep-alive", "300")),
        (11, ("te", "gzip")),
    ] {
        client.get(stream, "/public/mike/x", &[header]);
        assert_eq!(client.receive_of(stream).code(), PROTOCOL_ERROR, "{header:?}");
    }
    assert!(!flowgate.raw_log().contains("/public/mike/"));
    client.get(13, "/public/mike/x", &[]);
    assert_eq!(client.receive_of(13).status(), 200);
}

#[test]
fn the_authority_is_the_host_and_there_is_one() {
    let runtime = answering();
    let (flowgate, authority) = start(&runtime, &[]);
    let mut client = Http2::connect(&flowgate, &authority);
    client.get(1, "/public/mike/x", &[("host", "localhost")]);
    assert_eq!(client.receive_of(1).status(), 200);
    client.get(3, "/public/mike/x", &[("host", "roberto.flows.localhost")]);
    assert_eq!(client.receive_of(3).status(), 400);
    let rest = [(":method", "GET"), (":scheme", "https"), (":path", "/public/mike/x")];
    client.ask(5, &rest);
    assert_eq!(client.receive_of(5).status(), 400);
    client.ask(7, &[&rest[..], &[(":authority", "eve@localhost")]].concat());
    assert_ne!(client.receive_of(7).status(), 200);
    // A tunnel has no path.
    client.ask(9, &[(":method", "CONNECT"), (":authority", "localhost:80")]);
    assert_ne!(client.receive_of(9).status(), 200);
}

#[test]
fn headers_without_end_end_the_connection() {
    const FAR_TOO_MUCH: usize = 64 << 20;
    let runtime = answering();
    let (flowgate, authority) = start(&runtime, &[]);
    let mut client = Http2::connect(&flowgate, &authority);
    let begin = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost")];
    client.send(HEADERS, END_STREAM, 1, &block(&begin)).unwrap();
    let piece = block(&vec![("x", "y"); 3000]);
    let mut sent = 0;
    while client.send(CONTINUATION, 0, 1, &piece).is_ok() {
        sent += piece.len();
        assert!(sent < FAR_TOO_MUCH, "nobody stops it");
    }
    assert!(client.ends());
    flowgate.wait_until_idle();
}

#[test]
fn one_request_more_than_allowed_is_refused_and_the_others_go_on() {
    let (runtime, go) = waiting();
    let (flowgate, authority) = start(&runtime, &[]);
    let mut client = Http2::connect(&flowgate, &authority);
    client.receive_next(SETTINGS);
    for number in 0..101 {
        client.get(number * 2 + 1, "/public/mike/x", &[]);
    }
    let refused = client.receive_next(RST_STREAM);
    assert_eq!((refused.stream, refused.code()), (201, REFUSED_STREAM));
    wait_until("the others are under way", || flowgate.status()["live"] == 100);
    for _ in 0..100 {
        go.send(()).unwrap();
    }
    let mut ended = 0;
    while ended < 100 {
        let frame = client.receive_next(DATA);
        ended += u32::from(frame.flags & END_STREAM);
    }
    client.get(203, "/public/mike/x", &[]);
    assert_eq!(client.receive_of(203).status(), 200);
    go.send(()).unwrap();
}

#[test]
fn requests_that_are_taken_back_again_and_again_end_the_connection() {
    let (runtime, _go) = waiting();
    let (flowgate, authority) = start(&runtime, &[]);
    let mut client = Http2::connect(&flowgate, &authority);
    let get = block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/public/mike/x"),
    ]);
    let mut stream = 1;
    while client.send(HEADERS, END_STREAM | END_HEADERS, stream, &get).is_ok()
        && client.send(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()).is_ok()
    {
        stream += 2;
        assert!(stream < 200_000, "nobody stops it");
    }
    assert!(client.ends());
    flowgate.wait_until_idle();
}

#[test]
fn a_revocation_cuts_what_rests_on_the_grant_and_nothing_beside_it() {
    let (runtime, go) = waiting();
    let (flowgate, authority) = start(&runtime, &[]);
    let mut client = Http2::connect(&flowgate, &authority);
    client.get(1, "/api/x", &[("apikey", MIKE_KEY)]);
    assert_eq!(client.receive_of(1).status(), 200);
    client.get(3, "/public/mike/x", &[]);
    assert_eq!(client.receive_of(3).status(), 200);
    let (code, said) = flowgate.profile(("mike", MIKE_PASSWORD), "POST", "/api-key", &Value::Null);
    assert_eq!((code, &said["closed"]), (200, &json!(1)), "{said}");
    assert_eq!(client.receive_of(1).kind, RST_STREAM);
    for _ in 0..2 {
        go.send(()).unwrap();
    }
    assert_eq!(client.receive_of(3).payload, b"ok");
    client.get(5, "/api/x", &[("apikey", MIKE_KEY)]);
    assert_ne!(client.receive_of(5).status(), 200);
}

#[test]
fn a_stop_is_announced_and_lets_a_request_finish() {
    let (runtime, go) = waiting();
    let (mut flowgate, authority) = start(&runtime, &[]);
    let mut client = Http2::connect(&flowgate, &authority);
    client.get(1, "/public/mike/x", &[]);
    assert_eq!(client.receive_of(1).status(), 200);
    flowgate.signal("-TERM");
    let said = client.receive_next(GOAWAY).payload;
    assert_eq!(said[4..8], [0; 4], "no error");
    go.send(()).unwrap();
    assert_eq!(client.receive_of(1).payload, b"ok");
    assert!(client.ends());
    assert!(flowgate.wait().success());
}
