//! A real Prometheus, as a process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::flowgate::ask;
use super::redis::free_port;
use super::{wait_for, wait_until};

/// A running Prometheus; killed when dropped.
pub struct Prometheus {
    pub address: SocketAddr,
    child: Child,
}

impl Prometheus {
    /// Starts one with a configuration file; it keeps its data in the same folder.
    pub fn start(configuration: &Path) -> Self {
        let folder = configuration.parent().unwrap().join("data");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let started = wait_for("Prometheus finds a port", || {
            let address = SocketAddr::new(address.ip(), free_port());
            let child = Command::new("prometheus")
                .arg(format!("--config.file={}", configuration.display()))
                .arg(format!("--storage.tsdb.path={}", folder.display()))
                .arg(format!("--web.listen-address={address}"))
                .arg("--log.level=error")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("prometheus is installed (apt-get install prometheus)");
            Self { address, child }.or_ended(&folder)
        });
        wait_until("Prometheus is ready", || {
            ask(started.address, "GET /-/ready HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 200")
        });
        started
    }

    /// Itself once it answers; `None` if its port was taken.
    fn or_ended(mut self, folder: &Path) -> Option<Self> {
        let is_up = wait_for("Prometheus answers", || {
            if self.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            std::net::TcpStream::connect(self.address).ok()?;
            let flags = ask(self.address, "GET /api/v1/status/flags HTTP/1.0\r\n\r\n");
            if !flags.starts_with("HTTP/1.0 200") {
                // It is still starting.
                return None;
            }
            // The port may be another's who answers, too.
            Some(flags.contains(&*folder.to_string_lossy()))
        });
        is_up.then_some(self)
    }

    fn get(&self, path: &str) -> Value {
        let answer = ask(self.address, &format!("GET {path} HTTP/1.0\r\n\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        let said: Value = serde_json::from_str(body).expect(&answer);
        assert!(head.starts_with("HTTP/1.0 200") && said["status"] == "success", "{path}: {said}");
        said["data"].clone()
    }

    /// Evaluates an expression now; it must be a right one.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        let encoded = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let data = self.get(&format!("/api/v1/query?query={encoded}"));
        data["result"].as_array().unwrap_or_else(|| panic!("{expression}: {data}")).clone()
    }

    /// The rules that it has loaded.
    pub fn rules(&self) -> Vec<Value> {
        let data = self.get("/api/v1/rules");
        let groups = data["groups"].as_array().unwrap().iter();
        groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }

    /// The health of what it scrapes.
    pub fn targets(&self) -> Vec<Value> {
        self.get("/api/v1/targets")["activeTargets"].as_array().unwrap().clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
