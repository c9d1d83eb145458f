//! Where a runtime answers.

use std::fmt;
use std::net::SocketAddr;

use crate::own_network::Network;

/// Where a runtime answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A host name, which is looked up at each dial, or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// In which network that is, if not in ours, and the process by which others find that network.
    pub network: Option<(Network, u32)>,
    /// Whether it is reached from this machine alone.
    pub is_local: bool,
}

impl Place {
    /// On this machine.
    #[must_use]
    pub fn local(address: SocketAddr, network: Option<(Network, u32)>) -> Self {
        Self { host: address.ip().to_string(), port: address.port(), network, is_local: true }
    }

    /// Where every replica reaches it.
    #[must_use]
    pub fn anywhere(host: String, port: u16) -> Self {
        Self { host, port, network: None, is_local: false }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
