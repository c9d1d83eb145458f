use std::net::SocketAddr;

use super::*;
use crate::client::{Client, RequestIds};
use crate::grant::{ApiId, Grant};
use crate::ledger::{Caller, What};
use crate::live::Registered;
use crate::tenant::{Tenant, TenantId, sample};

struct World {
    table: Arc<LiveTable>,
}

impl World {
    fn new() -> Self {
        Self { table: Arc::new(LiveTable::counting(Ledger::default())) }
    }

    fn enter(&self, id: u128, kind: Kind, api: Option<ApiId>, now: Millis) -> Registered {
        let tenant = Tenant { id: TenantId(id), ..sample("mike") };
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let request_id = RequestIds::new().unwrap().next();
        let client = Client { address, over_tls: false, request_id };
        let grant = api.map_or(Grant::Anonymous, |api| Grant::Open { api });
        let registered = self.table.enter(&tenant, kind, grant, client, "/", now).unwrap();
        let ledger = self.table.ledger().unwrap();
        registered.entry().count_as(ledger.cell(Some(tenant.id), api, Caller::Nobody, None));
        registered
    }

    fn news(&self, now: u64) -> Vec<(Key, Sums)> {
        self.table.news(Millis(now))
    }

    fn only(&self, now: u64) -> Sums {
        let news = self.news(now);
        let [(_, sums)] = &news[..] else { panic!("{news:?}") };
        *sums
    }
}

fn adopt(registered: &Registered, now: u64) {
    registered.entry().from_client.add(0, 0, Some(Millis(now)));
}

fn sums(counts: &[(Measure, u64)]) -> Sums {
    let mut sums = Sums::default();
    counts.iter().for_each(|(measure, count)| sums.add(*measure, *count));
    sums
}

#[test]
fn a_connection_is_told_minute_by_minute() {
    let world = World::new();
    let connection = world.enter(1, Kind::Connection, None, Millis(1_000));
    assert_eq!(world.news(50_000), [], "no handshake is done before both sides have switched");
    adopt(&connection, 2_000);
    let entry = connection.entry();
    entry.from_client.add(3, 30, None);
    entry.from_runtime.add(4, 44, None);
    let first = [
        (Measure::Handshakes, 1),
        (Measure::MessagesFromClient, 3),
        (Measure::MessagesFromRuntime, 4),
        (Measure::BytesFromClient, 30),
        (Measure::BytesFromRuntime, 44),
        (Measure::ConnectionMs, 59_000),
    ];
    assert_eq!(world.only(60_000), sums(&first));
    entry.from_client.add(1, 5, None);
    let second = [
        (Measure::MessagesFromClient, 1),
        (Measure::BytesFromClient, 5),
        (Measure::ConnectionMs, 60_000),
    ];
    assert_eq!(world.only(120_000), sums(&second));
    entry.from_client.add(1, 5, None);
    entry.end(Millis(121_000));
    drop(connection);
    let rest = [
        (Measure::MessagesFromClient, 1),
        (Measure::BytesFromClient, 5),
        (Measure::ConnectionMs, 1_000),
    ];
    assert_eq!(world.only(180_000), sums(&rest));
    assert_eq!(world.news(240_000), []);
    assert!(world.table.ledger().unwrap().is_empty(), "it is forgotten then");
}

#[test]
fn what_never_switched_is_no_handshake() {
    let world = World::new();
    drop(world.enter(1, Kind::Connection, None, Millis(1)));
    assert_eq!(world.news(60_000), []);
}

#[test]
fn a_request_that_comes_again_counts_once() {
    let world = World::new();
    let at_the_front = world.enter(1, Kind::Exchange, None, Millis(1));
    at_the_front.entry().give_back();
    drop(at_the_front);
    drop(world.enter(1, Kind::Exchange, None, Millis(2)));
    assert_eq!(world.only(60_000), sums(&[(Measure::Requests, 1)]));
}

#[test]
fn tenants_and_apis_are_told_apart() {
    let world = World::new();
    let held = [(1, None), (1, Some(ApiId(7))), (2, Some(ApiId(7)))].map(|(id, api)| {
        let connection = world.enter(id, Kind::Connection, api, Millis(1));
        adopt(&connection, 2);
        connection
    });
    let news = world.news(10);
    assert_eq!(news.len(), 3);
    for (Key { tenant, what }, sums) in &news {
        assert!(matches!(what, What::Of { .. }) && tenant.is_some());
        assert_eq!(sums.get(Measure::Handshakes), 1);
    }
    drop(held);
}

#[test]
fn a_sum_for_the_rest_of_several_tenants_is_right_in_the_end() {
    let table = Arc::new(LiveTable::counting(Ledger::with_limits(0, 1)));
    let world = World { table };
    let held = [1, 2, 3].map(|id| {
        let connection = world.enter(id, Kind::Connection, None, Millis(1));
        adopt(&connection, 2);
        connection.entry().from_client.add(5, 50, None);
        connection
    });
    let news = world.news(1_001);
    let [(Key { tenant: None, what: What::Other }, first)] = &news[..] else { panic!("{news:?}") };
    assert_eq!((first.get(Measure::Handshakes), first.messages()), (3, 15));
    for connection in held {
        connection.entry().from_client.add(1, 1, None);
        connection.entry().end(Millis(2_001));
        drop(connection);
    }
    let rest = world.only(60_000);
    assert_eq!((rest.messages(), rest.get(Measure::ConnectionMs)), (3, 3_000));
}

/// Whatever ends while somebody looks is counted, and counted once.
#[test]
fn nothing_is_lost_or_doubled_while_connections_come_and_go() {
    const EACH: u64 = 3_000;
    let world = World::new();
    let done = std::sync::atomic::AtomicUsize::new(0);
    let mut all = Sums::default();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (world, done) = (&world, &done);
            scope.spawn(move || {
                for _ in 0..EACH {
                    let connection = world.enter(thread % 2, Kind::Connection, None, Millis(1));
                    adopt(&connection, 2);
                    connection.entry().from_client.add(2, 10, None);
                    connection.entry().from_client.add(1, 1, None);
                    connection.entry().end(Millis(11));
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        while done.load(Ordering::SeqCst) < 3 {
            for (_, sums) in world.news(11) {
                all.add_all(&sums);
            }
        }
    });
    for (_, sums) in world.news(11) {
        all.add_all(&sums);
    }
    let expected = [
        (Measure::Handshakes, 3 * EACH),
        (Measure::MessagesFromClient, 9 * EACH),
        (Measure::BytesFromClient, 33 * EACH),
        (Measure::ConnectionMs, 30 * EACH),
    ];
    assert_eq!(all, self::sums(&expected));
}
