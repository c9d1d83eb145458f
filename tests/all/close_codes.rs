//! Each way in which a connection ends, as `docs/wire.md` has it.

use crate::support::flowgate::Flowgate;
use crate::support::profiles::{mike, mike_on_plan};
use crate::support::runtime::{Runtime, text_from_client};
use crate::support::websocket::{CLOSE, FIN, TEXT, WebSocket, header, masked, unmasked};
use crate::support::{PATIENCE, wait_until};

/// A runtime that reports the Close frame it gets.
fn reporting() -> (Runtime, std::sync::mpsc::Receiver<Option<(u16, String)>>) {
    let (report, reports) = std::sync::mpsc::sync_channel(1);
    let runtime = Runtime::accepting(move |websocket| {
        let mut close = None;
        while let Some(frame) = websocket.receive() {
            if frame.first_byte == FIN | CLOSE {
                close = Some(frame.close());
            }
        }
        let _ = report.send(close);
    });
    (runtime, reports)
}

#[test]
fn what_breaks_the_protocol_is_closed_with_1002_on_both_sides() {
    let too_long = [header(FIN | 9, 0x80, 126), vec![0; 130]].concat();
    let fragmented_ping = masked(9, b"x");
    let cases: [(&str, Vec<u8>); 7] = [
        ("protocol: wrong masking", unmasked(FIN | TEXT, b"no mask")),
        ("protocol: reserved bit set", masked(FIN | 0x40 | TEXT, b"deflated?")),
        ("protocol: unknown opcode", masked(FIN | 3, b"")),
        ("protocol: control frame too long", too_long),
        ("protocol: fragmented control frame", fragmented_ping),
        ("protocol: wrong continuation", masked(FIN, b"of nothing")),
        ("protocol: impossible length", header(FIN | 2, 0x80, 1 << 63)),
    ];
    let (runtime, reports) = reporting();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    for (reason, bytes) in cases {
        let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
        websocket.send(&text_from_client("before"));
        websocket.send(&bytes);
        let expected = (1002, reason.to_owned());
        assert_eq!(websocket.receive_close(), expected);
        assert_eq!(reports.recv_timeout(PATIENCE).unwrap(), Some(expected));
    }
    flowgate.wait_until_idle();
}

#[test]
fn a_runtime_that_breaks_the_protocol_is_no_better() {
    let runtime = Runtime::accepting(|websocket| {
        websocket.send(&masked(FIN | TEXT, b"masked by a server"));
        assert_eq!(websocket.receive_close(), (1002, "protocol: wrong masking".to_owned()));
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    assert_eq!(websocket.receive_close(), (1002, "protocol: wrong masking".to_owned()));
    flowgate.wait_until_idle();
}

#[test]
fn a_message_over_the_plans_size_is_closed_with_1009() {
    let (runtime, reports) = reporting();
    let plan = serde_json::json!({ "message_bytes": 1000 });
    let flowgate = Flowgate::start(&mike_on_plan(runtime.address, plan), &[]);
    let at_the_limit = [masked(TEXT, &[b'x'; 600]), masked(FIN, &[b'x'; 400])].concat();
    let over = [masked(TEXT, &[b'x'; 600]), masked(FIN, &[b'x'; 401])].concat();
    // As long as a frame can be: its length alone tells.
    let huge = header(FIN | TEXT, 0x80, (1 << 63) - 1);
    let huge = [huge, vec![0; 4]].concat();
    for bytes in [over, huge] {
        let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
        websocket.send(&at_the_limit);
        websocket.send(&bytes);
        let expected = (1009, "message over the plan's size".to_owned());
        assert_eq!(websocket.receive_close(), expected);
        assert_eq!(reports.recv_timeout(PATIENCE).unwrap(), Some(expected));
    }
    let end = flowgate.wait_for_end();
    assert_eq!((&end["ended_by"], &end["messages_from_client"]), (&"flowgate".into(), &1.into()));
}

#[test]
fn a_frame_as_long_as_a_frame_can_be_streams_where_the_plan_allows_it() {
    let runtime = Runtime::accepting(|websocket| {
        use std::io::Read;
        let mut bytes = vec![0; 14 + 100_000];
        websocket.socket.read_exact(&mut bytes).unwrap();
        websocket.send(&unmasked(FIN | TEXT, b"still here"));
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    websocket.send(&[header(FIN | 2, 0x80, (1 << 63) - 1), vec![0; 4], vec![7; 100_000]].concat());
    assert_eq!(websocket.receive_text(), "still here");
    // The runtime has ended meanwhile; in its direction there is a boundary.
    assert_eq!(websocket.receive().unwrap().close().0, 1014);
    flowgate.wait_until_idle();
}

#[test]
fn a_runtime_that_vanishes_is_told_with_1014() {
    let runtime = Runtime::accepting(|websocket| {
        websocket.send(&unmasked(TEXT, b"half a message"));
        websocket.receive();
        // Dropped here, between two frames of a message.
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    assert_eq!(websocket.receive().unwrap().payload, b"half a message");
    websocket.send(&text_from_client("go"));
    assert_eq!(websocket.receive_close(), (1014, "runtime vanished".to_owned()));
    let end = flowgate.wait_for_end();
    assert_eq!((&end["ended_by"], &end["code"]), (&"runtime".into(), &1014.into()), "{end}");
}

#[test]
fn a_runtime_that_vanishes_inside_a_frame_leaves_no_place_for_a_close() {
    let runtime = Runtime::accepting(|websocket| {
        websocket.send(&[header(FIN | TEXT, 0, 100), b"only this".to_vec()].concat());
        websocket.receive();
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    websocket.send(&text_from_client("go"));
    let mut bytes = Vec::new();
    // The end of the stream or a reset, but nothing that the client could take for a frame.
    let _ = std::io::Read::read_to_end(&mut websocket.socket, &mut bytes);
    assert_eq!(bytes, [header(FIN | TEXT, 0, 100), b"only this".to_vec()].concat());
    flowgate.wait_until_idle();
}

#[test]
fn a_client_that_never_reads_is_cut_and_the_runtime_told() {
    let (report, reports) = std::sync::mpsc::sync_channel(1);
    let runtime = Runtime::accepting(move |websocket| {
        let mut sender = websocket.socket.try_clone().unwrap();
        std::thread::spawn(move || {
            let message = unmasked(FIN | 2, &[0; 65_000]);
            while std::io::Write::write_all(&mut sender, &message).is_ok() {}
        });
        let _ = report.send(websocket.receive().map(|frame| frame.close()));
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &["--write-stall-max", "1s"]);
    let _never_reads = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    let expected = (1008, "client stopped reading".to_owned());
    assert_eq!(reports.recv_timeout(PATIENCE).unwrap(), Some(expected));
    flowgate.wait_until_idle();
}

#[test]
fn a_runtime_that_never_reads_is_cut_and_the_client_told() {
    let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(0);
    let stopped = std::sync::Mutex::new(stopped);
    let runtime = Runtime::accepting(move |_never_reads| {
        let _ = stopped.lock().unwrap().recv();
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &["--write-stall-max", "1s"]);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    let mut sender = websocket.socket.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let message = masked(FIN | 2, &[0; 65_000]);
        while std::io::Write::write_all(&mut sender, &message).is_ok() {}
    });
    let close = websocket.receive().unwrap().close();
    assert_eq!(close, (1014, "runtime stopped reading".to_owned()));
    sending.join().unwrap();
    drop(stop);
    flowgate.wait_until_idle();
}

#[test]
fn a_frame_that_is_left_unfinished_is_closed_with_1002() {
    let runtime = Runtime::echo();
    let flowgate = Flowgate::start(&mike(runtime.address), &["--frame-stall-max", "1s"]);
    for half in [vec![FIN | TEXT], header(FIN | TEXT, 0x80, 10)] {
        let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
        websocket.send(&half);
        assert_eq!(websocket.receive_close(), (1002, "frame left unfinished".to_owned()));
    }
    flowgate.wait_until_idle();
}

#[test]
fn a_client_that_answers_no_ping_is_closed_with_1008() {
    let (runtime, reports) = reporting();
    let flowgate = Flowgate::start(&mike(runtime.address), &["--ping-after", "1s"]);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    assert_eq!(websocket.receive().unwrap().first_byte, FIN | 9);
    assert_eq!(websocket.receive().unwrap().first_byte, FIN | 9);
    let expected = (1008, "client answered no ping".to_owned());
    assert_eq!(websocket.receive_close(), expected);
    assert_eq!(reports.recv_timeout(PATIENCE).unwrap(), Some(expected));
}

#[test]
fn a_budget_that_closes_says_4008() {
    let runtime = Runtime::echo();
    let plan = serde_json::json!({ "messages": { "per_second": 1, "burst": 4, "over": "close" } });
    let flowgate = Flowgate::start(&mike_on_plan(runtime.address, plan), &[]);
    let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
    for _ in 0..10 {
        websocket.send(&text_from_client("x"));
    }
    loop {
        let frame = websocket.receive().unwrap();
        if frame.first_byte == FIN | CLOSE {
            assert_eq!(frame.close(), (4008, "plan's message budget exhausted".to_owned()));
            break;
        }
    }
    flowgate.wait_until_idle();
}

#[test]
fn a_client_that_vanishes_is_a_fin_to_the_runtime() {
    let (runtime, reports) = reporting();
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    drop(WebSocket::connect(flowgate.data, "/public/mike/data", ""));
    assert_eq!(reports.recv_timeout(PATIENCE).unwrap(), None);
    let end = flowgate.wait_for_end();
    assert_eq!((&end["ended_by"], &end["code"]), (&"client".into(), &1006.into()), "{end}");
    wait_until("the live table is empty", || flowgate.status()["live"] == 0);
}
