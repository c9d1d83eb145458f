//! Heads of requests and answers, as bytes and as what the stages understand.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, StatusCode, Uri};
use httparse::Status;

/// The most headers of one head that are read here.
pub const HEADERS_MAX: usize = 100;

/// Space for a head's headers.
pub type Space<'a> = [MaybeUninit<httparse::Header<'a>>; HEADERS_MAX];

/// An empty [`Space`].
#[must_use]
pub fn space<'a>() -> Space<'a> {
    [const { MaybeUninit::uninit() }; HEADERS_MAX]
}

/// What was found at the beginning of some bytes.
#[derive(Debug)]
pub enum Found<T> {
    /// Not all of a head yet.
    Part,
    /// All of one.
    Head(T),
    /// Something else.
    Bad,
}

/// The names of a head's headers as its sender wrote them, in order.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a>(&'a [httparse::Header<'a>]);

impl<'a> Written<'a> {
    /// The names.
    pub fn names(self) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(|header| header.name)
    }

    /// Whether the header at `place` has this name.
    pub(super) fn has(self, place: usize, name: &HeaderName) -> bool {
        self.0[place].name.eq_ignore_ascii_case(name.as_str())
    }

    /// How many headers there are.
    pub(super) fn count(self) -> usize {
        self.0.len()
    }
}

/// A request's head.
#[derive(Debug)]
pub struct RequestHead<'a> {
    /// What the stages understand.
    pub parts: Parts,
    /// What it said, letter for letter.
    pub written: Written<'a>,
    /// Its bytes.
    pub length: usize,
}

/// Reads a request's head in HTTP/1.1, with a path for its target and no more headers than there is
/// space for. `map` becomes its headers, for its memory.
pub fn read_request<'a>(
    bytes: &'a [u8],
    space: &'a mut [MaybeUninit<httparse::Header<'a>>],
    map: &mut HeaderMap,
) -> Found<RequestHead<'a>> {
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, space) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Found::Part,
        Err(_) => return Found::Bad,
    };
    let (Some(method), Some(path), Some(1)) = (request.method, request.path, request.version)
    else {
        return Found::Bad;
    };
    let shared = Bytes::copy_from_slice(&bytes[..length]);
    let slice = |part: &[u8]| slice_of(bytes, &shared, part);
    let (Ok(method), Ok(uri), true) = (
        Method::from_bytes(method.as_bytes()),
        Uri::from_maybe_shared(slice(path.as_bytes())),
        path.starts_with('/'),
    ) else {
        return Found::Bad;
    };
    let headers: &'a [httparse::Header<'a>] = request.headers;
    if !fill(map, headers, slice) {
        return Found::Bad;
    }
    let (mut parts, ()) = Request::new(()).into_parts();
    (parts.method, parts.uri, parts.headers) = (method, uri, std::mem::take(map));
    Found::Head(RequestHead { parts, written: Written(headers), length })
}

/// An answer's head.
#[derive(Debug)]
pub struct AnswerHead<'a> {
    /// The status.
    pub status: StatusCode,
    /// The text behind it.
    pub reason: &'a str,
    /// Whether it is HTTP/1.1, not 1.0.
    pub is_http_1_1: bool,
    /// Its headers.
    pub headers: HeaderMap,
    /// What they are called, letter for letter.
    pub written: Written<'a>,
    /// Its bytes.
    pub length: usize,
}

/// Reads an answer's head. `map` becomes its headers, for its memory.
pub fn read_answer<'a>(
    bytes: &'a [u8],
    space: &'a mut Space<'a>,
    map: &mut HeaderMap,
) -> Found<AnswerHead<'a>> {
    let mut answer = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let length = match parser.parse_response_with_uninit_headers(&mut answer, bytes, space) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Found::Part,
        Err(_) => return Found::Bad,
    };
    let (Some(version), Some(code)) = (answer.version, answer.code) else { return Found::Bad };
    let Ok(status) = StatusCode::from_u16(code) else { return Found::Bad };
    let shared = Bytes::copy_from_slice(&bytes[..length]);
    let reason = answer.reason.unwrap_or_default();
    let written: &'a [httparse::Header<'a>] = answer.headers;
    if !fill(map, written, |part| slice_of(bytes, &shared, part)) {
        return Found::Bad;
    }
    Found::Head(AnswerHead {
        status,
        reason,
        is_http_1_1: version == 1,
        headers: std::mem::take(map),
        written: Written(written),
        length,
    })
}

/// The same part of a copy.
fn slice_of(bytes: &[u8], copy: &Bytes, part: &[u8]) -> Bytes {
    let start = part.as_ptr().addr().wrapping_sub(bytes.as_ptr().addr());
    match start.checked_add(part.len()) {
        Some(end) if end <= copy.len() => copy.slice(start..end),
        _ => Bytes::copy_from_slice(part),
    }
}

/// Returns whether all are headers.
fn fill(
    map: &mut HeaderMap,
    headers: &[httparse::Header<'_>],
    slice: impl Fn(&[u8]) -> Bytes,
) -> bool {
    map.clear();
    headers.iter().all(|header| {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(slice(header.value));
        match (name, value) {
            (Ok(name), Ok(value)) => {
                map.append(name, value);
                true
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests;
