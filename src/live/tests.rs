use std::time::Duration;

use super::mailbox::MAILBOX_MAX;
use super::*;
use crate::client::RequestIds;
use crate::grant::{ApiId, ConsumerId, KeyId, SubscriptionId};
use crate::plan::{Cost, Over, Plan, Quota};
use crate::tenant::{OnChange, sample};

pub(super) fn tenant(id: u128, connections: Option<u32>) -> Tenant {
    Tenant {
        id: TenantId(id),
        plan: Arc::new(Plan { connections, ..Plan::default() }),
        ..sample("mike")
    }
}

pub(super) fn client() -> Client {
    let request_id = RequestIds::new().unwrap().next();
    Client { address: ([127, 0, 0, 1], 1).into(), over_tls: false, request_id }
}

pub(super) fn enter(table: &Arc<LiveTable>, tenant: &Tenant) -> Result<Registered, TooMany> {
    table.enter(
        tenant,
        Kind::Connection,
        Grant::Key { id: KeyId(3), secret: 5 },
        client(),
        "/public/data",
        Millis(5),
    )
}

fn mailbox() -> (Arc<Mailbox>, mio::Poll) {
    let poll = mio::Poll::new().unwrap();
    let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
    (Arc::new(Mailbox::new(waker)), poll)
}

fn wakes(poll: &mut mio::Poll) -> bool {
    let mut events = mio::Events::with_capacity(4);
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    !events.is_empty()
}

#[test]
fn what_enters_is_found_until_it_leaves() {
    let table = Arc::new(LiveTable::default());
    assert!(table.is_empty() && table.entries().is_empty());
    let mike = tenant(1, None);
    let one = enter(&table, &mike).unwrap();
    let two = enter(&table, &mike).unwrap();
    let other = enter(&table, &tenant(2, None)).unwrap();
    assert_eq!((table.len(), table.entries().len(), table.tenants.len()), (3, 3, 2));
    let entry = one.entry();
    assert_eq!(
        (entry.tenant(), &*entry.path, entry.since),
        (TenantId(1), "/public/data", Millis(5))
    );
    assert_eq!(entry.grant, Grant::Key { id: KeyId(3), secret: 5 });
    let ids: std::collections::HashSet<_> = table.entries().iter().map(|entry| entry.id).collect();
    assert_eq!(ids.len(), 3);

    let kept = Arc::clone(two.entry());
    drop((one, two));
    assert_eq!((table.len(), table.entries().len(), table.tenants.len()), (1, 1, 1));
    kept.close(Cause::Drain);
    drop(other);
    assert!(table.is_empty() && table.entries().is_empty() && table.tenants.is_empty());
}

#[test]
fn a_plans_connections_are_exactly_that_many() {
    let table = Arc::new(LiveTable::default());
    let mike = tenant(1, Some(2));
    let one = enter(&table, &mike).unwrap();
    let _two = enter(&table, &mike).unwrap();
    for _ in 0..3 {
        assert_eq!(enter(&table, &mike).unwrap_err(), TooMany::AtOnce { max: 2 });
    }
    assert!(enter(&table, &tenant(2, Some(2))).is_ok(), "each tenant has a plan of their own");
    assert_eq!(table.len(), 2);
    drop(one);
    let _three = enter(&table, &mike).unwrap();
    assert!(enter(&table, &mike).is_err());
}

#[test]
fn a_tenants_plain_requests_are_exactly_so_many_and_strangers_have_most_of_them() {
    let table = Arc::new(LiveTable::default());
    let (mike, others) = (tenant(1, None), tenant(2, None));
    let ask = |tenant: &Tenant, grant: Grant| {
        table.enter(tenant, Kind::Exchange, grant, client(), "/public/x", Millis(5))
    };
    let owner = Grant::Key { id: KeyId(3), secret: 5 };
    let mut all: Vec<_> =
        (0..750).map(|_| ask(&mike, Grant::Anonymous).expect("there is room")).collect();
    assert!(ask(&mike, Grant::Anonymous).is_err(), "one past it");
    all.extend((750..1000).map(|_| ask(&mike, owner).expect("the owner has room")));
    assert_eq!(ask(&mike, owner).unwrap_err(), TooMany::AtOnce { max: 1000 });
    assert!(ask(&others, Grant::Anonymous).is_ok(), "each tenant has their own");
    all.pop();
    assert!(ask(&mike, owner).is_ok());
}

#[test]
fn one_consumer_or_subscription_does_not_take_all_requests() {
    let table = Arc::new(LiveTable::default());
    let mike = tenant(1, None);
    let ask = |grant| table.enter(&mike, Kind::Exchange, grant, client(), "/x", Millis(5));
    let (api, secret, until) = (ApiId(5), 9, UnixMillis::NEVER);
    let of = |guest: u64| match guest {
        1 => {
            let subscription = SubscriptionId(2);
            Grant::Token { api, subscription, secret, key: 1, jti: 1, until }
        }
        _ => {
            let consumer = ConsumerId(guest);
            Grant::Consumer { api, consumer, credential: KeyId(1), secret, until }
        }
    };
    let mut all = Vec::new();
    for guest in 1..=3 {
        all.extend((0..250).map(|_| ask(of(guest)).expect("there is room")));
        assert_eq!(ask(of(guest)).unwrap_err(), TooMany::AtOnce { max: 250 });
    }
    assert_eq!(ask(of(4)).unwrap_err(), TooMany::AtOnce { max: 750 });
    assert_eq!(ask(Grant::Anonymous).unwrap_err(), TooMany::AtOnce { max: 750 });
    let owner = Grant::Key { id: KeyId(3), secret: 5 };
    let owners: Vec<_> = (0..250).map(|_| ask(owner).expect("the owner has room")).collect();
    drop(owners);
    drop(all.pop());
    assert!(ask(of(4)).is_ok());
    for guest in 1..=2 {
        assert_eq!(ask(of(guest)).unwrap_err(), TooMany::AtOnce { max: 250 });
    }
    drop(all);
    for guest in 1..=2 {
        let _again: Vec<_> =
            (0..250).map(|_| ask(of(guest)).expect("nothing is left of them")).collect();
    }
}

#[test]
fn a_plans_connections_hold_when_many_come_at_once() {
    const MAX: u32 = 8;
    let table = Arc::new(LiveTable::default());
    let mike = tenant(1, Some(MAX));
    let most = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let held: Vec<_> = (0..4).filter_map(|_| enter(&table, &mike).ok()).collect();
                    let shared = held.first().map(|registered| &registered.entry().shared);
                    let now = shared.map_or(0, |shared| shared.entries().all().count());
                    most.fetch_max(now as u64, Ordering::Relaxed);
                }
            });
        }
    });
    assert!((4..=u64::from(MAX)).contains(&most.into_inner()));
    assert!(table.is_empty() && table.tenants.is_empty());
}

#[test]
fn a_budget_outlives_its_connections() {
    let table = Arc::new(LiveTable::default());
    let mike = with_rate(rate(1), None);
    let first = enter(&table, &mike).unwrap();
    assert_eq!(first.entry().accounts().take(Cost::message(1), Millis(0)), Ok(()));
    assert_eq!(table.tenants(), [mike.id]);
    drop(first);
    assert_eq!(table.tenants(), []);
    let again = enter(&table, &mike).unwrap();
    assert!(again.entry().accounts().take(Cost::message(1), Millis(0)).is_err());
    let other = enter(&table, &tenant(2, None)).unwrap();
    assert!((0..1000).all(|_| other.entry().accounts().take(Cost::message(1), Millis(0)).is_ok()));
}

fn rate(burst: u64) -> Option<Quota> {
    Some(Quota { limit: 1, burst: Some(burst) })
}

fn with_rate(messages_per_second: Option<Quota>, message_bytes: Option<u64>) -> Tenant {
    let over = Over::Close;
    let plan = Plan { message_bytes, messages_per_second, over, ..Plan::default() };
    Tenant { plan: Arc::new(plan), ..tenant(1, None) }
}

#[test]
fn a_changed_plan_counts_for_what_runs() {
    let table = Arc::new(LiveTable::default());
    let now = Millis(1000);
    let one = enter(&table, &with_rate(None, None)).unwrap();
    let two = enter(&table, &with_rate(None, Some(9))).unwrap();
    let limits = || [&one, &two].map(|it| it.entry().message_bytes_max());
    assert_eq!(limits(), [u64::MAX; 2], "the plan that counts is the table's");
    table.follow_plan(&with_rate(rate(2), Some(7)), now);
    assert_eq!(limits(), [7; 2]);
    assert_eq!(one.entry().accounts().take(Cost::message(1), now), Ok(()));
    assert_eq!(two.entry().accounts().take(Cost::message(1), now), Ok(()));
    assert!(
        one.entry().accounts().take(Cost::message(1), now).is_err()
            && two.entry().accounts().take(Cost::message(1), now).is_err()
    );
    // What was told again and again refills nothing.
    table.follow_plan(&with_rate(rate(2), Some(7)), now);
    assert!(one.entry().accounts().take(Cost::message(1), now).is_err());
    two.entry().follow_plan(&with_rate(None, None).plan, now);
    assert!((0..1000).all(|_| one.entry().accounts().take(Cost::message(1), now).is_ok()));
    assert_eq!(limits(), [u64::MAX; 2]);
    table.follow_plan(&with_rate(rate(2), None), now);
    assert!(
        one.entry().accounts().take(Cost::message(1), now).is_err(),
        "what was spent stays spent"
    );
}

#[test]
fn a_budget_is_forgotten_when_it_is_full_again() {
    let table = Arc::new(LiveTable::default());
    let mike = with_rate(rate(3), None);
    let registered = enter(&table, &mike).unwrap();
    assert_eq!(registered.entry().accounts().take(Cost::message(1), Millis(0)), Ok(()));
    drop(registered);
    table.sweep(Millis(999));
    let registered = enter(&table, &mike).unwrap();
    assert_eq!(registered.entry().accounts().take(Cost::message(1), Millis(0)), Ok(()));
    table.sweep(Millis(60_000));
    assert_eq!(table.tenants(), [mike.id], "who has entries stays");
    drop(registered);
    assert_eq!(table.tenants.len(), 1);
    table.sweep(Millis(1_999));
    assert_eq!(table.tenants.len(), 1);
    table.sweep(Millis(2_000));
    assert!(table.tenants.is_empty());
}

fn at(port: u16, on_change: OnChange) -> Option<Arc<Instance>> {
    let instance = sample("mike").instance.unwrap();
    Some(Arc::new(Instance { port, on_change, ..(*instance).clone() }))
}

#[test]
fn an_entry_stays_as_long_as_its_instances_setting_lets_it() {
    let table = Arc::new(LiveTable::default());
    let mike = |instance| Tenant { instance, ..tenant(1, None) };
    let old = at(1, OnChange::Keep);
    let registered = enter(&table, &mike(old.clone())).unwrap();
    let entry = registered.entry();
    let moved = Err(Cause::RuntimeMoved);
    assert!(entry.is_for(old.as_ref().unwrap()));
    assert_eq!(entry.stays(&mike(at(2, OnChange::Keep))), Ok(()));
    assert_eq!(entry.stays(&mike(None)), Ok(()));
    // The new one's setting also ends what was kept.
    assert_eq!(entry.stays(&mike(at(2, OnChange::Move))), moved);
    // Without a new one the last setting of the old one counts.
    assert_eq!(entry.stays(&mike(at(1, OnChange::Move))), Ok(()));
    assert_eq!(entry.stays(&mike(None)), moved);
    assert_eq!(entry.stays(&mike(at(2, OnChange::Keep))), Ok(()));
    entry.head_for(&at(2, OnChange::Move).unwrap());
    assert_eq!(entry.stays(&mike(at(2, OnChange::Move))), Ok(()));
    assert_eq!(entry.stays(&mike(old)), Ok(()));
    assert_eq!(entry.stays(&mike(None)), moved);
}

#[test]
fn the_first_cause_stays() {
    let table = Arc::new(LiveTable::default());
    let registered = enter(&table, &tenant(1, None)).unwrap();
    let entry = registered.entry();
    assert_eq!(entry.closing(), None);
    assert!(entry.close(Cause::KeyRegenerated));
    assert!(!entry.close(Cause::Drain) && !entry.close(Cause::KeyRegenerated));
    assert_eq!(entry.closing(), Some(Cause::KeyRegenerated));
}

#[tokio::test]
async fn closing_wakes_who_waits_for_it() {
    let table = Arc::new(LiveTable::default());
    let registered = enter(&table, &tenant(1, None)).unwrap();
    let entry = Arc::clone(registered.entry());
    let waiting = tokio::spawn(async move { entry.closed().await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    registered.entry().close(Cause::TenantDisabled);
    assert_eq!(waiting.await.unwrap(), Cause::TenantDisabled);
    assert_eq!(registered.entry().closed().await, Cause::TenantDisabled, "it is a level");
}

#[tokio::test]
async fn a_cancelled_wait_loses_no_closing() {
    let table = Arc::new(LiveTable::default());
    let registered = enter(&table, &tenant(1, None)).unwrap();
    let entry = registered.entry();
    assert!(tokio::time::timeout(Duration::ZERO, entry.closed()).await.is_err());
    entry.close(Cause::Drain);
    assert_eq!(entry.closed().await, Cause::Drain);
}

#[test]
fn closing_reaches_the_seat_or_is_seen_when_sitting_down() {
    let table = Arc::new(LiveTable::default());
    let (mailbox, mut poll) = mailbox();
    let before = enter(&table, &tenant(1, None)).unwrap();
    before.entry().close(Cause::Drain);
    assert_eq!(before.entry().sit(Arc::clone(&mailbox), 4), Some(Cause::Drain));

    let after = enter(&table, &tenant(1, None)).unwrap();
    assert_eq!(after.entry().sit(Arc::clone(&mailbox), 5), None);
    assert!(!wakes(&mut poll));
    after.entry().close(Cause::Drain);
    assert!(wakes(&mut poll));
    assert_eq!(mailbox.take(), Mail::Slots(vec![5]));
}

#[test]
fn no_closing_is_lost_between_closing_and_sitting_down() {
    let table = Arc::new(LiveTable::default());
    let (mailbox, _poll) = mailbox();
    for slot in 0..2_000 {
        let registered = enter(&table, &tenant(1, None)).unwrap();
        let entry = registered.entry();
        let start = std::sync::Barrier::new(2);
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                entry.close(Cause::Drain)
            });
            start.wait();
            entry.sit(Arc::clone(&mailbox), slot)
        });
        let mail = mailbox.take();
        assert!(seen.is_some() || mail == Mail::Slots(vec![slot]), "{mail:?}");
    }
}

#[test]
fn a_full_mailbox_becomes_a_look_at_all() {
    let (mailbox, mut poll) = mailbox();
    assert_eq!(mailbox.take(), Mail::Slots(Vec::new()));
    for slot in 0..MAILBOX_MAX {
        mailbox.look_at(slot);
    }
    assert!(wakes(&mut poll));
    assert_eq!(mailbox.take(), Mail::Slots((0..MAILBOX_MAX).collect()));
    for slot in 0..=MAILBOX_MAX {
        mailbox.look_at(slot);
    }
    assert_eq!(mailbox.slots.lock().unwrap().len(), MAILBOX_MAX);
    assert_eq!(mailbox.take(), Mail::All);
    assert_eq!(mailbox.take(), Mail::Slots(Vec::new()));
}

#[test]
fn counts_add_up() {
    let counter = Counter::default();
    counter.add(1, 10, Some(Millis(100)));
    counter.add(1, 10, Some(Millis(200)));
    counter.add(0, 10, None);
    assert_eq!((counter.messages(), counter.bytes()), (2, 30));
    assert_eq!(counter.last_data_at(), Millis(200));
}

#[test]
fn the_busiest_tenants_are_those_with_the_most_bytes() {
    let table = Arc::new(LiveTable::default());
    let named = |id: u128, name: &str| Tenant {
        username: Username::parse(name).unwrap(),
        ..tenant(id, None)
    };
    let mut held = Vec::new();
    for (id, name, bytes) in [(1, "ana", 5), (2, "zoe", 7), (3, "mike", 9), (4, "bo", 9)] {
        for _ in 0..2 {
            let connection = enter(&table, &named(id, name)).unwrap();
            connection.entry().from_client.add(1, bytes, None);
            connection.entry().from_runtime.add(2, 1, None);
            held.push(connection);
        }
    }
    let told = |limit| {
        let busiest = table.busiest(limit).into_iter();
        busiest.map(|it| (it.username.to_string(), it.connections)).collect::<Vec<_>>()
    };
    let all = ["bo", "mike", "zoe", "ana"].map(|name| (name.to_owned(), 2));
    for limit in 0..6 {
        assert_eq!(told(limit), all[..limit.min(4)], "{limit}");
    }
    // What has ended counts as long as something of theirs runs.
    held.truncate(7);
    let bo = table.busiest(1).remove(0);
    assert_eq!((bo.connections, bo.relayed.bytes_from_client), (1, 18));
    assert_eq!((bo.relayed.messages_from_runtime, bo.relayed.bytes()), (4, 20));
    held.truncate(6);
    assert_eq!(told(9), all[1..]);
}
