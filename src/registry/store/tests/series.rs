use std::collections::BTreeMap;
use std::time::Duration;

use super::{BEGIN_MS, Place, on_every_store};
use crate::registry::store::limits::{
    BATCH_KNOWN, FIELDS_MAX, SERIES_AHEAD_MINUTES, SERIES_KEPT_DAYS, SERIES_KEPT_MINUTES,
};
use crate::registry::store::{Bucket, Merge, SeriesBatch, SeriesUpdate, StoreError};

const NOW: u64 = BEGIN_MS / 60_000;

on_every_store!(
    numbers_merge_into_buckets,
    a_series_is_read_by_minutes,
    old_buckets_go,
    a_bucket_is_bounded,
    a_batch_is_merged_once,
    a_batchs_buckets_go_when_it_says,
);

fn update(name: &str, minute: u64, field: &str, merge: Merge) -> SeriesUpdate {
    SeriesUpdate { name: name.to_owned(), minute, field: field.to_owned(), merge }
}

fn bucket(minute: u64, fields: &[(&str, u64)]) -> Bucket {
    let fields = fields.iter().map(|(field, number)| (field.to_string(), *number));
    Bucket { minute, fields: fields.collect::<BTreeMap<_, _>>() }
}

async fn numbers_merge_into_buckets(place: &Place) {
    let store = place.open().await;
    let updates = vec![
        update("a", NOW, "sum", Merge::Add(3)),
        update("a", NOW, "top", Merge::Max(3)),
        update("a", NOW, "sum", Merge::Add(4)),
        update("b", NOW, "sum", Merge::Add(u64::MAX)),
    ];
    store.merge(updates).await.unwrap();
    let more = vec![
        update("a", NOW, "top", Merge::Max(2)),
        update("a", NOW, "sum", Merge::Add(1)),
        update("b", NOW, "sum", Merge::Add(1)),
        update("b", NOW, "top", Merge::Max(0)),
    ];
    store.merge(more).await.unwrap();
    assert_eq!(store.series("a", NOW, NOW).await, Ok(vec![bucket(NOW, &[("sum", 8), ("top", 3)])]));
    let full = bucket(NOW, &[("sum", u64::MAX), ("top", 0)]);
    assert_eq!(store.series("b", 0, u64::MAX).await, Ok(vec![full]));
}

async fn a_series_is_read_by_minutes(place: &Place) {
    let store = place.open().await;
    let minutes = [NOW - 300, NOW, NOW - 2, NOW + 1];
    let updates = minutes.map(|minute| update("a", minute, "n", Merge::Add(minute)));
    store.merge(updates.to_vec()).await.unwrap();
    store.merge(vec![update("ab", NOW - 1, "n", Merge::Add(1))]).await.unwrap();
    let read = async |from, to| {
        let buckets = store.series("a", from, to).await.unwrap();
        buckets.into_iter().map(|bucket| bucket.minute).collect::<Vec<_>>()
    };
    assert_eq!(read(0, u64::MAX).await, [NOW - 300, NOW - 2, NOW, NOW + 1]);
    assert_eq!(read(NOW - 2, NOW).await, [NOW - 2, NOW]);
    assert_eq!(read(NOW - 1, NOW - 1).await, [0; 0]);
    assert_eq!(read(NOW, NOW - 2).await, [0; 0]);
}

async fn old_buckets_go(place: &Place) {
    let store = place.open().await;
    let add = |minute| vec![update("a", minute, "n", Merge::Add(1))];
    store.merge(add(NOW - SERIES_KEPT_MINUTES - 1)).await.unwrap();
    store.merge(add(NOW + SERIES_AHEAD_MINUTES + 1)).await.unwrap();
    assert_eq!(store.series("a", 0, u64::MAX).await, Ok(vec![]));
    store.merge(add(NOW - SERIES_KEPT_MINUTES)).await.unwrap();
    store.merge(add(NOW + SERIES_AHEAD_MINUTES)).await.unwrap();
    assert_eq!(store.series("a", 0, u64::MAX).await.unwrap().len(), 2);
    place.wall.advance(Duration::from_secs(60));
    assert_eq!(store.series("a", 0, u64::MAX).await.unwrap().len(), 1);
    store.merge(add(NOW)).await.unwrap();
    assert_eq!(store.series("a", 0, u64::MAX).await.unwrap().len(), 2);
}

async fn a_bucket_is_bounded(place: &Place) {
    let store = place.open().await;
    let fields =
        (0..FIELDS_MAX + 5).map(|field| update("a", NOW, &field.to_string(), Merge::Add(1)));
    store.merge(fields.collect()).await.unwrap();
    store.merge(vec![update("a", NOW, "0", Merge::Add(1))]).await.unwrap();
    let buckets = store.series("a", NOW, NOW).await.unwrap();
    assert_eq!(buckets[0].fields.len(), FIELDS_MAX);
    assert_eq!(buckets[0].fields["0"], 2);
}

fn batch(id: &str, kept_days: u32, minute: u64) -> SeriesBatch {
    let updates = vec![
        update("a", minute, "n", Merge::Add(3)),
        update("a", minute, "top", Merge::Max(7)),
        update("b", minute, "n", Merge::Add(1)),
    ];
    SeriesBatch { id: id.to_owned(), kept_days, updates }
}

async fn a_batch_is_merged_once(place: &Place) {
    let store = place.open().await;
    let number = async || {
        let buckets = store.series("a", NOW, NOW).await.unwrap();
        buckets.first().map(|bucket| bucket.fields["n"])
    };
    for _ in 0..3 {
        store.merge_once(batch("one", 2, NOW)).await.unwrap();
        assert_eq!(number().await, Some(3));
    }
    store.merge_once(batch("two", 2, NOW)).await.unwrap();
    assert_eq!(number().await, Some(6));
    place.wall.advance(BATCH_KNOWN - Duration::from_millis(1));
    store.merge_once(batch("two", 2, NOW)).await.unwrap();
    assert_eq!(number().await, Some(6));
    place.wall.advance(Duration::from_millis(1));
    store.merge_once(batch("two", 2, NOW)).await.unwrap();
    assert_eq!(number().await, Some(9), "by then nobody asks again");
    for kept_days in [0, SERIES_KEPT_DAYS + 1] {
        let refused = store.merge_once(batch("three", kept_days, NOW)).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    }
    let mut lines = Vec::new();
    store.check(&mut |line| lines.push(line)).await.unwrap();
    assert_eq!(lines, [""; 0]);
}

async fn a_batchs_buckets_go_when_it_says(place: &Place) {
    const DAY: u64 = 24 * 60;
    let store = place.open().await;
    let minutes = async |name| {
        let buckets = store.series(name, 0, u64::MAX).await.unwrap();
        buckets.into_iter().map(|bucket| bucket.minute).collect::<Vec<_>>()
    };
    store.merge_once(batch("before", 2, NOW - 2 * DAY - 1)).await.unwrap();
    assert_eq!(minutes("a").await, [0; 0], "it is too old already");
    store.merge_once(batch("first", 2, NOW - 2 * DAY)).await.unwrap();
    store.merge_once(batch("second", 2, NOW)).await.unwrap();
    store.merge(vec![update("c", NOW - 2 * DAY, "n", Merge::Add(1))]).await.unwrap();
    assert_eq!(minutes("a").await, [NOW - 2 * DAY, NOW]);
    place.wall.advance(Duration::from_secs(60));
    store.merge_once(batch("third", 2, NOW + 1)).await.unwrap();
    store.merge_once(batch("fourth", 2, NOW + 1)).await.unwrap();
    for name in ["a", "b"] {
        assert_eq!(minutes(name).await, [NOW, NOW + 1]);
    }
    assert_eq!(minutes("c").await, [NOW - 2 * DAY], "others stay as long as they did");
    let mut lines = Vec::new();
    store.check(&mut |line| lines.push(line)).await.unwrap();
    assert_eq!(lines, [""; 0]);
}
