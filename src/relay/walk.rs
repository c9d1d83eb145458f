//! Frame headers (RFC 6455 section 5.2), read in place: what the relay knows of a message without
//! touching its payload.

use crate::close::Violation;

/// The longest header: 2 bytes, 8 of length, 4 of mask.
pub const HEADER_BYTES_MAX: usize = 14;
/// The longest payload of a control frame (RFC 6455 section 5.5).
pub const CONTROL_PAYLOAD_BYTES_MAX: u64 = 125;

const FIN: u8 = 0x80;
const RSV: u8 = 0x70;
const RSV1: u8 = 0x40;
const MASKED: u8 = 0x80;
const WHOLE_TEXT: u8 = FIN | 1;
const WHOLE_BINARY: u8 = FIN | 2;

/// Which reserved bits the handshake allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// No extension was negotiated: all three must be zero.
    None,
    /// permessage-deflate alone (RFC 7692): RSV1 on the first frame of a data message.
    Deflate,
    /// Some other extension: its bits, and its opcodes for data, are not ours to judge.
    Any,
}

impl Reserved {
    /// What a `Sec-WebSocket-Extensions` response header permits.
    #[must_use]
    pub fn from_extensions<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut allowed = Self::None;
        for extension in values.flat_map(|value| value.split(',')) {
            let name = extension.split(';').next().unwrap_or_default().trim();
            allowed = match (name, allowed) {
                ("", allowed) => allowed,
                ("permessage-deflate", Self::None | Self::Deflate) => Self::Deflate,
                _ => Self::Any,
            };
        }
        allowed
    }
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first frame of a message (or an extension's own opcode).
    Start,
    /// A further frame of a message.
    Continuation,
    /// A Close frame.
    Close,
    /// A Ping frame.
    Ping,
    /// A Pong frame.
    Pong,
}

/// One frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame carries.
    pub kind: Kind,
    /// Whether it is the last of its message.
    pub fin: bool,
    /// The mask, if the frame has one.
    pub mask: Option<[u8; 4]>,
    /// It begins a message that permessage-deflate has compressed (RFC 7692 section 6).
    pub compressed: bool,
    /// Payload length in bytes.
    pub payload_bytes: u64,
    /// Length of this header in bytes, 2 to 14.
    pub header_bytes: usize,
}

/// Reads the header at the start of `bytes`. `None` means that more bytes are needed; a violation is
/// told as soon as the bytes that show it are there.
///
/// `masked` is what the direction demands; `in_message` whether a fragmented message is open.
pub fn parse(
    bytes: &[u8],
    masked: bool,
    in_message: bool,
    reserved: Reserved,
) -> Result<Option<Header>, Violation> {
    let &[first, second, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    let fin = first & FIN != 0;
    let kind = kind(first & 0x0f, reserved)?;
    let control = matches!(kind, Kind::Close | Kind::Ping | Kind::Pong);
    let allowed_bits = match reserved {
        Reserved::None => 0,
        Reserved::Deflate if kind == Kind::Start => RSV1,
        Reserved::Deflate => 0,
        Reserved::Any => RSV,
    };
    if first & RSV & !allowed_bits != 0 {
        return Err(Violation::ReservedBit);
    }
    if (second & MASKED != 0) != masked {
        return Err(Violation::Mask);
    }
    if control && !fin {
        return Err(Violation::ControlFragment);
    }
    if !control && (kind == Kind::Continuation) != in_message {
        return Err(Violation::Continuation);
    }
    let short = second & 0x7f;
    if control && u64::from(short) > CONTROL_PAYLOAD_BYTES_MAX {
        return Err(Violation::ControlLength);
    }
    let (payload_bytes, length_bytes) = match (short, rest) {
        (126, &[a, b, ..]) => (u64::from(u16::from_be_bytes([a, b])), 2),
        (127, &[a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 8),
        (126 | 127, _) => return Ok(None),
        (short, _) => (u64::from(short), 0),
    };
    if payload_bytes >> 63 != 0 {
        return Err(Violation::Length);
    }
    let (mask, header_bytes) = match (masked, &rest[length_bytes..]) {
        (true, &[a, b, c, d, ..]) => (Some([a, b, c, d]), 2 + length_bytes + 4),
        (true, _) => return Ok(None),
        (false, _) => (None, 2 + length_bytes),
    };
    let compressed = first & RSV1 != 0;
    Ok(Some(Header { kind, fin, mask, compressed, payload_bytes, header_bytes }))
}

/// What [`whole_messages`] has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// How many.
    pub count: u32,
    /// All their bytes, headers included.
    pub bytes: usize,
    /// Without their headers.
    pub payload_bytes: usize,
}

/// The messages at the start of `bytes` that are one whole frame each, without any violation and with a
/// payload of at most `payload_bytes_max`. To be asked where a message may begin. What it ends at is
/// [`parse`]'s to judge: it is for the many small messages that one read brings, and says of each frame
/// what that would say.
#[must_use]
pub fn whole_messages(
    bytes: &[u8],
    masked: bool,
    reserved: Reserved,
    payload_bytes_max: u64,
) -> Messages {
    let allowed_bits = match reserved {
        Reserved::None => 0,
        Reserved::Deflate => RSV1,
        Reserved::Any => RSV,
    };
    let (mask_bit, shortest) = if masked { (MASKED, 6) } else { (0, 2) };
    let payload_max = usize::try_from(payload_bytes_max).unwrap_or(usize::MAX);
    let mut found = Messages::default();
    while let Some(&[first, second, a, b]) = bytes[found.bytes..].first_chunk() {
        let (payload, header) = match second ^ mask_bit {
            short @ 0..126 => (usize::from(short), shortest),
            126 => (usize::from(u16::from_be_bytes([a, b])), shortest + 2),
            _ => break,
        };
        let end = found.bytes + header + payload;
        let is_message = matches!(first & !allowed_bits, WHOLE_TEXT | WHOLE_BINARY);
        if !is_message || payload > payload_max || end > bytes.len() {
            break;
        }
        let payload_bytes = found.payload_bytes + payload;
        found = Messages { count: found.count + 1, bytes: end, payload_bytes };
    }
    found
}

fn kind(opcode: u8, reserved: Reserved) -> Result<Kind, Violation> {
    match opcode {
        0 => Ok(Kind::Continuation),
        1 | 2 => Ok(Kind::Start),
        8 => Ok(Kind::Close),
        9 => Ok(Kind::Ping),
        10 => Ok(Kind::Pong),
        3..=7 if reserved == Reserved::Any => Ok(Kind::Start),
        _ => Err(Violation::Opcode),
    }
}

#[cfg(test)]
mod tests;
