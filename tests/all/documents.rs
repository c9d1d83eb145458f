//! The tables in `docs/` say what the code does.

use flowgate::close::Cause;
use flowgate::config::KEYS;
use flowgate::refusal::{OperatorRefusal, Refusal};

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

/// Its table has a setting or a constant and a test in every row; what a test is called is true.
#[test]
fn every_limit_is_documented_with_a_test_that_is_there() {
    let page = document("security.md");
    let table = page.split("## Limits").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    let sources = sources();
    let mut tests = 0;
    for row in &rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let setting = cells[2].trim_matches('`');
        let is_setting = KEYS.iter().any(|key| key.name == setting);
        assert!(is_setting || !cells[2].starts_with('`') || setting == "ulimit -n", "{row}");
        let Some(test) = cells[5].strip_prefix('`').and_then(|it| it.strip_suffix('`')) else {
            continue;
        };
        assert!(sources.contains(&format!("fn {test}(")), "there is no test {test}");
        tests += 1;
    }
    assert!(rows.len() > 25 && tests > 20, "{tests} of {}", rows.len());
    for key in KEYS.iter().filter(|key| key.name.ends_with("_max")) {
        let is_told = table.contains(&format!("`{}`", key.name));
        // What is kept in memory, or believed, is no limit of what others can do.
        let is_other = matches!(key.name, "tenants_cached_max" | "registry_stale_max");
        assert!(is_told || is_other, "{} is missing in docs/security.md", key.name);
    }
}

/// Every test there is, and all else.
fn sources() -> String {
    let mut list = std::process::Command::new("git");
    let listed = list.args(["ls-files", "src", "tests"]).current_dir(root()).output().unwrap();
    let files = String::from_utf8(listed.stdout).unwrap();
    let rust = files.lines().filter(|file| file.ends_with(".rs"));
    rust.filter_map(|file| std::fs::read_to_string(root().join(file)).ok()).collect()
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

#[test]
fn every_refusal_of_the_admin_api_is_documented_with_its_status() {
    let admin = document("admin.md");
    for refusal in OperatorRefusal::samples().into_iter().map(Refusal::Operator) {
        let (status, label) = (refusal.status().as_u16(), refusal.label());
        let is_row = |line: &str| line.starts_with(&format!("| {status} | `{label}` |"));
        assert!(admin.lines().any(is_row), "{status} {label} is missing in docs/admin.md");
    }
}
