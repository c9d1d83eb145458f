//! Real Redis servers, as processes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use super::{PATIENCE, wait_for, wait_until};

/// Below the ports that the system gives to clients, so that a server can come back to its own.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;

/// A running redis-server that has written everything when it answers, so that `kill -9` loses nothing;
/// for a power cut it would have to wait for the disk, too. Killed when dropped.
pub struct Redis {
    pub address: SocketAddr,
    folder: TempDir,
    flags: Vec<String>,
    child: Child,
}

impl Redis {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with further flags.
    pub fn start_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        wait_for("a redis-server finds a port", || {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let child = spawn(address, folder.path(), &flags);
            answers_or_ends(child, address)
        })
        .into_redis(folder, flags)
    }

    /// Its URL, as a registry.
    pub fn url(&self) -> String {
        url(self.address)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after [`Redis::kill`].
    pub fn restart(&mut self) {
        let child = spawn(self.address, self.folder.path(), &self.flags);
        let started = answers_or_ends(child, self.address);
        self.child = started.expect("redis-server starts again on its port").child;
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Where it keeps its data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Gives a command and returns its answer as it came.
    pub fn command(&self, words: &[&str]) -> String {
        command(self.address, words).expect("redis answers")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Started {
    address: SocketAddr,
    child: Child,
}

impl Started {
    fn into_redis(self, folder: TempDir, flags: Vec<String>) -> Redis {
        Redis { address: self.address, folder, flags, child: self.child }
    }
}

/// A Redis at this address, as a registry.
pub fn url(address: SocketAddr) -> String {
    format!("redis://{address}")
}

/// A port that nobody listens on just now.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other test processes begin elsewhere.
    let offset = u16::try_from(std::process::id() % 997).unwrap() * 10;
    FIRST_PORT + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS
}

fn spawn(address: SocketAddr, folder: &Path, flags: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
        .args(["--save", "", "--appendonly", "yes", "--appendfsync", "no", "--dir"])
        .arg(folder)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed (apt-get install redis-server)")
}

fn answers_or_ends(mut child: Child, address: SocketAddr) -> Option<Started> {
    let has_ended = wait_for("a redis-server answers", || {
        if child.try_wait().unwrap().is_some() {
            return Some(true);
        }
        let is_up = command(address, &["PING"]).is_some_and(|said| said.starts_with("+PONG"));
        is_up.then_some(false)
    });
    if has_ended {
        return None;
    }
    // The port may be another's who answers, too.
    let info = command(address, &["INFO", "server"])?;
    let is_ours = info.contains(&format!("process_id:{}\r\n", child.id()));
    if is_ours { Some(Started { address, child }) } else { None }
}

/// One command on a connection of its own; `None` if nobody answers.
pub fn command(address: SocketAddr, words: &[&str]) -> Option<String> {
    let mut socket = TcpStream::connect(address).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    socket.write_all(request.as_bytes()).ok()?;
    // It answers what it has read, and then ends as well.
    socket.shutdown(Shutdown::Write).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

/// One cluster at a time: sentinels that have to wait for the processor mistrust what they see for half
/// a minute.
static ALONE: Mutex<()> = Mutex::new(());

/// A master with two replicas and three sentinels that watch it.
pub struct Cluster {
    pub servers: Vec<Redis>,
    sentinels: Vec<Sentinel>,
    _alone: MutexGuard<'static, ()>,
}

struct Sentinel {
    address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Cluster {
    /// Starts them and waits until the sentinels know all.
    pub fn start() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let master = Redis::start();
        let follow = ["--replicaof", "127.0.0.1", &master.address.port().to_string()];
        let mut servers = vec![Redis::start_with(&follow), Redis::start_with(&follow)];
        servers.insert(0, master);
        let sentinels = (0..3).map(|_| Sentinel::start(servers[0].address)).collect();
        let cluster = Self { servers, sentinels, _alone: alone };
        wait_until("the sentinels know the replicas and each other", || {
            cluster.sentinels.iter().all(|sentinel| {
                let said = command(sentinel.address, &["SENTINEL", "MASTER", "flows"]);
                said.is_some_and(|said| {
                    field(&said, "num-slaves") == Some("2")
                        && field(&said, "num-other-sentinels") == Some("2")
                        && field(&said, "flags") == Some("master")
                })
            })
        });
        wait_until("the replicas are in step", || {
            let info = cluster.servers[0].command(&["INFO", "replication"]);
            info.matches("state=online").count() == 2
        });
        cluster
    }

    /// Its URL, as a registry.
    pub fn url(&self) -> String {
        let sentinels: Vec<_> =
            self.sentinels.iter().map(|sentinel| sentinel.address.to_string()).collect();
        format!("redis+sentinel://{}/flows", sentinels.join(","))
    }

    /// Who is master now, by what the first sentinel says.
    pub fn master(&self) -> SocketAddr {
        let ask = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "flows"];
        let said = command(self.sentinels[0].address, &ask).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        format!("{}:{}", lines[2], lines[4]).parse().unwrap()
    }
}

impl Sentinel {
    fn start(master: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sentinel.conf");
        let (address, child) = wait_for("a sentinel finds a port", || {
            let port = free_port();
            let settings = format!(
                "bind 127.0.0.1\nport {port}\nsentinel monitor flows 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds flows 1000\nsentinel failover-timeout flows 4000\n",
                master.port()
            );
            std::fs::write(&file, settings).unwrap();
            let child = Command::new("redis-server")
                .arg(&file)
                .arg("--sentinel")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server is installed");
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            answers_or_ends(child, address).map(|started| (started.address, started.child))
        });
        Self { address, child, _folder: folder }
    }
}

/// The value behind a name in a list of names and values, as Redis writes them.
fn field<'a>(said: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = said.lines();
    lines.find(|line| *line == name)?;
    lines.nth(1)
}
