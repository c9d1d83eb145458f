//! The largest calls.

use super::*;
use crate::registry::store::limits::{
    BODY_BYTES_MAX, CALL_BYTES_MAX, INDEXES_MAX, LIST_MAX, UPDATES_MAX, WRITES_MAX,
};
use crate::registry::store::{Merge, SeriesUpdate};

#[tokio::test]
async fn the_largest_calls_go_through() {
    let server = Server::start(&[]);
    let store = open(&server.socket_url()).await;
    let text = "x".repeat(CALL_BYTES_MAX / WRITES_MAX);
    let many: Vec<_> = (0..WRITES_MAX).map(|id| put(&id.to_string(), &text)).collect();
    assert_eq!(store.write(many.clone()).await.unwrap().len(), WRITES_MAX);
    assert_eq!(store.write(many).await.unwrap().len(), WRITES_MAX);
    assert_eq!(store.list(TENANT, None, LIST_MAX).await.unwrap().len(), LIST_MAX);

    let indexes: Vec<_> = (0..INDEXES_MAX).map(|index| format!("\"{index}\"\u{0}é\\")).collect();
    let largest = "y".repeat(BODY_BYTES_MAX).into_bytes();
    let change = Change::Put { indexes: indexes.clone(), body: largest.clone() };
    let write = Write {
        kind: TENANT,
        id: "largest: \u{1}é".to_owned(),
        expected: Expected::Absent,
        change,
    };
    store.write(vec![write]).await.unwrap();
    for index in [&indexes[0], &indexes[INDEXES_MAX - 1]] {
        let found = store.find(TENANT, index).await.unwrap().unwrap();
        assert!(found.indexes == indexes && found.body == largest);
    }
    assert_eq!(is_in_order(&store).await, WRITES_MAX as u64 + 1);

    let minute = crate::clock::Wall::system().unix_ms() / 60_000;
    let updates = (0..UPDATES_MAX).map(|number| {
        let (name, field) = (format!("series {}", number % 4_000), "n".to_owned());
        SeriesUpdate { name, minute, field, merge: Merge::Add(1) }
    });
    store.merge(updates.collect()).await.unwrap();
    let buckets = store.series("series 3999", minute, minute).await.unwrap();
    assert_eq!(buckets[0].fields["n"], 4);
}

#[tokio::test]
async fn a_long_series_is_read_in_pages() {
    const MINUTES: u64 = 2_500;
    let server = Server::start(&[]);
    let store = open(&server.socket_url()).await;
    let now = crate::clock::Wall::system().unix_ms() / 60_000;
    let updates = (0..MINUTES).map(|back| {
        let (name, field) = ("long".to_owned(), "n".to_owned());
        SeriesUpdate { name, minute: now - back, field, merge: Merge::Max(u64::MAX - back) }
    });
    store.merge(updates.collect()).await.unwrap();
    let buckets = store.series("long", 0, u64::MAX).await.unwrap();
    assert_eq!(buckets.len() as u64, MINUTES);
    for (bucket, back) in buckets.iter().zip((0..MINUTES).rev()) {
        assert_eq!((bucket.minute, bucket.fields["n"]), (now - back, u64::MAX - back));
    }
    is_in_order(&store).await;
}
