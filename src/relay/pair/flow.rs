//! One direction of a pair: where it is in its frames.

use crate::clock::Millis;
use crate::relay::walk::{Header, Kind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Open,
    /// This side's own Close frame has gone through; what follows it is dropped.
    Closed,
    /// Nothing more goes through: we wrote a Close, the source ended, or nobody takes it.
    Muted,
}

/// One direction: the frames that come from one side.
#[derive(Debug)]
pub struct Flow {
    pub phase: Phase,
    pub in_message: bool,
    /// The frame under way: part of a data message, and its last.
    pub data_frame: bool,
    pub fin: bool,
    /// A frame's first bytes are held by the driver.
    pub held: bool,
    /// A Ping is to go in at the next boundary.
    pub ping_due: bool,
    /// A notice is to go in at the next boundary between messages.
    pub notice_due: bool,
    /// The message under way, or the last one, is left out.
    pub dropping: bool,
    /// The frame under way is part of it.
    pub discarding: bool,
    /// What [`Counts`] tells.
    pub paced: u8,
    pub dropped: u32,
    /// The whole of this side's own Close frame has gone through.
    pub said_goodbye: bool,
    pub payload_left_bytes: u64,
    /// What the message under way may still bring, behind the frame under way.
    pub message_room_bytes: u64,
    /// What [`Counts`] tells.
    pub messages: u32,
    pub bytes: u32,
    pub has_data: bool,
    pub last_byte_at: Millis,
}

/// What went through one direction since it was taken last. A turn's bytes are bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Whole data messages.
    pub messages: u32,
    /// Bytes on the wire, headers and control frames included.
    pub bytes: u32,
    /// A data frame has begun.
    pub has_data: bool,
    /// Messages that the plan left out.
    pub dropped: u32,
    /// Times that the plan had reading pause.
    pub paced: u8,
}

impl Flow {
    pub fn new(now: Millis) -> Self {
        Self {
            phase: Phase::Open,
            in_message: false,
            data_frame: false,
            fin: false,
            held: false,
            ping_due: false,
            notice_due: false,
            dropping: false,
            discarding: false,
            paced: 0,
            dropped: 0,
            said_goodbye: false,
            payload_left_bytes: 0,
            message_room_bytes: u64::MAX,
            messages: 0,
            bytes: 0,
            has_data: false,
            last_byte_at: now,
        }
    }

    /// A frame begins: it passes, or is dropped with the rest of its message.
    pub fn enter(&mut self, header: &Header, is_dropped: bool) {
        if header.kind == Kind::Start {
            self.dropping = is_dropped;
            self.dropped += u32::from(is_dropped);
        }
        self.discarding = is_dropped && header.payload_bytes > 0;
        self.payload_left_bytes = header.payload_bytes;
        self.data_frame = matches!(header.kind, Kind::Start | Kind::Continuation);
        self.fin = header.fin;
        if header.kind == Kind::Close {
            self.phase = Phase::Closed;
        }
        if self.data_frame {
            self.message_room_bytes = self.message_room_bytes.saturating_sub(header.payload_bytes);
            self.in_message = !header.fin;
            self.has_data = true;
        }
        self.pass_payload(0);
    }

    /// Whole messages pass, of one frame each.
    pub fn pass_messages(&mut self, count: u32) {
        self.messages += count;
        self.has_data = true;
        self.dropping = false;
        self.held = false;
    }

    /// Lets as much of the payload through as there is; returns how much that was.
    pub fn pass_payload(&mut self, available: usize) -> usize {
        let passed =
            usize::try_from(self.payload_left_bytes).map_or(available, |left| left.min(available));
        self.payload_left_bytes -= passed as u64;
        if self.payload_left_bytes == 0 && self.data_frame && self.fin {
            self.messages += u32::from(!self.dropping);
            self.data_frame = false;
        }
        self.said_goodbye |= self.phase == Phase::Closed && self.payload_left_bytes == 0;
        passed
    }

    /// Takes out as much of the frame that is left out as there is; returns how much that was.
    pub fn discard_payload(&mut self, available: usize) -> usize {
        let discarded = self.pass_payload(available);
        self.discarding = self.payload_left_bytes > 0;
        discarded
    }

    /// The other side has a part of a frame.
    pub fn is_inside_frame(&self) -> bool {
        self.payload_left_bytes > 0 && !self.discarding
    }

    /// The other side has whole messages of this one, and no part of a further one.
    pub fn is_between_messages(&self) -> bool {
        !self.in_message || self.dropping
    }

    pub fn counts(&self) -> Counts {
        let &Self { messages, bytes, has_data, dropped, paced, .. } = self;
        Counts { messages, bytes, has_data, dropped, paced }
    }

    pub fn mute(&mut self) {
        self.phase = Phase::Muted;
        self.payload_left_bytes = 0;
        self.data_frame = false;
        self.held = false;
        self.ping_due = false;
        self.notice_due = false;
        self.discarding = false;
    }

    pub fn mid_frame(&self) -> bool {
        self.payload_left_bytes > 0 || self.held
    }
}
