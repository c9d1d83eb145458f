use super::*;
use crate::grant::Grant;
use crate::live::tests::{client, enter, tenant};
use crate::live::{Entry, Registered};
use crate::plan::{Cost, Limit, Over, Quota};
use crate::tenant::Tenant;

const ONE: SubscriberId = SubscriberId { application: ApplicationId(1), api: ApiId(7) };
const OTHER: SubscriberId = SubscriberId { application: ApplicationId(2), api: ApiId(7) };
const START: Millis = Millis(5);

fn quota(limit: u64, burst: u64) -> Option<Quota> {
    Some(Quota { limit, burst: Some(burst) })
}

fn draw(table: &LiveTable, entry: &Entry, id: SubscriberId, plan: &Plan) -> Result<(), TooMany> {
    entry.draw_on(table.subscriber(id, plan, START), plan, START)
}

fn connected(
    table: &Arc<LiveTable>,
    tenant: &Tenant,
    id: SubscriberId,
    plan: &Plan,
) -> Result<Registered, TooMany> {
    let registered = enter(table, tenant)?;
    draw(table, registered.entry(), id, plan)?;
    Ok(registered)
}

fn messages(entry: &Entry, now: Millis) -> usize {
    (0..100).take_while(|_| entry.accounts().take(Cost::message(1), now).is_ok()).count()
}

#[test]
fn a_subscription_gives_exactly_its_plan_to_all_its_connections_together() {
    let table = Arc::new(LiveTable::default());
    let mike = tenant(1, None);
    let plan = Plan { messages_per_minute: quota(60, 5), ..Plan::default() };
    let one = connected(&table, &mike, ONE, &plan).unwrap();
    let same = connected(&table, &mike, ONE, &plan).unwrap();
    let other = connected(&table, &mike, OTHER, &plan).unwrap();
    assert_eq!((one.entry().subscriber(), other.entry().subscriber()), (Some(ONE), Some(OTHER)));
    assert_eq!(one.entry().accounts().take(Cost::message(1), START), Ok(()));
    assert_eq!(messages(same.entry(), START), 4);
    assert_eq!(messages(one.entry(), START), 0);
    assert_eq!(messages(other.entry(), START), 5, "an application has a plan of its own");
    // One a second comes back, to the millisecond.
    assert_eq!(messages(one.entry(), Millis(1004)), 0);
    assert_eq!(messages(one.entry(), Millis(1005)), 1);
    assert_eq!(messages(same.entry(), Millis(1005)), 0);
    // Neither connecting nor subscribing anew fills it, and its tenant pays nothing for what it was refused.
    drop((one, same));
    table.sweep(Millis(1005));
    let again = connected(&table, &mike, ONE, &plan).unwrap();
    assert_eq!(messages(again.entry(), Millis(1005)), 0);
    drop((again, other));
    table.sweep(Millis(600_000));
    assert!(table.subscribers().is_empty(), "who has all of it back is as good as new");
}

#[test]
fn what_a_subscription_refuses_costs_its_tenant_nothing() {
    let table = Arc::new(LiveTable::default());
    let mike = Tenant {
        plan: Arc::new(Plan { handshakes_per_minute: quota(1, 4), ..Plan::default() }),
        ..tenant(1, None)
    };
    let two = Plan { connections: Some(2), ..Plan::default() };
    let first = connected(&table, &mike, ONE, &two).unwrap();
    let _second = connected(&table, &mike, ONE, &two).unwrap();
    for _ in 0..9 {
        let refused = connected(&table, &mike, ONE, &two).unwrap_err();
        assert_eq!(refused, TooMany::AtOnce { max: 2 });
    }
    let few = Plan { handshakes_per_minute: quota(1, 1), ..Plan::default() };
    let _third = connected(&table, &mike, OTHER, &few).unwrap();
    for _ in 0..9 {
        let refused = connected(&table, &mike, OTHER, &few).unwrap_err();
        let TooMany::Lately { limit, .. } = refused else { panic!("{refused:?}") };
        assert_eq!(limit, Limit::HandshakesPerMinute);
    }
    assert_eq!(table.subscription_use(OTHER, &few, START).0, 1);
    // Three of the tenant's four are gone, and nothing more.
    drop(first);
    let _fourth = connected(&table, &mike, ONE, &two).unwrap();
    assert!(matches!(enter(&table, &mike), Err(TooMany::Lately { .. })));
    assert_eq!(table.subscription_use(ONE, &two, START).0, 2);
}

#[test]
fn plain_requests_are_counted_apart_from_connections() {
    let table = Arc::new(LiveTable::default());
    let mike = tenant(1, None);
    let plan = Plan { connections: Some(1), requests_per_second: quota(1, 3), ..Plan::default() };
    let _connected = connected(&table, &mike, ONE, &plan).unwrap();
    let ask = |now| {
        let grant = Grant::Open { api: ONE.api };
        let entered = table.enter(&mike, Kind::Exchange, grant, client(), "/x", now).unwrap();
        let drawn = entered.entry().draw_on(table.subscriber(ONE, &plan, now), &plan, now);
        drawn.map(|()| entered)
    };
    let answered: Vec<_> = (0..9).filter_map(|_| ask(START).ok()).collect();
    assert_eq!(answered.len(), 3);
    assert!(ask(Millis(1004)).is_err() && ask(Millis(1005)).is_ok());
    assert_eq!(table.subscription_use(ONE, &plan, START).0, 1);
}

#[test]
fn another_plan_counts_for_what_runs() {
    let table = Arc::new(LiveTable::default());
    let bronze = Plan { messages_per_day: quota(1, 1), message_bytes: Some(9), ..Plan::default() };
    let one = connected(&table, &tenant(1, None), ONE, &bronze).unwrap();
    let entry = one.entry();
    assert_eq!((entry.message_bytes_max(), messages(entry, START)), (9, 1));
    assert!(!entry.drops_under(&Plan::default()));
    let gold = Plan { messages_per_second: quota(1000, 50), over: Over::Drop, ..Plan::default() };
    table.follow_subscription(ONE, &gold, START);
    assert_eq!((entry.message_bytes_max(), messages(entry, START)), (u64::MAX, 50));
    assert!(entry.drops_under(&Plan::default()));
    table.follow_subscription(ONE, &Plan::default(), START);
    assert_eq!(messages(entry, START), 100, "without limits");
    table.follow_subscription(OTHER, &bronze, START);
    assert_eq!(table.subscribers(), [ONE], "of whom nothing runs there is nothing to follow");
}

#[test]
fn a_subscriber_survives_its_number() {
    for id in [ONE, SubscriberId { application: ApplicationId(u64::MAX), api: ApiId(1 << 63) }] {
        assert_eq!(SubscriberId::from_number(id.to_number()), id);
    }
}
