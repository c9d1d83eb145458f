//! Where runtimes may be: which addresses are dialled, and which never, whoever names them and
//! whatever a name resolves to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::OnceLock;

use crate::networks::Networks;
use crate::refusal::Refusal;
use crate::tenant::Instance;

/// Where clouds tell a machine its own secrets: nearly all, AWS, Alibaba, Azure, GCP.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// Judges addresses before they are dialled. Loopback and private networks are allowed: runtimes are
/// there.
#[derive(Debug, Default)]
pub struct Reach {
    allowed: Networks,
    own: OnceLock<Vec<SocketAddr>>,
}

impl Reach {
    /// One that allows what is in these networks. Metadata services and own listeners it allows only
    /// where the address stands there alone.
    #[must_use]
    pub fn new(allowed: Networks) -> Self {
        Self { allowed, own: OnceLock::new() }
    }

    /// Says where this process listens; only the first time counts.
    pub fn listening_on(&self, own: Vec<SocketAddr>) {
        let _ = self.own.set(own);
    }

    /// Whether an address may be dialled.
    ///
    /// # Errors
    /// What it is that nobody may dial.
    pub fn judge(&self, address: SocketAddr) -> Result<(), &'static str> {
        let ip = address.ip().to_canonical();
        if self.allowed.name(ip) {
            return Ok(());
        }
        let behind = match ip {
            IpAddr::V6(v6) => embedded(v6).map(IpAddr::V4),
            IpAddr::V4(_) => None,
        };
        let mut meant = [Some(ip), behind].into_iter().flatten();
        if let Some(what) = meant.clone().find_map(|ip| self.dangerous(ip, address.port())) {
            return Err(what);
        }
        if self.allowed.contain(ip) {
            return Ok(());
        }
        meant.find_map(forbidden).map_or(Ok(()), Err)
    }

    /// What is never meant by a network that is allowed, but at most by an address that is.
    fn dangerous(&self, ip: IpAddr, port: u16) -> Option<&'static str> {
        match ip {
            ip if METADATA.contains(&ip) => Some("a cloud's metadata service"),
            ip if self.is_own(ip, port) => Some("a listener of flowgate itself"),
            _ => None,
        }
    }

    /// Whether this process listens there. The ports are compared first: only then is the system asked
    /// whose address it is.
    fn is_own(&self, ip: IpAddr, port: u16) -> bool {
        self.own.get().into_iter().flatten().any(|own| {
            own.port() == port
                && (own.ip().to_canonical() == ip
                    || (own.ip().is_unspecified()
                        && own.is_ipv6() == ip.is_ipv6()
                        && is_of_this_machine(ip)))
        })
    }

    /// Those of an instance's addresses that may be dialled.
    ///
    /// # Errors
    /// There are some, but none of them may.
    pub fn filter(
        &self,
        instance: &Instance,
        addresses: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Refusal> {
        let mut denied = None;
        let mut allowed = addresses;
        allowed.retain(|address| match self.judge(*address) {
            Ok(()) => true,
            Err(what) => {
                denied = Some(format!("{instance}: {}", denial(address.ip(), what)));
                false
            }
        });
        match denied {
            Some(why) if allowed.is_empty() => Err(Refusal::RuntimeDenied(why)),
            _ => Ok(allowed),
        }
    }
}

/// Says what an address is that [`Reach::judge`] has denied, and who can change that.
#[must_use]
pub fn denial(ip: IpAddr, what: &str) -> String {
    format!("{ip} is {what}; allow_addresses can allow it")
}

/// What an address is that nobody dials.
fn forbidden(ip: IpAddr) -> Option<&'static str> {
    let is_link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let is_nobody = match ip {
        // The whole of 0/8 is "this host on this network" (RFC 1122 section 3.2.1.3).
        IpAddr::V4(v4) => v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_unspecified(),
    };
    if is_link_local {
        Some("a link-local address")
    } else if is_nobody {
        Some("an unspecified address")
    } else if ip.is_multicast() {
        Some("a multicast address")
    } else if ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("the broadcast address")
    } else {
        None
    }
}

/// The IPv4 address that a gateway would make of it: IPv4-compatible, IPv4-translated (RFC 2765), NAT64
/// (RFC 6052, RFC 8215) and 6to4 (RFC 3056).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = v6.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match segments {
        // `::1` and the like are no such.
        [0, 0, 0, 0, 0, 0, high, low] if high > 0 => Some(v4(high, low)),
        [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, .., high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// Only one's own addresses can be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests;
