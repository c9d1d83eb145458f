//! The commands over TLS: no token goes to a server that is not the one that was named.

use crate::support::admin::{ADMIN, ok, run, tokens_file};
use crate::support::flowgate::{Flowgate, program};
use crate::support::profiles::mike;
use crate::support::runtime::Runtime;
use crate::support::tls::Authority;

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
    let by = |files: &crate::support::tls::Files| {
        (files.chain.display().to_string(), files.key.display().to_string())
    };
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
