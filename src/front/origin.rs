//! Whose connection it is: the peer's, or that of whom a load balancer names before anything else.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Permit;
use crate::networks::Networks;
use crate::permits::{NoPlace, Permits};
use crate::proxy_protocol::{Found, parse};

/// The address of a client.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    /// A header that tells it has yet to come.
    pub(super) is_awaited: bool,
}

impl Origin {
    /// That of a connection from this peer; those of `balancers` begin with a PROXY header.
    pub(super) fn of(peer: SocketAddr, balancers: &Networks) -> Self {
        Self { address: peer, is_awaited: balancers.contain(peer.ip()) }
    }

    /// Takes the header from what was read. Returns how much is behind it, which is at the beginning of
    /// `read` then; nothing also while the header is not whole, and `part` keeps what there is of it.
    /// `None` if there is no such header.
    pub(super) fn take_header(
        &mut self,
        read: &mut [u8],
        end: usize,
        part: &mut Vec<u8>,
    ) -> Option<usize> {
        part.clear();
        match parse(&read[..end]) {
            Found::Part => {
                part.extend_from_slice(&read[..end]);
                Some(0)
            }
            Found::Bad(why) => {
                tracing::debug!(client = %self.address, why, "closed: no PROXY header");
                None
            }
            Found::Header { length, source } => {
                self.is_awaited = false;
                self.address = source.unwrap_or(self.address);
                read.copy_within(length..end, 0);
                Some(end - length)
            }
        }
    }

    /// Counts the connection for whom the header has named, once it is there.
    pub(super) fn seat(&self, permit: &mut Permit, permits: &Permits) -> Result<(), NoPlace> {
        match Arc::get_mut(permit) {
            _ if self.is_awaited => Ok(()),
            Some(permit) => permits.seat(permit, self.address.ip()),
            // Nobody else has it before the first request.
            None => Err(NoPlace::All),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Origin;
    use crate::networks::Networks;

    #[test]
    fn a_header_in_pieces_leaves_what_is_behind_it() {
        let balancers = Networks::from(vec!["10.0.0.0/8".parse().unwrap()]);
        let peer = "10.0.0.1:5".parse().unwrap();
        let bytes = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\nGET /";
        for cut in 1..bytes.len() {
            let mut origin = Origin::of(peer, &balancers);
            let (mut read, mut part) = (vec![0; 100], Vec::new());
            read[..cut].copy_from_slice(&bytes[..cut]);
            let mut left = origin.take_header(&mut read, cut, &mut part).unwrap();
            if origin.is_awaited {
                assert_eq!((left, &part[..], origin.address), (0, &bytes[..cut], peer));
                read[..bytes.len()].copy_from_slice(bytes);
                left = origin.take_header(&mut read, bytes.len(), &mut part).unwrap();
                assert_eq!(&read[..left], b"GET /");
            }
            assert_eq!(&read[..left], &b"GET /"[..left]);
            assert!(part.is_empty() && !origin.is_awaited);
            assert_eq!(origin.address, "203.0.113.7:56324".parse().unwrap());
        }
    }

    #[test]
    fn of_others_none_is_awaited() {
        let balancers = Networks::from(vec!["10.0.0.0/8".parse().unwrap()]);
        assert!(!Origin::of("192.0.2.1:5".parse().unwrap(), &balancers).is_awaited);
        assert!(!Origin::of("10.0.0.1:5".parse().unwrap(), &Networks::default()).is_awaited);
        let mut origin = Origin::of("10.0.0.1:5".parse().unwrap(), &balancers);
        let mut read = *b"GET / HTTP/1.1\r\n";
        assert_eq!(origin.take_header(&mut read, 16, &mut Vec::new()), None);
    }
}
