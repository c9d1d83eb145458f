//! WebSocket connections that stay open, and messages on them.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;

use super::client::{Came, Client};
use super::pace::Pace;
use super::socket::Socket;
use super::{Entrance, Load, PATIENCE, Tally, after_you};
use crate::clock::now;
use crate::fault::{During, Result, fault};
use crate::tls::Speech;
use crate::websocket::{Message, READ_BYTES_MAX};

/// Handshakes at once while opening; a backlog may be as short as 128.
const OPENING_AT_ONCE: usize = 100;
const PACE: Token = Token(usize::MAX);

/// What is sent.
#[derive(Clone)]
pub struct Traffic {
    /// The message.
    pub message: Rc<Message>,
    /// Messages of one connection that are on their way at once; a pace knows no such limit.
    pub in_flight: usize,
    /// How many of the connections, evenly spread, send anything.
    pub active: usize,
    /// Messages per second of all together; without it, each answer is followed by a message.
    pub per_second: Option<u32>,
}

/// Connections.
pub struct Fleet {
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    traffic: Traffic,
    pace: Option<Pace>,
    tally: Tally,
    begun: Instant,
}

/// A Close frame that a proxy has sent.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// Its code.
    pub code: u16,
    /// When it was read.
    pub at: Instant,
}

impl Fleet {
    /// Opens a connection for each request of `requests`; each sends one message and gets it back.
    pub fn open(
        entrance: impl Into<Entrance>,
        requests: impl Iterator<Item = Vec<u8>>,
    ) -> Result<Self> {
        let Entrance { address, tls } = entrance.into();
        Self::open_all(requests.map(|request| (address, request)), tls.as_ref())
    }

    /// The same, to several addresses.
    pub fn open_many(requests: impl Iterator<Item = (SocketAddr, Vec<u8>)>) -> Result<Self> {
        Self::open_all(requests, None)
    }

    fn open_all(
        requests: impl Iterator<Item = (SocketAddr, Vec<u8>)>,
        tls: Option<&Speech>,
    ) -> Result<Self> {
        let message = Rc::new(Message::new(64, 1));
        let traffic = Traffic { message, in_flight: 1, active: 0, per_second: None };
        let mut fleet = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            clients: Vec::new(),
            buffer: vec![0; READ_BYTES_MAX],
            traffic,
            pace: None,
            tally: Tally::default(),
            begun: now(),
        };
        fleet.connect(requests, tls.map(Speech::of_a_client).as_ref())?;
        let greeting = Traffic { active: fleet.clients.len(), ..fleet.traffic.clone() };
        fleet.begin(greeting)?;
        fleet.finish()?;
        Ok(fleet)
    }

    fn connect(
        &mut self,
        mut requests: impl Iterator<Item = (SocketAddr, Vec<u8>)>,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<()> {
        let mut open = 0;
        let mut has_more = true;
        while has_more || open < self.clients.len() {
            while has_more && self.clients.len() < open + OPENING_AT_ONCE {
                let Some((address, request)) = requests.next() else {
                    has_more = false;
                    break;
                };
                let mut stream = Socket::connect(address, tls)?;
                let both = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut stream, Token(self.clients.len()), both)?;
                self.clients.push(Client::new(stream, request));
            }
            let (_, opened) = self.turn(Duration::from_millis(100))?;
            open += opened;
            if self.begun.elapsed() > PATIENCE {
                return fault(format!(
                    "only {open} of {} connections could be opened",
                    self.clients.len()
                ));
            }
        }
        Ok(())
    }

    /// Begins to send. Nothing else may be under way.
    pub fn begin(&mut self, traffic: Traffic) -> Result<()> {
        self.traffic = traffic;
        self.tally = Tally::default();
        let at = now();
        for client in &mut self.clients {
            client.reset();
        }
        if let Some(per_second) = self.traffic.per_second {
            let mut pace = Pace::start(per_second)?;
            self.poll.registry().register(&mut pace, PACE, Interest::READABLE)?;
            self.pace = Some(pace);
            return Ok(());
        }
        for index in 0..self.traffic.active {
            let client = self.active(index);
            self.clients[client].send(self.traffic.in_flight, at, &self.traffic.message)?;
        }
        Ok(())
    }

    /// The `index`th of the active ones.
    fn active(&self, index: usize) -> usize {
        index * self.clients.len() / self.traffic.active.max(1)
    }

    /// Sends no more and waits for what is missing.
    pub fn finish(&mut self) -> Result<()> {
        if let Some(mut pace) = self.pace.take() {
            self.poll.registry().deregister(&mut pace)?;
        }
        self.traffic.in_flight = 0;
        let begin = now();
        while self.missing() > 0 {
            self.turn(Duration::from_millis(100))?;
            if begin.elapsed() > PATIENCE {
                return fault(format!("{} messages did not come back", self.missing()));
            }
        }
        Ok(())
    }

    fn missing(&self) -> usize {
        self.clients.iter().map(Client::missing).sum()
    }

    /// Goes on until so many connections have got a Close frame.
    pub fn drive_until_closed(&mut self, count: usize) -> Result<Vec<Closed>> {
        let begin = now();
        loop {
            let closed: Vec<Closed> =
                self.clients.iter().filter_map(|client| client.closed).collect();
            if closed.len() >= count {
                return Ok(closed);
            }
            if begin.elapsed() > PATIENCE {
                return fault(format!("only {} of {count} connections were closed", closed.len()));
            }
            self.turn(Duration::from_millis(10))?;
        }
    }

    /// Waits once for what happens and does what follows; returns how many messages came back and
    /// how many connections were opened.
    fn turn(&mut self, patience: Duration) -> Result<(u64, usize)> {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok((0, 0)),
            outcome => outcome.during("waiting")?,
        }
        let (mut came, mut opened) = (0, 0);
        for event in &self.events {
            if event.token() == PACE {
                continue;
            }
            let client = &mut self.clients[event.token().0];
            let reads_to_end = event.is_read_closed() || event.is_error();
            match client.turn(
                reads_to_end,
                &mut self.buffer,
                &self.traffic.message,
                &mut self.tally.latency,
            )? {
                Came::Opened => opened += 1,
                Came::Messages(0) => {}
                Came::Messages(count) => {
                    came += count as u64;
                    if self.traffic.per_second.is_none() && self.traffic.in_flight > 0 {
                        client.send(count, now(), &self.traffic.message)?;
                    }
                }
            }
            after_you();
        }
        self.send_due()?;
        Ok((came, opened))
    }

    fn send_due(&mut self) -> Result<()> {
        let Some(pace) = &mut self.pace else { return Ok(()) };
        let due = pace.due()?;
        for (number, at) in due {
            let index = number as usize % self.traffic.active;
            let client = index * self.clients.len() / self.traffic.active;
            self.clients[client].send(1, at, &self.traffic.message)?;
        }
        Ok(())
    }
}

impl Load for Fleet {
    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    fn step(&mut self, patience: Duration) -> Result<()> {
        let (came, _) = self.turn(patience)?;
        self.tally.operations += came;
        Ok(())
    }
}
