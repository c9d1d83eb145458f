//! The tables in `docs/` say what the code does, and what they refer to is there.

use std::collections::{BTreeMap, BTreeSet};

use flowgate::close::Cause;
use flowgate::config::KEYS;
use flowgate::refusal::{OperatorRefusal, Refusal};

use crate::support::admin::ok;
use crate::support::flowgate::program;
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
        tests += assert_tests_are_there(cells[5], &sources);
    }
    assert!(rows.len() > 25 && tests >= rows.len(), "{tests} of {}", rows.len());
    for key in KEYS.iter().filter(|key| key.name.ends_with("_max")) {
        let is_told = table.contains(&format!("`{}`", key.name));
        // What is kept in memory, or believed, is no limit of what others can do.
        let is_other = matches!(key.name, "tenants_cached_max" | "registry_stale_max");
        assert!(is_told || is_other, "{} is missing in docs/security.md", key.name);
    }
}

#[test]
fn what_was_tried_is_tried_every_time() {
    let page = document("security.md");
    let table = page.split("## What was tried").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    let sources = sources();
    for row in &rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_tests_are_there(cells[4], &sources);
    }
    assert!(rows.len() > 20, "{}", rows.len());
}

/// The tests that a cell names; at least one.
fn assert_tests_are_there(cell: &str, sources: &str) -> usize {
    let tests: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
    assert!(!tests.is_empty(), "no test is named: {cell}");
    for test in &tests {
        assert!(sources.contains(&format!("fn {test}(")), "there is no test {test}");
    }
    tests.len()
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

/// The pages for readers, by their path: what stands in fences, and what stands outside.
fn pages() -> BTreeMap<String, [Vec<String>; 2]> {
    let mut names = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        names.extend(name.ends_with(".md").then(|| format!("docs/{name}")));
    }
    let read = |name: String| {
        let text = std::fs::read_to_string(root().join(&name)).unwrap();
        let mut parts = [Vec::new(), Vec::new()];
        let mut place = 1;
        for line in text.lines() {
            match line.trim_start().starts_with("```") {
                true => place = 1 - place,
                false => parts[place].push(line.to_owned()),
            }
        }
        (name, parts)
    };
    names.into_iter().map(read).collect()
}

/// Where the links and pictures of a page lead.
fn links(lines: &[String]) -> Vec<String> {
    let text = lines.join("\n");
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let pictures = text.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let all = inline.chain(pictures).map(str::to_owned);
    all.filter(|link| !link.starts_with("http")).collect()
}

/// What a heading is linked by.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = |character: &char| character.is_alphanumeric() || "-_ ".contains(*character);
    text.chars()
        .filter(kept)
        .map(|character| if character == ' ' { '-' } else { character })
        .collect()
}

#[test]
fn every_link_leads_somewhere_and_every_page_and_picture_is_linked() {
    let pages = pages();
    let anchors: BTreeSet<String> = pages
        .iter()
        .flat_map(|(page, [_, lines])| {
            let headings = lines.iter().filter(|line| line.starts_with('#'));
            headings.map(move |heading| format!("{page}#{}", anchor(heading)))
        })
        .collect();
    let mut linked = BTreeSet::new();
    for (page, [_, lines]) in &pages {
        for link in links(lines) {
            let (path, place) = link.split_once('#').unwrap_or((&link, ""));
            let folder = if page.starts_with("docs/") { "docs/" } else { "" };
            let path = match path.strip_prefix("../") {
                Some(path) => path.to_owned(),
                None if path.is_empty() => page.clone(),
                None => format!("{folder}{path}"),
            };
            assert!(root().join(&path).exists(), "{page}: {link}");
            let is_there = place.is_empty() || anchors.contains(&format!("{path}#{place}"));
            assert!(is_there, "{page}: {link}");
            if path != *page {
                linked.insert(path);
            }
        }
    }
    for folder in ["docs", "docs/images"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = format!("{folder}/{}", entry.unwrap().file_name().into_string().unwrap());
            let is_shown = path.ends_with(".md") || path.ends_with(".png");
            assert!(!is_shown || linked.contains(&path), "{path} is linked from nowhere");
        }
    }
}

/// What `--help` says of a command.
fn help(command: &[&str]) -> String {
    ok(program().args(command).arg("--help"))
}

#[test]
fn every_command_line_in_the_pages_is_one() {
    let mut seen = 0;
    for (page, [lines, _]) in &pages() {
        let text = lines.join("\n").replace("\\\n", " ");
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("flowgate ")) {
            let line = line.split(" #").next().unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            let mut command = Vec::new();
            for word in &words {
                let is_one = |line: &str| line.trim_start().split(' ').next() == Some(*word);
                let said = help(&command);
                let commands = said.split_once("Commands:\n").map_or("", |(_, rest)| rest);
                match commands.lines().take_while(|line| !line.is_empty()).any(is_one) {
                    true => command.push(word),
                    false => break,
                }
            }
            assert!(!command.is_empty(), "{page}: flowgate {line}");
            let said = help(&command);
            for word in words.iter().filter(|word| word.starts_with("--")) {
                let is_flag = said.split([' ', ',', '\n', '[']).any(|known| known == *word);
                assert!(is_flag, "{page}: {word} of flowgate {line}");
            }
            seen += 1;
        }
    }
    assert!(seen > 25, "the pages have more than {seen} command lines");
}
