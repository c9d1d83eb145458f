//! A request's body as the runtime gets it (RFC 9112 section 6). Pure.
//!
//! A length passes as it is. Chunks are made anew of the data that has come: nothing of how a client
//! has written them reaches a runtime, so there is nothing that the two could read in different ways.
//! Trailers that nobody has announced are left out.

use std::io::Write;
use std::ops::Range;

use http::header::{
    CONTENT_LENGTH, EXPECT, GetAll, HeaderMap, HeaderValue, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use super::buffers::CHUNK_ROOM;
use super::framing::{Chunks, Framing};

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// As many as no body has.
const LENGTH_DIGITS_MAX: usize = 18;

/// A body on its way.
#[derive(Clone, Debug)]
pub struct RequestBody {
    framing: Framing,
    is_chunked: bool,
    left_bytes: u64,
}

/// Somebody else has to judge what a head says of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strange;

/// What was read of a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where what goes to the runtime is.
    pub sent: Range<usize>,
    /// Where what belongs to the body no more begins.
    pub end: usize,
}

/// What was read behind a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// All of the body, if there is one.
    pub is_whole: bool,
    /// Something that does not belong to it.
    pub has_more: bool,
}

/// Why a body goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its chunks are none.
    Broken,
    /// It is longer than bodies may be.
    OverLimit,
}

impl RequestBody {
    /// What a head announces; at most `limit_bytes` of it will pass.
    ///
    /// # Errors
    /// A body of two lengths or codings, with trailers that are to be passed on or of a handshake, or an
    /// expectation that is unknown.
    pub fn announced(headers: &HeaderMap, limit_bytes: u64) -> Result<Self, Strange> {
        let none = Self { framing: Framing::Done, is_chunked: false, left_bytes: limit_bytes };
        if !has_any(headers) {
            return Ok(none);
        }
        let is_expected = |value: &HeaderValue| is_word(value, b"100-continue");
        let is_chunked = |value: &HeaderValue| is_word(value, b"chunked");
        if headers.contains_key(UPGRADE)
            || headers.contains_key(TRAILER)
            || !only(headers.get_all(EXPECT), is_expected)
        {
            return Err(Strange);
        }
        match (headers.get(CONTENT_LENGTH), headers.get(TRANSFER_ENCODING)) {
            (None, None) => Ok(none),
            (None, Some(_)) if only(headers.get_all(TRANSFER_ENCODING), is_chunked) => {
                let framing = Framing::Chunks(Chunks::default());
                Ok(Self { framing, is_chunked: true, ..none })
            }
            (Some(length), None) if only(headers.get_all(CONTENT_LENGTH), |_| true) => {
                match length_of(length).ok_or(Strange)? {
                    0 => Ok(none),
                    length => Ok(Self { framing: Framing::Length(length), ..none }),
                }
            }
            _ => Err(Strange),
        }
    }

    /// All of it was read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.framing == Framing::Done
    }

    /// How many bytes may be read at once without reading anything behind it, if that is known.
    #[must_use]
    pub fn wants(&self, most: usize) -> usize {
        match self.framing {
            Framing::Length(left) => usize::try_from(left).unwrap_or(usize::MAX).min(most),
            _ => most,
        }
    }

    /// Takes what was read of it: `length` bytes of the buffer behind `CHUNK_ROOM`. As much room has to
    /// be behind them.
    ///
    /// # Errors
    /// Nothing of what was read may be sent.
    pub fn pass(&mut self, buffer: &mut [u8], length: usize) -> Result<Piece, Fault> {
        let read = &mut buffer[CHUNK_ROOM..CHUNK_ROOM + length];
        let (taken, data) = match &mut self.framing {
            Framing::Chunks(chunks) => chunks.gather(read).map_err(|_| Fault::Broken)?,
            framing => {
                let (taken, _) = framing.take(read);
                (taken, 0..taken)
            }
        };
        let left_bytes = self.left_bytes.checked_sub(data.len() as u64);
        self.left_bytes = left_bytes.ok_or(Fault::OverLimit)?;
        let end = CHUNK_ROOM + taken;
        let data = CHUNK_ROOM + data.start..CHUNK_ROOM + data.end;
        if !self.is_chunked {
            return Ok(Piece { sent: data, end });
        }
        let is_last = matches!(&self.framing, Framing::Chunks(chunks) if chunks.are_over());
        if is_last {
            self.framing = Framing::Done;
        }
        Ok(Piece { sent: frame(buffer, data, is_last), end })
    }

    /// What is behind a head, so far as it was read with it.
    #[must_use]
    pub fn look(&self, behind: &[u8]) -> Ahead {
        let mut framing = self.framing.clone();
        let (taken, _) = framing.take(behind);
        let is_whole = framing == Framing::Done;
        Ahead { is_whole, has_more: is_whole && taken < behind.len() }
    }
}

/// Makes a chunk of some data where it is, and the last one behind it. What was read behind the body
/// stays: there the last chunk was as long, at least.
fn frame(buffer: &mut [u8], data: Range<usize>, is_last: bool) -> Range<usize> {
    let Range { mut start, mut end } = data;
    if start < end {
        let mut size = [0; CHUNK_ROOM];
        let mut rest = &mut size[..];
        // The room is enough for it.
        let _ = write!(rest, "{:x}\r\n", end - start);
        let digits = CHUNK_ROOM - rest.len();
        start -= digits;
        buffer[start..start + digits].copy_from_slice(&size[..digits]);
        buffer[end..end + 2].copy_from_slice(b"\r\n");
        end += 2;
    } else if is_last {
        // Of the last chunk the beginning may have been read before.
        (start, end) = (CHUNK_ROOM - LAST_CHUNK.len(), CHUNK_ROOM - LAST_CHUNK.len());
    }
    if is_last {
        buffer[end..end + LAST_CHUNK.len()].copy_from_slice(LAST_CHUNK);
        end += LAST_CHUNK.len();
    }
    start..end
}

fn has_any(headers: &HeaderMap) -> bool {
    [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT].iter().any(|name| headers.contains_key(name))
}

/// There is no value, or one, which is right.
fn only(values: GetAll<'_, HeaderValue>, is_right: impl FnOnce(&HeaderValue) -> bool) -> bool {
    let mut values = values.iter();
    values.next().is_none_or(is_right) && values.next().is_none()
}

fn is_word(value: &HeaderValue, word: &[u8]) -> bool {
    value.as_bytes().eq_ignore_ascii_case(word)
}

fn length_of(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    let is_length = (1..=LENGTH_DIGITS_MAX).contains(&digits.len());
    let text = std::str::from_utf8(digits).ok().filter(|_| is_length)?;
    // A sign would be read, too.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests;
