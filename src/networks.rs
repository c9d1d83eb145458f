//! Networks of addresses as operators write them: CIDR (RFC 4632, RFC 4291 section 2.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// One network, like `10.0.0.0/8` or `2001:db8::/32`; an address alone is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Whether the address lies in it. An IPv4 address in IPv6 notation (`::ffff:10.0.0.1`) counts as
    /// what it is; apart from that neither version lies in a network of the other.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                first == first_v4(address, self.prefix_bits)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                first == first_v6(address, self.prefix_bits)
            }
            _ => false,
        }
    }
}

impl Network {
    fn is_one_address(&self) -> bool {
        self.prefix_bits == if self.first.is_ipv4() { 32 } else { 128 }
    }
}

fn first_v4(address: Ipv4Addr, prefix_bits: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix_bits)).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

fn first_v6(address: Ipv6Addr, prefix_bits: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix_bits)).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const BAD: &str = "must be like \"10.0.0.0/8\", \"2001:db8::/32\" or an IP address alone";
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BAD)?;
        if address.to_canonical() != address {
            return Err("is an IPv4 network in IPv6 notation: write it as IPv4".to_owned());
        }
        let bits_max: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => bits_max,
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                prefix.parse().ok().filter(|bits| *bits <= bits_max).ok_or(BAD)?
            }
            Some(_) => return Err(BAD.to_owned()),
        };
        let first = match address {
            IpAddr::V4(address) => IpAddr::V4(first_v4(address, prefix_bits)),
            IpAddr::V6(address) => IpAddr::V6(first_v6(address, prefix_bits)),
        };
        match first == address {
            true => Ok(Self { first, prefix_bits }),
            false => Err(format!("has bits behind its prefix: write {first}/{prefix_bits}")),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_bits)
    }
}

/// Some networks, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Arc<[Network]>);

impl Networks {
    /// Whether the address lies in one of them.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// These and those.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(others.0.iter()).copied().collect())
    }

    /// Whether one of them is this address and nothing else.
    #[must_use]
    pub fn name(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.is_one_address() && network.contains(address))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<Network>> for Networks {
    fn from(networks: Vec<Network>) -> Self {
        Self(networks.into())
    }
}

#[cfg(test)]
mod tests;
