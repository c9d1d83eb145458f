//! A plane, a live table and socket pairs to hand over.

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::client::{Client, RequestIds};
use crate::clock::{Clock, Millis};
use crate::grant::Grant;
use crate::live::{Entry, LiveTable};
use crate::relay::pair::{Patience, Rules};
use crate::relay::plane::{Adoption, Permit, Plane};
use crate::relay::walk::Reserved;
use crate::relay::wire::Wire;
use crate::tenant::{Tenant, sample};

pub const RULES: Rules = Rules {
    reserved: Reserved::None,
    keeps_context: [true; 2],
    message_bytes_max: 1 << 30,
    seed: *b"0123456789ab",
};
/// Long enough that no deadline but that of a close can be what ended a connection.
pub const PATIENCE: Patience = Patience {
    frame_stall_max: Duration::from_secs(600),
    write_stall_max: Duration::from_secs(600),
    half_open_max: Duration::from_secs(600),
    ping_after: None,
    ping_runtime_after: None,
    lifetime_max: None,
};
/// A test that waits longer has failed.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Waits until something is so.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !condition() {
        assert!(clock.now() < Millis(0).plus(WAIT_MAX), "{what} has not come true");
        std::thread::yield_now();
    }
}

/// Reads up to the end of the stream, be it a FIN or a reset; a timeout is a failure.
pub fn read_to_end(mut peer: &TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    match peer.read_to_end(&mut received) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the socket lives on: {error}"),
    }
    received
}

pub fn read_exactly(mut peer: &TcpStream, length: usize) -> io::Result<Vec<u8>> {
    let mut received = vec![0; length];
    peer.read_exact(&mut received)?;
    Ok(received)
}

/// A plane with a live table, and one tenant to whom everything belongs.
pub struct Cluster {
    pub plane: Plane,
    pub live: Arc<LiveTable>,
    pub permit: Arc<()>,
    /// One for all: closed connections keep its port, not one of their own.
    listener: TcpListener,
    tenant: Tenant,
    request_ids: RequestIds,
}

/// One connection as its peers see it.
pub struct Joined {
    pub client: TcpStream,
    pub runtime: TcpStream,
    pub entry: Arc<Entry>,
}

impl Cluster {
    pub fn start(threads: usize) -> Self {
        Self {
            plane: Plane::start(threads, PATIENCE, Clock::start()).unwrap(),
            live: Arc::default(),
            permit: Arc::new(()),
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
            tenant: sample("mike"),
            request_ids: RequestIds::new().unwrap(),
        }
    }

    /// One side's two ends: the relay's, and the peer that the test plays.
    fn socket_pair(&self) -> (TcpStream, TcpStream) {
        let peer = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        let (socket, _) = self.listener.accept().unwrap();
        peer.set_read_timeout(Some(WAIT_MAX)).unwrap();
        peer.set_write_timeout(Some(WAIT_MAX)).unwrap();
        peer.set_nodelay(true).unwrap();
        (socket, peer)
    }

    pub fn adopt(&self, adoption: Adoption) {
        self.plane.reserve().unwrap().adopt(adoption);
    }

    pub fn join(&self, read_ahead: [&[u8]; 2]) -> Joined {
        let (adoption, joined) = self.prepare(read_ahead);
        self.adopt(adoption);
        joined
    }

    /// A connection that is yet to be adopted.
    pub fn prepare(&self, read_ahead: [&[u8]; 2]) -> (Adoption, Joined) {
        let (client_leg, client) = self.socket_pair();
        let (runtime_leg, runtime) = self.socket_pair();
        let address = (Ipv4Addr::LOCALHOST, 1).into();
        let by = Client { address, over_tls: false, request_id: self.request_ids.next() };
        let registered = self
            .live
            .enter(
                &self.tenant,
                crate::live::Kind::Connection,
                Grant::Anonymous,
                by,
                "/",
                Millis(0),
            )
            .unwrap();
        let entry = Arc::clone(registered.entry());
        let adoption = Adoption {
            row: crate::row::Row::Public,
            sockets: [client_leg, runtime_leg].map(|socket| Wire::new(socket, None).unwrap()),
            is_watched: [false; 2],
            read_ahead: read_ahead.map(<[u8]>::to_vec),
            rules: RULES,
            registered,
            permit: Permit::Shared(Arc::clone(&self.permit) as _),
        };
        (adoption, Joined { client, runtime, entry })
    }

    /// Every connection is gone, with all that it held.
    pub fn wait_until_empty(&self) {
        wait_until("an empty live table", || self.live.is_empty());
        wait_until("the return of all permits", || Arc::strong_count(&self.permit) == 1);
        assert!(self.live.entries().is_empty());
    }
}
