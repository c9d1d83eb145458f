//! From bytes to what becomes of a request.

use std::net::SocketAddr;

use http::Method;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, TRANSFER_ENCODING};
use http::request::Parts;

use super::buffers::Buffers;
use super::conversation::Tools;
use super::head::{Found, HEADERS_MAX, read_request, space};
use super::{Received, Reception, Story};
use crate::clock::Millis;

/// The longest head that is read here.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What the client wants of an answer.
#[derive(Debug)]
pub(super) struct Asked {
    /// It is to be the last one.
    pub(super) closes: bool,
    /// It is to have no body.
    pub(super) without_body: bool,
    /// What was read behind the request.
    pub(super) behind: Vec<u8>,
}

/// What was found in what a client has sent.
pub(super) enum Reading<E> {
    /// The head is not complete.
    Part,
    /// It is over the limit.
    TooLarge,
    /// Somebody else has to look at it.
    Strange,
    /// A request, and what becomes of it.
    Whole(Asked, Reception<E>),
}

/// Reads a head out of the thread's scratch buffer and has it judged.
pub(super) fn read<S: Story>(
    length: usize,
    address: SocketAddr,
    waited_since: Option<Millis>,
    tools: &mut Tools<S>,
) -> Reading<S::Errand> {
    let Buffers { scratch, out, map, .. } = &mut tools.buffers;
    let bytes = &scratch[..length];
    let header_bytes_max = tools.settings.header_bytes_max;
    let mut space = space();
    let headers_max = tools.settings.headers_max.min(HEADERS_MAX);
    let mut head = match read_request(bytes, &mut space[..headers_max], map) {
        Found::Part if length >= header_bytes_max => return Reading::TooLarge,
        Found::Part if length == HEAD_BYTES_MAX => return Reading::Strange,
        Found::Part => return Reading::Part,
        Found::Bad => return Reading::Strange,
        Found::Head(head) if head.length > header_bytes_max => return Reading::TooLarge,
        Found::Head(head) => head,
    };
    if !is_simple(&head.parts) {
        return Reading::Strange;
    }
    let behind = &bytes[head.length..];
    let asked = Asked {
        closes: says_close(&head.parts.headers),
        without_body: head.parts.method == Method::HEAD,
        behind: behind.to_vec(),
    };
    out.clear();
    let has_more = !behind.is_empty();
    let (parts, written) = (&mut head.parts, head.written);
    let received = Received { parts, written, address, has_more, waited_since };
    let reception = tools.story.receive(received, out);
    *map = head.parts.headers;
    map.clear();
    Reading::Whole(asked, reception)
}

/// No body, and nobody waits to be asked for one.
fn is_simple(parts: &Parts) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE)
        && ![CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT]
            .iter()
            .any(|name| parts.headers.contains_key(name))
}

/// Whether a message's sender wants it to be the last one (RFC 9112 section 9.6).
pub(super) fn says_close(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}
