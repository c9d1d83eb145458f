//! The head of a request as the runtime gets it.

use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;

use crate::exchange::extensions;
use crate::exchange::headers::Towards;
use crate::front::head::Written;
use crate::front::write::{put, put_headers};
use crate::journey::websocket;
use crate::refusal::Refusal;

/// Puts the first line of the request for the runtime.
///
/// # Errors
/// The path is none.
pub(super) fn put_request_line(
    out: &mut Vec<u8>,
    parts: &Parts,
    path_and_query: String,
) -> Result<(), Refusal> {
    let path_and_query = PathAndQuery::try_from(path_and_query)
        .map_err(|_| Refusal::Malformed("The path is malformed."))?;
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(path_and_query.as_str().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    Ok(())
}

/// What else a request's headers depend on.
pub(super) enum Content {
    /// It has no body.
    None,
    /// It has one.
    Body,
    /// It is a handshake.
    Handshake {
        /// The plan leaves messages out.
        drops: bool,
    },
}

/// Puts the headers as the runtime sees them.
pub(super) fn rewrite(
    parts: &mut Parts,
    written: Written<'_>,
    towards: &Towards<'_>,
    content: Content,
    out: &mut Vec<u8>,
) {
    let has_body = matches!(content, Content::Body);
    let is_chunked = has_body && parts.headers.contains_key(TRANSFER_ENCODING);
    towards.filter(&mut parts.headers);
    if let Content::Handshake { drops } = content {
        websocket::ask_for_websocket(&mut parts.headers);
        if drops {
            extensions::offer_without_takeover(&mut parts.headers);
        }
    }
    put_headers(out, written, &parts.headers);
    towards.say(parts.headers.get(HOST), |(_, name), value| put(out, name.as_bytes(), value));
    if is_chunked {
        put(out, b"Transfer-Encoding", b"chunked");
    }
    if has_body {
        // What a careless runtime leaves of a body it would take for the next request, with identity
        // headers of a stranger's own.
        put(out, b"Connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
}
