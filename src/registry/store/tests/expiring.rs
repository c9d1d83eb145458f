use std::time::Duration;

use super::{Place, on_every_store};
use crate::registry::store::StoreError;
use crate::registry::store::limits::TTL_MAX;

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

on_every_store!(
    a_value_lasts_its_time,
    a_value_is_taken_once,
    a_value_is_replaced_with_its_time,
    a_window_begins_with_its_first_call,
    counters_and_values_share_no_keys,
    spans_are_bounded,
);

#[tokio::test]
async fn what_has_ended_leaves_faster_than_the_new_comes() {
    const MANY: usize = 4_000;
    let place = Place::file();
    let store = place.open().await;
    for wave in 0..3 {
        let mut all = tokio::task::JoinSet::new();
        for number in 0..MANY {
            let (store, key) = (store.clone(), format!("{wave}-{number}"));
            all.spawn(async move { store.put_expiring(&key, b"v", MINUTE).await.unwrap() });
        }
        all.join_all().await;
        place.wall.advance(MINUTE);
    }
    drop(store);
    assert_eq!(super::audit::audit(&place.path()).expiring, MANY as u64);
}

async fn a_value_lasts_its_time(place: &Place) {
    let store = place.open().await;
    store.put_expiring("k", b"v", MINUTE).await.unwrap();
    place.wall.advance(MINUTE - MILLISECOND);
    assert_eq!(store.get_expiring("k").await, Ok(Some(b"v".to_vec())));
    assert_eq!(store.get_expiring("k").await, Ok(Some(b"v".to_vec())));
    place.wall.advance(MILLISECOND);
    assert_eq!(store.get_expiring("k").await, Ok(None));
    assert_eq!(store.take_expiring("k").await, Ok(None));
}

async fn a_value_is_taken_once(place: &Place) {
    let store = place.open().await;
    store.put_expiring("k", b"", MINUTE).await.unwrap();
    assert_eq!(store.take_expiring("k").await, Ok(Some(vec![])));
    assert_eq!(store.take_expiring("k").await, Ok(None));
    assert_eq!(store.get_expiring("k").await, Ok(None));
    assert_eq!(store.take_expiring("other").await, Ok(None));
}

async fn a_value_is_replaced_with_its_time(place: &Place) {
    let store = place.open().await;
    store.put_expiring("k", b"1", MINUTE).await.unwrap();
    store.put_expiring("k", b"2", 2 * MINUTE).await.unwrap();
    place.wall.advance(MINUTE);
    // A sweep that the write brings along must not take it for the first.
    store.put_expiring("other", b"", MINUTE).await.unwrap();
    assert_eq!(store.get_expiring("k").await, Ok(Some(b"2".to_vec())));
    place.wall.advance(MINUTE);
    assert_eq!(store.get_expiring("k").await, Ok(None));
}

async fn a_window_begins_with_its_first_call(place: &Place) {
    let store = place.open().await;
    assert_eq!(store.count("k", MINUTE).await, Ok(1));
    place.wall.advance(MINUTE / 2);
    assert_eq!(store.count("k", MINUTE).await, Ok(2));
    assert_eq!(store.count("other", MINUTE).await, Ok(1));
    place.wall.advance(MINUTE / 2 - MILLISECOND);
    assert_eq!(store.count("k", MINUTE).await, Ok(3));
    place.wall.advance(MILLISECOND);
    assert_eq!(store.count("k", MINUTE).await, Ok(1));
    assert_eq!(store.count("other", MINUTE).await, Ok(2));
}

async fn counters_and_values_share_no_keys(place: &Place) {
    let store = place.open().await;
    assert_eq!(store.count("k", MINUTE).await, Ok(1));
    store.put_expiring("k", b"v", MINUTE).await.unwrap();
    assert_eq!(store.acquire("k", "me", MINUTE).await, Ok(Some(1)));
    assert_eq!(store.count("k", MINUTE).await, Ok(2));
    assert_eq!(store.take_expiring("k").await, Ok(Some(b"v".to_vec())));
    assert_eq!(store.acquire("k", "you", MINUTE).await, Ok(None));
    assert_eq!(store.last_revision().await, Ok(0));
}

async fn spans_are_bounded(place: &Place) {
    let store = place.open().await;
    for span in [Duration::ZERO, Duration::from_nanos(999_999), TTL_MAX + MILLISECOND] {
        assert!(matches!(store.put_expiring("k", b"", span).await, Err(StoreError::Invalid(_))));
        assert!(matches!(store.count("k", span).await, Err(StoreError::Invalid(_))));
        assert!(matches!(store.acquire("k", "me", span).await, Err(StoreError::Invalid(_))));
    }
    store.put_expiring("k", b"", TTL_MAX).await.unwrap();
}
