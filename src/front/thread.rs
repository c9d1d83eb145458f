//! One front thread: a readiness loop over listeners, clients and runtimes, shared with a companion
//! that goes on with what is done here. No task, no future, no timer.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::buffers::Buffers;
use super::conversation::{Conversation, Tools};
use super::links::Links;
use super::plane::{Level, Shared};
use super::step::{Outcome, Step};
use super::write::Today;
use super::{Companion, FrontSettings, Story};
use crate::clock::{Clock, Micros, Millis};
use crate::descriptors::Descriptors;
use crate::live::Mail;
use crate::permits::Permits;

mod door;

/// The token of the thread's own waker.
pub(super) const WAKER: Token = Token(usize::MAX);
/// Listeners' tokens count down from the one below.
const LISTENERS_MAX: usize = 1 << 16;
const FIRST_LISTENER: usize = usize::MAX - LISTENERS_MAX;
const EVENTS_PER_POLL: usize = 1024;
/// How long a round lets in clients and gives turns if the companion had less to do. Then it is its turn,
/// however many requests there are.
const TURNS_MIN_US: u64 = 100;
/// How long a listener rests when there is no room: no place, no descriptor, no memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const TICK: Duration = Duration::from_millis(100);
/// Without connections there is only the mailbox to look at, should a wake-up have failed.
const TICK_EMPTY: Duration = Duration::from_secs(1);
/// Every tick looks at this part of all connections, so each is seen once a second.
const SWEEP_PARTS: usize = 10;

struct Seated<S: Story> {
    conversation: Conversation<S>,
    is_ready: bool,
}

struct Listener {
    socket: TcpListener,
    is_ready: bool,
    paused_until: Option<Millis>,
}

/// The state of one thread.
pub(super) struct Front<S: Story> {
    poll: Poll,
    companion: S::Companion,
    shared: Arc<Shared>,
    clock: Clock,
    listeners: Vec<Listener>,
    slab: Slab<Seated<S>>,
    tools: Tools<S>,
    ready: VecDeque<usize>,
    sweep_from: usize,
    next_sweep_at: Millis,
    /// Where it is looked for whoever is to go for a newcomer.
    next_to_go: usize,
}

/// What a thread starts with.
pub(super) struct Start<S: Story> {
    pub(super) poll: Poll,
    pub(super) companion: S::Companion,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Clock,
    pub(super) permits: Arc<Permits>,
    pub(super) listeners: Vec<std::net::TcpListener>,
    pub(super) settings: FrontSettings,
    pub(super) story: Arc<S>,
}

impl<S: Story> Front<S> {
    pub(super) fn new(start: Start<S>) -> std::io::Result<Self> {
        let Start { poll, companion, shared, clock, permits, listeners, settings, story } = start;
        let mut watched = Vec::new();
        for (place, listener) in listeners.into_iter().enumerate().take(LISTENERS_MAX) {
            let mut socket = TcpListener::from_std(listener);
            let token = Token(FIRST_LISTENER + place);
            poll.registry().register(&mut socket, token, Interest::READABLE)?;
            watched.push(Listener { socket, is_ready: true, paused_until: None });
        }
        let tools = Tools {
            story,
            registry: poll.registry().try_clone()?,
            mailbox: Arc::clone(&shared.mailbox),
            links: Links::new(Descriptors::of_process()),
            buffers: Buffers::new(settings.header_bytes_max, permits.held()),
            permits,
            today: Today::default(),
            now: clock.now(),
            is_draining: false,
            settings,
        };
        Ok(Self {
            poll,
            companion,
            shared,
            clock,
            listeners: watched,
            slab: Slab::new(),
            tools,
            ready: VecDeque::new(),
            sweep_from: 0,
            next_sweep_at: Millis::default(),
            next_to_go: 0,
        })
    }

    /// Serves until it is cut, or drained; then the thread is its companion's.
    pub(super) fn run(self) {
        let (poll, companion, shared) = self.serve();
        companion.run(poll, || shared.level() == Level::Cut);
    }

    fn serve(mut self) -> (Poll, S::Companion, Arc<Shared>) {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        loop {
            match self.shared.level() {
                Level::Serve => {}
                Level::Drain => self.begin_drain(),
                Level::Cut => break,
            }
            if self.tools.is_draining && self.slab.is_empty() {
                break;
            }
            let patience = self.patience_with_events().min(self.companion.patience_with_events());
            match self.poll.poll(&mut events, Some(patience)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    tracing::error!(%error, "poll failed on a front thread");
                }
                _ => {}
            }
            let begun = self.clock.micros();
            self.tools.now = begun.millis();
            // All events first: what a turn closes may be another's from then on.
            for event in &events {
                if !self.companion.note(event) {
                    self.note(event);
                }
            }
            // Frames first: a request may wait for them, and takes longer. Then as much time for requests:
            // neither keeps the other from having half of the thread.
            self.companion.round(self.tools.now);
            let relayed = self.clock.micros();
            self.read_mail();
            let until = Micros(relayed.0 + relayed.since(begun).max(TURNS_MIN_US));
            self.accept(until);
            self.run_ready(until);
            self.sweep();
        }
        (self.poll, self.companion, self.shared)
    }

    fn patience_with_events(&self) -> Duration {
        let waits = |listener: &Listener| listener.paused_until.is_some();
        let may_accept = |listener: &Listener| listener.is_ready && !waits(listener);
        if !self.ready.is_empty() || self.listeners.iter().any(may_accept) {
            Duration::ZERO
        } else if self.listeners.iter().any(waits) {
            ACCEPT_PAUSE
        } else if !self.slab.is_empty() {
            TICK
        } else {
            TICK_EMPTY
        }
    }

    fn note(&mut self, event: &Event) {
        let Token(token) = event.token();
        if event.token() == WAKER {
            return;
        }
        if token >= FIRST_LISTENER {
            if let Some(listener) = self.listeners.get_mut(token - FIRST_LISTENER) {
                listener.is_ready = true;
            }
            return;
        }
        let slot = match token % 2 {
            0 => {
                if let Some(seated) = self.slab.get_mut(token / 2) {
                    seated.conversation.note(event);
                }
                Some(token / 2)
            }
            _ => self.tools.links.note(token / 2, event),
        };
        if let Some(slot) = slot {
            self.make_ready(slot);
        }
    }

    fn make_ready(&mut self, slot: usize) {
        if let Some(seated) = self.slab.get_mut(slot)
            && !std::mem::replace(&mut seated.is_ready, true)
        {
            self.ready.push_back(slot);
        }
    }

    fn read_mail(&mut self) {
        let slots: Vec<usize> = match self.shared.mailbox.take() {
            Mail::Slots(slots) => slots,
            Mail::All => self.slab.iter().map(|(slot, _)| slot).collect(),
        };
        for slot in slots {
            self.guarded(slot, |conversation, tools| conversation.obey_level(tools));
        }
    }

    /// One turn for everyone who was ready when it began, as far as there is time; who has been ready
    /// for longest comes first.
    fn run_ready(&mut self, until: Micros) {
        for _ in 0..self.ready.len() {
            let Some(slot) = self.ready.pop_front() else { break };
            let Some(seated) = self.slab.get_mut(slot) else { continue };
            seated.is_ready = false;
            self.guarded(slot, |conversation, tools| match conversation.turn(slot, tools) {
                Outcome::Idle => Step::Wait,
                Outcome::Again => Step::On,
                outcome => Step::End(outcome),
            });
            if !self.ready.is_empty() && self.clock.micros() >= until {
                break;
            }
        }
    }

    /// A mistake of ours about one connection must not end the thread's others.
    fn guarded(
        &mut self,
        slot: usize,
        act: impl FnOnce(&mut Conversation<S>, &mut Tools<S>) -> Step,
    ) {
        let Some(seated) = self.slab.get_mut(slot) else { return };
        let tools = &mut self.tools;
        let conversation = &mut seated.conversation;
        match catch_unwind(AssertUnwindSafe(|| act(conversation, tools))) {
            Ok(Step::Wait) => {}
            Ok(Step::On) => self.make_ready(slot),
            Ok(Step::End(outcome)) => self.end(slot, outcome),
            Err(_) => {
                tracing::error!("a connection was dropped: the front panicked");
                self.tools.renew_buffers();
                self.end(slot, Outcome::Over);
            }
        }
    }

    fn end(&mut self, slot: usize, outcome: Outcome) {
        let Some(Seated { mut conversation, .. }) = self.slab.try_remove(slot) else { return };
        let tools = &mut self.tools;
        let moved = match outcome {
            Outcome::HandOver(read) => conversation
                .into_handed_over(read, &tools.registry)
                .map(|handed_over| tools.story.hand_over(handed_over)),
            Outcome::Adopt => {
                if let Some((errand, switched)) = conversation.into_switched(tools) {
                    let companion = &mut self.companion;
                    tools.story.adopt(errand, switched, companion, tools.now);
                }
                Ok(())
            }
            Outcome::Idle | Outcome::Again | Outcome::Over => {
                conversation.let_go(tools);
                Ok(())
            }
        };
        if let Err(error) = moved {
            tracing::error!(%error, "a connection could not be passed on");
        }
    }

    fn sweep(&mut self) {
        let now = self.tools.now;
        if now < self.next_sweep_at {
            return;
        }
        self.next_sweep_at = now.plus(TICK);
        let slots = self.slab.capacity();
        let part = slots / SWEEP_PARTS + 1;
        for slot in self.sweep_from..(self.sweep_from + part).min(slots) {
            self.guarded(slot, |conversation, tools| conversation.check(tools));
        }
        self.sweep_from += part;
        if self.sweep_from >= slots {
            self.sweep_from = 0;
            self.tools.links.sweep(now, false);
        }
    }

    /// From now on nobody is let in, and whoever waits for nothing goes.
    fn begin_drain(&mut self) {
        if std::mem::replace(&mut self.tools.is_draining, true) {
            return;
        }
        self.listeners.clear();
        self.tools.links.sweep(self.tools.now, true);
        let idle: Vec<usize> = self
            .slab
            .iter()
            .filter_map(|(slot, seated)| seated.conversation.is_idle().then_some(slot))
            .collect();
        for slot in idle {
            self.end(slot, Outcome::Over);
        }
    }
}
