//! One thread's connections to runtimes, those in use and those kept for the next plain request.
//!
//! Node closes a kept connection after 5 s, so ours are kept for 4. All are watched all the time: one
//! that its runtime closes, or on which it says something unasked, is dropped.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use slab::Slab;

use super::Destination;
use crate::clock::Millis;
use crate::descriptors::{Descriptors, Use};
use crate::own_network::Network;
use crate::tenant::by_id::ById;

/// For how long a connection is kept without a request.
const IDLE_MAX: Duration = Duration::from_secs(4);
const IDLE_PER_INSTANCE_MAX: usize = 64;
const IDLE_IN_ALL_MAX: usize = 4096;

/// A connection to a runtime.
#[derive(Debug)]
pub struct Link {
    /// Its socket.
    pub socket: TcpStream,
    /// A read may bring something.
    pub readable: bool,
    /// A write may take something.
    pub writable: bool,
    /// The runtime has ended it: reads go on until they say so.
    pub ended: bool,
    watched: Watched,
    user: User,
}

#[derive(Debug)]
enum User {
    /// The conversation in this slot.
    Slot(usize),
    /// Nobody.
    Idle { destination: Destination, since: Millis },
}

/// What the system is asked to tell of a socket. Whether it takes bytes is asked only once it did not:
/// every new socket would report that it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watched {
    /// Nothing.
    #[default]
    No,
    /// What comes.
    Reading,
    /// What comes, and when it takes bytes again.
    Both,
}

impl Watched {
    /// Sees to it that the system tells at least as much as `wanted`.
    ///
    /// # Errors
    /// The system is out of memory or watches.
    pub fn raise(
        &mut self,
        wanted: Self,
        socket: &mut TcpStream,
        token: Token,
        registry: &Registry,
    ) -> io::Result<()> {
        if *self >= wanted {
            return Ok(());
        }
        let interest = match wanted {
            Self::Both => Interest::READABLE | Interest::WRITABLE,
            Self::No | Self::Reading => Interest::READABLE,
        };
        match self {
            Self::No => registry.register(socket, token, interest)?,
            Self::Reading | Self::Both => registry.reregister(socket, token, interest)?,
        }
        *self = wanted;
        Ok(())
    }
}

/// A socket, and whether it is watched.
pub type Taken = (TcpStream, bool);

/// All connections of a thread to runtimes.
#[derive(Debug)]
pub struct Links {
    links: Slab<Link>,
    idle: HashMap<Destination, Vec<usize>, ById>,
    idle_count: usize,
    descriptors: Descriptors,
}

/// The token of a link's events.
fn token(id: usize) -> Token {
    Token(id * 2 + 1)
}

impl Links {
    /// None yet.
    pub fn new(descriptors: Descriptors) -> Self {
        Self { links: Slab::new(), idle: HashMap::default(), idle_count: 0, descriptors }
    }

    /// Begins to dial.
    ///
    /// # Errors
    /// It failed at once.
    pub fn dial(
        &mut self,
        address: SocketAddr,
        network: Option<&Network>,
        slot: usize,
    ) -> io::Result<usize> {
        let socket = match network {
            Some(network) => TcpStream::from_std(network.dial(&address)?),
            None => TcpStream::connect(address)?,
        };
        if !self.descriptors.has_room(Use::Runtime, socket.as_raw_fd()) {
            return Err(Errno::MFILE.into());
        }
        // Not readable before an event: nothing comes before something was sent.
        Ok(self.links.insert(Link {
            socket,
            readable: false,
            writable: true,
            ended: false,
            watched: Watched::No,
            user: User::Slot(slot),
        }))
    }

    /// Has events of a link reported.
    ///
    /// # Errors
    /// The system is out of memory or watches.
    pub fn watch(&mut self, id: usize, wanted: Watched, registry: &Registry) -> io::Result<()> {
        match self.links.get_mut(id) {
            Some(link) => link.watched.raise(wanted, &mut link.socket, token(id), registry),
            None => Ok(()),
        }
    }

    /// The link.
    pub fn get(&mut self, id: usize) -> Option<&mut Link> {
        self.links.get_mut(id)
    }

    /// Notes what the system tells of a link. Returns the slot that uses it.
    pub fn note(&mut self, id: usize, event: &Event) -> Option<usize> {
        let link = self.links.get_mut(id)?;
        let ended = event.is_read_closed() || event.is_error();
        link.readable |= event.is_readable() || ended;
        link.writable |= event.is_writable() || ended;
        link.ended |= ended;
        match link.user {
            User::Slot(slot) => Some(slot),
            User::Idle { destination, .. } => {
                if link.readable {
                    self.forget_idle(destination, id);
                    self.links.remove(id);
                }
                None
            }
        }
    }

    fn forget_idle(&mut self, destination: Destination, id: usize) {
        if let Some(kept) = self.idle.get_mut(&destination) {
            let before = kept.len();
            kept.retain(|other| *other != id);
            self.idle_count -= before - kept.len();
            if kept.is_empty() {
                self.idle.remove(&destination);
            }
        }
    }

    /// The connection that was kept last. Its place is likely to be wanted again soon: if it was the only
    /// one, [`Links::sweep`] forgets the destination.
    pub fn take_kept(&mut self, destination: Destination, slot: usize) -> Option<usize> {
        let id = self.idle.get_mut(&destination)?.pop()?;
        self.idle_count -= 1;
        self.links.get_mut(id)?.user = User::Slot(slot);
        Some(id)
    }

    /// Keeps a connection whose answer was read to its end, if there is room for it.
    pub fn keep(&mut self, id: usize, destination: Destination, now: Millis) {
        let Some(link) = self.links.get_mut(id) else { return };
        let kept = self.idle.entry(destination).or_default();
        let has_room = kept.len() < IDLE_PER_INSTANCE_MAX
            && self.idle_count < IDLE_IN_ALL_MAX
            && self.descriptors.has_room(Use::Kept, link.socket.as_raw_fd());
        // What it has said unasked would be taken for the next answer.
        if link.ended || link.readable || !has_room {
            if kept.is_empty() {
                self.idle.remove(&destination);
            }
            self.links.remove(id);
            return;
        }
        link.user = User::Idle { destination, since: now };
        kept.push(id);
        self.idle_count += 1;
    }

    /// Closes a connection.
    pub fn close(&mut self, id: usize) {
        self.links.try_remove(id);
    }

    /// Takes a connection's socket out.
    pub fn take_out(&mut self, id: usize) -> Option<Taken> {
        let link = self.links.try_remove(id)?;
        Some((link.socket, link.watched != Watched::No))
    }

    /// Closes what has been kept for too long; all that is kept if `all`.
    pub fn sweep(&mut self, now: Millis, all: bool) {
        let links = &mut self.links;
        let mut left = 0;
        self.idle.retain(|_, kept| {
            kept.retain(|id| {
                let since = links.get(*id).and_then(|link| match link.user {
                    User::Idle { since, .. } => Some(since),
                    User::Slot(_) => None,
                });
                let stays = !all && since.is_some_and(|since| now.since(since) < IDLE_MAX);
                if !stays {
                    links.try_remove(*id);
                }
                stays
            });
            left += kept.len();
            !kept.is_empty()
        });
        self.idle_count = left;
    }
}

#[cfg(test)]
mod tests;
