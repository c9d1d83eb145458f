//! Whether a process that said something is there still.

use std::io;

use rustix::process::getpid;
use rustix::system::uname;
use serde::{Deserialize, Serialize};

use super::kin;
use crate::own_network;

/// A process of flowgate's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alive {
    pid: i32,
    /// When it began: another process of that number has another.
    began: u64,
    /// Where these numbers mean something.
    world: String,
}

impl Alive {
    /// This one.
    ///
    /// # Errors
    /// The system does not tell.
    pub(super) fn ours() -> io::Result<Self> {
        let pid = getpid().as_raw_nonzero().get();
        let began = kin::began(pid).ok_or_else(|| io::Error::other("/proc does not show us"))?;
        Ok(Self { pid, began, world: world()? })
    }

    /// Whether it is there still; `None` if that cannot be seen from here.
    pub(super) fn is_alive(&self) -> Option<bool> {
        let is_ours = world().ok().as_ref() == Some(&self.world);
        is_ours.then(|| kin::began(self.pid) == Some(self.began))
    }
}

/// Names the boot and the process numbers that we see.
pub(super) fn world() -> io::Result<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let numbers = std::fs::read_link("/proc/self/ns/pid")?;
    Ok(format!("{} {}", boot.trim(), numbers.display()))
}

/// Names a machine, as far as processes on it reach each other by loopback.
pub(super) fn machine() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let network = own_network::ours();
    format!("{} {} {network}", uname().nodename().to_string_lossy(), boot.trim())
}
