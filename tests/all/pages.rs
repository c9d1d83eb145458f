//! The tenants' pages and their editors, as a person uses them: in the real Chromium.

use serde_json::json;

use crate::support::flowgate::Flowgate;
use crate::support::node::{NodeRed, run_in_browser};
use crate::support::profiles::{MIKE_PASSWORD, mike};

/// Where pictures of the pages are left, if anybody wants to look at them.
fn pictures() -> String {
    std::env::var("FLOWGATE_PICTURES").unwrap_or_default()
}

#[test]
fn the_editor_opens_with_a_session_deploys_and_closes_at_logout() {
    let runtime = NodeRed::start("mike");
    let flowgate = Flowgate::start(&mike(runtime.address), &[]);
    let port = flowgate.data.port().to_string();
    let script = include_str!("browser/editor.cjs");
    let said = run_in_browser(script, &[&port, MIKE_PASSWORD, &pictures()]);

    assert!(
        said["asked"].as_str().unwrap().starts_with(&format!("http://localhost:{port}/login?"))
    );
    assert_eq!(said["wrong"], "The username or the password is wrong.");
    let editor = format!("http://mike.flows.localhost:{port}/red/");
    assert!(said["editor"].as_str().unwrap().starts_with(&editor), "{said}");
    assert_eq!((&said["deploy"], &said["added"]), (&json!(200), &json!(1)), "{said}");
    let comms = &said["sockets"][0];
    assert!(comms["url"].as_str().unwrap().ends_with("/red/comms"), "{said}");
    assert!(comms["frames"].as_u64() > Some(0), "{said}");
    let sockets = said["sockets"].as_array().unwrap();
    assert!(sockets.iter().any(|socket| socket["closed"] == true), "{said}");
    assert_eq!(said["complaints"], json!([]), "{said}");
    assert_eq!(said["visible"], "", "no script sees a cookie of ours");
    for cookie in said["cookies"].as_array().unwrap() {
        assert_eq!(cookie["httpOnly"], true, "{cookie}");
        assert_eq!((&cookie["sameSite"], &cookie["path"]), (&json!("Lax"), &json!("/")));
    }
    assert!(said["after"].as_str().unwrap().contains("/login?"), "{said}");
    let end = flowgate.wait_for_end();
    assert_eq!(end["grant"], "session", "{end}");
    let log = flowgate.log_by_now();
    assert!(!log.contains("fgs_") && !log.contains("fgt_"), "no secret of ours is logged");
}
