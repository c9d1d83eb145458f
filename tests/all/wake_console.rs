//! The runtimes that flowgate owns in the operators' console, in the real Chromium.

use serde_json::json;

use crate::support::admin::{ADMIN, READ, json, tokens_file};
use crate::support::flowgate::Flowgate;
use crate::support::node::run_in_browser;
use crate::support::own::{Own, mike_and_roberto};

#[test]
fn an_operator_looks_after_runtimes_in_the_console() {
    let own = Own::small("serves");
    let folder = tempfile::tempdir().unwrap();
    let tokens = format!("--admin-tokens-file={}", tokens_file(folder.path()).display());
    let flowgate = Flowgate::start(&mike_and_roberto(), &own.flags(&[&tokens]));
    let port = flowgate.admin.port().to_string();
    let said = run_in_browser(include_str!("browser/runtimes.cjs"), &[&port, ADMIN, READ]);
    let text = |name: &str| said[name].as_str().unwrap_or_else(|| panic!("{name}: {said}"));
    assert!(text("why").contains("the plan says no time after which it sleeps"), "{said}");
    assert!(text("log").contains("listening"), "{said}");
    assert!(text("asked").contains("Its next caller wakes it"), "{said}");
    assert_eq!((text("safe"), &said["isHeld"]), ("Cancel", &json!(true)), "{said}");
    assert!(text("own").contains("ready"), "{said}");
    assert!(text("plan").contains("1 d"), "a change of one limit leaves the others: {said}");
    assert_eq!((&said["serious"], &said["over"]), (&json!([]), &json!([0, 0, 0, 0])), "{said}");
    assert_eq!(said["enabled"], json!([]), "who may only look may do nothing: {said}");
    // Of a restart of all there was none at first, which a browser says of its own accord.
    assert_eq!(said["complained"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!(own.starts().len(), 3, "started, started again, and restarted with all");
    let progress = json(&flowgate, &["runtime", "progress"]);
    assert_eq!((&progress["restarted"], &progress["by"]), (&json!(2), &json!("ada")));
    assert_eq!(progress["pace"]["at_once"], 2, "{progress}");
}
