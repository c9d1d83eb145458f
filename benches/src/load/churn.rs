//! Handshakes: connect, upgrade, one echo, Close frames both ways, end; again and again.
//!
//! The runtime ends the connection first, as RFC 6455 (section 7.1.1) wants it, so that no port of
//! the generator's is left waiting.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;

use super::client::{check_answer, is_later};
use super::socket::Socket;
use super::{Entrance, Load, Tally, after_you};
use crate::clock::now;
use crate::fault::{During, Result, fault};
use crate::tls::{Handshakes, Speech};
use crate::websocket::{
    BINARY, CLOSE, FIN, Message, READ_BYTES_MAX, client_frame, head_end, header,
};

/// Writes the next request into an empty buffer.
pub type NextRequest = Box<dyn FnMut(&mut Vec<u8>)>;

enum Step {
    Upgrading,
    Echoing,
    Closing,
}

struct Slot {
    stream: Socket,
    /// The client's own, with its sessions.
    tls: Option<Arc<ClientConfig>>,
    is_first: bool,
    step: Step,
    out: Vec<u8>,
    sent: usize,
    answer: Vec<u8>,
    begun: Instant,
}

/// Clients that come and go, `at_once` of them.
pub struct Churn {
    entrance: Entrance,
    poll: Poll,
    events: Events,
    slots: Vec<Slot>,
    next_request: NextRequest,
    expected: Expected,
    tally: Tally,
    buffer: Vec<u8>,
}

/// What is sent after the handshake, and what must come back.
struct Expected {
    frame: Vec<u8>,
    echo: Vec<u8>,
    close: Vec<u8>,
    closed: Vec<u8>,
}

impl Churn {
    /// Begins.
    pub fn begin(
        entrance: impl Into<Entrance>,
        at_once: usize,
        next_request: NextRequest,
    ) -> Result<Self> {
        let message = Message::new(64, 0);
        let code = 1000_u16.to_be_bytes();
        let expected = Expected {
            echo: message.echoes[..message.echo_bytes].to_vec(),
            frame: message.frames,
            close: client_frame(CLOSE, &code),
            closed: [header(FIN | CLOSE, 2, None), code.to_vec()].concat(),
        };
        debug_assert_eq!(expected.echo[0], FIN | BINARY);
        let mut churn = Self {
            entrance: entrance.into(),
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            slots: Vec::new(),
            next_request,
            expected,
            tally: Tally::default(),
            buffer: vec![0; READ_BYTES_MAX],
        };
        for key in 0..at_once {
            let tls = churn.entrance.tls.as_ref().map(Speech::of_a_client);
            let mut slot = churn.start(key, Vec::new(), tls)?;
            slot.is_first = true;
            churn.slots.push(slot);
        }
        Ok(churn)
    }

    fn start(
        &mut self,
        key: usize,
        mut out: Vec<u8>,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Slot> {
        out.clear();
        (self.next_request)(&mut out);
        let mut stream = Socket::connect(self.entrance.address, tls.as_ref())?;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(key), both)?;
        Ok(Slot {
            stream,
            tls,
            is_first: false,
            step: Step::Upgrading,
            out,
            sent: 0,
            answer: Vec::new(),
            begun: now(),
        })
    }

    fn turn(&mut self, patience: Duration) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            outcome => outcome.during("waiting")?,
        }
        let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        for key in ready {
            if self.slots[key].turn(&mut self.buffer, &self.expected)? {
                self.tally.operations += 1;
                let took = self.slots[key].begun.elapsed();
                self.tally.latency.record(took.as_nanos() as u64);
                let slot = &mut self.slots[key];
                slot.check_resumption(self.entrance.tls.as_ref())?;
                let (out, tls) = (std::mem::take(&mut slot.out), slot.tls.take());
                self.slots[key] = self.start(key, out, tls)?;
            }
            after_you();
        }
        Ok(())
    }
}

impl Slot {
    /// Does what can be done now; true once it is over.
    fn turn(&mut self, buffer: &mut [u8], expected: &Expected) -> Result<bool> {
        loop {
            while self.sent < self.out.len() {
                match self.stream.write(&self.out[self.sent..]) {
                    Ok(count) => self.sent += count,
                    Err(error) if is_later(error.kind()) => return Ok(false),
                    Err(error) => return Err(error).during("a handshake"),
                }
            }
            match self.stream.read(buffer) {
                Ok(0) => return self.end(expected).map(|()| true),
                Ok(count) => self.answer.extend_from_slice(&buffer[..count]),
                Err(error) if is_later(error.kind()) => return Ok(false),
                Err(error) => return Err(error).during("a handshake"),
            }
            self.advance(expected)?;
        }
    }

    /// What is to be measured was done: a full handshake, or a resumption by all but a client's first.
    fn check_resumption(&self, tls: Option<&Speech>) -> Result<()> {
        let Some(speech) = tls else { return Ok(()) };
        let expected = speech.handshakes == Handshakes::Resumed && !self.is_first;
        match self.stream.has_resumed() == Some(expected) {
            true => Ok(()),
            false if expected => fault("a TLS session was not resumed"),
            false => fault("a TLS session was resumed"),
        }
    }

    fn advance(&mut self, expected: &Expected) -> Result<()> {
        match self.step {
            Step::Upgrading if head_end(&self.answer).is_some() => {
                check_answer(&self.answer)?;
                self.stream.set_nodelay()?;
                self.step = Step::Echoing;
                self.send(&expected.frame);
            }
            Step::Echoing if self.answer.len() >= expected.echo.len() => {
                if self.answer != expected.echo {
                    return fault("what came back is not what was sent");
                }
                self.step = Step::Closing;
                self.send(&expected.close);
            }
            _ => {}
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) {
        self.answer.clear();
        self.out.clear();
        self.out.extend_from_slice(bytes);
        self.sent = 0;
    }

    fn end(&self, expected: &Expected) -> Result<()> {
        match self.step {
            Step::Closing if self.answer == expected.closed => Ok(()),
            Step::Closing => fault("a connection ended without the echo of its Close frame"),
            Step::Upgrading => fault("a handshake was not answered"),
            Step::Echoing => fault("a connection ended before its message came back"),
        }
    }
}

impl Load for Churn {
    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    fn step(&mut self, patience: Duration) -> Result<()> {
        self.turn(patience)
    }
}
