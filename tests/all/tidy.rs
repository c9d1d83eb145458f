//! The shape of the code: floors and lengths. The map is in `src/lib.rs`.

use std::path::{Path, PathBuf};

use flowgate::registry::record::{LASTING, PASSING};

use crate::support::node::root;

const FILE_LINES_MAX: usize = 400;

/// Modules by floor, from the vocabulary up.
const FLOORS: [&[&str]; 4] = [
    &[
        "tenant",
        "grant",
        "plan",
        "secret",
        "refusal",
        "close",
        "client",
        "clock",
        "carriers",
        "path",
        "row",
        "cookies",
        "metrics",
        "own_network",
        "networks",
        "proxy_protocol",
        "limits",
        "keepalive",
        "api",
        "sealing",
    ],
    &[
        "live",
        "ledger",
        "registry",
        "runtimes",
        "guessing",
        "passwords",
        "telemetry",
        "tls",
        "upload",
        "rewound",
        "permits",
        "descriptors",
        "held",
        "scheduling",
    ],
    &["front", "accept", "route", "authenticate", "connect", "exchange", "relay"],
    &[
        "journey",
        "commands",
        "admin",
        "drain",
        "config",
        "profile",
        "revoke",
        "follow",
        "presence",
        "change",
        "json",
        "web",
        "publish",
        "settle",
        "analytics",
        "oauth",
    ],
];

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn floor(module: &str) -> usize {
    FLOORS
        .iter()
        .position(|modules| modules.contains(&module))
        .unwrap_or_else(|| panic!("{module} has no floor: add it here and in src/lib.rs"))
}

fn is_test(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str().to_str().is_some_and(|name| name.starts_with("tests")))
}

#[test]
fn imports_go_down_only() {
    let source = root().join("src");
    let map = std::fs::read_to_string(source.join("lib.rs")).unwrap();
    for path in rust_files(&source) {
        let below = path.strip_prefix(&source).unwrap();
        let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if matches!(module, "lib" | "main" | "fuzzing") || is_test(&path) {
            continue;
        }
        assert!(map.contains(&format!("[`{module}`]")), "{module} is not on the map in src/lib.rs");
        let text = std::fs::read_to_string(&path).unwrap();
        for import in text.lines().filter_map(|line| line.trim().strip_prefix("use crate::")) {
            let end = import.find([':', ';']).unwrap();
            let imported = &import[..end];
            let is_down = floor(imported) < floor(module);
            let is_beside = floor(module) != 2 && floor(imported) == floor(module);
            assert!(
                imported == module || is_down || is_beside,
                "{}: {module} must not import {imported}",
                below.display()
            );
        }
    }
}

#[test]
fn a_file_has_one_subject() {
    for folder in ["src", "tests", "benches/src", "fuzz/fuzz_targets"] {
        for path in rust_files(&root().join(folder)) {
            let lines = std::fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= FILE_LINES_MAX, "{}: {lines} lines", path.display());
        }
    }
}

/// A kind that no list has would be left behind by a copy.
#[test]
fn every_kind_of_document_is_lasting_or_passing() {
    let mut kinds = 0;
    for path in rust_files(&root().join("src")).iter().filter(|path| !is_test(path)) {
        let text = std::fs::read_to_string(path).unwrap();
        for named in text.split("Kind(\"").skip(1) {
            let name = named.split('"').next().unwrap();
            let is_listed = LASTING.iter().chain(&PASSING).any(|kind| kind.0 == name);
            assert!(is_listed, "{}: {name} is missing in registry/record.rs", path.display());
            kinds += 1;
        }
    }
    assert_eq!(kinds, LASTING.len() + PASSING.len());
}
