//! Ports to listen on that stay free while nobody does.

use std::net::{SocketAddr, TcpListener};

use crate::fault::{Result, fault};
use crate::machine;

const FIRST_PORT: u16 = 21_000;

/// Gives away ports of the loopback that nobody listens on, below those that the kernel gives away.
#[derive(Default)]
pub struct Ports {
    given: u16,
}

impl Ports {
    /// Begins elsewhere than others who do the same at the same time.
    pub fn of_this_process() -> Self {
        Self { given: (std::process::id() % 1000) as u16 * 10 }
    }

    /// The next free address.
    pub fn give(&mut self) -> Result<SocketAddr> {
        let span = machine::first_ephemeral_port().saturating_sub(FIRST_PORT).max(1000);
        for _ in 0..span {
            let port = FIRST_PORT + self.given % span;
            self.given = (self.given + 1) % span;
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            if TcpListener::bind(address).is_ok() {
                return Ok(address);
            }
        }
        fault("no free port")
    }
}
