use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{FIXED_BYTES, Found, HEADER_BYTES_MAX, SIGNATURE, parse};

fn header(length: usize, source: &str) -> Found {
    Found::Header { length, source: Some(source.parse().expect(source)) }
}

/// A header of version 2.
fn binary(command: u8, family: u8, behind: &[u8]) -> Vec<u8> {
    let length = u16::try_from(behind.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, behind].concat()
}

fn v4(source: [u8; 4], port: u16) -> Vec<u8> {
    [&source[..], &[192, 0, 2, 1], &port.to_be_bytes(), &443_u16.to_be_bytes()].concat()
}

#[test]
fn a_line_names_who_connects() {
    let whole = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n";
    assert_eq!(parse(whole), header(whole.len(), "203.0.113.7:56324"));
    let with_request = [&whole[..], b"GET / HTTP/1.1\r\n"].concat();
    assert_eq!(parse(&with_request), header(whole.len(), "203.0.113.7:56324"));
    let whole = b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n";
    assert_eq!(parse(whole), header(whole.len(), "[2001:db8::7]:1"));
    let mapped = b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n";
    assert_eq!(parse(mapped), header(mapped.len(), "203.0.113.7:1"));
    for unknown in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"] {
        assert_eq!(parse(unknown), Found::Header { length: unknown.len(), source: None });
    }
}

#[test]
fn a_line_that_is_not_just_so_is_bad() {
    for line in [
        "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 56324\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443 1\r\n",
        "PROXY TCP4  203.0.113.7 192.0.2.1 56324 443\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 +6324 443\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 66324 443\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 1 \r\n",
        "PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n",
        "PROXY TCP4 203.0.113.7 2001:db8::7 1 2\r\n",
        "PROXY TCP6 203.0.113.7 192.0.2.1 1 2\r\n",
        "PROXY TCP4 203.0.113.256 192.0.2.1 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UDP4 203.0.113.7 192.0.2.1 1 2\r\n",
        "PROXY \r\n",
        "PROXY TCP4 203.0.113.7\0 192.0.2.1 1 2\r\n",
        "proxy TCP4 203.0.113.7 192.0.2.1 1 2\r\n",
        "GET / HTTP/1.1\r\n",
        "\r\n\r\nGET",
        "\x16\x03\x01",
    ] {
        assert!(matches!(parse(line.as_bytes()), Found::Bad(_)), "{line:?}");
    }
    let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 93]].concat();
    assert_eq!(parse(&endless[..106]), Found::Part);
    assert!(matches!(parse(&endless), Found::Bad(_)));
    // The longest that is allowed.
    let longest = [&endless[..105], b"\r\n"].concat();
    assert_eq!(parse(&longest), Found::Header { length: 107, source: None });
}

#[test]
fn a_binary_header_names_who_connects() {
    let plain = binary(0x21, 0x11, &v4([203, 0, 113, 7], 56324));
    assert_eq!(parse(&plain), header(28, "203.0.113.7:56324"));
    let extended = binary(0x21, 0x11, &[v4([203, 0, 113, 7], 1), vec![0xee; 40]].concat());
    assert_eq!(parse(&extended), header(68, "203.0.113.7:1"));
    assert_eq!(parse(&[&extended[..], b"GET"].concat()), header(68, "203.0.113.7:1"));
    let source = "[2001:db8::7]:9".parse::<SocketAddr>().unwrap();
    let SocketAddr::V6(v6) = source else { unreachable!() };
    let behind = [&v6.ip().octets()[..], &[0; 16], &[0, 9, 1, 187]].concat();
    let found = Found::Header { length: 52, source: Some(source) };
    assert_eq!(parse(&binary(0x21, 0x21, &behind)), found);
}

#[test]
fn what_names_nobody_leaves_the_peer_as_it_is() {
    let unnamed = |length| Found::Header { length, source: None };
    assert_eq!(parse(&binary(0x20, 0x00, &[])), unnamed(16));
    // A balancer's own look at us, whatever addresses it gives.
    assert_eq!(parse(&binary(0x20, 0x11, &v4([1, 2, 3, 4], 5))), unnamed(28));
    for family in [0x00, 0x12, 0x22, 0x31, 0x32] {
        assert_eq!(parse(&binary(0x21, family, &[0; 4])), unnamed(20), "{family:x}");
    }
}

#[test]
fn a_binary_header_that_is_not_just_so_is_bad() {
    for bytes in [
        binary(0x11, 0x11, &v4([1, 2, 3, 4], 5)),
        binary(0x22, 0x11, &v4([1, 2, 3, 4], 5)),
        binary(0x21, 0x13, &v4([1, 2, 3, 4], 5)),
        binary(0x21, 0x41, &v4([1, 2, 3, 4], 5)),
        binary(0x21, 0x11, &v4([1, 2, 3, 4], 5)[..11]),
        binary(0x21, 0x21, &[0; 35]),
    ] {
        assert!(matches!(parse(&bytes), Found::Bad(_)), "{bytes:x?}");
    }
    let most = HEADER_BYTES_MAX - FIXED_BYTES;
    let longest = binary(0x20, 0x00, &vec![0; most]);
    assert_eq!(parse(&longest), Found::Header { length: HEADER_BYTES_MAX, source: None });
    // It is known from the first bytes that it would be too long.
    let longer = binary(0x20, 0x00, &vec![0; most + 1]);
    assert!(matches!(parse(&longer[..FIXED_BYTES]), Found::Bad(_)));
}

#[test]
fn every_beginning_of_a_header_waits_for_the_rest() {
    for whole in [
        b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n".to_vec(),
        binary(0x21, 0x11, &v4([203, 0, 113, 7], 56324)),
    ] {
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), Found::Part, "{length}");
        }
    }
}

proptest! {
    /// Whatever comes: no panic, no length beyond what was given, none beyond the limit, and nothing
    /// behind a header changes what was found.
    #[test]
    fn any_bytes_are_judged_within_bounds(
        start in prop_oneof![
            Just(Vec::new()), Just(b"PROXY ".to_vec()), Just(b"PROXY TCP4 1.2.3.4 ".to_vec()),
            Just(SIGNATURE.to_vec()), Just([&SIGNATURE[..], &[0x21, 0x11, 0]].concat()),
        ],
        rest in vec(any::<u8>(), 0..300),
    ) {
        let bytes = [start, rest].concat();
        match parse(&bytes) {
            Found::Header { length, .. } => {
                prop_assert!(length <= bytes.len() && length <= HEADER_BYTES_MAX);
                prop_assert_eq!(parse(&bytes[..length]), parse(&bytes));
            }
            Found::Part => prop_assert!(bytes.len() < HEADER_BYTES_MAX),
            Found::Bad(_) => {}
        }
    }
}
