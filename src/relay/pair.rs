//! One relayed WebSocket as a pure state machine: bytes and moments go in, verdicts come out. No
//! I/O, no clock, no buffer.
//!
//! A driver shows [`Pair::step`] the bytes that came from one side and does what the verdict says,
//! again and again until it is [`Verdict::Idle`]. All header bytes stay with the driver until they
//! are complete, so nothing of a frame is on its way before the frame was judged, and a frame of
//! flowgate's own always finds a boundary that is one.

use std::time::Duration;

use super::control::Injection;
use super::walk::{self, Header, Kind, Reserved};
use crate::clock::Millis;
use crate::close::Cause;
use crate::plan::{Budget, Spent};

/// How long the two sides have to take a Close frame of flowgate's before they are cut.
pub const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// The most bytes that [`Verdict::Hold`] asks for: a header, or a masked Pong of eight bytes.
pub const HOLD_BYTES_MAX: usize = walk::HEADER_BYTES_MAX;
/// Pings that may stay unanswered before the client counts as dead.
const PINGS_UNANSWERED_MAX: u8 = 2;

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
    /// The plan's limit for the payload of one message, in bytes on the wire.
    pub message_bytes_max: u64,
    /// Randomness for masks and for knowing our own Pongs; from the operating system.
    pub seed: [u8; 12],
}

/// How long a side may let the other wait. All are checked about once a second.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// A frame that is begun must bring a byte within this time.
    pub frame_stall_max: Duration,
    /// A side that has bytes waiting must take one within this time.
    pub write_stall_max: Duration,
    /// Once one side has ended, the other may stay silent this long.
    pub half_open_max: Duration,
    /// A client that has been silent this long gets a Ping; `None` sends none.
    pub ping_after: Option<Duration>,
}

/// What a driver knows of one direction and the pair does not.
#[derive(Clone, Copy, Debug)]
pub struct LaneState {
    /// Since when the receiving side has taken nothing, if bytes are waiting for it.
    pub blocked_since: Option<Millis>,
    /// Reading is paused by the plan.
    pub paused: bool,
}

/// What [`Pair::check`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// All is well.
    Fine,
    /// Step both directions: something is to be written.
    Step,
    /// Drop both sockets.
    Cut,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// This side's own Close frame has gone through; what follows it is dropped.
    Closed,
    /// Nothing more goes through: we wrote a Close, the source ended, or nobody takes it.
    Muted,
}

/// One direction: the frames that come from one side.
#[derive(Debug)]
struct Flow {
    phase: Phase,
    in_message: bool,
    /// The frame under way: part of a data message, and its last.
    data_frame: bool,
    fin: bool,
    /// A frame's first bytes are held by the driver.
    held: bool,
    /// A Ping is to go in at the next boundary.
    ping_due: bool,
    payload_left_bytes: u64,
    message_bytes: u64,
    counts: Counts,
    last_byte_at: Millis,
}

/// What went through one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whole data messages.
    pub messages: u64,
    /// Bytes on the wire, headers and control frames included.
    pub bytes: u64,
    /// When the last data frame began.
    pub last_data_at: Millis,
}

impl Flow {
    fn new(now: Millis) -> Self {
        Self {
            phase: Phase::Open,
            in_message: false,
            data_frame: false,
            fin: false,
            held: false,
            ping_due: false,
            payload_left_bytes: 0,
            message_bytes: 0,
            counts: Counts { last_data_at: now, ..Counts::default() },
            last_byte_at: now,
        }
    }

    fn enter(&mut self, header: &Header, now: Millis) {
        self.payload_left_bytes = header.payload_bytes;
        self.data_frame = matches!(header.kind, Kind::Start | Kind::Continuation);
        self.fin = header.fin;
        if header.kind == Kind::Close {
            self.phase = Phase::Closed;
        }
        if self.data_frame {
            self.message_bytes += header.payload_bytes;
            self.in_message = !header.fin;
            self.counts.last_data_at = now;
        }
        self.pass_payload(0);
    }

    /// Lets as much of the payload through as there is; returns how much that was.
    fn pass_payload(&mut self, available: usize) -> usize {
        let passed =
            usize::try_from(self.payload_left_bytes).map_or(available, |left| left.min(available));
        self.payload_left_bytes -= passed as u64;
        if self.payload_left_bytes == 0 && self.data_frame && self.fin {
            self.counts.messages += 1;
            self.message_bytes = 0;
            self.data_frame = false;
        }
        passed
    }

    fn mute(&mut self) {
        self.phase = Phase::Muted;
        self.payload_left_bytes = 0;
        self.held = false;
        self.ping_due = false;
    }

    fn mid_frame(&self) -> bool {
        self.payload_left_bytes > 0 || self.held
    }
}

/// The state of one relayed connection. Plain data.
#[derive(Debug)]
pub struct Pair {
    flows: [Flow; 2],
    rules: Rules,
    closing: Option<Cause>,
    ending: Option<Ending>,
    cut_at: Option<Millis>,
    pings_sent: u8,
    pings_unanswered: u8,
    last_ping_at: Millis,
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
            cut_at: None,
            pings_sent: 0,
            pings_unanswered: 0,
            last_ping_at: now,
        }
    }

    /// Judges the bytes that came `from` one side. They start where the last verdict left off.
    pub fn step(
        &mut self,
        from: Side,
        bytes: &[u8],
        now: Millis,
        budget: Option<&Budget>,
    ) -> Verdict {
        if !bytes.is_empty() {
            self.flows[from as usize].last_byte_at = now;
            if from == Side::Client {
                self.pings_unanswered = 0;
            }
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
            match self.at_boundary(from, &bytes[run..], now, budget) {
                Ok(header) => {
                    self.flows[from as usize].enter(&header, now);
                    run += header.header_bytes;
                }
                Err(verdict) => break verdict,
            }
        };
        // What is to happen behind the run is found again by the next step.
        if run > 0 {
            self.flows[from as usize].counts.bytes += run as u64;
            return Verdict::Forward(run);
        }
        verdict
    }

    /// The next frame, if it may pass; else what is to be done at this boundary.
    fn at_boundary(
        &mut self,
        from: Side,
        bytes: &[u8],
        now: Millis,
        budget: Option<&Budget>,
    ) -> Result<Header, Verdict> {
        if self.must_inject(from) {
            return Err(Verdict::Inject(self.inject(from, now)));
        }
        let rules = self.rules;
        let flow = &mut self.flows[from as usize];
        flow.held = false;
        if bytes.is_empty() {
            return Err(Verdict::Idle);
        }
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
                if flow.message_bytes.saturating_add(header.payload_bytes) > rules.message_bytes_max
                {
                    return Err(Verdict::Close(Cause::MessageTooBig));
                }
                if header.kind == Kind::Start {
                    take(budget, now)?;
                }
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
        Ok(header)
    }

    fn must_inject(&self, from: Side) -> bool {
        let flow = &self.flows[from as usize];
        flow.phase == Phase::Open && (self.closing.is_some() || flow.ping_due)
    }

    fn inject(&mut self, from: Side, now: Millis) -> Injection {
        let [a, b, c, d, nonce @ ..] = self.rules.seed;
        let mask = (from == Side::Client).then_some([a, b, c, d]);
        let flow = &mut self.flows[from as usize];
        if let Some(cause) = self.closing {
            flow.mute();
            return Injection::Close { cause, mask };
        }
        flow.ping_due = false;
        self.pings_sent = self.pings_sent.wrapping_add(1);
        self.pings_unanswered = self.pings_unanswered.saturating_add(1);
        self.last_ping_at = now;
        let mut payload = nonce;
        payload[7] = self.pings_sent;
        Injection::Ping { payload, mask }
    }

    /// Whether a Pong answers one of our own Pings: it carries our nonce.
    fn is_own_pong(&self, from: Side, header: &Header, bytes: &[u8]) -> bool {
        if from != Side::Client || self.pings_sent == 0 || header.payload_bytes != 8 {
            return false;
        }
        let mask = header.mask.unwrap_or_default();
        let payload = &bytes[header.header_bytes..];
        (0..7).all(|place| payload[place] ^ mask[place % 4] == self.rules.seed[4 + place])
    }

    /// Has both sides told why the connection ends, at their next frame boundaries. The first cause
    /// stays. What is not over within [`CLOSE_GRACE`] is cut.
    pub fn close(&mut self, cause: Cause, now: Millis) {
        if self.closing.is_none() {
            self.closing = Some(cause);
            self.ending.get_or_insert(Ending::Flowgate(cause));
            self.cut_at.get_or_insert(now.plus(CLOSE_GRACE));
        }
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
        if !is_open || self.closing.is_none() || flow.payload_left_bytes > 0 {
            flow.mute();
        }
    }

    /// This side's socket is broken in both directions.
    pub fn lost(&mut self, side: Side, now: Millis) {
        self.source_ended(side, now);
        self.flows[side.other() as usize].mute();
        self.cut_at.get_or_insert(now.plus(CLOSE_GRACE));
    }

    /// Nothing more will be forwarded `from` this side, so the other may be told by a FIN.
    #[must_use]
    pub fn is_finished(&self, from: Side) -> bool {
        self.flows[from as usize].phase == Phase::Muted
    }

    /// Whether a step without new bytes has something to write.
    #[must_use]
    pub fn wants_step(&self, from: Side) -> bool {
        self.must_inject(from) && self.flows[from as usize].payload_left_bytes == 0
    }

    /// Starts the patience with this side anew: flowgate itself had not been reading from it.
    pub fn resumed(&mut self, from: Side, now: Millis) {
        self.flows[from as usize].last_byte_at = now;
    }

    /// What went through `from` this side.
    #[must_use]
    pub fn counts(&self, from: Side) -> Counts {
        self.flows[from as usize].counts
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
        self.cut_at.is_some()
    }

    /// Applies the deadlines. `lanes` are the directions from client and from runtime.
    pub fn check(&mut self, now: Millis, patience: &Patience, lanes: [LaneState; 2]) -> Check {
        if self.cut_at.is_some_and(|cut_at| now >= cut_at) {
            return Check::Cut;
        }
        let last_byte_at = self.flows[0].last_byte_at.max(self.flows[1].last_byte_at);
        let ended = self.flows.iter().filter(|flow| flow.phase != Phase::Open).count();
        let silence_max = match ended {
            0 => Duration::MAX,
            // Nothing more can pass either way: all that is missing is for the peers to hang up.
            2 if lanes.iter().all(|lane| lane.blocked_since.is_none()) => CLOSE_GRACE,
            _ => patience.half_open_max,
        };
        if now.since(last_byte_at) >= silence_max {
            return Check::Cut;
        }
        if self.closing.is_some() {
            return Check::Fine;
        }
        if let Some(cause) = self.stalled(now, patience, lanes) {
            self.close(cause, now);
            return Check::Step;
        }
        self.check_pings(now, patience, lanes)
    }

    fn stalled(&self, now: Millis, patience: &Patience, lanes: [LaneState; 2]) -> Option<Cause> {
        for from in Side::BOTH {
            let flow = &self.flows[from as usize];
            let lane = lanes[from as usize];
            match lane.blocked_since {
                Some(since) if now.since(since) >= patience.write_stall_max => {
                    return Some(match from {
                        Side::Client => Cause::RuntimeStalled,
                        Side::Runtime => Cause::ClientStalled,
                    });
                }
                None if flow.mid_frame()
                    && !lane.paused
                    && now.since(flow.last_byte_at) >= patience.frame_stall_max =>
                {
                    return Some(Cause::FrameStalled);
                }
                _ => {}
            }
        }
        None
    }

    fn check_pings(&mut self, now: Millis, patience: &Patience, lanes: [LaneState; 2]) -> Check {
        let Some(ping_after) = patience.ping_after else {
            return Check::Fine;
        };
        let [from_client, from_runtime] = lanes;
        let not_reading = from_client.blocked_since.is_some() || from_client.paused;
        let [client, runtime] = &mut self.flows;
        let both_open = client.phase == Phase::Open && runtime.phase == Phase::Open;
        let heard_at = client.last_byte_at.max(self.last_ping_at);
        if !both_open
            || not_reading
            || from_runtime.blocked_since.is_some()
            || runtime.ping_due
            || now.since(heard_at) < ping_after
        {
            return Check::Fine;
        }
        if self.pings_unanswered >= PINGS_UNANSWERED_MAX {
            self.close(Cause::ClientSilent, now);
        } else {
            runtime.ping_due = true;
        }
        Check::Step
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

fn take(budget: Option<&Budget>, now: Millis) -> Result<(), Verdict> {
    match budget.map_or(Ok(()), |budget| budget.take(now)) {
        Ok(()) => Ok(()),
        Err(Spent::Until(moment)) => Err(Verdict::PauseUntil(moment)),
        Err(Spent::Close) => Err(Verdict::Close(Cause::BudgetExhausted)),
    }
}
