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
