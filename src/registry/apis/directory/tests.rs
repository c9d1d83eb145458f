use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use super::*;
use crate::registry::testing;

#[tokio::test]
async fn what_was_read_before_a_gap_is_not_believed_after_it() {
    let registry = testing::registry().await;
    let (directory, store) = (registry.directory(), registry.store());
    let generation = directory.wanted().unwrap();
    let read = Known::read(store).await.unwrap();
    directory.unload();
    assert!(!directory.put_in(read, generation));
    assert!(!directory.is_loaded());
    directory.load(store).await.unwrap();
    assert!(directory.is_loaded() && directory.wanted().is_none());
}

#[tokio::test]
async fn a_load_that_a_gap_overtakes_reads_again() {
    let registry = testing::registry().await;
    let (directory, store) = (registry.directory(), registry.store());
    let mut load = pin!(directory.load(store));
    let is_under_way = poll_fn(|context| Poll::Ready(load.as_mut().poll(context).is_pending()));
    assert!(is_under_way.await);
    directory.unload();
    load.await.unwrap();
    assert!(directory.is_loaded());
    assert_eq!(directory.read().generation, 1);
}
