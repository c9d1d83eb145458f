//! TLS on every leg, with real clients and real runtimes.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::flowgate::{Flowgate, program};
use crate::support::node::{NodeRed, wscat};
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, mike};
use crate::support::runtime::{Runtime, accept, echo, text_from_client};
use crate::support::tls::{Authority, Files, TlsRuntime, connect, open};
use crate::support::websocket::{BINARY, FIN, WebSocket, header};
use crate::support::{PATIENCE, wait_until};

mod runtimes;

fn start(profiles: &Value, certificates: &[&Files]) -> Flowgate {
    start_with(profiles, certificates, &[])
}

fn start_with(profiles: &Value, certificates: &[&Files], flags: &[&str]) -> Flowgate {
    let pairs: Vec<String> = certificates.iter().map(|files| files.pair()).collect();
    let mut all = vec!["--tls-listen", "127.0.0.1:0"];
    all.extend(pairs.iter().flat_map(|pair| ["--tls-certificates", pair]));
    all.extend(flags);
    Flowgate::start(profiles, &all)
}

/// mike, whose runtime speaks TLS with a certificate of this authority.
fn mike_by_tls(address: std::net::SocketAddr, tls: Value) -> Value {
    let mut profiles = mike(address);
    let instance = &mut profiles["tenants"][0]["instance"];
    instance["address"] = json!(format!("https://localhost:{}", address.port()));
    instance["tls"] = tls;
    profiles
}

fn client(authority: &Authority) -> Arc<ClientConfig> {
    authority.client(&[&TLS13, &TLS12])
}

/// Runs curl; returns its output, or its error behind its exit code.
fn curl(authority: &Authority, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", &PATIENCE.as_secs().to_string(), "--cacert"])
        .arg(authority.file())
        .args(arguments)
        .output()
        .expect("curl is needed");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.code() {
        Some(0) => Ok(said(&output.stdout)),
        code => Err(format!("{}: {}", code.unwrap_or(-1), said(&output.stderr))),
    }
}

#[test]
fn wscat_and_curl_reach_node_red_by_tls_on_both_legs() {
    let authority = Authority::new();
    let front = authority.issue("front", &["localhost", "*.flows.localhost"]);
    let behind = authority.issue("behind", &["localhost"]);
    let node_red = NodeRed::start_with_tls("mike", &behind.chain, &behind.key);
    let profiles = mike_by_tls(node_red.address, json!({ "ca_file": authority.file() }));
    let flowgate = start(&profiles, &[&front]);
    let port = flowgate.tls().port();
    let base = format!("https://localhost:{port}");
    // Its flows may start a moment after it listens.
    wait_until("the runtime's flows run", || {
        curl(&authority, &[&format!("{base}/public/mike/hello")]).unwrap().contains("mike")
    });
    let ca = authority.file();
    let ca = ca.to_str().unwrap();
    let expected = r#"{"runtime":"mike","path":"/public/data","payload":"hello"}"#;
    let url = format!("wss://localhost:{port}/public/mike/data");
    assert_eq!(wscat(&["--ca", ca, "-c", &url]), expected);
    let login = format!("mike:{MIKE_PASSWORD}");
    let url = format!("wss://localhost:{port}/api/thing");
    let expected = r#"{"runtime":"mike","path":"/thing","payload":"hello"}"#;
    assert_eq!(wscat(&["--ca", ca, "--auth", &login, "-c", &url]), expected);
    let refused = wscat(&["--ca", ca, "-c", &url]);
    assert_eq!(refused, "error: Unexpected server response: 401");
    let unknown = wscat(&["-c", &url]);
    assert!(unknown.contains("certificate"), "{unknown}");

    let echo = format!("{base}/api/echo");
    let key = format!("apikey: {MIKE_KEY}");
    for arguments in [vec!["--tlsv1.3"], vec!["--tls-max", "1.2"]] {
        let asked = [&arguments[..], &["-H", &key, "-d", "sealed", &echo]].concat();
        let answer = curl(&authority, &asked).unwrap();
        assert!(answer.contains("sealed"), "{answer}");
    }
    let version = curl(&authority, &["-w", "%{http_version}", "-o", "/dev/null", &echo]).unwrap();
    assert_eq!(version, "2");
    // Another name than the certificate has.
    let resolve = format!("elsewhere.test:{port}:127.0.0.1");
    let elsewhere = format!("https://elsewhere.test:{port}/healthz");
    let error = curl(&authority, &["--resolve", &resolve, &elsewhere]).unwrap_err();
    assert!(error.starts_with("60:"), "{error}");
    assert!(curl(&Authority::new(), &[&echo]).unwrap_err().starts_with("60:"));
}

#[test]
fn runtimes_and_origins_know_that_it_is_https() {
    let authority = Authority::new();
    let front = authority.issue("front", &["localhost"]);
    let runtime = Runtime::start(|mut websocket| {
        let proto = websocket.head.lines().find(|line| line.starts_with("X-Forwarded-Proto"));
        let body = proto.unwrap_or("none").to_owned();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        websocket.send(format!("{head}{body}").as_bytes());
    });
    let flowgate = start(&mike(runtime.address), &[&front]);
    let (plain, tls) = (flowgate.data.port(), flowgate.tls().port());
    let login = format!("mike:{MIKE_PASSWORD}");
    for (scheme, port) in [("http", plain), ("https", tls)] {
        let url = format!("{scheme}://localhost:{port}/api/thing");
        let told = curl(&authority, &["-u", &login, &url]).unwrap();
        assert_eq!(told, format!("X-Forwarded-Proto: {scheme}"));
        let origin = format!("Origin: http://localhost:{port}");
        let answer = curl(&authority, &["-u", &login, "-H", &origin, &url]).unwrap();
        assert_eq!(answer.contains("foreign_origin"), scheme == "https", "{answer}");
        let origin = format!("Origin: https://localhost:{port}");
        let answer = curl(&authority, &["-u", &login, "-H", &origin, &url]).unwrap();
        assert_eq!(answer, told);
    }
}

/// What openssl's client prints.
fn s_client(address: std::net::SocketAddr, arguments: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is needed");
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    // Where the handshake fails it is gone by now.
    let _ = child.stdin.as_mut().unwrap().write_all(request);
    let mut printed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut printed).unwrap();
    child.wait().unwrap();
    printed
}

#[test]
fn openssl_speaks_both_versions_and_resumes_sessions() {
    let authority = Authority::new();
    let front = authority.issue("front", &["localhost"]);
    let flowgate = start(&mike(Runtime::nowhere()), &[&front]);
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("session");
    let (ca, session) = (authority.file(), session.to_str().unwrap());
    let verify = ["-CAfile", ca.to_str().unwrap(), "-verify_return_error", "-ign_eof"];
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let alpn = ["-alpn", "http/1.1,unknown", "-servername", "localhost"];
        let first = [&[flag, "-sess_out", session], &verify[..], &alpn].concat();
        let printed = s_client(flowgate.tls(), &first);
        assert!(printed.contains(&format!("New, {version}")), "{printed}");
        assert!(printed.contains("ALPN protocol: http/1.1"), "{printed}");
        assert!(printed.contains("HTTP/1.1 200 OK"), "{printed}");
        let again = [&[flag, "-sess_in", session], &verify[..], &alpn].concat();
        let printed = s_client(flowgate.tls(), &again);
        assert!(printed.contains(&format!("Reused, {version}")), "{printed}");
        assert!(printed.contains("HTTP/1.1 200 OK"), "{printed}");
    }
    let old = s_client(flowgate.tls(), &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert!(old.contains("alert handshake failure"), "{old}");
    // Without TLS: it is told by an alert, and the log knows why.
    let answer = crate::support::flowgate::ask(flowgate.tls(), "GET / HTTP/1.1\r\n\r\n");
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
    flowgate.wait_for_line("it is logged", |line| line["message"] == "TLS handshake failed");
}

#[test]
fn a_handshake_that_is_not_finished_is_cut_and_counts_meanwhile() {
    let authority = Authority::new();
    let front = authority.issue("front", &["localhost"]);
    let flags = ["--header-timeout", "1s", "--connections-max", "2"];
    let flowgate = start_with(&mike(Runtime::nowhere()), &[&front], &flags);
    let mut silent = std::net::TcpStream::connect(flowgate.tls()).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    silent.write_all(&[0x16, 3, 1]).unwrap();
    // Each listener has one place, so this one has no other until then.
    let url = format!("https://localhost:{}/healthz", flowgate.tls().port());
    assert_eq!(curl(&authority, &[&url]).unwrap(), "ok\n");
    flowgate.wait_for_line("the silent one was cut", |line| {
        line["message"] == "TLS handshake not finished in time"
    });
    assert!(matches!(silent.read(&mut [0; 16]), Ok(0) | Err(_)));
}

/// The alternative names' first label, to tell certificates apart.
fn presented(config: &Arc<ClientConfig>, flowgate: &Flowgate, name: &str) -> Vec<u8> {
    let stream = connect(config, flowgate.tls(), name);
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

fn der(files: &Files) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_file(&files.chain).unwrap().to_vec()
}

#[test]
fn the_name_that_is_asked_for_picks_the_certificate() {
    let authority = Authority::new();
    let first = authority.issue("first", &["localhost", "127.0.0.1"]);
    let wild = authority.issue("wild", &["*.flows.localhost", "flows.localhost"]);
    let exact = authority.issue("exact", &["mike.flows.localhost"]);
    let flowgate = start(&mike(Runtime::nowhere()), &[&first, &wild, &exact]);
    for config in [authority.client(&[&TLS12]), authority.client(&[&TLS13])] {
        for (name, files) in [
            ("mike.flows.localhost", &exact),
            ("MIKE.flows.localhost", &exact),
            ("roberto.flows.localhost", &wild),
            ("flows.localhost", &wild),
            ("localhost", &first),
            // An address is not asked for.
            ("127.0.0.1", &first),
        ] {
            assert!(presented(&config, &flowgate, name) == der(files), "{name}");
        }
    }
    let names = flowgate.wait_for_line("names are logged", |line| {
        line["message"] == "certificate" && line["names"] == "mike.flows.localhost"
    });
    assert_eq!(names["until"], "2099-01-01T00:00:00Z");
}

#[test]
fn renewed_certificates_are_taken_up_and_live_connections_stay() {
    let authority = Authority::new();
    let files = authority.issue("front", &["localhost"]);
    let runtime = Runtime::echo();
    let flowgate = start(&mike(runtime.address), &[&files]);
    let config = client(&authority);
    let old = der(&files);
    let mut live = open(&config, flowgate.tls(), "/public/mike/data", "");
    assert!(presented(&config, &flowgate, "localhost") == old);
    // Found by looking.
    let next = authority.issue("next", &["localhost"]);
    std::fs::rename(&next.key, &files.key).unwrap();
    std::fs::rename(&next.chain, &files.chain).unwrap();
    let new = der(&files);
    wait_until("the new one is presented", || presented(&config, &flowgate, "localhost") == new);
    // Broken: the log says so, and nothing changes.
    std::fs::write(&files.chain, "half of it").unwrap();
    flowgate.signal("-HUP");
    let is_kept = |line: &Value| line["message"] == "certificates not reloaded: the old ones stay";
    let line = flowgate.wait_for_line("the fault is logged", is_kept);
    assert_eq!(line["level"], "ERROR");
    assert!(presented(&config, &flowgate, "localhost") == new);
    // Asked for by a signal.
    let last = authority.issue("last", &["localhost"]);
    std::fs::rename(&last.key, &files.key).unwrap();
    std::fs::rename(&last.chain, &files.chain).unwrap();
    let newest = der(&files);
    flowgate.signal("-HUP");
    wait_until("the newest is presented", || presented(&config, &flowgate, "localhost") == newest);
    live.send(&text_from_client("still here"));
    assert_eq!(live.receive_text(), "still here");
}

#[test]
fn a_revocation_is_told_by_tls() {
    let authority = Authority::new();
    let front = authority.issue("front", &["localhost"]);
    let runtime = TlsRuntime::start(&authority.issue("behind", &["localhost"]), |mut websocket| {
        accept(&mut websocket, "");
        echo(&mut websocket);
    });
    let profiles = mike_by_tls(runtime.address, json!({ "ca_pem": authority.pem() }));
    let flowgate = start(&profiles, &[&front]);
    for config in [authority.client(&[&TLS12]), authority.client(&[&TLS13])] {
        let (status, said) =
            flowgate.profile(("mike", MIKE_PASSWORD), "POST", "/api-key", &Value::Null);
        assert_eq!(status, 200);
        let key = format!("apikey: {}\r\n", said["api_key"].as_str().unwrap());
        let mut websocket = open(&config, flowgate.tls(), "/api/thing", &key);
        websocket.send(&text_from_client("hello"));
        assert_eq!(websocket.receive_text(), "hello");
        flowgate.profile(("mike", MIKE_PASSWORD), "POST", "/api-key", &Value::Null);
        // Behind it comes TLS's own goodbye: an end without it would be an error here.
        assert_eq!(websocket.receive_close(), (1008, "API key regenerated".to_owned()));
    }
    flowgate.wait_until_idle();
}

const LARGE_BYTES: usize = 100 << 20;

fn digest(websocket: &mut WebSocket<impl Read + Write>) -> Vec<u8> {
    let (mut sha256, mut left) = (Sha256::new(), LARGE_BYTES);
    while left > 0 {
        let frame = websocket.receive().expect("more");
        left -= frame.payload.len();
        sha256.update(&frame.payload);
    }
    sha256.finalize().to_vec()
}

/// 1 MiB that differs from every other.
fn part(number: usize) -> Vec<u8> {
    let mut part: Vec<u8> = (0..1_u32 << 20).map(|place| (place % 251) as u8).collect();
    part[..8].copy_from_slice(&number.to_be_bytes());
    part
}

/// Sends 100 MiB in messages of 1 MiB; returns their digest. Masked with a key of zeros, if at all.
fn send_large(websocket: &mut WebSocket<impl Read + Write>, mask_bit: u8) -> Vec<u8> {
    let mut sha256 = Sha256::new();
    for number in 0..LARGE_BYTES >> 20 {
        let part = part(number);
        sha256.update(&part);
        let mut frame = header(FIN | BINARY, mask_bit, part.len() as u64);
        frame.extend(if mask_bit == 0 { &[][..] } else { &[0; 4] });
        websocket.send(&frame);
        websocket.send(&part);
    }
    sha256.finalize().to_vec()
}

#[test]
fn a_hundred_mebibytes_each_way_from_tls_to_tls() {
    let authority = Authority::new();
    let front = authority.issue("front", &["localhost"]);
    let behind = authority.issue("behind", &["localhost"]);
    let runtime = TlsRuntime::start(&behind, |mut websocket| {
        accept(&mut websocket, "");
        let received = digest(&mut websocket);
        let sent = send_large(&mut websocket, 0);
        websocket.send(&[header(FIN | BINARY, 0, 64), received, sent].concat());
        assert!(websocket.receive().is_some());
    });
    let profiles = mike_by_tls(runtime.address, json!({ "ca_pem": authority.pem() }));
    let flowgate = start(&profiles, &[&front]);
    let config = client(&authority);
    let mut websocket = open(&config, flowgate.tls(), "/public/mike/data", "");
    let sent = send_large(&mut websocket, 0x80);
    let received = digest(&mut websocket);
    let told = websocket.receive().unwrap().payload;
    assert!(told == [sent, received].concat(), "the digests differ");
    websocket.send(&text_from_client("done"));
}

#[test]
fn operators_may_have_tls_too() {
    let authority = Authority::new();
    let files = authority.issue("admin", &["localhost"]);
    let flags = ["--admin-tls-certificates", &files.pair()];
    let flowgate = Flowgate::start(&mike(Runtime::nowhere()), &flags);
    let url = format!("https://localhost:{}/readyz", flowgate.admin.port());
    assert!(curl(&authority, &[&url]).unwrap().contains("\"ready\":true"));
    let plain = format!("http://localhost:{}/readyz", flowgate.admin.port());
    assert!(curl(&authority, &[&plain]).is_err());
}

#[test]
fn check_finds_what_serve_would_refuse() {
    use std::os::unix::fs::PermissionsExt;
    let authority = Authority::new();
    let (good, other) =
        (authority.issue("good", &["a.test"]), authority.issue("other", &["b.test"]));
    let expired = authority.issue_until("expired", &["old.test"], 2020);
    let check = |pair: &str| {
        let output = program()
            .args(["check", "--tls-listen", "127.0.0.1:0", "--tls-certificates", pair])
            .args(["--log-format", "json"])
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = check(&good.pair());
    assert!(code == 0 && said.contains("a.test"), "{said}");
    let (code, said) = check(&expired.pair());
    assert!(code == 0 && said.contains("the certificate has expired"), "{said}");
    let swapped = Files { key: other.key.clone(), ..good.clone() };
    let (code, said) = check(&swapped.pair());
    assert!(code == 78 && said.contains("not the certificate's key"), "{said}");
    std::fs::set_permissions(&good.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said) = check(&good.pair());
    assert!(code == 78 && said.contains("mode 644") && said.contains("chmod 600"), "{said}");
    let without = program().args(["check", "--tls-listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(without.status.code(), Some(78));
}
