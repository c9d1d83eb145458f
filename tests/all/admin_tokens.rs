//! The operators' tokens of a running server.

use std::io::Write;
use std::path::Path;

use serde_json::Value;

use crate::support::admin::{ADMIN, READ, call, start};
use crate::support::flowgate::Flowgate;
use crate::support::profiles::mike;
use crate::support::runtime::Runtime;
use crate::support::wait_until;

const NEW: &str = "new-token-0123456789-0123456789-01";

fn status(flowgate: &Flowgate, token: &str) -> u16 {
    call(flowgate, token, "GET /admin/v1/status", "", &Value::Null).0
}

fn append(file: &Path, line: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).open(file).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}

#[test]
fn a_token_counts_as_soon_as_it_is_in_the_file_and_as_long() {
    let (flowgate, folder) = start(&mike(Runtime::nowhere()));
    let file = folder.path().join("tokens");
    assert_eq!(status(&flowgate, NEW), 401);
    append(&file, &format!("nina read {NEW}\n"));
    wait_until("the new token counts", || status(&flowgate, NEW) == 200);
    assert_eq!(status(&flowgate, ADMIN), 200);
    let lines = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, lines.replace(&format!("robin read {READ}\n"), "")).unwrap();
    wait_until("the old token does not", || status(&flowgate, READ) == 401);
    assert_eq!(status(&flowgate, NEW), 200);
}

#[test]
fn a_file_with_a_fault_changes_nothing_and_is_told_of() {
    let (flowgate, folder) = start(&mike(Runtime::nowhere()));
    let file = folder.path().join("tokens");
    append(&file, &format!("nina everything {NEW}\n"));
    let line = flowgate.wait_for_line("it says so", |line| {
        line["message"] == "admin tokens not read again: the old ones stay"
    });
    assert!(line["error"].as_str().unwrap().contains("the role must be"), "{line}");
    assert_eq!((status(&flowgate, ADMIN), status(&flowgate, NEW)), (200, 401));
    let lines = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, lines.replace("everything", "admin")).unwrap();
    wait_until("what was put right counts", || status(&flowgate, NEW) == 200);
    assert!(!flowgate.raw_log().contains(NEW), "no token is in the log");
}
