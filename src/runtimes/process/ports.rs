//! The ports of runtimes: each for one at a time, and then for nobody for a while.

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Millis};

/// A range of ports.
#[derive(Debug)]
pub(super) struct Ports {
    range: RangeInclusive<u16>,
    rest: Duration,
    clock: Clock,
    taken: BTreeSet<u16>,
    /// Until when: somebody who knows an old address must not meet another tenant's runtime there.
    resting: HashMap<u16, Millis>,
    next: u16,
}

impl Ports {
    pub(super) fn new(range: RangeInclusive<u16>, rest: Duration, clock: Clock) -> Self {
        let count = u64::from(range.end().saturating_sub(*range.start())) + 1;
        // Elsewhere than the last time: the ports that were given out then may be known still.
        let offset = getrandom::u64().unwrap_or_default() % count;
        let next = range.start().saturating_add(u16::try_from(offset).unwrap_or(0));
        Self { range, rest, clock, taken: BTreeSet::new(), resting: HashMap::new(), next }
    }

    /// A port on which nobody listens, if there is one.
    pub(super) fn take(&mut self) -> Option<u16> {
        let now = self.clock.now();
        self.resting.retain(|_, until| now < *until);
        for _ in self.range.clone() {
            let port = self.next;
            self.next = if port >= *self.range.end() { *self.range.start() } else { port + 1 };
            let is_ours = !self.taken.contains(&port) && !self.resting.contains_key(&port);
            if is_ours && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                self.taken.insert(port);
                return Some(port);
            }
        }
        None
    }

    /// Its runtime is gone.
    pub(super) fn free(&mut self, port: u16) {
        self.taken.remove(&port);
        self.rest(port);
    }

    /// Nobody gets it for a while.
    pub(super) fn rest(&mut self, port: u16) {
        self.resting.insert(port, self.clock.now().plus(self.rest));
    }
}

/// A port that nobody else gets.
#[derive(Debug)]
pub(super) struct Port {
    ports: Arc<Mutex<Ports>>,
    pub(super) number: u16,
}

impl Port {
    pub(super) fn take(ports: &Arc<Mutex<Ports>>) -> Option<Self> {
        let number = ports.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Self { ports: Arc::clone(ports), number })
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).free(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few neighbours that are free just now.
    fn range() -> RangeInclusive<u16> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port().min(u16::MAX - 3);
        port..=port + 3
    }

    #[test]
    fn a_freed_port_rests() {
        let mut ports = Ports::new(range(), Duration::from_secs(3600), Clock::start());
        let first = ports.take().unwrap();
        ports.free(first);
        let others: Vec<u16> = std::iter::from_fn(|| ports.take()).collect();
        assert!(!others.contains(&first), "{first} of {others:?}");
        let mut ports = Ports::new(first..=first, Duration::ZERO, Clock::start());
        assert_eq!(ports.take(), Some(first));
        assert_eq!(ports.take(), None);
        ports.free(first);
        assert_eq!(ports.take(), Some(first));
    }

    #[test]
    fn a_port_on_which_somebody_listens_is_left_alone() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut ports = Ports::new(port..=port, Duration::ZERO, Clock::start());
        assert_eq!(ports.take(), None);
    }
}
