//! Heads on the wire: names as their sender wrote them and in that order, ours in canonical case.

use std::time::SystemTime;

use bytes::Bytes;
use http::Response;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderValue};

use super::head::{HEADERS_MAX, Written};
use crate::clock::Millis;

/// The time of day for `Date`, which changes once a second.
#[derive(Debug, Default)]
pub struct Today {
    text: String,
    read_at: Option<Millis>,
}

impl Today {
    const FRESH_MS: u64 = 100;

    fn put(&mut self, out: &mut Vec<u8>, now: Millis) {
        if self.read_at.is_none_or(|read_at| now.0 >= read_at.0 + Self::FRESH_MS) {
            self.text = httpdate::fmt_http_date(SystemTime::now());
            self.read_at = Some(now);
        }
        put(out, b"Date", self.text.as_bytes());
    }
}

/// One header.
pub fn put(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// All headers of `headers`: what `written` has, in its order and letters, then the rest.
pub fn put_headers(out: &mut Vec<u8>, written: Written<'_>, headers: &HeaderMap) {
    let mut values = [None; HEADERS_MAX];
    let mut others = Vec::new();
    let mut first_free = 0;
    // All values of a name come in a row. Mostly the names come as they were written, so that the first
    // free place is the right one.
    for (name, value) in headers {
        let mut places = first_free..written.count();
        let is_its = |place: &usize| values[*place].is_none() && written.has(*place, name);
        match places.find(is_its) {
            Some(place) => values[place] = Some(value),
            None => others.push((name, value)),
        }
        while values.get(first_free).is_some_and(Option::is_some) {
            first_free += 1;
        }
    }
    for (name, value) in written.names().zip(&values) {
        if let Some(value) = value {
            put(out, name.as_bytes(), value.as_bytes());
        }
    }
    for (name, value) in others {
        put_canonical(out, name.as_str(), value);
    }
}

fn put_canonical(out: &mut Vec<u8>, name: &str, value: &HeaderValue) {
    let canonical = match name {
        "sec-websocket-accept" => "Sec-WebSocket-Accept",
        "sec-websocket-protocol" => "Sec-WebSocket-Protocol",
        "sec-websocket-version" => "Sec-WebSocket-Version",
        "www-authenticate" => "WWW-Authenticate",
        _ => {
            let start = out.len();
            put(out, name.as_bytes(), value.as_bytes());
            let mut is_first = true;
            for byte in &mut out[start..start + name.len()] {
                if is_first {
                    byte.make_ascii_uppercase();
                }
                is_first = *byte == b'-';
            }
            return;
        }
    };
    put(out, canonical.as_bytes(), value.as_bytes());
}

/// A status line.
pub fn put_status(out: &mut Vec<u8>, status: http::StatusCode, reason: &str) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// How an answer goes to a client.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Nothing follows it.
    pub closes: bool,
    /// It answers HEAD.
    pub without_body: bool,
    /// The present moment.
    pub now: Millis,
}

/// A whole answer of our own.
pub fn put_own(out: &mut Vec<u8>, response: &Response<Bytes>, manner: Manner, today: &mut Today) {
    put_status(out, response.status(), response.status().canonical_reason().unwrap_or_default());
    for (name, value) in response.headers() {
        put_canonical(out, name.as_str(), value);
    }
    if manner.closes && !response.headers().contains_key(CONNECTION) {
        put(out, b"Connection", b"close");
    }
    if !response.headers().contains_key(CONTENT_LENGTH) {
        put(out, b"Content-Length", response.body().len().to_string().as_bytes());
    }
    today.put(out, manner.now);
    out.extend_from_slice(b"\r\n");
    if !manner.without_body {
        out.extend_from_slice(response.body());
    }
}

/// What stands behind the headers of a runtime's answer. A server with a clock dates what it passes
/// on (RFC 9110 section 6.6.1).
pub fn put_end(out: &mut Vec<u8>, headers: &HeaderMap, manner: Manner, today: &mut Today) {
    if manner.closes {
        put(out, b"Connection", b"close");
    }
    if !headers.contains_key(DATE) {
        today.put(out, manner.now);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
