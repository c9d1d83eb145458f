//! What is measured.

use crate::bench::{Bench, Visit};
use crate::fault::Result;
use crate::rivals::Rival;

mod echo;
mod growth;
mod handshakes;
mod http;
mod idle;
pub mod isolation;
mod logins;
pub mod revocation;
mod tls;

/// How the target of a case is started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It relays for anybody.
    Relaying,
    /// It checks credentials among as many tenants as the scale of the run says.
    Checking,
    /// The case does it.
    Itself,
}

/// A case.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Whether a quick run visits every target for it, and not only a few.
    pub is_first: bool,
    /// A line about it.
    pub about: &'static str,
    /// How its targets are started.
    pub start: Start,
    /// Whether they listen with TLS as well, those that can.
    pub has_tls: bool,
    /// Whom it suits.
    pub suits: fn(Rival) -> bool,
    /// Measures one target once.
    pub visit: fn(&mut Bench, &mut Visit) -> Result<()>,
}

/// All cases, in the order in which they run.
pub const ALL: [Case; 12] = [
    Case {
        name: "echo",
        is_first: true,
        about: "One message in flight on each connection: it goes to the runtime and comes back.",
        start: Start::Relaying,
        has_tls: false,
        suits: without_logs,
        visit: echo::one_in_flight,
    },
    Case {
        name: "latency",
        is_first: false,
        about: "Messages of 64 B at a fixed rate on 100 connections, from when each was due until it was back; \"added\" is the difference to the same without a proxy in the same round.",
        start: Start::Relaying,
        has_tls: false,
        suits: without_logs,
        visit: echo::fixed_rate,
    },
    Case {
        name: "pipelined",
        is_first: false,
        about: "20 connections, 50 messages of 64 B in flight on each.",
        start: Start::Relaying,
        has_tls: false,
        suits: without_logs,
        visit: echo::pipelined,
    },
    Case {
        name: "large",
        is_first: false,
        about: "20 connections, one message of 1 MiB in flight on each.",
        start: Start::Relaying,
        has_tls: false,
        suits: without_logs,
        visit: echo::large,
    },
    Case {
        name: "idle",
        is_first: false,
        about: "Many connections that have had one message each way: the memory (PSS) of all processes of the proxy, less what it had at the start; then 1 % of them have a message of 64 B in flight.",
        start: Start::Relaying,
        has_tls: false,
        suits: without_logs,
        visit: idle::plain,
    },
    Case {
        name: "idle_tls",
        is_first: false,
        about: "The same with TLS between client and proxy.",
        start: Start::Relaying,
        has_tls: true,
        suits: |rival| without_logs(rival) && rival.speaks_tls(),
        visit: idle::tls,
    },
    Case {
        name: "handshakes",
        is_first: false,
        about: "Connect, upgrade, one message there and back, Close frames, end. Keys are those of 2,000 tenants who have come before, and of the others on their first visit. The rivals' nearest: nginx a map of keys, and auth_request for passwords; HAProxy maps for both.",
        start: Start::Checking,
        has_tls: false,
        suits: |_| true,
        visit: handshakes::visit,
    },
    Case {
        name: "tls",
        is_first: true,
        about: "The same by TLS 1.3 (X25519, ECDSA P-256, AES-128-GCM) to a public path: with a full handshake, and with a session that is resumed by a ticket.",
        start: Start::Relaying,
        has_tls: true,
        suits: |rival| without_logs(rival) && rival.speaks_tls(),
        visit: tls::visit,
    },
    Case {
        name: "http",
        is_first: false,
        about: "Plain HTTP on kept-alive connections: GETs of 1 KiB, large bodies down and up.",
        start: Start::Relaying,
        has_tls: false,
        suits: |_| true,
        visit: http::visit,
    },
    Case {
        name: "isolation",
        is_first: false,
        about: "The echo of tenant t0 (20 connections, 64 B, one in flight) while somebody else does something.",
        start: Start::Checking,
        has_tls: true,
        suits: isolation::suits,
        visit: isolation::visit,
    },
    Case {
        name: "revocation",
        is_first: false,
        about: "From the answer to \"regenerate the key\" until each of its connections has its Close frame.",
        start: Start::Checking,
        has_tls: false,
        suits: |rival| rival == Rival::Flowgate,
        visit: revocation::visit,
    },
    Case {
        name: "growth",
        is_first: false,
        about: "Handshakes with API keys, start and memory by the number of tenants.",
        start: Start::Itself,
        has_tls: false,
        suits: |rival| rival == Rival::Flowgate,
        visit: growth::visit,
    },
];

/// Where logs do not matter, nobody is measured twice for them.
fn without_logs(rival: Rival) -> bool {
    !matches!(rival, Rival::FlowgateQuiet | Rival::NginxLogs)
}
