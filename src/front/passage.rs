//! A request's way to its runtime, and the answer's way back.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;

use super::client_leg::ClientLeg;
use super::conversation::Tools;
use super::framing::Framing;
use super::links::{Taken, Watched};
use super::reading::Asked;
use super::request_body::Fault;
use super::{Destination, Forward, Story};
use crate::clock::Millis;
use crate::descriptors::dial_refusal;
use crate::own_network::Network;
use crate::refusal::Refusal;

mod answer;
mod upload;

use upload::Upload;

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
    network: Option<Network>,
    last_error: String,
    is_handshake: bool,
    phase: Phase,
    deadline: Millis,
    link: Option<usize>,
    /// The link served another request before, and nothing has come of this one.
    is_kept: bool,
    keeps_link: bool,
    /// What a runtime has not read of it would be taken for the next request.
    has_body: bool,
    /// Its head for the runtime, and what was read of its body with the client's.
    request: Vec<u8>,
    sent: usize,
    /// The rest of its body.
    upload: Option<Upload>,
    /// The part of the answer's head that has come; behind a 101, what belongs to the new protocol.
    answer: Vec<u8>,
    framing: Framing,
    closes: bool,
}

impl<S: Story> Passage<S> {
    /// Begins the way of a request whose head for the runtime is in the thread's `out`. It is to be
    /// refused at once if there is a fault in what has come of its body.
    pub(super) fn new(
        forward: Forward<S::Errand>,
        mut asked: Asked,
        tools: &mut Tools<S>,
    ) -> (Self, Option<Fault>) {
        let request = tools.buffers.lend();
        // The two change places, so that nothing is copied.
        let mut request = std::mem::replace(&mut tools.buffers.out, request);
        let has_body = asked.body.is_some();
        let begun = Upload::begin(&mut asked, &mut request, &mut tools.buffers, tools.now);
        let (upload, fault) = match begun {
            Ok(upload) => (upload, None),
            Err(fault) => (None, Some(fault)),
        };
        let passage = Self {
            errand: forward.errand,
            asked,
            destination: forward.destination,
            addresses: forward.addresses,
            network: forward.network,
            last_error: String::new(),
            is_handshake: forward.is_handshake,
            phase: if forward.changes_nothing { Phase::Send } else { Phase::Dial },
            deadline: tools.now.plus(tools.settings.connect_timeout),
            link: None,
            is_kept: forward.changes_nothing,
            keeps_link: false,
            has_body,
            request,
            sent: 0,
            upload,
            answer: Vec::new(),
            framing: Framing::Done,
            closes: true,
        };
        (passage, fault)
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
            Phase::Answer | Phase::Body => self.exchange(client, tools),
            // Whatever was pending has gone by now.
            Phase::Switch => Progress::Adopt,
        }
    }

    /// Both ways at once: a runtime may answer before it has read everything, and a client send on before
    /// it reads.
    fn exchange(&mut self, client: &mut ClientLeg, tools: &mut Tools<S>) -> Progress {
        let up = match self.upload {
            Some(_) => self.carry_body(client, tools),
            None => Progress::Wait,
        };
        if client.is_blocked() || !matches!(up, Progress::On | Progress::Wait) {
            return up;
        }
        let down = match (self.phase, &self.framing) {
            (Phase::Answer, _) => self.read_answer(client, tools),
            (_, Framing::Done) => self.after_answer(),
            _ => self.read_body(client, tools),
        };
        match (up, down) {
            (Progress::On, Progress::Wait) => Progress::On,
            (_, down) => down,
        }
    }

    /// The end, once all of the request has gone, too.
    fn after_answer(&self) -> Progress {
        match self.upload {
            Some(_) => Progress::Wait,
            None => Progress::Done { closes: self.closes || !self.asked.is_read },
        }
    }

    fn dial(&mut self, slot: usize, tools: &mut Tools<S>) -> Progress {
        let Some(address) = self.addresses.pop() else {
            return Progress::Refuse(Refusal::RuntimeUnreachable(self.last_error.clone()));
        };
        match tools.links.dial(address, self.network.as_ref(), slot) {
            Ok(id) => {
                if let Some(link) = tools.links.get(id)
                    && let Err(error) = tools.settings.probes.watch(&link.socket)
                {
                    tracing::debug!(%address, %error, "a runtime's socket cannot be watched");
                }
                self.link = Some(id);
                self.last_error = address.to_string();
                self.phase = Phase::Send;
            }
            Err(error) => match dial_refusal(&error, format!("{address}: {error}")) {
                Refusal::RuntimeUnreachable(why) => self.last_error = why,
                refusal => return Progress::Refuse(refusal),
            },
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
            Ok(length) => {
                if self.is_handshake && self.sent == 0 {
                    tools.story.connected(&mut self.errand);
                }
                self.sent += length;
            }
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

    /// The client did not take its 101 in time.
    pub(super) fn is_switch_late(&self, now: Millis) -> bool {
        self.is_switched() && now >= self.deadline
    }

    /// Ends it. Its link is kept for the next request if the answer allows that, else closed.
    pub(super) fn end(mut self, tools: &mut Tools<S>) -> (S::Errand, Asked) {
        let is_whole = self.phase == Phase::Body && self.framing == Framing::Done;
        self.let_go_of_upload(tools);
        if is_whole
            && self.asked.is_read
            && self.keeps_link
            && !self.has_body
            && let Some(id) = self.link.take()
        {
            tools.links.keep(id, self.destination, tools.now);
        }
        self.drop_link(tools);
        tools.buffers.give_back(self.request);
        (self.errand, self.asked)
    }

    /// Takes it apart for whoever relays, with the runtime's socket.
    pub(super) fn into_switched(
        self,
        tools: &mut Tools<S>,
    ) -> Option<(S::Errand, Taken, [Vec<u8>; 2])> {
        let runtime = tools.links.take_out(self.link?)?;
        tools.buffers.give_back(self.request);
        Some((self.errand, runtime, [self.asked.behind, self.answer]))
    }
}
