//! The PROXY protocol's header, version 1 and 2, by which a load balancer says whose connection it
//! passes on (HAProxy's `proxy-protocol.txt`, revision of 2024). Pure: bytes in, a finding out.
//!
//! Deliberately absent: what the extensions (TLVs) behind the addresses say. They are passed over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that is read, in bytes: addresses and more extensions than any balancer sends.
pub const HEADER_BYTES_MAX: usize = 4096;

/// What version 2 begins with (section 2.2): no text, and no HTTP.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with (section 2.1).
const WORD: &[u8; 6] = b"PROXY ";
/// The longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;
/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

/// What was found in the first bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// More has to come. Nothing behind the header was looked at.
    Part,
    /// No header; why is for the log.
    Bad(&'static str),
    /// A whole header.
    Header {
        /// Its length in bytes.
        length: usize,
        /// Who opened the connection; `None` if that is the balancer itself, or not said.
        source: Option<SocketAddr>,
    },
}

/// Reads a header from the first bytes of a connection.
#[must_use]
pub fn parse(bytes: &[u8]) -> Found {
    if bytes.starts_with(SIGNATURE) {
        binary(bytes)
    } else if bytes.starts_with(WORD) {
        line(bytes)
    } else if SIGNATURE.starts_with(bytes) || WORD.starts_with(bytes) {
        Found::Part
    } else {
        Found::Bad("the connection does not begin with a PROXY header")
    }
}

/// Version 1: a line of text.
fn line(bytes: &[u8]) -> Found {
    let seen = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        return match bytes.len() < LINE_BYTES_MAX {
            true => Found::Part,
            false => Found::Bad("the PROXY line is too long"),
        };
    };
    let length = end + 1;
    let said = seen[WORD.len()..end].strip_suffix(b"\r");
    let Some(said) = said.and_then(|said| std::str::from_utf8(said).ok()) else {
        return Found::Bad("the PROXY line does not end as it has to");
    };
    if said == "UNKNOWN" || said.starts_with("UNKNOWN ") {
        return Found::Header { length, source: None };
    }
    match source_of_line(said) {
        Some(source) => Found::Header { length, source: Some(source) },
        None => Found::Bad("the PROXY line has no addresses in it that can be read"),
    }
}

/// `TCP4 SOURCE DESTINATION PORT PORT`, with one space between.
fn source_of_line(said: &str) -> Option<SocketAddr> {
    let mut words = said.split(' ');
    let family = words.next()?;
    let (source, destination) = (words.next()?, words.next()?);
    let (port, other) = (port(words.next()?)?, words.next()?);
    self::port(other)?;
    if words.next().is_some() {
        return None;
    }
    let source: IpAddr = match family {
        "TCP4" => {
            destination.parse::<Ipv4Addr>().ok()?;
            source.parse::<Ipv4Addr>().ok()?.into()
        }
        "TCP6" => {
            destination.parse::<Ipv6Addr>().ok()?;
            source.parse::<Ipv6Addr>().ok()?.into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(source.to_canonical(), port))
}

fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Version 2: binary.
fn binary(bytes: &[u8]) -> Found {
    let Some(&[version_and_command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED_BYTES)
    else {
        return Found::Part;
    };
    let behind = usize::from(u16::from_be_bytes([high, low]));
    let length = FIXED_BYTES + behind;
    let is_local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return Found::Bad("the PROXY header has another version or command"),
    };
    if length > HEADER_BYTES_MAX {
        return Found::Bad("the PROXY header is too long");
    }
    let Some(said) = bytes.get(FIXED_BYTES..length) else { return Found::Part };
    if is_local {
        return Found::Header { length, source: None };
    }
    let source = match family {
        0x11 => source_v4(said),
        0x21 => source_v6(said),
        // Unspecified, datagrams, Unix sockets: nothing that could open a TCP connection to us.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => return Found::Header { length, source: None },
        _ => return Found::Bad("the PROXY header has an unknown family"),
    };
    match source {
        Some(source) => Found::Header { length, source: Some(source) },
        None => Found::Bad("the PROXY header is too short for its addresses"),
    }
}

/// Source and destination, then their ports.
fn source_v4(said: &[u8]) -> Option<SocketAddr> {
    let (addresses, ports) = (said.get(..8)?, said.get(8..12)?);
    let source: [u8; 4] = addresses[..4].try_into().ok()?;
    Some(SocketAddr::new(Ipv4Addr::from(source).into(), u16::from_be_bytes([ports[0], ports[1]])))
}

fn source_v6(said: &[u8]) -> Option<SocketAddr> {
    let (addresses, ports) = (said.get(..32)?, said.get(32..36)?);
    let source: [u8; 16] = addresses[..16].try_into().ok()?;
    let source = IpAddr::from(source).to_canonical();
    Some(SocketAddr::new(source, u16::from_be_bytes([ports[0], ports[1]])))
}

#[cfg(test)]
mod tests;
