use super::{Place, SESSION, TENANT, on_every_store, put, remove};
use crate::registry::store::Expected::{Absent, Any, Revision};
use crate::registry::store::limits::{BODY_BYTES_MAX, LIST_MAX, WRITES_MAX};
use crate::registry::store::{Document, StoreError, Write};

on_every_store!(
    a_document_is_found_by_id_and_by_index,
    revisions_are_one_counter,
    a_write_expects_what_it_says,
    indexes_are_unique_within_a_kind,
    indexes_can_be_swapped_in_one_call,
    a_call_is_all_or_nothing,
    removing_frees_indexes,
    lists_are_by_id_in_pages,
    what_is_over_a_limit_is_refused,
);

async fn a_document_is_found_by_id_and_by_index(place: &Place) {
    let store = place.open().await;
    assert_eq!(
        store.write(vec![put("1", Absent, &["name:mike", "key:k"], "{}")]).await,
        Ok(vec![1])
    );
    let mike = Document {
        id: "1".to_owned(),
        revision: 1,
        indexes: vec!["name:mike".to_owned(), "key:k".to_owned()],
        body: b"{}".to_vec(),
    };
    assert_eq!(store.get(TENANT, "1").await, Ok(Some(mike.clone())));
    assert_eq!(store.find(TENANT, "name:mike").await, Ok(Some(mike.clone())));
    assert_eq!(store.find(TENANT, "key:k").await, Ok(Some(mike)));
    assert_eq!(store.get(TENANT, "2").await, Ok(None));
    assert_eq!(store.find(TENANT, "name:mik").await, Ok(None));
    assert_eq!(store.get(SESSION, "1").await, Ok(None));
    assert_eq!(store.find(SESSION, "name:mike").await, Ok(None));
}

async fn revisions_are_one_counter(place: &Place) {
    let store = place.open().await;
    assert_eq!(store.last_revision().await, Ok(0));
    let session = Write { kind: SESSION, ..put("1", Absent, &[], "s") };
    assert_eq!(store.write(vec![put("1", Absent, &[], "t"), session]).await, Ok(vec![1, 2]));
    assert_eq!(store.write(vec![remove("1", Any)]).await, Ok(vec![3]));
    assert_eq!(store.write(vec![remove("1", Any)]).await, Ok(vec![4]));
    assert_eq!(store.write(vec![]).await, Ok(vec![]));
    assert_eq!(store.last_revision().await, Ok(4));
    assert_eq!(*store.changes().borrow(), 4);
    assert_eq!(store.get(SESSION, "1").await.unwrap().unwrap().revision, 2);
}

async fn a_write_expects_what_it_says(place: &Place) {
    let store = place.open().await;
    let conflict = Err(StoreError::Conflict { place: 0 });
    assert_eq!(store.write(vec![put("1", Revision(1), &[], "")]).await, conflict);
    assert_eq!(store.write(vec![remove("1", Revision(0))]).await, conflict);
    assert_eq!(store.write(vec![put("1", Absent, &[], "")]).await, Ok(vec![1]));
    assert_eq!(store.write(vec![put("1", Absent, &[], "")]).await, conflict);
    assert_eq!(store.write(vec![remove("1", Absent)]).await, conflict);
    assert_eq!(store.write(vec![put("1", Revision(1), &[], "")]).await, Ok(vec![2]));
    assert_eq!(store.write(vec![put("1", Revision(1), &[], "")]).await, conflict);
    assert_eq!(store.write(vec![put("1", Any, &[], "")]).await, Ok(vec![3]));
    assert_eq!(store.write(vec![remove("1", Revision(3))]).await, Ok(vec![4]));
    assert_eq!(store.write(vec![put("1", Any, &[], "")]).await, Ok(vec![5]));
}

async fn indexes_are_unique_within_a_kind(place: &Place) {
    let store = place.open().await;
    store.write(vec![put("1", Absent, &["a"], "")]).await.unwrap();
    let taken = |place| Err(StoreError::IndexTaken { place, index: "a".to_owned() });
    assert_eq!(store.write(vec![put("2", Absent, &["b", "a"], "")]).await, taken(0));
    let both = vec![put("3", Absent, &["c"], ""), put("2", Absent, &["a"], "")];
    assert_eq!(store.write(both).await, taken(1));
    // Its own is no obstacle, not even twice.
    assert_eq!(store.write(vec![put("1", Any, &["a", "a"], "")]).await, Ok(vec![2]));
    let other_kind = Write { kind: SESSION, ..put("2", Absent, &["a"], "") };
    assert_eq!(store.write(vec![other_kind]).await, Ok(vec![3]));
    let same_twice = vec![put("4", Absent, &["d"], ""), put("5", Absent, &["d"], "")];
    let taken = StoreError::IndexTaken { place: 1, index: "d".to_owned() };
    assert_eq!(store.write(same_twice).await, Err(taken));
}

async fn indexes_can_be_swapped_in_one_call(place: &Place) {
    let store = place.open().await;
    store.write(vec![put("1", Absent, &["a"], ""), put("2", Absent, &["b"], "")]).await.unwrap();
    let swapped = vec![put("1", Any, &["b"], ""), put("2", Any, &["a"], "")];
    assert_eq!(store.write(swapped).await, Ok(vec![3, 4]));
    assert_eq!(store.find(TENANT, "a").await.unwrap().unwrap().id, "2");
    assert_eq!(store.find(TENANT, "b").await.unwrap().unwrap().id, "1");
    assert_eq!(
        store.write(vec![put("3", Absent, &["a"], ""), remove("2", Any)]).await,
        Ok(vec![5, 6])
    );
    assert_eq!(store.find(TENANT, "a").await.unwrap().unwrap().id, "3");
}

async fn a_call_is_all_or_nothing(place: &Place) {
    let store = place.open().await;
    store.write(vec![put("1", Absent, &["a"], "old")]).await.unwrap();
    let before = store.get(TENANT, "1").await;
    let batch =
        vec![put("1", Any, &["x"], "new"), put("2", Absent, &[], ""), remove("3", Revision(9))];
    assert_eq!(store.write(batch).await, Err(StoreError::Conflict { place: 2 }));
    assert_eq!(store.get(TENANT, "1").await, before);
    assert_eq!(store.get(TENANT, "2").await, Ok(None));
    assert_eq!(store.find(TENANT, "x").await, Ok(None));
    assert_eq!(store.last_revision().await, Ok(1));
    assert_eq!(store.feed(1, 10).await.unwrap().notices, vec![]);
}

async fn removing_frees_indexes(place: &Place) {
    let store = place.open().await;
    store.write(vec![put("1", Absent, &["a", "b"], "")]).await.unwrap();
    store.write(vec![put("1", Any, &["b"], "")]).await.unwrap();
    assert_eq!(store.find(TENANT, "a").await, Ok(None));
    store.write(vec![put("2", Absent, &["a"], "")]).await.unwrap();
    store.write(vec![remove("1", Any)]).await.unwrap();
    assert_eq!(store.find(TENANT, "b").await, Ok(None));
    store.write(vec![put("2", Any, &["a", "b"], "")]).await.unwrap();
    assert_eq!(store.find(TENANT, "b").await.unwrap().unwrap().id, "2");
}

async fn lists_are_by_id_in_pages(place: &Place) {
    let store = place.open().await;
    let writes = ["b", "a", "é", "aa", "Z"].map(|id| put(id, Absent, &[], id)).to_vec();
    store.write(writes).await.unwrap();
    store.write(vec![Write { kind: SESSION, ..put("ab", Absent, &[], "") }]).await.unwrap();
    let ids = async |after, limit| {
        let listed = store.list(TENANT, after, limit).await.unwrap();
        listed.into_iter().map(|document| document.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, 10).await, ["Z", "a", "aa", "b", "é"]);
    assert_eq!(ids(None, 2).await, ["Z", "a"]);
    assert_eq!(ids(Some("a"), 2).await, ["aa", "b"]);
    assert_eq!(ids(Some("aaa"), 5).await, ["b", "é"]);
    assert_eq!(ids(Some("é"), 5).await, [""; 0]);
    assert_eq!(ids(None, 0).await, [""; 0]);
}

async fn what_is_over_a_limit_is_refused(place: &Place) {
    let store = place.open().await;
    let long = "x".repeat(BODY_BYTES_MAX + 1);
    let many = (0..=WRITES_MAX).map(|id| put(&id.to_string(), Absent, &[], "")).collect();
    for writes in [
        vec![put("1", Absent, &[], &long)],
        vec![put("1", Absent, &[&long], "")],
        vec![put(&long, Absent, &[], "")],
        vec![put("", Absent, &[], "")],
        vec![put("1", Absent, &[""], "")],
        vec![put("1", Absent, &[], ""), put("1", Any, &[], "")],
        vec![Write { kind: crate::registry::store::Kind(""), ..put("1", Absent, &[], "") }],
        (0..100).map(|id| put(&id.to_string(), Absent, &[], &long[1..])).collect(),
        many,
    ] {
        let refused = store.write(writes).await.unwrap_err();
        assert!(matches!(refused, StoreError::Invalid(_)), "{refused:?}");
    }
    assert!(matches!(store.list(TENANT, None, LIST_MAX + 1).await, Err(StoreError::Invalid(_))));
    let most: Vec<_> = (0..WRITES_MAX).map(|id| put(&id.to_string(), Absent, &[], "")).collect();
    assert_eq!(store.write(most).await.unwrap().len(), WRITES_MAX);
}
