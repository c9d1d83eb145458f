//! A hostile client, with raw bytes: ways round where a request goes and what comes behind it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, sync_channel};

use super::{get, status, telling};
use crate::support::PATIENCE;
use crate::support::flowgate::Flowgate;
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, ROBERTO_PASSWORD, mike, mike_and_roberto};
use crate::support::runtime::{Runtime, accept, header_value};
use crate::support::session::{Session, post, send};
use crate::support::websocket::{WebSocket, handshake, read_head};

#[test]
fn no_header_but_host_says_where_a_request_goes() {
    let (mikes, told) = telling();
    let trusting = ["--trusted-proxies", "127.0.0.1"];
    for flags in [&[][..], &trusting] {
        let flowgate = Flowgate::start(&mike(mikes.address), flags);
        for header in [
            "X-Forwarded-Host: mike.flows.localhost",
            "X-Host: mike.flows.localhost",
            "X-Forwarded-Server: mike.flows.localhost",
            "X-HTTP-Host-Override: mike.flows.localhost",
            "Forwarded: for=127.0.0.1;host=mike.flows.localhost",
            "X-Original-URL: /public/mike/x",
            "X-Rewrite-URL: /public/mike/x",
            "X-Forwarded-Prefix: /public/mike",
            "X-Forwarded-Path: /public/mike/x",
        ] {
            let answer = flowgate.ask(&get("/red/flows", &format!("{header}\r\n")));
            assert_eq!(status(&answer), "404", "{header}: {answer}");
        }
        for line in [
            "GET http://mike.flows.localhost/red/flows HTTP/1.1\r\nHost: localhost\r\n",
            "GET http://mike.flows.localhost/api/public/x HTTP/1.1\r\nHost: localhost\r\n",
            "GET //mike.flows.localhost/api/public/x HTTP/1.1\r\nHost: localhost\r\n",
            "GET mike.flows.localhost:80 HTTP/1.1\r\nHost: localhost\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: mike.flows.localhost\r\n",
            "GET /api/public/x HTTP/1.1\r\nHost: localhost, mike.flows.localhost\r\n",
            "GET /api/public/x HTTP/1.1\r\nHost: mike%2eflows.localhost\r\n",
            "GET /api/public/x HTTP/1.1\r\nHost: mike.flows.localhost#x\r\n",
            "GET /api/public/x HTTP/1.1\r\nHost: localhost\tmike.flows.localhost\r\n",
            "GET /api/public/x HTTP/1.1\r\nHost: x@mike.flows.localhost\r\n",
            "GET /api/public/x HTTP/1.1\r\nHost: mike.flows.localhost:80:80\r\n",
            "GET /api/public/x HTTP/1.1\r\nX: y\r\n",
            "GET /api/public/x HTTP/1.0\r\n",
        ] {
            let answer = flowgate.ask(&format!("{line}Connection: close\r\n\r\n"));
            assert!(matches!(status(&answer), "400" | "401" | "404"), "{line}: {answer}");
        }
        assert!(told.try_recv().is_err(), "one of them reached the runtime");
    }
}

#[test]
fn a_length_is_never_of_one_connection() {
    let (mikes, told) = telling();
    let flowgate = Flowgate::start(&mike(mikes.address), &[]);
    let inner = "POST /red/flows HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    for method in ["GET", "POST", "DELETE"] {
        for named in ["Content-Length", "close, content-length", "Transfer-Encoding, Host"] {
            let answer = flowgate.ask(&format!(
                "{method} /public/mike/x HTTP/1.1\r\nHost: localhost\r\nConnection: {named}, close\r\n\
                 Content-Length: {}\r\n\r\n{inner}",
                inner.len()
            ));
            assert_eq!(status(&answer), "200", "{method} {named}: {answer}");
            let (head, body) = told.recv_timeout(PATIENCE).unwrap();
            assert!(head.starts_with(&format!("{method} /api/public/x ")), "{head}");
            assert!(header_value(&head, "Host").is_some(), "{head}");
            assert!(body.contains("/red/flows"), "{method} {named}: {head}{body}");
        }
    }
    assert!(told.try_recv().is_err(), "one body was taken for a request");
}

/// A runtime that reads no body: it answers each head with the path in it, at once. One that `obeys` takes
/// no further request where it was told so. Tells all heads.
fn careless(obeys: bool) -> (Runtime, Receiver<String>) {
    let (tell, told) = sync_channel(1000);
    let runtime = Runtime::start(move |mut socket| {
        let mut head = socket.head.clone();
        while !head.is_empty() {
            let path = head.split(' ').nth(1).unwrap_or_default();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
            let is_last = obeys && header_value(&head, "Connection") == Some("close");
            tell.send(head).unwrap();
            socket.send(answer.as_bytes());
            if is_last {
                socket.half_close();
                let _ = socket.socket.read_to_end(&mut Vec::new());
                return;
            }
            head = read_head(&mut socket.socket);
        }
    });
    (runtime, told)
}

#[test]
fn what_a_runtime_leaves_of_a_body_is_nobodys_request() {
    let forged = "GET /red/flows HTTP/1.1\r\nHost: x\r\nX-Auth-User: admin\r\n\r\n";
    let victim = get("/api/victim", &format!("apikey: {MIKE_KEY}\r\n"));
    for obeys in [true, false] {
        let (runtime, told) = careless(obeys);
        let flowgate = Flowgate::start(&mike(runtime.address), &[]);
        // What the front does itself, and what it hands over.
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            for is_late in [true, false] {
                let mut socket = TcpStream::connect(flowgate.data).unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                let length = forged.len();
                let head = format!(
                    "POST /public/mike/early {version}\r\nHost: localhost\r\n\
                     Content-Length: {length}\r\n\r\n"
                );
                let (first, later) = if is_late { ("", forged) } else { (forged, "") };
                socket.write_all(format!("{head}{first}").as_bytes()).unwrap();
                let answer = read_head(&mut socket);
                assert_eq!(status(&answer), "200", "{version} {is_late}: {answer}");
                // Nobody may be there any more.
                let _ = socket.write_all(later.as_bytes());
                for _ in 0..3 {
                    let answer = flowgate.ask(&victim);
                    assert!(answer.ends_with("\r\n\r\n/api/victim"), "{answer}");
                }
                drop(socket);
            }
        }
        drop(flowgate);
        let heads: Vec<String> = told.try_iter().collect();
        let posts: Vec<_> = heads.iter().filter(|head| head.starts_with("POST ")).collect();
        assert_eq!(posts.len(), 4);
        for post in posts {
            assert_eq!(header_value(post, "Connection"), Some("close"), "{post}");
        }
        if obeys {
            assert!(!heads.concat().contains("/red/"), "one body was taken for a request");
        }
    }
}

#[test]
fn an_upgrade_is_to_websocket_or_none() {
    let (mikes, told) = telling();
    let flowgate = Flowgate::start(&mike(mikes.address), &[]);
    let h2c = "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
    for method in ["GET", "POST"] {
        let request = format!(
            "{method} /public/mike/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{h2c}\r\n"
        );
        assert_eq!(status(&flowgate.ask(&request)), "200");
        let (head, _) = told.recv_timeout(PATIENCE).unwrap();
        let head = head.to_lowercase();
        assert!(!head.contains("h2c") && !head.contains("http2-settings"), "{head}");
    }
    // HTTP/2 without having agreed on it.
    let answer = flowgate.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert!(
        !answer.contains('\0') && matches!(status(&answer), "400" | "505" | "none"),
        "{answer}"
    );

    // Beside websocket there is nothing.
    let runtime = Runtime::start(move |mut socket| {
        let upgrades = socket.head.lines().filter(|line| line.starts_with("Upgrade: ")).count();
        let is_alone = header_value(&socket.head, "Upgrade") == Some("websocket") && upgrades == 1;
        accept(&mut socket, if is_alone { "X-Alone: yes\r\n" } else { "" });
    });
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    for upgrade in ["websocket, h2c", "h2c, WebSocket", "websocket\r\nUpgrade: h2c"] {
        let request = handshake("/public/mike/x", "localhost", "")
            .replace("Upgrade: websocket", &format!("Upgrade: {upgrade}"));
        let head = WebSocket::open(flowgate.data, request).head;
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("X-Alone: yes"), "{head}");
        assert!(!head.contains("h2c"), "{head}");
    }
}

#[test]
fn an_address_with_a_key_in_it_is_kept_secret() {
    let (mikes, told) = telling();
    let flowgate = Flowgate::start(&mike(mikes.address), &[]);
    for method in ["GET", "POST"] {
        for (referer, passes) in [("?a=1", true), (&*format!("?a=1&apikey={MIKE_KEY}"), false)] {
            let request = format!(
                "{method} /public/mike/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 Content-Length: 0\r\nReferer: http://localhost/api/page{referer}\r\n\r\n"
            );
            assert_eq!(status(&flowgate.ask(&request)), "200");
            let (head, _) = told.recv_timeout(PATIENCE).unwrap();
            assert!(!head.contains(MIKE_KEY), "{head}");
            assert_eq!(header_value(&head, "Referer").is_some(), passes, "{head}");
        }
        let policy = |path: &str| {
            let answer = flowgate.ask(&format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 Content-Length: 0\r\n\r\n"
            ));
            assert_eq!(status(&answer), "200", "{answer}");
            told.recv_timeout(PATIENCE).unwrap();
            answer.contains("Referrer-Policy: strict-origin-when-cross-origin\r\n")
        };
        assert!(policy(&format!("/api/page?apikey={MIKE_KEY}")));
        assert!(!policy("/public/mike/page?a=1"));
    }
}

#[test]
fn what_is_typed_into_a_page_stays_text() {
    let (mikes, _told) = telling();
    let flowgate = Flowgate::start(&mike(mikes.address), &[]);
    let at = flowgate.data;
    let form = send(at, "GET /login", "localhost", &[], "");
    let (cookie, token) = (form.cookie("flowgate-login"), form.field("token"));
    let origin = format!("http://localhost:{}", at.port());
    let script = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    for fields in [
        format!("token={token}&username={script}&password=x"),
        format!("token={token}&username=mike&password=x&next=/profile?{script}"),
        format!("token={token}&username=mike&password=x&next=/login/editor?{script}"),
    ] {
        let answer = post(at, "/login", "localhost", &origin, &cookie, &fields);
        assert!(!answer.body.contains("<script>alert"), "{}", answer.body);
        assert!(answer.header("content-security-policy").is_some(), "{}", answer.head);
    }
    for path in ["/public/%3Cscript%3E/x", "/%3Cscript%3E", "/login?next=/profile?\"><script>"] {
        let answer = send(at, &format!("GET {path}"), "localhost", &[], "");
        assert!(!answer.body.contains("<script>"), "{path}: {}", answer.body);
    }
}

#[test]
fn a_login_takes_over_no_session_that_was_there_before() {
    let (mikes, _told) = telling();
    let profiles = mike_and_roberto(mikes.address, mikes.address);
    let flowgate = Flowgate::start(&profiles, &[]);
    let at = flowgate.data;
    let robertos = Session::begin(at, "roberto", ROBERTO_PASSWORD);
    // The browser of mike's has roberto's cookie, or one that was made up.
    for tossed in [robertos.cookie.clone(), "flowgate-session=fgs_made-up".to_owned()] {
        let form = send(at, "GET /login", "localhost", &[], "");
        let cookies = format!("{tossed}; {}", form.cookie("flowgate-login"));
        let fields =
            format!("token={}&username=mike&password={MIKE_PASSWORD}", form.field("token"));
        let origin = format!("http://localhost:{}", at.port());
        let answer = post(at, "/login", "localhost", &origin, &cookies, &fields);
        assert_eq!(answer.status, 303, "{}", answer.head);
        let mikes = answer.cookie("flowgate-session");
        assert_ne!(mikes, tossed);
        let seen = |cookie: &str| Session { at, cookie: cookie.to_owned() }.get("/profile");
        assert!(seen(&mikes).body.contains("mike"));
        // Whoever tossed it is not in mike's account by it.
        assert_ne!(seen(&tossed).status, 200);
    }
}
