//! Runtimes with TLS: what is trusted, what is not, and what is resumed.

use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::HandshakeKind;
use serde_json::json;

use super::mike_by_tls;
use crate::support::flowgate::Flowgate;
use crate::support::node::run_script;
use crate::support::profiles::MIKE_KEY;
use crate::support::runtime::{accept, echo};
use crate::support::tls::{Authority, TlsRuntime};
use crate::support::websocket::{WebSocket, handshake};

const HELLO: &str =
    "GET /public/mike/hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// How often that is by [`refused`].
const ASKED_TIMES: usize = 3;

fn refused(flowgate: &Flowgate, label: &str, why: &str) {
    let socket = handshake("/public/mike/data", "localhost", "");
    for answer in [flowgate.ask(HELLO), WebSocket::open(flowgate.data, socket).head] {
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }
    assert!(flowgate.ask(HELLO).contains(&format!("\"code\":\"{label}\"")));
    flowgate.wait_for_line(&format!("{why} is logged"), |line| {
        line["refusal"] == label && line["why"].as_str().is_some_and(|said| said.contains(why))
    });
}

#[test]
fn a_certificate_that_cannot_be_trusted_is_502() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ours = json!({ "ca_pem": authority.pem() });
    for (files, tls, why) in [
        (stranger.issue("unknown", &["localhost"]), ours.clone(), "UnknownIssuer"),
        (authority.issue("public", &["localhost"]), json!({}), "UnknownIssuer"),
        (
            authority.issue("name", &["elsewhere.test"]),
            ours.clone(),
            "not valid for name \"localhost\"",
        ),
        (authority.issue_until("expired", &["localhost"], 2020), ours.clone(), "expired"),
        (
            authority.issue("other", &["localhost"]),
            json!({ "ca_pem": authority.pem(), "server_name": "mike.internal" }),
            "not valid for name \"mike.internal\"",
        ),
    ] {
        let runtime = TlsRuntime::start(&files, |mut websocket| accept(&mut websocket, ""));
        let flowgate = Flowgate::start(&mike_by_tls(runtime.address, tls), &[]);
        refused(&flowgate, "runtime_certificate", why);
    }
    // It speaks no TLS at all.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let flowgate = Flowgate::start(&mike_by_tls(listener.local_addr().unwrap(), ours), &[]);
    let runtime = std::thread::spawn(move || {
        for socket in listener.incoming().take(ASKED_TIMES) {
            socket.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        }
    });
    refused(&flowgate, "runtime_unreachable", "TLS");
    runtime.join().unwrap();
}

#[test]
fn names_and_addresses_are_verified_and_sessions_resumed() {
    let authority = Authority::new();
    let files = authority.issue("runtime", &["mike.internal", "127.0.0.1"]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let runtime = TlsRuntime::start(&files, move |mut websocket| {
        let name = websocket.socket.conn.server_name().map(str::to_owned);
        let kind = websocket.socket.conn.handshake_kind().unwrap();
        noted.lock().unwrap().push((name, kind));
        accept(&mut websocket, "");
        echo(&mut websocket);
    });
    let named = json!({ "ca_pem": authority.pem(), "server_name": "mike.internal" });
    let mut by_address = mike_by_tls(runtime.address, json!({ "ca_pem": authority.pem() }));
    by_address["tenants"][0]["instance"]["address"] = json!(format!("https://{}", runtime.address));
    for (profiles, name) in
        [(mike_by_tls(runtime.address, named), Some("mike.internal")), (by_address, None)]
    {
        let flowgate = Flowgate::start(&profiles, &[]);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut websocket = WebSocket::connect(flowgate.data, "/public/mike/data", "");
            // Behind the answer the ticket has been read, too.
            websocket.send(&crate::support::runtime::text_from_client("hello"));
            assert_eq!(websocket.receive_text(), "hello");
            let last = seen.lock().unwrap().last().cloned();
            assert_eq!(last, Some((name.map(str::to_owned), expected)));
        }
    }
}

/// Plain requests, streamed both ways at once, through connections that are kept.
#[test]
fn requests_are_carried_by_node_over_tls() {
    const SCRIPT: &str = r#"
        const https = require("https"), http = require("http"), crypto = require("crypto");
        const [port, key] = process.argv.slice(1);
        const agent = new http.Agent({ keepAlive: true });
        const ask = (method, size) => new Promise((resolve, reject) => {
            const [sent, received] = [crypto.createHash("sha256"), crypto.createHash("sha256")];
            const request = http.request({ port, method, agent, path: "/api/pipe",
                headers: { apikey: key } }, (answer) => {
                answer.on("data", (chunk) => received.update(chunk));
                answer.on("end", () => resolve(sent.digest("hex") === received.digest("hex")));
            });
            request.on("error", reject);
            let left = size;
            const write = () => {
                while (left > 0) {
                    const chunk = crypto.randomBytes(Math.min(left, 1 << 20));
                    left -= chunk.length;
                    sent.update(chunk);
                    if (!request.write(chunk)) { request.once("drain", write); return; }
                }
                request.end();
            };
            write();
        });
        (async () => {
            console.log(await ask("POST", 100 << 20));
            for (let round = 0; round < 5; round++) console.log(await ask("GET", 0));
        })();
    "#;
    let authority = Authority::new();
    let files = authority.issue("runtime", &["localhost"]);
    let connections = Arc::new(AtomicUsize::new(0));
    let server = NodeServer::start(&files, &connections);
    let profiles = mike_by_tls(server.address, json!({ "ca_pem": authority.pem() }));
    let flowgate = Flowgate::start(&profiles, &[]);
    let port = flowgate.data.port().to_string();
    let printed = run_script(SCRIPT, &[&port, MIKE_KEY]);
    assert_eq!(printed, "true\n".repeat(6));
    // What has carried a body is not kept.
    assert_eq!(server.connections(), 2, "one was not kept for the next");
}

/// Node's own TLS, which sends every body back.
struct NodeServer {
    address: std::net::SocketAddr,
    child: std::process::Child,
    lines: Arc<AtomicUsize>,
}

impl NodeServer {
    fn start(files: &crate::support::tls::Files, lines: &Arc<AtomicUsize>) -> Self {
        use std::io::{BufRead, BufReader};
        const SCRIPT: &str = r#"
            const [cert, key] = process.argv.slice(1).map((f) => require("fs").readFileSync(f));
            const server = require("https").createServer({ cert, key }, (request, answer) => {
                request.pipe(answer);
            });
            server.on("secureConnection", () => console.log("connection"));
            server.listen(0, "127.0.0.1", () => console.log(server.address().port));
        "#;
        let mut child = std::process::Command::new("node")
            .args(["-e", SCRIPT, "--"])
            .args([&files.chain, &files.key])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let port: u16 = output.next().unwrap().unwrap().parse().unwrap();
        let counted = Arc::clone(lines);
        std::thread::spawn(move || {
            for _ in output.map_while(Result::ok) {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address: ([127, 0, 0, 1], port).into(), child, lines: Arc::clone(lines) }
    }

    fn connections(&self) -> usize {
        self.lines.load(Ordering::SeqCst)
    }
}

impl Drop for NodeServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
