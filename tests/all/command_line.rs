//! Arguments, configuration and exit codes.

use std::process::{Command, Output};

use crate::support::flowgate::program;
use crate::support::node::root;

const USAGE: i32 = 64;
const CONFIG: i32 = 78;

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn help_and_version_go_to_stdout_and_succeed() {
    let (code, out, _) = run(program().arg("--help"));
    assert_eq!(code, 0);
    assert!(out.contains("serve") && out.contains("FLOWGATE_BASE_DOMAIN"), "{out}");
    let (code, out, _) = run(program().args(["serve", "--help"]));
    assert_eq!(code, 0);
    for flag in [
        "--listen",
        "--admin-listen",
        "--import",
        "--base-domain",
        "--config",
        "--workers",
        "--relay-threads",
    ] {
        assert!(out.contains(flag), "{flag}");
    }
    let (code, out, _) = run(program().arg("--version"));
    assert_eq!((code, out), (0, format!("flowgate {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn wrong_usage_is_64() {
    for arguments in [vec![], vec!["serv"], vec!["serve", "--lisen", "x"], vec!["check", "extra"]] {
        let (code, _, error) = run(program().args(&arguments));
        assert_eq!(code, USAGE, "{arguments:?}");
        assert!(error.contains("Usage"), "{error}");
    }
}

#[test]
fn bad_configuration_is_one_line_and_78() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let unknown = file("unknown.toml", "base_domain = \"a.example\"\nlissten = \"x\"\n");
    let broken = file("broken.toml", "listen = [\n\"127.0.0.1:1\"\nx");
    let wrong_kind = file("kind.toml", "workers = 1.5\n");
    let profiles = file("profiles.json", r#"{"tenants": [{"username": "Mike"}]}"#);
    let missing = folder.path().join("missing").to_str().unwrap().to_owned();
    for (flag, value, expected) in [
        ("--listen", "nowhere", "--listen: \"nowhere\": "),
        ("--workers", "2000", "--workers: 2000 is not from 0 to 1024"),
        ("--handshake-timeout", "soon", "--handshake-timeout: \"soon\": "),
        ("--handshake-timeout", "0s", "--handshake-timeout: must be more than zero"),
        ("--base-domain", "a..b", "--base-domain: \"a..b\": is no domain name"),
        ("--log-format", "xml", "--log-format: \"xml\": must be auto, text or json"),
        ("--config", &unknown, "lissten is no setting"),
        ("--config", &broken, "broken.toml: line 3: "),
        ("--config", &wrong_kind, "workers has a value of the wrong kind"),
        ("--config", &missing, "missing: No such file"),
        ("--import", &missing, "missing: No such file"),
        ("--import", &profiles, "profiles.json: missing field"),
    ] {
        for command in ["check", "serve"] {
            let (code, out, error) =
                run(program().args([command, "--registry", "memory:", flag, value]));
            let line = error.lines().find(|line| line.starts_with("flowgate: ")).expect(&error);
            assert_eq!((code, out.as_str()), (CONFIG, ""), "{error}");
            assert!(line.contains(expected), "{expected:?} is not in {line:?}");
        }
    }
    let (code, _, error) = run(program().arg("check").env("FLOWGATE_LISTN", "x"));
    assert_eq!((code, &*error), (CONFIG, "flowgate: environment: FLOWGATE_LISTN is no setting\n"));
}

#[test]
fn check_accepts_the_example_without_starting() {
    let (code, out, error) = run(program()
        .args(["check", "--import", "profiles.example.json"])
        .env("FLOWGATE_BASE_DOMAIN", "flows.example.org")
        .env("FLOWGATE_SERVICE_HOST", "10.0.0.1")
        .env("FLOWGATE_PORT", "tcp://10.0.0.1:8080")
        .current_dir(root()));
    let expected = "configuration is good; 2 tenants to import\n".to_owned();
    assert_eq!((code, out, error), (0, expected, String::new()));
}

#[test]
fn an_address_in_use_is_told_by_name() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, error) = run(program().args([
        "serve",
        "--registry",
        "memory:",
        "--admin-listen",
        "127.0.0.1:0",
        "--listen",
        &address,
    ]));
    assert_eq!(code, 1);
    let expected = format!("flowgate: cannot listen on {address}: Address already in use");
    assert!(error.contains(&expected), "{error}");
}
