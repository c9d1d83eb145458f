//! Where a body ends (RFC 9112 section 6.3). Pure.

use std::ops::Range;

use http::StatusCode;
use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};

/// The most bytes of one chunk's extensions, and of all trailers.
const EXTRA_BYTES_MAX: usize = 16 * 1024;
/// Sixteen digits are more than any body has.
const SIZE_DIGITS_MAX: u8 = 15;

/// How a body ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none, or no more of it.
    Done,
    /// After so many bytes.
    Length(u64),
    /// With its last chunk.
    Chunks(Chunks),
    /// With its connection.
    UntilEnd,
}

impl Framing {
    /// How the body of a runtime's answer ends.
    ///
    /// # Errors
    /// It could be read in two ways, or in none; says why.
    pub fn of_answer(
        answers_head: bool,
        status: StatusCode,
        is_http_1_1: bool,
        headers: &HeaderMap,
    ) -> Result<Self, &'static str> {
        let length = length(headers)?;
        let codings = headers.get_all(TRANSFER_ENCODING);
        let mut codings = codings.iter();
        let is_chunked = match (codings.next(), codings.next()) {
            (None, _) => false,
            (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
            _ => return Err("its transfer coding is unknown"),
        };
        if is_chunked && (length.is_some() || !is_http_1_1) {
            return Err("its body has two lengths");
        }
        let is_bodiless =
            matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || answers_head;
        Ok(match length {
            _ if is_bodiless => Self::Done,
            _ if is_chunked => Self::Chunks(Chunks::default()),
            Some(0) => Self::Done,
            Some(length) => Self::Length(length),
            None => Self::UntilEnd,
        })
    }

    /// How many of these bytes belong to the body. They may be passed on even if the rest is broken.
    pub fn take(&mut self, bytes: &[u8]) -> (usize, Result<(), Broken>) {
        match self {
            Self::Done => (0, Ok(())),
            Self::UntilEnd => (bytes.len(), Ok(())),
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                (taken, Ok(()))
            }
            Self::Chunks(chunks) => {
                let (taken, outcome) = chunks.take(bytes);
                if chunks.at == At::End {
                    *self = Self::Done;
                }
                (taken, outcome)
            }
        }
    }
}

/// The one length that all `Content-Length`s name.
fn length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut found = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let digits = value.as_bytes().trim_ascii();
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(digits).ok().filter(|_| is_number);
        let length: u64 =
            text.and_then(|text| text.parse().ok()).ok_or("its Content-Length is no number")?;
        if found.is_some_and(|found| found != length) {
            return Err("its body has two lengths");
        }
        found = Some(length);
    }
    Ok(found)
}

/// The chunks of a body are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Walks over chunks (RFC 9112 section 7.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    at: At,
    left: u64,
    digits: u8,
    extra_bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a trailer, or of the empty line.
    Trailer,
    InTrailer,
    TrailerLf,
    LastLf,
    End,
}

impl Chunks {
    /// Whether the last of them has been walked over.
    #[must_use]
    pub fn are_over(&self) -> bool {
        self.at == At::End
    }

    /// Walks on, and moves the data together, which leaves what is between the pieces out. Returns how
    /// many bytes belong to the body, and where among them its data is now.
    ///
    /// # Errors
    /// What should be a chunk is none.
    pub fn gather(&mut self, bytes: &mut [u8]) -> Result<(usize, Range<usize>), Broken> {
        let mut place = 0;
        let mut data = 0..0;
        while place < bytes.len() && self.at != At::End {
            if self.at != At::Data {
                self.at = self.step(bytes[place]).ok_or(Broken)?;
                place += 1;
                continue;
            }
            let taken = self.take_data(bytes.len() - place);
            if data.is_empty() {
                // What comes first stays where it is.
                data = place..place;
            } else {
                bytes.copy_within(place..place + taken, data.end);
            }
            data.end += taken;
            place += taken;
        }
        Ok((place, data))
    }

    /// How many of the bytes that are left of a read are data of the present chunk.
    fn take_data(&mut self, rest: usize) -> usize {
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest);
        self.left -= taken as u64;
        if self.left == 0 {
            self.at = At::DataCr;
        }
        taken
    }

    /// Walks on, and changes nothing.
    fn take(&mut self, bytes: &[u8]) -> (usize, Result<(), Broken>) {
        let mut place = 0;
        while place < bytes.len() && self.at != At::End {
            if self.at == At::Data {
                place += self.take_data(bytes.len() - place);
                continue;
            }
            match self.step(bytes[place]) {
                Some(at) => self.at = at,
                None => return (place, Err(Broken)),
            }
            place += 1;
        }
        (place, Ok(()))
    }

    /// One byte that is no data.
    fn step(&mut self, byte: u8) -> Option<At> {
        match (self.at, byte) {
            (At::Size, byte) if byte.is_ascii_hexdigit() => {
                self.digits += 1;
                let digit = char::from(byte).to_digit(16)?;
                self.left = self.left * 16 + u64::from(digit);
                (self.digits <= SIZE_DIGITS_MAX).then_some(At::Size)
            }
            (At::Size, b'\r') if self.digits > 0 => Some(At::SizeLf),
            (At::Size, b';' | b' ' | b'\t') if self.digits > 0 => self.extra(At::Extension),
            (At::Extension, b'\r') => Some(At::SizeLf),
            (At::Extension, byte) if is_text(byte) => self.extra(At::Extension),
            (At::SizeLf, b'\n') => {
                self.digits = 0;
                self.extra_bytes = 0;
                Some(if self.left == 0 { At::Trailer } else { At::Data })
            }
            (At::DataCr, b'\r') => Some(At::DataLf),
            (At::DataLf, b'\n') => Some(At::Size),
            (At::Trailer, b'\r') => Some(At::LastLf),
            (At::InTrailer, b'\r') => Some(At::TrailerLf),
            (At::Trailer | At::InTrailer, byte) if is_text(byte) => self.extra(At::InTrailer),
            (At::TrailerLf, b'\n') => Some(At::Trailer),
            (At::LastLf, b'\n') => Some(At::End),
            _ => None,
        }
    }

    fn extra(&mut self, at: At) -> Option<At> {
        self.extra_bytes += 1;
        (self.extra_bytes <= EXTRA_BYTES_MAX).then_some(at)
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests;
