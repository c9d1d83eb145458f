//! Whose a request is, by what stands before it and in it.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::client::forwarded::sender;
use crate::front::head::{Found as Head, read_request, space};
use crate::networks::{Network, Networks};
use crate::proxy_protocol::{Found, HEADER_BYTES_MAX, parse};

const LINE_BYTES_MAX: usize = 107;

/// What begins a connection: the same is found in it however it arrives, and whatever comes behind it.
pub fn proxy(data: &[u8]) {
    let found = parse(data);
    if let Found::Header { length, source } = found {
        assert!(length <= data.len().min(HEADER_BYTES_MAX));
        if let Some(source) = source {
            assert_eq!(source.ip(), source.ip().to_canonical());
            is_found_again(source);
        }
        if data.starts_with(b"PROXY ") {
            is_a_line(&data[..length], source);
        }
    }
    let decided_at = (0..=data.len()).find(|end| parse(&data[..*end]) != Found::Part);
    match decided_at {
        // Whoever keeps what has come needs no more room than that.
        None => assert!(data.len() < HEADER_BYTES_MAX, "nothing is found in so much"),
        Some(end) => {
            for longer in end..=data.len() {
                assert_eq!(parse(&data[..longer]), found, "{longer} of {} bytes", data.len());
            }
            assert_eq!(parse(&[data, b"\r\n\0GET"].concat()), found);
            assert!(!matches!(found, Found::Header { length, .. } if length != end));
        }
    }
}

/// Version 1, read once more: word by word.
fn is_a_line(line: &[u8], source: Option<SocketAddr>) {
    assert!(line.len() <= LINE_BYTES_MAX && line.ends_with(b"\r\n"));
    let text = std::str::from_utf8(&line[..line.len() - 2]).expect("a line is text");
    let words: Vec<&str> = text.split(' ').collect();
    let Some(source) = source else { return assert_eq!(words[1], "UNKNOWN") };
    assert_eq!(words.len(), 6);
    let addresses: [IpAddr; 2] = [2, 3].map(|place| words[place].parse().expect("an address"));
    let ports: [u16; 2] = [4, 5].map(|place| words[place].parse().expect("a port"));
    for address in addresses {
        assert_eq!(words[1], if address.is_ipv4() { "TCP4" } else { "TCP6" });
    }
    assert_eq!(source, SocketAddr::new(addresses[0].to_canonical(), ports[0]));
}

/// The client, said by a balancer in either version.
fn is_found_again(source: SocketAddr) {
    let port = source.port();
    let (line, family, addresses) = match source.ip() {
        IpAddr::V4(ip) => {
            let line = format!("PROXY TCP4 {ip} 192.0.2.1 {port} 443\r\n");
            (line, 0x11, [ip.octets(), [192, 0, 2, 1]].concat())
        }
        IpAddr::V6(ip) => {
            let line = format!("PROXY TCP6 {ip} 2001:db8::1 {port} 443\r\n");
            (line, 0x21, [ip.octets(), [7; 16]].concat())
        }
    };
    let [high, low] = port.to_be_bytes();
    let said = [&addresses[..], &[high, low, 1, 187]].concat();
    let head = [&b"\r\n\r\n\0\r\nQUIT\n\x21"[..], &[family, 0, said.len() as u8]].concat();
    for header in [line.into_bytes(), [head, said].concat()] {
        let length = header.len();
        assert_eq!(parse(&header), Found::Header { length, source: Some(source) });
    }
}

/// The proxies in front: some beside us, and some elsewhere.
fn trusted() -> Networks {
    let network = |text: &str| text.parse::<Network>().expect("a network");
    Networks::from(["10.0.0.0/8", "192.0.2.64/26", "fd00::/8"].map(network).to_vec())
}

/// The first byte is where a request comes from, its head follows: nobody is believed who is not
/// trusted.
pub fn forwarded(data: &[u8]) {
    let Some((situation, bytes)) = data.split_first() else { return };
    let (mut headers, mut space) = (HeaderMap::new(), space());
    let Head::Head(_) = read_request(bytes, &mut space, &mut headers) else { return };
    let over_tls = situation & 1 != 0;
    let (trusted, stranger) = (trusted(), "[2001:db8::7]:5".parse().expect("an address"));
    assert_eq!(sender(stranger, over_tls, &headers, &trusted), (stranger, over_tls));
    let peer = match situation & 2 {
        0 => "10.1.2.3:4",
        _ => "[fd00::9]:4",
    };
    let peer = peer.parse().expect("an address");
    assert_eq!(sender(peer, over_tls, &headers, &Networks::default()), (peer, over_tls));
    let (address, by_tls) = sender(peer, over_tls, &headers, &trusted);
    assert_eq!((address, by_tls), read_from_the_left(peer, over_tls, &headers, &trusted));
    // What a client makes up stands further left than what the first proxy has said.
    if !trusted.contain(address.ip()) {
        let mut forged = HeaderMap::new();
        forged.append("x-forwarded-for", "203.0.113.66, 10.0.0.2".parse().expect("a value"));
        for value in headers.get_all("x-forwarded-for") {
            forged.append("x-forwarded-for", value.clone());
        }
        assert_eq!(sender(peer, over_tls, &forged, &trusted).0, address);
    }
}

/// The same by another way: each entry in its order takes the place of the one before it, if all that
/// are right of it can be believed.
fn read_from_the_left(
    peer: SocketAddr,
    over_tls: bool,
    headers: &HeaderMap,
    trusted: &Networks,
) -> (SocketAddr, bool) {
    let lists = |name: &str| -> Vec<String> {
        let text = |value: &http::HeaderValue| value.to_str().unwrap_or("?").to_owned();
        let all: Vec<String> = headers.get_all(name).iter().map(text).collect();
        match all.is_empty() {
            true => Vec::new(),
            false => all.join(",").split(',').map(|entry| entry.trim().to_owned()).collect(),
        }
    };
    let entries: Vec<Option<SocketAddr>> =
        lists("x-forwarded-for").iter().map(|entry| address(entry)).collect();
    let is_proxy = |entry: &Option<SocketAddr>| entry.is_some_and(|it| trusted.contain(it.ip()));
    let (mut found, first) = (peer, entries.len().saturating_sub(32));
    for place in (first..entries.len()).rev() {
        let right_of_it = &entries[place + 1..];
        if let Some(entry) = entries[place]
            && right_of_it.iter().all(is_proxy)
        {
            found = entry;
        }
    }
    let proto = lists("x-forwarded-proto").pop().unwrap_or_default().to_ascii_lowercase();
    let by_tls = proto == "https" || (over_tls && proto != "http");
    (found, by_tls)
}

fn address(entry: &str) -> Option<SocketAddr> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let port = |text: &str| digits(text).then(|| text.parse::<u16>().ok())?;
    let (ip, port) = match entry.strip_prefix('[').map(|rest| rest.split_once(']')) {
        // In brackets there is an address of version 6 with a port, or any alone.
        Some(inside) => match inside? {
            (ip, "") => (ip.parse().ok()?, 0),
            (ip, rest) => {
                let ip = match ip.split_once('%') {
                    Some((ip, zone)) => {
                        digits(zone).then(|| zone.parse::<u32>().ok())?.map(|_| ip)?
                    }
                    None => ip,
                };
                let ip: std::net::Ipv6Addr = ip.parse().ok()?;
                (IpAddr::V6(ip), port(rest.strip_prefix(':')?)?)
            }
        },
        None => match entry.parse::<IpAddr>() {
            Ok(ip) => (ip, 0),
            Err(_) => {
                let (ip, rest) = entry.split_once(':')?;
                let ip: std::net::Ipv4Addr = ip.parse().ok()?;
                (IpAddr::V4(ip), port(rest)?)
            }
        },
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}
