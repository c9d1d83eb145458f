//! Where an answer's body ends, against a decoder that looks at all of it at once.

use http::HeaderMap;

use crate::front::framing::Framing;
use crate::front::head::{Found, read_answer, space};

/// The first byte cuts the body and says whether HEAD was asked; an answer follows. A body ends in
/// one place, however it was cut, and a chunked one where RFC 9112 section 7.1 says.
pub fn bodies(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let (mut map, mut space) = (HeaderMap::new(), space());
    let Found::Head(head) = read_answer(bytes, &mut space, &mut map) else { return };
    let framing =
        || Framing::of_answer(how & 1 != 0, head.status, head.is_http_1_1, &head.headers).ok();
    let (Some(whole), Some(pieces)) = (framing(), framing()) else { return };
    let body = &bytes[head.length..];
    let is_chunked = matches!(whole, Framing::Chunks(_));
    let at_once = walk(whole, body, body.len().max(1));
    assert_eq!(at_once, walk(pieces, body, usize::from(how >> 1) % 7 + 1));
    if is_chunked {
        match read_chunks(body) {
            Some((_, end)) => assert_eq!(at_once, (end, true, true)),
            None => assert!(!at_once.1, "it has no end"),
        }
    }
}

/// How much belongs to the body, whether it has ended, and whether it is sound.
fn walk(mut framing: Framing, body: &[u8], piece_bytes: usize) -> (usize, bool, bool) {
    let mut taken = 0;
    for piece in body.chunks(piece_bytes) {
        let (count, outcome) = framing.take(piece);
        assert!(count <= piece.len());
        taken += count;
        if outcome.is_err() {
            return (taken, false, false);
        }
        if count < piece.len() {
            assert_eq!(framing, Framing::Done);
            break;
        }
    }
    (taken, framing == Framing::Done, true)
}

/// The data of chunks and where they end, if they do and are sound.
pub(super) fn read_chunks(body: &[u8]) -> Option<(Vec<u8>, usize)> {
    const EXTRA_BYTES_MAX: usize = 16 * 1024;
    let (mut data, mut place) = (Vec::new(), 0_usize);
    loop {
        let line = line(body, &mut place)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, extension) = line.split_at(digits);
        let begins_well = extension.is_empty() || b"; \t".contains(&extension[0]);
        if !(1..=15).contains(&digits) || !begins_well || extension.len() > EXTRA_BYTES_MAX {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        data.extend_from_slice(body.get(place..place.checked_add(size)?)?);
        place += size;
        if body.get(place..place.checked_add(2)?)? != b"\r\n" {
            return None;
        }
        place += 2;
    }
    let mut trailer_bytes = 0;
    loop {
        match line(body, &mut place)?.len() {
            0 => return Some((data, place)),
            bytes => trailer_bytes += bytes,
        }
        if trailer_bytes > EXTRA_BYTES_MAX {
            return None;
        }
    }
}

/// A line of text, without its end.
fn line<'a>(body: &'a [u8], place: &mut usize) -> Option<&'a [u8]> {
    let rest = body.get(*place..)?;
    let end = rest.iter().position(|byte| *byte == b'\r')?;
    let line = rest[..end].iter().all(|byte| *byte == b'\t' || (*byte >= 32 && *byte != 127));
    if !line || rest.get(end + 1) != Some(&b'\n') {
        return None;
    }
    *place += end + 2;
    Some(&rest[..end])
}
