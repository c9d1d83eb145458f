//! One relayed WebSocket as a pure state machine: bytes and moments go in, verdicts come out. No
//! I/O, no clock, no buffer.
//!
//! A driver shows [`Pair::step`] the bytes that came from one side and does what the verdict says,
//! again and again until it is [`Verdict::Idle`]. All header bytes stay with the driver until they
//! are complete, so nothing of a frame is on its way before the frame was judged, and a frame of
//! flowgate's own always finds a boundary that is one.

use std::time::Duration;

mod deadlines;
mod fate;
mod flow;
mod own;

pub use deadlines::{Check, LaneState, Patience};
pub use flow::Counts;

use fate::Fate;
use flow::{Flow, Phase};

use super::control::Injection;
use super::walk::{self, Header, Kind, Reserved};
use crate::clock::Millis;
use crate::close::Cause;
use crate::plan::{Accounts, Cost};

/// How long the two sides have to take a Close frame of flowgate's before they are cut.
pub const CLOSE_GRACE: Duration = Duration::from_secs(1);
const NEVER: Millis = Millis(u64::MAX);
/// The most bytes that [`Verdict::Hold`] asks for: a header, or a masked Pong of eight bytes.
pub const HOLD_BYTES_MAX: usize = walk::HEADER_BYTES_MAX;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Whoever connected to flowgate.
    Client,
    /// The tenant's runtime.
    Runtime,
}

impl Side {
    /// Both, clients first.
    pub const BOTH: [Self; 2] = [Self::Client, Self::Runtime];

    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Runtime,
            Self::Runtime => Self::Client,
        }
    }
}

/// What the driver is to do with the bytes it has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: no bytes are left, and nothing is to be written.
    Idle,
    /// Pass this many bytes on as they are.
    Forward(usize),
    /// Keep all of these bytes (at most [`HOLD_BYTES_MAX`]) and show them again with what follows.
    Hold(usize),
    /// Drop this many bytes.
    Discard(usize),
    /// Write this frame to the other side, then go on.
    Inject(Injection),
    /// Keep the bytes, and read no more from this side before that moment.
    PauseUntil(Millis),
    /// Call [`Pair::close`] with this cause, then go on.
    Close(Cause),
}

/// What was agreed for one connection.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Reserved bits that the handshake allowed.
    pub reserved: Reserved,
    /// Whether compressed messages from client and from runtime may refer to earlier ones (RFC 7692
    /// section 7.1.1): then none of them can be left out.
    pub keeps_context: [bool; 2],
    /// The plan's limit for the payload of one message, in bytes on the wire; see
    /// [`Pair::limit_messages`].
    pub message_bytes_max: u64,
    /// Randomness for masks and for knowing our own Pongs; from the operating system.
    pub seed: [u8; 12],
}

/// How a connection ended, decided by what happened first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A side sent a Close frame, with this code if it had one.
    Closed(Side, Option<u16>),
    /// A side's socket ended without a Close frame.
    Lost(Side),
    /// flowgate closed it.
    Flowgate(Cause),
}

/// The state of one relayed connection. Plain data.
#[derive(Debug)]
pub struct Pair {
    flows: [Flow; 2],
    rules: Rules,
    closing: Option<Cause>,
    ending: Option<Ending>,
    /// [`NEVER`] while nothing is to be cut.
    cut_at: Millis,
    /// Our own, by the side that is asked.
    pings_sent: [u8; 2],
    pings_unanswered: [u8; 2],
    last_ping_at: [Millis; 2],
    /// Zero before the first.
    last_notice_at: Millis,
}

impl Pair {
    /// A connection whose two handshakes have just been completed.
    #[must_use]
    pub fn new(rules: Rules, now: Millis) -> Self {
        Self {
            flows: [Flow::new(now), Flow::new(now)],
            rules,
            closing: None,
            ending: None,
            cut_at: NEVER,
            pings_sent: [0; 2],
            pings_unanswered: [0; 2],
            last_ping_at: [now; 2],
            last_notice_at: Millis(0),
        }
    }

    /// Judges the bytes that came `from` one side. They start where the last verdict left off.
    pub fn step(
        &mut self,
        from: Side,
        bytes: &[u8],
        now: Millis,
        accounts: Accounts<'_>,
    ) -> Verdict {
        // What is only dropped proves nothing: it must not keep a half-open connection alive.
        let flow = &mut self.flows[from as usize];
        if !bytes.is_empty() && (flow.phase == Phase::Open || flow.payload_left_bytes > 0) {
            flow.last_byte_at = now;
            self.pings_unanswered[from as usize] = 0;
        }
        if flow.discarding {
            return self.leave_out(from, bytes, now);
        }
        let mut run = 0;
        let verdict = loop {
            run += self.flows[from as usize].pass_payload(bytes.len() - run);
            if self.flows[from as usize].payload_left_bytes > 0 {
                break Verdict::Idle;
            }
            if run > 0 && self.must_inject(from) {
                break Verdict::Idle;
            }
            run += self.pass_messages(from, &bytes[run..], now, accounts);
            match self.at_boundary(from, &bytes[run..], now, accounts) {
                Ok((header, Fate::Pass)) => {
                    self.flows[from as usize].enter(&header, false);
                    run += header.header_bytes;
                }
                Ok(_) if run > 0 => break Verdict::Idle,
                Ok((header, Fate::Drop)) => {
                    return self.drop_frame(from, &header, now);
                }
                Err(verdict) => break verdict,
            }
        };
        // What is to happen behind the run is found again by the next step.
        if run > 0 {
            self.flows[from as usize].bytes += run as u32;
            return Verdict::Forward(run);
        }
        if let Verdict::PauseUntil(_) = verdict {
            let paced = &mut self.flows[from as usize].paced;
            *paced = paced.saturating_add(1);
        }
        verdict
    }

    /// Lets through what whole messages there are, if plans have enough left for all of them.
    fn pass_messages(
        &mut self,
        from: Side,
        bytes: &[u8],
        now: Millis,
        accounts: Accounts<'_>,
    ) -> usize {
        let must_inject = self.must_inject(from);
        let flow = &mut self.flows[from as usize];
        if must_inject || flow.in_message || flow.phase != Phase::Open {
            return 0;
        }
        let Rules { reserved, message_bytes_max, .. } = self.rules;
        let found = walk::whole_messages(bytes, from == Side::Client, reserved, message_bytes_max);
        let cost = || Cost::messages(found.count.into(), found.payload_bytes as u64);
        if found.count == 0 || !(accounts.is_empty() || accounts.take_many(cost(), now)) {
            return 0;
        }
        flow.pass_messages(found.count);
        found.bytes
    }

    /// The next frame, if it may pass; else what is to be done at this boundary.
    fn at_boundary(
        &mut self,
        from: Side,
        bytes: &[u8],
        now: Millis,
        accounts: Accounts<'_>,
    ) -> Result<(Header, Fate), Verdict> {
        if self.must_inject(from) {
            return Err(Verdict::Inject(self.inject(from, now)));
        }
        let rules = self.rules;
        let flow = &mut self.flows[from as usize];
        if bytes.is_empty() {
            return Err(Verdict::Idle);
        }
        flow.held = false;
        if flow.phase != Phase::Open {
            return Err(Verdict::Discard(bytes.len()));
        }
        let masked = from == Side::Client;
        let header = walk::parse(bytes, masked, flow.in_message, rules.reserved)
            .map_err(|violation| Verdict::Close(Cause::Protocol(violation)))?;
        // A Close is judged with its code, a Pong of eight bytes with its payload.
        let Some(header) = header.filter(|header| bytes.len() >= bytes_to_judge(header)) else {
            flow.held = true;
            return Err(Verdict::Hold(bytes.len()));
        };
        match header.kind {
            Kind::Start | Kind::Continuation => {
                if header.kind == Kind::Start {
                    flow.message_room_bytes = rules.message_bytes_max;
                }
                if header.payload_bytes > flow.message_room_bytes {
                    return Err(Verdict::Close(Cause::MessageTooBig));
                }
                let fate = self.fate(from, &header, now, accounts)?;
                return Ok((header, fate));
            }
            Kind::Pong if self.is_own_pong(from, &header, bytes) => {
                return Err(Verdict::Discard(bytes_to_judge(&header)));
            }
            Kind::Close => {
                let code = close_code(&header, bytes);
                self.ending.get_or_insert(Ending::Closed(from, code));
            }
            Kind::Ping | Kind::Pong => {}
        }
        Ok((header, Fate::Pass))
    }

    /// Has both sides told why the connection ends, at their next frame boundaries. The first cause
    /// stays. What is not over within [`CLOSE_GRACE`] is cut.
    pub fn close(&mut self, cause: Cause, now: Millis) {
        if self.closing.is_none() {
            self.closing = Some(cause);
            self.ending.get_or_insert(Ending::Flowgate(cause));
            self.cut_at = self.cut_at.min(now.plus(CLOSE_GRACE));
        }
    }

    /// The limit for messages that begin from now on. One under way ends under that with which it began.
    pub fn limit_messages(&mut self, message_bytes_max: u64) {
        self.rules.message_bytes_max = message_bytes_max;
    }

    /// No more bytes will come `from` this side: it has half-closed.
    ///
    /// A client may do so and go on reading. A runtime that does so without a Close frame has
    /// vanished, and the client is told.
    pub fn source_ended(&mut self, from: Side, now: Millis) {
        let is_open = self.flows[from as usize].phase == Phase::Open;
        // A client that has said goodbye needs no telling.
        let is_expected = matches!(self.ending, Some(Ending::Closed(..)));
        if is_open {
            self.ending.get_or_insert(Ending::Lost(from));
        }
        if is_open && from == Side::Runtime && !is_expected {
            self.close(Cause::RuntimeGone, now);
        }
        let flow = &mut self.flows[from as usize];
        // Inside a frame there is no boundary for a Close any more.
        if !is_open || self.closing.is_none() || flow.is_inside_frame() {
            flow.mute();
        }
    }

    /// This side takes no more bytes: its socket is broken. What it had sent before, a Close frame
    /// perhaps, may still be there to be read; [`Pair::source_ended`] follows when it is not.
    pub fn sink_lost(&mut self, side: Side, now: Millis) {
        self.flows[side.other() as usize].mute();
        self.cut_at = self.cut_at.min(now.plus(CLOSE_GRACE));
    }

    /// Nothing more will be forwarded `from` this side, so the other may be told by a FIN.
    #[must_use]
    pub fn is_finished(&self, from: Side) -> bool {
        self.flows[from as usize].phase == Phase::Muted
    }

    /// The whole of this side's own Close frame has gone through: nothing may stand behind it (RFC
    /// 6455 section 5.5.1).
    #[must_use]
    pub fn said_goodbye(&self, from: Side) -> bool {
        self.flows[from as usize].said_goodbye
    }

    /// Both have said goodbye.
    #[must_use]
    pub fn have_parted(&self) -> bool {
        Side::BOTH.into_iter().all(|from| self.said_goodbye(from))
    }

    /// Starts the patience with this side anew: flowgate itself had not been reading from it.
    pub fn resumed(&mut self, from: Side, now: Millis) {
        self.flows[from as usize].last_byte_at = now;
    }

    /// What went through `from` this side since [`Pair::take_counts`].
    #[must_use]
    pub fn counts(&self, from: Side) -> Counts {
        self.flows[from as usize].counts()
    }

    /// The same, to be counted anew from here on.
    pub fn take_counts(&mut self, from: Side) -> Counts {
        let flow = &mut self.flows[from as usize];
        let counts = flow.counts();
        (flow.messages, flow.bytes, flow.has_data) = (0, 0, false);
        (flow.dropped, flow.paced) = (0, 0);
        counts
    }

    /// How the connection ended, as far as it has.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Why flowgate is closing it, if it is.
    #[must_use]
    pub fn closing(&self) -> Option<Cause> {
        self.closing
    }

    /// Whether a deadline is near: [`Pair::check`] is then worth calling often.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.cut_at < NEVER
    }
}

/// How many bytes of a frame must be there before it is judged.
fn bytes_to_judge(header: &Header) -> usize {
    header.header_bytes
        + match (header.kind, header.payload_bytes) {
            (Kind::Pong, 8) => 8,
            (Kind::Close, 2..) => 2,
            _ => 0,
        }
}

fn close_code(header: &Header, bytes: &[u8]) -> Option<u16> {
    if header.payload_bytes < 2 {
        return None;
    }
    let mask = header.mask.unwrap_or_default();
    let [high, low] = [0, 1].map(|place| bytes[header.header_bytes + place] ^ mask[place]);
    Some(u16::from_be_bytes([high, low]))
}
