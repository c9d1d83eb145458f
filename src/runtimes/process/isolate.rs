//! What a process leaves so that its tenant reaches nobody else: flowgate's network, process numbers,
//! shared memory and message queues. Takes root.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// What `{network}` in an uplink's arguments is replaced with, but for the number.
const NETWORK: &str = "{network}";
/// Bytes that all runtimes' shared memory may have, each for itself.
const SHARED_MEMORY: &std::ffi::CStr = c"size=64m,mode=1777";

#[expect(deprecated, reason = "the other form is unsafe for FILES alone, which is not among these")]
fn unshare(what: UnshareFlags) -> io::Result<()> {
    debug_assert!(!what.contains(UnshareFlags::FILES));
    Ok(rustix::thread::unshare(what)?)
}

fn in_context<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> io::Error {
    move |error| io::Error::other(format!("{what}: {error}"))
}

/// Leaves our network for a new one, and has the next process be the first of its own numbers. The
/// uplink is a command that may give the new network a way out; it runs where we are now.
pub(super) fn leave(uplink: &[String]) -> io::Result<()> {
    let home = network()?;
    unshare(UnshareFlags::NEWNET).map_err(in_context("no network of its own"))?;
    raise_loopback().map_err(in_context("no loopback"))?;
    if let [program, arguments @ ..] = uplink {
        let there = network()?;
        let link = Some(LinkNameSpaceType::Network);
        let name = format!("/proc/{}/fd/{}", std::process::id(), there.as_raw_fd());
        move_into_link_name_space(home.as_fd(), link)?;
        let arguments = arguments.iter().map(|word| word.replace(NETWORK, &name));
        let status = Command::new(program).args(arguments).status();
        let status = status.map_err(in_context("the uplink's command cannot be run"))?;
        if !status.success() {
            return Err(io::Error::other(format!("the uplink's command failed: {status}")));
        }
        move_into_link_name_space(there.as_fd(), link)?;
    }
    let rest = UnshareFlags::NEWPID | UnshareFlags::NEWIPC;
    unshare(rest).map_err(in_context("no process numbers of its own"))
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
        .map_err(in_context("no /dev/shm of its own"))
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
