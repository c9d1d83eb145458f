use std::fs::File;

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Any descriptor will do.
fn socket() -> File {
    File::open("/dev/null").unwrap()
}

fn seated(permits: &Permits, from: &str) -> Result<Permit, NoPlace> {
    permits.take_beside(address(from))
}

fn permits(per_address_max: usize) -> Permits {
    let proxies = Networks::from(vec!["10.0.0.0/8".parse().unwrap()]);
    Permits::for_clients(10_000, Descriptors::of(1_000_000))
        .with_limit_per_address(per_address_max, proxies)
}

#[test]
fn an_address_has_so_many_places_and_not_one_more() {
    let permits = permits(3);
    let mut held: Vec<Permit> = (0..3).map(|_| seated(&permits, "192.0.2.1").unwrap()).collect();
    assert_eq!(seated(&permits, "192.0.2.1").err(), Some(NoPlace::Address));
    assert_eq!(permits.available(), 10_000 - 3, "who was refused keeps no place");
    seated(&permits, "192.0.2.2").unwrap();
    held.pop();
    held.push(seated(&permits, "192.0.2.1").unwrap());
    assert_eq!(seated(&permits, "192.0.2.1").err(), Some(NoPlace::Address));
}

#[test]
fn an_ipv6_subscriber_is_one_address() {
    let permits = permits(2);
    let _held = ["2001:db8::1", "2001:db8::2"].map(|from| seated(&permits, from).unwrap());
    assert_eq!(seated(&permits, "2001:db8::3").err(), Some(NoPlace::Address));
    seated(&permits, "2001:db8:0:1::3").unwrap();
}

#[test]
fn a_proxy_is_not_one_client() {
    let permits = permits(1);
    let held: Vec<Permit> = (0..100).map(|_| seated(&permits, "10.1.2.3").unwrap()).collect();
    assert_eq!((held.len(), permits.by_address.len()), (100, 0));
}

#[test]
fn zero_sets_no_limit_and_counts_nobody() {
    let permits = permits(0);
    let held: Vec<Permit> = (0..1000).map(|_| seated(&permits, "192.0.2.1").unwrap()).collect();
    assert_eq!((held.len(), permits.by_address.len()), (1000, 0));
}

#[test]
fn there_are_so_many_in_all() {
    let permits = Permits::for_clients(2, Descriptors::of(1_000_000));
    let _held = [permits.try_take().unwrap(), seated(&permits, "192.0.2.1").unwrap()];
    assert!(permits.try_take().is_none());
    assert_eq!(seated(&permits, "192.0.2.1").err(), Some(NoPlace::All));
}

/// Addresses come and go; those that have gone are forgotten, those that are there are not.
#[test]
fn the_table_stays_small() {
    let permits = permits(1);
    let stays = seated(&permits, "198.51.100.1").unwrap();
    for number in 0..10 * STALE_ADDRESSES_MAX as u32 {
        let from = IpAddr::from(number.to_be_bytes());
        drop(seated(&permits, &from.to_string()).unwrap());
        assert!(permits.by_address.len() <= STALE_ADDRESSES_MAX + 8);
    }
    assert_eq!(seated(&permits, "198.51.100.1").err(), Some(NoPlace::Address));
    drop(stays);
    seated(&permits, "198.51.100.1").unwrap();
}

#[test]
fn a_descriptor_of_the_last_ones_is_not_a_clients() {
    // Whatever other tests have open beside it.
    let late = rustix::io::fcntl_dupfd_cloexec(socket(), 500).unwrap();
    let clients = Permits::for_clients(10, Descriptors::of(512));
    assert_eq!(clients.admit(&late), Err(NoPlace::Descriptors));
    assert!(clients.is_short.load(Ordering::Relaxed));
    let last_but_few = rustix::io::fcntl_dupfd_cloexec(socket(), 450).unwrap();
    assert_eq!(clients.admit(&last_but_few), Ok(Room::ForAnother));
    let lower = rustix::io::fcntl_dupfd_cloexec(socket(), 400).unwrap();
    assert_eq!(clients.admit(&lower), Ok(Room::Tight), "as long as they are short");
    assert!(clients.is_short.load(Ordering::Relaxed));
    assert_eq!(clients.admit(socket()), Ok(Room::Own));
    assert_eq!(clients.admit(&lower), Ok(Room::Own));
    assert!(!clients.is_short.load(Ordering::Relaxed));
    assert_eq!(Permits::for_operators(1).admit(&late), Ok(Room::Own));
}
