//! The head of a request as the runtime gets it.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;

use crate::exchange::extensions;
use crate::exchange::headers::Towards;
use crate::front::head::Written;
use crate::front::write::{keep_length, put, put_headers};
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

/// What else a handshake's headers depend on.
pub(super) struct Handshake {
    /// The plan leaves messages out.
    pub(super) drops: bool,
}

/// Puts the headers as the runtime sees them.
pub(super) fn rewrite(
    parts: &mut Parts,
    written: Written<'_>,
    towards: &Towards<'_>,
    handshake: Option<Handshake>,
    out: &mut Vec<u8>,
) {
    let is_chunked = parts.headers.contains_key(TRANSFER_ENCODING);
    let length = parts.headers.get(CONTENT_LENGTH).cloned();
    let has_body = is_chunked || length.as_ref().is_some_and(|length| length != "0");
    towards.rewrite(&mut parts.headers);
    keep_length(&mut parts.headers, length.filter(|_| !is_chunked));
    let is_handshake = handshake.is_some();
    if let Some(Handshake { drops }) = handshake {
        websocket::ask_for_websocket(&mut parts.headers);
        if drops {
            extensions::offer_without_takeover(&mut parts.headers);
        }
    }
    put_headers(out, written, &parts.headers);
    if is_chunked {
        put(out, b"Transfer-Encoding", b"chunked");
    }
    if has_body && !is_handshake {
        // What a careless runtime leaves of a body it would take for the next request, with identity
        // headers of a stranger's own.
        put(out, b"Connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
}
