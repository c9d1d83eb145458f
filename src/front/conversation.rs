//! One client's connection: request after request, until it ends, is handed over or switches.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Registry, Token};

use super::buffers::Buffers;
use super::client_leg::ClientLeg;
use super::links::Links;
use super::origin::Origin;
use super::parked::Parked;
use super::passage::{Passage, Progress};
use super::reading::{Asked, HEAD_BYTES_MAX, Reading, read, says_close};
use super::step::{Outcome, Step};
use super::write::{Manner, Today, put_own};
use super::{FrontSettings, Permit, Reception, Story, Wait};
use crate::clock::Millis;
use crate::live::Mailbox;
use crate::permits::{self, Permits};
use crate::refusal::Refusal;

mod deadlines;
mod leaving;

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
    pub(super) permits: Arc<Permits>,
    pub(super) today: Today,
    pub(super) now: Millis,
    pub(super) is_draining: bool,
}

impl<S: Story> Tools<S> {
    /// After a panic: it may have held them.
    pub(super) fn renew_buffers(&mut self) {
        self.buffers = Buffers::new(self.settings.header_bytes_max, self.permits.held());
    }
}

enum State<S: Story> {
    /// A request is to come, by then; so much of it has come.
    Head { part: Vec<u8>, deadline: Millis },
    /// The bytes of a request that is looked at again once something is done.
    Parked(Parked),
    /// A request is on its way.
    Passage(Box<Passage<S>>),
    /// The client has sent these bytes of its next request before the last one was answered.
    Ahead(Vec<u8>),
    /// Ends once everything was sent.
    Closing,
    /// Everything was sent; what the client sends yet is of no interest.
    Lingering { deadline: Millis },
}

/// One client's connection.
pub(super) struct Conversation<S: Story> {
    client: ClientLeg,
    origin: Origin,
    permit: Permit,
    /// How many requests were answered here, or are about to be.
    requests: u32,
    state: State<S>,
}

impl<S: Story> Conversation<S> {
    pub(super) fn new(
        socket: TcpStream,
        origin: Origin,
        permit: permits::Permit,
        slot: usize,
        tools: &Tools<S>,
    ) -> Self {
        let client = ClientLeg::new(socket, Token(slot * 2));
        let deadline = tools.now.plus(tools.settings.header_timeout);
        let permit = Arc::new(permit);
        let state = State::Head { part: Vec::new(), deadline };
        Self { client, origin, permit, requests: 0, state }
    }

    pub(super) fn note(&mut self, event: &Event) {
        self.client.note(event);
    }

    /// Goes on as far as it goes now.
    pub(super) fn turn(&mut self, slot: usize, tools: &mut Tools<S>) -> Outcome {
        for _ in 0..STEPS_PER_TURN {
            if self.client.is_blocked() {
                match self.client.flush(&mut tools.buffers, tools.now) {
                    Ok(()) if self.client.is_blocked() && !self.is_uploading() => {
                        return self.rest(tools);
                    }
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

    /// Waits for an event. A client that has gone is not waited for. While only others are waited for
    /// the client need not be watched before the next look at the deadlines: most answers are faster.
    fn rest(&mut self, tools: &Tools<S>) -> Outcome {
        let waits_for_others = matches!(self.state, State::Passage(_) | State::Parked(_));
        let waits_for_others = waits_for_others && !self.is_uploading();
        if waits_for_others && !self.client.is_blocked() && !self.client.is_watched() {
            return Outcome::Idle;
        }
        let is_gone = self.client.ended && waits_for_others;
        match self.client.watch(&tools.registry) {
            Ok(()) if !is_gone => Outcome::Idle,
            _ => Outcome::Over,
        }
    }

    /// The client has yet to send something of its request, or the runtime to take it.
    fn is_uploading(&self) -> bool {
        matches!(&self.state, State::Passage(passage) if passage.is_uploading())
    }

    fn step(&mut self, slot: usize, tools: &mut Tools<S>) -> Step {
        // The end of the grant counts before what comes from the runtime.
        if matches!(self.state, State::Passage(_))
            && let step @ (Step::On | Step::End(_)) = self.obey_level(tools)
        {
            return step;
        }
        match &mut self.state {
            State::Head { .. } => self.read_head(slot, tools),
            State::Parked(_) => self.look_again(slot, tools),
            State::Passage(passage) => {
                let progress = passage.step(slot, &mut self.client, tools);
                self.after(progress, tools)
            }
            State::Ahead(read) => Step::End(Outcome::HandOver(std::mem::take(read))),
            State::Closing => {
                // Unread bytes would have the system reset the connection, answer and all.
                if !self.client.readable || self.client.finish().is_err() {
                    return Step::End(Outcome::Over);
                }
                self.state = State::Lingering { deadline: tools.now.plus(LINGER_MAX) };
                Step::On
            }
            State::Lingering { .. } => match self.client.read(&mut tools.buffers.scratch) {
                Ok(1..) => Step::On,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Step::Wait,
                Ok(0) | Err(_) => Step::End(Outcome::Over),
            },
        }
    }

    fn read_head(&mut self, slot: usize, tools: &mut Tools<S>) -> Step {
        let State::Head { part, deadline } = &mut self.state else { return Step::On };
        if !self.client.readable {
            let is_over = tools.is_draining && part.is_empty();
            return if is_over { Step::End(Outcome::Over) } else { Step::Wait };
        }
        let start = part.len();
        let scratch = &mut tools.buffers.scratch;
        scratch[..start].copy_from_slice(part);
        let length = match self.client.read(&mut scratch[start..HEAD_BYTES_MAX]) {
            Ok(length @ 1..) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::On,
            Ok(0) | Err(_) => return Step::End(Outcome::Over),
        };
        if start == 0 {
            // What comes later gives no more time, a line at a time or not.
            *deadline = tools.now.plus(tools.settings.header_timeout);
        }
        let mut end = start + length;
        if self.origin.is_awaited {
            let Some(left) = self.origin.take_header(scratch, end, part) else {
                return Step::End(Outcome::Over);
            };
            if let Err(why) = self.origin.seat(&mut self.permit, &tools.permits) {
                // Who is refused holds no place for longer.
                return self.refuse_unread(why.refusal(), false, tools);
            }
            if left == 0 {
                return Step::On;
            }
            end = left;
        } else if start > 0 {
            let part = std::mem::take(part);
            // Without another line's end there is no more to understand than before.
            let has_room = end < HEAD_BYTES_MAX.min(tools.settings.header_bytes_max);
            if has_room && !scratch[start..end].contains(&b'\n') {
                return self.wait_for_the_rest(part, start, end, tools);
            }
            tools.buffers.give_back(part);
        }
        self.judge_head(end, None, slot, tools)
    }

    /// Leaves a request be until what it waits for is done.
    fn park(&mut self, length: usize, wait: Wait, slot: usize, tools: &mut Tools<S>) -> Step {
        let read = tools.buffers.copy_of_scratch(length);
        let deadline = tools.now.plus(tools.settings.header_timeout);
        self.state =
            State::Parked(Parked::new(read, wait, (tools.now, deadline), &tools.mailbox, slot));
        Step::On
    }

    /// Looks at a request that was parked, for the last time.
    fn look_again(&mut self, slot: usize, tools: &mut Tools<S>) -> Step {
        let State::Parked(parked) = &mut self.state else { return Step::On };
        let Some(read) = parked.take(tools.now) else { return Step::Wait };
        let since = parked.since();
        let length = read.len();
        tools.buffers.scratch[..length].copy_from_slice(&read);
        tools.buffers.give_back(read);
        self.judge_head(length, Some(since), slot, tools)
    }

    /// Keeps the part of a head that has come.
    fn wait_for_the_rest(
        &mut self,
        mut part: Vec<u8>,
        start: usize,
        end: usize,
        tools: &mut Tools<S>,
    ) -> Step {
        part.extend_from_slice(&tools.buffers.scratch[start..end]);
        self.client.acknowledge();
        if let State::Head { part: kept, .. } = &mut self.state {
            *kept = part;
        }
        Step::On
    }

    fn judge_head(
        &mut self,
        length: usize,
        waited_since: Option<Millis>,
        slot: usize,
        tools: &mut Tools<S>,
    ) -> Step {
        let mut reading = read(length, self.origin.address, waited_since, tools);
        if let Reading::Whole(asked, Reception::Refuse(_) | Reception::Forward(_)) = &mut reading {
            self.requests = self.requests.saturating_add(1);
            asked.closes |= tools.settings.keep_alive.ends_with(self.requests);
        }
        match reading {
            Reading::Whole(_, Reception::Wait(wait)) => self.park(length, wait, slot, tools),
            Reading::Part => {
                let part = tools.buffers.lend();
                self.wait_for_the_rest(part, 0, length, tools)
            }
            Reading::TooLarge => self.refuse_unread(Refusal::HeadersTooLarge, true, tools),
            Reading::Whole(_, Reception::HandOver) | Reading::Strange => {
                Step::End(Outcome::HandOver(tools.buffers.scratch[..length].to_vec()))
            }
            Reading::Whole(asked, Reception::Refuse(response)) => {
                self.client.readable |= !asked.behind.is_empty();
                self.answer(&response, &asked, tools)
            }
            Reading::Whole(asked, Reception::Forward(forward)) => {
                let closing = S::entry(&forward.errand).sit(Arc::clone(&tools.mailbox), slot);
                let (passage, fault) = Passage::new(*forward, asked, tools);
                if passage.is_uploading() {
                    self.client.acknowledge();
                }
                self.state = State::Passage(Box::new(passage));
                match fault {
                    _ if closing.is_some() => self.obey_level(tools),
                    Some(fault) => self.after(Progress::Refuse(fault.into()), tools),
                    None => Step::On,
                }
            }
        }
    }

    /// Ends with a word of ours, before a request was understood; `lingers` until it is surely read.
    fn refuse_unread(&mut self, refusal: Refusal, lingers: bool, tools: &mut Tools<S>) -> Step {
        let response = tools.story.refuse_unread(self.origin.address, refusal);
        self.client.readable = lingers;
        self.answer(&response, &Asked::unread(), tools)
    }

    /// Sends an answer of our own. What has not come of a request would be taken for the next one.
    fn answer(&mut self, response: &Response<Bytes>, asked: &Asked, tools: &mut Tools<S>) -> Step {
        let closes =
            asked.closes || !asked.is_read || tools.is_draining || says_close(response.headers());
        self.client.readable |= !asked.is_read;
        let manner = Manner { closes, without_body: asked.without_body, now: tools.now };
        let mut out = std::mem::take(&mut tools.buffers.out);
        out.clear();
        put_own(&mut out, response, manner, &mut tools.today);
        let sent = self.client.send(&out, &mut tools.buffers, tools.now);
        tools.buffers.out = out;
        sent.map_or(Step::End(Outcome::Over), |()| self.go_on(closes, tools))
    }

    /// An answer was sent, or will be.
    fn go_on(&mut self, closes: bool, tools: &Tools<S>) -> Step {
        let deadline = tools.now.plus(tools.settings.keep_alive.idle_max);
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
                let Some((_, asked)) = self.end_passage(tools) else { return Step::On };
                self.client.readable |= !asked.is_read;
                if !closes && !asked.behind.is_empty() {
                    self.state = State::Ahead(asked.behind);
                    return Step::On;
                }
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
        let passage = match &self.state {
            State::Passage(passage) => passage,
            State::Parked(_) => return Step::On,
            _ => return Step::Wait,
        };
        let Some(cause) = S::entry(passage.errand()).closing() else { return Step::Wait };
        if passage.is_switched() {
            // Whoever relays tells both sides.
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
}
