//! One direction of a relayed connection as RFC 6455 tells it, frame by frame: slow, plain, and
//! written without a look at [`crate::relay`].

use crate::close::{Cause, Violation};
use crate::relay::pair::Side;
use crate::relay::walk::Reserved;

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub opcode: u8,
    pub fin: bool,
    pub mask: Option<[u8; 4]>,
    pub payload_bytes: u64,
    pub header_bytes: usize,
}

/// Section 5.2. The rules that two bytes are enough for come first, in the order in which flowgate
/// tells of them; `None` wants more bytes.
pub fn head(
    bytes: &[u8],
    masked: bool,
    in_message: bool,
    reserved: Reserved,
) -> Result<Option<Head>, Violation> {
    let (Some(first), Some(second)) = (bytes.first(), bytes.get(1)) else { return Ok(None) };
    let bit = |byte: &u8, place: u32| byte >> place & 1 == 1;
    let opcode = first % 16;
    let is_control = opcode >= 8;
    let is_extended = reserved == Reserved::Any;
    let may_compress = reserved == Reserved::Deflate && (opcode == 1 || opcode == 2);
    let is_known = matches!(opcode, 0..=2 | 8..=10) || (is_extended && opcode < 8);
    let bad_bits =
        !is_extended && (bit(first, 4) || bit(first, 5) || bit(first, 6) && !may_compress);
    let faults = [
        (!is_known, Violation::Opcode),
        (bad_bits, Violation::ReservedBit),
        (bit(second, 7) != masked, Violation::Mask),
        (is_control && !bit(first, 7), Violation::ControlFragment),
        (!is_control && (opcode == 0) != in_message, Violation::Continuation),
        (is_control && second % 128 > 125, Violation::ControlLength),
    ];
    if let Some((_, violation)) = faults.into_iter().find(|(is_broken, _)| *is_broken) {
        return Err(violation);
    }
    let length_bytes = match second % 128 {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some(length) = bytes.get(2..2 + length_bytes) else { return Ok(None) };
    let payload_bytes = match length_bytes {
        0 => u64::from(second % 128),
        _ => length.iter().fold(0, |sum, byte| sum * 256 + u64::from(*byte)),
    };
    if payload_bytes > i64::MAX as u64 {
        return Err(Violation::Length);
    }
    let mask_at = 2 + length_bytes;
    let mut head =
        Head { opcode, fin: bit(first, 7), mask: None, payload_bytes, header_bytes: mask_at };
    if masked {
        let Some(mask) = bytes.get(mask_at..mask_at + 4) else { return Ok(None) };
        head.mask = mask.try_into().ok();
        head.header_bytes += 4;
    }
    Ok(Some(head))
}

/// What has to become of the bytes at a frame boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// They wait for more.
    More,
    /// The frame passes.
    Pass(Head),
    /// It answers a Ping of flowgate's own and is dropped; so many bytes.
    OwnPong(usize),
    /// The connection is closed.
    Close(Cause),
}

/// What is known of one direction.
#[derive(Debug)]
pub struct Direction {
    pub from: Side,
    pub reserved: Reserved,
    pub message_bytes_max: u64,
    /// The payload under way.
    pub left_bytes: u64,
    pub in_message: bool,
    pub room_bytes: u64,
    /// Nothing passes any more.
    pub is_over: bool,
    /// What flowgate's own Pings begin with.
    pub nonce: [u8; 7],
    pub forwarded_bytes: u64,
    pub messages: u64,
    ends_message: bool,
    is_closing: bool,
}

impl Direction {
    pub fn new(from: Side, reserved: Reserved, message_bytes_max: u64, nonce: [u8; 7]) -> Self {
        Self {
            from,
            reserved,
            message_bytes_max,
            left_bytes: 0,
            in_message: false,
            room_bytes: 0,
            is_over: false,
            nonce,
            forwarded_bytes: 0,
            messages: 0,
            ends_message: false,
            is_closing: false,
        }
    }

    pub fn next(&self, bytes: &[u8], was_pinged: bool) -> Next {
        let masked = self.from == Side::Client;
        let head = match head(bytes, masked, self.in_message, self.reserved) {
            Ok(Some(head)) => head,
            Ok(None) => return Next::More,
            Err(violation) => return Next::Close(Cause::Protocol(violation)),
        };
        let judged_bytes = match (head.opcode, head.payload_bytes) {
            (10, 8) => 8,
            (8, 2..) => 2,
            _ => 0,
        };
        let Some(judged) = bytes.get(head.header_bytes..head.header_bytes + judged_bytes) else {
            return Next::More;
        };
        let room = if head.opcode == 0 { self.room_bytes } else { self.message_bytes_max };
        if head.opcode < 8 && head.payload_bytes > room {
            return Next::Close(Cause::MessageTooBig);
        }
        let mask = head.mask.unwrap_or_default();
        let plain: Vec<u8> = judged.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect();
        let is_own = head.opcode == 10 && was_pinged && masked && plain.starts_with(&self.nonce);
        match is_own && plain.len() == 8 {
            true => Next::OwnPong(head.header_bytes + 8),
            false => Next::Pass(head),
        }
    }

    /// `count` of these bytes were passed on.
    pub fn forward(&mut self, bytes: &[u8], count: usize, was_pinged: bool) {
        assert!(count > 0 && count <= bytes.len());
        assert!(!self.is_over, "nothing may pass any more");
        let mut place = 0;
        loop {
            let taken = self.left_bytes.min((count - place) as u64);
            place += taken as usize;
            self.left_bytes -= taken;
            if self.left_bytes == 0 {
                self.messages += u64::from(std::mem::take(&mut self.ends_message));
                self.is_over |= self.is_closing;
            }
            if place == count {
                break;
            }
            assert!(!self.is_over, "something passed behind a Close frame");
            let Next::Pass(head) = self.next(&bytes[place..], was_pinged) else {
                panic!("a frame passed that must not: {:02x?}", &bytes[place..count]);
            };
            place += head.header_bytes;
            assert!(place <= count, "a part of a header passed");
            self.enter(&head);
        }
        self.forwarded_bytes += count as u64;
    }

    fn enter(&mut self, head: &Head) {
        self.left_bytes = head.payload_bytes;
        self.is_closing = head.opcode == 8;
        if head.opcode >= 8 {
            return;
        }
        let room = if head.opcode == 0 { self.room_bytes } else { self.message_bytes_max };
        self.room_bytes = room - head.payload_bytes;
        self.in_message = !head.fin;
        self.ends_message = head.fin;
    }
}
