//! A network that a runtime has to itself.
//!
//! It is a network namespace of Linux (network_namespaces(7)): nothing outside is reached from there, and
//! what listens there is reached by nobody but who opens a socket within. A socket stays where it was
//! opened, so a thread goes there for a moment only.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The calling thread's own; another thread may be elsewhere for a moment.
const OURS: &str = "/proc/thread-self/ns/net";

/// A network of somebody's own.
#[derive(Clone, Debug)]
pub struct Network(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    there: File,
    home: File,
    number: u64,
}

impl PartialEq for Network {
    fn eq(&self, other: &Self) -> bool {
        self.0.number == other.0.number
    }
}

impl Eq for Network {}

impl Network {
    /// The network of a process; `None` if that is ours.
    ///
    /// # Errors
    /// There is no such process, or the system does not let us look.
    pub fn of(pid: u32) -> io::Result<Option<Self>> {
        let (there, home) = (File::open(format!("/proc/{pid}/ns/net"))?, File::open(OURS)?);
        let number = there.metadata()?.ino();
        let is_ours = number == home.metadata()?.ino();
        Ok((!is_ours).then(|| Self(Arc::new(Ends { there, home, number }))))
    }

    /// Its number, which no other network has as long as this one is known here.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// A socket within, non-blocking and not connected.
    ///
    /// # Errors
    /// The system refuses; it does unless we are root.
    pub fn socket(&self, address: &SocketAddr) -> io::Result<TcpStream> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let network = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(self.0.there.as_fd(), network)?;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, None);
        if move_into_link_name_space(self.0.home.as_fd(), network).is_err() {
            // This thread would dial other tenants' runtimes from within this one's network.
            std::process::abort();
        }
        Ok(TcpStream::from(socket?))
    }

    /// A socket within that has begun to connect, non-blocking.
    ///
    /// # Errors
    /// It failed at once.
    pub fn dial(&self, address: &SocketAddr) -> io::Result<TcpStream> {
        let socket = self.socket(address)?;
        match rustix::net::connect(&socket, address) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error.into()),
        }
    }
}

/// Names our own network among all that a process may be in.
#[must_use]
pub fn ours() -> String {
    std::fs::read_link(OURS).unwrap_or_default().display().to_string()
}
