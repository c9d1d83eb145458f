//! Tables of frame headers.

use proptest::prelude::*;

use super::*;
use crate::relay::frames::{self, CONTINUATION, Frame, Length};

const MASK: [u8; 4] = [0xa1, 0xb2, 0xc3, 0xd4];
const OPEN: bool = true;
const FRESH: bool = false;

/// A frame's bytes up to the payload.
fn header_of(frame: &Frame) -> Vec<u8> {
    let mut bytes = frame.bytes();
    bytes.truncate(bytes.len() - frame.payload.len());
    bytes
}

fn frame(opcode: u8, payload_bytes: usize, masked: bool) -> Frame {
    let frame = Frame::new(opcode, &vec![b'x'; payload_bytes]);
    if masked { frame.masked(MASK) } else { frame }
}

/// A verdict on a cut of a header must be what the whole header confirms.
fn assert_no_cut_misleads(bytes: &[u8], masked: bool, in_message: bool, reserved: Reserved) {
    let whole = parse(bytes, masked, in_message, reserved);
    for cut in 0..bytes.len() {
        match parse(&bytes[..cut], masked, in_message, reserved) {
            Ok(None) => {}
            early => assert_eq!(early, whole, "{bytes:02x?} cut at {cut}"),
        }
    }
}

#[test]
fn every_length_form_is_read_in_both_directions() {
    let forms = [
        (0, Length::Shortest, 2),
        (125, Length::Shortest, 2),
        (126, Length::Shortest, 4),
        (65535, Length::Shortest, 4),
        (65536, Length::Shortest, 10),
        (70000, Length::Bits64, 10),
        (0, Length::Bits16, 4),
        (7, Length::Bits64, 10),
    ];
    for (payload_bytes, length, header_bytes) in forms {
        for masked in [false, true] {
            let frame = Frame { length, ..frame(frames::BINARY, payload_bytes, masked) };
            let bytes = header_of(&frame);
            let header = Header {
                kind: Kind::Start,
                fin: true,
                mask: frame.mask,
                compressed: false,
                payload_bytes: payload_bytes as u64,
                header_bytes: header_bytes + if masked { 4 } else { 0 },
            };
            assert_eq!(bytes.len(), header.header_bytes);
            assert_eq!(parse(&bytes, masked, FRESH, Reserved::None), Ok(Some(header)));
            let with_payload = frame.bytes();
            assert_eq!(parse(&with_payload, masked, FRESH, Reserved::None), Ok(Some(header)));
            for cut in 0..bytes.len() {
                let early = parse(&bytes[..cut], masked, FRESH, Reserved::None);
                assert_eq!(early, Ok(None), "{frame:?} cut at {cut}");
            }
        }
    }
}

#[test]
fn every_opcode_has_its_kind() {
    let kinds = [
        (0, OPEN, Ok(Kind::Continuation)),
        (1, FRESH, Ok(Kind::Start)),
        (2, FRESH, Ok(Kind::Start)),
        (8, FRESH, Ok(Kind::Close)),
        (9, FRESH, Ok(Kind::Ping)),
        (10, FRESH, Ok(Kind::Pong)),
        // Control frames may stand inside a fragmented message.
        (8, OPEN, Ok(Kind::Close)),
        (9, OPEN, Ok(Kind::Ping)),
        (10, OPEN, Ok(Kind::Pong)),
    ];
    let unknown = (3..=7).chain(11..=15).map(|opcode| (opcode, FRESH, Err(Violation::Opcode)));
    for (opcode, in_message, expected) in kinds.into_iter().chain(unknown) {
        for reserved in [Reserved::None, Reserved::Deflate] {
            let bytes = frame(opcode, 3, true).bytes();
            let found = parse(&bytes, true, in_message, reserved);
            let kind = found.map(|header| header.map(|header| header.kind));
            assert_eq!(kind, expected.map(Some), "opcode {opcode}");
        }
    }
}

#[test]
fn the_final_bit_is_read() {
    for opcode in [1, 2] {
        let bytes = frame(opcode, 1, false).unfinished().bytes();
        let header = parse(&bytes, false, FRESH, Reserved::None);
        assert_eq!(header.map(|header| header.map(|header| header.fin)), Ok(Some(false)));
    }
    let last = parse(&frame(0, 1, false).bytes(), false, OPEN, Reserved::None);
    assert_eq!(last.map(|header| header.map(|header| header.fin)), Ok(Some(true)));
}

#[test]
fn every_violation_is_told_and_no_cut_of_it_misleads() {
    use Violation::{Continuation, ControlFragment, ControlLength, Length, Mask, Opcode};
    let table: &[(&[u8], bool, bool, Violation, usize)] = &[
        // Bytes, direction, message open, violation, how many bytes tell it.
        (&[0x81, 0x03], true, FRESH, Mask, 2),
        (&[0x81, 0x83, 1, 2, 3, 4], false, FRESH, Mask, 2),
        (&[0x81, 0xfe, 0, 200, 1, 2, 3, 4], false, FRESH, Mask, 2),
        (&[0x83, 0x80, 1, 2, 3, 4], true, FRESH, Opcode, 2),
        (&[0x8f, 0x00], false, FRESH, Opcode, 2),
        (&[0x88, 0x7e, 0, 126], false, FRESH, ControlLength, 2),
        (&[0x89, 0xfe, 0, 126, 1, 2, 3, 4], true, FRESH, ControlLength, 2),
        (&[0x8a, 0x7f, 0, 0, 0, 0, 0, 0, 0, 1], false, OPEN, ControlLength, 2),
        (&[0x09, 0x00], false, FRESH, ControlFragment, 2),
        (&[0x08, 0x82, 1, 2, 3, 4], true, FRESH, ControlFragment, 2),
        (&[0x0a, 0x00], false, OPEN, ControlFragment, 2),
        (&[0x80, 0x01], false, FRESH, Continuation, 2),
        (&[0x00, 0x81, 1, 2, 3, 4], true, FRESH, Continuation, 2),
        (&[0x81, 0x01], false, OPEN, Continuation, 2),
        (&[0x02, 0x81, 1, 2, 3, 4], true, OPEN, Continuation, 2),
        (&[0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0], false, FRESH, Length, 10),
        (&[0x82, 0xff, 0xff, 255, 255, 255, 255, 255, 255, 255], true, FRESH, Length, 10),
    ];
    for (bytes, masked, in_message, violation, shown_by) in table {
        let judge = |bytes| parse(bytes, *masked, *in_message, Reserved::None);
        assert_eq!(judge(bytes), Err(*violation), "{bytes:02x?}");
        assert_eq!(judge(&bytes[..*shown_by]), Err(*violation), "{bytes:02x?} in short");
        assert_eq!(judge(&bytes[..shown_by - 1]), Ok(None), "{bytes:02x?} too early");
        assert_no_cut_misleads(bytes, *masked, *in_message, Reserved::None);
    }
}

#[test]
fn the_longest_possible_length_is_not_a_violation() {
    let bytes = [0x82, 0x7f, 0x7f, 255, 255, 255, 255, 255, 255, 255];
    let header = parse(&bytes, false, FRESH, Reserved::None);
    let expected = Ok(Some(u64::MAX >> 1));
    assert_eq!(header.map(|header| header.map(|header| header.payload_bytes)), expected);
}

#[test]
fn reserved_bits_are_allowed_where_the_extension_uses_them() {
    const BITS: [u8; 8] = [0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70];
    let places = [(1, FRESH), (2, FRESH), (CONTINUATION, OPEN), (8, FRESH), (9, OPEN), (10, FRESH)];
    for (opcode, in_message) in places {
        for bits in BITS {
            let bytes = Frame { reserved: bits, ..frame(opcode, 2, false) }.bytes();
            for reserved in [Reserved::None, Reserved::Deflate, Reserved::Any] {
                let allowed = match reserved {
                    Reserved::None => bits == 0,
                    Reserved::Deflate => bits == 0 || (bits == 0x40 && matches!(opcode, 1 | 2)),
                    Reserved::Any => true,
                };
                let found = parse(&bytes, false, in_message, reserved);
                if allowed {
                    assert!(matches!(found, Ok(Some(_))), "{reserved:?} {bytes:02x?} {found:?}");
                } else {
                    let expected = Err(Violation::ReservedBit);
                    assert_eq!(found, expected, "{reserved:?} {bytes:02x?}");
                }
                assert_no_cut_misleads(&bytes, false, in_message, reserved);
            }
        }
    }
}

#[test]
fn an_unknown_extension_may_use_data_opcodes_of_its_own() {
    for opcode in 3..=7 {
        let found = parse(&frame(opcode, 2, true).bytes(), true, FRESH, Reserved::Any);
        let kind = found.map(|header| header.map(|header| header.kind));
        assert_eq!(kind, Ok(Some(Kind::Start)));
    }
}

/// Every pair of first bytes in every situation: whatever is said early holds later.
#[test]
fn no_cut_of_any_header_misleads() {
    for first in 0..=255 {
        for second in 0..=255 {
            for length in [0x00, 0x80] {
                let bytes = [first, second, length, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
                for masked in [false, true] {
                    for in_message in [false, true] {
                        assert_no_cut_misleads(&bytes, masked, in_message, Reserved::Deflate);
                    }
                }
            }
        }
    }
}

/// Where the messages end that [`parse`] lets through one by one, as long as each is one whole frame; and
/// how much of that is payload.
fn one_by_one(
    bytes: &[u8],
    masked: bool,
    reserved: Reserved,
    payload_max: u64,
) -> Vec<(usize, usize)> {
    let mut ends = Vec::new();
    let (mut place, mut payload_bytes) = (0, 0);
    while let Ok(Some(header)) = parse(&bytes[place..], masked, FRESH, reserved) {
        let is_message = header.kind == Kind::Start && header.fin;
        let left = (bytes.len() - place - header.header_bytes) as u64;
        if !is_message || header.payload_bytes > payload_max.min(left) {
            break;
        }
        payload_bytes += header.payload_bytes as usize;
        place += header.header_bytes + header.payload_bytes as usize;
        ends.push((place, payload_bytes));
    }
    ends
}

/// Whether one by one is how these are to be judged: what is rare or long, and the very last bytes.
fn is_left_to_parse(bytes: &[u8]) -> bool {
    bytes.len() < 4 || bytes[1] & 0x7f == 127 || !matches!(bytes[0] & 0x0f, 1 | 2)
}

fn assert_together_as_one_by_one(bytes: &[u8], masked: bool, reserved: Reserved, max: u64) {
    let found = whole_messages(bytes, masked, reserved, max);
    let ends = one_by_one(bytes, masked, reserved, max);
    let count = found.count as usize;
    let (ends_at, payload_bytes) = ends[..count].last().copied().unwrap_or_default();
    assert_eq!((found.bytes, found.payload_bytes), (ends_at, payload_bytes), "{bytes:02x?}");
    let is_all = ends.len() == count || is_left_to_parse(&bytes[found.bytes..]);
    assert!(is_all, "{count} of {ends:?} in {bytes:02x?}");
}

const ALL: [Reserved; 3] = [Reserved::None, Reserved::Deflate, Reserved::Any];

/// Every pair of first bytes in every situation, with what is behind it whole, or a byte too short.
#[test]
fn messages_pass_together_as_they_do_one_by_one() {
    let mut bytes = [0; 300];
    for (first, second) in (0..=255).flat_map(|first| (0..=255).map(move |second| (first, second)))
    {
        let lengths: &[u8] = if second & 0x7f < 126 { &[0] } else { &[0, 126, 255] };
        for &length in lengths {
            bytes[..4].copy_from_slice(&[first, second, 0, length]);
            for (masked, reserved) in [false, true].into_iter().flat_map(|it| ALL.map(|b| (it, b)))
            {
                let payload = match second & 0x7f {
                    126 => usize::from(length) + 2,
                    short => usize::from(short),
                };
                let whole = (2 + 4 * usize::from(masked) + payload).min(bytes.len());
                for end in [whole - 1, whole, bytes.len()] {
                    for max in [100, u64::MAX] {
                        assert_together_as_one_by_one(&bytes[..end], masked, reserved, max);
                    }
                }
            }
        }
    }
}

fn some_frame() -> impl Strategy<Value = Frame> {
    let payload = prop_oneof![6 => 0_usize..130, 1 => 65_500_usize..65_600];
    let length = prop_oneof![8 => Just(Length::Shortest), 1 => Just(Length::Bits16), 1 => Just(Length::Bits64)];
    let opcode = prop_oneof![20 => 1_u8..3, 1 => 0_u8..16];
    let bits =
        prop_oneof![20 => Just(0), 1 => Just(0x40_u8), 1 => (0_u8..8).prop_map(|bits| bits << 4)];
    (payload, length, opcode, bits, 0..20, 0..20).prop_map(
        |(payload, length, opcode, reserved, is_unfinished, is_unmasked)| {
            let length = if payload > 65_535 { Length::Shortest } else { length };
            let frame = Frame::new(opcode, &vec![b'x'; payload]);
            let mask = (is_unmasked != 0).then_some(MASK);
            Frame { length, reserved, mask, fin: is_unfinished != 0, ..frame }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_frames_pass_together_as_they_do_one_by_one(
        frames in prop::collection::vec(some_frame(), 0..30),
        cut in 0_usize..1000,
        max in prop_oneof![Just(u64::MAX), 0_u64..130],
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        let bytes = &bytes[..bytes.len().saturating_sub(cut)];
        for reserved in ALL {
            assert_together_as_one_by_one(bytes, true, reserved, max);
            assert_together_as_one_by_one(bytes, false, reserved, max);
        }
    }
}

#[test]
fn extensions_say_which_reserved_bits_may_be_set() {
    let table: &[(&[&str], Reserved)] = &[
        (&[], Reserved::None),
        (&[""], Reserved::None),
        (&[" , ,"], Reserved::None),
        (&["permessage-deflate"], Reserved::Deflate),
        (&["permessage-deflate; server_no_context_takeover"], Reserved::Deflate),
        (&["  permessage-deflate ;client_max_window_bits=15 , "], Reserved::Deflate),
        (&["permessage-deflate, permessage-deflate; x"], Reserved::Deflate),
        (&["x-webkit-deflate-frame"], Reserved::Any),
        (&["permessage-deflate, mux"], Reserved::Any),
        (&["mux", "permessage-deflate"], Reserved::Any),
        (&["permessage-deflate", "mux; a=1"], Reserved::Any),
        (&["permessage-deflated"], Reserved::Any),
    ];
    for (values, expected) in table {
        assert_eq!(Reserved::from_extensions(values.iter().copied()), *expected, "{values:?}");
    }
}
