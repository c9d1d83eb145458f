//! What proxies in front say of whoever connects to them: believed of those alone that are trusted.
//!
//! Deliberately absent: `Forwarded` (RFC 7239). A proxy that writes the one mostly passes the other on
//! as the client has sent it, so only one can be believed.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::networks::Networks;

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";
/// More proxies than this in a row are not looked behind.
const PROXIES_MAX: usize = 32;

/// Who sent a request that came from `peer`, and whether they speak TLS with the first of us.
///
/// Unless the peer is trusted that is the peer. Each proxy adds its own peer to the right of
/// `X-Forwarded-For`: from there, entries are passed over while they are trusted proxies themselves,
/// and the next one is who sent it. The port is 0 where the entry has none. `X-Forwarded-Proto` counts
/// as the last proxy has it.
#[must_use]
pub fn sender(
    peer: SocketAddr,
    over_tls: bool,
    headers: &HeaderMap,
    trusted: &Networks,
) -> (SocketAddr, bool) {
    if trusted.is_empty() || !trusted.contain(peer.ip()) {
        return (peer, over_tls);
    }
    let last = entries(headers, PROTO).next();
    let over_tls = match last {
        Some(proto) if proto.eq_ignore_ascii_case("https") => true,
        Some(proto) if proto.eq_ignore_ascii_case("http") => false,
        _ => over_tls,
    };
    let mut sender = peer;
    for entry in entries(headers, FOR).take(PROXIES_MAX) {
        // "unknown" and the like: nobody is known behind this proxy.
        let Some(before) = address(entry) else { break };
        sender = before;
        if !trusted.contain(before.ip()) {
            break;
        }
    }
    (sender, over_tls)
}

/// The entries of a list that may be spread over several headers, from the last to the first. What is
/// no text ends it.
fn entries<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values: Vec<&str> =
        headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?")).collect();
    values.into_iter().rev().flat_map(|value| value.rsplit(',')).map(str::trim)
}

/// An address, with or without brackets and port.
fn address(entry: &str) -> Option<SocketAddr> {
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']'));
    let alone = bare.unwrap_or(entry).parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    let found = alone.or_else(|_| entry.parse()).ok()?;
    Some(SocketAddr::new(found.ip().to_canonical(), found.port()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn trusted() -> Networks {
        Networks::from(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn sender_of(peer: &str, lines: &[(&'static str, &str)]) -> String {
        sender(peer.parse().unwrap(), false, &headers(lines), &trusted()).0.to_string()
    }

    #[test]
    fn the_rightmost_that_is_no_trusted_proxy_has_sent_it() {
        for (said, sender) in [
            ("203.0.113.7", "203.0.113.7:0"),
            // Whatever a client writes itself stands further left.
            ("127.0.0.1, 203.0.113.7", "203.0.113.7:0"),
            ("1.1.1.1, 203.0.113.7,10.0.0.2 , 10.0.0.3", "203.0.113.7:0"),
            ("203.0.113.7:5555", "203.0.113.7:5555"),
            ("[2001:db8::7]:5555", "[2001:db8::7]:5555"),
            ("[2001:db8::7]", "[2001:db8::7]:0"),
            ("2001:db8::7", "[2001:db8::7]:0"),
            ("::ffff:203.0.113.7", "203.0.113.7:0"),
            ("203.0.113.7, fd00::2", "203.0.113.7:0"),
            // Only proxies: the first of them.
            ("10.0.0.4, 10.0.0.3", "10.0.0.4:0"),
            // Nobody is known behind it.
            ("203.0.113.7, unknown", "10.0.0.9:1"),
            ("203.0.113.7, unknown, 10.0.0.3", "10.0.0.3:0"),
            ("203.0.113.7, 10.0.0.3,", "10.0.0.9:1"),
            ("203.0.113.7, \u{e9}", "10.0.0.9:1"),
            ("", "10.0.0.9:1"),
        ] {
            assert_eq!(sender_of("10.0.0.9:1", &[(FOR, said)]), sender, "{said}");
        }
        let spread = [(FOR, "6.6.6.6"), (FOR, "203.0.113.7, 10.0.0.2"), (FOR, "10.0.0.3")];
        assert_eq!(sender_of("10.0.0.9:1", &spread), "203.0.113.7:0");
        assert_eq!(sender_of("[::ffff:10.0.0.9]:1", &spread), "203.0.113.7:0");
        assert_eq!(sender_of("10.0.0.9:1", &[]), "10.0.0.9:1");
        assert_eq!(sender_of("10.0.0.9:1", &[("forwarded", "for=203.0.113.7")]), "10.0.0.9:1");
    }

    #[test]
    fn nobody_else_is_believed() {
        let lines = [(FOR, "203.0.113.7"), (PROTO, "https")];
        assert_eq!(sender_of("192.0.2.1:1", &lines), "192.0.2.1:1");
        let peer = "192.0.2.1:1".parse().unwrap();
        assert_eq!(sender(peer, false, &headers(&lines), &trusted()), (peer, false));
        let peer = "10.0.0.9:1".parse().unwrap();
        assert_eq!(sender(peer, false, &headers(&lines), &Networks::default()), (peer, false));
    }

    #[test]
    fn more_proxies_than_anybody_has_are_not_looked_behind() {
        let chain = format!("203.0.113.7{}", ", 10.0.0.2".repeat(PROXIES_MAX));
        assert_eq!(sender_of("10.0.0.9:1", &[(FOR, &chain)]), "10.0.0.2:0");
        let chain = format!("203.0.113.7{}", ", 10.0.0.2".repeat(PROXIES_MAX - 1));
        assert_eq!(sender_of("10.0.0.9:1", &[(FOR, &chain)]), "203.0.113.7:0");
    }

    #[test]
    fn the_last_proxy_says_whether_it_was_tls() {
        let peer = "10.0.0.9:1".parse().unwrap();
        for (said, by_peer, over_tls) in [
            ("https", false, true),
            ("HTTPS", false, true),
            ("http, https", false, true),
            ("https, http", false, false),
            ("http", true, false),
            ("wss", true, true),
            ("", false, false),
        ] {
            let told = sender(peer, by_peer, &headers(&[(PROTO, said)]), &trusted());
            assert_eq!(told.1, over_tls, "{said}");
        }
    }
}
