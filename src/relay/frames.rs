//! Frames for the relay's tests: written by hand here, so that a mistake in [`super::walk`] or
//! [`super::control`] cannot hide in its own mirror.

use std::fmt;

use crate::close::Cause;

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// How the payload length is written; all three are legal for a short payload on a data frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Shortest,
    Bits16,
    Bits64,
}

/// One frame, complete.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub fin: bool,
    /// RSV1, RSV2 and RSV3 in the places they have in the first byte.
    pub reserved: u8,
    pub mask: Option<[u8; 4]>,
    pub length: Length,
    pub payload: Vec<u8>,
}

/// Without the payload: a failing test that prints a stream should stay readable.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { opcode, fin, reserved, mask, length, payload } = self;
        let start = &payload[..payload.len().min(8)];
        let bytes = payload.len();
        write!(
            f,
            "[{opcode} fin:{fin} rsv:{reserved:02x} {mask:?} {length:?} {bytes}:{start:02x?}]"
        )
    }
}

impl Frame {
    pub fn new(opcode: u8, payload: &[u8]) -> Self {
        Self {
            opcode,
            fin: true,
            reserved: 0,
            mask: None,
            length: Length::Shortest,
            payload: payload.to_vec(),
        }
    }

    pub fn unfinished(mut self) -> Self {
        self.fin = false;
        self
    }

    pub fn masked(mut self, mask: [u8; 4]) -> Self {
        self.mask = Some(mask);
        self
    }

    pub fn is_data(&self) -> bool {
        self.opcode < CLOSE
    }

    pub fn bytes(&self) -> Vec<u8> {
        let length = self.payload.len();
        let masked = u8::from(self.mask.is_some()) << 7;
        let mut bytes = vec![u8::from(self.fin) << 7 | self.reserved | self.opcode];
        match self.length {
            Length::Shortest if length < 126 => bytes.push(masked | length as u8),
            Length::Shortest | Length::Bits16 if length < 65536 => {
                bytes.push(masked | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(masked | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        let mask = self.mask.unwrap_or_default();
        bytes.extend(self.mask.iter().flatten());
        bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }
}

/// The frames one after the other, as they travel.
pub fn stream(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::bytes).collect()
}

/// The payload of a Close frame.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// The frames that `bytes` consist of, and what is left of an incomplete one. Lengths come back as
/// [`Length::Shortest`].
pub fn read(mut bytes: &[u8]) -> (Vec<Frame>, &[u8]) {
    let mut frames = Vec::new();
    while let Some((frame, rest)) = read_one(bytes) {
        frames.push(frame);
        bytes = rest;
    }
    (frames, bytes)
}

fn read_one(bytes: &[u8]) -> Option<(Frame, &[u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match second & 0x7f {
        126 => rest.split_first_chunk().map(|(raw, rest)| (u16::from_be_bytes(*raw).into(), rest)),
        127 => rest.split_first_chunk().map(|(raw, rest)| (u64::from_be_bytes(*raw), rest)),
        short => Some((u64::from(short), rest)),
    }?;
    let (mask, rest) = match second & 0x80 {
        0 => (None, rest),
        _ => rest.split_first_chunk().map(|(mask, rest)| (Some(*mask), rest))?,
    };
    let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let key = mask.unwrap_or_default();
    let frame = Frame {
        opcode: first & 0x0f,
        fin: first & 0x80 != 0,
        reserved: first & 0x70,
        mask,
        length: Length::Shortest,
        payload: payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect(),
    };
    Some((frame, rest))
}

/// Whether `bytes` are exactly the Close frame that tells `cause`, masked or not.
pub fn is_close(bytes: &[u8], cause: Cause, masked: bool) -> bool {
    let (frames, rest) = read(bytes);
    let [frame] = frames.as_slice() else { return false };
    rest.is_empty()
        && (frame.opcode, frame.fin, frame.reserved) == (CLOSE, true, 0)
        && frame.mask.is_some() == masked
        && frame.payload == close_payload(cause.code(), cause.reason())
}
