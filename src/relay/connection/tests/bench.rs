//! A driver for one connection on simulated wires, with the manners of a relay thread: a turn only
//! after an event, a closing, a step that a check asked for, or the connection's own wish.

use std::time::Duration;

use super::sealed::{Protocol, end};
use super::sim::{Dice, Sim};
use crate::clock::Millis;
use crate::close::Cause;
use crate::plan::{Account, Accounts};
use crate::relay::buffers::{Buffers, READ_BYTES_MAX};
use crate::relay::connection::{Connection, Outcome, Turn};
use crate::relay::pair::{Check, Ending, HOLD_BYTES_MAX, Pair, Patience, Rules, Side};
use crate::relay::walk::Reserved;
use crate::relay::wire::Wire;

pub const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];
pub const NONCE: [u8; 7] = *b"flowgat";
pub const RULES: Rules = Rules {
    reserved: Reserved::Deflate,
    keeps_context: [true; 2],
    message_bytes_max: 1 << 20,
    seed: [0x11, 0x22, 0x33, 0x44, b'f', b'l', b'o', b'w', b'g', b'a', b't', 0],
};
pub const PATIENCE: Patience = Patience {
    frame_stall_max: Duration::from_secs(20),
    write_stall_max: Duration::from_secs(30),
    half_open_max: Duration::from_secs(40),
    ping_after: None,
    ping_runtime_after: None,
    lifetime_max: None,
};
/// What one read can leave behind, with the frames of our own that may stand in front of it.
pub const LEFT_BYTES_MAX: usize = READ_BYTES_MAX + HOLD_BYTES_MAX + 2 * 131;
const TURNS_MAX: usize = 1_000_000;

pub struct Bench {
    pub connection: Connection<Wire<Sim>>,
    pub wires: [Sim; 2],
    pub now: Millis,
    pub patience: Patience,
    pub account: Option<Account>,
    pub is_over: bool,
    is_ready: bool,
    buffers: Buffers,
}

impl Bench {
    /// Wires that take and give whatever there is.
    pub fn plain(rules: Rules) -> Self {
        Self::new([None, None], rules, [Vec::new(), Vec::new()])
    }

    /// The same with TLS.
    pub fn sealed(protocols: [Protocol; 2]) -> Self {
        Self::sealed_early(protocols, Default::default())
    }

    /// The same, and for each leg what was read ahead of it, and what its TLS has opened by then.
    pub fn sealed_early(protocols: [Protocol; 2], early: [(Vec<u8>, Vec<u8>); 2]) -> Self {
        Self::with_protocols([None, None], RULES, early, protocols)
    }

    /// Wires with moods, and with TLS on either, both or none.
    pub fn moody(dice: &mut Dice, rules: Rules, read_ahead: [Vec<u8>; 2]) -> Self {
        let dices = [0, 1].map(|_| Some(Dice::new(dice.roll(usize::MAX >> 32) as u64)));
        let protocols = [0, 1].map(|_| Protocol::ALL[dice.roll(Protocol::ALL.len())]);
        let mut place = 0;
        let early = read_ahead.map(|mut read| {
            let is_sealed = protocols[place] != Protocol::Plain;
            place += 1;
            let at = if is_sealed { dice.roll(read.len() + 1) } else { read.len() };
            let opened = read.split_off(at);
            (read, opened)
        });
        Self::with_protocols(dices, rules, early, protocols)
    }

    pub fn new(dices: [Option<Dice>; 2], rules: Rules, read_ahead: [Vec<u8>; 2]) -> Self {
        let early = read_ahead.map(|read| (read, Vec::new()));
        Self::with_protocols(dices, rules, early, [Protocol::Plain; 2])
    }

    fn with_protocols(
        dices: [Option<Dice>; 2],
        rules: Rules,
        early: [(Vec<u8>, Vec<u8>); 2],
        protocols: [Protocol; 2],
    ) -> Self {
        let wires = dices.map(Sim::new);
        let now = Millis(5_000);
        let ends = Side::BOTH.map(|side| {
            let wire = wires[side as usize].clone();
            end(wire, side, protocols[side as usize], &early[side as usize].1)
        });
        let read_ahead = early.map(|(read, _)| read);
        Self {
            connection: Connection::new(ends, read_ahead, Pair::new(rules, now)),
            wires,
            now,
            patience: PATIENCE,
            account: None,
            is_over: false,
            is_ready: true,
            buffers: Buffers::default(),
        }
    }

    /// From now on there is more in all connections' buffers than there should be.
    pub fn make_scarce(&mut self) {
        self.buffers.set_scarce(true);
    }

    pub fn wire(&self, side: Side) -> &Sim {
        &self.wires[side as usize]
    }

    /// What this side has received.
    pub fn received(&self, side: Side) -> Vec<u8> {
        self.wire(side).received()
    }

    /// The peer on this side sends, and the connection gets its turns.
    pub fn deliver(&mut self, from: Side, bytes: &[u8]) {
        self.wire(from).deliver(bytes);
        self.run();
    }

    /// Half-closes this side's peer, and gives the connection its turns.
    pub fn end(&mut self, from: Side) {
        self.wire(from).end();
        self.run();
    }

    pub fn reset(&mut self, side: Side) {
        self.wire(side).reset();
        self.run();
    }

    pub fn close(&mut self, cause: Cause) {
        self.connection.close(cause, self.now);
        self.is_ready = true;
        self.run();
    }

    /// An event without reason.
    pub fn disturb(&mut self, side: Side) {
        self.connection.readable(side, false);
        self.connection.writable(side);
        self.is_ready = true;
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.now = Millis(self.now.0 + ms);
    }

    /// Lets time pass, then looks at the deadlines as a sweep would.
    pub fn check_after_ms(&mut self, ms: u64) -> Check {
        self.pass_ms(ms);
        let check = self.connection.check(self.now, &self.patience);
        if check == Check::Step {
            self.is_ready = true;
            self.run();
        }
        check
    }

    /// Turns until no wire signals anything and the connection wants none.
    pub fn run(&mut self) {
        for _ in 0..TURNS_MAX {
            for side in Side::BOTH {
                let wire = &self.wires[side as usize];
                if let Some(read_closed) = wire.take_readable() {
                    self.connection.readable(side, read_closed);
                    self.is_ready = true;
                }
                if wire.take_writable() {
                    self.connection.writable(side);
                    self.is_ready = true;
                }
            }
            if self.is_over || !std::mem::take(&mut self.is_ready) {
                return;
            }
            self.turn();
        }
        panic!("the connection never rests");
    }

    fn turn(&mut self) {
        let (scratch, pool) = self.buffers.split();
        let mut turn = Turn {
            now: self.now,
            accounts: Accounts { tenant: self.account.as_ref(), subscriber: None },
            scratch,
            pool,
        };
        match self.connection.turn(&mut turn) {
            Outcome::Idle => {}
            Outcome::Again => self.is_ready = true,
            Outcome::Over => {
                self.is_over = true;
                self.wires.iter().for_each(Sim::hang_up);
            }
        }
        for from in Side::BOTH {
            let lane = &self.connection.lanes[from as usize];
            let is_blocked = self.connection.is_blocked(from);
            assert_eq!(lane.blocked_since().is_some(), is_blocked);
            let Some(lane) = &lane.backlog else { continue };
            assert!(lane.spill.len() <= LEFT_BYTES_MAX, "{} bytes wait", lane.spill.len());
            assert!(is_blocked || lane.spill.is_empty() || self.lost_any(), "kept a spill");
            let waits = is_blocked || lane.paused_until.is_some();
            assert!(
                waits || lane.held_bytes > 0 || lane.spill.capacity() > 0,
                "a backlog of nothing"
            );
            assert!(lane.pending.is_empty() || is_blocked || lane.paused_until.is_some());
        }
    }

    fn lost_any(&self) -> bool {
        self.connection.legs.iter().any(|leg| leg.lost)
    }

    /// Bytes that the connection keeps, by direction.
    pub fn kept_bytes(&self) -> [usize; 2] {
        [0, 1].map(|place| {
            let lane = &self.connection.lanes[place];
            lane.backlog.as_ref().map_or(0, |backlog| {
                usize::from(backlog.held_bytes) + backlog.pending.len() + backlog.waiting().len()
            })
        })
    }

    pub fn messages(&self) -> [u64; 2] {
        Side::BOTH.map(|side| self.connection.pair().counts(side).messages.into())
    }

    pub fn bytes(&self) -> [u64; 2] {
        Side::BOTH.map(|side| self.connection.pair().counts(side).bytes.into())
    }

    pub fn ending(&self) -> Option<Ending> {
        self.connection.pair().ending()
    }
}
