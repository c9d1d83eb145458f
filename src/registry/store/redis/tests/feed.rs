//! The feed, from one process to another.

use std::time::Instant;

use super::*;

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "it measures, and asserts nothing about it")]
async fn a_write_wakes_who_reads_elsewhere() {
    // More rounds than heartbeats in all the patience: it must be the feed that wakes.
    const ROUNDS: u64 = 300;
    let server = Server::start(&[]);
    let (writer, reader) = (open(&server.socket_url()).await, open(&server.socket_url()).await);
    let mut changes = reader.changes();
    let mut took = Vec::new();
    let rounds = async {
        for round in 1..=ROUNDS {
            let began = Instant::now();
            let written = tokio::spawn({
                let writer = writer.clone();
                async move { writer.write(vec![put("1", &round.to_string())]).await }
            });
            changes.wait_for(|last| *last == round).await.unwrap();
            let page = reader.feed(round - 1, 10).await.unwrap();
            took.push(began.elapsed());
            assert_eq!((page.notices.len(), page.gap), (1, false));
            assert_eq!(body(&reader, "1").await.unwrap(), round.to_string());
            written.await.unwrap().unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, rounds).await.unwrap();
    took.sort();
    println!("from write to notice: median {:?}, worst {:?}", took[took.len() / 2], took.last());
}

#[tokio::test]
async fn who_was_away_hears_of_it_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let kept = ["--appendonly", "yes", "--appendfsync", "always"];
    let server = Server::start_in(folder.path(), &kept);
    let store = open(&server.socket_url()).await;
    store.write(vec![put("1", "first")]).await.unwrap();
    let mut changes = store.changes();
    changes.mark_unchanged();
    server.stop();
    let server = Server::start_in(folder.path(), &kept);
    let other = open(&server.socket_url()).await;
    assert_eq!(other.write(vec![put("1", "second")]).await, Ok(vec![2]));
    tokio::time::timeout(PATIENCE, changes.wait_for(|last| *last == 2)).await.unwrap().unwrap();
    let page = until(&store, async || store.feed(1, 10).await, Result::is_ok).await.unwrap();
    assert_eq!((page.notices.len(), page.gap), (1, false));
}
