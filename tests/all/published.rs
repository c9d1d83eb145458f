//! An operator's published API, step by step as APISIX documents WebSocket authentication.

use std::io::Write;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::admin::{self, ADMIN, call, command, ok, tokens_file};
use crate::support::flowgate::Flowgate;
use crate::support::node::wscat;
use crate::support::profiles::mike;
use crate::support::runtime::{Runtime, accept, echo, header_value};
use crate::support::tls::{Authority, TlsRuntime};
use crate::support::websocket::{WebSocket, handshake};

pub const SECRET: &str = "a-secret-that-both-sides-have-2026";
const SEALING_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Runs a command with this text on standard input.
fn tell(flowgate: &Flowgate, arguments: &[&str], text: &str) -> String {
    let mut command = command(flowgate, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{text}").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

fn run(flowgate: &Flowgate, arguments: &[&str]) -> String {
    ok(&mut command(flowgate, arguments))
}

/// What a refused handshake is told: status, message, challenge.
fn refused(flowgate: &Flowgate, path: &str, headers: &str) -> (u16, String, String) {
    let answer = flowgate.ask(&handshake(path, "localhost", headers));
    let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let said: Value = serde_json::from_str(body).expect(&answer);
    assert_eq!(said["status"], json!(status), "{said}");
    assert_eq!(said["detail"], said["message"], "{said}");
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    let challenge = headers.find(|(name, _)| name.eq_ignore_ascii_case("WWW-Authenticate"));
    let challenge = challenge.map_or_else(String::new, |(_, value)| value.to_owned());
    (status, said["message"].as_str().expect(&answer).to_owned(), challenge)
}

/// Servers that send everything back and keep the heads of their requests.
struct Echo {
    node: TlsRuntime,
    heads: Arc<Mutex<Vec<String>>>,
    authority: Authority,
}

impl Echo {
    fn start() -> Self {
        let authority = Authority::new();
        let files = authority.issue("echo", &["echo.example.org", "localhost"]);
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&heads);
        let node = TlsRuntime::start(&files, move |mut websocket| {
            seen.lock().unwrap().push(websocket.head.clone());
            accept(&mut websocket, "");
            echo(&mut websocket);
        });
        Self { node, heads, authority }
    }

    fn last(&self) -> String {
        self.heads.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

fn start(flags: &[&str]) -> (Flowgate, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens_file(folder.path());
    let own = ["--admin-tokens-file", tokens.to_str().unwrap()];
    let flowgate = Flowgate::start(&mike(Runtime::nowhere()), &[&own[..], flags].concat());
    (flowgate, folder)
}

fn basic(login: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(login))
}

#[test]
fn the_tutorial_about_keys_word_by_word() {
    let echo = Echo::start();
    let (flowgate, _folder) = start(&[]);
    // Create an API and a consumer, whose key is known already.
    let node = format!("wss://localhost:{}", echo.node.address.port());
    let ca = echo.authority.file();
    run(
        &flowgate,
        &[
            "api",
            "add",
            "--name",
            "raw",
            "--context",
            "/",
            "--node",
            &node,
            "--node-ca",
            ca.to_str().unwrap(),
            "--server-name",
            "echo.example.org",
            "--host",
            "echo.example.org",
            "--security",
            "key",
            "--publish",
        ],
    );
    run(&flowgate, &["consumer", "add", "jack"]);
    tell(&flowgate, &["consumer", "key", "jack", "--import"], "this_is_the_key");
    // Without the key, with a wrong one, and with the right one.
    let url = format!("ws://{}/raw", flowgate.data);
    let refused_by_wscat = "error: Unexpected server response: 401";
    assert_eq!(wscat(&["-c", &url]), refused_by_wscat);
    assert_eq!(wscat(&["-H", "apikey: wrong_key", "-c", &url]), refused_by_wscat);
    assert_eq!(wscat(&["-H", "apikey: this_is_the_key", "-c", &url]), "hello");
    assert_eq!(wscat(&["-c", &format!("{url}?apikey=this_is_the_key&x=1")]), "hello");
    let key = "Key realm=\"flowgate\"".to_owned();
    let missing = (401, "Missing API key in request".to_owned(), key.clone());
    let invalid = (401, "Invalid API key in request".to_owned(), key);
    assert_eq!(refused(&flowgate, "/raw", ""), missing);
    assert_eq!(refused(&flowgate, "/raw", "apikey: wrong_key\r\n"), invalid);
    assert_eq!(refused(&flowgate, "/raw?apikey=wrong_key", ""), invalid);
    assert_eq!(refused(&flowgate, "/raw", "apikey: key-of-mike-0123456789abcdef\r\n"), invalid);
    // What the endpoint is told, and what not.
    let said = echo.last();
    assert!(said.starts_with("GET /raw?x=1 HTTP/1.1\r\n"), "{said}");
    assert_eq!(header_value(&said, "Host"), Some("echo.example.org"));
    let forged = "apikey: this_is_the_key\r\nX-Consumer-Username: root\r\n\
         X_Consumer_Username: root\r\nX-Credential-Identifier: root\r\nX-Consumer-Groups: root\r\n";
    let websocket = WebSocket::connect(flowgate.data, "/raw", forged);
    let said = echo.last();
    let shown: Value = admin::json(&flowgate, &["consumer", "show", "jack"]);
    let id = shown["credentials"][0]["id"].as_str().unwrap();
    assert_eq!(header_value(&said, "X-Consumer-Username"), Some("jack"));
    assert_eq!(header_value(&said, "X-Credential-Identifier"), Some(id));
    for absent in ["root", "this_is_the_key", "x-auth-user", "X-Auth-User"] {
        assert!(!said.contains(absent), "{absent}: {said}");
    }
    drop(websocket);
    // Our own rows are not the API's.
    for own in ["/api/raw", "/public/mike/raw", "/profile", "/oauth2/token"] {
        let answer = flowgate.ask(&handshake(own, "localhost", "apikey: this_is_the_key\r\n"));
        assert!(!answer.starts_with("HTTP/1.1 101"), "{own}: {answer}");
    }
    // Nothing of a key is in the log.
    assert!(!flowgate.log_by_now().contains("this_is_the_key"));
}

/// An API at `/` that asks for this, and the consumer jack.
fn publish(flowgate: &Flowgate, echo: &Echo, security: &str) {
    let node = format!("wss://localhost:{}", echo.node.address.port());
    let ca = echo.authority.file();
    let add = ["api", "add", "--name", "raw", "--context", "/", "--publish"];
    let endpoint = ["--node", &node, "--node-ca", ca.to_str().unwrap(), "--security", security];
    run(flowgate, &[&add[..], &endpoint[..]].concat());
    run(flowgate, &["consumer", "add", "jack"]);
}

#[test]
fn a_password_opens_an_api_as_well() {
    let echo = Echo::start();
    let (flowgate, _folder) = start(&[]);
    publish(&flowgate, &echo, "basic");
    tell(&flowgate, &["consumer", "password", "jack"], "bar");
    let url = format!("ws://{}/raw", flowgate.data);
    assert_eq!(wscat(&["--auth", "jack:bar", "-c", &url]), "hello");
    assert!(!echo.last().contains("uthorization"));
    let asked = "Basic realm=\"flowgate\", charset=\"UTF-8\"".to_owned();
    let told = |message: &str| (401, message.to_owned(), asked.clone());
    assert_eq!(refused(&flowgate, "/raw", ""), told("Missing authorization in request"));
    let wrong = told("Invalid user authorization");
    assert_eq!(refused(&flowgate, "/raw", &basic("jack:wrong")), wrong);
    assert_eq!(refused(&flowgate, "/raw", &basic("jill:bar")), wrong);
    let malformed = told("Invalid authorization in request");
    assert_eq!(refused(&flowgate, "/raw", "Authorization: Digest x\r\n"), malformed);
}

fn token(algorithm: Algorithm, claims: &Value, key: &EncodingKey) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, key).unwrap()
}

/// The end of the year 2099.
const LATER: u64 = 4_102_444_800;

#[test]
fn a_token_with_a_shared_secret_opens_an_api_as_well() {
    use std::os::unix::fs::PermissionsExt;
    let echo = Echo::start();
    let folder = tempfile::tempdir().unwrap();
    let sealing = folder.path().join("sealing");
    std::fs::write(&sealing, SEALING_KEY).unwrap();
    std::fs::set_permissions(&sealing, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (flowgate, _folder) = start(&["--sealing-key-file", sealing.to_str().unwrap()]);
    publish(&flowgate, &echo, "jwt");
    let hs = ["consumer", "jwt", "jack", "--key", "jack-key", "--algorithm", "HS256"];
    tell(&flowgate, &hs, SECRET);
    let claims = json!({ "key": "jack-key", "exp": LATER });
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let good = token(Algorithm::HS256, &claims, &secret);
    let url = format!("ws://{}/raw", flowgate.data);
    let cookie = format!("Cookie: jwt={good}");
    for header in
        [&format!("Authorization: Bearer {good}"), &format!("Authorization: {good}"), &cookie]
    {
        assert_eq!(wscat(&["-H", header, "-c", &url]), "hello", "{header}");
        assert!(!echo.last().contains(&good), "it is hidden from the endpoint");
    }
    assert_eq!(wscat(&["-c", &format!("{url}?jwt={good}")]), "hello");
    assert!(!echo.last().contains(&good));
    let message = |headers: &str| refused(&flowgate, "/raw", headers).1;
    assert_eq!(message(""), "Missing JWT token in request");
    assert_eq!(message("Authorization: Bearer geheim\r\n"), "JWT token invalid");
    let bad = |algorithm, claims: &Value| {
        message(&format!("Authorization: Bearer {}\r\n", token(algorithm, claims, &secret)))
    };
    let verify = "failed to verify jwt";
    assert_eq!(bad(Algorithm::HS256, &json!({ "key": "jack-key", "exp": 1 })), verify);
    assert_eq!(bad(Algorithm::HS256, &json!({ "key": "jack-key", "nbf": LATER })), verify);
    assert_eq!(bad(Algorithm::HS512, &claims), verify);
    let unknown = "Invalid user key in JWT token";
    assert_eq!(bad(Algorithm::HS256, &json!({ "key": "jill-key" })), unknown);
    // A page of another origin must not use the cookie that a browser adds by itself.
    let foreign = format!("{cookie}\r\nOrigin: https://evil.example\r\n");
    let answer = flowgate.ask(&handshake("/raw", "localhost", &foreign));
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let log = flowgate.log_by_now();
    assert!(![&*good, SECRET].iter().any(|secret| log.contains(secret)));
}

#[test]
fn a_token_with_a_key_pair_opens_an_api_and_nothing_secret_is_kept() {
    let echo = Echo::start();
    let (flowgate, folder) = start(&[]);
    publish(&flowgate, &echo, "jwt");
    let file = folder.path().join("public.pem");
    let of_jack = ["consumer", "jwt", "jack", "--key", "jack-key", "--public-key"];
    let url = format!("ws://{}/raw", flowgate.data);
    let claims = json!({ "key": "jack-key", "exp": LATER });
    let mut last = String::new();
    for (name, algorithm, kind) in [
        ("ES256", Algorithm::ES256, &rcgen::PKCS_ECDSA_P256_SHA256),
        ("EdDSA", Algorithm::EdDSA, &rcgen::PKCS_ED25519),
    ] {
        let pair = rcgen::KeyPair::generate_for(kind).unwrap();
        std::fs::write(&file, pair.public_key_pem()).unwrap();
        let set = [&of_jack[..], &[file.to_str().unwrap(), "--algorithm", name]].concat();
        run(&flowgate, &set);
        let private = pair.serialize_pem();
        let private = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_pem(private.as_bytes()),
            _ => EncodingKey::from_ec_pem(private.as_bytes()),
        };
        let before = std::mem::replace(&mut last, token(algorithm, &claims, &private.unwrap()));
        assert_eq!(wscat(&["-c", &format!("{url}?jwt={last}")]), "hello", "{name}");
        if !before.is_empty() {
            let told = refused(&flowgate, &format!("/raw?jwt={before}"), "").1;
            assert_eq!(told, "failed to verify jwt");
        }
    }
    assert!(!echo.last().contains(&last));
    // What an API does not hide, its endpoint sees.
    run(&flowgate, &["api", "set", "/", "--show-credentials"]);
    assert_eq!(wscat(&["-c", &format!("{url}?jwt={last}")]), "hello");
    assert!(echo.last().contains(&last));
}

#[test]
fn an_hs_secret_needs_a_key_to_seal_it_with() {
    let (flowgate, _folder) = start(&[]);
    run(&flowgate, &["consumer", "add", "jack"]);
    let line = "PUT /admin/v1/consumers/jack/jwt";
    let body = json!({ "key": "jack-key", "algorithm": "HS256", "secret": SECRET });
    let (status, _, said) = call(&flowgate, ADMIN, line, "", &body);
    assert_eq!(status, 422, "{said}");
    assert!(said["detail"].as_str().unwrap().contains("sealing_key_file"), "{said}");
    assert!(!flowgate.log_by_now().contains(SECRET));
}

#[test]
fn nodes_take_turns_by_weight_and_one_that_is_gone_is_left_alone() {
    let counted = |name: &'static str, order: &Arc<Mutex<Vec<&'static str>>>| {
        let order = Arc::clone(order);
        Runtime::accepting(move |websocket| {
            order.lock().unwrap().push(name);
            echo(websocket);
        })
    };
    let order = Arc::<Mutex<Vec<&'static str>>>::default();
    let (one, two) = (counted("one", &order), counted("two", &order));
    let (flowgate, _folder) = start(&[]);
    let heavy = format!("ws://{}=2", one.address);
    let light = format!("ws://{}", two.address);
    let gone = format!("ws://{}", Runtime::nowhere());
    run(
        &flowgate,
        &[
            "api",
            "add",
            "--name",
            "turns",
            "--context",
            "/turns",
            "--api-version",
            "1",
            "--node",
            &heavy,
            "--node",
            &light,
            "--node",
            &gone,
            "--security",
            "none",
            "--publish",
        ],
    );
    for _ in 0..12 {
        let mut websocket = WebSocket::connect(flowgate.data, "/turns/1/x", "");
        crate::support::replicas::assert_alive(&mut websocket);
    }
    let order = order.lock().unwrap().clone();
    let ones = order.iter().filter(|name| **name == "one").count();
    assert!((7..=9).contains(&ones), "{order:?}");
    let dials = flowgate.log_by_now().matches("a node is set aside").count();
    assert_eq!(dials, 1, "it was left alone afterwards");
    // With all of them gone, nobody answers.
    drop((one, two));
    crate::support::wait_until("both are gone", || {
        let answer = flowgate.ask(&handshake("/turns/1", "localhost", ""));
        answer.starts_with("HTTP/1.1 502")
    });
}
