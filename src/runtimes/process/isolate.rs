//! What a process leaves so that its tenant reaches nobody else: flowgate's network, process numbers,
//! shared memory and message queues. Takes root.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// What `{network}` in an uplink's arguments is replaced with, but for the number.
const NETWORK: &str = "{network}";
/// Bytes that all runtimes' shared memory may have, each for itself.
const SHARED_MEMORY: &CStr = c"size=64m,mode=1777";
/// Where an uplink's own commands are.
const UPLINK_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const UPLINK_LOOK_EVERY: Duration = Duration::from_millis(10);
const UPLINK_LOOKS_MAX: u32 = 3000;

#[expect(deprecated, reason = "the other form is unsafe for FILES alone, which is not among these")]
fn unshare(what: UnshareFlags) -> io::Result<()> {
    debug_assert!(!what.contains(UnshareFlags::FILES));
    Ok(rustix::thread::unshare(what)?)
}

fn in_context<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> io::Error {
    move |error| io::Error::other(format!("{what}: {error}"))
}

/// Leaves our network for a new one, and has the next process be the first of its own numbers. The
/// uplink is a command that may give the new network a way out; it runs where we are now, and nothing of
/// the tenant's has a part in it.
pub(super) fn leave(
    command: impl FnOnce(&[String]) -> io::Result<Command>,
    uplink: &[String],
) -> io::Result<()> {
    let home = network()?;
    unshare(UnshareFlags::NEWNET).map_err(in_context("no network of its own"))?;
    raise_loopback().map_err(in_context("no loopback"))?;
    if !uplink.is_empty() {
        let there = network()?;
        let link = Some(LinkNameSpaceType::Network);
        let name = format!("/proc/{}/fd/{}", std::process::id(), there.as_raw_fd());
        move_into_link_name_space(home.as_fd(), link)?;
        let words: Vec<_> = uplink.iter().map(|word| word.replace(NETWORK, &name)).collect();
        run(command(&words)?)?;
        move_into_link_name_space(there.as_fd(), link)?;
    }
    let rest = UnshareFlags::NEWPID | UnshareFlags::NEWIPC;
    unshare(rest).map_err(in_context("no process numbers of its own"))
}

/// Its folder and its environment are not the tenant's: what looks into `~` would find there what the
/// tenant has laid out for it.
fn run(mut command: Command) -> io::Result<()> {
    command.env_clear().env("PATH", UPLINK_PATH).current_dir("/").process_group(0);
    let mut child = command.spawn().map_err(in_context("the uplink's command cannot be run"))?;
    for _ in 0..UPLINK_LOOKS_MAX {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => {
                return Err(io::Error::other(format!("the uplink's command failed: {status}")));
            }
            None => std::thread::sleep(UPLINK_LOOK_EVERY),
        }
    }
    // With what it has started.
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    child.wait()?;
    Err(io::Error::other("the uplink's command took longer than 30 s"))
}

fn network() -> io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}

/// In the first process: only those within are shown, and shared memory is theirs alone.
pub(super) fn settle() -> io::Result<()> {
    unshare(UnshareFlags::NEWNS).map_err(in_context("no mounts of its own"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(in_context("no mounts of its own"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("proc", "/proc", "proc", flags | MountFlags::NOEXEC, None)
        .map_err(in_context("no /proc of its own"))?;
    mount("shm", "/dev/shm", "tmpfs", flags | MountFlags::NOEXEC, SHARED_MEMORY)
        .map_err(in_context("no /dev/shm of its own"))?;
    // The queues of the machine, which systemd shows there.
    if Path::new("/dev/mqueue").is_dir() {
        mount("mqueue", "/dev/mqueue", "mqueue", flags | MountFlags::NOEXEC, None)
            .map_err(in_context("no /dev/mqueue of its own"))?;
    }
    // Who else runs, since when and how busily.
    if Path::new("/sys/fs/cgroup").is_dir() {
        let nothing = Some(c"size=4k,mode=555");
        mount("none", "/sys/fs/cgroup", "tmpfs", flags | MountFlags::RDONLY, nothing)
            .map_err(in_context("the groups of others cannot be hidden"))?;
    }
    Ok(())
}

/// Sets the first interface up: rtnetlink(7), RTM_NEWLINK with IFF_UP for interface 1, which is the
/// loopback of a new network.
fn raise_loopback() -> io::Result<()> {
    const LENGTH: u32 = 32;
    const RTM_NEWLINK: u16 = 16;
    const REQUEST_AND_ACK: u16 = 5;
    const LOOPBACK: i32 = 1;
    const IFF_UP: u32 = 1;
    let mut message = Vec::new();
    message.extend(LENGTH.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(REQUEST_AND_ACK.to_ne_bytes());
    // Sequence and sender.
    message.extend([0; 8]);
    // Family and type: any.
    message.extend([0; 4]);
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    // Its protocol 0 is the one for routes.
    let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
    let socket = socket_with(family, SocketType::RAW, flags, None)?;
    send(&socket, &message, SendFlags::empty())?;
    let mut answer = [0; 256];
    recv(&socket, &mut answer[..], RecvFlags::empty())?;
    // Behind the header of 16 bytes, an acknowledgement has the error's number, below 0.
    let error = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}
