//! Plain HTTP on connections that are kept alive.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::client::is_later;
use super::pace::Pace;
use super::{Load, PATIENCE, Tally, after_you};
use crate::clock::now;
use crate::echo::{PATTERN_BYTES, doubled_pattern};
use crate::fault::{During, Result, fault};
use crate::websocket::{READ_BYTES_MAX, head_end, header_value};

const PACE: Token = Token(usize::MAX);

/// What is asked, and what must be answered.
#[derive(Clone)]
pub struct Exchange {
    /// Request line and headers.
    pub head: Vec<u8>,
    /// Bytes of the body, which is the pattern.
    pub upload_bytes: u64,
    /// The status of the answer.
    pub status: u16,
    /// The answer's body.
    pub answer: Answer,
}

/// What the body of an answer must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// So many bytes of the pattern.
    Pattern(u64),
    /// This text.
    Text(String),
    /// Anything of a known length.
    Anything,
}

/// Clients that ask again as soon as they have the answer, or at a fixed rate.
pub struct Http {
    address: SocketAddr,
    poll: Poll,
    events: Events,
    slots: Vec<Slot>,
    exchange: Rc<Exchange>,
    pace: Option<Pace>,
    owed: u64,
    tally: Tally,
    buffer: Vec<u8>,
}

struct Slot {
    stream: TcpStream,
    exchange: Rc<Exchange>,
    sent: u64,
    head: Vec<u8>,
    body: Option<Body>,
    text: Vec<u8>,
    begun: Option<Instant>,
    moved_bytes: u64,
}

#[derive(Clone, Copy)]
struct Body {
    done: u64,
    length: u64,
    keeps_alive: bool,
}

enum Progress {
    Waiting,
    Answered { keeps_alive: bool },
}

impl Http {
    /// Connects `connections` clients. With `per_second` they share that rate.
    pub fn begin(
        address: SocketAddr,
        connections: usize,
        exchange: Exchange,
        per_second: Option<u32>,
    ) -> Result<Self> {
        let mut http = Self {
            address,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            slots: Vec::new(),
            exchange: Rc::new(exchange),
            pace: None,
            owed: 0,
            tally: Tally::default(),
            buffer: vec![0; 4 * READ_BYTES_MAX],
        };
        if let Some(per_second) = per_second {
            let mut pace = Pace::start(per_second)?;
            http.poll.registry().register(&mut pace, PACE, Interest::READABLE)?;
            http.pace = Some(pace);
        }
        for key in 0..connections {
            let mut slot = http.connect(key)?;
            slot.begun = http.pace.is_none().then(now);
            http.slots.push(slot);
        }
        Ok(http)
    }

    fn connect(&self, key: usize) -> Result<Slot> {
        let mut stream = TcpStream::connect(self.address).during("connecting")?;
        stream.set_nodelay(true)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(key), both)?;
        Ok(Slot {
            stream,
            exchange: Rc::clone(&self.exchange),
            sent: 0,
            head: Vec::new(),
            body: None,
            text: Vec::new(),
            begun: None,
            moved_bytes: 0,
        })
    }

    fn turn(&mut self, patience: Duration) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            outcome => outcome.during("waiting")?,
        }
        if let Some(pace) = &mut self.pace {
            // At most a second's worth: a server that cannot keep up is not asked for all of it later.
            self.owed = (self.owed + pace.due()?.count() as u64).min(pace.per_second());
            self.ask_owed()?;
        }
        let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        for key in ready.into_iter().filter(|key| *key != PACE.0) {
            self.turn_of(key)?;
            after_you();
        }
        Ok(())
    }

    fn ask_owed(&mut self) -> Result<()> {
        for key in 0..self.slots.len() {
            if self.owed > 0 && self.slots[key].begun.is_none() {
                self.owed -= 1;
                self.slots[key].begun = Some(now());
                self.turn_of(key)?;
                after_you();
            }
        }
        Ok(())
    }

    fn turn_of(&mut self, key: usize) -> Result<()> {
        loop {
            let progress = self.slots[key].turn(&mut self.buffer)?;
            self.tally.bytes += std::mem::take(&mut self.slots[key].moved_bytes);
            let Progress::Answered { keeps_alive } = progress else { return Ok(()) };
            self.tally.operations += 1;
            let took = self.slots[key].begun.map(|begun| begun.elapsed()).unwrap_or_default();
            self.tally.latency.record(took.as_nanos() as u64);
            if !keeps_alive {
                self.slots[key] = self.connect(key)?;
            }
            self.slots[key].begun = match &self.pace {
                None => Some(now()),
                Some(_) if self.owed > 0 => {
                    self.owed -= 1;
                    Some(now())
                }
                Some(_) => None,
            };
        }
    }
}

impl Slot {
    fn turn(&mut self, buffer: &mut [u8]) -> Result<Progress> {
        if self.begun.is_none() {
            return Ok(Progress::Waiting);
        }
        loop {
            let sends = self.send()?;
            let count = match self.stream.read(buffer) {
                Ok(0) => return fault("a connection ended before the answer did"),
                Ok(count) => count,
                Err(error) if is_later(error.kind()) => {
                    // What could not be sent will be announced; what can be is sent now.
                    match sends {
                        true => continue,
                        false => return Ok(Progress::Waiting),
                    }
                }
                Err(error) => return Err(error).during("receiving"),
            };
            if let Some(keeps_alive) = self.take(&buffer[..count])? {
                return Ok(Progress::Answered { keeps_alive });
            }
        }
    }

    /// Sends a bit; true if more can be sent at once.
    fn send(&mut self) -> Result<bool> {
        let exchange = Rc::clone(&self.exchange);
        let head_bytes = exchange.head.len() as u64;
        let whole = head_bytes + exchange.upload_bytes;
        if self.sent == whole {
            return Ok(false);
        }
        let bytes = if self.sent < head_bytes {
            &exchange.head[self.sent as usize..]
        } else {
            let at = ((self.sent - head_bytes) % PATTERN_BYTES as u64) as usize;
            let most = (whole - self.sent).min(PATTERN_BYTES as u64) as usize;
            &doubled_pattern()[at..at + most]
        };
        match self.stream.write(bytes) {
            Ok(count) => {
                self.moved_bytes += if self.sent < head_bytes { 0 } else { count as u64 };
                self.sent += count as u64;
            }
            Err(error) if is_later(error.kind()) => return Ok(false),
            Err(error) => return Err(error).during("sending"),
        }
        Ok(self.sent < whole)
    }

    /// Takes a bit of the answer; says at its end whether the connection goes on.
    fn take(&mut self, bytes: &[u8]) -> Result<Option<bool>> {
        let Some(mut body) = self.body else {
            self.head.extend_from_slice(bytes);
            let Some(end) = head_end(&self.head) else { return Ok(None) };
            let rest = self.head.split_off(end);
            self.body = Some(self.begin_body()?);
            self.head.clear();
            return self.take(&rest);
        };
        if body.done + bytes.len() as u64 > body.length {
            return fault("an answer is longer than it said");
        }
        match &self.exchange.answer {
            Answer::Pattern(_) => check_pattern(bytes, body.done)?,
            Answer::Text(_) => self.text.extend_from_slice(bytes),
            Answer::Anything => {}
        }
        body.done += bytes.len() as u64;
        self.moved_bytes += bytes.len() as u64;
        self.body = Some(body);
        if body.done < body.length {
            return Ok(None);
        }
        if let Answer::Text(expected) = &self.exchange.answer
            && self.text != expected.as_bytes()
        {
            return fault(format!("the answer is {:?}", String::from_utf8_lossy(&self.text)));
        }
        self.text.clear();
        self.body = None;
        self.sent = 0;
        Ok(Some(body.keeps_alive))
    }

    fn begin_body(&self) -> Result<Body> {
        let head = String::from_utf8_lossy(&self.head);
        let first = head.lines().next().unwrap_or_default();
        if !first.contains(&format!(" {} ", self.exchange.status)) {
            return fault(format!("a request was answered with {first}"));
        }
        let length = header_value(&head, "content-length").and_then(|length| length.parse().ok());
        let Some(length) = length else { return fault("an answer does not say its length") };
        if matches!(self.exchange.answer, Answer::Pattern(expected) if expected != length) {
            return fault(format!("an answer has {length} bytes"));
        }
        let closes =
            header_value(&head, "connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
        Ok(Body { done: 0, length, keeps_alive: !closes })
    }
}

fn check_pattern(mut bytes: &[u8], done: u64) -> Result<()> {
    let mut at = (done % PATTERN_BYTES as u64) as usize;
    while !bytes.is_empty() {
        let (part, rest) = bytes.split_at(bytes.len().min(PATTERN_BYTES));
        if doubled_pattern()[at..at + part.len()] != *part {
            return fault("what was downloaded is not what was sent");
        }
        at = (at + part.len()) % PATTERN_BYTES;
        bytes = rest;
    }
    Ok(())
}

impl Load for Http {
    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    fn step(&mut self, patience: Duration) -> Result<()> {
        self.turn(patience)
    }

    /// At least one answer, however large it is.
    fn is_over(&self, elapsed: Duration, time: Duration) -> bool {
        let has_some = self.tally.operations > 0 || self.pace.is_some();
        elapsed >= time && has_some || elapsed >= time + PATIENCE
    }
}
