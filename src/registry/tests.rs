use std::convert::Infallible;

use super::record::{KeyRecord, PreviousRecord};
use super::*;
use crate::clock::{Millis, UnixMillis};
use crate::grant::KeyId;
use crate::secret::Secret;

fn digest(secret: &str) -> SecretDigest {
    SecretDigest::of(&Secret::new(secret.to_owned()))
}

fn username(text: &str) -> Username {
    Username::parse(text).unwrap()
}

/// A registry with one tenant, mike, who has a default key.
async fn with_mike() -> (Arc<Registry>, TenantId) {
    let registry = testing::registry().await;
    let keys = vec![testing::key(KeyId::DEFAULT, "first")];
    let record = TenantRecord { keys, ..testing::record("mike") };
    let mike = testing::add(&registry, 1, &record).await;
    (Arc::new(registry), mike)
}

fn add_key(record: &mut TenantRecord, number: u64) -> Result<(), Infallible> {
    record.keys.push(testing::key(KeyId(number), &format!("key-{number}")));
    Ok(())
}

async fn stored(registry: &Registry, id: TenantId) -> (u64, TenantRecord) {
    let document = registry.store().get(TENANT, &id.to_string()).await.unwrap().unwrap();
    (document.revision, TenantRecord::from_body(&document.body).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_at_once_are_all_made() {
    let (registry, mike) = with_mike().await;
    let changes: Vec<_> = (1..=20)
        .map(|number| {
            let registry = Arc::clone(&registry);
            tokio::spawn(async move {
                registry.change(mike, |record| add_key(record, number)).await.map(|_| ()).unwrap();
            })
        })
        .collect();
    for change in changes {
        change.await.unwrap();
    }
    let mike = testing::tenant(&registry, mike).await;
    let mut ids: Vec<u64> = mike.keys.iter().map(|key| key.id.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..=20).collect::<Vec<_>>());
    assert_eq!(mike.revision, registry.store().last_revision().await.unwrap());
}

#[tokio::test]
async fn a_change_is_seen_at_once_by_every_way() {
    let (registry, mike) = with_mike().await;
    assert!(registry.cached(mike).is_none());
    let before = registry.by_username(&username("mike")).await.unwrap().unwrap();
    let (after, answer) = registry
        .change(mike, |record| {
            record.keys = vec![testing::key(KeyId::DEFAULT, "second")];
            Ok::<_, Infallible>("done")
        })
        .await
        .unwrap();
    assert_eq!((answer, after.revision > before.revision), ("done", true));
    assert_eq!(registry.cached(mike).unwrap().revision, after.revision);
    let found = registry.by_key(digest("second")).await.unwrap().unwrap();
    assert_eq!(found.revision, after.revision);
    assert!(registry.by_key(digest("first")).await.unwrap().is_none());
}

/// As another process would.
async fn write_past(registry: &Registry, id: TenantId, number: u64) {
    let (revision, mut record) = stored(registry, id).await;
    add_key(&mut record, number).unwrap();
    let write = put(id, Expected::Revision(revision), &record).unwrap();
    registry.store().write(vec![write]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_faster_is_respected() {
    let (registry, mike) = with_mike().await;
    let mut rounds = 0;
    let changed = registry.change(mike, |record| {
        rounds += 1;
        if rounds <= 3 {
            // Between its read and its write.
            let handle = tokio::runtime::Handle::current();
            let overtake = write_past(&registry, mike, 100 + rounds);
            tokio::task::block_in_place(|| handle.block_on(overtake));
        }
        add_key(record, 1)
    });
    let (tenant, ()) = changed.await.unwrap();
    let ids: Vec<u64> = tenant.keys.iter().map(|key| key.id.0).collect();
    assert_eq!((ids, rounds), (vec![0, 101, 102, 103, 1], 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_always_slower_gives_up() {
    let (registry, mike) = with_mike().await;
    let mut rounds = 0;
    let changed = registry.change(mike, |record| {
        rounds += 1;
        let handle = tokio::runtime::Handle::current();
        let overtake = write_past(&registry, mike, 100 + rounds);
        tokio::task::block_in_place(|| handle.block_on(overtake));
        add_key(record, 1)
    });
    assert!(matches!(changed.await, Err(ChangeError::Store(StoreError::Conflict { .. }))));
    assert_eq!(rounds, documents::CHANGE_ATTEMPTS_MAX as u64);
}

#[tokio::test]
async fn a_refused_change_writes_nothing() {
    let (registry, mike) = with_mike().await;
    let before = stored(&registry, mike).await;
    let refused = registry
        .change(mike, |record| {
            record.keys.clear();
            Err::<(), _>("no")
        })
        .await;
    assert!(matches!(refused, Err(ChangeError::Refused("no"))));
    assert_eq!(stored(&registry, mike).await, before);
    let nobody = registry.change(TenantId(9), |_| Ok::<_, Infallible>(())).await;
    assert!(matches!(nobody, Err(ChangeError::Gone)));
    assert_eq!(registry.store().last_revision().await.unwrap(), before.0);
}

#[tokio::test]
async fn what_cannot_be_read_back_is_not_written() {
    let (registry, mike) = with_mike().await;
    let before = stored(&registry, mike).await;
    let broken = KeyRecord { sha256: "short".to_owned(), ..testing::key(KeyId(1), "x") };
    let no_plan = |record: &mut TenantRecord| record.plan = Some("gold".to_owned());
    let no_key = |record: &mut TenantRecord| record.keys.push(broken.clone());
    let changes: [&dyn Fn(&mut TenantRecord); 2] = [&no_plan, &no_key];
    for change in changes {
        let change = registry.change(mike, |record| {
            change(record);
            Ok::<_, Infallible>(())
        });
        assert!(matches!(change.await, Err(ChangeError::Store(StoreError::Corrupt(_)))));
        assert_eq!(stored(&registry, mike).await, before);
    }
}

#[tokio::test]
async fn after_a_stores_error_the_cache_is_believed_no_more() {
    let (registry, mike) = with_mike().await;
    let roberto =
        TenantRecord { keys: vec![testing::key(KeyId(1), "his")], ..testing::record("roberto") };
    testing::add(&registry, 2, &roberto).await;
    testing::tenant(&registry, mike).await;
    let stolen = registry.change(mike, |record| {
        record.keys.push(testing::key(KeyId(1), "his"));
        Ok::<_, Infallible>(())
    });
    assert!(matches!(stolen.await, Err(ChangeError::Store(StoreError::IndexTaken { .. }))));
    assert!(registry.cached(mike).is_none());
    let owner = registry.by_key(digest("his")).await.unwrap().unwrap();
    assert_eq!(owner.username.as_str(), "roberto");
}

#[tokio::test]
async fn a_rotated_secret_still_leads_to_its_tenant() {
    let (registry, mike) = with_mike().await;
    let rotated = KeyRecord {
        previous: Some(PreviousRecord {
            sha256: digest("old").to_hex(),
            until_unix_ms: testing::BEGIN.0,
        }),
        ..testing::key(KeyId(1), "new")
    };
    let change = registry.change(mike, |record| {
        record.keys.push(rotated.clone());
        Ok::<_, Infallible>(())
    });
    change.await.unwrap();
    for secret in ["first", "old", "new"] {
        let found = registry.by_key(digest(secret)).await.unwrap().unwrap();
        assert_eq!(found.id, mike, "{secret}");
    }
    let previous = testing::tenant(&registry, mike).await.keys[1].previous.unwrap();
    assert_eq!(previous.until, UnixMillis(testing::BEGIN.0));
}

/// A Redis that can be read and takes no writes.
#[tokio::test]
async fn who_is_known_stays_so_when_nothing_can_be_written() {
    let server = store::redis::testing::Server::start(&[]);
    let store = Store::open_with(&server.url(), &store::redis::testing::options()).await.unwrap();
    let registry = Registry::new(store, testing::CACHING, Clock::start(), Wall::system());
    let mike = testing::add(&registry, 1, &testing::record("mike")).await;
    testing::tenant(&registry, mike).await;
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let refused = registry.change(mike, |record| add_key(record, 1)).await;
    assert!(matches!(refused, Err(ChangeError::Store(StoreError::Unavailable(_)))), "{refused:?}");
    assert!(registry.cached(mike).is_some());
}

#[tokio::test]
async fn who_was_looked_for_in_vain_is_found_after_a_change() {
    let (registry, mike) = with_mike().await;
    assert!(registry.by_key(digest("key-1")).await.unwrap().is_none());
    registry.change(mike, |record| add_key(record, 1)).await.unwrap();
    assert_eq!(registry.by_key(digest("key-1")).await.unwrap().unwrap().id, mike);
}

#[tokio::test]
async fn a_plan_is_resolved_and_a_missing_one_is_an_error() {
    let registry = testing::registry().await;
    let gold = br#"{"connections":7}"#.to_vec();
    let change = Change::Put { indexes: Vec::new(), body: gold };
    let write = Write { kind: PLAN, id: "gold".to_owned(), expected: Expected::Absent, change };
    registry.store().write(vec![write]).await.unwrap();
    let on = |plan: &str| TenantRecord {
        plan: Some(plan.to_owned()),
        ..testing::record(&format!("on-{plan}"))
    };
    let golden = testing::add(&registry, 1, &on("gold")).await;
    let lost = testing::add(&registry, 2, &on("lost")).await;
    let plain = testing::add(&registry, 3, &testing::record("plain")).await;
    let golden = testing::tenant(&registry, golden).await;
    assert_eq!((golden.plan.connections, golden.plan_name.as_deref()), (Some(7), Some("gold")));
    assert_eq!(*testing::tenant(&registry, plain).await.plan, Plan::default());
    // Rather nobody than somebody without limits.
    let error = registry.by_id(lost).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(what) if what.contains("lost")), "{error}");
}

#[tokio::test]
async fn what_may_be_old_is_asked_for_again() {
    let wall = Wall::stopped_at(testing::BEGIN.0);
    let store = testing::store(&wall).await;
    let stale_max = Duration::from_millis(1);
    let clock = Clock::start();
    let registry = Registry::new(store, Caching { tenants_max: 10, stale_max }, clock, wall);
    let mike = testing::add(&registry, 1, &testing::record("mike")).await;
    let hour = Duration::from_secs(60 * 60);
    registry.freshness().caught_up(clock.now().plus(hour));
    let first = testing::tenant(&registry, mike).await;
    // As another replica would, and no word of it comes.
    let disabled = TenantRecord { disabled: true, ..testing::record("mike") };
    registry.store().write(vec![put(mike, Expected::Any, &disabled).unwrap()]).await.unwrap();
    assert_eq!(testing::tenant(&registry, mike).await.revision, first.revision);

    let silent = Registry::new(
        registry.store().clone(),
        Caching { tenants_max: 10, stale_max },
        clock,
        registry.wall().clone(),
    );
    assert_eq!(silent.freshness().standing(), freshness::Standing::Current);
    while silent.freshness().is_believed() {
        tokio::task::yield_now().await;
    }
    assert!(testing::tenant(&silent, mike).await.disabled);
    assert!(silent.cached(mike).is_none(), "nobody would hear of its end");
    silent.freshness().note_away();
    assert_eq!(silent.freshness().standing(), freshness::Standing::Away);
    silent.freshness().note_held();
    assert_eq!(silent.freshness().standing(), freshness::Standing::Held);
    assert!(!silent.freshness().is_believed(), "others may write to what is held");
    silent.freshness().caught_up(clock.now().plus(hour));
    assert!(silent.freshness().is_believed());
    // An answer that was asked for earlier makes nothing older.
    silent.freshness().caught_up(Millis(0));
    assert!(silent.freshness().is_believed());
}
