//! Real Node-RED and real wscat.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

use serde_json::Value;
use tempfile::TempDir;

use super::flowgate::ask;
use super::{PATIENCE, wait_for};

/// Where Node-RED, wscat and ws are installed; `scripts/test` sees to it.
pub fn folder() -> PathBuf {
    let folder = std::env::var_os("FLOWGATE_NODE_DIR")
        .map_or_else(|| root().join("scripts/node"), PathBuf::from);
    let installed = folder.join("node_modules/node-red/red.js");
    assert!(
        installed.exists(),
        "Node-RED is not installed: run scripts/test, or npm ci in {folder:?}"
    );
    folder
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A real Node-RED with the flows of `scripts/runtimes`; ended when dropped.
pub struct NodeRed {
    pub address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl NodeRed {
    pub fn start(name: &str) -> Self {
        let flows = std::fs::read_to_string(root().join("scripts/runtimes/flows.json")).unwrap();
        Self::start_in(tempfile::tempdir().unwrap(), name, &flows)
    }

    /// One that speaks TLS and nothing else.
    pub fn start_with_tls(name: &str, chain: &Path, key: &Path) -> Self {
        let flows = std::fs::read_to_string(root().join("scripts/runtimes/flows.json")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let settings = format!(
            "module.exports = {{ ...require({:?}), https: {{\n\
               cert: require('fs').readFileSync({chain:?}), key: require('fs').readFileSync({key:?})\n\
             }} }};",
            root().join("scripts/runtimes/settings.js")
        );
        let file = folder.path().join("settings.js");
        std::fs::write(&file, settings).unwrap();
        let (child, address) = Self::launch(&folder, name, &flows, &file, "https");
        Self { address, child, _folder: folder }
    }

    /// With flows of its own and the nodes of `scripts/node/dashboard`.
    pub fn start_with_palette(name: &str, flows: &str) -> Self {
        let palette = self::folder().join("dashboard/node_modules");
        assert!(palette.exists(), "node-red-dashboard is not installed: run scripts/test");
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(palette, folder.path().join("node_modules")).unwrap();
        Self::start_in(folder, name, flows)
    }

    fn start_in(folder: TempDir, name: &str, flows: &str) -> Self {
        let settings = root().join("scripts/runtimes/settings.js");
        let (child, address) = Self::launch(&folder, name, flows, &settings, "http");
        wait_for("its flows have started", || {
            let hello =
                "GET /api/public/hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            ask(address, hello).contains(name).then_some(())
        });
        Self { address, child, _folder: folder }
    }

    /// Starts it and waits until it listens.
    fn launch(
        folder: &TempDir,
        name: &str,
        flows: &str,
        settings: &Path,
        scheme: &str,
    ) -> (Child, SocketAddr) {
        std::fs::write(folder.path().join("flows.json"), flows).unwrap();
        let log = folder.path().join("log");
        let output = std::fs::File::create(&log).unwrap();
        let child = Command::new("node")
            .arg(self::folder().join("node_modules/node-red/red.js"))
            .arg("--settings")
            .arg(settings)
            .arg("--userDir")
            .arg(folder.path())
            .env("HOME", folder.path())
            .env("PORT", "0")
            .env("RUNTIME_NAME", name)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .expect("Node.js is needed: see README.md");
        let address = wait_for("Node-RED listens", || {
            let said = std::fs::read_to_string(&log).unwrap();
            let running = format!("Server now running at {scheme}://");
            let (_, rest) = said.split_once(&running)?;
            rest.split('/').next()?.parse().ok()
        });
        (child, address)
    }

    /// mike's and roberto's, shared by the tests that run at the same time.
    pub fn pair() -> Arc<[Self; 2]> {
        static PAIR: Mutex<Weak<[NodeRed; 2]>> = Mutex::new(Weak::new());
        let mut pair = PAIR.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        pair.upgrade().unwrap_or_else(|| {
            let fresh = Arc::new([Self::start("mike"), Self::start("roberto")]);
            *pair = Arc::downgrade(&fresh);
            fresh
        })
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for NodeRed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `wscat` with these arguments, sends `hello`, and returns the first line it prints: the
/// answer, or the error.
pub fn wscat(arguments: &[&str]) -> String {
    let mut child = Command::new("node")
        .arg(folder().join("node_modules/wscat/bin/wscat"))
        .args(arguments)
        .args(["-x", "hello", "-w"])
        .arg(PATIENCE.as_secs().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // wscat ends at once when its input does, so that is held until it has said something.
    let input = child.stdin.take();
    let mut output = child.stdout.take().unwrap();
    let mut line = Vec::new();
    let mut byte = [0];
    while output.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    drop(input);
    if line.is_empty() {
        child.stderr.take().unwrap().read_to_end(&mut line).unwrap();
    }
    child.wait().unwrap();
    String::from_utf8_lossy(&line).trim().to_owned()
}

/// Runs wscat on a terminal, as a person would, until it says that it was disconnected; returns all
/// it printed. `meanwhile` runs once it is connected.
pub fn wscat_until_disconnected(arguments: &[&str], meanwhile: impl FnOnce()) -> String {
    let wscat = folder().join("node_modules/wscat/bin/wscat");
    let command = format!("node {} --no-color {}", wscat.display(), arguments.join(" "));
    let mut child = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of the package bsdutils, is needed");
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut printed = String::new();
    let mut meanwhile = Some(meanwhile);
    let mut bytes = [0; 1024];
    while !printed.contains("Disconnected") {
        let length = output.read(&mut bytes).unwrap();
        assert!(length > 0, "wscat ended: {printed}");
        printed.push_str(&String::from_utf8_lossy(&bytes[..length]));
        if printed.contains("Connected")
            && let Some(meanwhile) = meanwhile.take()
        {
            meanwhile();
        }
    }
    let _ = input.flush();
    drop(input);
    let _ = child.kill();
    child.wait().unwrap();
    printed
}

/// Runs a script with Node.js in which `require` finds ws; returns what it printed. It must succeed.
pub fn run_script(script: &str, arguments: &[&str]) -> String {
    let output = Command::new("node")
        .args(["-e", script, "--"])
        .args(arguments)
        .current_dir(folder())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

/// What the AsyncAPI initiative's own parser has against a document, but for advice.
pub fn asyncapi_faults(document: &Value) -> Vec<Value> {
    let parser = folder().join("asyncapi/node_modules/@asyncapi/parser");
    assert!(parser.exists(), "AsyncAPI's parser is not installed: run scripts/test");
    let script = r#"
        const { Parser } = require("./asyncapi/node_modules/@asyncapi/parser");
        const ADVICE = 2;
        new Parser().parse(process.argv[1]).then(({ document, diagnostics }) => {
            const faults = diagnostics.filter(({ severity }) => severity < ADVICE);
            if (!document && faults.length === 0) throw new Error("nothing was read");
            console.log(JSON.stringify(faults.map(({ message, path }) => `${path.join("/")}: ${message}`)));
        });
    "#;
    let said: Value = serde_json::from_str(&run_script(script, &[&document.to_string()])).unwrap();
    said.as_array().unwrap().clone()
}

/// The folder for pictures of the documentation, if they are to be taken anew; a test run leaves the
/// tree as it is.
pub fn pictures() -> Option<String> {
    let is_wanted = std::env::var("FLOWGATE_SCREENSHOTS").is_ok_and(|wanted| wanted == "1");
    is_wanted.then(|| root().join("docs/images").to_str().unwrap().to_owned())
}

/// Runs a script of `tests/all/browser` with the real Chromium; returns the JSON that it printed.
pub fn run_in_browser(script: &str, arguments: &[&str]) -> Value {
    assert!(
        Path::new("/usr/bin/chromium").exists(),
        "Chromium is missing: run scripts/test, or apt-get install chromium"
    );
    let driver = folder().join("node_modules/playwright-core");
    assert!(driver.exists(), "playwright-core is not installed: run scripts/test");
    let launch = root().join("tests/all/browser/launch.cjs");
    let printed = run_script(script, &[&[launch.to_str().unwrap()], arguments].concat());
    serde_json::from_str(&printed).expect(&printed)
}
