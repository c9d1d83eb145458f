//! The admin API against its own document, by Schemathesis: made-up requests, right and wrong ones,
//! and whether what comes back is what the document says.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::admin::{ADMIN, call, start};
use crate::support::node::root;
use crate::support::profiles::{MIKE_KEY, MIKE_PASSWORD, mike_and_roberto};
use crate::support::runtime::Runtime;
use crate::support::session::Session;
use crate::support::websocket::{WebSocket, handshake};

/// Where Schemathesis is installed; `scripts/test` sees to it.
fn schemathesis() -> PathBuf {
    let beside = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("python");
    let folder = std::env::var_os("FLOWGATE_PYTHON_DIR").map_or_else(beside, PathBuf::from);
    let program = folder.join("bin/schemathesis");
    assert!(program.exists(), "Schemathesis is not in {folder:?}: run scripts/test");
    program
}

#[test]
fn the_api_keeps_to_its_document() {
    let runtime = Runtime::echo();
    let profiles = mike_and_roberto(runtime.address, runtime.address);
    let (flowgate, folder) = start(&profiles);
    // Something of everything that can be shown.
    let headers = format!("apikey: {MIKE_KEY}\r\n");
    let open = || WebSocket::open(flowgate.data, handshake("/api/thing", "localhost", &headers));
    let _open = [open(), open()];
    let _session = Session::begin(flowgate.data, "mike", MIKE_PASSWORD);
    flowgate.ask("GET /api/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let output = Command::new(schemathesis())
        .arg("--config-file")
        .arg(root().join("tests/all/schemathesis.toml"))
        .args(["run", "--no-color"])
        .arg(format!("http://{}/admin/v1/openapi.json", flowgate.admin))
        .env("FLOWGATE_ADMIN_TOKEN", ADMIN)
        // It keeps what it has found in a folder of its own.
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{error}");
    // It was let in, and still is.
    assert!(said.contains("Tested:"), "{said}");
    let (status, _, audit) =
        call(&flowgate, ADMIN, "GET /admin/v1/audit?limit=1000", "", &Value::Null);
    assert_eq!(status, 200);
    assert!(audit["entries"].as_array().unwrap().len() > 10, "it changed something: {said}");
    assert!(!flowgate.raw_log().contains(ADMIN), "no token is in the log");
}
