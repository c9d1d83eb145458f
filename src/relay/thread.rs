//! One relay thread: a readiness loop over a slab of connections. No task, no future, no timer.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token};
use slab::Slab;

use super::buffers::Buffers;
use super::connection::{Connection, Outcome, Turn};
use super::counts::Counts;
use super::pair::{Check, Ending, Pair, Patience, Side};
use super::plane::{Adoption, Permit, Shared};
use super::wire::Wire;
use crate::clock::{Clock, Millis};
use crate::close::Cause;
use crate::live::{Mail, Registered};
use crate::plan::Throttled;
use crate::row::Row;

/// The token of the thread's own waker.
pub(super) const WAKER: Token = Token(usize::MAX);
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
}

/// The state of one thread.
pub(super) struct Relay {
    poll: Poll,
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

impl Relay {
    pub(super) fn new(poll: Poll, shared: Arc<Shared>, patience: Patience, clock: Clock) -> Self {
        Self {
            poll,
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

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        while !self.shared.is_stopping() {
            match self.poll.poll(&mut events, self.patience_with_events()) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                    tracing::error!(%error, "poll failed on a relay thread");
                }
                _ => {}
            }
            let now = self.clock.now();
            for event in &events {
                self.note(event);
            }
            self.read_mail(now);
            self.check_paced(now);
            self.sweep(now);
            self.run_ready(now);
            self.free_over(now);
        }
        let now = self.clock.now();
        for seated in self.slab.drain() {
            report(&seated, &self.shared.counts, now);
        }
        // Adoptions that came too late are dropped with their sockets; later ones by their bringer.
        drop(self.shared.take_adoptions());
    }

    fn patience_with_events(&self) -> Option<Duration> {
        if !self.ready.is_empty() {
            Some(Duration::ZERO)
        } else if !self.paced.is_empty() {
            Some(TICK_PACED)
        } else if !self.slab.is_empty() {
            Some(TICK)
        } else {
            Some(TICK_EMPTY)
        }
    }

    fn note(&mut self, event: &Event) {
        let Token(token) = event.token();
        let slot = token / 2;
        let Some(seated) = self.slab.get_mut(slot).filter(|_| event.token() != WAKER) else {
            return;
        };
        let side = Side::BOTH[token % 2];
        let read_closed = event.is_read_closed() || event.is_error();
        if event.is_readable() || read_closed {
            seated.connection.readable(side, read_closed);
        }
        if event.is_writable() || event.is_write_closed() || event.is_error() {
            seated.connection.writable(side);
        }
        self.make_ready(slot);
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

    fn seat(&mut self, adoption: Adoption, now: Millis) {
        let Adoption { row, mut sockets, read_ahead, rules, registered, permit } = adoption;
        let vacant = self.slab.vacant_entry();
        let slot = vacant.key();
        for side in Side::BOTH {
            let token = Token(slot * 2 + side as usize);
            if let Err(error) = sockets[side as usize].register(self.poll.registry(), token) {
                let request_id = registered.entry().client.request_id;
                tracing::error!(%request_id, %error, "could not watch a socket");
                return;
            }
        }
        let closing = registered.entry().sit(Arc::clone(&self.shared.mailbox), slot);
        for counter in [&registered.entry().from_client, &registered.entry().from_runtime] {
            counter.add(0, 0, Some(now));
        }
        let mut connection = Connection::new(sockets, read_ahead, Pair::new(rules, now));
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
        });
        self.make_ready(slot);
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
        match seated.connection.check(now, &self.patience) {
            Check::Fine => {}
            Check::Step => self.make_ready(slot),
            Check::Cut => self.over.push(slot),
        }
    }

    /// One turn for everyone who was ready when it began.
    fn run_ready(&mut self, now: Millis) {
        for _ in 0..self.ready.len() {
            let Some(slot) = self.ready.pop_front() else { return };
            let Some(seated) = self.slab.get_mut(slot) else { continue };
            seated.is_ready = false;
            let (scratch, pool) = self.buffers.split();
            let entry = seated.registered.entry();
            let mut turn = Turn { now, accounts: entry.accounts(), scratch, pool };
            // A mistake of ours about one connection must not end the thread's others.
            let connection = &mut seated.connection;
            connection.limit_messages(entry.message_bytes_max());
            let outcome = catch_unwind(AssertUnwindSafe(|| connection.turn(&mut turn)));
            publish(seated, &self.shared.counts, now);
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
            report(&seated, &self.shared.counts, now);
        }
    }
}

/// Adds up what this turn has brought; most bring something from one side only.
fn publish(seated: &mut Seated, all: &Counts, now: Millis) {
    let entry = seated.registered.entry();
    for (side, counter) in
        [(Side::Client, &entry.from_client), (Side::Runtime, &entry.from_runtime)]
    {
        let counts = seated.connection.take_counts(side);
        if counts.bytes > 0 {
            all.relayed(side, (counts.messages.into(), counts.bytes.into()));
            counter.add(counts.messages, counts.bytes, counts.has_data.then_some(now));
        }
        if counts.dropped > 0 || counts.paced > 0 {
            let (paced, dropped) = (counts.paced.into(), counts.dropped.into());
            all.throttled(paced, dropped);
            let more = Throttled { paced, dropped, refused: 0 };
            entry.accounts().each().for_each(|account| account.note(more));
        }
    }
}

/// The one log line at the end of a connection, and its counts.
fn report(seated: &Seated, all: &Counts, now: Millis) {
    const NO_CODE: u16 = 1005;
    const ABNORMAL: u16 = 1006;
    let entry = seated.registered.entry();
    let pair = seated.connection.pair();
    let (ended_by, code, reason) = match pair.ending() {
        Some(Ending::Closed(Side::Client, code)) => ("client", code.unwrap_or(NO_CODE), ""),
        Some(Ending::Closed(Side::Runtime, code)) => ("runtime", code.unwrap_or(NO_CODE), ""),
        Some(Ending::Lost(Side::Client)) => ("client", ABNORMAL, "no Close frame"),
        Some(Ending::Lost(Side::Runtime)) => {
            ("runtime", Cause::RuntimeGone.code(), Cause::RuntimeGone.reason())
        }
        Some(Ending::Flowgate(cause)) => ("flowgate", cause.code(), cause.reason()),
        None => ("flowgate", ABNORMAL, "cut"),
    };
    all.ended(seated.row, ended_by, code, now.since(entry.since));
    tracing::info!(
        request_id = %entry.client.request_id,
        client = %entry.client.address,
        tenant = %entry.username(),
        grant = %entry.grant,
        path = &*entry.path,
        duration_ms = now.since(entry.since).as_millis() as u64,
        messages_from_client = entry.from_client.messages(),
        messages_from_runtime = entry.from_runtime.messages(),
        bytes_from_client = entry.from_client.bytes(),
        bytes_from_runtime = entry.from_runtime.bytes(),
        ended_by,
        code,
        reason,
        "connection ended"
    );
}
