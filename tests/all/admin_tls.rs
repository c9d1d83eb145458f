//! The commands over TLS: no token goes to a server that is not the one that was named.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::admin::{ADMIN, ok, run, tokens_file};
use crate::support::flowgate::{Flowgate, program};
use crate::support::profiles::mike;
use crate::support::runtime::Runtime;
use crate::support::tls::{Authority, Files};

/// `flowgate tenant list`, asking there with a token.
fn list(url: &str, flags: &[&str]) -> std::process::Command {
    let mut command = program();
    command.args(["tenant", "list", "--server", url]).args(flags);
    command.env("FLOWGATE_ADMIN_TOKEN", ADMIN);
    command
}

#[test]
fn the_commands_speak_tls_with_whom_the_authority_vouches_for() {
    let (authority, other) = (Authority::new(), Authority::new());
    let files = authority.issue("admin", &["localhost"]);
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens_file(folder.path());
    let flags = [
        "--admin-tls-certificates",
        &files.pair(),
        "--admin-tokens-file",
        tokens.to_str().unwrap(),
    ];
    let flowgate = Flowgate::start(&mike(Runtime::nowhere()), &flags);
    let port = flowgate.admin.port();
    let url = format!("https://localhost:{port}");
    let (ca, others) = (authority.file(), other.file());
    let (ca, others) = (ca.to_str().unwrap(), others.to_str().unwrap());

    assert!(ok(&mut list(&url, &["--ca", ca])).contains("mike"));
    assert!(ok(list(&url, &[]).env("FLOWGATE_ADMIN_CA", ca)).contains("mike"));
    let picture = ok(program()
        .args(["top", "--once", "--server", &url, "--ca", ca])
        .env("FLOWGATE_ADMIN_TOKEN", ADMIN));
    assert!(picture.contains(&url), "{picture}");
    let key = "apikey: nobodys";
    let (code, said, _) = run(program()
        .args(["explain", "GET", "http://localhost/api/x", "-H", key, "--server", &url, "--ca", ca])
        .env("FLOWGATE_ADMIN_TOKEN", ADMIN));
    assert_eq!(code, 1, "{said}");

    let by_address = format!("https://127.0.0.1:{port}");
    let nowhere = format!("https://{}", Runtime::nowhere());
    let plain = Flowgate::start(&mike(Runtime::nowhere()), &[]);
    let to_plain = format!("https://localhost:{}", plain.admin.port());
    for (url, flags, exit_code, why) in [
        (&*url, &["--ca", others][..], 69, "UnknownIssuer; --ca FILE names"),
        (&url, &[], 69, "UnknownIssuer; --ca FILE names"),
        (&by_address, &["--ca", ca], 69, "--server names it as its certificate does"),
        (&to_plain, &["--ca", ca], 69, "it speaks no TLS: say http://"),
        (
            &format!("http://localhost:{port}"),
            &["--ca", ca],
            69,
            "say https:// in place of http://",
        ),
        (&nowhere, &["--ca", ca], 69, "nobody listens there"),
        (&url, &["--ca", "/nowhere/ca.pem"], 64, "/nowhere/ca.pem: No such file"),
        (&url, &["--ca", files.key.to_str().unwrap()], 64, "at least one certificate"),
        ("ftp://localhost", &[], 64, "must be like http://127.0.0.1:9180 or https://"),
        ("https://ada:x@localhost", &[], 64, "must be like"),
        ("https://localhost/admin", &[], 64, "must be like"),
    ] {
        let (code, _, error) = run(&mut list(url, flags));
        assert_eq!(code, exit_code, "{url}: {error}");
        assert!(error.contains(why), "{url}: {error}");
        assert!(!error.contains(ADMIN), "{error}");
    }
}

#[test]
fn a_server_on_this_machine_is_asked_as_its_settings_say() {
    let authority = Authority::new();
    let files = authority.issue("admin", &["127.0.0.1"]);
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens_file(folder.path());
    let flags = [
        "--admin-tls-certificates",
        &files.pair(),
        "--admin-tokens-file",
        tokens.to_str().unwrap(),
    ];
    let flowgate = Flowgate::start(&mike(Runtime::nowhere()), &flags);
    let said = ok(program()
        .args(["tenant", "list", "--ca", authority.file().to_str().unwrap()])
        .env("FLOWGATE_ADMIN_LISTEN", flowgate.admin.to_string())
        .env("FLOWGATE_ADMIN_TLS_CERTIFICATES", files.pair())
        .env("FLOWGATE_ADMIN_TOKEN", ADMIN));
    assert!(said.contains("mike"), "{said}");
}

/// curl with the admin token; status, or what curl says.
fn curl(authority: &Authority, url: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new("curl")
        .args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"])
        .arg(authority.file())
        .args(arguments)
        .arg(url)
        .output()
        .expect("curl is needed");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn operators_need_a_certificate_besides_the_token() {
    let (authority, clients, other) = (Authority::new(), Authority::new(), Authority::new());
    let files = authority.issue("admin", &["localhost"]);
    let ada = clients.issue("ada", &["ada.example"]);
    let eve = other.issue("eve", &["ada.example"]);
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens_file(folder.path());
    let (tokens, pair, wanted) = (tokens.to_str().unwrap(), files.pair(), clients.file());
    let flags = ["--admin-tls-certificates", &pair, "--admin-tokens-file", tokens];
    let flags = [&flags[..], &["--admin-client-ca-file", wanted.to_str().unwrap()]].concat();
    let flowgate = Flowgate::start(&mike(Runtime::nowhere()), &flags);
    let url = format!("https://localhost:{}", flowgate.admin.port());
    let status = format!("{url}/admin/v1/status");
    let token = format!("Authorization: Bearer {ADMIN}");
    let by = |files: &Files| (files.chain.display().to_string(), files.key.display().to_string());
    let (chain, key) = by(&ada);
    let with = ["--cert", &*chain, "--key", &*key];
    for version in [["--tlsv1.3", "-4"], ["--tls-max", "1.2"]] {
        let asked = [&version[..], &with, &["-H", &token]].concat();
        assert_eq!(curl(&authority, &status, &asked), "200");
        // Besides the token, not in its place.
        assert_eq!(curl(&authority, &status, &[&version[..], &with].concat()), "401");
        assert_eq!(curl(&authority, &status, &[&version[..], &["-H", &token]].concat()), "000");
        let (chain, key) = by(&eve);
        let asked = [&version[..], &["--cert", &chain, "--key", &key, "-H", &token]].concat();
        assert_eq!(curl(&authority, &status, &asked), "000");
        // Probes, too.
        assert_eq!(curl(&authority, &format!("{url}/healthz"), &version), "000");
    }

    let ca = authority.file();
    let ca = ["--ca", ca.to_str().unwrap()];
    let (adas, eves) = (ada.pair(), eve.pair());
    let shown = [&ca[..], &["--certificate", &adas]].concat();
    assert!(ok(&mut list(&url, &shown)).contains("mike"));
    assert!(ok(list(&url, &ca).env("FLOWGATE_ADMIN_CERTIFICATE", &adas)).contains("mike"));
    let foreign = [&ca[..], &["--certificate", &eves]].concat();
    for flags in [&ca[..], &foreign] {
        let (code, _, error) = run(&mut list(&url, flags));
        assert_eq!(code, 69, "{error}");
        assert!(!error.contains(ADMIN), "{error}");
    }
    let nothing = [&ca[..], &["--certificate", "/nowhere/ada.pem"]].concat();
    let (code, _, error) = run(&mut list(&url, &nothing));
    assert!(code == 64 && error.contains("/nowhere/ada.pem"), "{error}");
}

#[test]
fn a_setting_that_would_ask_nobody_for_a_certificate_is_refused() {
    let authority = Authority::new();
    let files = authority.issue("admin", &["localhost"]);
    let ca = authority.file();
    let check = |flags: &[&str]| run(program().arg("check").args(flags));
    let asking = ["--admin-client-ca-file", ca.to_str().unwrap()];
    let (code, _, error) = check(&asking);
    assert!(code == 78 && error.contains("needs admin_tls_certificates"), "{error}");
    let pair = files.pair();
    let with = ["--admin-tls-certificates", &*pair];
    assert_eq!(check(&[&with[..], &asking].concat()).0, 0);
    for file in [files.key.to_str().unwrap(), "/nowhere/ca.pem"] {
        let (code, _, error) = check(&[&with[..], &["--admin-client-ca-file", file]].concat());
        assert!(code == 78 && error.contains("admin_client_ca_file: /"), "{error}");
    }
}

/// A server that asks operators for certificates, and who signs whose.
struct Guarded {
    authority: Authority,
    clients: Authority,
    flowgate: Flowgate,
}

impl Guarded {
    fn start() -> Self {
        let (authority, clients) = (Authority::new(), Authority::new());
        let pair = authority.issue("admin", &["localhost"]).pair();
        let tokens = tokens_file(authority.file().parent().unwrap());
        let (tokens, wanted) = (tokens.to_str().unwrap(), clients.file());
        let flags = [
            ["--admin-tls-certificates", &pair],
            ["--admin-tokens-file", tokens],
            ["--admin-client-ca-file", wanted.to_str().unwrap()],
            // What ends sooner ends for another reason.
            ["--keep-alive-timeout", "3m"],
        ];
        let flowgate = Flowgate::start(&mike(Runtime::nowhere()), flags.as_flattened());
        Self { authority, clients, flowgate }
    }

    /// OpenSSL's client, with a certificate.
    fn openssl(&self, files: &Files, arguments: &[&str]) -> Command {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-servername", "localhost", "-connect"]);
        command.arg(self.flowgate.admin.to_string());
        command.args(["-verify_return_error", "-CAfile"]).arg(self.authority.file());
        command.arg("-cert").arg(&files.chain).arg("-key").arg(&files.key).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }
}

fn whoami(rest: &str) -> String {
    format!(
        "GET /admin/v1/whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN}\r\n{rest}\r\n"
    )
}

/// All that OpenSSL's client says about one question.
fn asked(mut command: Command) -> String {
    let mut client = command.arg("-ign_eof").spawn().expect("openssl is needed");
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(whoami("Connection: close\r\n").as_bytes()).unwrap();
    let output = client.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Resumed, it would be taken for as long as there are tickets, though nobody would look at it.
#[test]
fn an_operators_certificate_is_looked_at_for_each_connection() {
    let guarded = Guarded::start();
    let ada = guarded.clients.issue("ada", &["ada.example"]);
    let folder = tempfile::tempdir().unwrap();
    for (version, name) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let session = folder.path().join(name);
        let path = session.to_str().unwrap();
        let said = asked(guarded.openssl(&ada, &[version, "-sess_out", path]));
        assert!(said.contains("200 OK") && said.contains(&format!("New, {name}")), "{said}");
        // With TLS 1.3 there is none where there was no ticket.
        if Path::new(path).exists() {
            let said = asked(guarded.openssl(&ada, &[version, "-sess_in", path]));
            assert!(said.contains("200 OK") && said.contains(&format!("New, {name}")), "{said}");
            assert!(!said.contains("Reused"), "{said}");
        }
    }
}

/// A connection of OpenSSL's client that stays.
struct Kept {
    client: Child,
    said: BufReader<ChildStdout>,
}

impl Kept {
    /// What is said up to a line that contains this; `None` if it ends before.
    fn until(&mut self, end: &str) -> Option<String> {
        let mut all = String::new();
        while !all.contains(end) {
            let mut line = Vec::new();
            if self.said.read_until(b'}', &mut line).unwrap() == 0 {
                return None;
            }
            all.push_str(&String::from_utf8_lossy(&line));
        }
        Some(all)
    }

    fn ask(&mut self) -> Option<String> {
        self.client.stdin.as_mut().unwrap().write_all(whoami("").as_bytes()).ok()?;
        self.until("\"role\"")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

#[test]
fn the_end_of_an_operators_certificate_ends_its_connections() {
    let guarded = Guarded::start();
    let open = |files: &Files| {
        let mut client = guarded.openssl(files, &["-quiet"]).spawn().expect("openssl is needed");
        let said = BufReader::new(client.stdout.take().unwrap());
        let mut kept = Kept { client, said };
        let answer = kept.ask()?;
        assert!(answer.contains("200 OK"), "{answer}");
        Some(kept)
    };
    let mut long = open(&guarded.clients.issue("ada", &["ada.example"])).unwrap();
    // On a busy machine one may end before it was shown.
    let mut short = (1..6)
        .find_map(|tries| open(&guarded.clients.issue_for("bob", &["bob.example"], 4 * tries)))
        .unwrap();
    assert_eq!(short.until("more"), None, "it must end");
    assert!(long.ask().is_some_and(|answer| answer.contains("200 OK")));
}
