use std::net::SocketAddr;

use super::Reach;
use crate::networks::Networks;
use crate::refusal::Refusal;
use crate::tenant::sample;

fn at(text: &str) -> SocketAddr {
    text.parse().expect(text)
}

#[test]
fn what_nobody_may_dial_is_told() {
    let reach = Reach::default();
    for (address, what) in [
        ("169.254.169.254:80", "metadata"),
        ("[fd00:ec2::254]:80", "metadata"),
        ("[fd20:ce::254]:80", "metadata"),
        ("100.100.100.200:80", "metadata"),
        ("168.63.129.16:80", "metadata"),
        ("[::ffff:169.254.169.254]:80", "metadata"),
        ("[::169.254.169.254]:80", "metadata"),
        ("[64:ff9b::169.254.169.254]:80", "metadata"),
        ("[64:ff9b:1::169.254.169.254]:80", "metadata"),
        ("[64:ff9b:1:7::169.254.169.254]:80", "metadata"),
        ("[::ffff:0:169.254.169.254]:80", "metadata"),
        ("[2002:a9fe:a9fe::1]:80", "metadata"),
        ("169.254.0.1:1880", "link-local"),
        ("[fe80::1]:1880", "link-local"),
        ("[febf::1]:1880", "link-local"),
        ("0.0.0.0:1880", "unspecified"),
        ("0.1.2.3:1880", "unspecified"),
        ("[::]:1880", "unspecified"),
        ("[::ffff:0.0.0.0]:1880", "unspecified"),
        ("224.0.0.1:1880", "multicast"),
        ("239.255.255.255:1880", "multicast"),
        ("[ff02::1]:1880", "multicast"),
        ("255.255.255.255:1880", "broadcast"),
    ] {
        let why = reach.judge(at(address)).expect_err(address);
        assert!(why.contains(what), "{address}: {why}");
    }
}

#[test]
fn runtimes_are_on_loopback_and_in_private_networks() {
    let reach = Reach::default();
    for address in [
        "127.0.0.1:1880",
        "[::1]:1880",
        "[::ffff:127.0.0.1]:1880",
        "10.0.0.1:80",
        "172.16.0.1:80",
        "192.168.1.1:80",
        "100.64.0.1:80",
        "[fd00::1]:80",
        "[fec0::1]:80",
        "203.0.113.1:80",
        "[2001:db8::1]:80",
        "[64:ff9b::10.0.0.1]:80",
    ] {
        assert_eq!(reach.judge(at(address)), Ok(()), "{address}");
    }
}

#[test]
fn an_operator_may_allow_what_is_denied() {
    let allowed = vec!["169.254.10.0/24".parse().unwrap(), "fe80::/10".parse().unwrap()];
    let reach = Reach::new(Networks::from(allowed));
    assert_eq!(reach.judge(at("169.254.10.7:80")), Ok(()));
    assert_eq!(reach.judge(at("[::ffff:169.254.10.7]:80")), Ok(()));
    assert_eq!(reach.judge(at("[fe80::7]:80")), Ok(()));
    assert!(reach.judge(at("169.254.169.254:80")).is_err());
}

#[test]
fn nobody_dials_our_own_listeners() {
    let reach = Reach::default();
    assert_eq!(reach.judge(at("127.0.0.1:8080")), Ok(()));
    reach.listening_on(vec![at("127.0.0.1:9180"), at("0.0.0.0:8080"), at("[::]:8443")]);
    // 192.0.2.0/24 is for documents: no machine has an address there.
    for (address, is_own) in [
        ("127.0.0.1:9180", true),
        ("[::ffff:127.0.0.1]:9180", true),
        ("127.0.0.2:9180", false),
        ("127.0.0.1:9181", false),
        ("127.0.0.1:8080", true),
        ("127.0.0.2:8080", true),
        ("192.0.2.1:8080", false),
        ("[::1]:8080", false),
        ("[::1]:8443", true),
        ("127.0.0.1:8443", false),
        ("192.0.2.1:8443", false),
    ] {
        assert_eq!(reach.judge(at(address)).is_err(), is_own, "{address}");
    }
    for address in ["[64:ff9b::127.0.0.1]:9180", "[2002:7f00:1::]:9180"] {
        assert!(reach.judge(at(address)).is_err(), "{address}");
    }
}

#[test]
fn own_listeners_and_metadata_are_allowed_by_name_alone() {
    let allowed = ["127.0.0.2", "127.0.0.0/8", "169.254.0.0/16", "168.63.129.16"];
    let allowed: Vec<_> = allowed.iter().map(|network| network.parse().unwrap()).collect();
    let reach = Reach::new(Networks::from(allowed));
    reach.listening_on(vec![at("0.0.0.0:8080")]);
    for (address, is_allowed) in [
        ("127.0.0.2:8080", true),
        ("127.0.0.1:8080", false),
        ("127.0.0.1:8081", true),
        ("169.254.0.1:80", true),
        ("169.254.169.254:80", false),
        ("[::ffff:169.254.169.254]:80", false),
        ("168.63.129.16:80", true),
    ] {
        assert_eq!(reach.judge(at(address)).is_ok(), is_allowed, "{address}");
    }
}

#[test]
fn of_a_names_addresses_those_are_left_that_may_be_dialled() {
    let reach = Reach::default();
    let instance = sample("mike").instance.unwrap();
    let (good, bad) = (at("10.0.0.1:80"), at("169.254.169.254:80"));
    assert_eq!(reach.filter(&instance, vec![bad, good]), Ok(vec![good]));
    assert_eq!(reach.filter(&instance, Vec::new()), Ok(Vec::new()));
    let denied = reach.filter(&instance, vec![bad]).unwrap_err();
    assert!(matches!(denied, Refusal::RuntimeDenied(_)), "{denied:?}");
    let why = denied.to_string();
    assert!(why.contains("169.254.169.254 is a cloud's metadata service"), "{why}");
    assert!(why.contains("allow_addresses"), "{why}");
    assert!(!denied.public().contains("169.254"));
}
