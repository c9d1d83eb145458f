//! Servers for tests: the system's `redis-server`, or the one that `FLOWGATE_TEST_REDIS_SERVER` names.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Options;

const BINARY: &str = "FLOWGATE_TEST_REDIS_SERVER";
/// Ports are free only until somebody else takes them.
const ATTEMPTS: u32 = 20;
/// Runs a server until its own input ends, with this process at the latest, however that ends; then
/// nothing of it is left.
const WATCHDOG: &str = r#"
folder=$1; shift
[ -z "$folder" ] || mkdir -p "$folder"
sh -c 'echo "pid $$"; exec "$@"' server "$@" </dev/null 2>&1 &
server=$!
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
    pub(crate) socket: PathBuf,
}

impl Server {
    /// A server that keeps nothing, with further arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        Self::launch(&folder, true, &[&["--appendonly", "no"], arguments].concat())
    }

    /// A server that finds in a folder what the last one left there.
    pub(crate) fn start_in(folder: &Path, arguments: &[&str]) -> Self {
        Self::launch(folder, false, arguments)
    }

    fn launch(folder: &Path, is_own: bool, arguments: &[&str]) -> Self {
        let socket = folder.join("redis.sock");
        let own = if is_own { folder } else { Path::new("") };
        let fixed = ["--dir", folder.to_str().unwrap(), "--unixsocket", socket.to_str().unwrap()];
        for _ in 0..ATTEMPTS {
            let port = free_port().to_string();
            let first = ["--port", &port, "--bind", "127.0.0.1", "--save", ""];
            let all = [&first, &fixed[..], arguments].concat();
            if let Some((watchdog, input, pid)) = launch(own, &all) {
                return Self { watchdog, input, pid, port: port.parse().unwrap(), socket };
            }
        }
        panic!("{:?} does not start: {arguments:?}", binary())
    }

    /// The URL of a registry on this server, with a prefix of its own.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}?prefix={}", self.port, prefix())
    }

    /// The same registry's on every server in that folder.
    pub(crate) fn socket_url(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Runs a command as an operator would.
    pub(crate) fn command(&self, command: &[&str]) -> redis::Value {
        self.try_command(command).unwrap()
    }

    pub(crate) fn try_command(&self, command: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(format!("unix:{}", self.socket.display()))?;
        redis::cmd(command[0]).arg(&command[1..]).query(&mut client.get_connection()?)
    }

    /// Ends it and waits until it is gone.
    pub(crate) fn stop(self) {}
}

/// Starts a server; `None` if it does not want to run. A folder that is its own goes with it.
pub(crate) fn launch(own: &Path, arguments: &[&str]) -> Option<(Child, Option<ChildStdin>, Pid)> {
    let mut watchdog = Command::new("/bin/sh")
        .args(["-c", WATCHDOG, "watchdog"])
        .arg(own)
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
    Some((watchdog, input, pid))
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

pub(crate) fn free_port() -> u16 {
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
