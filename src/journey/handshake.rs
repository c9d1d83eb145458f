//! What makes a request a WebSocket handshake (RFC 6455 section 4.1), checked before anything is dialled.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{Method, Version};

use crate::refusal::Refusal;

const KEY_BYTES: usize = 16;

/// Whether a request asks for WebSocket at all, well-formed or not.
pub fn is_upgrade(parts: &Parts) -> bool {
    has_token(&parts.headers, &UPGRADE, "websocket")
}

/// Refuses what only looks like a handshake.
pub fn check(parts: &Parts, has_body: bool) -> Result<(), Refusal> {
    let bad = |what| Err(Refusal::BadHandshake(what));
    if parts.method != Method::GET || parts.version != Version::HTTP_11 {
        return bad("A handshake is a GET in HTTP/1.1.");
    }
    if has_body {
        return bad("A handshake has no body.");
    }
    if !has_token(&parts.headers, &CONNECTION, "upgrade") {
        return bad("A handshake needs \"Connection: Upgrade\".");
    }
    if single(&parts.headers, &SEC_WEBSOCKET_VERSION) != Some(b"13") {
        return Err(Refusal::WebSocketVersion);
    }
    let key =
        single(&parts.headers, &SEC_WEBSOCKET_KEY).and_then(|key| BASE64_STANDARD.decode(key).ok());
    if key.is_none_or(|key| key.len() != KEY_BYTES) {
        return bad("A handshake needs one Sec-WebSocket-Key of 16 bytes in base64.");
    }
    Ok(())
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes().trim_ascii())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}
