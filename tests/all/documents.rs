//! The tables in `docs/` say what the code does.

use flowgate::close::Cause;
use flowgate::config::KEYS;
use flowgate::refusal::Refusal;

use crate::support::node::root;

fn document(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).unwrap()
}

#[test]
fn every_close_code_is_documented_with_its_reason() {
    let wire = document("wire.md");
    for cause in Cause::all() {
        let is_row = |line: &str| {
            line.starts_with('|')
                && line.contains(&format!("`{}`", cause.reason()))
                && line.contains(&cause.code().to_string())
        };
        assert!(wire.lines().any(is_row), "{cause:?} is missing in docs/wire.md");
    }
}

#[test]
fn every_refusal_is_documented_with_its_status() {
    let wire = document("wire.md");
    for refusal in Refusal::samples() {
        let (status, label) = (refusal.status().as_u16(), refusal.label());
        let is_row = |line: &str| line.starts_with(&format!("| {status} | `{label}` |"));
        assert!(wire.lines().any(is_row), "{status} {label} is missing in docs/wire.md");
    }
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let configuration = document("configuration.md");
    for key in KEYS {
        let is_row = |line: &str| {
            line.starts_with('|')
                && line.contains(&format!("`{}`", key.name))
                && (key.default.is_empty() || line.contains(&format!("`{}`", key.default)))
        };
        assert!(configuration.lines().any(is_row), "{} is missing", key.name);
    }
}

#[test]
fn no_merge_left_its_marks() {
    let tracked = std::process::Command::new("git").arg("ls-files").current_dir(root()).output();
    let tracked = String::from_utf8(tracked.unwrap().stdout).unwrap();
    assert!(tracked.lines().count() > 100, "git lists the files");
    for file in tracked.lines().map(|file| root().join(file)) {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let mut marks = text
            .lines()
            .filter(|line| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> "));
        assert_eq!(marks.next(), None, "{}", file.display());
    }
}
