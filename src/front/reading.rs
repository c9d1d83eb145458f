//! From bytes to what becomes of a request.

use std::net::SocketAddr;

use http::Method;
use http::header::{CONNECTION, EXPECT, HeaderMap};

use super::buffers::Buffers;
use super::conversation::Tools;
use super::head::{Found, HEADERS_MAX, read_request, space};
use super::request_body::RequestBody;
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
    /// All of the request has been read.
    pub(super) is_read: bool,
    /// The client sends the body once it is asked for it.
    pub(super) is_to_be_invited: bool,
    /// The body that is announced.
    pub(super) body: Option<Box<RequestBody>>,
    /// What was read behind the head and was not passed on.
    pub(super) behind: Vec<u8>,
}

impl Asked {
    /// By a client whose request nobody has understood.
    pub(super) fn unread() -> Self {
        Self {
            closes: true,
            without_body: false,
            is_read: true,
            is_to_be_invited: false,
            body: None,
            behind: Vec::new(),
        }
    }
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
    let headers = &head.parts.headers;
    let body = RequestBody::announced(headers, tools.settings.body_bytes_max);
    let (Ok(body), true) = (body, is_usual(&head.parts.method)) else { return Reading::Strange };
    let behind = &bytes[head.length..];
    let ahead = body.look(behind);
    let has_body = !body.is_read();
    let asked = Asked {
        closes: says_close(headers),
        without_body: head.parts.method == Method::HEAD,
        is_read: ahead.is_whole,
        is_to_be_invited: has_body && headers.contains_key(EXPECT),
        body: has_body.then(|| Box::new(body)),
        behind: behind.to_vec(),
    };
    out.clear();
    let has_more = ahead.has_more;
    let (parts, written) = (&mut head.parts, head.written);
    let received = Received { parts, written, address, has_body, has_more, waited_since };
    let reception = tools.story.receive(received, out);
    *map = head.parts.headers;
    map.clear();
    Reading::Whole(asked, reception)
}

/// Of others not everyone agrees what they mean.
fn is_usual(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ]
    .contains(method)
}

/// Whether a message's sender wants it to be the last one (RFC 9112 section 9.6).
pub(super) fn says_close(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}
