use std::convert::Infallible;
use std::sync::atomic::AtomicUsize;

use tokio::sync::Semaphore;

use super::*;
use crate::clock::UnixMillis;
use crate::grant::KeyId;
use crate::secret::Secret;
use crate::tenant::{ApiKey, PreviousSecret, sample};

mod eviction;
mod model;

fn digest(secret: &str) -> SecretDigest {
    SecretDigest::of(&Secret::new(secret.to_owned()))
}

fn key(secret: &str, previous: Option<&str>) -> ApiKey {
    let until = UnixMillis(u64::MAX);
    ApiKey {
        id: KeyId::DEFAULT,
        name: None,
        digest: digest(secret),
        hint: None,
        created_at: UnixMillis(0),
        expires_at: None,
        scope: Vec::new(),
        previous: previous.map(|secret| PreviousSecret { digest: digest(secret), until }),
    }
}

fn username(text: &str) -> Username {
    Username::parse(text).unwrap()
}

/// A tenant whose name is made of the id.
fn tenant(id: u128, revision: u64) -> Tenant {
    Tenant { id: TenantId(id), revision, ..sample(&format!("t{id}")) }
}

fn cache() -> Cache {
    Cache::new(1000, Clock::start())
}

async fn fetch(cache: &Cache, lookup: Lookup, found: Option<&Tenant>) -> Option<Arc<Tenant>> {
    let fetch = || async move { Ok::<_, Infallible>(found.cloned()) };
    cache.get(lookup, fetch).await.unwrap()
}

/// What is known: a revision, "absent" or "unknown".
fn told(cache: &Cache, lookup: &Lookup) -> String {
    match cache.peek(lookup) {
        Knowledge::Tenant(tenant) => tenant.revision.to_string(),
        Knowledge::Absent => "absent".to_owned(),
        Knowledge::Unknown => "unknown".to_owned(),
    }
}

const ONE: Lookup = Lookup::Id(TenantId(1));

#[tokio::test]
async fn many_who_ask_at_once_are_one_fetch() {
    let cache = Arc::new(cache());
    let (gate, fetches) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let (cache, gate, fetches) =
                (Arc::clone(&cache), Arc::clone(&gate), Arc::clone(&fetches));
            tokio::spawn(async move {
                let fetch = || async {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    gate.acquire().await.unwrap().forget();
                    Ok::<_, Infallible>(Some(tenant(1, 5)))
                };
                cache.get(ONE, fetch).await.unwrap().unwrap().revision
            })
        })
        .collect();
    while fetches.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1);
    for answer in asking {
        assert_eq!(answer.await.unwrap(), 5);
    }
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
    assert!(cache.flights.is_empty(), "nothing is left of them");
}

#[tokio::test]
async fn different_look_ups_do_not_wait_for_each_other() {
    let cache = cache();
    let never = || std::future::pending::<Result<Option<Tenant>, Infallible>>();
    let mut stuck = Box::pin(cache.get(ONE, never));
    assert!(tokio::time::timeout(Duration::ZERO, &mut stuck).await.is_err());
    let two = fetch(&cache, Lookup::Id(TenantId(2)), Some(&tenant(2, 1))).await;
    assert_eq!(two.unwrap().id, TenantId(2));
    drop(stuck);
    assert!(cache.flights.is_empty(), "who gives up leaves nothing behind");
    assert!(fetch(&cache, ONE, Some(&tenant(1, 1))).await.is_some());
}

#[tokio::test]
async fn errors_are_not_remembered() {
    let cache = cache();
    let fail = || async { Err::<Option<Tenant>, _>("away") };
    assert_eq!(cache.get(ONE, fail).await.unwrap_err(), "away");
    assert_eq!(told(&cache, &ONE), "unknown");
    assert!(cache.flights.is_empty());
    assert!(fetch(&cache, ONE, Some(&tenant(1, 1))).await.is_some());
    assert!(cache.get(ONE, fail).await.unwrap().is_some(), "what is known needs no fetch");
}

#[tokio::test]
async fn nobody_is_remembered_for_a_moment_only() {
    let cache = cache();
    let lookup = Lookup::Username(username("nobody"));
    assert!(fetch(&cache, lookup.clone(), None).await.is_none());
    assert_eq!(told(&cache, &lookup), "absent");
    assert!(fetch(&cache, lookup.clone(), Some(&tenant(1, 1))).await.is_none(), "still believed");
    let until = *cache.absent.get(&lookup).unwrap();
    assert!(until <= cache.clock.now().plus(ABSENT_FOR));
    cache.absent.alter_all(|_, _| cache.clock.now());
    assert_eq!(told(&cache, &lookup), "unknown");
}

#[tokio::test]
async fn a_replacement_ends_every_belief_in_nobody() {
    let cache = cache();
    let lookup = Lookup::Key(digest("new"));
    assert!(fetch(&cache, lookup.clone(), None).await.is_none());
    cache.replace(Arc::new(tenant(1, 1)), cache.plans());
    assert_eq!(told(&cache, &lookup), "unknown");
}

#[tokio::test]
async fn a_tenant_is_found_by_id_name_and_every_secret() {
    let cache = cache();
    let keys = vec![key("default", None), key("named", Some("rotated-away"))];
    let mike = Tenant { keys, ..tenant(1, 1) };
    assert!(fetch(&cache, ONE, Some(&mike)).await.is_some());
    let all = [
        ONE,
        Lookup::Username(username("t1")),
        Lookup::Key(digest("default")),
        Lookup::Key(digest("named")),
        Lookup::Key(digest("rotated-away")),
    ];
    assert!(all.iter().all(|lookup| told(&cache, lookup) == "1"));

    cache.replace(
        Arc::new(Tenant { keys: vec![key("named", None)], ..tenant(1, 2) }),
        cache.plans(),
    );
    let known = all.each_ref().map(|lookup| told(&cache, lookup));
    assert_eq!(known, ["2", "2", "unknown", "2", "unknown"]);

    cache.invalidate(TenantId(1));
    assert!(all.iter().all(|lookup| told(&cache, lookup) == "unknown"));
    assert!(cache.tenants.is_empty() && cache.usernames.is_empty() && cache.keys.is_empty());
}

#[tokio::test]
async fn a_key_that_moved_on_stays_with_its_new_owner() {
    let cache = cache();
    let shared = || vec![key("shared", None)];
    fetch(&cache, ONE, Some(&Tenant { keys: shared(), ..tenant(1, 1) })).await;
    let two = Tenant { keys: shared(), ..tenant(2, 3) };
    fetch(&cache, Lookup::Id(TenantId(2)), Some(&two)).await;
    cache.invalidate(TenantId(1));
    assert_eq!(told(&cache, &Lookup::Key(digest("shared"))), "3");
}

#[tokio::test]
async fn a_replacement_never_goes_back() {
    let cache = cache();
    fetch(&cache, ONE, Some(&tenant(1, 5))).await;
    cache.replace(Arc::new(tenant(1, 7)), cache.plans());
    cache.replace(Arc::new(tenant(1, 6)), cache.plans());
    assert_eq!(told(&cache, &ONE), "7");
    cache.replace(Arc::new(tenant(1, 8)), cache.plans());
    assert_eq!(told(&cache, &ONE), "8");
    // Whoever was forgotten may have been newer.
    cache.invalidate(TenantId(1));
    cache.replace(Arc::new(tenant(1, 7)), cache.plans());
    assert_eq!(told(&cache, &ONE), "unknown");
}

/// A fetch that reads, is overtaken by `meanwhile`, and only then answers.
async fn overtaken(cache: &Cache, old: Option<Tenant>, meanwhile: impl Fn(&Cache)) -> usize {
    let (gate, fetches) = (Semaphore::new(0), AtomicUsize::new(0));
    let fetch = || async {
        if fetches.fetch_add(1, Ordering::SeqCst) == 0 {
            gate.acquire().await.unwrap().forget();
            return Ok::<_, Infallible>(old.clone());
        }
        Ok(Some(tenant(1, 2)))
    };
    let mut getting = Box::pin(cache.get(ONE, fetch));
    assert!(tokio::time::timeout(Duration::ZERO, &mut getting).await.is_err());
    meanwhile(cache);
    gate.add_permits(1);
    assert_eq!(getting.await.unwrap().unwrap().revision, 2);
    assert_eq!(told(cache, &ONE), "2");
    fetches.load(Ordering::SeqCst)
}

#[tokio::test]
async fn what_was_fetched_before_an_invalidation_is_not_put_in_after_it() {
    let invalidate = |cache: &Cache| cache.invalidate(TenantId(1));
    assert_eq!(overtaken(&cache(), Some(tenant(1, 1)), invalidate).await, 2);
    assert_eq!(overtaken(&cache(), None, invalidate).await, 2, "nor is that there is nobody");
    let replace = |cache: &Cache| cache.replace(Arc::new(tenant(1, 2)), cache.plans());
    assert_eq!(overtaken(&cache(), Some(tenant(1, 1)), replace).await, 2);
    assert_eq!(overtaken(&cache(), None, replace).await, 2);
}

#[tokio::test]
async fn a_storm_of_writes_delays_nobody_for_ever() {
    let (cache, fetches) = (cache(), AtomicUsize::new(0));
    let fetch = || async {
        fetches.fetch_add(1, Ordering::SeqCst);
        cache.invalidate(TenantId(99));
        Ok::<_, Infallible>(Some(tenant(1, 1)))
    };
    assert_eq!(cache.get(ONE, fetch).await.unwrap().unwrap().revision, 1);
    assert_eq!(fetches.load(Ordering::SeqCst), FETCHES_MAX);
    assert_eq!(told(&cache, &ONE), "unknown", "it was returned, but not put in");
}

async fn with_plans() -> Cache {
    let cache = cache();
    for (id, plan) in [(1, Some("gold")), (2, Some("tin")), (3, None)] {
        let tenant = Tenant { plan_name: plan.map(str::to_owned), ..tenant(id, 5) };
        fetch(&cache, Lookup::Id(tenant.id), Some(&tenant)).await;
    }
    cache
}

#[tokio::test]
async fn a_changed_plan_is_forgotten_with_its_tenants_alone() {
    let cache = with_plans().await;
    cache.invalidate_plan("gold");
    let known = [1, 2, 3].map(|id| told(&cache, &Lookup::Id(TenantId(id))));
    assert_eq!(known, ["unknown", "5", "5"]);
    cache.invalidate_plan("brass");
    assert_eq!(told(&cache, &Lookup::Id(TenantId(2))), "5");
}

#[tokio::test]
async fn what_was_made_with_an_older_plan_is_not_put_in() {
    let cache = with_plans().await;
    let plans = cache.plans();
    let read = Tenant { plan_name: Some("gold".into()), ..tenant(1, 6) };
    cache.invalidate_plan("gold");
    // Somebody has fetched them since, with the new plan but without the change.
    fetch(&cache, ONE, Some(&tenant(1, 5))).await;
    cache.replace(Arc::new(read.clone()), plans);
    assert_eq!(told(&cache, &ONE), "unknown");
    fetch(&cache, ONE, Some(&tenant(1, 5))).await;
    cache.replace(Arc::new(read), cache.plans());
    assert_eq!(told(&cache, &ONE), "6");
}

#[tokio::test]
async fn a_fetch_that_a_plans_change_overtakes_is_made_again() {
    let cache = cache();
    let fetches = AtomicUsize::new(0);
    let fetch = || async {
        if fetches.fetch_add(1, Ordering::SeqCst) == 0 {
            cache.invalidate_plan("gold");
        }
        Ok::<_, Infallible>(Some(tenant(1, 5)))
    };
    cache.get(ONE, fetch).await.unwrap();
    assert_eq!(fetches.load(Ordering::SeqCst), 2);
    assert_eq!(told(&cache, &ONE), "5");
}
