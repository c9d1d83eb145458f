use super::*;
use crate::registry::testing;

const TENANT: TenantId = TenantId(1);
const KEY: KeyId = KeyId(7);
const GRANT: Grant = Grant::Key { id: KEY, secret: 9 };
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Of mike's key.
async fn last_used(registry: &Registry, usage: &Usage) -> Option<UnixMillis> {
    usage.last_used(registry, TENANT, KEY).await.unwrap()
}

fn waiting(usage: &Usage) -> usize {
    usage.waiting.iter().map(|part| part.lock().unwrap().len()).sum()
}

#[tokio::test]
async fn a_use_is_known_before_and_after_it_is_written() {
    let (registry, usage) = (testing::registry().await, Usage::default());
    assert_eq!(last_used(&registry, &usage).await, None);
    usage.note(TENANT, &GRANT, testing::BEGIN);
    assert_eq!(last_used(&registry, &usage).await, Some(testing::BEGIN));
    usage.flush(&registry).await.unwrap();
    assert_eq!(waiting(&usage), 0);
    assert_eq!(last_used(&registry, &usage).await, Some(testing::BEGIN));

    let later = testing::BEGIN.plus(Duration::from_millis(1));
    usage.note(TENANT, &GRANT, later);
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
        usage.note(TENANT, &GRANT, at);
        usage.flush(&registry).await.unwrap();
    }
    assert_eq!(last_used(&registry, &usage).await, Some(testing::BEGIN));
}

#[tokio::test]
async fn a_busy_device_changes_no_revision() {
    let (registry, usage) = (testing::registry().await, Usage::default());
    for _ in 0..10 {
        usage.note(TENANT, &GRANT, testing::BEGIN);
        usage.flush(&registry).await.unwrap();
    }
    assert_eq!(registry.store().last_revision().await.unwrap(), 0);
}

#[tokio::test]
async fn a_key_is_one_tenants_own_and_other_grants_are_none() {
    let (registry, usage) = (testing::registry().await, Usage::default());
    usage.note(TenantId(2), &GRANT, testing::BEGIN);
    usage.note(TENANT, &Grant::Key { id: KeyId(8), secret: 9 }, testing::BEGIN);
    usage.note(TENANT, &Grant::Password { fingerprint: 9 }, testing::BEGIN);
    usage.note(TENANT, &Grant::Anonymous, testing::BEGIN);
    assert_eq!(waiting(&usage), 2);
    assert_eq!(last_used(&registry, &usage).await, None);
    usage.flush(&registry).await.unwrap();
    assert_eq!(last_used(&registry, &usage).await, None);
}

#[tokio::test]
async fn the_last_thirty_days_are_known() {
    let (registry, usage) = (testing::registry().await, Usage::default());
    usage.note(TENANT, &GRANT, testing::BEGIN);
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
        usage.note(TenantId(tenant), &GRANT, testing::BEGIN);
    }
    assert_eq!(waiting(&usage), WAITING_MAX);
    // Whoever waits already may be news again.
    let later = testing::BEGIN.plus(DAY);
    usage.note(TENANT, &GRANT, later);
    assert_eq!(last_used(&registry, &usage).await, Some(later));

    let usage = Usage::default();
    for tenant in 0..UPDATES_PER_WRITE as u128 * 2 + 1 {
        usage.note(TenantId(tenant), &GRANT, testing::BEGIN);
    }
    usage.flush(&registry).await.unwrap();
    let last = TenantId(UPDATES_PER_WRITE as u128 * 2);
    assert_eq!(usage.last_used(&registry, last, KEY).await.unwrap(), Some(testing::BEGIN));
}
