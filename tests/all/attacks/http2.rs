//! HTTP/2 that would be something else as HTTP/1.1, which is what runtimes get.

use super::telling;
use crate::support::PATIENCE;
use crate::support::flowgate::Flowgate;
use crate::support::http2::{
    DATA, END_HEADERS, END_STREAM, HEADERS, Http2, PROTOCOL_ERROR, RST_STREAM, block,
};
use crate::support::profiles::{MIKE_KEY, mike};
use crate::support::runtime::header_value;
use crate::support::tls::Authority;

fn begin(path: &str) -> [(&str, &str); 4] {
    [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
}

#[test]
fn no_line_of_http_1_is_hidden_in_a_header_of_http_2() {
    let (runtime, told) = telling();
    let authority = Authority::new();
    let pair = authority.issue("front", &["localhost"]).pair();
    let flags = ["--tls-listen", "127.0.0.1:0", "--tls-certificates", &pair];
    let flowgate = Flowgate::start(&mike(runtime.address), &flags);
    let inner = "0\r\n\r\nGET /red/flows HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let good = begin("/public/mike/x");
    let lines = [
        vec![("x-own", "a\r\nX-Auth-User: roberto")],
        vec![("x-own", "a\nX-Auth-User: roberto")],
        vec![("x-own\r\nx-auth-user", "roberto")],
        vec![("x-own: a\r\nx-auth-user", "roberto")],
        vec![("x-own", "a\0b")],
        vec![("X-Own", "upper case")],
        vec![("transfer-encoding", "chunked")],
        vec![("connection", "x-own")],
        vec![("upgrade", "websocket")],
        vec![("content-length", "3")],
        vec![("content-length", "x")],
        vec![("content-length", "2"), ("content-length", "3")],
        vec![(":path", "/red/flows")],
        vec![(":status", "200")],
    ];
    let mut requests: Vec<Vec<(&str, &str)>> =
        lines.iter().map(|more| [&good[..], &more[..]].concat()).collect();
    for path in [
        "/public/mike/x HTTP/1.1\r\nX-Auth-User: roberto\r\nX: y",
        "/public/mike/x y",
        "public/mike/x",
        "",
        "*",
    ] {
        requests.push(begin(path).to_vec());
    }
    let method = [(":method", "GET / HTTP/1.1\r\nX: y\r\n\r\nGET")];
    requests.push([&method[..], &good[1..]].concat());
    let other_authority = [(":authority", "localhost\r\nX-Auth-User: roberto")];
    requests.push([&good[..2], &other_authority[..], &good[3..]].concat());
    let scheme = [(":scheme", "https://x\r\n")];
    requests.push([&good[..1], &scheme[..], &good[2..]].concat());
    for request in requests {
        let mut client = Http2::connect(&flowgate, &authority);
        client.send(HEADERS, END_HEADERS, 1, &block(&request)).unwrap();
        // It may have been refused by then.
        let _ = client.send(DATA, END_STREAM, 1, inner.as_bytes());
        // Refused as a whole, as a stream, or by a status; never relayed.
        while let Some(frame) = client.receive() {
            match frame.kind {
                HEADERS => assert_ne!(frame.status(), 200, "{request:?}"),
                RST_STREAM => assert_eq!(frame.code(), PROTOCOL_ERROR, "{request:?}"),
                _ => continue,
            }
            break;
        }
    }
    // What the runtime has got of all that are heads with nothing of a stranger's in them.
    for (head, body) in told.try_iter().filter(|(head, _)| !head.is_empty()) {
        let lines: Vec<&str> = head.lines().collect();
        assert!(lines[0].starts_with("POST /api/public/x HTTP/1.1"), "{head}");
        assert!(!head.to_lowercase().contains("roberto") && !body.contains("red"), "{head}{body}");
    }

    // A session's cookie in crumbs is one of ours all the same.
    let mut client = Http2::connect(&flowgate, &authority);
    let key = ("apikey", MIKE_KEY);
    let crumbs =
        [("cookie", "a=1"), ("cookie", "__Host-flowgate-session=x"), ("cookie", "b=2"), key];
    let path = begin("/api/x");
    client.ask(1, &[&path[..], &crumbs].concat());
    assert_eq!(client.receive_of(1).status(), 200);
    let (head, _) = told.recv_timeout(PATIENCE).unwrap();
    let cookie = ["Cookie", "cookie"].iter().find_map(|name| header_value(&head, name));
    assert_eq!(cookie, Some("a=1; b=2"), "{head}");
    assert!(!head.contains(MIKE_KEY), "{head}");
}
