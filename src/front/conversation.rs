//! One client's connection: request after request, until it ends, is handed over or switches.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Response};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Registry, Token};

use super::buffers::Buffers;
use super::head::{Found, read_request, space};
use super::links::{Links, Watched};
use super::passage::{Passage, Progress};
use super::write::{Manner, Today, put_own};
use super::{FrontSettings, HandedOver, Permit, Received, Reception, Story, Switched};
use crate::clock::Millis;
use crate::live::Mailbox;
use crate::refusal::Refusal;

/// The longest head that is read here.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Steps of one turn, each a read of at most one buffer, so that no connection starves the others.
const STEPS_PER_TURN: usize = 8;
/// How long a client that is told to go may go on sending, so that it gets to read why.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// What a turn needs from its thread.
pub(super) struct Tools<S: Story> {
    pub(super) story: Arc<S>,
    pub(super) settings: FrontSettings,
    pub(super) registry: Registry,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) links: Links,
    pub(super) buffers: Buffers,
    pub(super) today: Today,
    pub(super) now: Millis,
    pub(super) is_draining: bool,
}

/// How a turn ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing to do before the next event.
    Idle,
    /// It has had its share; there is more to do.
    Again,
    /// Drop it.
    Over,
    /// Hand it over, with what was read.
    HandOver(Vec<u8>),
    /// Both sides have switched protocols.
    Adopt,
}

/// What a step leads to.
pub(super) enum Step {
    /// Another step.
    On,
    /// An event.
    Wait,
    /// The end of the turn.
    End(Outcome),
}

/// The client's socket and what it has not taken yet.
pub(super) struct ClientLeg {
    socket: TcpStream,
    token: Token,
    watched: Watched,
    pub(super) readable: bool,
    /// The client is gone, or sends no more.
    ended: bool,
    pending: Vec<u8>,
    pending_start: usize,
    blocked_since: Option<Millis>,
}

impl ClientLeg {
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked_since.is_some()
    }

    /// Sends what goes, and keeps the rest. Nothing else may be pending.
    pub(super) fn send(
        &mut self,
        mut bytes: &[u8],
        buffers: &mut Buffers,
        now: Millis,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(length) => bytes = &bytes[length..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.pending = buffers.copy(bytes);
                    (self.pending_start, self.blocked_since) = (0, Some(now));
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends more of what is pending.
    fn flush(&mut self, buffers: &mut Buffers, now: Millis) -> io::Result<()> {
        while self.pending_start < self.pending.len() {
            match self.socket.write(&self.pending[self.pending_start..]) {
                Ok(length) => {
                    self.pending_start += length;
                    self.blocked_since = Some(now);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        buffers.give_back(std::mem::take(&mut self.pending));
        self.blocked_since = None;
        Ok(())
    }

    fn watch(&mut self, registry: &Registry) -> io::Result<()> {
        let wanted = if self.is_blocked() { Watched::Both } else { Watched::Reading };
        self.watched.raise(wanted, &mut self.socket, self.token, registry)
    }

    fn into_socket(mut self, registry: &Registry) -> io::Result<TcpStream> {
        if self.watched != Watched::No {
            registry.deregister(&mut self.socket)?;
        }
        Ok(self.socket)
    }
}

/// What the client wants of an answer.
#[derive(Debug)]
pub(super) struct Asked {
    /// It is to be the last one.
    pub(super) closes: bool,
    /// It is to have no body.
    pub(super) without_body: bool,
    /// What was read behind the request.
    pub(super) behind: Vec<u8>,
}

enum State<S: Story> {
    /// A request is to come, by then; so much of it has come.
    Head { part: Vec<u8>, deadline: Millis },
    /// A request is on its way.
    Passage(Box<Passage<S>>),
    /// Ends once everything was sent.
    Closing,
    /// Everything was sent; what the client sends yet is of no interest.
    Lingering { deadline: Millis },
}

/// One client's connection.
pub(super) struct Conversation<S: Story> {
    client: ClientLeg,
    address: SocketAddr,
    permit: Permit,
    state: State<S>,
}

impl<S: Story> Conversation<S> {
    pub(super) fn new(
        socket: TcpStream,
        address: SocketAddr,
        permit: Permit,
        slot: usize,
        tools: &Tools<S>,
    ) -> Self {
        let client = ClientLeg {
            socket,
            token: Token(slot * 2),
            watched: Watched::No,
            // Often the request is there already.
            readable: true,
            ended: false,
            pending: Vec::new(),
            pending_start: 0,
            blocked_since: None,
        };
        let deadline = tools.now.plus(tools.settings.header_timeout);
        Self { client, address, permit, state: State::Head { part: Vec::new(), deadline } }
    }

    pub(super) fn note(&mut self, event: &Event) {
        let ended = event.is_read_closed() || event.is_error();
        self.client.readable |= event.is_readable() || ended;
        self.client.ended |= ended;
    }

    /// Goes on as far as it goes now.
    pub(super) fn turn(&mut self, slot: usize, tools: &mut Tools<S>) -> Outcome {
        for _ in 0..STEPS_PER_TURN {
            if self.client.is_blocked() {
                match self.client.flush(&mut tools.buffers, tools.now) {
                    Ok(()) if self.client.is_blocked() => return self.rest(tools),
                    Ok(()) => {}
                    Err(_) => return Outcome::Over,
                }
            }
            match self.step(slot, tools) {
                Step::On => {}
                Step::Wait => return self.rest(tools),
                Step::End(outcome) => return outcome,
            }
        }
        Outcome::Again
    }

    /// Waits for an event. A client that has gone is not waited for.
    fn rest(&mut self, tools: &Tools<S>) -> Outcome {
        let is_gone = self.client.ended && matches!(self.state, State::Passage(_));
        match self.client.watch(&tools.registry) {
            Ok(()) if !is_gone => Outcome::Idle,
            _ => Outcome::Over,
        }
    }

    fn step(&mut self, slot: usize, tools: &mut Tools<S>) -> Step {
        match &mut self.state {
            State::Head { .. } => self.read_head(slot, tools),
            State::Passage(passage) => {
                let progress = passage.step(slot, &mut self.client, tools);
                self.after(progress, tools)
            }
            State::Closing => {
                // Unread bytes would have the system reset the connection, answer and all.
                if !self.client.readable || self.client.socket.shutdown(Shutdown::Write).is_err() {
                    return Step::End(Outcome::Over);
                }
                self.state = State::Lingering { deadline: tools.now.plus(LINGER_MAX) };
                Step::On
            }
            State::Lingering { .. } => match self.client.socket.read(&mut tools.buffers.scratch) {
                Ok(1..) => Step::On,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Step::Wait,
                Ok(0) | Err(_) => Step::End(Outcome::Over),
            },
        }
    }

    fn read_head(&mut self, slot: usize, tools: &mut Tools<S>) -> Step {
        let State::Head { part, .. } = &mut self.state else { return Step::On };
        if !self.client.readable {
            let is_over = tools.is_draining && part.is_empty();
            return if is_over { Step::End(Outcome::Over) } else { Step::Wait };
        }
        let start = part.len();
        let scratch = &mut tools.buffers.scratch;
        scratch[..start].copy_from_slice(part);
        let length = match self.client.socket.read(&mut scratch[start..HEAD_BYTES_MAX]) {
            Ok(0) => return Step::End(Outcome::Over),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.client.readable = false;
                return Step::On;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Step::On,
            Err(_) => return Step::End(Outcome::Over),
        };
        let end = start + length;
        self.client.readable = self.client.ended || end == HEAD_BYTES_MAX;
        if start > 0 {
            let part = std::mem::take(part);
            // Without another line's end there is no more to understand than before.
            if !scratch[start..end].contains(&b'\n') && end < tools.settings.header_bytes_max {
                return self.wait_for_the_rest(part, start, end, tools);
            }
            tools.buffers.give_back(part);
        }
        self.judge_head(end, slot, tools)
    }

    /// Keeps the part of a head that has come. The time for it runs from its first byte.
    fn wait_for_the_rest(
        &mut self,
        mut part: Vec<u8>,
        start: usize,
        end: usize,
        tools: &mut Tools<S>,
    ) -> Step {
        part.extend_from_slice(&tools.buffers.scratch[start..end]);
        if let State::Head { part: kept, deadline } = &mut self.state {
            if start == 0 {
                *deadline = tools.now.plus(tools.settings.header_timeout);
            }
            *kept = part;
        }
        Step::On
    }

    fn judge_head(&mut self, length: usize, slot: usize, tools: &mut Tools<S>) -> Step {
        match read(length, self.address, tools) {
            Reading::Part => {
                let part = tools.buffers.lend();
                self.wait_for_the_rest(part, 0, length, tools)
            }
            Reading::TooLarge => {
                let refusal = Refusal::HeadersTooLarge;
                let response = tools.story.refuse_unread(self.address, refusal);
                self.client.readable = true;
                let asked = Asked { closes: true, without_body: false, behind: Vec::new() };
                self.answer(&response, &asked, tools)
            }
            Reading::Whole(_, Reception::HandOver) | Reading::Strange => {
                Step::End(Outcome::HandOver(tools.buffers.scratch[..length].to_vec()))
            }
            Reading::Whole(asked, Reception::Refuse(response)) => {
                self.client.readable |= !asked.behind.is_empty();
                self.answer(&response, &asked, tools)
            }
            Reading::Whole(asked, Reception::Forward(forward)) => {
                let closing = S::entry(&forward.errand).sit(Arc::clone(&tools.mailbox), slot);
                self.state = State::Passage(Box::new(Passage::new(*forward, asked, tools)));
                if closing.is_some() {
                    return self.obey_level(tools);
                }
                Step::On
            }
        }
    }

    /// Sends an answer of our own.
    fn answer(
        &mut self,
        response: &Response<Bytes>,
        asked: &Asked,
        tools: &mut Tools<S>,
    ) -> Step {
        let closes = asked.closes || tools.is_draining || says_close(response.headers());
        let manner = Manner { closes, without_body: asked.without_body, now: tools.now };
        let mut out = std::mem::take(&mut tools.buffers.out);
        out.clear();
        put_own(&mut out, response, manner, &mut tools.today);
        let sent = self.client.send(&out, &mut tools.buffers, tools.now);
        tools.buffers.out = out;
        match sent {
            Ok(()) => self.go_on(closes, tools),
            Err(_) => Step::End(Outcome::Over),
        }
    }

    /// An answer was sent, or will be.
    fn go_on(&mut self, closes: bool, tools: &Tools<S>) -> Step {
        let deadline = tools.now.plus(tools.settings.header_timeout);
        self.state = match closes {
            true => State::Closing,
            false => State::Head { part: Vec::new(), deadline },
        };
        Step::On
    }

    fn after(&mut self, progress: Progress, tools: &mut Tools<S>) -> Step {
        match progress {
            Progress::On => Step::On,
            Progress::Wait => Step::Wait,
            Progress::Cut => Step::End(Outcome::Over),
            Progress::Adopt => Step::End(Outcome::Adopt),
            Progress::Refuse(refusal) => {
                let Some((mut errand, asked)) = self.end_passage(tools) else { return Step::On };
                let response = tools.story.refuse(&mut errand, refusal);
                drop(errand);
                self.answer(&response, &asked, tools)
            }
            Progress::Done { closes } => {
                self.end_passage(tools);
                self.go_on(closes, tools)
            }
        }
    }

    /// Ends a request's way; its connection to the runtime is closed unless it was kept.
    fn end_passage(&mut self, tools: &mut Tools<S>) -> Option<(S::Errand, Asked)> {
        match std::mem::replace(&mut self.state, State::Closing) {
            State::Passage(passage) => Some(passage.end(tools)),
            state => {
                self.state = state;
                None
            }
        }
    }

    /// Reads the closing level of the request that is under way; a turn must follow [`Step::On`].
    pub(super) fn obey_level(&mut self, tools: &mut Tools<S>) -> Step {
        let State::Passage(passage) = &self.state else { return Step::Wait };
        let Some(cause) = S::entry(passage.errand()).closing() else { return Step::Wait };
        if passage.is_switched() {
            // The relay plane tells both sides.
            return Step::Wait;
        }
        if passage.is_answered() {
            return Step::End(Outcome::Over);
        }
        let Some((mut errand, asked)) = self.end_passage(tools) else { return Step::Wait };
        let response = tools.story.refuse_closed(&mut errand, cause);
        drop(errand);
        self.answer(&response, &asked, tools)
    }

    /// Applies the deadlines and the closing level; a turn must follow [`Step::On`].
    pub(super) fn check(&mut self, tools: &mut Tools<S>) -> Step {
        let now = tools.now;
        let stalled_since = self.client.blocked_since.map(|since| now.since(since));
        if stalled_since.is_some_and(|span| span >= tools.settings.write_stall_max) {
            return Step::End(Outcome::Over);
        }
        let timed_out = match &self.state {
            State::Head { deadline, .. } | State::Lingering { deadline } if now >= *deadline => {
                return Step::End(Outcome::Over);
            }
            State::Passage(passage) if passage.is_switch_late(now) => {
                return Step::End(Outcome::Over);
            }
            State::Passage(passage) => passage.timed_out(now),
            _ => None,
        };
        match (timed_out, self.obey_level(tools)) {
            (Some(refusal), Step::Wait) => self.after(Progress::Refuse(refusal), tools),
            // Systems tell of room only when there is much of it, hence a try.
            (None, Step::Wait) if self.client.is_blocked() => Step::On,
            (_, step) => step,
        }
    }

    /// Whether it waits for a request of which nothing has come.
    pub(super) fn is_idle(&self) -> bool {
        let is_waiting = matches!(&self.state, State::Head { part, .. } if part.is_empty());
        is_waiting && !self.client.is_blocked() && !self.client.readable
    }

    /// Gives back what it holds of its thread's. Its socket closes when it is dropped.
    pub(super) fn let_go(&mut self, tools: &mut Tools<S>) {
        self.end_passage(tools);
        tools.buffers.give_back(std::mem::take(&mut self.client.pending));
    }

    pub(super) fn into_handed_over(
        self,
        read: Vec<u8>,
        registry: &Registry,
    ) -> io::Result<HandedOver> {
        let socket = self.client.into_socket(registry)?.into();
        Ok(HandedOver { socket, read, address: self.address, permit: self.permit })
    }

    pub(super) fn into_switched(
        self,
        tools: &mut Tools<S>,
    ) -> io::Result<(S::Errand, Switched)> {
        let State::Passage(passage) = self.state else {
            return Err(io::Error::other("nothing was switched"));
        };
        let client = self.client.into_socket(&tools.registry)?;
        let (errand, runtime, read_ahead) = passage.into_switched(tools)?;
        let sockets = [client, runtime];
        Ok((errand, Switched { sockets, read_ahead, permit: self.permit }))
    }
}

enum Reading<E> {
    Part,
    TooLarge,
    /// Somebody else has to look at it.
    Strange,
    Whole(Asked, Reception<E>),
}

/// Reads a head out of the thread's scratch buffer and has it judged.
fn read<S: Story>(
    length: usize,
    address: SocketAddr,
    tools: &mut Tools<S>,
) -> Reading<S::Errand> {
    let Buffers { scratch, out, .. } = &mut tools.buffers;
    let bytes = &scratch[..length];
    let header_bytes_max = tools.settings.header_bytes_max;
    let mut space = space();
    let head = match read_request(bytes, &mut space) {
        Found::Part if length >= header_bytes_max => return Reading::TooLarge,
        Found::Part if length == HEAD_BYTES_MAX => return Reading::Strange,
        Found::Part => return Reading::Part,
        Found::Bad => return Reading::Strange,
        Found::Head(head) if head.length > header_bytes_max => return Reading::TooLarge,
        Found::Head(head) => head,
    };
    if !is_simple(&head.parts) {
        return Reading::Strange;
    }
    let behind = &bytes[head.length..];
    let asked = Asked {
        closes: says_close(&head.parts.headers),
        without_body: head.parts.method == Method::HEAD,
        behind: behind.to_vec(),
    };
    out.clear();
    let has_more = !behind.is_empty();
    let received = Received { parts: head.parts, written: head.written, address, has_more };
    Reading::Whole(asked, tools.story.receive(received, out))
}

/// No body, and nobody waits to be asked for one.
fn is_simple(parts: &Parts) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE)
        && ![CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT]
            .iter()
            .any(|name| parts.headers.contains_key(name))
}

/// Whether a message's sender wants it to be the last one (RFC 9112 section 9.6).
pub(super) fn says_close(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}
