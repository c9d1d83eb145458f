use std::net::IpAddr;

use super::{Network, Networks};

fn network(text: &str) -> Network {
    text.parse().expect(text)
}

fn address(text: &str) -> IpAddr {
    text.parse().expect(text)
}

#[test]
fn an_address_lies_in_what_its_first_bits_say() {
    for (text, inside, outside) in [
        ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
        ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("192.0.2.6/31", "192.0.2.7", "192.0.2.8"),
        ("0.0.0.0/0", "255.255.255.255", "::1"),
        ("::/0", "ffff::", "127.0.0.1"),
        ("::1", "::1", "::2"),
        ("fe80::/10", "febf::1", "fec0::1"),
        ("2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
    ] {
        assert!(network(text).contains(address(inside)), "{inside} in {text}");
        assert!(!network(text).contains(address(outside)), "{outside} in {text}");
    }
}

#[test]
fn these_and_those_are_one_list() {
    let [one, other] = ["10.0.0.0/8", "::1"].map(|text| Networks::from(vec![network(text)]));
    let both = one.and(&other);
    for (text, contained) in [("10.9.9.9", true), ("::1", true), ("192.0.2.1", false)] {
        assert_eq!(both.contain(address(text)), contained, "{text}");
    }
}

#[test]
fn what_is_no_network_is_refused_and_told_why() {
    for text in [
        "",
        "/",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "::/129",
        "10.0.0.0/+8",
        "10.0.0.0/8/8",
        "10/8",
        "localhost",
        "[::1]",
        "10.0.0.0/-1",
        "10.0.0.0/256",
        "fe80::1%eth0",
        " 10.0.0.0/8",
    ] {
        let why = text.parse::<Network>().expect_err(text);
        assert!(why.contains("must be like"), "{text}: {why}");
    }
    let why = "10.0.0.1/8".parse::<Network>().unwrap_err();
    assert!(why.contains("write 10.0.0.0/8"), "{why}");
    let why = "::ffff:10.0.0.0/104".parse::<Network>().unwrap_err();
    assert!(why.contains("write it as IPv4"), "{why}");
}

#[test]
fn none_contain_nothing() {
    let none = Networks::default();
    assert!(none.is_empty() && !none.contain(address("127.0.0.1")));
    let some = Networks::from(vec![network("10.0.0.0/8"), network("::1")]);
    assert!(some.contain(address("10.0.0.1")) && some.contain(address("::1")));
    assert!(!some.is_empty() && !some.contain(address("127.0.0.1")));
}

#[test]
fn what_is_written_is_read_again() {
    for text in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "192.0.2.7/32"] {
        assert_eq!(network(text).to_string(), text);
    }
}
