//! The program under test, as a process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PATIENCE, wait_for, wait_until};

/// A running flowgate; killed when dropped.
pub struct Flowgate {
    pub data: SocketAddr,
    pub admin: SocketAddr,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    folder: Arc<TempDir>,
    /// A registry that is not this process's alone.
    shared_registry: Option<String>,
}

/// The program, without any setting of the caller's environment.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowgate"));
    for (name, _) in std::env::vars_os()
        .filter(|(name, _)| name.to_str().is_some_and(|name| name.starts_with("FLOWGATE_")))
    {
        command.env_remove(name);
    }
    command
}

/// `flowgate import` into a registry, with further flags.
pub fn import(registry: &str, profiles: &Value, flags: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("profiles.json");
    std::fs::write(&file, profiles.to_string()).unwrap();
    let import = program().args(["import", "--registry", registry]).args(flags).arg(&file).output();
    let import = import.unwrap();
    assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
}

impl Flowgate {
    /// Starts it with these profiles and further flags, and waits until it is ready.
    pub fn start(profiles: &Value, flags: &[&str]) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("profiles.json"), profiles.to_string()).unwrap();
        Self::start_in(folder, None, flags)
    }

    /// Starts it on a registry that is there, and waits until it is ready.
    pub fn start_on(registry: &str, flags: &[&str]) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), Some(registry.to_owned()), flags)
    }

    /// The same in a process that may have so many files and sockets open.
    pub fn start_with_descriptors(profiles: &Value, max: u64, flags: &[&str]) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("profiles.json"), profiles.to_string()).unwrap();
        let mut command = Command::new("sh");
        let program = program();
        let line = format!("ulimit -n {max}; exec \"$0\" \"$@\"");
        command.args(["-c", &line]).arg(program.get_program());
        for (name, _) in program.get_envs() {
            command.env_remove(name);
        }
        Self::start_by(command, folder, None, flags)
    }

    /// The same with variables in its environment.
    pub fn start_with_variables(
        profiles: &Value,
        variables: &[(&str, String)],
        flags: &[&str],
    ) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("profiles.json"), profiles.to_string()).unwrap();
        let mut command = program();
        command.envs(variables.iter().map(|(name, value)| (*name, value)));
        Self::start_by(command, folder, None, flags)
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Kills it as `kill -9` does and starts it again on the same registry.
    pub fn kill_and_restart(mut self, flags: &[&str]) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Self::start_in(Arc::clone(&self.folder), self.shared_registry.take(), flags)
    }

    /// The registry, as a setting.
    pub fn registry(&self) -> String {
        registry(&self.folder)
    }

    fn start_in(folder: Arc<TempDir>, shared_registry: Option<String>, flags: &[&str]) -> Self {
        Self::start_by(program(), folder, shared_registry, flags)
    }

    fn start_by(
        mut command: Command,
        folder: Arc<TempDir>,
        shared_registry: Option<String>,
        flags: &[&str],
    ) -> Self {
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).args([
            "--log",
            "debug",
            // Whoever runs the tests need not be root to count its descriptors.
            "--debuggable",
            "true",
            "--registry",
        ]);
        match &shared_registry {
            Some(url) => command.arg(url),
            None => {
                let file = folder.path().join("profiles.json");
                command.arg(registry(&folder)).arg("--import").arg(file)
            }
        };
        let mut child =
            command.args(flags).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut flowgate = Self {
            data: unknown,
            admin: unknown,
            child,
            log,
            reader: Some(reader),
            folder,
            shared_registry,
        };
        flowgate.data = flowgate.wait_for_address("data");
        flowgate.admin = flowgate.wait_for_address("admin");
        flowgate.wait_for_line("it is ready", |line| line["message"] == "ready");
        flowgate
    }

    fn wait_for_address(&mut self, plane: &str) -> SocketAddr {
        let line = self.wait_for_line("it listens", |line| {
            line["message"] == "listening" && line["plane"] == plane
        });
        line["address"].as_str().unwrap().parse().unwrap()
    }

    /// The address of the data listener that speaks TLS.
    pub fn tls(&self) -> SocketAddr {
        let line = self.wait_for_line("it listens with TLS", |line| {
            line["message"] == "listening" && line["plane"] == "data" && line["tls"] == true
        });
        line["address"].as_str().unwrap().parse().unwrap()
    }

    fn lines(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All log lines so far.
    pub fn log(&self) -> Vec<Value> {
        let lines = self.lines();
        lines.iter().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// The log as it was written.
    pub fn raw_log(&self) -> String {
        self.lines().join("\n")
    }

    /// The log of everything that was answered by now, as it was written: to look for what must not
    /// be there.
    pub fn log_by_now(&self) -> String {
        let path = format!("/the-end-{}", self.lines().len());
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        self.wait_for_line("the last line", |line| line["path"] == json!(path));
        self.raw_log()
    }

    /// Waits for a log line.
    pub fn wait_for_line(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("{what}\n{}", self.raw_log()), || {
            self.log().into_iter().find(|line| is_it(line))
        })
    }

    /// Waits for the line at the end of a connection.
    pub fn wait_for_end(&self) -> Value {
        self.wait_for_line("a connection ends", |line| line["message"] == "connection ended")
    }

    /// Sends bytes to the data listener and returns all that comes until it closes.
    pub fn ask(&self, request: &str) -> String {
        ask(self.data, request)
    }

    /// Calls the profile with a password; returns status and JSON.
    pub fn profile(
        &self,
        (username, password): (&str, &str),
        method: &str,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        let login = BASE64_STANDARD.encode(format!("{username}:{password}"));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.ask(&format!(
            "{method} /profile{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Basic {login}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(head.to_ascii_lowercase().contains("cache-control: no-store"), "{head}");
        (status, serde_json::from_str(body).expect(&answer))
    }

    /// What `/readyz` tells operators.
    pub fn status(&self) -> Value {
        let answer =
            ask(self.admin, "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// Waits until nothing is in the live table.
    pub fn wait_until_idle(&self) {
        wait_until("the live table is empty", || self.status()["live"] == 0);
    }

    /// How many files and sockets the process has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let status = wait_for("the process ends", || self.child.try_wait().unwrap());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Flowgate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of flowgate:\n{}", self.raw_log());
        }
    }
}

fn registry(folder: &TempDir) -> String {
    format!("file:{}", folder.path().join("registry.redb").display())
}

/// Sends bytes and returns all that comes until the other side closes.
pub fn ask(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A reset behind the answer is no concern of the caller's.
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
