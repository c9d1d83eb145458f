use super::*;
use crate::registry::testing;

const TENANT: TenantId = TenantId(1);
const KEY: KeyId = KeyId(7);
const GRANT: Grant = Grant::Key { id: KEY, secret: 9 };
const FROM_HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Of mike's key.
async fn last_used(registry: &Registry, usage: &Usage) -> Option<UnixMillis> {
    let used = usage.last_used(registry, TENANT, KEY).await.unwrap()?;
    assert_eq!(used.from, Some(FROM_HERE));
    Some(used.at)
}

fn waiting(usage: &Usage) -> usize {
    usage.waiting.iter().map(|part| part.lock().unwrap().len()).sum()
}

#[tokio::test]
async fn a_use_is_known_before_and_after_it_is_written() {
    let (registry, usage) = (testing::registry().await, Usage::default());
    assert_eq!(last_used(&registry, &usage).await, None);
    usage.note(TENANT, &GRANT, FROM_HERE, testing::BEGIN);
    assert_eq!(last_used(&registry, &usage).await, Some(testing::BEGIN));
    usage.flush(&registry).await.unwrap();
    assert_eq!(waiting(&usage), 0);
    assert_eq!(last_used(&registry, &usage).await, Some(testing::BEGIN));

    let later = testing::BEGIN.plus(Duration::from_millis(1));
    usage.note(TENANT, &GRANT, FROM_HERE, later);
    assert_eq!(last_used(&registry, &usage).await, Some(later));
    usage.flush(&registry).await.unwrap();
    assert_eq!(last_used(&registry, &usage).await, Some(later));
    // Another process, which has seen none of it.
    assert_eq!(last_used(&registry, &Usage::default()).await, Some(later));
}

#[tokio::test]
async fn a_late_report_does_not_go_back() {
    let (registry, usage) = (testing::registry().await, Usage::default());
    for at in [testing::BEGIN, testing::BEGIN.minus(Duration::from_secs(60))] {
        usage.note(TENANT, &GRANT, FROM_HERE, at);
        usage.flush(&registry).await.unwrap();
    }
    assert_eq!(last_used(&registry, &usage).await, Some(testing::BEGIN));
}

#[tokio::test]
async fn a_busy_device_changes_no_revision() {
    let (registry, usage) = (testing::registry().await, Usage::default());
    for _ in 0..10 {
        usage.note(TENANT, &GRANT, FROM_HERE, testing::BEGIN);
        usage.flush(&registry).await.unwrap();
    }
    assert_eq!(registry.store().last_revision().await.unwrap(), 0);
}

#[tokio::test]
async fn a_key_is_one_tenants_own_and_other_grants_are_none() {
    let (registry, usage) = (testing::registry().await, Usage::default());
    usage.note(TenantId(2), &GRANT, FROM_HERE, testing::BEGIN);
    usage.note(TENANT, &Grant::Key { id: KeyId(8), secret: 9 }, FROM_HERE, testing::BEGIN);
    usage.note(TENANT, &Grant::Password { fingerprint: 9 }, FROM_HERE, testing::BEGIN);
    usage.note(TENANT, &Grant::Anonymous, FROM_HERE, testing::BEGIN);
    assert_eq!(waiting(&usage), 2);
    assert_eq!(last_used(&registry, &usage).await, None);
    usage.flush(&registry).await.unwrap();
    assert_eq!(last_used(&registry, &usage).await, None);
}

#[tokio::test]
async fn the_last_thirty_days_are_known() {
    let (registry, usage) = (testing::registry().await, Usage::default());
    usage.note(TENANT, &GRANT, FROM_HERE, testing::BEGIN);
    usage.flush(&registry).await.unwrap();
    registry.wall().advance(DAY * 30);
    assert_eq!(last_used(&registry, &usage).await, Some(testing::BEGIN));
    registry.wall().advance(DAY);
    assert_eq!(last_used(&registry, &usage).await, None);
}

#[tokio::test]
async fn what_waits_is_bounded_and_written_in_parts() {
    let (registry, usage) = (testing::registry().await, Usage::default());
    for tenant in 0..WAITING_MAX as u128 + 10 {
        usage.note(TenantId(tenant), &GRANT, FROM_HERE, testing::BEGIN);
    }
    assert_eq!(waiting(&usage), WAITING_MAX);
    // Whoever waits already may be news again.
    let later = testing::BEGIN.plus(DAY);
    usage.note(TENANT, &GRANT, FROM_HERE, later);
    assert_eq!(last_used(&registry, &usage).await, Some(later));

    let usage = Usage::default();
    for tenant in 0..UPDATES_PER_WRITE as u128 * 2 + 1 {
        usage.note(TenantId(tenant), &GRANT, FROM_HERE, testing::BEGIN);
    }
    usage.flush(&registry).await.unwrap();
    let last = TenantId(UPDATES_PER_WRITE as u128 * 2);
    assert_eq!(
        usage.last_used(&registry, last, KEY).await.unwrap().map(|used| used.at),
        Some(testing::BEGIN)
    );
}

#[tokio::test]
async fn where_a_use_came_from_is_the_last_ones() {
    let registry = testing::registry().await;
    let from = async || {
        let used = Usage::default().last_used(&registry, TENANT, KEY).await.unwrap();
        used.unwrap().from.map(|from| from.to_string())
    };
    let second = Duration::from_secs(1);
    let mut at = testing::BEGIN;
    let see = async |from: &str, at: UnixMillis| {
        let usage = Usage::default();
        usage.note(TENANT, &GRANT, from.parse().unwrap(), at);
        usage.flush(&registry).await.unwrap();
    };
    for address in ["2001:db8:ffff::ffff", "192.0.2.1", "2001:db8::1", "10.0.0.1"] {
        at = at.plus(second);
        see(address, at).await;
        assert_eq!(from().await.as_deref(), Some(address));
    }
    see("203.0.113.9", at.minus(second)).await;
    assert_eq!(from().await.as_deref(), Some("10.0.0.1"), "a late report");
    // Two replicas within a second: one of the two, or nothing; never a third one.
    at = at.plus(second);
    see("2001:db8::ffff:1", at).await;
    see("2001:db8:1::2", at).await;
    assert_eq!(from().await, None);
}
