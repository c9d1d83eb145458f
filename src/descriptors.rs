//! File descriptors are shared out: when they run short, operators, the registry and what is under way
//! come before new clients.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::refusal::Refusal;

/// For everything but clients' sockets and their runtimes': what operators, the registry, files, logs
/// and threads need. A process that may have only few keeps half of them.
const RESERVED: u64 = 128;

/// What a descriptor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A connection to a runtime that nobody needs just now.
    Kept,
    /// A client who has only just come.
    Client,
    /// The same, in whose place another has gone.
    ClientForAnother,
    /// The runtime of a request that was authenticated.
    Runtime,
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    max: u64,
}

/// What a dial that failed is told as: a want of descriptors is flowgate's own trouble.
#[must_use]
pub fn dial_refusal(error: &io::Error, what: String) -> Refusal {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => Refusal::Overloaded("no file descriptor is left"),
        _ => Refusal::RuntimeUnreachable(what),
    }
}

impl Descriptors {
    /// As many as this process may have at present.
    #[must_use]
    pub fn of_process() -> Self {
        Self::of(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
    }

    /// So many.
    #[must_use]
    pub fn of(max: u64) -> Self {
        Self { max }
    }

    fn reserved(self) -> u64 {
        RESERVED.min(self.max / 2)
    }

    /// How many clients there may be, each with a runtime; at least one.
    #[must_use]
    pub fn clients_max(self) -> usize {
        let clients = (self.max - self.reserved()) / 2;
        usize::try_from(clients).unwrap_or(usize::MAX).max(1)
    }

    /// Whether a descriptor that was just opened may be used so. The system gives the lowest number
    /// that is free, so all below it are taken.
    #[must_use]
    pub fn has_room(self, purpose: Use, number: i32) -> bool {
        let kept_free = match purpose {
            Use::Kept => self.reserved(),
            Use::Client => self.reserved() / 2,
            Use::ClientForAnother => self.reserved() * 3 / 8,
            Use::Runtime => self.reserved() / 4,
        };
        u64::try_from(number).is_ok_and(|number| number < self.max - kept_free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_refused(max: u64, purpose: Use) -> i32 {
        let descriptors = Descriptors::of(max);
        (0..).find(|number| !descriptors.has_room(purpose, *number)).unwrap()
    }

    #[test]
    fn the_last_ones_are_kept_for_who_needs_them_most() {
        for (max, kept, client, other, runtime) in
            [(1024, 896, 960, 976, 992), (100, 50, 75, 82, 88), (1, 1, 1, 1, 1)]
        {
            assert_eq!(first_refused(max, Use::Kept), kept);
            assert_eq!(first_refused(max, Use::Client), client);
            assert_eq!(first_refused(max, Use::ClientForAnother), other);
            assert_eq!(first_refused(max, Use::Runtime), runtime);
        }
        assert!(Descriptors::of(u64::MAX).has_room(Use::Kept, i32::MAX));
    }

    #[test]
    fn every_client_has_a_descriptor_for_its_runtime() {
        for (max, clients) in [(1024, 448), (200, 50), (1, 1), (0, 1)] {
            assert_eq!(Descriptors::of(max).clients_max(), clients);
        }
    }
}
