use super::*;

const TENANTS_MAX: usize = 100;

async fn bring_in(cache: &Cache, id: u128) {
    let lookup = Lookup::Id(TenantId(id));
    assert!(fetch(cache, lookup, Some(&tenant(id, 1))).await.is_some());
}

fn is_in(cache: &Cache, id: u128) -> bool {
    cache.tenants.contains_key(&TenantId(id))
}

/// As if it were that time.
fn use_at(cache: &Cache, id: u128, ms: u128) {
    if let Some(known) = cache.tenants.get(&TenantId(id)) {
        known.used_ms.store(u64::try_from(ms).unwrap(), Ordering::Relaxed);
    }
}

#[tokio::test]
async fn the_long_unused_go_and_the_busy_stay() {
    const BUSY: u128 = 10;
    const LAST: u128 = 3000;
    let cache = Cache::new(TENANTS_MAX, Clock::start());
    for id in 0..LAST {
        bring_in(&cache, id).await;
        assert!(cache.tenants.len() <= TENANTS_MAX);
        (0..BUSY).chain([id]).for_each(|id| use_at(&cache, id, id.max(BUSY) + 1));
        (0..BUSY).for_each(|busy| use_at(&cache, busy, id + 1));
    }
    assert!((0..BUSY).all(|id| is_in(&cache, id)), "whoever is used all the time is there");
    let long_unused = (BUSY..LAST - 500).filter(|id| is_in(&cache, *id)).count();
    assert_eq!(long_unused, 0, "whoever has not been used since five caches ago is gone");
    assert_eq!(cache.usernames.len(), cache.tenants.len(), "with all that leads to them");
}

#[tokio::test]
async fn a_scan_of_unknown_names_pushes_nobody_out_and_is_bounded() {
    let cache = Cache::new(TENANTS_MAX, Clock::start());
    for id in 0..TENANTS_MAX as u128 {
        bring_in(&cache, id).await;
    }
    for number in 0..100_000 {
        let lookup = Lookup::Username(username(&format!("nobody-{number}")));
        assert!(fetch(&cache, lookup, None).await.is_none());
    }
    assert!((0..TENANTS_MAX as u128).all(|id| is_in(&cache, id)));
    assert!(cache.absent.len() <= ABSENT_MAX, "{}", cache.absent.len());
    assert!(cache.flights.is_empty());
}

#[tokio::test]
async fn who_comes_and_goes_fills_no_queue() {
    let cache = Cache::new(TENANTS_MAX, Clock::start());
    for round in 0..10_000 {
        bring_in(&cache, round % 7).await;
        cache.invalidate(TenantId(round % 7));
        bring_in(&cache, round % 7).await;
        cache.replace(Arc::new(tenant(round % 7, 2)), cache.plans());
        assert!(cache.order().queue.len() <= 2 * TENANTS_MAX + 1);
    }
    for id in 0..1000 {
        bring_in(&cache, id).await;
        assert!(cache.tenants.len() <= TENANTS_MAX);
    }
}
