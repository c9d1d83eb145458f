//! `flowgate explain` says what the server would do.

use crate::support::flowgate::program;
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, ROBERTO_KEY, mike_and_roberto};
use crate::support::runtime::Runtime;

/// What it prints, by the word each line begins with; and its exit code.
fn explain(arguments: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("profiles.json");
    let address = Runtime::nowhere();
    std::fs::write(&file, mike_and_roberto(address, address).to_string()).unwrap();
    let output = program()
        .arg("explain")
        .args(arguments)
        .args(["--registry", "memory:", "--import"])
        .arg(&file)
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    for secret in [MIKE_KEY, MIKE_PASSWORD, ROBERTO_KEY] {
        assert!(!printed.contains(secret), "{printed}");
    }
    (output.status.code().unwrap(), printed)
}

fn line<'a>(printed: &'a str, what: &str) -> &'a str {
    let line = printed.lines().find_map(|line| line.strip_prefix(what));
    line.unwrap_or_else(|| panic!("no {what:?} in {printed}")).trim()
}

#[test]
fn a_request_that_would_be_relayed() {
    let key = format!("apikey: {MIKE_KEY}");
    let url = format!("http://localhost:8080/api/thing?x=1&access_token={MIKE_KEY}");
    let (code, printed) = explain(&["GET", &url, "-H", &key, "-H", "X-Forwarded-For: 6.6.6.6"]);
    assert_eq!(code, 0, "{printed}");
    assert_eq!(line(&printed, "row"), "api");
    assert_eq!(line(&printed, "credential"), "the default API key");
    assert!(line(&printed, "tenant").starts_with("mike ("));
    assert_eq!(line(&printed, "its path"), "/api/thing?x=1");
    assert_eq!(line(&printed, "headers removed"), "apikey");
    let set = line(&printed, "headers set");
    assert!(
        set.contains("x-auth-user: mike") && set.contains("x-forwarded-for: 127.0.0.1"),
        "{set}"
    );
}

#[test]
fn refusals_and_why() {
    let key = format!("apikey: {ROBERTO_KEY}");
    let login = {
        use base64::Engine;
        base64::prelude::BASE64_STANDARD.encode("mike:wrong")
    };
    let basic = format!("Authorization: Basic {login}");
    for (arguments, refusal, why) in [
        (
            vec!["GET", "http://localhost/api/../red"],
            "400 malformed",
            "The path contains a dot segment.",
        ),
        (vec!["GET", "http://localhost/api/x"], "401 wrong_credential", "no credential"),
        (
            vec!["GET", "http://localhost/api/x", "-H", &basic],
            "401 wrong_credential",
            "wrong password",
        ),
        (
            vec!["GET", "ws://mike.flows.localhost/api/x", "-H", &key],
            "403 wrong_tenant",
            "The credential is right",
        ),
        (
            vec!["GET", "http://mike.flows.localhost/red/"],
            "401 no_session",
            "This opens with a browser session",
        ),
        (vec!["GET", "http://localhost/public/nobody/x"], "404 not_found", "no such tenant"),
    ] {
        let (code, printed) = explain(&arguments);
        assert_eq!(code, 1, "{printed}");
        assert_eq!(line(&printed, "refusal"), refusal);
        assert!(line(&printed, "the log says").starts_with(why), "{printed}");
    }
}

#[test]
fn wrong_usage_is_told() {
    for arguments in [vec!["GET", "/api/x"], vec!["GET", "http://localhost/x", "-H", "no colon"]] {
        assert_eq!(explain(&arguments).0, 64, "{arguments:?}");
    }
    assert_eq!(explain(&["OPTIONS", "http://localhost/healthz"]).0, 0);
}
