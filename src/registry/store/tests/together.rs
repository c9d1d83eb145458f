//! Many tasks at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{Place, TENANT, on_every_store, put};
use crate::registry::store::Expected::{Absent, Any, Revision};
use crate::registry::store::{Store, StoreError};

const TASKS: u64 = 32;
const MINUTE: Duration = Duration::from_secs(60);

on_every_store!(
    an_index_is_won_by_one,
    a_revision_is_superseded_by_one,
    a_value_is_taken_by_one,
    a_lease_is_acquired_by_one,
    no_call_is_counted_twice,
    revisions_have_no_gaps,
);

/// Does `work` in many tasks at once and returns what came of each.
async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    store: &Store,
    work: impl Fn(Store, u64) -> F,
) -> Vec<T> {
    let tasks: JoinSet<T> = (0..TASKS).map(|number| work(store.clone(), number)).collect();
    tasks.join_all().await
}

async fn an_index_is_won_by_one(place: &Place) {
    let store = place.open().await;
    let outcomes = at_once(&store, async |store, number| {
        store.write(vec![put(&number.to_string(), Absent, &["mike"], "")]).await
    })
    .await;
    let won: Vec<_> = outcomes.iter().filter(|outcome| outcome.is_ok()).collect();
    assert_eq!(won, [&Ok(vec![1])]);
    let taken = StoreError::IndexTaken { place: 0, index: "mike".to_owned() };
    assert!(outcomes.iter().all(|outcome| outcome.is_ok() || *outcome == Err(taken.clone())));
    assert_eq!(store.list(TENANT, None, 10).await.unwrap().len(), 1);
}

async fn a_revision_is_superseded_by_one(place: &Place) {
    let store = place.open().await;
    store.write(vec![put("1", Absent, &[], "")]).await.unwrap();
    let outcomes = at_once(&store, async |store, number| {
        store.write(vec![put("1", Revision(1), &[], &number.to_string())]).await
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(store.last_revision().await, Ok(2));
}

async fn a_value_is_taken_by_one(place: &Place) {
    let store = place.open().await;
    store.put_expiring("ticket", b"v", MINUTE).await.unwrap();
    let taken =
        at_once(&store, async |store, _| store.take_expiring("ticket").await.unwrap()).await;
    assert_eq!(taken.into_iter().flatten().collect::<Vec<_>>(), [b"v"]);
}

async fn a_lease_is_acquired_by_one(place: &Place) {
    let store = place.open().await;
    let fences = at_once(&store, async |store, number| {
        store.acquire("wake", &number.to_string(), MINUTE).await.unwrap()
    })
    .await;
    assert_eq!(fences.into_iter().flatten().count(), 1);
}

async fn no_call_is_counted_twice(place: &Place) {
    let store = place.open().await;
    let mut counts =
        at_once(&store, async |store, _| store.count("k", MINUTE).await.unwrap()).await;
    counts.sort_unstable();
    assert_eq!(counts, (1..=TASKS).collect::<Vec<_>>());
}

async fn revisions_have_no_gaps(place: &Place) {
    const ROUNDS: u64 = 20;
    let store = place.open().await;
    let highest = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let revisions = at_once(&store, |store, number| {
        let highest = Arc::clone(&highest);
        async move {
            let mut revisions = Vec::new();
            for _ in 0..ROUNDS {
                let known = highest.load(std::sync::atomic::Ordering::SeqCst);
                let own = number.to_string();
                let both = vec![put(&own, Any, &[], ""), put(&format!("{own}b"), Any, &[], "")];
                let written = store.write(both).await.unwrap();
                assert!(known < written[0] && written[0] + 1 == written[1]);
                assert_eq!(store.get(TENANT, &own).await.unwrap().unwrap().revision, written[0]);
                highest.fetch_max(written[1], std::sync::atomic::Ordering::SeqCst);
                revisions.extend(written);
            }
            revisions
        }
    })
    .await;
    let mut revisions: Vec<_> = revisions.into_iter().flatten().collect();
    revisions.sort_unstable();
    assert!(revisions.into_iter().eq(1..=2 * TASKS * ROUNDS));
}
