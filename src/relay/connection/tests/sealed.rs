//! Simulated wires on which TLS is spoken, by rustls on both ends.

use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, Connection as Session, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
};

use super::sim::Sim;
use crate::relay::pair::Side;
use crate::relay::tls::Tls;
use crate::relay::wire::Wire;

/// What is spoken on a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Plain,
    Tls12,
    Tls13,
}

impl Protocol {
    pub const ALL: [Self; 3] = [Self::Plain, Self::Tls12, Self::Tls13];
}

/// The connection's end of a wire, with these bytes of the peer's read and opened already.
pub fn end(wire: Sim, side: Side, protocol: Protocol, opened: &[u8]) -> Wire<Sim> {
    let version = match protocol {
        Protocol::Plain => return Wire::Plain(wire),
        Protocol::Tls12 => &TLS12,
        Protocol::Tls13 => &TLS13,
    };
    let (server, client) = sessions(version);
    let (mut ours, mut peers) = match side {
        Side::Client => (server, client),
        Side::Runtime => (client, server),
    };
    if !opened.is_empty() {
        peers.writer().write_all(opened).unwrap();
        pass(&mut peers, &mut ours);
    }
    wire.speak(Peer { session: peers, opened: Vec::new(), fed: 0, heard_the_end: false });
    Wire::Tls(Box::new(Tls::new(wire, Box::new(ours))))
}

/// The other end.
#[derive(Debug)]
pub struct Peer {
    session: Session,
    opened: Vec<u8>,
    fed: usize,
    pub heard_the_end: bool,
}

impl Peer {
    /// What the session has to say.
    pub fn sealed(&mut self) -> Vec<u8> {
        let mut sealed = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut sealed).unwrap();
        }
        sealed
    }

    pub fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.session.set_buffer_limit(None);
        self.session.writer().write_all(bytes).unwrap();
        self.sealed()
    }

    pub fn seal_end(&mut self) -> Vec<u8> {
        self.session.send_close_notify();
        self.sealed()
    }

    /// Opens what was written so far, all of it from the start.
    pub fn open(&mut self, written: &[u8]) -> Vec<u8> {
        while self.fed < written.len() && !self.heard_the_end {
            self.fed += self.session.read_tls(&mut &written[self.fed..]).unwrap();
            let state = self.session.process_new_packets().expect("good records");
            self.heard_the_end = state.peer_has_closed();
            let mut bytes = vec![0; state.plaintext_bytes_to_read()];
            self.session.reader().read_exact(&mut bytes).unwrap();
            self.opened.extend(bytes);
        }
        assert_eq!(self.fed, written.len(), "bytes behind the goodbye");
        self.opened.clone()
    }
}

/// A server and a client whose handshake is done; what the server says behind it is still to be sent.
fn sessions(version: &'static SupportedProtocolVersion) -> (Session, Session) {
    static CONFIGS: OnceLock<[(Arc<ServerConfig>, Arc<ClientConfig>); 2]> = OnceLock::new();
    let [tls12, tls13] = CONFIGS.get_or_init(|| [&TLS12, &TLS13].map(configs));
    let (server, client) = if version == &TLS12 { tls12 } else { tls13 };
    let mut server = Session::from(ServerConnection::new(Arc::clone(server)).unwrap());
    let name = ServerName::try_from("flowgate.test").unwrap();
    let mut client = Session::from(ClientConnection::new(Arc::clone(client), name).unwrap());
    while server.is_handshaking() || client.is_handshaking() {
        pass(&mut client, &mut server);
        if client.is_handshaking() {
            pass(&mut server, &mut client);
        }
    }
    (server, client)
}

fn pass(from: &mut Session, to: &mut Session) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut left = &bytes[..];
    while !left.is_empty() {
        to.read_tls(&mut left).unwrap();
        to.process_new_packets().unwrap();
    }
}

fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["flowgate.test".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}
