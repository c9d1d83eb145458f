use std::time::Duration;

use super::{Place, on_every_store};

const MINUTE: Duration = Duration::from_secs(60);

on_every_store!(
    one_holds_a_lease_until_it_ends,
    a_renewal_keeps_the_fence,
    a_late_renewal_tells_whether_others_had_it,
    a_released_lease_is_free,
    fences_only_grow,
);

async fn one_holds_a_lease_until_it_ends(place: &Place) {
    let store = place.open().await;
    let fence = store.acquire("wake", "a", MINUTE).await.unwrap().unwrap();
    assert_eq!(store.acquire("wake", "b", MINUTE).await, Ok(None));
    assert!(store.acquire("sleep", "b", MINUTE).await.unwrap().is_some());
    place.wall.advance(MINUTE);
    let later = store.acquire("wake", "b", MINUTE).await.unwrap().unwrap();
    assert!(later > fence);
    assert_eq!(store.acquire("wake", "a", MINUTE).await, Ok(None));
}

async fn a_renewal_keeps_the_fence(place: &Place) {
    let store = place.open().await;
    let fence = store.acquire("wake", "a", MINUTE).await.unwrap();
    for _ in 0..3 {
        place.wall.advance(MINUTE / 2);
        assert_eq!(store.acquire("wake", "a", MINUTE).await.unwrap(), fence);
        assert_eq!(store.acquire("wake", "b", MINUTE).await.unwrap(), None);
    }
    place.wall.advance(3 * MINUTE);
    assert!(store.acquire("wake", "a", MINUTE).await.unwrap() > fence);
}

/// Who comes late may go on if nobody else was there meanwhile, and is told if somebody was.
async fn a_late_renewal_tells_whether_others_had_it(place: &Place) {
    let store = place.open().await;
    let fence = store.acquire("wake", "a", MINUTE).await.unwrap();
    place.wall.advance(MINUTE + MINUTE / 2);
    let late = store.acquire("wake", "a", MINUTE).await.unwrap();
    match place.is_shared() {
        true => assert_eq!(late, fence),
        false => assert!(late >= fence),
    }
    place.wall.advance(MINUTE);
    let others = store.acquire("wake", "b", MINUTE).await.unwrap();
    assert!(others > late);
    place.wall.advance(MINUTE);
    assert!(store.acquire("wake", "a", MINUTE).await.unwrap() > others);
    store.release("wake", "a").await.unwrap();
    let again = store.acquire("wake", "b", MINUTE).await.unwrap();
    store.release("wake", "b").await.unwrap();
    assert!(store.acquire("wake", "b", MINUTE).await.unwrap() > again, "given back is given back");
}

async fn a_released_lease_is_free(place: &Place) {
    let store = place.open().await;
    let fence = store.acquire("wake", "a", MINUTE).await.unwrap();
    store.release("wake", "b").await.unwrap();
    assert_eq!(store.acquire("wake", "b", MINUTE).await.unwrap(), None);
    store.release("wake", "a").await.unwrap();
    store.release("wake", "a").await.unwrap();
    assert!(store.acquire("wake", "b", MINUTE).await.unwrap() > fence);
}

async fn fences_only_grow(place: &Place) {
    let store = place.open().await;
    let mut last = 0;
    for round in 0..20 {
        let fence = store.acquire("wake", "a", MINUTE).await.unwrap().unwrap();
        assert!(fence > last);
        last = fence;
        if round % 2 == 0 {
            store.release("wake", "a").await.unwrap();
        } else {
            place.wall.advance(100 * MINUTE);
            // Brings a sweep along.
            store.count("k", MINUTE).await.unwrap();
        }
    }
}
