//! Servers for tests: the system's `redis-server`, or the one that `FLOWGATE_TEST_REDIS_SERVER` names.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::Options;

const BINARY: &str = "FLOWGATE_TEST_REDIS_SERVER";
/// Ports are free only until somebody else takes them.
const ATTEMPTS: u32 = 20;
/// Runs a server until its own input ends, with this process at the latest, however that ends; then
/// nothing of it is left.
const WATCHDOG: &str = r#"
folder=$1; shift
[ -z "$folder" ] || mkdir -p "$folder"
"$@" </dev/null 2>&1 &
server=$!
echo "pid $server"
exec >/dev/null 2>&1
read -r _
kill -9 $server
wait $server
[ -z "$folder" ] || rm -rf "$folder"
"#;

/// A server that ends when it is dropped.
pub(crate) struct Server {
    watchdog: Child,
    input: Option<ChildStdin>,
    pid: Pid,
    pub(crate) port: u16,
}

impl Server {
    /// A server on a port of its own that keeps nothing, with further arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let folder_text = folder.path().to_str().unwrap().to_owned();
        Self::start_in(Some(folder), |port| {
            let port = port.to_string();
            let nothing_kept = ["--save", "", "--appendonly", "no"];
            let here = ["--port", &port, "--bind", "127.0.0.1", "--dir", &folder_text];
            [&here[..], &nothing_kept, arguments].concat().iter().map(Into::into).collect()
        })
    }

    /// A server in a folder that is removed with it (`None` stays), with arguments for a port.
    pub(crate) fn start_in(
        folder: Option<TempDir>,
        arguments: impl Fn(u16) -> Vec<OsString>,
    ) -> Self {
        let folder = folder.map(TempDir::keep).unwrap_or_default();
        for _ in 0..ATTEMPTS {
            let port = free_port();
            if let Some(server) = Self::try_start(&folder, port, &arguments(port)) {
                return server;
            }
        }
        panic!("{:?} does not start: {:?}", binary(), arguments(0))
    }

    fn try_start(folder: &PathBuf, port: u16, arguments: &[OsString]) -> Option<Self> {
        let mut watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(folder)
            .arg(binary())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(watchdog.stdout.take().unwrap()).lines();
        let pid = lines.next().unwrap().unwrap();
        let pid = Pid::from_raw(pid.strip_prefix("pid ").unwrap().parse().unwrap()).unwrap();
        let said = lines.by_ref().map_while(Result::ok).find(|line| {
            assert!(
                !line.contains("not found"),
                "{line}: install redis-server (Debian: apt install redis-server), or name one in {BINARY}"
            );
            let line = line.to_lowercase();
            line.contains("ready to accept connections") || line.contains("sentinel id is")
        });
        // Whatever else it says is read, too, so that it never has to wait for that.
        std::thread::spawn(move || lines.for_each(drop));
        let input = watchdog.stdin.take();
        if said.is_none() {
            drop(input);
            watchdog.wait().unwrap();
            return None;
        }
        Some(Self { watchdog, input, pid, port })
    }

    /// The URL of a registry on this server, with a prefix of its own.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}?prefix={}", self.port, prefix())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.watchdog.wait();
    }
}

fn binary() -> OsString {
    std::env::var_os(BINARY).unwrap_or_else(|| "redis-server".into())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A prefix that no other test has.
fn prefix() -> String {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    format!("test{}:", LAST.fetch_add(1, Ordering::Relaxed))
}

/// A registry's URL, on the one server that all tests of this process share.
pub(crate) fn url() -> String {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| Server::start(&[])).url()
}

/// Makes a registry, and has the patience that a busy machine needs.
pub(crate) fn options() -> Options {
    Options { create: true, command_timeout: Duration::from_secs(20), ..Options::default() }
}
