//! What a thread relays: a slab of connections, driven by rounds of the thread's loop. No task, no
//! future, no timer.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Registry, Token};
use slab::Slab;

use super::buffers::Buffers;
use super::connection::{Connection, Outcome, Turn};
use super::pair::{Check, Pair, Patience, Side};
use super::plane::{Adoption, Permit, Shared};
use super::wire::Wire;
use crate::clock::{Clock, Millis};
use crate::close::Cause;
use crate::live::{Mail, Registered};
use crate::row::Row;

mod report;

use report::{publish, report};

/// The token of the thread's own waker.
pub(super) const WAKER: Token = Token(usize::MAX);
/// The tokens of connections. All others are for whoever shares the poll.
const TOKENS: Range<usize> = 1 << 62..1 << 63;
const EVENTS_PER_POLL: usize = 1024;
/// How often deadlines are looked at while one is near, and otherwise.
const TICK_PACED: Duration = Duration::from_millis(10);
const TICK: Duration = Duration::from_millis(100);
/// Without connections there is only the mailbox to look at, should a wake-up have failed.
const TICK_EMPTY: Duration = Duration::from_secs(1);
/// Every tick looks at this part of all connections, so each is seen once a second.
const SWEEP_PARTS: usize = 10;

/// Each is touched by every turn, and there is one for every idle connection.
const _: () = assert!(size_of::<Seated>() <= 288);

struct Seated {
    connection: Connection<Wire>,
    registered: Registered,
    /// Released by being dropped.
    _permit: Permit,
    row: Row,
    is_ready: bool,
    is_paced: bool,
    /// As it was added to what is held in all.
    buffer_bytes: u32,
    /// The system is to tell when there is room again.
    awaits_room: [bool; 2],
}

/// What one thread relays.
pub struct Relay {
    registry: Registry,
    shared: Arc<Shared>,
    patience: Patience,
    clock: Clock,
    slab: Slab<Seated>,
    buffers: Buffers,
    ready: VecDeque<usize>,
    paced: Vec<usize>,
    over: Vec<usize>,
    sweep_from: usize,
    next_sweep_at: Millis,
    next_paced_at: Millis,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("connections", &self.slab.len()).finish_non_exhaustive()
    }
}

impl Relay {
    /// Nothing yet. The waker of what is shared belongs to the poll of `registry`.
    pub(super) fn new(
        registry: Registry,
        shared: Arc<Shared>,
        patience: Patience,
        clock: Clock,
    ) -> Self {
        Self {
            registry,
            shared,
            patience,
            clock,
            slab: Slab::new(),
            buffers: Buffers::default(),
            ready: VecDeque::new(),
            paced: Vec::new(),
            over: Vec::new(),
            sweep_from: 0,
            next_sweep_at: Millis::default(),
            next_paced_at: Millis::default(),
        }
    }

    /// Has a thread to itself until the plane stops or `is_cut`. Then what is left is cut.
    pub fn run(mut self, mut poll: Poll, is_cut: impl Fn() -> bool) {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        while !self.shared.is_stopping() && !is_cut() {
            match poll.poll(&mut events, Some(self.patience_with_events())) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                    tracing::error!(%error, "poll failed on a relay thread");
                }
                _ => {}
            }
            let now = self.clock.now();
            for event in &events {
                self.note(event);
            }
            self.round(now);
        }
        let now = self.clock.now();
        for seated in self.slab.drain() {
            report(&seated, &self.shared.counts, now);
        }
        // Adoptions that came too late are dropped with their sockets; later ones by their bringer.
        drop(self.shared.take_adoptions());
    }

    /// Carries on whoever is ready, once each; to be called after all events were noted.
    pub fn round(&mut self, now: Millis) {
        self.read_mail(now);
        self.check_paced(now);
        self.sweep(now);
        self.run_ready(now);
        self.free_over(now);
    }

    /// How long there is nothing to do without an event.
    #[must_use]
    pub fn patience_with_events(&self) -> Duration {
        if !self.ready.is_empty() {
            Duration::ZERO
        } else if !self.paced.is_empty() {
            TICK_PACED
        } else if !self.slab.is_empty() {
            TICK
        } else {
            TICK_EMPTY
        }
    }

    /// Notes what the system tells of a connection; returns whether it is of one.
    pub fn note(&mut self, event: &Event) -> bool {
        let Token(token) = event.token();
        if !TOKENS.contains(&token) {
            return false;
        }
        let slot = (token - TOKENS.start) / 2;
        let Some(seated) = self.slab.get_mut(slot) else { return true };
        let side = Side::BOTH[token % 2];
        let read_closed = event.is_read_closed() || event.is_error();
        if event.is_readable() || read_closed {
            seated.connection.readable(side, read_closed);
        }
        if event.is_writable() || event.is_write_closed() || event.is_error() {
            seated.connection.writable(side);
        }
        self.make_ready(slot);
        true
    }

    fn make_ready(&mut self, slot: usize) {
        if let Some(seated) = self.slab.get_mut(slot)
            && !std::mem::replace(&mut seated.is_ready, true)
        {
            self.ready.push_back(slot);
        }
    }

    fn read_mail(&mut self, now: Millis) {
        for adoption in self.shared.take_adoptions() {
            self.seat(adoption, now);
        }
        match self.shared.mailbox.take() {
            Mail::Slots(slots) => {
                for slot in slots {
                    self.obey_level(slot, now);
                }
            }
            Mail::All => {
                let slots: Vec<usize> = self.slab.iter().map(|(slot, _)| slot).collect();
                for slot in slots {
                    self.obey_level(slot, now);
                }
            }
        }
    }

    /// Relays for a connection from now on.
    pub fn seat(&mut self, adoption: Adoption, now: Millis) {
        let Adoption { row, mut sockets, is_watched, read_ahead, rules, registered, permit } =
            adoption;
        let is_ready = sockets.iter().any(|socket| !socket.is_plain())
            || read_ahead.iter().any(|bytes| !bytes.is_empty());
        let vacant = self.slab.vacant_entry();
        let slot = vacant.key();
        for side in Side::BOTH {
            let place = side as usize;
            let watched =
                sockets[place].watch(&self.registry, token(slot, side), is_watched[place]);
            if let Err(error) = watched {
                let request_id = registered.entry().client.request_id;
                tracing::error!(%request_id, %error, "could not watch a socket");
                return;
            }
        }
        let closing = registered.entry().sit(Arc::clone(&self.shared.mailbox), slot);
        for counter in [&registered.entry().from_client, &registered.entry().from_runtime] {
            counter.add(0, 0, Some(now));
        }
        let is_plain = sockets.each_ref().map(Wire::is_plain);
        let mut connection = Connection::new(sockets, read_ahead, Pair::new(rules, now));
        for side in Side::BOTH.into_iter().filter(|side| is_plain[*side as usize]) {
            connection.await_bytes(side);
        }
        if let Some(cause) = closing {
            connection.close(cause, now);
        }
        self.shared.counts.began(row);
        vacant.insert(Seated {
            connection,
            registered,
            _permit: permit,
            row,
            is_ready: false,
            is_paced: false,
            buffer_bytes: 0,
            awaits_room: [false; 2],
        });
        if is_ready || closing.is_some() {
            self.make_ready(slot);
        }
    }

    /// Reads the closing level of a slot. The slot may have a new tenant by now: the level is its own.
    fn obey_level(&mut self, slot: usize, now: Millis) {
        let Some(seated) = self.slab.get_mut(slot) else { return };
        if let Some(cause) = seated.registered.entry().closing() {
            seated.connection.close(cause, now);
            self.make_ready(slot);
        }
    }

    fn check_paced(&mut self, now: Millis) {
        if now < self.next_paced_at {
            return;
        }
        self.next_paced_at = now.plus(TICK_PACED);
        for slot in std::mem::take(&mut self.paced) {
            if let Some(seated) = self.slab.get_mut(slot) {
                seated.is_paced = false;
                self.check(slot, now);
                self.pace(slot);
            }
        }
    }

    fn pace(&mut self, slot: usize) {
        if let Some(seated) = self.slab.get_mut(slot)
            && seated.connection.is_paced()
            && !std::mem::replace(&mut seated.is_paced, true)
        {
            self.paced.push(slot);
        }
    }

    fn sweep(&mut self, now: Millis) {
        if now < self.next_sweep_at {
            return;
        }
        self.next_sweep_at = now.plus(TICK);
        let slots = self.slab.capacity();
        let part = slots / SWEEP_PARTS + 1;
        for slot in self.sweep_from..(self.sweep_from + part).min(slots) {
            self.obey_level(slot, now);
            self.check(slot, now);
        }
        self.sweep_from += part;
        if self.sweep_from >= slots {
            self.sweep_from = 0;
        }
    }

    fn check(&mut self, slot: usize, now: Millis) {
        let Some(seated) = self.slab.get_mut(slot) else { return };
        let entry = seated.registered.entry();
        if let Some(lifetime) = self.patience.lifetime(entry.id)
            && now.since(entry.since) >= lifetime
            && seated.connection.pair().closing().is_none()
        {
            seated.connection.close(Cause::LifetimeOver, now);
            return self.make_ready(slot);
        }
        match seated.connection.check(now, &self.patience) {
            Check::Fine => {}
            Check::Step => self.make_ready(slot),
            Check::Cut => self.over.push(slot),
        }
    }

    /// One turn for everyone who was ready when it began.
    fn run_ready(&mut self, now: Millis) {
        self.buffers.set_scarce(self.shared.held.is_full());
        for _ in 0..self.ready.len() {
            let Some(slot) = self.ready.pop_front() else { return };
            let Some(seated) = self.slab.get_mut(slot) else { continue };
            seated.is_ready = false;
            let (scratch, pool) = self.buffers.split();
            let entry = seated.registered.entry();
            let mut turn = Turn { now, accounts: entry.accounts().for_messages(), scratch, pool };
            // A mistake of ours about one connection must not end the thread's others.
            let connection = &mut seated.connection;
            connection.limit_messages(entry.message_bytes_max());
            let outcome = catch_unwind(AssertUnwindSafe(|| connection.turn(&mut turn)));
            publish(seated, &self.shared.counts, now);
            let buffer_bytes = seated.connection.buffer_bytes();
            let buffer_bytes = u32::try_from(buffer_bytes).unwrap_or(u32::MAX);
            if buffer_bytes != seated.buffer_bytes {
                self.shared.held.change(seated.buffer_bytes.into(), buffer_bytes.into());
                seated.buffer_bytes = buffer_bytes;
            }
            let outcome = match await_room(seated, slot, &self.registry) {
                Ok(()) => outcome,
                Err(error) => {
                    let request_id = seated.registered.entry().client.request_id;
                    tracing::error!(%request_id, %error, "could not watch a socket");
                    Ok(Outcome::Over)
                }
            };
            match outcome {
                Ok(Outcome::Idle) => self.pace(slot),
                Ok(Outcome::Again) => {
                    self.pace(slot);
                    self.make_ready(slot);
                }
                Ok(Outcome::Over) => self.over.push(slot),
                Err(_) => {
                    let request_id = seated.registered.entry().client.request_id;
                    tracing::error!(%request_id, "a connection was dropped: the relay panicked");
                    self.over.push(slot);
                }
            }
        }
    }

    /// Slots are freed here only, so that no event of this round meets a new connection.
    fn free_over(&mut self, now: Millis) {
        for slot in std::mem::take(&mut self.over) {
            // Closing a socket ends the watch on it as well.
            let Some(seated) = self.slab.try_remove(slot) else { continue };
            self.shared.held.change(seated.buffer_bytes.into(), 0);
            report(&seated, &self.shared.counts, now);
        }
    }
}

/// The token of a leg's events.
fn token(slot: usize, side: Side) -> Token {
    Token(TOKENS.start + slot * 2 + side as usize)
}

/// Has the system tell when a leg that takes nothing does so again.
fn await_room(seated: &mut Seated, slot: usize, registry: &Registry) -> std::io::Result<()> {
    for side in Side::BOTH {
        let awaits = &mut seated.awaits_room[side as usize];
        if seated.connection.lacks_room(side) && !std::mem::replace(awaits, true) {
            seated.connection.socket(side).watch_for_room(registry, token(slot, side))?;
        }
    }
    Ok(())
}
