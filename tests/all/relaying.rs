//! What is relayed arrives as it was sent.

use crate::support::flowgate::Flowgate;
use crate::support::node::run_script;
use crate::support::profiles::{MIKE_KEY, mike, mike_on_plan};
use crate::support::runtime::{Runtime, accept, accept_with, echo, header_value, text_from_client};
use crate::support::websocket::{
    FIN, PING, PONG, TEXT, WebSocket, handshake, header, masked, unmasked,
};

#[test]
fn what_was_read_ahead_of_either_handshake_arrives_first() {
    let runtime = Runtime::start(|mut websocket| {
        let greeting = unmasked(FIN | TEXT, b"early from the runtime");
        accept_with(&mut websocket, "", &greeting);
        echo(&mut websocket);
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let mut bytes = handshake("/public/mike/data", "localhost", "").into_bytes();
    bytes.extend(text_from_client("early from the client"));
    let mut websocket = WebSocket::open(flowgate.data, bytes);
    assert!(websocket.head.starts_with("HTTP/1.1 101"), "{}", websocket.head);
    assert_eq!(websocket.receive_text(), "early from the runtime");
    assert_eq!(websocket.receive_text(), "early from the client");
}

#[test]
fn large_and_fragmented_messages_pass_verbatim() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    let large: Vec<u8> = (0..3_000_000_u32).map(|byte| byte as u8).collect();
    let mut sender = websocket.socket.try_clone().unwrap();
    let sent = large.clone();
    let sending = std::thread::spawn(move || {
        use std::io::Write;
        sender.write_all(&masked(2, &sent)).unwrap();
        sender.write_all(&masked(FIN | PING, b"between")).unwrap();
        sender.write_all(&masked(FIN, b"")).unwrap();
    });
    let first = websocket.receive().unwrap();
    assert_eq!((first.first_byte, first.payload.len()), (2, large.len()));
    assert!(first.payload == large);
    assert_eq!(websocket.receive().unwrap().payload, b"between");
    assert_eq!(websocket.receive().unwrap().first_byte, FIN);
    sending.join().unwrap();
}

#[test]
fn deflate_and_subprotocols_are_negotiated_end_to_end() {
    const SCRIPT: &str = r#"
        const { WebSocketServer, WebSocket } = require("ws");
        const [flowgate, key, port] = process.argv.slice(1);
        const deflate = { threshold: 0, serverNoContextTakeover: false };
        const server = new WebSocketServer({
            port: Number(port), host: "127.0.0.1", perMessageDeflate: deflate,
            handleProtocols: (offered) => [...offered].join("+") && [...offered].pop(),
        });
        server.on("connection", (socket, request) => {
            socket.on("message", (data, binary) => socket.send(data, { binary }));
        });
        const text = "the same words again and again, ".repeat(3000);
        const client = new WebSocket(`ws://${flowgate}/api/thing`, ["flowgate", "first", "second"], {
            headers: { apikey: key }, perMessageDeflate: deflate,
        });
        let left = 5;
        client.on("open", () => {
            console.log(client.protocol, client.extensions);
            client.send(text);
        });
        client.on("message", (data) => {
            if (data.toString() !== text) { console.log("changed"); process.exit(1); }
            if (--left > 0) { client.send(text); return; }
            console.log(client._socket.bytesRead < 20000 ? "compressed" : "not compressed");
            client.close(1000, "done");
        });
        client.on("close", (code, reason) => { console.log(code, reason.toString()); process.exit(0); });
        client.on("error", (error) => { console.log(error.message); process.exit(1); });
    "#;
    let address = Runtime::nowhere();
    let flowgate = Flowgate::start(&mike(address), &[]);
    let (data, port) = (flowgate.data.to_string(), address.port().to_string());
    let printed = run_script(SCRIPT, &[&data, MIKE_KEY, &port]);
    assert_eq!(printed, "second permessage-deflate\ncompressed\n1000 done\n");
    let end = flowgate.wait_for_end();
    assert_eq!((&end["messages_from_client"], &end["code"]), (&5.into(), &1000.into()), "{end}");
}

#[test]
fn our_own_subprotocol_is_answered_when_the_runtime_selects_none() {
    let runtime = Runtime::start(|mut websocket| {
        assert_eq!(header_value(&websocket.head, "Sec-WebSocket-Protocol"), None);
        accept(&mut websocket, "");
        echo(&mut websocket);
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let offer = "Sec-WebSocket-Protocol: flowgate\r\n";
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", offer);
    let head = websocket.head.to_ascii_lowercase();
    assert_eq!(header_value(&head, "sec-websocket-protocol"), Some("flowgate"));
    websocket.send(&text_from_client("hello"));
    assert_eq!(websocket.receive_text(), "hello");
}

#[test]
fn the_runtime_sees_whose_it_is_and_no_credential() {
    let runtime = Runtime::start(|mut websocket| {
        let head = websocket.head.clone();
        accept(&mut websocket, "X-Powered-By: Test\r\n");
        websocket.send(&unmasked(FIN | TEXT, head.as_bytes()));
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let headers = format!(
        "apikey: {MIKE_KEY}\r\nX-Auth-User: mike\r\nx-auth-key: {MIKE_KEY}\r\n\
         X_Auth_User: roberto\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: X-Request-Id\r\n\
         X-Request-Id: mine\r\nX-Custom-Header: kept\r\nCookie: a=b; __Host-flowgate=secret\r\n"
    );
    let path = format!("/api/thing?x=%20y&acce%73s_token={MIKE_KEY}&z");
    let mut websocket = WebSocket::connect(flowgate.data, &path, &headers);
    let head = websocket.receive_text();
    assert!(head.starts_with("GET /api/thing?x=%20y&z HTTP/1.1\r\n"), "{head}");
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut names: Vec<&str> = lines.map(|(name, _)| name).collect();
    names.sort_unstable();
    let expected = [
        "Connection",
        "Cookie",
        "Host",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Upgrade",
        "X-Auth-User",
        "X-Custom-Header",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Request-Id",
    ];
    assert_eq!(names, expected, "{head}");
    assert_eq!(header_value(&head, "X-Auth-User"), Some("mike"));
    assert_eq!(header_value(&head, "X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(header_value(&head, "Cookie"), Some("a=b"));
    assert!(!head.contains(MIKE_KEY) && !head.contains("mine") && !head.contains("roberto"));
    // Small devices compare case-sensitively.
    assert!(websocket.head.contains("Sec-WebSocket-Accept: "), "{}", websocket.head);
    assert!(websocket.head.contains("X-Powered-By: Test"), "{}", websocket.head);
}

#[test]
fn each_side_may_half_close() {
    let runtime = Runtime::accepting(|websocket| {
        // Answers only once the client has finished.
        let mut texts = Vec::new();
        while let Some(frame) = websocket.receive() {
            texts.push(String::from_utf8(frame.payload).unwrap());
        }
        websocket.send(&unmasked(FIN | TEXT, texts.join("+").as_bytes()));
        websocket.send(&unmasked(FIN | 8, &1000_u16.to_be_bytes()));
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    websocket.send(&text_from_client("one"));
    websocket.send(&text_from_client("two"));
    websocket.half_close();
    assert_eq!(websocket.receive_text(), "one+two");
    assert_eq!(websocket.receive_close().0, 1000);
    flowgate.wait_until_idle();
}

#[test]
fn a_runtime_that_has_closed_still_hears_the_client() {
    let (heard, hears) = std::sync::mpsc::sync_channel(1);
    let runtime = Runtime::accepting(move |websocket| {
        websocket.send(&unmasked(FIN | 8, &1000_u16.to_be_bytes()));
        websocket.half_close();
        let frame = websocket.receive().map(|frame| frame.payload);
        let _ = heard.send(frame);
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    assert_eq!(websocket.receive_close().0, 1000);
    websocket.send(&text_from_client("one more"));
    assert_eq!(hears.recv().unwrap().as_deref(), Some(&b"one more"[..]));
}

#[test]
fn a_silent_client_is_pinged_and_its_pong_stays_here() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &["--ping-after", "1s"]);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    for _ in 0..2 {
        let ping = websocket.receive().unwrap();
        assert_eq!(ping.first_byte, FIN | PING);
        websocket.send(&masked(FIN | PONG, &ping.payload));
    }
    websocket.send(&masked(FIN | PONG, b"its own"));
    websocket.send(&text_from_client("hello"));
    // The runtime sends everything back that reaches it.
    let unsolicited = websocket.receive().unwrap();
    assert_eq!((unsolicited.first_byte, &unsolicited.payload[..]), (FIN | PONG, &b"its own"[..]));
    assert_eq!(websocket.receive_text(), "hello");
}

#[test]
fn a_message_rate_slows_the_sender_down() {
    let runtime = Runtime::echo();
    let plan = serde_json::json!({ "messages": { "per_second": 200, "burst": 10 } });
    let flowgate = Flowgate::start(&mike_on_plan(runtime.address, plan), &[]);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    let mut all = Vec::new();
    for number in 0..100 {
        all.extend(text_from_client(&number.to_string()));
    }
    websocket.send(&all);
    for number in 0..100 {
        assert_eq!(websocket.receive_text(), number.to_string());
    }
    // 200 messages in both directions at 200 a second, less the burst; the log knows the time.
    drop(websocket);
    let duration_ms = flowgate.wait_for_end()["duration_ms"].as_u64().unwrap();
    assert!(duration_ms >= 900, "{duration_ms} ms");
}

#[test]
fn a_frame_header_alone_is_held_back() {
    let (seen, sees) = std::sync::mpsc::sync_channel(1);
    let runtime = Runtime::accepting(move |websocket| {
        let _ = seen.send(websocket.receive_text());
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    let frame = text_from_client("byte by byte");
    assert_eq!(frame[..2], header(FIN | TEXT, 0x80, 12));
    for byte in frame {
        websocket.send(&[byte]);
    }
    assert_eq!(sees.recv().unwrap(), "byte by byte");
}
