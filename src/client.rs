//! Whoever connects.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

pub mod forwarded;
pub mod text;

use text::Text;

/// Who sent a request, and what it is called in logs and refusals.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Whose it is: the peer's address, or what a trusted proxy says of its own peer; without a known
    /// port that is 0.
    pub address: SocketAddr,
    /// Whether they speak TLS, with us or with a trusted proxy.
    pub over_tls: bool,
    /// The id of this request.
    pub request_id: RequestId,
}

/// The network that an address counts as where addresses are counted: itself, or an IPv6 address's
/// /64, which is what one subscriber has.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    const SUBSCRIBER: u128 = !0 << 64;
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & SUBSCRIBER).into(),
        v4 => v4,
    }
}

/// Names one request across log lines, refusals and the runtime's `X-Request-Id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(u64, u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Text::from(*self).as_str())
    }
}

/// Gives out request ids: a random prefix for the process, then a count.
#[derive(Debug)]
pub struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    /// A source whose ids differ from every other process's.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new() -> Result<Self, getrandom::Error> {
        Ok(Self { process: getrandom::u64()?, next: AtomicU64::new(1) })
    }

    /// The next id.
    pub fn next(&self) -> RequestId {
        RequestId(self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn an_ipv6_subscriber_is_one_network() {
        let of = |text: &str| network(text.parse().expect(text)).to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_ne!(of("2001:db8:1:3::1"), of("2001:db8:1:2::1"));
    }
}
