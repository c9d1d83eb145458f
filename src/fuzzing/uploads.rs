//! A request's body as the runtime gets it, against a decoder that looks at all of it at once.

use http::HeaderMap;

use super::bodies::read_chunks;
use crate::front::buffers::CHUNK_ROOM;
use crate::front::head::{Found, read_request, space};
use crate::front::request_body::RequestBody;

/// The first byte cuts the body, the second says how long it may be; a request follows. However it was
/// cut, the runtime gets its data and nothing else, in chunks that can be read in one way only; what is
/// behind it belongs to nobody; and what is broken or too long gets no end.
pub fn uploads(data: &[u8]) {
    let [cut, limit, bytes @ ..] = data else { return };
    let (mut map, mut space) = (HeaderMap::new(), space());
    let Found::Head(head) = read_request(bytes, &mut space, &mut map) else { return };
    let limit_bytes = u64::from(*limit) * 2;
    let Ok(body) = RequestBody::announced(&head.parts.headers, limit_bytes) else { return };
    let is_chunked = head.parts.headers.contains_key(http::header::TRANSFER_ENCODING);
    let rest = &bytes[head.length..];
    let ahead = body.look(rest);
    let pieces = pass(body.clone(), rest, usize::from(*cut) % 7 + 1);
    let at_once = pass(body, rest, rest.len().max(1));
    assert_eq!(pieces.end, at_once.end);
    if at_once.end != End::Refused {
        assert_eq!(at_once.end == End::Whole, ahead.is_whole);
        assert_eq!(ahead.has_more, ahead.is_whole && at_once.taken < rest.len());
    }
    if !is_chunked {
        assert!(pieces.sent.starts_with(&at_once.sent) && rest.starts_with(&pieces.sent));
        assert!(pieces.sent.len() as u64 <= limit_bytes);
        return;
    }
    let found = read_chunks(rest).filter(|(data, _)| data.len() as u64 <= limit_bytes);
    assert_eq!(found.is_some(), at_once.end == End::Whole);
    for passed in [pieces, at_once] {
        match (&found, read_chunks(&passed.sent)) {
            (Some((data, end)), Some((sent, sent_bytes))) => {
                assert_eq!((data, *end), (&sent, passed.taken));
                assert_eq!(sent_bytes, passed.sent.len(), "nothing behind it");
            }
            (None, None) => {}
            (found, sent) => panic!("{found:?} became {sent:?}"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Whole,
    Awaited,
    Refused,
}

struct Passed {
    sent: Vec<u8>,
    /// How much of what was read belongs to the body.
    taken: usize,
    end: End,
}

fn pass(mut body: RequestBody, bytes: &[u8], piece_bytes: usize) -> Passed {
    let (mut sent, mut taken) = (Vec::new(), 0);
    for read in bytes.chunks(piece_bytes) {
        if body.is_read() {
            break;
        }
        let mut buffer = vec![b'?'; CHUNK_ROOM + read.len() + CHUNK_ROOM];
        buffer[CHUNK_ROOM..CHUNK_ROOM + read.len()].copy_from_slice(read);
        let Ok(piece) = body.pass(&mut buffer, read.len()) else {
            return Passed { sent, taken, end: End::Refused };
        };
        sent.extend_from_slice(&buffer[piece.sent]);
        taken += piece.end - CHUNK_ROOM;
        let behind = &buffer[piece.end..CHUNK_ROOM + read.len()];
        assert_eq!(behind, &read[piece.end - CHUNK_ROOM..], "what is behind stays as it was");
        assert!(behind.is_empty() || body.is_read());
    }
    let end = if body.is_read() { End::Whole } else { End::Awaited };
    Passed { sent, taken, end }
}
