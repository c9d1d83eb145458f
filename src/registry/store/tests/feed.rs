use super::{FEED_KEPT, Place, on_every_store, put, remove};
use crate::registry::store::Expected::{Absent, Any};
use crate::registry::store::{FeedPage, Notice};

on_every_store!(
    every_write_has_its_notice,
    the_feed_is_read_in_pages,
    what_was_forgotten_is_a_gap,
    who_is_ahead_of_the_registry_has_a_gap,
    changes_wakes_readers,
);

fn notice(id: &str, revision: u64) -> Notice {
    Notice { kind: "tenant".to_owned(), id: id.to_owned(), revision }
}

async fn every_write_has_its_notice(place: &Place) {
    let store = place.open().await;
    let empty = FeedPage { notices: vec![], gap: false, last_revision: 0 };
    assert_eq!(store.feed(0, 10).await, Ok(empty));
    store.write(vec![put("b", Absent, &[], ""), put("a", Absent, &[], "")]).await.unwrap();
    store.write(vec![remove("b", Any)]).await.unwrap();
    let notices = vec![notice("b", 1), notice("a", 2), notice("b", 3)];
    let page = FeedPage { notices, gap: false, last_revision: 3 };
    assert_eq!(store.feed(0, 10).await, Ok(page));
}

async fn the_feed_is_read_in_pages(place: &Place) {
    let store = place.open().await;
    for id in ["a", "b", "c", "d", "e"] {
        store.write(vec![put(id, Absent, &[], "")]).await.unwrap();
    }
    let page = store.feed(1, 2).await.unwrap();
    assert_eq!(page.notices, [notice("b", 2), notice("c", 3)]);
    assert_eq!((page.gap, page.last_revision), (false, 5));
    assert_eq!(store.feed(3, 10).await.unwrap().notices, [notice("d", 4), notice("e", 5)]);
    let end = FeedPage { notices: vec![], gap: false, last_revision: 5 };
    assert_eq!(store.feed(5, 10).await, Ok(end));
}

async fn what_was_forgotten_is_a_gap(place: &Place) {
    let store = place.open().await;
    for _ in 0..FEED_KEPT + 3 {
        store.write(vec![put("a", Any, &[], "")]).await.unwrap();
    }
    for (after, gap) in [(0, true), (2, true), (3, false), (4, false)] {
        let page = store.feed(after, 1_000).await.unwrap();
        assert_eq!((page.gap, page.last_revision), (gap, FEED_KEPT + 3), "after {after}");
        let revisions: Vec<_> = page.notices.iter().map(|notice| notice.revision).collect();
        assert_eq!(revisions, (after.max(3) + 1..=FEED_KEPT + 3).collect::<Vec<_>>());
    }
}

async fn who_is_ahead_of_the_registry_has_a_gap(place: &Place) {
    let store = place.open().await;
    assert!(store.feed(1, 10).await.unwrap().gap);
    store.write(vec![put("a", Any, &[], "")]).await.unwrap();
    assert!(!store.feed(1, 10).await.unwrap().gap);
    assert!(store.feed(2, 10).await.unwrap().gap);
    assert!(store.feed(u64::MAX, 10).await.unwrap().gap);
}

async fn changes_wakes_readers(place: &Place) {
    let store = place.open().await;
    let mut changes = store.changes();
    let reader = tokio::spawn(async move {
        changes.wait_for(|last| *last >= 2).await.unwrap();
        *changes.borrow()
    });
    store.write(vec![put("a", Any, &[], "")]).await.unwrap();
    store.write(vec![put("a", Any, &[], "")]).await.unwrap();
    assert_eq!(reader.await.unwrap(), 2);
}
