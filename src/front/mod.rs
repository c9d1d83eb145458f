//! The front: threads of our own that read requests from plain listeners and carry on what can be
//! decided at once, without a task, a second parser or a second set of buffers.
//!
//! A request whose tenant, grant and address are known here goes to its runtime and back on one thread,
//! with its body; a handshake stays there, with the thread's [`Companion`]. Everything else is handed over
//! to [`crate::accept`] with every byte that was read, before anything of it was answered:
//!
//! - own rows, passwords to be checked, names to be resolved, runtimes that speak TLS, APIs with several
//!   nodes: somebody has to wait for something;
//! - HTTP/1.0, unusual methods, a body of two lengths or with announced trailers, a request behind
//!   another: they are rare.
//!
//! A tenant who is not in memory is read by a task, and the request is looked at again after that.
//!
//! From pure to real: [`head`], [`framing`] and [`request_body`] read, [`mod@write`] writes, `links` are
//! the connections to runtimes, `conversation` is one client's connection, `passage` a request's way to
//! the runtime and back, `thread` the loop, [`plane`] its threads. What is decided is the [`Story`]'s.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use mio::Poll;
use mio::event::Event;
use mio::net::TcpStream;

use crate::clock::Millis;
use crate::close::Cause;
use crate::keepalive::{KeepAlive, Probes};
use crate::live::Entry;
use crate::networks::Networks;
use crate::own_network::Network;
use crate::refusal::Refusal;
use crate::tenant::TenantId;

pub mod buffers;
mod client_leg;
mod conversation;
pub mod framing;
pub mod head;
mod links;
mod origin;
mod parked;
mod passage;
mod pending;
pub mod plane;
mod reading;
pub mod request_body;
mod step;
mod thread;
pub mod write;

use head::Written;

/// A connection's place under the limit.
pub type Permit = Arc<crate::permits::Permit>;

/// How long the front waits, and what it reads.
#[derive(Clone, Debug)]
pub struct FrontSettings {
    /// For a request's head, and for the next request of a kept connection.
    pub header_timeout: Duration,
    /// For a client to take bytes of an answer.
    pub write_stall_max: Duration,
    /// For a runtime to accept a connection.
    pub connect_timeout: Duration,
    /// For a runtime to answer a handshake.
    pub handshake_timeout: Duration,
    /// For the head of a runtime's answer to a plain request.
    pub response_timeout: Duration,
    /// The most bytes of a request's head and of an answer's.
    pub header_bytes_max: usize,
    /// The most headers of a request; more than a hundred are left to others.
    pub headers_max: usize,
    /// Whose connections begin with a PROXY header.
    pub proxy_protocol_from: Networks,
    /// The most bytes of a request's body.
    pub body_bytes_max: u64,
    /// How long connections are kept.
    pub keep_alive: KeepAlive,
    /// When runtimes are asked by TCP whether they are there.
    pub probes: Probes,
}

/// Which runtime, as it was when it was dialled.
pub type Destination = (TenantId, u64);

/// A request as it was read.
#[derive(Debug)]
pub struct Received<'a> {
    /// The head.
    pub parts: &'a mut Parts,
    /// Its headers' names, letter for letter.
    pub written: Written<'a>,
    /// Who sent it.
    pub address: SocketAddr,
    /// It has a body.
    pub has_body: bool,
    /// Something was read behind it and its body.
    pub has_more: bool,
    /// Since when it was waited for. It may be if that was not done yet.
    pub waited_since: Option<Millis>,
}

/// Something to be waited for.
pub type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What becomes of a request.
pub enum Reception<E> {
    /// It can be decided once this has come to its end.
    Wait(Wait),
    /// Somebody else has to look at it, from its first byte on. Nothing has happened yet.
    HandOver,
    /// It is refused, and that is logged.
    Refuse(Response<Bytes>),
    /// It goes to a runtime.
    Forward(Box<Forward<E>>),
}

impl<E> fmt::Debug for Reception<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wait(_) => "Wait",
            Self::HandOver => "HandOver",
            Self::Refuse(_) => "Refuse",
            Self::Forward(_) => "Forward",
        })
    }
}

/// A request on its way to a runtime.
#[derive(Debug)]
pub struct Forward<E> {
    /// What the story needs to know of it later.
    pub errand: E,
    /// Which runtime, for kept connections.
    pub destination: Destination,
    /// Where it may be reached, to be tried from the last to the first.
    pub addresses: Vec<SocketAddr>,
    /// In which network that is, if not in ours.
    pub network: Option<Network>,
    /// It changes nothing: it may use a kept connection, and be sent again.
    pub changes_nothing: bool,
    /// It is a handshake.
    pub is_handshake: bool,
}

/// A runtime's answer to be passed on.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: StatusCode,
    /// The headers, to be turned into those for the client.
    pub headers: &'a mut HeaderMap,
}

/// Both ends of a handshake that is done.
#[derive(Debug)]
pub struct Switched {
    /// The sockets of client and runtime.
    pub sockets: [TcpStream; 2],
    /// Which of them the thread's poll watches.
    pub is_watched: [bool; 2],
    /// What was read behind each handshake.
    pub read_ahead: [Vec<u8>; 2],
    /// The client's place.
    pub permit: Permit,
}

/// A connection that somebody else serves from now on.
#[derive(Debug)]
pub struct HandedOver {
    /// The client's socket, non-blocking.
    pub socket: std::net::TcpStream,
    /// What was read from it; nothing was answered.
    pub read: Vec<u8>,
    /// Its peer.
    pub address: SocketAddr,
    /// Its place.
    pub permit: Permit,
    /// How many requests it has brought before.
    pub requests: u32,
}

/// What shares a front thread and its poll. Its events have tokens of their own.
pub trait Companion: Send + 'static {
    /// Takes an event in, if it is its own; returns whether it is.
    fn note(&mut self, event: &Event) -> bool;

    /// How long it has nothing to do without an event.
    fn patience_with_events(&self) -> Duration;

    /// Carries on whatever is ready, once each.
    fn round(&mut self, now: Millis);

    /// The front has ended: has the thread to itself until it is done, or `is_cut`.
    fn run(self, poll: Poll, is_cut: impl Fn() -> bool);
}

/// What is decided about requests; the front only carries it out. Nothing here may block.
pub trait Story: Send + Sync + 'static {
    /// What is remembered of a request while its runtime works on it: its place in the live table and
    /// its log line. Dropping it ends it.
    type Errand: Send;

    /// What goes on with a handshake that is done, on the same thread.
    type Companion: Companion;

    /// Decides about a request. If it goes to a runtime, its head for the runtime is put behind what
    /// is in `out`.
    fn receive(&self, request: Received<'_>, out: &mut Vec<u8>) -> Reception<Self::Errand>;

    /// A request that nobody could read is refused.
    fn refuse_unread(&self, address: SocketAddr, refusal: Refusal) -> Response<Bytes>;

    /// The request's place in the live table.
    fn entry(errand: &Self::Errand) -> &Entry;

    /// A handshake's runtime has accepted the connection.
    fn connected(&self, errand: &mut Self::Errand);

    /// A request that was on its way is refused.
    fn refuse(&self, errand: &mut Self::Errand, refusal: Refusal) -> Response<Bytes>;

    /// A request that was on its way is refused because it was ended in the live table.
    fn refuse_closed(&self, errand: &mut Self::Errand, cause: Cause) -> Response<Bytes>;

    /// Judges a runtime's answer and turns its headers into those for the client.
    ///
    /// # Errors
    /// It cannot be passed on.
    fn pass(&self, errand: &mut Self::Errand, answer: Answer<'_>) -> Result<(), Refusal>;

    /// Judges a runtime's 101 to a handshake and turns its headers into those for the client.
    ///
    /// # Errors
    /// It is not right.
    fn switch(&self, errand: &mut Self::Errand, answer: Answer<'_>) -> Result<(), Refusal>;

    /// The client has its 101: frames may flow.
    fn adopt(
        &self,
        errand: Self::Errand,
        switched: Switched,
        companion: &mut Self::Companion,
        now: Millis,
    );

    /// Somebody else goes on with a connection.
    fn hand_over(&self, connection: HandedOver);
}
