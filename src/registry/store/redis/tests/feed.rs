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

#[tokio::test]
async fn a_feed_with_holes_is_one_with_a_gap() {
    let server = Server::start(&[]);
    let store = open(&server.socket_url()).await;
    store.write((1..=6).map(|id| put(&id.to_string(), "")).collect()).await.unwrap();
    let remove =
        |revision: u64| server.command(&["XDEL", "flowgate:feed", &format!("{revision}-0")]);
    let found = async || {
        let mut found = Vec::new();
        for after in 0..=6 {
            // Whole pages, and some that end before the feed does.
            for limit in [1, 2, 10] {
                let page = store.feed(after, limit).await.unwrap();
                // Else whoever reads on would never get to the end.
                assert!(page.gap || !page.notices.is_empty() || after == 6);
                if page.gap {
                    found.push((after, limit));
                }
            }
        }
        found
    };
    assert_eq!(found().await, []);
    remove(3);
    assert_eq!(found().await, [(0, 10), (1, 2), (1, 10), (2, 1), (2, 2), (2, 10)]);
    remove(6);
    let at_the_end = [(3, 10), (4, 2), (4, 10), (5, 1), (5, 2), (5, 10)];
    let both = [(0, 10), (1, 2), (1, 10), (2, 1), (2, 2), (2, 10)].into_iter().chain(at_the_end);
    assert_eq!(found().await, both.collect::<Vec<_>>());
}
