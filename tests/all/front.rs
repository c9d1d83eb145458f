//! Who carries a request on is nobody's business but ours: what the front does itself, what it hands
//! over, and what it does with peers that behave badly.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::flowgate::Flowgate;
use crate::support::front::{CLOSE, answer, connect, get, handed_over, start};
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, mike};
use crate::support::runtime::{Runtime, header_value};
use crate::support::websocket::{WebSocket, handshake, read_head};
use crate::support::{PATIENCE, wait_until};

/// Answers every request, also several on one connection, with its own path, method and body.
fn telling() -> Runtime {
    Runtime::start(|mut socket| {
        while !socket.head.is_empty() {
            let length = header_value(&socket.head, "Content-Length");
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            socket.socket.read_exact(&mut body).unwrap();
            let line = socket.head.lines().next().unwrap();
            let told = format!("[{line}|{}]", String::from_utf8_lossy(&body));
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len());
            socket.send(answer.as_bytes());
            socket.head = read_head(&mut socket.socket);
        }
    })
}

#[test]
fn one_connection_may_ask_for_everything() {
    let runtime = telling();
    let flowgate = start(&runtime, &[]);
    let before = handed_over(&flowgate);
    let mut socket = connect(&flowgate);
    let key = format!("apikey: {MIKE_KEY}\r\n");
    for path in ["/api/one", "/api/two", "/api/three"] {
        socket.write_all(get(path, &key).as_bytes()).unwrap();
        assert_eq!(answer(&mut socket).1, format!("[GET {path} HTTP/1.1|]"));
    }
    socket.write_all(get("/api/four", "").as_bytes()).unwrap();
    let (head, _) = answer(&mut socket);
    assert!(head.starts_with("HTTP/1.1 401") && !head.contains("close"), "{head}");
    socket.write_all(get("/nowhere", "").as_bytes()).unwrap();
    assert!(answer(&mut socket).0.starts_with("HTTP/1.1 404"));
    assert_eq!(handed_over(&flowgate), before, "all this needs nobody else");
    let post = "POST /public/mike/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody";
    socket.write_all(post.as_bytes()).unwrap();
    assert_eq!(answer(&mut socket).1, "[POST /api/public/x HTTP/1.1|body]");
    socket.write_all(get("/healthz", "").as_bytes()).unwrap();
    assert_eq!(answer(&mut socket).1, "ok\n");
    socket.write_all(get("/public/mike/last", "").as_bytes()).unwrap();
    assert_eq!(answer(&mut socket).1, "[GET /api/public/last HTTP/1.1|]");
    assert_eq!(handed_over(&flowgate), before + 1, "once, and for good");
}

#[test]
fn a_tenant_who_is_not_in_memory_is_waited_for_and_needs_nobody_else() {
    let runtime = telling();
    for headers in [format!("apikey: {MIKE_KEY}\r\n{CLOSE}"), CLOSE.to_owned()] {
        let flowgate = Flowgate::start(&mike(runtime.address), &[]);
        let path = if headers.contains(MIKE_KEY) { "/api/x" } else { "/public/mike/x" };
        assert!(flowgate.ask(&get(path, &headers)).starts_with("HTTP/1.1 200"), "{path}");
        let wrong = format!("apikey: wrong\r\n{CLOSE}");
        assert!(flowgate.ask(&get("/api/x", &wrong)).starts_with("HTTP/1.1 401"));
        assert_eq!(handed_over(&flowgate), 0, "{path}");
    }
}

#[test]
fn a_request_may_come_in_any_pieces_and_with_another_behind_it() {
    let runtime = telling();
    let flowgate = start(&runtime, &[]);
    let one = get("/public/mike/one", "X-Own: 1\r\n");
    let two = format!(
        "POST /public/mike/two HTTP/1.1\r\nHost: localhost\r\n{CLOSE}Content-Length: 4\r\n\r\nbody"
    );
    let both = format!("{one}{two}");
    let expected = "[GET /api/public/one HTTP/1.1|][POST /api/public/two HTTP/1.1|body]";
    for cut in (1..both.len()).step_by(7) {
        let mut socket = connect(&flowgate);
        socket.set_nodelay(true).unwrap();
        let (first, second) = both.split_at(cut);
        socket.write_all(first.as_bytes()).unwrap();
        // The answer to the first shows that the pieces were not put together on the way.
        let mut told = String::new();
        if cut >= one.len() {
            told.push_str(&answer(&mut socket).1);
        }
        socket.write_all(second.as_bytes()).unwrap();
        while told.len() < expected.len() {
            told.push_str(&answer(&mut socket).1);
        }
        assert_eq!(told, expected, "{cut}");
    }
    flowgate.wait_until_idle();
}

#[test]
fn the_limit_of_headers_is_exact_both_ways() {
    const MAX: usize = 8192;
    let runtime = Runtime::start(|mut socket| {
        let length: usize =
            header_value(&socket.head, "X-Length").map_or(99, |it| it.parse().unwrap());
        let begin = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: ";
        let filling = "x".repeat(length - begin.len() - 4);
        socket.send(format!("{begin}{filling}\r\n\r\nok").as_bytes());
    });
    let flowgate = start(&runtime, &["--header-bytes-max", &MAX.to_string()]);
    let request = |length: usize, answer: usize| {
        let begin = get("/public/mike/x", &format!("{CLOSE}X-Length: {answer}\r\nX: "));
        let begin = begin.trim_end().to_owned() + " ";
        let filling = "x".repeat(length - begin.len() - 4);
        flowgate.ask(&format!("{begin}{filling}\r\n\r\n"))
    };
    let before = handed_over(&flowgate);
    for (length, answer, status) in
        [(MAX, 99, "200"), (MAX + 1, 99, "431"), (999, MAX, "200"), (999, MAX + 1, "502")]
    {
        let answer = request(length, answer);
        assert_eq!(&answer[9..12], status, "{answer:.300}");
    }
    assert_eq!(handed_over(&flowgate), before);
    assert!(request(MAX + 1, 99).contains("headers_too_large"));
    // What never ends is told so as soon as it is too long.
    let endless = format!("GET /x HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(9 * MAX));
    assert!(flowgate.ask(&endless).starts_with("HTTP/1.1 431"));
}

#[test]
fn a_client_that_goes_away_ends_its_request() {
    let (gone, was_gone) = std::sync::mpsc::sync_channel(8);
    let runtime = Runtime::start(move |mut socket| {
        let mut rest = Vec::new();
        let _ = socket.socket.read_to_end(&mut rest);
        let _ = gone.send(());
    });
    let flowgate = start(&runtime, &[]);
    let plain = get("/public/mike/x", "");
    let upgrade = handshake("/public/mike/x", "localhost", "");
    for (first, behind) in
        [(&plain, ""), (&plain, plain.as_str()), (&upgrade, "frames"), (&upgrade, "")]
    {
        let mut socket = connect(&flowgate);
        socket.write_all(first.as_bytes()).unwrap();
        wait_until("it is under way", || flowgate.status()["live"] == 1);
        socket.write_all(behind.as_bytes()).unwrap();
        drop(socket);
        was_gone.recv_timeout(PATIENCE).expect("the runtime is told");
        flowgate.wait_until_idle();
    }
}

#[test]
fn a_kept_connection_that_was_just_closed_is_replaced_unseen() {
    let (requests, connections) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (seen, made) = (Arc::clone(&requests), Arc::clone(&connections));
    let runtime = Runtime::start(move |mut socket| {
        made.fetch_add(1, Ordering::SeqCst);
        seen.fetch_add(1, Ordering::SeqCst);
        socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        // The second request on a connection is read, and the connection ends without a word.
        if !read_head(&mut socket.socket).is_empty() {
            seen.fetch_add(1, Ordering::SeqCst);
        }
    });
    let flowgate = start(&runtime, &[]);
    let mut socket = connect(&flowgate);
    for round in 1..=5_usize {
        socket.write_all(get("/public/mike/x", "").as_bytes()).unwrap();
        assert_eq!(answer(&mut socket).1, "ok");
        assert_eq!(connections.load(Ordering::SeqCst), round);
        assert_eq!(requests.load(Ordering::SeqCst), 2 * round - 1);
    }
    // Once only: a new one that is closed is the runtime's fault. What may change something is not
    // sent on a kept one at all.
    let delete = "DELETE /public/mike/x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    socket.write_all(delete.as_bytes()).unwrap();
    assert_eq!(answer(&mut socket).1, "ok");
    assert_eq!(requests.load(Ordering::SeqCst), 10, "one more");
}

#[test]
fn runtimes_that_do_not_do_what_they_should_are_502_and_504() {
    let runtime = Runtime::start(|mut socket| {
        let head = socket.head.clone();
        let answer: &[u8] = match head.split(' ').nth(1).unwrap() {
            "/api/public/nothing" => b"",
            "/api/public/half" => b"HTTP/1.1 200 OK\r\nContent-",
            "/api/public/other" => b"SSH-2.0-OpenSSH\r\n\r\n",
            "/api/public/two" => b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "/api/public/chunks" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone",
            "/api/public/switch" => b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            _ => {
                let _ = socket.socket.read_to_end(&mut Vec::new());
                return;
            }
        };
        socket.send(answer);
    });
    let flags = ["--response-timeout", "1s", "--handshake-timeout", "1s"];
    let flowgate = start(&runtime, &flags);
    let before = handed_over(&flowgate);
    for path in ["nothing", "half", "other", "two", "chunks", "switch"] {
        let answer = flowgate.ask(&get(&format!("/public/mike/{path}"), CLOSE));
        assert!(
            answer.starts_with("HTTP/1.1 502") && answer.contains("runtime_broke"),
            "{path}: {answer}"
        );
    }
    for request in
        [get("/public/mike/wait", CLOSE), handshake("/public/mike/wait", "localhost", "")]
    {
        let answer = flowgate.ask(&request);
        assert!(
            answer.starts_with("HTTP/1.1 504") && answer.contains("runtime_timeout"),
            "{answer}"
        );
    }
    assert_eq!(handed_over(&flowgate), before);
    flowgate.wait_until_idle();
}

#[test]
fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    let runtime = Runtime::start(|mut socket| {
        let answer: &[u8] = match socket.head.contains("/chunked") {
            true => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhe",
            false => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        };
        socket.send(answer);
    });
    let flowgate = start(&runtime, &[]);
    // Kept alive, had it been whole.
    let chunked = flowgate.ask(&get("/public/mike/chunked", ""));
    assert!(chunked.ends_with("\r\nhello\r\n5\r\nhe"), "{chunked}");
    let counted = flowgate.ask(&get("/public/mike/counted", ""));
    assert!(counted.contains("Content-Length: 10") && counted.ends_with("\r\nhello"), "{counted}");
}

#[test]
fn a_client_that_reads_slowly_slows_its_runtime_and_nobody_else() {
    const LENGTH: usize = 64 << 20;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let runtime = Runtime::start(move |mut socket| {
        if !socket.head.contains("/big") {
            socket.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
            return;
        }
        socket.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").as_bytes());
        while counted.load(Ordering::SeqCst) < LENGTH
            && socket.socket.write_all(&[7; 1 << 16]).is_ok()
        {
            counted.fetch_add(1 << 16, Ordering::SeqCst);
        }
    });
    let flowgate = start(&runtime, &["--write-stall-max", "2s"]);
    let mut slow = connect(&flowgate);
    slow.write_all(get("/public/mike/big", "").as_bytes()).unwrap();
    let head = read_head(&mut slow);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // As long as it takes something, however little, it is served.
    let mut bytes = vec![0; 1 << 20];
    for _ in 0..3 {
        slow.read_exact(&mut bytes).unwrap();
        assert!(flowgate.ask(&get("/public/mike/quick", CLOSE)).ends_with("ok"));
    }
    // What takes nothing at all is let go, and the runtime told.
    flowgate.wait_until_idle();
    assert!(sent.load(Ordering::SeqCst) < LENGTH, "the runtime was slowed down");
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(rest.len() < LENGTH);
}

#[test]
fn a_remembered_password_needs_nobody_else_and_a_ticket_is_not_wasted() {
    let runtime = telling();
    let flowgate = start(&runtime, &[]);
    let login = {
        use base64::Engine;
        base64::prelude::BASE64_STANDARD.encode(format!("mike:{MIKE_PASSWORD}"))
    };
    let basic = format!("Authorization: Basic {login}\r\n{CLOSE}");
    assert!(flowgate.ask(&get("/api/x", &basic)).ends_with("[GET /api/x HTTP/1.1|]"));
    let before = handed_over(&flowgate);
    assert!(flowgate.ask(&get("/api/y", &basic)).ends_with("[GET /api/y HTTP/1.1|]"));
    assert_eq!(handed_over(&flowgate), before, "it is remembered");
    let path = serde_json::json!({ "path": "/api/z" });
    let (status, said) = flowgate.profile(("mike", MIKE_PASSWORD), "POST", "/tickets", &path);
    assert_eq!(status, 201, "{said}");
    let with_ticket = get(&format!("/api/z?ticket={}", said["ticket"].as_str().unwrap()), CLOSE);
    assert!(flowgate.ask(&with_ticket).ends_with("[GET /api/z HTTP/1.1|]"));
    assert!(flowgate.ask(&with_ticket).starts_with("HTTP/1.1 401"), "once");
}

#[test]
fn a_stop_ends_idle_connections_and_answers_what_is_under_way() {
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(0);
    let wait = std::sync::Mutex::new(wait);
    let runtime = Runtime::start(move |mut socket| {
        if socket.head.contains("/late") {
            let _ = wait.lock().unwrap().recv();
        }
        socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let mut flowgate = start(&runtime, &[]);
    let (mut idle, mut late) = (connect(&flowgate), connect(&flowgate));
    idle.write_all(get("/public/mike/x", "").as_bytes()).unwrap();
    assert_eq!(answer(&mut idle).1, "ok");
    late.write_all(get("/public/mike/late", "").as_bytes()).unwrap();
    wait_until("it is under way", || flowgate.status()["live"] == 1);
    flowgate.signal("-TERM");
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "nothing is to be waited for");
    go.send(()).unwrap();
    let (head, body) = answer(&mut late);
    assert!(head.contains("Connection: close") && body == "ok", "{head}");
    assert_eq!(late.read(&mut [0]).unwrap(), 0);
    assert!(flowgate.wait().success());
}

#[test]
fn letters_and_order_of_headers_are_the_senders() {
    let (tell, told) = std::sync::mpsc::sync_channel(8);
    let runtime = Runtime::start(move |mut socket| {
        let _ = tell.send(socket.head.clone());
        socket.send(
            b"HTTP/1.1 200 Very Well\r\nx-rUNtime: 1\r\nETag: 2\r\nX-Runtime: 3\r\nContent-Length: 0\r\n\r\n",
        );
    });
    let flowgate = start(&runtime, &[]);
    let request =
        get("/public/mike/x", "aCCEPT: 1\r\nx-B: 2\r\nX-A: 3\r\nX-b: 4\r\nConnection: close\r\n");
    let opened = WebSocket::open(flowgate.data, request);
    let expected = "HTTP/1.1 200 Very Well\r\nx-rUNtime: 1\r\nETag: 2\r\nX-Runtime: 3\r\n";
    assert!(opened.head.starts_with(expected), "{}", opened.head);
    let head = told.recv_timeout(PATIENCE).unwrap();
    let expected = "GET /api/public/x HTTP/1.1\r\nHost: localhost\r\naCCEPT: 1\r\nx-B: 2\r\nX-A: 3\r\nX-b: 4\r\n";
    assert!(head.starts_with(expected), "{head}");
    assert!(head.contains("\r\nX-Forwarded-For: 127.0.0.1\r\n"), "{head}");
}
