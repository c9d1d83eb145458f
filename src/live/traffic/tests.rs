use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::*;
use crate::client::{Client, RequestIds};
use crate::clock::Millis;
use crate::grant::Grant;
use crate::live::{Kind, LiveTable, Registered};
use crate::tenant::sample;

const BEGIN: UnixMillis = UnixMillis(500 * HOUR_MS + 30 * MINUTE_MS);
const ME: TenantId = TenantId(1);

fn connect(table: &Arc<LiveTable>) -> Registered {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let request_id = RequestIds::new().unwrap().next();
    let client = Client { address, over_tls: false, request_id };
    let tenant = sample("mike");
    let kind = Kind::Connection;
    table.enter(&tenant, kind, Grant::Anonymous, client, "/x", Millis(0)).unwrap()
}

/// Now it is this many messages from the client, in all.
fn publish(registered: &Registered, messages: u64) {
    let more = messages - registered.entry().from_client.messages();
    let more = u32::try_from(more).unwrap();
    registered.entry().from_client.add(more, more * 10, None);
    registered.entry().from_runtime.add(more * 2, more * 20, None);
}

fn minutes_later(minutes: u64) -> UnixMillis {
    UnixMillis(BEGIN.0 + minutes * MINUTE_MS)
}

type Seen = Vec<(u64, u64)>;

/// Messages from the client by minute and by hour, from [`BEGIN`] on.
fn seen(table: &LiveTable, now: UnixMillis) -> (Seen, Seen) {
    let (minute, hour) = numbers(BEGIN);
    let Traffic { minutes, hours } = table.traffic(ME, now);
    let from = |spans: Vec<Span>, first: u64| {
        let each = spans.into_iter();
        each.map(|span| (span.number - first, span.counts.messages_from_client)).collect()
    };
    (from(minutes, minute), from(hours, hour))
}

#[test]
fn what_was_relayed_is_counted_once_and_at_its_time() {
    let table = Arc::<LiveTable>::default();
    table.meter(BEGIN);
    let (one, other) = (connect(&table), connect(&table));
    publish(&one, 3);
    table.meter(BEGIN);
    table.meter(BEGIN);
    assert_eq!(seen(&table, BEGIN), (vec![(0, 3)], vec![(0, 3)]));
    let later = minutes_later(1);
    publish(&one, 5);
    publish(&other, 1);
    table.meter(later);
    assert_eq!(seen(&table, later), (vec![(0, 3), (1, 3)], vec![(0, 6)]));
    publish(&one, 9);
    drop(one);
    table.meter(later);
    assert_eq!(seen(&table, later), (vec![(0, 3), (1, 7)], vec![(0, 10)]), "with its last words");
    let counts = table.traffic(ME, later).hours[0].counts;
    assert_eq!((counts.messages_from_runtime, counts.bytes_from_client), (20, 100));
    assert_eq!(counts.bytes_from_runtime, 200);
}

#[test]
fn an_hour_and_a_day_are_told_and_nothing_longer() {
    let table = Arc::<LiveTable>::default();
    let connection = connect(&table);
    for (minute, messages) in [(0, 1), (59, 2), (60, 3), (23 * 60, 4)] {
        publish(&connection, messages);
        table.meter(minutes_later(minute));
        let last = seen(&table, minutes_later(minute));
        assert_eq!(last.0.last(), Some(&(minute, 1)));
    }
    assert_eq!(seen(&table, minutes_later(60)).0, [(59, 1)], "a later time has the other's place");
    let hours = seen(&table, minutes_later(23 * 60)).1;
    assert_eq!(hours, [(0, 1), (1, 2), (23, 1)]);
    let hours = seen(&table, minutes_later(24 * 60)).1;
    assert_eq!(hours, [(1, 2), (23, 1)]);
    // Nobody is kept for longer.
    assert_eq!(table.traffic.tenants.len(), 1);
    table.meter(minutes_later(48 * 60));
    assert_eq!(table.traffic.tenants.len(), 0);
}

#[test]
fn replicas_are_added_up() {
    let span = |number, messages| {
        let counts = Counts { messages_from_client: messages, ..Counts::default() };
        Span { number, counts }
    };
    let one = Traffic { minutes: vec![span(1, 1), span(3, 3)], hours: vec![span(0, 4)] };
    let other = Traffic { minutes: vec![span(2, 2), span(3, 1)], hours: Vec::new() };
    let both = one.plus(&other);
    assert_eq!(both.minutes, [span(1, 1), span(2, 2), span(3, 4)]);
    assert_eq!(both.hours, [span(0, 4)]);
    let text = serde_json::to_string(&both).unwrap();
    assert_eq!(serde_json::from_str::<Traffic>(&text).unwrap(), both);
}
