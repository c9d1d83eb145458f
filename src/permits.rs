//! Places for clients' sockets: so many in all, so many for one address, and none while file
//! descriptors run short.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dashmap::DashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::client::network;
use crate::descriptors::{Descriptors, Use};
use crate::held::Held;
use crate::networks::Networks;
use crate::refusal::Refusal;

/// Addresses without a connection that may be remembered beside as many as have one.
const STALE_ADDRESSES_MAX: usize = 1024;

/// Why there is no place for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// All are taken.
    All,
    /// Their address has as many as it may have.
    Address,
    /// What descriptors are left are kept for others.
    Descriptors,
    /// Too much waits for clients who take nothing.
    Memory,
}

impl NoPlace {
    /// The same for the log.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::All => "connections_max is reached",
            Self::Address => "its address has as many connections as one may have",
            Self::Descriptors => "file descriptors run short",
            Self::Memory => "buffer_memory_max_bytes is reached",
        }
    }

    /// What a client is told.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        Refusal::Overloaded(self.why())
    }
}

/// What there is for a client who has just come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// A descriptor.
    Own,
    /// One, but there were too few a while ago: somebody who has not asked for anything yet is to go for
    /// it, if there is anybody. Else what each newcomer frees would be the next one's beside all others.
    Tight,
    /// One if somebody goes for it who has not asked for anything yet: whoever comes may have a
    /// credential, and that is known only once the request was read.
    ForAnother,
}

/// All places.
#[derive(Debug)]
pub struct Permits {
    all: Arc<Semaphore>,
    max: usize,
    per_address_max: usize,
    /// Whose connections are many clients'.
    proxies: Networks,
    by_address: DashMap<IpAddr, Arc<()>>,
    /// Addresses that were added since those without a connection were forgotten, and when to do that.
    added: AtomicUsize,
    forget_at: AtomicUsize,
    descriptors: Descriptors,
    held: Arc<Held>,
    is_for_clients: bool,
    is_short: AtomicBool,
}

/// One of them. It follows the socket wherever that goes.
#[derive(Debug)]
pub struct Permit {
    _of_all: OwnedSemaphorePermit,
    /// Counted by how many hold it.
    of_address: Option<Arc<()>>,
}

impl Permits {
    /// So many in all, as long as the process has descriptors beside those that are kept for others.
    #[must_use]
    pub fn for_clients(max: usize, descriptors: Descriptors) -> Self {
        Self { descriptors, is_for_clients: true, ..Self::for_operators(max) }
    }

    /// And so many for one address (an IPv6 /64), where 0 sets no limit; as many as there are for these
    /// proxies, behind which there are many clients.
    #[must_use]
    pub fn with_limit_per_address(self, per_address_max: usize, proxies: Networks) -> Self {
        Self { per_address_max, proxies, ..self }
    }

    /// And none for further requests of those who are connected while this is full.
    #[must_use]
    pub fn with_held(self, held: Arc<Held>) -> Self {
        Self { held, ..self }
    }

    /// What waits for the clients.
    #[must_use]
    pub fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// So many in all, with whatever descriptor is left.
    #[must_use]
    pub fn for_operators(max: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(max)),
            max,
            per_address_max: 0,
            proxies: Networks::default(),
            by_address: DashMap::new(),
            added: AtomicUsize::new(0),
            forget_at: AtomicUsize::new(STALE_ADDRESSES_MAX),
            descriptors: Descriptors::of_process(),
            held: Arc::default(),
            is_for_clients: false,
            is_short: AtomicBool::new(false),
        }
    }

    /// How many there are, taken or not.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    /// How many are free.
    #[must_use]
    pub fn available(&self) -> usize {
        self.all.available_permits()
    }

    /// A place for whoever connects next, if one is free.
    #[must_use]
    pub fn try_take(&self) -> Option<Permit> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Permit { _of_all: permit, of_address: None })
    }

    /// Waits for a place. Cancel safe.
    ///
    /// # Errors
    /// There will be none any more.
    pub async fn take(&self) -> std::io::Result<Permit> {
        let permit = Arc::clone(&self.all).acquire_owned().await.map_err(std::io::Error::other)?;
        Ok(Permit { _of_all: permit, of_address: None })
    }

    /// Whether this socket, which was just accepted, may have its descriptor.
    ///
    /// # Errors
    /// It must not. That has been logged once.
    pub fn admit(&self, socket: impl AsFd) -> Result<Room, NoPlace> {
        let number = socket.as_fd().as_raw_fd();
        if self.is_for_clients && !self.descriptors.has_room(Use::Client, number) {
            self.say_short(&"the rest are kept for operators and for what is under way");
            return match self.descriptors.has_room(Use::ClientForAnother, number) {
                true => Ok(Room::ForAnother),
                false => Err(NoPlace::Descriptors),
            };
        }
        // Not as soon as one is free: while many try, each that is would begin and end a shortage.
        if self.descriptors.has_room(Use::Kept, number) {
            self.say_not_short();
        }
        Ok(if self.is_for_clients && self.is_short() { Room::Tight } else { Room::Own })
    }

    /// Counts the place for whoever the connection turned out to be from.
    ///
    /// # Errors
    /// They have as many as they may have.
    pub fn seat(&self, permit: &mut Permit, address: IpAddr) -> Result<(), NoPlace> {
        if self.per_address_max > 0 && !self.proxies.contain(address) {
            permit.of_address = Some(self.count(address).ok_or(NoPlace::Address)?);
        }
        Ok(())
    }

    /// A place for one more request at once of a client who is connected: they take as many as if each
    /// had come on a connection of its own.
    ///
    /// # Errors
    /// There is none for them.
    pub fn take_beside(&self, address: IpAddr) -> Result<Permit, NoPlace> {
        if self.held.is_full() {
            return Err(NoPlace::Memory);
        }
        let mut permit = self.try_take().ok_or(NoPlace::All)?;
        self.seat(&mut permit, address)?;
        Ok(permit)
    }

    /// Logs that no client gets in for want of descriptors, unless that is known.
    pub fn say_short(&self, why: &dyn std::fmt::Display) {
        if !self.is_short.swap(true, Ordering::Relaxed) {
            tracing::warn!(%why, "file descriptors run short: new clients are refused");
        }
    }

    /// Whether it was said that they run short, and not yet that there are some again.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    fn say_not_short(&self) {
        if self.is_short.load(Ordering::Relaxed) && self.is_short.swap(false, Ordering::Relaxed) {
            tracing::info!("there are file descriptors again");
        }
    }

    fn count(&self, address: IpAddr) -> Option<Arc<()>> {
        let mut is_new = false;
        let counted = {
            let entry = self.by_address.entry(network(address)).or_insert_with(|| {
                is_new = true;
                Arc::default()
            });
            // One is the table's own. Nobody else adds to it while its shard is locked.
            let has_room = Arc::strong_count(&entry) - 1 < self.per_address_max;
            has_room.then(|| Arc::clone(&entry))
        };
        if is_new
            && self.added.fetch_add(1, Ordering::Relaxed) >= self.forget_at.load(Ordering::Relaxed)
        {
            self.forget();
        }
        counted
    }

    /// Forgets the addresses that have no connection.
    fn forget(&self) {
        self.by_address.retain(|_, counted| Arc::strong_count(counted) > 1);
        self.added.store(0, Ordering::Relaxed);
        let left = self.by_address.len();
        self.forget_at.store(left + STALE_ADDRESSES_MAX, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
