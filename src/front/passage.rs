//! A request's way to its runtime, and the answer's way back.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use http::StatusCode;
use http::header::CONTENT_LENGTH;
use mio::net::TcpStream;

use super::buffers::{Buffers, CHUNK_ROOM};
use super::conversation::{Asked, ClientLeg, Tools, says_close};
use super::framing::Framing;
use super::head::{AnswerHead, Found, read_answer, space};
use super::links::Watched;
use super::write::{Manner, put, put_end, put_headers, put_status};
use super::{Answer, Destination, Forward, Story};
use crate::clock::Millis;
use crate::refusal::Refusal;

/// What a step leads to.
pub(super) enum Progress {
    /// Another step.
    On,
    /// An event.
    Wait,
    /// The client is told no.
    Refuse(Refusal),
    /// The whole answer is on its way.
    Done {
        /// Nothing may follow it.
        closes: bool,
    },
    /// The answer breaks off.
    Cut,
    /// The client has its 101.
    Adopt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The next address is to be dialled.
    Dial,
    /// The request is being sent.
    Send,
    /// The head of the answer is waited for.
    Answer,
    /// The client has got the head of the answer; its body follows.
    Body,
    /// The client is being told that protocols are switched.
    Switch,
}

/// A request on its way.
pub(super) struct Passage<S: Story> {
    errand: S::Errand,
    asked: Asked,
    destination: Destination,
    addresses: Vec<SocketAddr>,
    last_error: String,
    is_handshake: bool,
    phase: Phase,
    deadline: Millis,
    link: Option<usize>,
    /// The link served another request before, and nothing has come of this one.
    is_kept: bool,
    keeps_link: bool,
    request: Vec<u8>,
    sent: usize,
    /// The part of the answer's head that has come; behind a 101, what belongs to the new protocol.
    answer: Vec<u8>,
    framing: Framing,
    closes: bool,
}

impl<S: Story> Passage<S> {
    /// Begins the way of a request whose head for the runtime is in the thread's `out`.
    pub(super) fn new(
        forward: Forward<S::Errand>,
        asked: Asked,
        tools: &mut Tools<S>,
    ) -> Self {
        let request = tools.buffers.lend();
        let request = {
            // The two change places, so that nothing is copied.
            let out = &mut tools.buffers.out;
            std::mem::replace(out, request)
        };
        Self {
            errand: forward.errand,
            asked,
            destination: forward.destination,
            addresses: forward.addresses,
            last_error: String::new(),
            is_handshake: forward.is_handshake,
            phase: if forward.changes_nothing { Phase::Send } else { Phase::Dial },
            deadline: tools.now.plus(tools.settings.connect_timeout),
            link: None,
            is_kept: forward.changes_nothing,
            keeps_link: false,
            request,
            sent: 0,
            answer: Vec::new(),
            framing: Framing::Done,
            closes: true,
        }
    }

    pub(super) fn errand(&self) -> &S::Errand {
        &self.errand
    }

    /// The client has got the head of an answer.
    pub(super) fn is_answered(&self) -> bool {
        self.phase == Phase::Body
    }

    /// The runtime has switched protocols.
    pub(super) fn is_switched(&self) -> bool {
        self.phase == Phase::Switch
    }

    /// What the client is told if the runtime has had its time.
    pub(super) fn timed_out(&self, now: Millis) -> Option<Refusal> {
        let what = match self.phase {
            Phase::Dial | Phase::Send => "the runtime did not accept the connection",
            Phase::Answer if self.is_handshake => "no answer to the handshake",
            Phase::Answer => "no answer to the request",
            Phase::Body | Phase::Switch => return None,
        };
        (now >= self.deadline).then_some(Refusal::RuntimeTimedOut(what))
    }

    pub(super) fn step(
        &mut self,
        slot: usize,
        client: &mut ClientLeg,
        tools: &mut Tools<S>,
    ) -> Progress {
        match self.phase {
            Phase::Dial => self.dial(slot, tools),
            Phase::Send => self.send(slot, tools),
            Phase::Answer => self.read_answer(client, tools),
            Phase::Body => self.read_body(client, tools),
            // Whatever was pending has gone by now.
            Phase::Switch => Progress::Adopt,
        }
    }

    fn dial(&mut self, slot: usize, tools: &mut Tools<S>) -> Progress {
        let Some(address) = self.addresses.pop() else {
            return Progress::Refuse(Refusal::RuntimeUnreachable(self.last_error.clone()));
        };
        match tools.links.dial(address, slot) {
            Ok(id) => {
                self.link = Some(id);
                self.last_error = address.to_string();
                self.phase = Phase::Send;
            }
            Err(error) => self.last_error = format!("{address}: {error}"),
        }
        Progress::On
    }

    fn send(&mut self, slot: usize, tools: &mut Tools<S>) -> Progress {
        if self.link.is_none() {
            self.link = tools.links.take_kept(self.destination, slot);
        }
        let Some((id, link)) = self.link.and_then(|id| Some((id, tools.links.get(id)?))) else {
            (self.is_kept, self.phase) = (false, Phase::Dial);
            return Progress::On;
        };
        if !link.writable {
            return Progress::Wait;
        }
        match link.socket.write(&self.request[self.sent..]) {
            Ok(length) => self.sent += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                link.writable = false;
                return match tools.links.watch(id, Watched::Both, &tools.registry) {
                    Ok(()) => Progress::Wait,
                    Err(error) => self.fail(&error.to_string(), tools),
                };
            }
            Err(error) => return self.fail(&error.to_string(), tools),
        }
        if self.sent < self.request.len() {
            return Progress::On;
        }
        let settings = &tools.settings;
        let patience =
            if self.is_handshake { settings.handshake_timeout } else { settings.response_timeout };
        (self.phase, self.deadline) = (Phase::Answer, tools.now.plus(patience));
        match tools.links.watch(id, Watched::Reading, &tools.registry) {
            Ok(()) => Progress::On,
            Err(error) => self.fail(&error.to_string(), tools),
        }
    }

    /// The link is of no use. A kept one may just have been closed: what changes nothing is sent again.
    fn fail(&mut self, why: &str, tools: &mut Tools<S>) -> Progress {
        self.drop_link(tools);
        if std::mem::take(&mut self.is_kept) {
            (self.phase, self.sent) = (Phase::Dial, 0);
            self.deadline = tools.now.plus(tools.settings.connect_timeout);
            return Progress::On;
        }
        if self.phase == Phase::Send && self.sent == 0 {
            self.last_error = format!("{}: {why}", self.last_error);
            self.phase = Phase::Dial;
            return Progress::On;
        }
        Progress::Refuse(Refusal::RuntimeBroke(why.to_owned()))
    }

    fn drop_link(&mut self, tools: &mut Tools<S>) {
        if let Some(id) = self.link.take() {
            tools.links.close(id);
        }
    }

    fn read_answer(&mut self, client: &mut ClientLeg, tools: &mut Tools<S>) -> Progress {
        let part = self.answer.len();
        let Buffers { scratch, read_bytes, .. } = &mut tools.buffers;
        let space = &mut scratch[CHUNK_ROOM..CHUNK_ROOM + *read_bytes];
        let Some(link) = self.link.and_then(|id| tools.links.get(id)) else {
            return self.fail("the connection is gone", tools);
        };
        if !link.readable {
            return Progress::Wait;
        }
        match link.socket.read(&mut space[part..]) {
            Ok(0) => self.fail("it closed the connection without an answer", tools),
            Ok(length) => {
                link.readable = link.ended || part + length == space.len();
                space[..part].copy_from_slice(&self.answer);
                // From here on it may have been carried out.
                self.is_kept = false;
                self.judge_answer(part + length, client, tools)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    link.readable = false;
                    Progress::Wait
                }
                ErrorKind::Interrupted => Progress::On,
                _ => self.fail(&error.to_string(), tools),
            },
        }
    }

    /// Looks for the head of the answer among the bytes that were read, behind interim ones.
    fn judge_answer(
        &mut self,
        length: usize,
        client: &mut ClientLeg,
        tools: &mut Tools<S>,
    ) -> Progress {
        let broke = |why: &str| Progress::Refuse(Refusal::RuntimeBroke(why.to_owned()));
        // The buffer leaves the tools for as long as its head is looked at.
        let scratch = std::mem::take(&mut tools.buffers.scratch);
        let mut bytes = &scratch[CHUNK_ROOM..CHUNK_ROOM + length];
        let header_bytes_max = tools.settings.header_bytes_max;
        let progress = loop {
            let mut space = space();
            match read_answer(bytes, &mut space) {
                Found::Part if bytes.len() < header_bytes_max => {
                    self.answer.clear();
                    self.answer.extend_from_slice(bytes);
                    break Progress::On;
                }
                Found::Bad => break broke("its answer is no HTTP"),
                Found::Head(head) if head.length <= header_bytes_max => {
                    let rest = &bytes[head.length..];
                    if head.status == StatusCode::SWITCHING_PROTOCOLS {
                        break self.switch(head, rest, client, tools);
                    }
                    if !head.status.is_informational() {
                        break self.pass(head, rest, client, tools);
                    }
                    bytes = rest;
                    if bytes.is_empty() {
                        self.answer.clear();
                        break Progress::On;
                    }
                }
                Found::Part | Found::Head(_) => break broke("its headers are too long"),
            }
        };
        tools.buffers.scratch = scratch;
        progress
    }

    /// Passes the head of an answer on, and what has come of its body.
    fn pass(
        &mut self,
        mut head: AnswerHead<'_>,
        body: &[u8],
        client: &mut ClientLeg,
        tools: &mut Tools<S>,
    ) -> Progress {
        let broke = |why: &str| Progress::Refuse(Refusal::RuntimeBroke(why.to_owned()));
        let without_body = self.asked.without_body;
        let framing =
            Framing::of_answer(without_body, head.status, head.is_http_1_1, &head.headers);
        self.framing = match framing {
            Ok(framing) => framing,
            Err(why) => return broke(why),
        };
        let is_until_end = self.framing == Framing::UntilEnd;
        let is_chunked = is_until_end || matches!(self.framing, Framing::Chunks(_));
        let (taken, outcome) = self.framing.take(body);
        if outcome.is_err() {
            return broke("its chunks are none");
        }
        // What stands behind the answer belongs to no request.
        self.keeps_link = !self.is_handshake
            && head.is_http_1_1
            && taken == body.len()
            && !says_close(&head.headers);
        let answer = Answer { status: head.status, headers: &mut head.headers };
        if let Err(refusal) = tools.story.pass(&mut self.errand, answer) {
            return Progress::Refuse(refusal);
        }
        self.closes = self.asked.closes || self.is_handshake || tools.is_draining;
        if head.status == StatusCode::NO_CONTENT {
            head.headers.remove(CONTENT_LENGTH);
        }
        let mut out = std::mem::take(&mut tools.buffers.out);
        self.put_head(&mut out, &head, is_chunked, tools);
        if is_until_end && taken > 0 {
            out.extend_from_slice(format!("{taken:x}\r\n").as_bytes());
            out.extend_from_slice(body);
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend_from_slice(&body[..taken]);
        }
        self.phase = Phase::Body;
        let sent = client.send(&out, &mut tools.buffers, tools.now);
        tools.buffers.out = out;
        self.after_body(sent)
    }

    fn put_head(
        &self,
        out: &mut Vec<u8>,
        head: &AnswerHead<'_>,
        is_chunked: bool,
        tools: &mut Tools<S>,
    ) {
        out.clear();
        put_status(out, head.status, head.reason);
        put_headers(out, head.written, &head.headers);
        if is_chunked {
            put(out, b"Transfer-Encoding", b"chunked");
        }
        let is_switch = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let manner = Manner {
            closes: self.closes && !is_switch,
            without_body: self.asked.without_body,
            now: tools.now,
        };
        put_end(out, &head.headers, manner, &mut tools.today);
    }

    fn after_body(&mut self, sent: io::Result<()>) -> Progress {
        match sent {
            Err(_) => Progress::Cut,
            Ok(()) if self.framing == Framing::Done => Progress::Done { closes: self.closes },
            Ok(()) => Progress::On,
        }
    }

    fn read_body(&mut self, client: &mut ClientLeg, tools: &mut Tools<S>) -> Progress {
        let Some(link) = self.link.and_then(|id| tools.links.get(id)) else {
            return Progress::Cut;
        };
        if !link.readable {
            return Progress::Wait;
        }
        let mut scratch = std::mem::take(&mut tools.buffers.scratch);
        let end = CHUNK_ROOM + tools.buffers.read_bytes;
        let progress = match link.socket.read(&mut scratch[CHUNK_ROOM..end]) {
            Ok(0) if self.framing == Framing::UntilEnd => {
                (self.framing, self.keeps_link) = (Framing::Done, false);
                let sent = client.send(b"0\r\n\r\n", &mut tools.buffers, tools.now);
                self.after_body(sent)
            }
            // Nothing that could be said would not be taken for the body.
            Ok(0) => Progress::Cut,
            Ok(length) => {
                link.readable = link.ended || CHUNK_ROOM + length == end;
                self.pass_body(&mut scratch, length, client, tools)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    link.readable = false;
                    Progress::Wait
                }
                ErrorKind::Interrupted => Progress::On,
                _ => Progress::Cut,
            },
        };
        tools.buffers.scratch = scratch;
        progress
    }

    /// Passes on what was read of the body: as it is, or as a chunk if it has no framing of its own.
    fn pass_body(
        &mut self,
        scratch: &mut [u8],
        length: usize,
        client: &mut ClientLeg,
        tools: &mut Tools<S>,
    ) -> Progress {
        let is_until_end = self.framing == Framing::UntilEnd;
        let (taken, outcome) = self.framing.take(&scratch[CHUNK_ROOM..CHUNK_ROOM + length]);
        self.keeps_link &= taken == length;
        let (mut start, mut end) = (CHUNK_ROOM, CHUNK_ROOM + taken);
        if is_until_end {
            let size = format!("{taken:x}\r\n");
            start -= size.len();
            scratch[start..CHUNK_ROOM].copy_from_slice(size.as_bytes());
            scratch[end..end + 2].copy_from_slice(b"\r\n");
            end += 2;
        }
        let sent = client.send(&scratch[start..end], &mut tools.buffers, tools.now);
        match outcome {
            Ok(()) => self.after_body(sent),
            Err(_) => Progress::Cut,
        }
    }

    /// Passes a 101 on.
    fn switch(
        &mut self,
        mut head: AnswerHead<'_>,
        behind: &[u8],
        client: &mut ClientLeg,
        tools: &mut Tools<S>,
    ) -> Progress {
        if !self.is_handshake {
            let why = "it switched protocols unasked".to_owned();
            return Progress::Refuse(Refusal::RuntimeBroke(why));
        }
        let answer = Answer { status: head.status, headers: &mut head.headers };
        if let Err(refusal) = tools.story.switch(&mut self.errand, answer) {
            return Progress::Refuse(refusal);
        }
        let mut out = std::mem::take(&mut tools.buffers.out);
        self.put_head(&mut out, &head, false, tools);
        self.answer = behind.to_vec();
        self.phase = Phase::Switch;
        self.deadline = tools.now.plus(tools.settings.header_timeout);
        let sent = client.send(&out, &mut tools.buffers, tools.now);
        tools.buffers.out = out;
        match sent {
            Ok(()) => Progress::On,
            Err(_) => Progress::Cut,
        }
    }

    /// The client did not take its 101 in time.
    pub(super) fn is_switch_late(&self, now: Millis) -> bool {
        self.is_switched() && now >= self.deadline
    }

    /// Ends it. Its link is kept for the next request if the answer allows that, else closed.
    pub(super) fn end(mut self, tools: &mut Tools<S>) -> (S::Errand, Asked) {
        let is_whole = self.phase == Phase::Body && self.framing == Framing::Done;
        if is_whole && self.keeps_link && let Some(id) = self.link.take() {
            tools.links.keep(id, self.destination, tools.now);
        }
        self.drop_link(tools);
        tools.buffers.give_back(self.request);
        (self.errand, self.asked)
    }

    /// Takes it apart for the relay plane.
    pub(super) fn into_switched(
        self,
        tools: &mut Tools<S>,
    ) -> io::Result<(S::Errand, TcpStream, [Vec<u8>; 2])> {
        let gone = || io::Error::other("the connection to the runtime is gone");
        let id = self.link.ok_or_else(gone)?;
        let runtime = tools.links.take_out(id, &tools.registry)?;
        tools.buffers.give_back(self.request);
        Ok((self.errand, runtime, [self.asked.behind, self.answer]))
    }
}

